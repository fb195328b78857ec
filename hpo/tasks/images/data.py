"""Image data: its files (`Source`), and the examples that a task draws batches from (`ImageData`)."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpo.core.errors import DataError
from hpo.core.task import Indices
from hpo.tasks.torch.datasets import positions, stratified

Part = Literal["train", "test"]
Bytes = NDArray[np.uint8]
Scale = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of each channel of the training images, pixels from 0 to 1."""


class Source(ABC):
    """Where the images of a data set come from. Frozen, hence hashable."""

    scale: Scale
    """Of the training images."""

    @property
    @abstractmethod
    def counts(self) -> dict[Part, int]:
        """How many images each part has."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""

    @abstractmethod
    def fingerprint(self, part: Part) -> str:
        """Return a digest of the content of a part."""

    @abstractmethod
    def check(self) -> None:
        """Check all files.

        Raises:
            DataError: a file is missing or damaged; it is named.
        """

    @abstractmethod
    def load(self, part: Part) -> tuple[Bytes, Bytes]:
        """Return images, shape (n, height, width, channels), and labels, shape (n,).

        Raises:
            DataError: a file is missing or damaged; it is named.
        """


def download_files(folder: Path, download: Callable[[], object]) -> None:
    """Let torchvision download files into a folder.

    Raises:
        DataError: the download fails.
    """
    try:
        download()
    except Exception as error:  # no network, no space, a mirror's broken file: torchvision raises many types
        raise DataError(f"{folder}: torchvision cannot download the files: {error}") from error


class ImageData:
    """Images and labels; images stay bytes until a batch of them is drawn.

    Args:
        images: bytes, shape (n, height, width, channels).
        labels: class numbers, shape (n,).
        scale: mean and standard deviation of each channel, pixels from 0 to 1.
        fingerprint: a digest of the content.
    """

    def __init__(self, images: Tensor, labels: Tensor, scale: Scale, fingerprint: str) -> None:
        self.images = images
        self.labels = labels
        self.fingerprint = fingerprint
        self._mean, self._std = (torch.tensor([255 * each for each in row], device=images.device) for row in scale)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Indices) -> tuple[Tensor, Tensor]:
        """Return normalised images, shape (b, channels, height, width), and labels, shape (b,)."""
        where = positions(indices, self.images.device)
        images = self.images.index_select(0, where).float().sub_(self._mean).div_(self._std)
        return images.permute(0, 3, 1, 2), self.labels.index_select(0, where)


@cache
def dataset(source: Source, part: Part, size: int | None, device: str) -> ImageData:
    """Return a part of the images on a device, or a stratified subset of `size` of them; once per process."""
    images, labels = source.load(part)
    fingerprint = source.fingerprint(part)
    if size is not None:
        chosen = stratified(labels, size)
        images, labels = images[chosen], labels[chosen]
        fingerprint = f"{fingerprint}-of-{hashlib.sha256(chosen.tobytes()).hexdigest()}"
    classes = torch.from_numpy(labels.astype(np.int64)).to(device)
    return ImageData(torch.from_numpy(images).to(device), classes, source.scale, fingerprint)
