"""Runs jobs on a Ray cluster: on one machine, or on several without a shared folder.

Every worker is an actor that takes one job at a time. Checkpoints are sent as bytes through Ray's object store; this process alone
reads and writes their files. A task loads its data once per worker, or once per node if the data is in `hpo`'s cache
directory. Jobs of a lost actor or node are submitted again elsewhere.
"""

import logging
import math
import os
import pickle
import platform
import signal
import socket
import threading
import time
import traceback
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.job_config import JobConfig
from threadpoolctl import threadpool_limits

from hpo.core.checkpoints import CheckpointFiles, CheckpointMissing, LastCheckpoint
from hpo.core.errors import HpoError, InputError, StudyFailed
from hpo.core.interpreters import use_threads
from hpo.execution.handshake import Handshake, build_runner, check_handshake
from hpo.execution.jobs import Context, Job, Outcome
from hpo.execution.packing import run_packed, unpacked
from hpo.execution.retries import retried, too_slow
from hpo.execution.runner import Runner

Handle = Any
"""A Ray actor handle."""
Ref = Any
"""A Ray object reference: a future."""

_NOBODY_SECONDS = 300.0
"""The study stops if there is no worker for this long."""


def _actor_class(path: list[str], current: str) -> type:
    """Return the class of actors, which imports nothing before it has the coordinator's path.

    Ray puts the coordinator's current folder first on the path of its workers. A class defined in a
    function is pickled with its code, so that nothing of ours is imported before it.

    Args:
        path: the coordinator's search path for modules.
        current: the coordinator's current folder.
    """

    class SegmentWorker:
        def __init__(self, context: bytes) -> None:
            import sys

            sys.path[:] = [*path, *(entry for entry in sys.path if entry not in (*path, "", ".", current))]
            import pickle

            from hpo.execution.ray import _ActorRunner

            self._runner = _ActorRunner(pickle.loads(context))

        def handshake(self) -> Any:
            return self._runner.handshake()

        def run(self, job: Any, parent: Any) -> Any:
            return self._runner.run(job, parent)

    return SegmentWorker


class _ActorRunner:
    """Runs jobs on a node of the cluster, one at a time; used only as a Ray actor.

    Args:
        context: shared by all jobs.
    """

    def __init__(self, context: Context) -> None:
        self._runner: Runner | None = None
        self._handshake: Handshake | str
        try:
            with threadpool_limits(limits=1):  # as in other workers: data that the task computes may depend on it
                self._runner, self._handshake = build_runner(context, LastCheckpoint())
        except BaseException:
            self._handshake = traceback.format_exc()
        use_threads(context.task.threads)  # Ray started this process for this study alone

    def handshake(self) -> tuple[str, str, Handshake | str]:
        """Return the node's id, this process's name, and the handshake."""
        node = ray.get_runtime_context().get_node_id()
        return node, f"worker process {os.getpid()} on node {node[:8]} ({platform.node()})", self._handshake

    def run(self, job: Job, parent: bytes | None) -> Outcome:
        """Run a job.

        Args:
            job: the job.
            parent: the bytes of its parent's state; None if the job holds them, or this worker has them already.
        """
        if self._runner is None:
            raise HpoError("this worker has no task")
        if parent is not None and job.parent is not None:
            job = replace(job, parent=replace(job.parent, data=parent))
        return run_packed(self._runner, job)


@dataclass(eq=False)
class _Worker:
    actor: Handle
    answer: Ref | None
    """The pending handshake or outcome; None: the worker is idle."""
    node: str = ""
    who: str = "a worker that was starting"
    ready: bool = False
    job: Job | None = None
    losses: tuple[str, ...] = ()
    """How the workers ended that died on the job before."""
    due: float = math.inf
    made: str | None = None
    """The digest of the last state that it made, which it holds in memory."""


