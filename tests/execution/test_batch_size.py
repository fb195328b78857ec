"""The batch size in the search space, without code in the task: what is trained, and what is counted."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import PBT, RANDOM, answer, document, results, run
from torch import nn
from tried_tasks import Points, frozen, registered, tried

import hpo
from hpo.core.errors import InputError, SpecError
from hpo.core.task import Evaluation
from hpo.study.spec import StudySpec
from hpo.tasks.digits import Digits

SIZES = {"type": "int", "low": 16, "high": 256, "log": True}
EXPLORING = PBT | {"explore": "all"}


class Counted(nn.Module):
    """A model that counts the training steps and examples that it saw."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("seen", torch.zeros(2, dtype=torch.int64))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.get_buffer("seen").add_(torch.tensor([1, len(inputs)]))
        found: torch.Tensor = self.model(inputs)
        return found


@dataclass(frozen=True)
class CountedDigits(Digits):
    """Digits whose metrics include the training steps and examples that the model counted itself."""

    version = "1"

    def build_model(self, hparams: Any) -> nn.Module:
        return Counted(super().build_model(hparams))

    def apply_hparams(self, state: Any, hparams: Any) -> None:
        super().apply_hparams(replace(state, model=state.model.model), hparams)

    def applied_hparams(self, state: Any) -> Any:
        return super().applied_hparams(replace(state, model=state.model.model))

    def evaluate(self, state: Any, data: Any) -> Evaluation:
        found = super().evaluate(state, data)
        steps, examples = state.model.get_buffer("seen").tolist()
        return Evaluation({**found.metrics, "steps": steps, "examples": examples}, found.correct)


def digits(name: str = "digits", arms: Any = (RANDOM, EXPLORING), sizes: Any = SIZES, **task: Any) -> dict[str, Any]:
    """Return a study of digits with the batch size in its search space."""
    table = {"name": name, "search_space": {"batch_size": sizes}, **task}
    return document(table, arms=arms, replicates=1, population_size=4, budget=2, interval=0.5)


def counted(found: Any, label: str) -> tuple[int, int]:
    """Return the steps and examples that the models of an arm counted in all segments together."""
    rows = (
        found.frame().query("arm == @label").set_index(["member", "interval"])[["steps", "examples", "parent_member"]]
    )
    own = rows[["steps", "examples"]].sum()
    inherited = sum(
        rows.loc[(int(row.parent_member), interval - 1), ["steps", "examples"]]
        for (_, interval), row in rows.iterrows()
        if interval > 0
    )
    return tuple((own - inherited).astype(int))


@pytest.mark.parametrize("drop_last", [False, True])
def test_steps_and_examples_are_those_that_the_task_counted(tmp_path: Path, drop_last: bool) -> None:
    with registered(CountedDigits) as name:
        found = run(digits(name, drop_last=drop_last), tmp_path)
    frame = found.frame()
    assert frame.query("arm == 'pbt' and member == 0").batch_size.nunique() > 1  # it changes in flight
    for label, arm in results(tmp_path)["replicates"][0]["arms"].items():
        assert (arm["optimizer_steps"], arm["examples"]) == counted(found, label)


@pytest.mark.parametrize("options", [{"executor": "process", "workers": 2}, {"executor": "stacked", "lanes": 4}])
def test_every_executor_trains_batches_of_the_searched_size(tmp_path: Path, options: Any) -> None:
    """A stack may have other last bits; its steps are those of members that were trained one by one."""
    study = digits(arms=(RANDOM,), sizes={"type": "categorical", "choices": [20, 50], "ordered": True})
    alone = run(study, tmp_path / "alone")
    found = run(study, tmp_path / "other", **options)
    if options["executor"] == "process":
        assert answer(tmp_path / "other") == answer(tmp_path / "alone")
    one, other = (each.results["replicates"][0]["arms"]["random"] for each in (alone, found))
    assert one["optimizer_steps"] == other["optimizer_steps"]
    assert one["finals"] == pytest.approx(other["finals"], abs=0.02)


