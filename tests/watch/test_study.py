"""What the server of `hpo watch` says of a run directory, whatever state the study is in."""

import json
import shutil
import time
from contextlib import suppress

import pytest
from helpers import PBT, RANDOM, Interrupts, document, run

import hpo
from hpo.core.errors import InputError
from hpo.watch import study
from hpo.watch.study import Watched

STUDY = document(arms=(RANDOM, PBT), replicates=2)
ROWS = 4 * 5


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(study, "LOOK", 0.0)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out = tmp_path_factory.mktemp("done")
    run(STUDY, out)
    return out


def test_a_finished_study(done):
    watched = Watched(done)
    state, found = watched.state(), watched.study()
    assert (state["status"], state["sessions"], state["segments"]) == ("done", 1, 2 * 2 * ROWS)
    assert state["charged"] == state["curves"] == []
    results = json.loads((done / "results.json").read_text())
    for replicate, shown in zip(results["replicates"], found["finished"], strict=True):
        assert shown["seed"] == replicate["seed"]
        assert shown["tests"] == {label: arm["test"]["score"] for label, arm in replicate["arms"].items()}
    best = max(max(arm["incumbent"]) for one in results["replicates"] for arm in one["arms"].values())
    assert state["best"]["value"] == pytest.approx(best, rel=1e-5)
    json.dumps([state, found], allow_nan=False)


def test_the_schedule_of_the_rows_is_the_answers(done):
    watched = Watched(done)
    results = json.loads((done / "results.json").read_text())
    for replicate in results["replicates"]:
        for label, arm in replicate["arms"].items():
            found = watched.rows(replicate["seed"], label, -1)
            assert len(found["rows"]["member"]) == ROWS
            places = [(step["member"], step["start"], step["stop"]) for step in found["steps"]]
            assert places == [(step["member"], step["start"], step["stop"]) for step in arm["schedule"]]
            again = watched.rows(replicate["seed"], label, found["version"])
            assert "rows" not in again
            assert again["version"] == found["version"]


def test_curves_of_running_replicates_become_those_of_the_results(tmp_path):
    """The last curve before a replicate is finished is the one that results.json then holds."""
    curves = {}

    class Looks(hpo.Observer):
        watched = None

        def segment(self, segment):
            self.watched = self.watched or Watched(tmp_path)
            for curve in self.watched.state().get("curves", ()):
                if len(curve["y"]) == 5:
                    curves[curve["seed"], curve["arm"]] = curve

    looks = Looks()
    run(STUDY, tmp_path, observer=looks)
    final = looks.watched.study()["curves"]
    assert len(curves) == 4
    assert {(curve["seed"], curve["arm"]): curve for curve in final} == curves


def test_an_interrupted_study_and_its_next_session(tmp_path):
    with suppress(KeyboardInterrupt):
        run(STUDY, tmp_path, observer=Interrupts(15))
    watched = Watched(tmp_path)
    state = watched.state()
    assert state["status"] == "interrupted"
    assert sum(one["rows"] for one in state["charged"]) == state["segments"] > 0
    assert state["counts"]["in_flight"] == 0
    run(STUDY, tmp_path)
    state = watched.state()
    assert (state["status"], state["sessions"], state["segments"]) == ("done", 2, 2 * 2 * ROWS)
    assert state["epoch"] == 0


@pytest.mark.parametrize(("boot", "status"), [("here", "killed"), ("elsewhere", "silent")])
def test_a_session_without_an_end(boot, status, tmp_path, done):
    """On this machine its process is gone; of another one nothing is known when it has been silent for long."""
    shutil.copytree(done, tmp_path / "run")
    path = tmp_path / "run/progress.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()][:-1]
    lines[0]["pid_started"] = 1
    for line in lines:
        line["time"] = time.time() - 100
        if boot == "elsewhere" and "machine" in line:
            line["machine"] = "another"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert Watched(tmp_path / "run").state()["status"] == status


def test_an_older_run_without_progress(done, tmp_path):
    shutil.copytree(done, tmp_path / "run")
    (tmp_path / "run/progress.jsonl").unlink()
    state = Watched(tmp_path / "run").state()
    assert (state["status"], state["sessions"], state["log"]) == ("done", 0, [])


def test_another_study_in_the_same_place(done, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(done, out)
    watched = Watched(out)
    assert watched.state()["epoch"] == 0
    shutil.rmtree(out)
    run(document(name="another", replicates=1), out)
    watched.state()
    state = watched.state()
    assert state["epoch"] == 1
    assert (state["segments"], watched.study()["study"]["name"]) == (2 * ROWS, "another")


def test_a_failed_session_shows_its_error_and_warnings(tmp_path):
    class Fails(hpo.Observer):
        def segment(self, segment):
            raise ValueError("<b>out of order</b>")

    with pytest.warns(RuntimeWarning):
        run(STUDY, tmp_path, observer=Fails())
    assert any("<b>out of order</b>" in warning["text"] for warning in Watched(tmp_path).state()["warnings"])


def test_a_damaged_results_file_is_a_problem_and_not_the_end(done, tmp_path):
    shutil.copytree(done, tmp_path / "run")
    watched = Watched(tmp_path / "run")
    watched.state()
    (tmp_path / "run/results.json").write_text("{")
    state = watched.state()
    assert "results.json" in state["problems"][0]
    assert state["segments"] == 2 * 2 * ROWS


@pytest.mark.parametrize("place", [(7, "pbt"), (0, "none"), (-1, "pbt"), (0, "../pbt")])
def test_only_arms_and_seeds_of_the_study_have_rows(place, done):
    assert Watched(done).rows(*place, -1) is None


def test_a_folder_that_is_no_run_directory_is_refused(tmp_path):
    with pytest.raises(InputError, match="not a run directory"):
        Watched(tmp_path)
