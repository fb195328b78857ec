"""progress.jsonl: what others see of a running study."""

import json
import math
import os
import signal
import time
from contextlib import suppress
from itertools import pairwise

import pytest
from helpers import PBT, RANDOM, Interrupts, alive, document, hazard, run, start, until, write_study

import hpo
from hpo.core.errors import InputError, StudyFailed
from hpo.engine import progress_file
from hpo.results.progress import Counts, Finished, Started, Stopped, Warned, is_alive, of_line, start_of

STUDY = document(arms=(RANDOM, PBT), replicates=2)


def events(run_dir, *kinds):
    found = [of_line(line) for line in (run_dir / "progress.jsonl").read_bytes().splitlines()]
    return [event for event in found if isinstance(event, kinds or object)]


def test_a_session_is_there_from_its_start_to_its_end(tmp_path):
    result = run(STUDY, tmp_path)
    started, *_, last, stopped = events(tmp_path)
    assert (started.seeds, started.workers, started.executor, started.pid) == ((0, 1), 1, "serial", os.getpid())
    assert stopped.reason == "done"
    assert last.answers == started.answers
    assert last.in_flight == last.left == 0
    for label, counts in last.arms.items():
        assert (counts.replicates, counts.charged, counts.retrained) == (2, 2 * started.budget, counts.retrains), label
    finished = events(tmp_path, Finished)
    assert {event.seed: event.tests for event in finished} == {
        replicate.seed: {label: arm.test for label, arm in replicate.arms.items()}
        for replicate in result.document.replicates
    }
    assert [event.n for event in events(tmp_path)] == list(range(len(events(tmp_path))))


def test_the_jobs_in_flight_are_listed(tmp_path, monkeypatch):
    monkeypatch.setattr(progress_file, "EVERY", 0.0)
    monkeypatch.setattr(progress_file, "COST", math.inf)
    run(STUDY, tmp_path)
    running = [job for event in events(tmp_path, Counts) for job in event.running]
    assert {job.kind for job in running} == {"search", "retraining", "test"}
    assert {job.seed for job in running} == {0, 1}
    assert {job.interval for job in running if job.kind == "search"} == set(range(5))
    assert {job.arm for job in running} == {"random", "pbt"}
    assert {job.worker for job in running} == {0}


def test_lines_are_few_and_the_last_state_is_there_at_the_end(tmp_path):
    """The toy study gets over 100 answers in less than two seconds."""
    before = time.monotonic()
    run(STUDY, tmp_path)
    counts = events(tmp_path, Counts)
    assert len(counts) <= 2 * (time.monotonic() - before) + 2
    assert counts[-1].answers == 2 * 2 * (20 + 5 + 1)


def test_a_waiting_session_writes_when_it_may_and_beats_its_heart(tmp_path, monkeypatch):
    """One slow segment: the answer before it is written as soon as half a second has passed, and then there is a heartbeat."""
    monkeypatch.setattr(progress_file, "HEARTBEAT", 0.3)
    monkeypatch.setattr(progress_file, "EVERY", 0.1)
    with suppress(StudyFailed):
        run(hazard(tmp_path, "hang", replicates=1), tmp_path / "run", executor="process", workers=2, time_limit=1.5)
    counts = events(tmp_path / "run", Counts)
    assert len(counts) >= 3
    assert any(after.answers == before.answers for before, after in pairwise(counts))


def test_an_interrupted_session_says_so(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(STUDY, tmp_path, observer=Interrupts(5))
    stopped = events(tmp_path)[-1]
    assert (stopped.reason, stopped.message) == ("interrupted", "")


def test_a_failed_session_says_why(tmp_path):
    with pytest.raises(StudyFailed):
        run(hazard(tmp_path, "raise", replicates=1), tmp_path / "run")
    stopped = events(tmp_path / "run")[-1]
    assert stopped.reason == "failed"
    assert "Traceback" in stopped.message


def test_a_time_limit_is_not_the_end(tmp_path):
    run(STUDY, tmp_path, time_limit=1e-9)
    assert events(tmp_path)[-1].reason == "out of time"


def test_sessions_follow_each_other(tmp_path):
    with suppress(KeyboardInterrupt):
        run(STUDY, tmp_path, observer=Interrupts(10))
    with (tmp_path / "progress.jsonl").open("ab") as file:
        file.write(b'{"session":"torn')
    run(STUDY, tmp_path)
    assert [event.reason for event in events(tmp_path, Stopped)] == ["interrupted", "done"]
    assert len({event.session for event in events(tmp_path, Started)}) == 2
    assert None not in events(tmp_path)


def test_the_file_stays_small(tmp_path, monkeypatch):
    monkeypatch.setattr(progress_file, "EVERY", 0.0)
    monkeypatch.setattr(progress_file, "COST", math.inf)
    monkeypatch.setattr(progress_file, "MOST_BYTES", 5000)
    run(STUDY, tmp_path)
    assert (tmp_path / "progress.jsonl").stat().st_size < 12_000
    assert events(tmp_path)[-1].n > 50
    assert len(events(tmp_path, Finished)) == 2
    assert len(events(tmp_path, Started)) == len(events(tmp_path, Stopped)) == 1
    assert events(tmp_path, Counts)[-1].answers == 2 * 2 * (20 + 5 + 1)


def test_warnings_are_noted(tmp_path):
    class Fails(hpo.Observer):
        def segment(self, segment):
            raise ValueError("out of order")

    with pytest.warns(RuntimeWarning, match="out of order"):
        run(STUDY, tmp_path, observer=Fails())
    texts = [event.text for event in events(tmp_path, Warned)]
    assert [("cannot decide" in text, "out of order" in text) for text in texts] == [(True, False), (False, True)]


def test_a_file_that_cannot_be_written_stops_nothing(tmp_path):
    class Replaces(hpo.Observer):
        def segment(self, segment):
            path = tmp_path / "progress.jsonl"
            if not path.is_dir():
                path.unlink()
                path.mkdir()

    with pytest.warns(RuntimeWarning, match=r"progress\.jsonl"):
        result = run(STUDY, tmp_path, observer=Replaces())
    assert len(result.document.replicates) == 2
    with pytest.raises(InputError, match="is not a regular file"):
        run(STUDY, tmp_path)


def test_a_session_that_was_killed_is_not_alive(tmp_path):
    study = write_study(tmp_path, hazard(tmp_path, "hang", replicates=1))
    out = tmp_path / "run"
    process = start(study, "--out", out, "--workers", "1")
    assert until(lambda: (out / "progress.jsonl").exists(), process)
    (started,) = events(out, Started)
    now = time.time()
    assert is_alive(started, now, now)
    assert is_alive(started, now - 1000, now)  # a long segment is no death
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not is_alive(started, now, now)
    assert not events(out, Stopped)


def test_a_session_on_another_machine_is_believed_for_a_while():
    started = Started(
        session="s", n=0, time=0.0, host="far", machine="other", pid=os.getpid(), pid_started=start_of(os.getpid()),
        workers=1, executor="process", device="cpu", seeds=(0,), budget=1, answers=1,
    )  # fmt: skip
    assert is_alive(started, 100.0, 110.0)
    assert is_alive(started, 100.0, 150.0) is None


def test_lines_of_another_version_are_ignored():
    line = json.dumps({"session": "s", "n": 1, "time": 1.0, "event": "unheard of"}).encode()
    assert of_line(line) is None
    assert alive(os.getpid())
