"""Result folders of Ray Tune: what is read of them, what never is, and every refusal."""

import json
import os
import pickle
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import hpo
from hpo.compare.data import Request
from hpo.compare.inputs import read_inputs


class Bomb:
    """What leaves a trace where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))


@pytest.fixture
def experiment(tmp_path):
    """Write an experiment as Ray 2 does, with a list of values that each of its trials reports, and return its folder."""

    def write(name, trials, metric="loss", config=None, progress=False, states=None):
        folder = tmp_path / "results" / name
        for i, values in enumerate(trials):
            trial = folder / f"objective_0d3c3_{i:05}_{i}_x=0.1812_2026-11-29_12-33-16"
            trial.mkdir(parents=True)
            (trial / "params.json").write_text(json.dumps({"x": i / 10, **(config or {})}))
            (trial / "params.pkl").write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
            own = {
                "timestamp": 17,
                "done": False,
                "pid": 4,
                "trial_id": f"0d3c3_{i:05}",
                "date": "2026",
                "hostname": "vm",
            }
            rows = [
                {**dict.fromkeys(metric.split(), value), "training_iteration": step, "time_total_s": 0.1, **own}
                for step, value in enumerate(values, 1)
            ]
            if progress:
                text = "\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)])
                (trial / "progress.csv").write_text(text)
            else:
                (trial / "result.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / "tuner.pkl").write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
        hidden = {"_type": "CLOUDPICKLE_FALLBACK", "value": pickle.dumps(Bomb(tmp_path / "exploded")).hex()}
        saved = [
            [json.dumps({"status": state, "storage": hidden}), "{}"] for state in states or ["TERMINATED"] * len(trials)
        ]
        (folder / "experiment_state-2026-11-29_12-33-16.json").write_text(json.dumps({"trial_data": saved}))
        return folder

    yield write
    assert not (tmp_path / "exploded").exists()


FOUR = {
    "tpe-0": [[0.9, 0.5], [0.1, 0.3]],
    "tpe-1": [[0.4, 0.2], [0.9, 0.8]],
    "random-0": [[0.6, 0.6], [0.8, 0.7]],
    "random-1": [[0.2, 0.4], [0.5, 0.9]],
}
LAST = {"results": {"tpe": {"0": 0.3, "1": 0.2}, "random": {"0": 0.6, "1": 0.4}}}


@pytest.fixture
def results(experiment):
    """Write four experiments into one folder, and return it."""
    for name, trials in FOUR.items():
        folder = experiment(name, trials)
    return folder.parent


def read(*paths, **request):
    return read_inputs(paths, Request(**request))


def values(inputs):
    return {task.name: task.values for task in inputs.tasks}


def test_experiments_by_name(results, compare):
    assert values(read(results)) == LAST
    assert values(read(*results.iterdir())) == LAST
    said = compare(results)
    assert said.code == 0
    assert "the best of a search's trials" in said.words
    best = read(results, value="best")
    assert values(best)["results"] == {"tpe": {"0": 0.1, "1": 0.2}, "random": {"0": 0.6, "1": 0.2}}
    assert values(read(results, direction="maximize"))["results"]["tpe"] == {"0": 0.5, "1": 0.8}


def test_a_pattern_and_the_configuration_say_the_roles(experiment, refused):
    for i, (name, trials) in enumerate(FOUR.items()):
        arm, _, seed = name.partition("-")
        folder = experiment(
            f"objective_2026-11-29_1{i}", trials, config={"searcher": arm, "seed": int(seed), "gpu": True}
        )
    roles = {"arm": "searcher", "seed": "seed"}
    assert values(read(folder.parent, roles=roles)) == LAST
    assert "has no such attribute" in refused(folder.parent, "--column", "arm=x")  # it differs between trials
    experiment("y/mnist_tpe_7_2026", [[1.0]])
    experiment("y/mnist_random_7_2026", [[2.0]])
    found = values(read(folder.parent / "y", names="{task}_{arm}_{seed}_*"))
    assert found == {"mnist": {"tpe": {"7": 1.0}, "random": {"7": 2.0}}}


@pytest.mark.parametrize("progress", [False, True])
def test_diverged_and_unfinished_trials(experiment, progress):
    nan = float("nan")
    experiment("tpe-0", [[0.5, nan], [0.9, 0.8]], progress=progress, states=["TERMINATED", "RUNNING"])
    folder = experiment("random-0", [[0.5, 0.6], [nan, float("inf")]], progress=progress)
    found = read(folder.parent)
    assert values(found) == {"results": {"tpe": {"0": 0.8}, "random": {"0": 0.6}}}
    assert any("tpe-0 (1)" in caution for caution in found.cautions)
    assert values(read(folder.parent, value="best"))["results"]["tpe"] == {"0": 0.5}


def test_budgets_are_compared(experiment):
    experiment("tpe-0", [[1, 1, 1], [1]])
    folder = experiment("random-0", [[1, 1, 1], [1, 1, 1]])
    assert any("random 6, tpe 4 per search" in caution for caution in read(folder.parent).cautions)
    experiment("asha-0", [[1, 1, 1]] * 3)
    (caution,) = [each for each in read(folder.parent).cautions if "--trials" in each]
    assert "asha 3, random 2, tpe 2" in caution
    assert not any("--trials" in each for each in read(folder.parent, trials=2).cautions)


def test_metrics_by_name(experiment, refused):
    experiment("a-0", [[0.5]], metric="env_runners/return")
    folder = experiment("b-0", [[0.6]], metric="env_runners/return")
    for file in folder.glob("*/result.json"):
        row = json.loads(file.read_text())
        row["env_runners"] = {"return": row.pop("env_runners/return")}
        file.write_text(json.dumps(row) + "\n")
    found = read(folder.parent, metric="env_runners/return", direction="maximize")
    assert values(found)["results"] == {"a": {"0": 0.5}, "b": {"0": 0.6}}
    assert "are higher or lower values of 'env_runners/return' better?" in refused(folder.parent / "a-0")
    assert "(did you mean 'env_runners/return'?)" in refused(folder.parent / "a-0", "--metric", "env_runners/retrun")


def test_the_last_line_may_be_half_written(results):
    file = next((results / "tpe-0").glob("*_00001_1_*/result.json"))
    file.write_text(file.read_text() + '{"loss": 0.0001, "tim')
    assert values(read(results)) == LAST


def break_json(trial):
    (trial / "result.json").write_text('{"loss": 1}\n{"loss": \n{"loss": 1}\n')


def deep(trial):
    (trial / "result.json").write_text("[" * 100_000 + "\n")


def no_object(trial):
    (trial / "params.json").write_text("[1]")


def latin(trial):
    (trial / "result.json").write_bytes(b'{"loss": "\xff"}\n')


def link(trial):
    (trial / "result.json").rename(trial / "elsewhere")
    (trial / "result.json").symlink_to(trial / "elsewhere")


def csv_with_a_huge_field(trial):
    (trial / "result.json").unlink()
    (trial / "progress.csv").write_text("loss\n" + "1" * 200_000 + "\n")


@pytest.mark.parametrize("change", [break_json, deep, no_object, latin, link, csv_with_a_huge_field])
def test_malformed_files_are_refused_by_name(results, refused, change):
    trial = next((results / "tpe-0").glob("*_00000_*"))
    change(trial)
    assert str(trial) in refused(results)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"trial_data": 3}', '{"trial_data": [["{"]]}', '{"trial_data": [[3]]}', "[" * 99_999]
)
def test_a_state_that_is_odd_says_nothing(results, content):
    next((results / "tpe-0").glob("experiment_state*")).write_text(content)
    assert values(read(results)) == LAST


def test_what_is_refused_names_the_folder(experiment, refused, tmp_path):
    none = experiment("tpe-0", [[], [float("nan")]])
    assert "--metric is required; its trials reported: nothing" in refused(none)
    assert f"no trial in {none} reported a number of this name" in refused(none, "--metric", "loss")
    other = experiment("random-0", [[1.0]], metric="err")
    same = experiment("gp-0", [[1.0]])
    assert "its metric is 'loss', and that of" in refused(other, same)
    (tmp_path / "pickles").mkdir()
    (tmp_path / "pickles" / "tuner.pkl").write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    assert "no results.json here" in refused(tmp_path / "pickles")
    loop = tmp_path / "loop"
    loop.mkdir()
    (loop / "trial").symlink_to(loop)
    assert "no results.json here" in refused(loop)


RUN = """
import sys
import ray
from ray import tune
ray.init(num_cpus=1, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
def objective(config):
    for step in range(3):
        tune.report({"loss": (config["x"] - 0.3) ** 2 + 1 / (step + 1)})
for name, xs in (("grid-0", [0.1, 0.4]), ("random-0", [0.2, 0.9])):
    tuner = tune.Tuner(
        objective,
        param_space={"x": tune.grid_search(xs), "kind": name[:-2]},
        tune_config=tune.TuneConfig(metric="loss", mode="min"),
        run_config=tune.RunConfig(name=name, storage_path=sys.argv[1], verbose=0),
    )
    print("best", tuner.fit().get_best_result().metrics["loss"])
"""


@pytest.mark.slow
def test_a_folder_that_ray_wrote(tmp_path):
    done = subprocess.run([sys.executable, "-c", RUN, tmp_path / "mine"], capture_output=True, text=True, check=True)
    grid, random = map(float, re.findall(r"^best (.*)$", done.stdout, re.MULTILINE))
    found = read(tmp_path / "mine")
    assert values(found) == {"mine": {"grid": {"0": grid}, "random": {"0": random}}}
    assert not any("not finished" in caution for caution in found.cautions)
    assert values(read(tmp_path / "mine", roles={"arm": "kind"})) == values(found)


PAGE = Path(hpo.__file__).parent.parent / "docs/how_to/compare_searches.md"


@pytest.mark.slow
def test_the_page_goes_as_it_says(experiment, compare, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    optunas, rays = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    exec(optunas, {})
    compile(rays, "page", "exec")
    for name, trials in FOUR.items():
        for task in ("mnist", "cifar"):
            folder = experiment(f"{task}/{name}", trials, "val_loss val_accuracy")
    commands = [shlex.split(line) for line in re.findall(r"^hpo compare (.*)$", PAGE.read_text(), re.MULTILINE)]
    assert len(commands) == 3
    first, *others = [[each.replace("/results", str(folder.parent.parent)) for each in command] for command in commands]
    assert "tpe is better than random" in compare(*first).words
    for command in others:
        assert compare(*command).code == 0
