"""The `digits` task serially, in two worker processes and in stacks, side by side.

    python tests/benchmarks/stacked.py --members 32 --intervals 8 --rounds 3

A random search of members of one width, each of them trained 20 steps of 50 images per interval and evaluated on 297. Rates are
those of the search without its first interval: neither the start of processes nor retraining counts. CPU seconds are those of
all processes together and of everything, the start of workers and retraining included, for machines that others use too.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from hpo.core.observer import Observer, SegmentDone
from hpo.engine.session import run_study
from hpo.study.file import parse_study


def cpu_seconds() -> float:
    """Return the processor time of this process and of its children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


class Search(Observer):
    """Times a search from the end of its first interval on.

    Args:
        warm: how many segments the first interval has.
    """

    def __init__(self, warm: int) -> None:
        self._warm, self.segments = warm, 0
        self._first = self._last = 0.0

    def segment(self, segment: SegmentDone) -> None:
        if not segment.computed or segment.retraining:
            return
        self._last = time.perf_counter()
        if self._warm:
            self._warm -= 1
            self._first = self._last
        else:
            self.segments += 1

    @property
    def rate(self) -> float:
        """Segments per second after the first interval."""
        return self.segments / (self._last - self._first)


def study(members: int, intervals: int, width: int) -> dict[str, Any]:
    """Return a random search of members whose hyperparameters differ in all but the width."""
    document: dict[str, Any] = {
        "study": {"name": "stacked", "population_size": members, "budget": intervals, "interval": 1},
        "task": {"name": "digits"},
        "arms": [{"label": "random", "optimizer": "random_search"}],
    }
    spec = parse_study(document)
    problem = spec.problem(0, spec.arms[0])
    document["study"]["initial"] = [
        {**drawn, "lr": min(0.1, drawn["lr"]), "width": width or drawn["width"]}
        for drawn in map(problem.hparams, range(members))
    ]
    return document


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=32)
    parser.add_argument("--intervals", type=int, default=8)
    parser.add_argument("--width", type=int, default=32, help="of all members; 0: each its own, as the task draws them")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    spec = parse_study(study(options.members, options.intervals, options.width))
    ways: dict[str, dict[str, Any]] = {
        "serial": {"executor": "serial"},
        "process, 2 workers": {"executor": "process", "workers": 2},
        **{f"stacked, {lanes} lanes": {"executor": "stacked", "lanes": lanes} for lanes in (8, 16, 32)},
    }
    for number in range(1, options.rounds + 1):
        for name, way in ways.items():
            watch, used = Search(options.members), cpu_seconds()
            with tempfile.TemporaryDirectory() as out:
                run_study(spec, out=Path(out) / "run", report=False, observer=watch, **way)
            print(
                f"round {number}  {name:20} {watch.rate:7.1f} segments/s  {cpu_seconds() - used:6.1f} CPU s", flush=True
            )


if __name__ == "__main__":
    main()
