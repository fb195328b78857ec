"""Several tasks: unequal numbers of seeds, and tables of one value per task."""

from collections.abc import Sequence

import numpy as np

from hpo.calibrate.simulations.rows import ALPHA, RateClaim, Row, exactly, measured
from hpo.calibrate.simulations.sizes import sign_flip_size, signed_rank_size
from hpo.statistics.tasks import compare_tasks

_SPREADS = (50, 200, 1_000)  # standard deviations of the tasks' counts, in turn


def tasks_rows(seeds: Sequence[int], d_z: float, studies: range, seed: int) -> tuple[Row, ...]:
    """Return how often two arms are called different over tasks with unequal numbers of seeds.

    Args:
        seeds: the number of seeds of each task.
        d_z: the effect on every task, for normal differences.
        studies: indices of the studies.
        seed: seed of all studies.
    """
    few = "these tasks, without those of few seeds: p <= .05"

    def study(generator: np.random.Generator) -> dict[str, bool]:
        differences = {
            f"task {number}": np.rint(_SPREADS[number % len(_SPREADS)] * generator.normal(d_z, 1, size=n)).astype(
                np.int64
            )
            for number, n in enumerate(seeds)
        }
        found = compare_tasks(differences)
        looked = {
            "these tasks: p <= .05": found.fixed is not None and found.fixed.p_sign_flip <= ALPHA,
            "tasks like these: p <= .05": found.new.p is not None and found.new.p <= ALPHA,
        }
        if d_z:
            many = compare_tasks({task: values for task, values in differences.items() if len(values) == max(seeds)})
            looked[few] = many.fixed is not None and many.fixed.p_sign_flip <= ALPHA
        return looked

    claims: dict[str, RateClaim | None] = {
        "these tasks: p <= .05": None if d_z else exactly(ALPHA),
        "tasks like these: p <= .05": None if d_z else exactly(sign_flip_size(len(seeds))),
    }
    if d_z:
        claims[few] = None
    data = f"normal, d_z = {d_z:g}; tasks of {', '.join(map(str, seeds))} seeds"
    return measured(study, claims, data=data, n=sum(seeds), studies=studies, seed=seed)


def table_rows(tasks: int, studies: range, seed: int) -> tuple[Row, ...]:
    """Return how often two equal arms are called different, given a table of one value per task.

    Args:
        tasks: number of tasks.
        studies: indices of the studies.
        seed: seed of all studies.
    """

    def study(generator: np.random.Generator) -> dict[str, bool]:
        values = generator.standard_t(3, size=tasks)
        found = compare_tasks({f"task {number}": [value] for number, value in enumerate(values)})
        return {"table, signed-rank test: p <= .05": found.new.p is not None and found.new.p <= ALPHA}

    claims = {"table, signed-rank test: p <= .05": exactly(signed_rank_size(tasks))}
    return measured(study, claims, data="t3 over tasks", n=tasks, studies=studies, seed=seed)