class RayExecutor:
    """Actors on a Ray cluster.

    Args:
        context: shared by all jobs.
        files: the folder of checkpoint files.
        workers: how many actors; None: as many as fit on the nodes of the cluster.
        address: of the cluster; None: the one that this process is connected to, or that `RAY_ADDRESS` names, or a new one on
            this machine, stopped at the end.
        cores: the number of CPUs of a new cluster.
        segment_timeout: seconds for one job, after which its worker is replaced; None: no limit.
        gpus: of each actor; None: none, or on `cuda` as large a part of one as there is for each.
        resources: of each actor, by Ray's names.

    Raises:
        InputError: there is no cluster at that address, or none of its nodes has what an actor needs.
    """

    def __init__(
        self,
        context: Context,
        files: CheckpointFiles,
        *,
        workers: int | None,
        address: str | None,
        cores: int,
        segment_timeout: float | None,
        gpus: float | None = None,
        resources: Mapping[str, float] | None = None,
    ) -> None:
        self._files = files
        self._context = context
        self._timeout = segment_timeout
        self._workers: list[_Worker] = []
        self._queue: deque[tuple[Job, tuple[str, ...]]] = deque()
        self._missing: list[Outcome] = []
        self._states: OrderedDict[str, Ref] = OrderedDict()
        """Recently sent parents, by digest: all children of one parent share one copy."""
        self._failure: HpoError | None = None
        self._lost_starting = 0
        self._nobody_since = time.monotonic()
        """The time since which no worker has been ready; meaningless while one is."""
        threads = context.task.threads
        self._ours = not ray.is_initialized()
        if self._ours:
            _connect(address or os.environ.get("RAY_ADDRESS"), (workers or 0) * threads or cores)
        elif address is not None:
            raise InputError(f"ray_address = {address!r}: this process is connected to a Ray cluster already")
        try:
            self._needs = {"CPU": threads, **(resources or {})}
            if gpus or context.task.device == "cuda":
                self._needs["GPU"] = gpus or 1
            nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            self.slots = slots(nodes, self._needs, workers)
            if gpus is None and "GPU" in self._needs:
                self._needs["GPU"] = gpu_share(self.slots, int(sum(node.get("GPU", 0) for node in nodes)))
            # Only after it is known that this cluster is usable.
            self._shared = ray.put(pickle.dumps(context))
            self._remote = ray.remote(_actor_class([*context.python_path], str(Path.cwd()))).options(
                **options(self._needs), max_restarts=0, scheduling_strategy="SPREAD"
            )
        except BaseException:
            self.close()
            raise

    def submit(self, job: Job) -> None:
        """Give a job to an idle worker, preferably the one that made the parent's state, or queue it."""
        self._queue.append((job, ()))
        self._assign()

    def wait(self, seconds: float | None = None) -> Sequence[Outcome]:
        """Return the outcomes so far, or wait for one, at most for `seconds`."""
        until = math.inf if seconds is None else time.monotonic() + seconds
        while True:
            if self._missing:
                outcomes, self._missing = self._missing, []
                return outcomes
            if self._failure is not None:
                raise self._failure
            outcomes = []
            awaited = {worker.answer: worker for worker in self._workers if worker.answer is not None}
            for ref in self._answered(list(awaited), until):
                try:
                    outcome = self._receive(awaited[ref])
                except HpoError as error:
                    self._failure = self._failure or error  # after the outcomes so far
                    continue
                if outcome is not None:
                    outcomes.append(outcome)
            if self._failure is None:
                try:
                    self._look_at_clocks()
                    self._assign()
                except HpoError as error:
                    self._failure = error
            if outcomes or (self._failure is None and time.monotonic() >= until):
                return outcomes

    def close(self) -> None:
        """Kill the workers, and leave the cluster if this executor joined it."""
        for worker in self._workers:
            _kill(worker.actor)
        self._workers.clear()
        self._queue.clear()
        self._states.clear()
        if self._ours:
            ray.shutdown()

    def _answered(self, refs: list[Ref], until: float) -> list[Ref]:
        """Return the answers so far; if there are none, wait for one until the next deadline."""
        due = min([until, *(worker.due for worker in self._workers)])
        if not any(worker.ready for worker in self._workers):
            due = min(due, self._nobody_since + _NOBODY_SECONDS)
        seconds = None if due == math.inf else max(0.0, due - time.monotonic())
        answered, _ = ray.wait(refs, num_returns=1, timeout=seconds)
        if not answered:
            return []
        answered, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        return list(answered)

    def _receive(self, worker: _Worker) -> Outcome | None:
        """Receive a worker's message; return None unless it is an outcome."""
        try:
            message = ray.get(worker.answer)
        except RayTaskError as error:
            raise StudyFailed(f"{worker.who} failed at {worker.job or 'its start'}:\n{error}") from error
        except RayError as error:  # the worker or its node died, or the connection broke
            self._lose(worker, f"on {worker.who}: {_first_line(error)}")
            return None
        worker.answer, worker.due = None, math.inf
        if not worker.ready:
            worker.node, worker.who, handshake = message
            check_handshake(self._context, handshake, worker.who)
            worker.ready, self._lost_starting = True, 0
            return None
        job, worker.job = worker.job, None
        assert job is not None
        outcome: Outcome = unpacked(self._files, job, replace(message, retries=len(worker.losses)))
        if outcome.checkpoint is not None:
            worker.made = outcome.checkpoint.digest
        return outcome

    def _lose(self, worker: _Worker, how: str) -> None:
        """Give up a worker. Retry its job once on another."""
        # Drop the idle workers on its node, which may be dead, too, so that none of them causes the job's second failure.
        for lost in [worker, *(it for it in self._workers if it.ready and it.job is None and it.node == worker.node)]:
            self._workers.remove(lost)
            _kill(lost.actor)
        if worker.ready and not any(it.ready for it in self._workers):
            self._nobody_since = time.monotonic()
        if not worker.ready:
            self._lost_starting += 1
            if self._lost_starting > 2 * self.slots + 2:
                raise StudyFailed(f"workers die while they start, the last one {how}")
        if worker.job is None:
            return
        self._queue.appendleft((worker.job, retried(worker.job, worker.losses, how)))

    def _look_at_clocks(self) -> None:
        now = time.monotonic()
        for worker in [worker for worker in self._workers if worker.due <= now]:
            self._lose(worker, too_slow(self._timeout or 0.0))
        if not any(worker.ready for worker in self._workers) and now >= self._nobody_since + _NOBODY_SECONDS:
            raise StudyFailed(
                f"no worker could be started within {_NOBODY_SECONDS:g} s: is {_spelled(self._needs)} free on a node of the Ray"
                f" cluster? The cluster has {ray.cluster_resources()}. Finished work was kept."
            )

    def _assign(self) -> None:
        """Give jobs to idle workers, and start a worker for each remaining job."""
        idle = [worker for worker in self._workers if worker.ready and worker.job is None]
        while self._queue and idle:
            job, losses = self._queue.popleft()
            digest = None if job.parent is None else job.parent.digest
            worker = next((worker for worker in idle if worker.made == digest is not None), idle[0])
            try:
                self._give(worker, job, losses)
            except CheckpointMissing:
                self._missing.append(Outcome(job, {}, parent_missing=True))
                continue
            idle.remove(worker)
        if self._queue and not self._workers:
            self._nobody_since = time.monotonic()
        starting = sum(not worker.ready for worker in self._workers)
        for _ in range(min(len(self._queue) - starting, self.slots - len(self._workers))):
            actor = self._remote.remote(self._shared)
            self._workers.append(_Worker(actor, actor.handshake.remote()))

    def _give(self, worker: _Worker, job: Job, losses: tuple[str, ...]) -> None:
        state = self._state(worker, job)
        worker.job, worker.losses = job, losses
        worker.answer = worker.actor.run.remote(job, state)
        if self._timeout is not None:
            worker.due = time.monotonic() + self._timeout

    def _state(self, worker: _Worker, job: Job) -> Ref | None:
        """Return a Ray reference to the bytes of a job's parent; None if the worker does not need them."""
        parent = job.parent
        if parent is None or parent.data is not None or parent.digest == worker.made:
            return None
        if parent.digest not in self._states:
            self._states[parent.digest] = ray.put(self._files.read(parent))
        self._states.move_to_end(parent.digest)
        while len(self._states) > 2 * self.slots:
            self._states.popitem(last=False)
        return self._states[parent.digest]


