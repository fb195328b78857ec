"""Derived arms: another arm's answer, retrained in another way."""

import json
import signal
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest
from helpers import HERE, PBT, RANDOM, answer, cli, document, results, rows, run, start, until, write_study
from hypothesis import given
from hypothesis import strategies as st

import hpo
from hpo.core import registry
from hpo.core.derived_arms import replayed
from hpo.core.errors import InputError, OptimizerError
from hpo.core.seeding import REPLAY_SLOT, Streams
from hpo.core.segments import Segment, Split, lineage, schedule_of
from hpo.core.space import Float, Int, SearchSpace
from hpo.engine.run_dir import model_path
from hpo.execution.jobs import Job
from hpo.execution.runner import Runner
from hpo.optimizers.random_search import RandomSearch, RandomSearchRun
from hpo.store import Store

REPLAYS = ("schedule", "constant_best", "shuffled", "inherited_weights")
FRESH = REPLAYS[:3]
EAGER = {
    "label": "pbt",
    "optimizer": "pbt",
    "perturbation_interval": 0.5,
    "explore": "all",
    "selection": PBT["selection"],
}
"""The winner's hyperparameters change in every interval."""


def derived(replay, source="pbt"):
    return {"label": replay, "derived_from": source, "replay": replay}


def blobs(*arms, **task):
    arms = arms or (EAGER, *map(derived, REPLAYS))
    return document({"name": "blobs", **task}, arms=arms, budget=2.5, interval=0.5)


@pytest.fixture(scope="module")
def blobs_run(tmp_path_factory):
    """Return the run directory of PBT and all that is derived from it."""
    return run(blobs(), tmp_path_factory.mktemp("derived") / "run").run_dir


def final_lineage(store, seed, label):
    """Return the segments of the model that an arm tested, root first."""
    ((key,),) = store.study.db.execute("SELECT key FROM openings WHERE seed = ? AND arm = ?", (seed, label))
    return lineage(key, lambda found: store.segments.get(found).segment), key


def answers(store, seed, label):
    """Return the segments of an arm's best lineage, root first, and the last one's key."""
    key = json.loads(store.study.journal(seed, label)[-1][1])["key"]
    return lineage(key, lambda found: store.segments.get(found).segment), key


def test_a_derived_arm_searches_as_its_source_does_and_computes_nothing(blobs_run):
    for replicate in results(blobs_run)["replicates"]:
        source = replicate["arms"]["pbt"]
        assert source["charged_intervals"] == source["computed_intervals"] == 20
        for replay in REPLAYS:
            arm = replicate["arms"][replay]
            assert (arm["charged_intervals"], arm["computed_intervals"]) == (20, 0)
            assert arm["validation"] == source["validation"]
            assert arm["retrained_intervals"] == (0 if replay == "inherited_weights" else 5)
            assert arm["test_openings"] == 1
    with Store(blobs_run) as store:
        assert all(store.study.journal(1, replay) == store.study.journal(1, "pbt") for replay in REPLAYS)


def test_the_schedule_arm_is_a_fresh_member_walked_by_hand(blobs_run, tmp_path):
    spec = hpo.parse_study(blobs(), search_path=[HERE])
    runner = Runner(spec.task, spec.interval, tmp_path)
    for replicate in results(blobs_run)["replicates"]:
        seed, checkpoint, parent = replicate["seed"], None, None
        steps = replicate["arms"]["pbt"]["schedule"]
        hparams = [step["hparams"] for step in steps for _ in range(step["start"], step["stop"])]
        assert len(hparams) == 5
        for interval, values in enumerate(hparams):
            segment = Segment(2**40, parent, interval, values, Split.FULL)
            outcome = runner(Job(f"by hand {interval}", segment, seed, 0, checkpoint))
            parent, checkpoint = f"by hand {interval}", outcome.checkpoint
        tested = runner(Job(parent, segment, seed, 0, checkpoint, test=True))
        assert replicate["arms"]["schedule"]["test"] == tested.metrics
        kept = model_path(blobs_run, "schedule", seed).read_bytes()
        assert kept == Runner(spec.task, spec.interval, tmp_path)._files.read(checkpoint)


