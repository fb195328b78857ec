"""The try before a study starts: batches of one, unusual models, and what is counted."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import RANDOM, document, results, run
from torch import nn
from tried_tasks import Points, points, registered, space, task, tried

import hpo
from hpo import Categorical, Float, Int
from hpo.core.errors import InputError
from hpo.core.task import Batches
from hpo.execution.sanity.configurations import smallest_batches
from hpo.execution.sanity.first_and_last import first_and_last
from hpo.tasks.torch import ArrayDataset

# --- batches of one (27) -------------------------------------------------------------------------------------------------


def normalized(self: Any, hparams: Any) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3))


def sized(size: int) -> Any:
    return lambda self: points(size, 0)


NORMALIZED = task(build_model=normalized, development_data=sized(97))


@pytest.mark.parametrize(
    ("examples", "validation", "batch", "split"),
    [(1025 + 30, 30, 64, "search"), (97, 32, 64, "search"), (97, 30, 32, "full"), (1025, 100, 64, "full")],
)
def test_a_batch_of_one_is_found_in_both_splits(examples: int, validation: int, batch: int, split: str) -> None:
    """Fault 27: 1,025 training examples in batches of 64, and 97 development examples, perhaps only when retraining."""
    cls = task(build_model=normalized, development_data=sized(examples))
    options = {"batch_size": batch, "validation_size": validation}
    with pytest.raises(InputError, match=rf"\({split} split\)|drop_last = true") as refused:
        tried(cls, **options)
    assert "drop_last = true" in str(refused.value)
    assert f"1 of {examples if split == 'full' else examples - validation} examples" in str(refused.value)
    tried(cls, drop_last=True, **options)


def test_a_batch_of_one_is_found_in_whichever_interval_it_is() -> None:
    """Fault 27: half epochs of 129 examples are of 65 and of 64, in turn; the first is not the only one that counts."""
    cls = task(build_model=normalized, development_data=sized(129 + 30))
    with pytest.raises(InputError, match="1 of 65 examples"):
        tried(cls, batch_size=64, validation_size=30, study={"interval": 0.5, "budget": 3})


def test_every_searched_batch_size_is_tried() -> None:
    """Fault 27: of the sizes 14 to 30 for 70 and 100 examples, 23 leaves a batch of one."""

    class Sized(task(build_model=normalized)):  # type: ignore[misc, valid-type]
        search_space = space(batch_size=Int(14, 30))

        def train(self, state: Any, hparams: Any, batches: Any) -> Any:
            return super().train(state, hparams, replace(batches, size=hparams["batch_size"]))

    with pytest.raises(InputError, match="1 of 70 examples at a batch size of 23"):
        tried(Sized)
    tried(Sized, drop_last=True)


def test_the_study_with_drop_last_runs_to_its_end(tmp_path: Path) -> None:
    """Fault 27: what was refused trains, retrains, and counts the steps and examples that there were."""
    with registered(NORMALIZED) as name:
        study = document({"name": name, "batch_size": 32, "drop_last": True}, replicates=1, budget=2)
        run(study, tmp_path / "dropped")
        with pytest.raises(InputError):
            run(study | {"task": {"name": name, "batch_size": 32}}, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()
    arm = results(tmp_path / "dropped")["replicates"][0]["arms"]["random"]
    assert (arm["optimizer_steps"], arm["examples"]) == (4 * 2 * 2, 4 * 2 * 64)  # 67 examples: two whole batches


def test_drop_last_that_would_leave_nothing_is_refused() -> None:
    with registered(Points) as name, pytest.raises(InputError, match=r"task\.drop_last"):
        hpo.parse_study(document({"name": name, "drop_last": True, "batch_size": 80}))


# --- unusual models and steps (28), and counts (29) ----------------------------------------------------------------------


class NoPair(Points):
    def development_data(self) -> Any:
        class Dicts(ArrayDataset):
            def take(self, indices: Any) -> Any:
                inputs, targets = super().take(indices)
                return {"points": inputs, "classes": targets}

        data = points(97, 0)
        return Dicts(data.inputs, data.targets, "dicts")


class OutOfReach(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.idle = nn.LazyLinear(3), nn.LazyLinear(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.used(x)


def silent_step(self: Any, state: Any, inputs: Any, targets: Any) -> None:
    Points.training_step(self, state, inputs, targets)


def lazy(self: Any, hparams: Any) -> nn.Module:
    return nn.Sequential(nn.LazyLinear(6), nn.LazyBatchNorm1d(), nn.LazyLinear(3))


class Half(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3, dtype=torch.bfloat16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x.bfloat16()).float()


def test_unusual_models_work_or_are_refused_before_the_start(tmp_path: Path) -> None:
    """Fault 28: bfloat16, lazy layers and a step that returns nothing train; a batch that is no pair is refused."""
    for number, attributes in enumerate(
        ({"build_model": lambda self, hparams: Half()}, {"build_model": lazy}, {"training_step": silent_step})
    ):
        with registered(task(**attributes)) as name:
            found = run(document({"name": name}, replicates=1, budget=2), tmp_path / str(number))
        assert found.results["replicates"][0]["arms"]["pbt"]["test"]["count"] == 50
    for cls, named in (
        (NoPair, r"points, classes.*\(inputs, targets\)"),
        (task(build_model=lambda *_: OutOfReach()), "idle"),
    ):
        with pytest.raises(InputError, match=named):
            tried(cls)


def test_steps_are_counted_only_where_each_batch_is_one(tmp_path: Path) -> None:
    """Fault 29: a task that changes the batch size takes more steps than the study has batches."""

    class Smaller(Points):
        def train(self, state: Any, hparams: Any, batches: Any) -> Any:
            return super().train(state, hparams, replace(batches, size=4))

    counts = {}
    for cls in (Points, Smaller, task(training_step=silent_step)):
        with registered(cls) as name:
            found = run(document({"name": name}, arms=(RANDOM,), replicates=1, budget=2), tmp_path / cls.__name__)
        counts[cls.__name__] = found.results["replicates"][0]["arms"]["random"]["optimizer_steps"]
    assert counts == {"Points": 4 * 2 * 5, "Smaller": None, "Tried": None}  # 67 examples in batches of 16


def test_examples_are_counted_only_where_it_is_known_how_many_are_dropped(tmp_path: Path) -> None:
    """Fault 29, sibling: batches of 40 of 70 examples leave 30 out, batches of 16 only 6."""

    class Larger(Points):
        def train(self, state: Any, hparams: Any, batches: Any) -> Any:
            return super().train(state, hparams, replace(batches, size=40))

    counts = []
    for number, (cls, drop_last) in enumerate([(Points, True), (Larger, True), (Larger, False)]):
        with registered(cls) as name:
            study = document({"name": name, "drop_last": drop_last}, arms=(RANDOM,), replicates=1, budget=2)
            run(study, tmp_path / str(number))
        arm = results(tmp_path / str(number))["replicates"][0]["arms"]["random"]
        counts.append((arm["optimizer_steps"], arm["examples"]))
    assert counts == [(4 * 2 * 4, 4 * 2 * 64), (None, None), (None, 4 * 2 * 70)]


@pytest.mark.parametrize("size", [1, 7, 16, 20, 33, 66, 67, 80])
@pytest.mark.parametrize("drop_last", [False, True])
def test_what_is_tried_is_the_first_and_the_last_batch_of_any_size(size: int, drop_last: bool) -> None:
    whole = Batches(points(67, 0), np.arange(67), 16, 0.0, 1.0, None, drop_last)
    short = replace(first_and_last(whole), size=size)  # type: ignore[type-var]
    expected = [batch[1].tolist() for batch in replace(whole, size=size)]
    found = [batch[1].tolist() for batch in short]
    assert found == (expected if len(expected) < 2 else [expected[0], expected[-1]])
    assert len(short) == len(found)


def test_the_smallest_batches_are_those_of_all_sizes() -> None:
    assert set(smallest_batches(Int(14, 30), Fraction(1), [67, 97])) == {22, 16}
    assert set(smallest_batches(Categorical((10, 20, "x")), Fraction(1), [67])) == {10}
    assert list(smallest_batches(Float(1, 2), Fraction(1), [67])) == []
