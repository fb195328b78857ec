"""Files in the idx format of MNIST and of what followed it, told apart from damaged ones by their checksum."""

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo.core.errors import DataError

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class IdxFile:
    """A file in the idx format: a big-endian header (type and number of axes, their lengths), then bytes.

    Args:
        name: without `.gz`.
        shape: of the array in it.
        md5: of the whole decompressed file.
    """

    name: str
    shape: tuple[int, ...]
    md5: str

    @property
    def header(self) -> bytes:
        """The file's first bytes: 0x08 stands for unsigned bytes."""
        return struct.pack(f">{1 + len(self.shape)}I", 0x0800 + len(self.shape), *self.shape)

    def intact(self, array: NDArray[Any]) -> bool:
        """Say whether an array is, byte for byte, what this file holds."""
        if array.dtype != np.uint8 or array.shape != self.shape or not array.flags.c_contiguous:
            return False
        md5 = hashlib.md5(self.header, usedforsecurity=False)
        md5.update(array.data)
        return md5.hexdigest() == self.md5

    def parse(self, content: bytes, path: Path) -> Bytes:
        """Return the array in a file's decompressed content.

        Raises:
            DataError: the checksum is wrong.
        """
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if md5 != self.md5:
            size = len(self.header) + int(np.prod(self.shape))
            raise DataError(
                f"{path}: damaged: the decompressed file has {len(content)} bytes and MD5 {md5}, "
                f"expected {size} bytes and MD5 {self.md5}"
            )
        return np.frombuffer(content, np.uint8, offset=len(self.header)).reshape(self.shape)
