"""Reads files that anybody may have written: regular ones alone, bounded in size and depth, with errors that name the file.

Every JSON and TOML file, and every row of a store that holds JSON, is read here. Nothing that is read can hang the program
(a named pipe, a device), exhaust its memory, or end it with a `RecursionError`.
"""

import errno
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from hpo.core.errors import InputError, Mistake, SpecError, did_you_mean
from hpo.core.files import open_regular

MOST_BYTES = 2**30
"""The largest JSON file that is read."""
MOST_TOML_BYTES = 2**26
DEEPEST = 200
"""Levels of nested tables and lists; pydantic's parser of JSON has this limit built in."""

_HOLDERS = (Mapping, list, tuple)
TOO_DEEP = f"nested too deeply; allowed: at most {DEEPEST} levels of tables and lists"
_PART = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')"""
_DEEP_KEY = re.compile(rf"(?<![\w-]){_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{DEEPEST}}}")
"""A dotted key that tomllib would need quadratic time for."""


def read_bytes(path: Path, most: int | None = MOST_BYTES) -> bytes:
    """Return what a regular file holds; links are followed.

    Args:
        path: the file.
        most: the largest number of bytes that is read; None: any.

    Raises:
        OSError: it cannot be read, or is too large, or is not a regular file.
    """
    if "\0" in str(path):
        raise OSError(errno.EINVAL, "a name that no file can have")
    with os.fdopen(open_regular(path, follow=True), "rb") as file:
        data = file.read() if most is None else file.read(most + 1)
        if most is not None and len(data) > most:
            raise OSError(errno.EINVAL, f"it has {os.fstat(file.fileno()).st_size:,} bytes; allowed: at most {most:,}")
    return data


def read_text(path: Path, most: int | None = MOST_BYTES) -> str:
    """Return the text of a regular file in UTF-8, without its byte-order mark.

    Raises:
        InputError: it cannot be read, or is no such text.
    """
    try:
        return read_bytes(path, most).decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text: byte {error.start}: {error.reason}") from None


def parse_json(text: str | bytes) -> Any:
    """Return what a JSON text holds; NaN and the infinities are read as Python writes them.

    Raises:
        ValueError: it is no JSON, or nested too deeply.
    """
    try:
        return from_json(text)
    except ValueError as error:
        raise ValueError(json_fault(str(error))) from None


def json_fault(message: str) -> str:
    """Return in words what pydantic's parser of JSON says."""
    return f"{TOO_DEEP} ({message})" if "recursion limit" in message else message


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        InputError: there is no such file, or it cannot be read, or is no JSON.
    """
    text = read_text(path)
    try:
        return parse_json(text)
    except ValueError as error:
        raise InputError(f"{path}: malformed JSON: {error}") from None


def parse_toml(text: str) -> dict[str, Any]:
    """Return the tables of a TOML text.

    Raises:
        ValueError: it is no TOML, or nested too deeply.
    """
    if _DEEP_KEY.search(text):
        raise ValueError(TOO_DEEP)
    try:
        tables = tomllib.loads(text)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    if is_too_deep(tables):
        raise ValueError(TOO_DEEP)
    return tables


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Args:
        path: the file.
        what: what it should be, for messages, like `study file`.

    Raises:
        SpecError: there is no such file, or it cannot be read, or is no TOML.
    """
    try:
        return parse_toml(read_bytes(path, MOST_TOML_BYTES).decode("utf-8-sig"))
    except FileNotFoundError:
        near = did_you_mean(path.name, (file.name for file in path.parent.glob("*.toml")))
        raise SpecError(str(path), [Mistake(what, "there is no such file", hint=near)]) from None
    except OSError as error:
        raise SpecError(str(path), [Mistake(what, f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        raise SpecError(str(path), [Mistake("not UTF-8 text", f"byte {error.start}: {error.reason}")]) from None
    except ValueError as error:
        raise SpecError(str(path), [Mistake("not TOML", str(error))]) from None


def is_too_deep(document: object) -> bool:
    """Say whether tables and lists are nested more deeply than is read; found level by level, without recursion."""
    level = [document]
    for _ in range(DEEPEST + 1):
        held = [item.values() if isinstance(item, Mapping) else item for item in level if isinstance(item, _HOLDERS)]
        if not held:
            return False
        level = [inner for items in held for inner in items]
    return True
