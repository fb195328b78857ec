"""Successive halving, ASHA and Hyperband: their rungs are the papers', their budget is spent, their limits are random search."""

import math
from collections import Counter

import pytest
from driver import MIXED, drive, level, problem, smooth
from helpers import cases
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.core.errors import OptimizerError, OptionError
from hpo.core.segments import Result, Segment
from hpo.optimizers.asha import ASHA, Rung
from hpo.optimizers.bohb import BOHB
from hpo.optimizers.brackets import Bracket
from hpo.optimizers.hyperband import Hyperband, hyperband_brackets
from hpo.optimizers.incumbent import best_trained
from hpo.optimizers.random_search import RandomSearch
from hpo.optimizers.rungs import rungs_up
from hpo.optimizers.successive_halving import SuccessiveHalving

KINDS = [SuccessiveHalving, ASHA, Hyperband, BOHB]


def odd(segment):
    return segment.member % 2 == 1 and segment.interval >= 1


def reached(run):
    """Return how many intervals each member was trained."""
    lengths = {}
    for segment in run.segments:
        lengths[segment.member] = segment.interval + 1
    return lengths


def at_least(run, rung):
    return sum(length >= rung for length in reached(run).values())


# --- rungs and brackets are the papers' ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("intervals", "min_budget", "reduction_factor", "rungs"),
    [
        (9, None, 3, (1, 3, 9)),  # Li et al. 2020, section 3.1: n = 9, r = 1, R = 9, η = 3
        (9, 1.5, 3, (3, 9)),  # the same, s = 1
        (9, 4.5, 3, (9,)),  # s = 2
        (256, None, 4, (1, 4, 16, 64, 256)),
        (20, 1.0, 3, (2, 6, 18, 20)),
        (1, None, 2, (1,)),
        (5, 2.5, 2, (5,)),
    ],
)
def test_rungs(intervals, min_budget, reduction_factor, rungs):
    assert rungs_up(problem(3, intervals), min_budget, reduction_factor) == rungs


def test_hyperband_has_the_brackets_of_table_1():
    # Li et al. 2018, table 1: R = 81, η = 3.
    table = {
        (1, 3, 9, 27, 81): [81, 27, 9, 3, 1],
        (3, 9, 27, 81): [34, 11, 3, 1],
        (9, 27, 81): [15, 5, 1],
        (27, 81): [8, 2],
        (81,): [5],
    }
    brackets = hyperband_brackets(problem(30, 81), None, 3)
    assert {bracket.rungs: bracket.sizes(bracket.members) for bracket in brackets} == table
    assert [bracket.rungs for bracket in brackets] == list(table)


def test_hyperband_trains_as_many_members_to_each_rung_as_table_1_says():
    # The first pass costs 297 + 276 + 279 + 324 + 405 intervals, with members that go on from their checkpoints.
    run = drive(Hyperband(), problem(20, 81))
    lengths = reached(run)
    first = 0
    for rungs, sizes in [
        ((1, 3, 9, 27, 81), [81, 27, 9, 3, 1]),
        ((3, 9, 27, 81), [34, 11, 3, 1]),
        ((9, 27, 81), [15, 5, 1]),
        ((27, 81), [8, 2]),
        ((81,), [5]),
    ]:
        mine = [lengths[slot] for slot in range(first, first + sizes[0])]
        assert [sum(length >= rung for length in mine) for rung in rungs] == sizes
        first += sizes[0]
    # 20 · 81 = 1620 intervals leave 39 after the pass: less than one member's.
    assert len(run.segments) == 1581
    assert run.counts == {"members": 143, "promotions": 40 + 15 + 6 + 2}


