"""Members larger than a core: threads, GPUs and other resources."""

import os

import pytest
from helpers import SEEN, STUDIES, answer, cli, document, results, run, seen, sessions, write_study

import hpo
from hpo.core.errors import InputError
from hpo.core.interpreters import usable_cores
from hpo.execution.executors import Execution, gpu_groups


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("executor", ["serial", "process"])
def test_libraries_use_as_many_threads_as_the_user_gives_to_a_member(tmp_path, executor, threads):
    workers = {} if executor == "serial" else {"workers": 2}
    found = seen(tmp_path, executor=executor, threads=threads, **workers)
    assert (found["fewest"], found["most"], found["torch"]) == (threads, threads, threads)
    if executor == "process":  # for libraries that are imported later, and for programs that a task starts
        assert found["variable"] == threads
    numerics = results(tmp_path)["environment"]["numerics"]
    assert numerics.get("threads") == (None if threads == 1 else "2")  # one thread keeps the keys of older versions


def test_forked_workers_have_their_threads_too(tmp_path):
    study = write_study(tmp_path, SEEN)
    done = cli(study, "--threads", 2, "--workers", 2, "--out", "run", "--quiet")
    assert done.returncode == 0, done.stderr
    rows = (tmp_path / "run" / "segments.csv").read_text().splitlines()
    columns, *trials = [row.split(",") for row in rows]
    for trial in trials:
        values = dict(zip(columns, trial, strict=True))
        assert [float(values[f"metric:{name}"]) for name in ("fewest", "most", "torch")] == [2, 2, 2]


def test_a_network_trains_with_its_threads_and_all_executors_agree(tmp_path):
    for executor in ("serial", "process"):
        run(STUDIES["torch"], tmp_path / executor, executor=executor, threads=2)
    assert answer(tmp_path / "serial") == answer(tmp_path / "process")
    assert results(tmp_path / "serial")["environment"]["numerics"]["threads"] == "2"
    assert sessions(tmp_path / "process")[0]["workers"] == max(1, usable_cores() // 2)
    with pytest.raises(InputError, match=r"numerics\.threads: 2 -> 1"):
        run(STUDIES["torch"], tmp_path / "serial")


def test_workers_are_as_many_as_their_threads_leave_room_for(monkeypatch):
    monkeypatch.setattr("hpo.execution.executors.usable_cores", lambda: 8)
    assert [Execution(threads=threads).expected_workers for threads in (1, 2, 3, 8, 9)] == [8, 4, 2, 1, 1]
    assert Execution(workers=5, threads=4).expected_workers == 5


def test_gpus_of_one_worker_are_named_together():
    names = ("2", "GPU-5ee1", "0", "3", "7")
    assert gpu_groups(names, 2) == ("2,GPU-5ee1", "0,3")
    assert gpu_groups(names, 5) == ("2,GPU-5ee1,0,3,7",)
    assert gpu_groups(names, 6) == ()
    assert gpu_groups(names, 0.5) == gpu_groups(names, 1) == gpu_groups(names, None) == names


@pytest.fixture
def four_gpus(monkeypatch):
    """Let this machine seem to have four GPUs and 16 cores."""
    monkeypatch.setattr("hpo.execution.executors._gpus", lambda: ("0", "1", "2", "3"))
    monkeypatch.setattr("hpo.execution.executors._check_device", lambda device: None)
    monkeypatch.setattr("hpo.execution.executors.usable_cores", lambda: 16)


@pytest.mark.parametrize(("gpus", "workers"), [(None, 16), (0.5, 8), (0.3, 12), (1, 4), (2, 2), (3, 1)])
def test_workers_are_as_many_as_the_gpus_leave_room_for(four_gpus, gpus, workers):
    execution = Execution(device="cuda", gpus=gpus)
    execution.check()
    assert execution.expected_workers == workers
    if gpus is not None:
        with pytest.raises(InputError, match=f"not enough for {workers + 1} workers"):
            Execution(device="cuda", gpus=gpus, workers=workers + 1).check()


def test_more_gpus_than_there_are_is_refused(four_gpus):
    with pytest.raises(InputError, match="not enough for 1 workers: allowed: at most 0"):
        Execution(device="cuda", gpus=5).check()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threads": 0}, "threads = 0: allowed: a number from 1"),
        ({"gpus": 1.5, "executor": "ray"}, "gpus = 1.5: allowed: a fraction of one GPU, or a whole number"),
        ({"gpus": 0, "executor": "ray"}, "gpus = 0: allowed"),
        ({"gpus": float("nan"), "executor": "ray"}, "gpus = nan: allowed"),
        ({"gpus": 1}, "gpus = 1: allowed with the executor ray, and with the executor process on the device cuda"),
        ({"resources": {"memory": 1e9}}, "resources: memory = 1e+09: allowed with the executor ray"),
        ({"resources": {"GPU": 1}, "executor": "ray"}, "resources: GPU = 1: give gpus instead"),
        ({"resources": {"slice": 0}, "executor": "ray"}, "resources: slice = 0: allowed: a number above 0"),
    ],
)
def test_resources_that_cannot_be_are_refused_before_anything_starts(tmp_path, options, said):
    with pytest.raises(InputError) as caught:
        run(document(), tmp_path / "run", **({"executor": "process"} | options))
    assert said in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_schedule_is_replayed_with_the_threads_of_its_study(tmp_path):
    result = run(STUDIES["torch"], tmp_path / "run", threads=2)
    best = result.best
    again = hpo.replay_schedule(
        best.schedule,
        result.results["study"],
        seed=best.seed,
        out=tmp_path / "replay",
        search_path=[os.fspath(path) for path in result.task.search_path],
        executor="serial",
        threads=2,
    )
    assert again.test == dict(best.test)
    assert again.results["environment"]["numerics"] == result.results["environment"]["numerics"]


