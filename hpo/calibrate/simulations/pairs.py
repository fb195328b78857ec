"""Two arms: false positives, coverage, a planted effect, and the detection of asymmetry."""

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from hpo.calibrate.simulations.kernels import KERNELS, normal_pairs
from hpo.calibrate.simulations.rows import ALPHA, RateClaim, Row, about, at_least, at_most, exactly, measured
from hpo.calibrate.simulations.sizes import holds, sign_flip_size, signed_rank_size
from hpo.statistics.bootstrap import bca_interval, percentile_interval
from hpo.statistics.departures import Departure, departures
from hpo.statistics.differences import tied_differences
from hpo.statistics.equivalence import equivalence_within
from hpo.statistics.interval import Interval
from hpo.statistics.paired import PairedComparison, compare_paired
from hpo.statistics.signflip_power import t_test_power

# The coverage of approximations is not known in advance. These are measurements from 20,000 other studies of normal differences
# (standard error at most .0026).
_BOOTSTRAP_T = {5: 0.949, 6: 0.946, 10: 0.946, 20: 0.950}
_PERCENTILE = {5: 0.840, 6: 0.855, 10: 0.901, 20: 0.922}
_BCA = {5: 0.839, 6: 0.854, 10: 0.891, 20: 0.924}
_COLLAPSES, _DEPTH = 0.1, 30.0


class Compare(Protocol):
    """`compare_paired`, or a replacement to calibrate."""

    def __call__(
        self, a: ArrayLike, b: ArrayLike, *, counts: tuple[ArrayLike, ArrayLike] | None = None
    ) -> PairedComparison:
        """Compare b with a."""


def paired_rows(
    kernel: str, n: int, studies: range, seed: int, *, compare: Compare = compare_paired
) -> tuple[Row, ...]:
    """Return how often two equal arms are called different, and how often each interval contains 0.

    Args:
        kernel: name of one of `KERNELS`.
        n: number of pairs per study.
        studies: indices of the studies.
        seed: seed of all studies.
        compare: the comparison to calibrate.
    """
    source = KERNELS[kernel]

    def study(generator: np.random.Generator) -> dict[str, bool]:
        pairs = source.draw(generator, n)
        found = compare(pairs.a, pairs.b, counts=pairs.counts)
        return {
            "sign-flip test rejects": found.p_sign_flip <= ALPHA,
            "t-test rejects": found.p_t is not None and found.p_t <= ALPHA,
            **_holding(found, 0.0),
            "percentile interval holds the mean": holds(percentile_interval(found.differences), 0.0),
            "BCa interval holds the mean": holds(bca_interval(found.differences), 0.0),
        }

    def symmetric(size: float) -> RateClaim | None:
        if not source.symmetric:
            return None
        return at_most(size) if source.tied else exactly(size)

    def covering(size: float) -> RateClaim | None:
        if not source.symmetric:
            return None
        return at_least(1 - size) if source.tied else exactly(1 - size)

    def as_documented(coverage: Mapping[int, float]) -> RateClaim | None:
        return about(coverage[n]) if source.normal and n in coverage else None

    claims = {
        "sign-flip test rejects": symmetric(sign_flip_size(n)),
        "t-test rejects": exactly(ALPHA) if source.normal else None,
        "sign-flip interval holds the mean": covering(sign_flip_size(n)),
        "t interval holds the mean": exactly(1 - ALPHA) if source.normal else None,
        "bootstrap-t interval holds the mean": as_documented(_BOOTSTRAP_T),
        "Hodges-Lehmann interval holds the mean": covering(signed_rank_size(n)),
        "percentile interval holds the mean": as_documented(_PERCENTILE),
        "BCa interval holds the mean": as_documented(_BCA),
    }
    return measured(study, claims, data=kernel, n=n, studies=studies, seed=seed)


def power_rows(d_z: float, n: int, studies: range, seed: int, *, power: RateClaim | None = None) -> tuple[Row, ...]:
    """Return how often an effect of normal differences is found, and how often each interval contains it.

    Args:
        d_z: the effect.
        n: number of pairs per study.
        studies: indices of the studies.
        seed: seed of all studies.
        power: the claimed power of the sign-flip test.
    """

    def study(generator: np.random.Generator) -> dict[str, bool]:
        a, b, _ = normal_pairs(generator, n)
        found = compare_paired(a, b + d_z)
        return {
            "sign-flip test rejects": found.p_sign_flip <= ALPHA,
            "t-test rejects": found.p_t is not None and found.p_t <= ALPHA,
            **_holding(found, d_z),
        }

    claims = {
        "sign-flip test rejects": power,
        "t-test rejects": exactly(t_test_power(d_z, n, alpha=ALPHA)),
        "sign-flip interval holds the mean": exactly(1 - sign_flip_size(n)),
        "t interval holds the mean": exactly(1 - ALPHA),
        "bootstrap-t interval holds the mean": about(_BOOTSTRAP_T[n]) if n in _BOOTSTRAP_T else None,
        "Hodges-Lehmann interval holds the mean": exactly(1 - signed_rank_size(n)),
    }
    return measured(study, claims, data=f"normal, d_z = {d_z:g}", n=n, studies=studies, seed=seed)


