"""A study that reaches its time limit ends cleanly, says what it has, and goes on."""

import argparse
import os
from pathlib import Path

import pytest
from helpers import STUDIES, Interrupts, answer, children, cli, hazard, results, rows, run, sessions, write_study

import hpo
from hpo.core.errors import InputError
from hpo.run.__main__ import _duration

AT_ONCE = 1e-9
"""A limit that is over when the first segment would start."""


def test_at_its_limit_a_study_drops_what_runs_and_the_same_command_goes_on(peacefully, tmp_path):
    before = set(children(os.getpid()))
    result = run(hazard(tmp_path, "hang"), tmp_path / "run", executor="process", workers=2, time_limit=2, report=True)
    assert result.out_of_time
    assert (tmp_path / "hung").exists()  # a segment that would never have ended
    assert set(children(os.getpid())) <= before
    finished = rows(tmp_path / "run")
    assert finished > 0
    assert sessions(tmp_path / "run")[0]["segments_computed"] == finished
    assert results(tmp_path / "run")["replicates"] == []
    assert len(result.frame()) >= finished  # a row for each arm that shares a segment
    assert result.report is not None
    assert result.report.exists()
    frame = result.frame()
    assert (result.best.value, result.best.final) == (frame["score"].max(), False)
    assert result.best.schedule.hparams[-1]["h0"] in set(frame[frame["score"] == frame["score"].max()]["h0"])
    again = run(hazard(tmp_path, "peace"), tmp_path / "run")
    assert not again.out_of_time
    assert answer(tmp_path / "run") == peacefully


def test_the_command_says_that_it_is_out_of_time_by_its_exit_code(peacefully, tmp_path):
    study = write_study(tmp_path, hazard(tmp_path, "hang"))
    done = cli(study, "--out", "run", "--workers", 2, "--time-limit", "0m2s")
    assert done.returncode == 124, done.stderr
    assert done.stderr.startswith("time limit reached: ")
    assert "best so far: " in done.stdout
    hazard(tmp_path, "peace")
    done = cli(study, "--out", "run", "--workers", 2, "--time-limit", "1-00:00:00")
    assert (done.returncode, done.stderr) == (0, "")
    assert answer(tmp_path / "run") == peacefully


def test_after_the_limit_no_further_study_starts(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        write_study(folder, hazard(folder, "hang", name=folder.name))
    both = write_study(tmp_path, {"studies": ["first/study.toml", "second/study.toml"]})
    done = cli(both, "--out", tmp_path / "runs", "--time-limit", "3s")
    assert done.returncode == 124, done.stderr
    assert rows(tmp_path / "runs" / "first") > 0
    assert not (second / "hung").exists()


def test_no_segment_starts_after_the_limit_in_this_process_either(serially, tmp_path):
    for name, document in STUDIES.items():
        result = run(document, tmp_path / name, time_limit=AT_ONCE)
        assert result.out_of_time
        assert rows(tmp_path / name) == 0
        assert result.best is None
        # What is finished needs no time.
        assert not run(document, tmp_path / name).out_of_time
        assert not run(document, tmp_path / name, time_limit=AT_ONCE).out_of_time
        assert answer(tmp_path / name) == serially[name]


def test_a_function_keeps_its_best_trial_so_far(tmp_path):
    def tune(**options):
        return hpo.tune(
            parabola, {"x": hpo.Float(0, 1)}, trials=8, optimizer="random_search", report=False, out=tmp_path, **options
        )

    with pytest.raises(KeyboardInterrupt):
        tune(observer=Interrupts(5))
    result = tune(time_limit=AT_ONCE)
    frame = result.frame()
    assert (result.out_of_time, len(frame)) == (True, 5)
    assert (result.best.value, result.best.hparams) == (
        frame["value"].min(),
        {"x": frame["x"][frame["value"].idxmin()]},
    )
    assert len(tune().frame()) == 8


def parabola(hparams):
    return (hparams["x"] - 0.3) ** 2


@pytest.mark.parametrize("limit", [0, -1, float("nan")])
def test_a_limit_that_is_no_time_is_refused(tmp_path, limit):
    with pytest.raises(InputError, match=r"time_limit = .*: allowed: seconds above 0"):
        run(STUDIES["toy"], tmp_path / "run", time_limit=limit)
    assert not Path(tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("2d6h", 194400),
        ("02:30:00", 9000),
        ("1-12:00:05", 129605),
    ],
)
def test_times_are_read_with_their_units(text, seconds):
    assert _duration(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "1:30", "0s", "-2h", "2 h", "h", "1..5h", "30m2h", "nan", "1h30"])
def test_times_without_units_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError):
        _duration(text)
