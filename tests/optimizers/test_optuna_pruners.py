import math
import zlib
from dataclasses import replace

import optuna
import pytest
from driver import drive, problem
from hypothesis import given
from hypothesis import strategies as st

from hpo.core.errors import OptionError
from hpo.optimizers.hyperband import hyperband_brackets
from hpo.optimizers.optuna import OptunaSearch
from hpo.optimizers.pruners import (
    HyperbandPruner,
    MedianPruner,
    NoPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    ThresholdPruner,
)
from hpo.optimizers.random_search import RandomSearch
from hpo.optimizers.samplers import Random


def lengths(run):
    """How many intervals each member trained, by member."""
    members = [segment.member for segment in run.segments]
    return [members.count(member) for member in range(max(members) + 1)]


def scored(pruner, scores, n, intervals=4, concurrency=1, direction="maximize", diverges=lambda segment: False):
    """Run a search in which member i scores scores[i] after each interval, a number or a list; return it."""

    def score(segment):
        given = scores[segment.member]
        return float(given[segment.interval] if isinstance(given, list) else given)

    of = replace(problem(n, intervals, concurrency=concurrency), direction=direction)
    return drive(OptunaSearch(Random(), pruner, initial=1), of, score, diverges)


def test_median_by_hand():
    # Member 0 is the only completed trial, so its score is the median of each step.
    run = scored(MedianPruner(n_startup_trials=1), [[1, 2, 3, 4], 0, [1, 1, 9, 9], 5], n=3)
    assert lengths(run) == [4, 1, 2, 4]  # 11 of 12: one interval is too little for another trial
    assert run.counts == {"pruned": 2}
    assert run.results[run.best].segment.member == 3


def test_median_waits_for_the_steps_of_the_warm_up_and_judges_every_so_often():
    scores = [1, 0, 0]
    assert lengths(scored(MedianPruner(1, n_warmup_steps=1), scores, n=2, intervals=5)) == [5, 2]
    assert lengths(
        scored(MedianPruner(1, n_warmup_steps=0, interval_steps=2), [1, [2, 0, 0, 0, 0], 0], n=2, intervals=5)
    ) == [5, 5]
    late = [[1, 3, 3, 3, 3], [2, 2, 2, 2, 2], 0]
    assert lengths(scored(MedianPruner(1, n_warmup_steps=0, interval_steps=2), late, n=2, intervals=5)) == [5, 3]


def test_percentile_by_hand():
    # The best quarter of 0, 1, 2, 3 begins at 2.25.
    run = scored(PercentilePruner(25.0, n_startup_trials=4), [0, 1, 2, 3, 2.2, 2.3], n=6, intervals=2, concurrency=4)
    assert lengths(run) == [2, 2, 2, 2, 1, 2]


def test_median_is_the_percentile_of_50():
    def rounds(pruner):
        return drive(OptunaSearch(Random(), pruner, initial=2), problem(9, 4, concurrency=2)).rounds

    assert rounds(MedianPruner(2, 1)) == rounds(PercentilePruner(50.0, 2, 1)) != rounds(MedianPruner(2, 0))


def test_successive_halving_by_hand():
    # Rungs after 1 and 2 intervals. Member 1 is the worse of two, member 2 passes as the best of three and is the worse of
    # two at the next rung, member 3 passes as the second of four and is not the best of three.
    scores = [1, 0, [2, 0.5, 9, 9], [1.5, 0.9, 9, 9]]
    assert lengths(scored(SuccessiveHalvingPruner(reduction_factor=2), scores, n=3)) == [4, 1, 2, 2]


def test_successive_halvings_first_rung():
    scores = [3, 2, 1, 0, 0, 0, 0, 0]
    assert lengths(scored(SuccessiveHalvingPruner(2, 2), scores, n=3)) == [4, 2, 2, 2]
    assert lengths(scored(SuccessiveHalvingPruner(1, 3, 1), scores, n=3))[:2] == [4, 3]
    assert lengths(scored(SuccessiveHalvingPruner(1, 2, bootstrap_count=2), scores, n=2))[:3] == [1, 1, 1]


