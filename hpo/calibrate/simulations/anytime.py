"""Adding seeds until decided: the sign e-process and its confidence sequence."""

import math
from collections.abc import Callable, Mapping

import numpy as np

from hpo.calibrate.simulations.kernels import KERNELS, normal_pairs
from hpo.calibrate.simulations.rows import ALPHA, RateClaim, Row, at_least, at_most, measured
from hpo.calibrate.simulations.sizes import holds
from hpo.statistics.anytime import anytime_test, log_sign_e_process
from hpo.statistics.arrays import Floats


def first_decision(differences: Floats) -> int | None:
    """Return the number of pairs at which the anytime-valid test decides, or None."""
    reached = np.flatnonzero(np.array(log_sign_e_process(differences)) >= -math.log(ALPHA))
    return int(reached[0]) + 1 if reached.size else None


def anytime_rows(
    kernel: str,
    n: int,
    studies: range,
    seed: int,
    *,
    claim: RateClaim | None = None,
    decided: Callable[[Floats], int | None] = first_decision,
) -> tuple[Row, ...]:
    """Return how often a test that is looked at after every pair decides between two equal arms.

    Args:
        kernel: name of one of `KERNELS`.
        n: number of pairs at which the study gives up.
        studies: indices of the studies.
        seed: seed of all studies.
        claim: the claimed rate.
        decided: the test to calibrate; returns the number of pairs at which it decides, or None.
    """

    def study(generator: np.random.Generator) -> dict[str, bool]:
        pairs = KERNELS[kernel].draw(generator, n)
        return {"anytime-valid test decides": decided(pairs.b - pairs.a) is not None}

    return measured(study, {"anytime-valid test decides": claim}, data=kernel, n=n, studies=studies, seed=seed)


def anytime_power_rows(
    d_z: float, claims: Mapping[int, RateClaim | None], studies: range, seed: int
) -> tuple[Row, ...]:
    """Return how often an effect of normal differences is found by given numbers of pairs.

    Args:
        d_z: the effect.
        claims: the numbers of pairs, with the claimed rates.
        studies: indices of the studies.
        seed: seed of all studies.
    """
    n = max(claims)

    def study(generator: np.random.Generator) -> dict[str, bool]:
        pairs = normal_pairs(generator, n)
        at = first_decision(pairs.b - pairs.a + d_z)
        return {f"anytime-valid test has decided by pair {by}": at is not None and at <= by for by in claims}

    promised = {f"anytime-valid test has decided by pair {by}": claim for by, claim in claims.items()}
    return measured(study, promised, data=f"normal, d_z = {d_z:g}", n=n, studies=studies, seed=seed)


def sequence_rows(kernel: str, n: int, studies: range, seed: int) -> tuple[Row, ...]:
    """Return how often the confidence sequence contains the mean at all of n pairs, and at the last."""
    source = KERNELS[kernel]

    def study(generator: np.random.Generator) -> dict[str, bool]:
        pairs = source.draw(generator, n)
        found = anytime_test(pairs.b - pairs.a + source.deviation, alpha=ALPHA)
        kept = [holds(interval, source.deviation) for interval in found.intervals]
        return {
            "confidence sequence holds the mean at every n": all(kept),
            "confidence sequence holds the mean at the last n": kept[-1],
        }

    claim = at_least(1 - ALPHA) if source.symmetric else None
    claims = {
        "confidence sequence holds the mean at every n": claim,
        "confidence sequence holds the mean at the last n": claim,
    }
    return measured(study, claims, data=f"{kernel}, d_z = 1", n=n, studies=studies, seed=seed)


def anytime_family_rows(arms: int, n: int, studies: range, seed: int) -> tuple[Row, ...]:
    """Return how often the test decides on any of several arms that all equal the baseline.

    Args:
        arms: number of arms.
        n: number of pairs at which the study gives up.
        studies: indices of the studies.
        seed: seed of all studies.
    """
    needed = math.log(arms / ALPHA)

    def study(generator: np.random.Generator) -> dict[str, bool]:
        baseline, *others = generator.normal(size=(arms + 1, n))
        return {
            "anytime-valid test decides on any arm": any(
                max(log_sign_e_process(other - baseline)) >= needed for other in others
            )
        }

    claims = {"anytime-valid test decides on any arm": at_most(ALPHA)}
    return measured(study, claims, data=f"normal, {arms} arms, none better", n=n, studies=studies, seed=seed)


def sequence_family_rows(arms: int, n: int, studies: range, seed: int) -> tuple[Row, ...]:
    """Return how often the confidence sequences of several arms contain all their means at all of n pairs."""

    def study(generator: np.random.Generator) -> dict[str, bool]:
        baseline, *others = generator.normal(size=(arms + 1, n))
        found = [anytime_test(other - baseline, alpha=ALPHA, family=arms).intervals for other in others]
        return {
            "confidence sequences of all arms hold every mean at every n": all(
                holds(interval, 0.0) for intervals in found for interval in intervals
            )
        }

    claims = {"confidence sequences of all arms hold every mean at every n": at_least(1 - ALPHA)}
    return measured(study, claims, data=f"normal, {arms} arms, none better", n=n, studies=studies, seed=seed)
