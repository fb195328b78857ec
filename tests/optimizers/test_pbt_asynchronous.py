import pytest
from driver import FLOATS, MIXED, drive, level, no_exploit, problem, smooth

from hpo.core.errors import OptionError
from hpo.core.optimizer import Selection
from hpo.optimizers.backtrack import Backtrack
from hpo.optimizers.pbt import PBT
from hpo.optimizers.perturbation import Gaussian, Multiply, NoPerturbation
from hpo.optimizers.random_search import RandomSearch
from hpo.optimizers.selection import BinaryTournament, ExploitBest, NoSelection, Truncation
from hpo.optimizers.t_test import TTest

RULES: list[Selection] = [
    Truncation(),
    Truncation(count=3),
    ExploitBest(),
    BinaryTournament(),
    TTest(alpha=0.5),
    Backtrack(),
]
IDS = ["fraction", "count", "exploit_best", "binary_tournament", "t_test", "backtrack"]


def both(*options, **more):
    return (PBT(*options, mode=mode, **more) for mode in ("synchronous", "asynchronous"))


def some(segment):
    return segment.member % 3 == 1 and segment.interval == 1


@pytest.mark.parametrize("rule", RULES, ids=IDS)
@pytest.mark.parametrize("space", [FLOATS, MIXED])
@pytest.mark.parametrize("explore", ["copied", "all"])
def test_side_by_side_asynchronous_is_synchronous(rule, space, explore):
    for interval, burn_in in ((0.5, 0.0), (1.0, 0.0), (1.0, 1.5)):
        synchronous, asynchronous = both(interval, rule, Gaussian(0.1), explore, burn_in=burn_in)
        for concurrency in (7, 9):
            of = problem(7, 6, space, concurrency=concurrency)
            assert drive(asynchronous, of, diverges=some) == drive(synchronous, of, diverges=some)


def test_with_fewer_workers_it_is_not():
    synchronous, asynchronous = both(0.5, Truncation(0.5))
    for concurrency in range(1, 6):
        of = problem(6, 5, concurrency=concurrency)
        assert set(drive(asynchronous, of).results) != set(drive(synchronous, of).results)


@pytest.mark.parametrize("rule", RULES, ids=IDS)
@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_the_budget_is_spent_exactly_and_no_lineage_is_longer_than_a_members(rule, n):
    if n < 7:
        rule = rule if isinstance(rule, ExploitBest | BinaryTournament | TTest) and n > 1 else NoSelection()
    for concurrency in range(1, n + 1):
        of = problem(n, 5, concurrency=concurrency)
        run = drive(PBT(0.5, rule, mode="asynchronous"), of, diverges=some)
        assert sorted((s.member, s.interval) for s in run.segments) == [(m, k) for m in range(n) for k in range(5)]
        for key in run.results:
            intervals = [segment.interval for segment in run.path(key)]
            assert intervals == sorted(set(intervals))
        assert run.results[run.best].segment.interval == 4


@pytest.mark.parametrize("space", [FLOATS, MIXED])
@pytest.mark.parametrize("concurrency", [1, 2, 3, 5])
def test_with_neither_step_it_is_random_search(space, concurrency):
    of = problem(5, 4, space, concurrency=concurrency)
    pbt = drive(PBT(0.5, NoSelection(), NoPerturbation(), mode="asynchronous"), of)
    random = drive(RandomSearch(), of)
    assert set(pbt.results) == set(random.results) == set(drive(no_exploit(), of).results)
    assert pbt.best == random.best


