"""A task as a study uses it, and the plain description from which another process builds the same task."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import cloudpickle

from hpo.core import registry
from hpo.core.errors import InputError
from hpo.core.registry import Origin
from hpo.core.space import SearchSpace
from hpo.core.task import Task
from hpo.study.identity import is_by_value, task_identity, task_options


@dataclass(frozen=True)
class TaskDescription:
    """Everything that a worker needs to build a task: names and values, no objects of the user's.

    Args:
        name: the registered name.
        options: the values of the task's fields.
        modules: imported before the name is looked up.
        search_path: the folders in which these modules are looked for.
        origin: where the task's class is defined.
        device: `cpu` or `cuda`.
        threads: of each member.
        gpus: of each worker; None: not given.
        identity: the task's code, options and data; a worker whose task has another identity is refused.
        by_value: the task itself, pickled by cloudpickle, if its code is in a script or a notebook; it never leaves the
            processes of a study.
    """

    name: str
    options: Mapping[str, Any]
    modules: tuple[str, ...]
    search_path: tuple[str, ...]
    origin: Origin
    device: str
    threads: int
    gpus: float | None
    identity: Mapping[str, Any]
    by_value: bytes | None = None


@dataclass(frozen=True)
class BoundTask:
    """A task with its options, bound to its modules and its search space.

    Args:
        name: the registered name.
        modules: the modules that register it and other plug-ins, if the study names any.
        search_path: the folders in which these modules are looked for.
        task: the task with its options.
        space: its search space, with the study's overrides and the optional hyperparameters that the study names.
    """

    name: str
    modules: tuple[str, ...]
    search_path: tuple[str, ...]
    task: Task[Any]
    space: SearchSpace

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """The task's name, options, data fingerprint and code; see `task_identity`.

        Raises:
            InputError: the source of the task cannot be read.
        """
        return task_identity(self.task, self.name, self.modules)

    def on(self, device: str, threads: int = 1, gpus: float | None = None) -> "BoundTask":
        """Return the same with the task on a device, with so many threads and GPUs for each member."""
        moved = replace(self, task=self.task.on(device, threads, gpus))
        # The same code and data: reading them again could see what training has changed since, such as a global object.
        moved.__dict__["identity"] = self.identity
        return moved

    def description(self) -> TaskDescription:
        """Return what a worker builds the task from."""
        given = [getattr(self.task, option) for option in self.task.references]
        made = any(not (each is None or isinstance(each, str) or callable(each)) for each in given)  # such as data
        by_value = made or any(map(is_by_value, self.task.code()))
        return TaskDescription(
            name=self.name,
            options={} if by_value else task_options(self.task),
            modules=self.modules,
            search_path=self.search_path,
            origin=registry.origin_of(type(self.task)),
            device=self.task.device,
            threads=self.task.threads,
            gpus=self.task.gpus,
            identity=self.identity,
            by_value=_pickled(self.task) if by_value else None,
        )


def _pickled(task: Task[Any]) -> bytes:
    try:
        return bytes(cloudpickle.dumps(task))
    except Exception as error:
        raise InputError(
            f"{' and '.join(map(repr, task.code()))} cannot be given to another process ({type(error).__name__}: {error}): make"
            " what it uses inside it, or run it in this process, with one worker"
        ) from error
