"""Checkpoints: named arrays as safetensors bytes, small ones inline, large ones in content-addressed files.

A file's name is the SHA-256 of its content, so that damage is detected when it is read. Nothing is ever unpickled.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from hpo.core.errors import HpoError, InputError, StoreError
from hpo.core.files import inside, real_folder, remove_regular, write_atomic
from hpo.core.locks import explained
from hpo.core.parsing import read_bytes
from hpo.core.run_files import checkpoint_names, is_digest

INLINE_BYTES = 64 * 1024
"""States below this size are stored in the store's row instead of a file."""
_CACHE_BYTES = 64 * 1024 * 1024


class CheckpointMissing(Exception):
    """A checkpoint's file does not exist, or its content does not match its name."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A pointer to a state.

    Args:
        digest: the SHA-256 of its bytes.
        size: the number of bytes.
        data: the bytes themselves, if there are few.
    """

    digest: str
    size: int
    data: bytes | None = None

    @staticmethod
    def of_row(digest: object, size: object, data: bytes | None) -> "Checkpoint":
        """Return the checkpoint of a row in a store, which may have been written by anyone.

        Raises:
            ValueError: the row is not a valid checkpoint.
        """
        if not isinstance(digest, str) or not is_digest(digest) or not isinstance(size, int) or size < 0:
            raise ValueError(f"invalid checkpoint row: digest {digest!r}, size {size!r}")
        return Checkpoint(digest, size, data)


def encode(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return named arrays as safetensors bytes; equal arrays give equal bytes.

    Raises:
        HpoError: safetensors does not support the type of an array.
    """
    plain = {name: np.asarray(array, order="C") for name, array in sorted(arrays.items())}
    for name, array in plain.items():
        if array.dtype.kind not in "biufc" or array.dtype.itemsize > 8:
            raise HpoError(
                f"{name} is an array of {array.dtype}: a checkpoint holds numbers and booleans of at most 64 bits"
            )
    return save(plain)


def decode(data: bytes) -> dict[str, NDArray[Any]]:
    """Return the writable arrays in safetensors bytes, by name.

    Raises:
        CheckpointMissing: the bytes are not safetensors.
    """
    try:
        return load(data)
    except SafetensorError as error:
        raise CheckpointMissing(str(error)) from error


def finite(arrays: Mapping[str, NDArray[Any]]) -> bool:
    """Return whether all numbers in some arrays are finite."""
    return all(bool(np.isfinite(array).all()) for array in arrays.values() if array.dtype.kind in "fc")


class Checkpoints(Protocol):
    """Where a worker reads states and writes new ones."""

    def write(self, data: bytes) -> Checkpoint:
        """Store bytes and return a pointer to them."""

    def read(self, checkpoint: Checkpoint) -> bytes:
        """Return a checkpoint's bytes.

        Raises:
            CheckpointMissing: they do not exist, or are damaged.
        """


class LastCheckpoint:
    """Memory for the last state only, for workers that share no folder with their coordinator.

    New states are sent with their bytes, and so are all states to read, except the last one::

        a = last.write(x)        # a.data is x
        last.read(Checkpoint(a.digest, a.size))  -> x
        b = last.write(y)
        last.read(Checkpoint(a.digest, a.size))  -> CheckpointMissing
    """

    def __init__(self) -> None:
        self._last: tuple[str, bytes] | None = None

    def write(self, data: bytes) -> Checkpoint:
        """Replace the stored bytes, and return a pointer that includes them."""
        digest = hashlib.sha256(data).hexdigest()
        self._last = (digest, data)
        return Checkpoint(digest, len(data), data)

    def read(self, checkpoint: Checkpoint) -> bytes:
        """Return the bytes in a pointer, or the last ones.

        Raises:
            CheckpointMissing: the pointer has no bytes and is not the last state's, or its bytes are damaged.
        """
        if checkpoint.data is not None:
            return _checked(checkpoint.data, checkpoint.digest, "the state that came with the job")
        if self._last is None or self._last[0] != checkpoint.digest:
            raise CheckpointMissing(f"state {checkpoint.digest[:12]} is not the last one that was made here")
        return self._last[1]


class CheckpointFiles:
    """The folder of checkpoint files, with a cache of recent ones in memory.

    Args:
        folder: the folder; created when the first file is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._recent: OrderedDict[str, bytes] = OrderedDict()
        self._recent_bytes = 0

    def path(self, digest: str) -> Path:
        """Return the path of a checkpoint's file.

        Raises:
            StoreError: `digest` is not a digest and so could lead anywhere, or the path contains a link.
        """
        try:
            return inside(self._folder.parent, self._folder.name, *checkpoint_names(digest))
        except (InputError, ValueError) as error:
            raise StoreError(str(error)) from error

    def write(self, data: bytes) -> Checkpoint:
        """Write a file atomically, unless the bytes are few, and return a pointer to them.

        Raises:
            StoreError: the file cannot be written.
        """
        digest = hashlib.sha256(data).hexdigest()
        if len(data) < INLINE_BYTES:
            return Checkpoint(digest, len(data), data)
        path = self.path(digest)
        with explained(self._folder):
            if not path.exists():
                real_folder(self._folder.parent, self._folder.name, digest[:2])
                # Not synced: damage is detected when the file is read, and the state is recomputed.
                write_atomic(path, data, sync=False)
        self._remember(digest, data)
        return Checkpoint(digest, len(data))

    def read(self, checkpoint: Checkpoint) -> bytes:
        """Return a checkpoint's bytes.

        Raises:
            CheckpointMissing: the file does not exist, or its content does not match its name.
            StoreError: the file cannot be read.
        """
        if checkpoint.data is not None:
            return _checked(checkpoint.data, checkpoint.digest, "the state in the store's row")
        if checkpoint.digest in self._recent:
            self._recent.move_to_end(checkpoint.digest)
            return self._recent[checkpoint.digest]
        path = self.path(checkpoint.digest)
        with explained(self._folder):
            try:
                data = read_bytes(path, None)
            except FileNotFoundError as error:
                raise CheckpointMissing(f"{path} is missing") from error
        _checked(data, checkpoint.digest, str(path))
        self._remember(checkpoint.digest, data)
        return data

    def remove(self, digest: str) -> None:
        """Remove a file if it exists."""
        remove_regular(self.path(digest))

    def _remember(self, digest: str, data: bytes) -> None:
        if digest not in self._recent:
            self._recent_bytes += len(data)
        self._recent[digest] = data
        self._recent.move_to_end(digest)
        while self._recent_bytes > _CACHE_BYTES:
            _, oldest = self._recent.popitem(last=False)
            self._recent_bytes -= len(oldest)


def _checked(data: bytes, digest: str, where: str) -> bytes:
    if hashlib.sha256(data).hexdigest() != digest:
        raise CheckpointMissing(f"{where} is damaged")
    return data