def test_what_each_derived_arm_walks(blobs_run):
    reordered = 0
    with Store(blobs_run) as store:
        for seed in (0, 1):
            source, _ = answers(store, seed, "pbt")
            hparams = [tuple(segment.hparams.items()) for segment in source]
            assert len(set(hparams)) == 5
            walked = {replay: final_lineage(store, seed, replay)[0] for replay in FRESH}
            for path in walked.values():
                assert {segment.member for segment in path} == {REPLAY_SLOT}
                assert {segment.split for segment in path} == {Split.FULL}
                assert [segment.interval for segment in path] == [0, 1, 2, 3, 4]
            found = {replay: [tuple(segment.hparams.items()) for segment in path] for replay, path in walked.items()}
            assert found["schedule"] == hparams
            assert found["constant_best"] == [hparams[-1]] * 5
            (step,) = schedule_of(walked["constant_best"])
            assert (step.start, step.stop) == (0, 5)
            assert Counter(found["shuffled"]) == Counter(hparams)
            order = Streams(seed).generator("shuffle").permutation(5)
            assert found["shuffled"] == [hparams[index] for index in order]
            reordered += found["shuffled"] != hparams
    assert reordered == 2


def test_inherited_weights_are_the_searchs_own_model(blobs_run, tmp_path):
    spec = hpo.parse_study(blobs(), search_path=[HERE])
    runner = Runner(spec.task, spec.interval, blobs_run / "checkpoints")
    with Store(blobs_run) as store:
        for replicate in results(blobs_run)["replicates"]:
            seed = replicate["seed"]
            path, best = answers(store, seed, "pbt")
            tested, key = final_lineage(store, seed, "inherited_weights")
            assert (tested, key) == (path, best)
            stored = store.segments.get(best)
            by_hand = runner(Job(best, stored.segment, seed, 0, stored.checkpoint, test=True))
            assert replicate["arms"]["inherited_weights"]["test"] == by_hand.metrics
            kept = model_path(blobs_run, "inherited_weights", seed).read_bytes()
            assert kept == store.segments.files.read(stored.checkpoint)


def test_every_arm_keeps_a_model_of_its_own(blobs_run):
    labels = ("pbt", *REPLAYS)
    assert len({model_path(blobs_run, label, 0).read_bytes() for label in labels}) == 5
    for label in labels:
        model = hpo.load_model(blobs_run, label, 0, search_path=[HERE])
        assert not model.training


def test_of_a_constant_schedule_the_fresh_arms_are_one(tmp_path):
    """The special case: where nothing changes over time, neither the order nor the constancy can matter."""
    found = run(blobs(RANDOM, *(derived(replay, "random") for replay in REPLAYS)), tmp_path).results
    with Store(tmp_path) as store:
        for replicate in found["replicates"]:
            arms = replicate["arms"]
            assert arms["schedule"]["test"] == arms["constant_best"]["test"] == arms["shuffled"]["test"]
            assert len({final_lineage(store, replicate["seed"], replay)[1] for replay in FRESH}) == 1
            assert arms["schedule"]["test"] != arms["random"]["test"]


@pytest.mark.slow
def test_workers_and_the_order_of_the_arms_change_nothing(blobs_run, tmp_path):
    arms = (*map(derived, reversed(REPLAYS)), EAGER)
    found = run(blobs(*arms), tmp_path, executor="process", workers=2).results
    for replicate, other in zip(found["replicates"], results(blobs_run)["replicates"], strict=True):
        for label, arm in replicate["arms"].items():
            assert arm["test"] == other["arms"][label]["test"]
            assert arm["schedule"] == other["arms"][label]["schedule"]
        assert sum(arm["computed_intervals"] for arm in replicate["arms"].values()) == 20


