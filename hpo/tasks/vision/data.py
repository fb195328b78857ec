"""Images in torchvision's own directories, checked before they are read.

A file of CIFAR-10 is a pickle, and unpickling runs what a file says. So no file is unpickled that is not, by the MD5
that torchvision knows, the one that the authors published.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from hpo.core.errors import DataError
from hpo.core.parsing import read_bytes
from hpo.core.task import Indices
from hpo.tasks.cache import shared_array
from hpo.tasks.torch.arrays import positions
from hpo.tasks.torch.idx import Bytes, IdxFile
from hpo.tasks.torch.images import stratified

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10

Part = Literal["train", "test"]


class Source(ABC):
    """Where the images of a data set are. Frozen, hence hashable."""

    scale: ClassVar[tuple[tuple[float, ...], tuple[float, ...]]]
    """Mean and standard deviation of each channel of the training images, pixels from 0 to 1."""

    @property
    @abstractmethod
    def counts(self) -> dict[Part, int]:
        """How many images each part has."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """Of one image: (height, width, channels)."""

    @abstractmethod
    def fingerprint(self, part: Part) -> str:
        """Return a digest of the content of a part."""

    @abstractmethod
    def check(self) -> None:
        """Check all files.

        Raises:
            DataError: naming the file and what is wrong with it.
        """

    @abstractmethod
    def load(self, part: Part) -> tuple[Bytes, Bytes]:
        """Return images, shape (n, height, width, channels), and labels, shape (n,).

        Raises:
            DataError: naming the file and what is wrong with it.
        """


@dataclass(frozen=True)
class IdxPart:
    """The two files of a part."""

    images: IdxFile
    labels: IdxFile


FASHION_TRAIN = IdxPart(
    IdxFile("train-images-idx3-ubyte", (60_000, 28, 28), "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
    IdxFile("train-labels-idx1-ubyte", (60_000,), "9018921c3c673c538a1fc5bad174d6f9"),
)
FASHION_TEST = IdxPart(
    IdxFile("t10k-images-idx3-ubyte", (10_000, 28, 28), "8181f5470baa50b63fa0f6fddb340f0a"),
    IdxFile("t10k-labels-idx1-ubyte", (10_000,), "15d484375f8d13e6eb1aabb0c3f46965"),
)


@dataclass(frozen=True)
class FashionMnistSource(Source):
    """The idx files in `FashionMNIST/raw`, memory-mapped from the machine's cache once they were read.

    Args:
        root: the torchvision data directory.
        download: let torchvision download what is missing there.
        train: what the training files are to hold.
        test: what the test files are to hold.
    """

    root: str
    download: bool = False
    train: IdxPart = FASHION_TRAIN
    test: IdxPart = FASHION_TEST

    scale = ((0.2860,), (0.3530,))

    @property
    def counts(self) -> dict[Part, int]:
        """How many images each part has."""
        return {"train": self.train.images.shape[0], "test": self.test.images.shape[0]}

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image: grey."""
        return (*self.train.images.shape[1:], 1)  # type: ignore[return-value]

    def fingerprint(self, part: Part) -> str:
        """Return the MD5 of both files."""
        return f"fashion-mnist-{part}-{self._part(part).images.md5}-{self._part(part).labels.md5}"

    def check(self) -> None:
        """Check all four files."""
        if self.download:
            self._download()
        for part in self.counts:
            self._read(self._part(part).images)
            self._read(self._part(part).labels)

    def load(self, part: Part) -> tuple[Bytes, Bytes]:
        """Return images and labels."""
        images, labels = self._part(part).images, self._part(part).labels
        cached = shared_array(
            f"fashion-mnist-{images.name}-{images.md5}.npy", images.intact, lambda: self._read(images)
        )
        return cached[..., None], self._read(labels)

    def _part(self, part: Part) -> IdxPart:
        return self.train if part == "train" else self.test

    def _read(self, file: IdxFile) -> Bytes:
        path = Path(self.root, "FashionMNIST", "raw", file.name)
        try:
            content = read_bytes(path)
        except FileNotFoundError as error:
            raise DataError(f"{path}: there is no such file; download = true fetches it") from error
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error}") from error
        return file.parse(content, path)

    def _download(self) -> None:
        from torchvision.datasets import FashionMNIST

        _downloaded(Path(self.root, "FashionMNIST", "raw"), lambda: FashionMNIST(self.root, download=True))


