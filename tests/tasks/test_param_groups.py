"""Hyperparameters and parameter groups with values of their own, in tasks and in `torch_scheduler`."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW

import hpo
from hpo.core.errors import HpoError
from hpo.core.seeding import forked_generators
from hpo.schedules.schedule import Schedule
from hpo.tasks.torch import ArrayDataset, TorchClassification
from hpo.tasks.torch.param_groups import own_options

H = {"lr": 0.25, "weight_decay": 0.125, "momentum": 0.5}


@dataclass(frozen=True)
class Grouped(TorchClassification):
    """A linear model, its weights and its bias in two groups.

    Args:
        build: makes the optimizer of (weights, biases, hparams).
    """

    build: Any = None

    search_space = hpo.SearchSpace({"lr": hpo.Float(1e-4, 1.0), "weight_decay": hpo.Float(0.0, 1.0)})

    def build_model(self, hparams):
        return nn.Linear(4, 3)

    def build_optimizer(self, model, hparams):
        return self.build(model.weight, model.bias, hparams)

    def development_data(self):
        return ArrayDataset(torch.randn(20, 4), torch.arange(20) % 3)


def plain(weights, biases, hparams):
    return SGD([weights, biases], lr=1e-3)


def without_decay(weights, biases, hparams):
    return SGD([{"params": weights}, {"params": biases, "weight_decay": 0.0}], lr=1e-3)


def without_decay_adamw(weights, biases, hparams):
    return AdamW([{"params": weights}, {"params": biases, "weight_decay": 0.0}])


def decay_where_given(weights, biases, hparams):
    return SGD([{"params": weights, "weight_decay": hparams["weight_decay"]}, {"params": biases}], lr=hparams["lr"])


def both_groups_written_out(weights, biases, hparams):
    groups = [{"params": weights, "weight_decay": hparams["weight_decay"]}, {"params": biases, "weight_decay": 0.0}]
    return AdamW(groups, lr=hparams["lr"])


def one_constant_decay(weights, biases, hparams):
    return SGD([{"params": weights, "weight_decay": 0.0625}, {"params": biases}], lr=1e-3)


def faster_head(weights, biases, hparams):
    return Adam([{"params": weights}, {"params": biases, "lr": 1e-2}])  # ten times Adam's 1e-3


def faster_head_by_hparams(weights, biases, hparams):
    return SGD([{"params": weights}, {"params": biases, "lr": 3 * hparams["lr"]}], lr=hparams["lr"])


def frozen_head(weights, biases, hparams):
    return SGD([{"params": weights}, {"params": biases, "lr": 0.0}], lr=1e-3)


def one_group_with_values(weights, biases, hparams):
    return SGD([{"params": [weights, biases], "lr": 7.0, "weight_decay": 3.0}])


def equal_groups(weights, biases, hparams):
    return SGD([{"params": weights, "lr": 7.0}, {"params": biases, "lr": 7.0}])


def own_momentum(weights, biases, hparams):
    return SGD([{"params": weights}, {"params": biases, "momentum": 0.75}], lr=1e-3)


def tensor_rates(weights, biases, hparams):
    rate, fast = torch.tensor(0.125), torch.tensor(0.5)
    return SGD([{"params": weights}, {"params": biases, "lr": fast}], lr=rate, foreach=False)


CASES = {
    plain: {"lr": [0.25], "weight_decay": [0.125], "momentum": [0.5]},
    without_decay: {"lr": [0.25, 0.25], "weight_decay": [0.125, 0.0], "momentum": [0.5, 0.5]},
    without_decay_adamw: {"lr": [0.25, 0.25], "weight_decay": [0.125, 0.0]},
    decay_where_given: {"lr": [0.25, 0.25], "weight_decay": [0.125, 0.0]},
    both_groups_written_out: {"lr": [0.25, 0.25], "weight_decay": [0.125, 0.0]},
    one_constant_decay: {"lr": [0.25, 0.25], "weight_decay": [0.0625, 0.125]},
    faster_head: {"lr": [0.25, 2.5], "weight_decay": [0.125, 0.125]},
    faster_head_by_hparams: {"lr": [0.25, 0.75], "weight_decay": [0.125, 0.125]},
    frozen_head: {"lr": [0.25, 0.0]},
    one_group_with_values: {"lr": [0.25], "weight_decay": [0.125]},
    equal_groups: {"lr": [0.25, 0.25]},
    own_momentum: {"momentum": [0.5, 0.75]},
    tensor_rates: {"lr": [0.25, 1.0]},
}


@pytest.mark.parametrize("build", CASES, ids=lambda build: build.__name__)
def test_what_a_group_sets_itself_is_kept(build):
    """Fault 23: groups with a weight decay of their own keep it, and learning rates keep their ratio; after a restore, too.

    Another member's checkpoint brings its values to no group (ray#62173): what is in force are the asked-for values.
    """
    task = Grouped(build=build)
    with forked_generators(0):
        other = task.initialize({"lr": 0.5, "weight_decay": 0.25, "momentum": 0.9})
    for state in (task.initialize(H), task.from_arrays(task.to_arrays(other), H)):
        groups = state.optimizer.param_groups
        found = {name: [float(group[name]) for group in groups] for name in CASES[build]}
        assert found == {name: pytest.approx(values) for name, values in CASES[build].items()}
        applied = task.applied_hparams(state)
        assert applied == {name: H[name] for name in applied}
        assert applied.keys() >= CASES[build].keys()


def test_groups_of_which_none_takes_the_hyperparameter_are_refused():
    """Fault 23: two groups with constants of their own: which of them is the searched decay for? Neither is overwritten."""

    def constants(weights, biases, hparams):
        return SGD([{"params": weights, "weight_decay": 0.01}, {"params": biases, "weight_decay": 0.001}], lr=1e-3)

    with pytest.raises(HpoError, match=r"weight_decay to 0\.01 and 0\.001 "):
        Grouped(build=constants).initialize(H)


@pytest.mark.parametrize(
    ("own", "found"),
    [
        ({}, set()),
        ({"weight_decay": 0}, {"weight_decay"}),
        ({"lr": 0.1, "weight_decay": 0}, {"lr", "weight_decay"}),
        ({"weight_decay": 0, "lr": 0.2}, {"lr", "weight_decay"}),
        ({"lr": 0.2}, {"lr"}),
        ({"name": "head"}, {"name"}),
        ({"nesterov": False, "momentum": 0}, {"nesterov", "momentum"}),
    ],
)
def test_options_that_a_group_sets_itself_are_told_from_defaults(own, found):
    """Even where they equal the default: PyTorch adds defaults behind the keys of a group's own dict."""
    weights = nn.Parameter(torch.ones(1))
    optimizer = SGD([{"params": weights, **own}], lr=0.1)
    assert own_options(optimizer.param_groups[0], optimizer.defaults) == found
    optimizer.load_state_dict(optimizer.state_dict())
    assert own_options(optimizer.param_groups[0], optimizer.defaults) == found