def _connect(address: str | None, cores: int) -> None:
    """Join a cluster, or start one on this machine, without output and without changing signal handlers."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    handled = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM) if handled else None
    try:
        if address in (None, "local"):
            ray.init(
                address="local",
                **_job("local"),
                num_cpus=cores,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        else:
            _knock(str(address))
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **_job(str(address)))
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"no Ray cluster at {address or 'this machine'}: {_first_line(error)}") from error
    except SystemExit as error:  # Ray's reaction to SIGTERM while it starts
        raise KeyboardInterrupt from error
    finally:
        if handler is not None:
            signal.signal(signal.SIGTERM, handler)


def _job(address: str) -> dict[str, JobConfig]:
    """Return the options that keep Ray from putting the current folder first on its workers' path."""
    return {} if "://" in address else {"job_config": _Job()}


class _Job(JobConfig):  # type: ignore[misc]
    def _runtime_env_has_working_dir(self) -> bool:
        """Return True, so that Ray leaves the workers' folder alone. Overrides a private method of Ray."""
        return True


def _knock(address: str) -> None:
    """Raise `OSError` if nothing listens at `host:port`; Ray itself would wait for minutes."""
    host, _, port = address.rpartition(":")
    if port.isdigit() and "/" not in address:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def slots(nodes: Sequence[Mapping[str, float]], needs: Mapping[str, float], workers: int | None) -> int:
    """Return the number of workers on a cluster: those that were asked for, or as many as fit on its nodes.

    Args:
        nodes: what each node has, by resource.
        needs: what each worker needs.
        workers: from the user.

    Raises:
        InputError: no number was given, and no node has what a worker needs.
    """
    fitting = sum(min(int(node.get(name, 0) / amount + 1e-9) for name, amount in needs.items()) for node in nodes)
    if not (workers or fitting):
        raise InputError(f"no node of the Ray cluster has what one worker needs: {_spelled(needs)}")
    return workers or fitting


def options(needs: Mapping[str, float]) -> dict[str, Any]:
    """Return the options of a Ray actor that needs some resources."""
    others = {name: amount for name, amount in needs.items() if name not in ("CPU", "GPU", "memory")}
    memory = {"memory": int(needs["memory"])} if "memory" in needs else {}
    return {"num_cpus": needs["CPU"], "num_gpus": needs.get("GPU", 0), "resources": others, **memory}


def _spelled(needs: Mapping[str, float]) -> str:
    return ", ".join(f"{amount:g} {name}" for name, amount in needs.items())


def gpu_share(workers: int, gpus: int) -> float:
    """Return the largest fraction of a GPU such that all workers fit; Ray counts in ten-thousandths.

    Raises:
        InputError: there is no GPU.
    """
    if not gpus:
        raise InputError("device = 'cuda': the Ray cluster has no GPU")
    return math.floor(10_000 / math.ceil(workers / gpus)) / 10_000


def _kill(actor: Handle) -> None:
    with suppress(Exception):  # the actor or its cluster is gone already
        ray.kill(actor, no_restart=True)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
