"""A worker process, started by the coordinator and never by a user: see `hpo.execution.starting`.

It builds the task, reports the task's identity and its numerics, and then runs one job at a time until the pipe closes. A second
pipe is its lifeline: when the coordinator dies, however it dies, that pipe closes and the worker leaves at once.

A task may start processes. They get neither pipe, so that the coordinator sees at once when the worker itself has died, and they
end with the worker: it leads a group of its own, and on Linux those that left the group are found by their environment.
"""

import ctypes
import gc
import os
import signal
import sys
import threading
import traceback
from contextlib import suppress
from dataclasses import replace
from io import FileIO
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

from hpo.cli import unbreakable_output
from hpo.core.errors import StoreError
from hpo.core.garbage import IMPORTING, USUAL
from hpo.core.interpreters import use_threads
from hpo.execution.deadlines import kill_marked
from hpo.execution.handshake import IN_WORKER, build_runner
from hpo.execution.jobs import Context, Job, Outcome
from hpo.execution.memory import peak_memory
from hpo.execution.runner import Runner

PR_SET_PDEATHSIG = 1
"""From Linux's prctl.h."""


def main() -> None:
    """Serve jobs in a fresh interpreter; the pipes' descriptors are on its command line."""
    gc.set_threshold(*IMPORTING)
    serve(Connection(int(sys.argv[1])), int(sys.argv[2]), os.environ[IN_WORKER])


def serve(pipe: Connection, lifeline: int, mark: str) -> None:
    """Serve jobs until the pipe closes.

    Args:
        pipe: to the coordinator, which sends its context and then jobs, and gets the handshake and outcomes.
        lifeline: closes when the coordinator dies.
        mark: the value of `IN_WORKER` in this process's environment.
    """
    with unbreakable_output():
        _serve(pipe, FileIO(lifeline), mark)


def _serve(pipe: Connection, lifeline: FileIO, mark: str) -> None:
    _wake_when_coordinator_ends()
    _keep_from_children(pipe, lifeline)
    # The coordinator ends workers, so a KeyboardInterrupt in here was raised by the task.
    signal.signal(signal.SIGINT, lambda *_: None)
    threading.Thread(target=_leave_with, args=(lifeline, mark), daemon=True).start()
    try:
        context: Context = pipe.recv()
        try:
            runner, handshake = build_runner(context, Path(context.checkpoints))
        except BaseException:
            pipe.send(traceback.format_exc())
            return
        use_threads(context.task.threads)
        gc.freeze()  # what was imported is no garbage
        gc.set_threshold(*USUAL)
        pipe.send(handshake)
        while True:
            pipe.send(_run(runner, pipe.recv()))
    except (EOFError, ConnectionError):  # a reset: the coordinator left what we sent unread
        _leave(mark)


def _run(runner: Runner, job: Job) -> Outcome | StoreError:
    try:
        return replace(runner(job), peak_memory=peak_memory())
    except StoreError as error:
        return error


def _leave_with(lifeline: FileIO, mark: str) -> None:
    lifeline.read(1)
    _leave(mark)


def _leave(mark: str) -> NoReturn:
    """End this process and all that it started, whichever thread sees first that the coordinator is gone."""
    kill_marked([mark])
    os.killpg(0, signal.SIGKILL)
    raise SystemExit  # not reached


def _wake_when_coordinator_ends() -> None:
    """Have Linux continue this process when its parent ends: a stopped process (SIGSTOP) could not exit."""
    with suppress(AttributeError, OSError):  # another system
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGCONT)


def _keep_from_children(*ends: Connection | FileIO) -> None:
    """Let no child of this process hold our ends of the pipes, whether it is forked or another program."""
    for end in ends:
        os.register_at_fork(after_in_child=end.close)
        os.set_inheritable(end.fileno(), False)
