"""Whole studies: the same answer however they were run, and the protocol of a replicate."""

import json
import os
import random
import signal
import sqlite3
from collections import Counter
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import tomli_w
import torch
from helpers import (
    GREEDY,
    HERE,
    PBT,
    RANDOM,
    TOY,
    TPE,
    answer,
    cli,
    document,
    results,
    rows,
    run,
    sessions,
    start,
    until,
    work,
    write_study,
)
from plain_tasks import HIGH

import hpo
from hpo.core.errors import InputError, ReplayMismatch, StudyFailed
from hpo.core.observer import Observer
from hpo.core.segments import KeyMaker, Split, retraced
from hpo.execution.jobs import Job
from hpo.execution.runner import Runner
from hpo.store import Store

BLOBS = {"name": "blobs"}
WALK = {"name": "walk"}
LARGE = {"name": "walk", "size": 9000}
"""States of 72 kB: each gets a checkpoint file."""
ALL = (RANDOM, PBT, GREEDY, TPE)
SMALL_BLOBS = {"budget": 1.5, "interval": 0.5, "population_size": 4}


def blobs_document(**more):
    arms = (RANDOM, {**PBT, "perturbation_interval": 0.5})
    return document({**BLOBS, **more}, arms=arms, **SMALL_BLOBS)


@pytest.fixture(scope="module")
def blobs_run(tmp_path_factory):
    """Return the run directory of a study of the torch task, run in this process."""
    return run(blobs_document(), tmp_path_factory.mktemp("blobs") / "run").run_dir


@pytest.fixture(scope="module")
def toy_run(tmp_path_factory):
    """Return the run directory of a study of the toy task with every optimizer, run in this process."""
    return run(document(arms=ALL), tmp_path_factory.mktemp("toy") / "run").run_dir


# --- the same answer, however it was run ---------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_never_change_the_answer(toy_run, tmp_path, workers):
    run(document(arms=ALL), tmp_path, executor="process", workers=workers)
    assert answer(tmp_path) == answer(toy_run)


def test_execution_options_come_as_one_record_or_one_by_one(toy_run, tmp_path):
    spec = hpo.parse_study(document(arms=ALL))
    hpo.run_study(spec, execution=hpo.Execution("serial"), out=tmp_path, report=False)
    assert answer(tmp_path) == answer(toy_run)
    with pytest.raises(hpo.InputError, match="execution"):
        hpo.run_study(spec, execution=hpo.Execution("serial"), workers=2, out=tmp_path, report=False)


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_workers_never_change_the_answer_of_a_torch_task_with_dropout(blobs_run, tmp_path, workers):
    run(blobs_document(), tmp_path, executor="process", workers=workers)
    assert answer(tmp_path) == answer(blobs_run)
    ours, theirs = results(tmp_path)["environment"], results(blobs_run)["environment"]
    assert ours["numerics"] == theirs["numerics"]
    for path in (blobs_run / "models").iterdir():
        assert (tmp_path / "models" / path.name).read_bytes() == path.read_bytes()


def test_a_study_that_is_done_computes_nothing_when_it_is_run_again(toy_run, tmp_path):
    for _ in range(2):
        run(document(arms=ALL), tmp_path)
        assert answer(tmp_path) == answer(toy_run)
    first, again = sessions(tmp_path)
    assert first["segments_computed"] == rows(tmp_path) + rows(tmp_path, "tests")
    assert (again["segments_computed"], again["segments_recomputed"]) == (0, 0)


def test_the_hash_seed_of_the_interpreter_never_changes_the_answer(toy_run, tmp_path):
    study = write_study(tmp_path, document(arms=ALL))
    env = os.environ | {"PYTHONHASHSEED": "12345"}
    assert cli(study, "--out", tmp_path / "run", "--executor", "serial", env=env).returncode == 0
    assert answer(tmp_path / "run") == answer(toy_run)


LONG = document(WALK, arms=(RANDOM, PBT, GREEDY), budget=16, population_size=6)


@pytest.fixture(scope="module")
def long_run(tmp_path_factory):
    return run(LONG, tmp_path_factory.mktemp("long") / "run").run_dir


@pytest.mark.parametrize(("executor", "seed"), [pytest.param("serial", 0, marks=pytest.mark.slow), ("process", 1)])
def test_killed_at_many_moments_a_study_goes_on_to_the_same_answer(long_run, tmp_path, executor, seed):
    study = write_study(tmp_path, LONG)
    total = rows(long_run)
    moments = sorted(random.Random(seed).sample(range(1, int(0.8 * total)), 4 if executor == "serial" else 3))
    killed = []
    for moment in moments:
        with start(study, "--out", "run", "--executor", executor, "--workers", 2) as process:
            if until(lambda moment=moment: rows(tmp_path / "run") >= moment, process):
                process.kill()
        killed.append(process.returncode)
    assert killed == [-signal.SIGKILL] * len(moments)
    assert 0 < rows(tmp_path / "run") < total
    done = cli(study, "--out", "run", "--executor", executor, "--workers", 2)
    assert done.returncode == 0, done.stderr
    assert answer(tmp_path / "run") == answer(long_run)
    assert rows(tmp_path / "run") == total


