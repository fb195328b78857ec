"""Worker processes: what happens when they die, fail, differ, or lose their coordinator."""

import os
import signal
import subprocess
import sys

import pytest
from helpers import (
    PBT,
    RANDOM,
    TOY,
    alive,
    answer,
    children,
    cli,
    document,
    environment,
    executor_of,
    hazard,
    results,
    rows,
    run,
    sessions,
    start,
    until,
    write_study,
)

import hpo
from hpo.core.errors import StudyFailed
from hpo.core.observer import Observer
from hpo.core.segments import Segment
from hpo.execution.executors import Execution
from hpo.execution.jobs import Job


@pytest.mark.parametrize("mode", ["die once", "die speaking"])
def test_the_job_of_a_killed_worker_is_run_once_more_and_nothing_else_changes(peacefully, tmp_path, mode):
    run(hazard(tmp_path, mode), tmp_path / "run", executor="process", workers=2)
    assert (tmp_path / "died").exists()
    assert answer(tmp_path / "run") == peacefully
    (disturbed,), (peaceful,) = sessions(tmp_path / "run"), sessions(tmp_path / "peace")
    assert (disturbed["retries"], peaceful["retries"]) == (1, 0)
    assert disturbed["segments_computed"] == peaceful["segments_computed"]


def test_a_job_on_which_two_workers_died_stops_the_study_which_then_goes_on(peacefully, tmp_path):
    study = write_study(tmp_path, hazard(tmp_path, "die"))
    done = cli(study, "--out", "run", "--workers", 2, "--quiet")
    assert done.returncode == 1
    assert "two workers died on segment" in done.stderr
    assert "interval 2, search split, {'h0':" in done.stderr
    assert "exit status -9" in done.stderr
    assert "Traceback" not in done.stderr
    assert rows(tmp_path / "run") > 0
    run(hazard(tmp_path, "peace"), tmp_path / "run", executor="process", workers=2)
    assert answer(tmp_path / "run") == peacefully
    (total,) = sessions(tmp_path / "peace")
    assert sum(session["segments_computed"] for session in sessions(tmp_path / "run")) == total["segments_computed"]


@pytest.mark.parametrize(
    ("mode", "executor", "said"),
    [
        ("raise", "process", "ValueError: as it was told"),
        ("raise", "serial", "ValueError: as it was told"),
        ("leave", "serial", "SystemExit: the task left"),
        ("no file", "serial", "FileNotFoundError"),
        ("raise an interruption", "serial", "KeyboardInterrupt: raised by the task"),
        ("raise an interruption", "process", "KeyboardInterrupt: raised by the task"),
        ("raise another class", "serial", "Abort: raised by the task"),
        ("raise another class", "process", "Abort: raised by the task"),
        ("set a hyperparameter", "serial", "TypeError: hyperparameters are read-only"),
        ("set a hyperparameter", "process", "TypeError: hyperparameters are read-only"),
    ],
)
def test_an_exception_in_a_task_stops_the_study_with_its_traceback(peacefully, tmp_path, mode, executor, said):
    """Faults 41 and 44: also one that is no `Exception`, and a task that writes into its hyperparameters."""
    with pytest.raises(StudyFailed) as raised:
        run(hazard(tmp_path, mode), tmp_path / "run", executor=executor, workers=2)
    words = str(raised.value)
    assert "exception in the task" in words
    assert "interval 2, search split" in words
    assert said in words
    assert 'hazard_tasks.py", line' in words
    finished = sessions(tmp_path / "run")[0]["segments_computed"]
    assert finished > 0
    # The cause is fixed, and the same command goes on.
    run(hazard(tmp_path, "peace"), tmp_path / "run", executor=executor, workers=2)
    assert answer(tmp_path / "run") == peacefully
    (total,) = sessions(tmp_path / "peace")
    assert sessions(tmp_path / "run")[1]["segments_computed"] == total["segments_computed"] - finished


