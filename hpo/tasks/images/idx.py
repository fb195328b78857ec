"""Data sets in MNIST's idx format, their files checked by MD5."""

import gzip
import hashlib
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo.core.errors import DataError
from hpo.core.parsing import read_bytes
from hpo.tasks.images.cache import shared_array
from hpo.tasks.images.data import Bytes, Part, Scale, Source, download_files


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
        """Say whether an array is, byte for byte, the content of this file."""
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


@dataclass(frozen=True)
class IdxPart:
    """The two files of a part."""

    images: IdxFile
    labels: IdxFile


@dataclass(frozen=True)
class IdxSource(Source):
    """Four idx files; images are memory-mapped from the machine's cache once they have been read.

    Args:
        name: of the data set, in fingerprints and in the cache.
        archive: the name of torchvision's class for it, and of its folder in a torchvision data directory.
        train: the training files.
        test: the test files.
        scale: mean and standard deviation of the training images' pixels.
        root: a torchvision data directory; None: read `packaged` instead.
        download: let torchvision download missing files into `root`.
        packaged: the folder of the `.gz` files that come with the package, if there are any.
    """

    name: str
    archive: str
    train: IdxPart
    test: IdxPart
    scale: Scale
    root: str | None = None
    download: bool = False
    packaged: Path | None = None

    @property
    def counts(self) -> dict[Part, int]:
        """How many images each part has."""
        return {"train": self.train.images.shape[0], "test": self.test.images.shape[0]}

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height and width of an image, and one channel: grey."""
        return (*self.train.images.shape[1:], 1)  # type: ignore[return-value]

    def fingerprint(self, part: Part) -> str:
        """Return the MD5 of both files."""
        return f"{self.name}-{part}-{self._part(part).images.md5}-{self._part(part).labels.md5}"

    def check(self) -> None:
        """Check all four files; download them first if asked to."""
        if self.root is not None and self.download:
            self._download(self.root)
        for part in self.counts:
            self._read(self._part(part).images)
            self._read(self._part(part).labels)

    def load(self, part: Part) -> tuple[Bytes, Bytes]:
        """Return images and labels."""
        images, labels = self._part(part).images, self._part(part).labels
        cached = shared_array(f"{self.name}-{images.name}-{images.md5}.npy", images.intact, lambda: self._read(images))
        return cached[..., None], self._read(labels)

    def _part(self, part: Part) -> IdxPart:
        return self.train if part == "train" else self.test

    def _read(self, file: IdxFile) -> Bytes:
        if self.root is not None:
            path, advice = Path(self.root, self.archive, "raw", file.name), "download = true fetches it"
        else:
            assert self.packaged is not None
            path, advice = self.packaged / f"{file.name}.gz", "it comes with the package: reinstall hpo"
        try:
            content = read_bytes(path)
            return file.parse(gzip.decompress(content) if self.root is None else content, path)
        except FileNotFoundError as error:
            raise DataError(f"{path}: there is no such file; {advice}") from error
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{path}: truncated or damaged: {error}") from error
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error}") from error

    def _download(self, root: str) -> None:
        from torchvision import datasets

        archive = getattr(datasets, self.archive)
        download_files(Path(root, self.archive, "raw"), lambda: archive(root, download=True))
