"""Arms, tasks and seeds in the names of files, studies and folders: `{task}-{arm}-{seed}`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

from hpo.compare.data import Role
from hpo.core.errors import InputError

_ROLES: tuple[Role, ...] = get_args(Role)
_PART = re.compile(r"\{([^{}]*)\}|(\*)")
_WITH_SEED = re.compile(r"(.+?)[-_. ]+(?:(?:seed|run)[-_. ]*)?([0-9]+)", re.IGNORECASE | re.DOTALL)
_LONGEST = 512  # characters of a name: all that Optuna allows for one


@dataclass(frozen=True)
class Pattern:
    """A pattern of `--names`; `parse_pattern` makes one.

    Attributes:
        text: as it was given.
        roles: what it says.
        depth: how many folders it names, above the name itself.
    """

    text: str
    roles: tuple[Role, ...]
    depth: int

    def read(self, names: Sequence[str]) -> dict[Role, str] | None:
        """Return what a name says; None if it is not like the pattern.

        Args:
            names: the name, after those of the folders that hold it.

        Raises:
            InputError: it can be read in two ways.
        """
        name = "/".join("/".join(names).split("/")[-1 - self.depth :])
        if len(name) > _LONGEST:
            return None
        found = [re.fullmatch(regex, name, re.DOTALL) for regex in self._regexes()]
        # The readings with the longest and the shortest parts differ if there is more than one.
        ways = {tuple(_roles(each.groupdict()).items()) for each in found if each is not None}
        if len(ways) > 1:
            said = " or ".join(", ".join(f"{role} {text!r}" for role, text in way) for way in sorted(ways)[:2])
            raise InputError(
                f"--names {self.text!r}: {name!r} can be read as {said}: give a pattern that fits in one way only"
            )
        return dict(ways.pop()) if ways else None

    def _regexes(self) -> Iterator[str]:
        for few_roles, few in itertools.product(("", "?"), repeat=2):
            yield self._regex(few_roles, few)

    def _regex(self, few_roles: str, few: str) -> str:
        parts, at = [], 0
        for found in _PART.finditer(self.text):
            parts.append(re.escape(self.text[at : found.start()]))
            any_text = "[0-9]+" if found[1] == "seed" else "[^/]+"
            parts.append(f"[^/]*{few}" if found[2] else f"(?P<{found[1]}>{any_text}{few_roles})")
            at = found.end()
        return "".join(parts) + re.escape(self.text[at:])


def _roles(groups: Mapping[str, str]) -> dict[Role, str]:
    return {role: groups[role].strip() for role in _ROLES if role in groups}


def parse_pattern(text: str) -> Pattern:
    """Return a pattern.

    Raises:
        InputError: it names no role, one twice, or something else.
    """
    given = [found[1] for found in _PART.finditer(text) if found[2] is None]
    roles = tuple(role for role in _ROLES if role in given)
    if not roles or len(given) != len(roles) or set("{}") & set(_PART.sub("", text)):
        raise InputError(
            f"--names {text!r}: allowed: text with each of {{arm}}, {{task}} and {{seed}} at most once, and * for anything,"
            " for example '{task}-{arm}-{seed}'"
        )
    return Pattern(text, roles, text.count("/"))


def parse_roles(given: Sequence[str]) -> dict[Role, str]:
    """Return what `--column` says.

    Raises:
        InputError: it is not ROLE=NAME, or names a role twice.
    """
    roles: dict[Role, str] = {}
    for each in given:
        named, _, name = each.partition("=")
        role = next((role for role in _ROLES if role == named), None)
        if role is None or not name:
            kind = " (--columns says what the columns of numbers are)" if "=" not in each else ""
            raise InputError(f"--column {each}: allowed: arm=NAME, task=NAME or seed=NAME{kind}")
        if role in roles:
            raise InputError(f"--column {each}: the {role} is already in {roles[role]!r}")
        roles[role] = name
    return roles


@dataclass(frozen=True)
class Wanted:
    """Which searches `--names` picks: those whose names are like its pattern; all without one.

    Attributes:
        pattern: of `--names`.
        skipped: the names of the others, as they are met.
    """

    pattern: Pattern | None
    skipped: list[str] = field(default_factory=list)

    def __call__(self, names: Sequence[str]) -> bool:
        """Return whether a search is one of them, by the folders that hold it and its name."""
        if self.pattern is None or self.pattern.read(names) is not None:
            return True
        self.skipped.append(names[-1])
        return False


def split_seed(name: str) -> tuple[str, str] | None:
    """Return the arm and the seed of a name that ends in a seed; None if it does not.

    >>> split_seed("tpe-0"), split_seed("tpe_seed_12"), split_seed("pb2")
    (('tpe', '0'), ('tpe', '12'), None)
    """
    found = _WITH_SEED.fullmatch(name) if len(name) <= _LONGEST else None
    return (found[1], found[2]) if found else None


def arms_and_seeds(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the arm and the seed that each name says, without a pattern: `tpe-0`, or `tpe` if none ends in a seed.

    Raises:
        InputError: some end in a seed, and some do not.
    """
    split = [split_seed(name) for name in names]
    found = [each for each in split if each is not None]
    if not found:
        return [(name, "") for name in names]
    if len(found) < len(names):
        without = names[split.index(None)]
        raise InputError(
            f"{without!r} does not end in a seed, and {names[split.index(found[0])]!r} does: rename one, or say how to read"
            " names, for example --names '{arm}-{seed}' or --names '{arm}'"
        )
    return found
