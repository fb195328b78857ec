"""State that the members of a process share: attributes of the task, of its classes, and of the modules that define them."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hpo.core.object_state import contents, is_library
from hpo.core.task import Task

_MOST = 2**20
"""Bytes; larger arrays are data."""


def shared_state(task: Task[Any]) -> dict[str, Any]:
    """Return the contents of the attributes of a task, of the user's classes among its bases and code, and of their modules."""
    return {
        f"{where}.{name}": held
        for where, attributes in _places(task)
        for name, value in list(attributes.items())
        if not name.startswith("__") and (held := contents(_unboxed(value), _MOST)) is not None
    }


def _unboxed(value: Any) -> Any:
    """Return the only item of a list: `[0]` is a counter, while longer lists of numbers are mostly histories."""
    return value[0] if type(value) is list and len(value) == 1 else value


def _places(task: Task[Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "self", vars(task)
    modules = {}
    own = [part for part in task.code() if isinstance(part, type)]
    for cls in dict.fromkeys(base for part in (type(task), *own) for base in part.__mro__):
        module = sys.modules.get(cls.__module__)
        file = getattr(module, "__file__", None)
        if file is not None and not is_library(Path(file)):
            yield cls.__name__, vars(cls)
            modules[cls.__module__] = vars(module)
    yield from modules.items()