def test_hyperband_keeps_the_smallest_budget_and_rounds_rungs_down():
    assert [b.rungs for b in hyperband_brackets(problem(9, 20), 1.0, 3)] == [(2, 6, 20), (6, 20), (20,)]
    assert [b.members for b in hyperband_brackets(problem(9, 20), 1.0, 3)] == [9, 5, 3]
    assert [b.rungs for b in hyperband_brackets(problem(9, 20), 1.5, 3)] == [(6, 20), (20,)]
    assert [b.rungs for b in hyperband_brackets(problem(9, 20), 10.0, 3)] == [(20,)]


def test_successive_halving_of_nine_members_is_the_papers_example():
    # Li et al. 2020, bracket 0 of the example: 9 members at 1, 3 at 3, 1 at 9; here 9·1 + 3·2 + 1·6 = 21 intervals.
    bracket = Bracket((1, 3, 9), 3)
    assert bracket.sizes(9) == [9, 3, 1]
    assert bracket.cost(9) == 21
    assert Bracket((3, 9), 3).sizes(9) == [9, 3]
    assert Bracket((9,), 3).sizes(9) == [9]
    # 27 intervals pay for 13 members: 13 + 4·2 + 1·6.
    assert (bracket.fitted(27), bracket.cost(13), bracket.cost(14)) == (13, 27, 28)
    run = drive(SuccessiveHalving(), problem(3, 9))
    assert [at_least(run, rung) for rung in (1, 3, 9)] == [13, 4, 1]
    assert run.counts == {"members": 13, "promotions": 5}


def test_the_best_are_promoted_and_nobody_else():
    run = drive(SuccessiveHalving(), problem(6, 9), score=smooth)
    lengths = reached(run)
    for rung, below in ((3, 1), (9, 3)):
        stood = [r for r in run.results.values() if r.segment.interval + 1 == below]
        best = sorted(stood, key=lambda r: r.rank_key)[: at_least(run, rung)]
        assert {r.segment.member for r in best} == {member for member, length in lengths.items() if length >= rung}


@given(
    st.integers(1, 200), st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(2, 5), st.integers(1, 2000)
)
def test_a_bracket_takes_as_many_members_as_the_budget_pays_for(members, steps, factor, budget):
    rungs = tuple(sum(steps[: i + 1]) for i in range(len(steps)))
    if budget < rungs[-1]:
        return
    fitted = Bracket(rungs, factor).fitted(budget)
    assert fitted >= 1
    assert Bracket(rungs, factor).cost(fitted) <= budget < Bracket(rungs, factor).cost(fitted + 1)
    assert budget - Bracket(rungs, factor).cost(fitted) < rungs[-1]
    assert Bracket(rungs, factor, members).fitted(budget) == min(members, fitted)


# --- ASHA ------------------------------------------------------------------------------------------------------------


def jobs(run, rungs):
    """Return (member, rung) for each job, in the order of their starts."""
    starts = {0, *rungs[:-1]}
    return [(s.member, sorted(starts).index(s.interval)) for s in run.segments if s.interval in starts]


def test_with_one_worker_asha_promotes_as_soon_as_it_can():
    # n = 9, r = 1, R = 9, η = 3, scores by slot: the first of each three is promoted, then the best of these.
    run = drive(ASHA(), problem(5, 9, concurrency=1), score=lambda s: -float(s.member))
    first = [(0, 0), (1, 0), (2, 0), (0, 1), (3, 0), (4, 0), (5, 0), (1, 1), (6, 0), (7, 0), (8, 0), (2, 1), (0, 2)]
    assert jobs(run, (1, 3, 9))[: len(first)] == first


def test_a_paused_member_is_promoted_later():
    # Each member is worse than the one before; slot 1 becomes one of the best two when six have arrived.
    run = drive(ASHA(), problem(5, 9, concurrency=1), score=lambda s: -float(s.member))
    when = {(s.member, s.interval): i for i, s in enumerate(run.segments)}
    assert when[(1, 0)] < when[(4, 0)] < when[(1, 1)]