@pytest.mark.parametrize("seed", [0, 1])
def test_hyperbands_brackets(seed):
    # floor(log2 4) + 1 = 3 brackets of ceil(3 * 2**s / (s + 1)) shares, s = 2, 1, 0: 4, 3, 3 of 10. Every trial is worse than
    # those before it, so each but the first of its bracket stops at the bracket's first rung: after 1, 2 or 4 intervals.
    of = problem(8, 4, seed=seed, concurrency=1)
    run = drive(
        OptunaSearch(Random(), HyperbandPruner(reduction_factor=2), initial=0), of, lambda segment: -segment.member
    )
    name = f"hpo-{of.streams.key('sampler') % 2**32}"
    shares = [zlib.crc32(f"{name}_{member}".encode()) % 10 for member in range(len(lengths(run)))]
    brackets = [0 if share < 4 else 1 if share < 7 else 2 for share in shares]
    assert lengths(run) == [2**b if b in brackets[:member] else 4 for member, b in enumerate(brackets)]
    assert set(brackets) == {0, 1, 2}


@pytest.mark.parametrize("seed", [0, 1])
def test_hyperband_has_six_brackets_for_243_intervals_and_eta_3(seed):
    """Fault 7: Optuna's logarithm gives five. Every trial is worse than those before it and stops at its bracket's first rung."""
    of = problem(12, 243, seed=seed, concurrency=1)
    run = drive(OptunaSearch(Random(), HyperbandPruner(), initial=0), of, lambda segment: -segment.member)
    name = f"hpo-{of.streams.key('sampler') % 2**32}"
    shares = [math.ceil(6 * 3**s / (s + 1)) for s in (5, 4, 3, 2, 1, 0)]
    drawn = [zlib.crc32(f"{name}_{member}".encode()) % sum(shares) for member in range(len(lengths(run)))]
    brackets = [next(b for b in range(6) if draw < sum(shares[: b + 1])) for draw in drawn]
    assert lengths(run) == [3**b if b in brackets[:member] else 243 for member, b in enumerate(brackets)]
    assert len(set(brackets)) > 4


@given(st.integers(1, 5), st.integers(2, 10), st.integers(1, 6))
def test_brackets_are_counted_exactly(least, eta, power):
    """Fault 7: also one interval below and above a power of eta."""
    for intervals, expected in (
        (least * eta**power - 1, power),
        (least * eta**power, power + 1),
        (least * eta**power + 1, power + 1),
    ):
        pruner = HyperbandPruner(least, eta).build(problem(4, intervals))
        trial = optuna.create_study(pruner=pruner).ask()
        trial.report(0.0, 1)
        trial.should_prune()
        assert len(pruner._pruners) == expected
        assert len(hyperband_brackets(problem(4, intervals), least / 2, eta)) == expected


def test_patience_by_hand():
    worse = [[3, 1, 1, 1, 1], [3, 2, 4, 1, 1], 0, 0, 0]
    assert lengths(scored(PatientPruner(patience=0), worse, n=2, intervals=5)) == [2, 2, 5]
    assert lengths(scored(PatientPruner(patience=1), worse, n=2, intervals=5))[:2] == [3, 5]
    assert lengths(scored(PatientPruner(patience=0, min_delta=2.5), worse, n=2, intervals=5)) == [5, 4]
    wrapped = PatientPruner(ThresholdPruner(lower=0.5), patience=0)
    assert lengths(scored(wrapped, [[3, 1, 0.4, 0, 0], [0, 0, 0, 0, 0], 0], n=2, intervals=5)) == [3, 5]


def test_thresholds_are_the_metrics_own_numbers():
    # A minimized metric is the score's negative.
    scores = [-0.5, -0.95, -0.1, -0.5, -0.5]
    minimized = scored(ThresholdPruner(lower=0.2, upper=0.9), scores, n=3, direction="minimize")
    assert lengths(minimized) == [4, 1, 1, 4]
    assert lengths(scored(ThresholdPruner(lower=-0.9), scores, n=2)) == [4, 1]
    assert lengths(scored(ThresholdPruner(upper=-0.2, n_warmup_steps=1), scores, n=3)) == [4, 4, 2]


