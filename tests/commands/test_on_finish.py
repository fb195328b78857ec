"""The command that runs when a study ends: what it gets, and that nothing it does changes the study."""

import os
import time
from pathlib import Path

import pytest
from helpers import RANDOM, Interrupts, answer, cli, document, run, write_study

import hpo
from hpo.engine import on_finish

SAVE = "env | grep ^HPO_ > saved.txt"
STUDY = document(replicates=1, budget=2)


def saved(folder):
    return dict(
        line.split("=", 1) for line in (folder / "saved.txt").read_text().splitlines() if line.startswith("HPO_")
    )


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_command_gets_what_happened(tmp_path):
    result = run(STUDY, tmp_path / "run", on_finish=SAVE, report=True)
    found = saved(tmp_path)
    assert (found["HPO_STATUS"], found["HPO_STUDY"]) == ("done", "small")
    assert (found["HPO_RUN_DIR"], found["HPO_REPORT"]) == (str(tmp_path / "run"), str(result.report))
    assert int(found["HPO_SECONDS"]) < 60
    assert found["HPO_SUMMARY"].startswith("small: done after 0:0")
    assert "cannot show a difference between pbt and random" in found["HPO_SUMMARY"]


def test_a_search_tells_its_best_value(tmp_path):
    result = hpo.tune(
        lambda hparams: hparams["x"], {"x": hpo.Float(0, 1)}, trials=3, out="run", report=False, on_finish=SAVE
    )
    assert f"best value {result.best.value:.4g}" in saved(tmp_path)["HPO_SUMMARY"]
    assert saved(tmp_path)["HPO_REPORT"] == ""


def test_an_interrupted_study_says_so(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(STUDY, tmp_path / "run", on_finish=SAVE, observer=Interrupts(3))
    assert saved(tmp_path)["HPO_STATUS"] == "interrupted"


def test_a_study_out_of_time_says_so(tmp_path):
    run(document(replicates=1, budget=50), tmp_path / "run", on_finish=SAVE, time_limit=1e-9)
    assert saved(tmp_path)["HPO_STATUS"] == "out of time"


def test_a_failed_study_says_why_in_one_line(tmp_path):
    def broken(hparams):
        if hparams["x"] > 0:
            raise RuntimeError("no luck\n$(touch pasted); `touch pasted`")
        return 0.0

    with pytest.raises(hpo.StudyFailed):
        hpo.tune(
            broken,
            {"x": hpo.Float(0.1, 1)},
            trials=3,
            out="run",
            report=False,
            on_finish=f'{SAVE}; echo "$HPO_SUMMARY"',
        )
    assert saved(tmp_path)["HPO_STATUS"] == "failed"
    assert not (tmp_path / "pasted").exists()


def test_nothing_runs_for_a_study_that_was_refused(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "results.json").write_text("mine")
    with pytest.raises(hpo.InputError):
        run(STUDY, tmp_path / "run", on_finish=SAVE)
    assert not (tmp_path / "saved.txt").exists()


@pytest.mark.parametrize(("command", "words"), [("exit 3", "exited with 3"), ("no-such-command", "exited with 127")])
def test_a_command_that_fails_is_a_warning(command, words, tmp_path):
    with pytest.warns(RuntimeWarning, match=words):
        run(STUDY, tmp_path / "run", on_finish=command)
    run(STUDY, tmp_path / "alone")
    assert answer(tmp_path / "run") == answer(tmp_path / "alone")


def test_a_command_that_takes_too_long_is_killed_with_all_that_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr(on_finish, "PATIENCE", 0.5)
    with pytest.warns(RuntimeWarning, match=r"more than 0\.5 s"):
        run(STUDY, tmp_path / "run", on_finish="sleep 600 & echo $! > child; wait")
    pid = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and _runs(pid):
        os.sched_yield()
    assert not _runs(pid)


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def test_the_command_line_keeps_its_exit_code(tmp_path):
    done = cli(
        write_study(tmp_path, document(arms=(RANDOM,), replicates=1, budget=2)), "--on-finish", f"{SAVE}; exit 7"
    )
    assert done.returncode == 0, done.stderr
    assert "warning: the command for the end of the study exited with 7" in done.stderr
    assert saved(tmp_path)["HPO_STATUS"] == "done"
