"""The MNIST task's training as a plain loop on tensors, for the benchmarks that compare what is around it: the task's own step."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from hpo.tasks.mnist import Mnist
from hpo.tasks.mnist.model import Net
from hpo.tasks.torch.descent import descend, forget_gradients, propagate

BATCH, TRAINING, ALL = 64, 48_000, 60_000
MNIST = Mnist()


def build(lr: float, momentum: float) -> tuple[Net, torch.optim.SGD]:
    """Return a new net and its optimizer."""
    net = Net().to(memory_format=torch.channels_last)
    return net, torch.optim.SGD(net.parameters(), lr=lr, momentum=momentum, fused=True)


def train(net: Net, sgd: torch.optim.SGD, x: Tensor, y: Tensor, steps: int) -> None:
    """Take steps on random batches of the training images."""
    net.train()
    with MNIST.numerics_scope():
        for batch in torch.randperm(TRAINING)[: steps * BATCH].split(BATCH):
            forget_gradients(sgd)
            propagate(cross_entropy(net(x[batch]), y[batch]))
            descend(sgd)


def count_hits(net: Net, x: Tensor, y: Tensor) -> int:
    """Return how many of the 12,000 validation images are classified rightly."""
    net.eval()
    size = MNIST.evaluation_batch_size
    with MNIST.numerics_scope(), torch.inference_mode():
        parts = [slice(start, start + size) for start in range(TRAINING, ALL, size)]
        return sum(int((net(x[part]).argmax(1) == y[part]).sum()) for part in parts)
