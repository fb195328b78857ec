"""Checks that need other processes: another hash seed, and two workers. Many optimizers share one process or study."""

import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from hpo.core.interpreters import command
from hpo.core.optimizer import OptimizerOptions
from hpo.core.segments import canonical, digest
from hpo.engine.session import run_study
from hpo.study.file import parse_study
from hpo.study.importing import own_path
from hpo.study.spec import Arm, StudySpec
from hpo.testing.driving import Broken, drive
from hpo.testing.problems import SPACES, every_other, members, problem


def fingerprints(configurations: Mapping[str, OptimizerOptions]) -> dict[str, dict[str, str]]:
    """Return a digest of the asks and tells of each optimizer, on each of `SPACES` that it accepts."""
    found: dict[str, dict[str, str]] = {}
    for name, options in configurations.items():
        found[name] = {}
        for space_name, space in SPACES.items():
            if (n := members(options, space)) is None:
                continue
            of = problem(n, space=space, concurrency=options.default_concurrency(n))
            run = drive(options, of, diverges=every_other)
            found[name][space_name] = digest(canonical([list(entry) for entry in run.journal]))
    return found


def check_processes(configurations: Mapping[str, OptimizerOptions]) -> None:
    """Check that another process with another hash seed asks for the same segments, with one process for all optimizers.

    Args:
        configurations: optimizers by any name, all defined in modules.

    Raises:
        Broken: an optimizer asks for other segments, or the process fails.
    """
    for name, options in configurations.items():
        if type(options).__module__ == "__main__":
            raise Broken(f"{name}: another process cannot import {type(options).__name__}; move it to a module")
    environment = os.environ | {
        "PYTHONHASHSEED": "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1",
    }
    done = subprocess.run(
        command(own_path(studies=True), __name__),
        env=environment,
        input=pickle.dumps(dict(configurations)),
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise Broken(f"the other process failed:\n{done.stderr.decode()}")
    here, there = fingerprints(configurations), json.loads(done.stdout)
    for name in configurations:
        if here[name] != there[name]:
            odd = [space for space in SPACES if here[name].get(space) != there[name].get(space)]
            raise Broken(f"{name}: asks for something else under another hash seed, on: {', '.join(odd)}")


def check_workers(configurations: Mapping[str, OptimizerOptions]) -> None:
    """Check that small studies of all optimizers have the same answers in this process and in two worker processes.

    Args:
        configurations: optimizers by any name, all of which must accept 6 members, or one of the sizes in `LARGER`, with 2 epochs
            in intervals of half an epoch.

    Raises:
        Broken: the answers differ, or an optimizer accepts no such size.
    """
    sizes = {name: members(options, SPACES["floats"]) for name, options in configurations.items()}
    if refusing := [name for name, n in sizes.items() if n is None]:
        raise Broken(f"{', '.join(refusing)}: no population size to check with")
    for size in sorted({n for n in sizes.values() if n is not None}):
        _check_study({name: configurations[name] for name, n in sizes.items() if n == size}, size)


def _check_study(configurations: Mapping[str, OptimizerOptions], n: int) -> None:
    study = {"name": "workers", "population_size": n, "budget": 2, "interval": 0.5}
    arm = {"label": "any", "optimizer": "random_search"}
    spec = parse_study({"study": study, "task": {"name": "coin"}, "arms": [arm]})
    arms = tuple(
        Arm(f"arm {index}", name, options, options.default_concurrency(n))
        for index, (name, options) in enumerate(configurations.items())
    )
    spec = replace(spec, arms=arms)
    with tempfile.TemporaryDirectory() as folder:
        alone, together = (_replicates(spec, Path(folder) / str(workers), workers) for workers in (1, 2))
    for arm_index, name in enumerate(configurations):
        label = f"arm {arm_index}"
        if alone[label] != together[label]:
            raise Broken(f"{name}: two workers give a different answer from one process")


def _replicates(spec: StudySpec, out: Path, workers: int) -> dict[str, object]:
    """Return the results and the segment rows of a study, by label."""
    result = run_study(spec, out=out, executor="serial" if workers == 1 else "process", workers=workers, report=False)
    (replicate,) = result.results["replicates"]
    rows = (out / "segments.csv").read_text().splitlines()
    return {
        label: (found, [row for row in rows if row.split(",")[1] == label])
        for label, found in replicate["arms"].items()
    }


def main() -> None:
    """Print the fingerprints of the pickled optimizers on the standard input."""
    print(json.dumps(fingerprints(pickle.load(sys.stdin.buffer))))