def test_a_worker_with_other_numerics_is_refused(tmp_path):
    with pytest.raises(StudyFailed, match=r"numerics\.blas: 'another', not None"):
        run(hazard(tmp_path, "other numerics in workers"), tmp_path / "run", executor="process", workers=2)
    assert rows(tmp_path / "run") == 0


TURNCOAT = """
import os, signal
from dataclasses import dataclass
from pathlib import Path
import hpo
from hpo.tasks.toy import Toy


@hpo.register_task("turncoat")
@dataclass(frozen=True)
class Turncoat(Toy):
    training_noise: float = 0.01

    def train(self, state, hparams, batches):
        state = super().train(state, hparams, batches)
        if batches.start == 2:
            here = Path(__file__)
            try:
                here.with_name("edited").touch(exist_ok=False)
            except FileExistsError:
                return state
            here.write_text(here.read_text() + "# an edit while the study runs\\n")
            os.kill(os.getpid(), signal.SIGKILL)
        return state
"""


def test_a_worker_whose_task_was_edited_since_the_study_began_is_refused(tmp_path):
    small = document({"name": "turncoat", "module": "turncoat_task"})
    for folder in (tmp_path, tmp_path / "undisturbed"):
        folder.mkdir(exist_ok=True)
        (folder / "turncoat_task.py").write_text(TURNCOAT)
        write_study(folder, small)
    (tmp_path / "undisturbed" / "edited").touch()
    assert cli(tmp_path / "undisturbed" / "study.toml", "--out", "run", "--workers", 2).returncode == 0
    command = (tmp_path / "study.toml", "--out", "run", "--workers", 2)
    done = cli(*command)
    assert done.returncode == 1, done.stderr
    assert "is refused: its task is not the one that the study began with (task.code.turncoat_task.py: " in done.stderr
    assert "Undo that and run the same command again" in done.stderr
    assert "Traceback" not in done.stderr
    before = rows(tmp_path / "run")
    assert before > 0
    edited = cli(*command)  # with the edit the study is another one
    assert (edited.returncode, rows(tmp_path / "run")) == (2, before)
    (tmp_path / "turncoat_task.py").write_text(TURNCOAT)
    done = cli(*command)
    assert done.returncode == 0, done.stderr
    assert answer(tmp_path / "run") == answer(tmp_path / "undisturbed" / "run")


def test_a_task_that_another_module_registers_under_an_alias_runs_in_workers(tmp_path):
    (tmp_path / "aliased_origin.py").write_text(
        "from dataclasses import dataclass\nfrom hpo.tasks.toy import Toy\n"
        "@dataclass(frozen=True)\nclass Plain(Toy):\n    training_noise: float = 0.01\n"
    )
    (tmp_path / "aliases.py").write_text(
        "import hpo\nfrom aliased_origin import Plain\nhpo.register_task('alias')(Plain)\n"
    )
    (tmp_path / "aliased_optimizers.py").write_text(
        "from dataclasses import dataclass\nimport hpo\nfrom hpo.optimizers.random_search import RandomSearch\n"
        "@hpo.register_optimizer('aliased')\n@dataclass(frozen=True)\nclass Mine(RandomSearch):\n    pass\n"
    )
    mine = {"label": "mine", "optimizer": "aliased"}
    for modules, arms in (("aliases", (RANDOM, PBT)), (["aliases", "aliased_optimizers"], (RANDOM, mine))):
        study = document({"name": "alias", "module": modules}, arms=arms)
        found = []
        for executor in ("process", "serial"):
            out = tmp_path / f"{executor}-{len(modules)}"
            spec = hpo.parse_study(study, search_path=[tmp_path])
            hpo.run_study(spec, out=out, executor=executor, workers=2, report=False)
            found.append(answer(out))
        assert found[0] == found[1]


