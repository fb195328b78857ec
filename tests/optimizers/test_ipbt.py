import math
from collections import Counter
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from driver import FLOATS, KEYS, SPACES, drive, level, problem, smooth
from helpers import Interrupts, answer, document, results, run

from hpo.core.errors import OptionError
from hpo.core.segments import Result, Segment, ShrinkPerturb
from hpo.optimizers.bg_pbt import BGPBT
from hpo.optimizers.ipbt import IPBT
from hpo.optimizers.restarts import Iteration, Outcome, is_slow


def searched(n, intervals, options=None, score=level, **more):
    """Return a search in which all members of a step, also twice as many at a start, train at the same time."""
    options = options or IPBT()
    return drive(options, problem(n, intervals, concurrency=n * options.starts, **more), score)


def began(run):
    """Return the rounds in which an iteration starts."""
    return [index for index, asked in enumerate(run.rounds) if any(segment.scored_at_start for segment in asked)]


def starts(run):
    """Return the segments that start an iteration, by iteration."""
    return [run.rounds[index] for index in began(run)]


def explored(run):
    """Return the rounds in which a member trains with other hyperparameters than its parent, apart from starts."""
    return [
        index
        for index, asked in enumerate(run.rounds)
        for segment in asked
        if segment.parent is not None and not segment.scored_at_start
        if segment.hparams != run.results[segment.parent].segment.hparams
    ]


# --- the budget --------------------------------------------------------------------------------------------------------


def test_the_first_step_is_charged_for_all_starts_and_the_best_go_on():
    found = searched(3, 6, score=smooth)
    assert [len(asked) for asked in found.rounds] == [6, 3, 3, 3, 3]
    first = sorted((found.results[KEYS(segment)] for segment in found.rounds[0]), key=lambda result: result.rank_key)
    assert {segment.member for segment in found.rounds[1]} == {result.segment.member for result in first[:3]}
    assert [segment.member for segment in found.rounds[0]] == list(range(6))


def test_the_interval_doubles_at_each_restart_and_the_rest_of_the_budget_takes_two_steps():
    found = searched(4, 30)
    # A flat curve fails at its second point and, after three failures, restarts: after 4 steps. 2 + 1 + 1 + 1 = 5 intervals of a
    # member's budget are spent by then, (4 + 2 + 2 + 2) more until the second restart, then 8. The last 7 are 3 and 4.
    assert [len(asked) for asked in found.rounds] == [8, 4, 4, 4] + [8] * 2 + [4] * 6 + [8] * 4 + [4] * 7
    assert found.counts["restarts"] == 2
    assert explored(found)[-3:] == [
        11 - 1,
        16,
        16 + 3,
    ]  # once in 2 intervals, after the start, and between the last two steps


@pytest.mark.parametrize(("intervals", "restarts"), [(8, 0), (9, 1)])
def test_it_restarts_only_if_two_of_the_longer_steps_still_fit(intervals, restarts):
    found = searched(4, intervals)  # it stagnates after 5 intervals, and a longer step has 2
    assert found.counts["restarts"] == restarts
    assert len(found.segments) == 4 * intervals


def test_it_restarts_only_if_all_starts_can_finish_their_step():
    options = IPBT(starts=3)  # it stagnates after 3 + 3 intervals, and three steps of 2 need 6 more
    assert [searched(4, intervals, options).counts["restarts"] for intervals in (11, 12)] == [0, 1]


