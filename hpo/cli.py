"""What all commands share: exit codes, errors and warnings in the user's words, signals, and output that may have no reader.

A study may outlive the terminal, pipe or disk that its output goes to. So output that cannot be written to a standard stream is
dropped; it neither stops the command nor changes its exit code.
"""

import atexit
import errno
import gc
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TextIO

from hpo.core.errors import HpoError, InputError, Interrupted
from hpo.core.garbage import IMPORTING, collections

DONE, FAILED, WRONG_INPUT, OUT_OF_TIME, INTERRUPTED = 0, 1, 2, 124, 130

CONTINUES = "finished work was kept; the same command continues from here"


def exit_code(work: Callable[[], int | None]) -> int:
    """Run a command and return its exit code, 0 if it returns none. Print errors to the standard error.

    Ctrl-C, SIGTERM, SIGHUP and SIGUSR1 interrupt it.
    """
    atexit.register(gc.freeze)  # examining all objects once more before the process exits takes a second
    with unbreakable_output(), interruptible(), plain_warnings(), collections(IMPORTING):
        try:
            return work() or DONE
        except InputError as error:
            _say(f"error: {error}")
            return WRONG_INPUT
        except HpoError as error:
            _say(f"error: {error}")
            return FAILED
        except OSError as error:  # not a bug of ours: too many open files, no memory, a broken disk
            _say(f"error: {error}{_ADVICE.get(error.errno or 0, '')}")
            return FAILED
        except KeyboardInterrupt as error:
            by = f" by {error}" if str(error) else ""
            print(f"interrupted{by}: {CONTINUES}", file=sys.stderr)
            return INTERRUPTED


def _say(message: str) -> None:
    print(harmless(message), file=sys.stderr)


def harmless(text: str) -> str:
    """Return a text with escaped control characters and shortened lines, because it may quote from untrusted files."""
    shown = "".join(each if each.isprintable() or each in "\n\t" else ascii(each)[1:-1] for each in text)
    return "\n".join(line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..." for line in shown.split("\n"))


_LONGEST = 2000
"""The largest number of characters in a line of a message."""
_ADVICE = dict.fromkeys((errno.EMFILE, errno.ENFILE), ": raise the limit of open files (`ulimit -n`)")


# --- files that a command writes -----------------------------------------------------------------------------------------


def check_new(path: Path, content: bytes) -> None:
    """Raise `InputError` if a file to write exists and holds something else, or cannot be there."""
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}")
    if os.path.lexists(path) and not (path.is_file() and path.read_bytes() == content):
        raise InputError(f"{path} exists, and holds something else: remove it, or pass another name")


def write_new(path: Path, content: bytes) -> None:
    """Write a file that `check_new` has passed."""
    if not path.exists():
        from hpo.core.files import write_atomic

        write_atomic(path, content)


# --- signals -------------------------------------------------------------------------------------------------------------


@contextmanager
def interruptible(
    signals: Iterable[int] = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1),
) -> Iterator[None]:
    """Make signals raise `Interrupted`, except those that this process was started to ignore, as with `nohup`.

    Handlers can be set only in the main thread; elsewhere this does nothing.
    """
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        handled = [number for number in signals if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, _interrupt) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    if number != signal.SIGINT:
        # `timeout` and closing terminals may send the signal twice; the second must not interrupt the writing of results.
        signal.signal(number, signal.SIG_IGN)
    raise Interrupted(signal.Signals(number).name)


# --- output --------------------------------------------------------------------------------------------------------------


@contextmanager
def unbreakable_output() -> Iterator[None]:
    """Make the standard streams drop output that cannot be written: to a closed pipe or terminal, or a full disk.

    Characters that a stream's encoding lacks are written as escapes. A stream that the process was started without is replaced by
    one that drops everything.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(
                os.devnull, os.O_RDWR
            )  # otherwise a file of ours would get this number, and workers would print into it
    before = sys.stdout, sys.stderr
    streams = _Output(before[0], "output"), _Output(before[1], "error")
    sys.stdout, sys.stderr = streams
    try:
        yield
    finally:
        for stream in streams:
            stream.flush()
        sys.stdout, sys.stderr = before


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Show this package's warnings as sentences; other warnings keep the line of code that they refer to."""
    before = warnings.formatwarning

    def shown(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        if Path(filename).is_relative_to(Path(__file__).parent):
            return f"warning: {message}\n"
        return before(message, category, filename, lineno, line)

    warnings.formatwarning = shown
    try:
        yield
    finally:
        warnings.formatwarning = before


class _Output:
    """A standard stream that drops what it cannot write.

    Args:
        stream: the stream; None: the process was started without it.
        name: its name, for the message.
    """

    def __init__(self, stream: TextIO | None, name: str) -> None:
        self._stream = open(os.devnull, "w") if stream is None else stream  # noqa: SIM115, PTH123 - as long as the process
        self._name = name
        with suppress(AttributeError, ValueError, OSError):  # not a stream of a file
            self._stream.reconfigure(errors="backslashreplace")  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._dropping():
            self._stream.write(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        with self._dropping():
            self._stream.flush()

    @contextmanager
    def _dropping(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:  # ValueError: the stream was closed
            with suppress(OSError, ValueError):
                # Otherwise the interpreter would flush the rest of the stream, fail again, and change the exit code.
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)
            if self is sys.stdout and not isinstance(error, BrokenPipeError):
                print(f"dropping the standard {self._name}, which cannot be written: {error}", file=sys.stderr)
