"""`hpo.tune`, and the task `function` in study files."""

import json
import math
import random
import re
import subprocess
import sys

import numpy as np
import pytest
from helpers import cli, environment, results, write_study
from torch_tasks import Blobs

import hpo
from hpo.report.build import build_report

SPACE = {"x": hpo.Float(0.0, 1.0), "n": hpo.Int(1, 8)}
CALLS = []


def parabola(hparams):
    CALLS.append(dict(hparams))
    return {"error": (hparams["x"] - 0.3) ** 2 + abs(hparams["n"] - 5), "other": 1}


def tune(function, out, **options):
    return hpo.tune(
        function, SPACE, **{"trials": 6, "out": out, "report": False, "optimizer": "random_search", **options}
    )


@pytest.fixture(autouse=True)
def calls():
    CALLS.clear()
    return CALLS


@pytest.mark.parametrize("optimizer", ["tpe", "random_search", "gp"])
def test_the_best_trial_is_the_best_of_all_calls(tmp_path, calls, optimizer):
    result = tune(parabola, tmp_path, metric="error", trials=12, optimizer=optimizer)
    assert len(calls) == 12
    frame = result.frame()
    assert len(frame) == 12
    assert [*frame["x"]] == [call["x"] for call in calls]
    values = [parabola(call)["error"] for call in calls[:12]]
    assert [*frame["error"]] == values
    assert result.best.value == min(values)
    assert result.best.hparams == calls[int(np.argmin(values))]
    assert result.best.test == {"error": min(values), "other": 1}


def test_the_same_call_again_computes_nothing_and_more_trials_go_on(tmp_path, calls):
    tune(parabola, tmp_path / "a", metric="error")
    before = (tmp_path / "a/results.json").read_bytes()
    tune(parabola, tmp_path / "a", metric="error")
    assert len(calls) == 6
    assert (tmp_path / "a/results.json").read_bytes() == before
    tune(parabola, tmp_path / "a", metric="error", trials=10)
    assert len(calls) == 10
    tune(parabola, tmp_path / "b", metric="error", trials=10)
    assert (tmp_path / "a/results.json").read_bytes() == (tmp_path / "b/results.json").read_bytes()
    with pytest.raises(hpo.InputError, match="10 -> 6"):
        tune(parabola, tmp_path / "a", metric="error")


def test_without_any_value_there_is_no_best(tmp_path):
    result = tune(lambda hparams: math.nan, tmp_path)
    assert result.best is None
    assert "no trial has a value" in repr(result).splitlines()[0]


def test_a_number_is_the_value_and_larger_may_be_better(tmp_path):
    result = tune(lambda hparams: np.float32(hparams["x"]), tmp_path, direction="maximize")
    assert result.best.value == result.frame()["value"].max()


def test_a_seed_is_given_to_whom_asks_for_it(tmp_path):
    def seeds(out, seed):
        return [*tune(lambda hparams, seed: seed, tmp_path / out, seed=seed).frame()["value"]]

    assert len(set(seeds("a", 0))) == 6
    assert seeds("b", 0) == seeds("a", 0)
    assert set(seeds("c", 1)).isdisjoint(seeds("a", 0))


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (None, "None"),
        ("low", "'low'"),
        ({"loss": 1.0}, "loss"),
        ({"value": "low"}, "low"),
        ([1.0], r"\[1.0\]"),
        (True, "True"),
    ],
)
def test_what_is_no_metric_is_refused_and_named(tmp_path, returned, words):
    def objective(hparams):
        return returned

    with pytest.raises(hpo.StudyFailed, match=words):
        tune(objective, tmp_path)


def test_finished_trials_are_kept_when_one_raises(tmp_path):
    left = [3]

    def objective(hparams):
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("no more")
        return hparams["x"]

    with pytest.raises(hpo.StudyFailed, match="no more"):
        tune(objective, tmp_path, version="1", concurrency=1)
    left[0] = 3
    assert len(tune(objective, tmp_path, version="1", concurrency=1).frame()) == 6