@pytest.mark.parametrize(
    ("number", "executor"),
    [
        (signal.SIGINT, "process"),
        (signal.SIGTERM, "serial"),
        (signal.SIGUSR1, "process"),
        pytest.param(signal.SIGHUP, "process", marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, "serial", marks=pytest.mark.slow),
    ],
)
def test_interrupted_a_study_says_so_and_goes_on(long_run, tmp_path, number, executor):
    """Fault 44: SIGHUP ends a study as SIGTERM does, and so does what Slurm sends before its limit."""
    study = write_study(tmp_path, LONG)
    with start(study, "--out", "run", "--executor", executor, "--workers", 2) as process:
        assert until(lambda: rows(tmp_path / "run") >= 40, process)
        # A terminal sends Ctrl-C to the workers, too.
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        if number == signal.SIGHUP:  # a shell may pass on what the terminal has sent already
            os.kill(process.pid, number)
        _, said = process.communicate()
    assert process.returncode == 130
    assert said.startswith(f"interrupted by {number.name}: ")
    assert said.count("\n") == 1
    before = rows(tmp_path / "run")
    assert 40 <= before < rows(long_run)
    assert sessions(tmp_path / "run")[0]["segments_computed"] >= 40
    assert len(results(tmp_path / "run")["replicates"]) < 2
    run(LONG, tmp_path / "run")
    assert answer(tmp_path / "run") == answer(long_run)


@pytest.mark.slow
def test_a_torch_study_that_was_killed_goes_on_to_the_same_answer(blobs_run, tmp_path):
    study = write_study(tmp_path, blobs_document())
    with start(study, "--out", "run", "--executor", "serial") as process:
        if until(lambda: rows(tmp_path / "run") >= 12, process):
            process.kill()
    assert process.returncode == -signal.SIGKILL
    assert rows(tmp_path / "run") < rows(blobs_run)
    run(blobs_document(), tmp_path / "run")
    assert answer(tmp_path / "run") == answer(blobs_run)


def test_one_thread_of_linear_algebra_in_this_process_as_in_workers(tmp_path):
    small = document({"name": "products"}, replicates=1, population_size=2, budget=2)
    run(small, tmp_path / "serial")
    run(small, tmp_path / "process", executor="process", workers=2)
    assert answer(tmp_path / "process") == answer(tmp_path / "serial")
    for path in (tmp_path / "serial" / "models").iterdir():
        assert (tmp_path / "process" / "models" / path.name).read_bytes() == path.read_bytes()


def test_a_serial_run_leaves_the_callers_generators_and_threads_alone(tmp_path):
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    threads, denormal = torch.get_num_threads(), float(torch.tensor(1e-30) * torch.tensor(1e-10))
    run(blobs_document() | {"arms": [RANDOM, {**TPE, "initial": 1}]}, tmp_path)
    drawn = random.random(), np.random.random(), float(torch.rand(()))
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    assert drawn == (random.random(), np.random.random(), float(torch.rand(())))
    assert torch.get_num_threads() == threads
    assert float(torch.tensor(1e-30) * torch.tensor(1e-10)) == denormal


def test_the_callers_generators_never_enter_the_answer(toy_run, tmp_path):
    np.random.seed(99)
    random.seed(99)
    run(document(arms=ALL), tmp_path)
    assert answer(tmp_path) == answer(toy_run)


# --- lineages ------------------------------------------------------------------------------------------------------------


def lineages(run_dir):
    """Yield (seed, arm's label, the winning path as (key, stored), root first)."""
    with Store(run_dir) as store:
        for replicate in results(run_dir)["replicates"]:
            for label in replicate["arms"]:
                key = json.loads(store.study.journal(replicate["seed"], label)[-1][1])["key"]
                path = []
                while key is not None:
                    path.insert(0, (key, store.segments.get(key)))
                    key = path[0][1].segment.parent
                yield replicate["seed"], label, path


@pytest.mark.parametrize("made", ["blobs_run", "toy_run"])
def test_retraining_a_lineage_on_the_search_split_is_its_checkpoint_bit_for_bit(made, request, tmp_path):
    run_dir = request.getfixturevalue(made)
    document = results(run_dir)["study"]
    spec = hpo.parse_study(document, search_path=[HERE])
    runner = Runner(spec.task, spec.interval, tmp_path / "elsewhere")
    members = set()
    for seed, label, path in lineages(run_dir):
        segments = [stored.segment for _, stored in path]
        # Keys of the test's own: nothing is looked up, everything is computed again.
        walked = retraced(segments, Split.SEARCH, KeyMaker.of({"test": 1}))
        checkpoint = None
        for (key, segment), (_, stored) in zip(walked, path, strict=True):
            outcome = runner(Job(key, segment, seed, 0, checkpoint))
            checkpoint = outcome.checkpoint
            assert checkpoint.digest == stored.checkpoint.digest
            assert outcome.metrics == stored.metrics
        if label != "random":
            members.add(len({segment.member for segment in segments}))
    assert max(members) > 1  # some winner had copied


