"""Time limits, memory and GPUs of worker processes."""

import os
import signal
import subprocess
import sys

import pytest
from helpers import (
    HERE,
    RANDOM,
    STUDIES,
    alive,
    answer,
    children,
    document,
    executor_of,
    hazard,
    rows,
    run,
    sessions,
    start,
    until,
    write_study,
)

import hpo
from hpo.core.errors import InputError, StudyFailed
from hpo.core.segments import Segment
from hpo.execution.deadlines import Deadlines
from hpo.execution.executors import Execution, visible_gpus
from hpo.execution.jobs import Job
from hpo.execution.process import least_used


@pytest.mark.parametrize(
    "workers", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(4, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", STUDIES)
def test_any_number_of_worker_processes_gives_the_same_answer(serially, tmp_path, name, workers):
    run(STUDIES[name], tmp_path, executor="process", workers=workers, segment_timeout=600)
    assert answer(tmp_path) == serially[name]


def test_a_stopped_worker_is_replaced_at_its_time_limit_and_nothing_else_changes(peacefully, tmp_path):
    run(hazard(tmp_path, "stop once"), tmp_path / "run", executor="process", workers=2, segment_timeout=3)
    assert (tmp_path / "stopped").exists()
    assert answer(tmp_path / "run") == peacefully
    (session,) = sessions(tmp_path / "run")
    assert session["retries"] >= 1


def test_a_segment_that_is_over_its_time_limit_twice_stops_the_study_which_then_goes_on(peacefully, tmp_path):
    study = hazard(tmp_path, "hang", replicates=2)
    with pytest.raises(StudyFailed) as caught:
        run(study, tmp_path / "run", executor="process", workers=2, segment_timeout=1)
    said = str(caught.value)
    assert "two workers died on segment " in said
    assert "interval 2, search split, {'h0':" in said
    assert "the first killed at its time limit of 1 s, the second killed at its time limit of 1 s" in said
    assert rows(tmp_path / "run") > 0
    run(hazard(tmp_path, "peace"), tmp_path / "run")
    assert answer(tmp_path / "run") == peacefully


def test_a_worker_that_waits_for_a_child_is_killed_with_it_at_its_time_limit(peacefully, tmp_path):
    run(hazard(tmp_path, "wait for a child"), tmp_path / "run", executor="process", workers=2, segment_timeout=3)
    assert answer(tmp_path / "run") == peacefully
    assert sessions(tmp_path / "run")[0]["retries"] == 1
    assert not alive(int((tmp_path / "child").read_text()))


def test_a_worker_that_dies_is_missed_although_a_child_of_its_own_lives_on(peacefully, tmp_path):
    """The child was forked, and would hold the worker's end of the pipe. Without a time limit nothing else would tell."""
    run(hazard(tmp_path, "die and leave a child"), tmp_path / "run", executor="process", workers=2)
    assert answer(tmp_path / "run") == peacefully
    assert sessions(tmp_path / "run")[0]["retries"] == 1
    assert not alive(int((tmp_path / "child").read_text()))


def test_a_worker_that_dies_idle_takes_its_children_with_it(tmp_path):
    study = hpo.parse_study(hazard(tmp_path, "leave a child"), search_path=[HERE])
    executor = executor_of(study, tmp_path, Execution("process", 1))
    try:
        hparams = study.problem(0, study.arms[0]).hparams(0)
        for _ in range(2):  # the second time, the worker is found dead
            executor.submit(Job("a", Segment(0, None, 2, hparams), 0, 0, None))
            (outcome,) = executor.wait()
            assert (outcome.error, outcome.retries) == (None, 0)
            for pid in executor.pids:
                os.kill(pid, signal.SIGKILL)
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # dead with all its threads, and not yet reaped
        child = int((tmp_path / "child").read_text())
        assert until(lambda: not alive(child))
    finally:
        executor.close()


def test_children_of_a_task_end_with_the_coordinator(tmp_path):
    """Its workers wait for jobs, or are at work: both leave with all that they started."""
    study = write_study(tmp_path, hazard(tmp_path, "leave a child"))
    with start(study, "--out", tmp_path / "run", "--workers", "1") as coordinator:
        assert until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text(), coordinator)
        coordinator.kill()
        coordinator.wait()
    child = int((tmp_path / "child").read_text())
    assert until(lambda: not alive(child))


DAEMONS = ("program", "forked")
"""The files in which a task's daemons, started at the same time, write their process ids."""


def daemons(folder):
    """Return the daemons that a task left."""
    return [int((folder / name).read_text()) for name in DAEMONS]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
@pytest.mark.parametrize("mode", ["leave a daemon", "leave a daemon and die", "leave a daemon and hang"])
def test_what_a_task_starts_in_a_session_of_its_own_ends_with_its_worker(peacefully, tmp_path, mode):
    """Fault 45: when the study is done, when its worker dies, and when that one is killed at its time limit."""
    run(hazard(tmp_path, mode), tmp_path / "run", executor="process", workers=2, segment_timeout=5)
    assert answer(tmp_path / "run") == peacefully
    assert until(lambda: not any(map(alive, daemons(tmp_path))))


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_a_task_starts_in_a_session_of_its_own_ends_with_the_coordinator(tmp_path, number):
    """Fault 45: also with one that is killed, where the workers have to see to it themselves."""
    study = write_study(tmp_path, hazard(tmp_path, "leave a daemon", budget=300))
    with start(study, "--out", tmp_path / "run", "--workers", "2") as coordinator:
        assert until(lambda: all((tmp_path / name).exists() for name in DAEMONS), coordinator)
        assert all(map(alive, daemons(tmp_path)))
        coordinator.send_signal(number)
        coordinator.wait()
    assert until(lambda: not any(map(alive, daemons(tmp_path))))


def test_clocks_kill_who_is_late_and_nobody_else():
    deadlines = Deadlines()
    pause = [sys.executable, "-c", "import signal; signal.pause()"]
    late, done, running = (subprocess.Popen(pause, process_group=0) for _ in range(3))
    try:
        deadlines.begin(done, 0.5)
        assert not deadlines.end(done)
        deadlines.begin(running, 600)
        deadlines.begin(late, 0.6)  # rung first, although it is begun last, and after `done` would have been
        assert late.wait() == -signal.SIGKILL
        assert deadlines.end(late)
        assert not deadlines.end(late)
        assert not deadlines.end(running)
        assert (done.poll(), running.poll()) == (None, None)
        deadlines.begin(running, 0.05)
        deadlines.close()
        deadlines.close()
    finally:
        for process in (late, done, running):
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"executor": "serial", "segment_timeout": 5},
            "segment_timeout = 5: allowed with the executors process and ray",
        ),
        ({"segment_timeout": 0}, "segment_timeout = 0: allowed: seconds above 0"),
        ({"segment_timeout": float("nan")}, "segment_timeout = nan: allowed: seconds above 0"),
        ({"ray_address": "auto"}, "ray_address = 'auto': allowed with the executor ray"),
        (
            {"executor": "threads"},
            "executor = 'threads': allowed: serial, process, ray, stacked, or a concurrent.futures.Executor",
        ),
        ({"workers": 0}, "workers = 0: allowed: a number from 1"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(tmp_path, options, said):
    with pytest.raises(InputError) as caught:
        run(document(), tmp_path / "run", **({"executor": "process"} | options))
    assert said in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_memory_is_that_of_the_workers(tmp_path):
    """Not of whoever started them: this process is made larger than any of them."""
    ballast = bytearray(400 * 2**20)
    ballast[::4096] = b"x" * len(ballast[::4096])
    small = document({"name": "walk"}, arms=(RANDOM,), replicates=1)
    run(small, tmp_path / "small", executor="process", workers=1)
    # 40 MB in a state, and some copies of it.
    large = document({"name": "walk", "size": 5_000_000}, arms=(RANDOM,), replicates=1, population_size=1, budget=1)
    run(large, tmp_path / "large", executor="process", workers=1)
    ((few,), (many,)) = (sessions(tmp_path / name) for name in ("small", "large"))
    assert 10 < few["peak_worker_memory_mib"] < 300
    assert many["peak_worker_memory_mib"] > few["peak_worker_memory_mib"] + 80
    run(small, tmp_path / "serial")
    assert sessions(tmp_path / "serial")[0]["peak_worker_memory_mib"] > 400
    run(small, tmp_path / "small", executor="process", workers=1)
    assert sessions(tmp_path / "small")[1]["peak_worker_memory_mib"] is None  # nothing was left to do


def test_workers_take_gpus_in_turn():
    gpus, taken = ("2", "GPU-5ee1", "0"), []
    for _ in range(7):
        taken.append(least_used(gpus, taken))
    assert taken == ["2", "GPU-5ee1", "0", "2", "GPU-5ee1", "0", "2"]
    # A fresh worker gets the place of the one that died.
    taken.remove("GPU-5ee1")
    taken.remove("GPU-5ee1")
    assert least_used(gpus, taken) == "GPU-5ee1"
    assert least_used((), [None, None]) is None


def test_gpus_go_by_the_names_that_this_process_sees_them_under():
    assert visible_gpus(None, 3) == ("0", "1", "2")
    assert visible_gpus("2, GPU-5ee1", 2) == ("2", "GPU-5ee1")
    assert visible_gpus("1,-1,0", 1) == ("1",)  # CUDA ignores what follows a name that it does not know


def test_no_worker_is_left_after_a_time_limit(tmp_path):
    before = set(children(os.getpid()))
    with pytest.raises(StudyFailed):
        run(hazard(tmp_path, "hang"), tmp_path / "run", executor="process", workers=2, segment_timeout=0.5)
    assert set(children(os.getpid())) <= before


def test_the_expected_workers_are_those_that_were_asked_for():
    assert Execution("serial", 3).expected_workers == 1
    assert Execution("process", 3).expected_workers == 3
    assert Execution("ray", 3).expected_workers == 3
