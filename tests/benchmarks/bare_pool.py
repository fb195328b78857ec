"""A bare process pool and `hpo` on the same MNIST segments, side by side.

    python tests/benchmarks/bare_pool.py --members 15 --intervals 4

The pool is what one writes by hand for speed: the task's own training step on preloaded normalised images, one thread per
process, `map` over the members, interval by interval; no bookkeeping, no checkpoints on disk, nothing survives a crash. Each member
trains 375 steps of 64 images per interval and is evaluated on 12,000 validation images. Times include the start of the processes.
"""

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from mnist_by_hand import TaskStep

from hpo.core.observer import Observer, SegmentDone
from hpo.engine.session import run_study
from hpo.study.file import parse_study
from hpo.tasks.images.mnist import Mnist

STEPS = 375
shared: dict[str, torch.Tensor] = {}


def start_worker(folder: str) -> None:
    shared["x"] = torch.from_numpy(np.load(f"{folder}/x.npy"))
    shared["y"] = torch.from_numpy(np.load(f"{folder}/y.npy"))


def advance(job):
    state, lr, momentum = job
    by_hand = TaskStep()
    net, sgd = by_hand.build(lr, momentum)
    if state is not None:
        net.load_state_dict(state[0])
        sgd.load_state_dict(state[1])
    by_hand.train(net, sgd, shared["x"], shared["y"], STEPS)
    return (net.state_dict(), sgd.state_dict()), by_hand.count_hits(net, shared["x"], shared["y"])


def pool_seconds(hparams: list[tuple[float, float]], intervals: int, workers: int) -> float:
    data = Mnist().development_data()
    with tempfile.TemporaryDirectory() as folder:
        x, y = data.take(np.arange(60_000))
        np.save(f"{folder}/x.npy", x.contiguous().numpy())
        np.save(f"{folder}/y.npy", y.numpy())
        start = time.perf_counter()
        with multiprocessing.get_context("spawn").Pool(workers, start_worker, (folder,)) as pool:
            states = [None] * len(hparams)
            for _ in range(intervals):
                jobs = [(state, *chosen) for state, chosen in zip(states, hparams, strict=True)]
                states = [state for state, _ in pool.map(advance, jobs, chunksize=1)]
        return time.perf_counter() - start


class LastSearchAnswer(Observer):
    """Notes when the search ended: retraining is not part of the comparison."""

    seconds = 0.0

    def started(self, *_: object) -> None:
        self.begin = time.perf_counter()

    def segment(self, segment: SegmentDone) -> None:
        if not segment.retraining:
            self.seconds = time.perf_counter() - self.begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=15)
    parser.add_argument("--intervals", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    spec = parse_study(
        {
            "study": {
                "name": "pool",
                "population_size": options.members,
                "budget": options.intervals * 0.5,
                "interval": 0.5,
            },
            "task": {"name": "mnist"},
            "arms": [{"label": "random", "optimizer": "random_search"}],
        }
    )
    problem = spec.problem(0, spec.arms[0])
    hparams = [tuple(problem.hparams(slot).values()) for slot in range(options.members)]
    segments = options.members * options.intervals
    for _ in range(options.rounds):
        pool = pool_seconds(hparams, options.intervals, options.workers)
        watch = LastSearchAnswer()
        with tempfile.TemporaryDirectory() as out:
            run_study(spec, out=Path(out) / "run", workers=options.workers, report=False, observer=watch)
        print(
            f"bare pool {pool / segments:.3f} s, hpo {watch.seconds / segments:.3f} s per member-interval,"
            f" hpo / pool = {watch.seconds / pool:.3f}"
        )


if __name__ == "__main__":
    main()
