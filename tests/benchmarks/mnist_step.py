"""A training step and an interval of the MNIST task, side by side with the step as it first was.

    python tests/benchmarks/mnist_step.py --rounds 40 --intervals 4

The old step is written out below in plain PyTorch: the example's net with `max_pool2d`, channels_last, fused SGD, evaluation by
batches of 1000. The new one is the task itself. Both take their batches from the same bytes and train on one thread, each in a
process of its own, for the two keep memory differently; the processes take turns of `--block` steps. Times are CPU
times, which depend less on who else uses the machine. An interval is 375 steps of 64 images and an evaluation on 12,000.
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, max_pool2d, relu

from hpo.core.task import Batches, Examples
from hpo.tasks.images.mnist import Mnist

HPARAMS = {"lr": 0.01, "momentum": 0.9}
BATCH, STEPS, TRAINING, ALL = 64, 375, 48_000, 60_000


class New:
    """The task as it is."""

    def __init__(self) -> None:
        self.task = Mnist()
        self.data = self.task.development_data()
        self.state = self.task.initialize(HPARAMS)

    def train(self, positions: np.ndarray) -> None:
        with self.task.numerics_scope():
            self.state = self.task.train(self.state, HPARAMS, Batches(self.data, positions, BATCH, 0, 1))

    def evaluate(self) -> None:
        with self.task.numerics_scope():
            self.task.evaluate(self.state, Examples(self.data, np.arange(TRAINING, ALL)))


class OldNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 10, kernel_size=5), nn.Conv2d(10, 20, kernel_size=5)
        self.conv2_drop, self.fc1_drop = nn.Dropout2d(0.5), nn.Dropout(0.5)
        self.fc1, self.fc2 = nn.Linear(320, 50), nn.Linear(50, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = relu(pool(self.conv1(x)))
        x = relu(pool(self.conv2_drop(self.conv2(x))))
        return self.fc2(self.fc1_drop(relu(self.fc1(x.flatten(1)))))


def pool(x: Tensor) -> Tensor:
    if torch.is_grad_enabled():
        return max_pool2d(x, 2)
    rows = torch.maximum(x[:, :, ::2], x[:, :, 1::2])
    return torch.maximum(rows[..., ::2], rows[..., 1::2])


class Old:
    """The step as it first was."""

    def __init__(self) -> None:
        self.data = Mnist().development_data()
        self.model = OldNet()
        for conv in (self.model.conv1, self.model.conv2):
            conv.weight.data = conv.weight.data.to(memory_format=torch.channels_last)
        self.sgd = torch.optim.SGD(self.model.parameters(), **HPARAMS, fused=True)

    def train(self, positions: np.ndarray) -> None:
        self.model.train()
        total = torch.zeros(())
        for start in range(0, len(positions), BATCH):
            inputs, targets = self.data.take(positions[start : start + BATCH])
            self.sgd.zero_grad()
            loss = cross_entropy(self.model(inputs.to(memory_format=torch.channels_last)), targets)
            loss.backward()
            self.sgd.step()
            total += loss.detach()

    def evaluate(self) -> None:
        self.model.eval()
        total, hits = torch.zeros((), dtype=torch.float64), []
        with torch.inference_mode():
            for start in range(TRAINING, ALL, 1000):
                inputs, targets = self.data.take(np.arange(start, start + 1000))
                outputs = self.model(inputs.to(memory_format=torch.channels_last))
                total += cross_entropy(outputs, targets, reduction="sum")
                hits.append((outputs.argmax(1) == targets) & outputs.isfinite().all(1))


def serve(kind: type[New | Old], pipe: Connection) -> None:
    """Train so many steps as each message asks for, and evaluate if it says so; answer with the CPU seconds of both."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    made = kind()
    order = np.random.default_rng(0).permutation(TRAINING)
    while True:
        steps, evaluates = pipe.recv()
        start = time.process_time()
        made.train(order[: steps * BATCH])
        trained = time.process_time()
        if evaluates:
            made.evaluate()
        pipe.send((trained - start, time.process_time() - trained))


@contextmanager
def served() -> Iterator[dict[str, Connection]]:
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for kind in (Old, New):
        pipes[kind.__name__], other = context.Pipe()
        processes.append(context.Process(target=serve, args=(kind, other), daemon=True))
        processes[-1].start()
    try:
        yield pipes
    finally:
        for process in processes:
            process.terminate()


def turns(
    pipes: dict[str, Connection], rounds: int, steps: int, evaluates: bool
) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in pipes}
    for _ in range(rounds):
        for name, pipe in pipes.items():
            pipe.send((steps, evaluates))
            found[name].append(pipe.recv())
    return found


def show(what: str, old: list[float], new: list[float]) -> None:
    ratio = statistics.median(a / b for a, b in zip(old, new, strict=True))
    print(
        f"{what}: best {1000 * min(old):.2f} and {1000 * min(new):.2f} ms, ratio {min(old) / min(new):.2f};"
        f" median {1000 * statistics.median(old):.2f} and {1000 * statistics.median(new):.2f} ms,"
        f" median ratio of neighbours {ratio:.2f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40, help="turns of --block steps each")
    parser.add_argument("--block", type=int, default=25)
    parser.add_argument("--intervals", type=int, default=4)
    options = parser.parse_args()
    with served() as pipes:
        turns(pipes, 2, options.block, evaluates=True)  # warm
        found = turns(pipes, options.rounds, options.block, evaluates=False)
        show("step, old and new", *([train / options.block for train, _ in found[name]] for name in ("Old", "New")))
        found = turns(pipes, options.intervals, STEPS, evaluates=True)
        show("evaluation, old and new", *([seconds for _, seconds in found[name]] for name in ("Old", "New")))
        show("interval, old and new", *([sum(both) for both in found[name]] for name in ("Old", "New")))


if __name__ == "__main__":
    main()