def test_the_schedule_of_the_results_is_the_winning_lineage(toy_run):
    for seed, label, path in lineages(toy_run):
        replicate = next(found for found in results(toy_run)["replicates"] if found["seed"] == seed)
        schedule = replicate["arms"][label]["schedule"]
        steps = [(step["member"], step["hparams"]) for step in schedule for _ in range(step["start"], step["stop"])]
        assert steps == [(stored.segment.member, dict(stored.segment.hparams)) for _, stored in path]
        assert replicate["arms"][label]["validation"] == path[-1][1].metrics


# --- arms against each other ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arm", [PBT, TPE], ids=["pbt", "tpe"])
def test_an_arm_against_itself_differs_nowhere_and_costs_nothing(tmp_path, arm):
    found = run(document(arms=(arm, {**arm, "label": "again"}), replicates=3), tmp_path).results
    (comparison,) = found["comparisons"]
    assert comparison["differences"] == [0.0] * 3
    assert comparison["p_sign_flip"] == 1.0
    for replicate in found["replicates"]:
        first, again = replicate["arms"].values()
        assert first["computed_intervals"] == first["charged_intervals"] == 20
        assert again == first | {"computed_intervals": 0}


def test_another_label_changes_nothing(tmp_path):
    one = run(document(arms=(RANDOM, PBT)), tmp_path / "one").results
    other = run(document(arms=(RANDOM, {**PBT, "label": "other"})), tmp_path / "other").results
    for replicate, renamed in zip(one["replicates"], other["replicates"], strict=True):
        assert replicate["arms"]["pbt"] == renamed["arms"]["other"]


def test_arms_of_other_streams_are_repeats_on_the_same_population(tmp_path):
    found = run(document(arms=(RANDOM, {**RANDOM, "label": "again", "stream": 1})), tmp_path)
    with Store(tmp_path) as store:
        for replicate in found.results["replicates"]:
            first, again = replicate["arms"].values()
            assert first["test"] != again["test"]
            assert again["computed_intervals"] == again["charged_intervals"]
            asks = [
                json.loads(json.dumps(store.study.journal(replicate["seed"], label)[0]))
                for label in ("random", "again")
            ]
            assert asks[0] == asks[1]  # the same roots: slots and hyperparameters


def test_pbt_that_neither_selects_nor_perturbs_is_random_search(tmp_path):
    nothing = PBT | {"selection": {"name": "none"}, "perturbation": {"name": "none"}, "explore": "all"}
    found = run(document(WALK, arms=(RANDOM, nothing)), tmp_path).results
    for replicate in found["replicates"]:
        chains, pbt = replicate["arms"].values()
        assert pbt["computed_intervals"] == pbt["exploits"] == 0
        assert {name: pbt[name] for name in ("validation", "test", "schedule", "charged_intervals")} == {
            name: chains[name] for name in ("validation", "test", "schedule", "charged_intervals")
        }
    assert found["comparisons"][0]["p_sign_flip"] == 1.0


def test_tpe_asks_for_hyperparameters_that_random_search_does_not(toy_run):
    with Store(toy_run) as store:

        def asked(label):
            entries = [content for kind, content in store.study.journal(0, label) if kind == "ask"]
            segments = [json.loads(line) for entry in entries for line in entry.split("\n")]
            return {tuple(segment["hparams"].items()) for segment in segments}

        assert len(asked("tpe")) == len(asked("random")) == 4
        assert len(asked("tpe") & asked("random")) == TPE["initial"]


def test_the_ledgers_of_a_study_add_up(toy_run):
    with closing(sqlite3.connect(toy_run / "store.sqlite")) as db:
        stored = dict(db.execute("SELECT seed, COUNT(*) FROM segments WHERE segment LIKE '%search%' GROUP BY seed"))
    for replicate in results(toy_run)["replicates"]:
        arms = replicate["arms"].values()
        assert [arm["charged_intervals"] for arm in arms] == [20] * 4
        assert sum(arm["computed_intervals"] for arm in arms) == stored[replicate["seed"]]
        assert [arm["test_openings"] for arm in arms] == [1] * 4


# --- checkpoints that are lost -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large_run(tmp_path_factory):
    """Return the run directory of a study whose states lie in files."""
    return run(document(LARGE), tmp_path_factory.mktemp("large") / "run").run_dir


def truncate(path):
    path.write_bytes(path.read_bytes()[:5000])


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(("damage", "executor"), [(Path.unlink, "process"), (truncate, "serial"), (flip, "process")])
def test_lost_checkpoints_are_computed_again(large_run, tmp_path, damage, executor):
    run(document(LARGE, replicates=1), tmp_path)
    files = sorted((tmp_path / "checkpoints").rglob("*.safetensors"))
    assert len(files) > 20
    assert min(path.stat().st_size for path in files) > 2**16
    for path in files:
        damage(path)
    # An arm that was not there goes on from roots that are: their checkpoints are needed again.
    arms = (RANDOM, PBT, GREEDY)
    run(document(LARGE, arms=arms), tmp_path, executor=executor, workers=2)
    run(document(LARGE, arms=arms), tmp_path / "undisturbed")
    assert work(tmp_path) == work(tmp_path / "undisturbed")
    assert sessions(tmp_path)[1]["segments_recomputed"] > 0
    assert sessions(tmp_path / "undisturbed")[0]["segments_recomputed"] == 0


