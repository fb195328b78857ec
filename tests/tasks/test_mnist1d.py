"""Task `mnist1d`: its data against the published file, its hyperparameters in force, and that it learns."""

import numpy as np
import pytest
import torch

from hpo.core.errors import OptionError
from hpo.core.registry import tasks
from hpo.core.seeding import forked_generators
from hpo.core.space import Categorical, Float, Int
from hpo.core.task import Batches, Examples
from hpo.tasks.mnist1d import ACTIVATIONS, AUGMENTATIONS, Mnist1d, shifted
from hpo.tasks.mnist1d_data import datasets

COMMON = {
    "weight_decay": 1e-4,
    "max_norm": 4.0,
    "activation": "gelu",
    "dropout": 0.0,
    "label_smoothing": 0.0,
    "augmentation": "noise",
    "shift": 3,
    "width": 32,
}
SGD = {"optimizer": "sgd", "lr": 0.06, "momentum": 0.95, "nesterov": True, **COMMON}
ADAMW = {"optimizer": "adamw", "lr": 0.01, "beta2": 0.99, **COMMON}
OTHER = {
    "lr": 0.004,
    "weight_decay": 1e-3,
    "max_norm": 0.5,
    "activation": "tanh",
    "dropout": 0.3,
    "label_smoothing": 0.1,
    "augmentation": "shear",
    "shift": 1,
}


def test_the_data_are_those_of_the_published_file():
    development, test = datasets()
    assert (development.inputs.shape, test.inputs.shape) == ((4000, 40), (1000, 40))
    # Read from mnist1d_data.pkl of the authors' repository.
    assert development.targets[:5].tolist() == [2, 6, 4, 5, 6]
    published = [-0.33200567, -0.4719105, -0.7786971, -1.009741]
    np.testing.assert_allclose(development.inputs[0, :4], published, atol=1e-6)
    counts = [np.bincount(part.targets).tolist() for part in (development, test)]
    assert counts[0] == [398, 396, 411, 394, 394, 402, 401, 404, 402, 398]
    assert np.sum(counts, axis=0).tolist() == [500] * 10
    both = np.concatenate([development.inputs, test.inputs]).astype(np.float64)
    assert (both.mean(), both.std()) == pytest.approx((0, 1), abs=1e-6)


def test_the_data_are_always_the_same():
    fingerprints = [part.fingerprint for part in datasets()]
    datasets.cache_clear()
    np.random.seed(1)
    assert [part.fingerprint for part in datasets()] == fingerprints
    assert fingerprints == [
        "ef3ad744a950b3c96598e5f9206883e29b82c70242cac9daf31ce8df30afe0d9",
        "6082ce239bb942854e7aacbed799ca31fd7a5e2e229886e260e1c556397a100a",
    ]


@pytest.mark.parametrize("hparams", [SGD, ADAMW], ids=lambda hparams: hparams["optimizer"])
def test_all_hyperparameters_are_in_force_and_read_back(hparams):
    task = Mnist1d()
    assert task.search_space.cast(hparams) == hparams
    arrays = task.to_arrays(task.initialize(hparams))
    other = {**hparams, **OTHER, **({"beta2": 0.95} if "beta2" in hparams else {"momentum": 0.85, "nesterov": False})}
    state = task.from_arrays(arrays, other)
    assert task.applied_hparams(state) == other
    group = state.optimizer.param_groups[0]
    assert (group["lr"], group["weight_decay"]) == (0.004, 1e-3)
    assert (
        group["betas"] == (0.9, 0.95) if "beta2" in other else (group["momentum"], group["nesterov"]) == (0.85, False)
    )
    assert state.model.drop.p == 0.3


def test_all_kinds_of_hyperparameters_may_change_in_training_and_two_are_held():
    space = Mnist1d().search_space
    assert space.held == {"optimizer", "width"}
    free = {name: parameter for name, parameter in space.items() if name not in space.held}
    kinds = {(type(parameter), getattr(parameter, "ordered", None)) for parameter in free.values()}
    assert kinds == {(Float, None), (Int, None), (Categorical, False), (Categorical, True)}
    assert set(space.active({"optimizer": "sgd"})) ^ set(space.active({"optimizer": "adamw"})) == {
        *("momentum", "nesterov", "beta2")
    }


