"""A worker process: `python -m hpo.execution.worker`, started by the coordinator and never by a user.

It builds the task from names and values (never from an object of the coordinator's), says what its numerics are, and then runs one
job at a time until the pipe closes. A second pipe is its lifeline: when the coordinator dies, however it dies, that pipe closes
and the worker leaves at once.
"""

import importlib
import os
import runpy
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any

from hpo import registry
from hpo.errors import HpoError, StoreError
from hpo.execution.jobs import Context, Job, Outcome
from hpo.execution.runner import Runner
from hpo.identity import task_identity
from hpo.importing import searching
from hpo.protocols import Task

IN_WORKER = "HPO_WORKER"
"""Set in a worker's environment: a script that is imported there must not start a study."""


_SCRIPT = "__hpo_worker__"
"""What a user's script is called here: not `__main__`, so that what it guards does not run."""


def build_task(context: Context) -> Task[Any]:
    """Return the study's task, built from its name and options, on its device."""
    sys.path += [folder for folder in context.python_path if folder not in sys.path]
    with searching(context.search_path):
        return _build_task(context).on(context.device)


def _build_task(context: Context) -> Task[Any]:
    for module in context.modules:
        importlib.import_module(module)
    origin = context.origin
    if origin.module == "__main__":
        if origin.file is None:
            raise HpoError(
                f"task {context.task_name!r} is defined in an interactive session, where worker processes cannot find it:"
                " put it into a file, or use executor='serial'"
            )
        script = ModuleType(_SCRIPT)
        script.__file__ = origin.file
        sys.modules[_SCRIPT] = script
        script.__dict__.update(runpy.run_path(origin.file, run_name=_SCRIPT))
    else:
        importlib.import_module(origin.module)
    return registry.tasks.get(context.task_name)(**context.task_options)


def main() -> None:
    """Serve jobs until the pipe closes."""
    pipe, lifeline = Connection(int(sys.argv[1])), int(sys.argv[2])
    threading.Thread(target=_leave_with, args=(lifeline,), daemon=True).start()
    try:
        context: Context = pipe.recv()
        runner, greeting = _prepare(context)
    except EOFError:
        return
    except (Exception, SystemExit):
        pipe.send(traceback.format_exc())
        return
    pipe.send(greeting)
    try:
        while True:
            pipe.send(_run(runner, pipe.recv()))
    except (EOFError, BrokenPipeError):
        return


def _prepare(context: Context) -> tuple[Runner, dict[str, Any]]:
    """Return what runs jobs, and what this worker says of itself."""
    task = build_task(context)
    greeting = {"task": task_identity(task, context.task_name), "numerics": task.numerics()}
    return Runner(task, context.interval, Path(context.checkpoints), context.intervals), greeting


def _run(runner: Runner, job: Job) -> Outcome | StoreError:
    try:
        return runner(job)
    except StoreError as error:
        return error


def _leave_with(lifeline: int) -> None:
    os.read(lifeline, 1)
    os._exit(0)


if __name__ == "__main__":
    main()
