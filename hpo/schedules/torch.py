"""Schedules in any PyTorch training loop: a scheduler that sets any key of an optimizer's parameter groups."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from hpo.core.errors import OptionError, did_you_mean
from hpo.core.segments import ShrinkPerturb
from hpo.schedules.schedule import Length, Schedule, as_fraction
from hpo.tasks.torch.param_groups import shares


class ScheduleLR(LRScheduler):
    """Sets the parameter groups of an optimizer from a schedule; call `step()` after every training step.

    Before training step t (from 0) the groups have the schedule's values at t / steps_per_unit; after its end, the last values.
    A group that was built with its own value keeps it, and for a learning rate its ratio to the optimizer's, as in a study
    (`hpo.tasks.torch.param_groups.shares`). So build the scheduler before loading the optimizer's state. The scheduler's own
    state is plain numbers without the schedule: build it with the same schedule before `load_state_dict`.

    Args:
        optimizer: the optimizer; its parameter groups are set now and at each `step()`.
        schedule: hyperparameters over time.
        steps_per_unit: training steps in one unit of the schedule; for example batches per epoch, if the unit is epochs.
        parameters: hyperparameter -> key of the parameter groups, such as `{"lr": "lr"}`; None: all hyperparameters that have the
            name of a key. Numbers and booleans, such as SGD's `nesterov`, can be set.
        transform: changes the weights, with `hpo.shrink_perturb`; `step()` calls it where the schedule does so. Required if the
            schedule has weight transforms.

    Raises:
        OptionError: a hyperparameter is missing in an interval or is a text, a key is in no group, there is nothing to set, or
            `transform` is missing.
        HpoError: all groups have their own values for a key.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedule: Schedule,
        *,
        steps_per_unit: Length,
        parameters: Mapping[str, str] | None = None,
        transform: Callable[[ShrinkPerturb], None] | None = None,
    ) -> None:
        if transform is None and (due := schedule.transformed_at):
            raise OptionError(
                "transform", None, f"a function that changes the weights at {due}; see hpo.shrink_perturb"
            )
        self._transform, self._transforms = transform, schedule.transforms or (None,) * len(schedule)
        keys = set.intersection(*(set(group) for group in optimizer.param_groups)) - {"params"}
        if parameters is None:
            parameters = {name: name for name in schedule.names if name in keys}
        if not parameters:
            raise OptionError("parameters", {}, f"some of {', '.join(schedule.names)}, each with one of {_list(keys)}")
        for key in parameters.values():
            if key not in keys:
                near = did_you_mean(key, keys)
                raise OptionError("parameters", key, f"one of {_list(keys)}" + (f" ({near})" if near else ""))
        self._values = {key: schedule.numbers(name, booleans=True) for name, key in parameters.items()}
        groups = [group | {"lr": group.get("initial_lr", group["lr"])} for group in optimizer.param_groups]
        self._shares = {key: shares(groups, optimizer.defaults, key, values[0]) for key, values in self._values.items()}
        self._steps_per_interval = as_fraction(steps_per_unit, "steps_per_unit") * schedule.interval
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """Return each group's learning rate at the current step: the schedule's, or the group's own."""
        return [self._of(group, "lr", index) for index, group in enumerate(self.optimizer.param_groups)]

    def step(self, epoch: int | None = None) -> None:
        """Advance by one training step; transform the weights if an interval begins that says so."""
        before = self._interval
        super().step(epoch)
        self._put()
        for due in self._transforms[before + 1 : self._interval + 1]:
            if due is not None and self._transform is not None:
                self._transform(due)

    def state_dict(self) -> dict[str, Any]:
        """Return the state, without the schedule."""
        return {name: value for name, value in super().state_dict().items() if name not in _OWN}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state, and set the values of its step."""
        super().load_state_dict({name: value for name, value in state_dict.items() if name not in _OWN})
        self._put()

    def _put(self) -> None:
        for key in self._values:
            for index, group in enumerate(self.optimizer.param_groups):
                value = self._of(group, key, index)
                if isinstance(group[key], Tensor):
                    group[key].fill_(value)
                else:
                    group[key] = value

    def _of(self, group: Mapping[str, Any], key: str, index: int) -> Any:
        """Return a group's current value: the schedule's, its share of it, or the present one if it is not scheduled."""
        return self._shares[key][index].of(self._now(key), group[key]) if key in self._values else group[key]

    def _now(self, key: str) -> float:
        return self._values[key][self._interval]

    @property
    def _interval(self) -> int:
        return min(int(max(self.last_epoch, 0) / self._steps_per_interval), len(self._transforms) - 1)


_OWN = ("_values", "_shares", "_steps_per_interval", "_transform", "_transforms")


def torch_scheduler(
    optimizer: Optimizer,
    schedule: Schedule,
    *,
    steps_per_unit: Length,
    parameters: Mapping[str, str] | None = None,
    transform: Callable[[ShrinkPerturb], None] | None = None,
) -> ScheduleLR:
    """Return a learning rate scheduler that follows a schedule; for the arguments see `ScheduleLR`."""
    return ScheduleLR(optimizer, schedule, steps_per_unit=steps_per_unit, parameters=parameters, transform=transform)


def _list(keys: set[str]) -> str:
    return ", ".join(sorted(keys))
