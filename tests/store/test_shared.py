"""Stores that serve several studies: everything is computed once, and every answer is that of a study by itself."""

import os
import signal
import sqlite3
from contextlib import closing, suppress
from dataclasses import replace

import numpy as np
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
    results,
    rows,
    run,
    sessions,
    start,
    until,
    write_study,
)

from hpo.core.checkpoints import INLINE_BYTES, encode
from hpo.core.errors import InputError, StoreError, StudyFailed
from hpo.core.segments import Segment, Split
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
    """Return how many jobs were computed, over all sessions of some run directories."""
    return sum(session["segments_computed"] for run_dir in run_dirs for session in sessions(run_dir))


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
    models = [
        {path.name: path.read_bytes() for path in (tmp_path / name / "models").iterdir()} for name in ("one", "again")
    ]
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
    assert sessions(tmp_path / "other")[0]["segments_recomputed"] > 0
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
    arms = (RANDOM, {**RANDOM, "label": "again", "stream": 1})
    small = hazard(tmp_path / "hazards", "ok", replicates=1) | {"arms": [dict(arm) for arm in arms]}
    small["comparison"] = {"baseline": "random", "metric": "score"}
    study = write_study(tmp_path, small)
    assert cli(study, "--out", tmp_path / "alone", "--executor", "serial").returncode == 0
    (tmp_path / "hazards" / "mode").write_text("hang")
    options = ("--store", tmp_path / "store", "--workers", 1)
    first = start(study, "--out", tmp_path / "first", *options)
    second = None
    try:
        assert until(lambda: (tmp_path / "hazards" / "hung").exists(), first)
        (tmp_path / "hazards" / "mode").write_text("ok")
        second = start(study, "--out", tmp_path / "second", *options)
        # It finishes the other arm while it waits for the segment.
        assert until(lambda: rows(tmp_path / "second", "openings") == 1, second)
        assert rows(tmp_path / "store", "claims") > 0
        before = once(tmp_path / "store")
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
    assert once(tmp_path / "store") == once(tmp_path / "alone") > before
    with Store(tmp_path / "third", shared=tmp_path / "store"):  # whoever comes next removes what the dead one left
        assert len(list((tmp_path / "store" / "coordinators").iterdir())) == 1


# --- claims --------------------------------------------------------------------------------------------------------------

KEY = "a" * 64
STORED = Stored(Segment(0, None, 0, {"lr": 0.1}, Split.SEARCH), {"error": 0.5}, False, None)


def test_a_claim_is_theirs_until_it_is_done_or_given_back(tmp_path):
    with Store(tmp_path / "a", shared=tmp_path / "s") as a, Store(tmp_path / "b", shared=tmp_path / "s") as b:
        assert a.claim(KEY, test=False, state=False) is Claim.OURS
        assert a.claim(KEY, test=False, state=False) is Claim.OURS
        assert b.claim(KEY, test=False, state=False) is Claim.THEIRS
        assert b.claim(KEY, test=True, state=False) is Claim.OURS  # the test of a segment is another thing
        b.unclaim(KEY, test=False)  # not b's to give
        assert b.claim(KEY, test=False, state=False) is Claim.THEIRS
        a.unclaim(KEY, test=False)
        assert b.claim(KEY, test=False, state=False) is Claim.OURS
        b.put(KEY, 0, STORED)
        assert a.claim(KEY, test=False, state=False) is Claim.DONE
        assert a.segments.get(KEY) == STORED
        with closing(sqlite3.connect(tmp_path / "s" / "store.sqlite")) as db:
            assert db.execute("SELECT key, test FROM claims").fetchall() == [(KEY, 1)]
    assert rows(tmp_path / "s", "claims") == 0


def test_claims_end_with_the_store_that_made_them(tmp_path):
    with Store(tmp_path / "b", shared=tmp_path / "s") as b:
        with Store(tmp_path / "a", shared=tmp_path / "s") as a:
            a.claim(KEY, test=False, state=False)
        assert b.claim(KEY, test=False, state=False) is Claim.OURS


def test_a_checkpoint_that_another_made_again_is_found(tmp_path):
    state = encode({"weights": np.zeros(INLINE_BYTES)})
    with Store(tmp_path / "a", shared=tmp_path / "s") as a, Store(tmp_path / "b", shared=tmp_path / "s") as b:
        stored = replace(STORED, checkpoint=a.segments.files.write(state))
        a.put(KEY, 0, stored)
        assert b.segments.get(KEY) == stored
        b.segments.lost(KEY)
        assert b.segments.get(KEY).checkpoint is None
        assert a.claim(KEY, test=False, state=False) is Claim.DONE
        assert a.claim(KEY, test=False, state=True) is Claim.OURS
        a.segments.files.write(state)
        a.put(KEY, 0, stored)
        assert b.claim(KEY, test=False, state=True) is Claim.DONE
        assert b.segments.get(KEY) == stored


def test_nobody_else_has_claims_on_a_store_of_ones_own(tmp_path):
    with Store(tmp_path) as store:
        store.put(KEY, 0, STORED)
        assert store.claim(KEY, test=False, state=False) is Claim.OURS


