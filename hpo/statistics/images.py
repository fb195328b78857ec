"""Sources of a difference: the seeds, the test images, or both, computed from per-example correctness.

Correctness is 1 if a model classifies an image correctly and 0 if not, or the mean of that over the retrains of one search, in
[0, 1]. Arrays have the shape (S, N): S replicates (seeds) and N test images, with the same images in the same order in every row;
row s of `a` and row s of `b` come from the same replicate. A difference is one of ERROR rates, wrong_b - wrong_a: negative if b
makes fewer errors.
"""

import math
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from hpo.statistics.arrays import Floats, check_alpha
from hpo.statistics.interval import Interval

# Means over retrains (thirds, for example) are rounded; sums of squares below this share of the total are rounding errors.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Crossed:
    """The mean difference of the error rates (b - a), with intervals for three different questions.

    Attributes:
        n_seeds: S, the number of replicates.
        n_images: N, the number of test images.
        mean: mean of wrong_b - wrong_a over seeds and images; negative if b makes fewer errors.
        se_seeds: standard error over seeds with fixed images; None for S = 1.
        interval_seeds: t interval "on this test set" (new seeds, these images); None for S = 1, or if `se_seeds` is 0 and there
            is no t.
        se_images: standard error over images with fixed models; None for N = 1.
        interval_images: t interval "for these models" (new images, these S pairs of models); None for N = 1, or if `se_images` is
            0. With S = 1 it is the only interval, and says nothing about other seeds.
        se_crossed: standard error over seeds and images together; None, like all that follow except the flags, for S = 1 or N = 1.
        interval_crossed: t interval "on new images too" (new seeds and new images), never narrower than the other two; None if
            either is: seeds whose means agree exactly by chance prove nothing.
        df: Satterthwaite's degrees of freedom of `se_crossed`; also None if `se_crossed` is 0.
        variance_seeds: variance component of the seeds; negative estimates are set to 0.
        variance_images: variance component of the images, likewise.
        variance_residual: interaction of seed and image, including the training noise of single predictions.
        truncated: whether the image component was negative and set to 0, so that `se_crossed` is `se_seeds`.
        widened: whether `interval_crossed` is wider than `se_crossed` and `df` imply, because another interval is wider.
        confidence: level of the intervals, 1 - alpha.
    """

    n_seeds: int
    n_images: int
    mean: float
    se_seeds: float | None
    interval_seeds: Interval | None
    se_images: float | None
    interval_images: Interval | None
    se_crossed: float | None
    interval_crossed: Interval | None
    df: float | None
    variance_seeds: float | None
    variance_images: float | None
    variance_residual: float | None
    truncated: bool
    widened: bool
    confidence: float


@dataclass(frozen=True)
class NoiseFloor:
    """The contribution of a finite test set to the difference of two models.

    It refers to one pair of models, so it does not change with the number of seeds. How much of it remains in the mean over seeds
    depends on whether the seeds disagree about the same images, which `crossed_interval` tells.

    Attributes:
        n_seeds: number of pairs of models averaged over.
        n_images: number of test images.
        only_a: share of the images that only a's model classifies correctly (with several retrains: a's mean lead, over images
            where it leads), averaged over the pairs.
        only_b: the same for b.
        floor: standard error of the difference of the error rates of one pair of models; only more images reduce it.
    """

    n_seeds: int
    n_images: int
    only_a: float
    only_b: float
    floor: float


