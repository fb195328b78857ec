"""Whole studies in stacks: stopped and continued, beside serial ones, and what is refused."""

import json
import signal
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass

import numpy as np
import pytest
from helpers import (
    HERE,
    PBT,
    RANDOM,
    Interrupts,
    answer,
    cli,
    document,
    lose_states,
    results,
    rows,
    run,
    sessions,
    start,
    until,
    work,
    write_study,
)
from scipy.stats import ks_2samp

import hpo
from hpo.core.errors import InputError, StudyFailed
from hpo.core.segments import KeyMaker, Segment, Split, retraced
from hpo.core.task import Diverged
from hpo.execution.executors import Execution
from hpo.execution.jobs import Job
from hpo.execution.runner import Runner
from hpo.execution.stacked import Begun, StackedExecutor, StackRunner, choose, lane_of
from hpo.run.__main__ import main
from hpo.store import Store
from hpo.tasks.digits import Digits

WIDTHS = {"width": {"type": "categorical", "choices": [16, 24, 40], "fixed": True}}
LARGE = {"width": {"type": "categorical", "choices": [120, 128], "fixed": True}}


def digits(arms=(RANDOM, PBT), space=WIDTHS, **study):
    """Return a study of digits: 6 members, 3 intervals of 20 steps, two widths, hence two stacks for each interval."""
    out = document(
        {"name": "digits", "search_space": space},
        arms=arms,
        **{"replicates": 2, "population_size": 6, "budget": 3, **study},
    )
    if len(arms) > 1:
        out["comparison"] = {"baseline": "random", "metric": "error"}
    return out


