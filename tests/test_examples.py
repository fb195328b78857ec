"""The examples in the documentation: short, with the same results on any number of workers, and after a kill."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import code_lines, environment

import hpo

EXAMPLES = Path(hpo.__file__).parents[1] / "docs/examples"
RUN = Path(__file__).parent / "support/run_example.py"

LINES = {"tune_sklearn": 20, "own_loop": 120, "collate": 90, "image_folder": 90}
LINES |= {"partial_fit": 60, "boosting": 60}
LINES |= {"lightning_task": 90, "hf_trainer": 90, "sb3_ppo": 90}
"""The most lines of code that each may have."""
KILLED = {
    "tune_sklearn": 9,
    "partial_fit": 30,
    "own_loop": 13,
    "image_folder": 8,
    "sb3_ppo": 8,
    "lightning_task": 8,
    "hf_trainer": 6,
}
"""The results after which an example is killed."""


def slow(names, *slow_ones):
    """Return the names, and mark the slow ones."""
    return [pytest.param(name, marks=pytest.mark.slow) if name in slow_ones else name for name in names]


def run(name, folder, workers, *kill_after):
    arguments = [sys.executable, RUN, EXAMPLES / f"{name}.py", workers, folder / "run", *kill_after]
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        [*map(str, arguments)], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )


def found(folder):
    document = json.loads((folder / "run/results.json").read_bytes())
    return {key: value for key, value in document.items() if key != "environment"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the results of an example that ran undisturbed, with one worker."""
    done = {}

    def of(name):
        if name not in done:
            folder = tmp_path_factory.mktemp(name) / "whole"
            finished = run(name, folder, 1)
            assert finished.returncode == 0, finished.stderr
            assert finished.stdout
            done[name] = found(folder)
        return done[name]

    return of


@pytest.mark.parametrize("name", slow(LINES, "hf_trainer", "lightning_task"))
def test_an_example_is_short_and_has_the_same_result_with_two_workers(tmp_path, whole, name):
    assert len(code_lines(EXAMPLES / f"{name}.py")) <= LINES[name]
    finished = run(name, tmp_path / "two", 2)
    assert finished.returncode == 0, finished.stderr
    assert found(tmp_path / "two") == whole(name)


@pytest.mark.parametrize("name", slow(KILLED, "hf_trainer", "lightning_task"))
def test_an_example_that_is_killed_goes_on_to_the_same_result(tmp_path, whole, name):
    killed = run(name, tmp_path / "killed", 2, KILLED[name])
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    finished = run(name, tmp_path / "killed", 2)
    assert finished.returncode == 0, finished.stderr
    assert found(tmp_path / "killed") == whole(name)
    execution = json.loads((tmp_path / "killed/run/execution.json").read_bytes())
    assert execution["sessions"][-1]["cache_hits"] >= KILLED[name] - 1


def test_the_loop_under_pbt_is_little_longer_than_the_plain_one():
    plain, under_pbt = (code_lines(EXAMPLES / f"{name}.py") for name in ("own_loop_plain", "own_loop"))
    assert len(under_pbt) <= len(plain) + 15
