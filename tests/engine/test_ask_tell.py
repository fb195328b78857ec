"""`hpo.ask_tell`: the trials of a study, for a training loop of one's own, and a file from which they go on."""

import dataclasses
import json
import math
import pickle
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest
from configurations import configurations
from driver import SPACES, drive, problem
from helpers import cases, document, environment, run
from hypothesis import given, settings
from hypothesis import strategies as st

import hpo
from hpo.optimizers.random_search import RandomSearch
from hpo.testing import members

SPACE = {"lr": hpo.Float(1e-4, 1.0, log=True), "width": hpo.Int(1, 64), "kind": hpo.Categorical(("a", "b"))}
PBT = {"optimizer": "pbt", "population_size": 6, "intervals": 5, "direction": "maximize"}
OPTIMIZERS = {name: found for name, found in configurations().items() if not name.startswith("grid")}


def quality(trial):
    """Return a value that grows with training, and is best at lr = 0.01; one region diverges."""
    if trial.hparams["lr"] > 0.5:
        return math.nan
    return trial.interval - abs(math.log10(trial.hparams["lr"]) + 2)


def finish(search, value=quality, limit=10**6):
    """Train up to `limit` trials one after the other; return those of the search by key."""
    for _, trial in zip(range(limit), search, strict=False):
        search.tell(trial, value(trial))
    return {trial.key: trial for trial in search.trials}


# --- the trials ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["random_search", "tpe", "gp", "cmaes", {"optimizer": "tpe", "initial": 2}])
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_trials_are_those_of_tune(tmp_path, optimizer, direction):
    def objective(hparams):
        return (math.log10(hparams["lr"]) + 2) ** 2 + hparams["width"] / 64

    options = {"optimizer": optimizer, "trials": 12, "seed": 3, "direction": direction}
    tuned = hpo.tune(objective, SPACE, out=tmp_path, report=False, **options)
    search = hpo.ask_tell(SPACE, **options)
    frame = tuned.frame()
    trials = finish(search, lambda trial: objective(trial.hparams)).values()
    assert [dict(trial.hparams) for trial in trials] == frame[[*SPACE]].to_dict("records")
    assert (search.best.value, search.best.hparams) == (tuned.best.value, tuned.best.hparams)


@pytest.mark.parametrize("selection", ["exploit_best", {"name": "truncation", "quantile_fraction": 0.5}])
@pytest.mark.parametrize("mode", ["synchronous", "asynchronous"])
def test_the_trials_of_pbt_are_those_of_a_study(tmp_path, selection, mode):
    options = {"optimizer": "pbt", "perturbation_interval": 2, "selection": selection, "mode": mode, "concurrency": 3}
    study = document(arms=({"label": "pbt", **options},), replicates=1, population_size=6, budget=7)
    result = run(study, tmp_path)
    rows = {(row.member, row.interval): row for row in result.frame().itertuples()}
    spec = hpo.parse_study(study)
    search = hpo.ask_tell(spec.space, optimizer=options, population_size=6, intervals=7, direction="maximize")
    trials = finish(search, lambda trial: rows[trial.number, trial.interval].score)
    assert len(trials) == len(rows)
    for trial in trials.values():
        row = rows[trial.number, trial.interval]
        assert trial.hparams == {name: getattr(row, name) for name in spec.space}
        assert (trial.parent is None) == (trial.interval == 0)
        assert trial.parent is None or trial.parent.partition("-")[0] == str(int(row.parent_member))
    lineage = search.lineage(search.best)
    assert len({trial.number for trial in lineage}) > 1, "nothing was copied, so nothing was compared"
    schedule = hpo.Schedule.of([(1, trial.hparams) for trial in lineage], unit="units")
    assert schedule.hparams == result.best.schedule.hparams