@pytest.mark.parametrize("arm", [RANDOM, PBT], ids=["random_search", "pbt"])
@pytest.mark.parametrize("concurrency", [8, 3])
@pytest.mark.parametrize("states", [1, 4, 7])
def test_a_population_that_is_larger_than_the_checkpoint_budget_trains_nothing_twice(
    tmp_path, arm, states, concurrency
):
    """What a round needs next stays, above the budget if it must: members that wait for the others, too."""
    run(
        document(LARGE, arms=({**arm, "concurrency": concurrency},), replicates=2, population_size=8, budget=5),
        tmp_path,
        checkpoint_budget=states * 73_000,
    )
    assert sessions(tmp_path)[0]["segments_recomputed"] == 0


@pytest.mark.parametrize("executor", ["serial", "process"])
def test_a_tiny_checkpoint_budget_costs_time_and_never_the_answer(large_run, tmp_path, executor):
    run(document(LARGE), tmp_path, checkpoint_budget=300_000, executor=executor, workers=2)
    assert answer(tmp_path) == answer(large_run)
    (session,) = sessions(tmp_path)
    assert session["segments_recomputed"] > 0
    kept = sum(path.stat().st_size for path in (tmp_path / "checkpoints").rglob("*.safetensors"))
    assert kept <= 300_000
    for path in (large_run / "models").iterdir():
        assert (tmp_path / "models" / path.name).read_bytes() == path.read_bytes()


def test_the_winners_are_kept_also_where_their_checkpoints_are_gone(large_run, tmp_path):
    """An arm that walks another's way to its end finds nothing left to compute, and still has a model."""
    run(document(LARGE, arms=(RANDOM,)), tmp_path, checkpoint_budget=1)
    for path in (tmp_path / "models").iterdir():
        path.unlink()
    twin = {**RANDOM, "label": "twin"}
    found = run(document(LARGE, arms=(RANDOM, twin)), tmp_path, checkpoint_budget=1)
    for label in ("random", "twin"):
        for seed in (0, 1):
            model = found.model(label, seed)
            assert np.array_equal(model, hpo.load_model(large_run, "random", seed))


def bit_flipped(state):
    return state[:-1] + bytes([state[-1] ^ 1])


def zeroed(state):
    return bytes(5)


@pytest.mark.parametrize("damage", [bit_flipped, zeroed])
def test_damaged_states_in_the_stores_rows_are_computed_again(tmp_path, damage):
    run(document(arms=(RANDOM,)), tmp_path / "run")
    with closing(sqlite3.connect(tmp_path / "run" / "store.sqlite")) as db, db:
        db.create_function("damaged", 1, damage)
        assert db.execute("UPDATE segments SET state = damaged(state) WHERE state IS NOT NULL").rowcount > 40
    for path in (tmp_path / "run" / "models").iterdir():
        path.unlink()
    # In a process of its own, which would be killed if it went round in circles.
    done = cli(write_study(tmp_path, document()), "--out", "run", "--executor", "serial")
    assert done.returncode == 0, done.stderr
    run(document(), tmp_path / "undisturbed")
    assert work(tmp_path / "run") == work(tmp_path / "undisturbed")
    assert sessions(tmp_path / "run")[1]["segments_recomputed"] > 0
    for path in (tmp_path / "undisturbed" / "models").iterdir():
        assert (tmp_path / "run" / "models" / path.name).read_bytes() == path.read_bytes()


# --- studies that grow ---------------------------------------------------------------------------------------------------


def test_more_seeds_and_more_arms_compute_only_what_is_new(toy_run, tmp_path):
    run(document(arms=(RANDOM, PBT), replicates=1), tmp_path)
    run(document(arms=(RANDOM, PBT)), tmp_path)
    run(document(arms=ALL), tmp_path)
    assert work(tmp_path) == work(toy_run)
    kinds = {found["verdict"]["kind"] for found in results(tmp_path)["comparisons"]}
    assert kinds == {"extended after looking"}
    first, second, third = sessions(tmp_path)
    assert [found["segments_recomputed"] for found in (first, second, third)] == [0, 0, 0]
    computed = sum(found["segments_computed"] for found in (first, second, third))
    assert computed == rows(toy_run) + rows(toy_run, "tests")
    assert rows(tmp_path) == rows(toy_run)


def test_seeds_run_one_by_one_give_the_whole_answer(toy_run, tmp_path):
    run(document(arms=ALL), tmp_path, seeds=[1])
    assert [found["seed"] for found in results(tmp_path)["replicates"]] == [1]
    run(document(arms=ALL), tmp_path, seeds=[0, 0])  # asked for twice is asked for once
    assert answer(tmp_path) == answer(toy_run)
    assert sessions(tmp_path)[1]["segments_computed"] < sessions(toy_run)[0]["segments_computed"]


def test_running_less_again_takes_nothing_away(toy_run, tmp_path):
    for seeds in (None, [0]):
        run(document(arms=ALL), tmp_path, seeds=seeds)
    assert answer(tmp_path) == answer(toy_run)


