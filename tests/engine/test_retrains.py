"""`retrains = k`: the noise of training, told apart from the luck of the search."""

import statistics

import pytest
from helpers import HERE, PBT, RANDOM, document, results, run

import hpo
from hpo.core.errors import InputError
from hpo.core.seeding import LARGEST_STREAM, retrain_stream
from hpo.core.segments import Split, lineage, retraced
from hpo.engine.run_dir import model_path
from hpo.execution.jobs import Job
from hpo.execution.runner import Runner
from hpo.store import Store
from hpo.study.changes import changed_keys, resolved

MINE = {**PBT, "stream": 5}
SEARCHED = {"label": "searched", "derived_from": "pbt", "replay": "inherited_weights"}
FRESH = {"label": "fresh", "derived_from": "pbt", "replay": "schedule"}
ARMS = (RANDOM, MINE, SEARCHED, FRESH)


def walks(k, **task):
    return document({"name": "walk", **task}, arms=ARMS, retrains=k)


@pytest.fixture(scope="module")
def thrice(tmp_path_factory):
    """Return the run directory of a study with three retrains."""
    return run(walks(3), tmp_path_factory.mktemp("thrice") / "run").run_dir


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    return run(walks(1), tmp_path_factory.mktemp("once") / "run").run_dir


def final_keys(run_dir, seed, label):
    with Store(run_dir) as store:
        return {
            key
            for (key,) in store.study.db.execute("SELECT key FROM openings WHERE seed = ? AND arm = ?", (seed, label))
        }


def test_one_retrain_is_the_default(tmp_path, once):
    plain = walks(1)
    del plain["study"]["retrains"]
    assert run(plain, tmp_path).results["replicates"] == results(once)["replicates"]
    assert results(once)["replicates"][0]["arms"]["pbt"]["retrained_intervals"] == 5


def test_the_first_retrain_is_the_only_one_of_a_study_with_one(once, thrice):
    for seed in (0, 1):
        for arm in ARMS:
            label = arm["label"]
            assert final_keys(once, seed, label) < final_keys(thrice, seed, label) or label == "searched"
            first, only = (results(path)["replicates"][seed]["arms"][label] for path in (thrice, once))
            assert first["tests"][0] == only["test"]
            assert first["validation"] == only["validation"]
            kept = [model_path(path, label, seed).read_bytes() for path in (once, thrice)]
            assert kept[0] == kept[1]


def test_each_retrain_is_tested_and_the_tests_are_averaged(thrice):
    for replicate in results(thrice)["replicates"]:
        for label, arm in replicate["arms"].items():
            k = 1 if label == "searched" else 3
            distances = [test["distance"] for test in arm["tests"]]
            assert len(distances) == len(set(distances)) == k  # the noise is independent
            assert arm["test"]["distance"] == pytest.approx(statistics.fmean(distances), rel=1e-15)
            assert arm["test_openings"] == k
            assert arm["retrained_intervals"] == (0 if label == "searched" else 15)
            assert arm["charged_intervals"] == 20


def test_the_second_retrain_walked_by_hand(thrice, tmp_path):
    """The same initialization and schedule; the noise of a stream that no arm can have."""
    spec = hpo.parse_study(walks(3), search_path=[HERE])
    runner = Runner(spec.task, spec.interval, tmp_path)
    stream = 5 + 2**53
    with Store(thrice) as store:
        for replicate in results(thrice)["replicates"]:
            seed = replicate["seed"]
            best = max(store.study.journal(seed, "pbt"), key=lambda entry: entry[0] == "best")[1].split('"key": "')[1][
                :64
            ]
            path = lineage(best, lambda key: store.segments.get(key).segment)
            checkpoint = None
            for key, segment in retraced(path, Split.FULL, lambda segment: f"mine {segment.interval}"):
                checkpoint = runner(Job(key, segment, seed, stream, checkpoint)).checkpoint
            tested = runner(Job(key, segment, seed, stream, checkpoint, test=True))
            assert replicate["arms"]["pbt"]["tests"][1] == tested.metrics


def test_without_noise_all_retrains_are_one(tmp_path):
    for replicate in run(document({"name": "toy"}, retrains=4), tmp_path).results["replicates"]:
        for arm in replicate["arms"].values():
            assert arm["tests"] == [arm["test"]] * 4


def test_workers_change_nothing(thrice, tmp_path):
    found = run(walks(3), tmp_path, executor="process", workers=2).results
    assert found["replicates"] == results(thrice)["replicates"]


def test_more_retrains_are_another_study(tmp_path, once):
    specs = [hpo.parse_study(walks(k), search_path=[HERE]) for k in (1, 2)]
    assert changed_keys(*map(resolved, specs)) == ["study.retrains: 1 -> 2"]
    run(walks(1), tmp_path)
    with pytest.raises(InputError, match=r"study\.retrains: 1 -> 2"):
        run(walks(2), tmp_path)


def test_streams_of_retrains_are_nobody_elses():
    assert retrain_stream(7, 0) == 7
    streams = [retrain_stream(stream, number) for stream in (0, 1, LARGEST_STREAM) for number in range(100)]
    assert len(set(streams)) == len(streams)
    assert sum(stream <= LARGEST_STREAM for stream in streams) == 3


def test_a_test_set_that_changes_between_retrains_is_forgotten_for_all_of_them(tmp_path):
    file = tmp_path / "fingerprint"
    file.write_text("first")
    one_seed = walks(3, test_file=str(file)) | {"arms": [RANDOM], "comparison": None}
    del one_seed["comparison"]
    run(one_seed | {"study": {**one_seed["study"], "replicates": 1}}, tmp_path / "run")
    file.write_text("second")
    with pytest.raises(hpo.StudyFailed, match="its fingerprint was first, and is second"):
        run(one_seed, tmp_path / "run")
    file.write_text("first")
    assert len(run(one_seed, tmp_path / "run").results["replicates"]) == 2