def test_a_task_that_changes_the_size_itself_gives_the_same_answer(tmp_path: Path) -> None:
    class Itself(Points):
        def train(self, state: Any, hparams: Any, batches: Any) -> Any:
            return super().train(state, hparams, replace(batches, size=hparams["batch_size"]))

    finals = []
    for number, cls in enumerate((Points, Itself)):
        with registered(frozen(cls)) as name:
            run(digits(name, sizes={"type": "int", "low": 5, "high": 20}), tmp_path / str(number))
        arms = results(tmp_path / str(number))["replicates"][0]["arms"]
        finals.append({label: arm["finals"] for label, arm in arms.items()})
    assert finals[0] == finals[1]


def test_an_arm_without_it_and_a_member_for_which_it_is_inactive_use_the_option(tmp_path: Path) -> None:
    kind = {"type": "categorical", "choices": ["own", "any"]}
    sizes = {"type": "int", "low": 5, "high": 7, "when": {"kind": "own"}}

    class Kinds(Points):
        optional_space = hpo.SearchSpace({"kind": hpo.Categorical(("own", "any"))})

        def build_model(self, hparams: Any) -> nn.Module:
            hparams.get("kind")
            return super().build_model(hparams)

    arms = (RANDOM, RANDOM | {"label": "without", "without": ["kind", "batch_size"]})
    with registered(frozen(Kinds)) as name:
        study = document({"name": name, "search_space": {"kind": kind, "batch_size": sizes}}, arms, budget=1)
        found = run(study, tmp_path)
    frame = found.frame().query("arm == 'random'")
    expected = sum(
        -(-70 // (16 if kind == "any" else int(size))) for kind, size in zip(frame.kind, frame.batch_size, strict=True)
    )
    assert {"own", "any"} == set(frame.kind)
    arms_found = [replicate["arms"] for replicate in results(tmp_path)["replicates"]]
    assert sum(each["random"]["optimizer_steps"] for each in arms_found) == expected
    assert [each["without"]["optimizer_steps"] for each in arms_found] == [4 * 5, 4 * 5]


def parsed(sizes: Any, **task: Any) -> StudySpec:
    return hpo.parse_study(digits(sizes=sizes, **task))


@pytest.mark.parametrize(
    "sizes",
    [
        {"type": "float", "low": 16, "high": 256},
        {"type": "int", "low": 0, "high": 64},
        {"type": "categorical", "choices": ["small", "large"]},
        {"type": "categorical", "choices": [True, 16]},
    ],
)
def test_what_is_no_number_of_examples_is_an_error_of_the_file(sizes: Any) -> None:
    with pytest.raises(SpecError) as error:
        parsed(sizes)
    assert [problem.key for problem in error.value.problems] == ["task.search_space.batch_size"]


def test_drop_last_is_refused_if_the_largest_batch_would_leave_nothing() -> None:
    parsed({"type": "int", "low": 16, "high": 500}, drop_last=True)  # an interval has 500 examples
    with pytest.raises(SpecError, match=r"task\.drop_last"):
        parsed({"type": "int", "low": 16, "high": 501}, drop_last=True)


def test_a_task_that_draws_no_batches_must_read_it_itself() -> None:
    class NoBatches(Points):
        def development_data(self) -> Any:
            return None

        def train(self, state: Any, hparams: Any, batches: Any) -> Any:
            self.apply_hparams(state, hparams)
            return state

        def evaluate(self, state: Any, data: Any) -> Evaluation:
            return Evaluation({"error": 0.5, "loss": 1.0})

    with pytest.raises(InputError, match="'batch_size': the task never reads it"):
        tried(frozen(NoBatches), search_space={"batch_size": {"type": "int", "low": 2, "high": 9}})


def test_cartpole_updates_after_as_many_steps_of_the_environment(tmp_path: Path) -> None:
    def study(choices: list[int], **task: Any) -> dict[str, Any]:
        space = {"batch_size": {"type": "categorical", "choices": choices}} if choices else {}
        table = {"name": "cartpole", "episodes": 1, "test_episodes": 1, "search_space": space, **task}
        given = {"lr": 0.01, "entropy_cost": 0.01, "discount": 0.9} | ({"batch_size": 8} if choices else {})
        out = document(table, (RANDOM,), population_size=1, budget=40, interval=40, replicates=1)
        out["study"]["initial"] = [given]
        return out

    searched = run(study([8, 16]), tmp_path / "searched").results["replicates"][0]["arms"]["random"]
    fixed = run(study([], batch_size=8), tmp_path / "fixed").results["replicates"][0]["arms"]["random"]
    assert searched["finals"] == fixed["finals"]
