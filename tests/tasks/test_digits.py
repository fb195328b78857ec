"""Task `digits`: its split, its hyperparameters in force, and that it learns."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from hpo.core.errors import HpoError
from hpo.core.registry import tasks
from hpo.core.seeding import forked_generators
from hpo.core.task import Batches, Examples
from hpo.tasks.digits import Digits

H = {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-5, "dropout": 0.1, "width": 32}


def test_the_split_is_disjoint_complete_and_stratified():
    development, test = Digits().development_data(), Digits().test_data()
    assert (len(development), len(test)) == (1297, 500)
    pixels, labels = load_digits(return_X_y=True)
    both = np.concatenate([development.inputs.numpy(), test.inputs.numpy()]) * 16
    assert sorted(map(bytes, both.astype(np.uint8))) == sorted(map(bytes, pixels.astype(np.uint8)))
    exact = np.bincount(labels) * 500 / 1797
    assert np.abs(np.bincount(test.targets.numpy()) - exact).max() < 1
    assert development.fingerprint != test.fingerprint
    assert float(development.inputs.max()) == 1.0


@pytest.mark.parametrize("width", [8, 17, 128])
def test_the_width_shapes_the_model(width):
    state = Digits().initialize({**H, "width": width})
    parameters = sum(parameter.numel() for parameter in state.model.parameters())
    assert parameters == (64 + 1) * width + (width + 1) * width + (width + 1) * 10


def test_all_hyperparameters_are_in_force_and_read_back():
    task = Digits()
    assert set(task.search_space) == set(H)
    assert [name for name, parameter in task.search_space.items() if parameter.fixed] == ["width"]
    arrays = task.to_arrays(task.initialize(H))
    other = {"lr": 0.3, "momentum": 0.2, "weight_decay": 1e-3, "dropout": 0.6, "width": 32}
    state = task.from_arrays(arrays, other)
    assert task.applied_hparams(state) == other
    assert state.optimizer.param_groups[0]["weight_decay"] == 1e-3
    assert [layer.p for layer in state.model if hasattr(layer, "p")] == [0.6, 0.6]


def test_a_checkpoint_of_another_width_is_refused():
    task = Digits()
    with pytest.raises(HpoError, match="shape"):
        task.from_arrays(task.to_arrays(task.initialize(H)), {**H, "width": 33})


def test_it_learns_and_dropout_draws_from_the_segments_stream():
    task = tasks.get("digits")()
    data = task.development_data()
    found = []
    for key in (1, 1, 2):
        with task.numerics_scope(), forked_generators(0):
            state = task.initialize(H)
        with task.numerics_scope(), forked_generators(key):
            for epoch in range(10):
                order = np.random.default_rng(epoch).permutation(1000)
                state = task.train(state, H, Batches(data, order, 50, epoch, epoch + 1))
        found.append(task.evaluate(state, Examples(task.test_data(), np.arange(500))))
    metrics, correct = found[0].metrics, found[0].correct
    assert metrics["error"] < 0.1
    assert metrics["error_count"] == (~correct).sum()
    assert metrics["error"] == metrics["error_count"] / metrics["count"]
    assert found[1].metrics == metrics
    assert found[2].metrics != metrics
