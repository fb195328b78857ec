"""Stores that serve several studies: everything is computed once, and every answer is that of a study by itself."""

import os
import signal
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest
from helpers import (
    GREEDY,
    PBT,
    RANDOM,
    Interrupts,
    answer,
    cli,
    document,
    hazard,
    rows,
    run,
    sittings,
    start,
    until,
    write_study,
)

from hpo.checkpoints import INLINE_BYTES, encode
from hpo.errors import InputError
from hpo.segments import Segment, Split
from hpo.store import Claim, Store, Stored

WALK = {"name": "walk", "size": 9000}
"""Its states are files."""
ONE = document(WALK, arms=(RANDOM, PBT))
OTHER = document(WALK, arms=(RANDOM, GREEDY), name="other")
"""It has the random search of `ONE`, and the first intervals of its PBT."""


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Return what both studies answer by themselves."""
    folder = tmp_path_factory.mktemp("alone")
    for name, small in (("one", ONE), ("other", OTHER)):
        run(small, folder / name)
    return {name: answer(folder / name) for name in ("one", "other")}


def computed(*run_dirs):
    """Return how many jobs were computed, over all sittings of some run directories."""
    return sum(sitting["segments_computed"] for run_dir in run_dirs for sitting in sittings(run_dir))


def once(store):
    """Return how many jobs there are in a store to compute: its segments, but for those of members that had diverged, and tests."""
    return rows(store) + rows(store, "tests")


# --- one after the other -------------------------------------------------------------------------------------------------


def test_a_second_study_computes_only_what_the_first_did_not(alone, tmp_path):
    run(ONE, tmp_path / "one", store=tmp_path / "store")
    first = once(tmp_path / "store")
    assert computed(tmp_path / "one") == first
    run(OTHER, tmp_path / "other", store=tmp_path / "store")
    assert computed(tmp_path / "other") == once(tmp_path / "store") - first > 0
    run(OTHER, tmp_path / "by itself")
    assert computed(tmp_path / "other") < computed(tmp_path / "by itself") / 2
    assert {name: answer(tmp_path / name) for name in alone} == alone
    assert not any((tmp_path / "one" / "checkpoints").rglob("*.safetensors"))
    assert (rows(tmp_path / "one"), rows(tmp_path / "one", "tests")) == (0, 0)


def test_a_fresh_run_directory_on_an_old_store_computes_nothing(alone, tmp_path):
    run(ONE, tmp_path / "one", store=tmp_path / "store")
    run(ONE, tmp_path / "again", store=tmp_path / "store")
    assert computed(tmp_path / "again") == 0
    assert answer(tmp_path / "again") == alone["one"]
    models = [{path.name: path.read_bytes() for path in (tmp_path / name / "models").iterdir()} for name in ("one", "again")]
    assert models[0] == models[1]
    assert len(models[0]) == 4


def test_an_interrupted_study_goes_on_also_where_its_store_was_moved_to(alone, tmp_path):
    with suppress(KeyboardInterrupt):
        run(ONE, tmp_path / "one", store=tmp_path / "store", observer=Interrupts(15))
    (tmp_path / "store").rename(tmp_path / "moved")
    run(ONE, tmp_path / "one", store=tmp_path / "moved")
    assert computed(tmp_path / "one") == once(tmp_path / "moved")
    assert answer(tmp_path / "one") == alone["one"]


def test_lost_checkpoints_of_a_shared_store_are_computed_again(alone, tmp_path):
    run(ONE, tmp_path / "one", store=tmp_path / "store")
    for state in (tmp_path / "store" / "checkpoints").rglob("*.safetensors"):
        state.unlink()
    run(OTHER, tmp_path / "other", store=tmp_path / "store")
    assert sittings(tmp_path / "other")[0]["segments_recomputed"] > 0
    assert answer(tmp_path / "other") == alone["other"]


# --- at the same time ----------------------------------------------------------------------------------------------------


def test_two_coordinators_at_the_same_time_compute_everything_once(alone, tmp_path):
    running = []
    for name, small in (("one", ONE), ("other", OTHER)):
        study = write_study(tmp_path, small, f"{name}.toml")
        running.append(start(study, "--out", tmp_path / name, "--store", tmp_path / "store", "--workers", 1))
    for process in running:
        _, err = process.communicate()
        assert process.returncode == 0, err
    assert computed(tmp_path / "one", tmp_path / "other") == once(tmp_path / "store")
    assert {name: answer(tmp_path / name) for name in alone} == alone
    assert rows(tmp_path / "store", "claims") == 0
    assert not any((tmp_path / "store" / "coordinators").iterdir())


def test_a_claim_of_a_killed_coordinator_is_taken_over(tmp_path):
    """The first one hangs in a segment that it has claimed; the second waits for it, until the first is killed."""
    (tmp_path / "hazards").mkdir()
    small = hazard(tmp_path / "hazards", "ok", replicates=1)
    run(small, tmp_path / "alone")
    small = hazard(tmp_path / "hazards", "hang", replicates=1)
    study = write_study(tmp_path, small)
    options = ("--store", tmp_path / "store", "--workers", 1)
    first = start(study, "--out", tmp_path / "first", *options)
    second = None
    try:
        assert until(lambda: rows(tmp_path / "store", "claims") == 1 and (tmp_path / "hazards" / "reached").exists(), first)
        (tmp_path / "hazards" / "mode").write_text("ok")
        second = start(study, "--out", tmp_path / "second", *options)
        # It has done all that does not depend on the segment that it waits for.
        assert until(lambda: waits(tmp_path / "store"), second)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        _, err = second.communicate()
        assert second.returncode == 0, err
    finally:
        for process in (first, second):
            if process is not None and process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    assert answer(tmp_path / "second") == answer(tmp_path / "alone")
