"""Run directories and stores as places on a disk: deleted, moved or closed to writing while somebody uses them."""

import csv
import ctypes
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from io import StringIO

import pytest
from helpers import PBT, RANDOM, answer, cli, document, environment, results, rows, run, start, until, write_study

import hpo
from hpo.core.errors import StoreError
from hpo.core.observer import Observer
from hpo.report.data import load_run

SMALL = document(arms=(RANDOM, PBT))
LONG = document(arms=(RANDOM, PBT), replicates=50)
FILED = document({"name": "walk", "size": 9000}, arms=(RANDOM,), replicates=1)
"""Its states are files."""


# --- gone while it is in use ---------------------------------------------------------------------------------------------


class Does(Observer):
    """Does something to the files after so many answers that were computed."""

    def __init__(self, answers, what):
        self.left, self.what = answers, what

    def segment(self, segment):
        self.left -= segment.computed
        if segment.computed and not self.left:
            self.what()


@pytest.mark.parametrize("gone", ["store.sqlite", ".lock", ""])
@pytest.mark.parametrize("shared", [False, True])
def test_a_store_that_is_moved_away_during_a_run_stops_it_and_may_be_put_back(tmp_path, gone, shared):
    run(SMALL, tmp_path / "undisturbed")
    place, options = tmp_path / "run", {}
    if shared:
        place = tmp_path / "store"
        options = {"store": place}
    lose = Does(10, lambda: (place / gone).rename(tmp_path / "moved"))
    with pytest.raises(StoreError, match="was deleted, moved or replaced while it was in use"):
        run(SMALL, tmp_path / "run", observer=lose, **options)
    if gone != ".lock":
        shutil.rmtree(place) if not gone and place.exists() else None
        (tmp_path / "moved").rename(place / gone)
    run(SMALL, tmp_path / "run", **options)
    assert answer(tmp_path / "run") == answer(tmp_path / "undisturbed")


def test_a_store_that_is_deleted_during_a_run_ends_the_command_with_1(tmp_path):
    """Fault 45: store.sqlite was deleted during a run: exit code 0, and nothing was said."""
    study = write_study(tmp_path, LONG)
    with start(study, "--out", tmp_path / "run", "--workers", 1) as running:
        assert until(lambda: rows(tmp_path / "run") >= 20, running)
        (tmp_path / "run" / "store.sqlite").unlink()
        _, said = running.communicate()
    assert running.returncode == 1, said
    assert f"{tmp_path / 'run' / 'store.sqlite'} was deleted" in said
    assert "Traceback" not in said
    again = cli(study, "--out", tmp_path / "run", "--executor", "serial", "--replicates", 2)
    assert again.returncode == 0, again.stderr
    run(LONG, tmp_path / "undisturbed", seeds=[0, 1])
    assert results(tmp_path / "run")["replicates"][:2] == results(tmp_path / "undisturbed")["replicates"]


def test_a_new_folder_in_the_place_of_a_run_directory_stays_empty(tmp_path):
    """Results in it would be in a folder that the next run refuses, as somebody else's."""

    def replace():
        (tmp_path / "run").rename(tmp_path / "moved")
        (tmp_path / "run").mkdir()

    with pytest.raises(StoreError, match="was deleted, moved or replaced"):
        run(SMALL, tmp_path / "run", observer=Does(10, replace))
    assert not list((tmp_path / "run").iterdir())


# --- permissions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0o002, 0o027, 0o077])
def test_everything_in_a_run_directory_and_a_store_has_the_permissions_that_the_umask_leaves(tmp_path, mask):
    """Fault 45: files were 0644 whatever the umask; of the database SQLite itself would have it so, and nobody could share it."""
    before = os.umask(mask)
    try:
        run(FILED, tmp_path / "run", store=tmp_path / "store", report=True)
        run(FILED, tmp_path / "alone")
    finally:
        os.umask(before)
    files = [path for place in ("run", "store", "alone") for path in (tmp_path / place).rglob("*") if path.is_file()]
    assert {"store.sqlite", "results.json", "report.html", "random-0.safetensors"} <= {path.name for path in files}
    assert {oct(path.stat().st_mode & 0o777) for path in files} == {oct(0o666 & ~mask)}


# --- databases of somebody else ------------------------------------------------------------------------------------------


