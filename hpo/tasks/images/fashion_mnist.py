"""Task `fashion_mnist`: articles of clothing, in MNIST's format."""

from dataclasses import dataclass

from hpo.core.registry import register_task
from hpo.tasks.images.data import Source
from hpo.tasks.images.idx import IdxFile, IdxPart, IdxSource
from hpo.tasks.images.task import ImageTask

TRAIN = IdxPart(
    IdxFile("train-images-idx3-ubyte", (60_000, 28, 28), "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
    IdxFile("train-labels-idx1-ubyte", (60_000,), "9018921c3c673c538a1fc5bad174d6f9"),
)
TEST = IdxPart(
    IdxFile("t10k-images-idx3-ubyte", (10_000, 28, 28), "8181f5470baa50b63fa0f6fddb340f0a"),
    IdxFile("t10k-labels-idx1-ubyte", (10_000,), "15d484375f8d13e6eb1aabb0c3f46965"),
)
SCALE = ((0.2860,), (0.3530,))


@register_task("fashion_mnist")
@dataclass(frozen=True)
class FashionMnist(ImageTask):
    """Articles of clothing (Xiao, Rasul and Vollgraf, arXiv:1708.07747, 2017): 60,000 development and 10,000 test images."""

    root: str = "data"

    @property
    def source(self) -> Source:
        """The four idx files in `FashionMNIST/raw`."""
        return IdxSource("fashion-mnist", "FashionMNIST", TRAIN, TEST, SCALE, self.root, self.download)