@pytest.mark.slow
def test_killed_while_it_retrains_a_study_goes_on_to_the_same_answer(blobs_run, tmp_path):
    study = write_study(tmp_path, blobs())
    with start(study, "--out", "run", "--executor", "serial") as process:
        # Of the first replicate the search is 20 segments, and 20 more are retrained.
        if until(lambda: rows(tmp_path / "run") >= 27, process):
            process.kill()
    assert process.returncode == -signal.SIGKILL
    assert rows(tmp_path / "run") < rows(blobs_run)
    done = cli(study, "--out", "run", "--workers", 2)
    assert done.returncode == 0, done.stderr
    assert answer(tmp_path / "run") == answer(blobs_run)


def test_an_arm_that_is_derived_later_computes_only_its_retraining(blobs_run, tmp_path):
    run(blobs(EAGER), tmp_path)
    before = rows(tmp_path)
    again = run(blobs(EAGER, derived("shuffled")), tmp_path)
    assert rows(tmp_path) - before == 2 * 5
    for replicate, other in zip(again.results["replicates"], results(blobs_run)["replicates"], strict=True):
        assert replicate["arms"]["shuffled"]["test"] == other["arms"]["shuffled"]["test"]


def test_another_replay_under_the_same_label_is_refused(tmp_path):
    run(blobs(EAGER, derived("shuffled")), tmp_path)
    with pytest.raises(InputError, match=r"arms\[shuffled\].replay: 'shuffled' -> 'schedule'"):
        run(blobs(EAGER, {**derived("schedule"), "label": "shuffled"}), tmp_path)


def test_streams_and_their_noise_are_the_sources(tmp_path):
    other = {**EAGER, "label": "other", "stream": 3}
    mine = {**derived("schedule"), "label": "mine"}
    spec = hpo.parse_study(blobs(EAGER, other, mine, derived("schedule", "other")), search_path=[HERE])
    assert [arm.stream for arm in spec.arms] == [0, 3, 0, 3]
    run(spec.document, tmp_path)
    with Store(tmp_path) as store:
        first, second = (final_lineage(store, 0, label)[1] for label in ("mine", "schedule"))
    assert first != second


def test_all_diverged(tmp_path):
    found = run(blobs(EAGER, *map(derived, REPLAYS), explode="always"), tmp_path).results
    for replicate in found["replicates"]:
        for arm in replicate["arms"].values():
            assert arm["test_diverged"] is True
            assert arm["test"]["error"] == 1.0
    assert not any((tmp_path / "models").iterdir())


def test_where_retraining_diverges_the_inherited_weights_are_whole(tmp_path):
    # Half an epoch of the full split has 150 examples; of the training part, 120.
    found = run(blobs(EAGER, *map(derived, REPLAYS), explode="full"), tmp_path).results
    for replicate in found["replicates"]:
        diverged = {label: arm["test_diverged"] for label, arm in replicate["arms"].items()}
        assert diverged == {"pbt": True, **dict.fromkeys(FRESH, True), "inherited_weights": False}
        assert replicate["arms"]["inherited_weights"]["test"]["error"] < 0.9


def test_a_lost_checkpoint_of_the_search_is_computed_again(tmp_path, blobs_run):
    large = document({"name": "walk", "size": 9000}, arms=({**PBT, "explore": "all"}, derived("inherited_weights")))
    whole = run(large, tmp_path / "whole").results
    tight = run(large, tmp_path / "tight", checkpoint_budget=1).results
    assert tight["replicates"] == whole["replicates"]
    for seed in (0, 1):
        kept = [model_path(tmp_path / name, "inherited_weights", seed).read_bytes() for name in ("whole", "tight")]
        assert kept[0] == kept[1]


# --- the pure function -----------------------------------------------------------------------------------------------

SPACE = SearchSpace({"lr": Float(0.0, 1.0), "depth": Int(1, 9, fixed=True)})


def path_of(values):
    parents = [None, *(f"key {k}" for k in range(len(values)))]
    return [Segment(k % 3, parents[k], k, {"lr": lr, "depth": depth}) for k, (lr, depth) in enumerate(values)]


PATHS = st.lists(st.tuples(st.floats(0, 1), st.integers(1, 9)), min_size=1, max_size=12).map(path_of)


