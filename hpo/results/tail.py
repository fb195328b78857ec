"""Reads a file that others append to, and replace."""

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from hpo.core.errors import InputError
from hpo.core.files import inside, open_regular

MOST_BYTES = 2**22
"""The most bytes to read at a time."""
_LONGEST = 2**24
"""The longest record. A file with a longer one was not written by hpo."""
_END = 512
"""How many bytes before the place that was reached must be the same as before."""


@dataclass
class Tail:
    """What is new in a file of records that end with a line feed.

    The file may be missing, and its last record half-written. A replaced file has another inode: the old one is kept open, so that
    no new file can get its number. A file that was rewritten in place is smaller, or differs before the place that was reached.

    Args:
        folder: a folder that the user named.
        name: of the file in it.
        quoted: whether records may hold line feeds in double quotes, as CSV.
    """

    folder: Path
    name: str
    quoted: bool = False
    _descriptor: int | None = None
    _offset: int = 0
    _end: bytes = b""
    _rest: bytes = field(default=b"", repr=False)
    _from_start: bool = True

    def read(self) -> tuple[bool, bytes, bool]:
        """Return whether this is the file's start, the whole records that are new, and whether there may be more at once.

        The start comes again if the file was replaced.

        Raises:
            InputError: the name belongs to something other than a regular file, or the file has no records.
        """
        self._reopen()
        if self._descriptor is None:
            return False, b"", False
        starts, self._from_start = self._from_start, False
        found = os.pread(self._descriptor, MOST_BYTES, self._offset)
        self._offset += len(found)
        self._end = (self._end + found)[-_END:]
        data = self._rest + found
        stop = self._last_end(data)
        self._rest = data[stop:]
        if len(self._rest) > _LONGEST:
            raise InputError(
                f"{self.folder / self.name} has a line of more than {_LONGEST:,} bytes: hpo did not write it"
            )
        return starts, data[:stop], len(found) == MOST_BYTES

    def restart(self) -> None:
        """Read the file from its start, as if it were another one."""
        self._offset, self._end, self._rest, self._from_start = 0, b"", b"", True

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _reopen(self) -> None:
        """Open the file if it is not open or was replaced."""
        path = inside(self.folder, self.name)
        with suppress(OSError):  # it is missing, for a moment or for good: what was read stays known
            there = path.stat()
            if self._descriptor is not None and os.path.samestat(os.fstat(self._descriptor), there):
                if there.st_size < self._offset or not self._is_unchanged():
                    self.restart()
                return
            descriptor = open_regular(path)
            self.close()
            self._descriptor = descriptor
            self.restart()

    def _is_unchanged(self) -> bool:
        assert self._descriptor is not None
        return os.pread(self._descriptor, len(self._end), self._offset - len(self._end)) == self._end

    def _last_end(self, data: bytes) -> int:
        """Return where the last whole record ends."""
        stop = data.rfind(b"\n") + 1
        while self.quoted and stop and data.count(b'"', 0, stop) % 2:
            stop = data.rfind(b"\n", 0, stop - 1) + 1
        return stop