def test_a_function_that_failed_at_once_may_be_changed(tmp_path):
    def typo(hparams):
        return hparams["z"]

    with pytest.raises(hpo.StudyFailed, match=r"typo failed in trial 1 .*x = 0\.") as caught:
        tune(typo, tmp_path)
    assert "KeyError: 'z'" in str(caught.value)
    assert "hpo/" not in str(caught.value)
    tune(parabola, tmp_path, metric="error")
    with pytest.raises(hpo.InputError, match=r"task\.function: 'parabola' -> .*typo"):
        tune(typo, tmp_path)


def test_a_search_may_begin_with_few_trials(tmp_path, calls):
    for trials in (2, 9):
        tune(parabola, tmp_path / "a", metric="error", optimizer="tpe", trials=trials)
    assert len(calls) == 9
    tune(parabola, tmp_path / "b", metric="error", optimizer="tpe", trials=9)
    assert (tmp_path / "a/results.json").read_bytes() == (tmp_path / "b/results.json").read_bytes()


@pytest.mark.parametrize(
    "function", ["my_module:objective", None, lambda: 1, lambda a, b: 1, lambda **hparams: 1], ids=range(5)
)
def test_what_cannot_be_called_with_hyperparameters_is_refused(tmp_path, function):
    with pytest.raises(hpo.InputError, match=r"(function|target) = .*allowed: a function of"):
        tune(function, tmp_path)


def test_the_whole_package_of_an_installed_function_counts(tmp_path):
    package = tmp_path / "site-packages/installed_here"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text("def objective(hparams):\n    return hparams['x']\n")
    script = "import sys; sys.path.insert(0, 'site-packages')\nimport hpo\nfrom installed_here.inner import objective\n"
    script += "if __name__ == '__main__': hpo.tune(objective, {'x': hpo.Float(0, 1)}, trials=3, workers=2, out='run')\n"
    (tmp_path / "script.py").write_text(script)

    def run():
        return subprocess.run(
            [sys.executable, "script.py"], cwd=tmp_path, env=environment(), capture_output=True, text=True
        )

    assert run().returncode == 0
    (package / "__init__.py").write_text("changed = True")
    assert "installed_here/__init__.py: the file was changed" in run().stderr


def test_nan_and_on_purpose_errors_are_trials_without_a_value(tmp_path):
    def objective(hparams):
        if hparams["x"] < 0.4:
            return math.nan
        return 1 / 0 if hparams["x"] < 0.7 else hparams["x"]

    with pytest.warns(UserWarning, match="objective raised ZeroDivisionError") as caught:
        frame = tune(objective, tmp_path, on_error="diverge", trials=20).frame()
    assert sum("ZeroDivisionError" in str(warning.message) for warning in caught) == 1
    assert [*frame["diverged"]] == [int(x < 0.7) for x in frame["x"]]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"trials": 0}, "study.trials = 0"),
        ({"optimizer": "tpee"}, "did you mean 'tpe'"),
        ({"optimizer": 3}, "optimizer = 3"),
        ({"direction": "up"}, "direction"),
        ({"on_error": "ignore"}, "on_error"),
        ({"metric": 3}, "metric"),
        ({"workers": 0}, "workers = 0"),
    ],
)
def test_wrong_options_are_named_before_any_call(tmp_path, calls, options, words):
    with pytest.raises(hpo.InputError, match=words):
        tune(parabola, tmp_path, **options)
    assert not calls
    assert not (tmp_path / "results.json").exists()


@pytest.mark.parametrize("space", [{}, {"x": 3}, {"x": (0, 1)}])
def test_wrong_spaces_are_named(tmp_path, space):
    with pytest.raises(hpo.InputError, match="search_space"):
        hpo.tune(parabola, space, out=tmp_path)


SCRIPT = """
import functools
import sys
import numpy as np
import hpo

DATA = np.linspace(0, 1, 5)

def helper(x):
    return abs(DATA - x).sum()

def objective(hparams, seed, offset):
    return helper(hparams["x"]) + seed % 5 + offset

if __name__ == "__main__":
    workers, trials, out = sys.argv[1:]
    function = functools.partial(objective, offset=1)
    hpo.tune(function, {"x": hpo.Float(0, 1)}, trials=int(trials), workers=int(workers), out=out, report=False)
"""