def stacked(document, out, **options):
    return run(document, out, **{"executor": "stacked", "lanes": 4, **options})


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Return the run directory of a study in stacks of four."""
    return stacked(digits(), tmp_path_factory.mktemp("stacked") / "run").run_dir


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param(1, marks=pytest.mark.slow),
        pytest.param(13, marks=pytest.mark.slow),
        30,
        pytest.param(50, marks=pytest.mark.slow),
    ],
)
def test_interrupted_it_goes_on_to_the_same_answer(undisturbed, tmp_path, answers):
    with suppress(KeyboardInterrupt):
        stacked(digits(), tmp_path, observer=Interrupts(answers))
    before = rows(tmp_path)
    assert before < rows(undisturbed)
    stacked(digits(), tmp_path)
    assert answer(tmp_path) == answer(undisturbed)
    assert sessions(tmp_path)[1]["segments_computed"] < sessions(undisturbed)[0]["segments_computed"]


@pytest.mark.slow
def test_killed_it_goes_on_to_the_same_answer(undisturbed, tmp_path):
    study, options = write_study(tmp_path, digits()), ("--out", "run", "--executor", "stacked", "--lanes", 4)
    with start(study, *options) as process:
        until(lambda: rows(tmp_path / "run") >= 10, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 10 <= rows(tmp_path / "run") < rows(undisturbed)
    done = cli(study, *options, "--quiet")
    assert done.returncode == 0, done.stderr
    assert answer(tmp_path / "run") == answer(undisturbed)
    assert len(sessions(tmp_path / "run")) == 1  # what was killed wrote none


def test_who_is_stacked_together_does_not_matter(undisturbed, tmp_path):
    """Other arms, other replicates, another order: other stacks, and the same numbers."""
    expected = {item["seed"]: item["arms"] for item in results(undisturbed)["replicates"]}
    for name, study in {
        "alone": digits(arms=(RANDOM,)),
        "turned": digits(arms=(PBT, RANDOM)),
        "more": digits(replicates=3),
    }.items():
        stacked(study, tmp_path / name)
        found = results(tmp_path / name)["replicates"]
        for replicate in found[:2]:
            for label, arm in replicate["arms"].items():
                other = expected[replicate["seed"]][label]
                # Of what two arms share, the first one is said to have computed it.
                assert arm | {"computed_intervals": None} == other | {"computed_intervals": None}
    stacked(digits(), tmp_path / "seed", seeds=[1])
    stacked(digits(), tmp_path / "seed")
    assert work(tmp_path / "seed") == work(undisturbed)


def shape(record):
    """Return a record of results.json with its numbers left out."""
    if isinstance(record, dict):
        return {name: shape(value) for name, value in record.items()}
    if isinstance(record, list):
        return [shape(value) for value in record] if record and isinstance(record[0], (dict, list)) else "list"
    return "number" if isinstance(record, (int, float)) or record is None else record


def test_beside_serial_only_environment_and_values_differ(undisturbed, tmp_path):
    run(digits(), tmp_path)
    one, other = results(tmp_path), results(undisturbed)
    numerics = other["environment"]["numerics"]
    assert (numerics.pop("execution"), numerics.pop("lanes")) == ("stacked", "4")
    assert numerics == one["environment"]["numerics"]
    for name in ("schema", "study", "task", "data"):
        assert one.get(name) == other.get(name)
    assert [shape(item["arms"]["random"]) for item in one["replicates"]] == [
        shape(item["arms"]["random"]) for item in other["replicates"]
    ]
    # The same masks, batches and weights: values are those of serial steps but for rounding.
    pairs = list(zip(one["replicates"], other["replicates"], strict=True))
    for a, b in pairs:
        assert a["arms"]["random"]["test"]["loss"] == pytest.approx(b["arms"]["random"]["test"]["loss"], rel=1e-3)
    assert not segment_keys(tmp_path) & segment_keys(undisturbed)


def segment_keys(run_dir):
    """Return the keys of all segments in a run directory."""
    with closing(sqlite3.connect(run_dir / "store.sqlite")) as db:
        found = {key for (key,) in db.execute("SELECT key FROM segments")}
    assert found
    return found


def test_a_run_directory_holds_one_executor_s_results_and_one_number_of_lanes(undisturbed, tmp_path):
    with suppress(KeyboardInterrupt):
        stacked(digits(), tmp_path, observer=Interrupts(4))
    with pytest.raises(InputError, match=r"numerics\.lanes: 4 -> 8"):
        stacked(digits(), tmp_path, lanes=None)
    with pytest.raises(InputError, match=r"numerics\.execution: stacked -> \(absent\)"):
        run(digits(), tmp_path)
    stacked(digits(), tmp_path)
    assert answer(tmp_path) == answer(undisturbed)


def test_retraining_a_lineage_alone_in_a_stack_is_its_checkpoint_bit_for_bit(undisturbed, tmp_path):
    spec = hpo.parse_study(digits(), search_path=[HERE])
    executor = StackedExecutor(StackRunner(spec.task, spec.interval, tmp_path), 4)
    try:
        with Store(undisturbed) as store:
            for seed in spec.seeds:
                key, path = json.loads(store.study.journal(seed, "pbt")[-1][1])["key"], []
                while key is not None:
                    path.insert(0, store.segments.get(key))
                    key = path[0].segment.parent
                checkpoint = None
                walked = retraced([stored.segment for stored in path], Split.SEARCH, KeyMaker.of({"test": 1}))
                for (key, segment), stored in zip(walked, path, strict=True):
                    executor.submit(Job(key, segment, seed, 0, checkpoint))
                    (outcome,) = executor.wait()
                    checkpoint = outcome.checkpoint
                    assert outcome.metrics == stored.metrics
                    assert checkpoint.digest == stored.checkpoint.digest
    finally:
        executor.close()


def test_states_that_are_lost_are_computed_again(tmp_path):
    study = digits(space=LARGE, replicates=1)
    stacked(study, tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(lose_states.__globals__, "run", stacked)
        lose_states(study, tmp_path / "lost")
    stacked(study, tmp_path / "lost")
    assert answer(tmp_path / "lost") == answer(tmp_path / "whole")
    assert sessions(tmp_path / "lost")[1]["segments_recomputed"] > 0


def test_members_that_diverge_are_those_that_diverge_serially(tmp_path):
    space = WIDTHS | {"lr": {"type": "float", "low": 0.1, "high": 1e9, "log": True}}
    study = digits(arms=(RANDOM,), space=space)
    run(study, tmp_path / "serial")
    stacked(study, tmp_path / "stacked")
    found = [
        [replicate["arms"]["random"]["diverged"] for replicate in results(tmp_path / name)["replicates"]]
        for name in ("serial", "stacked")
    ]
    assert found[0] == found[1]
    assert sum(found[0]) > 2


def job(member, interval=0, seed=0, **hparams):
    return Job(f"{member:064}", Segment(member, None, interval, hparams), seed, 0, None)


def test_the_largest_stack_is_chosen_and_each_member_has_its_lane():
    begun = [
        Begun(job(member), None, stack, {}) for member, stack in [(5, "a"), (1, "b"), (9, "b"), (2, "b"), (0, "b")]
    ]
    chosen = choose(begun, 4)
    assert {lane: each.job.segment.member for lane, each in chosen.items()} == {1: 1, 2: 2, 0: 0}
    assert all(lane == lane_of(each.job.segment.member, 4) for lane, each in chosen.items())
    left = [each for each in begun if each not in chosen.values()]
    assert [each.job.segment.member for each in choose(left, 4).values()] == [5]


def test_only_segments_on_the_same_batches_share_a_stack(tmp_path):
    task = hpo.parse_study(digits(), search_path=[HERE]).task
    runner = StackRunner(task, 1, tmp_path)
    hparams = {"lr": 0.1, "momentum": 0.5, "weight_decay": 1e-4, "dropout": 0.1, "width": 16}
    stack = runner.begin(job(0, **hparams)).stack
    assert runner.begin(job(3, **hparams | {"lr": 0.2, "dropout": 0.5})).stack == stack
    others = [job(0, 1, **hparams), job(0, 0, 1, **hparams), job(0, **hparams | {"width": 40})]
    assert stack not in {runner.begin(other).stack for other in others}


@dataclass(frozen=True)
class Raising(Digits):
    """Its stacks say that something diverged, and not what."""

    def train_stacked(self, lanes, batches):
        raise Diverged("some lane")


def test_a_stack_that_raises_diverged_is_told_to_name_the_lane(tmp_path):
    runner = StackRunner(Raising(), 1, tmp_path)
    hparams = {"lr": 0.1, "momentum": 0.5, "weight_decay": 1e-4, "dropout": 0.1, "width": 16}
    stack = {member: runner.begin(job(member, **hparams)) for member in range(2)}
    outcomes = runner.train(stack, 4)
    assert [outcome.job.segment.member for outcome in outcomes] == [0, 1]
    assert all("Diverged, which names no lane: return None for a lane instead" in each.error for each in outcomes)
    (alone,) = runner.train({1: stack[1]}, 4)  # there it is clear who it was
    assert alone.diverged
    assert alone.error is None


def losses(runner, members, hparams, *, lanes=None):
    """Return the validation losses of members after one interval."""
    jobs = [job(member, **hparams) for member in members]
    if lanes is None:
        return [runner(each).metrics["loss"] for each in jobs]
    found = []
    for first in range(0, len(jobs), lanes):
        stack = {lane_of(each.segment.member, lanes): runner.begin(each) for each in jobs[first : first + lanes]}
        found += [outcome.metrics["loss"] for outcome in runner.train(stack, lanes)]
    return found


def test_losses_are_distributed_as_serial_ones_are(tmp_path):
    """Forty members with the same hyperparameters, each with its own weights and noise; others serially than stacked."""
    spec = hpo.parse_study(digits(), search_path=[HERE])
    hparams = {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4, "dropout": 0.4, "width": 16}
    serial = losses(Runner(spec.task, spec.interval, tmp_path), range(40), hparams)
    stacks = StackRunner(spec.task, spec.interval, tmp_path)
    together = losses(stacks, range(40, 80), hparams, lanes=8)
    assert len(set(together)) == 40
    assert ks_2samp(serial, together).pvalue > 0.001
    # It would be seen if lanes had another rate of dropout than they are to have.
    wrong = losses(stacks, range(40, 80), hparams | {"dropout": 0.7}, lanes=8)
    assert ks_2samp(serial, wrong).pvalue < 0.001
    assert np.mean(together) == pytest.approx(np.mean(serial), abs=3 * np.std(serial) / np.sqrt(20))


def test_tasks_that_do_not_offer_it_are_refused(tmp_path):
    for task in ({"name": "toy"}, {"name": "blobs"}):
        with pytest.raises(InputError, match=r"does not offer to be stacked; tasks that do: .*digits"):
            stacked(document(task), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_mnist_is_refused_on_the_command_line(tmp_path, capsys):
    study = write_study(tmp_path, document({"name": "mnist"}, arms=(RANDOM,)))
    assert main([str(study), "--executor", "stacked", "--lanes", "16"]) == 2
    assert "task 'mnist' does not offer to be stacked" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"executor": "serial", "lanes": 8}, "lanes = 8: allowed with the executor stacked"),
        ({"executor": "stacked", "lanes": 0}, "lanes = 0: allowed: 1 to 4096"),
        ({"executor": "stacked", "workers": 2}, "workers = 2: not allowed with the executor stacked"),
        ({"executor": "stacked", "segment_timeout": 3.0}, "segment_timeout = 3.0: allowed with the executors process"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Execution(**options).check()


def test_the_sitting_says_how_many_lanes_there_were_and_how_many_were_busy(undisturbed):
    (session,) = sessions(undisturbed)
    assert (session["executor"], session["workers"], session["lanes"]) == ("stacked", 1, 4)
    assert 0 < session["utilisation"] <= 1
    assert session["peak_worker_memory_mib"] > 10


def test_a_dry_run_promises_no_more_than_one_worker(tmp_path, capsys):
    study = write_study(tmp_path, digits())
    assert main([str(study), "--executor", "stacked", "--lanes", "16", "--dry-run"]) == 0
    assert "2 of 2 replicates, 1 worker" in capsys.readouterr().out


FAILING = """
from dataclasses import dataclass
from pathlib import Path
import hpo
from hpo.tasks.digits import Digits

