"""The handshake of a worker with its coordinator, for every executor.

A worker builds the task from names and values, never from an object of the coordinator. Before it runs a job, its task and
numerics are compared with those that the study began with: if they differed, its results would, too.
"""

import importlib
import os
import runpy
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

from hpo.core import registry
from hpo.core.checkpoints import Checkpoints
from hpo.core.errors import StudyFailed
from hpo.core.interpreters import end_safe_path
from hpo.core.task import Task
from hpo.execution.jobs import Context
from hpo.execution.runner import Runner
from hpo.study.bound import TaskDescription
from hpo.study.changes import differing
from hpo.study.identity import task_identity
from hpo.study.importing import import_named, take_path

IN_WORKER = "HPO_WORKER"
"""Set in a worker's environment, so that a script that is imported there starts no study. Our own workers have different values."""

_SCRIPT = "__hpo_worker__"
"""The module name of a user's script in a worker: not `__main__`, so that its guarded code does not run."""

Handshake = dict[str, Any]
"""A worker's `task` and `numerics`."""


def build_runner(context: Context, checkpoints: Path | Checkpoints) -> tuple[Runner, Handshake]:
    """Return the runner of a study's jobs in this process, and this process's handshake."""
    described = context.task
    task = build_task(described, context.python_path)
    if described.by_value is None:
        identity = task_identity(task, described.name, described.modules)
    else:  # its code came along, and its source may be known to the coordinator alone
        data = task.development_data()
        identity = {**described.identity, "data": None if data is None else data.fingerprint}
    handshake = {"task": identity, "numerics": task.numerics()}
    return Runner(task, context.interval, checkpoints, context.intervals), handshake


def check_handshake(context: Context, handshake: "Handshake | str", who: str) -> None:
    """Raise `StudyFailed` if a worker could not build the task, or would compute something else.

    Args:
        context: of the study.
        handshake: from the worker; a string is the traceback of an exception there.
        who: the worker's name in the message.

    Raises:
        StudyFailed: names the differences.
    """
    if isinstance(handshake, str):
        raise StudyFailed(f"a worker could not build the task:\n{handshake}")
    for what, phrase, expected in (
        ("task", "task is not the one", context.task.identity),
        ("numerics", "numerics are not those", context.numerics),
    ):
        wrong = differing({what: expected}, {what: handshake[what]})
        if wrong.keys() == {"task.data"}:
            raise StudyFailed(
                f"{who} is refused: `development_data` returned other data there than in the process that started the study."
                " It must return the same data on every call: seed its random numbers."
            )
        if wrong:
            values = "; ".join(f"{key}: {found!r}, not {wanted!r}" for key, (wanted, found) in wrong.items())
            raise StudyFailed(
                f"{who} is refused: its {phrase} that the study began with"
                f" ({values}). Was a file changed since? Undo that and run the same command again."
            )


def build_task(described: TaskDescription, python_path: Sequence[str]) -> Task[Any]:
    """Return the study's task, built from its name and options, on its device."""
    # In the coordinator's order, so that both import the same module if several have one name.
    take_path(python_path)
    end_safe_path()
    with _as_worker():
        if described.by_value is not None:
            task: Task[Any] = cloudpickle.loads(described.by_value)
            return task.on(described.device, described.threads, described.gpus)
        if described.origin.module == "__main__":
            _run_script(described.origin.file)
        for module in described.modules:
            import_named(module, described.search_path)
        if described.origin.module != "__main__":
            importlib.import_module(described.origin.module)
        task = registry.tasks.get(described.name)(**described.options)
        return task.on(described.device, described.threads, described.gpus)


def _run_script(file: str | None) -> None:
    """Run the script that defines the task, before a study file's folder is searched, as in the coordinator."""
    assert file is not None  # see `Execution.check_task`
    if not _is_main(file):
        script = ModuleType(_SCRIPT)
        script.__file__ = file
        sys.modules[_SCRIPT] = script
        script.__dict__.update(runpy.run_path(file, run_name=_SCRIPT))


def _is_main(file: str) -> bool:
    """Return whether a script is this process's main script, or was imported as such by `multiprocessing`."""
    modules = (sys.modules.get(name) for name in ("__main__", "__mp_main__"))
    files = (getattr(module, "__file__", None) for module in modules)
    return any(found is not None and Path(found).resolve() == Path(file) for found in files)


@contextmanager
def _as_worker() -> Iterator[None]:
    """Mark this process as a worker; for processes that we did not start."""
    if IN_WORKER in os.environ:
        yield
        return
    os.environ[IN_WORKER] = "1"
    try:
        yield
    finally:
        del os.environ[IN_WORKER]