def crossed_interval(a: ArrayLike, b: ArrayLike, *, alpha: float = 0.05) -> Crossed:
    """Split the variance of the difference between seeds and images, both taken as random and crossed.

    With the mean squares of the two-way layout (one observation per cell) the mean difference has the variance
    (MS_seed + MS_image - MS_residual) / (S N), of which MS_seed / (S N) is due to the seeds alone. If MS_image is below MS_residual
    the image component is set to 0 (`truncated`): new images cannot make the difference more certain. The degrees of freedom are
    Satterthwaite's, and at least the smaller of S - 1 and N - 1.

    With few seeds, Satterthwaite's degrees of freedom are themselves an estimate, and a large one if the images dominate. Student's
    quantile for the crossed standard error can then be so much smaller than that for S - 1 degrees of freedom that the interval for
    new seeds *and* new images would be narrower than that for new seeds alone. So its half-width is the largest of the three.

    >>> a, b = [[1, 1, 0, 1], [1, 1, 1, 1]], [[0, 1, 0, 0], [1, 0, 1, 1]]
    >>> crossed_interval(a, b).mean
    0.375

    Args:
        a: the baseline's correctness, shape (S, N), booleans or values in [0, 1].
        b: the arm's, the same shape; b[s, i] and a[s, i] refer to the same image.
        alpha: the intervals have level 1 - alpha.

    Raises:
        ValueError: not two-dimensional, different shapes, empty, values outside [0, 1], or alpha outside (0, 1).

    References:
        Searle, Casella and McCulloch, Variance Components (1992), chapter 4 (the two-way crossed classification, random
        model). Satterthwaite, An approximate distribution of estimates of variance components, Biometrics Bulletin 2
        (1946).
    """
    check_alpha(alpha)
    difference = _error_differences(a, b)
    seeds, images = difference.shape
    cells = seeds * images
    mean = float(difference.sum()) / cells
    seed_squares, image_squares, residual_squares = _sums_of_squares(difference)
    ms_seed = seed_squares / (seeds - 1) if seeds > 1 else None
    ms_image = image_squares / (images - 1) if images > 1 else None
    se_seeds = None if ms_seed is None else math.sqrt(ms_seed / cells)
    se_images = None if ms_image is None else math.sqrt(ms_image / cells)
    se = df = variance_seeds = variance_images = ms_residual = None
    truncated = False
    if ms_seed is not None and ms_image is not None:
        ms_residual = residual_squares / ((seeds - 1) * (images - 1))
        variance_seeds = max(0.0, ms_seed - ms_residual) / images
        variance_images = max(0.0, ms_image - ms_residual) / seeds
        truncated = ms_residual - ms_image > _ROUNDING * ms_residual
        if truncated:
            combined, df = ms_seed, float(seeds - 1)
        else:
            combined = ms_seed + seeds * variance_images
            df = _satterthwaite(combined, ms_seed, ms_image, ms_residual, seeds=seeds, images=images)
        se = math.sqrt(combined / cells)
        df = df if combined > 0 else None
    of_seeds = _half_width(se_seeds, seeds - 1, alpha)
    of_images = _half_width(se_images, images - 1, alpha)
    of_both = _half_width(se, df, alpha)
    widest = None
    if of_seeds is not None and of_images is not None and of_both is not None:
        widest = max(of_seeds, of_images, of_both)
    return Crossed(
        n_seeds=seeds,
        n_images=images,
        mean=mean,
        se_seeds=se_seeds,
        interval_seeds=_about(mean, of_seeds),
        se_images=se_images,
        interval_images=_about(mean, of_images),
        se_crossed=se,
        interval_crossed=_about(mean, widest),
        df=df,
        variance_seeds=variance_seeds,
        variance_images=variance_images,
        variance_residual=ms_residual,
        truncated=truncated,
        widened=widest is not None and widest != of_both,
        confidence=1 - alpha,
    )


