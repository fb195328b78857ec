"""Adding seeds until decided: a sign e-process, valid after every pair, and its confidence sequence."""

import bisect
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpo.statistics.arrays import EPS, Floats, check_alpha, exponent, finite, one_dimensional, unscale_or_none
from hpo.statistics.interval import Interval
from hpo.statistics.ties import mean_difference, tied

_BETS = np.array([0.25, 0.5, 1.0, 1.5, 2.0, 3.0])
_GRID = 256
_DOUBLINGS = 60
_ROOT = 1e-10  # log E counts as having reached the limit within this distance
_FACTORS = 128  # the product of this many cosh(3) is still a finite float
_CHUNK_CELLS = 1_000_000
_SIMULATION_SEED = 20_240_307
_LARGEST = math.log(np.finfo(np.float64).max)


@dataclass(frozen=True)
class AnytimeResult:
    """The result of the anytime-valid test of one arm.

    The test stops when it decides: `counted`, `mean`, `log_e`, `p` and `interval` are those at the decision, although pairs may
    follow while other arms are undecided.

    Attributes:
        n: number of pairs given.
        counted: number of pairs that count: `decided_at`, or all while undecided.
        mean: mean of the differences that count.
        log_e: natural logarithm of E after the pairs that count.
        p: anytime-valid p, min(1, 1 / the largest E of the pairs that count); not adjusted for the number of arms.
        family: number of arms tested against the baseline.
        alpha: level over all of them.
        threshold: family / alpha, which E must reach.
        decided_at: the first number of pairs with E >= threshold; None while undecided.
        path: log E_1, ..., log E_n.
        interval: the confidence sequence after the pairs that count; None if it is empty.
        intervals: the confidence sequence at 1, ..., n, of level 1 - alpha / family, which holds for all arms at once.
    """

    n: int
    counted: int
    mean: float
    log_e: float
    p: float
    family: int
    alpha: float
    threshold: float
    decided_at: int | None
    path: tuple[float, ...]
    interval: Interval | None
    intervals: tuple[Interval | None, ...]


def anytime_test(
    differences: ArrayLike, *, alpha: float = 0.05, family: int = 1, magnitude: float = 1.0
) -> AnytimeResult:
    """Test whether the differences are symmetric about 0, pair by pair in the order given.

    If every difference, given those before it, is symmetric about 0, then the probability that any E_n ever reaches family / alpha
    is at most alpha / family. So the test may be looked at after every pair, and stopped as soon as it decides.

    Symmetry about 0 is more than a mean of 0: differences from an exponential distribution minus its mean have mean 0, but 8.5%
    of such studies are decided by n = 30 at alpha = .05. If the arms are exchangeable within each pair under the null hypothesis,
    which sign flips assume too, their differences are symmetric.

    >>> result = anytime_test([3, 1, 4, 1, 5, 9, 2, 6])
    >>> result.decided_at, result.interval.low > 0
    (8, True)

    Args:
        differences: shape (n,), arm minus baseline, in the planned order of the seeds. Do not use the order of completion:
            whatever makes a run slow may also make it bad. Integers (differences of counts) are exact.
        alpha: level over all arms.
        family: number of arms tested against the baseline at the same time.
        magnitude: the usual size of the values that were subtracted, which the differences do not show. A difference of at most
            1e-9 of it is a tie. Otherwise its sign would count however small it is: eight times 1 - .9 - .1 (-2.8e-17) would be
            eight equal signs. Errors, accuracies and losses are about 1. Pass the size of values in a much smaller unit, or 0
            for differences from `tied_differences`, which knows the values.

    Raises:
        ValueError: differences not one-dimensional, empty or not finite; alpha outside (0, 1); family below 1.

    References:
        Ramdas, Ruf, Larsson and Koolen, Admissible anytime-valid sequential inference must rely on nonnegative
        martingales (2020), section 5, for exp(x - log cosh x) and symmetric distributions. Ville, Étude critique de la
        notion de collectif (1939), for the level.
    """
    if family < 1:
        raise ValueError(f"family must be 1 or more arms, got {family}")
    check_alpha(alpha)
    values = _without_ties(differences, magnitude)
    path = _log_e(values, np.zeros(1))[0]
    reached = np.flatnonzero(path >= math.log(family / alpha))
    decided_at = int(reached[0]) + 1 if reached.size else None
    counted = decided_at or len(values)
    intervals = _confidence_sets(values, math.log(family / alpha), first=1)
    return AnytimeResult(
        n=len(values),
        counted=counted,
        mean=mean_difference(values[:counted], magnitude),
        log_e=float(path[counted - 1]),
        p=min(1.0, math.exp(-float(path[:counted].max()))),
        family=family,
        alpha=alpha,
        threshold=family / alpha,
        decided_at=decided_at,
        path=tuple(float(value) for value in path),
        interval=intervals[counted - 1],
        intervals=intervals,
    )


