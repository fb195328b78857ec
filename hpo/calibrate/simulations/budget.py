"""Along the budget: the max-T band of one arm, the bands of several, and the budget equivalence."""

from collections.abc import Callable, Mapping

import numpy as np

from hpo.calibrate.simulations.rows import ALPHA, RateClaim, Row, about, at_most, exactly, measured
from hpo.calibrate.simulations.sizes import holds, sign_flip_size
from hpo.statistics.arrays import Floats
from hpo.statistics.budget import budget_equivalence
from hpo.statistics.curves import max_t_band
from hpo.statistics.interval import Interval

_MEMBERS = 8
_BUDGETS = 20


def band_rows(effect: float, n: int, studies: range, seed: int) -> tuple[Row, ...]:
    """Return the coverage and rejections of the max-T band for two arms whose curves are random walks over 20 budgets.

    Args:
        effect: mean difference at every budget, in standard deviations of the differences there.
        n: number of pairs per study.
        studies: indices of the studies.
        seed: seed of all studies.
    """
    truth = effect * np.sqrt(2 * np.arange(1, _BUDGETS + 1))

    def study(generator: np.random.Generator) -> dict[str, bool]:
        a, b = np.cumsum(generator.normal(size=(2, n, _BUDGETS)), axis=2)
        band = max_t_band(a, b + truth, alpha=ALPHA)
        intervals = [Interval(low, high) for low, high in zip(band.low, band.high, strict=True)]
        return {
            "max-T band: better or worse from some budget on": (band.better_from, band.worse_from) != (None, None),
            "max-T band: p <= .05 at any budget": min(band.p) <= ALPHA,
            "max-T band holds the mean at all budgets": all(
                float(mean) in interval for mean, interval in zip(truth, intervals, strict=True)
            ),
        }

    size = sign_flip_size(n)
    claims: dict[str, RateClaim | None] = {
        "max-T band: better or worse from some budget on": None if effect else at_most(size),
        "max-T band: p <= .05 at any budget": None if effect else exactly(size),
        "max-T band holds the mean at all budgets": about(1 - ALPHA, within=0.01),
    }
    data = f"random walks, d_z = {effect:g}"
    return measured(study, claims, data=data, n=n, studies=studies, seed=seed)


def budget_rows(times: int, n: int, studies: range, seed: int, *, claim: RateClaim | None = None) -> tuple[Row, ...]:
    """Return how often the budget equivalence of random search with a multiple of its own budget contains that multiple.

    Args:
        times: the multiple.
        n: number of seeds per study.
        studies: indices of the studies.
        seed: seed of all studies.
        claim: the claimed rate.
    """

    def study(generator: np.random.Generator) -> dict[str, bool]:
        pool = generator.normal(size=(n, _MEMBERS))
        values = generator.normal(size=(n, times * _MEMBERS)).max(axis=1)
        found = budget_equivalence(pool.tolist(), values.tolist(), alpha=ALPHA)
        return {"budget equivalence holds the multiple": holds(found.interval, float(times))}

    claims = {"budget equivalence holds the multiple": claim}
    return measured(study, claims, data=f"{_MEMBERS} members, {times}x", n=n, studies=studies, seed=seed)


def _walks(generator: np.random.Generator, n: int) -> Floats:
    return generator.normal(size=(n, _BUDGETS)).cumsum(axis=1)


def _plateaus(generator: np.random.Generator, n: int) -> Floats:
    """Draw incumbents that stop improving after a quarter of the budget, rounded to two decimals."""
    found: Floats = np.maximum.accumulate(generator.normal(size=(n, _BUDGETS // 4)), axis=1).round(2)
    return found.repeat([1] * (_BUDGETS // 4 - 1) + [_BUDGETS - _BUDGETS // 4 + 1], axis=1)


CURVES: Mapping[str, Callable[[np.random.Generator, int], Floats]] = {"random walks": _walks, "plateaus": _plateaus}


def band_family_rows(
    curves: str, arms: int, n: int, studies: range, seed: int, *, later: bool = False
) -> tuple[Row, ...]:
    """Return how often there is a false claim about any arm at any budget, where arms x budgets are one family.

    Args:
        curves: name of one of `CURVES`.
        arms: number of arms, all equal to the baseline.
        n: number of pairs per arm.
        studies: indices of the studies.
        seed: seed of all studies.
        later: make the first arm better by three standard deviations in the second half of the budget, so that only claims about
            its first half and the other arms are false.
    """
    half = _BUDGETS // 2
    draw = CURVES[curves]

    def study(generator: np.random.Generator) -> dict[str, bool]:
        baseline, *others = (draw(generator, n) for _ in range(arms + 1))
        if later:
            others[0][:, half:] += 3 * np.std(others[0] - baseline, axis=0)[half:]
        bands = [max_t_band(baseline, other, alpha=ALPHA, family=arms) for other in others]
        true_from = [half if later and arm == 0 else _BUDGETS for arm in range(arms)]
        null = [band.p[:first] for band, first in zip(bands, true_from, strict=True)]
        return {
            "bands: any arm falsely better or worse from some budget on": any(
                band.worse_from is not None or (band.better_from is not None and band.better_from < first)
                for band, first in zip(bands, true_from, strict=True)
            ),
            "bands: p <= .05 / arms at any budget without a difference": any(
                min(p) <= ALPHA / band.family for p, band in zip(null, bands, strict=True)
            ),
            "were each arm's band a family of its own: from some budget on": any(
                len(p) == _BUDGETS and p[-1] <= ALPHA for p in null
            ),
            "were each arm's band a family of its own: at any budget": any(min(p) <= ALPHA for p in null),
        }

    claims = {
        "bands: any arm falsely better or worse from some budget on": at_most(ALPHA),
        "bands: p <= .05 / arms at any budget without a difference": at_most(ALPHA),
        "were each arm's band a family of its own: from some budget on": None,
        "were each arm's band a family of its own: at any budget": None,
    }
    better = "1 better in the second half" if later else "none better"
    return measured(study, claims, data=f"{curves}, {arms} arms, {better}", n=n, studies=studies, seed=seed)