def test_nobody_waits_for_a_slow_rung():
    # With nine workers, three promotions start beside six new members as soon as nine results are there.
    run = drive(ASHA(), problem(9, 9), score=smooth)
    assert Counter(s.interval for s in run.rounds[0]) == {0: 9}
    assert Counter(s.interval for s in run.rounds[1]) == {0: 6, 1: 3}
    assert Counter(s.interval for s in run.rounds[2]) == {0: 4, 1: 2, 2: 3}


def test_a_rung_promotes_the_top_of_all_that_ever_arrived():
    def arrived(member, score):
        return Result(str(member), Segment(member, None, 0, {}), {}, score, score == -math.inf)

    rung = Rung()
    for member, score in enumerate([0.0, 5.0]):
        rung.arrive(arrived(member, score))
    assert not rung.promotable(3)
    rung.arrive(arrived(2, -math.inf))
    assert rung.promotable(3)
    assert rung.promote().segment.member == 1
    assert not rung.promotable(3)
    for member in (3, 4, 5):
        rung.arrive(arrived(member, -1.0))
    assert rung.promotable(3)
    assert rung.promote().segment.member == 0
    rung.arrive(arrived(6, 9.0))  # with slot 1 the best two of seven
    assert rung.promotable(3)
    assert rung.promote().segment.member == 6
    assert not rung.promotable(3)


@settings(max_examples=cases(15))
@given(
    n=st.integers(1, 9),
    intervals=st.integers(1, 13),
    factor=st.integers(2, 4),
    first=st.integers(1, 3),
    concurrency=st.integers(1, 12),
    seed=st.integers(0, 3),
)
def test_asha_spends_its_budget_exactly_and_somebody_gets_to_the_end(n, intervals, factor, first, concurrency, seed):
    of = problem(n, intervals, seed=seed, concurrency=concurrency)
    options = ASHA(factor, min(first, intervals) * 0.5)
    run = drive(options, of)
    assert len(run.segments) == of.budget
    assert run.results[run.best].segment.interval == intervals - 1
    assert drive(options, of) == run
    # But for the last one or few, which the ceiling cuts, members stand at rungs.
    rungs = rungs_up(of, options.min_budget, factor)
    assert sum(length not in rungs for length in reached(run).values()) <= 1
    # Diverged members are never promoted, and the budget is still spent.
    bad = drive(options, of, diverges=odd)
    assert len(bad.segments) == of.budget
    for segment in bad.segments:
        if segment.interval in rungs:
            assert not bad.results[segment.parent].diverged


@settings(max_examples=cases(15))
@given(
    kind=st.sampled_from([SuccessiveHalving, Hyperband, BOHB]),
    n=st.integers(1, 9),
    intervals=st.integers(1, 13),
    factor=st.integers(2, 4),
    first=st.integers(1, 3),
    concurrency=st.integers(1, 12),
    diverges=st.booleans(),
)
def test_brackets_leave_less_than_one_members_budget(kind, n, intervals, factor, first, concurrency, diverges):
    of = problem(n, intervals, concurrency=concurrency)
    run = drive(kind(factor, min(first, intervals) * 0.5), of, diverges=odd if diverges else lambda s: False)
    assert 0 <= of.budget - len(run.segments) < intervals
    assert not run.results[run.best].diverged
    if not diverges:
        assert run.results[run.best].segment.interval == intervals - 1
    assert {s.member for s in run.segments} == set(range(run.counts["members"]))


def test_a_bracket_that_the_rest_does_not_pay_for_starts_fewer_members():
    # R = 9, η = 3, 6 members: 54 intervals. Brackets of 9 (21 intervals) and 5 (5·3 + 1·6 = 21) leave 12, one full member.
    run = drive(Hyperband(), problem(6, 9))
    lengths = [reached(run)[slot] for slot in range(run.counts["members"])]
    assert [len(lengths[:9]), len(lengths[9:14]), lengths[14:]] == [9, 5, [9]]
    assert len(run.segments) == 51