@pytest.mark.parametrize("name", OPTIMIZERS)
@settings(max_examples=cases(3), deadline=None)
@given(data=st.data())
def test_neither_the_order_of_values_nor_the_number_of_workers_matters(name, data):
    space = SPACES[data.draw(st.sampled_from(["mixed", "conditional"]))]
    options, seed = OPTIMIZERS[name], data.draw(st.integers(0, 3))
    if hasattr(options, "perturbation_interval"):
        options = dataclasses.replace(options, perturbation_interval=1)
    if getattr(options, "min_budget", None) is not None:
        options = dataclasses.replace(options, min_budget=1)
    n = members(OPTIMIZERS[name], space)
    if hasattr(options, "fraction_random_weights"):  # a trial has no weight transform
        options = dataclasses.replace(options, fraction_random_weights=1.0)
    search = hpo.ask_tell(
        space, optimizer=options, population_size=n, intervals=4, seed=seed, direction="maximize", concurrency=4
    )
    running = []
    while not search.done:
        workers = data.draw(st.integers(1, 4))
        while len(running) < workers and (trial := search.ask()) is not None:
            running.append(trial)
        trial = running.pop(data.draw(st.integers(0, len(running) - 1)))
        search.tell(pickle.loads(pickle.dumps(trial)), quality(trial))
    alone = finish(
        again := hpo.ask_tell(
            space, optimizer=options, population_size=n, intervals=4, seed=seed, direction="maximize", concurrency=4
        )
    )
    assert {trial.key: trial for trial in search.trials} == alone
    assert search.best == again.best
    assert not any(space.outside(trial.hparams) for trial in search.trials)


def test_the_trials_are_those_of_the_engine_and_children_of_diverged_ones_are_left_out():
    of = dataclasses.replace(problem(6, 5, SPACES["floats"]), interval=1, unit="intervals")
    driven = drive(RandomSearch(), of, lambda s: -s.interval, lambda s: s.hparams["lr"] > 0.1)
    search = hpo.ask_tell(SPACES["floats"], optimizer="random_search", population_size=6, intervals=5)
    finish(search, lambda trial: math.inf if trial.hparams["lr"] > 0.1 else trial.interval)
    diverged = [trial for trial in search.trials if trial.value is None]
    assert diverged
    assert {trial.interval for trial in diverged} == {0}
    expected = {(s.member, s.interval): s.hparams for s in driven.segments}
    lost = {trial.number for trial in diverged}
    expected = {at: hparams for at, hparams in expected.items() if at[0] not in lost or at[1] == 0}
    assert {(trial.number, trial.interval): trial.hparams for trial in search.trials} == expected


def test_one_open_trial_at_a_time_learns_from_all_before():
    search = hpo.ask_tell(SPACE, trials=30, concurrency=1)
    trial = search.ask()
    assert search.ask() is None
    assert not search.done
    search.tell(trial, 1.0)
    finish(search, lambda trial: abs(math.log10(trial.hparams["lr"]) + 2))
    late = [abs(math.log10(trial.hparams["lr"]) + 2) for trial in search.trials[20:]]
    assert np.median(late) < 0.6, "half as far from the optimum as draws from the prior, on average"
    assert search.best.value == min(trial.value for trial in search.trials)


def test_as_many_trials_are_open_as_concurrency_says():
    search = hpo.ask_tell(SPACE, optimizer="random_search", trials=7, concurrency=3)
    first = [search.ask() for _ in range(3)]
    assert search.ask() is None
    with pytest.raises(hpo.InputError, match="0-0, 1-0, 2-0"):
        next(iter(search))
    search.tell(first[1], 0.0)
    assert search.ask() is None, "the others of the same virtual time have no value yet"
    for trial in first[::2]:
        search.tell(trial, 1.0)
    assert [search.ask().number for _ in range(3)] == [3, 4, 5]


def test_the_best_so_far_and_a_search_in_which_everything_diverges():
    search = hpo.ask_tell(SPACE, trials=5, concurrency=5)
    assert search.best is None
    for trial, value in zip(search, (3.0, None, 1.0), strict=False):
        search.tell(trial, value)
    assert search.best.value == 1.0
    assert not search.done
    lost = hpo.ask_tell(SPACE, trials=3, optimizer="random_search")
    finish(lost, lambda trial: None)
    assert lost.done
    assert lost.best is None


