"""Task `cifar10`: small colour photographs.

A file of CIFAR-10 is a pickle, and unpickling runs code that the file contains. So a file is unpickled only if its MD5 is the one
that torchvision lists for the file that the authors published.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hpo.core.errors import DataError
from hpo.core.registry import register_task
from hpo.tasks.images.data import Bytes, Part, Scale, Source, download_files
from hpo.tasks.images.task import ImageTask

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10


@dataclass(frozen=True)
class Cifar10Source(Source):
    """The batches in `cifar-10-batches-py`, read by torchvision's own class; each process holds its own copy (180 MB).

    Args:
        root: the torchvision data directory.
        download: let torchvision download missing files.
        archive: the class that lists the files with their MD5, and reads them; None: torchvision's `CIFAR10`.
        scale: mean and standard deviation of each channel of the training images.
    """

    root: str
    download: bool = False
    archive: "type[CIFAR10] | None" = None
    scale: Scale = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))

    @property
    def counts(self) -> dict[Part, int]:
        """How many images each part has."""
        return {"train": 50_000, "test": 10_000}

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and colour channels of an image."""
        return 32, 32, 3

    def fingerprint(self, part: Part) -> str:
        """Return the MD5 of the part's batches."""
        batches = self._class.train_list if part == "train" else self._class.test_list
        return f"cifar10-{part}-" + "-".join(md5 for _, md5 in batches)

    def check(self) -> None:
        """Check all batches and the list of their classes, without unpickling anything; download them first if asked to."""
        from torchvision.datasets.utils import check_integrity

        archive, folder = self._class, Path(self.root, self._class.base_folder)
        if self.download:
            download_files(folder, lambda: archive(self.root, download=True))
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


@register_task("cifar10")
@dataclass(frozen=True)
class Cifar10(ImageTask):
    """Small colour photographs (Krizhevsky, 2009): 50,000 development and 10,000 test images."""

    root: str = "data"

    @property
    def source(self) -> Source:
        """The batches in `cifar-10-batches-py`."""
        return Cifar10Source(self.root, self.download)
