"""What a study shows while it runs: what is counted, of which total."""

import io
import math
import os
import pty
import re
import shutil
import subprocess
import sys

import helpers
import pytest
from rich.console import Console

import hpo
from hpo.core.observer import ReplicateDone
from hpo.engine.observers import study_started
from hpo.engine.sparkline import ASCII_BARS, BARS, WIDTH, Incumbent, sparkline
from hpo.run.progress import ConsoleProgress


def shown(document, tmp_path, terminal):
    out = io.StringIO()
    progress = ConsoleProgress(Console(file=out, force_terminal=terminal, width=140))
    helpers.run(document, tmp_path, observer=progress)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue())


def document(**study):
    derived = {"label": "inherited", "derived_from": "pbt", "replay": "inherited_weights"}
    return helpers.document(arms=(helpers.RANDOM, helpers.PBT, derived), **study)


def test_at_the_end_everything_was_counted(tmp_path):
    out = shown(document(retrains=3), tmp_path, terminal=False)
    last = [line for line in out.splitlines() if "%, " in line][-1]
    assert " 100%, done." in last
    for label in ("random", "pbt", "inherited"):
        assert f"{label}: 2/2 replicates, 40 intervals charged" in last


def test_the_table_has_what_each_arm_retrains(tmp_path):
    out = shown(document(retrains=3), tmp_path, terminal=True)
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line.startswith(("random", "inherited"))}
    assert rows["random"][1:3] + rows["random"][4:5] == ["2/2", "40/40", "30/30"]
    assert rows["inherited"][4] == "0/0"


def test_a_study_that_stops_when_it_is_decided_says_at_most(tmp_path):
    found = helpers.document()
    del found["study"]["replicates"]
    found["comparison"] |= {"stopping": "anytime", "max_replicates": 3}
    seen = []

    class Looks(ConsoleProgress):
        def _count(self, computed):
            super()._count(computed)
            seen.append(self._eta())

    spec = hpo.parse_study(found, search_path=[helpers.HERE])
    progress = Looks(Console(file=io.StringIO()))
    hpo.run_study(spec, out=tmp_path, executor="serial", report=False, observer=progress)
    assert seen[-1] == "at most 0:00"


def answered(progress, seed, value):
    """Tell of one segment of the arm `random`."""
    progress.segment(hpo.SegmentDone(seed, "random", 0, 0, None, None, {}, {"score": value}, False, True, False))


@pytest.mark.parametrize("terminal", [True, False])
def test_the_best_is_the_best_so_far_of_all_seeds(terminal, tmp_path):
    """Fault 31: it was the best of the seed that had answered last."""
    out = io.StringIO()
    progress = ConsoleProgress(Console(file=out, force_terminal=terminal, width=140))
    progress.started(study_started(hpo.parse_study(helpers.document()), [0, 1], tmp_path, 1))
    for seed, value in ((0, 0.25), (1, 0.75), (0, 0.5), (1, 0.125)):
        answered(progress, seed, value)
    progress.stopped(hpo.StudyStopped("done"))
    last = [line for line in out.getvalue().splitlines() if "random" in line][-1]
    assert "0.75 (seed 1)" in last


def test_the_first_line_says_that_it_starts(tmp_path):
    """Fault 31: `small: 2 of 2 replicates` read as if they were done."""
    first = shown(helpers.document(), tmp_path / "run", terminal=False).splitlines()[0]
    assert first.startswith("starting small: 2 replicates")
    assert first.endswith(str(tmp_path / "run"))
    part = io.StringIO()
    helpers.run(
        helpers.document(), tmp_path / "part", seeds=[1], observer=ConsoleProgress(Console(file=part, width=300))
    )
    assert part.getvalue().startswith("starting small: 1 of 2 replicates")


@pytest.mark.parametrize(("stopping", "least"), [("fixed", 7), ("anytime", 8)])
def test_a_study_that_cannot_decide_says_so_before_it_starts(stopping, least, tmp_path):
    """Fault 34: too few seeds for three comparisons can reach no p below alpha, and nothing said so before the end."""
    arms = tuple(helpers.RANDOM | {"label": f"arm {number}"} for number in range(4))
    for count, warns in ((least - 1, True), (least, False)):
        found = helpers.document(arms=arms, replicates=count)
        if stopping == "anytime":
            del found["study"]["replicates"]
            found["comparison"] |= {"stopping": "anytime", "max_replicates": count}
        out = io.StringIO()
        progress = ConsoleProgress(Console(file=out))
        progress.started(study_started(hpo.parse_study(found), range(count), tmp_path, 1))
        assert (f"warning: {least - 1} seeds cannot decide 3 comparisons" in out.getvalue()) == warns
        assert (f"that takes {least}" in out.getvalue()) == warns


