"""Optuna's figures of a run's members: what they show, what they leave out, and names that are markup."""

import base64
import csv
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from optuna.trial import TrialState

from hpo.core.errors import InputError
from hpo.report.data import load_run
from hpo.report.optuna_figures import MOST_POINTS, OptunaFigure, optuna_figures
from hpo.report.optuna_study import Trials, in_memory

NAMES = ["parallel_coordinates", "importance", "slice", "contour"]


def figures(folder: Path, arm: str) -> dict[str, OptunaFigure]:
    run = load_run(folder)
    return {found.name: found for found in optuna_figures(run.results, arm, run.members[arm])}


def rewritten(folder: Path, change: Callable[[dict[str, str]], None]) -> Path:
    """Change the rows of a segments.csv."""
    path = folder / "segments.csv"
    rows = list(csv.DictReader(path.open(newline="")))
    for row in rows:
        change(row)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def by_learning_rate(row: dict[str, str]) -> None:
    """Let the error depend on the learning rate alone."""
    row["diverged"], row["metric:error"] = "0", repr(0.1 + abs(math.log10(float(row["hparam:lr"])) + 2) / 10)


def axes(figure: dict[str, Any]) -> set[str]:
    """Return the titles of a figure's axes."""
    layout = figure["layout"]
    titles = {axis["title"]["text"] for name, axis in layout.items() if name[1:5] == "axis" and "title" in axis}
    return titles | {text for name, axis in layout.items() if name == "xaxis" for text in axis.get("ticktext", [])}


def test_trials_are_the_members_that_reached_the_end_with_the_values_that_they_started_with(
    synthetic: ModuleType, tmp_path: Path
) -> None:
    folder = synthetic.mnist_run(tmp_path / "run")
    run = load_run(folder)
    rows = [row for row in csv.DictReader((folder / "segments.csv").open(newline="")) if row["arm"] == "pbt-truncation"]
    study = in_memory(run.results, map(Trials(run.results).trial, run.members["pbt-truncation"]))
    assert len(study.trials) == 45
    for trial in study.trials:
        at = (str(trial.user_attrs["seed"]), str(trial.user_attrs["member"]))
        own = [row for row in rows if (row["seed"], row["member"]) == at]
        assert trial.params == {name: float(own[0][f"hparam:{name}"]) for name in ("lr", "momentum")}
        if own[-1]["metric:error"]:
            assert (trial.state, trial.value) == (TrialState.COMPLETE, float(own[-1]["metric:error"]))
        else:
            assert (trial.state, trial.value) == (TrialState.FAIL, None)


def test_every_member_that_ended_is_in_the_figures_and_the_importances_find_what_matters(
    small_run: Callable[..., Path],
) -> None:
    found = figures(rewritten(small_run(), by_learning_rate), "random")
    assert list(found) == NAMES
    shown = {name: figure.figure for name, figure in found.items()}
    assert all(shown.values())
    json.dumps(shown, allow_nan=False)
    for name in ("parallel_coordinates", "slice", "contour"):
        assert {"lr", "momentum"} <= axes(shown[name]), name
    for name in ("importance", "slice"):
        assert "title" not in shown[name]["layout"]
        assert "template" not in shown[name]["layout"]
    (bars,) = shown["importance"]["data"]
    assert bars["y"] == ["momentum", "lr"]
    assert len(shown["slice"]["data"][0]["y"]) == 15
    lines = [trace for trace in shown["parallel_coordinates"]["data"] if trace.get("mode") == "lines"]
    assert len(lines) == 15


def test_members_that_did_not_reach_the_end_are_left_out_and_counted(small_run: Callable[..., Path]) -> None:
    def change(row: dict[str, str]) -> None:
        by_learning_rate(row)
        if row["member"] == "0" and int(row["interval"]) > 1:
            row["diverged"], row["metric:error"] = "1", ""

    found = figures(rewritten(small_run(), change), "random")
    assert "3 diverged" in found["slice"].words
    figure = found["parallel_coordinates"].figure
    assert figure is not None
    assert sum(trace.get("mode") == "lines" for trace in figure["data"]) == 12


def test_only_arms_that_change_hyperparameters_are_said_to(small_run: Callable[..., Path]) -> None:
    folder = small_run()
    assert "at the start" in figures(folder, "pbt-truncation")["slice"].words
    assert "at the start" not in figures(folder, "random")["slice"].words


