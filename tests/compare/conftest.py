"""The fixtures of the comparison's tests: CSV files, finished studies, and the command itself."""

import csv
import io
import json
import random
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import helpers
import pytest
from published import DEMSAR, DEMSAR_ARMS

from hpo.compare.__main__ import main
from hpo.compare.analysis import analyse
from hpo.compare.data import Request
from hpo.compare.inputs import read_inputs
from hpo.compare.output import document

Row = tuple[str, str, object, object]  # arm, task, seed, value


@dataclass(frozen=True)
class Said:
    """What the command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """What it printed, with the line breaks of the console taken out."""
        return " ".join(self.out.split())


@pytest.fixture
def compare(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run `hpo compare` in this process."""

    def run(*arguments: object) -> Said:
        capsys.readouterr()
        code = main(list(map(str, arguments)))
        return Said(code, *capsys.readouterr())

    return run


@pytest.fixture
def refused(compare: Callable[..., Said]) -> Callable[..., str]:
    """Run it on what it refuses, and return the one line that says why."""

    def run(*arguments: object) -> str:
        said = compare(*arguments)
        assert (said.code, said.out) == (2, "")
        assert said.err.count("\n") == 1
        return said.err.removeprefix("error: ").rstrip("\n")

    return run


@pytest.fixture(scope="session")
def numbers() -> Callable[..., dict[str, Any]]:
    """Return what compare.json would hold, without drawing the figures beside it."""

    def read(*paths: Path, **request: Any) -> dict[str, Any]:
        analysis = analyse(read_inputs(paths, Request(**request)))
        return json.loads(json.dumps(document(analysis), allow_nan=False))

    return read


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    """Write a CSV file from text or bytes, or from rows of arm, task, seed and value."""

    def write(content: str | bytes | Iterable[Row], metric: str = "error") -> Path:
        path = tmp_path / "results.csv"
        if isinstance(content, bytes):
            path.write_bytes(content)
            return path
        if not isinstance(content, str):
            file = io.StringIO(newline="")
            csv.writer(file).writerows([("arm", "task", "seed", metric), *content])
            content = file.getvalue()
        path.write_bytes(content.encode())
        return path

    return write


@pytest.fixture(scope="session")
def gaussian() -> Callable[..., list[Row]]:
    """Make rows of arms on tasks: a base per task and seed, an effect per arm, and noise."""

    def rows(
        effects: dict[str, float], tasks: int = 2, seeds: int = 8, noise: float = 0.01, seed: int = 1
    ) -> list[Row]:
        draw = random.Random(seed)
        found: list[Row] = []
        for task in range(tasks):
            for number in range(seeds):
                base = draw.gauss(0.2 + 0.1 * task, noise)
                found += [
                    (arm, f"task{task}", number, round(base + effect + draw.gauss(0, noise), 6))
                    for arm, effect in effects.items()
                ]
        return found

    return rows


@pytest.fixture(scope="session")
def demsar() -> list[Row]:
    """Demšar's table (2006): the AUC of four variants of C4.5 on 14 data sets."""
    return [
        (arm, f"set{i:02}", 0, f"{value:g}")
        for i, line in enumerate(DEMSAR)
        for arm, value in zip(DEMSAR_ARMS, line, strict=True)
    ]


# --- finished studies ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Studies:
    """Run directories of studies that are finished, by name; `copy` makes one that a test may change."""

    folder: Path

    def __getattr__(self, name: str) -> Path:
        return self.folder / name

    def copy(self, name: str, to: Path, change: Callable[[dict[str, Any]], object] = lambda results: None) -> Path:
        shutil.copytree(self.folder / name, to, ignore=shutil.ignore_patterns("checkpoints", "store*"))
        results = json.loads((to / "results.json").read_bytes())
        change(results)
        (to / "results.json").write_text(json.dumps(results))
        return to


@pytest.fixture(scope="session")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Studies:
    """Run small studies of four tasks, 6 replicates each, through the real engine."""
    folder = tmp_path_factory.mktemp("studies")
    tasks = {
        "walk": {"name": "walk"},
        "wide": {"name": "walk", "size": 6},
        "guess": {"name": "guess"},
        "toy": helpers.TOY,
    }
    for name, task in tasks.items():
        helpers.run(helpers.document(task, replicates=6, name=name), folder / name)
    return Studies(folder)
