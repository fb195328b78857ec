"""Tasks that are defined in the cells of a notebook, in a real kernel."""

import json
import re
from pathlib import Path

import helpers
import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

import hpo

DOCS = Path(hpo.__file__).parent.parent / "docs"
EXAMPLE, PAGE = DOCS / "examples/notebook.ipynb", DOCS / "how_to/notebooks.md"


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Return how to execute a notebook in a kernel of this Python; it returns each code cell's outputs."""
    monkeypatch.setenv("PYTHONPATH", helpers.environment()["PYTHONPATH"])
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.delenv("MPLBACKEND", raising=False)

    def run(notebook, **options):
        NotebookClient(notebook, timeout=helpers.DEADLINE, kernel_name="python3", **options).execute(cwd=tmp_path)
        return [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]

    return run


def texts(outputs):
    """Return all that a cell shows as text: what it prints, its values, and its error."""
    found = []
    for output in outputs:
        if output.output_type == "stream":
            found.append(output.text)
        elif output.output_type == "error":
            found.append(f"{output.ename}: {output.evalue}")
        else:
            found.append(output.data["text/plain"])
    return "\n".join(found)


CELLS = [
    """
import json
from dataclasses import dataclass

import numpy as np

import hpo
from hpo.engine import live

DATA = np.linspace(0, 1, 5)
SPACE = {"x": hpo.Float(0, 1)}

def helper(x):
    return abs(DATA - x).sum()

def objective(hparams, seed):
    return {"error": helper(hparams["x"]) + seed % 5}
""",
    """
def tune(out, **options):
    return hpo.tune(objective, SPACE, metric="error", out=out, report=False, **{"trials": 8, **options})

one = tune("one", progress=False)
live.PATIENCE = 0.0
two = tune("two", workers=2)
""",
    "two",
    """
more = tune("one", trials=11, progress=False)
print(json.dumps([one.results["replicates"] == two.results["replicates"], len(more.frame())]))
""",
    "two.figure('trials')",
    """
def helper(x):
    return abs(DATA + x).sum()

tune("one", trials=12)
""",
    "print(len(one.frame()))",
    """
@hpo.register_task("shrinking")
@dataclass(frozen=True)
class Shrinking(hpo.Task):
    unit = "steps"
    metrics = (hpo.Metric("loss"),)
    search_space = hpo.SearchSpace({"rate": hpo.Float(0, 1)})

    def initialize(self, hparams):
        return 1.0

    def train(self, state, hparams, batches):
        return state * (1 - hparams["rate"] / 2)

    def evaluate(self, state, data):
        return hpo.Evaluation({"loss": state})

    def to_arrays(self, state):
        return {"w": np.array(state)}

    def from_arrays(self, arrays, hparams):
        return float(arrays["w"])

class Loop:
    def __init__(self, hparams):
        self.left = 1.0

    def train(self, batches, hparams):
        self.left *= 1 - hparams["rate"] / 2

    def evaluate(self):
        return {"loss": self.left}

STUDY = {
    "study": {"population_size": 4, "budget": 3, "interval": 1},
    "arms": [{"label": "random", "optimizer": "random_search"}, {"label": "tpe", "optimizer": "tpe", "initial": 2}],
}

def same(name, task):
    def run(out, seeds, **options):
        study = STUDY | {"task": task, "study": STUDY["study"] | {"name": name, "replicates": seeds}}
        return hpo.run_study(hpo.parse_study(study), out=f"{name}-{out}", report=False, progress=False, **options)
    one, two = run("one", 1, executor="serial"), run("two", 2, workers=2)
    more = run("one", 2, executor="serial")
    return two.results["replicates"] == more.results["replicates"]

space = {"rate": hpo.Float(0, 1)}
print(same("class", {"name": "shrinking"}), same("loop", {"loop": Loop, "search_space": space}))
""",
]


def test_what_cells_define_is_tuned_with_any_number_of_workers(execute):
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in CELLS])
    _, tuned, shown, more, figure, changed, kept, tasks = execute(notebook, allow_errors=True)
    (bar,) = tuned  # of the second search
    assert "8/8 trials" in bar.data["text/plain"]
    assert "8/8 trials" in bar.data["text/html"]
    (result,) = shown
    assert "best error" in result.data["text/html"]
    assert json.loads(texts(more)) == [True, 11]
    assert "image/png" in figure[0].data
    assert "InputError" in texts(changed)
    assert "helper: its code or value was changed" in texts(changed)
    assert texts(kept) == "11\n"
    assert texts(tasks) == "True True\n"


def test_the_example_is_executed(execute, tmp_path):
    notebook = nbformat.read(EXAMPLE, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    outputs = execute(notebook)
    assert hpo.load_best(tmp_path / "runs/objective").value < 0.1
    assert len(re.findall(r"^\d", texts(outputs[5]), re.MULTILINE)) == 5  # the rows of the frame
    assert [("image/png" in cell[-1].data) for cell in outputs if cell].count(True) == 3
    assert "and random in error" in texts(outputs[-2])
    assert not any(output.output_type == "stream" for cell in outputs for output in cell)
    assert {path.name for path in tmp_path.iterdir()} <= {"runs", "runtime"}


def test_the_page_goes_as_it_says(execute):
    cells = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    cells = [cell.replace('"replicates": 8', '"replicates": 2') for cell in cells]
    first, second = execute(new_notebook(cells=[new_code_cell(cell) for cell in cells]))
    assert "best value" in texts(first)
    assert "image/png" in second[-1].data


def test_links_of_the_example_lead_somewhere():
    text = "".join(cell.source for cell in nbformat.read(EXAMPLE, as_version=4).cells if cell.cell_type == "markdown")
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert links
    assert all((EXAMPLE.parent / link).exists() for link in links)
