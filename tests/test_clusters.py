"""The scripts on the page about clusters, run without a batch system: its variables are set, and its commands note their calls."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import DEADLINE, STUDIES, answer, environment, hazard, run, sessions, write_study

import hpo

PAGE = Path(hpo.__file__).parent.parent / "docs" / "how_to" / "clusters.md"
SCRIPTS = {
    re.findall(r"^#SBATCH --job-name=(\w+)$", script, re.MULTILINE)[0]: script
    for script in re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
}


def program(folder, name, text):
    """Write a program that scripts find."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def submitted(folder, script, **variables):
    """Run a script as a job in a folder, and return its exit code and all that it said."""
    program(folder / "bin", "hpo", f'exec {shlex.quote(sys.executable)} -m hpo "$@"')
    program(folder / "bin", "scontrol", f'echo "$@" >> {shlex.quote(str(folder / "called"))}')
    (folder / "own").mkdir(exist_ok=True)
    job = {
        "SLURM_SUBMIT_DIR": str(folder),
        "SLURM_JOB_ID": "7",
        "SLURM_CPUS_PER_TASK": "1",
        "TMPDIR": str(folder / "own"),
    }
    found = environment(**job, **variables)
    found["PATH"] = f"{folder / 'bin'}:{found['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=found, text=True, capture_output=True, check=False, timeout=DEADLINE
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_is_one_that_bash_reads(name):
    subprocess.run(["bash", "-n"], input=SCRIPTS[name], text=True, check=True)


def test_a_job_at_its_limit_goes_back_into_the_queue_and_then_on_to_the_same_answer(tmp_path):
    run(hazard(tmp_path, "peace"), tmp_path / "peace")
    write_study(tmp_path, hazard(tmp_path, "hang"))
    script = SCRIPTS["digits"]
    code, said = submitted(tmp_path, script.replace("3h50m", "4s"))
    assert code == 124, said
    assert (tmp_path / "called").read_text() == "requeue 7\n"
    hazard(tmp_path, "peace")
    code, said = submitted(tmp_path, script)
    assert code == 0, said
    assert (tmp_path / "called").read_text() == "requeue 7\n"
    assert answer(tmp_path / "runs" / "digits") == answer(tmp_path / "peace")
    assert list((tmp_path / "own").iterdir()) == []


def test_jobs_of_one_seed_each_come_together_to_the_same_answer(tmp_path):
    run(STUDIES["files"], tmp_path / "whole")
    write_study(tmp_path, STUDIES["files"])
    for seed in ("0", "1"):
        code, said = submitted(tmp_path, SCRIPTS["part"], SLURM_ARRAY_TASK_ID=seed)
        assert code == 0, said
    code, said = submitted(tmp_path, SCRIPTS["merge"])
    assert code == 0, said
    assert answer(tmp_path / "runs" / "digits") == answer(tmp_path / "whole")
    (session,) = sessions(tmp_path / "runs" / "digits")
    assert session["segments_computed"] == session["segments_recomputed"] == 0
    assert list((tmp_path / "own").iterdir()) == []