def test_a_default_that_is_written_out_is_no_change(tmp_path):
    run(document(), tmp_path)
    before = results(tmp_path)
    arms = (
        {**RANDOM, "select": "final", "stream": 0, "concurrency": 4},
        {**PBT, "explore": "copied", "burn_in": 0, "select": "final"},
    )
    spelled = document({**TOY, "start": [0.9, 0.9]}, arms=arms, seeds=[0, 1])
    del spelled["study"]["replicates"]
    run(spelled, tmp_path)
    assert sessions(tmp_path)[1]["segments_computed"] == 0
    assert results(tmp_path) == before | {"study": spelled}


class Stop(hpo.Observer):
    """Interrupts a study before anything of it runs."""

    def started(self, study):
        raise KeyboardInterrupt


def test_an_arm_or_a_seed_that_was_added_and_removed_before_it_ran_is_no_change(toy_run, tmp_path):
    run(document(arms=ALL), tmp_path)
    for added in (
        document(arms=(*ALL, {**GREEDY, "label": "added"})),
        document(arms=(*ALL, {**GREEDY, "label": "added", "perturbation_interval": 1})),
        document(arms=ALL, replicates=5),
    ):
        with pytest.raises(KeyboardInterrupt):
            run(added, tmp_path, observer=Stop())
    run(document(arms=ALL), tmp_path)
    assert work(tmp_path) == work(toy_run)
    # The history is told; the plan is the registered one again, and so are the verdicts.
    found, undisturbed = results(tmp_path), results(toy_run)
    assert len(found["registration"].pop("amendments")) == 3
    assert undisturbed["registration"].pop("amendments") == []
    assert found == undisturbed
    assert sessions(tmp_path)[-1]["segments_computed"] == 0


def test_an_arm_that_was_begun_cannot_be_removed(tmp_path):
    run(document(), tmp_path)
    with pytest.raises(InputError, match=r"arms\[pbt\]: removed"):
        run(document(arms=(RANDOM,)), tmp_path)


def test_a_changed_study_is_refused_and_its_changes_are_named(tmp_path):
    study = write_study(tmp_path, document())
    assert cli(study, "--out", "run", "--executor", "serial").returncode == 0
    before = answer(tmp_path / "run")
    changed = document({**TOY, "step_size": 0.02}, arms=(RANDOM, {**PBT, "perturbation_interval": 2}), budget=6)
    done = cli(write_study(tmp_path, changed), "--out", "run", "--executor", "serial")
    assert done.returncode == 2
    assert "holds finished work of another study" in done.stderr
    for line in (
        "study.budget: 5.0 -> 6.0",
        "task.step_size: 0.01 -> 0.02",
        "arms[pbt].perturbation_interval: 1.0 -> 2.0",
    ):
        assert line in done.stderr
    assert answer(tmp_path / "run") == before


def test_a_task_whose_code_changed_is_refused(tmp_path):
    task = "from dataclasses import dataclass\nimport hpo\nfrom hpo.tasks.toy import Toy\n"
    task += "@hpo.register_task('mine')\n@dataclass(frozen=True)\nclass Mine(Toy):\n    pass\n"
    (tmp_path / "edited_task.py").write_text(task)
    study = write_study(tmp_path, document({"name": "mine", "module": "edited_task"}))
    assert cli(study, "--out", "run", "--executor", "serial").returncode == 0
    (tmp_path / "edited_task.py").write_text(task + "# another line\n")
    done = cli(study, "--out", "run", "--executor", "serial")
    assert done.returncode == 2
    assert "edited_task.py: " in done.stderr


def test_a_run_directory_in_use_is_refused_by_name(tmp_path):
    small = document()
    with Store(tmp_path / "run"):
        with pytest.raises(InputError, match=f"in use by process {os.getpid()}"):
            run(small, tmp_path / "run")
        done = cli(write_study(tmp_path, small), "--out", "run")
    assert done.returncode == 2
    assert f"run is in use by process {os.getpid()} on" in done.stderr
    assert rows(tmp_path / "run") == 0


# --- replay --------------------------------------------------------------------------------------------------------------


def tamper(run_dir, kind, old, new, arm="pbt"):
    """Change the last journal entry of a kind that holds a text."""
    with closing(sqlite3.connect(run_dir / "store.sqlite")) as db, db:
        ((position, content),) = db.execute(
            "SELECT position, content FROM journal WHERE seed = 0 AND arm = ? AND kind = ? AND instr(content, ?)"
            " ORDER BY position DESC LIMIT 1",
            (arm, kind, old),
        )
        db.execute(
            "UPDATE journal SET content = ? WHERE seed = 0 AND arm = ? AND position = ?",
            (content.replace(old, new, 1), arm, position),
        )
    return position


def test_another_ask_than_the_journals_is_named_and_an_unfinished_arm_starts_again(toy_run, tmp_path):
    small = document(arms=ALL)
    run(small, tmp_path)
    position = tamper(tmp_path, "ask", '"interval": 2', '"interval": 3')
    with closing(sqlite3.connect(tmp_path / "store.sqlite")) as db, db:
        db.execute("DELETE FROM journal WHERE seed = 0 AND arm = 'pbt' AND kind = 'best'")
    with pytest.raises(ReplayMismatch) as raised:
        run(small, tmp_path)
    said = str(raised.value)
    assert f"arm 'pbt', seed 0: entry {position} of the journal is 'ask', the optimizer's is 'ask'" in said
    then, now = (line for line in said.split("\n") if line.startswith(("  then:", "  now:")))
    assert then.split(": ", 1)[1].strip() == now.split(": ", 1)[1].strip().replace('"interval": 2', '"interval": 3')
    assert "--follow-journal" in said
    run(small, tmp_path, follow_journal=True)
    assert answer(tmp_path) == answer(toy_run)
    run(small, tmp_path)  # and the journal is whole again
    assert answer(tmp_path) == answer(toy_run)


