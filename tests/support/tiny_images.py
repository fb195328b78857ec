"""Tiny data sets in torchvision's own formats, and the built-in tasks on them."""

import hashlib
import pickle
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Gt
from torchvision.datasets import CIFAR10

import hpo
from hpo.tasks.images.cifar10 import Cifar10, Cifar10Source
from hpo.tasks.images.fashion_mnist import FashionMnist
from hpo.tasks.images.idx import IdxFile, IdxPart, IdxSource


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def pictures(count: int, side: int, channels: int, seed: int) -> tuple[Any, Any]:
    """Return noise with two bright rows that tell the class, shape (count, side, side, channels), and the classes."""
    images = np.random.default_rng(seed).integers(0, 100, (count, side, side, channels), dtype=np.uint8)
    labels = np.arange(count, dtype=np.uint8) % 10
    for image, label in zip(images, labels, strict=True):
        image[2 * label : 2 * label + 2] += 150
    return images, labels


def _idx(array: Any) -> bytes:
    return struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()


FASHION = {"train": pictures(120, 28, 1, 1), "test": pictures(40, 28, 1, 2)}
FASHION_FILES = {
    f"{part.replace('test', 't10k')}-{kind}": _idx(array)
    for part, (images, labels) in FASHION.items()
    for kind, array in (("images-idx3-ubyte", images[..., 0]), ("labels-idx1-ubyte", labels))
}


def _part(prefix: str, count: int) -> IdxPart:
    images, labels = f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"
    return IdxPart(
        IdxFile(images, (count, 28, 28), md5(FASHION_FILES[images])),
        IdxFile(labels, (count,), md5(FASHION_FILES[labels])),
    )


TINY_TRAIN, TINY_TEST = _part("train", 120), _part("t10k", 40)

CIFAR = {"data_batch_1": pictures(60, 32, 3, 3), "data_batch_2": pictures(60, 32, 3, 4)}
CIFAR |= {"test_batch": pictures(40, 32, 3, 5)}
CIFAR_FILES = {
    # The format has the channels first, and an image in a row.
    name: pickle.dumps({"data": images.transpose(0, 3, 1, 2).reshape(len(images), -1), "labels": labels.tolist()})
    for name, (images, labels) in CIFAR.items()
} | {"batches.meta": pickle.dumps({"label_names": list("abcdefghij")})}


class TinyArchive(CIFAR10):
    """Torchvision's class, with other files and their MD5."""

    train_list: ClassVar = [[name, md5(CIFAR_FILES[name])] for name in ("data_batch_1", "data_batch_2")]
    test_list: ClassVar = [["test_batch", md5(CIFAR_FILES["test_batch"])]]
    meta: ClassVar = {"filename": "batches.meta", "key": "label_names", "md5": md5(CIFAR_FILES["batches.meta"])}


def write(root: Path) -> None:
    """Write both data sets into a torchvision data directory."""
    for folder, files in ((root / "FashionMNIST" / "raw", FASHION_FILES), (root / "cifar-10-batches-py", CIFAR_FILES)):
        folder.mkdir(parents=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)


@hpo.register_task("tiny_fashion")
@dataclass(frozen=True)
class TinyFashion(FashionMnist):
    validation_size: Annotated[int, Gt(0)] = 40

    @property
    def source(self) -> IdxSource:
        return replace(super().source, train=TINY_TRAIN, test=TINY_TEST)


@hpo.register_task("tiny_cifar")
@dataclass(frozen=True)
class TinyCifar(Cifar10):
    validation_size: Annotated[int, Gt(0)] = 40

    @property
    def source(self) -> Cifar10Source:
        return replace(super().source, archive=TinyArchive)
