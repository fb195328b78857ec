"""The documentation: its examples run, its links lead somewhere, its references are complete."""

import csv
import inspect
import io
import json
import pydoc
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import redirect_stdout
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
import tomli_w
import torch
from helpers import until

import hpo
from hpo import replay
from hpo.compare import __main__ as compare
from hpo.compare.table import words
from hpo.core import observer, registry, space
from hpo.core.task import NUMERIC
from hpo.export import __main__ as export
from hpo.greed import __main__ as greed
from hpo.plan import __main__ as plan
from hpo.report.build import build_report
from hpo.results import document
from hpo.results.file import read_results
from hpo.results.recompute import recompute
from hpo.run import __main__ as run
from hpo.study import arms_table as study_arms
from hpo.study import file as study_file
from hpo.study import spec
from hpo.tasks.torch import TorchTask
from hpo.watch import __main__ as watch

ROOT = Path(hpo.__file__).parent.parent
DOCS = ROOT / "docs"
EXAMPLES = DOCS / "examples"
TUTORIAL, HOW_TO, REFERENCE, EXPLANATION = (DOCS / kind for kind in ("tutorial", "how_to", "reference", "explanation"))
FOLDERS = (ROOT, DOCS, TUTORIAL, HOW_TO, REFERENCE, EXPLANATION)
PAGES = sorted((page for folder in FOLDERS for page in folder.glob("*.md")), key=str)


