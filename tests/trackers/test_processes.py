"""Trackers run aside: what they do wrong is a warning, and never stops or slows a study."""

import importlib
import json
import os
import signal
import subprocess
import sys
import warnings

import pytest
from helpers import ROOT, document, run, until
from tracked import in_tensorboard, same, segments_of

import hpo
from hpo.trackers import companions

OWN = """
import json, os, time
from pathlib import Path
import hpo

class Lines(hpo.Tracker):
    def open(self, study):
        path = Path(self.destination)
        return [tuple(json.loads(line)["place"]) for line in path.read_text().splitlines()] if path.exists() else []

    def log(self, segments):
        with open(self.destination, "a") as file:
            for each in segments:
                file.write(json.dumps({"place": each.place, **each.metrics}) + "\\n")

class Raises(hpo.Tracker):
    def open(self, study):
        raise ConnectionError("no server")

class Fails(hpo.Tracker):
    def log(self, segments):
        raise TimeoutError("too slow")

    def finished_replicate(self, replicate):
        raise ValueError("nor this")

    def stopped(self, end):
        raise ValueError("nor that")

class Recovers(Lines):
    def log(self, segments):
        super().log(segments[:1])
        if len(segments) > 1:
            raise TimeoutError("only one at a time")

class Late(Lines):
    def log(self, segments):
        if not Path(self.destination).exists():
            Path(self.destination).write_text("")
            raise TimeoutError("the first time")
        super().log(segments)

class Blocks(hpo.Tracker):
    def log(self, segments):
        Path(self.destination).write_text(str(os.getpid()))
        while True:
            time.sleep(1)

class Refuses(hpo.Tracker):
    def check(self):
        raise ConnectionError("no such server")

class Dies(hpo.Tracker):
    def log(self, segments):
        os._exit(3)

class Missing(hpo.Tracker):
    library, extra = "no_such_library", "tensorboard"
"""
CLASSES = ["Lines", "Raises", "Fails", "Recovers", "Late", "Blocks", "Refuses", "Dies", "Missing"]


@pytest.fixture
def own(package):
    package(OWN.replace("\\\\n", "\\n"), *((name.lower(), name) for name in CLASSES))


def places(path):
    return [tuple(json.loads(line)["place"]) for line in path.read_text().splitlines()]


@pytest.mark.usefixtures("own")
def test_a_tracker_of_another_package(tmp_path):
    run(document(), tmp_path / "run", track=f"lines:{tmp_path / 'lines'}")
    run(document(replicates=3), tmp_path / "run", track=f"lines:{tmp_path / 'lines'}")
    found = places(tmp_path / "lines")
    assert len(found) == 120
    assert set(found) == set(segments_of(tmp_path / "run"))


@pytest.mark.usefixtures("package")
def test_the_example_in_the_docs(tmp_path, monkeypatch):
    """Its module registers it when it is imported, here and in the process of the tracker."""
    monkeypatch.syspath_prepend(ROOT / "docs" / "examples")
    importlib.import_module("my_trackers")
    for _ in range(2):
        run(document(), tmp_path / "run", track=f"lines:{tmp_path / 'lines'}")
        assert len(places(tmp_path / "lines")) == 80
    sys.modules.pop("my_trackers")


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("name", "words"), [("raises", ["no server"]), ("fails", ["too slow"]), ("dies", ["exit code 3"])]
)
def test_a_tracker_that_fails_is_a_warning(name, words, tmp_path):
    with pytest.warns(RuntimeWarning) as warned:
        run(document(), tmp_path / "run", track=f"{name}:x")
    said = " ".join(str(each.message) for each in warned)
    assert all(word in said for word in [f"{name}:x", *words])
    assert said.count(words[0]) == 1
    assert len(json.loads((tmp_path / "run" / "results.json").read_text())["replicates"]) == 2


@pytest.mark.usefixtures("own")
def test_what_failed_half_way_is_tried_again_and_not_written_twice(tmp_path):
    with pytest.warns(RuntimeWarning, match="only one at a time"):
        run(document(replicates=1), tmp_path / "run", track=f"recovers:{tmp_path / 'lines'}")
    found = places(tmp_path / "lines")
    assert len(set(found)) == len(found) >= 1


class Waits(hpo.Observer):
    """Lets a replicate end only when a file is there."""

    def __init__(self, path):
        self.path = path

    def finished_replicate(self, replicate):
        until(lambda: self.path.exists() and self.path.read_text())


@pytest.mark.usefixtures("own")
def test_a_tracker_that_blocks_ends_with_the_study(tmp_path, monkeypatch):
    monkeypatch.setattr(companions, "GRACE", 1.0)
    pid = tmp_path / "pid"
    with pytest.warns(RuntimeWarning, match="did not finish within 1 s"):
        run(document(), tmp_path / "run", track=f"blocks:{pid}", observer=Waits(pid))
    assert not is_running(int(pid.read_text()))
    run(document(), tmp_path / "alone")
    assert (tmp_path / "run" / "results.json").read_bytes() == (tmp_path / "alone" / "results.json").read_bytes()