@pytest.mark.parametrize("value", [1, 0.5, np.float32(0.5), np.array(0.25), np.int64(3)])
def test_numbers_of_any_type_are_values(value):
    search = hpo.ask_tell(SPACE, trials=1, optimizer="random_search")
    search.tell(search.ask(), value)
    assert search.best.value == float(value)
    assert type(search.best.value) is float


# --- the file --------------------------------------------------------------------------------------------------------

SCRIPT = """
import os, signal, sys
import hpo

space = {"lr": hpo.Float(1e-4, 1.0, log=True), "width": hpo.Int(1, 64)}
optimizer, path, asks = sys.argv[1:]
size = {"population_size": 5, "intervals": 4} if optimizer == "pbt" else {"trials": 20}
search = hpo.ask_tell(space, optimizer=optimizer, file=path, **size)
for count, trial in enumerate(search, 1):
    if count == int(asks):
        os.kill(os.getpid(), signal.SIGKILL)
    search.tell(trial, trial.hparams["lr"] - trial.interval)
for trial in search.lineage(search.best):
    print(trial)
"""


@pytest.mark.parametrize("optimizer", ["pbt", "tpe"])
def test_a_search_that_is_killed_goes_on_to_the_same_trials(tmp_path, optimizer):
    def session(path, asks):
        command = [sys.executable, "-c", SCRIPT, optimizer, tmp_path / path, str(asks)]
        return subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)

    whole = session("whole", 0)
    assert whole.returncode == 0, whole.stderr
    for asks in (1, 4, 9):
        assert session("killed", asks).returncode == -signal.SIGKILL
        with (tmp_path / "killed").open("ab") as file:
            file.write(b'{"number": 3, "inter')  # as if it had been killed while it wrote
    done = session("killed", 0)
    assert (done.returncode, done.stdout) == (0, whole.stdout), done.stderr
    assert (tmp_path / "killed").read_bytes() == (tmp_path / "whole").read_bytes()


def test_what_has_no_value_is_returned_again_and_may_finish_after_the_interruption(tmp_path):
    before = hpo.ask_tell(SPACE, **PBT, file=tmp_path / "f")
    asked = [before.ask() for _ in range(6)]
    for trial in asked[::2]:
        before.tell(trial, 1.0)
    search = hpo.ask_tell(SPACE, **PBT, file=tmp_path / "f")
    search.tell(asked[1], 2.0)
    assert [search.ask(), search.ask(), search.ask()] == [asked[3], asked[5], None]
    with pytest.raises(hpo.InputError, match="opened again"):
        before.tell(asked[3], 1.0)


def test_more_trials_go_on_from_the_file(tmp_path):
    for trials in (4, 9):
        search = hpo.ask_tell(SPACE, trials=trials, optimizer="random_search", file=tmp_path / "f")
        finish(search)
        assert len(search.trials) == trials
    assert search.trials == [*finish(hpo.ask_tell(SPACE, trials=9, optimizer="random_search")).values()]
    with pytest.raises(hpo.InputError, match=r"line 6: .* fewer trials"):
        hpo.ask_tell(SPACE, trials=4, optimizer="random_search", file=tmp_path / "f")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 1}, "seed: 0 -> 1"),
        ({"direction": "minimize"}, "direction: maximize -> minimize"),
        ({"intervals": 4}, "intervals: 5 -> 4"),
        ({"population_size": 7}, "population_size: 6 -> 7"),
        ({"optimizer": {"optimizer": "pbt", "burn_in": 2}}, "burn_in: 0.0 -> 2.0"),
        ({"optimizer": "random_search"}, "optimizer.optimizer: pbt -> random_search"),
        ({"space": SPACE | {"width": hpo.Int(1, 65)}}, "width.high: 64 -> 65"),
    ],
)
def test_the_file_of_another_search_is_refused_and_kept(tmp_path, change, words):
    path = tmp_path / "f"
    finish(hpo.ask_tell(SPACE, **PBT, file=path), limit=8)
    before = path.read_bytes()
    with pytest.raises(hpo.InputError, match=words):
        hpo.ask_tell(**{"space": SPACE, **PBT, **change}, file=path)
    assert path.read_bytes() == before


