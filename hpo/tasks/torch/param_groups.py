"""Sets a hyperparameter in the parameter groups of an optimizer, some of which may have values of their own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from hpo.core.errors import HpoError

Group = Mapping[str, Any]


@dataclass(frozen=True)
class Share:
    """What one parameter group gets of a hyperparameter.

    Args:
        follows: whether it gets the value unchanged.
        scale: otherwise, for a learning rate, (built, reference): the group's own rate, and the rate that it is relative to.
    """

    follows: bool
    scale: tuple[float, float] | None = None

    @property
    def changes(self) -> bool:
        """Whether the hyperparameter changes the group's value."""
        return self.follows or self.scale is not None

    def of(self, value: Any, present: Any) -> Any:
        """Return the value that a group is to hold.

        Args:
            value: of the hyperparameter.
            present: what the group holds now; kept where the group has a value of its own.
        """
        if self.follows:
            return value
        if self.scale is None:
            return present
        built, reference = self.scale
        return built if value == reference else value * (built / reference)


def shares(groups: Sequence[Group], defaults: Group, name: str, value: Any) -> tuple[Share, ...]:
    """Return what each of the parameter groups that have an option gets of the hyperparameter of that name.

    - If the groups agree, and all or none of them set the option in their own dict, all of them get the value.
    - If some were built with the value itself, these get it, and the others keep what they hold.
    - Otherwise the groups that took the optimizer's default get it. A group that sets the option itself keeps its value: a
      learning rate in its ratio to the default, any other option unchanged.

    Args:
        groups: parameter groups, as the optimizer was built with them.
        defaults: of the optimizer.
        name: an option of some of the groups.
        value: of the hyperparameter that the optimizer may have been built with.

    Raises:
        HpoError: all groups set the option themselves, differently, and none to the value.
    """
    groups = [group for group in groups if name in group]
    default = _plain(defaults.get(name))
    held = [_plain(group[name]) for group in groups]
    own = [name in own_options(group, defaults) for group in groups]
    same = all(each == held[0] for each in held)
    if same and (all(own) or not any(own)):
        return (Share(follows=True),) * len(groups)
    built_with = any(each == value for each, is_own in zip(held, own, strict=True) if is_own)
    follow = [each == value if built_with else not is_own for each, is_own in zip(held, own, strict=True)]
    if not any(follow):
        raise HpoError(
            f"the optimizer's parameter groups set {name} to {' and '.join(map(str, held))} themselves, so no group takes the"
            f" hyperparameter {name}. Leave {name} out of the groups that should take it, or build them with its value"
            f" ({value!r})"
        )
    reference = value if built_with else default
    is_rate = name == "lr" and isinstance(reference, (int, float)) and reference > 0
    return tuple(
        Share(follows, (float(each), float(reference)) if is_rate and not follows else None)
        for each, follows in zip(held, follow, strict=True)
    )


def own_options(group: Group, defaults: Mapping[str, Any]) -> frozenset[str]:
    """Return the options that a parameter group sets itself.

    PyTorch appends the optimizer's defaults, in their order, to the keys of a group's own dict. So keys before them are the
    group's own, and so are options that differ from the default or have none.
    """
    keys = [key for key in group if key in defaults]
    first = next(count for count in range(len(keys) + 1) if _is_rest(keys[count:], keys[:count], defaults))
    other = {key for key in group if key not in defaults or _plain(group[key]) != _plain(defaults[key])}
    return frozenset(other.union(keys[:first]) - {"params"})


def _is_rest(keys: Sequence[str], before: Sequence[str], defaults: Mapping[str, Any]) -> bool:
    return list(keys) == [key for key in defaults if key not in before]


def _plain(value: Any) -> Any:
    """Return a number for a tensor that holds one."""
    return value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
