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


def old_kernel(X, variance, length_scale, omega):
    """The covariance of PB2 and its gradient, written as they first were."""
    ages = np.abs(X[:, None, 0] - X[None, :, 0])
    squares = np.square(X[:, None, 1:] - X[None, :, 1:]).sum(axis=2)
    K = variance * np.exp(-squares / (2 * length_scale**2)) * (1 - omega) ** (ages / 2)
    by_length = K * squares / length_scale**2
    return K, np.dstack([by_length, -K * ages / 2 * omega / (1 - omega), K])


@given(st.floats(0.01, 100.0), st.floats(0.05, 10.0), st.floats(1e-5, 0.5), st.integers(1, 12), st.integers(0, 99))
def test_with_numbers_and_one_length_scale_it_is_the_kernel_of_pb2_bit_for_bit(
    variance, length_scale, omega, dimensions, seed
):
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.integers(0, 9, 7), rng.random((7, dimensions))])
    K, gradient = TimeVarying(variance, length_scale, omega)(X, eval_gradient=True)
    old, slope = old_kernel(X, variance, length_scale, omega)
    assert np.array_equal(K, old)
    assert np.array_equal(gradient, slope)
    assert gradient.flags.c_contiguous


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


# --- categories ------------------------------------------------------------------------------------------------------

ROWS = np.array([[0.0, 0.0, 0.0, 1.0], [1.0, 0.5, 0.0, 2.0], [3.0, 0.5, 1.0, 2.0]])
"""Time, a number, and two categories."""


def mixed(number, category, mix):
    return (1 - mix) * (number + category) + mix * number * category


def test_a_mixture_by_hand():
    K = TimeVarying(2.0, 0.5, 0.19, mix=0.25, categorical=(2, 3))(ROWS)
    near = math.exp(-0.5)  # 0.5² / (2 · 0.5²)
    itself = mixed(1, 1, 0.25)
    # Rows 0 and 1 share the first category, rows 1 and 2 the second, rows 0 and 2 none.
    first, second, third = mixed(near, 0.5, 0.25), mixed(1, 0.5, 0.25), mixed(near, 0, 0.25)
    expected = [[itself, 0.9 * first, 0.729 * third], [0.9 * first, itself, 0.81 * second]]
    assert K[:2] == pytest.approx(2 * np.array(expected), rel=1e-12)
    assert TimeVarying(2.0, mix=0.25, categorical=(2, 3)).diag(ROWS) == pytest.approx(np.diag(K))


def test_an_exponential_overlap_by_hand():
    kernel = TimeVarying(
        1.0, 0.5, 0.0, mix=1.0, weights=(0.2, 0.6), categorical=(2, 3), exponential=True, omega_bounds="fixed"
    )
    K = kernel(ROWS)
    near = math.exp(-0.5)
    assert K[0] == pytest.approx([math.exp(0.4), near * math.exp(0.1), near])
    assert K[1, 2] == pytest.approx(math.exp(0.3))
    assert kernel.diag(ROWS) == pytest.approx(np.diag(K))


def test_matern_with_a_length_scale_for_each_number_by_hand():
    X = np.array([[0.0, 0.0, 0.0], [0.0, 0.3, 0.8]])
    K = TimeVarying(1.0, (0.5, 2.0), matern=True)(X)
    square = 0.6**2 + 0.4**2
    root = math.sqrt(5 * square)
    assert K[0, 1] == pytest.approx((1 + root + 5 * square / 3) * math.exp(-root), rel=1e-12)
    assert TimeVarying(1.0, (0.5, 2.0))(X)[0, 1] == pytest.approx(math.exp(-square / 2))


KERNELS = {
    "ard": TimeVarying(1.3, (0.3, 0.7)),
    "matern": TimeVarying(1.3, 0.4, matern=True),
    "ard matern": TimeVarying(1.3, (0.3, 0.7), matern=True, omega=0.0, omega_bounds="fixed"),
    "mixed": TimeVarying(1.3, 0.4, 0.2, 0.3, categorical=(2, 4)),
    "mixed, fixed": TimeVarying(1.3, 0.4, 0.2, 0.5, categorical=(2, 4), mix_bounds="fixed"),
    "exponential": TimeVarying(1.3, 0.4, 0.2, 0.3, 0.8, (2, 4), exponential=True),
    "everything": TimeVarying(1.3, (0.3, 0.7), 0.2, 0.3, (0.8, 2.0), (2, 4), matern=True, exponential=True),
    "categories alone": TimeVarying(1.3, (), 0.2, 0.3, (0.8, 2.0), (1, 2), exponential=True),
}


