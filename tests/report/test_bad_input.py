"""`hpo report` on what it cannot read: exit 2, one line, the key named."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hpo.core.errors import InputError
from hpo.report.__main__ import main
from hpo.report.build import build_report

Make = Callable[..., Path]


def said(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main([str(folder)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_missing_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such directory" in said(tmp_path / "nowhere", capsys)


def test_no_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no results.json" in said(tmp_path, capsys)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"a": NaN}', b"[" * 100_000])
def test_malformed_results(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    (tmp_path / "results.json").write_bytes(content)
    assert "results.json" in said(tmp_path, capsys)
    assert not (tmp_path / "report.html").exists()


def _first(results: dict[str, Any]) -> dict[str, Any]:
    outcome: dict[str, Any] = results["replicates"][0]["arms"]["random"]
    return outcome


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r.update(schema_version=1), "schema_version = 1: this version of hpo reads 3 and 4"),
        (lambda r: r.update(schema_version=99), "schema_version = 99: this version of hpo reads 3 and 4"),
        (lambda r: r.update(schema_version=2), "schema_version = 2: this version of hpo reads 3 and 4"),
        (lambda r: r.update(schema_version=True), "schema_version = True: allowed: integer"),
        (lambda r: r.pop("schema_version"), "schema_version: missing"),
        (lambda r: r.pop("arms"), "arms: missing"),
        (lambda r: r.update(arms=[]), "arms = []: "),
        (lambda r: r["arms"].append(r["arms"][0]), "arms: allowed: labels that are all different"),
        (lambda r: r["arms"][0].update(label=3), "arms[0].label = 3: allowed: string"),
        (lambda r: r["arms"][0].update(label="../x"), "arms[0].label = '../x': allowed: 1 to 60 letters"),
        (lambda r: r["study"]["study"].update(name="../x"), "study.study.name = '../x': allowed: a name, not a path"),
        (lambda r: r["task"].update(primary="f1"), "task.primary: allowed: 'error', 'loss'; 'f1' is not among them"),
        (lambda r: r["task"]["metrics"][0].update(direction="up"), "task.metrics[0].direction = 'up': allowed: 'min"),
        (lambda r: r["task"]["search_space"]["lr"].update(low=0), "task.search_space.lr.low = 0"),
        (lambda r: r["task"]["search_space"]["lr"].update(low="a"), "task.search_space.lr.low = 'a'"),
        (lambda r: r["task"]["search_space"]["lr"].update(type="x"), "task.search_space.lr.type = 'x'"),
        (lambda r: r["replicates"][0].update(seed="../x"), "replicates[0].seed = '../x': allowed: integer"),
        (lambda r: r["replicates"][0].update(seed=-1), "replicates[0].seed = -1"),
        (lambda r: r["replicates"].append(r["replicates"][0]), "replicates: allowed: seeds that are all different"),
        (lambda r: _first(r)["test"].update(error="low"), "replicates[0].arms.random.test.error = 'low'"),
        (lambda r: _first(r)["test"].update(error=10**400), "replicates[0].arms.random.test.error"),
        (lambda r: _first(r)["test"].pop("error"), "replicates[0].arms.random.test.error: allowed: a number or null"),
        (lambda r: _first(r).update(pruned="many"), "replicates[0].arms.random.pruned = 'many': allowed: integer"),
        (lambda r: _first(r)["correct"].update(count=10**15), "replicates[0].arms.random.correct = "),
        (lambda r: _first(r)["incumbent"].pop(), "replicates[0].arms.random.incumbent: allowed: 4 values"),
        (
            lambda r: _first(r)["schedule"][0].update(stop=10**9),
            "replicates[0].arms.random.schedule[0]: allowed: a start",
        ),
        (lambda r: r["replicates"][0]["arms"].pop("random"), "replicates[0].arms: allowed: every arm of the study"),
        (lambda r: r["comparisons"][0].update(arm="other"), "comparisons[0].arm: allowed: 'pbt-truncation'"),
        (lambda r: r["comparisons"][0].update(verdict="better"), "comparisons[0].verdict = 'better'"),
        (lambda r: r["study"].pop("study"), "study.study: missing"),
        (lambda r: r.update(interval=None), "interval = None: allowed: number"),
    ],
)
def test_wrong_key_is_named(
    small_run: Make,
    synthetic: ModuleType,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[dict[str, Any]], object],
    words: str,
) -> None:
    folder = small_run(planned=1, finished=1)
    results = synthetic.read_results(folder)
    change(results)
    synthetic.write_json(folder / "results.json", results)
    assert words in said(folder, capsys)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed,arm\n0,random\n", "no column member"),
        ("seed,arm,member,interval,parent_member,on_best_lineage,diverged\n0,random,x,0,,0,0\n", "line 2"),
        (
            "seed,arm,member,interval,parent_member,on_best_lineage,diverged,metric:error\n0,random,1,0,,0,0,?\n",
            "line 2",
        ),
        ("seed,arm,member,interval,parent_member,on_best_lineage,diverged\n0,random\n", "line 2"),
    ],
)
def test_malformed_segments(small_run: Make, capsys: pytest.CaptureFixture[str], text: str, words: str) -> None:
    folder = small_run(planned=1, finished=1)
    (folder / "segments.csv").write_text(text, encoding="utf-8")
    message = said(folder, capsys)
    assert "segments.csv" in message
    assert words in message


def test_interrupted_write_leaves_the_old_report(small_run: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = small_run(finished=0)
    report = build_report(folder)
    before = report.read_bytes()

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert main([str(folder)]) == 1
    assert report.read_bytes() == before
    assert not list(folder.rglob("*.tmp"))


def test_as_a_command(small_run: Make) -> None:
    folder = small_run(finished=0)
    command = [sys.executable, "-m", "hpo.report", str(folder)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": "7"}
    )
    assert done.stdout.strip() == str(folder / "report.html")


def test_errors_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        build_report(tmp_path)


def test_the_report_needs_neither_torch_nor_optuna() -> None:
    code = "import sys, hpo.report; print([m for m in ('torch', 'optuna', 'matplotlib.pyplot') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
