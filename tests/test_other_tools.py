"""The examples for Optuna and Ray Tune: as long as the comparison says, and they find good values."""

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import code_lines, environment

import hpo

DOCS = Path(hpo.__file__).parents[1] / "docs"
PAGE = DOCS / "explanation/comparison_with_other_tools.md"
OTHERS = DOCS / "examples/other_tools"

ROWS = [
    re.findall(r"\[(\d+)\]\((\S+)\)", row)
    for row in PAGE.read_text().splitlines()
    if row.startswith(("| a f", "| PBT"))
]
LINES = {Path(file).stem: int(lines) for row in ROWS for lines, file in row}

ON_RAY = """
import contextlib, json, os, pathlib, runpy, sys, traceback, ray
from ray import tune

def fit(tuner):
    results = original_fit(tuner)
    trials = [result.metrics | {"checkpoint": result.checkpoint and result.checkpoint.path} for result in results]
    found = {"folder": results.experiment_path, "trials": trials}
    pathlib.Path("results.json").write_text(json.dumps(found, default=str))
    return results

def config(**options):
    return original_config(**{"reuse_actors": True, **options, "num_samples": min(options["num_samples"], 12)})

original_fit, tune.Tuner.fit = tune.Tuner.fit, fit
original_config, tune.TuneConfig = tune.TuneConfig, config
ray.init("local", num_cpus=2, include_dashboard=False)
start = pathlib.Path.cwd()
for script in map(pathlib.Path, sys.argv[1:]):
    folder = start / script.stem
    folder.mkdir()
    os.chdir(folder)
    with open("said", "w") as said, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            runpy.run_path(str(script), run_name="__main__")
        except Exception:
            traceback.print_exc()
"""
"""Runs scripts one after another as Ray Tune would on a machine with 2 cores, and keeps the last result of each trial.

Ray starts once, a trial gets a process that another one has left, since most of the time goes into starting them, and there are
at most 12 trials.
"""


def test_the_table_counts_the_lines_of_every_example():
    files = [PAGE.parent / file for row in ROWS for _, file in row]
    assert {file.name for file in files if "other_tools" in str(file)} == {file.name for file in OTHERS.glob("*.py")}
    assert [(file.stem, len(code_lines(file))) for file in files] == [(file.stem, LINES[file.stem]) for file in files]
    (plain,) = re.findall(r"own_loop_plain.py\) takes (\d+)", PAGE.read_text())
    assert len(code_lines(DOCS / "examples/own_loop_plain.py")) == int(plain)


def test_a_function_takes_hardly_more_lines_than_in_optuna_and_pbt_fewer_than_in_ray_tune():
    assert LINES["tune_sklearn"] <= 1.3 * LINES["tune_sklearn_optuna"]
    for name in ("own_loop", "partial_fit", "boosting", "lightning_task"):
        assert LINES[name] < LINES[f"{name}_ray"]


def run(folder, *arguments):
    env = environment(HOME=str(folder), OMP_NUM_THREADS="1")
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def error(said):
    """Return the error that an example prints at its end."""
    lines = [line for line in said.splitlines() if line.startswith("{")]
    assert lines, said
    return float(lines[-1].split()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in LINES if name.endswith("_optuna")])
def test_optuna_finds_good_values(tmp_path, name):
    if name.startswith("boosting"):
        pytest.importorskip("lightgbm")
    done = run(tmp_path, OTHERS / f"{name}.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert error(done.stdout) < 0.15


ON_TUNE = [name for name in LINES if name.endswith("_ray")]


@pytest.fixture(scope="module")
def on_ray(tmp_path_factory):
    """The folders in which the examples for Ray Tune ran."""
    pytest.importorskip("ray.tune", exc_type=ImportError)
    folder = tmp_path_factory.mktemp("ray")
    (folder / "on_ray.py").write_text(ON_RAY)
    done = run(folder, "on_ray.py", *(OTHERS / f"{name}.py" for name in ON_TUNE))
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: folder / name for name in ON_TUNE}


@pytest.mark.slow
@pytest.mark.parametrize("name", ON_TUNE)
def test_ray_tune_finds_good_values(on_ray, name):
    pytest.importorskip({"boosting_ray": "lightgbm", "lightning_task_ray": "lightning"}.get(name, "ray"))
    folder = on_ray[name]
    assert error((folder / "said").read_text()) < (1.1 if name == "lightning_task_ray" else 0.15)
    found = json.loads((folder / "results.json").read_text())
    if name == "own_loop_ray":
        assert Path(found["folder"], "pbt_global.txt").exists(), "no member copied another one"
        check_rates(found["trials"])
    if name == "lightning_task_ray":
        for result in found["trials"]:
            state = torch.load(Path(result["checkpoint"], "checkpoint"), weights_only=True)
            (group,) = state["optimizer_states"][0]["param_groups"]
            assert group["max_lr"] == pytest.approx(result["config"]["lr"])


def check_rates(results):
    """Check that every member ended with its own learning rate, at its place in the cycle."""
    steps, epochs = math.ceil(1397 / 64), 6
    optimizer = torch.optim.AdamW([torch.zeros(1)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=steps * epochs)
    cycle = []
    for _ in range(steps * epochs):
        optimizer.step()
        scheduler.step()
        cycle.append(optimizer.param_groups[0]["lr"])
    assert len(results) == 5
    for result in results:
        expected = result["config"]["lr"] * cycle[result["training_iteration"] * steps - 1]
        assert result["rate"] == pytest.approx(expected, rel=1e-6)
