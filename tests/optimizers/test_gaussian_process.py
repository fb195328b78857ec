import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone

from hpo.optimizers.gaussian_process import FittedProcess, TimeVarying, fit

POINTS = np.array([[0.0, 0.0, 0.0], [1.0, 0.3, 0.4], [3.0, 0.3, 0.4]])


def test_kernel_entries_by_hand():
    K = TimeVarying(variance=2.0, length_scale=0.5, omega=0.19)(POINTS)
    # |x0 - x1|² = 0.09 + 0.16 = 0.25 and 2 l² = 0.5; (1 - ω)^(1/2) = 0.9, so ages 1, 2, 3 weigh 0.9, 0.81, 0.729.
    near = 2.0 * math.exp(-0.5)
    expected = [[2.0, 0.9 * near, 0.729 * near], [0.9 * near, 2.0, 0.81 * 2.0], [0.729 * near, 0.81 * 2.0, 2.0]]
    assert pytest.approx(np.array(expected), rel=1e-12) == K
    assert TimeVarying(2.0, 0.5, 0.19)(POINTS[:1], POINTS[1:]) == pytest.approx(K[:1, 1:])
    assert TimeVarying(2.0, 0.5, 0.19).diag(POINTS).tolist() == [2.0, 2.0, 2.0]


def test_nothing_is_forgotten_at_omega_0_and_it_is_the_squared_exponential():
    K = TimeVarying(1.0, 0.5, 0.0)(POINTS)
    assert K[1, 2] == 1.0
    assert K[0, 1] == K[0, 2] == pytest.approx(math.exp(-0.5))


@given(st.floats(0.1, 5.0), st.floats(0.1, 5.0), st.floats(0.01, 0.5), st.integers(0, 99))
def test_the_gradient_is_that_of_finite_differences(variance, length_scale, omega, seed):
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.integers(0, 9, 5), rng.random((5, 2))])
    kernel = TimeVarying(variance, length_scale, omega)
    assert np.exp(kernel.theta) == pytest.approx([length_scale, omega, variance])
    _, gradient = kernel(X, eval_gradient=True)
    step = 1e-6
    for index in range(3):
        shift = np.eye(3)[index] * step
        up, down = (kernel.clone_with_theta(kernel.theta + sign * shift)(X) for sign in (1, -1))
        assert gradient[:, :, index] == pytest.approx((up - down) / (2 * step), rel=1e-5, abs=1e-8)


def test_scikit_learn_can_copy_it():
    kernel = TimeVarying(2.0, 0.3, 0.2)
    assert clone(kernel) == kernel
    assert kernel.bounds.shape == (3, 2)


# --- the bound by linear algebra -------------------------------------------------------------------------------------

KERNEL, NOISE, BETA = TimeVarying(1.5, 0.4, 0.2), 0.05, 1.7
OBSERVED = np.array([[1.0, 0.1], [1.0, 0.5], [2.0, 0.9]])
GAINS = np.array([-1.0, 0.2, 0.8])
CANDIDATES = np.array([[3.0, 0.0], [3.0, 0.45], [3.0, 0.8], [3.0, 1.0]])


def covariance(A, B):
    return np.array(
        [[1.5 * math.exp(-((a[1] - b[1]) ** 2) / (2 * 0.16)) * 0.8 ** (abs(a[0] - b[0]) / 2) for b in B] for a in A]
    )


def by_hand(pending):
    there = np.vstack([OBSERVED, pending])
    cross = covariance(CANDIDATES, OBSERVED)
    mean = cross @ np.linalg.inv(covariance(OBSERVED, OBSERVED) + NOISE * np.eye(3)) @ GAINS
    cross = covariance(CANDIDATES, there)
    explained = cross @ np.linalg.inv(covariance(there, there) + NOISE * np.eye(len(there))) @ cross.T
    return mean, np.sqrt(1.5 - np.diag(explained))


def test_the_bound_is_mean_and_deviation_by_hand_and_pending_points_count_for_the_deviation_alone():
    process = FittedProcess(OBSERVED, GAINS, KERNEL, NOISE)
    none = np.empty((0, 2))
    mean, deviation = by_hand(none)
    assert process.upper_confidence(CANDIDATES, none, 0.0) == pytest.approx(mean, rel=1e-9)
    bound = process.upper_confidence(CANDIDATES, none, BETA)
    assert bound == pytest.approx(mean + math.sqrt(BETA) * deviation, rel=1e-9)
    first = int(np.argmax(bound))
    pending = CANDIDATES[[first]]
    same, less = by_hand(pending)
    assert same == pytest.approx(mean)
    assert less[first] < deviation[first]
    again = process.upper_confidence(CANDIDATES, pending, BETA)
    assert again == pytest.approx(same + math.sqrt(BETA) * less, rel=1e-9)
    assert (first, int(np.argmax(again))) == (3, 2)  # where the best place is taken, the next goes elsewhere


def test_the_fit_finds_that_the_world_changes_and_what_is_noise():
    rng = np.random.default_rng(0)
    times, x = np.repeat(np.arange(10.0), 8), rng.random(80)
    points = np.column_stack([times, x])
    steady = np.sin(5 * x)
    drifting = np.sin(5 * x + 1.5 * times)
    assert fit(points, steady / steady.std()).kernel.omega < 0.01 < fit(points, drifting / drifting.std()).kernel.omega
    noisy = fit(points, rng.standard_normal(80))
    assert noisy.noise > 10 * fit(points, steady / steady.std()).noise
