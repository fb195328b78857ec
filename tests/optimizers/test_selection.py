import math
from fractions import Fraction

import numpy as np
import pytest
from driver import donors, population
from hypothesis import given
from hypothesis import strategies as st

from hpo.core.errors import OptionError
from hpo.core.registry import selections, to_table
from hpo.optimizers.selection import BinaryTournament, ExploitBest, NoSelection, Truncation, ranked, share

scores_lists = st.lists(st.one_of(st.none(), st.integers(0, 3).map(float)), min_size=1, max_size=12).filter(
    lambda scores: any(score is not None for score in scores)
)
fractions = st.sampled_from([0.01, 0.1, 0.2, 0.25, 0.3, 1 / 3, 0.4, 0.5])


@given(scores_lists, fractions, st.integers(0, 5))
def test_truncation_moves_exactly_the_bottom_to_finite_members_of_the_top(scores, fraction, seed):
    n = len(scores)
    count = math.floor(n * Fraction(str(fraction)))
    chosen = donors_of = None
    if count == 0:
        with pytest.raises(OptionError):
            Truncation(fraction).check(n)
        return
    Truncation(fraction).check(n)
    chosen = donors(Truncation(fraction), scores, seed)
    order = [member.slot for member in ranked(population(scores))]
    assert set(chosen) == set(order[n - count :])
    donors_of = set(chosen.values())
    assert donors_of <= set(order[:count])
    assert all(scores[donor] is not None for donor in donors_of)
    assert not donors_of & set(chosen)


@given(scores_lists)
def test_exploit_best_moves_everyone_but_the_best(scores):
    ExploitBest().check(len(scores))
    best = min(
        (slot for slot in range(len(scores)) if scores[slot] is not None), key=lambda slot: (-scores[slot], slot)
    )
    assert donors(ExploitBest(), scores) == {slot: best for slot in range(len(scores)) if slot != best}


def test_truncation_draws_donors_uniformly_from_the_top():
    chosen = [donors(Truncation(0.2), range(15), seed) for seed in range(300)]
    assert all(set(each) == {0, 1, 2} for each in chosen)
    counts = np.bincount([donor for each in chosen for donor in each.values()], minlength=15)
    assert counts[:12].sum() == 0
    assert all(250 < count < 350 for count in counts[12:])


def test_ties_go_to_the_lower_slot():
    assert donors(Truncation(0.25), [1.0] * 4) == {3: 0}
    assert donors(ExploitBest(), [1.0] * 3) == {1: 0, 2: 0}


def test_shares_are_exact():
    assert [share(n, 0.2) for n in (4, 5, 9, 10, 15)] == [0, 1, 1, 2, 3]
    assert share(10, 0.3) == 3
    assert share(100, 0.29) == 29  # 28.999999999999996 in floating point


def test_the_smallest_populations():
    assert donors(Truncation(0.5), [0.0, 1.0]) == {0: 1}
    assert donors(Truncation(0.5), [2.0, 1.0, 3.0]) == {1: 2}
    assert donors(ExploitBest(), [1.0]) == {}
    with pytest.raises(OptionError, match="at least 2"):
        Truncation(0.5).check(1)
    with pytest.raises(OptionError, match="at least 1/4"):
        Truncation(0.2).check(4)


def test_none_changes_nothing_and_all_are_registered():
    assert donors(NoSelection(), [1.0, 2.0]) == {}
    assert [selections.get(name) for name in ("truncation", "exploit_best", "binary_tournament", "none")] == [
        Truncation,
        ExploitBest,
        BinaryTournament,
        NoSelection,
    ]


# --- truncation by count -----------------------------------------------------------------------------------------------


@given(scores_lists.filter(lambda scores: len(scores) > 1), st.integers(0, 5), st.data())
def test_a_count_moves_so_many_at_each_end(scores, seed, data):
    n = len(scores)
    count = data.draw(st.integers(1, n // 2))
    Truncation(count=count).check(n)
    chosen = donors(Truncation(count=count), scores, seed)
    order = [member.slot for member in ranked(population(scores))]
    assert set(chosen) == set(order[n - count :])
    assert set(chosen.values()) <= {slot for slot in order[:count] if scores[slot] is not None}


@pytest.mark.parametrize("seed", range(5))
def test_a_count_is_the_fraction_that_means_as_many(seed):
    scores = [float((7 * slot) % 20) for slot in range(20)]
    assert donors(Truncation(count=5), scores, seed) == donors(Truncation(0.25), scores, seed)


def test_fraction_or_count_and_a_fifth_by_default():
    assert Truncation() == Truncation(0.2)
    assert to_table(Truncation()) == {"quantile_fraction": 0.2}
    assert to_table(Truncation(count=5)) == {"count": 5}
    with pytest.raises(OptionError, match=r"count = 5: .*quantile_fraction = 0\.2"):
        Truncation(0.2, 5)
    for count, n in ((0, 10), (-1, 10), (6, 10), (1, 1), (2, 3)):
        with pytest.raises(OptionError, match="count"):
            Truncation(count=count).check(n)


def test_a_population_that_is_not_complete_yet_has_smaller_ends():
    assert donors(Truncation(count=5), [1.0]) == {}
    assert donors(Truncation(0.2), [1.0, 2.0]) == {}
    assert donors(Truncation(count=5), [1.0, 2.0, 3.0]) == {0: 2}


# --- binary tournament -------------------------------------------------------------------------------------------------


@given(scores_lists, st.integers(0, 99))
def test_a_tournament_is_lost_to_better_opponents_only(scores, seed):
    chosen = donors(BinaryTournament(), scores, seed)
    worth = [-math.inf if score is None else score for score in scores]
    assert all(worth[other] > worth[slot] for slot, other in chosen.items())
    assert worth.index(max(worth)) not in chosen


def test_opponents_are_drawn_uniformly_among_the_others():
    # Slot 3 of 4 loses to whomever it draws.
    drawn = [donors(BinaryTournament(), [3.0, 2.0, 1.0, 0.0], seed)[3] for seed in range(600)]
    assert sorted(set(drawn)) == [0, 1, 2]
    assert all(150 < drawn.count(other) < 250 for other in range(3))
    # Slot 1 loses in one of three draws: when it meets slot 0.
    lost = [1 in donors(BinaryTournament(), [3.0, 2.0, 1.0, 0.0], seed) for seed in range(600)]
    assert 150 < sum(lost) < 250


def test_tournaments_by_hand():
    assert donors(BinaryTournament(), [1.0, 2.0]) == {0: 1}
    assert donors(BinaryTournament(), [2.0, 2.0]) == {}
    assert donors(BinaryTournament(), [None, 1.0]) == {0: 1}
    assert donors(BinaryTournament(), [None, -math.inf]) == {0: 1}
    assert donors(BinaryTournament(), [5.0]) == {}
    BinaryTournament().check(2)
    with pytest.raises(OptionError, match="at least 2"):
        BinaryTournament().check(1)
