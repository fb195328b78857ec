"""A toy to which something happens while it trains, for the tests of executors."""

import os
import signal
import threading
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import hpo
from hpo.tasks.toy import Toy

VICTIM = "HPO_TEST_VICTIM"
"""Set in the environment of a node that something may happen to."""


def is_tried() -> bool:
    """Say whether this is the check before the study: there nothing happens."""
    return any("sanity" in Path(frame.filename).parts for frame in traceback.extract_stack())


def _half(connection: Connection, data: bytes) -> None:
    """Send half of an answer through the pipe, and end."""
    connection._send(bytes([0, 0, 16, 0]) + bytes(data)[:10])  # type: ignore[attr-defined]
    os.kill(os.getpid(), signal.SIGKILL)


@hpo.register_task("hazard")
@dataclass(frozen=True)
class Hazard(Toy):
    """The toy, until something happens.

    Args:
        folder: what happens is written in a file `mode` in it, and what has happened is noted there.
    """

    training_noise: float = 0.01
    evaluation_noise: float = 0.05
    folder: str = ""

    version = "1"

    def train(self, state: Any, hparams: Any, batches: Any) -> Any:
        state = super().train(state, hparams, batches)
        if is_tried():
            return state
        mode = self._mode
        if mode == "lose the victim":
            self._lose_the_victim()
        elif mode == "other numerics":
            threading.Event().wait()  # nothing is done before the victim has been seen
        elif batches.start == 2:
            self._happen(mode)
            self._fail(mode, hparams)
        return state

    def numerics(self) -> dict[str, str]:
        found = super().numerics()
        elsewhere = {"other numerics": VICTIM, "other numerics in workers": "HPO_WORKER"}.get(self._mode)
        if elsewhere and os.environ.get(elsewhere):
            found["blas"] = "another"
        return found

    @property
    def _mode(self) -> str:
        return (Path(self.folder) / "mode").read_text()

    def _happen(self, mode: str) -> None:
        if mode == "die" or (mode == "die once" and self._first("died")):
            os.kill(os.getpid(), signal.SIGKILL)
        if mode == "die speaking" and self._first("died"):
            Connection._send_bytes = _half  # type: ignore[attr-defined]
        if mode == "stop once" and self._first("stopped"):
            os.kill(os.getpid(), signal.SIGSTOP)
        if mode == "die and leave a child" and self._first("died"):
            self._leave_a_child()
            os.kill(os.getpid(), signal.SIGKILL)
        if mode == "leave a child" and self._first("left"):
            self._leave_a_child()
        if mode == "wait for a child" and self._first("hung"):
            os.waitpid(self._leave_a_child(), 0)
        if mode.startswith("leave a daemon") and self._first("left"):
            self._leave_a_daemon()
            if mode.endswith("and die"):
                os.kill(os.getpid(), signal.SIGKILL)
            if mode.endswith("and hang"):
                threading.Event().wait()
        if mode == "hang":
            self._first("hung")
            threading.Event().wait()

    def _fail(self, mode: str, hparams: Any) -> None:
        if mode == "raise":
            raise ValueError("as it was told")
        if mode == "leave":
            raise SystemExit("the task left")
        if mode == "raise an interruption":
            raise KeyboardInterrupt("raised by the task")
        if mode == "raise another class":
            raise type("Abort", (BaseException,), {})("raised by the task")
        if mode == "set a hyperparameter":
            hparams["h0"] = 0.5
        if mode == "no file":
            (Path(self.folder) / "what the task looks for").read_bytes()

    def _leave_a_child(self) -> int:
        """Start a process that never ends, with all that a forked one inherits."""
        child = os.fork()
        while child == 0:
            signal.pause()
        (Path(self.folder) / "child").write_text(str(child))
        return child

    def _leave_a_daemon(self) -> None:
        """Start a program and a forked process, each in a session of its own and with another parent."""
        for name in ("program", "forked"):
            middle = os.fork()
            if not middle:
                os.setsid()
                if os.fork():
                    os._exit(0)
                (Path(self.folder) / f"{name}.part").write_text(str(os.getpid()))
                (Path(self.folder) / f"{name}.part").rename(Path(self.folder) / name)
                if name == "program":
                    os.execvp("sleep", ["sleep", "1000"])
                while True:
                    signal.pause()
            os.waitpid(middle, 0)
        while not all((Path(self.folder) / name).exists() for name in ("program", "forked")):
            threading.Event().wait(0.01)

    def _lose_the_victim(self) -> None:
        """Kill the victim's raylet in the middle of a segment; all other nodes wait until that has happened."""
        if os.environ.get(VICTIM) and self._first("lost"):
            os.kill(os.getppid(), signal.SIGKILL)
            threading.Event().wait()
        while not (Path(self.folder) / "lost").exists():
            threading.Event().wait(0.01)

    def _first(self, name: str) -> bool:
        """Say whether this is the first call for a name, in whatever process."""
        try:
            (Path(self.folder) / name).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True
