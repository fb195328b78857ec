"""What the image tasks share: options, the hyperparameters of SGD, a conv net, and data from a `Source`."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from annotated_types import Gt
from torch import nn

from hpo.core.errors import OptionError
from hpo.core.segments import HParams
from hpo.core.space import Float, SearchSpace
from hpo.tasks.images.data import ImageData, Source, dataset
from hpo.tasks.images.models import ConvNet
from hpo.tasks.torch import TorchClassification


@dataclass(frozen=True)
class ImageTask(TorchClassification):
    """Images of ten classes, and a conv net that SGD with momentum trains; its learning rate may decay.

    Args:
        batch_size: images per training step.
        validation_size: development images that each replicate sets aside for validation.
        drop_last: leave out an interval's last batch if it is short.
        root: the torchvision data directory; a relative path starts at the current folder. None: the files in the package,
            for tasks that have them.
        download: let torchvision download missing files into `root`.
        development_size: use only this many development images, the classes in the same proportions; None: all.
    """

    validation_size: Annotated[int, Gt(0)] = 10_000
    root: str | None = None
    download: bool = False
    development_size: Annotated[int, Gt(0)] | None = None

    def __post_init__(self) -> None:
        most = self.source.counts["train"]
        if self.development_size is not None and not 1 <= self.development_size <= most:
            raise OptionError("development_size", self.development_size, f"1 to {most}")
        if self.download and self.root is None:
            raise OptionError("download", self.download, "true only together with root")

    @property
    @abstractmethod
    def source(self) -> Source:
        """Where the images come from."""

    @property
    def search_space(self) -> SearchSpace:
        """Learning rate and momentum of SGD."""
        return SearchSpace({"lr": Float(1e-5, 1.0, log=True), "momentum": Float(0.1, 0.9999)})

    @property
    def optional_space(self) -> SearchSpace:
        """`final_lr_ratio`: the learning rate at the end of the budget, as a fraction of `lr`; 1 if left out."""
        return SearchSpace({"final_lr_ratio": Float(1e-3, 1.0, log=True)})

    def learning_rate_schedule(self, hparams: HParams) -> Callable[[float], float] | None:
        """Return the exponential decay ratio^progress; None without `final_lr_ratio`."""
        if "final_lr_ratio" not in hparams:
            return None
        return partial(pow, float(hparams["final_lr_ratio"]))

    def build_model(self, hparams: HParams) -> nn.Module:
        """Return a conv net with random weights."""
        return ConvNet(*self.source.shape)

    def development_data(self) -> ImageData:
        """Return the training images, or a stratified subset of `development_size` of them."""
        return dataset(self.source, "train", self.development_size, self.device)

    def test_data(self) -> ImageData:
        """Return the test images."""
        return dataset(self.source, "test", None, self.device)

    def check(self) -> None:
        """Check that all files, including the test set, exist and are intact. Download them first if the task says so.

        Raises:
            DataError: a file is missing or damaged; the message names it.
        """
        self.source.check()