def test_the_same_key_with_another_result_is_an_error_between_studies_too(tmp_path):
    with Store(tmp_path / "a", shared=tmp_path / "s") as a, Store(tmp_path / "b", shared=tmp_path / "s") as b:
        a.put(KEY, 0, STORED)
        with pytest.raises(StoreError, match="computed again with a different result"):
            b.put(KEY, 0, replace(STORED, metrics={"error": 0.25}))


# --- what does not go together -------------------------------------------------------------------------------------------


def test_a_run_directory_stays_with_its_kind_of_store(tmp_path):
    run(document(), tmp_path / "own")
    with pytest.raises(InputError, match=r"begun without --store and holds \d+ segments"):
        run(document(), tmp_path / "own", store=tmp_path / "store")
    run(document(), tmp_path / "run", store=tmp_path / "store")
    with pytest.raises(InputError, match=f"was begun with --store {tmp_path / 'store'}: give it again"):
        run(document(), tmp_path / "run")


def test_a_mistyped_store_computes_nothing_anew_and_a_refused_command_changes_nothing(tmp_path):
    run(document(), tmp_path / "run", store=tmp_path / "store")
    with pytest.raises(InputError, match=f"was begun with --store {tmp_path / 'store'}, and there is no store in"):
        run(document(), tmp_path / "run", store=tmp_path / "stroe")
    run(document(), tmp_path / "other", store=tmp_path / "another")
    with pytest.raises(InputError, match="holds finished work of another study"):
        run(document(budget=7), tmp_path / "run", store=tmp_path / "another")
    with pytest.raises(InputError, match=f"was begun with --store {tmp_path / 'store'}: give it again"):
        run(document(), tmp_path / "run")


def test_what_other_studies_were_told_of_a_model_stays(tmp_path):
    """A study that finds another test set stops; that of the others is not forgotten for it."""
    (tmp_path / "test").write_text("f1")
    task = {**WALK, "test_file": str(tmp_path / "test")}
    first = document(task, arms=(RANDOM,), replicates=1)
    run(first, tmp_path / "first", store=tmp_path / "store")
    (tmp_path / "test").write_text("f2")
    run(document(task, arms=(GREEDY,), name="second", replicates=1), tmp_path / "second", store=tmp_path / "store")
    second = document(task, arms=(GREEDY, RANDOM), name="second", replicates=1)
    with pytest.raises(StudyFailed, match="the test set is another one"):
        run(second, tmp_path / "second", store=tmp_path / "store")
    assert rows(tmp_path / "store", "tests") == 2
    (tmp_path / "test").write_text("f1")
    run(first, tmp_path / "again", store=tmp_path / "store")
    assert computed(tmp_path / "again") == 0


def test_what_only_the_stopped_study_was_told_is_forgotten(tmp_path):
    """Else it could not go on, when the test set is back."""
    (tmp_path / "test").write_text("f1")
    task = {**WALK, "test_file": str(tmp_path / "test")}
    study = document(task, arms=(RANDOM,))
    run(study, tmp_path / "run", store=tmp_path / "store", seeds=[0])
    (tmp_path / "test").write_text("f2")
    with closing(sqlite3.connect(tmp_path / "store" / "store.sqlite")) as db:
        told = db.execute("SELECT * FROM tests").fetchall()
    other = document(task, arms=(RANDOM,), name="other", seeds=[1])
    del other["study"]["replicates"]
    run(other, tmp_path / "other", store=tmp_path / "store")
    with closing(sqlite3.connect(tmp_path / "store" / "store.sqlite")) as db, db:
        assert len(db.execute("SELECT * FROM tests").fetchall()) == len(told) + 1
        db.execute(
            "DELETE FROM study_openings WHERE seed = 1"
        )  # as if that study had been killed before it took its answer
    (tmp_path / "test").write_text("f1")
    with pytest.raises(StudyFailed, match="the test set is another one"):
        run(study, tmp_path / "run", store=tmp_path / "store")
    run(study, tmp_path / "run", store=tmp_path / "store")
    assert len(results(tmp_path / "run")["replicates"]) == 2


def test_a_store_is_no_run_directory_and_none_is_a_store(tmp_path):
    run(document(), tmp_path / "run", store=tmp_path / "store")
    with pytest.raises(InputError, match="is a shared store, not a run directory"):
        run(document(), tmp_path / "store")
    with pytest.raises(InputError, match="is a run directory, not a shared store"):
        run(document(), tmp_path / "other", store=tmp_path / "run")
    with pytest.raises(InputError, match="is the run directory itself"):
        run(document(), tmp_path / "third", store=tmp_path / "third")


def test_a_budget_is_not_for_a_shared_store(tmp_path):
    study = write_study(tmp_path, document())
    done = cli(study, "--out", tmp_path / "run", "--store", tmp_path / "store", "--checkpoint-budget", 10)
    assert done.returncode == 2
    assert "hpo store gc --budget" in done.stderr
    assert not (tmp_path / "run").exists()
