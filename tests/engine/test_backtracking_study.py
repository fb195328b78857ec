"""Studies in which members go back to earlier checkpoints, or do not wait for each other: lineages that leave intervals out."""

import csv
import json
from itertools import pairwise

import pytest
from helpers import HERE, RANDOM, answer, document, results, run

import hpo
from hpo.core.errors import OptimizerError
from hpo.core.segments import KeyMaker, Segment, Split, retraced
from hpo.engine.search import ListJournal, search
from hpo.execution.jobs import Job
from hpo.execution.runner import Runner
from hpo.optimizers.random_search import RandomSearch
from hpo.store import Store

BACK = {
    "label": "back",
    "optimizer": "pbt",
    "perturbation_interval": 1,
    # Noise is enough to fall: members go back all the time.
    "selection": {"name": "backtrack", "tolerance": 0.0, "elite_fraction": 0.5, "otherwise": "none"},
}
LOOSE = {
    "label": "loose",
    "optimizer": "pbt",
    "perturbation_interval": 1,
    "mode": "asynchronous",
    "concurrency": 3,
    "selection": {"name": "truncation", "count": 2},
}
SHUFFLED = {"label": "shuffled", "derived_from": "back", "replay": "shuffled"}
ARMS = (RANDOM, BACK, LOOSE, SHUFFLED)
KINDS = {
    "toy": document({"name": "toy", "training_noise": 0.01, "evaluation_noise": 0.3}, arms=ARMS, budget=6),
    "blobs": document(
        {"name": "blobs"},
        arms=[
            {**arm, "perturbation_interval": 0.5} if "optimizer" in arm and arm is not RANDOM else arm for arm in ARMS
        ],
        budget=2.5,
        interval=0.5,
    ),
}


@pytest.fixture(scope="module", params=KINDS)
def made(request, tmp_path_factory):
    """A run directory and its study document."""
    run_dir = tmp_path_factory.mktemp(request.param)
    run(KINDS[request.param], run_dir, report=request.param == "toy")
    return run_dir, KINDS[request.param]


def paths(run_dir):
    """Yield (seed, label, the winning path as stored segments, root first) of the arms with a search."""
    with Store(run_dir) as store:
        for replicate in results(run_dir)["replicates"]:
            for label in ("random", "back", "loose"):
                key = json.loads(store.study.journal(replicate["seed"], label)[-1][1])["key"]
                path = []
                while key is not None:
                    path.insert(0, store.segments.get(key))
                    key = path[0].segment.parent
                yield replicate["seed"], label, path


def left_out(path):
    return any(later.segment.interval > sooner.segment.interval + 1 for sooner, later in pairwise(path))


def test_a_lineage_with_gaps_walked_again_on_the_search_split_is_its_checkpoint_bit_for_bit(made, tmp_path):
    run_dir, _ = made
    spec = hpo.parse_study(results(run_dir)["study"], search_path=[HERE])
    runner = Runner(spec.task, spec.interval, tmp_path / "elsewhere")
    gaps = 0
    for seed, _, path in paths(run_dir):
        walked = retraced([stored.segment for stored in path], Split.SEARCH, KeyMaker.of({"test": 1}))
        checkpoint = None
        for (key, segment), stored in zip(walked, path, strict=True):
            outcome = runner(Job(key, segment, seed, 0, checkpoint))
            checkpoint = outcome.checkpoint
            assert checkpoint.digest == stored.checkpoint.digest
            assert outcome.metrics == stored.metrics
        gaps += left_out(path)
    assert gaps > 0


def test_the_schedule_is_what_the_lineage_trained_and_what_is_retrained(made):
    run_dir, given = made
    found = {replicate["seed"]: replicate["arms"] for replicate in results(run_dir)["replicates"]}
    budget = given["study"]["population_size"] * results(run_dir)["intervals"]
    for seed, label, path in paths(run_dir):
        arm = found[seed][label]
        trained = [(k, step["member"]) for step in arm["schedule"] for k in range(step["start"], step["stop"])]
        assert trained == [(stored.segment.interval, stored.segment.member) for stored in path]
        assert arm["retrained_intervals"] == len(path)
        assert arm["charged_intervals"] == budget
        assert arm["selected"]["interval"] == results(run_dir)["intervals"] - 1
        if label == "back":
            assert found[seed]["shuffled"]["retrained_intervals"] == len(path)
            assert arm["exploits"] > 0


def test_every_slot_has_each_interval_once(made):
    run_dir, _ = made
    with (run_dir / "segments.csv").open() as file:
        rows = [(row["seed"], row["arm"], row["member"], row["interval"]) for row in csv.DictReader(file)]
    assert len(set(rows)) == len(rows)


def test_going_back_to_ones_own_earlier_checkpoint_counts_as_an_exploit(tmp_path):
    own = {**BACK, "selection": {**BACK["selection"], "to": "own"}, "perturbation": "none"}
    run(document({"name": "toy", "evaluation_noise": 0.3}, arms=(own,), budget=6), tmp_path)
    with (tmp_path / "segments.csv").open() as file:
        assert all(row["parent_member"] in ("", row["member"]) for row in csv.DictReader(file))
    assert all(replicate["arms"]["back"]["exploits"] > 0 for replicate in results(tmp_path)["replicates"])


@pytest.mark.slow
def test_two_workers_and_lost_checkpoints_change_nothing(made, tmp_path):
    run_dir, given = made
    run(given, tmp_path, executor="process", workers=2, checkpoint_budget=1)
    assert answer(tmp_path) == answer(run_dir)


@pytest.mark.parametrize("interval", [0, 1])
def test_a_parent_that_is_not_before_its_child_is_refused(interval):
    spec = hpo.parse_study(document(arms=(RANDOM,)), search_path=[HERE])
    problem, key_of = spec.problem(0, spec.arms[0]), KeyMaker.of({"test": 1})

    class Twisted:
        def __init__(self):
            self.inner, self.told = RandomSearch().start(problem), []

        def ask(self, free):
            if len(self.told) < 2 * problem.population_size:
                return self.inner.ask(free)
            return [Segment(1, self.told[-1].key, interval, self.told[-1].segment.hparams)]

        def tell(self, told):
            self.told += told
            self.inner.tell(told)

    def answers(asked):
        return [hpo.Result(key, segment, {"score": 0.0}, 0.0) for key, segment in asked]

    rounds = search(Twisted(), problem, key_of, ListJournal("test", [], lambda *entry: None))
    told = answers(rounds.send(answers(next(rounds))))
    with pytest.raises(OptimizerError, match="a parent at interval 1, which is not before it"):
        rounds.send(told)
