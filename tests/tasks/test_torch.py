"""TorchTask: checkpoints, layouts, hyperparameters, divergence, evaluation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pytest
import torch
from annotated_types import Gt
from torch import nn

from hpo.core.errors import HpoError
from hpo.core.seeding import forked_generators
from hpo.core.segments import HParams
from hpo.core.space import Float, SearchSpace
from hpo.core.task import Batches, Diverged, Examples
from hpo.tasks.torch import ArrayDataset, TorchClassification, TorchState


@dataclass(frozen=True)
class Small(TorchClassification):
    """Conv net with batch norm and both kinds of dropout on 8 × 8 noise."""

    batch_size: Annotated[int, Gt(0)] = 16
    optimizer: str = "sgd"

    @property
    def search_space(self) -> SearchSpace:
        return SearchSpace({"lr": Float(1e-5, 1.0, log=True), "momentum": Float(0.0, 0.99)})

    def build_model(self, hparams: HParams) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 4, 3),
            nn.BatchNorm2d(4),
            nn.Dropout2d(0.2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(),
            nn.Linear(144, 3),
        )

    def build_optimizer(self, model: nn.Module, hparams: HParams) -> torch.optim.Optimizer:
        if self.optimizer == "adam":
            return torch.optim.Adam(model.parameters(), weight_decay=0.1)
        if self.optimizer == "unfused":
            return torch.optim.SGD(model.parameters(), lr=1.0)
        return super().build_optimizer(model, hparams)

    def development_data(self) -> ArrayDataset:
        rng = np.random.default_rng(0)
        return ArrayDataset(rng.standard_normal((200, 3, 8, 8), dtype=np.float32), rng.integers(3, size=200))


H = {"lr": 0.05, "momentum": 0.9}


def interval(task: Small, k: int) -> Batches:
    # 70 examples: four batches of 16 and a short one.
    return Batches(task.development_data(), np.arange(70 * k, 70 * k + 70) % 200, 16, k, k + 1)


def root(task: Small, hparams: HParams = H) -> TorchState:
    with forked_generators(1):
        return task.initialize(hparams)


def train(task: Small, state: TorchState, k: int, hparams: HParams = H) -> TorchState:
    with forked_generators(100 + k):
        return task.train(state, hparams, interval(task, k))


def same(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and np.array_equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("optimizer", ["sgd", "unfused", "adam"])
def test_a_restored_state_trains_on_bit_for_bit(optimizer: str) -> None:
    task = Small(optimizer=optimizer)
    straight = train(task, root(task), 0)
    saved = task.to_arrays(straight)
    for array in saved.values():
        array.flags.writeable = False
    straight = train(task, straight, 1)
    with forked_generators(101):  # restored inside the segment's fork, as the engine does
        restored = task.train(task.from_arrays(saved, H), H, interval(task, 1))
    assert same(task.to_arrays(straight), task.to_arrays(restored))
    assert not same(saved, task.to_arrays(restored))
    names = {"sgd": {"momentum_buffer"}, "unfused": {"momentum_buffer"}, "adam": {"step", "exp_avg", "exp_avg_sq"}}
    assert {name.split(".", 2)[2] for name in saved if name.startswith("optimizer.")} == names[optimizer]
    assert "model.1.num_batches_tracked" in saved


def test_the_fused_optimizer_steps_as_the_plain_one_does() -> None:
    fused, plain = (train(t, root(t), 0) for t in (Small(), Small(optimizer="unfused")))
    for a, b in zip(fused.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_arrays_are_contiguous_copies_and_the_layout_is_restored() -> None:
    task = Small()
    state = train(task, root(task), 0)
    arrays = task.to_arrays(state)
    assert all(array.flags.c_contiguous and array.flags.owndata for array in arrays.values())
    before = {name: array.copy() for name, array in arrays.items()}
    train(task, state, 1)
    assert same(arrays, before)
    restored = task.from_arrays(arrays, H)
    train(task, restored, 1)
    assert same(arrays, before)
    weight = restored.model.get_parameter("0.weight")
    buffer = restored.optimizer.state[weight]["momentum_buffer"]
    assert weight.stride() == state.model.get_parameter("0.weight").stride() == (27, 1, 9, 3)
    assert buffer.stride() == (27, 1, 9, 3)


def test_hyperparameters_are_applied_after_a_restore_and_read_back() -> None:
    task = Small()
    arrays = task.to_arrays(train(task, root(task), 0))
    asked = {"lr": 0.06, "momentum": 0.5, "width": 3}
    state = task.from_arrays(arrays, asked)
    assert state.optimizer.param_groups[0]["lr"] == 0.06
    assert task.applied_hparams(state) == {"lr": 0.06, "momentum": 0.5}


def test_divergence() -> None:
    task = Small()
    with pytest.raises(Diverged, match="loss"):
        train(task, root(task), 0, {"lr": 1e38, "momentum": 0.9})
    # The last step alone makes a parameter infinite: no loss has seen it.
    batches = Batches(task.development_data(), np.arange(16), 16, 0, 1)
    with pytest.raises(Diverged, match="weight"):
        task.train(root(task), {"lr": float("inf"), "momentum": 0.0}, batches)


def test_non_finite_outputs_are_wrong() -> None:
    task = Small()
    state = root(task)
    data = task.development_data()
    found = task.evaluate(state, Examples(data, np.arange(150)))
    errors = found.metrics["error_count"]
    assert isinstance(errors, int)
    assert isinstance(found.metrics["count"], int)
    assert found.correct is not None
    assert found.metrics["error"] == errors / 150 == 1 - found.correct.mean()
    assert not same(task.to_arrays(state), task.to_arrays(train(task, root(task), 0)))
    data.inputs[7] = float("nan")
    data.targets[7] = 0  # where argmax of NaNs points
    broken = task.evaluate(state, Examples(data, np.arange(150)))
    assert broken.correct is not None
    assert not broken.correct[7]
    assert np.array_equal(np.delete(broken.correct, 7), np.delete(found.correct, 7))
    assert np.isnan(broken.metrics["loss"])


def test_evaluation_does_not_depend_on_the_batch_size_or_change_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Small()
    state = train(task, root(task), 0)
    before = task.to_arrays(state)
    data = Examples(task.development_data(), np.arange(199)[::-1].copy())
    whole = task.evaluate(state, data)
    monkeypatch.setattr(Small, "evaluation_batch_size", 7)
    parts = task.evaluate(state, data)
    assert np.array_equal(whole.correct, parts.correct)  # type: ignore[arg-type]
    assert whole.metrics["loss"] == pytest.approx(parts.metrics["loss"])
    assert same(before, task.to_arrays(state))


def test_a_checkpoint_of_another_model_is_refused() -> None:
    task = Small()
    arrays = task.to_arrays(root(task))
    with pytest.raises(HpoError, match=r"model\.0\.bias"):
        task.from_arrays({name: array for name, array in arrays.items() if name != "model.0.bias"}, H)
    with pytest.raises(HpoError, match="shape"):
        task.from_arrays(arrays | {"model.0.bias": np.zeros(5, dtype=np.float32)}, H)


def test_modes_are_in_force_inside_the_scope_and_put_back() -> None:
    task = Small()
    tiny = torch.tensor(1e-30), torch.tensor(1e-10)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    with task.numerics_scope():
        assert torch.get_num_threads() == 1
        assert tiny[0] * tiny[1] == 0
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)
    assert tiny[0] * tiny[1] > 0
    numerics = task.numerics()
    assert numerics["threads"] == "1"
    assert numerics["memory_format"] == "channels_last"
    assert all(isinstance(value, str) for value in numerics.values())


def test_array_datasets_know_their_content() -> None:
    x, y = np.eye(3, dtype=np.float32), np.arange(3)
    data = ArrayDataset(x, torch.tensor(y))
    assert len(data) == 3
    inputs, targets = data.take(np.array([2, 0]))
    assert targets.tolist() == [2, 0]
    assert inputs.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert data.fingerprint == ArrayDataset(torch.tensor(x), y).fingerprint
    assert data.fingerprint != ArrayDataset(x * 2, y).fingerprint
    assert ArrayDataset(x, y, "mine").fingerprint == "mine"
    with pytest.raises(ValueError, match="2 targets"):
        ArrayDataset(x, y[:2])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("writable", [True, False])
def test_examples_are_taken_by_any_indices_without_a_warning(writable: bool) -> None:
    data = ArrayDataset(np.arange(5, dtype=np.float32), np.arange(5))
    for indices in (np.array([4, 0, 2]), np.arange(6)[4::-2], np.array([], dtype=np.int64)):
        indices.flags.writeable = writable
        inputs, targets = data.take(indices)
        assert inputs.tolist() == targets.tolist() == indices.tolist()