@hpo.register_task("failing_digits")
@dataclass(frozen=True)
class Failing(Digits):
    version = "1"

    def evaluate(self, state, data):
        whole = len(data) == self.validation_size  # not the few that are tried before the start
        if whole and Path(__file__).with_name("fail").exists() and state.optimizer.param_groups[0]["lr"] > 0.1:
            raise ValueError("as it was told")
        return super().evaluate(state, data)
"""


def test_an_exception_in_one_lane_stops_the_study_and_keeps_what_the_others_did(tmp_path):
    (tmp_path / "failing_task.py").write_text(FAILING)
    (tmp_path / "fail").touch()
    study = digits()
    study["task"] |= {"name": "failing_digits", "module": "failing_task"}
    spec = hpo.parse_study(study, search_path=[tmp_path])
    options = {"executor": "stacked", "report": False}
    with pytest.raises(
        StudyFailed, match=r"an exception in the task stopped the study at segment[\s\S]*ValueError: as it was told"
    ):
        hpo.run_study(spec, out=tmp_path / "run", **options)
    kept = rows(tmp_path / "run")
    assert kept > 0
    (tmp_path / "fail").unlink()
    for name in ("run", "whole"):
        hpo.run_study(spec, out=tmp_path / name, **options)
    assert answer(tmp_path / "run") == answer(tmp_path / "whole")
    (whole,), (_, again) = sessions(tmp_path / "whole"), sessions(tmp_path / "run")
    assert again["segments_computed"] == whole["segments_computed"] - kept


def test_only_one_study_at_a_time_runs_in_a_process(tmp_path):
    spec = hpo.parse_study(digits(), search_path=[HERE])
    executor = StackedExecutor(StackRunner(spec.task, spec.interval, tmp_path), 4)
    try:
        with pytest.raises(InputError, match="another study runs"):
            stacked(digits(), tmp_path / "run")
    finally:
        executor.close()
