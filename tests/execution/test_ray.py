"""Ray: the same answer on one node and on several, whoever is lost."""

import os
import signal
import time

import pytest
from hazard_tasks import VICTIM
from helpers import (
    HERE,
    STUDIES,
    Interrupts,
    answer,
    cli,
    document,
    executor_of,
    hazard,
    lose_states,
    rows,
    run,
    sessions,
    start,
    until,
    write_study,
)

import hpo
from hpo.core.checkpoints import CheckpointFiles
from hpo.core.errors import InputError, StudyFailed
from hpo.core.segments import Segment
from hpo.execution.executors import Execution
from hpo.execution.jobs import Job

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'hpo[ray]'")

from ray.cluster_utils import Cluster  # noqa: E402

from hpo.execution.ray import gpu_share  # noqa: E402

NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
QUICK = {"health_check_initial_delay_ms": 500, "health_check_period_ms": 500}
"""Ray's own clocks, so that a lost node is seen in a few seconds."""


@pytest.fixture(scope="module")
def cluster():
    """Return a cluster of two nodes with one CPU each."""
    made = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False, "_system_config": QUICK})
    made.add_node(**NODE)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def victim(cluster):
    """Return a third node of the cluster, to which something may happen."""
    node = cluster.add_node(**NODE, env_vars={VICTIM: "yes"})
    yield node
    if node in cluster.list_all_nodes():
        cluster.remove_node(node, allow_graceful=False)


@pytest.mark.parametrize(
    "name", ["toy", pytest.param("torch", marks=pytest.mark.slow), pytest.param("files", marks=pytest.mark.slow)]
)
def test_a_cluster_of_two_nodes_gives_the_same_answer(serially, tmp_path, cluster, name):
    run(STUDIES[name], tmp_path, executor="ray", ray_address=cluster.address)
    assert answer(tmp_path) == serially[name]
    (session,) = sessions(tmp_path)
    assert (session["executor"], session["workers"], session["retries"]) == ("ray", 2, 0)
    assert session["peak_worker_memory_mib"] > 10
    assert not ray.is_initialized()  # it was joined for the study alone


def test_one_node_that_is_started_for_the_study_gives_the_same_answer(serially, tmp_path):
    study = write_study(tmp_path, STUDIES["files"])
    done = cli(study, "--executor", "ray", "--workers", 2, "--out", "run", "--quiet")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert answer(tmp_path / "run") == serially["files"]


def test_a_worker_that_is_killed_is_replaced_and_nothing_else_changes(peacefully, tmp_path, cluster):
    run(hazard(tmp_path, "die once"), tmp_path / "run", executor="ray", ray_address=cluster.address)
    assert (tmp_path / "died").exists()
    assert answer(tmp_path / "run") == peacefully
    assert sessions(tmp_path / "run")[0]["retries"] == 1


def test_a_segment_on_which_two_workers_died_stops_the_study(tmp_path, cluster):
    with pytest.raises(StudyFailed) as caught:
        run(hazard(tmp_path, "die"), tmp_path / "run", executor="ray", ray_address=cluster.address)
    assert "two workers died on segment " in str(caught.value)
    assert "interval 2, search split, {'h0':" in str(caught.value)
    assert "the first on worker process " in str(caught.value)
    assert rows(tmp_path / "run") > 0


def test_a_stopped_worker_is_replaced_at_its_time_limit(peacefully, tmp_path, cluster):
    run(hazard(tmp_path, "stop once"), tmp_path / "run", executor="ray", ray_address=cluster.address, segment_timeout=3)
    assert (tmp_path / "stopped").exists()
    assert answer(tmp_path / "run") == peacefully


def test_the_segment_of_a_lost_node_goes_elsewhere(peacefully, tmp_path, cluster, victim):
    study = hazard(tmp_path, "lose the victim")
    run(study, tmp_path / "run", executor="ray", ray_address=cluster.address)
    assert (tmp_path / "lost").exists()
    assert answer(tmp_path / "run") == peacefully
    (session,) = sessions(tmp_path / "run")
    assert (session["workers"], session["retries"]) == (3, 1)


def test_a_node_with_other_numerics_is_refused_by_name(tmp_path, cluster, victim):
    with pytest.raises(StudyFailed) as caught:
        run(
            hazard(tmp_path, "other numerics"), tmp_path / "run", executor="ray", ray_address=cluster.address, workers=3
        )
    said = str(caught.value)
    assert f"on node {victim.node_id[:8]} " in said
    assert (
        "is refused: its numerics are not those that the study began with (numerics.blas: 'another', not None)" in said
    )


def test_states_that_are_lost_are_computed_again(serially, tmp_path, cluster):
    lose_states(STUDIES["files"], tmp_path)
    run(STUDIES["files"], tmp_path, executor="ray", ray_address=cluster.address)
    assert answer(tmp_path) == serially["files"]
    assert sessions(tmp_path)[1]["segments_recomputed"] > 0


