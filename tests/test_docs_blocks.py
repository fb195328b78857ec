"""Every block of code of every page is run: here, by a test that ELSEWHERE names, or CANNOT says why not."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest
import tomli_w
from helpers import ROOT, environment

import hpo
from hpo.__main__ import MODULES, main
from hpo.core import registry
from hpo.study.file import load_studies

DOCS = ROOT / "docs"
FOLDERS = (DOCS, *(DOCS / kind for kind in ("tutorial", "how_to", "reference", "explanation")))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(page for folder in FOLDERS for page in folder.glob("*.md"))]
SHELL, PROGRAMS = "shell", r"(?:\$ |HPO_\w+=|\w+=\$\()?(?:hpo|\.venv/bin/hpo|python|make|pip|ray|cmp|sbatch|mkdir) "

ELSEWHERE = {
    ("README.md", "python"): "test_docs.py::test_the_readmes_example_prints_what_it_says",
    ("explanation/statistics.md", "python"): "test_docs.py::test_statistics_example",
    ("how_to/ask_tell.md", "python"): "test_docs.py::test_a_loop_of_ones_own_goes_as_the_page_says",
    ("how_to/clusters.md", "bash"): "test_clusters.py::test_every_script_is_one_that_bash_reads",
    ("how_to/compare_searches.md", "python"): "compare/test_ray_tune.py::test_the_page_goes_as_it_says",
    ("how_to/compare_searches.md", SHELL): "compare/test_ray_tune.py::test_the_page_goes_as_it_says",
    ("how_to/data.md", "python"): "test_docs.py::test_the_page_on_data_shows_the_examples_and_its_rows_are_data",
    ("how_to/functions.md", "python"): "test_docs.py::test_tuning_a_function_goes_as_the_page_says",
    ("how_to/functions.md", "toml"): "test_docs.py::test_tuning_a_function_goes_as_the_page_says",
    ("how_to/loops.md", "python"): "test_docs.py::test_a_training_loop_goes_as_the_page_says",
    ("how_to/notebooks.md", "python"): "test_notebooks.py::test_the_page_goes_as_it_says",
    ("how_to/papers.md", SHELL): "compare/test_latex.py::test_the_page_goes_as_it_says",
    ("how_to/papers.md", "latex"): "compare/test_latex.py::test_the_page_goes_as_it_says",
    ("how_to/schedules.md", "python"): "test_docs.py::test_schedules_examples",
    ("how_to/schedules.md", "toml"): "test_docs.py::test_schedules_examples",
    ("how_to/tables.md", SHELL): "test_docs.py::test_every_example_of_a_table_runs",
    ("how_to/scikit_learn.md", "python"): "test_search_cv.py::test_the_page_finds_a_good_pipeline",
    ("reference/results.md", "python"): "test_docs.py::test_examples_that_load_the_best",
    ("tutorial/first_loop.md", "python"): "test_docs.py::test_a_loop_goes_to_pbt_as_the_tutorial_says",
    ("tutorial/first_loop.md", "toml"): "test_docs.py::test_a_loop_goes_to_pbt_as_the_tutorial_says",
    ("tutorial/first_loop.md", SHELL): "test_docs.py::test_a_loop_goes_to_pbt_as_the_tutorial_says",
    ("tutorial/first_study.md", "python"): "test_docs.py::test_the_first_study_goes_as_the_tutorial_says",
    ("tutorial/first_study.md", SHELL): "test_docs.py::test_the_first_study_goes_as_the_tutorial_says",
}
"""Which test runs all blocks of one kind in a page, with a look at what comes out."""

CANNOT = {
    r"^(?:\w+=\$\()?sbatch ": "needs Slurm; tests/test_clusters.py runs the scripts without it",
    r"^ray |--executor ray": "tests/execution/test_ray.py starts Ray",
    r"--device cuda": "needs a GPU",
    r"^import submitit|import submitit": "needs Slurm",
    r"dask\.distributed": "needs a cluster; tests/execution/test_pools.py runs Dask",
    r"^\[project\.entry-points": "belongs into another package's pyproject.toml",
    r"^def is_feasible|^def loss": "one method of a task",
    r"^make |^pip |^source ": "installs the project, or runs all of its tests",
    r"^python (?:tests|docs/figures)/|^HPO_TEST_SCALE|^python -m pytest": "takes minutes to hours",
    r"^hpo calibrate": "takes minutes; tests/calibrate runs smaller ones",
    r"^hpo run studies/(?:zoo_figure2|step_size|long_run|family)": "takes minutes; tests/test_shipped_studies.py reads them",
    r"^hpo (?:greed|compare) runs/(?:zoo_figure2|family)_": "needs the runs of these studies",
    r"^python studies/": "needs the runs of a study; tests/test_step_size.py runs it on small ones",
    r"^hpo watch": "serves a page until it is stopped; tests/browser/test_watch.py does",
    r"^ssh ": "needs another machine",
    r"^cmp ": "the results of two studies that were killed by hand",
}
"""Why blocks, or lines of the shell, that match a pattern cannot run here. What `hpo` gets is parsed all the same."""


@dataclass(frozen=True)
class Block:
    kind: str
    text: str

    @property
    def commands(self):
        """The lines of the shell, without prompts, comments and what they print."""
        lines = self.text.splitlines()
        if lines[0].startswith("$ "):
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        return [re.sub(r"\s+#.*", "", line).replace(".venv/bin/", "") for line in lines if line.strip()]


def name_of(page):
    return page.relative_to(ROOT).as_posix().removeprefix("docs/")


def blocks(page):
    found = []
    for kind, text in re.findall(r"^ *```(\w*)\n(.*?)^ *```$", page.read_text(), re.MULTILINE | re.DOTALL):
        if kind == "" and re.match(PROGRAMS, text) and not re.search(r"\b[A-Z_]{4,}\b|\[", text.splitlines()[0]):
            kind = SHELL  # and no synopsis, whose options other tests compare with the parsers'
        if kind not in ("", "text", "csv"):
            found.append(Block(kind, text))
    return found


def cannot(text):
    return any(re.search(pattern, text, re.MULTILINE) for pattern in CANNOT)


FILES = [
    file.read_text()
    for folder in ("docs/examples", "studies")
    for file in (ROOT / folder).rglob("*.*")
    if file.is_file()
]


def left(page):
    """Return the blocks of a page that no other test runs; files of docs/examples and studies/ have tests of their own."""
    return [
        block
        for block in blocks(page)
        if (name_of(page), block.kind) not in ELSEWHERE
        and (block.kind == SHELL or not any(block.text.partition("\n\n\n")[0] in file for file in FILES))
    ]


LONG = {"README", "command_line", "executors", "mnist", "stores", "studies"}
"""Pages whose commands take more than some seconds."""


# --- the studies and runs that commands name --------------------------------------------------------------------------


def small(path):
    """Return a study file with the same names and arms, for seconds."""
    document = tomllib.loads(path.read_text())
    if "study" not in document:
        return document
    study, task = document["study"], document["task"]
    replicates = 3 if "examples" in path.parts else 1
    study |= {"replicates": replicates, "population_size": 4, "budget": 4 * study["interval"]}
    if study["name"] in (
        "mnist_quick",
        "mnist_pbt_vs_decay",
    ):  # whose options or hyperparameters are those of MNIST alone
        task |= {"development_size": 300, "validation_size": 100}
    elif task["name"] == "mnist":
        document["task"] = {"name": "digits", "search_space": task.get("search_space", {})}
    if study["name"] == "mnist_quick":  # a page runs it in two halves
        study["replicates"] = 6
    for arm in document["arms"]:
        if "perturbation_interval" in arm:
            arm["perturbation_interval"] = study["interval"]
        if isinstance(arm.get("selection"), dict):
            arm["selection"] = arm["selection"] | (
                {"quantile_fraction": 0.5} if "quantile_fraction" in arm["selection"] else {}
            )
    return document


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with small studies under the names of the project's, and the run directory `runs/mnist_quick`."""
    folder = tmp_path_factory.mktemp("pages")
    shutil.copytree(DOCS / "examples", folder / "docs/examples")
    for path in [*(ROOT / "studies").rglob("*.toml"), *(DOCS / "examples").glob("*.toml")]:
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(tomli_w.dumps(small(path)))
    for name in ("first", "second"):
        shutil.copy(folder / "studies/digits_quick.toml", folder / f"studies/{name}.toml")
    shutil.copytree(folder / "docs/examples", folder, dirs_exist_ok=True)
    shutil.copy(folder / "studies/digits_quick.toml", folder / "study.toml")
    rows = [
        f"{method},{data},{seed},0.0{seed}{i}"
        for i, method in enumerate(("grid", "ours"))
        for data in ("iris", "wine")
        for seed in range(3)
    ]
    (folder / "results.csv").write_text("\n".join(["method,dataset,seed,error", *rows]))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert (
            main(["run", "studies/mnist_quick.toml", "--seeds", "0", "--executor", "serial", "--no-report", "--quiet"])
            == 0
        )
    return folder


