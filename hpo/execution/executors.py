"""Which executor runs a study, and its options."""

import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor as Pool
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

from hpo.core import registry
from hpo.core.checkpoints import CheckpointFiles
from hpo.core.errors import InputError
from hpo.core.interpreters import usable_cores
from hpo.core.seeding import seeded_generators
from hpo.core.task import StackedTask, Task
from hpo.execution.handshake import IN_WORKER
from hpo.execution.jobs import Context, Executor
from hpo.execution.open_files import allow_workers
from hpo.execution.pools import FuturesExecutor, pool_size
from hpo.execution.process import ProcessExecutor
from hpo.execution.runner import Runner
from hpo.execution.serial import SerialExecutor
from hpo.execution.stacked import StackedExecutor, StackRunner

ExecutorName = Literal["serial", "process", "ray", "stacked"]
DEFAULT_LANES = 8
MOST_LANES = 4096


@dataclass(frozen=True)
class Execution:
    """Where and how segments run. Only the device, threads, several GPUs, and `stacked` with its lanes, can change a result.

    Args:
        executor: its name, or a pool of processes with the interface of `concurrent.futures.Executor`.
        workers: the number of workers; None: as many as fit on the cores and GPUs, or the size of the cluster or pool.
        device: `cpu` or `cuda`.
        segment_timeout: seconds for one segment; None: no limit.
        ray_address: of a Ray cluster.
        lanes: members in one stack, for `stacked`; None: 8.
        threads: of each member, for torch and linear algebra.
        gpus: of each worker, a fraction of one or a whole number; for `ray`, and for `process` on `cuda`. None: on `cuda`,
            workers share the GPUs.
        resources: of each worker in a Ray cluster, by Ray's names; `memory` in bytes.
    """

    executor: ExecutorName | Pool = "process"
    workers: int | None = None
    device: str = "cpu"
    segment_timeout: float | None = None
    ray_address: str | None = None
    lanes: int | None = None
    threads: int = 1
    gpus: float | None = None
    resources: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The executor's name."""
        return self.executor if isinstance(self.executor, str) else type(self.executor).__name__

    @property
    def expected_workers(self) -> int:
        """How many jobs run at a time: a stack counts as one, a Ray cluster that is not connected yet as this machine's cores."""
        if self.executor in ("serial", "stacked"):
            return 1
        if not isinstance(self.executor, str):
            return self._pool_size(self.executor)
        places = max(1, usable_cores() // self.threads)
        if self.executor == "process" and self.gpus is not None:
            places = min(places, self._gpu_places())
        return self.workers or places

    @property
    def numerics(self) -> dict[str, str]:
        """What results depend on besides the task's numerics: whether they were computed in a stack, and its size."""
        return {"execution": "stacked", "lanes": str(self._lanes)} if self.executor == "stacked" else {}

    def place(self, slots: int) -> dict[str, str | int]:
        """Return the description of a session's executor for execution.json.

        Args:
            slots: how many jobs ran at a time.
        """
        workers = {"workers": 1, "lanes": slots} if self.executor == "stacked" else {"workers": slots}
        return {**workers, "executor": self.name, "device": self.device}

    def check(self) -> None:
        """Raise `InputError` for an option that is wrong, or an impossible combination of options."""
        if os.environ.get(IN_WORKER):
            raise InputError(
                "a worker process tried to start a study: guard your script with `if __name__ == '__main__':`"
            )
        names = get_args(ExecutorName)
        if not isinstance(self.executor, Pool) and self.executor not in names:
            raise InputError(
                f"executor = {self.executor!r}: allowed: {', '.join(names)}, or a concurrent.futures.Executor"
            )
        if self.workers is not None and self.workers < 1:
            raise InputError(f"workers = {self.workers}: allowed: a number from 1")
        if self.segment_timeout is not None:
            if not self.segment_timeout > 0:
                raise InputError(f"segment_timeout = {self.segment_timeout}: allowed: seconds above 0")
            if self.executor not in ("process", "ray"):
                raise InputError(
                    f"segment_timeout = {self.segment_timeout}: allowed with the executors process and ray, whose workers can"
                    f" be replaced, and not with {self.name}"
                )
        if self.ray_address is not None and self.executor != "ray":
            raise InputError(f"ray_address = {self.ray_address!r}: allowed with the executor ray")
        if self.lanes is not None:
            if self.executor != "stacked":
                raise InputError(f"lanes = {self.lanes}: allowed with the executor stacked")
            if not 1 <= self.lanes <= MOST_LANES:
                raise InputError(f"lanes = {self.lanes}: allowed: 1 to {MOST_LANES}")
        if self.threads < 1:
            raise InputError(f"threads = {self.threads}: allowed: a number from 1")
        self._check_resources()
        if self.executor == "stacked" and self.workers is not None and self.workers > 1:
            raise InputError(
                f"workers = {self.workers}: not allowed with the executor stacked, which trains in one process: give lanes"
            )
        if self.executor == "ray" and find_spec("ray") is None:
            raise InputError('executor = "ray": Ray is not installed: pip install "hpo[ray]"')
        if isinstance(self.executor, Pool):
            self._pool_size(self.executor)
        if self.device != "cpu":
            _check_device(self.device)
        if self.executor == "process" and self.gpus is not None:
            places, workers = self._gpu_places(), max(1, self.expected_workers)
            if workers > places:
                raise InputError(
                    f"gpus = {self.gpus:g}: {len(_gpus())} GPUs are not enough for {workers} workers: allowed: at most {places}"
                )
        allow_workers(self.expected_workers if self.executor == "process" else 0)

    def check_task(self, task: Task[Any], name: str) -> None:
        """Raise `InputError` if a task cannot run in this way.

        Args:
            task: the study's task on its device.
            name: its registered name.
        """
        if self.executor != "stacked":
            return
        if not isinstance(task, StackedTask):
            raise InputError(
                f"executor = 'stacked': task {name!r} does not offer to be stacked; tasks that do: {', '.join(_stacked_tasks())}"
            )
        task.check_stacked()

    def open(self, context: Context, task: Task[Any]) -> Executor:
        """Return the executor, ready for jobs; the caller closes it.

        Args:
            context: what all jobs share.
            task: the study's task on its device, for an executor in this process.

        Raises:
            InputError: there is no such cluster; another study runs serially in this process.
        """
        folder = Path(context.checkpoints)
        if self.executor == "serial":
            return SerialExecutor(Runner(task, context.interval, folder, context.intervals, seeded_generators))
        if self.executor == "stacked":
            return StackedExecutor(StackRunner(task, context.interval, folder, context.intervals), self._lanes)
        if self.executor == "process":
            gpus = gpu_groups(_gpus(), self.gpus) if self.device == "cuda" else ()
            return ProcessExecutor(context, self.expected_workers, segment_timeout=self.segment_timeout, gpus=gpus)
        if self.executor == "ray":
            from hpo.execution.ray import RayExecutor  # takes a second, and may not be installed

            return RayExecutor(
                context,
                CheckpointFiles(folder),
                workers=self.workers,
                address=self.ray_address,
                cores=usable_cores(),
                segment_timeout=self.segment_timeout,
                gpus=self.gpus,
                resources=self.resources,
            )
        return FuturesExecutor(context, self.executor, self.expected_workers, CheckpointFiles(folder))

    def _check_resources(self) -> None:
        gpus = self.gpus
        if gpus is not None:
            if not (0 < gpus < math.inf and (gpus < 1 or gpus == int(gpus))):
                raise InputError(f"gpus = {gpus:g}: allowed: a fraction of one GPU, or a whole number from 1")
            if self.executor != "ray" and not (self.executor == "process" and self.device == "cuda"):
                raise InputError(
                    f"gpus = {gpus:g}: allowed with the executor ray, and with the executor process on the device cuda"
                )
        for name, amount in self.resources.items():
            if self.executor != "ray":
                raise InputError(f"resources: {name} = {amount:g}: allowed with the executor ray")
            if name in ("CPU", "GPU"):
                raise InputError(
                    f"resources: {name} = {amount:g}: give {'threads' if name == 'CPU' else 'gpus'} instead"
                )
            if not 0 < amount < math.inf:
                raise InputError(f"resources: {name} = {amount:g}: allowed: a number above 0")

    def _gpu_places(self) -> int:
        """Return how many workers fit on this machine's GPUs."""
        assert self.gpus is not None
        return len(gpu_groups(_gpus(), self.gpus)) * (1 if self.gpus > 1 else math.floor(1 / self.gpus))

    @property
    def _lanes(self) -> int:
        return self.lanes or DEFAULT_LANES

    def _pool_size(self, pool: Pool) -> int:
        return pool_size(pool, self.workers)


def _stacked_tasks() -> list[str]:
    """Return the names of the tasks that offer to be stacked, as far as they can be imported here."""
    found = []
    for name in registry.tasks.names():
        with suppress(Exception):  # a library that is not installed
            if issubclass(registry.tasks.get(name), StackedTask):
                found.append(name)
    return found


def _check_device(device: str) -> None:
    import torch

    if device != "cuda":
        raise InputError(f"device = {device!r}: allowed: cpu, cuda")
    if not torch.cuda.is_available():
        raise InputError("device = 'cuda': this machine has no CUDA device that torch can use")


def _gpus() -> Sequence[str]:
    import torch

    return visible_gpus(os.environ.get("CUDA_VISIBLE_DEVICES"), torch.cuda.device_count())


def gpu_groups(names: Sequence[str], gpus: float | None) -> tuple[str, ...]:
    """Return the values of `CUDA_VISIBLE_DEVICES` that workers take turns over.

    >>> gpu_groups(["0", "1", "2", "3", "4"], 2)
    ('0,1', '2,3')

    Args:
        names: of the GPUs.
        gpus: of each worker; those that share one, or None, see one.
    """
    size = max(1, int(gpus or 1))
    return tuple(",".join(names[start : start + size]) for start in range(0, len(names) - size + 1, size))


def visible_gpus(variable: str | None, count: int) -> tuple[str, ...]:
    """Return what `CUDA_VISIBLE_DEVICES` calls the GPUs that this process sees.

    Args:
        variable: its value here; None: it is not set.
        count: how many GPUs there are for this process.
    """
    names = map(str, range(count)) if variable is None else map(str.strip, variable.split(","))
    return tuple(names)[:count]
