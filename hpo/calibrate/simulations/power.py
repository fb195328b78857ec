"""The power that a plan states, compared with simulated studies."""

import numpy as np

from hpo.calibrate.simulations.rows import ALPHA, RateClaim, Row, about, exactly, measured
from hpo.statistics.power import plan
from hpo.statistics.signflip import sign_flip_p


def plan_rows(
    d_z: float, n: int, family: int, studies: range, seed: int, *, power: RateClaim | None = None
) -> tuple[Row, ...]:
    """Return how often the sign-flip test finds an effect, compared with the power that the plan states.

    Args:
        d_z: the effect of normal differences.
        n: number of pairs per study.
        family: number of arms; the test has the level of Holm's first step.
        studies: indices of the studies.
        seed: seed of all studies.
        power: the claimed power; by default the plan's, within its stated error (three standard errors if simulated).
    """
    found = plan(n=n, d_z=d_z, alpha=ALPHA, family=family)

    def study(generator: np.random.Generator) -> dict[str, bool]:
        return {"sign-flip test finds the effect": sign_flip_p(generator.normal(d_z, 1, size=n)) <= ALPHA / family}

    if power is None:
        error = (found.power_error or 0.0) * (3 if found.power_method == "simulated" else 1)
        power = about(found.power or 0.0, within=error) if error else exactly(found.power or 0.0)
    arms = "1 arm" if family == 1 else f"{family} arms"
    data = f"normal, d_z = {d_z:g}, {arms}; planned {found.power:.3f} ({found.power_method})"
    return measured(study, {"sign-flip test finds the effect": power}, data=data, n=n, studies=studies, seed=seed)
