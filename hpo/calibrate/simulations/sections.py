"""All measurements, by heading."""

from functools import partial
from typing import Protocol

from hpo.calibrate.simulations.anytime import (
    anytime_family_rows,
    anytime_power_rows,
    anytime_rows,
    sequence_family_rows,
    sequence_rows,
)
from hpo.calibrate.simulations.budget import CURVES, band_family_rows, band_rows, budget_rows
from hpo.calibrate.simulations.images import TASTES, crossed_rows
from hpo.calibrate.simulations.kernels import KERNELS
from hpo.calibrate.simulations.pairs import collapse_rows, departure_rows, equivalence_rows, paired_rows, power_rows
from hpo.calibrate.simulations.power import plan_rows
from hpo.calibrate.simulations.rows import RateClaim, Row, about, at_least, at_most
from hpo.calibrate.simulations.several import family_rows, rope_rows
from hpo.calibrate.simulations.tasks import table_rows, tasks_rows


class Rows(Protocol):
    """A function that simulates the studies with the given numbers and returns their rows."""

    def __call__(self, *, studies: range, seed: int) -> tuple[Row, ...]:
        """Simulate the studies."""


def sections() -> dict[str, list[Rows]]:
    """Return all measurements, by heading."""
    return {
        "Two arms, no difference": [partial(paired_rows, kernel, n) for kernel in KERNELS for n in (5, 6, 10, 20)],
        # Three standard errors about .80.
        "Two arms, a planted effect": [partial(power_rows, 1.0, 10, power=RateClaim(0.8, 0.8, level=0.9973))],
        "What the data show against symmetry": [
            *(
                partial(departure_rows, kernel, n)
                for kernel in ("normal", "t3", "tied counts", "skewed differences")
                for n in (6, 10, 20, 30)
            ),
            *(partial(collapse_rows, n) for n in (6, 10, 20)),
        ],
        "The power that a plan names": [
            partial(plan_rows, d_z, n, family)
            for d_z, n, family in (
                (1.5, 6, 1),
                (1.0, 6, 1),
                (1.5, 7, 3),
                (1.5, 9, 8),
                (1.5, 7, 1),
                (1.0, 10, 1),
                (1.0, 12, 3),
                (0.8, 19, 1),
            )
        ],
        "Several arms against one baseline": [
            *(partial(family_rows, better, n) for better, n in ((0, 8), (0, 10), (1, 10))),
            *(partial(rope_rows, arms, 10) for arms in ((False,), (True,), (False, True))),
        ],
        "Several tasks": [
            partial(tasks_rows, (1, 1, 1, 2, 2, 30), 0.0),
            *(partial(table_rows, tasks) for tasks in (6, 14, 30)),
        ],
        "Equivalence": [
            *(partial(equivalence_rows, "normal", rope, n) for rope in (0.5, 2.0) for n in (6, 10, 20)),
            *(partial(equivalence_rows, kernel, 2.0, 10) for kernel in KERNELS if kernel != "normal"),
        ],
        "Seeds added until it is decided": [
            *(
                partial(anytime_rows, kernel, 30, claim=RateClaim(0.014, 0.03) if source.symmetric else about(0.085))
                for kernel, source in KERNELS.items()
            ),
            partial(anytime_power_rows, 1.0, {11: at_most(0.5), 12: at_least(0.5), 30: about(0.96)}),
            *(partial(anytime_family_rows, arms, 30) for arms in (3, 8)),
            *(partial(sequence_rows, kernel, 20) for kernel in ("normal", "t3", "skewed differences")),
            partial(sequence_family_rows, 3, 12),
        ],
        "Seeds and test images": [
            partial(crossed_rows, arms, images, n)
            for arms in TASTES
            for images in (200, 2_000)
            for n in (2, 3, 5, 10, 20)
        ],
        "Along the budget": [
            *(partial(band_rows, effect, n) for effect in (0.0, 1.0, 3.0) for n in (6, 10)),
            *(
                partial(band_family_rows, curves, arms, n, later=later)
                for curves in CURVES
                for arms, n, later in ((3, 8, False), (8, 10, False), (3, 8, True))
            ),
            *(partial(budget_rows, times, 10, claim=RateClaim(0.88, 0.93)) for times in (1, 2)),
            *(partial(budget_rows, 1, n) for n in (6, 20)),
        ],
    }