COIN = """
from dataclasses import dataclass
from pathlib import Path
import hpo
from hpo.optimizers.random_search import RandomSearch, RandomSearchRun
from hpo.core.segments import Segment

SHIFT = float(Path(__file__).with_name("shift").read_text())


@hpo.register_optimizer("shifted")
@dataclass(frozen=True)
class Shifted(RandomSearch):
    def start(self, problem):
        return Run(self, problem)


class Run(RandomSearchRun):
    def ask(self, free):
        return [
            Segment(s.member, s.parent, s.interval, {**s.hparams, "h0": s.hparams["h0"] * SHIFT})
            if s.parent is None else s for s in super().ask(free)
        ]
"""


def test_with_the_journal_followed_finished_arms_keep_their_answers(tmp_path):
    """An optimizer whose library changed: what it finished stands, what it had not begun is asked with the new one."""
    (tmp_path / "shifted_optimizer.py").write_text(COIN)
    task = {"name": "toy", "module": "shifted_optimizer", "training_noise": 0.01}
    study = write_study(tmp_path, document(task, arms=(RANDOM, {"label": "shifted", "optimizer": "shifted"})))
    options = ("--out", "run", "--executor", "serial")
    (tmp_path / "shift").write_text("0.5")
    assert cli(study, *options, "--replicates", 1).returncode == 0
    before = results(tmp_path / "run")["replicates"][0]
    (tmp_path / "shift").write_text("0.25")
    done = cli(study, *options)
    assert done.returncode == 1
    assert "arm 'shifted', seed 0: entry 0 of the journal" in done.stderr
    done = cli(study, *options, "--follow-journal")
    assert done.returncode == 0, done.stderr
    first, second = results(tmp_path / "run")["replicates"]
    assert first == before
    assert second["seed"] == 1


def test_a_tampered_tell_is_a_mismatch_too(tmp_path):
    run(document(), tmp_path)
    with Store(tmp_path) as store:
        key = store.study.journal(0, "pbt")[1][1].split("\n")[0]
    tamper(tmp_path, "tell", key, "f" * 64)
    with pytest.raises(ReplayMismatch, match=r"entry 1 of the journal is 'tell'"):
        run(document(), tmp_path)


def test_a_result_that_was_tampered_with_is_a_mismatch(tmp_path):
    """Replay asks the optimizer with what the store says: another score leads elsewhere, and that is seen."""
    small = document(arms=(GREEDY,), replicates=1)
    run(small, tmp_path)
    with closing(sqlite3.connect(tmp_path / "store.sqlite")) as db, db:
        db.execute(
            "UPDATE segments SET metrics = json_set(metrics, '$.score', -9.0) WHERE number IN"
            " (SELECT number FROM segments WHERE segment LIKE '%\"interval\": 1,%search%'"
            "  ORDER BY json_extract(metrics, '$.score') DESC LIMIT 1)"
        )
    with pytest.raises(ReplayMismatch):
        run(small, tmp_path)


# --- divergence ----------------------------------------------------------------------------------------------------------


def test_some_members_that_diverge_are_counted_and_rank_last(tmp_path):
    found = run(blobs_document(explode="high"), tmp_path).results
    for replicate in found["replicates"]:
        for arm in replicate["arms"].values():
            assert arm["charged_intervals"] == 12
            assert not arm["test_diverged"]
            assert all(step["hparams"]["lr"] <= 0.2 for step in arm["schedule"])
        # Counted once where a chain diverges, not again at each of its later intervals.
        assert replicate["arms"]["random"]["diverged"] <= 4
    assert sum(replicate["arms"]["random"]["diverged"] for replicate in found["replicates"]) > 0
    with closing(sqlite3.connect(tmp_path / "store.sqlite")) as db:
        diverged = db.execute("SELECT metrics, digest FROM segments WHERE diverged").fetchall()
    assert set(diverged) == {("{}", None)}


def test_a_study_in_which_all_diverge_ends_and_the_pair_is_not_dropped(tmp_path):
    found = run(blobs_document(explode="always"), tmp_path).results
    assert len(found["replicates"]) == 2
    for replicate in found["replicates"]:
        for arm in replicate["arms"].values():
            assert arm["test"]["error_count"] == arm["test"]["count"] == 100
            assert arm["test"]["error"] == 1.0
            assert arm["test"]["loss"] is None
            assert arm["test_diverged"] is True
            assert arm["validation"] == {}
            assert arm["diverged"] == 4
        assert replicate["arms"]["pbt"]["all_diverged"] == 2
        assert "all_diverged" not in replicate["arms"]["random"]
        assert replicate["arms"]["pbt"]["exploits"] == 0
    (comparison,) = found["comparisons"]
    assert (comparison["n"], comparison["differences"]) == (2, [0.0, 0.0])
    with pytest.raises(InputError, match="diverged"):
        hpo.load_model(tmp_path, "random", 0)


