"""What ends a study: an exception in a task, in the user's words."""

from collections.abc import Mapping
from typing import Any

from hpo.core.errors import StudyFailed
from hpo.core.reach import name_of
from hpo.core.task import Task
from hpo.execution.jobs import Job


def failure(task: Task[Any], job: Job, error: str) -> StudyFailed:
    """Return the error that an exception in a task ends its study with.

    Args:
        task: the task.
        job: what it worked on.
        error: the traceback of the exception.
    """
    if task.is_function:
        return StudyFailed(_of_a_function(task, job, error))
    return StudyFailed(
        f"an exception in the task stopped the study at {job}:\n{error}"
        "Finished work was kept. If the cause lies outside the task's code, fix it and run the same command again. After a"
        " change of the task's code, use another --out: what the old code computed no longer counts."
    )


def _of_a_function(task: Task[Any], job: Job, error: str) -> str:
    raised = error.startswith("Traceback")
    go_on = ' With on_error="diverge" the search goes on after an exception.' if raised else ""
    return (
        f"{name_of(*task.code())} failed in trial {job.segment.member + 1} (seed {job.seed}), {_spelled(job.segment.hparams)}:\n"
        f"{error}Finished trials were kept: the same call goes on from them. After a change of the function, give another"
        f" `out` (--out), unless no trial had finished.{go_on}"
    )


def _spelled(hparams: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in hparams.items())
