"""The try before a study starts: what fails, and what nothing reads, is said before anything runs.

Each task here is one that somebody might write. A study of it is refused with what to do, and nothing is left behind, or it runs.
"""

import random
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import PBT, RANDOM, cli, document, rows, run, work, write_study
from torch import nn
from tried_tasks import LR, Plain, Points, registered, space, task, tried

import hpo
from hpo import Categorical, Float, Int, SearchSpace
from hpo.core.errors import InputError
from hpo.core.task import Evaluation, Metric
from hpo.execution.sanity import sanity_check
from hpo.execution.sanity.configurations import covering_configurations
from hpo.tasks.torch import ArrayDataset, TorchState
from hpo.tasks.torch.stacked_sgd import StackedSGD

# --- before anything starts ----------------------------------------------------------------------------------------------


def test_a_study_that_fails_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    """Exit code 2, the cause with the line of the task that raised it, no run directory, and no study of a list is begun."""
    (tmp_path / "broken.py").write_text(
        "from dataclasses import dataclass\n"
        "import hpo\n"
        "from hpo.tasks.toy import Toy\n"
        "@hpo.register_task('broken')\n"
        "@dataclass(frozen=True)\n"
        "class Broken(Toy):\n"
        "    def train(self, state, hparams, batches):\n"
        "        return state + hparams['h3']\n"
    )
    good = write_study(tmp_path, document(name="good"), "good.toml")
    bad = write_study(tmp_path, document({"name": "broken", "module": "broken"}, name="bad"), "bad.toml")
    done = cli(bad, "--executor", "serial")
    assert done.returncode == 2
    assert "KeyError: 'h3'" in done.stderr
    assert f"{tmp_path / 'broken.py'}, line 8" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()
    assert cli(good, bad).returncode == 2
    assert not list(tmp_path.glob("runs/*/results.json"))


@dataclass(frozen=True)
class Counting(Points):
    """Counts in a file what is asked of it.

    Args:
        log: the file.
    """

    log: str = ""

    def initialize(self, hparams: Any) -> TorchState:
        self._note("initialize")
        return super().initialize(hparams)

    def test_data(self) -> ArrayDataset:
        self._note("test_data")
        return super().test_data()

    def _note(self, what: str) -> None:
        with Path(self.log).open("a") as file:
            file.write(what + "\n")


