"""Stacks of PyTorch members: the steps that each would take alone, whatever the other lanes hold."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np
import pytest
import torch
from annotated_types import Gt
from torch import nn
from torch_tasks import Blobs

from hpo.core.errors import HpoError, InputError
from hpo.core.seeding import Streams, forked_generators
from hpo.core.segments import HParams
from hpo.core.space import Categorical, Float, Int, SearchSpace
from hpo.core.task import Batches, Diverged, Lane, StackedTask
from hpo.tasks.digits import Digits
from hpo.tasks.images.mnist import Mnist
from hpo.tasks.torch import ArrayDataset, StackedSGD, TorchClassification, TorchTask

MEMBERS = [
    {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4, "dropout": 0.3, "width": 24},
    {"lr": 0.2, "momentum": 0.0, "weight_decay": 1e-2, "dropout": 0.0, "width": 24},
    {"lr": 0.01, "momentum": 0.5, "weight_decay": 1e-6, "dropout": 0.75, "width": 24},
    {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.0, "dropout": 0.1, "width": 24},
]
SIZES = [33, 57, 128, 100]
DIVERGES = {"lr": 1e6, "momentum": 0.9, "weight_decay": 0.1, "dropout": 0.0, "width": 24}
H = {"lr": 0.05, "momentum": 0.9}


@dataclass(frozen=True)
class Small(StackedSGD, TorchClassification):
    """Convolutions, batch norm and both kinds of dropout on noise of 8 × 8 points."""

    batch_size: Annotated[int, Gt(0)] = 16

    @property
    def search_space(self) -> SearchSpace:
        return SearchSpace({"lr": Float(1e-5, 1.0, log=True), "momentum": Float(0.0, 0.99)})

    def build_model(self, hparams: HParams) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 4, 3, bias=False),  # its gradient would be nothing but rounding, before batch norm
            nn.BatchNorm2d(4),
            nn.Dropout2d(0.2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(),
            nn.Linear(144, 3),
        )

    def development_data(self) -> ArrayDataset:
        rng = np.random.default_rng(0)
        return ArrayDataset(rng.standard_normal((200, 3, 8, 8), dtype=np.float32), rng.integers(3, size=200))


@dataclass(frozen=True)
class Channels(Small):
    """With 1 to 6 channels, padded to 6."""

    @property
    def search_space(self) -> SearchSpace:
        return SearchSpace({**super().search_space, "channels": Int(1, 6, fixed=True)})

    def build_model(self, hparams: HParams) -> nn.Module:
        channels = int(hparams["channels"])
        return nn.Sequential(
            nn.Conv2d(3, channels, 3, bias=False),
            nn.BatchNorm2d(channels),
            nn.Dropout2d(0.2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(),
            nn.Linear(36 * channels, 3),
        )

    def padded_hparams(self, hparams: HParams) -> HParams:
        return {**hparams, "channels": 6}


@dataclass(frozen=True)
class Biased(Channels):
    """With a bias before batch norm, whose gradient is nothing but rounding."""

    def build_model(self, hparams: HParams) -> nn.Module:
        model = super().build_model(hparams)
        model[0] = nn.Conv2d(3, int(hparams["channels"]), 3)
        return model


@dataclass(frozen=True)
class Fading(Small):
    """With a schedule for some of its members."""

    def learning_rate_schedule(self, hparams: HParams) -> Callable[[float], float] | None:
        return partial(pow, float(hparams["ratio"])) if "ratio" in hparams else None


def noise(member: int, interval: int) -> int:
    return Streams(0).key("noise", member=member, interval=interval)


def interval(task: TorchTask, k: int) -> Batches:
    """Return an interval of 170 examples: with batches of 50 or 16 the last one is short."""
    data = task.development_data()
    assert data is not None
    return Batches(data, np.random.default_rng(k).integers(len(data), size=170), task.batch_size, k, k + 1, 3.0)


def root(task: TorchTask, member: int, hparams: HParams) -> Mapping[str, Any]:
    with forked_generators(member):
        return task.to_arrays(task.initialize(hparams))


def alone(task: TorchTask, arrays: Mapping[str, Any], member: int, hparams: HParams, k: int) -> Mapping[str, Any]:
    with task.numerics_scope(), forked_generators(noise(member, k)):
        return task.to_arrays(task.train(task.from_arrays(arrays, hparams), hparams, interval(task, k)))


def together(
    task: StackedSGD, lanes: list[tuple[Mapping[str, Any], int, HParams] | None], k: int
) -> list[Mapping[str, Any] | None]:
    """Train a stack of (state, member, hyperparameters)."""
    with task.numerics_scope():
        filled = [
            None if lane is None else Lane(task.from_arrays(lane[0], lane[2]), lane[2], noise(lane[1], k))
            for lane in lanes
        ]
        trained = task.train_stacked(filled, interval(task, k))
        return [None if state is None else task.to_arrays(state) for state in trained]


def assert_close(found: Mapping[str, Any] | None, expected: Mapping[str, Any]) -> None:
    assert found is not None
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        difference = np.abs(found[name].astype(np.float64) - array).max(initial=0)
        assert difference <= 1e-4 * max(np.abs(array).max(initial=0), 1e-3), name


def assert_same_bits(a: Mapping[str, Any] | None, b: Mapping[str, Any] | None) -> None:
    assert a is not None
    assert b is not None
    assert a.keys() == b.keys()
    assert all(a[name].tobytes() == b[name].tobytes() for name in a)


def walk_both(task: StackedSGD, members: list[HParams], intervals: int = 3) -> None:
    """Train members alone and together, from the same weights, and compare."""
    lone = [root(task, member, hparams) for member, hparams in enumerate(members)]
    stacked: list[Any] = list(lone)
    for k in range(intervals):
        lone = [alone(task, lone[i], i, hparams, k) for i, hparams in enumerate(members)]
        stacked = together(task, [None, *((stacked[i], i, hparams) for i, hparams in enumerate(members))], k)
        assert stacked.pop(0) is None
    for found, expected, start in zip(stacked, lone, map(partial(root, task), range(9), members), strict=False):
        assert_close(found, expected)
        name = next(name for name in start if name.endswith("weight"))
        moved = np.abs(expected[name] - start[name]).max() / np.abs(start[name]).max()
        assert moved > 1e-3  # the steps are larger than what is let pass as rounding


def test_a_stack_takes_the_steps_that_its_members_take_alone_dropout_included() -> None:
    walk_both(Digits(), MEMBERS)


def test_and_so_with_convolutions_batch_norm_and_channels_dropped() -> None:
    walk_both(Small(), [H, {"lr": 0.01, "momentum": 0.0}, {"lr": 0.1, "momentum": 0.5}])


def test_and_so_with_models_of_different_sizes() -> None:
    walk_both(Digits(), [hparams | {"width": width} for hparams, width in zip(MEMBERS, SIZES, strict=True)])
    walk_both(Channels(), [H | {"channels": n} for n in (1, 3, 6)])


def test_a_lane_computes_the_same_whatever_the_sizes_of_the_others() -> None:
    task = Digits()
    sized = [hparams | {"width": width} for hparams, width in zip(MEMBERS, SIZES, strict=True)]
    starts = [root(task, member, hparams) for member, hparams in enumerate(sized)]
    for own in range(4):
        lane: tuple[Any, int, HParams] = (starts[own], own, sized[own])
        single = together(task, [lane if place == own else None for place in range(4)], 0)[own]
        full = together(task, [(starts[member], member, sized[member]) for member in range(4)], 0)[own]
        assert_same_bits(full, single)


def test_and_with_learning_rate_schedules_for_some() -> None:
    walk_both(Fading(), [H | {"ratio": 0.1}, H, H | {"ratio": 1.0}])
    task = Fading()
    start = root(task, 0, H)
    fading, constant = together(task, [(start, 0, H | {"ratio": 0.01}), (start, 0, H)], 2)
    assert fading is not None
    assert constant is not None
    assert np.abs(fading["model.6.weight"] - constant["model.6.weight"]).max() > 1e-3


def test_momentum_that_is_switched_off_is_kept_as_it_was_for_later() -> None:
    task = Digits()
    on = alone(task, root(task, 0, MEMBERS[0]), 0, MEMBERS[0], 0)
    off = MEMBERS[0] | {"momentum": 0.0}
    (found,) = together(task, [(on, 0, off)], 1)
    assert_close(found, alone(task, on, 0, off, 1))
    assert found is not None
    assert np.array_equal(found["optimizer.0.momentum_buffer"], on["optimizer.0.momentum_buffer"])


@pytest.mark.parametrize("lanes", [1, 3, 8, 13])
@pytest.mark.parametrize("width", [8, 17, 24])
def test_a_lane_does_not_see_what_the_others_hold(lanes: int, width: int) -> None:
    task = Digits()
    members = [hparams | {"width": width} for hparams in (*MEMBERS, DIVERGES)]
    starts = [root(task, member, hparams) for member, hparams in enumerate(members)]
    own = lanes // 2
    (member, hparams), start = (2, members[2]), starts[2]
    found = []
    for companions in ([], [0], [0, 1, 3], [4], [4, 0, 4, 3]):
        filled: list[Any] = [None] * lanes
        if companions:
            chosen = [companions[lane % len(companions)] for lane in range(lanes)]
            filled = [(starts[other], other, members[other]) for other in chosen]
        filled[own] = (start, member, hparams)
        found.append(together(task, filled, 0)[own])
    for other in found[1:]:
        assert_same_bits(other, found[0])
    repeated = together(task, [(start, 7, hparams) if lane == own else None for lane in range(lanes)], 0)[own]
    assert repeated is not None  # another member's noise is another result
    assert found[0] is not None
    assert repeated["model.0.weight"].tobytes() != found[0]["model.0.weight"].tobytes()


def test_neither_does_one_with_convolutions_and_batch_norm() -> None:
    task = Small()
    start = root(task, 1, H)
    wild = {"lr": 1e9, "momentum": 0.9}
    quiet = together(task, [None, None, (start, 1, H), None, None], 0)
    loud = together(task, [(root(task, 5, H), lane, wild if lane != 2 else H) for lane in range(2)]
                    + [(start, 1, H), (start, 3, wild), None], 0)  # fmt: skip
    assert_same_bits(loud[2], quiet[2])
    assert loud[0] is None


def test_a_lane_that_diverges_is_found_and_alone() -> None:
    task = Digits()
    starts = [root(task, member, MEMBERS[0]) for member in range(3)]
    with pytest.raises(Diverged):
        alone(task, starts[1], 1, DIVERGES, 0)
    found = together(task, [(starts[0], 0, MEMBERS[0]), (starts[1], 1, DIVERGES), (starts[2], 2, MEMBERS[0])], 0)
    assert [state is None for state in found] == [False, True, False]
    assert_close(found[2], alone(task, starts[2], 2, MEMBERS[0], 0))


def signature(task: StackedSGD, hparams: HParams) -> Any:
    return task.stack_signature(task.initialize(hparams), hparams)


def test_states_share_a_stack_if_nothing_but_rates_differs() -> None:
    assert signature(Digits(), MEMBERS[0]) == signature(Digits(), MEMBERS[2])
    assert signature(Digits(), MEMBERS[0]) == signature(Digits(), MEMBERS[0] | {"width": 8})  # padded
    assert signature(Digits(), MEMBERS[0]) != signature(Digits(), MEMBERS[0] | {"width": 33})
    assert signature(Leaky(), H | {"slope": 0.1}) == signature(Leaky(), {"lr": 0.1, "momentum": 0.1, "slope": 0.1})
    assert signature(Leaky(), H | {"slope": 0.1}) != signature(Leaky(), H | {"slope": 0.2})
    hash(signature(Small(), H))


@dataclass(frozen=True)
class Rows(StackedSGD, TorchClassification):
    """A small task to vary: three classes of eight numbers."""

    batch_size: Annotated[int, Gt(0)] = 16

    @property
    def search_space(self) -> SearchSpace:
        return SearchSpace({"lr": Float(1e-3, 1.0, log=True), "momentum": Float(0.1, 0.99)})

    def build_model(self, hparams: HParams) -> nn.Module:
        return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))

    def development_data(self) -> ArrayDataset:
        rng = np.random.default_rng(0)
        return ArrayDataset(rng.standard_normal((300, 8), dtype=np.float32), rng.integers(3, size=300))


@dataclass(frozen=True)
class Leaky(Rows):
    """With a slope that is a hyperparameter."""

    @property
    def search_space(self) -> SearchSpace:
        return SearchSpace({**super().search_space, "slope": Float(0.0, 0.5)})

    def build_model(self, hparams: HParams) -> nn.Module:
        return nn.Sequential(nn.Linear(8, 16), nn.LeakyReLU(float(hparams["slope"])), nn.Linear(16, 3))


@dataclass(frozen=True)
class Adaptive(Rows):
    def build_optimizer(self, model: nn.Module, hparams: HParams) -> torch.optim.Optimizer:
        return torch.optim.Adam(model.parameters())


@dataclass(frozen=True)
class Nesterov(Rows):
    def build_optimizer(self, model: nn.Module, hparams: HParams) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5, nesterov=True)


@dataclass(frozen=True)
class Clipped(Rows):
    def training_step(self, state: Any, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return super().training_step(state, inputs, targets)


@dataclass(frozen=True)
class Wide(Rows):
    """With a width whose padding suits no model with layer norm, nor one that is smaller."""

    norm: bool = True
    up: int = 16

    @property
    def search_space(self) -> SearchSpace:
        return SearchSpace({**super().search_space, "width": Int(4, 12, fixed=True)})

    def build_model(self, hparams: HParams) -> nn.Module:
        width = int(hparams["width"])
        norm = nn.LayerNorm(width) if self.norm else nn.Identity()
        return nn.Sequential(nn.Linear(8, width), norm, nn.ReLU(), nn.Linear(width, 3))

    def padded_hparams(self, hparams: HParams) -> HParams:
        return {**hparams, "width": self.up}


@dataclass(frozen=True)
class Shifted(Wide):
    """Units that would not stay zero if they were padding: their outputs are not zero where their inputs are."""

    def build_model(self, hparams: HParams) -> nn.Module:
        width = int(hparams["width"])
        return nn.Sequential(nn.Linear(8, width), nn.Sigmoid(), nn.Linear(width, 3))


@dataclass(frozen=True)
class Moody(Wide):
    """With units that some members may have, and that padding suits not."""

    @property
    def search_space(self) -> SearchSpace:
        units = Categorical(("relu", "sigmoid"), fixed=True)
        return SearchSpace({**super().search_space, "units": units})

    def build_model(self, hparams: HParams) -> nn.Module:
        width, units = int(hparams["width"]), {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}[str(hparams["units"])]
        return nn.Sequential(nn.Linear(8, width), units(), nn.Linear(width, 3))


@dataclass(frozen=True)
class Deeper(Wide):
    """Its padded model has a layer more."""

    def build_model(self, hparams: HParams) -> nn.Module:
        model = Wide(norm=False).build_model({**hparams, "width": 8})
        if hparams["width"] == self.up:
            model.append(nn.Linear(3, 3))
        return model


class Noisy(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + torch.randn(3)


@dataclass(frozen=True)
class Drawing(Rows):
    def build_model(self, hparams: HParams) -> nn.Module:
        return Noisy(8, 3)


@dataclass(frozen=True)
class Alpha(Rows):
    def build_model(self, hparams: HParams) -> nn.Module:
        return nn.Sequential(nn.Linear(8, 16), nn.AlphaDropout(0.1), nn.Linear(16, 3))


@dataclass(frozen=True)
class Frozen(Rows):
    def build_model(self, hparams: HParams) -> nn.Module:
        model = nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 3))
        model[0].requires_grad_(False)
        return model


@dataclass(frozen=True)
class Idle(Rows):
    def build_model(self, hparams: HParams) -> nn.Module:
        model = nn.Sequential(nn.Linear(8, 3))
        model.register_parameter("spare", nn.Parameter(torch.zeros(3)))
        return model


@dataclass(frozen=True)
class StackedBlobs(StackedSGD, Blobs):
    """Its base overrides `train`."""


@pytest.mark.parametrize(
    ("task", "why"),
    [
        (Adaptive(), "Adam with 1 parameter groups: only SGD with one can be stacked"),
        (Nesterov(), "SGD with nesterov = True: only plain SGD"),
        (Clipped(), "Clipped overrides training_step: to be stacked it must override train_stacked too"),
        (StackedBlobs(), "StackedBlobs overrides train: to be stacked it must override train_stacked too"),
        (Drawing(), "Drawing cannot be stacked: .*random"),
        (Alpha(), "AlphaDropout cannot be stacked: only nn.Dropout, 1d, 2d and 3d can"),
        (Frozen(), r"frozen parameters, 0\.weight, 0\.bias"),
        (Wide(), "the padded model has another loss: padded_hparams does not suit the model"),
        (Wide(norm=False, up=3), r"a tensor of shape \(\d+, 8\) does not fit into \(3, 8\) of the padded model"),
        (Shifted(), r"the padding of 2\.weight gets a gradient: padded_hparams does not suit the model"),
        (Moody(), r"the padding of 2\.weight gets a gradient"),
        (Deeper(), "the padded model has another loss"),
        (Idle(), "a parameter takes no part in the loss"),
    ],
)
def test_what_cannot_be_stacked_is_refused_before_anything_starts(task: StackedSGD, why: str) -> None:
    with pytest.raises(InputError, match=why):
        task.check_stacked()


def test_what_can_is_not() -> None:
    state = torch.get_rng_state()
    for task in (Rows(), Leaky(), Digits(), Small(), Fading(), Channels(), Biased(), Wide(norm=False)):
        task.check_stacked()
    assert torch.equal(torch.get_rng_state(), state)
    assert isinstance(Digits(), StackedTask)
    assert not isinstance(Mnist(), StackedTask)


def test_tasks_without_data_are_told_so() -> None:
    with pytest.raises(HpoError, match="gives no data"):
        Digits().train_stacked([], range(3))