@dataclass(frozen=True)
class Cifar10Source(Source):
    """The batches in `cifar-10-batches-py`, read by torchvision's own class; each process holds its own copy (180 MB).

    Args:
        root: the torchvision data directory.
        download: let torchvision download what is missing there.
        archive: the class that says which files there are, with their MD5, and reads them; None: torchvision's `CIFAR10`.
    """

    root: str
    download: bool = False
    archive: "type[CIFAR10] | None" = None

    scale = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))

    @property
    def counts(self) -> dict[Part, int]:
        """How many images each part has."""
        return {"train": 50_000, "test": 10_000}

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image: colour."""
        return 32, 32, 3

    def fingerprint(self, part: Part) -> str:
        """Return the MD5 of the part's batches."""
        batches = self._class.train_list if part == "train" else self._class.test_list
        return f"cifar10-{part}-" + "-".join(md5 for _, md5 in batches)

    def check(self) -> None:
        """Check all batches and the list of their classes; nothing is unpickled."""
        from torchvision.datasets.utils import check_integrity

        archive, folder = self._class, Path(self.root, self._class.base_folder)
        if self.download:
            _downloaded(folder, lambda: archive(self.root, download=True))
        for name, md5 in [*archive.train_list, *archive.test_list, (archive.meta["filename"], archive.meta["md5"])]:
            path = folder / name
            if not path.is_file():
                raise DataError(f"{path}: there is no such file; download = true fetches it")
            if not check_integrity(path, md5):
                raise DataError(
                    f"{path}: damaged: its MD5 is not {md5}; remove it, and download = true fetches it again"
                )

    def load(self, part: Part) -> tuple[Bytes, Bytes]:
        """Return images and labels."""
        self.check()
        data = self._class(self.root, train=part == "train")
        return np.ascontiguousarray(data.data), np.array(data.targets, dtype=np.uint8)

    @property
    def _class(self) -> "type[CIFAR10]":
        from torchvision.datasets import CIFAR10

        return CIFAR10 if self.archive is None else self.archive


def _downloaded(folder: Path, download: Callable[[], object]) -> None:
    try:
        download()
    except Exception as error:  # no network, no space, a mirror's broken file: torchvision raises as it likes
        raise DataError(f"{folder}: torchvision cannot download the files: {error}") from error


class ImageData:
    """Images and labels; images stay bytes until they are drawn.

    Args:
        images: bytes, shape (n, height, width, channels).
        labels: class numbers, shape (n,).
        scale: mean and standard deviation of each channel, pixels from 0 to 1.
        fingerprint: a digest of the content.
    """

    def __init__(
        self, images: Tensor, labels: Tensor, scale: tuple[tuple[float, ...], tuple[float, ...]], fingerprint: str
    ) -> None:
        self.images = images
        self.labels = labels
        self.fingerprint = fingerprint
        self._mean, self._std = (255 * torch.tensor(numbers, device=images.device) for numbers in scale)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Indices) -> tuple[Tensor, Tensor]:
        """Return normalised images, shape (b, channels, height, width), and labels, shape (b,)."""
        where = positions(indices, self.images.device)
        images = self.images.index_select(0, where).float().sub_(self._mean).div_(self._std)
        return images.permute(0, 3, 1, 2), self.labels.index_select(0, where)


@cache
def dataset(source: Source, part: Part, size: int | None, device: str) -> ImageData:
    """Return a part of the images on a device, or a stratified subset of it; once per process."""
    images, labels = source.load(part)
    fingerprint = source.fingerprint(part)
    if size is not None:
        chosen = stratified(labels, size)
        images, labels = images[chosen], labels[chosen]
        fingerprint = f"{fingerprint}-of-{hashlib.sha256(chosen.tobytes()).hexdigest()}"
    classes = torch.from_numpy(labels.astype(np.int64)).to(device)
    return ImageData(torch.from_numpy(images).to(device), classes, source.scale, fingerprint)
