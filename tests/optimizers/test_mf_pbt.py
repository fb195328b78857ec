"""MF-PBT: its migration by hand, and against PBT, of which it is the case of several frequencies."""

from dataclasses import dataclass

import pytest
from driver import FLOATS, MIXED, SPACES, drive, level, never, problem, smooth

from hpo.core.errors import OptionError
from hpo.core.optimizer import Member
from hpo.optimizers.mf_pbt import MFPBT, Inheritance, default_frequencies, evolved
from hpo.optimizers.pbt import PBT
from hpo.optimizers.perturbation import Multiply, NoPerturbation
from hpo.optimizers.selection import ranked
from hpo.testing.problems import always, every_other

DIVERGED = float("-inf")
TWO = MFPBT(0.5, (1, 2), NoPerturbation())


def members(scores, first=0):
    return [
        Member(slot, f"key {slot}", {"lr": 0.1}, score, score == DIVERGED) for slot, score in enumerate(scores, first)
    ]


def copies(slot):
    return Inheritance(slot, slot, explores=True)


def table(fast, slow):
    """Return what the members of the two sub-populations inherit, given their scores: the fast ones have the lower slots."""
    fast, slow = members(fast), members(slow, len(fast))
    slots = {member.slot for member in slow}
    return evolved(fast, slow, slots), evolved(slow, fast, set())


# --- the table of the paper, by hand ---------------------------------------------------------------------------------


def test_four_and_four_by_hand():
    # The best of all are 0 (8), 4 (7), 5 (6), 2 (5), 7 (4), 1 (3), 6 (2), 3 (1).
    fast, slow = table([8, 3, 5, 1], [7, 6, 2, 4])
    # Quarters of the fast: 0 | 2 | 1 | 3. Member 1 takes weights and hyperparameters of 4, which evolves less often.
    assert fast == {3: copies(0), 1: Inheritance(4, 4, explores=False)}
    # Quarters of the slow: 4 | 5 | 7 | 6. Member 7 takes the weights of 0, and keeps the hyperparameters of its own best.
    assert slow == {6: copies(4), 7: Inheritance(0, 4, explores=False)}


def test_the_third_quarter_stays_if_no_outsider_ranks_higher():
    fast, slow = table([8, 7, 6, 5], [4, 3, 2, 1])
    assert fast == {3: copies(0)}
    assert slow == {7: copies(4), 6: Inheritance(0, 4, explores=False)}


def test_pairs_go_by_rank_and_each_migrant_is_taken_once():
    # Quarters of the fast: 7, 6 | 5, 4 | 3, 2 | 1, 0. Both of the third rank below the best two outsiders, 8 and 15.
    fast, _ = table([1, 2, 3, 4, 5, 6, 7, 8], [11, 0, 0, 0, 0, 0, 0, 9])
    assert fast == {
        1: copies(7),
        0: copies(6),
        3: Inheritance(8, 8, explores=False),
        2: Inheritance(15, 15, explores=False),
    }
    # Only one outsider ranks above the third quarter's second, and none above its first, which stays.
    fast, _ = table([1, 2, 3, 5, 5, 6, 7, 8], [4, 0, 0, 0, 0, 0, 0, 0])
    assert fast == {1: copies(7), 0: copies(6), 2: Inheritance(8, 8, explores=False)}


def test_ties_go_to_the_lower_slot():
    fast, slow = table([1, 1, 1, 1], [1, 1, 1, 1])
    assert fast == {3: copies(0)}
    assert slow == {7: copies(4), 6: Inheritance(0, 4, explores=False)}


def test_diverged_members_are_never_donors():
    fast, slow = table([DIVERGED] * 4, [5, DIVERGED, DIVERGED, DIVERGED])
    # The bottom of the fast has no donor. Of the slow, 6 would take the best outsider, but all of them have diverged.
    assert fast == {2: Inheritance(4, 4, explores=False)}
    assert slow == {7: copies(4)}
    # A slow sub-population that has diverged as a whole has no hyperparameters of its own best to keep.
    fast, slow = table([5, 4, 3, 2], [DIVERGED] * 4)
    assert slow == {6: Inheritance(0, 0, explores=False)}
    # The second of the top quarter has diverged: its partner goes on.
    assert table([9] + [DIVERGED] * 7, [0] * 8)[0].keys() == {4, 5, 6}


# --- the search ------------------------------------------------------------------------------------------------------


def by_hand(segment):
    """Return the scores of `test_four_and_four_by_hand`, at every interval."""
    return (8, 3, 5, 1, 7, 6, 2, 4)[segment.member]


def inherited(run, interval):
    """Return, by slot, the slots of the weights and of the root's lr that members start an interval with, if not their own."""
    roots = {segment.hparams["lr"]: segment.member for segment in run.rounds[0]}
    found = {s.member: (run.results[s.parent].segment.member, roots[s.hparams["lr"]]) for s in run.rounds[interval]}
    return {slot: pair for slot, pair in found.items() if pair != (slot, slot)}


def test_a_population_evolves_when_its_frequency_says_so():
    run = drive(TWO, problem(8, 3), score=by_hand)
    assert inherited(run, 1) == {3: (0, 0), 1: (4, 4)}
    # Slot 3 and slot 1 inherited their hyperparameters one interval before.
    assert inherited(run, 2) == {3: (0, 0), 1: (4, 4), 6: (4, 4), 7: (0, 4)}
    assert run.counts == {"sub_populations": 2, "migrations": 3, "boundary_hits": 0, "all_diverged": 0}


