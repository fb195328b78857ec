"""What all jobs of a coordinator share, from what it knows of its task."""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from hpo.core import registry
from hpo.core.layout import CHECKPOINTS
from hpo.core.task import Task
from hpo.execution.jobs import Context
from hpo.study.identity import task_options
from hpo.study.importing import own_path


def context_of(
    task: Task[Any],
    *,
    task_name: str,
    modules: tuple[str, ...],
    search_path: Iterable[str],
    identity: Mapping[str, Any],
    numerics: Mapping[str, str],
    interval: Fraction,
    intervals: int,
    run_dir: Path,
) -> Context:
    """Return what is sent to each worker once.

    Args:
        task: on its device.
        task_name: the registered name.
        modules: what is imported before the name is looked up.
        search_path: folders to look for its module in.
        identity: what a worker's task must be.
        numerics: what a worker's numerics must be.
        interval: the length of an interval in the task's unit.
        intervals: the budget of one member, in intervals.
        run_dir: the folder `checkpoints` in it takes checkpoint files.
    """
    return Context(
        task_name=task_name,
        task_options=task_options(task),
        modules=modules,
        origin=registry.origin_of(type(task)),
        search_path=tuple(str(Path(folder).resolve()) for folder in search_path),
        python_path=own_path(),
        device=task.device,
        interval=interval,
        checkpoints=str(run_dir.resolve() / CHECKPOINTS),
        identity=identity,
        numerics=numerics,
        intervals=intervals,
    )