def test_a_worker_that_cannot_build_the_task_says_why(tmp_path):
    (tmp_path / "licensed_task.py").write_text(
        "import os\nfrom dataclasses import dataclass\nimport hpo\nfrom plain_tasks import Walk\n\n"
        "@hpo.register_task('licensed')\n@dataclass(frozen=True)\nclass Licensed(Walk):\n"
        "    def __post_init__(self):\n"
        "        if os.environ.get('HPO_WORKER'): raise RuntimeError('no licence here')\n"
    )
    study = write_study(tmp_path, document({"name": "licensed", "module": "licensed_task"}))
    done = cli(study, "--out", "run", "--workers", 2)
    assert done.returncode == 1
    assert "RuntimeError: no licence here" in done.stderr


@pytest.mark.parametrize(
    "stopped", [False, pytest.param(True, marks=pytest.mark.skipif(sys.platform != "linux", reason="prctl"))]
)
def test_no_worker_outlives_a_killed_coordinator(tmp_path, stopped):
    study = write_study(tmp_path, document({"name": "walk"}, budget=400, population_size=8))
    with start(study, "--workers", 2, "--out", "run") as coordinator:
        try:
            assert until(lambda: rows(tmp_path / "run") >= 30, coordinator)
            workers = children(coordinator.pid)
            assert len(workers) == 2
            assert all(map(alive, workers))
            if stopped:  # as by Ctrl-Z: it can do nothing by itself
                os.kill(workers[0], signal.SIGSTOP)
        finally:
            coordinator.kill()
            coordinator.wait()
        assert until(lambda: not any(map(alive, workers)))


def test_no_worker_outlives_a_study(tmp_path):
    before = set(children(os.getpid()))
    run(document(), tmp_path / "run", executor="process", workers=2)
    assert set(children(os.getpid())) <= before


SCRIPT = """
from dataclasses import dataclass
import os, sys
import hpo
from hpo.tasks.toy import Toy

@hpo.register_task("mine")
@dataclass(frozen=True)
class Mine(Toy):
    training_noise: float = 0.01

def main():
    executor = os.environ["EXECUTOR"]
    spec = hpo.load_study("study.toml")
    result = hpo.run_study(spec, out=executor, workers=2, executor=executor, report=False)
    print(len(result.results["replicates"]), "replicates")
"""


def script(tmp_path, last_lines, executor="process", by_name=True, version=""):
    """Run the script, in a file of its own or as text on the command line."""
    write_study(tmp_path, document({"name": "mine"}))
    text = SCRIPT.replace("class Mine(Toy):", f"class Mine(Toy):\n    {version or 'pass'}") + last_lines
    (tmp_path / "my_script.py").write_text(text)
    return subprocess.run(
        [sys.executable, *(["my_script.py"] if by_name else ["-c", text])],
        capture_output=True,
        text=True,
        env=environment(EXECUTOR=executor),
        cwd=tmp_path,
        timeout=60,
        check=False,
    )


def test_a_task_of_a_script_runs_in_workers(tmp_path):
    for executor in ("process", "serial"):
        done = script(tmp_path, "if __name__ == '__main__':\n    main()\n", executor)
        assert done.returncode == 0, done.stderr
        assert done.stdout == "2 replicates\n"
    assert answer(tmp_path / "process") == answer(tmp_path / "serial")


@pytest.mark.parametrize(
    "last_lines",
    [
        "main()\n",
        pytest.param("try:\n    main()\nexcept hpo.InputError as e:\n    sys.exit(str(e))\n", marks=pytest.mark.slow),
    ],
)
def test_an_unguarded_script_is_told_to_guard_itself(tmp_path, last_lines):
    done = script(tmp_path, last_lines)
    assert done.returncode == 1
    assert "guard your script with `if __name__ == '__main__':`" in done.stderr
    assert rows(tmp_path / "process") == 0


@pytest.mark.parametrize("version", ["pass", "version = '1'"])
def test_a_task_of_an_interactive_session_goes_to_workers_by_value(tmp_path, version):
    for executor in ("serial", "process"):
        done = script(tmp_path, "main()\n", executor, by_name=False, version=version)
        assert (done.returncode, done.stdout) == (0, "2 replicates\n"), done.stderr
    assert answer(tmp_path / "process") == answer(tmp_path / "serial")


