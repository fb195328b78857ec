"""Time limits for jobs in worker processes, and killing workers with everything that they started."""

import os
import signal
import sys
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from hpo.execution.handshake import IN_WORKER

_ROUNDS = 100


class Process(Protocol):
    """A child process that leads a process group; `subprocess.Popen` is one."""

    pid: int
    returncode: int | None
    """Its exit status, negative for a signal; None until `wait` has returned it."""

    def wait(self) -> int:
        """Wait for its end and return its exit status."""


def kill_group(process: Process) -> None:
    """Kill a process's group; its children may hold its pipes open even if the process itself is dead."""
    if process.returncode is None:  # otherwise its number may belong to another process by now
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def kill_marked(marks: Collection[str]) -> None:
    """Kill processes that workers started and that left their groups, such as daemons.

    They still carry their worker's mark in their environment or, as Linux shows the environment that a process had when its
    program was started, a forked worker's children have its name. Only Linux shows these; elsewhere this does nothing.

    Args:
        marks: the values of `IN_WORKER` in the workers' environments. This process itself is never killed.
    """
    variables = {f"{IN_WORKER}={mark}".encode() for mark in marks}
    names = {forked_name(mark) for mark in marks}
    killed: set[int] = set()
    for _ in range(_ROUNDS if sys.platform == "linux" else 0):  # processes being killed may have started more
        found = {pid for pid in _others() if _name(pid) in names or not variables.isdisjoint(_environment(pid))}
        if found <= killed:  # they are listed until their parent has waited for them
            return
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        killed |= found


def forked_name(mark: str) -> str:
    """Return the name of a forked worker: at most 15 letters."""
    return f"hpo-{mark[:11]}"


def _name(pid: int) -> str:
    """Return a process's name, which its forks inherit; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").rstrip("\n")
    except OSError:
        return ""


def _others() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdecimal() and int(name) != os.getpid())  # noqa: PTH208


def _environment(pid: int) -> list[bytes]:
    """Return the environment that a process started with; empty if it is gone or belongs to another user."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


class Deadlines:
    """Kills processes past their deadline; each leads a process group.

    A thread does this, because the coordinator may be blocked reading from the same process: a worker stopped in the middle of
    a message never sends the rest.

        deadlines.begin(process, 5)      # a job starts
        deadlines.end(process)           -> False: the job finished in time
        deadlines.begin(process, 5)
        ...                              # 5 seconds later the process is killed
        deadlines.end(process)           -> True
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: dict[Process, float] = {}
        self._killed: set[Process] = set()
        self._thread: threading.Thread | None = None
        self._closed = False

    def begin(self, process: Process, seconds: float) -> None:
        """Start the clock of a process."""
        with self._changed:
            self._due[process] = time.monotonic() + seconds
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, daemon=True)
                self._thread.start()
            self._changed.notify()

    def end(self, process: Process) -> bool:
        """Stop the clock of a process, and return whether it was killed."""
        with self._changed:
            self._due.pop(process, None)
            killed = process in self._killed
            self._killed.discard(process)
            return killed

    def close(self) -> None:
        """Stop all clocks."""
        with self._changed:
            self._closed = True
            self._due.clear()
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                for process in [process for process, due in self._due.items() if due <= now]:
                    del self._due[process]
                    self._killed.add(process)
                    kill_group(process)
                self._changed.wait(min(self._due.values()) - now if self._due else None)