def rows(kernel, count, seed):
    """Return random rows with two numbers and as many categories of three choices as the kernel has."""
    rng = np.random.default_rng(seed)
    numbers = 0 if kernel.categorical == (1, 2) else 2
    X = np.column_stack([rng.integers(0, 9, count), rng.random((count, numbers + len(kernel.categorical)))])
    X[:, list(kernel.categorical)] = rng.integers(0, 3, (count, len(kernel.categorical)))
    return X


@pytest.mark.parametrize("name", KERNELS)
def test_every_gradient_is_that_of_finite_differences(name):
    kernel, X = KERNELS[name], rows(KERNELS[name], 6, 1)
    _, gradient = kernel(X, eval_gradient=True)
    assert gradient.shape == (6, 6, len(kernel.theta))
    for index in range(len(kernel.theta)):
        shift = np.eye(len(kernel.theta))[index] * 1e-6
        up, down = (kernel.clone_with_theta(kernel.theta + sign * shift)(X) for sign in (1, -1))
        assert gradient[:, :, index] == pytest.approx((up - down) / 2e-6, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("name", KERNELS)
def test_every_kernel_is_a_covariance(name):
    kernel, X = KERNELS[name], rows(KERNELS[name], 30, 2)
    K = kernel(X)
    assert np.allclose(K, K.T)
    assert np.linalg.eigvalsh(K).min() > -1e-9
    assert kernel.diag(X) == pytest.approx(np.diag(K))
    assert kernel(X[:4], X[4:]) == pytest.approx(K[:4, 4:])
    assert clone(kernel) == kernel


@pytest.mark.parametrize("name", [name for name in KERNELS if KERNELS[name].categorical])
def test_the_order_of_choices_does_not_matter(name):
    kernel, X = KERNELS[name], rows(KERNELS[name], 20, 3)
    other = X.copy()
    other[:, list(kernel.categorical)] = np.array([2.0, 0.0, 1.0])[X[:, list(kernel.categorical)].astype(int)]
    assert np.array_equal(kernel(X), kernel(other))
    values = np.random.default_rng(4).standard_normal(20)
    assert fit(X, values, kernel).kernel == fit(other, values, kernel).kernel


def test_without_forgetting_times_do_not_matter():
    kernel, X = KERNELS["ard matern"], rows(KERNELS["ard matern"], 8, 5)
    later = X + np.array([100.0, 0.0, 0.0]) * np.arange(8)[:, None]
    assert np.array_equal(kernel(X), kernel(later))


def test_a_fit_finds_which_columns_matter_and_stays_inside_its_bounds():
    rng = np.random.default_rng(0)
    X = np.column_stack([np.zeros(60), rng.random((60, 2)), rng.integers(0, 3, (60, 2))])
    values = np.sin(6 * X[:, 1]) + 2 * (X[:, 3] == 1)
    kernel = TimeVarying(
        length_scale=(0.3, 0.3), omega=0.0, weights=(1.0, 1.0), categorical=(3, 4), matern=True, exponential=True,
        omega_bounds="fixed", length_scale_bounds=(0.05, 2.0),
    )  # fmt: skip
    found = fit(X, (values - values.mean()) / values.std(), kernel, noise=1e-3, noise_bounds=(1e-5, 0.1))
    assert found.kernel.length_scale[0] < 1.0
    assert found.kernel.length_scale[1] == pytest.approx(2.0)  # the bound: this number does not matter
    assert found.kernel.weights[0] > 5 * found.kernel.weights[1]
    assert 1e-5 * (1 - 1e-9) <= found.noise < 0.01


def test_a_mixed_posterior_is_that_of_linear_algebra():
    kernel = KERNELS["everything"]
    X, candidates, values = rows(kernel, 12, 6), rows(kernel, 5, 7), np.arange(12.0)
    mean, deviation = FittedProcess(X, values, kernel, 0.3).given().moments(candidates)
    inverse, cross = np.linalg.inv(kernel(X) + 0.3 * np.eye(12)), kernel(candidates, X)
    assert mean == pytest.approx(cross @ inverse @ values, rel=1e-9)
    assert deviation**2 == pytest.approx(kernel.diag(candidates) - np.diag(cross @ inverse @ cross.T), rel=1e-9)


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
    mean, deviation = by_hand(np.empty((0, 2)))
    assert np.array(process.given().moments(CANDIDATES)) == pytest.approx(np.array([mean, deviation]), rel=1e-9)
    bound = process.given(np.empty((0, 2))).upper_confidence(CANDIDATES, BETA)
    assert bound == pytest.approx(mean + math.sqrt(BETA) * deviation, rel=1e-9)
    first = int(np.argmax(bound))
    pending = CANDIDATES[[first]]
    same, less = by_hand(pending)
    assert same == pytest.approx(mean)
    assert less[first] < deviation[first]
    again = process.given(pending).upper_confidence(CANDIDATES, BETA)
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