def piped(tmp_path, text):
    """Run a script that comes on the standard input."""
    write_study(tmp_path, document({"name": "mine"}))
    return subprocess.run(
        [sys.executable, "-"],
        input=text,
        capture_output=True,
        text=True,
        env=environment(EXECUTOR="process"),
        cwd=tmp_path,
        timeout=60,
        check=False,
    )


def test_a_task_of_a_script_on_the_standard_input_goes_to_workers_by_value(tmp_path):
    """Fault 32: the workers looked for a file `<stdin>`."""
    done = piped(tmp_path, SCRIPT + "main()\n")
    assert (done.returncode, done.stdout) == (0, "2 replicates\n"), done.stderr


def test_a_task_of_a_script_on_the_standard_input_whose_source_is_unknown_needs_a_version(tmp_path):
    method = "class Mine(Toy):\n    def check(self):\n        return None\n"
    done = piped(tmp_path, SCRIPT.replace("class Mine(Toy):\n", method) + "main()\n")
    assert done.returncode == 1
    assert "the source of Mine.check cannot be read" in done.stderr
    assert not (tmp_path / "process").exists()


def test_a_script_on_the_standard_input_may_use_tasks_from_files(tmp_path):
    """Fault 32: it needs no guard either, because workers do not import it."""
    write_study(tmp_path, document(), "built_in.toml")
    done = piped(tmp_path, SCRIPT.replace('"study.toml"', '"built_in.toml"') + "main()\n")
    assert (done.returncode, done.stdout) == (0, "2 replicates\n"), done.stderr


def test_more_workers_than_work_is_no_trouble(tmp_path):
    small = document(TOY, arms=(RANDOM,), replicates=1, population_size=1, budget=2)
    run(small, tmp_path / "many", executor="process", workers=5)
    run(small, tmp_path / "serial")
    assert answer(tmp_path / "many") == answer(tmp_path / "serial")


def test_workers_that_are_shot_from_outside_are_replaced(tmp_path):
    """Each death costs its job a second try, never the answer."""
    small = document({"name": "walk"}, budget=12, replicates=1)
    before, shot = set(children(os.getpid())), []

    class Gunman(Observer):
        def segment(self, segment):
            workers = sorted(set(children(os.getpid())) - before)
            if len(workers) == 2 and not shot:
                shot.extend(workers)
                for worker in workers:
                    os.kill(worker, signal.SIGKILL)

    run(small, tmp_path / "shot", executor="process", workers=2, observer=Gunman())
    assert len(shot) == 2
    run(small, tmp_path / "serial")
    assert answer(tmp_path / "shot") == answer(tmp_path / "serial")
    assert not set(children(os.getpid())) - before


# --- the executor by itself -----------------------------------------------------------------------------------------------


@pytest.fixture
def executor(tmp_path):
    """Return an executor with one worker, and a job for it."""
    spec = hpo.parse_study(document(arms=(RANDOM,)))
    made = executor_of(spec, tmp_path, Execution(workers=1))
    yield made, Job("0" * 64, Segment(0, None, 0, spec.problem(0, spec.arms[0]).hparams(0)), 0, 0, None)
    made.close()


def test_a_worker_that_died_with_nothing_to_do_counts_for_no_job(executor):
    workers, job = executor
    workers.submit(job)
    (first,) = workers.wait()
    (pid,) = workers.pids
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # dead with all its threads, and not yet reaped
    workers.submit(job)
    (second,) = workers.wait()
    assert second.retries == 0
    assert (second.metrics, second.checkpoint) == (first.metrics, first.checkpoint)
    assert workers.pids != [pid]


