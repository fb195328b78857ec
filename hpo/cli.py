"""What all commands share: exit codes, and errors in the user's words."""

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from hpo.errors import HpoError, InputError

DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130


def exit_code(work: Callable[[], int | None]) -> int:
    """Do a command's work and return its exit code, 0 where it returns none; what went wrong is said on the standard error.

    Ctrl-C and SIGTERM count as interruptions. Where the reader of the output has left, nobody is told anything.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return work() or DONE
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_INPUT
    except HpoError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("interrupted: what is finished was kept; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
        return FAILED


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
