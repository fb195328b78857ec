"""The time-varying covariance over mixed hyperparameters, as a scikit-learn kernel.

Points are rows (t, x_1, ..., x_d), with the time first; `hpo.optimizers.observations.Encoding` makes them. Each x_i is a number
(0 to 1 inside the bounds), or the index of a category. The covariance is a mixture over the hyperparameters, times forgetting:

    k((t, x), (t', x')) = s² m(x, x') (1 - ω)^(|t - t'| / 2)
    m = (1 - λ) (k_num + k_cat) + λ k_num k_cat,    or k_num or k_cat alone if there are no other columns

- The forgetting is that of Bogunovic, Scarlett, Cevher, "Time-varying Gaussian process bandit optimization", AISTATS 2016, section
  2.2: f_1 = g_1 and f_{t+1} = sqrt(1 - ω) f_t + sqrt(ω) g_{t+1}, with independent g's of covariance s² m.
- The mixture is that of CoCaBO: Ru et al., "Bayesian optimisation over multiple continuous and categorical inputs", ICML 2020,
  section 4.2. So is the overlap of categories, k_cat = mean of [x_i = x'_i].
- The exponential overlap is that of Casmopolitan: Wan et al., "Think global and act local", ICML 2021, section 3:
  k_cat = exp(mean of w_i [x_i = x'_i]).
- Numbers are compared by their distance r² = sum of (x_i - x'_i)² / l_i²: k_num = exp(-r² / 2), or Matern 5/2.

With numbers alone and one length scale this is the process of PB2: Parker-Holder, Nguyen, Roberts, "Provably efficient online
hyperparameter optimization with population-based bandits", NeurIPS 2020, section 3.

This module needs scikit-learn, so it is imported only to fit a process.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.gaussian_process.kernels import Hyperparameter, Kernel

Floats = NDArray[np.float64]
Scale = float | tuple[float, ...]
"""One value for all columns, or one for each; in a fitted kernel these are an array."""
Range = tuple[float, float] | Literal["fixed"]
"""What is searched when the likelihood is maximised; "fixed": the parameter keeps its value."""


class TimeVarying(Kernel):  # type: ignore[misc]
    """The covariance above, as a scikit-learn kernel. All parameters are fitted on a logarithmic scale.

    Args:
        variance: s².
        length_scale: l, shared by all numbers, or a tuple of one for each of them, in the order of their columns; () without any.
        omega: ω, from 0 (nothing changes) to 1 (nothing is remembered); 0, if it is "fixed", is a process without time.
        mix: λ, from 0 (the sum) to 1 (the product); of no effect, and not fitted, unless there are numbers and categories.
        weights: w, shared by all categories, or a tuple of one for each; of no effect, and not fitted, unless `exponential`.
        categorical: the columns that are categorical, counted in the whole row: column 0 is the time. The others are numbers.
        matern: compare numbers by Matern 5/2 instead of the squared exponential.
        exponential: compare categories by the exponential overlap instead of the overlap.
        variance_bounds, length_scale_bounds, omega_bounds, mix_bounds, weights_bounds: the range that a fit searches, or "fixed".
    """

    def __init__(
        self,
        variance: float = 1.0,
        length_scale: Scale = 0.5,
        omega: float = 0.1,
        mix: float = 0.5,
        weights: Scale = 1.0,
        categorical: tuple[int, ...] = (),
        matern: bool = False,
        exponential: bool = False,
        variance_bounds: Range = (1e-2, 1e2),
        length_scale_bounds: Range = (0.05, 10.0),
        omega_bounds: Range = (1e-5, 0.5),
        mix_bounds: Range = (1e-2, 1.0),
        weights_bounds: Range = (1e-2, 1e1),
    ) -> None:
        self.variance = variance
        self.length_scale = length_scale
        self.omega = omega
        self.mix = mix
        self.weights = weights
        self.categorical = categorical
        self.matern = matern
        self.exponential = exponential
        self.variance_bounds = variance_bounds
        self.length_scale_bounds = length_scale_bounds
        self.omega_bounds = omega_bounds
        self.mix_bounds = mix_bounds
        self.weights_bounds = weights_bounds

    # scikit-learn sorts the fitted parameters by the names of these properties; `_gradient` returns them in this order.
    @property
    def hyperparameter_length_scale(self) -> Hyperparameter:
        """The length scales l."""
        return _several("length_scale", self.length_scale, self.length_scale_bounds)

    @property
    def hyperparameter_mix(self) -> Hyperparameter:
        """The mixture's λ."""
        fitted = self.categorical and np.size(self.length_scale)
        return Hyperparameter("mix", "numeric", self.mix_bounds if fitted else "fixed")

    @property
    def hyperparameter_omega(self) -> Hyperparameter:
        """The forgetting ω."""
        return Hyperparameter("omega", "numeric", self.omega_bounds)

    @property
    def hyperparameter_variance(self) -> Hyperparameter:
        """The variance s²."""
        return Hyperparameter("variance", "numeric", self.variance_bounds)

    @property
    def hyperparameter_weights(self) -> Hyperparameter:
        """The weights w of the categories."""
        fitted = self.categorical and self.exponential
        return _several("weights", self.weights, self.weights_bounds if fitted else "fixed")

    def __call__(self, X: Any, Y: Any = None, eval_gradient: bool = False) -> Any:
        """Return the covariances, shape (n, m).

        With `eval_gradient` also their gradient in the logarithms θ of the fitted parameters, shape (n, n, len(θ)).
        """
        X = np.atleast_2d(X)
        Y = X if Y is None else np.atleast_2d(Y)
        ages = np.abs(X[:, None, 0] - Y[None, :, 0])
        near, alike = self._numbers(X, Y), self._categories(X, Y)
        forgotten = (1 - self.omega) ** (ages / 2)
        K = self.variance * self._mixed(near.k, alike.k) * forgotten
        if not eval_gradient:
            return K
        return K, self._gradient(K, near, alike, ages, forgotten)

    def diag(self, X: Any) -> Floats:
        """Return the variances of single points, shape (n,)."""
        one = np.atleast_2d(np.asarray(X, dtype=np.float64)[:1])
        near, alike = self._numbers(one, one), self._categories(one, one)
        return np.full(len(X), self.variance * self._mixed(near.k, alike.k).item())

    def is_stationary(self) -> bool:
        """Return True: the covariance depends only on the difference of two points, and on which categories agree."""
        return True

    def _numbers(self, X: Floats, Y: Floats) -> "_Part":
        """Return k_num and its derivatives dk_num / d log l_i = slope (x_i - x'_i)² / l_i²."""
        numeric = [column for column in range(1, X.shape[1]) if column not in self.categorical]
        if not numeric:
            return _NOTHING
        # Sums over contiguous columns are the same bit for bit whatever else is in a row.
        A, B = np.ascontiguousarray(X[:, numeric]), np.ascontiguousarray(Y[:, numeric])
        squares = A[:, None, :] - B[None, :, :]
        np.square(squares, out=squares)
        if np.ndim(self.length_scale) == 0:
            squares = squares.sum(axis=2, keepdims=True)
        scales = _squared(self.length_scale)
        distances = (squares / scales).sum(axis=2)
        if not self.matern:
            k = np.exp(-distances / 2)
            return _Part(k, k, squares, scales)
        r = np.sqrt(5 * distances)
        decay = np.exp(-r)
        return _Part((1 + r + 5 * distances / 3) * decay, 5 / 3 * (1 + r) * decay, squares, scales)

    def _categories(self, X: Floats, Y: Floats) -> "_Part":
        """Return k_cat and its derivatives dk_cat / d log w_i = slope w_i [x_i = x'_i] / (number of categories)."""
        if not self.categorical:
            return _NOTHING
        columns = list(self.categorical)
        same = (X[:, None, columns] == Y[None, :, columns]) / len(columns)
        if not self.exponential:
            return _Part(same.sum(axis=2))
        if np.ndim(self.weights) == 0:
            same = same.sum(axis=2, keepdims=True)
        weighted = same * np.asarray(self.weights)
        k = np.exp(weighted.sum(axis=2))
        return _Part(k, k, weighted, np.ones(1))

    def _mixed(self, near: Floats | None, alike: Floats | None) -> Floats:
        if near is None or alike is None:
            only = near if alike is None else alike
            if only is None:
                raise ValueError("rows need a number or a category beside the time")
            return only
        return (1 - self.mix) * (near + alike) + self.mix * near * alike

    def _gradient(self, K: Floats, near: "_Part", alike: "_Part", ages: Floats, forgotten: Floats) -> Floats:
        """Return the gradient of the covariances K in the logarithms of the fitted parameters, shape (n, n, parameters)."""
        parts: dict[str, Floats] = {"variance": K, "omega": -K * ages / 2 * self.omega / (1 - self.omega)}
        for name, part, other in (("length_scale", near, alike.k), ("weights", alike, near.k)):
            if part.slope is not None and part.over is not None and part.under is not None:
                outer = part.slope if other is None else ((1 - self.mix) + self.mix * other) * part.slope
                # Multiplied before it is divided: in another order the last bit could differ, and PB2's answers with it.
                parts[name] = (self.variance * outer * forgotten)[:, :, None] * part.over / part.under
        if near.k is not None and alike.k is not None:
            parts["mix"] = self.variance * self.mix * (near.k * alike.k - near.k - alike.k) * forgotten
        return np.dstack([parts[fitted.name] for fitted in self.hyperparameters if not fitted.fixed])


@dataclass(frozen=True)
class _Part:
    """One of the two kernels of a mixture, and its derivatives `slope` · `over` / `under` in the logarithms of its parameters.

    Shapes: k and slope (n, m), over (n, m, parameters), under (parameters,).
    """

    k: Floats | None = None
    slope: Floats | None = None
    over: Floats | None = None
    under: Floats | None = None


_NOTHING = _Part()


def _several(name: str, values: Scale, bounds: Range) -> Hyperparameter:
    count = np.size(values)
    return Hyperparameter(name, "numeric", bounds if count else "fixed", max(count, 1))


def _squared(scale: Scale) -> Floats:
    """Return l², shape (1,) or (d,); each is squared as a scalar, whose last bit may differ from an array's."""
    return np.array([each**2 for each in np.atleast_1d(scale)])