def test_workers_that_cannot_even_start_are_a_failure_with_a_name(executor, monkeypatch):
    workers, job = executor
    monkeypatch.setattr(sys, "executable", "/bin/false")
    workers.submit(job)
    with pytest.raises(StudyFailed, match="two workers died on segment 000000000000"):
        workers.wait()
    workers.close()
    workers.close()
    assert workers.pids == []


def test_workers_import_what_the_script_imports_of_two_modules_with_one_name(tmp_path):
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "strength.py").write_text("STRENGTH = 0.5\n")
    (tmp_path / "strength.py").write_text("STRENGTH = 2.0\n")
    text = SCRIPT.replace("import hpo\n", "import hpo, strength\n").replace(
        "    training_noise: float = 0.01",
        "    def train(self, state, hparams, batches):\n"
        "        return super().train(state * strength.STRENGTH, hparams, batches)",
    )
    (tmp_path / "scripts" / "my_script.py").write_text(text + "if __name__ == '__main__':\n    main()\n")
    write_study(tmp_path, document({"name": "mine"}))
    for executor in ("process", "serial"):
        done = subprocess.run(
            [sys.executable, "scripts/my_script.py"],
            cwd=tmp_path,
            env=environment(EXECUTOR=executor),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert answer(tmp_path / "process") == answer(tmp_path / "serial")


def test_modules_on_the_path_of_the_script_are_found_by_its_workers(tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "in_lib.py").write_text(
        "from dataclasses import dataclass\nimport hpo\nfrom hpo.tasks.toy import Toy\n\n"
        "@hpo.register_task('in_lib')\n@dataclass(frozen=True)\nclass InLib(Toy):\n    pass\n"
    )
    (tmp_path / "script.py").write_text(
        "import sys\nsys.path.insert(0, 'lib')\nimport hpo, in_lib\n\n"
        "if __name__ == '__main__':\n"
        f"    study = hpo.parse_study({document({'name': 'in_lib'}, arms=(RANDOM,), replicates=1)!r})\n"
        "    hpo.run_study(study, out='run', workers=1, report=False)\n"
    )
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(results(tmp_path / "run")["replicates"]) == 1


QUIRK = {
    "none": ("", True),
    "a thread": ("import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n", False),
    "an open file": ("FILE = open(__file__)\n", False),
}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked")
@pytest.mark.parametrize("quirk", QUIRK)
def test_a_command_forks_its_workers_where_that_is_safe(tmp_path, quirk):
    """A fork has the modules of its parent: the task's is imported once."""
    text, is_safe = QUIRK[quirk]
    (tmp_path / "loud_task.py").write_text(
        "from dataclasses import dataclass\nfrom pathlib import Path\nimport hpo\nfrom hpo.tasks.toy import Toy\n"
        f"{text}with open(Path(__file__).with_name('imports'), 'a') as file:\n    file.write('imported\\n')\n"
        "@hpo.register_task('loud')\n@dataclass(frozen=True)\nclass Loud(Toy):\n    training_noise: float = 0.01\n"
    )
    study = write_study(tmp_path, document({"name": "loud", "module": "loud_task"}))
    assert cli(study, "--workers", 2, "--out", tmp_path / "process").returncode == 0
    assert (tmp_path / "imports").read_text().count("imported") == (1 if is_safe else 3)
    assert cli(study, "--executor", "serial", "--out", tmp_path / "serial").returncode == 0
    assert answer(tmp_path / "process") == answer(tmp_path / "serial")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked")
def test_what_a_task_leaves_in_a_forked_worker_ends_with_it(tmp_path):
    """Linux does not show the environment that a fork has put its mark into."""
    study = write_study(tmp_path, hazard(tmp_path, "leave a daemon and die"))
    assert cli(study, "--out", tmp_path / "run", "--workers", 2).returncode == 0
    assert sessions(tmp_path / "run")[0]["retries"] == 1
    left = [int((tmp_path / name).read_text()) for name in ("program", "forked")]
    assert until(lambda: not any(map(alive, left)))