@pytest.mark.parametrize("how", [{"explode": "full"}, {"test_inputs": "nan"}], ids=["retraining", "test"])
def test_what_diverges_after_the_search_counts_as_wrong_everywhere(tmp_path, how):
    found = run(blobs_document(**how), tmp_path).results
    for replicate in found["replicates"]:
        for arm in replicate["arms"].values():
            assert arm["validation"]["error"] < 1.0
            assert arm["diverged"] == 0
            assert arm["test"]["error_count"] == arm["test"]["count"] == 100
            assert arm["test_diverged"] is True
    assert found["comparisons"][0]["n"] == 2
    assert found["comparisons"][0]["differences"] == [0.0, 0.0]


def test_a_member_that_says_in_the_middle_of_training_that_it_diverged_takes_no_other_with_it(tmp_path):
    task = {"name": "guess", "explode": "high"}
    found = run(document(task, population_size=8, replicates=1), tmp_path).results
    with closing(sqlite3.connect(tmp_path / "store.sqlite")) as db:
        segments = [
            (json.loads(text), bool(diverged))
            for text, diverged in db.execute("SELECT segment, diverged FROM segments")
        ]
    high = [segment["interval"] >= 1 and segment["hparams"]["rate"] > HIGH for segment, _ in segments]
    diverged = [diverged for _, diverged in segments]
    assert 0 < sum(high) <= sum(diverged) < len(segments) / 2
    assert all(diverged for high, diverged in zip(high, diverged, strict=True) if high)
    arms = found["replicates"][0]["arms"]
    # In random search nobody's rate changes: exactly the chains with a high one diverge, at their second interval.
    with Store(tmp_path) as store:
        roots = [json.loads(line) for line in store.study.journal(0, "random")[0][1].split("\n")]
    assert arms["random"]["diverged"] == sum(root["hparams"]["rate"] > HIGH for root in roots) > 0
    assert not any(arm["test_diverged"] for arm in arms.values())


@pytest.mark.parametrize("explode", ["full", "nan", "test"])
def test_a_winner_that_diverges_when_it_is_retrained_is_wrong_about_every_example(tmp_path, explode):
    """Also where its state is of whole numbers, and where its evaluation could not be done."""
    found = run(document({"name": "guess", "explode": explode}), tmp_path).results
    assert len(found["replicates"]) == 2
    for replicate in found["replicates"]:
        for arm in replicate["arms"].values():
            assert arm["validation"]["error"] < 1.0
            assert arm["diverged"] == 0
            assert arm["test"] == {"error": 1.0, "error_count": 20, "count": 20}
            assert arm["test_diverged"] is True
    (comparison,) = found["comparisons"]
    assert (comparison["n"], comparison["differences"]) == (2, [0.0, 0.0])
    if explode != "test":
        with pytest.raises(InputError, match="it diverged when it was retrained"):
            hpo.load_model(tmp_path, "random", 0, search_path=[HERE])


# --- the sealed test set -------------------------------------------------------------------------------------------------


def test_the_test_set_is_opened_once_per_arm_and_replicate_after_retraining(tmp_path):
    log = tmp_path / "log"
    arms = (RANDOM, PBT, GREEDY)
    small = document({**WALK, "log": str(log)}, arms=arms)
    found = run(small, tmp_path / "run").results
    lines = log.read_text().splitlines()
    assert lines.count("test_data") == 6
    # In a serial run all that came before an opening is in the log: at each, one more lineage was retrained to its end.
    retrained = Counter()
    opened = 0
    for line in lines:
        if line == "test_data":
            opened += 1
            assert retrained["train 50 4.0"] >= opened
        retrained[line] += 1
    with Store(tmp_path / "run") as store:
        assert store.study.openings("test") == {(seed, arm["label"]): 1 for seed in (0, 1) for arm in arms}
    assert {arm["test_openings"] for replicate in found["replicates"] for arm in replicate["arms"].values()} == {1}
    run(small, tmp_path / "run")
    assert log.read_text().splitlines() == lines  # nothing is trained and nothing opened by going over it again


def test_another_test_set_is_refused_until_the_first_one_is_back(tmp_path):
    file = tmp_path / "fingerprint"
    small = document({**WALK, "test_file": str(file)}, arms=(RANDOM,))
    file.write_text("the first")
    run(small, tmp_path / "whole")
    run(small, tmp_path / "run", seeds=[0])
    file.write_text("another")
    for _ in range(2):
        with pytest.raises(StudyFailed, match=r"its fingerprint was the first, and is another\): bring it back"):
            run(small, tmp_path / "run")
        assert [replicate["seed"] for replicate in results(tmp_path / "run")["replicates"]] == [0]
    file.write_text("the first")
    run(small, tmp_path / "run")
    assert answer(tmp_path / "run") == answer(tmp_path / "whole")
    assert [found["arms"]["random"]["test_openings"] for found in results(tmp_path / "run")["replicates"]] == [1, 1]