def test_too_few_members_have_no_importances_and_one_member_no_figure(small_run: Callable[..., Path]) -> None:
    folder = rewritten(small_run(finished=1), by_learning_rate)
    found = figures(folder, "random")
    assert [name for name, figure in found.items() if figure.figure is None] == ["importance"]
    assert found["importance"].words

    def only_one(row: dict[str, str]) -> None:
        if row["member"] != "0":
            row["diverged"], row["metric:error"] = "1", ""

    found = figures(rewritten(folder, only_one), "random")
    assert [figure.figure for figure in found.values()] == [None] * 4


def test_equal_values_have_no_importances(small_run: Callable[..., Path]) -> None:
    def equal(row: dict[str, str]) -> None:
        row["diverged"], row["metric:error"] = "0", "0.5"

    found = figures(rewritten(small_run(), equal), "random")
    assert found["importance"].figure is None
    assert found["parallel_coordinates"].figure is not None


def test_contours_of_many_members_are_of_some_of_them_with_the_best(synthetic: ModuleType, tmp_path: Path) -> None:
    folder = synthetic.mnist_run(tmp_path / "run", labels=("random",), population=70, intervals=2)

    def best(row: dict[str, str]) -> None:
        by_learning_rate(row)
        if (row["seed"], row["member"]) == ("1", "33"):
            row["metric:error"] = "0.001"

    figure = figures(rewritten(folder, best), "random")["contour"].figure
    assert figure is not None
    contour, points = figure["data"][:2]
    assert len(points["x"]) in (MOST_POINTS - 1, MOST_POINTS)
    assert np.nanmin(np.frombuffer(base64.b64decode(contour["z"]["bdata"]), contour["z"]["dtype"])) == 0.001


def test_names_and_choices_that_are_markup_are_escaped(small_run: Callable[..., Path], synthetic: ModuleType) -> None:
    name, choices = "<b>lr</b> & <a href='javascript:x'>", ["<i>x</i>", "b", "<script>y</script>"]
    folder = rewritten(small_run(), by_learning_rate)

    def change(results: dict[str, Any]) -> None:
        space = results["task"]["search_space"]
        space[name] = space.pop("lr")
        space["choice"] = {"type": "categorical", "choices": choices}
        for replicate in results["replicates"]:
            for arm in replicate["arms"].values():
                for step in arm["schedule"]:
                    step["hparams"][name] = step["hparams"].pop("lr")

    synthetic.edited(folder, change)
    path = folder / "segments.csv"
    rows = list(csv.DictReader(path.open(newline="")))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*(f"hparam:{name}" if key == "hparam:lr" else key for key in rows[0]), "hparam:choice"])
        writer.writerows([*row.values(), choices[int(row["member"]) % 3]] for row in rows)
    found = figures(folder, "random")
    for figure in found.values():
        text = json.dumps(figure.figure)
        assert "<b>" not in text
        assert "<script" not in text
        assert "&lt;b&gt;lr" in text
    assert "&lt;script&gt;" in json.dumps(found["slice"].figure)


@pytest.mark.parametrize("value", ["2.0", "-1e-9"])
def test_a_value_outside_the_search_space_is_named(small_run: Callable[..., Path], value: str) -> None:
    folder = small_run()

    def change(row: dict[str, str]) -> None:
        if (row["seed"], row["member"], row["interval"]) == ("1", "3", "2"):
            row["hparam:lr"] = value

    with pytest.raises(InputError, match=r"segments\.csv: seed 1, arm random, member 3, interval 2: lr"):
        load_run(rewritten(folder, change))


MADE = """
import json, sys
from pathlib import Path
from hpo.report.data import load_run
from hpo.report.optuna_figures import optuna_figures
run = load_run(Path(sys.argv[1]))
print(json.dumps([vars(found) for found in optuna_figures(run.results, "random", run.members["random"])]))
assert "torch" not in sys.modules
"""


def test_another_process_makes_the_same_figures_without_torch(small_run: Callable[..., Path]) -> None:
    folder = rewritten(small_run(), by_learning_rate)
    made = [
        subprocess.run(
            [sys.executable, "-c", MADE, folder],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        for seed in ("1", "2")
    ]
    assert made[0].stdout == made[1].stdout
    assert len(json.loads(made[0].stdout)) == 4
    assert made[0].stderr == ""
