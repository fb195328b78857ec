"""The MNIST task's training as a plain loop on tensors, for the benchmarks that compare what is around it."""

import torch
from mnist_step import ALL, BATCH, TRAINING, OldNet
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hpo.tasks.images.mnist import Mnist
from hpo.tasks.torch import TorchState

MNIST = Mnist()


class TaskStep:
    """The training step and the evaluation that the task has in `hpo`."""

    def build(self, lr: float, momentum: float) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Return a new net and its optimizer."""
        state = MNIST.initialize({"lr": lr, "momentum": momentum})
        return state.model, state.optimizer

    def train(self, net: nn.Module, sgd: torch.optim.Optimizer, x: Tensor, y: Tensor, steps: int) -> None:
        """Take steps on random batches of the training images."""
        net.train()
        with MNIST.numerics_scope():
            for batch in torch.randperm(TRAINING)[: steps * BATCH].split(BATCH):
                MNIST.training_step(TorchState(net, sgd), x[batch], y[batch])

    def count_hits(self, net: nn.Module, x: Tensor, y: Tensor) -> int:
        """Return how many of the 12,000 validation images are classified rightly."""
        with MNIST.numerics_scope():
            return hits_by_batches(net, x, y, MNIST.evaluation_batch_size)


class PlainStep:
    """The same net, trained and evaluated by plain PyTorch on one thread, as one would write it."""

    def build(self, lr: float, momentum: float) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Return a new net and its optimizer."""
        torch.set_num_threads(1)
        net = OldNet().to(memory_format=torch.channels_last)
        return net, torch.optim.SGD(net.parameters(), lr=lr, momentum=momentum)

    def train(self, net: nn.Module, sgd: torch.optim.Optimizer, x: Tensor, y: Tensor, steps: int) -> None:
        """Take steps on random batches of the training images."""
        net.train()
        for batch in torch.randperm(TRAINING)[: steps * BATCH].split(BATCH):
            sgd.zero_grad()
            cross_entropy(net(x[batch]), y[batch]).backward()
            sgd.step()

    def count_hits(self, net: nn.Module, x: Tensor, y: Tensor) -> int:
        """Return how many of the 12,000 validation images are classified rightly."""
        return hits_by_batches(net, x, y, 1000)


WAYS = {"task": TaskStep, "plain": PlainStep}


def hits_by_batches(net: nn.Module, x: Tensor, y: Tensor, size: int) -> int:
    net.eval()
    with torch.inference_mode():
        parts = [slice(start, start + size) for start in range(TRAINING, ALL, size)]
        return sum(int((net(x[part]).argmax(1) == y[part]).sum()) for part in parts)
