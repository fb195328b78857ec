import math

import numpy as np
import pytest
from driver import FLOATS, KEYS, drive, problem, smooth

from hpo.core.errors import OptionError
from hpo.core.optimizer import Member
from hpo.core.options import Mistakes, build
from hpo.core.registry import selections, to_table
from hpo.core.segments import Result, Segment
from hpo.optimizers.backtrack import Backtrack
from hpo.optimizers.pbt import PBT
from hpo.optimizers.perturbation import Multiply, NoPerturbation
from hpo.optimizers.random_search import RandomSearch
from hpo.optimizers.selection import ExploitBest, NoSelection, Truncation


def population(*scores_by_slot):
    """Members with the scores of their intervals; None is a diverged one."""
    members = []
    for slot, scores in enumerate(scores_by_slot):
        history = [
            Result(f"{slot}/{k}", Segment(slot, None, k, {}), {}, -math.inf if s is None else s, s is None)
            for k, s in enumerate(scores)
        ]
        last = history[-1]
        members.append(Member(slot, last.key, {}, last.score, last.diverged, history))
    return members


def moves(selection, *scores_by_slot, seed=0):
    return selection(population(*scores_by_slot), np.random.default_rng(seed))


ALONE = Backtrack(otherwise=NoSelection())


def test_a_member_that_fell_by_more_than_the_tolerance_goes_back_to_the_elite():
    # The elite is 10 at interval 1 of slot 1; a fifth below is 8.
    assert moves(ALONE, [5.0, 9.0, 7.9], [6.0, 10.0, 8.0]) == {0: "1/1"}
    assert moves(Backtrack(tolerance=0.0, otherwise=NoSelection()), [5.0, 9.0, 7.9], [6.0, 10.0, 8.0]) == {
        0: "1/1",
        1: "1/1",
    }
    assert moves(Backtrack(tolerance=0.3, otherwise=NoSelection()), [5.0, 9.0, 7.9], [6.0, 10.0, 8.0]) == {}


def test_the_tolerance_is_a_fraction_of_the_elites_size_whatever_its_sign():
    # Errors of 0.10 at best: oriented, -0.10; a fifth worse is 0.12.
    assert moves(ALONE, [-0.10, -0.119], [-0.3, -0.121]) == {1: "0/0"}
    assert moves(ALONE, [0.0, -1e-9], [-1.0, 0.0]) == {0: "0/0"}


def test_a_tenth_of_the_population_are_elites_and_the_draw_among_them_is_uniform():
    best = [[float(slot), 0.0] for slot in range(20)]
    drawn = [key for seed in range(100) for key in moves(ALONE, *best, seed=seed).values()]
    counts = {key: drawn.count(key) for key in set(drawn)}
    assert counts.keys() == {"19/0", "18/0"}
    assert abs(counts["19/0"] - counts["18/0"]) < 200  # of 2000: the standard deviation is 45
    half = Backtrack(elite_fraction=0.5, otherwise=NoSelection())
    assert {key for seed in range(50) for key in moves(half, *best, seed=seed).values()} == {
        f"{s}/0" for s in range(10, 20)
    }


def test_the_threshold_is_below_the_worst_elite():
    two = Backtrack(elite_fraction=1.0, otherwise=NoSelection())  # the elites are 10 and 5
    assert moves(two, [10.0, 4.1], [5.0, 3.9]).keys() == {1}


def test_each_member_has_one_elite_at_most():
    two = Backtrack(elite_fraction=1.0, tolerance=0.0, otherwise=NoSelection())
    drawn = {key for seed in range(50) for key in moves(two, [9.0, 10.0, 0.0], [8.0, 5.0, 0.0], seed=seed).values()}
    assert drawn == {"0/1", "1/0"}  # not 0/0, although it is the second best of all


def test_elites_are_all_there_is_when_there_is_less():
    assert moves(Backtrack(elite_fraction=1.0, otherwise=NoSelection()), [1.0], [None]) == {1: "0/0"}


def test_ties_go_to_the_lower_member_then_to_the_earlier_interval():
    assert set(moves(ALONE, [5.0, 1.0], [9.0, 9.0], [9.0, 0.0]).values()) == {"1/0"}


def test_ones_own_past():
    own = Backtrack("own", otherwise=NoSelection())
    assert moves(own, [5.0, 4.5, 3.0], [9.0, 10.0, 8.5], [None, None, None]) == {0: "0/0"}


def test_diverged_members_go_back_and_diverged_checkpoints_are_never_gone_back_to():
    assert moves(ALONE, [3.0, None], [1.0, 3.0]) == {0: "0/0"}
    assert moves(Backtrack("own", otherwise=NoSelection()), [3.0, 2.0, None], [1.0, 3.0, 3.0]) == {0: "0/0"}


