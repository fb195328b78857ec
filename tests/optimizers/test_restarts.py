import math
from dataclasses import replace

import numpy as np
import pytest

from hpo.core.optimizer import Member
from hpo.core.segments import Result, Segment
from hpo.optimizers.local_search import Observation
from hpo.optimizers.restarts import Iteration, is_flat, is_slow, scaled, smoothed
from hpo.optimizers.trust_region import TrustRegion

STEPS = 15


def test_a_curve_is_scaled_by_its_own_mean_and_deviation():
    assert scaled([1.0, 2.0, 3.0]) == pytest.approx([-1.0, 0.0, 1.0])  # the deviation of a sample: n - 1
    assert scaled([1e300, 2e300, 3e300]) == pytest.approx([-1.0, 0.0, 1.0])
    assert scaled([4.0, 4.0]).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize(
    ("curve", "flat"),
    [
        ([5.0], False),
        ([1.0, 2.0], False),
        ([2.0, 1.0], True),
        ([3.0, 3.0, 3.0], True),
        ([1.0, 2.0, 3.0, 4.0, 5.0], False),
        ([1.0, 2.0, 3.0, 2.0], True),
        ([0.0, 1.0, 2.0, 3.0, 4.0, 4.0, 4.0, 4.0], True),
        ([0.0, 1.0, 2.0, 1.9, 3.0], False),
    ],
)
def test_a_curve_is_flat_if_its_smoothed_end_does_not_rise_whatever_its_unit(curve, flat, factor):
    assert is_flat([factor * score - 7.0 * factor for score in curve]) is flat


def test_a_last_score_that_rises_against_the_trend_is_smoothed_over():
    zigzag = [-step + (2.0 if step % 2 else -2.0) for step in range(20)]
    assert zigzag[-1] > zigzag[-2]
    assert is_flat(zigzag) is True
    assert is_flat([-score for score in zigzag[:-1]]) is False  # it rises, although the last score is lower


def test_a_search_is_slow_if_its_last_fourteen_steps_gain_less_than_a_deviation():
    base = [0.0, *([1.0] * 14)]  # the gain since the first step is 1 / std, and the deviation is 1 / sqrt(15) = 0.26
    assert is_slow(base) is False
    assert is_slow(base[:-1]) is False
    assert is_slow([0.0, 1.0, *([1.0] * 14)]) is True  # nothing is gained after the second
    for gain in (0.3, 3.0):
        curve = [0.0, 1.0, 2.0, 3.0, *([3.0] * 13), 3.0 + gain]
        assert len(curve) - 14 == 4
        assert is_slow(curve) is bool(gain / np.std(curve, ddof=1) < 1)
    assert [is_slow([0.0, 1.0, 2.0, 3.0, *([3.0] * 13), 3.0 + gain]) for gain in (0.3, 3.0)] == [True, False]


def test_a_constant_curve_is_slow_only_from_fifteen_steps_on():
    assert [is_slow([2.0] * count) for count in (1, STEPS - 1, STEPS, 40)] == [False, False, True, True]


@pytest.mark.filterwarnings("ignore:The optimal value")
def test_the_smooth_curve_solves_the_normal_equations_of_its_process():
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    values = scaled([0.0, 2.0, 1.2, 2.6, 1.9, 2.7])
    at = np.linspace(0, 1, 6)[:, None]
    prior = ConstantKernel(1.0, (1e-2, 1e2)) * Matern(0.5, (0.05, 10.0), nu=2.5) + WhiteKernel(0.1, (1e-4, 1.0))
    fitted = GaussianProcessRegressor(prior).fit(at, values).kernel_
    variance, length, noise = (math.exp(each) for each in fitted.theta)
    far = math.sqrt(5) * np.abs(at - at.T) / length
    covariance = variance * (1 + far + far**2 / 3) * np.exp(-far)
    mean = covariance @ np.linalg.solve(covariance + noise * np.eye(6), values)
    assert smoothed(values) == pytest.approx(mean, abs=1e-6)


# --- what an iteration learns ------------------------------------------------------------------------------------------


def step(iteration, scores, proposed):
    """Add a step of two intervals, in which members with these scores started from a score of 1."""
    iteration.proposed = frozenset(proposed)
    members, results = [], {}
    for slot, score in enumerate(scores):
        first = Segment(slot, "before", 2, {"x": 0.5})
        history = [Result(f"{slot}/2", first, {}, 1.5), Result(f"{slot}/3", replace(first, interval=3), {}, score)]
        members.append(Member(slot, history[-1].key, {"x": 0.5}, score, score == -math.inf, history))
    results["before"] = Result("before", Segment(9, None, 1, {"x": 0.5}), {}, 1.0)
    iteration.add(members, 2, results)


def test_an_observation_is_the_gain_of_an_interval_at_the_time_of_its_step():
    iteration = Iteration(curve=[0.0])
    step(iteration, [5.0, -math.inf, 2.0], ())
    assert iteration.observed == [Observation(1, {"x": 0.5}, 2.0), Observation(1, {"x": 0.5}, 0.5)]
    assert iteration.curve == [0.0, 5.0]
    assert [result.key for result in iteration.results] == ["0/2", "0/3", "1/2", "1/3", "2/2", "2/3"]


def test_the_trust_region_follows_the_best_member_and_begins_anew_when_it_cannot_shrink():
    iteration = Iteration()
    for _ in range(3):
        step(iteration, [2.0, 5.0], {1})
    assert iteration.region == TrustRegion().after(True).after(True).after(True)
    assert iteration.region.length > TrustRegion().length
    step(iteration, [2.0, 5.0], ())  # nothing was proposed
    assert iteration.region.failures == 0
    failures = 0
    while iteration.observed:
        step(iteration, [5.0, 2.0], {1})
        failures += 1
    assert failures == 40  # 0.6, 0.4, 0.27, 0.18, and then the smallest, 0.15
    assert iteration.region == TrustRegion()
    assert len(iteration.curve) == 4 + 40
