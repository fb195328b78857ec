"""Errors, in the user's words.

Every error that a user can cause or meet derives from `HpoError`. The command line turns `InputError` into exit code 2 (nothing was
started) and every other `HpoError` into exit code 1 (the study failed; finished work is kept).
"""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


class HpoError(Exception):
    """The base of all errors that `hpo` raises on purpose."""


class InputError(HpoError):
    """The user's input is wrong: a study file, a command line, a data file or a run directory."""


class OptionError(InputError):
    """An option of a plug-in has a value that is not allowed.

    Plug-ins raise it without knowing in which file and table their options are; the caller adds these.

    Args:
        option: the option's name, dotted if it is in a nested plug-in (`selection.quantile_fraction`).
        given: the value, as the user wrote it.
        allowed: what is allowed, in words.
    """

    def __init__(self, option: str, given: object, allowed: str) -> None:
        super().__init__(f"{option} = {given!r}: allowed: {allowed}")
        self.option = option
        self.given = given
        self.allowed = allowed


@contextmanager
def nested_option(key: str) -> Iterator[None]:
    """Prefix each `OptionError` raised in the block with the option that holds the plug-in, such as `selection`."""
    try:
        yield
    except OptionError as error:
        raise OptionError(f"{key}.{error.option}", error.given, error.allowed) from error


class DataError(InputError):
    """A data file is missing or damaged."""


class StoreError(HpoError):
    """The run directory's store cannot be read or written."""


class StudyFailed(HpoError):
    """A segment failed: an exception in a task, or a worker that died twice."""


class OptimizerError(HpoError):
    """An optimizer broke its contract: over budget, outside the search space, an unknown key."""


class ReplayMismatch(HpoError):
    """An optimizer no longer asks for what the journal records."""


class Interrupted(KeyboardInterrupt):
    """A signal asked this process to stop. A `KeyboardInterrupt` that a task raises is a failure of the task instead."""


@dataclass(frozen=True)
class Mistake:
    """One mistake in a study file.

    Args:
        key: dotted path in the file, such as `arms[1].selection.name`.
        given: the value that was found, shown with `repr`; None if there is none.
        allowed: what is allowed there.
        hint: the nearest valid name, or what to do.
    """

    key: str
    allowed: str
    given: str | None = None
    hint: str | None = None

    def __str__(self) -> str:
        given = "" if self.given is None else f" = {self.given}"
        hint = "" if self.hint is None else f" ({self.hint})"
        return f"{self.key}{given}: {self.allowed}{hint}"


class SpecError(InputError):
    """A study file that cannot be run, with all its mistakes.

    Args:
        file: the study file, or a name for a document from elsewhere.
        problems: at least one mistake.
    """

    def __init__(self, file: str, problems: Iterable[Mistake]) -> None:
        self.file = file
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{file}: {problem}" for problem in self.problems))


def did_you_mean(name: str, valid: Iterable[str]) -> str | None:
    """Return 'did you mean ...?' with the nearest valid name, or None if none is near.

    Names that begin with `name` come first, then names whose initials it is or that are its initials (`lr` and `learning_rate`).
    Case is ignored.
    """
    names = {each.casefold(): each for each in valid}
    given = name.casefold()
    near = sorted((each for each in names if given and each.startswith(given)), key=len)
    near = near or [each for each in names if {given, _initials(given)} & {each, _initials(each)} - {""}]
    near = near or difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    return f"did you mean {names[near[0]]!r}?" if near else None


def _initials(name: str) -> str:
    """Return the initials of a name of several words, or nothing for a single word."""
    parts = name.split("_")
    return "".join(part[:1] for part in parts) if len(parts) > 1 else ""