def test_the_others_follow_another_rule():
    chosen = moves(Backtrack(otherwise=ExploitBest()), [10.0, 1.0], [8.5, 9.0], [8.0, 8.6])
    assert chosen == {0: "0/0", 2: "1/1"}


# --- in PBT ------------------------------------------------------------------------------------------------------------


def length(run, key):
    return len(run.path(key))


def collapsing():
    """Scores that grow by one with each interval a model was trained, until it has been trained in interval 3."""
    lengths = {}

    def score(segment):
        trained, fallen = lengths.get(segment.parent, (0, False))
        fallen = fallen or segment.interval == 3
        lengths[KEYS(segment)] = trained + 1, fallen
        return 0.1 * trained if fallen else 10.0 + trained + 0.01 * segment.member

    return score


def test_training_that_collapses_is_taken_up_again_where_it_was_best():
    of = problem(4, 6)
    plain = drive(PBT(0.5, Truncation(0.5), NoPerturbation()), of, score=collapsing())
    back = drive(PBT(0.5, Backtrack(otherwise=NoSelection()), NoPerturbation()), of, score=collapsing())
    assert len(back.segments) == len(plain.segments) == of.budget
    assert plain.results[plain.best].score < 1
    # Everybody fell in interval 3, and went back to slot 3 as it stood after interval 2.
    elite = next(key for key, r in back.results.items() if (r.segment.member, r.segment.interval) == (3, 2))
    assert [segment.parent for segment in back.rounds[4]] == [elite] * 4
    assert [segment.interval for segment in back.rounds[4]] == [4] * 4
    path = back.path(back.best)
    assert [segment.interval for segment in path] == [0, 1, 2, 4, 5]
    assert [segment.member for segment in path[:3]] == [3, 3, 3]
    assert back.results[back.best].score == pytest.approx(10 + 4 + 0.01 * path[-1].member)


def test_going_back_brings_the_hyperparameters_of_that_checkpoint_and_explores_them():
    back = drive(PBT(0.5, Backtrack(otherwise=NoSelection()), Multiply((0.5,))), problem(4, 6), score=collapsing())
    for segment in back.rounds[4]:
        donor = back.results[segment.parent].segment
        assert segment.hparams["lr"] == max(donor.hparams["lr"] * 0.5, 1e-5)


def test_a_member_may_go_back_again_and_again():
    def falling(segment):
        return 10.0 if segment.interval == 0 else 0.0

    of = problem(3, 5)
    run = drive(PBT(0.5, Backtrack("own", otherwise=NoSelection()), NoPerturbation()), of, score=falling)
    assert len(run.segments) == of.budget
    for segment in run.segments:
        if segment.interval > 1:
            assert run.results[segment.parent].segment == Segment(segment.member, None, 0, segment.hparams)
    assert {length(run, key) for key in run.results} == {1, 2}


def test_without_a_fall_it_is_the_other_rule():
    def rising(segment):
        return 100.0 + smooth(segment)

    of = problem(10, 5)
    assert drive(PBT(0.5, Backtrack()), of, score=rising) == drive(PBT(0.5), of, score=rising)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_smallest_populations_and_all_diverged(n):
    of = problem(n, 4)
    options = PBT(0.5, Backtrack(otherwise=NoSelection()))
    assert len(drive(options, of, score=collapsing()).segments) == of.budget
    dead = drive(options, of, diverges=lambda segment: True)
    assert set(dead.results) == set(drive(RandomSearch(), of, diverges=lambda segment: True).results)
    assert dead.counts["all_diverged"] == 3


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (Backtrack(elite_fraction=0.0), "selection.elite_fraction"),
        (Backtrack(elite_fraction=1.5), "selection.elite_fraction"),
        (Backtrack(tolerance=-0.1), "selection.tolerance"),
        (Backtrack(tolerance=math.nan), "selection.tolerance"),
        (Backtrack(otherwise=Truncation(0.1)), "selection.otherwise.quantile_fraction"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, named):
    with pytest.raises(OptionError) as caught:
        PBT(0.5, options).start(problem(5, 4, FLOATS))
    assert caught.value.option == named


def test_it_is_written_as_a_table_with_a_table_in_it():
    table = {"to": "own", "tolerance": 0.1, "otherwise": {"name": "truncation", "count": 2}}
    problems = Mistakes()
    built = build(Backtrack, table, "selection", problems)
    assert problems == []
    assert built == Backtrack("own", tolerance=0.1, otherwise=Truncation(count=2))
    assert to_table(built) == {"elite_fraction": 0.1, **table}
    assert selections.get("backtrack") is Backtrack