@pytest.mark.slow
def test_from_processes_to_a_cluster_to_one_process_through_faults(peacefully, tmp_path, cluster, victim):
    study, out = write_study(tmp_path, hazard(tmp_path, "hang")), tmp_path / "run"
    with start(study, "--workers", 2, "--out", out) as coordinator:
        assert until(lambda: rows(out) >= 8, coordinator)
        coordinator.kill()
    assert coordinator.returncode == -signal.SIGKILL
    before = rows(out)
    with pytest.raises(KeyboardInterrupt):
        run(
            hazard(tmp_path, "lose the victim"),
            out,
            executor="ray",
            ray_address=cluster.address,
            observer=Interrupts(12),
        )
    assert (tmp_path / "lost").exists()
    assert rows(out) > before
    run(hazard(tmp_path, "peace"), out)
    assert answer(out) == peacefully
    assert [session["executor"] for session in sessions(out)] == ["ray", "serial"]


def test_a_cluster_that_the_user_joined_is_used_and_left_open(serially, tmp_path, cluster):
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    try:
        with pytest.raises(InputError, match="this process is connected to a Ray cluster already"):
            run(STUDIES["toy"], tmp_path / "run", executor="ray", ray_address=cluster.address)
        run(STUDIES["toy"], tmp_path / "run", executor="ray", workers=1)
        assert answer(tmp_path / "run") == serially["toy"]
        assert ray.is_initialized()
    finally:
        ray.shutdown()


@pytest.mark.slow
def test_a_signal_handler_outlives_joining_a_cluster(tmp_path, cluster):
    def handler(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, handler)
    try:
        run(document(replicates=1), tmp_path, executor="ray", ray_address=cluster.address)
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_only_states_that_a_worker_does_not_have_are_sent_to_it(tmp_path, cluster):
    spec = hpo.parse_study(STUDIES["files"], search_path=[HERE])
    hparams = spec.problem(0, spec.arms[0]).hparams(0)
    executor = executor_of(spec, tmp_path, Execution("ray", 1, ray_address=cluster.address))

    def child(name, interval, parent=None):
        segment = Segment(0, None if parent is None else "parent", interval, hparams)
        executor.submit(Job(name, segment, 0, 0, parent))
        (outcome,) = executor.wait()
        assert outcome.error is None
        return outcome.checkpoint, len(executor._states)

    try:
        first, sent = child("a", 0)
        assert (first.data, sent) == (None, 0)
        assert CheckpointFiles(tmp_path / "checkpoints").path(first.digest).exists()
        second, sent = child("b", 1, first)
        assert sent == 0
        again, sent = child("b", 1, first)
        assert (again, sent) == (second, 1)
    finally:
        executor.close()


def test_the_only_worker_may_be_lost_long_after_the_last_news(tmp_path, cluster, monkeypatch):
    """How long there has been no worker counts from its loss, not from what was last heard of one."""
    spec = hpo.parse_study(hazard(tmp_path, "stop once"), search_path=[HERE])
    executor = executor_of(spec, tmp_path, Execution("ray", 1, ray_address=cluster.address))
    real = time.monotonic
    try:
        segment = Segment(0, None, 2, spec.problem(0, spec.arms[0]).hparams(0))
        executor.submit(Job("a", segment, 0, 0, None))
        until(lambda: executor.wait(0.1) == [] and (tmp_path / "stopped").exists())
        (worker,) = executor._workers
        # The segment takes ten minutes, and then the worker is lost.
        monkeypatch.setattr(time, "monotonic", lambda: real() + 600)
        os.kill(int(worker.who.split()[2]), signal.SIGKILL)
        (outcome,) = executor.wait()
        assert (outcome.error, outcome.retries) == (None, 1)
    finally:
        executor.close()


@pytest.mark.parametrize(("address", "said"), [("127.0.0.1:1", "refused"), ("nonsense", "Invalid address format")])
def test_an_address_where_there_is_no_cluster_is_named(tmp_path, address, said):
    with pytest.raises(InputError, match=f"no Ray cluster at {address}: .*{said}"):
        run(document(), tmp_path, executor="ray", ray_address=address)
    assert not ray.is_initialized()


def test_without_ray_the_input_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr("hpo.execution.executors.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'Ray is not installed: pip install "hpo\[ray\]"'):
        run(document(), tmp_path / "run", executor="ray")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("workers", "gpus", "share"), [(1, 1, 1), (2, 1, 0.5), (3, 1, 0.3333), (4, 3, 0.5), (7, 7, 1), (3, 8, 1)]
)
def test_all_workers_find_a_place_on_the_gpus(workers, gpus, share):
    assert gpu_share(workers, gpus) == share
    assert gpus * int(1 / share) >= workers


def test_a_cluster_without_a_gpu_is_named():
    with pytest.raises(InputError, match="the Ray cluster has no GPU"):
        gpu_share(2, 0)