def test_nobody_waits_and_everybody_sees_the_latest_that_is_no_further_than_itself():
    # One worker, three members, exploits after each interval; the member with the higher number is better.
    def score(segment):
        return float(segment.member) + 10 * segment.interval

    run = drive(PBT(0.5, ExploitBest(), NoPerturbation(), mode="asynchronous"), problem(3, 3, concurrency=1), score)
    order = [(s.member, s.interval) for s in run.segments]
    assert order == [(m, k) for k in range(3) for m in range(3)]
    parents = {
        (s.member, s.interval): (run.results[s.parent].segment.member, run.results[s.parent].segment.interval)
        for s in run.segments
        if s.parent
    }
    # Each decided as soon as it was evaluated: 0 knew nobody else, 1 knew 0 and itself, 2 knew both.
    assert [parents[m, 1] for m in range(3)] == [(0, 0), (1, 0), (2, 0)]
    # After interval 1: 0 saw 1 and 2 where they stood, after interval 0, behind it.
    assert [parents[m, 2] for m in range(3)] == [(0, 1), (1, 1), (2, 1)]


def test_one_that_is_behind_may_be_copied_and_one_that_is_ahead_is_seen_as_it_was():
    def score(segment):
        # Slot 2 is best after interval 0, and slot 0 after interval 1.
        return {2: 100.0, 1: 2.0, 0: 1.0}[segment.member] if segment.interval == 0 else 50.0 - segment.member

    run = drive(PBT(0.5, ExploitBest(), NoPerturbation(), mode="asynchronous"), problem(3, 3, concurrency=1), score)
    where = {key: (r.segment.member, r.segment.interval) for key, r in run.results.items()}
    parents = {(s.member, s.interval): where[s.parent] for s in run.segments if s.parent}
    assert parents[0, 1] == (0, 0)  # 1 and 2 were not evaluated yet
    # When 0 had done interval 1, slot 2 stood at interval 0 with 100: copied, and interval 1 of slot 0 is given up.
    assert parents[0, 2] == (2, 0)
    # When 2 had done interval 1, slots 0 and 1 had too: nobody is seen further.
    assert parents[2, 2] == (0, 1)
    assert [s.interval for s in run.path(next(k for k, at in where.items() if at == (0, 2)))] == [0, 2]


def test_one_that_is_far_ahead_is_no_donor_of_what_it_has_become():
    # Exploits every two intervals, two workers: slots 0 and 1 are through with 2 intervals before 2 has begun.
    run = drive(
        PBT(1.0, ExploitBest(), NoPerturbation(), mode="asynchronous"), problem(3, 4, concurrency=2), score=smooth
    )
    for segment in run.segments:
        if segment.parent is not None:
            assert run.results[segment.parent].segment.interval < segment.interval


def test_groups_draw_from_streams_of_their_own():
    draws = []

    class Spy(NoSelection):
        def __call__(self, population, rng):
            draws.append(float(rng.random()))
            return {}

    for concurrency in (1, 2, 6):
        draws.clear()
        drive(PBT(0.5, Spy(), mode="asynchronous"), problem(6, 4, concurrency=concurrency))
        assert len(set(draws)) == len(draws) == 3 * 6 // concurrency


def test_all_diverged_and_ties():
    of = problem(5, 4, concurrency=2)
    dead = drive(PBT(0.5, explore="all", mode="asynchronous"), of, diverges=lambda segment: True)
    assert set(dead.results) == set(drive(RandomSearch(), of, diverges=lambda segment: True).results)
    assert dead.counts["all_diverged"] > 3
    tied = drive(PBT(0.5, ExploitBest(), NoPerturbation(), mode="asynchronous"), of, score=level)
    assert tied.results[tied.best].segment.member == 0
    assert {tied.results[s.parent].segment.member for s in tied.segments if s.parent} == {0}


def test_replay_from_any_prefix_asks_for_the_same():
    of = problem(5, 4, MIXED, concurrency=3)
    options = PBT(0.5, BinaryTournament(), Multiply(), mode="asynchronous")
    whole = drive(options, of, diverges=some)
    for rounds in range(len(whole.rounds) + 1):
        assert drive(options, of, diverges=some, rounds=rounds).rounds == whole.rounds[:rounds]


def test_options_are_checked_as_ever():
    with pytest.raises(OptionError, match="half of a population of 5"):
        PBT(0.5, Truncation(count=3), mode="asynchronous").start(problem(5, 4))
