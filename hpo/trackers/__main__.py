"""``hpo trackers RUN_DIR NAME:DESTINATION``: write a run directory into a tool.

A study starts the same command for each of its trackers, with `--lifeline`: it then says on the standard output that the
destination can be written to, follows the run directory, and ends soon after its standard input does.
"""

import argparse
import fcntl
import importlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from hpo.cli import FAILED, exit_code
from hpo.core.errors import InputError
from hpo.core.files import inside, open_regular
from hpo.core.run_files import TRACKERS
from hpo.core.tracker import Tracker
from hpo.trackers.choice import Choice, chosen
from hpo.trackers.companions import READY

_EVERY = 0.5
"""Seconds between two looks at the run directory."""


def main(argv: Sequence[str] | None = None) -> int:
    """Write a run directory into one or more tools, and return the exit code."""
    return exit_code(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int | None:
    parser = argparse.ArgumentParser(
        prog="hpo trackers",
        description="Write the segments of a run directory, finished or not, into TensorBoard, MLflow, Weights & Biases or another"
        " tracker. What the destination has already is skipped.",
        epilog="Exit codes: 0 done; 2 the command line, the run directory or the destination is wrong; 1 something could not be"
        " written.",
    )
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="a run directory, such as runs/mnist_quick")
    parser.add_argument(
        "trackers", nargs="+", metavar="NAME:DESTINATION", help="such as tensorboard:DIR, mlflow:URI or wandb:PROJECT"
    )
    parser.add_argument("--module", help=argparse.SUPPRESS)  # the module that registers the tracker
    parser.add_argument("--lifeline", type=float, metavar="SECONDS", help=argparse.SUPPRESS)  # the time to end in
    arguments = parser.parse_args(argv)
    if arguments.lifeline is not None:
        return _companion(arguments)
    choices = chosen(arguments.trackers, "tracker")
    return max(_once(choice, arguments.run_dir) for choice in choices)


def check(choice: Choice, tracker: Tracker) -> None:
    """Check that a tracker's destination can be written to.

    Raises:
        InputError: it cannot.
    """
    try:
        tracker.check()
    except InputError as error:
        raise InputError(f"tracker {choice}: {error}") from None
    except Exception as error:
        raise InputError(f"tracker {choice}: it cannot be used: {type(error).__name__}: {error}") from error


def _once(choice: Choice, run_dir: Path) -> int:
    """Write what a run directory holds."""
    from hpo.results.follower import Follower
    from hpo.trackers.feed import Feed

    tracker = choice.build()
    follower = Follower(run_dir)
    check(choice, tracker)
    failed: list[str] = []
    feed = Feed(tracker, follower, failed.append)
    if not Turn(run_dir, choice.place).came():
        raise InputError(f"tracker {choice}: the study of {run_dir} is running, and has this tracker already")
    feed.finish()
    for text in failed:
        print(f"{choice}: {text}", file=sys.stderr)
    if feed.missing:
        print(f"{choice}: {feed.missing} segments were not written", file=sys.stderr)
    return FAILED if failed else 0


def _companion(arguments: argparse.Namespace) -> int:
    """Follow a study that runs."""
    say, run_dir = _only_voice(), arguments.run_dir
    try:
        importlib.import_module(arguments.module)
        (choice,) = chosen(arguments.trackers, "tracker")
        tracker = choice.build()
        check(choice, tracker)
    except InputError as error:
        say(str(error))
        return 2
    say(READY)
    os.nice(19)
    from hpo.results.follower import Follower
    from hpo.trackers.feed import Feed

    lifeline = sys.stdin.fileno()
    threading.Thread(target=_end_after, args=(lifeline, int(arguments.lifeline) + 1), daemon=True).start()
    follower = None
    while follower is None:
        try:
            follower = Follower(run_dir)
        except InputError:  # not made yet
            if _ended(lifeline):
                return 0
    feed = Feed(tracker, follower, say)
    turn = Turn(run_dir, choice.place)
    while not _ended(lifeline):
        if turn.came():
            feed.step()
    while not turn.came():
        time.sleep(_EVERY)
    feed.finish()
    if feed.missing:
        say(f"{feed.missing} segments were not written; `hpo trackers {run_dir} {choice}` writes them")
    return 0


class Turn:
    """Waits until no other process writes the same run directory to the same destination.

    The tracker of a session that was killed goes on for a moment, and the next session's must see what it has written.

    Args:
        run_dir: the run directory; in it, one byte of a file stands for each destination.
        text: the same for all spellings of the destination.
    """

    def __init__(self, run_dir: Path, text: str) -> None:
        self._at = int.from_bytes(sha256(text.encode()).digest()[:7])
        try:
            self._file: int | None = open_regular(inside(run_dir, TRACKERS), os.O_RDWR | os.O_CREAT)
        except OSError:  # somebody else's directory: then no study of ours runs there
            self._file = None

    def came(self) -> bool:
        """Return whether it is this process's turn; it then stays so."""
        if self._file is None:
            return True
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self._at)
        except OSError:
            return False
        return True


def _only_voice() -> Callable[[str], None]:
    """Return what writes a line to the standard output; what libraries print is dropped."""
    voice = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)

    def say(text: str) -> None:
        with suppress(OSError):  # the study was killed: nobody listens
            os.write(voice, (" ".join(text.split()) + "\n").encode("utf-8", "backslashreplace"))

    return say


def _end_after(lifeline: int, seconds: int) -> None:
    """End this process some seconds after the study, whatever it is doing: a destination may block."""
    select.select([lifeline], [], [])
    signal.alarm(seconds)


def _ended(lifeline: int) -> bool:
    """Wait a moment; return whether the process at the other end of the lifeline has closed it."""
    return bool(select.select([lifeline], [], [], _EVERY)[0])


if __name__ == "__main__":
    sys.exit(main())
