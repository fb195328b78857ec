"""One suite for every registered optimizer: a new one is tested by being registered."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from driver import OPTUNA, SPACES, drive, level, options_for, problem, smooth, stops_early

from hpo.registry import optimizers, to_table
from hpo.segments import Segment

NAMES = [*optimizers.names(), *OPTUNA]
CASES = [pytest.param(name, space, id=f"{name}-{space}") for name in NAMES for space in SPACES]


def is_spent(name, run, of):
    """Exactly; an optimizer that stops members early leaves less than one member's budget."""
    return 0 <= of.budget - len(run.segments) < (of.intervals if stops_early(name) else 1)


def first_half(segment: Segment) -> bool:
    return segment.member % 2 == 0 and segment.interval >= 1


def always(segment: Segment) -> bool:
    return True


@pytest.mark.parametrize(("name", "space"), CASES)
@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_the_budget_is_spent_whatever_the_concurrency(name, space, n):
    for concurrency in sorted({1, min(2, n), n}):
        of = problem(n, 3, SPACES[space], concurrency=concurrency)
        run = drive(options_for(name, n), of)
        assert is_spent(name, run, of)
        members = {segment.member for segment in run.segments}
        assert members == set(range(max(n, len(members)) if stops_early(name) else n))
        best = run.results[run.best]
        longest = max(segment.interval for segment in run.segments)
        assert best.segment.interval == longest
        assert longest == of.intervals - 1 or stops_early(name)
        full = [result for result in run.results.values() if result.segment.interval == longest]
        assert best.score == max(result.score for result in full)


@pytest.mark.parametrize(("name", "space"), CASES)
def test_ties_go_to_the_lowest_member(name, space):
    run = drive(options_for(name, 6), problem(6, 3, SPACES[space]), score=level)
    assert run.results[run.best].segment.member == 0


@pytest.mark.parametrize(("name", "space"), CASES)
def test_diverged_members_are_charged_and_never_win_while_one_is_finite(name, space):
    of = problem(6, 4, SPACES[space])
    run = drive(options_for(name, 6), of, diverges=first_half)
    assert is_spent(name, run, of)
    assert not run.results[run.best].diverged


@pytest.mark.parametrize(("name", "space"), CASES)
@pytest.mark.parametrize("n", [1, 3])
def test_when_all_diverge_the_lowest_member_is_still_an_answer(name, space, n):
    of = problem(n, 3, SPACES[space])
    run = drive(options_for(name, n), of, diverges=always)
    assert is_spent(name, run, of)
    assert run.results[run.best].segment.member == 0


@pytest.mark.parametrize(("name", "space"), CASES)
def test_replay_from_any_prefix_asks_for_the_same(name, space):
    of = problem(5, 3, SPACES[space], concurrency=3)
    whole = drive(options_for(name, 5), of, diverges=first_half)
    assert drive(options_for(name, 5), of, diverges=first_half) == whole
    for rounds in range(len(whole.rounds) + 1):
        prefix = drive(options_for(name, 5), of, diverges=first_half, rounds=rounds)
        assert prefix.rounds == whole.rounds[:rounds]


@pytest.mark.parametrize("name", NAMES)
def test_arms_share_their_initial_population(name):
    of = problem(5, 2, SPACES["mixed"])
    mine = {s.member: s for s in drive(options_for(name, 5), of).segments if s.interval == 0}
    theirs = {s.member: s for s in drive(options_for("random_search", 5), of).segments if s.interval == 0}
    shared = range(2) if name.startswith("optuna") else range(5)
    assert all(mine[slot] == theirs[slot] for slot in shared)


@pytest.mark.parametrize("name", NAMES)
def test_given_initial_hyperparameters_take_the_types_of_the_space(name):
    of = problem(3, 2, initial=({"lr": 1, "momentum": 0.5},))
    run = drive(options_for(name, 3), of)
    root = next(segment for segment in run.segments if segment.interval == 0 and segment.member == 0)
    assert root.hparams == {"lr": 1.0, "momentum": 0.5}


@pytest.mark.parametrize("name", NAMES)
def test_options_are_plain_and_concurrency_fits_the_population(name):
    for n in (1, 2, 3, 100):
        options = options_for(name, n)
        assert 1 <= options.default_concurrency(n) <= n
        json.dumps([to_table(options), dict(options.resolved())])


def fingerprint() -> str:
    """Return all asks of all optimizers, as one text."""
    return json.dumps(
        [
            [segment.to_json() for segment in drive(options_for(name, 7), problem(7, 3, space), smooth).segments]
            for name in sorted(NAMES)
            for space in SPACES.values()
        ]
    )


def test_another_process_with_another_hash_seed_gives_the_same_answer():
    code = "import test_conformance as t; print(t.fingerprint())"
    for seed in ("1", "2"):
        env = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parent)}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == fingerprint()
        assert done.stderr == ""