def python(*arguments, cwd):
    done = subprocess.run([sys.executable, *map(str, arguments)], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def section(page, heading):
    """Return what stands under a heading, up to the next one of the same or a higher level."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    level, rest = re.search(rf"^(#+) {re.escape(heading)}$(.*)", text, re.MULTILINE | re.DOTALL).groups()
    return re.split(rf"^#{{1,{len(level)}}} ", rest, flags=re.MULTILINE)[0]


def named(text):
    """Return everything that stands in backticks."""
    return set(re.findall(r"`([^`\n]+)`", text))


# --- examples --------------------------------------------------------------------------------------------------------


def test_own_task_optimizer_and_selection_with_two_workers(tmp_path):
    study = EXAMPLES / "halving.toml"
    said = python("-m", "hpo.run", study, "--seeds", "0", "--workers", "2", "--no-report", cwd=tmp_path)
    assert "done (1 of 8)" in said
    assert "No verdict yet" in said
    results = json.loads((tmp_path / "runs/halving/results.json").read_bytes())
    (replicate,) = results["replicates"]
    arms = replicate["arms"]
    assert {label: arm["charged_intervals"] for label, arm in arms.items()} == {
        "random": 32,
        "halving": 32,
        "pbt-tournament": 32,
    }
    assert all(arm["test"]["error"] < 0.3 and arm["test"]["count"] == 5000 for arm in arms.values())
    assert arms["pbt-tournament"]["exploits"] > 0
    with (tmp_path / "runs/halving/segments.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["arm"] == "halving"]
    reached = [sum(int(row["interval"]) == interval for row in rows) for interval in range(8)]
    assert reached == [15, 7, 3, 3, 1, 1, 1, 1]  # rungs after 1, 2, 4 and 8 epochs, half go on each time


@pytest.fixture
def own_modules(monkeypatch):
    """Import the examples' modules anew, and forget them and their tasks afterwards."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for module, task in (("my_tasks", "moons"), ("my_groups", "moons_in_groups")):
        sys.modules.pop(module, None)
        registry.tasks._classes.pop(task, None)


@pytest.mark.usefixtures("own_modules")
def test_own_task_in_this_process(tmp_path):
    study = hpo.load_study(EXAMPLES / "moons.toml")
    result = hpo.run_study(study, out=tmp_path, executor="serial", seeds=[0], report=False)
    assert result.model("pbt", 0)[0].in_features == 2
    arms = result.results["replicates"][0]["arms"]
    assert all(arm["test"]["error"] < 0.3 for arm in arms.values())
    assert arms["pbt"]["exploits"] == 3  # one member after 2, 4 and 6 of 8 epochs
    assert result.comparisons[0]["verdict"]["kind"] == "in progress"


@pytest.mark.usefixtures("own_modules")
def test_own_parameter_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(
        sys, "path", [path for path in sys.path if path != str(EXAMPLES)]
    )  # where other tests find examples
    document = tomllib.loads((EXAMPLES / "moons.toml").read_text())
    document["study"] |= {"replicates": 1, "budget": 2, "population_size": 2}
    document["task"] |= {"module": "my_groups", "name": "moons_in_groups"}
    document["arms"][1]["perturbation_interval"] = 1
    document["arms"][1]["selection"]["quantile_fraction"] = 0.5
    for name in ("my_groups.py", "my_tasks.py"):
        shutil.copy(EXAMPLES / name, tmp_path)
    study = hpo.parse_study(document, search_path=[tmp_path])
    hpo.run_study(study, out=tmp_path / "run", executor="serial", report=False)
    found = read_results(tmp_path / "run")
    examples = found.task.data["train"]
    with (tmp_path / "run" / "segments.csv").open() as file:
        sizes = [int(row["hparam:batch_size"]) for row in csv.DictReader(file) if row["arm"] == "pbt"]
    assert found.replicates[0].arms["pbt"].optimizer_steps == sum(-(-examples // size) for size in sizes)


def test_own_optimizer_is_checked(tmp_path):
    assert python(EXAMPLES / "check_halving.py", cwd=tmp_path) == "halving holds to its contract\n"


def test_conditional_example():
    (example,) = [block for block in blocks(STUDY_FILES, "toml") if block.startswith("[task.search_space]")]
    parameters = {
        name: {"float": hpo.Float, "categorical": hpo.Categorical}[entry.pop("type")](**entry)
        for name, entry in tomllib.loads(example)["task"]["search_space"].items()
    }
    found = hpo.SearchSpace(parameters)
    assert list(found.active({"optimizer": "adam"})) == ["optimizer", "beta2"]
    assert list(found.active({"optimizer": "sgd", "nesterov": False})) == [*found][:1] + [*found][2:]


LONGER = {"own_loop.py", "own_loop_plain.py"}
"""Examples whose length tests/test_examples.py limits."""


@pytest.mark.parametrize(
    "file", sorted(file for file in EXAMPLES.glob("*.py") if file.name not in LONGER), ids=lambda file: file.name
)
def test_examples_are_short(file):
    assert len(file.read_text().splitlines()) <= 90


@pytest.mark.parametrize(
    "page",
    [TUTORIAL / "first_study.md", TUTORIAL / "first_task.md", HOW_TO / "own_task.md", HOW_TO / "own_optimizer.md"],
    ids=lambda page: page.stem,
)
def test_pages_show_the_examples_as_they_are(page):
    shown = [block for block in blocks(page, "python") if "class " in block or "check_" in block]
    shown += [block for block in blocks(page, "toml") if "[study]" in block]
    files = [file.read_text() for file in EXAMPLES.iterdir() if file.is_file()]
    assert shown
    assert all(block in files for block in shown)


def shape(text):
    """Return the lines of an output with its numbers, which differ between processors, masked."""
    return [re.sub(r"-?\d[\d.e+-]*%?", "#", line).split() for line in text.splitlines()]


def test_the_readmes_example_prints_what_it_says(tmp_path, monkeypatch, capsys):
    page = (ROOT / "README.md").read_text()
    example, output = re.search(r"^```python\n(.*?)^```\n\n```\n(.*?)^```$", page, re.MULTILINE | re.DOTALL).groups()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hpo.report.build.build_report", lambda run_dir: run_dir)  # it has tests of its own
    exec(example, {})
    assert shape(capsys.readouterr().out) == shape(output)
    assert len(example.splitlines()) <= 12


def test_tuning_a_function_goes_as_the_page_says(tmp_path, monkeypatch):
    page = HOW_TO / "functions.md"
    example, folds = blocks(page, "python")
    (study,) = blocks(page, "toml")
    (tmp_path / "parabola.py").write_text(example)
    (tmp_path / "folds.py").write_text(folds)
    (tmp_path / "my_module.py").write_text(example.partition("result =")[0])
    (tmp_path / "samplers.toml").write_text(study)
    assert len(python("parabola.py", cwd=tmp_path).splitlines()) > 5  # pandas leaves rows out
    assert hpo.load_best(tmp_path / "runs/parabola").hparams["x"] == pytest.approx(0.3, abs=0.1)
    assert "value_fold_2" in python("folds.py", cwd=tmp_path)
    assert hpo.load_best(tmp_path / "runs/error").value < 0.05
    monkeypatch.chdir(tmp_path)
    assert len(hpo.load_study("samplers.toml").arms) == 2


def test_a_loop_goes_to_pbt_as_the_tutorial_says(tmp_path):
    page = TUTORIAL / "first_loop.md"
    plain, constructor, data, search, save = blocks(page, "python")
    (study,) = blocks(page, "toml")
    old = "    def __init__(self, lr, steps):\n"
    assert old in plain
    module = "\n\n".join(["import hpo", plain.replace(old, constructor), data])
    (tmp_path / "my_loop.py").write_text("\n\n".join([module, search, f"    {save}"]))
    (tmp_path / "my_study.toml").write_text(study)
    first = python("my_loop.py", cwd=tmp_path)
    assert float(re.search(r"test error ([\d.]+)", first)[1]) < 0.15
    assert python("my_loop.py", cwd=tmp_path) == first
    assert (tmp_path / "lr.toml").exists()
    assert "inconclusive" in python("-m", "hpo.run", "my_study.toml", "--no-report", cwd=tmp_path)


def test_a_training_loop_goes_as_the_page_says(tmp_path):
    (example,) = blocks(HOW_TO / "loops.md", "python")
    (tmp_path / "loop.py").write_text(example)
    schedule = python("loop.py", cwd=tmp_path)
    assert "lr" in schedule
    assert hpo.load_best(tmp_path / "runs/loop").value < 0.15


def test_the_page_on_data_shows_the_examples_and_its_rows_are_data():
    *shown, text, rows = blocks(HOW_TO / "data.md", "python")
    files = [file.read_text() for file in EXAMPLES.glob("*.py")]
    assert (
        sum(any(block in file for file in files) for block in shown) == len(shown) - 1
    )  # the loss of a task is no example
    names = {}
    exec(rows, names)
    assert names["data"].take(np.array([2, 0])) == [["a", "c", "b"], ["a", "b"]]
    names = {"torch": torch}
    exec(text, names)
    inputs, targets = hpo.Data(names["Blocks"](np.arange(11, dtype=np.uint16), 5)).take(np.array([1]))
    assert (inputs.tolist(), targets.tolist()) == ([[5, 6, 7, 8, 9]], [[6, 7, 8, 9, 10]])


def test_a_loop_of_ones_own_goes_as_the_page_says(tmp_path, monkeypatch, capsys):
    first, intervals, side_by_side = blocks(HOW_TO / "ask_tell.md", "python")
    monkeypatch.chdir(tmp_path)
    exec(first, {})
    exec(first, {})
    once, again = capsys.readouterr().out.splitlines()
    assert once == again
    assert len((tmp_path / "search.jsonl").read_text().splitlines()) == 31
    (tmp_path / "search.jsonl").unlink()
    names = {"hpo": hpo, "space": {"x": hpo.Float(0, 1)}, "train": abs_x, "ProcessPoolExecutor": ThreadPoolExecutor}
    exec(intervals, names)
    exec(side_by_side, names | {"wait": wait, "FIRST_COMPLETED": FIRST_COMPLETED})
    assert len(names["search"].trials) == 80


def abs_x(trial):
    return abs(trial.hparams["x"] - 0.3)


def test_the_example_of_a_loop_goes_on_after_an_interruption(tmp_path):
    example, folders = EXAMPLES / "ask_tell.py", [tmp_path / "whole", tmp_path / "killed"]
    assert sum(bool(line.strip()) for line in example.read_text().splitlines()) <= 40
    for folder in folders:
        folder.mkdir()
    whole = python(example, cwd=folders[0])
    with subprocess.Popen([sys.executable, example], cwd=folders[1]) as killed:
        file = folders[1] / "search.jsonl"
        assert until(lambda: file.exists() and len(file.read_text().splitlines()) > 20, killed)
        killed.kill()
    assert len(file.read_text().splitlines()) < 81
    assert python(example, cwd=folders[1]) == whole
    assert file.read_bytes() == (folders[0] / "search.jsonl").read_bytes()
    assert len({line.partition("-")[0] for line in whole.splitlines()}) > 1, "no checkpoint of a donor was copied"
    assert float(whole.split()[-1]) < 0.12


def test_the_first_study_goes_as_the_tutorial_says(tmp_path, monkeypatch, capsys):
    page = TUTORIAL / "first_study.md"
    finished, _, planned = blocks(page, "text")
    monkeypatch.chdir(tmp_path)
    shutil.copy(EXAMPLES / "first.toml", tmp_path)
    assert run.main(["first.toml", "--executor", "serial", "--no-report"]) == 0
    said = shape(capsys.readouterr().out)
    assert [line for line in shape(finished) if "=" in line][1:] == [line for line in said if "=" in line][1:]
    (example,) = blocks(page, "python")
    exec(example, {})
    assert shape(capsys.readouterr().out)[0][0] in {"pbt", "random"}
    assert plan.main(shlex.split("first.toml --pilot runs/first --difference 0.01 --no-timing")) == 0
    assert shape(capsys.readouterr().out) == shape(planned)


# --- the published study ---------------------------------------------------------------------------------------------

PUBLISHED = DOCS / "results" / "mnist_pbt_vs_random"


@pytest.fixture(scope="module")
def recomputed(tmp_path_factory):
    """A copy of the published run directory, its statistics computed anew."""
    folder = tmp_path_factory.mktemp("published")
    for name in ("results.json", "segments.csv", "execution.json"):
        shutil.copy(PUBLISHED / name, folder / name)
    recompute(folder)
    return folder


def test_the_published_study_is_that_of_its_file(recomputed):
    published = read_results(recomputed)
    assert published.study == tomllib.loads((ROOT / "studies/mnist_pbt_vs_random.toml").read_text())
    assert published.finished_seeds == tuple(range(10))


def test_the_page_quotes_the_published_verdicts():
    text = " ".join((EXPLANATION / "mnist.md").read_text().replace("\n> ", " ").split())
    for comparison in json.loads((PUBLISHED / "results.json").read_text())["comparisons"]:
        assert comparison["verdict"]["words"] in text


@pytest.mark.slow
def test_the_published_report_can_be_drawn_again(recomputed):
    build_report(recomputed)
    if (recomputed / "results.json").read_text() == (PUBLISHED / "results.json").read_text():
        assert (recomputed / "report.md").read_text() == (PUBLISHED / "report.md").read_text()


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """A smaller study in the place of studies/mnist_quick.toml, and the examples that load what it found."""
    folder = tmp_path_factory.mktemp("small")
    document = tomllib.loads((ROOT / "studies/mnist_quick.toml").read_text())
    document["study"] |= {"replicates": 1, "population_size": 3, "budget": 1}
    document["task"] |= {"development_size": 300, "validation_size": 100}
    del document["arms"][2:]
    (folder / "studies").mkdir()
    (folder / "studies/mnist_quick.toml").write_text(tomli_w.dumps(document))
    (best, loading) = blocks(REFERENCE / "results.md", "python")
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said):
        patch.chdir(folder)
        patch.setattr("hpo.report.build.build_report", lambda run_dir: run_dir)  # it has tests of its own
        study = hpo.load_study("studies/mnist_quick.toml")
        names = {"result": hpo.run_study(study, workers=2)}
        exec(best, names)
        exec(loading, names)
    return folder / "runs/mnist_quick", said.getvalue(), names["model"]


def test_examples_that_load_the_best(small_run):
    _, said, model = small_run
    assert said.splitlines()[-1].startswith("{'lr': ")
    assert type(model).__name__ == "MnistNet"
    assert not model.training


def test_schedules_examples(small_run, monkeypatch, capsys):
    """They are run one after the other, as they stand, in the folder of the small study."""
    page = HOW_TO / "schedules.md"
    monkeypatch.chdir(small_run[0].parent.parent)
    names = {}
    for example in blocks(page, "python"):
        exec(example, names)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "from,to,unit,lr,momentum"
    assert names["schedule"].source.arm == "pbt-truncation"
    assert "{'lr': 0.05, 'momentum': 0.9}" in said
    assert said[-1] == str(names["result"].test["error"])
    assert names["result"].results["task"]["data"] == 3000
    assert names["optimizer"].param_groups[0]["lr"] == names["schedule"].at(0)["lr"]
    file, part = blocks(page, "toml")
    assert tomllib.loads(part)["steps"] == names["restarted"].to_document()["steps"][1:]
    assert hpo.Schedule.from_document(tomllib.loads(file)) == names["halved"]


def test_statistics_example(capsys):
    (example,) = blocks(EXPLANATION / "statistics.md", "python")
    exec(example, {})
    assert f"# {capsys.readouterr().out}" in example


TABLES = re.findall(
    r"^```csv\n(.*?)^```\n+^```\n(.*?)^```$", (HOW_TO / "tables.md").read_text(), re.MULTILINE | re.DOTALL
)


@pytest.fixture
def table_example(tmp_path, monkeypatch, capsys):
    """Run the command below a table in the page, and return what it says and the values that it compared."""
    monkeypatch.chdir(tmp_path)

    def run_example(table, command):
        (tmp_path / "results.csv").write_text(table)
        program, name, *arguments = shlex.split(command)
        assert (program, name) == ("hpo", "compare")
        assert compare.main([*arguments, "--out", "out"]) == 0
        found = json.loads((tmp_path / "out/compare.json").read_bytes())
        return capsys.readouterr().out, {task["name"]: task["values"] for task in found["tasks"]}

    return run_example


def test_every_example_of_a_table_runs(table_example):
    assert len(TABLES) == len(blocks(HOW_TO / "tables.md", "csv"))
    (said, _), *layouts = (table_example(*example) for example in TABLES)
    assert {"pbt is better than random", "asha against random: inconclusive"} <= set(said.splitlines())
    *one_seed, seeds, seeds_again, (_, cells) = layouts
    assert [values for _, values in one_seed] == [one_seed[0][1]] * 4
    assert seeds[1] == seeds_again[1]
    assert cells["iris"] == {"NB": {"": 0.915}, "SVM": {"": 0.93}}
    assert cells["digits"]["NB"] == {}


def test_every_name_of_a_column_is_documented():
    text = section(HOW_TO / "tables.md", "Names of columns")
    documented = {name.replace(" ", "") for row in text.splitlines() if row.startswith("| the") for name in named(row)}
    assert documented == {name for names in words.ROLES.values() for name in names}


def test_study_file_example():
    (example, *_) = blocks(REFERENCE / "study_files.md", "toml")
    study = hpo.parse_study(tomllib.loads(example))
    assert (study.intervals, len(study.arms)) == (20, 2)


# --- links -----------------------------------------------------------------------------------------------------------


def anchors(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        if link.startswith(("http://", "https://")):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert not dead


# --- the architecture ------------------------------------------------------------------------------------------------

ARCHITECTURE = EXPLANATION / "architecture.md"


def test_the_layers_are_those_of_the_import_contract():
    (contract, *_) = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = dict(enumerate(reversed(contract["layers"]), 1))
    rows = re.findall(r"^\| (\d) \| (.*?) \|", section(ARCHITECTURE, "Packages"), re.MULTILINE)
    documented = {(int(layer), f"hpo.{name}") for layer, names in rows for name in named(names)}
    assert documented == {(number, name) for number, names in layers.items() for name in names.split(" | ")}
    packages = {
        path.stem for path in (ROOT / "hpo").iterdir() if (path / "__init__.py").exists() or path.suffix == ".py"
    }
    assert {name for _, name in documented} == {f"hpo.{name}" for name in packages - {"__init__", "__main__"}}


@pytest.mark.parametrize("name", sorted(name for name in named(ARCHITECTURE.read_text()) if name.startswith("hpo.")))
def test_what_the_architecture_names_is_there(name):
    assert pydoc.locate(name) is not None


# --- references ------------------------------------------------------------------------------------------------------

STUDY_FILES = REFERENCE / "study_files.md"
HEADINGS = {
    "task": "Task `{}`",
    "optimizer": "`{}`",
    "selection": "`pbt`",
    "perturbation": "`pbt`",
    "sampler": "`optuna`",
    "pruner": "`optuna`",
}
BUILTIN = [
    (plugins, name)
    for plugins in (registry.tasks, registry.optimizers, *registry.NESTED.values())
    for name in sorted(plugins._builtin)
]


def rows_of(text):
    """Return the names in the first column of tables."""
    return set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))


def test_the_settings_of_pytorch_tasks_are_documented():
    settings = {item.name for item in fields(TorchTask) if NUMERIC in item.metadata}
    assert settings == rows_of(section(STUDY_FILES, "Settings of PyTorch tasks"))


@pytest.mark.parametrize(("plugins", "name"), BUILTIN, ids=lambda value: getattr(value, "kind", value))
def test_every_option_of_a_plugin_is_documented(plugins, name):
    text = section(STUDY_FILES, HEADINGS[plugins.kind].format(name))
    if plugins.kind in ("task", "optimizer"):
        own = re.split(r"\n(?:Selections|Samplers):", text)[0]
        assert rows_of(own) == {item.name for item in fields(plugins.get(name)) if NUMERIC not in item.metadata}
    else:
        assert {name, *(item.name for item in fields(plugins.get(name)))} <= named(text)


def test_the_page_on_python_lists_every_public_name_once():
    assert sorted(re.findall(r"^\| `(\w+)` \|", (REFERENCE / "python.md").read_text(), re.MULTILINE)) == hpo.__all__


OVERVIEWS = {
    "task": ("tasks", "Tasks"),
    "optimizer": ("optimizers", "Optimizers"),
    "selection": ("optimizers", "Selections"),
    "perturbation": ("optimizers", "Perturbations"),
    "sampler": ("optimizers", "Samplers"),
    "pruner": ("optimizers", "Pruners"),
}


@pytest.mark.parametrize(("plugins", "name"), BUILTIN, ids=lambda value: getattr(value, "kind", value))
def test_every_plugin_has_its_row_in_an_overview(plugins, name):
    page, heading = OVERVIEWS[plugins.kind]
    overview = section(REFERENCE / f"{page}.md", heading).split("\n## ")[0]
    first_cells = [line.split("|")[1] for line in overview.splitlines() if line.startswith("| ")]
    assert name in named(" ".join(first_cells))


@pytest.mark.parametrize("name", sorted(registry.optimizers._builtin))
def test_every_optimizer_has_a_section_that_says_when_not_to_use_it(name):
    assert re.search(
        r"When not: |^\| name .* not when \|$", section(REFERENCE / "optimizers.md", f"`{name}`"), re.MULTILINE
    )


def test_every_figure_is_shown_and_small():
    shown = set(re.findall(r"\]\((?:\.\./)?(?:docs/)?figures/([^)]+)\)", "".join(page.read_text() for page in PAGES)))
    figures = {path.name: path.stat().st_size for path in (DOCS / "figures").glob("*.png")}
    assert shown == figures.keys()
    assert max(size for name, size in figures.items() if name.startswith("optimizers_")) < 150_000
    assert max(size for name, size in figures.items() if name.startswith("study_")) < 60_000


@pytest.mark.parametrize("file", sorted((ROOT / "studies").glob("*.toml")), ids=lambda file: file.stem)
def test_every_study_is_in_the_gallery(file):
    text = (REFERENCE / "studies.md").read_text()
    assert f"\n### {file.stem}\n" in text
    assert f"\nhpo run studies/{file.name}\n" in text
    assert f"](../../studies/{file.name})" in text


@pytest.mark.parametrize(
    ("heading", "classes"),
    [
        ("`[study]`", [study_file._StudyTable, study_file._TrialsTable]),
        ("`[[arms]]`", [study_arms.ArmTable]),
        ("`[comparison]`", [spec.Comparison]),
        ("`[task.search_space]`", [space.Float, space.Int, space.Categorical]),
    ],
)
def test_every_key_of_a_table_is_documented(heading, classes):
    assert {item.name for cls in classes for item in fields(cls)} <= named(section(STUDY_FILES, heading))


@pytest.mark.parametrize(
    "module", [run, replay, watch, export, greed], ids=["run", "replay", "watch", "export", "greed"]
)
def test_every_option_of_the_command_line_is_documented(module):
    text = section(REFERENCE / "command_line.md", f"`{module.__name__.removesuffix('.__main__').replace('.', ' ')}`")
    documented = {option for code in named(text) for option in re.findall(r"--?[a-z][a-z-]*", code)}
    known = {option for action in module.parser()._actions for option in action.option_strings}
    assert known <= documented
    assert {option for option in documented if option.startswith("--")} <= known


EVENT_RECORDS = [cls for cls in vars(observer).values() if is_dataclass(cls) and cls.__module__ == observer.__name__]


@pytest.mark.parametrize("cls", EVENT_RECORDS, ids=lambda cls: cls.__name__)
def test_every_field_of_an_event_is_documented(cls):
    assert rows_of(section(REFERENCE / "events.md", f"`{cls.__name__}`")) == {item.name for item in fields(cls)}
    assert getattr(hpo, cls.__name__) is cls


def test_every_event_is_documented():
    told = rows_of(section(REFERENCE / "events.md", "Events"))
    assert told == {name for name in vars(hpo.Observer) if not name.startswith("_")}


FIELDS = [
    ("`results.json`", [document.Results]),
    ("`registration`", [document.RegisteredPlan]),
    ("`replicates[]`", [document.ArmResult]),
    ("`comparisons[]`", [document.ArmComparison]),
    ("All arms together", [document.Statistics]),
]


@pytest.mark.parametrize(("heading", "classes"), FIELDS)
def test_the_tables_of_results_json_are_its_schema(heading, classes):
    text = section(REFERENCE / "results.md", heading).split("\n### ")[0]
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    told = {name.removesuffix("[]") for name in named(" ".join(rows)) if "." not in name}
    known = {
        name for cls in classes for name in inspect.get_annotations(cls) | getattr(cls, "__dataclass_fields__", {})
    }
    known -= {"model_config", "__pydantic_extra__", "__pydantic_config__"}
    counts = {"pruned", "boundary_hits", "all_diverged", "infeasible_proposals"}
    more = {"`replicates[]`": counts, "All arms together": {"comparisons"}}.get(heading, set())
    assert told - more == known - more


RECORDS = [
    found for found in vars(document).values() if inspect.isclass(found) and found.__module__ == document.__name__
]


@pytest.mark.parametrize("cls", RECORDS, ids=lambda cls: cls.__name__)
def test_every_field_of_a_record_is_documented(cls):
    told = {name.removesuffix("[]").rpartition(".")[2] for name in named((REFERENCE / "results.md").read_text())}
    assert set(inspect.get_annotations(cls)) - {"model_config", "__pydantic_extra__"} <= told


def test_every_field_of_a_run_directory_is_documented(small_run):
    run_dir = small_run[0]
    results = json.loads((run_dir / "results.json").read_bytes())
    (session,) = json.loads((run_dir / "execution.json").read_bytes())["sessions"]
    (replicate,) = results["replicates"]
    columns = (run_dir / "segments.csv").read_text().splitlines()[0].split(",")
    arm = replicate["arms"]["random"]
    tables = [results, results["task"], *results["task"]["metrics"], *results["arms"], results["environment"]]
    tables += [replicate, arm, arm["selected"], *arm["schedule"], *results["comparisons"], session]
    tables += [comparison["verdict"] for comparison in results["comparisons"]]
    written = {name.removesuffix("[]") for name in named((REFERENCE / "results.md").read_text())}
    assert {name for table in tables for name in table} <= written
    assert {re.sub(":.*", ":<name>", column) for column in columns} <= written
    files = {path.name for path in run_dir.iterdir() if path.is_file() and not path.name.startswith(".")}
    assert files <= written | {f"{name}{suffix}" for name in written for suffix in ("-wal", "-shm")}
