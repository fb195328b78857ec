"""Reading JSON that may be wrong: every error names the file, the key, what was given and what is expected."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn


class ReportError(Exception):
    """A run directory that no report can be made of; the message is one line, for the user."""


@dataclass(frozen=True)
class Node:
    """A JSON value and where it stands.

    Reading walks down and converts at the leaf::

        node = load(path)                      # the whole file
        node.at("study", "study", "name").text()
        for item in node.at("arms").items(): item.at("label").text()
        node.at("comparisons").optional("x")   # None when absent or null
    """

    value: object
    file: str
    where: str = ""

    def fail(self, expected: str) -> NoReturn:
        """Raise: this value is not what was expected."""
        given = repr(self.value)
        given = given if len(given) <= 60 else given[:57] + "..."
        raise ReportError(f"{self.file}: {self.where or 'the file'}: expected {expected}, got {given}")

    def _child(self, key: str | int, value: object) -> Node:
        step = f"[{key}]" if isinstance(key, int) else (f".{key}" if self.where else key)
        return Node(value, self.file, self.where + step)

    def at(self, *keys: str) -> Node:
        """The value under these keys; an error when one is absent."""
        node = self
        for key in keys:
            if not isinstance(node.value, dict):
                node.fail("a table")
            if key not in node.value:
                raise ReportError(f"{self.file}: {node._child(key, None).where}: missing")
            node = node._child(key, node.value[key])
        return node

    def optional(self, key: str) -> Node | None:
        """The value under a key, or None when it is absent or null."""
        if not isinstance(self.value, dict):
            self.fail("a table")
        value = self.value.get(key)
        return None if value is None else self._child(key, value)

    def items(self) -> Iterator[Node]:
        """The values of a list, in order."""
        if not isinstance(self.value, list):
            self.fail("a list")
        for i, value in enumerate(self.value):
            yield self._child(i, value)

    def fields(self) -> Iterator[tuple[str, Node]]:
        """The keys and values of a table, in the file's order."""
        if not isinstance(self.value, dict):
            self.fail("a table")
        for key, value in self.value.items():
            yield key, self._child(key, value)

    def text(self) -> str:
        """A string."""
        if not isinstance(self.value, str):
            self.fail("a string")
        return self.value

    def integer(self) -> int:
        """An integer from 0 to 2^63 - 1 (no count or seed is anything else)."""
        if isinstance(self.value, bool) or not isinstance(self.value, int) or not 0 <= self.value < 2**63:
            self.fail("a non-negative integer")
        return self.value

    def flag(self) -> bool:
        """A truth value."""
        if not isinstance(self.value, bool):
            self.fail("true or false")
        return self.value

    def number(self) -> float:
        """A finite number."""
        number = self.measurement()
        if number is None:
            self.fail("a finite number")
        return number

    def measurement(self) -> float | None:
        """A finite number, or None where the file says null (diverged, or undefined)."""
        if self.value is None:
            return None
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            self.fail("a number or null")
        try:
            number = float(self.value)
        except OverflowError:
            self.fail("a number that a double can hold")
        if not math.isfinite(number):
            self.fail("a finite number or null")
        return number


def read_text(path: Path) -> str:
    """A file's text; a `ReportError` when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ReportError(f"{path}: not UTF-8 text") from None
    except OSError as error:
        raise ReportError(f"{path}: cannot be read: {error.strerror or error}") from None


def load_json(path: Path) -> Node:
    """A JSON file as a `Node`; NaN and Infinity, which are not JSON, are refused."""

    def refuse(token: str) -> NoReturn:
        raise ReportError(f"{path.name}: malformed JSON: {token} is not a JSON number (use null)")

    try:
        return Node(json.loads(read_text(path), parse_constant=refuse), path.name)
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{path}: malformed JSON: {str(error).splitlines()[0]}") from None