def sign_e_process(differences: ArrayLike, *, magnitude: float = 1.0) -> tuple[float, ...]:
    """Return E_1, ..., E_n, limited to the largest float.

    E_n is the mean over the bets b in +-{.25, .5, 1, 1.5, 2, 3} of the product over i of exp(b z_i) / cosh(b z_i), where
    z_i = d_i / max(|d_1|, ..., |d_i|), and 0 while that maximum is 0. Factors are never revised: the divisor of z_i is known when
    d_i is. Given |d_i| and all differences before it, the sign of a symmetric d_i is a fair coin, for which each factor has mean
    1. So E is a nonnegative martingale that starts at 1, at any scale of the differences.

    Args:
        differences: shape (n,), in the order of the seeds.
        magnitude: as in `anytime_test`.

    Raises:
        ValueError: not one-dimensional, empty, or not finite.
    """
    return tuple(math.exp(min(value, _LARGEST)) for value in log_sign_e_process(differences, magnitude=magnitude))


def log_sign_e_process(differences: ArrayLike, *, magnitude: float = 1.0) -> tuple[float, ...]:
    """Return log E_1, ..., log E_n of `sign_e_process`, with natural logarithms."""
    return tuple(float(value) for value in _log_e(_without_ties(differences, magnitude), np.zeros(1))[0])


def largest_log_e(n: int) -> float:
    """Return the largest log E_n that n differences can give: that of n equal differences.

    Raises:
        ValueError: n is negative.
    """
    if n < 0:
        raise ValueError(f"n must be 0 or more pairs, got {n}")
    return float(_log_e(np.ones(n), np.zeros(1))[0, -1]) if n else 0.0


def least_anytime_pairs(alpha: float = 0.05, family: int = 1) -> int:
    """Return the fewest pairs after which the e-process can reach family / alpha for some differences.

    >>> least_anytime_pairs(0.05)
    7

    Raises:
        ValueError: alpha outside (0, 1), or family below 1.
    """
    check_alpha(alpha)
    if family < 1:
        raise ValueError(f"family must be 1 or more arms, got {family}")
    return next(n for n in itertools.count(1) if largest_log_e(n) >= math.log(family / alpha))


@dataclass(frozen=True)
class StoppingTimes:
    """When the test stops, simulated for normal differences with a given effect.

    Attributes:
        d_z: mean / standard deviation of the differences.
        most: number of pairs at which a study gives up.
        decided: share of the studies that are decided by then, which is the power.
        median: number of pairs by which half of the studies are decided; None if fewer ever are.
        mean: mean number of pairs per study, including those that give up.
        studies: number of simulated studies; the standard error of a share is at most .5 / sqrt(studies).
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
    """Simulate how many pairs the test takes to decide, with a fixed seed.

    Args:
        d_z: the effect, mean / standard deviation of normal differences.
        most: number of pairs at which a study gives up.
        alpha: level over all arms.
        family: number of arms.
        studies: number of studies to simulate.

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