def test_a_function_of_a_script_has_the_same_answer_with_two_workers_and_when_the_script_is_edited(tmp_path):
    script = tmp_path / "script.py"

    def run(text, *arguments):
        script.write_text(text)
        done = subprocess.run(
            [sys.executable, script, *map(str, arguments)],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stderr

    assert run(SCRIPT, 1, 8, "one") == (0, "")
    assert run(SCRIPT, 2, 8, "two") == (0, "")
    assert (tmp_path / "one/results.json").read_bytes() == (tmp_path / "two/results.json").read_bytes()
    assert run(SCRIPT + "print('done')\n", 2, 12, "one") == (0, "")
    code, said = run(SCRIPT.replace("abs(DATA - x)", "abs(DATA + x)"), 1, 12, "one")
    assert code == 1
    assert "helper: its code or value was changed" in said


def test_the_global_generators_do_not_matter_and_are_restored(tmp_path):
    def objective(hparams):
        return random.random() + np.random.standard_normal()

    def state():
        return random.getstate(), str(np.random.get_state())

    values = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)
        np.random.standard_normal()  # the generator has another one in store
        before = state()
        values.append([*tune(objective, tmp_path / str(seed)).frame()["value"]])
        assert state() == before
    assert values[0] == values[1]
    assert len({*values[0]}) == 6


def test_a_function_of_numbers_is_tuned_without_large_libraries(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        """
import sys
import hpo

def objective(hparams):
    return hparams["x"]

hpo.tune(objective, {"x": hpo.Float(0, 1)}, trials=3, out="out", report=False)
print(*{"torch", "sklearn", "joblib", "pandas", "matplotlib", "ray"} & sys.modules.keys())
"""
    )
    command = [sys.executable, script]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")


MODULE = """
calls = []

def objective(hparams):
    return {"error": (hparams["x"] - 0.3) ** 2}

number = 3
"""
STUDY = {
    "study": {"name": "functions", "trials": 8, "replicates": 3},
    "task": {
        "function": "my_module:objective",
        "metric": "error",
        "search_space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
    },
    "arms": [{"label": "random", "optimizer": "random_search"}, {"label": "tpe", "optimizer": "tpe", "initial": 2}],
    "comparison": {"baseline": "random", "metric": "error"},
}


@pytest.fixture
def study(tmp_path):
    """Return how to write the study with changed tables; its module has a name of its own, as a process imports each once."""
    name = re.sub(r"\W", "_", tmp_path.name)
    (tmp_path / f"{name}.py").write_text(MODULE)

    def write(*more_arms, **tables):
        document = {**STUDY, **{table: {**STUDY[table], **keys} for table, keys in tables.items()}}
        function = document["task"]["function"].replace("my_module", name)
        return write_study(
            tmp_path,
            {**document, "task": {**document["task"], "function": function}, "arms": [*document["arms"], *more_arms]},
        )

    return write


def test_a_study_of_a_function_compares_optimizers(tmp_path, study):
    for out, options in (("one", ["--executor", "serial"]), ("two", ["--workers", 2])):
        done = cli(study(), "--out", tmp_path / out, *options)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "one/results.json").read_bytes() == (tmp_path / "two/results.json").read_bytes()
    for replicate in results(tmp_path / "one")["replicates"]:
        for arm in replicate["arms"].values():
            assert arm["test"]["error"] == arm["validation"]["error"] == min(arm["finals"])
            assert (arm["test_openings"], arm["retrained_intervals"]) == (0, 0)
    build_report(tmp_path / "one")
    for text in (done.stdout, (tmp_path / "one/report.md").read_text()):
        assert "tpe" in text
        assert "test set" not in text.replace("a function has no test set", "")
        assert "test error" not in text
    (comparison,) = results(tmp_path / "one")["comparisons"]
    assert comparison["incumbent"]["budgets"] == [*range(1, 9)]
    assert "100%" in done.stdout
    assert "3/3 replicates" in done.stdout


@pytest.mark.parametrize("trials", [6, 230])
def test_the_best_so_far_is_that_of_the_trials(tmp_path, trials):
    result = tune(parabola, tmp_path, metric="error", trials=trials)
    (replicate,) = result.document.replicates
    at = result.document.budgets
    assert (len(at), at[0], at[-1]) == ((6, 1, 6) if trials == 6 else (100, 2, 230))
    best = np.minimum.accumulate(result.frame()["error"])
    assert replicate.arms["random_search"].incumbent == tuple(best[count - 1] for count in at)


