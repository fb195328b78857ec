"""Starts worker processes: fresh interpreters, or forks of this process where that is safe (`hpo.execution.forking`)."""

import gc
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

from threadpoolctl import threadpool_limits

from hpo.core.interpreters import THREADS, command
from hpo.execution.deadlines import Process, forked_name
from hpo.execution.forking import descriptors, is_safe
from hpo.execution.handshake import IN_WORKER
from hpo.study.identity import source_digests


class _Fork:
    """A forked child."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode


@dataclass(frozen=True)
class Started:
    """A worker that was started, and our ends of its pipes.

    Args:
        process: the worker.
        pipe: to send jobs and receive outcomes.
        lifeline: the end of a pipe that closes when this process dies.
        mark: the value of `IN_WORKER` in its environment, which its children inherit.
    """

    process: Process
    pipe: Connection
    lifeline: int
    mark: str


def fresh(path: Sequence[str], gpu: str | None) -> Started:
    """Start a worker in a fresh interpreter.

    Args:
        path: its search path for modules.
        gpu: its `CUDA_VISIBLE_DEVICES`; None: this process's.

    Raises:
        OSError: there is no file descriptor, process or memory left.
    """
    ours, theirs = Pipe()
    watched, lifeline = os.pipe()
    unseen = sys.__stderr__ is None  # this process may have none, and its number may be a file's by now
    mark = uuid.uuid4().hex
    process = subprocess.Popen(
        command(path, "hpo.execution.worker", str(theirs.fileno()), str(watched)),
        pass_fds=(theirs.fileno(), watched),
        process_group=0,  # Ctrl-C on the terminal is for the coordinator alone
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if unseen else sys.stderr.fileno() if _has_fileno(sys.stderr) else None,
        stderr=subprocess.DEVNULL if unseen else None,
        env=os.environ | _environment(mark) | ({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}),
    )
    theirs.close()
    os.close(watched)
    return Started(process, ours, lifeline, mark)


def _environment(mark: str) -> dict[str, str]:
    return {**dict.fromkeys(THREADS, "1"), IN_WORKER: mark}


def _has_fileno(stream: object) -> bool:
    try:
        stream.fileno()  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return False
    return True


# --- forks ---------------------------------------------------------------------------------------------------------------


def forked(count: int, serve: Callable[[Connection, int, str], None]) -> list[Started]:
    """Fork workers; none if that is not allowed or not safe.

    Args:
        count: how many.
        serve: runs in the worker, with its ends of the pipes and its mark.

    Raises:
        OSError: there is no file descriptor, process or memory left.
    """
    if not is_safe():
        return []
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    gc.freeze()  # a collection, here or in a worker, would write to the memory that they share, and so copy it
    return [_fork(serve) for _ in range(count)]


def _fork(serve: Callable[[Connection, int, str], None]) -> Started:
    ours, theirs = Pipe()
    watched, lifeline = os.pipe()
    mark = uuid.uuid4().hex
    pid = os.fork()
    if pid == 0:
        try:
            _become_worker(mark, {theirs.fileno(), watched})
            serve(theirs, watched, mark)
        finally:
            os._exit(1)  # exit without cleanup: what the coordinator has open is not the worker's to close
    with suppress(OSError):  # it did so itself, or is dead
        os.setpgid(pid, pid)
    theirs.close()
    os.close(watched)
    return Started(_Fork(pid), ours, lifeline, mark)


def _become_worker(mark: str, pipes: set[int]) -> None:
    """Reset a fork to the state of a fresh worker, except for imported modules."""
    os.setpgid(0, 0)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    # Close the coordinator's database, locks and pipes to other workers: a lock held here would outlive the coordinator.
    for descriptor in descriptors():
        if descriptor > 2 and descriptor not in pipes:
            os.close(descriptor)
    Path("/proc/self/comm").write_text(forked_name(mark))
    os.environ.update(_environment(mark))
    threadpool_limits(1)
    source_digests.cache_clear()  # see files that were edited since, as a fresh worker does
