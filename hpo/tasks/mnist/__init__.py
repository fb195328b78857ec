"""Task `mnist`: the small conv net of PyTorch's MNIST example, trained by SGD with momentum."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Gt
from torch import nn

from hpo.core.errors import OptionError
from hpo.core.registry import register_task
from hpo.core.segments import HParams
from hpo.tasks.mnist.data import COUNTS, MnistData, Source, dataset
from hpo.tasks.mnist.model import Net
from hpo.tasks.torch.images import ImageClassification


@register_task("mnist")
@dataclass(frozen=True)
class Mnist(ImageClassification):
    """Handwritten digits: 60,000 development and 10,000 test images, which come with the package.

    Args:
        batch_size: images per training step.
        validation_size: development images that each replicate sets aside for validation.
        drop_last: leave out an interval's last batch where it is short.
        root: a torchvision data directory to read instead (the folder that holds `MNIST/raw`); the content is the same.
        download: let torchvision download into `root` what is missing there.
        development_size: use only so many development images, the classes in the same proportions; None: all.
    """

    batch_size: Annotated[int, Gt(0)] = 64
    validation_size: Annotated[int, Gt(0)] = 12_000
    root: str | None = None
    download: bool = False
    development_size: Annotated[int, Gt(0)] | None = None

    evaluation_batch_size: ClassVar[int] = 125
    """What lies between two layers then fits a core's cache."""

    def __post_init__(self) -> None:
        most = COUNTS["train"]
        if self.development_size is not None and not 1 <= self.development_size <= most:
            raise OptionError("development_size", self.development_size, f"1 to {most}")
        if self.download and self.root is None:
            raise OptionError("download", self.download, "true only together with root")

    def build_model(self, hparams: HParams) -> nn.Module:
        """Return the net with random weights."""
        return Net()

    def development_data(self) -> MnistData:
        """Return the 60,000 training images, or the subset of them that `development_size` asks for."""
        return dataset("train", self._source, self.development_size, self.device)

    def test_data(self) -> MnistData:
        """Return the 10,000 test images."""
        return dataset("test", self._source, None, self.device)

    def check(self) -> None:
        """Check that all four files are there and whole, test set included.

        Raises:
            DataError: naming the file and what is wrong with it.
        """
        self._source.check()

    @property
    def _source(self) -> Source:
        return Source(root=self.root, download=self.download)
