"""The file from which a search of `hpo.ask_tell` goes on: JSON lines, each written once and never changed.

The first line says which search it is, and each further one is a finished trial. The optimizer's own state is not in the file: it
asks for the same trials again, and gets their values.
"""

import json
import os
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo.core.errors import InputError, ReplayMismatch
from hpo.core.locks import Place, explained, lock_file
from hpo.core.parameters import is_finite
from hpo.core.parsing import parse_json
from hpo.study.changes import differing
from hpo.study.identity import versions

FORMAT = "hpo ask_tell 1"
KEYS = ("number", "interval", "hparams", "parent", "value")
"""The keys of a trial, in order; see `hpo.Trial`."""
Record = Mapping[str, Any]
_open: "weakref.WeakValueDictionary[tuple[int, int], TrialsFile]" = weakref.WeakValueDictionary()
"""The open files of this process, by device and inode."""


class TrialsFile:
    """An open file, which no other process can open. Opening it again in this process closes it.

    Args:
        path: the file; created if needed.
        search: what determines the trials, as plain values.

    Raises:
        InputError: it is in use, is damaged, or belongs to another search.
    """

    def __init__(self, path: Path, search: Record) -> None:
        self.path = path
        earlier = _open.get(_identity(path))
        if earlier is not None:
            earlier.close()
        self._file = lock_file(path)
        self._place = Place.of(path)
        _open[self._place.device, self._place.inode] = self
        self.recorded: dict[tuple[int, int], tuple[int, Record]] = {}
        """The trials of earlier sessions by (number, interval), with the numbers of their lines."""
        try:
            self._read(search)
        except BaseException:
            self.close()
            raise

    def append(self, trial: Record) -> None:
        """Write a finished trial.

        Raises:
            InputError: the file was closed.
            StoreError: it cannot be written, or was moved.
        """
        if self._file.closed:
            raise InputError(f"{self.path} was closed, or opened again, since this search was opened")
        self._place.check()
        self._write(trial)

    def close(self) -> None:
        """Close the file, so that other processes can open it."""
        self._file.close()

    def check(self, trial: Record) -> float | None:
        """Remove a trial of an earlier session from `recorded` and return its value, after comparing it with what is asked now.

        Raises:
            ReplayMismatch: it differs.
        """
        line, was = self.recorded.pop((trial["number"], trial["interval"]))
        then, now = (json.dumps({**found, "value": None}) for found in (was, trial))
        if then != now:
            libraries = differing(self._versions, versions(), "(absent)").items()
            changed = ", ".join(f"{name} {old} -> {new}" for name, (old, new) in libraries)
            raise ReplayMismatch(
                f"{self.path}, line {line}: the optimizer no longer asks for the same trial:\n  then: {then}\n  now:  {now}\n"
                f"Likely cause: {changed or 'an edited plug-in'}."
                " Go on with what the search began with, or pass another file."
            )
        value: float | None = was["value"]
        return value

    def _read(self, search: Record) -> None:
        *lines, rest = self._file.readall().split(b"\n")
        header = {"format": FORMAT, "search": parse_json(json.dumps(search, default=str)), "versions": versions()}
        if not lines and _line(header).startswith(rest):  # new, or cut off in its first line
            self._cut(0)
            self._versions = header["versions"]
            self._write(header)
            return
        first = _parsed(lines[0]) if lines else None
        if not isinstance(first, dict) or first.keys() != header.keys():
            raise InputError(f"{self.path} is not a file of hpo.ask_tell; nothing was changed: pass another file")
        if first["format"] != FORMAT:
            raise InputError(f"{self.path} has the format {first['format']!r}; this version of hpo reads {FORMAT!r}")
        changed = differing(first["search"], header["search"], "(absent)")
        if changed:
            changes = "\n  ".join(f"{key}: {old} -> {new}" for key, (old, new) in changed.items())
            raise InputError(
                f"{self.path} holds another search; these options differ:\n  {changes}\nPass another file, or undo the changes."
            )
        self._versions = first["versions"]
        for number, line in enumerate(lines[1:], 2):
            trial = _parsed(line)
            if not _is_trial(trial) or (trial["number"], trial["interval"]) in self.recorded:
                raise InputError(
                    f"{self.path}, line {number} is damaged: remove it and the lines after it; their trials are asked for again"
                )
            self.recorded[trial["number"], trial["interval"]] = number, trial
        self._cut(sum(len(line) + 1 for line in lines))  # a last line without an end was cut off by a crash

    def _cut(self, size: int) -> None:
        with explained(self.path):
            os.ftruncate(self._file.fileno(), size)
        self._size = size

    def _write(self, record: Record) -> None:
        """Append a whole line, or nothing."""
        content = line = _line(record)
        try:
            with explained(self.path):
                while content:
                    content = content[self._file.write(content) :]
        except BaseException:
            self._cut(self._size)
            raise
        self._size += len(line)


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


def _line(record: Record) -> bytes:
    return json.dumps(record).encode() + b"\n"


def _parsed(line: bytes) -> Any:
    try:
        return parse_json(line)
    except ValueError:
        return None


def _is_trial(record: Any) -> bool:
    if not isinstance(record, dict) or tuple(record) != KEYS:
        return False
    value = record["value"]
    is_value = value is None or (isinstance(value, float | int) and not isinstance(value, bool) and is_finite(value))
    return is_value and isinstance(record["number"], int) and isinstance(record["interval"], int)