SCRIPT = """
import sys
import hpo
from hpo.engine import live

live.PATIENCE = 0.0

def objective(hparams):
    return {"error": hparams["x"]}

print("before")
hpo.tune(objective, {"x": hpo.Float(0, 1)}, metric="error", trials=7, out=sys.argv[1], report=False, progress=len(sys.argv) < 3)
"""


def command(folder, *arguments):
    (folder / "script.py").write_text(SCRIPT)
    return [sys.executable, folder / "script.py", folder / "run", *arguments]


def seen_on_a_terminal(folder, *arguments):
    """Run the script with a terminal as its standard error, and return what it prints and what is seen there."""
    ours, theirs = pty.openpty()
    done = subprocess.run(
        command(folder, *arguments),
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        env=helpers.environment(COLUMNS="90"),
    )
    os.close(theirs)
    seen = b""
    try:
        while chunk := os.read(ours, 4096):
            seen += chunk
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert done.returncode == 0, seen
    return done.stdout, seen.decode()


def test_a_call_shows_a_bar_on_a_terminal_and_leaves_standard_output_alone(tmp_path):
    said, seen = seen_on_a_terminal(tmp_path)
    assert said == "before\n"
    best = hpo.load_best(tmp_path / "run").value
    last = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen).splitlines()[-1]
    assert "7/7 trials" in last
    assert f"best error {best:.4g}" in last
    shutil.rmtree(tmp_path / "run")
    assert seen_on_a_terminal(tmp_path, "quiet") == ("before\n", "")


def test_a_call_shows_nothing_in_a_file(tmp_path):
    done = subprocess.run(command(tmp_path), capture_output=True, text=True, env=helpers.environment())
    assert (done.stdout, done.stderr) == ("before\n", "")


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e300])
def test_bars_rise_as_the_best_value_becomes_better_whatever_the_direction(direction, scale):
    metric = hpo.Metric("m", direction)
    curve = Incumbent()
    for step in range(40):
        curve.add(metric.oriented(scale * (40 - step if direction == "minimize" else step)))
        curve.add(metric.oriented(scale * (99 if direction == "minimize" else -99)))  # is not the best
    bars = sparkline(curve.points)
    assert len(bars) == WIDTH
    assert (bars[0], bars[-1]) == (BARS[0], BARS[-1])
    assert list(bars) == sorted(bars)


def test_a_far_first_value_does_not_flatten_the_rest():
    curve = Incumbent()
    curve.add(-1e9)
    for step in range(40):
        curve.add(step)
    assert len(set(sparkline(curve.points))) == len(BARS)


def test_a_long_search_needs_no_more_memory_than_a_short_one():
    curve = Incumbent()
    for step in range(10**5):
        curve.add(step)
    assert len(curve.points) <= 4 * WIDTH
    assert curve.points[-1] == 10**5 - 1
    assert list(curve.points) == sorted(curve.points)


@pytest.mark.parametrize("scores", [[], [-math.inf], [-math.inf, 3.0], [2.0, 2.0, 2.0]])
def test_what_never_becomes_better_is_flat(scores):
    curve = Incumbent()
    for score in scores:
        curve.add(score)
    assert set(sparkline(curve.points)) <= {BARS[0]}


@pytest.mark.parametrize(("encoding", "bars"), [("utf-8", BARS), ("ascii", ASCII_BARS)])
@pytest.mark.parametrize("width", [120, 60, 20])
def test_each_arm_has_its_bars_if_they_fit(encoding, bars, width, tmp_path):
    written = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=written, force_terminal=True, width=width)
    progress = ConsoleProgress(Console(file=io.StringIO()))
    helpers.run(helpers.document(replicates=1), tmp_path, observer=progress)
    with console.capture() as captured:
        console.print(progress.table(console))
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", captured.get()).splitlines()
    assert all(len(line) <= width for line in lines)
    rows = [line.rstrip() for line in lines if line.startswith(("random", "pbt"))]
    assert sum(line[-1] == bars[-1] for line in rows) == (2 if width == 120 else 0)
    assert all(line.isascii() for line in rows) == (width < 120 or encoding == "ascii")


def test_the_bars_are_those_of_the_replicate_that_runs(tmp_path):
    progress = ConsoleProgress(Console(file=io.StringIO()))
    progress.started(study_started(hpo.parse_study(helpers.document()), [0, 1], tmp_path, 1))
    answered(progress, 0, 0.25)
    answered(progress, 1, 0.5)
    shown = [progress._line_of_bars(progress._arms["random"], 20, None)]
    for seed in (0, 1):
        progress.finished_replicate(ReplicateDone(seed, {"random": {}, "pbt": {}}, seed + 1))
        shown.append(progress._line_of_bars(progress._arms["random"], 20, None))
    assert [line.split()[-1] for line in shown] == ["0", "1", "1"]
