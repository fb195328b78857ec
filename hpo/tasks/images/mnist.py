"""Task `mnist`: handwritten digits, and the small conv net of PyTorch's MNIST example."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_types import Gt
from torch import nn

from hpo.core.registry import register_task
from hpo.core.segments import HParams
from hpo.tasks.images.idx import IdxFile, IdxPart, IdxSource
from hpo.tasks.images.models import MnistNet
from hpo.tasks.images.task import ImageTask

TRAIN = IdxPart(
    IdxFile("train-images-idx3-ubyte", (60_000, 28, 28), "6bbc9ace898e44ae57da46a324031adb"),
    IdxFile("train-labels-idx1-ubyte", (60_000,), "a25bea736e30d166cdddb491f175f624"),
)
TEST = IdxPart(
    IdxFile("t10k-images-idx3-ubyte", (10_000, 28, 28), "2646ac647ad5339dbf082846283269ea"),
    IdxFile("t10k-labels-idx1-ubyte", (10_000,), "27ae3e4e09519cfbb04c329615203637"),
)
SCALE = ((0.1307,), (0.3081,))
PACKAGED = Path(__file__).parent
"""The folder of the four `.gz` files that come with the package; see ORIGIN.md."""


@register_task("mnist")
@dataclass(frozen=True)
class Mnist(ImageTask):
    """Handwritten digits: 60,000 development and 10,000 test images, which come with the package."""

    validation_size: Annotated[int, Gt(0)] = 12_000

    evaluation_batch_size: ClassVar[int] = 125
    """The activations of so many images fit a core's cache."""

    @property
    def source(self) -> IdxSource:
        """The four files in the package or, with `root`, in its `MNIST/raw`."""
        return IdxSource("mnist", "MNIST", TRAIN, TEST, SCALE, self.root, self.download, PACKAGED)

    def build_model(self, hparams: HParams) -> nn.Module:
        """Return the net of the example with random weights."""
        return MnistNet()
