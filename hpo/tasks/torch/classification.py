"""Classification on top of `TorchTask`: cross-entropy, errors counted, correctness per example."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hpo.core.errors import HpoError
from hpo.core.task import Evaluation, Examples, Metric
from hpo.tasks.torch.device import described, is_pair
from hpo.tasks.torch.task import TorchState, TorchTask, count_of, finite_or_nan


@dataclass(frozen=True)
class TorchClassification(TorchTask):
    """A task whose model maps inputs to logits, shape (batch, classes); targets are class numbers, shape (batch,).

    Trained on the cross-entropy (log-softmax and negative log-likelihood). Its metrics are `error`, a rate (`error_count` of
    `count`), and `loss`, the mean cross-entropy in nats even if `loss` is overridden.
    """

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The error rate, which is the primary metric, and the mean cross-entropy."""
        return (
            Metric("error", "minimize", complement="accuracy", counts="error_count", worst=1.0),
            Metric("loss", "minimize"),
        )

    def _on_device(self, batch: Any) -> tuple[Any, Any]:
        """Return the inputs and the targets of a batch, on the device."""
        if not is_pair(batch):
            raise HpoError(
                f"the task's data return {described(batch)}: for classification a batch must be a pair (inputs, targets). Give"
                " hpo.Data a collate_fn that returns pairs, or derive from TorchTask, whose `loss` receives any batch as inputs"
            )
        return super()._on_device(batch)

    def loss(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy of a batch."""
        return nn.functional.cross_entropy(model(inputs), targets)

    def evaluate(self, state: TorchState, data: Examples | None) -> Evaluation:
        """Count errors and sum the cross-entropy.

        An example with a non-finite output counts as wrong; a loss that is not finite is reported as NaN.
        """
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        hits: list[Tensor] = []
        with torch.inference_mode():
            for inputs, targets in self.batches_of(state, data):
                with self.autocast():
                    outputs = state.model(inputs)
                if self.precision != "float32":
                    outputs = outputs.float()  # a sum of many losses needs the bits
                total += nn.functional.cross_entropy(outputs, targets, reduction="sum")
                hits.append((outputs.argmax(1) == targets) & outputs.isfinite().all(1))
            correct = torch.cat(hits).cpu().numpy() if hits else np.zeros(0, dtype=np.bool_)
        count = count_of(data)
        errors = count - int(correct.sum())
        loss = finite_or_nan(total) / count
        return Evaluation({"error": errors / count, "loss": loss, "error_count": errors, "count": count}, correct)
