"""A worker process: `python -m hpo.execution.worker`, started by the coordinator and never by a user.

It builds the task from names and values (never from an object of the coordinator's), says what its numerics are, and then runs one
job at a time until the pipe closes. A second pipe is its lifeline: when the coordinator dies, however it dies, that pipe closes
and the worker leaves at once.
"""

import importlib
import os
import runpy
import signal
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from hpo import registry
from hpo.errors import HpoError
from hpo.execution.jobs import Context
from hpo.execution.runner import Runner
from hpo.protocols import Task

IN_WORKER = "HPO_WORKER"
"""Set in a worker's environment: a script that is imported there must not start a study."""


def build_task(context: Context) -> Task[Any]:
    """Return the study's task, built from its name and options, on its device."""
    for folder in reversed(context.search_path):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    origin = context.origin
    if origin.module in ("__main__", "__mp_main__"):
        if origin.file is None:
            raise HpoError(
                f"task {context.task_name!r} is defined in an interactive session, where worker processes cannot find it:"
                " put it into a file, or use executor='serial'"
            )
        runpy.run_path(origin.file, run_name="__hpo_worker__")
    else:
        importlib.import_module(origin.module)
    return registry.tasks.get(context.task_name)(**context.task_options).on(context.device)


def main() -> None:
    """Serve jobs until the pipe closes."""
    pipe, lifeline = Connection(int(sys.argv[1])), int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the coordinator
    threading.Thread(target=_leave_with, args=(lifeline,), daemon=True).start()
    try:
        context: Context = pipe.recv()
        runner, numerics = _prepare(context)
    except EOFError:
        return
    except (Exception, SystemExit):
        pipe.send(traceback.format_exc())
        return
    pipe.send(numerics)
    try:
        while True:
            pipe.send(_run(runner, pipe.recv()))
    except (EOFError, BrokenPipeError):
        return


def _prepare(context: Context) -> tuple[Runner, dict[str, str]]:
    task = build_task(context)
    return Runner(task, context.interval, Path(context.checkpoints)), task.numerics()


def _run(runner: Runner, job: Any) -> Any:
    try:
        return runner(job)
    except OSError as error:
        return error


def _leave_with(lifeline: int) -> None:
    os.read(lifeline, 1)
    os._exit(0)


if __name__ == "__main__":
    main()
