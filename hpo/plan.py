"""`--dry-run`: what a study would do, and how long it would take, from one timed segment."""

import sys
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hpo.errors import StudyFailed
from hpo.execution.jobs import SegmentJob
from hpo.execution.runner import Runner
from hpo.segments import Segment
from hpo.spec import StudySpec
from hpo.study import check_run


def print_plan(spec: StudySpec, seeds: Sequence[int] | None, workers: int | None, executor: str, device: str) -> None:
    """Print segments per arm and the expected time; nothing is kept.

    Args:
        spec: the study.
        seeds: the seeds to run; None: all that are planned.
        workers: worker processes; None: the usable cores.
        executor: `serial` or `process`.
        device: `cpu` or `cuda`.
    """
    task, chosen, workers = check_run(spec, seeds, workers, executor, device)
    seconds = _time_segment(spec, task)
    budget = spec.population_size * spec.intervals
    table = Table("arm", "optimizer", "search segments", "retraining segments", "tests", box=None)
    for arm in spec.arms:
        table.add_row(
            arm.label,
            arm.optimizer_name,
            f"{len(chosen)} × {spec.population_size} × {spec.intervals} = {len(chosen) * budget}",
            f"{len(chosen)} × {spec.intervals} = {len(chosen) * spec.intervals}",
            str(len(chosen)),
        )
    # Retraining sees all the development data, not only the training part.
    longer = Fraction(1)
    data = task.development_data()
    if data is not None:
        longer = Fraction(len(data), len(data) - task.validation_size)
    total = len(chosen) * len(spec.arms) * (budget + spec.intervals * float(longer)) * seconds / workers
    console = Console(soft_wrap=not sys.stdout.isatty())
    some = f"{workers} worker{'s' * (workers != 1)}"
    console.print(f"{spec.name}: {len(chosen)} of {len(spec.seeds)} replicates, {some}", highlight=False)
    console.print(table, highlight=False)
    console.print(
        f"one segment takes {seconds:.3g} s here: about {_hours(total)} at most; what arms share is computed once",
        highlight=False,
    )


def _time_segment(spec: StudySpec, task: object) -> float:
    """Return the seconds of one root segment, run twice so that nothing is timed that happens once."""
    problem = spec.problem(spec.seeds[0], spec.arms[0])
    segment = Segment(0, None, 0, problem.hparams(0))
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(task, spec.interval, Path(folder))  # type: ignore[arg-type]
        for _ in range(2):
            outcome = runner(SegmentJob("0" * 64, segment, spec.seeds[0], spec.arms[0].stream, None))
    if outcome.error is not None:
        raise StudyFailed(f"the timed segment failed:\n{outcome.error}")
    return outcome.seconds


def _hours(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