def test_the_net_of_the_paper_at_width_25():
    net = Mnist1d().build_model({"width": 25})
    assert sum(parameter.numel() for parameter in net.parameters()) == 5210
    assert set(ACTIVATIONS) == set(Mnist1d().search_space["activation"].choices)


def test_a_shift_moves_each_signal_around_the_end():
    signals = torch.arange(40.0).repeat(500, 1)
    with forked_generators(1):
        moved = shifted(signals, 3)
    starts = moved[:, 0].int().tolist()
    assert {start if start < 20 else start - 40 for start in starts} == {-3, -2, -1, 0, 1, 2, 3}
    assert all(torch.equal(row, signals[0].roll(-start)) for row, start in zip(moved, starts, strict=True))
    assert shifted(signals, 0) is signals


def test_augmentations_change_what_they_say():
    signals = torch.linspace(1, 2, 40).repeat(200, 1)
    with forked_generators(1):
        made = {name: augment(signals) for name, augment in AUGMENTATIONS.items()}
    assert made["none"] is signals
    assert (made["noise"] - signals).std().item() == pytest.approx(0.2, rel=0.05)
    factors = made["scale"] / signals
    assert torch.allclose(factors, factors[:, :1])
    assert 0.8 <= factors.min() < 0.85
    assert 1.15 < factors.max() <= 1.2
    slopes = (made["shear"] - signals) / torch.linspace(-1, 1, 40)
    assert torch.allclose(slopes, slopes[:, :1], atol=1e-4)
    assert -1 <= slopes.min() < -0.9


def test_a_step_is_as_long_as_max_norm_lets_it():
    task = Mnist1d()
    h = {**SGD, "lr": 1.0, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0, "max_norm": 0.01}
    state = task.initialize(h)
    before = [parameter.detach().clone() for parameter in state.model.parameters()]
    task.train(state, h, Batches(task.development_data(), np.arange(100), 100, 0, 1))
    moved = [(new - old).detach().norm() for new, old in zip(state.model.parameters(), before, strict=True)]
    assert torch.stack(moved).norm().item() == pytest.approx(0.01, rel=1e-3)


def test_smoothed_targets_by_hand():
    task = Mnist1d()
    model = task.initialize({**SGD, "label_smoothing": 0.2, "dropout": 0.0}).model
    inputs, targets = task.development_data().take(np.arange(7))
    log_p = model(inputs).log_softmax(1)
    expected = -(0.8 * log_p[torch.arange(7), targets] + 0.2 * log_p.mean(1)).mean()
    assert task.loss(model, inputs, targets).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("name", ["optimizer", "activation", "augmentation"])
def test_a_choice_that_stands_for_nothing_is_refused(name):
    task = Mnist1d()
    h = {**SGD, name: "lion"}
    with pytest.raises(OptionError, match="lion") as caught:
        task.train(task.initialize(h), h, Batches(task.development_data(), np.arange(100), 100, 0, 1))
    assert caught.value.option == name


@pytest.mark.parametrize("hparams", [SGD, ADAMW], ids=lambda hparams: hparams["optimizer"])
def test_it_learns_from_the_segments_stream_alone(hparams):
    task = tasks.get("mnist1d")()
    data, found = task.development_data(), []
    for key, epochs in ((1, 8), (1, 1), (1, 1), (2, 1)):
        with task.numerics_scope(), forked_generators(0):
            state = task.initialize(hparams)
        with task.numerics_scope(), forked_generators(key):
            for epoch in range(epochs):
                order = np.random.default_rng(epoch).permutation(3000)
                state = task.train(state, hparams, Batches(data, order, 100, epoch, epoch + 1))
        found.append(task.evaluate(state, Examples(task.test_data(), np.arange(1000))))
    metrics, correct = found[0].metrics, found[0].correct
    assert metrics["error"] < 0.4
    assert metrics["error"] == metrics["error_count"] / 1000 == (~correct).mean()
    assert found[1].metrics == found[2].metrics != found[3].metrics


def test_a_restored_checkpoint_continues_as_if_it_had_never_stopped():
    task = Mnist1d()
    data = task.development_data()

    def epoch(state, number):
        with forked_generators(number):
            return task.train(state, ADAMW, Batches(data, np.arange(500), 100, number, number + 1))

    state = epoch(task.initialize(ADAMW), 0)
    restored = task.from_arrays(task.to_arrays(state), ADAMW)
    one, other = (task.to_arrays(epoch(each, 1)) for each in (state, restored))
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)