def confidence_sequence(differences: ArrayLike, alpha: float = 0.05, *, magnitude: float = 1.0) -> Interval | None:
    """Return the shifts that the test has not excluded: {delta: E_n(d - delta) < 1 / alpha}.

    All the sets for n = 1, 2, ... together contain the centre of symmetry with probability 1 - alpha, so the interval may be read
    after every pair. It replaces the t interval, which loses its level when the data choose when to stop.

    The set need not be connected; its convex hull is returned. Beyond the smallest and the largest difference, E increases with
    the distance towards `largest_log_e(n)`, so there the ends are exact, and it is certain whether one is unbounded. Between them
    the set is searched at all differences and at points between neighbouring ones, and then refined. Every new difference adds its
    own points, so the result after n pairs does not depend on later ones.

    Args:
        differences: shape (n,), in the order of the seeds.
        alpha: the level is 1 - alpha.
        magnitude: as in `anytime_test`.

    Returns:
        The interval, with None for an unbounded end (up to n = 6 at alpha = .05). None if no shift is left, which takes
        differences whose order alone contradicts symmetry about any point.

    Raises:
        ValueError: differences not one-dimensional, empty or not finite; alpha outside (0, 1).

    References:
        Howard, Ramdas, McAuliffe and Sekhon, Time-uniform, nonparametric, nonasymptotic confidence sequences, Annals of
        Statistics 49 (2021).
    """
    check_alpha(alpha)
    values = _without_ties(differences, magnitude)
    return _confidence_sets(values, math.log(1 / alpha), first=len(values))[-1]


def _without_ties(differences: ArrayLike, magnitude: float) -> Floats:
    """Return the differences as floats, with 0 where the subtracted values tie; integers stay as they are."""
    array = one_dimensional(differences, "differences")
    values = finite(array, "differences")
    return values if array.dtype.kind in "iu" else np.where(tied(values, 0.0, magnitude), 0.0, values)


