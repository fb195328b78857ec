"""Safe reading of files that anyone may have written: regular files only, limited in size and depth.

Every JSON and TOML file, and every row of a store that holds JSON, is read here. Nothing in them can hang the program (a named
pipe, a device), exhaust its memory, or end it with a `RecursionError`. Errors name the file.
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
"""The largest JSON file to read."""
MOST_TOML_BYTES = 2**26
DEEPEST = 200
"""The deepest nesting of tables and lists; pydantic's JSON parser has this limit built in."""

_HOLDERS = (Mapping, list, tuple)
TOO_DEEP = f"nested too deeply; allowed: at most {DEEPEST} levels of tables and lists"
_PART = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')"""
_DEEP_KEY = re.compile(rf"(?<![\w-]){_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{DEEPEST}}}")
"""A dotted key for which tomllib would need quadratic time."""


def read_bytes(path: Path, most: int | None = MOST_BYTES) -> bytes:
    """Return the content of a regular file; links are followed.

    Args:
        path: the file.
        most: the largest number of bytes to read; None: no limit.

    Raises:
        OSError: it cannot be read, is too large, or is not a regular file.
    """
    if "\0" in str(path):
        raise OSError(errno.EINVAL, "a name that no file can have")
    with os.fdopen(open_regular(path, follow=True), "rb") as file:
        data = file.read() if most is None else file.read(most + 1)
        if most is not None and len(data) > most:
            raise OSError(errno.EINVAL, f"it has {os.fstat(file.fileno()).st_size:,} bytes; allowed: at most {most:,}")
    return data


def read_text(path: Path, most: int | None = MOST_BYTES) -> str:
    """Return the text of a regular UTF-8 file, without its byte-order mark.

    Raises:
        InputError: it cannot be read, or is not UTF-8 text.
    """
    try:
        return read_bytes(path, most).decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text: byte {error.start}: {error.reason}") from None


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text; NaN and infinities are allowed as Python writes them.

    Raises:
        ValueError: it is not JSON, or nested too deeply.
    """
    try:
        return from_json(text)
    except ValueError as error:
        raise ValueError(json_fault(str(error))) from None


def json_fault(message: str) -> str:
    """Return the message of pydantic's JSON parser, or our own for nesting that is too deep."""
    return f"{TOO_DEEP} ({message})" if "recursion limit" in message else message


def read_json(path: Path) -> Any:
    """Return the value of a JSON file.

    Raises:
        InputError: the file does not exist, cannot be read, or is not JSON.
    """
    text = read_text(path)
    try:
        return parse_json(text)
    except ValueError as error:
        raise InputError(f"{path}: malformed JSON: {error}") from None


def parse_toml(text: str) -> dict[str, Any]:
    """Return the tables of a TOML text.

    Raises:
        ValueError: it is not TOML, or nested too deeply.
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
        what: what it should be, for messages, such as `study file`.

    Raises:
        SpecError: the file does not exist, cannot be read, or is not TOML.
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
    """Return whether tables and lists are nested more than `DEEPEST` levels deep, without recursion."""
    level = [document]
    for _ in range(DEEPEST + 1):
        held = [item.values() if isinstance(item, Mapping) else item for item in level if isinstance(item, _HOLDERS)]
        if not held:
            return False
        level = [inner for items in held for inner in items]
    return True
