"""Training classes for the tests of the task `loop`."""

import numpy as np
import torch
from torch import nn
from torch_tasks import blobs

from hpo.tasks.torch import ArrayDataset


def data():
    found = ArrayDataset(*blobs(240, seed=1))
    found.test = ArrayDataset(*blobs(100, seed=2))
    return found


class Training:
    """AdamW with two groups, a live one-cycle schedule, batch norm and dropout."""

    def __init__(self, hparams, steps):
        self.model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))
        lr = hparams["lr"]
        body, head = self.model[0].parameters(), self.model[4].parameters()
        self.optimizer = torch.optim.AdamW([{"params": body}, {"params": head, "lr": lr / 10}], lr=lr)
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, [lr, lr / 10], total_steps=steps)
        self.steps = steps
        self.seen = []

    def train(self, batches):
        self.model.train()
        for inputs, targets in batches:
            self.optimizer.zero_grad()
            nn.functional.cross_entropy(self.model(inputs), targets).backward()
            self.optimizer.step()
            self.scheduler.step()
        self.seen.append(len(batches))

    def evaluate(self, examples):
        self.model.eval()
        with torch.no_grad():
            wrong = sum(int((self.model(inputs).argmax(1) != targets).sum()) for inputs, targets in examples)
        rates = [group["lr"] for group in self.optimizer.param_groups]
        return {"error": wrong / len(examples.dataset), "rate": rates[0], "head": rates[1], "taken": sum(self.seen)}


class Files:
    """A class that saves itself in a folder."""

    def __init__(self, hparams):
        self.hparams = {}
        self.weight = np.zeros(1)
        self.apply(hparams)

    def apply(self, hparams):
        self.hparams = dict(hparams)

    def applied(self):
        return self.hparams

    def train(self, steps):
        self.weight = self.weight + self.hparams["lr"] * len(steps) * (1 - self.weight)

    def evaluate(self):
        return {"loss": abs(1 - self.weight[0]), "lr_in_force": self.hparams["lr"]}

    def save(self, folder):
        (folder / "inner").mkdir()
        np.save(folder / "inner/weight.npy", self.weight)
        (folder / "empty").touch()

    def load(self, folder):
        assert (folder / "empty").read_bytes() == b""
        self.weight = np.load(folder / "inner/weight.npy")


class Converging:
    """Its loss falls by half with each step, and it is done below a level."""

    def __init__(self, hparams):
        self.loss = 1.0
        self.finished = False
        self.level = hparams["level"]

    def train(self, steps):
        for _ in steps:
            self.loss /= 2
        self.finished = self.loss < self.level

    def evaluate(self):
        return self.loss