SCHEDULE = Schedule.of([(1, {"lr": 0.25, "weight_decay": 0.125}), (1, {"lr": 0.5, "weight_decay": 0.25})], "epochs")


def test_torch_scheduler_keeps_what_a_group_sets_itself():
    """Fault 23, sibling: a schedule in somebody's own loop leaves a bias without decay, and a faster head faster."""
    weights, biases = (nn.Parameter(torch.ones(1)) for _ in range(2))
    groups = [{"params": weights}, {"params": biases, "weight_decay": 0.0, "lr": 0.2}]
    optimizer = SGD(groups, lr=0.1)
    scheduler = hpo.torch_scheduler(optimizer, SCHEDULE, steps_per_unit=1)
    for rate, decay in ((0.25, 0.125), (0.5, 0.25)):
        assert [group["weight_decay"] for group in optimizer.param_groups] == [decay, 0.0]
        assert [group["lr"] for group in optimizer.param_groups] == [rate, pytest.approx(2 * rate)]
        optimizer.step()
        scheduler.step()


def test_torch_scheduler_finds_the_ratio_of_rates_in_a_loaded_optimizer():
    """The optimizer's state may have been loaded before the scheduler is built: its groups name the rates that they began with."""

    def built():
        weights, biases = (nn.Parameter(torch.ones(1)) for _ in range(2))
        return SGD([{"params": weights}, {"params": biases, "lr": 0.2}], lr=0.1)

    optimizer = built()
    scheduler = hpo.torch_scheduler(optimizer, SCHEDULE, steps_per_unit=1, parameters={"lr": "lr"})
    optimizer.step()
    scheduler.step()
    again = built()
    again.load_state_dict(optimizer.state_dict())
    resumed = hpo.torch_scheduler(again, SCHEDULE, steps_per_unit=1, parameters={"lr": "lr"})
    resumed.load_state_dict(scheduler.state_dict())
    assert [group["lr"] for group in again.param_groups] == [0.5, pytest.approx(1.0)]


def test_torch_scheduler_refuses_groups_of_which_none_takes_the_schedule():
    weights, biases = (nn.Parameter(torch.ones(1)) for _ in range(2))
    optimizer = SGD([{"params": weights, "lr": 1.0}, {"params": biases, "lr": 2.0}], lr=0.1)
    with pytest.raises(HpoError, match="lr to"):
        hpo.torch_scheduler(optimizer, SCHEDULE, steps_per_unit=1)
