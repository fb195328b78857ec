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
import json, runpy, sys, ray
from ray import tune

def fit(tuner):
    results = original(tuner)
    with open("results.json", "w") as file:
        found = [result.metrics | {"checkpoint": result.checkpoint and result.checkpoint.path} for result in results]
        json.dump(found, file, default=str)
    return results

original, tune.Tuner.fit = tune.Tuner.fit, fit
ray.init("local", num_cpus=8, include_dashboard=False)
runpy.run_path(sys.argv[1], run_name="__main__")
"""
"""Runs a script as Ray Tune would on a machine with 8 cores, and keeps the last result of each trial."""


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


def found(name, folder, *before):
    """Run an example, and return the error that it prints at its end."""
    env = environment(HOME=str(folder), OMP_NUM_THREADS="1")
    command = [sys.executable, *before, OTHERS / f"{name}.py"]
    done = subprocess.run([*map(str, command)], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    last = [line for line in done.stdout.splitlines() if line.startswith("{")][-1]
    return float(last.split()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in LINES if name.endswith("_optuna")])
def test_optuna_finds_good_values(tmp_path, name):
    if name.startswith("boosting"):
        pytest.importorskip("lightgbm")
    assert found(name, tmp_path) < 0.15


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in LINES if name.endswith("_ray")])
def test_ray_tune_finds_good_values(tmp_path, name):
    pytest.importorskip("ray.tune", exc_type=ImportError)
    library = {"boosting_ray": "lightgbm", "lightning_task_ray": "lightning"}.get(name, "ray")
    pytest.importorskip(library)
    (tmp_path / "on_ray.py").write_text(ON_RAY)
    assert found(name, tmp_path, tmp_path / "on_ray.py") < (1.1 if name == "lightning_task_ray" else 0.15)
    results = json.loads((tmp_path / "results.json").read_text())
    if name == "own_loop_ray":
        assert list(tmp_path.glob("ray_results/*/pbt_global.txt")), "no member copied another one"
        check_rates(results)
    if name == "lightning_task_ray":
        for result in results:
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
