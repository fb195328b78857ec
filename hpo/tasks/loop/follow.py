"""Puts a member's hyperparameters in force in a state that was trained with others.

Which numbers of a state come from hyperparameters is found by comparison: the same object is constructed with the old and with the
new hyperparameters, from one seed, and what differs follows. So a new learning rate reaches every parameter group by its own
share, and the learning rate scheduler as well.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from hpo.tasks.torch.state_dicts import same_content

Path = tuple[Any, ...]


class Followed:
    """The content of a state under new hyperparameters.

    What differs between the two constructed objects changes. A value that training has left as it was constructed gets its new
    first value. A number that training has changed, such as a learning rate that a scheduler has lowered, is scaled by the ratio of
    the two first values. Tensors and arrays that training has changed are weights: they stay, except in parameter groups.

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
        return [_name(path) for path, value in self.changed.items() if not same_content(_at(found, path), value)]

    def unchanged(self, found: Any, before: Any) -> list[str]:
        """Return the names of the values that a restored object still holds as they were before, without private ones.

        Args:
            found: the content of that object.
            before: the content of an object with the hyperparameters of the state.
        """
        own = [path for path in self.changed if not any(str(key).startswith("_") for key in path)]
        return [_name(path) for path in own if same_content(_at(found, path), _at(before, path))]

    def _tree(self, saved: Any, before: Any, after: Any, path: Path) -> Any:
        if same_content(before, after):
            return saved
        kinds = (saved, before, after)
        if all(isinstance(each, Mapping) for each in kinds):
            if saved.keys() == before.keys() == after.keys():
                return self._mapping(saved, before, after, path)
        elif all(isinstance(each, list | tuple) for each in kinds) and len({*map(len, kinds)}) == 1:
            items = enumerate(zip(*kinds, strict=True))
            return type(saved)([self._tree(*each, (*path, index)) for index, each in items])
        if same_content(saved, before):
            self.changed[path] = after
            return after
        if all(isinstance(each, Mapping) for each in kinds):
            return self._mapping(saved, before, after, path)
        if all(map(_is_number, (saved, before, after))) and ("param_groups" in path or not _is_tensor(saved)):
            self.changed[path] = value = _scaled(saved, before, after)
            return value
        return saved

    def _mapping(self, saved: Any, before: Any, after: Any, path: Path) -> dict[Any, Any]:
        content = {
            key: self._tree(item, before[key], after[key], (*path, key)) if key in before and key in after else item
            for key, item in saved.items()
        }
        # The learning rate of a warmup begins at 0 whatever the hyperparameter, which the group knows as initial_lr.
        if before.get("lr") == after.get("lr") == 0 and before.get("initial_lr") and "initial_lr" in after:
            content["lr"] = self.changed[*path, "lr"] = saved["lr"] * (after["initial_lr"] / before["initial_lr"])
        return content


def _name(path: Path) -> str:
    return ".".join(map(str, path))


def _scaled(saved: Any, before: Any, after: Any) -> Any:
    """Return what follows for a number that is `saved` now, and was `before` and would be `after` when constructed."""
    if before == 0:
        return after
    scaled = saved * (after / before)
    return round(scaled) if isinstance(after, int) else scaled


def _is_number(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor | np.ndarray)


def _at(content: Any, path: Path) -> Any:
    for key in path:
        if isinstance(content, Mapping):
            content = content.get(key)
        elif isinstance(content, Sequence) and not isinstance(content, str) and key < len(content):
            content = content[key]
        else:
            return None
    return content