def test_nothing_is_made_beside_a_database_of_somebody_else(tmp_path):
    """SQLite makes a log and an index beside a database that keeps one, and leaves them there when it may only read.

    A row of a run directory that somebody sent may name such a database as the shared store.
    """
    run(SMALL, tmp_path / "run")
    (tmp_path / "own").mkdir()
    with closing(sqlite3.connect(tmp_path / "own" / "store.sqlite")) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE mine (x)")
    with closing(sqlite3.connect(tmp_path / "run" / "store.sqlite")) as db, db:
        db.execute("INSERT INTO meta VALUES ('shared_store', ?)", (str(tmp_path / "own"),))
    before = [(path.name, path.stat().st_mtime_ns) for path in (tmp_path / "own").iterdir()]
    study = write_study(tmp_path, SMALL)
    for arguments in (
        ("hpo.store", "verify", "run"),
        ("hpo.store", "export", "run", "--out", "rows.jsonl"),
        *(("hpo.store", verb, "own") for verb in ("ls", "verify", "gc")),
        ("hpo.run", study, "--out", "own"),
        ("hpo.run", study, "--out", "new", "--store", "own"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (1, 2), (arguments, done.stdout)
        assert "Traceback" not in done.stderr
        assert [(path.name, path.stat().st_mtime_ns) for path in (tmp_path / "own").iterdir()] == before, arguments


# --- an import that is killed --------------------------------------------------------------------------------------------


def test_an_import_that_is_killed_can_be_repeated(tmp_path):
    """Fault 45: a killed import left a folder that the repeated one refused."""
    run(SMALL, tmp_path / "run")
    command = [sys.executable, "-m", "hpo.store"]
    subprocess.run([*command, "export", tmp_path / "run", "--out", tmp_path / "rows.jsonl"], check=True)
    os.mkfifo(tmp_path / "pipe")
    lines = (tmp_path / "rows.jsonl").read_bytes().splitlines(keepends=True)
    into = tmp_path / "into"
    with (
        subprocess.Popen([*command, "import", tmp_path / "pipe", "--into", into]) as importing,
        (tmp_path / "pipe").open("wb") as pipe,
    ):
        pipe.writelines(lines[: len(lines) // 2])
        pipe.flush()
        assert until(lambda: into.exists() and any(into.iterdir()), importing)
        importing.send_signal(signal.SIGKILL)
        importing.wait()
    assert any(into.iterdir())
    assert not (into / "store.sqlite").exists()
    again = subprocess.run(
        [*command, "import", tmp_path / "rows.jsonl", "--into", into], capture_output=True, text=True
    )
    assert again.returncode == 0, again.stderr
    assert [path.name for path in into.iterdir()] == ["store.sqlite"]
    run(SMALL, into)
    assert answer(into) == answer(tmp_path / "run")


# --- a folder that cannot be written to ----------------------------------------------------------------------------------


def without_privileges():
    """Have a command of root's obey permissions, too: take CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH away (prctl.h)."""
    for capability in (1, 2):
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)


def test_a_store_is_looked_at_without_writing_access(tmp_path):
    """Fault 45: `gc --dry-run` needed write access."""
    run(FILED, tmp_path / "run")
    state = next((tmp_path / "run").glob("checkpoints/*/*.safetensors"))
    state.rename(state.with_name(f"{state.name[:2]}{'0' * 62}.safetensors"))  # no row names it
    places = [tmp_path / "run", *(tmp_path / "run").rglob("*")]
    before = {path: path.stat().st_mtime_ns for path in places}
    for path in places:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        for command in (
            ("ls",),
            ("verify",),
            ("gc", "--dry-run"),
            ("export", "--out", tmp_path / "rows.jsonl"),
            ("gc",),
        ):
            done = subprocess.run(
                [sys.executable, "-m", "hpo.store", command[0], tmp_path / "run", *command[1:]],
                preexec_fn=without_privileges,
                capture_output=True,
                text=True,
                check=False,
            )
            expected = 1 if command in (("gc",), ("verify",)) else 0
            assert done.returncode == expected, (command, done.stdout, done.stderr)
            if command == ("gc", "--dry-run"):
                assert "1 unreferenced checkpoint files" in done.stdout
        assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run", *(tmp_path / "run").rglob("*"))} == before
    finally:
        for path in places:
            path.chmod(0o755)


# --- the current folder --------------------------------------------------------------------------------------------------

TASK = """
import os
from dataclasses import dataclass
import hpo
from plain_tasks import Walk

@hpo.register_task("wanders")
@dataclass(frozen=True)
class Wanders(Walk):
    def train(self, state, hparams, batches):
        os.makedirs("elsewhere", exist_ok=True)
        os.chdir("elsewhere")
        return super().train(state, hparams, batches)
"""


@pytest.mark.parametrize("options", [(), ("--store", "store")])
def test_a_relative_run_directory_stays_where_it_is_when_a_task_changes_the_folder(tmp_path, options):
    """Fault 45: with a relative --out, the results of a task that changes the current folder went astray."""
    (tmp_path / "own_wanders.py").write_text(TASK)
    of = {"name": "wanders", "module": "own_wanders", "size": 9000}
    study = write_study(tmp_path, document(of, arms=(RANDOM,), replicates=1, budget=2, population_size=2))
    done = cli(study, "--out", "run", "--executor", "serial", *options)
    assert done.returncode == 0, done.stderr
    assert len(results(tmp_path / "run")["replicates"]) == 1
    assert (tmp_path / "run" / "models" / "random-0.safetensors").exists()
    assert not [path for path in (tmp_path / "elsewhere").rglob("*") if not path.is_dir()]


# --- few file descriptors ------------------------------------------------------------------------------------------------


def limited(soft, hard):
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("executor", [("--executor", "serial"), ("--workers", "8")], ids=["serial", "process"])
def test_too_few_file_descriptors_are_named_before_anything_starts(tmp_path, executor):
    """Fault 45: with few file descriptors, a raw OSError."""
    study = write_study(tmp_path, SMALL)
    done = cli(study, "--out", tmp_path / "run", *executor, preexec_fn=limited(20, 20))
    assert done.returncode == 2, done.stderr
    assert "`ulimit -n" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_limit_of_file_descriptors_that_may_be_raised_is_raised(tmp_path):
    study = write_study(tmp_path, SMALL)
    done = cli(study, "--out", tmp_path / "run", "--workers", 8, preexec_fn=limited(20, 4096))
    assert done.returncode == 0, done.stderr


# --- cells that a spreadsheet takes for formulas -------------------------------------------------------------------------


def test_labels_are_no_formulas_in_segments_csv_and_the_report_finds_their_rows(tmp_path):
    """Fault 45: cells of segments.csv that begin with `=`, `+`, `-`, `@`."""
    arms = ({**RANDOM, "label": "+1-1"}, {**PBT, "label": "-pbt"})
    run(document(arms=arms, replicates=1), tmp_path)
    cells = {line.split(",")[1] for line in (tmp_path / "segments.csv").read_text().splitlines()[1:]}
    assert cells == {"'+1-1", "'-pbt"}
    assert {row.arm for row in load_run(tmp_path).segments[0]} == {"+1-1", "-pbt"}


def test_names_and_values_are_no_formulas_in_the_table_of_a_schedule():
    table = hpo.Schedule.of([(1, {"=lr": -0.5, "kind": "@sum"})], unit="+epochs").to_csv()
    assert table.splitlines() == ["from,to,unit,'=lr,kind", "0.0,1.0,'+epochs,-0.5,'@sum"]


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff20"])
def test_no_choice_is_a_formula_in_a_table_of_a_schedule(begin):
    table = hpo.Schedule.of([(1, {"kind": f"{begin}1"})], unit="epochs").to_csv()
    (_, row) = csv.reader(StringIO(table, newline=""))
    assert row[-1] == f"'{begin}1"


def test_no_text_breaks_a_row_of_a_table_of_a_schedule(tmp_path):
    """Behind a carriage return, `=1` would begin a row of its own: the csv module does not quote for one."""
    table = hpo.Schedule.of([(1, {"kind": "x\r=1\n=2"})], unit="epochs").to_csv()
    (tmp_path / "table.csv").write_text(table, newline="")
    with (tmp_path / "table.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["from", "to", "unit", "kind"], ["0.0", "1.0", "epochs", "x\r=1\n=2"]]