def test_the_report_of_a_function_draws_its_trials(tmp_path):
    def objective(hparams):
        return math.nan if hparams["n"] == 1 else hparams["x"]

    build_report(tune(objective, tmp_path, trials=12).run_dir)
    assert {path.stem for path in tmp_path.glob("figures/*.png")} == {
        "pairs",
        "incumbent",
        "trials-seed-0",
        "hyperparameters-seed-0",
    }


def test_a_function_has_no_model_and_nothing_to_replay(tmp_path, study):
    spec = hpo.load_study(study())
    done = hpo.run_study(spec, out=tmp_path / "run", executor="serial", report=False)
    with pytest.raises(hpo.InputError, match="no model"):
        done.model("tpe", 0)
    with pytest.raises(hpo.InputError, match="nothing to train"):
        hpo.replay_schedule(
            done.best.schedule, document=spec.document, seed=1, out=tmp_path / "replay", search_path=[tmp_path]
        )
    assert not (tmp_path / "replay").exists()


def test_more_trials_after_the_results_were_seen_extend_the_study_after_looking(tmp_path, study):
    for trials in (8, 9):
        spec = hpo.load_study(study(study={"trials": trials}))
        done = hpo.run_study(spec, out=tmp_path / "run", executor="serial", report=False)
    (comparison,) = done.comparisons
    assert comparison["verdict"]["kind"] == "extended after looking"
    assert "trials: 8 -> 9" in json.dumps(done.results["registration"])


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"task": {"function": "my_module:objektive"}}, "objective"),
        ({"task": {"function": "my_module.objective"}}, "module:name"),
        ({"task": {"function": "my_module:number"}}, "number"),
        ({"task": {"function": "not_there:objective"}}, "task.function"),
        ({"study": {"population_size": 3}}, "study.population_size"),
    ],
)
def test_what_is_wrong_with_a_function_is_named(study, tables, words):
    with pytest.raises(hpo.SpecError, match=words):
        hpo.load_study(study(**tables))


def test_trials_are_for_functions(tmp_path):
    study = {"study": {"name": "x", "trials": 3}, "task": {"name": "toy"}, "arms": STUDY["arms"][:1]}
    with pytest.raises(hpo.SpecError, match=r"study\.trials"):
        hpo.load_study(write_study(tmp_path, study))


# --- a rule across hyperparameters -----------------------------------------------------------------------------------


def below(hparams):
    """A rule."""
    return hparams["x"] <= hparams["n"] / 16


def not_below(hparams):
    return not below(hparams)


def strict(hparams):
    """Fail for infeasible hyperparameters."""
    assert below(hparams)
    return parabola(hparams)


@pytest.mark.parametrize("optimizer", ["tpe", "random_search", "quasi_random", "grid"])
def test_a_function_is_called_with_feasible_hyperparameters_alone(tmp_path, calls, optimizer):
    result = tune(strict, tmp_path, metric="error", feasible=below, trials=12, optimizer=optimizer)
    assert len(calls) == 12
    own = hpo.tune(
        strict,
        hpo.SearchSpace(SPACE, below),
        metric="error",
        trials=12,
        out=tmp_path / "own",
        optimizer=optimizer,
        report=False,
    )
    assert own.best.hparams == result.best.hparams


def test_the_rule_of_a_script_has_the_same_answer_with_two_workers(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "import hpo\n"
        "def objective(hparams):\n"
        "    assert hparams['x'] < hparams['y'] / 3\n"
        "    return hparams['x'] - hparams['y']\n"
        "limit = 3\n"
        "if __name__ == '__main__':\n"
        "    space = {'x': hpo.Float(0, 1), 'y': hpo.Float(0, 1)}\n"
        "    hpo.tune(objective, space, feasible=lambda h: h['x'] < h['y'] / limit, trials=8, report=False,\n"
        "             workers=int(sys.argv[1]), out=sys.argv[1])\n"
    )
    for workers in "12":
        subprocess.run([sys.executable, script, workers], cwd=tmp_path, env=environment(), check=True)
    one, two = (results(tmp_path / workers) for workers in "12")
    assert one["replicates"] == two["replicates"]
    assert one["replicates"][0]["arms"]["tpe"]["infeasible_proposals"] > 0