def noise_floor(a: ArrayLike, b: ArrayLike) -> NoiseFloor:
    """Return the standard error that N test images contribute to the difference of the error rates of two models.

    For one pair of models it is sqrt(p01 + p10 - (p01 - p10)^2) / sqrt(N), where p01 and p10 are the shares of the images that
    only one of them classifies correctly; over several pairs it is the root mean square. More replicates do not reduce it,
    because they share the test set.

    Args:
        a: the baseline's correctness, shape (S, N), booleans or values in [0, 1].
        b: the arm's, the same shape.

    Raises:
        ValueError: as for `crossed_interval`.

    References:
        McNemar, Note on the sampling error of the difference between correlated proportions or percentages, Psychometrika
        12 (1947), for the variance.
    """
    difference = _error_differences(a, b)
    seeds, images = difference.shape
    variances = np.square(difference).mean(axis=1) - np.square(difference.mean(axis=1))
    return NoiseFloor(
        n_seeds=seeds,
        n_images=images,
        only_a=float(np.maximum(difference, 0).sum()) / difference.size,
        only_b=float(np.maximum(-difference, 0).sum()) / difference.size,
        floor=math.sqrt(max(0.0, float(variances.mean())) / images),
    )


def _sums_of_squares(difference: Floats) -> tuple[float, float, float]:
    """Return the sums of squares of seeds, images and residual; for booleans each is an exact ratio of integers.

    The numerators over S N are sums of whole numbers, which floats represent exactly up to 2**53.
    """
    seeds, images = difference.shape
    cells = seeds * images
    square_of_total = float(difference.sum()) ** 2
    of_seeds = seeds * float(np.square(difference.sum(axis=1)).sum())
    of_images = images * float(np.square(difference.sum(axis=0)).sum())
    of_cells = cells * float(np.square(difference).sum())
    noise = _ROUNDING * of_cells
    numerators = (
        of_seeds - square_of_total,
        of_images - square_of_total,
        of_cells - of_seeds - of_images + square_of_total,
    )
    by_seed, by_image, residual = (value / cells if value > noise else 0.0 for value in numerators)
    return by_seed, by_image, residual


def _satterthwaite(
    combined: float, ms_seed: float, ms_image: float, ms_residual: float, *, seeds: int, images: int
) -> float | None:
    """Return the degrees of freedom of ms_seed + ms_image - ms_residual; None if all three are 0.

    For a sum of mean squares the approximation lies between the smallest of their degrees of freedom and their sum. For a
    difference it can fall below that, which is meaningless, so the lower bound is enforced.
    """
    spread = ms_seed**2 / (seeds - 1) + ms_image**2 / (images - 1) + ms_residual**2 / ((seeds - 1) * (images - 1))
    if spread == 0:
        return None
    return max(combined**2 / spread, float(min(seeds, images) - 1))


def _half_width(se: float | None, df: float | None, alpha: float) -> float | None:
    """Return the half-width of a t interval; None without variance."""
    return None if not se or df is None else float(scipy.special.stdtrit(df, 1 - alpha / 2)) * se


def _about(mean: float, half_width: float | None) -> Interval | None:
    return None if half_width is None else Interval(mean - half_width, mean + half_width)


def _error_differences(a: ArrayLike, b: ArrayLike) -> Floats:
    """Return wrong_b - wrong_a, which is a's correctness minus b's."""
    right_a, right_b = _correctness(a, "a"), _correctness(b, "b")
    if right_a.shape != right_b.shape:
        raise ValueError(
            f"a has the shape {right_a.shape} and b {right_b.shape}; both must hold the same seeds and the same images"
        )
    return right_a - right_b


def _correctness(values: ArrayLike, what: str) -> Floats:
    array: NDArray[np.generic] = np.asarray(values)
    if array.ndim != 2:
        raise ValueError(f"{what}: must have the shape (seeds, images), got {array.shape}")
    if array.size == 0:
        raise ValueError(f"{what}: is empty (shape {array.shape}); at least one seed and one image are needed")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{what}: must hold booleans or real numbers, got dtype {array.dtype}")
    result: Floats = array.astype(np.float64)
    bad = ~((result >= 0) & (result <= 1))
    if bad.any():
        place = tuple(int(index) for index in np.argwhere(bad)[0])
        raise ValueError(f"{what}: entry {place} is {result[place]}; correctness lies in [0, 1]")
    return result