def test_an_optimizer_that_asks_for_other_trials_than_before_is_named(tmp_path):
    path = tmp_path / "f"
    finish(hpo.ask_tell(SPACE, **PBT, file=path), limit=8)
    first, *lines = path.read_text().splitlines(keepends=True)
    header = json.loads(first)
    header["versions"]["numpy"] = "1.0"
    trial = json.loads(lines[6])
    trial["hparams"]["width"] += 1
    path.write_text("".join([json.dumps(header) + "\n", *lines[:6], json.dumps(trial) + "\n"]))
    with pytest.raises(hpo.HpoError, match=r"(?s)line 8: .*cause: numpy 1\.0 -> "):
        hpo.ask_tell(SPACE, **PBT, file=path)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda lines: [*lines[:2], lines[2][:-5] + b"\n", *lines[3:]], "line 3 is damaged"),
        (lambda lines: [*lines, lines[-1]], "line 6 is damaged"),
        (lambda lines: [*lines, lines[-1].replace(b'"value": ', b'"value": "high", "x": ')], "line 6 is damaged"),
        (lambda lines: [*lines[:-1], lines[-1].replace(b'"number": 3', b'"number": 30')], "line 5: .*not ask"),
        (lambda lines: lines[1:], "is not a file of hpo.ask_tell"),
        (lambda lines: [b"my notes"], "is not a file of hpo.ask_tell"),
        (lambda lines: [b'{"format": 1, "search": 2, "versions": 3}\n'], "format 1"),
        (lambda lines: [lines[0].replace(b"tell 1", b"tell 2"), *lines[1:]], "'hpo ask_tell 2'"),
    ],
)
def test_a_damaged_or_foreign_file_is_refused_and_kept(tmp_path, spoil, words):
    path = tmp_path / "f"
    finish(hpo.ask_tell(SPACE, **PBT, file=path), limit=4)
    path.write_bytes(b"".join(spoil(path.read_bytes().splitlines(keepends=True))))
    before = path.read_bytes()
    with pytest.raises(hpo.InputError, match=words):
        hpo.ask_tell(SPACE, **PBT, file=path)
    assert path.read_bytes() == before