@given(PATHS, st.sampled_from(FRESH), st.integers(0, 2**53 - 1))
def test_replays_of_any_path(path, replay, seed):
    found = replayed(path, replay, SPACE, Streams(seed))
    assert [segment.interval for segment in found] == list(range(len(path)))
    assert {(segment.member, segment.parent) for segment in found} == {(REPLAY_SLOT, None)}
    assert {segment.hparams["depth"] for segment in found} == {path[0].hparams["depth"]}
    rates, given_rates = ([segment.hparams["lr"] for segment in segments] for segments in (found, path))
    if replay == "schedule":
        assert rates == given_rates
    elif replay == "shuffled":
        assert sorted(rates) == sorted(given_rates)
    else:
        assert rates == [given_rates[-1]] * len(path)


@given(PATHS)
def test_what_is_not_derived_or_not_retrained_keeps_its_path(path):
    for replay in (None, "inherited_weights"):
        assert replayed(path, replay, SPACE, Streams(0)) == path


def test_the_order_belongs_to_the_arms_stream():
    path = path_of([(k / 20, 1) for k in range(20)])
    orders = {
        tuple(segment.hparams["lr"] for segment in replayed(path, "shuffled", SPACE, streams))
        for streams in (Streams(0), Streams(1), Streams(0, 1), Streams(0))
    }
    assert len(orders) == 3


# --- optimizers ------------------------------------------------------------------------------------------------------


def test_no_optimizer_can_ask_for_the_fresh_member(monkeypatch, tmp_path):
    class Run(RandomSearchRun):
        def ask(self, free):
            return [replace(segment, member=REPLAY_SLOT) for segment in super().ask(free)]

    @dataclass(frozen=True)
    class Curious(RandomSearch):
        def start(self, problem):
            return Run(self, problem)

    monkeypatch.setitem(registry.optimizers._classes, "curious", Curious)
    said = f"member {2**40}, interval 0, has an invalid member: allowed: 0 to {2**40 - 1}"
    with pytest.raises(OptimizerError, match=said):
        run(document(arms=({"label": "a", "optimizer": "curious"},)), tmp_path)


def test_with_the_journal_followed_a_derived_arm_follows_its_source(monkeypatch, tmp_path):
    """What the optimizer would ask for now is another search: the arm would be derived from nothing that was run."""
    factor = 0.5

    class Run(RandomSearchRun):
        def ask(self, free):
            asked = super().ask(free)
            return [
                replace(s, hparams={**s.hparams, "h0": s.hparams["h0"] * factor}) for s in asked if s.parent is None
            ] + [s for s in asked if s.parent is not None]

    @dataclass(frozen=True)
    class Shifted(RandomSearch):
        def start(self, problem):
            return Run(self, problem)

    monkeypatch.setitem(registry.optimizers._classes, "shifted", Shifted)
    source = {"label": "source", "optimizer": "shifted"}
    before = run(document(arms=(source,)), tmp_path).results
    factor = 0.25
    both = document(arms=(source, derived("schedule", "source")))
    found = run(both, tmp_path, follow_journal=True).results
    for replicate, first in zip(found["replicates"], before["replicates"], strict=True):
        assert replicate["arms"]["source"]["test"] == first["arms"]["source"]["test"]
        assert replicate["arms"]["schedule"]["validation"] == first["arms"]["source"]["validation"]
        assert replicate["arms"]["schedule"]["computed_intervals"] == 0
    # Without --follow-journal it replays as any finished arm does.
    factor = 0.5
    assert run(both, tmp_path).results["replicates"] == found["replicates"]


def test_without_noise_the_schedule_alone_gives_the_same_state(tmp_path):
    """On a task whose initialization and training are not random, weights and noise bring nothing: base - schedule is 0."""
    arms = ({**PBT, "explore": "all"}, derived("schedule"), derived("inherited_weights"))
    found = run(document({"name": "toy"}, arms=arms, replicates=3), tmp_path).results
    for replicate in found["replicates"]:
        tests = [replicate["arms"][label]["test"]["score"] for label in ("pbt", "schedule", "inherited_weights")]
        assert np.ptp(tests) == 0.0