def test_only_the_bottom_quarter_explores():
    run = drive(MFPBT(0.5, (1, 2), Multiply((0.5,))), problem(8, 3), score=by_hand)
    before, after = ({s.member: s.hparams["lr"] for s in asked} for asked in run.rounds[:2])
    changed = {slot: after[slot] for slot in after if after[slot] != before[slot]}
    assert changed == {3: max(0.5 * before[0], 1e-5), 1: before[4]}


def test_the_perturbation_interval_is_that_of_the_fastest():
    run = drive(MFPBT(1.0, (1, 2), NoPerturbation()), problem(8, 6), score=by_hand)
    assert [sorted(inherited(run, interval)) for interval in range(1, 6)] == [
        [],
        [1, 3],
        [1, 3],
        [1, 3, 6, 7],
        [1, 3, 6, 7],
    ]
    moved = {s.interval for s in run.segments if s.parent and run.results[s.parent].segment.member != s.member}
    assert moved == {2, 4}


def test_fixed_hyperparameters_migrate_with_the_weights():
    run = drive(MFPBT(0.5, (1, 2), NoPerturbation()), problem(8, 3, MIXED), score=by_hand)
    of = {segment.member: segment.hparams for segment in run.rounds[0]}
    migrant = next(segment for segment in run.rounds[2] if segment.member == 7)
    assert migrant.hparams == dict(of[4]) | {"width": of[0]["width"]}


def test_if_all_have_diverged_all_go_on():
    run = drive(MFPBT(0.5, (1, 2)), problem(8, 4), diverges=always)
    assert all(s.parent is None or run.results[s.parent].segment.member == s.member for s in run.segments)
    assert run.counts["all_diverged"] == 3


@dataclass(frozen=True)
class PairedByRank:
    """Truncation of a quarter in which the first of the bottom copies the first of the top, and so on."""

    def check(self, population_size):
        pass

    def __call__(self, population, rng):
        order, quarter = ranked(population), len(population) // 4
        pairs = zip(order[-quarter:], order[:quarter], strict=True)
        return {member.slot: donor.key for member, donor in pairs if not donor.diverged}


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(("n", "concurrency"), [(4, 4), (8, 1), (8, 3), (8, 8)])
@pytest.mark.parametrize(("score", "diverges"), [(smooth, never), (level, never), (smooth, every_other)])
def test_with_one_frequency_it_is_pbt_that_pairs_by_rank(space, n, concurrency, score, diverges):
    of = problem(n, 7, SPACES[space], concurrency=concurrency)
    one = drive(MFPBT(1.0, (1,), Multiply((1.5, 0.5))), of, score, diverges)
    pbt = drive(PBT(1.0, PairedByRank(), Multiply((1.5, 0.5))), of, score, diverges)
    assert one.rounds == pbt.rounds
    assert one.best == pbt.best
    assert {name: one.counts[name] for name in pbt.counts} == pbt.counts


# --- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("population_size", "exploits", "expected"),
    [
        (32, 100, (1, 10, 25, 50)),
        (32, 99, (1, 10)),  # 50 comes once; 32 has three sub-populations of no equal quarters
        (24, 100, (1, 10, 25)),
        (24, 49, (1, 10)),
        (16, 100, (1, 10, 25, 50)),
        (16, 50, (1, 10)),
        (12, 50, (1, 10, 25)),
        (12, 49, (1,)),
        (8, 20, (1, 10)),
        (8, 19, (1,)),
        (4, 1000, (1,)),
        (40, 1, (1,)),
    ],
)
def test_default_frequencies(population_size, exploits, expected):
    assert default_frequencies(population_size, exploits) == expected


def test_the_default_counts_exploits_before_the_end_of_the_budget():
    # 20 intervals have 19 exploits, as none follows the last; with 21 there are 20, and 10 comes twice.
    for intervals, expected in ((20, 1), (21, 2)):
        assert drive(MFPBT(0.5), problem(8, intervals)).counts["sub_populations"] == expected
    for intervals, expected in ((40, 1), (41, 2)):
        assert drive(MFPBT(1.0), problem(8, intervals)).counts["sub_populations"] == expected


def test_a_search_without_migration_is_warned_of():
    (said,) = MFPBT(0.5).warnings(problem(8, 20))
    assert "one sub-population" in said
    assert not MFPBT(0.5).warnings(problem(8, 21))


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_a_population_without_quarters_is_refused_with_the_next_size(n):
    with pytest.raises(OptionError, match=f"population_size divisible by 4: {8 if n == 6 else 4} instead of {n}"):
        MFPBT().start(problem(n))


@pytest.mark.parametrize(
    ("options", "n", "option", "said"),
    [
        (MFPBT(0.5, (1, 2)), 12, "frequencies", "population_size of 16 instead of 12"),
        (MFPBT(0.5, (1, 2, 3)), 8, "frequencies", "population_size of 12 instead of 8"),
        (MFPBT(0.5, (1, 4)), 8, "frequencies", "at most 3"),
        (MFPBT(2.0), 8, "perturbation_interval", "less than"),
        (MFPBT(0.7), 8, "perturbation_interval", "whole number"),
    ],
)
def test_options_that_mean_nothing_are_refused_at_the_start(options, n, option, said):
    with pytest.raises(OptionError, match=said) as caught:
        options.start(problem(n, 4, FLOATS))
    assert caught.value.option == option


@pytest.mark.parametrize("frequencies", [(), (2,), (1, 1), (1, 5, 2)])
def test_frequencies_begin_with_1_and_increase(frequencies):
    with pytest.raises(OptionError, match="begin with 1 and increase"):
        MFPBT(frequencies=frequencies)