@pytest.mark.parametrize("seed", range(12))
def test_any_budget_is_spent_exactly_and_no_slot_uses_the_noise_of_an_interval_twice(seed):
    rng = np.random.default_rng(seed)
    options = IPBT(
        perturbation_interval=0.5 * float(rng.integers(1, 3)),
        starts=int(rng.integers(1, 4)),
        step_multiplier=int(rng.integers(1, 4)),
        patience=int(rng.integers(1, 4)),
        quantile_fraction=float(rng.choice([0.25, 0.5])),
        fraction_random_weights=float(rng.choice([0.0, 0.3, 0.5, 1.0])),
        fraction_random_hparams=float(rng.choice([0.0, 0.5, 1.0])),
    )
    n, intervals = int(rng.integers(2, 6)), int(rng.integers(8, 41))
    space = SPACES["conditional"]
    if seed % 2:
        space = replace(space, feasible=lambda hparams: 0.3 <= space["lr"].to_unit(hparams["lr"]) <= 0.7)

    def score(segment):
        return int(KEYS(segment)[:8], 16) / 16**8

    def diverges(segment):
        return segment.interval > 0 and int(KEYS(segment)[8:16], 16) % 40 == 0

    of = problem(n, intervals, space, seed=seed, concurrency=int(rng.integers(1, n + 1)))
    found = drive(options, of, score, diverges)
    assert len(found.segments) == n * intervals
    assert set(Counter((segment.member, segment.interval) for segment in found.segments).values()) == {1}
    roots = [segment.member for segment in found.segments if segment.parent is None]
    assert roots == list(range(len(roots)))
    assert len(found.finals) == n * (1 + found.counts["restarts"])
    assert found.results[found.best].score == max(found.results[key].score for key in found.finals)
    assert drive(options, of, score, diverges, entries=found.journal[: len(found.journal) // 2]) == found


# --- without restarts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("stretch", [1, 3])
def test_without_restarts_and_further_starts_it_is_bg_pbt(space, stretch):
    of = problem(8, 12, SPACES[space])
    never = {"patience": 1000, "perturbation_interval": stretch / 2}

    def score(segment):
        """Return a score that no curve of 12 steps calls slow, and whose gains of an interval divide without rounding."""
        return 3.0 * segment.interval + (segment.member % 3) * 0.375

    ours, theirs = drive(IPBT(starts=1, **never), of, score), drive(BGPBT(**never), of, score)
    assert ours.rounds == theirs.rounds
    assert ours.counts["restarts"] == theirs.counts["restarts"] == 0
    assert len(explored(ours)) == 2 * (12 // stretch - 1)


def test_with_further_starts_it_is_bg_pbt_of_those_that_go_on():
    ours = searched(4, 8, IPBT(patience=1000), smooth)
    assert [segment.member for segment in ours.rounds[1]] != [0, 1, 2, 3]
    before = {segment.member: segment.hparams for segment in ours.rounds[0]}
    first = tuple(dict(before[segment.member]) for segment in ours.rounds[1])
    theirs = drive(BGPBT(patience=1000), problem(4, 7, initial=first), smooth)
    assert explored(ours)
    after = [[[segment.hparams for segment in asked] for asked in found.rounds[1:]] for found in (ours, theirs)]
    assert after[0] == after[1]
    assert len(after[0]) == 6


# --- when it restarts --------------------------------------------------------------------------------------------------


def test_while_the_best_score_rises_it_never_restarts():
    assert searched(4, 24, score=lambda segment: 1.5**segment.interval).counts["restarts"] == 0


def test_patience_counts_consecutive_failures():
    assert [
        searched(4, 40, IPBT(patience=patience)).rounds[patience + 1][0].scored_at_start for patience in (1, 2, 5)
    ] == [
        True,
        True,
        True,
    ]


def test_a_search_that_is_slow_restarts_at_once():
    def slow(segment):
        return min(segment.interval, 2) + 1e-3 * segment.interval

    patient = IPBT(patience=100)
    # At its 15th point the curve has gained two steps of its 14 since the first, more than a deviation; at the 16th, one; ...
    curve = [slow(Segment(0, None, interval, {})) for interval in range(20)]
    first = next(count for count in range(1, 20) if is_slow(curve[:count]))
    assert began(searched(3, 40, patient, slow))[1] == first == 17


# --- what a restart keeps ----------------------------------------------------------------------------------------------


def ramp(segment):
    """Return a constant score for each slot, so that the curve is flat and slots are ranked: the higher, the better."""
    return float(segment.member)


@pytest.mark.parametrize(("fraction", "fresh"), [(0.5, 8), (0.0, 0), (1.0, 16)])
def test_a_part_of_the_starts_is_from_scratch_and_the_others_shrink_the_best_quarter(fraction, fresh):
    found = searched(8, 30, IPBT(fraction_random_weights=fraction), ramp)
    first, second = starts(found)[:2]
    assert len(first) == len(second) == 16
    scratch = [segment for segment in second if segment.parent is None]
    assert [segment.member for segment in scratch] == list(range(16, 16 + fresh))
    assert all(segment.transform is None and segment.interval == 0 for segment in scratch)
    last = found.rounds[began(found)[1] - 1]
    best = sorted((segment.member for segment in last), reverse=True)[:2]
    for segment in second:
        if segment.parent is not None:
            assert segment.transform == ShrinkPerturb(0.2, 0.1)
            assert found.results[segment.parent].segment.member in best
            assert segment.interval == found.results[segment.parent].segment.interval + 1


def test_options_of_the_transform_reach_it():
    found = searched(4, 20, IPBT(shrink=0.5, perturb=0.3, reset_optimizer=True))
    transforms = {segment.transform for segment in starts(found)[1]} - {None}
    assert transforms == {ShrinkPerturb(0.5, 0.3, True)}


def test_a_part_of_the_hyperparameters_is_random():
    """Without a model, as all are random, starts fill the space; with one they keep to the neighbourhood of the best start."""

    def near(segment):
        return -abs(math.log10(float(segment.hparams["lr"])) + 2.0)

    def spread(fraction):
        found = searched(20, 12, IPBT(fraction_random_hparams=fraction, patience=1), near)
        return np.std([FLOATS["lr"].to_unit(segment.hparams["lr"]) for segment in starts(found)[1]])

    assert spread(1.0) > 0.2 > spread(0.0)


def result(member, interval, score, parent=None, **more):
    lr = {"lr": 10.0**-member, "momentum": 0.5}
    before = more.pop("before", None)
    segment = Segment(member, parent, interval, lr, scored_at_start=before is not None)
    return Result(f"{member}/{interval}", segment, {}, score, score_at_start=before, **more)


def test_a_start_is_judged_by_the_best_score_that_it_or_a_descendant_reached():
    told = [
        result(0, 0, 1.0, before=0.0),
        result(1, 0, 2.0, before=0.5),
        result(2, 0, -math.inf, before=0.5, diverged=True),
        result(0, 1, 7.0, parent="1/0"),  # it copied slot 1: the score belongs to that start
        result(1, 1, 4.0, parent="1/0"),
        result(0, 2, 6.0, parent="0/1"),
        result(2, 1, 3.0, parent="0/0"),
    ]
    found = Iteration(results=told).outcomes()
    assert found == [
        Outcome({"lr": 1.0, "momentum": 0.5}, 0.0, 3.0),
        Outcome({"lr": 0.1, "momentum": 0.5}, 0.5, 7.0),
        Outcome({"lr": 0.01, "momentum": 0.5}, 0.5, 0.5),
    ]
    assert [outcome.gain for outcome in found] == [3.0, 6.5, 0.0]


# --- the answer --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("select", ["final", "any"])
def test_the_answer_is_the_best_end_of_any_iteration(select):
    seen = []

    def falling(segment):
        """Return 5 until the first restart, but 9 in between, and 1 after it."""
        seen.append(segment)
        restarted = any(each.transform or each.member >= 8 for each in seen)
        return 1.0 if restarted else 9.0 if len(seen) == 10 else 5.0

    found = searched(4, 30, IPBT(select=select), falling)
    best = found.results[found.best]
    assert found.counts["restarts"] >= 1
    if select == "any":
        assert best.score == 9.0
    else:
        assert best.score == 5.0
        assert found.best in found.finals
        assert (
            best.segment
            in found.rounds[found.rounds.index(next(asked for asked in found.rounds[1:] if len(asked) == 8)) - 1]
        )


# --- what it refuses ---------------------------------------------------------------------------------------------------


def test_a_task_without_the_transform_is_refused_unless_all_starts_are_from_scratch():
    of = replace(problem(4, 20), transforms=frozenset())
    with pytest.raises(OptionError, match=r"fraction_random_weights = 0\.5.*shrink_perturb"):
        IPBT().start(of)
    found = drive(IPBT(fraction_random_weights=1.0), of, level)
    assert found.counts["restarts"] > 0


@pytest.mark.parametrize(
    ("n", "intervals", "options", "option"),
    [
        (1, 20, {}, "population_size"),
        (4, 2, {}, "perturbation_interval"),
        (4, 20, {"perturbation_interval": 5.0}, "perturbation_interval"),
        (4, 20, {"perturbation_interval": 0.3}, "perturbation_interval"),
        (4, 20, {"shrink": math.nan}, "shrink"),
        (4, 20, {"perturb": -1.0}, "perturb"),
    ],
)
def test_what_cannot_work_is_refused(n, intervals, options, option):
    with pytest.raises(OptionError, match=option):
        IPBT(**options).start(problem(n, intervals))


def test_a_budget_that_leaves_no_time_for_a_restart_is_warned_of():
    # One restart after 2 + 3 intervals at the earliest, and two steps of 2.
    assert [len(IPBT().warnings(problem(4, intervals))) for intervals in (8, 9)] == [1, 0]
    # However patient it is, it restarts when 15 steps are too slow: after 2 + 14 intervals.
    assert [len(IPBT(patience=99).warnings(problem(4, intervals))) for intervals in (19, 20)] == [1, 0]
    assert searched(4, 20, IPBT(patience=99)).counts["restarts"] == 1


# --- real studies ------------------------------------------------------------------------------------------------------

STUDY = document(
    {"name": "toy", "training_noise": 0.05, "evaluation_noise": 0.05},
    ({"label": "ipbt", "optimizer": "ipbt", "patience": 1},),
    replicates=1,
    population_size=4,
    budget=16,
)


def test_a_study_that_is_interrupted_and_resumed_has_the_same_bits_and_so_has_one_on_two_workers(tmp_path):
    run(STUDY, tmp_path / "whole")
    (replicate,) = results(tmp_path / "whole")["replicates"]
    assert replicate["arms"]["ipbt"]["restarts"] > 0
    assert replicate["arms"]["ipbt"]["charged_intervals"] == 4 * 16
    with suppress(KeyboardInterrupt):
        run(STUDY, tmp_path / "cut", observer=Interrupts(40))
    run(STUDY, tmp_path / "cut")
    run(STUDY, tmp_path / "two", executor="process", workers=2)
    assert answer(tmp_path / "cut") == answer(tmp_path / "whole") == answer(tmp_path / "two")
