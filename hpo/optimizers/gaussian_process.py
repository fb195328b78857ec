"""The time-varying Gaussian process of PB2 and its upper confidence bound.

Parker-Holder, Nguyen, Roberts, "Provably efficient online hyperparameter optimization with population-based bandits",
NeurIPS 2020, section 3; the process is that of Bogunovic, Scarlett, Cevher, "Time-varying Gaussian process bandit
optimization", AISTATS 2016, section 2.2: f_1 = g_1 and f_{t+1} = sqrt(1 - ω) f_t + sqrt(ω) g_{t+1}, with independent g's
of covariance k_SE. Its covariance over hyperparameters x and times t is

    k((t, x), (t', x')) = k_SE(x, x') (1 - ω)^(|t - t'| / 2),    k_SE(x, x') = s² exp(-|x - x'|² / (2 l²)).

Points are rows (t, x_1, ..., x_d), with the time first. This module needs scikit-learn, so it is imported only to fit a
process.
"""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Hyperparameter, Kernel, WhiteKernel
from threadpoolctl import threadpool_limits

Floats = NDArray[np.float64]

_NOISE_BOUNDS = (1e-4, 1.0)
_START_NOISE = 0.1


class TimeVarying(Kernel):  # type: ignore[misc]
    """The covariance above, as a scikit-learn kernel.

    Args:
        variance: s².
        length_scale: l, shared by all hyperparameters, which lie in the unit cube.
        omega: ω, from 0 (nothing changes) to 1 (nothing is remembered).
        variance_bounds, length_scale_bounds, omega_bounds: the ranges searched when the likelihood is maximised.
    """

    def __init__(
        self,
        variance: float = 1.0,
        length_scale: float = 0.5,
        omega: float = 0.1,
        variance_bounds: tuple[float, float] = (1e-2, 1e2),
        length_scale_bounds: tuple[float, float] = (0.05, 10.0),
        omega_bounds: tuple[float, float] = (1e-5, 0.5),
    ) -> None:
        self.variance = variance
        self.length_scale = length_scale
        self.omega = omega
        self.variance_bounds = variance_bounds
        self.length_scale_bounds = length_scale_bounds
        self.omega_bounds = omega_bounds

    # scikit-learn sorts the fitted parameters by the names of these properties: length_scale, omega, variance.
    @property
    def hyperparameter_length_scale(self) -> Hyperparameter:
        """The length scale l. All three parameters are fitted on a logarithmic scale."""
        return Hyperparameter("length_scale", "numeric", self.length_scale_bounds)

    @property
    def hyperparameter_omega(self) -> Hyperparameter:
        """The forgetting ω."""
        return Hyperparameter("omega", "numeric", self.omega_bounds)

    @property
    def hyperparameter_variance(self) -> Hyperparameter:
        """The variance s²."""
        return Hyperparameter("variance", "numeric", self.variance_bounds)

    def __call__(self, X: Any, Y: Any = None, eval_gradient: bool = False) -> Any:
        """Return the covariances, shape (n, m), and with `eval_gradient` their gradient in log θ, shape (n, n, 3)."""
        X = np.atleast_2d(X)
        Y = X if Y is None else np.atleast_2d(Y)
        ages = np.abs(X[:, None, 0] - Y[None, :, 0])
        squares = np.square(X[:, None, 1:] - Y[None, :, 1:]).sum(axis=2)
        K = self.variance * np.exp(-squares / (2 * self.length_scale**2)) * (1 - self.omega) ** (ages / 2)
        if not eval_gradient:
            return K
        by_length = K * squares / self.length_scale**2
        by_omega = -K * ages / 2 * self.omega / (1 - self.omega)
        return K, np.dstack([by_length, by_omega, K])

    def diag(self, X: Any) -> Floats:
        """Return the variances of single points, shape (n,)."""
        return np.full(len(X), self.variance)

    def is_stationary(self) -> bool:
        """Return True: the covariance depends only on the difference of two points."""
        return True


@dataclass(frozen=True)
class FittedProcess:
    """A fitted Gaussian process.

    Args:
        points: the observed points, shape (n, 1 + d), n at least 1.
        improvements: the observations, shape (n,).
        kernel: the covariance.
        noise: the variance of the observation noise.
    """

    points: Floats
    improvements: Floats
    kernel: TimeVarying
    noise: float

    def upper_confidence(self, candidates: Floats, pending: Floats, beta: float) -> Floats:
        """Return μ(x) + sqrt(β) σ(x) of each candidate, shape (c,).

        The mean depends on the observations alone. The deviation also depends on the pending points: the variance of a
        Gaussian process does not depend on observed values, so pending points count before their results are known, and
        members that are changed together choose different points.

        Args:
            candidates: shape (c, 1 + d).
            pending: points chosen but not yet observed, shape (p, 1 + d).
            beta: β, at least 0.
        """
        there = np.vstack([self.points, pending])
        with _one_thread():
            mean = self._conditioned(self.points, self.improvements).predict(candidates)
            deviation = self._conditioned(there, np.zeros(len(there))).predict(candidates, return_std=True)[1]
        return np.asarray(mean + math.sqrt(beta) * deviation, dtype=np.float64)

    def _conditioned(self, points: Floats, values: Floats) -> GaussianProcessRegressor:
        return GaussianProcessRegressor(self.kernel, alpha=self.noise, optimizer=None).fit(points, values)


def fit(points: Floats, improvements: Floats) -> FittedProcess:
    """Return the process whose kernel and noise maximise the marginal likelihood, from one fixed start.

    Args:
        points: shape (n, 1 + d).
        improvements: shape (n,), standardised.
    """
    with _one_thread():
        model = GaussianProcessRegressor(TimeVarying() + WhiteKernel(_START_NOISE, _NOISE_BOUNDS))
        model.fit(points, improvements)
    return FittedProcess(points, improvements, model.kernel_.k1, float(model.kernel_.k2.noise_level))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread for linear algebra, so that sums are the same everywhere, and silence warnings about the fit."""
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