KILLED = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests" / "support")!r})
import os, signal, helpers, hpo
from pathlib import Path
from hpo.trackers import companions

track, path, waits = sys.argv[1:]
if waits:
    companions.GRACE = 1.0

class Kill(hpo.Observer):
    def finished_replicate(self, replicate):
        if waits:
            helpers.until(lambda: Path(path).exists() and Path(path).read_text())
        os.kill(os.getpid(), signal.SIGKILL)

helpers.run(helpers.document(), Path("run"), track=f"{{track}}:{{path}}", observer=Kill())
"""


@pytest.mark.usefixtures("own")
def test_a_tracker_that_blocks_when_the_study_is_killed_ends_too(tmp_path):
    pid = tmp_path / "pid"
    done = subprocess.run([sys.executable, "-c", KILLED, "blocks", pid, "waits"], cwd=tmp_path, check=False)
    assert done.returncode == -signal.SIGKILL
    until(lambda: not is_running(int(pid.read_text())))


@pytest.mark.usefixtures("own")
def test_a_tracker_that_has_a_warning_when_the_study_was_killed_goes_on(tmp_path):
    """Nobody hears the warning; the next session finds what was written."""
    path = tmp_path / "lines"
    done = subprocess.run([sys.executable, "-c", KILLED, "late", path, ""], cwd=tmp_path, check=False)
    assert done.returncode == -signal.SIGKILL
    until(path.exists)
    run(document(), tmp_path / "run", track=f"late:{path}")
    assert sorted(places(path)) == sorted(segments_of(tmp_path / "run"))


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# --- before a study starts -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("track", "words"),
    [
        ("tensorboard", "NAME:DESTINATION"),
        (":x", "NAME:DESTINATION"),
        ("tensorbord:x", "tensorboard"),
        ("missing:x", "hpo[tensorboard]"),
        ("refuses:x", "no such server"),
        ("tensorboard:file/x", "cannot be created"),
        ("mlflow:nothing://x", "mlflow:nothing://x"),
        ("wandb:/", "PROJECT"),
    ],
)
def test_a_tracker_that_cannot_be_used_is_an_error_before_work_starts(track, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(hpo.InputError) as error:
        run(document(), tmp_path / "run", track=track)
    assert words in str(error.value)
    assert track in str(error.value)
    assert not (tmp_path / "run" / "segments.csv").exists()


def test_the_command_line_refuses_it_too(tmp_path):
    study = ROOT / "studies" / "digits_quick.toml"
    command = [sys.executable, "-m", "hpo.run", study, "--track", "nothing:x"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--track nothing:x" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_class_of_a_script_is_an_observer_and_no_tracker(tmp_path):
    code = (
        "import hpo\n@hpo.register_tracker('own')\nclass Own(hpo.Tracker):\n    pass\n"
        "hpo.tune(lambda hparams: hparams['x'], {'x': hpo.Float(0, 1)}, trials=2, track='own:x')\n"
    )
    (tmp_path / "script.py").write_text(code)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "observer=Own('x')" in done.stderr


# --- processes -----------------------------------------------------------------------------------------------------------


def test_pipes_of_trackers_do_not_keep_workers_from_being_forked(tmp_path):
    """They are closed in the workers, or a tracker would never notice that its study was killed."""
    code = """if True:
        import os, subprocess, sys
        from hpo.execution.forking import forks, is_safe, tolerate
        with forks():
            process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
            assert not is_safe()
            tolerate(process.stdin)
            assert is_safe()
            if os.fork() == 0:
                os._exit(0 if process.stdin.closed else 1)
            sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
    """
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_trackers_do_not_change_the_answer(tmp_path):
    study = tmp_path / "study.toml"
    study.write_text(
        "[study]\nname = 'small'\nreplicates = 1\npopulation_size = 4\nbudget = 2\ninterval = 1\n[task]\nname = 'toy'\n"
        "[[arms]]\nlabel = 'random'\noptimizer = 'random_search'\n"
    )
    found = []
    for number, options in enumerate([[], ["--track", f"tensorboard:{tmp_path / 'tb'}"]]):
        out = tmp_path / str(number)
        command = [sys.executable, "-m", "hpo.run", study, "--workers", "2", "--out", out, "--no-report", *options]
        subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
        found.append([(out / name).read_bytes() for name in ("results.json", "segments.csv")])
    assert found[0] == found[1]
    same(in_tensorboard(tmp_path / "tb" / "small")[0], segments_of(tmp_path / "1"))


def test_a_study_without_trackers_starts_none(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(document(replicates=1), tmp_path)
    assert not (tmp_path / ".trackers").exists()
