"""Every task in a small study of two arms: the same answer on two workers, and lineages that retrain bit for bit."""

import json

import pytest
import tiny_images
from helpers import HERE, PBT, RANDOM, answer, document, results, run

import hpo
from hpo.core.segments import KeyMaker, Split, retraced
from hpo.execution.jobs import Job
from hpo.execution.runner import Runner
from hpo.store import Store

TASKS = {
    "digits": ({}, "error", 1),
    "mnist1d": ({"validation_size": 3500}, "error", 1),
    "cartpole": ({"episodes": 3, "test_episodes": 5}, "mean_return", 100),
    "tiny_fashion": ({"module": "tiny_images"}, "error", 1),
    "tiny_cifar": ({"module": "tiny_images"}, "error", 1),
    "schedule_wins": ({}, "log_loss", 5),
    "greed_loses": ({}, "log_loss", 5),
    "all_tie": ({}, "loss", 5),
    "zoo_deceptive": ({}, "score", 20),
}


@pytest.fixture(scope="module", params=TASKS)
def made(request, tmp_path_factory):
    """Return a study's document and its run directory, run in this process."""
    folder = tmp_path_factory.mktemp(request.param)
    options, metric, interval = TASKS[request.param]
    if "module" in options:
        tiny_images.write(folder / "data")
        options = {**options, "root": str(folder / "data")}
    pbt = {**PBT, "perturbation_interval": interval}
    study = document(
        {"name": request.param, **options},
        arms=(RANDOM, pbt),
        replicates=2,
        population_size=4,
        budget=4 * interval,
        interval=interval,
    )
    study["comparison"] = {"baseline": "random", "metric": metric}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HPO_CACHE", str(folder / "cache"))
        yield study, run(study, folder / "run").run_dir


@pytest.mark.parametrize(
    "made",
    [pytest.param(name, marks=[pytest.mark.slow] if name in ("tiny_fashion", "digits") else []) for name in TASKS],
    indirect=True,
)
def test_two_workers_give_the_answer_of_one_process(made, tmp_path):
    study, run_dir = made
    run(study, tmp_path, executor="process", workers=2)
    assert answer(tmp_path) == answer(run_dir)


def test_retraining_a_lineage_on_the_search_split_is_its_checkpoint_bit_for_bit(made, tmp_path):
    study, run_dir = made
    spec = hpo.parse_study(study, search_path=[HERE])
    runner = Runner(spec.task, spec.interval, tmp_path)
    copied = 0
    with Store(run_dir) as store:
        for seed in spec.seeds:
            key = json.loads(store.study.journal(seed, "pbt")[-1][1])["key"]
            path = []
            while key is not None:
                path.insert(0, store.segments.get(key))
                key = path[0].segment.parent
            copied += len({stored.segment.member for stored in path}) > 1
            checkpoint = None
            walked = retraced([stored.segment for stored in path], Split.SEARCH, KeyMaker.of({"test": 1}))
            for (key, segment), stored in zip(walked, path, strict=True):
                outcome = runner(Job(key, segment, seed, 0, checkpoint))
                checkpoint = outcome.checkpoint
                assert outcome.metrics == stored.metrics
                assert checkpoint.digest == stored.checkpoint.digest
    arms = [replicate["arms"]["pbt"] for replicate in results(run_dir)["replicates"]]
    assert copied or all(arm["exploits"] > 0 for arm in arms)


def test_every_arm_is_charged_its_whole_budget_and_tested(made):
    study, run_dir = made
    _, metric, _ = TASKS[study["task"]["name"]]
    for replicate in results(run_dir)["replicates"]:
        for arm in replicate["arms"].values():
            assert arm["charged_intervals"] == 16
            assert isinstance(arm["test"][metric], float)
            assert not arm["test_diverged"]