# --- the limits are random search ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [SuccessiveHalving, ASHA])
@pytest.mark.parametrize("concurrency", [1, 2, 5])
@pytest.mark.parametrize("diverges", [lambda s: False, odd, lambda s: True], ids=["none", "some", "all"])
@pytest.mark.parametrize("select", ["final", "any"])
def test_with_a_single_rung_it_is_random_search(kind, concurrency, diverges, select):
    of = problem(5, 4, MIXED, concurrency=concurrency)
    ours = drive(kind(min_budget=2.0, select=select), of, diverges=diverges)
    theirs = drive(RandomSearch(select), of, diverges=diverges)
    assert ours.rounds == theirs.rounds
    assert ours.results == theirs.results
    assert ours.best == theirs.best


@pytest.mark.parametrize("kind", [SuccessiveHalving, ASHA, Hyperband])
def test_members_of_the_initial_population_are_random_searchs_as_far_as_they_go(kind):
    of = problem(9, 9, MIXED)
    whole = drive(RandomSearch(), of)
    run = drive(kind(), of)
    ours = {key for key, result in run.results.items() if result.segment.member < 9}
    assert ours < set(whole.results)
    assert len(run.results) > len(ours)
    later = [s for s in run.segments if s.member >= 9 and s.interval == 0]
    assert all(s.hparams == of.space.cast(of.hparams(s.member)) for s in later)


def test_bohb_of_random_members_alone_is_hyperband():
    of = problem(12, 9, MIXED)
    assert drive(BOHB(random_fraction=1.0), of) == drive(Hyperband(), of)


# --- divergence and the answer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_where_everything_diverges_late_a_finite_member_is_the_answer(kind):
    run = drive(kind(), problem(6, 9), diverges=lambda s: s.interval >= 4)
    best = run.results[run.best]
    assert not best.diverged
    finite = [r for r in run.results.values() if not r.diverged]
    longest = max(r.segment.interval for r in finite)
    assert best == min((r for r in finite if r.segment.interval == longest), key=lambda r: r.rank_key)


@pytest.mark.parametrize("kind", KINDS)
def test_what_diverged_members_do_not_cost_pays_for_further_ones(kind):
    quiet, loud = (drive(kind(), problem(9, 9), diverges=d) for d in (lambda s: False, lambda s: s.member < 30))
    assert loud.counts["members"] > quiet.counts["members"]
    best = loud.results[loud.best]
    assert best.segment.member >= 30
    assert best.segment.interval == 8


def test_the_answer_by_what_was_trained_longest():
    def result(member, interval, score):
        segment = Segment(member, None, interval, {})
        return Result(f"{member}/{interval}", segment, {}, -math.inf if score is None else score, score is None)

    full = [result(0, 3, None), result(1, 1, 2.0), result(2, 1, 2.0), result(3, 0, 9.0)]
    assert best_trained(full, "final", 4) == "1/1"
    assert best_trained(full, "any", 4) == "3/0"
    assert best_trained([*full, result(4, 3, -5.0)], "final", 4) == "4/3"
    assert best_trained([result(1, 0, None), result(0, 0, None), result(0, 1, None)], "final", 4) == "0/1"
    with pytest.raises(OptimizerError):
        best_trained([], "final", 4)


@pytest.mark.parametrize("kind", KINDS)
def test_ties_go_to_the_lower_member_at_every_rung(kind):
    run = drive(kind(), problem(9, 9), score=level)
    promoted = [member for member, length in reached(run).items() if length > 1 and member < 9]
    assert promoted == list(range(len(promoted)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"reduction_factor": 1}, "reduction_factor"),
        ({"min_budget": 0.7}, "min_budget"),
        ({"min_budget": -0.5}, "min_budget"),
        ({"min_budget": 2.5}, "min_budget"),
    ],
)
def test_options_that_mean_nothing_are_refused_at_the_start(kind, options, named):
    with pytest.raises(OptionError) as caught:
        kind(**options).start(problem(5, 4))
    assert caught.value.option == named