def _confidence_sets(values: Floats, limit: float, *, first: int) -> tuple[Interval | None, ...]:
    """Return, for n = first, ..., N, the hull of the shifts at which log E_n is below the limit."""
    power = exponent(values)
    scaled = np.ldexp(values, -power)
    most = _log_e(np.ones(len(values)), np.zeros(1))[0]
    shifts, since = _grid(scaled)
    rows = max(1, _CHUNK_CELLS // len(values))
    pieces = [_log_e(scaled, shifts[at : at + rows]) < limit for at in range(0, len(shifts), rows)]
    inside = np.concatenate(pieces)
    ends: list[tuple[int, float, float]] = []  # n, an accepted shift, and a rejected one further out
    hulls: dict[int, Interval | None] = {}
    for n in range(first, len(values) + 1):
        if most[n - 1] < limit:
            hulls[n] = Interval(None, None)
            continue
        known = np.flatnonzero(since <= n)
        accepted = inside[known, n - 1]
        if accepted.any():
            ends += [(n, *_bracket(scaled[:n], shifts[known][::way], accepted[::way], way, limit)) for way in (-1, 1)]
        else:
            hulls[n] = None
    refined = _refined(scaled, ends, limit)
    for (n, _, _), low, high in zip(ends[::2], refined[::2], refined[1::2], strict=True):
        hulls[n] = Interval(unscale_or_none(low, power), unscale_or_none(high, power))
    return tuple(hulls[n] for n in range(first, len(values) + 1))


def _grid(values: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Return the shifts to search, sorted, and the n from which each is used.

    A new value adds itself, and equally many points between it and its neighbours at any distance, so that an outlier
    does not thin out the grid.
    """
    first = float(values[0])
    # z_1 is the sign of d_1 - shift, so E jumps at the first difference; both sides of it are searched.
    shifts = [np.array([np.nextafter(first, -math.inf), first, np.nextafter(first, math.inf)])]
    seen = [first]
    since = [np.ones(3, dtype=np.int64)]
    for n, value in enumerate(values[1:].tolist(), start=2):
        at = bisect.bisect_left(seen, value)
        if value in seen[at : at + 1]:
            continue
        each = max(2, _GRID // (n - 1))
        between = [
            value + (next_to - value) * np.arange(each + 1) / (each + 1) for next_to in seen[max(0, at - 1) : at + 1]
        ]
        shifts += between
        since += [np.full(each + 1, n)] * len(between)
        seen.insert(at, value)
    order = np.argsort(np.concatenate(shifts), kind="stable")
    return np.concatenate(shifts)[order], np.concatenate(since)[order]


def _bracket(
    values: Floats, outwards: Floats, accepted: NDArray[np.bool_], way: int, limit: float
) -> tuple[float, float]:
    """Return the outermost accepted shift and the next one, which is rejected; infinite if all are accepted."""
    last = int(np.flatnonzero(accepted)[-1])
    kept = float(outwards[last])
    if last < len(outwards) - 1:
        return kept, float(outwards[last + 1])
    edge = way * float(np.max(way * values))
    steps = max(float(np.ptp(values)), math.ulp(edge)) * np.ldexp(1.0, np.arange(_DOUBLINGS))
    beyond = np.concatenate([[kept], edge + way * steps])
    outside = np.flatnonzero(_log_e_after(values, beyond[1:], np.full(_DOUBLINGS, len(values))) >= limit)
    if not outside.size:
        return kept, way * math.inf
    return float(beyond[outside[0]]), float(beyond[outside[0] + 1])


def _refined(values: Floats, ends: Sequence[tuple[int, float, float]], limit: float) -> list[float]:
    """Return the outermost accepted shift between an accepted and a rejected one; infinite ends stay."""
    from scipy.optimize import elementwise

    found = [dropped for _, _, dropped in ends]
    finite_ends = [i for i, dropped in enumerate(found) if math.isfinite(dropped)]
    if not finite_ends:
        return found
    counts, kept, dropped = (np.array(column) for column in zip(*(ends[i] for i in finite_ends), strict=True))

    def above(share: Floats, n: NDArray[np.integer], start: Floats, width: Floats) -> Floats:
        return _log_e_after(values, start + share * width, n) - limit

    root = elementwise.find_root(
        above, (0.0, 1.0), args=(counts, kept, dropped - kept), tolerances={"xatol": EPS, "fatol": 0.0}
    )
    # Where E jumps there is no root, only a last accepted shift.
    inside = np.where(root.f_bracket[0] < 0, root.bracket[0], root.bracket[1])
    share = np.where(root.f_x < _ROOT, root.x, inside)
    for i, shift in zip(finite_ends, (kept + share * (dropped - kept)).tolist(), strict=True):
        found[i] = shift
    return found


def _log_e_after(values: Floats, shifts: Floats, counts: NDArray[np.integer]) -> Floats:
    """Return log E_n of the values minus each shift, where n is the count for that shift.

    cosh(b z) is (u**k + u**-k) / 2 with u = exp(z / 4) and k = 4 b. Logarithms are taken of products rather than of single
    factors, because this is where the time goes.
    """
    if len(shifts) * len(values) > _CHUNK_CELLS and len(shifts) > 1:
        half = len(shifts) // 2
        parts = [_log_e_after(values, shifts[at], counts[at]) for at in (slice(half), slice(half, None))]
        return np.concatenate(parts)
    # Values after n become 0, which changes neither the largest size nor a product.
    shifted = np.where(np.arange(len(values)) < counts[:, None], values - shifts[:, None], 0.0)
    z = _relative(shifted)
    sums = np.abs(z.sum(axis=1))
    u = np.exp(np.abs(z) / 4)
    total = np.full(len(shifts), -math.inf)
    starts = np.arange(0, len(values), _FACTORS)
    for bet in _BETS:
        power = u ** int(4 * bet)
        products = np.multiply.reduceat((power + 1 / power) / 2, starts, axis=1)
        total = np.logaddexp(total, _log_cosh(bet * sums) - np.log(products).sum(axis=1))
    return np.asarray(total - math.log(len(_BETS)))


def _log_e(values: Floats, shifts: Floats) -> Floats:
    """Return log E_1, ..., log E_n of the values minus each shift, shape (shifts, n)."""
    with np.errstate(over="ignore"):
        return _log_e_of(values - shifts[:, None])


def _log_e_of(shifted: Floats) -> Floats:
    """Return log E_1, ..., log E_n of each row.

    The two bets +-b together give cosh(b (z_1 + ... + z_n)) / (cosh(b z_1) ... cosh(b z_n)).
    """
    z = _relative(shifted)
    total = np.full(shifted.shape, -math.inf)
    sums = z.cumsum(axis=1)
    for bet in _BETS:
        total = np.logaddexp(total, _log_cosh(bet * sums) - _log_cosh(bet * z).cumsum(axis=1))
    return np.asarray(total - math.log(len(_BETS)))


def _relative(shifted: Floats) -> Floats:
    """Return each value divided by the largest size so far in its row, or 0 while that is 0."""
    sizes = np.maximum.accumulate(np.abs(shifted), axis=1)
    return np.divide(shifted, sizes, out=np.zeros_like(shifted), where=sizes > 0)


def _log_cosh(x: Floats) -> Floats:
    size = np.abs(x)
    return np.asarray(size + np.log1p(np.exp(-2 * size)) - math.log(2))
