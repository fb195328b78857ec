"""PyTorch tasks: you write the model, the data and the loss; steps, checkpoints, divergence and evaluation are done for you.

A complete task::

    @hpo.register_task("digits")
    @dataclass(frozen=True)
    class Digits(TorchClassification):
        batch_size: Annotated[int, Gt(0)] = 32
        validation_size: Annotated[int, Gt(0)] = 300

        @property
        def search_space(self):
            return SearchSpace({"lr": Float(1e-4, 1.0, log=True), "momentum": Float(0.0, 0.99)})

        def build_model(self, hparams):
            return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 10))

        def development_data(self):
            return ArrayDataset(*read("train"))

        def test_data(self):
            return ArrayDataset(*read("test"))
"""

from hpo.tasks.torch.classification import TorchClassification
from hpo.tasks.torch.data import Data, as_data
from hpo.tasks.torch.datasets import ArrayDataset
from hpo.tasks.torch.stacked_sgd import StackedSGD
from hpo.tasks.torch.task import TorchState, TorchTask

__all__ = ["ArrayDataset", "Data", "StackedSGD", "TorchClassification", "TorchState", "TorchTask", "as_data"]
