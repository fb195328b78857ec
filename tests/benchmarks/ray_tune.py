"""A three-arm MNIST study in `hpo` and on Ray Tune, side by side: random search and PBT with two selection pressures.

    pip install "hpo[benchmark]"
    python tests/benchmarks/ray_tune.py                                                        # 15 members, 20 intervals
    python tests/benchmarks/ray_tune.py --members 6 --intervals 4 --steps-per-interval 100     # two or three minutes

Both train the same net on the same images, evaluate on 12,000 after every interval, and use so many processes of one thread. Ray
Tune's side takes the task's own training step, too, or with `--step plain` one in plain PyTorch.
On Ray Tune it is written as its documentation advises for speed: the images are preloaded, normalised and shared through
the object store, actors are reused, PBT is synchronous. Its three runs follow each other. `hpo` runs its three arms as one study,
in which arms share what they have in common; its time ends with the last answer of the search, since Ray Tune does not retrain.
Times are wall-clock times and hold the start of the processes. The sides take turns, each in a new process.
"""

import argparse
import multiprocessing
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mnist_by_hand import WAYS
from mnist_step import ALL, BATCH, TRAINING

from hpo.core.observer import Observer, SegmentDone
from hpo.engine.session import run_study
from hpo.study.file import parse_study
from hpo.tasks.images.mnist import Mnist

PRESSURES = (0.2, 0.5)
"""The part of the population that copies, and that is copied, in the two runs of PBT; 0.5 is the most that Ray Tune allows."""


class SearchWatch(Observer):
    """Notes when the last segment of the search was answered, and how many were computed."""

    def __init__(self) -> None:
        self.begin = self.end = time.perf_counter()
        self.computed = 0

    def segment(self, segment: SegmentDone) -> None:
        if not segment.retraining:
            self.end = time.perf_counter()
            self.computed += segment.computed


def on_hpo(options: argparse.Namespace) -> tuple[float, int]:
    """Return the seconds of the study and the segments that were computed."""
    interval = round(options.steps_per_interval * BATCH / TRAINING, 9)
    arms: list[dict[str, Any]] = [{"label": "random", "optimizer": "random_search"}]
    for pressure in PRESSURES:
        selection = {"name": "truncation", "quantile_fraction": pressure}
        arms.append(
            {"label": f"pbt-{pressure}", "optimizer": "pbt", "perturbation_interval": interval, "selection": selection}
        )
    spec = parse_study(
        {
            "study": {
                "name": "ray_tune",
                "population_size": options.members,
                "budget": round(interval * options.intervals, 9),
                "interval": interval,
            },
            "task": {"name": "mnist"},
            "arms": arms,
            "comparison": {"baseline": "random", "metric": "error"},
        }
    )
    watch = SearchWatch()
    with tempfile.TemporaryDirectory() as out:
        run_study(spec, out=Path(out) / "run", workers=options.workers, report=False, observer=watch)
    return watch.end - watch.begin, watch.computed


def on_ray(options: argparse.Namespace) -> tuple[float, int]:
    """Return the seconds of the three runs, one after the other, and their intervals."""
    import ray
    from ray import tune
    from ray.tune.schedulers import FIFOScheduler, PopulationBasedTraining

    by_hand = WAYS[options.step]()

    class Trainable(tune.Trainable):
        def setup(self, config: dict[str, float], x: np.ndarray, y: np.ndarray) -> None:
            self.x, self.y = torch.from_numpy(x.copy()), torch.from_numpy(y.copy())
            self.reset_config(config)

        def reset_config(self, config: dict[str, float]) -> bool:
            self.config = config
            self.net, self.sgd = by_hand.build(config["lr"], config["momentum"])
            return True

        def step(self) -> dict[str, float]:
            by_hand.train(self.net, self.sgd, self.x, self.y, options.steps_per_interval)
            return {"accuracy": by_hand.count_hits(self.net, self.x, self.y) / (ALL - TRAINING)}

        def save_checkpoint(self, folder: str) -> None:
            torch.save((self.net.state_dict(), self.sgd.state_dict()), Path(folder) / "state.pt")

        def load_checkpoint(self, folder: str) -> None:
            net, sgd = torch.load(Path(folder) / "state.pt")
            self.net.load_state_dict(net)
            self.sgd.load_state_dict(sgd)
            self.sgd.param_groups[0].update(lr=self.config["lr"], momentum=self.config["momentum"])

    space = {"lr": tune.loguniform(1e-5, 1), "momentum": tune.uniform(0.1, 0.9999)}
    x, y = Mnist().development_data().take(np.arange(ALL))
    x, y = x.contiguous().numpy(), y.numpy()
    schedulers = [FIFOScheduler()]
    for pressure in PRESSURES:
        schedulers.append(
            PopulationBasedTraining(
                time_attr="training_iteration",
                perturbation_interval=1,
                synch=True,
                quantile_fraction=pressure,
                resample_probability=0.0,
                perturbation_factors=(1.2, 0.8),
                hyperparam_mutations=space,
            )
        )
    start = time.perf_counter()
    ray.init("local", num_cpus=options.workers, include_dashboard=False, logging_level="ERROR")
    trainable = tune.with_resources(tune.with_parameters(Trainable, x=x, y=y), {"cpu": 1})
    for scheduler in schedulers:
        with tempfile.TemporaryDirectory() as folder:
            grid = tune.Tuner(
                trainable,
                param_space=dict(space),
                tune_config=tune.TuneConfig(
                    metric="accuracy", mode="max", scheduler=scheduler, num_samples=options.members, reuse_actors=True
                ),
                run_config=tune.RunConfig(
                    stop={"training_iteration": options.intervals}, verbose=0, storage_path=folder
                ),
            ).fit()
        if grid.errors:
            raise RuntimeError(f"Ray Tune: {grid.errors[0]}")
    seconds = time.perf_counter() - start
    ray.shutdown()
    return seconds, len(schedulers) * options.members * options.intervals


SIDES = {"hpo": on_hpo, "ray": on_ray}


def send(side: str, options: argparse.Namespace, pipe: Connection) -> None:
    pipe.send(SIDES[side](options))


def in_new_process(side: str, options: argparse.Namespace) -> tuple[float, int]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=send, args=(side, options, theirs))
    process.start()
    theirs.close()
    found = ours.recv()
    process.join()
    return found  # type: ignore[no-any-return]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=15)
    parser.add_argument("--intervals", type=int, default=20)
    parser.add_argument("--steps-per-interval", type=int, default=375, help="of 64 images")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--step", choices=list(WAYS), default="task", help="how Ray Tune's side trains")
    parser.add_argument("--sides", nargs="+", choices=list(SIDES), default=list(SIDES))
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {side: [] for side in options.sides}
    for _ in range(options.rounds):
        for side in options.sides:
            taken, segments = in_new_process(side, options)
            seconds[side].append(taken)
            print(
                f"{side}: {taken:.1f} s, {segments} member-intervals computed, {taken / segments:.3f} s for each",
                flush=True,
            )
    if len(seconds) == len(SIDES):
        ratio = statistics.median(a / b for a, b in zip(seconds["hpo"], seconds["ray"], strict=True))
        print(f"hpo / Ray Tune = {ratio:.3f}")


if __name__ == "__main__":
    main()