def test_a_search_cannot_see_the_test_set(tmp_path):
    """Interrupted before any retraining, nothing has been opened."""
    log = tmp_path / "log"
    small = document({**WALK, "log": str(log)}, replicates=1)

    class Stop(hpo.Observer):
        def segment(self, segment):
            if segment.retraining:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(small, tmp_path / "run", observer=Stop())
    assert "test_data" not in log.read_text()
    assert rows(tmp_path / "run", "openings") == rows(tmp_path / "run", "tests") == 0
    assert results(tmp_path / "run")["replicates"] == []


# --- options of tasks ----------------------------------------------------------------------------------------------------


def test_a_folder_may_be_an_option_of_a_task(tmp_path):
    """Paths are written as text in the study file, in keys and in what workers are told."""
    (tmp_path / "folder_task.py").write_text(
        "from dataclasses import dataclass\nfrom pathlib import Path\nimport hpo\nfrom hpo.tasks.toy import Toy\n"
        "@hpo.register_task('folder')\n@dataclass(frozen=True)\nclass Folder(Toy):\n    root: Path | None = None\n"
        "    def check(self):\n        assert isinstance(self.root, Path)\n"
    )
    task = {"name": "folder", "module": "folder_task", "root": str(tmp_path)}
    study = write_study(tmp_path, document(task, replicates=1))
    for executor in ("serial", "process"):
        done = cli(study, "--out", "run", "--executor", executor)
        assert done.returncode == 0, done.stderr


# --- what lies in a run directory ------------------------------------------------------------------------------------


def test_the_files_of_a_run(toy_run):
    assert {path.name for path in toy_run.iterdir()} >= {"study.toml", "store.sqlite", "results.json", "segments.csv"}
    assert hpo.load_study(toy_run / "study.toml").document == document(arms=ALL)
    assert (toy_run / "study.toml").read_text() == tomli_w.dumps(document(arms=ALL))
    assert len(list((toy_run / "models").iterdir())) == 8
    assert results(toy_run)["interval"] == 1.0
    assert Fraction(results(toy_run)["interval"]) * results(toy_run)["intervals"] == 5


def test_an_interruption_takes_no_finished_replicate_out_of_the_results(tmp_path):
    class StopAfter(Observer):
        def finished_replicate(self, replicate):
            if replicate.seed == 0:
                raise KeyboardInterrupt

    study = document(replicates=4)
    run(study, tmp_path, seeds=[2, 3])
    with pytest.raises(KeyboardInterrupt):
        run(study, tmp_path, observer=StopAfter())
    assert [replicate["seed"] for replicate in results(tmp_path)["replicates"]] == [0, 2, 3]


# --- what looks on --------------------------------------------------------------------------------------------------------


class Broken(Observer):
    """Raises whenever it sees something."""

    def started(self, study):
        raise ConnectionError("no tracker")

    def job_started(self, job):
        raise ConnectionError("no tracker")

    def job_ended(self, job):
        raise ConnectionError("no tracker")

    def segment(self, segment):
        raise ConnectionError("no tracker") if segment.interval % 2 else TimeoutError("nor one here")

    def tested(self, test):
        raise ConnectionError("no tracker")

    def finished_replicate(self, replicate):
        raise ValueError("nor one here")

    def warning(self, text):
        raise ConnectionError("no tracker")

    def stopped(self, end):
        raise ConnectionError("no tracker")


@pytest.mark.parametrize("executor", ["serial", "process"])
def test_what_an_observer_raises_is_a_warning(tmp_path, executor):
    with pytest.warns(RuntimeWarning) as warned:
        run(document(), tmp_path / "watched", executor=executor, workers=2, observer=Broken())
    said = [str(warning.message).split(":")[0] for warning in warned]
    assert sorted(said) == sorted(
        f"the observer's {name} raised {error}"
        for name, error in [
            ("started", "ConnectionError"),
            ("job_started", "ConnectionError"),
            ("job_ended", "ConnectionError"),
            ("segment", "ConnectionError"),
            ("segment", "TimeoutError"),
            ("tested", "ConnectionError"),
            ("finished_replicate", "ValueError"),
            ("warning", "ConnectionError"),
            ("stopped", "ConnectionError"),
        ]
    )
    run(document(), tmp_path / "alone")
    assert answer(tmp_path / "watched") == answer(tmp_path / "alone")


def test_what_a_study_gives_is_shown_in_a_few_words(tmp_path):
    """Fault 32: `repr(result)` took 7 kB."""
    study = hpo.parse_study(document())
    result = hpo.run_study(study, out=tmp_path / "run", executor="serial", report=False, seeds=[0])
    assert len(repr(result)) < 200 + len(str(tmp_path))
    for word in ("small", "1 of 2 seeds", "2 arms", str(tmp_path / "run")):
        assert word in repr(result)
    assert len(repr(study)) < 200
    schedule = hpo.load_schedule(tmp_path / "run", "pbt", 0)
    assert len(repr(schedule)) < 200
    replay = hpo.replay_schedule(schedule, study.document, seed=1, out=tmp_path / "replay", executor="serial")
    assert len(repr(replay)) < 300 + len(str(tmp_path))
