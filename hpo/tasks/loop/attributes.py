"""What a checkpoint keeps of an object: the states and the plain values among its attributes.

Four kinds of attributes are kept: objects with `state_dict` and `load_state_dict`; generators of torch, numpy and `random`; plain
values (numbers, texts, arrays, tensors, and dicts, lists and tuples of these); and the same inside containers and inside objects of
the user's own classes. Everything else stays as the constructor makes it.
"""

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from hpo.core.errors import HpoError
from hpo.core.object_state import is_own
from hpo.core.segments import ReadOnlyHParams
from hpo.tasks.torch.state_dicts import is_plain

_Kind = Literal["states", "generators", "values", "others"]
"""A field of `Snapshot`."""


@dataclass(frozen=True)
class Snapshot:
    """The content of an object, by the path of each attribute, such as `optimizer` or `early.best`.

    Args:
        states: of objects with a state.
        generators: the states of random generators.
        values: plain values.
        others: attributes of other kinds, which no checkpoint holds.
    """

    states: dict[str, Any] = field(default_factory=dict)
    generators: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    others: dict[str, object] = field(default_factory=dict)

    @property
    def content(self) -> dict[str, Any]:
        """The states and values."""
        return self.states | self.values


def snapshot(thing: object) -> Snapshot:
    """Return the content of an object. Tensors are not copied."""
    found = Snapshot()
    for path, kind, value in _places(thing):
        if kind == "generators":
            value = _generator(value).read()  # type: ignore[union-attr]
        elif kind == "states":
            value = value.state_dict()
        getattr(found, kind)[path] = value
    return found


def load(thing: object, content: Mapping[str, Any], states: Iterable[str], generators: Mapping[str, Any]) -> None:
    """Restore the content of an object, which has just been constructed.

    Args:
        thing: the object.
        content: the states and values, by path.
        states: the paths of the states.
        generators: the states of random generators, by path.

    Raises:
        HpoError: the constructor does not make an object that has a state in the checkpoint.
    """
    made = {path: value for path, _, value in _places(thing)}
    for path in states:
        if not is_stateful(made.get(path)):
            raise HpoError(
                f"self.{path} has a state after training, but the constructor makes no such object: make it in __init__, so that"
                " its state can be loaded"
            )
        made[path].load_state_dict(content[path])
    for path, value in content.items():
        if path in states:
            continue
        try:
            _put(thing, path, value)
        except (AttributeError, LookupError, StopIteration) as error:
            raise HpoError(
                f"self.{path} has a value after training, but the constructor makes nothing that could hold it: make it in __init__"
            ) from error
    for path, state in generators.items():
        generator = _generator(made.get(path))
        if generator is None:
            raise HpoError(f"self.{path} is a random generator after training, but not after __init__")
        generator.write(state)


def is_stateful(value: object) -> bool:
    """Return whether an object gives and takes its state."""
    return not isinstance(value, type) and all(
        callable(getattr(value, name, None)) for name in ("state_dict", "load_state_dict")
    )


def _places(thing: object) -> Iterator[tuple[str, _Kind, Any]]:
    """Yield each attribute with its path and kind.

    Containers and own objects that hold objects are entered; each object is yielded once.
    """
    seen = {id(thing)}

    def walk(value: Any, path: str) -> Iterator[tuple[str, _Kind, Any]]:
        if isinstance(value, ReadOnlyHParams | np.memmap):  # the constructor's, which are right already; data in a file
            return
        kind = _kind(value)
        if kind == "values":
            yield path, kind, value
            return
        if id(value) in seen:
            return
        seen.add(id(value))
        items = _items(value) if kind == "others" else None
        if items is None:
            yield path, kind, value
        else:
            for name, item in items:
                yield from walk(item, f"{path}.{name}")

    for name, value in list(vars(thing).items()):
        yield from walk(value, name)


def _kind(value: Any) -> _Kind:
    if is_stateful(value):
        return "states"
    if _generator(value) is not None:
        return "generators"
    return "values" if is_plain(value) else "others"


def _items(value: Any) -> list[tuple[str, Any]] | None:
    """Return the parts of a container or of an object of the user's own; None for anything else."""
    if isinstance(value, Mapping):
        return [(str(key), item) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [(str(index), item) for index, item in enumerate(value)]
    if hasattr(value, "__dict__") and not isinstance(value, type | Enum) and is_own(type(value)):
        return list(vars(value).items())
    return None


def _put(thing: Any, path: str, value: Any) -> None:
    """Set the plain value at a path."""
    *parents, last = path.split(".")
    for name in parents:
        thing = _part(thing, name)
    if isinstance(thing, dict):
        key = next((key for key in thing if str(key) == last), last)
        thing[key] = _into(thing.get(key), value)
    elif isinstance(thing, list):
        thing[int(last)] = _into(thing[int(last)], value)
    elif isinstance(thing, tuple):
        _into(thing[int(last)], value)
    else:
        object.__setattr__(thing, last, _into(getattr(thing, last, None), value))


def _into(old: Any, value: Any) -> Any:
    """Return a value whose tensors are the old ones with new content: an optimizer may refer to them."""
    if isinstance(old, Tensor) and isinstance(value, Tensor) and (old.shape, old.dtype) == (value.shape, value.dtype):
        with torch.no_grad():
            return old.copy_(value)
    if isinstance(old, dict) and isinstance(value, dict):  # of any kind, such as a Counter
        items = {key: _into(old.get(key), item) for key, item in value.items()}
        old.clear()
        old.update(items)
        return old
    if isinstance(old, deque) and isinstance(value, deque):
        return deque(value, old.maxlen)
    if isinstance(old, list | tuple) and isinstance(value, list | tuple) and len(old) == len(value):
        return type(value)(map(_into, old, value))
    return value


def _part(thing: Any, name: str) -> Any:
    if isinstance(thing, Mapping):
        return next(item for key, item in thing.items() if str(key) == name)
    if isinstance(thing, list | tuple):
        return thing[int(name)]
    return getattr(thing, name)


@dataclass(frozen=True)
class _Generator:
    """How the state of a random generator is read and written."""

    read: Callable[[], Any]
    write: Callable[[Any], Any]


def _generator(value: Any) -> _Generator | None:
    if isinstance(value, torch.Generator):
        return _Generator(value.get_state, value.set_state)
    if isinstance(value, np.random.RandomState):
        return _Generator(value.get_state, value.set_state)
    if isinstance(value, random.Random):
        return _Generator(value.getstate, value.setstate)
    if isinstance(value, np.random.Generator):
        bits = value.bit_generator
        return _Generator(lambda: bits.state, lambda state: setattr(bits, "state", state))
    return None