def test_a_rule_is_in_no_key_but_another_one_is_another_study(tmp_path, calls):
    store = tmp_path / "store"
    tune(parabola, tmp_path / "free", metric="error", store=store, trials=16)
    assert len(calls) == 16
    feasible = sum(map(below, calls))
    assert 4 < feasible < 16
    tune(parabola, tmp_path / "ruled", metric="error", store=store, trials=16, feasible=below)
    assert len(calls) == 16 + 16 - feasible
    with pytest.raises(hpo.InputError, match=r"task\.feasible: 'below' -> 'not_below'"):
        tune(parabola, tmp_path / "ruled", metric="error", store=store, trials=16, feasible=not_below)


def test_a_study_file_names_the_rule(tmp_path, study):
    name = "rules_" + re.sub(r"\W", "_", tmp_path.name)
    (tmp_path / f"{name}.py").write_text("def half(hparams):\n    return hparams['x'] < 0.5\n")
    spec = hpo.load_study(study(task={"feasible": f"{name}:half"}))
    found = hpo.run_study(spec, out=tmp_path / "run", executor="serial", report=False)
    assert (found.frame()["x"] < 0.5).all()
    for wrong in (f"{name}:missing", "no_module:half", "half", f"{name}:__name__"):
        with pytest.raises(hpo.InputError, match=r"task\.feasible"):
            hpo.load_study(study(task={"feasible": wrong}))


@pytest.mark.parametrize("rule", [lambda hparams: 1, lambda hparams: hparams["typo"], lambda hparams: False, 5])
def test_a_rule_that_fails_is_named_before_any_call(tmp_path, calls, rule):
    with pytest.raises(hpo.InputError, match=r"task\.feasible"):
        tune(parabola, tmp_path / "run", metric="error", feasible=rule)
    assert not calls
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("given", ["class", "object"])
def test_a_task_is_tuned_as_in_a_study(tmp_path, given):
    options = {"batch_size": 16, "validation_size": 40}
    target = (Blobs, options) if given == "class" else (Blobs(**options), {})
    tuned = hpo.tune(
        target[0], out=tmp_path / "a", optimizer="random_search", population_size=3, budget=2, report=False, **target[1]
    )
    study = {
        "study": {"name": "Blobs", "population_size": 3, "budget": 2, "interval": 1},
        "task": {"name": "blobs", **options},
        "arms": [{"label": "random_search", "optimizer": "random_search"}],
    }
    same = hpo.run_study(hpo.parse_study(study), out=tmp_path / "b", executor="serial", report=False)
    assert tuned.results["replicates"] == same.results["replicates"]
    assert tuned.best.test == same.best.test


@pytest.mark.parametrize(
    ("options", "words"),
    [({"trials": 3}, "population_size"), ({}, "budget"), ({"budget": 1, "metric": "loss"}, "metric")],
)
def test_what_a_task_does_not_take_is_named(tmp_path, options, words):
    with pytest.raises(hpo.InputError, match=words):
        hpo.tune(Blobs(), out=tmp_path, **options)


AUTOCAST = """
import sys
import torch
import hpo

context = torch.autocast("cpu", torch.bfloat16)

class Training:
    def __init__(self, hparams):
        self.model = torch.nn.Linear(2, 1)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=hparams["lr"])

    def train(self, steps):
        for _ in steps:
            with context:
                loss = self.model(torch.ones(2)).square().sum()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

    def evaluate(self):
        return float(self.model(torch.ones(2)).square().sum().detach())

if __name__ == "__main__":
    for _ in range(2):
        hpo.tune(Training, {"lr": hpo.Float(0.001, 0.1)}, population_size=3, budget=2, report=False, out="run")
"""


def test_a_global_context_that_training_uses_stays_the_same_value(tmp_path):
    (tmp_path / "script.py").write_text(AUTOCAST)
    for _ in range(2):
        subprocess.run([sys.executable, "script.py"], cwd=tmp_path, env=environment(), check=True)


def test_a_derived_arm_needs_a_test_set(study):
    derived = {"label": "again", "derived_from": "random", "replay": "schedule"}
    with pytest.raises(hpo.SpecError, match=r"arms\[2\]\.derived_from.*test set"):
        hpo.load_study(study(derived))
