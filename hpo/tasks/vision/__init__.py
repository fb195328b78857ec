"""Tasks `fashion_mnist` and `cifar10`: small conv nets on images that torchvision downloads, trained by SGD with momentum."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt
from torch import nn

from hpo.core.errors import OptionError
from hpo.core.registry import register_task
from hpo.core.segments import HParams
from hpo.tasks.torch.images import ImageClassification
from hpo.tasks.vision.data import Cifar10Source, FashionMnistSource, ImageData, Source, dataset
from hpo.tasks.vision.model import ConvNet


@dataclass(frozen=True)
class Images(ImageClassification):
    """Images of ten classes in a torchvision data directory.

    Args:
        batch_size: images per training step.
        validation_size: development images that each replicate sets aside for validation.
        drop_last: leave out an interval's last batch where it is short.
        root: the torchvision data directory; a relative path starts at the current folder.
        download: let torchvision download into `root` what is missing there.
        development_size: use only so many development images, the classes in the same proportions; None: all.
    """

    batch_size: Annotated[int, Gt(0)] = 64
    validation_size: Annotated[int, Gt(0)] = 10_000
    root: str = "data"
    download: bool = False
    development_size: Annotated[int, Gt(0)] | None = None

    def __post_init__(self) -> None:
        most = self.source.counts["train"]
        if self.development_size is not None and not 1 <= self.development_size <= most:
            raise OptionError("development_size", self.development_size, f"1 to {most}")

    @property
    @abstractmethod
    def source(self) -> Source:
        """Where the images are."""

    def build_model(self, hparams: HParams) -> nn.Module:
        """Return the net with random weights."""
        return ConvNet(*self.source.shape)

    def development_data(self) -> ImageData:
        """Return the training images, or the subset of them that `development_size` asks for."""
        return dataset(self.source, "train", self.development_size, self.device)

    def test_data(self) -> ImageData:
        """Return the test images."""
        return dataset(self.source, "test", None, self.device)

    def check(self) -> None:
        """Check that all files are there and whole, test set included.

        Raises:
            DataError: naming the file and what is wrong with it.
        """
        self.source.check()


@register_task("fashion_mnist")
@dataclass(frozen=True)
class FashionMnist(Images):
    """Articles of clothing (Xiao, Rasul and Vollgraf, arXiv:1708.07747, 2017): 60,000 development and 10,000 test images."""

    @property
    def source(self) -> Source:
        """The four idx files in `FashionMNIST/raw`."""
        return FashionMnistSource(self.root, self.download)


@register_task("cifar10")
@dataclass(frozen=True)
class Cifar10(Images):
    """Small colour photographs (Krizhevsky, 2009): 50,000 development and 10,000 test images."""

    @property
    def source(self) -> Source:
        """The batches in `cifar-10-batches-py`."""
        return Cifar10Source(self.root, self.download)
