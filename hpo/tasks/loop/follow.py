"""Puts a member's hyperparameters in force in a state that was trained with others.

Which numbers of a state come from hyperparameters is found by comparison: the same object is constructed with the old and with the
new hyperparameters, from one seed, and what differs follows. So a new learning rate reaches every parameter group by its own
share, and the learning rate scheduler as well.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Path = tuple[Any, ...]


class Followed:
    """The content of a state under new hyperparameters.

    Each number that differs between the two constructed objects changes: one that still has its first value gets its new first
    value. One that training has changed, such as a learning rate that a scheduler has lowered, is scaled by the ratio of the two
    first values. Tensors with more than one number are weights: they stay.

    Args:
        saved: the content of the state.
        before: the content of an object with the hyperparameters of the state.
        after: the content of an object with the new ones.
    """

    def __init__(self, saved: Any, before: Any, after: Any) -> None:
        self.changed: dict[Path, Any] = {}
        """The new values that follow from hyperparameters, by their paths."""
        self.content = self._tree(saved, before, after, ())

    def not_in_force(self, found: Any) -> list[str]:
        """Return the names of the values that a restored object should hold and does not.

        Args:
            found: the content of that object.
        """
        return [_name(path) for path, value in self.changed.items() if not _same(_at(found, path), value)]

    def unchanged(self, found: Any, before: Any) -> list[str]:
        """Return the names of the values that a restored object still holds as they were before.

        Args:
            found: the content of that object.
            before: the content of an object with the hyperparameters of the state.
        """
        return [_name(path) for path in self.changed if _same(_at(found, path), _at(before, path))]

    def _tree(self, saved: Any, before: Any, after: Any, path: Path) -> Any:
        if isinstance(saved, Mapping) and isinstance(before, Mapping) and isinstance(after, Mapping):
            content = {
                key: self._tree(item, before[key], after[key], (*path, key)) if key in before and key in after else item
                for key, item in saved.items()
            }
            # The learning rate of a warmup begins at 0 whatever the hyperparameter, which the group knows as initial_lr.
            if before.get("lr") == after.get("lr") == 0 and before.get("initial_lr") and "initial_lr" in after:
                content["lr"] = self.changed[*path, "lr"] = saved["lr"] * (after["initial_lr"] / before["initial_lr"])
            return content
        if all(isinstance(each, list | tuple) for each in (saved, before, after)):
            if not len(saved) == len(before) == len(after):
                return saved
            items = zip(saved, before, after, strict=True)
            return type(saved)([self._tree(*each, (*path, index)) for index, each in enumerate(items)])
        if _is_leaf(saved) and _is_leaf(before) and _is_leaf(after) and not _same(before, after):
            self.changed[path] = value = _value(saved, before, after)
            return value
        return saved


def _name(path: Path) -> str:
    return ".".join(map(str, path))


def _is_leaf(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1
    return value is None or isinstance(value, bool | int | float | str)


def _value(saved: Any, before: Any, after: Any) -> Any:
    """Return what follows for a number that is `saved` now, and was `before` and would be `after` when constructed."""
    if _same(saved, before) or not all(map(_is_number, (saved, before, after))) or before == 0:
        return after
    scaled = saved * (after / before)
    return round(scaled) if isinstance(after, int) else scaled


def _is_number(value: Any) -> bool:
    return isinstance(value, Tensor | int | float) and not isinstance(value, bool)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype is other.dtype and torch.equal(one.cpu(), other.cpu())
    return type(one) is type(other) and bool(one == other)


def _at(content: Any, path: Path) -> Any:
    for key in path:
        if isinstance(content, Mapping):
            content = content.get(key)
        elif isinstance(content, Sequence) and not isinstance(content, str) and key < len(content):
            content = content[key]
        else:
            return None
    return content
