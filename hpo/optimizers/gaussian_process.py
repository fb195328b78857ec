"""The time-varying Gaussian process over mixed hyperparameters that PB2, PB2-Mix, BG-PBT and IPBT share.

`hpo.optimizers.time_varying` has its covariance, and `hpo.optimizers.observations` the rows to which it is fitted:

    encoding = Encoding.of(space)
    kernel = TimeVarying(length_scale=(0.5,) * encoding.numbers, categorical=encoding.categorical, matern=True)
    process = fit(points, values, kernel)          # the kernel's parameters are the start of the fit
    posterior = process.given(pending)
    mean, deviation = posterior.moments(candidates)

A process without time has the kernel `TimeVarying(..., omega=0.0, omega_bounds="fixed")`; the times of its points have no effect.
This module needs scikit-learn, so it is imported only to fit a process.
"""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import WhiteKernel
from threadpoolctl import ThreadpoolController

from hpo.optimizers.time_varying import TimeVarying

__all__ = ["FittedProcess", "Posterior", "TimeVarying", "fit"]

Floats = NDArray[np.float64]

_NOISE_BOUNDS = (1e-4, 1.0)
_START_NOISE = 0.1


@dataclass(frozen=True)
class FittedProcess:
    """A fitted Gaussian process.

    Args:
        points: the observed points, shape (n, 1 + d), n at least 1.
        values: the observations, shape (n,).
        kernel: the covariance.
        noise: the variance of the observation noise.
    """

    points: Floats
    values: Floats
    kernel: TimeVarying
    noise: float

    def given(self, pending: Floats | None = None) -> "Posterior":
        """Return the posterior when points are pending: chosen, but not yet observed.

        The mean depends on the observations alone. The deviation also depends on the pending points: the variance of a
        Gaussian process does not depend on observed values, so pending points count before their results are known, and
        members that are changed together choose different points.

        Args:
            pending: shape (p, 1 + d); None: no points.
        """
        there = self.points if pending is None or len(pending) == 0 else np.vstack([self.points, pending])
        with one_thread():
            return Posterior(self.kernel, there, self._weights, self._root(there))

    @cached_property
    def _weights(self) -> Floats:
        return np.asarray(cho_solve((self._root(self.points), True), self.values, check_finite=False))

    def _root(self, points: Floats) -> Floats:
        K = self.kernel(points)
        K[np.diag_indices_from(K)] += self.noise
        return np.asarray(cholesky(K, lower=True, check_finite=False))


@dataclass(frozen=True)
class Posterior:
    """What a Gaussian process says about points that have not been tried. `FittedProcess.given` makes it.

    Rasmussen and Williams, "Gaussian processes for machine learning", MIT Press 2006, algorithm 2.1.

    Args:
        kernel: the covariance k.
        points: the observed points, and then the pending ones, shape (n + p, 1 + d).
        weights: (K + noise)^-1 times the observations, shape (n,), with the covariances K of the observed points.
        root: the lower Cholesky factor of the covariances of all points with noise, shape (n + p, n + p).
    """

    kernel: TimeVarying
    points: Floats
    weights: Floats
    root: Floats

    def moments(self, candidates: Floats) -> tuple[Floats, Floats]:
        """Return the mean μ and the deviation σ of each candidate, without observation noise.

        Args:
            candidates: shape (c, 1 + d).

        Returns:
            Two arrays of shape (c,).
        """
        with one_thread():
            cross = self.kernel(candidates, self.points)
            mean = np.ascontiguousarray(cross[:, : len(self.weights)]) @ self.weights
            half = solve_triangular(self.root, cross.T, lower=True, check_finite=False)
            variance = self.kernel.diag(candidates) - np.einsum("ij,ji->i", half.T, half)
        return mean, np.sqrt(np.maximum(variance, 0.0))

    def upper_confidence(self, candidates: Floats, beta: float) -> Floats:
        """Return μ(x) + sqrt(β) σ(x) of each candidate, shape (c,).

        Args:
            candidates: shape (c, 1 + d).
            beta: β, at least 0.
        """
        mean, deviation = self.moments(candidates)
        return mean + math.sqrt(beta) * deviation


def fit(
    points: Floats,
    values: Floats,
    kernel: TimeVarying | None = None,
    noise: float = _START_NOISE,
    noise_bounds: tuple[float, float] = _NOISE_BOUNDS,
) -> FittedProcess:
    """Return the process whose kernel and noise maximise the marginal likelihood, by L-BFGS-B from one start.

    Args:
        points: shape (n, 1 + d), n at least 1.
        values: shape (n,), standardised: the process has mean 0.
        kernel: where the fit starts, and the bounds of its parameters; None: that of PB2, `TimeVarying()`.
        noise: the variance of the observation noise at the start, inside its bounds.
        noise_bounds: the range that the fit searches.
    """
    start = TimeVarying() if kernel is None else kernel
    with one_thread():
        model = GaussianProcessRegressor(start + WhiteKernel(noise, noise_bounds)).fit(points, values)
    return FittedProcess(points, values, model.kernel_.k1, float(model.kernel_.k2.noise_level))


@contextmanager
def one_thread() -> Iterator[None]:
    """Use one thread for linear algebra, so that sums are the same everywhere, and silence warnings about the fit."""
    with _libraries().limit(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@cache
def _libraries() -> ThreadpoolController:
    """Return the linear algebra of NumPy and SciPy, which are loaded by now. Finding it takes longer than a posterior."""
    return ThreadpoolController()
