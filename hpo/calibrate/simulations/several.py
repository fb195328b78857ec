"""Several arms against one baseline: the probability of any false claim, with and without a ROPE."""

import math

import numpy as np

from hpo.calibrate.simulations.rows import ALPHA, Row, at_most, measured
from hpo.statistics.decision import decide
from hpo.statistics.paired import compare_paired


def family_rows(better: int, n: int, studies: range, seed: int) -> tuple[Row, ...]:
    """Return how often any of three arms is wrongly called better or worse than the baseline.

    Args:
        better: the number of arms that are truly better, by d_z = 1.5; the others equal the baseline.
        n: number of pairs per arm.
        studies: indices of the studies.
        seed: seed of all studies.
    """
    effects = [1.5 * math.sqrt(2) * (arm < better) for arm in range(3)]

    def study(generator: np.random.Generator) -> dict[str, bool]:
        baseline = generator.normal(size=n)
        arms = [
            (str(arm), compare_paired(baseline, effect + generator.normal(size=n)))
            for arm, effect in enumerate(effects)
        ]
        verdicts = decide(arms, baseline="a", metric="score", direction="maximize", alpha=ALPHA, planned=n)
        called = [verdicts[name].kind in ("better", "worse") for name, _ in arms]
        return {"Holm: any arm wrongly called better or worse": any(called[better:])}

    claims = {"Holm: any arm wrongly called better or worse": at_most(ALPHA)}
    data = f"normal, {better} of 3 arms better" if better else "normal, 3 arms, none better"
    return measured(study, claims, data=data, n=n, studies=studies, seed=seed)


def rope_rows(at_border: tuple[bool, ...], n: int, studies: range, seed: int) -> tuple[Row, ...]:
    """Return how often there is a false claim of a difference or of equivalence about any arm, with a ROPE.

    Args:
        at_border: for each arm, whether it is better by exactly the ROPE, one standard deviation of the differences. Then "worse",
            "equivalent" and "better by less than the ROPE" are false. Otherwise it equals the baseline, and "better" and "worse"
            are false.
        n: number of pairs per arm.
        studies: indices of the studies.
        seed: seed of all studies.
    """
    rope = math.sqrt(2)

    def study(generator: np.random.Generator) -> dict[str, bool]:
        baseline = generator.normal(size=n)
        arms = [
            (str(arm), compare_paired(baseline, border * rope + generator.normal(size=n), rope=rope))
            for arm, border in enumerate(at_border)
        ]
        verdicts = decide(arms, baseline="a", metric="score", direction="maximize", alpha=ALPHA, planned=n, rope=rope)
        false = False
        for border, found in zip(at_border, verdicts.values(), strict=True):
            within = found.p_tost_holm is not None and found.p_tost_holm <= ALPHA
            false |= found.kind == "worse" or (within if border else found.kind == "better")
        return {"with a ROPE: anything false is said": false}

    # There are two families of level alpha, but for a single arm only one of the two claims can be false.
    claims = {"with a ROPE: anything false is said": at_most(ALPHA if len(at_border) == 1 else 2 * ALPHA)}
    names = " and ".join("better by the ROPE" if border else "like the baseline" for border in at_border)
    arms = "1 arm" if len(at_border) == 1 else f"{len(at_border)} arms"
    return measured(study, claims, data=f"normal, {arms}: {names}", n=n, studies=studies, seed=seed)