@pytest.fixture
def here(prepared, tmp_path, monkeypatch):
    """A copy of that folder as the current one; what its modules register is forgotten afterwards."""
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    # Other tests import the examples from where they are.
    monkeypatch.setattr(sys, "path", [each for each in sys.path if Path(each) != ROOT / "docs/examples"])
    for name, module in [*sys.modules.items()]:
        if Path(getattr(module, "__file__", None) or "").parent == ROOT / "docs/examples":
            monkeypatch.delitem(sys.modules, name)
    loaded = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - loaded:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
    for plugins in (registry.tasks, registry.optimizers, registry.trackers, *registry.NESTED.values()):
        for name, cls in [*plugins._classes.items()]:
            if cls.__module__ not in sys.modules:
                del plugins._classes[name]


# --- how each kind runs -----------------------------------------------------------------------------------------------


def run_shell(block, folder):
    env = environment(PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    for written in block.commands:
        command = written.replace("/tmp/", f"{folder}/")
        program, *arguments = shlex.split(command)
        if program != "hpo":
            if not cannot(command):
                subprocess.run(command, shell=True, check=True, env=env)
        elif cannot(command):
            import_module(MODULES[arguments[0]]).parser().parse_args(arguments[1:])
        else:
            if arguments[0] == "run":
                arguments += ["--no-report"]
                if arguments[1] == "study.toml":  # the reader's own; how to run it has alternatives
                    shutil.rmtree("runs/digits_quick", ignore_errors=True)
            if "--segment-timeout" in arguments:
                arguments += ["--workers", "2"]
            elif arguments[0] in ("run", "replay") and not {"--executor", "--export", "--dry-run"} & {*arguments}:
                arguments += ["--executor", "serial"]
            assert main(arguments) == 0, command


def run_toml(block):
    """Check a whole study file, or a part of one within a study that has what the part names."""
    part = tomllib.loads(block.text)
    if "studies" in part:
        assert list(load_studies(Path("studies") / "known_answers.toml"))
        return
    if "task" in part and "arms" in part:
        assert hpo.parse_study(part).arms
        return
    names = {name for table in part.get("study", {}).get("initial", []) for name in table}
    perturbations = part.get("perturbation", {})
    names |= {
        name
        for each in [perturbations, *perturbations.get("steps", [])]
        if isinstance(each, dict)
        for name in each.get("parameters", {})
    }
    space = part.get("task", {}).get("search_space")
    space = space or {name: {"type": "float", "low": 0.0, "high": 1.0} for name in names}
    arm = {
        "label": "pbt-truncation",
        "optimizer": "pbt",
        **{key: part[key] for key in ("selection", "perturbation") if key in part},
    }
    study = {
        "study": {"name": "part", "population_size": 10, "budget": 6, "interval": 1, **part.get("study", {})},
        "task": {"loop": Loop, "metric": "error", "search_space": space} if space else {"name": "digits"},
        "arms": [arm, *part.get("arms", [])],
    }
    assert len(hpo.parse_study(study).arms) == len(study["arms"])


class Loop:
    def __init__(self, hparams):
        self.value = 1.0

    def train(self, hparams, interval):
        self.value /= 2

    def evaluate(self):
        return {"error": self.value}


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=name_of(page), marks=[pytest.mark.slow] * (page.stem in LONG))
        for page in PAGES
        if left(page)
    ],
)
def test_the_blocks_of_a_page_run(page, here):
    names = {"__name__": "page"}
    for block in left(page):
        if block.kind == SHELL:
            run_shell(block, here)
        elif cannot(block.text):
            continue
        elif block.kind == "toml":
            run_toml(block)
        else:
            assert block.kind == "python", f"no test runs blocks of {block.kind}"
            exec(block.text, names)


@pytest.mark.parametrize(("page", "kind"), ELSEWHERE, ids=str)
def test_a_test_that_runs_blocks_elsewhere_is_there(page, kind):
    file, test = ELSEWHERE[page, kind].split("::")
    text = (ROOT / "tests" / file).read_text()
    assert f"def {test}(" in text
    assert Path(page).name in text


@pytest.mark.parametrize("pattern", CANNOT)
def test_what_cannot_run_is_there(pattern):
    everything = [line for page in PAGES for block in blocks(page) for line in (block.text, *block.commands)]
    assert any(re.search(pattern, text, re.MULTILINE) for text in everything)
