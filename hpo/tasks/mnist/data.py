"""MNIST's four files: from the package or a torchvision directory, checked, shared by all processes of a machine."""

import gzip
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

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

Part = Literal["train", "test"]

MEAN, STD = 0.1307 * 255, 0.3081 * 255
"""Of the training images' pixels, 0 to 255."""


IMAGES: dict[Part, IdxFile] = {
    "train": IdxFile("train-images-idx3-ubyte", (60_000, 28, 28), "6bbc9ace898e44ae57da46a324031adb"),
    "test": IdxFile("t10k-images-idx3-ubyte", (10_000, 28, 28), "2646ac647ad5339dbf082846283269ea"),
}
LABELS: dict[Part, IdxFile] = {
    "train": IdxFile("train-labels-idx1-ubyte", (60_000,), "a25bea736e30d166cdddb491f175f624"),
    "test": IdxFile("t10k-labels-idx1-ubyte", (10_000,), "27ae3e4e09519cfbb04c329615203637"),
}
COUNTS: dict[Part, int] = {part: file.shape[0] for part, file in IMAGES.items()}


@dataclass(frozen=True)
class Source:
    """Where the files are.

    Args:
        folder: the folder of the four `.gz` files.
        root: a torchvision data directory to read instead, through torchvision's own class.
        download: let torchvision download into `root` what is missing there.
    """

    folder: Path = Path(__file__).parent
    root: str | None = None
    download: bool = False

    def check(self) -> None:
        """Check all four files.

        Raises:
            DataError: naming the file and what is wrong with it.
        """
        for part in COUNTS:
            if self.root is None:
                self._packaged(IMAGES[part])
                self._packaged(LABELS[part])
            else:
                _read_torchvision(Path(self.root), self.download, part)

    def load(self, part: Part) -> tuple[Bytes, Bytes]:
        """Return images, shape (n, 28, 28), memory-mapped from the machine's cache, and labels, shape (n,).

        Raises:
            DataError: naming the file and what is wrong with it.
        """
        file = IMAGES[part]
        name = f"mnist-{file.name}-{file.md5}.npy"
        if self.root is None:
            images = shared_array(name, file.intact, lambda: self._packaged(file))
            return images, self._packaged(LABELS[part])
        read, labels = _read_torchvision(Path(self.root), self.download, part)
        return shared_array(name, file.intact, lambda: read), labels

    def _packaged(self, file: IdxFile) -> Bytes:
        return _read_gz(self.folder / f"{file.name}.gz", file)


def _read_gz(path: Path, file: IdxFile) -> Bytes:
    try:
        content = gzip.decompress(read_bytes(path))
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file; it comes with the package: reinstall hpo") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: truncated or damaged: {error}") from error
    return file.parse(content, path)


def _read_torchvision(root: Path, download: bool, part: Part) -> tuple[Bytes, Bytes]:
    from torchvision.datasets import MNIST

    folder = root / "MNIST" / "raw"
    if download:
        try:
            MNIST(root, train=part == "train", download=True)
        except Exception as error:  # no network, no space, a mirror's broken file: torchvision raises as it likes
            raise DataError(f"{folder}: torchvision cannot download the {part} files: {error}") from error
    for file in (*IMAGES.values(), *LABELS.values()):
        if not (folder / file.name).is_file():  # torchvision reads nothing unless all four are there
            raise DataError(f"{folder / file.name}: there is no such file; download = true fetches it")
    # Torchvision does not check what it reads, nor say which file it stumbles over.
    for file in (IMAGES[part], LABELS[part]):
        path = folder / file.name
        try:
            file.parse(read_bytes(path), path)
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error}") from error
    try:
        data = MNIST(root, train=part == "train")
    except Exception as error:
        raise DataError(f"{folder}: torchvision cannot read the {part} files: {error}") from error
    images, labels = data.data.numpy(), data.targets.numpy().astype(np.uint8)
    if not (IMAGES[part].intact(images) and LABELS[part].intact(labels)):
        raise DataError(f"{root / 'MNIST'}: torchvision reads other {part} images than those in {folder}")
    return images, labels


class MnistData:
    """Images and labels; images stay bytes until they are drawn.

    Args:
        images: bytes, shape (n, 784).
        labels: class numbers, shape (n,).
        fingerprint: a digest of the content.
    """

    def __init__(self, images: Tensor, labels: Tensor, fingerprint: str) -> None:
        self.images = images
        self.labels = labels
        self.fingerprint = fingerprint

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Indices) -> tuple[Tensor, Tensor]:
        """Return normalised images, shape (b, 1, 28, 28), and labels, shape (b,)."""
        where = positions(indices, self.images.device)
        images = self.images.index_select(0, where).float().sub_(MEAN).div_(STD)
        return images.view(-1, 28, 28, 1).permute(0, 3, 1, 2), self.labels.index_select(0, where)


@cache
def dataset(part: Part, source: Source, size: int | None, device: str) -> MnistData:
    """Return a part of MNIST on a device, or a stratified subset of it; once per process."""
    images, labels = source.load(part)
    fingerprint = f"mnist-{part}-{IMAGES[part].md5}-{LABELS[part].md5}"
    if size is not None:
        chosen = stratified(labels, size)
        images, labels, fingerprint = images[chosen], labels[chosen], f"{fingerprint}-stratified-{size}"
    flat = torch.from_numpy(images.reshape(len(images), -1)).to(device)
    return MnistData(flat, torch.from_numpy(labels.astype(np.int64)).to(device), fingerprint)