def test_a_first_line_that_was_cut_off_is_written_again(tmp_path):
    hpo.ask_tell(SPACE, file=tmp_path / "f").close()
    whole = (tmp_path / "f").read_bytes()
    (tmp_path / "f").write_bytes(whole[:40])
    hpo.ask_tell(SPACE, file=tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == whole


def test_another_process_is_refused_until_the_search_is_closed(tmp_path):
    search = hpo.ask_tell({"x": hpo.Float(0, 1)}, file=tmp_path / "f")
    script = "import sys, hpo; hpo.ask_tell({'x': hpo.Float(0, 1)}, file=sys.argv[1])"

    def other():
        return subprocess.run(
            [sys.executable, "-c", script, tmp_path / "f"],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    assert "is in use by another process" in other().stderr
    search.close()
    assert other().returncode == 0
    with pytest.raises(hpo.InputError, match="was closed"):
        search.tell(search.ask(), 1.0)


def test_a_file_that_was_deleted_is_missed_at_the_next_value(tmp_path):
    search = hpo.ask_tell(SPACE, file=tmp_path / "f")
    (tmp_path / "f").unlink()
    with pytest.raises(hpo.HpoError, match="was deleted"):
        search.tell(search.ask(), 1.0)


@pytest.mark.parametrize("path", ["", "folder"])
def test_a_file_that_cannot_be_opened_is_named(tmp_path, path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(hpo.InputError, match="cannot be opened"):
        hpo.ask_tell(SPACE, file=tmp_path / path)


def test_a_disk_that_is_full_leaves_whole_lines(tmp_path):
    search = hpo.ask_tell(SPACE, trials=50, optimizer="random_search", file=tmp_path / "f")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
    try:
        with pytest.raises(hpo.HpoError, match="no space left"):
            finish(search)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert 0 < len(search.trials) < 50
    assert (tmp_path / "f").read_bytes().endswith(b"}\n")
    again = hpo.ask_tell(SPACE, trials=50, optimizer="random_search", file=tmp_path / "f")
    assert again.trials == search.trials


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["low", b"1", True, np.True_, [1.0], np.zeros(2), {"error": 1.0}, 1j, 10**400, SPACE])
def test_what_is_no_number_is_refused_and_the_trial_stays_open(value):
    search = hpo.ask_tell(SPACE)
    trial = search.ask()
    with pytest.raises(hpo.InputError, match="value = "):
        search.tell(trial, value)
    search.tell(trial, 1.0)


def test_a_trial_that_is_not_open_is_refused():
    search = hpo.ask_tell(SPACE)
    trial = search.ask()
    search.tell(trial, 1.0)
    for wrong, words in (
        (trial, "0-0 has a value already"),
        (search.trials[0], "0-0 has a value already"),
        (dataclasses.replace(trial, number=70), "70-0 is not open"),
        (dataclasses.replace(search.ask(), hparams={"lr": 0.5}), "1-0 is not open"),
        ("1-0", "'1-0' is not a trial"),
        (None, "None is not a trial"),
    ):
        with pytest.raises(hpo.InputError, match=words):
            search.tell(wrong, 1.0)
    assert len(search.trials) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"space": {}}, "search_space"),
        ({"space": {"lr": (0, 1)}}, r"search_space\.lr"),
        ({"space": {"lr": hpo.Float(0, 1, when={"kind": "a"})}}, r"search_space\.lr\.when\.kind"),
        ({"space": 3}, "search_space"),
        ({"optimizer": "tpee"}, "did you mean 'tpe'"),
        ({"optimizer": {"initial": 3}}, "optimizer: missing"),
        ({"optimizer": {"optimizer": "tpe", "initiall": 3}}, "initiall.*did you mean 'initial'"),
        ({"optimizer": {"optimizer": "tpe", "initial": 300}}, "initial = 300"),
        ({"optimizer": {"optimizer": "tpe", "without": ["lr"]}}, "without"),
        ({"optimizer": "pbt"}, "intervals = 1: allowed: at least 2"),
        (
            {"optimizer": {"optimizer": "pbt", "perturbation_interval": 0.5}, "intervals": 4, "population_size": 5},
            "0.5",
        ),
        ({"seed": -1}, "seed = -1"),
        ({"direction": "up"}, "direction = 'up'"),
        ({"trials": 0}, "trials = 0"),
        ({"trials": 2.5}, "trials = 2.5"),
        ({"intervals": 3}, "population_size"),
        ({"trials": 3, "population_size": 3}, "not both"),
        ({"concurrency": 0}, "concurrency = 0"),
    ],
)
def test_wrong_options_are_named_and_no_file_is_made(tmp_path, options, words):
    with pytest.raises(hpo.InputError, match=words):
        hpo.ask_tell(**{"space": SPACE, **options}, file=tmp_path / "f")
    assert not (tmp_path / "f").exists()


# --- a rule across hyperparameters -----------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["random_search", "tpe", "quasi_random"])
def test_only_feasible_trials_are_asked_for(optimizer):
    space = {"x": hpo.Float(0, 1), "y": hpo.Float(0, 1)}
    search = hpo.ask_tell(space, feasible=lambda h: h["x"] < h["y"] / 4, optimizer=optimizer, trials=12)
    for trial in search:
        assert trial.hparams["x"] < trial.hparams["y"] / 4
        search.tell(trial, trial.hparams["x"] - trial.hparams["y"])
    assert len(search.trials) == 12
    own = hpo.ask_tell(hpo.SearchSpace(space, lambda h: h["x"] < 0.1), optimizer=optimizer, trials=6)
    assert own.ask().hparams["x"] < 0.1


def test_a_rule_that_fails_is_an_error_at_once():
    for rule in ("x < y", lambda hparams: None, lambda hparams: False):
        with pytest.raises(hpo.InputError, match="feasible"):
            hpo.ask_tell({"x": hpo.Float(0, 1)}, feasible=rule)
