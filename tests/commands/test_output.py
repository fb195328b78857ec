"""Output that cannot be written: whatever becomes of the standard streams, a command goes on and keeps its exit code."""

import gc
import os
import pty
import shlex
import signal
import subprocess
import sys

import pytest
from helpers import (
    DEADLINE,
    answer,
    command,
    document,
    environment,
    heed_signals,
    results,
    rows,
    run,
    until,
    write_study,
)

from hpo.cli import exit_code

TALKING = """
import os, sys
from dataclasses import dataclass
import hpo
from hpo.tasks.toy import Toy


@hpo.register_task("talking")
@dataclass(frozen=True)
class Talking(Toy):
    version = "1"
    metrics = (hpo.Metric("größe", "maximize"),)

    def evaluate(self, state, data):
        print("what a task says: größe", flush=True)
        print("and on the other stream: größe", file=sys.stderr, flush=True)
        return hpo.Evaluation({"größe": super().evaluate(state, data).metrics["score"]})
"""
REDIRECTED = [
    ">&-",
    "2>&-",
    "<&- >&- 2>&-",
    ">/dev/full",
    "2>/dev/full",
    ">/dev/full 2>&1",
    "| head -n 1",
    "2>&1 | true",
]


def shell(line, folder, **more):
    """Run a command line of bash, whose exit status is that of its first command."""
    script = f"{line}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def talking(tmp_path_factory):
    """Return a folder with a study whose task prints, and its run directory."""
    folder = tmp_path_factory.mktemp("talking")
    (folder / "talking_task.py").write_text(TALKING)
    study = document({"name": "talking", "module": "talking_task"}, replicates=1)
    study["comparison"] = {"baseline": "random", "metric": "größe"}
    write_study(folder, study)
    assert shell(shlex.join(command(folder / "study.toml", "--out", "run", "--quiet")), folder)[0] == 0
    return folder


@pytest.mark.parametrize(
    ("redirected", "quiet", "executor"),
    [  # in turn one executor, in the quick set
        pytest.param(redirected, quiet, executor, marks=[pytest.mark.slow] if quiet or number % 2 != place % 2 else [])
        for number, redirected in enumerate(REDIRECTED)
        for quiet in ([], ["--quiet"])
        for place, executor in enumerate(("serial", "process"))
    ],
)
def test_a_study_goes_on_when_its_output_cannot_be_written(talking, tmp_path, redirected, quiet, executor):
    """Fault 42: closed streams, a full device, a reader that leaves; what the task itself prints, too."""
    line = shlex.join(
        command(talking / "study.toml", "--out", tmp_path / "run", "--executor", executor, "--workers", 2, *quiet)
    )
    code, _, err = shell(f"{line} {redirected}", talking)
    assert code == 0, err
    assert "Traceback" not in err
    assert answer(tmp_path / "run") == answer(talking / "run")


def test_what_is_dropped_is_said_where_it_can_be(talking, tmp_path):
    code, _, err = shell(
        f"{shlex.join(command(talking / 'study.toml', '--out', tmp_path / 'run'))} >/dev/full", talking
    )
    assert (code, err.count("No space left on device")) == (0, 1)


def test_an_encoding_without_a_letter_ends_no_study(talking, tmp_path):
    """Fault 42: what the encoding of the terminal cannot say is written as an escape."""
    line = shlex.join(command(talking / "study.toml", "--out", tmp_path / "run"))
    code, out, err = shell(line, talking, PYTHONIOENCODING="ascii")
    assert code == 0, err
    assert "gr\\xf6\\xdfe" in out
    assert answer(tmp_path / "run") == answer(talking / "run")


def test_a_study_that_fails_keeps_its_exit_code_without_output(talking, tmp_path):
    text = TALKING.replace('"talking"', '"failing"') + (
        "\n    def train(self, state, hparams, batches):\n        if batches.start == 2: raise RuntimeError('no luck')\n"
        "        return super().train(state, hparams, batches)\n"
    )
    (tmp_path / "failing_task.py").write_text(text)
    write_study(tmp_path, document({"name": "failing", "module": "failing_task"}, arms=document()["arms"][:1]))
    for redirected in (">&- 2>&-", ">/dev/full 2>&1", "2>&1 | true"):
        line = shlex.join(command(tmp_path / "study.toml", "--out", "run"))
        assert shell(f"{line} {redirected}", tmp_path)[0] == 1
        assert shell(f"{line} --workers 0 {redirected}", tmp_path)[0] == 2


COMMANDS = [
    ("hpo.run --help", 0),
    ("hpo.run study.toml --dry-run", 0),
    ("hpo.store ls run", 0),
    ("hpo.store verify run", 0),
    ("hpo.report run", 0),
    ("hpo.report nowhere", 2),
    ("hpo.plan run --no-timing", 0),
    ("hpo.compare run", 0),
]


@pytest.mark.parametrize(
    ("arguments", "code", "redirected"),
    [  # in turn one redirection, in the quick set
        pytest.param(arguments, code, redirected, marks=[pytest.mark.slow] if number % 3 != place else [])
        for number, (arguments, code) in enumerate(COMMANDS)
        for place, redirected in enumerate((">&- 2>&-", ">/dev/full 2>&1", "| true"))
    ],
)
def test_every_command_keeps_its_exit_code_without_output(talking, arguments, code, redirected):
    """Fault 42: the command's exit code is that of its work."""
    found, _, err = shell(f"{sys.executable} -m {arguments} {redirected}", talking)
    assert found == code, err
    assert "Traceback" not in err


def test_a_terminal_that_is_closed_interrupts_a_study_which_then_goes_on(tmp_path):
    """Faults 42 and 44: the kernel sends SIGHUP, and what is said afterwards cannot be written."""
    study = write_study(tmp_path, document({"name": "walk"}, budget=60, replicates=1))
    master, terminal = pty.openpty()
    process = subprocess.Popen(
        ["bash", "-c", 'exec setsid --ctty "$@"', "bash", *command(study, "--out", "run", "--workers", "2")],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=tmp_path,
        env=environment(TERM="xterm"),
        preexec_fn=heed_signals,
    )
    os.close(terminal)
    assert until(lambda: rows(tmp_path / "run") >= 40, process)
    os.close(master)
    assert process.wait(DEADLINE) == 130
    assert rows(tmp_path / "run") >= 40
    run(document({"name": "walk"}, budget=60, replicates=1), tmp_path / "run")
    run(document({"name": "walk"}, budget=60, replicates=1), tmp_path / "at once")
    assert answer(tmp_path / "run") == answer(tmp_path / "at once")


def test_a_signal_that_a_command_was_started_to_ignore_stays_ignored(tmp_path):
    """A study that `nohup` started goes on when its terminal closes."""
    study = write_study(tmp_path, document({"name": "walk"}, budget=20, replicates=1))
    line = ["nohup", *command(study, "--out", "run", "--workers", "2")]
    with subprocess.Popen(
        line, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert until(lambda: rows(tmp_path / "run") >= 10, process)
        process.send_signal(signal.SIGHUP)
        _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, err
    assert len(results(tmp_path / "run")["replicates"]) == 1


def test_a_command_that_is_called_in_a_process_leaves_its_garbage_collection_alone():
    before = gc.get_threshold()
    assert exit_code(lambda: int(gc.get_threshold() == before)) == 0  # a command collects less often
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)