def departure_rows(kernel: str, n: int, studies: range, seed: int) -> tuple[Row, ...]:
    """Return how often differences are reported as skewed.

    Args:
        kernel: name of one of `KERNELS`.
        n: number of pairs per study.
        studies: indices of the studies.
        seed: seed of all studies.
    """
    source = KERNELS[kernel]

    def study(generator: np.random.Generator) -> dict[str, bool]:
        pairs = source.draw(generator, n)
        differences = tied_differences(pairs.a, pairs.b, counts=pairs.counts)
        return {"skew is shown with the verdict": _is_skewed(departures(differences))}

    claims = {"skew is shown with the verdict": at_most(ALPHA) if source.symmetric else None}
    return measured(study, claims, data=kernel, n=n, studies=studies, seed=seed)


def collapse_rows(n: int, studies: range, seed: int) -> tuple[Row, ...]:
    """Return what is reported if a baseline is better by a standard deviation but collapses in one seed of ten.

    Its mean is then worse, and what a study shows depends on whether one of its seeds collapsed.

    Args:
        n: number of pairs per study.
        studies: indices of the studies.
        seed: seed of all studies.
    """

    def study(generator: np.random.Generator) -> dict[str, bool]:
        a, b, _ = normal_pairs(generator, n)
        collapsed = generator.random(n) < _COLLAPSES
        found = compare_paired(a + _DEPTH * collapsed, b + 1)
        return {
            "sign-flip test calls the arm worse, which it is not": found.p_sign_flip <= ALPHA and found.mean > 0,
            "skew is shown with the verdict": _is_skewed(found.departures),
            "one to a third of the seeds collapsed, and no skew is shown": (
                1 <= collapsed.sum() <= n // 3 and not _is_skewed(found.departures)
            ),
        }

    claims = {
        "sign-flip test calls the arm worse, which it is not": None,
        "skew is shown with the verdict": None,
        "one to a third of the seeds collapsed, and no skew is shown": at_most(0.03),
    }
    return measured(study, claims, data="baseline collapses in 10% of seeds", n=n, studies=studies, seed=seed)


def equivalence_rows(kernel: str, rope: float, n: int, studies: range, seed: int) -> tuple[Row, ...]:
    """Return how often two arms are called equivalent whose mean difference is as large as the ROPE.

    Args:
        kernel: name of one of `KERNELS`.
        rope: half-width of the region, in standard deviations of the differences.
        n: number of pairs per study.
        studies: indices of the studies.
        seed: seed of all studies.
    """
    source = KERNELS[kernel]
    border = rope * source.deviation

    def study(generator: np.random.Generator) -> dict[str, bool]:
        pairs = source.draw(generator, n)
        found = equivalence_within(pairs.b - pairs.a + border, border, alpha=ALPHA)
        return {"TOST calls the border of the ROPE equivalent": found is not None and found.equivalent}

    # With a ROPE of many standard errors the other border does not matter, and the level is that of one t-test.
    wide = rope * math.sqrt(n) > 5
    claim = (exactly(ALPHA) if wide else at_most(ALPHA)) if source.normal else None
    claims = {"TOST calls the border of the ROPE equivalent": claim}
    return measured(study, claims, data=f"{kernel}, ROPE {rope:g} sd", n=n, studies=studies, seed=seed)


def _holding(found: PairedComparison, truth: float) -> dict[str, bool]:
    return {
        "sign-flip interval holds the mean": holds(found.sign_flip_interval, truth),
        "t interval holds the mean": holds(Interval(found.ci_low, found.ci_high), truth),
        "bootstrap-t interval holds the mean": holds(found.bootstrap_t, truth),
        "Hodges-Lehmann interval holds the mean": holds(found.hodges_lehmann_interval, truth),
    }


def _is_skewed(found: Sequence[Departure]) -> bool:
    return any(departure.kind == "skew" for departure in found)
