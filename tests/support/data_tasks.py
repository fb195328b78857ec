"""Data as people have them, and tasks on them, for the tests of `hpo.Data`."""

import random
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

import hpo

CLASSES = 3


class Marked:
    """Points whose last coordinate says whether and how they were augmented: 0 without, and otherwise three random numbers."""

    def __init__(self, size: int = 60, augmented: bool = False, seed: int = 0) -> None:
        self.augmented = augmented
        generator = torch.Generator().manual_seed(seed)
        self.targets = torch.randint(CLASSES, (size,), generator=generator)
        self.inputs = torch.eye(CLASSES, 4)[self.targets] + torch.randn(size, 4, generator=generator) / 2

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        mark = torch.zeros(3)
        if self.augmented:
            mark = torch.stack([torch.rand(()), torch.tensor(np.random.rand()), torch.tensor(random.random())]).float()
        return torch.cat([self.inputs[index], mark]), self.targets[index]


@cache
def marked(workers: int) -> hpo.Data:
    return hpo.Data(Marked(augmented=True), evaluation=Marked(), test=Marked(30, seed=1), workers=workers)


@hpo.register_task("marked")
@dataclass(frozen=True)
class MarkedTask(hpo.TorchClassification):
    """A small network with dropout that keeps what it saw: whether evaluation saw a mark, and the sum of those in training."""

    batch_size: int = 8
    validation_size: int = 20
    fetchers: int = 0
    drop_last: bool = False

    version = "1"
    search_space = hpo.SearchSpace({"lr": hpo.Float(1e-2, 1.0, log=True)})

    def build_model(self, hparams: Any) -> nn.Module:
        model = nn.Sequential(nn.Linear(7, 8), nn.Tanh(), nn.Dropout(), nn.Linear(8, CLASSES))
        model.register_buffer("marks", torch.zeros(()))
        return model

    def training_step(self, state: Any, inputs: Any, targets: Any) -> Any:
        assert (inputs[:, 4:] > 0).all()
        state.model.marks += inputs[:, 4:].sum()
        return super().training_step(state, inputs, targets)

    def evaluate(self, state: Any, data: Any) -> hpo.Evaluation:
        assert all((inputs[:, 4:] == 0).all() for inputs, _ in data.batches(10))
        found = super().evaluate(state, data)
        return hpo.Evaluation({**found.metrics, "marks": float(state.model.marks)}, found.correct)

    def development_data(self) -> hpo.Data:
        return marked(self.fetchers)

    def test_data(self) -> hpo.Data | None:
        return marked(self.fetchers).test


SENTENCES = ["a b", "a", "c a c", "b b b b", "c", "a b c a b", "b a", "c c a"] * 8
LABELS = [int(text.count("a") > text.count("c")) for text in SENTENCES]


def padded(examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Return sentences of different lengths as one dict."""
    tokens = [torch.tensor([ord(word) - 96 for word in example["text"].split()]) for example in examples]
    return {
        "tokens": pad_sequence(tokens, batch_first=True),
        "labels": torch.tensor([example["label"] for example in examples]),
    }


@cache
def sentences() -> hpo.Data:
    from datasets import Dataset

    rows = Dataset.from_dict({"text": SENTENCES, "label": LABELS})
    return hpo.Data(rows.select(range(48)), test=rows.select(range(48, 64)), collate_fn=padded)


@hpo.register_task("sentences")
@dataclass(frozen=True)
class Sentences(hpo.TorchTask):
    """Whole batches are dicts."""

    batch_size: int = 7
    validation_size: int = 16
    drop_last: bool = True

    version = "1"
    search_space = hpo.SearchSpace({"lr": hpo.Float(1e-2, 1.0, log=True)})

    def build_model(self, hparams: Any) -> nn.Module:
        return nn.EmbeddingBag(4, 2, mode="sum", padding_idx=0)

    def loss(self, model: nn.Module, inputs: Any, targets: Any) -> torch.Tensor:
        assert targets is None
        return nn.functional.cross_entropy(model(inputs["tokens"]), inputs["labels"])

    def development_data(self) -> hpo.Data:
        return sentences()

    def test_data(self) -> hpo.Data | None:
        return sentences().test