@pytest.fixture(scope="module")
def large_node():
    """Return this process's connection to a node with resources that Ray only counts."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'hpo[ray]'")
    ray.init(
        address="local",
        num_cpus=4,
        num_gpus=4,
        resources={"slice": 3},
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=80 * 2**20,
    )
    yield
    ray.shutdown()


@pytest.mark.parametrize(
    ("options", "workers", "gpus"),
    [
        ({"threads": 2}, 2, 0),
        ({"gpus": 2}, 2, 2),
        ({"gpus": 0.5, "workers": 3}, 3, 1),
        ({"resources": {"slice": 1.5, "memory": 1e6}}, 2, 0),
    ],
)
def test_each_worker_gets_its_resources(tmp_path, large_node, options, workers, gpus):
    found = seen(tmp_path, executor="ray", **options)
    assert sessions(tmp_path)[0]["workers"] == workers
    assert found["gpus"] == gpus
    threads = options.get("threads", 1)
    assert (found["fewest"], found["most"], found["torch"], found["variable"]) == (threads,) * 4
    numerics = results(tmp_path)["environment"]["numerics"]
    assert numerics.get("gpus") == ("2" if options.get("gpus") == 2 else None)


def test_resources_that_no_node_has_are_named(tmp_path, large_node):
    with pytest.raises(InputError, match=r"no node of the Ray cluster has what one worker needs: 1 CPU, 1 license"):
        run(document(), tmp_path / "run", executor="ray", resources={"license": 1})


def test_workers_are_counted_node_by_node():
    slots = pytest.importorskip("hpo.execution.ray").slots
    nodes = [{"CPU": 7, "GPU": 2}, {"CPU": 3, "GPU": 4}, {"CPU": 4}]
    assert slots(nodes, {"CPU": 1}, None) == 14
    assert slots(nodes, {"CPU": 4}, None) == 2  # although the cluster has 14 CPUs
    assert slots(nodes, {"CPU": 1, "GPU": 1}, None) == 5
    assert slots(nodes, {"CPU": 2, "GPU": 0.5}, None) == 4
    assert slots([], {"CPU": 1}, 3) == 3  # nodes may join later
