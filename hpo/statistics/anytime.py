"""Adding seeds until it is decided: a sign e-process, which may be looked at after every pair, and its intervals."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpo.statistics.arrays import Floats, check_alpha, exponent, finite_floats, mean_of, unscale_or_none
from hpo.statistics.interval import Interval

_BETS = np.array([0.25, 0.5, 1.0, 1.5, 2.0, 3.0])
_GRID = 512
_SECTIONS = 32
_ROUNDS = 11
_DOUBLINGS = 60
_CHUNK_CELLS = 1_000_000
_SIMULATION_SEED = 20_240_307
_LARGEST = math.log(np.finfo(np.float64).max)


@dataclass(frozen=True)
class AnytimeResult:
    """What the anytime-valid test says of one arm after n pairs.

    Attributes:
        n: number of pairs.
        mean: mean of all n differences.
        log_e: natural logarithm of E_n.
        p: anytime-valid p, min(1, 1 / max(E_1, ..., E_n)); not adjusted for the number of arms.
        family: number of arms that are tested against the baseline.
        alpha: level over all of them.
        threshold: family / alpha, which E_n has to reach.
        decided_at: the first n with E_n >= threshold, where the test stops and what follows no longer counts; None
            while there is none.
        decided_mean: mean of the differences up to `decided_at`; None while undecided.
        path: log E_1, ..., log E_n.
        interval: the confidence sequence at n, of level 1 - alpha for this arm alone; None when it is empty.
        intervals: the confidence sequence at 1, ..., n.
        family_interval: the confidence sequence at n, of level 1 - alpha / family: it holds for all arms at once.
    """

    n: int
    mean: float
    log_e: float
    p: float
    family: int
    alpha: float
    threshold: float
    decided_at: int | None
    decided_mean: float | None
    path: tuple[float, ...]
    interval: Interval | None
    intervals: tuple[Interval | None, ...]
    family_interval: Interval | None


def anytime_test(differences: ArrayLike, *, alpha: float = 0.05, family: int = 1) -> AnytimeResult:
    """Test, pair by pair in the order given, whether the differences are symmetric about 0.

    The probability that any E_n ever reaches family / alpha is at most alpha / family when every difference, given those
    before it, is symmetric about 0: so the test may be looked at after every pair and stopped as soon as it decides.

    It tests symmetry about 0, which is more than a mean of 0: differences from an exponential distribution less its mean
    have mean 0, and 8.5% of such studies are decided by n = 30 at alpha = .05. With arms that are exchangeable within
    the pair under the null hypothesis, as sign flips assume too, their differences are symmetric.

    >>> result = anytime_test([3, 1, 4, 1, 5, 9, 2, 6])
    >>> result.decided_at, result.interval.low > 0
    (8, True)

    Args:
        differences: shape (n,), arm minus baseline, in the order of the seeds as planned. The order of completion must
            not be used: whatever makes a run slow may make it bad. Differences of counts, where there are counts, keep
            equal values equal.
        alpha: level over all arms.
        family: number of arms that are tested against the baseline at the same time.

    Raises:
        ValueError: differences not one-dimensional, empty or not finite; alpha outside (0, 1); family below 1.

    References:
        Ramdas, Ruf, Larsson and Koolen, Admissible anytime-valid sequential inference must rely on nonnegative
        martingales (2020), section 5, for exp(x - log cosh x) and symmetric distributions. Ville, Étude critique de la
        notion de collectif (1939), for the level.
    """
    if family < 1:
        raise ValueError(f"family must be 1 or more arms, got {family}")
    values = finite_floats(differences, "differences")
    check_alpha(alpha)
    path = _log_e(values, np.zeros(1))[0]
    reached = np.flatnonzero(path >= math.log(family / alpha))
    decided_at = int(reached[0]) + 1 if reached.size else None
    intervals = tuple(_confidence_set(values[: n + 1], math.log(1 / alpha)) for n in range(len(values)))
    return AnytimeResult(
        n=len(values),
        mean=mean_of(values),
        log_e=float(path[-1]),
        p=min(1.0, math.exp(-float(path.max()))),
        family=family,
        alpha=alpha,
        threshold=family / alpha,
        decided_at=decided_at,
        decided_mean=None if decided_at is None else mean_of(values[:decided_at]),
        path=tuple(float(value) for value in path),
        interval=intervals[-1],
        intervals=intervals,
        family_interval=intervals[-1] if family == 1 else _confidence_set(values, math.log(family / alpha)),
    )


def sign_e_process(differences: ArrayLike) -> tuple[float, ...]:
    """Return E_1, ..., E_n; what is larger than the largest float is given as that.

    E_n is the mean over the bets b in +-{.25, .5, 1, 1.5, 2, 3} of the product over i of exp(b z_i) / cosh(b z_i), where
    z_i = d_i / max(|d_1|, ..., |d_i|), and 0 as long as that maximum is 0. A factor is never revised: what z_i is
    divided by is known when d_i is. Given |d_i| and all before it, the sign of a symmetric d_i is a fair coin, for which
    each factor has mean 1; so E is a nonnegative martingale that starts at 1, whatever the scale of the differences.

    Args:
        differences: shape (n,), in the order of the seeds.

    Raises:
        ValueError: not one-dimensional, empty, or not finite.
    """
    return tuple(math.exp(min(value, _LARGEST)) for value in log_sign_e_process(differences))


def log_sign_e_process(differences: ArrayLike) -> tuple[float, ...]:
    """Return log E_1, ..., log E_n of `sign_e_process`, with natural logarithms."""
    return tuple(float(value) for value in _log_e(finite_floats(differences, "differences"), np.zeros(1))[0])


def largest_log_e(n: int) -> float:
    """Return the largest log E_n that n differences can give: that of n equal ones.

    Raises:
        ValueError: n is negative.
    """
    if n < 0:
        raise ValueError(f"n must be 0 or more pairs, got {n}")
    return float(_log_e(np.ones(n), np.zeros(1))[0, -1]) if n else 0.0


@dataclass(frozen=True)
class StoppingTimes:
    """When the test stops, for normal differences with a given effect: simulated.

    Attributes:
        d_z: mean / standard deviation of the differences.
        most: number of pairs at which a study gives up.
        decided: share of the studies that are decided by then: the power.
        median: pairs by which half of the studies are decided; None where fewer ever are.
        mean: mean number of pairs that a study runs, those that give up included.
        studies: how many were simulated; the standard error of a share is at most .5 / sqrt(studies).
    """

    d_z: float
    most: int
    decided: float
    median: int | None
    mean: float
    studies: int


def stopping_times(
    d_z: float, most: int, *, alpha: float = 0.05, family: int = 1, studies: int = 2_000
) -> StoppingTimes:
    """Simulate how many pairs the test takes to decide; the same numbers every time, from a fixed seed.

    Args:
        d_z: effect, mean / standard deviation of normal differences.
        most: number of pairs at which a study gives up.
        alpha: level over all arms.
        family: number of arms.
        studies: how many to simulate.

    Raises:
        ValueError: d_z not finite, `most`, `family` or `studies` below 1, or alpha outside (0, 1).
    """
    check_alpha(alpha)
    if not math.isfinite(d_z):
        raise ValueError(f"d_z must be finite, got {d_z!r}")
    for value, what in ((most, "most"), (family, "family"), (studies, "studies")):
        if value < 1:
            raise ValueError(f"{what} must be 1 or more, got {value}")
    generator = np.random.default_rng(_SIMULATION_SEED)
    rows = max(1, _CHUNK_CELLS // most)
    stops = []
    for start in range(0, studies, rows):
        values = d_z + generator.standard_normal((min(rows, studies - start), most))
        reached = _log_e_of(values) >= math.log(family / alpha)
        stops.append(np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, most + 1))
    at = np.sort(np.concatenate(stops))
    half = int(at[(studies + 1) // 2 - 1])
    return StoppingTimes(
        d_z=d_z,
        most=most,
        decided=float(np.mean(at <= most)),
        median=half if half <= most else None,
        mean=float(np.minimum(at, most).mean()),
        studies=studies,
    )


def confidence_sequence(differences: ArrayLike, alpha: float = 0.05) -> Interval | None:
    """Return the shifts that the test has not ruled out: {delta: E_n(d - delta) < 1 / alpha}.

    All the sets for n = 1, 2, ... together hold the centre of symmetry with probability 1 - alpha: the interval may be
    read after every pair. It takes the place of the t interval, whose level is gone once the data chose when to stop.

    The set need not be connected; its convex hull is returned. Beyond the smallest and the largest difference, E grows
    with the distance towards `largest_log_e(n)`, so that there the ends are exact and an unbounded one is known for
    certain; between them the set is searched at all the differences and at about 512 points between neighbouring ones,
    equally many for every two, then refined.

    Args:
        differences: shape (n,), in the order of the seeds.
        alpha: the level is 1 - alpha.

    Returns:
        The interval, with an end None where it is unbounded (up to n = 6 at alpha = .05); None when no shift is left,
        which takes differences whose order alone contradicts symmetry about any point.

    Raises:
        ValueError: differences not one-dimensional, empty or not finite; alpha outside (0, 1).

    References:
        Howard, Ramdas, McAuliffe and Sekhon, Time-uniform, nonparametric, nonasymptotic confidence sequences, Annals of
        Statistics 49 (2021).
    """
    check_alpha(alpha)
    return _confidence_set(finite_floats(differences, "differences"), math.log(1 / alpha))


def _confidence_set(values: Floats, limit: float) -> Interval | None:
    power = exponent(values)
    scaled = np.ldexp(values, -power)
    if largest_log_e(len(values)) < limit:
        return Interval(None, None)
    high = _upper_end(scaled, limit)
    low = _upper_end(-scaled, limit)
    if high is None or low is None:
        return None
    return Interval(unscale_or_none(-low, power), unscale_or_none(high, power))


def _upper_end(values: Floats, limit: float) -> float | None:
    """Return the largest shift at which log E is below the limit; inf: none is too large; None: there is none at all."""

    def inside(shifts: Floats) -> NDArray[np.bool_]:
        return _last_log_e(values, shifts) < limit

    first, low, high = float(values[0]), float(values.min()), float(values.max())
    # z_1 is the sign of d_1 - shift, so that E jumps at the first difference: both its sides are looked at.
    around = [np.nextafter(first, -math.inf), np.nextafter(first, math.inf)]
    grid = np.unique(np.concatenate([_between(values), values, np.clip(around, low, high)]))
    accepted = np.flatnonzero(inside(grid))
    if not accepted.size:
        return None
    last = int(accepted[-1])
    kept = float(grid[last])
    if last < len(grid) - 1:
        dropped = float(grid[last + 1])
    else:
        steps = max(high - low, math.ulp(high)) * np.ldexp(1.0, np.arange(_DOUBLINGS))
        beyond = high + steps
        outside = np.flatnonzero(~inside(beyond))
        if not outside.size:
            return math.inf
        dropped = float(beyond[outside[0]])
        kept = float(beyond[outside[0] - 1]) if outside[0] else kept
    for _ in range(_ROUNDS):
        points = np.linspace(kept, dropped, _SECTIONS + 1)
        last = int(np.flatnonzero(inside(points[1:-1]))[-1]) + 1 if inside(points[1:-1]).any() else 0
        kept, dropped = float(points[last]), float(points[last + 1])
    return kept


def _between(values: Floats) -> Floats:
    """Return points between neighbouring values: by their number and not their distance, which one outlier would stretch."""
    ends = np.unique(values)
    each = max(1, _GRID // max(1, len(ends) - 1))
    return np.asarray(ends[:-1, None] + np.diff(ends)[:, None] * (np.arange(1, each + 1) / (each + 1))).ravel()


def _last_log_e(values: Floats, shifts: Floats) -> Floats:
    """Return log E_n at every shift, in pieces that fit into memory."""
    rows = max(1, _CHUNK_CELLS // len(values))
    pieces = [_log_e(values, shifts[start : start + rows], last=True) for start in range(0, len(shifts), rows)]
    return np.concatenate(pieces)[:, -1]


def _log_e(values: Floats, shifts: Floats, *, last: bool = False) -> Floats:
    """Return log E_1, ..., log E_n of the shifted differences, shape (shifts, n); with `last` only log E_n, (shifts, 1)."""
    with np.errstate(over="ignore"):
        return _log_e_of(values - shifts[:, None], last=last)


def _log_e_of(shifted: Floats, *, last: bool = False) -> Floats:
    """Return log E_1, ..., log E_n of each row; with `last` only log E_n.

    The two bets +-b together make cosh(b (z_1 + ... + z_n)) / (cosh(b z_1) ... cosh(b z_n)).
    """
    sizes = np.maximum.accumulate(np.abs(shifted), axis=1)
    z = np.divide(shifted, sizes, out=np.zeros_like(shifted), where=sizes > 0)
    total = np.full((len(shifted), 1 if last else shifted.shape[1]), -math.inf)
    sums = z.sum(axis=1, keepdims=True) if last else z.cumsum(axis=1)
    for bet in _BETS:
        costs = _log_cosh(bet * z)
        cost = costs.sum(axis=1, keepdims=True) if last else costs.cumsum(axis=1)
        total = np.logaddexp(total, _log_cosh(bet * sums) - cost)
    return np.asarray(total - math.log(len(_BETS)))


def _log_cosh(x: Floats) -> Floats:
    size = np.abs(x)
    return np.asarray(size + np.log1p(np.exp(-2 * size)) - math.log(2))