def test_a_diverged_trial_stops_with_a_pruner_and_goes_on_without():
    def first_diverges(segment):
        return segment.member == 0

    stopped = scored(ThresholdPruner(lower=-9.0), [0] * 9, n=2, diverges=first_diverges)
    assert lengths(stopped) == [1, 4]
    assert stopped.counts == {"pruned": 0}
    charged = scored(NoPruner(), [0] * 9, n=2, diverges=first_diverges)
    assert lengths(charged) == [4, 4]
    assert charged.counts == {}


def test_a_pruner_that_stops_everything_leaves_the_best_of_the_longest():
    run = scored(ThresholdPruner(lower=1.0), [[0, 0], [1, 0.5, 0], [1, 0.7, 0]] + [0.9] * 9, n=2)
    assert lengths(run) == [1, 2, 2]
    assert run.results[run.best].segment.member == 2
    assert run.results[run.best].segment.interval == 1
    none = scored(ThresholdPruner(lower=1.0), [0] * 9, n=2, diverges=lambda segment: True)
    assert lengths(none) == [1] * 5
    assert none.results[none.best].segment.member == 0


def test_a_pruner_that_never_stops_is_no_pruner():
    def run(pruner):
        return drive(OptunaSearch(pruner=pruner, initial=2), problem(9, 4, concurrency=3))

    assert run(ThresholdPruner(lower=-1e9)).rounds == run(NoPruner()).rounds


def test_trials_that_stop_share_their_prefixes_with_random_search():
    of = problem(6, 4, concurrency=3)
    mine = drive(OptunaSearch(Random(), SuccessiveHalvingPruner(reduction_factor=2), initial=6), of)
    assert len(set(mine.results) & set(drive(RandomSearch(), of).results)) == sum(lengths(mine)[:6])
    assert len(lengths(mine)) > 6


@pytest.mark.parametrize(
    ("pruner", "n", "named"),
    [
        (MedianPruner(5), 5, "pruner.n_startup_trials"),
        (MedianPruner(0), 2, "pruner.n_startup_trials"),
        (MedianPruner(0, n_min_trials=6), 5, "pruner.n_min_trials"),
        (MedianPruner(1, n_warmup_steps=3), 9, "pruner.n_warmup_steps"),
        (PercentilePruner(n_warmup_steps=3), 99, "pruner.n_warmup_steps"),
        (ThresholdPruner(upper=1.0, n_warmup_steps=3), 9, "pruner.n_warmup_steps"),
        (SuccessiveHalvingPruner(4), 9, "pruner.min_resource"),
        (SuccessiveHalvingPruner(1, 2, 2), 9, "pruner.min_early_stopping_rate"),
        (HyperbandPruner(4), 9, "pruner.min_resource"),
        (PatientPruner(patience=2), 9, "pruner.patience"),
        (PatientPruner(HyperbandPruner(4), 1), 9, "pruner.wrapped.min_resource"),
    ],
)
def test_pruners_that_could_never_stop_a_trial_are_refused(pruner, n, named):
    with pytest.raises(OptionError) as caught:
        OptunaSearch(pruner=pruner, initial=2).start(problem(n, 4, concurrency=2))
    assert caught.value.option == named


def test_the_least_that_is_accepted_does_stop_trials():
    scores = [1, 1, 0, 0, 0]
    assert lengths(scored(MedianPruner(2, n_warmup_steps=2), scores, n=3, concurrency=2)) == [4, 4, 3]
    assert lengths(scored(SuccessiveHalvingPruner(3), scores, n=3)) == [4, 4, 3]


def test_thresholds_need_a_bound_and_an_order():
    with pytest.raises(OptionError, match="upper"):
        ThresholdPruner()
    with pytest.raises(OptionError, match="lower"):
        ThresholdPruner(lower=1.0, upper=0.5)
