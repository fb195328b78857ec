"""Starts a process for each tracker of a study, and ends it.

A tracker runs in a process of its own, at low priority: a destination that is slow, fails or blocks never delays a segment. The
process follows the run directory. Its lifeline is a pipe that the study holds open: when it closes, because the study has ended or
was killed, the tracker writes what there is and exits.
"""

import os
import select
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from hpo.core.errors import InputError
from hpo.core.interpreters import command
from hpo.core.observer import Observer, SegmentDone
from hpo.execution.forking import tolerate
from hpo.study.importing import own_path
from hpo.trackers.choice import Choice

READY = "ready"
"""The first line of a tracker whose destination can be written to."""
READY_SECONDS = 60.0
"""How long a destination may take to answer before a study starts."""
GRACE = 60.0
"""How long trackers may take to finish after a study is done."""
SHORT_GRACE = 10.0
"""The same after one that was interrupted, ran out of time or failed."""
_SAY_AFTER = 2.0


class _Companion:
    """The process of one tracker."""

    def __init__(self, choice: Choice, run_dir: Path) -> None:
        self.choice = choice
        arguments = ("--lifeline", str(GRACE), "--module", choice.module, "--", str(run_dir), str(choice))
        self.process = subprocess.Popen(
            command(own_path(), "hpo.trackers.__main__", *arguments),
            process_group=0,  # Ctrl-C is for the study
            stdin=subprocess.PIPE,  # never written to
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._lifeline, self._voice = self.process.stdin, self.process.stdout
        tolerate(self._lifeline, self._voice)
        os.set_blocking(self._voice.fileno(), False)
        self._heard = b""
        self.is_mourned = False
        """Whether a failure of the process itself has been reported."""

    def lines(self, seconds: float = 0.0) -> list[str]:
        """Return the lines that it has said; wait for some if there are none."""
        if seconds:
            select.select([self._voice], [], [], seconds)
        while data := self._voice.read(1 << 16):
            self._heard += data
        *whole, self._heard = self._heard.split(b"\n")
        return [line.decode("utf-8", "replace") for line in whole]

    def warn(self, lines: Sequence[str]) -> None:
        """Pass on what it has said."""
        for line in lines:
            warnings.warn(f"{self.choice}: {line}", RuntimeWarning, stacklevel=2)

    def close(self) -> None:
        """Close the lifeline."""
        self._lifeline.close()

    def kill(self) -> None:
        """End it at once."""
        self._lifeline.close()
        self.process.kill()
        self.process.wait()
        self._voice.close()


class Companions(Observer):
    """The trackers of a study. As an observer, it warns of what they cannot do.

    Args:
        choices: the trackers.
        run_dir: the run directory.
    """

    def __init__(self, choices: Sequence[Choice], run_dir: Path) -> None:
        self._all = [_Companion(choice, run_dir) for choice in choices]
        self._grace = SHORT_GRACE
        self._next = 0.0

    def ready(self) -> None:
        """Wait until all destinations can be written to.

        Raises:
            InputError: one cannot, or does not answer.
        """
        until = time.monotonic() + READY_SECONDS
        for companion in self._all:
            lines: list[str] = []
            while not lines and companion.process.poll() is None and time.monotonic() < until:
                lines = companion.lines(min(1.0, max(0.0, until - time.monotonic())))
            lines = lines or companion.lines()
            if lines[:1] != [READY]:
                answer = (
                    "it ended" if companion.process.poll() is not None else f"no answer within {READY_SECONDS:.0f} s"
                )
                raise InputError(lines[0] if lines else f"tracker {companion.choice}: {answer}")
            companion.warn(lines[1:])

    def segment(self, segment: SegmentDone) -> None:
        """Look from time to time whether a tracker has something to say."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + 1.0
            self._hear()

    def study_ended(self, *, done: bool) -> None:
        """Have all trackers write what there is, and exit."""
        self._grace = GRACE if done else SHORT_GRACE
        for companion in self._all:
            companion.close()

    def __enter__(self) -> "Companions":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, InputError):
            self._wait(self._grace)

    def kill(self) -> None:
        """End all trackers at once."""
        for companion in self._all:
            companion.kill()

    def _wait(self, seconds: float) -> None:
        """Wait until all have exited, but no longer than this."""
        start, is_said = time.monotonic(), False
        for companion in self._all:
            companion.close()
        while busy := [each for each in self._all if each.process.poll() is None]:
            self._hear()
            waited = time.monotonic() - start
            if waited > seconds:
                break
            if waited > _SAY_AFTER and not is_said and sys.stderr is not None:
                is_said = True
                names = ", ".join(str(each.choice) for each in busy)
                print(f"waiting for {names}, at most {seconds:.0f} s", file=sys.stderr)
            time.sleep(0.02)
        self._hear()
        for companion in busy:
            what = f"{companion.choice} did not finish within {seconds:.0f} s and was stopped; `hpo trackers` writes the rest"
            warnings.warn(what, RuntimeWarning, stacklevel=2)

    def _hear(self) -> None:
        for companion in self._all:
            code = companion.process.poll()
            lines = companion.lines()
            if code and not companion.is_mourned:
                companion.is_mourned = True
                lines.append(f"its process ended with exit code {code}; `hpo trackers` writes the rest")
            companion.warn(lines)