def test_it_is_left_out_when_a_study_is_resumed_and_never_sees_the_test_set(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with registered(Counting) as name:
        spec = hpo.parse_study(document({"name": name, "log": str(log)}, replicates=1, budget=2))
        sanity_check(spec, spec.task)
        in_the_check = log.read_text().split()
        log.unlink()
        hpo.run_study(spec, out=tmp_path / "run", executor="serial", report=False)
        in_the_study = log.read_text().split()
        log.unlink()
        hpo.run_study(spec, out=tmp_path / "run", executor="serial", report=False)
        assert not log.exists()
    assert set(in_the_check) == {"initialize"}
    assert in_the_study[: len(in_the_check)] == in_the_check
    assert in_the_study.count("test_data") == 2


def test_it_leaves_no_trace(tmp_path: Path) -> None:
    """The generators stay as they were, and so do keys, results and rows: those of a study in a process that tried nothing."""
    spec = hpo.parse_study(document({"name": "digits"}, replicates=1, budget=2))
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    before = (
        random.getstate(),
        np.random.get_state()[1].tolist(),
        torch.get_rng_state().tolist(),
        torch.get_num_threads(),
    )
    sanity_check(spec, spec.task)
    after = (
        random.getstate(),
        np.random.get_state()[1].tolist(),
        torch.get_rng_state().tolist(),
        torch.get_num_threads(),
    )
    assert before == after
    assert not list(tmp_path.iterdir())
    study = write_study(tmp_path, document({"name": "digits"}, replicates=1, budget=2))
    assert cli(study, "--executor", "process", "--workers", 2).returncode == 0  # the workers have tried nothing
    run(document({"name": "digits"}, replicates=1, budget=2), tmp_path / "serial")
    assert work(tmp_path / "runs/small") == work(tmp_path / "serial")
    assert rows(tmp_path / "runs/small") == rows(tmp_path / "serial")


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_few_examples_are_looked_at(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cost is that of some dozens of batches, however large the data and the intervals are."""
    spec = hpo.parse_study(document({"name": name}, budget=10))
    data, taken = type(spec.task.development_data()), []
    take = data.take

    def counted(self: Any, indices: Any) -> Any:
        taken.append(len(indices))
        return take(self, indices)

    monkeypatch.setattr(data, "take", counted)
    sanity_check(spec, spec.task)
    assert max(taken) <= 2 * spec.task.batch_size
    assert sum(taken) <= 60 * spec.task.batch_size


# --- hyperparameters that nothing reads (22) -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "hint"),
    [("learning_rate", "'lr'"), ("momentun", "'momentum'"), ("wd", "'weight_decay'"), ("batchsize", "'batch_size'")],
)
def test_a_hyperparameter_that_nothing_reads_is_refused(name: str, hint: str) -> None:
    """Fault 22: `learning_rate` for `lr`, `momentun`, and the like."""
    with pytest.raises(InputError, match=f"'{name}': the task never reads it.*{hint}"):
        tried(task(search_space=SearchSpace({name: Float(0.1, 0.9)})))


def test_an_optional_hyperparameter_that_nothing_reads_is_refused() -> None:
    """Fault 22: also where only some of the arms search it."""
    optional = task(optional_space=SearchSpace({"bonus": Float(0.0, 1.0)}))
    entries = {"bonus": {"type": "float", "low": 0.0, "high": 1.0}}
    with pytest.raises(InputError, match="'bonus': the task never reads it"):
        tried(optional, arms=(RANDOM, PBT | {"without": ["bonus"]}), search_space=entries)


def test_a_branch_whose_hyperparameter_nothing_reads_is_refused() -> None:
    """Fault 22: one that is active only with another choice than the first draw's."""
    parameters = space(kind=Categorical(("a", "b", "c")), extra=Float(0.0, 1.0, when={"kind": "c"}))
    with pytest.raises(InputError, match="'extra': the task never reads it"):
        tried(task(search_space=parameters))


def test_elsewhere_a_hyperparameter_that_nothing_reads_is_a_warning(tmp_path: Path) -> None:
    """Fault 22: what a task without PyTorch reads may depend on anything: the study runs."""

    class Half(Plain):
        search_space = SearchSpace({"rate": Float(0.1, 0.9), "unread": Float(0.0, 1.0)})

    with registered(Half) as name, pytest.warns(UserWarning, match="'unread': the task never reads it"):
        run(document({"name": name}, replicates=1, budget=2), tmp_path)
    assert (tmp_path / "results.json").exists()


def test_a_warning_of_the_command_line_is_a_sentence(tmp_path: Path) -> None:
    """Fault 22: without the line of this package's code that it comes from; the study runs, and the exit code is 0."""
    (tmp_path / "deaf.py").write_text(
        "from dataclasses import dataclass\nimport hpo\nfrom hpo.tasks.toy import Toy\n"
        "@hpo.register_task('deaf')\n@dataclass(frozen=True)\nclass Deaf(Toy):\n"
        "    def train(self, state, hparams, batches):\n        hparams['h0']\n        return state\n"
    )
    done = cli(write_study(tmp_path, document({"name": "deaf", "module": "deaf"}, budget=2)), "--executor", "serial")
    assert done.returncode == 0
    assert done.stderr.startswith("warning: Deaf: hyperparameter 'h1': the task never reads it")
    assert done.stderr.count("\n") == 1


class ReadsLate(Points):
    """Reads a hyperparameter in the second half of the budget alone."""

    search_space = space(extra=Float(0.5, 1.0))

    def train(self, state: Any, hparams: Any, batches: Any) -> Any:
        if batches.start >= 3:
            hparams["extra"]
        return super().train(state, hparams, batches)


class ReadsByChance(Points):
    """An augmentation that comes to its strength in one of four batches."""

    search_space = space(extra=Float(0.5, 1.0))

    def training_step(self, state: Any, inputs: Any, targets: Any) -> Any:
        if torch.rand(()) < 0.25:
            inputs = inputs * state.strength()
        return super().training_step(state, inputs, targets)

    def train(self, state: Any, hparams: Any, batches: Any) -> Any:
        state.strength = lambda: hparams["extra"]
        return super().train(state, hparams, batches)


class ReadsInAnotherBranch(Points):
    """No `when` says so, but only one of three choices comes to the hyperparameter."""

    search_space = SearchSpace({**LR, "kind": Categorical(("a", "b", "c")), "extra": Float(0.0, 1.0)})

    def build_optimizer(self, model: nn.Module, hparams: Any) -> torch.optim.Optimizer:
        momentum = hparams["extra"] if hparams["kind"] == "c" else 0.5
        return torch.optim.SGD(model.parameters(), lr=0.1, momentum=momentum)


class ReadsHalf(Points):
    """Comes to one of two hyperparameters by the value of a third."""

    search_space = SearchSpace({**LR, "gate": Float(0.0, 1.0), "extra": Float(0.0, 1.0), "other": Float(0.0, 1.0)})

    def train(self, state: Any, hparams: Any, batches: Any) -> Any:
        hparams["extra" if hparams["gate"] > 0.6 else "other"]
        return super().train(state, hparams, batches)


class ControlsAlone(Points):
    """The control of a condition decides what is searched, and that is all it does."""

    search_space = SearchSpace(
        {**LR, "with_momentum": Categorical((False, True)), "momentum": Float(0.1, 0.9, when={"with_momentum": True})}
    )


def reading(how: Any) -> type[Points]:
    """Return a task that reads its hyperparameters in one way while it builds its model."""

    def build_model(self: Any, hparams: Any) -> nn.Module:
        how(hparams)
        return Points.build_model(self, hparams)

    return task(build_model=build_model, search_space=space(extra=Float(0.0, 1.0)))


def made_of(lr: float, extra: float) -> None: ...


TAKERS = {
    "as keywords": reading(lambda hparams: made_of(**hparams)),
    "by a copy": reading(dict),
    "by its own copy": reading(lambda hparams: hparams.copy()),
    "by a union": reading(lambda hparams: hparams | {"more": 1}),
    "by its items": reading(lambda hparams: [value for _, value in hparams.items()]),
    "by its values": reading(lambda hparams: list(hparams.values())),
}
READERS: dict[str, type[Points]] = {
    "by its name": reading(lambda hparams: hparams["extra"]),
    "if it is there": reading(lambda hparams: hparams.get("extra", 1)),
    "whether it is there": reading(lambda hparams: "extra" in hparams),
    "late": ReadsLate,
    "by chance": ReadsByChance,
    "in another branch": ReadsInAnotherBranch,
    "by a third value": ReadsHalf,
    "as a control": ControlsAlone,
}


@pytest.mark.parametrize("how", READERS)
def test_a_hyperparameter_that_is_read_in_whatever_way_is_not_refused(how: str) -> None:
    """Fault 22: a study that is refused without need is worse than one that is not."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tried(READERS[how])


@pytest.mark.parametrize("how", TAKERS)
def test_a_hyperparameter_that_is_taken_with_the_others_and_changes_nothing_is_a_warning(how: str) -> None:
    """Fault 22: `**hparams` and the like hide which names are used; what makes no difference is named, and not refused."""
    with pytest.warns(UserWarning, match="Tried: extra made no difference"):
        tried(TAKERS[how])


class Takes(Points):
    """Takes its hyperparameters as keywords, and uses all of them: one for one of two kinds alone."""

    search_space = SearchSpace(
        {
            **LR,
            "width": Int(4, 9, fixed=True),
            "kind": Categorical(("plain", "steady")),
            "momentum": Float(0.1, 0.9, when={"kind": "steady"}),
        }
    )

    def build_model(self, hparams: Any) -> nn.Module:
        return nn.Sequential(nn.Linear(4, hparams["width"]), nn.Tanh(), nn.Linear(hparams["width"], 3))

    def build_optimizer(self, model: nn.Module, hparams: Any) -> torch.optim.Optimizer:
        return self.made(model, **hparams)

    def made(self, model: nn.Module, lr: float, momentum: float = 0.0, **rest: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr, momentum)


def test_hyperparameters_that_are_taken_together_and_used_are_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tried(Takes)


def test_schedules_and_losses_read_too() -> None:
    class Scheduled(Points):
        search_space = space(final=Float(0.1, 1.0), smoothing=Float(0.0, 0.2))

        def learning_rate_schedule(self, hparams: Any) -> Any:
            final = hparams["final"]
            return lambda progress: 1 - progress * (1 - final)

        def apply_hparams(self, state: Any, hparams: Any) -> None:
            super().apply_hparams(state, hparams)
            state.model.smoothing = hparams["smoothing"]

    tried(Scheduled)


def test_a_choice_that_fails_and_a_metric_that_is_missing_are_refused() -> None:
    """What would stop a study after hours is tried: every choice of a hyperparameter, and the evaluation."""

    class Chooses(Points):
        search_space = space(optimizer=Categorical(("sgd", "adam", "adamm"), fixed=True))

        def build_optimizer(self, model: nn.Module, hparams: Any) -> torch.optim.Optimizer:
            return {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[hparams["optimizer"]](model.parameters(), lr=0.1)

    class Silent(Points):
        metrics = (Metric("error"), Metric("f1", "maximize"))

    for cls, named in ((Chooses, "KeyError: 'adamm'"), (Silent, "f1")):
        with pytest.raises(InputError, match=named):
            tried(cls)


def test_an_evaluation_that_needs_all_the_examples_gets_them() -> None:
    """A metric that a few examples do not have, for lack of a class, does not refuse a study."""

    class Needs(Points):
        def evaluate(self, state: Any, data: Any) -> Evaluation:
            if len(data) < 30:
                raise ValueError("only one class is there")
            return super().evaluate(state, data)

    tried(Needs, batch_size=5)


def test_a_member_that_diverges_refuses_nothing() -> None:
    """Where one of the members that are tried does not diverge, nothing is said; where all do, the reason is."""
    tried(task(search_space=SearchSpace({"lr": Float(1e-30, 1e104, log=True)})))
    with pytest.warns(UserWarning, match="all 2 members"):
        tried(task(search_space=SearchSpace({"lr": Float(1e37, 1e38)})))


def test_a_metric_that_is_never_a_number_is_a_warning() -> None:
    """Fault 28, sibling: every member counts as diverged, and the study would end without an answer or a word on why."""

    class Undefined(Points):
        def evaluate(self, state: Any, data: Any) -> Evaluation:
            found = super().evaluate(state, data)
            return replace(found, metrics={**found.metrics, "auc": float("nan")})

    with pytest.warns(UserWarning, match="metric auc"):
        tried(Undefined)


@pytest.mark.parametrize("mistake", ["no step", "no gradient", "another model's"])
def test_training_that_changes_nothing_is_a_warning(mistake: str) -> None:
    """Fault 28, sibling: a `training_step` without `step()`, frozen weights, or an optimizer of another model's parameters."""

    class Idle(Points):
        def build_optimizer(self, model: nn.Module, hparams: Any) -> torch.optim.Optimizer:
            if mistake == "another model's":
                model = self.build_model(hparams)
            return super().build_optimizer(model, hparams)

        def training_step(self, state: Any, inputs: Any, targets: Any) -> Any:
            if mistake == "no step":
                return self.loss(state.model, inputs, targets)
            if mistake == "no gradient":
                state.optimizer.zero_grad()
                state.optimizer.step()
                return None
            return super().training_step(state, inputs, targets)

    with pytest.warns(UserWarning, match="the same model for all hyperparameters"):
        tried(Idle)


def test_stacked_tasks_are_tried_as_they_are() -> None:
    class Stacked(StackedSGD, Points):
        pass

    tried(Stacked, validation_size=30)


# --- the parts -----------------------------------------------------------------------------------------------------------

NESTED = SearchSpace(
    {
        "layers": Int(1, 3, fixed=True),
        "width": Int(4, 16, fixed=True, when={"layers": [2, 3]}),
        "kind": Categorical(("a", "b"), when={"layers": 3}),
        "deep": Float(0.0, 1.0, when={"kind": "b", "layers": 3}),
        "lr": Float(1e-3, 1.0, log=True),
        "many": Categorical(tuple("abcde")),
    }
)


def test_draws_make_every_choice_and_activate_everything() -> None:
    found, complete = covering_configurations(NESTED)
    assert complete
    assert {name for draw in found for name in draw} == set(NESTED)
    assert {draw["kind"] for draw in found if "kind" in draw} == {"a", "b"}
    assert {draw["many"] for draw in found} == set("abcde")
    assert all(not NESTED.outside(draw) for draw in found)
    assert found[0]["lr"] != found[1]["lr"]
    most, complete = covering_configurations(SearchSpace({"one": Categorical(tuple(range(100))), "two": Float(0, 1)}))
    assert (len(most), complete) == (24, False)
