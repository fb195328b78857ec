"""Turns what a task raises while it is tried into an error of the user's input."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hpo.core.errors import HpoError, InputError, Interrupted
from hpo.core.object_state import is_library
from hpo.core.segments import HParams
from hpo.core.task import Diverged, Task


@contextmanager
def failed(task: Task[Any], what: str, hparams: HParams, hint: str = "") -> Iterator[None]:
    """Turn exceptions in the block into `InputError`; `Diverged`, `InputError` and interrupts pass unchanged.

    Args:
        task: the task.
        what: the method that is called.
        hparams: its hyperparameters.
        hint: how to fix it.
    """
    try:
        yield
    except (Diverged, InputError, Interrupted):
        raise
    except BaseException as error:
        kind = "" if isinstance(error, HpoError) else f"{type(error).__name__}: "
        raise InputError(
            f"{task.title}.{what} failed when the task was tried before the start: {kind}{error}{_where(error)}; with the"
            f" hyperparameters {dict(hparams)}" + (f". {hint}" if hint else "")
        ) from error


@contextmanager
def caught() -> Iterator[list[BaseException]]:
    """Collect exceptions in the block in a list; signals that end this process pass."""
    errors: list[BaseException] = []
    try:
        yield errors
    except Interrupted:
        raise
    except BaseException as error:
        errors.append(error)


def _where(error: BaseException) -> str:
    """Return the innermost line of the user's code in an error's traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not is_library(Path(frame.filename))]
    return f"; {own[-1].filename}, line {own[-1].lineno}" if own else ""
