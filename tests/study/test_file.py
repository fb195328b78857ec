"""Study files: what is read from a good one, what is said about a bad one."""

import copy
import datetime
import json
import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import numpy as np
import pytest
import tomli_w
from annotated_types import Ge
from helpers import cases
from hypothesis import given, settings
from hypothesis import strategies as st

import hpo
from hpo.core import registry
from hpo.core.errors import DataError, InputError, OptionError, SpecError
from hpo.core.space import Categorical, Float, Int, SearchSpace
from hpo.core.task import Metric, Task
from hpo.study.changes import changed_keys, flatten, resolved
from hpo.study.file import load_studies, load_study, parse_study
from hpo.study.spec import StudySpec

STUDIES = Path(hpo.__file__).parent.parent / "studies"


@dataclass(frozen=True)
class Steps(Task[None]):
    """A task without data, whose unit is a step."""

    rate: float = 0.01
    mode: Literal["slow", "fast"] = "slow"
    widths: tuple[Annotated[int, Ge(1)], ...] = (1, 2)
    root: Path | None = None
    broken: bool = False

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise OptionError("rate", self.rate, "a number above 0")

    unit = "steps"
    search_space = SearchSpace(
        {"lr": Float(1e-4, 1.0, log=True), "depth": Int(1, 8), "kind": Categorical(("relu", "tanh"))}
    )
    metrics = (Metric("error"), Metric("loss"))

    def check(self) -> None:
        if self.broken:
            raise DataError("train.gz is damaged")

    def initialize(self, hparams: Any) -> None: ...
    def train(self, state: Any, hparams: Any, batches: Any) -> None: ...
    def evaluate(self, state: Any, data: Any) -> Any: ...
    def to_arrays(self, state: Any) -> Any: ...
    def from_arrays(self, arrays: Any, hparams: Any) -> None: ...


@dataclass(frozen=True)
class Pictures(Steps):
    """The same with a hundred examples."""

    validation_size: int = 20
    unit = "epochs"

    def development_data(self) -> Any:
        return hpo.ArrayDataset(np.zeros(100), np.zeros(100))


@pytest.fixture(scope="module", autouse=True)
def _plugins():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.tasks._classes, "steps", Steps)
        patch.setitem(registry.tasks._classes, "pictures", Pictures)
        yield


GOOD: dict[str, Any] = {
    "study": {"name": "good", "replicates": 3, "population_size": 5, "budget": 2, "interval": 0.5},
    "task": {"name": "pictures", "search_space": {"lr": {"type": "float", "low": 1e-3, "high": 1, "log": True}}},
    "arms": [
        {"label": "random", "optimizer": "random_search"},
        {
            "label": "pbt",
            "optimizer": "pbt",
            "perturbation_interval": 0.5,
            "selection": {"name": "truncation", "quantile_fraction": 0.2},
            "perturbation": {"name": "multiply", "factors": [1.2, 0.8], "bounds": "clip"},
        },
    ],
    "comparison": {"baseline": "random", "metric": "error"},
}
GONE = object()
P = "arms.1.perturbation"


def chain(*steps: Any) -> dict[str, Any]:
    return {"name": "chain", "steps": list(steps)}


def each(**parameters: Any) -> dict[str, Any]:
    return {"name": "per_parameter", "parameters": parameters}


def edited(*edits: tuple[str, Any]) -> dict[str, Any]:
    """Return the good document with the values at some dotted keys changed, added, or `GONE`."""
    document = copy.deepcopy(GOOD)
    for path, value in edits:
        *parents, last = path.split(".")
        at: Any = document
        for part in parents:
            at = at[int(part)] if isinstance(at, list) else at.setdefault(part, {})
        if value is GONE:
            del at[last]
        elif isinstance(at, list):
            at[int(last)] = value
        else:
            at[last] = value
    return document


def problems_of(document: Any) -> str:
    with pytest.raises(SpecError) as caught:
        parse_study(document, file="s.toml")
    assert isinstance(caught.value, InputError)
    return str(caught.value)


def test_what_a_good_document_gives():
    spec = parse_study(edited(("arms.1.stream", 2), ("arms.1.concurrency", 3)))
    assert (spec.seeds, spec.budget, spec.interval, spec.intervals) == ((0, 1, 2), 2, Fraction(1, 2), 4)
    assert spec.space["lr"] == Float(1e-3, 1.0, log=True)
    assert spec.space["depth"] == Int(1, 8)
    random, pbt = spec.arms
    assert (random.optimizer_name, random.concurrency, random.stream) == ("random_search", 5, 0)
    assert (pbt.label, pbt.concurrency, pbt.stream) == ("pbt", 3, 2)
    assert registry.to_table(pbt.optimizer) == {
        "perturbation_interval": 0.5,
        "selection": {"name": "truncation", "quantile_fraction": 0.2},
        "perturbation": {"name": "multiply", "factors": [1.2, 0.8], "bounds": "clip"},
        "explore": "copied",
        "inherit": "weights_and_hyperparameters",
        "burn_in": 0.0,
        "select": "final",
        "mode": "synchronous",
    }
    assert spec.comparison is not None
    assert spec.comparison.alpha == 0.05
    assert "alpha" not in spec.document["comparison"]
    problem = spec.problem(2, pbt)
    assert (problem.streams.seed, problem.streams.stream, problem.concurrency, problem.unit) == (2, 2, 3, "epochs")


def test_decimals_are_exact():
    spec = parse_study(edited(("study.budget", 0.3), ("study.interval", 0.1), ("arms.1.perturbation_interval", 0.1)))
    assert (spec.budget, spec.interval, spec.intervals) == (Fraction(3, 10), Fraction(1, 10), 3)


def test_defaults():
    spec = parse_study(edited(("study.replicates", GONE), ("comparison", GONE), ("arms.1.selection", "exploit_best")))
    assert spec.seeds == (0,)
    assert spec.comparison is None
    assert registry.to_table(spec.arms[1].optimizer)["selection"] == {"name": "exploit_best"}


def test_options_become_what_the_dataclass_asks_for(tmp_path):
    spec = parse_study(edited(("task.widths", [3, 4]), ("task.root", str(tmp_path)), ("task.rate", 1)))
    assert spec.task == Pictures(rate=1.0, widths=(3, 4), root=tmp_path)
    assert isinstance(spec.task.rate, float)


def test_the_initial_population_is_cast_to_the_space():
    initial = [{"kind": "tanh", "depth": 2, "lr": 1}]
    spec = parse_study(edited(("study.initial", initial)))
    assert spec.initial == ({"lr": 1.0, "depth": 2, "kind": "tanh"},)
    assert isinstance(spec.initial[0]["lr"], float)
    assert spec.problem(0, spec.arms[0]).hparams(0) == spec.initial[0]


def test_conditions_of_a_study_file():
    when = {"kind": "tanh", "depth": [1, 2]}
    spec = parse_study(edited(("task.search_space.lr.when", when), ("study.initial", [{"depth": 3, "kind": "tanh"}])))
    assert spec.space["lr"] == Float(1e-3, 1.0, log=True, when={"kind": ("tanh",), "depth": (1, 2)})
    assert spec.space.to_json()["lr"]["when"] == when
    assert spec.initial == ({"depth": 3, "kind": "tanh"},)
    drawn = [spec.problem(0, spec.arms[0]).hparams(slot) for slot in range(20)]
    assert all(("lr" in each) == (each["kind"] == "tanh" and each["depth"] in (1, 2)) for each in drawn)
    assert 0 < sum("lr" in each for each in drawn) < 19


def test_of_a_wrong_control_alone_is_said_what_depends_on_it():
    deep = {"type": "int", "low": 1, "high": 9, "when": {"kind": "relu"}}
    message = problems_of(edited(("task.search_space.depth", deep), ("study.initial", [{"lr": 0.1, "kind": "elu"}])))
    assert [line.partition(" = ")[0] for line in message.splitlines()] == ["s.toml: study.initial[0].kind"]


@dataclass(frozen=True)
class Choosing(Pictures):
    """Conditions of its own, one within another."""

    search_space = SearchSpace(
        {
            "lr": Float(1e-4, 1.0, log=True),
            "kind": Categorical(("sgd", "adam", "rmsprop")),
            "beta2": Float(0.9, 0.999, when={"kind": "adam"}),
            "momentum": Float(0.0, 0.9, when={"kind": ["sgd", "rmsprop"]}),
            "amsgrad": Categorical((False, True), when={"kind": "adam"}),
            "epsilon": Float(1e-9, 1e-3, log=True, when={"amsgrad": True}),
        }
    )
    optional_space = SearchSpace({"depth": Int(1, 8), "skip": Categorical((False, True))})


@pytest.fixture
def _choosing(monkeypatch):
    monkeypatch.setitem(registry.tasks._classes, "choosing", Choosing)


@pytest.mark.usefixtures("_choosing")
def test_where_a_study_narrows_a_control_what_can_never_be_active_is_left_out():
    kind = {"type": "categorical", "choices": ["sgd", "rmsprop"]}
    spec = parse_study(edited(("task.name", "choosing"), ("task.search_space.kind", kind)))
    assert list(spec.space) == ["lr", "kind", "momentum"]
    kind["choices"] = ["sgd", "adam"]
    spec = parse_study(edited(("task.name", "choosing"), ("task.search_space.kind", kind)))
    assert list(spec.space) == list(Choosing.search_space)
    assert spec.space["momentum"].when == {"kind": ("sgd",)}
    # What the file itself says is not narrowed, but wrong.
    beta2 = {"type": "float", "low": 0.9, "high": 0.99, "when": {"kind": "rmsprop"}}
    edits = [("task.search_space.kind", kind), ("task.search_space.beta2", beta2)]
    assert "task.search_space.beta2.when.kind = 'rmsprop'" in problems_of(edited(("task.name", "choosing"), *edits))


@pytest.mark.usefixtures("_choosing")
def test_an_arm_goes_without_a_control_only_together_with_what_it_controls():
    space = [
        ("task.name", "choosing"),
        ("task.search_space.depth", {"type": "int", "low": 1, "high": 8, "when": {"skip": True}}),
        ("task.search_space.skip", {"type": "categorical", "choices": [False, True]}),
    ]
    message = problems_of(edited(*space, ("arms.1.without", ["skip"])))
    assert "arms[1].without[0] = 'skip'" in message
    assert "skip controls depth" in message
    spec = parse_study(edited(*space, ("arms.1.without", ["skip", "depth"])))
    whole, part = (spec.problem(0, arm) for arm in spec.arms)
    for slot in range(8):
        hparams = whole.hparams(slot)
        assert part.hparams(slot) == {k: v for k, v in hparams.items() if k not in ("skip", "depth")}
    spec = parse_study(edited(*space, ("arms.1.without", ["depth"])))
    assert "skip" in spec.problem(0, spec.arms[1]).hparams(0)


nan, inf = math.nan, math.inf
FLOAT, INT = {"type": "float", "low": 0, "high": 1}, {"type": "int", "low": 1, "high": 9}
KIND = {"type": "categorical", "choices": ["relu", "tanh"]}
DEEP = INT | {"when": {"kind": "relu"}}
INITIAL = {"lr": 0.1, "depth": 2, "kind": "tanh"}
TPE = {"label": "pbt", "optimizer": "optuna", "initial": 2}

BAD = [
    # the study
    ([("studdy", {})], ["studdy = {}", "unknown key", "allowed: study, task, arms, comparison", "'study'"]),
    ([("study", GONE)], ["study: missing", "[study]"]),
    ([("study", 3)], ["study = 3", "a table"]),
    ([("study.budgett", 3)], ["study.budgett = 3", "unknown key", "allowed: name,", "did you mean 'budget'?"]),
    ([("study.budget", GONE)], ["study.budget: missing", "a finite number above 0"]),
    ([("study.budget", "ten")], ["study.budget = 'ten'", "a finite number above 0"]),
    ([("study.budget", True)], ["study.budget = True", "a finite number above 0"]),
    ([("study.budget", nan)], ["study.budget = nan", "a finite number above 0"]),
    ([("study.interval", inf)], ["study.interval = inf", "a finite number above 0"]),
    ([("study.interval", 0)], ["study.interval = 0", "above 0"]),
    ([("study.interval", 0.3)], ["study.interval = 0.3", "divides the budget 2"]),
    ([("study.interval", 1e-9)], ["study.interval = 1e-09", "at most 1000000"]),
    ([("study.population_size", 0)], ["study.population_size = 0", "a whole number of at least 1"]),
    ([("study.population_size", 5.0)], ["study.population_size = 5.0", "a whole number"]),
    ([("study.population_size", datetime.date(2020, 1, 1))], ["study.population_size = datetime", "a whole number"]),
    ([("study.name", "../up")], ["study.name = '../up'", "not a path"]),
    ([("study.name", ".hidden")], ["study.name = '.hidden'", "not starting with '.'"]),
    ([("study.name", "a\n")], ["study.name = 'a\\n'", "letters, digits"]),
    ([("study.name", "x" * 101)], ["study.name", "1 to 100"]),
    ([("study.replicates", 0)], ["study.replicates = 0", "of at least 1"]),
    ([("study.seeds", [0])], ["study.replicates = 3", "either replicates or seeds, not both"]),
    ([("study.replicates", GONE), ("study.seeds", [1, 1])], ["study.seeds = [1, 1]", "all different"]),
    ([("study.replicates", GONE), ("study.seeds", [])], ["study.seeds = []", "no fewer than 1"]),
    ([("study.replicates", GONE), ("study.seeds", [0, -1])], ["study.seeds[1] = -1", "of at least 0"]),
    ([("study.initial", [INITIAL] * 6)], ["study.initial", "6 tables", "at most population_size = 5"]),
    ([("study.initial", [{"lr": 0.1, "depth": 2}])], ["study.initial[0].kind: missing", "all active hyperparameters"]),
    ([("study.initial", [INITIAL | {"lrr": 1}])], ["study.initial[0].lrr = 1", "did you mean 'lr'?"]),
    ([("study.initial", [INITIAL, INITIAL | {"lr": 2}])], ["study.initial[1].lr = 2", "inside Float(low=0.001"]),
    ([("study.initial", [INITIAL | {"depth": 2.5}])], ["study.initial[0].depth = 2.5", "a whole number"]),
    ([("study.initial", [INITIAL | {"kind": "elu"}])], ["study.initial[0].kind = 'elu'", "relu"]),
    ([("study.initial", [INITIAL | {"lr": nan}])], ["study.initial[0].lr = nan", "finite"]),
    (
        [("study.initial", [INITIAL | {"lr": 0.35}]), ("task.search_space.lr", {**FLOAT, "step": 0.1})],
        ["study.initial[0].lr = 0.35", "inside Float(low=0.0", "step=0.1"],
    ),
    (
        [("study.initial", [INITIAL | {"depth": 4}]), ("task.search_space.depth", {**INT, "step": 2})],
        ["study.initial[0].depth = 4", "inside Int(low=1", "step=2"],
    ),
    ([("study.budget", 1e308), ("study.interval", 1e-300)], ["study.interval = 1e-300", "at most 1000000"]),
    ([("study.replicates", None)], ["study.replicates: null; leave the key out instead"]),
    ([("task.search_space.lr.log", None)], ["task.search_space.lr.log: null; leave the key out"]),
    ([("arms.1.perturbation.factors", [1.2, None])], ["arms[1].perturbation.factors[1]: null; leave the key out"]),
    # the task
    ([("task", GONE)], ["task: missing"]),
    ([("task.name", GONE)], ["task.name: missing", "pictures"]),
    ([("task.name", "mnits")], ["task.name = 'mnits'", "unknown task", "mnist", "did you mean 'mnist'?"]),
    ([("task.name", ["mnist"])], ["task.name = ['mnist']", "the name of a registered task"]),
    ([("task.batch", 3)], ["task.batch = 3", "unknown key", "search_space", "widths"]),
    ([("task.rate", 0)], ["task.rate = 0.0", "a number above 0"]),
    ([("task.mode", "fest")], ["task.mode = 'fest'", "one of 'slow', 'fast'", "did you mean 'fast'?"]),
    ([("task.widths", [1, 0])], ["task.widths[1] = 0", "of at least 1"]),
    ([("task.widths", [1, True])], ["task.widths[1] = True", "a whole number"]),
    ([("task.validation_size", 100)], ["task.validation_size = 100", "from 1 to 99"]),
    ([("task.validation_size", 0)], ["task.validation_size = 0", "from 1 to 99"]),
    ([("study.budget", 0.01), ("study.interval", 0.01)], ["study.interval = 0.01", "80 training examples"]),
    ([("task.name", "steps")], ["study.interval = 0.5", "a whole number", "steps"]),
    ([("task.module", "no such")], ["task.module = 'no such'", "dotted name"]),
    ([("task.module", "no_such_module")], ["task.module = 'no_such_module'", "ModuleNotFoundError", "looked in"]),
    # the search space
    ([("task.search_space", [1])], ["task.search_space = [1]", "a table"]),
    ([("task.search_space.lrr", {})], ["task.search_space.lrr", "lr, depth, kind", "did you mean 'lr'?"]),
    ([("task.search_space.lr", 0.1)], ["task.search_space.lr = 0.1", "a table"]),
    ([("task.search_space.lr.type", GONE)], ["task.search_space.lr.type: missing", "'float', 'int', 'categorical'"]),
    ([("task.search_space.lr.type", "flaot")], ["task.search_space.lr.type = 'flaot'", "did you mean 'float'?"]),
    ([("task.search_space.lr.lo", 1)], ["task.search_space.lr.lo = 1", "type, low, high", "did you mean 'low'?"]),
    ([("task.search_space.lr.low", 2)], ["task.search_space.lr.low = 2.0", "below high = 1.0"]),
    ([("task.search_space.lr.low", 1)], ["task.search_space.lr.low = 1.0", "below high = 1.0"]),
    ([("task.search_space.lr.low", 0)], ["task.search_space.lr.low = 0.0", "above 0, because log"]),
    ([("task.search_space.lr.low", nan)], ["task.search_space.lr.low = nan", "finite"]),
    ([("task.search_space.lr.high", inf)], ["task.search_space.lr.high = inf", "finite"]),
    ([("task.search_space.lr.high", GONE)], ["task.search_space.lr.high: missing"]),
    (
        [("task.search_space.lr.initial", [0.5, 2.0])],
        ["task.search_space.lr.initial = [0.5, 2.0]", "the lower one first"],
    ),
    (
        [("task.search_space.lr.initial", [0.5])],
        ["task.search_space.lr.initial = [0.5]", "a list of 2: a finite number"],
    ),
    ([("task.search_space.lr.initial", 0.5)], ["task.search_space.lr.initial = 0.5", "a list of 2"]),
    (
        [("task.search_space.depth", INT | {"initial": [1.5, 3]})],
        ["task.search_space.depth.initial[0] = 1.5", "a whole"],
    ),
    ([("task.search_space.kind", {"type": "categorical", "choices": ["a", "b"], "initial": [0, 1]})], ["unknown key"]),
    ([("task.search_space.depth", {"type": "int", "low": 1.5, "high": 3})], ["task.search_space.depth.low = 1.5"]),
    ([("task.search_space.depth", INT | {"high": 10**400})], ["task.search_space.depth.high", "a finite number"]),
    ([("task.search_space.kind", {"type": "categorical", "choices": ["a"]})], ["kind.choices = ['a']", "two"]),
    # conditions
    ([("task.search_space.lr.when", {"kynd": "relu"})], ["lr.when.kynd = 'relu'", "'depth', 'kind'", "mean 'kind'?"]),
    ([("task.search_space.lr.when", {"kind": "elu"})], ["lr.when.kind = 'elu'", "a value that kind can have", "relu"]),
    ([("task.search_space.lr.when", {"depth": 9})], ["task.search_space.lr.when.depth = 9", "high=8"]),
    ([("task.search_space.lr.when", {"depth": True})], ["task.search_space.lr.when.depth = True", "low=1"]),
    ([("task.search_space.lr.when", {"lr": 0.1})], ["task.search_space.lr.when.lr = 0.1", "categorical or int"]),
    ([("task.search_space.lr.when", "relu")], ["task.search_space.lr.when = 'relu'", "a table, each value"]),
    ([("task.search_space.lr.when", {"kind": []})], ["task.search_space.lr.when.kind = []", "at least one"]),
    (
        [("task.search_space.depth", INT | {"when": {"lr": 1}})],
        ["task.search_space.depth.when.lr = 1", "instead of lr: 'kind'"],
    ),
    (
        [("task.search_space.depth", DEEP), ("task.search_space.kind", KIND | {"when": {"depth": [3, 4]}})],
        ["task.search_space.depth.when = {", "task.search_space.kind.when = {", "a cycle"],
    ),
    (
        [("task.search_space.depth", DEEP), ("task.search_space.lr.when", {"depth": 3, "kind": "tanh"})],
        ["task.search_space.lr.when = {", "kind would have to be 'relu' and 'tanh'"],
    ),
    (
        [("task.search_space.lr.when", {"kynd": "relu"}), ("task.search_space.depth", INT | {"when": {"kind": "x"}})],
        ["lr.when.kynd", "depth.when.kind = 'x'"],
    ),
    (
        [("task.search_space.depth", DEEP), ("study.initial", [INITIAL])],
        ["study.initial[0].depth = 2: not allowed with kind = 'tanh'; it is active when {'kind': ('relu',)}"],
    ),
    (
        [("task.search_space.depth", DEEP), ("study.initial", [{"lr": 0.1, "kind": "relu"}])],
        ["study.initial[0].depth: missing", "all active hyperparameters"],
    ),
    # the arms
    ([("arms", GONE)], ["arms: missing", "[[arms]]"]),
    ([("arms", [])], ["arms = []", "at least one"]),
    ([("arms", {"label": "a"})], ["arms = {", "two brackets"]),
    ([("arms.1", 3)], ["arms[1] = 3", "a table"]),
    ([("arms.1.label", GONE)], ["arms[1].label: missing", "a text"]),
    ([("arms.1.label", "random")], ["arms[1].label = 'random'", "arms[0] has this one"]),
    ([("arms.1.label", "a/b")], ["arms[1].label = 'a/b'", "letters"]),
    ([("arms.1.label", "")], ["arms[1].label = ''", "1 to 60"]),
    ([("arms.1.label", ".a")], ["arms[1].label = '.a'", "not starting with '.'"]),
    ([("arms.1.optimizer", GONE)], ["arms[1].optimizer: missing", "random_search", "arm 'pbt'"]),
    ([("arms.1.optimizer", "ptb")], ["arms[1].optimizer = 'ptb'", "unknown optimizer", "did you mean 'pbt'?"]),
    ([("arms.0.optimizer", "random_serach")], ["arms[0].optimizer = 'random_serach'", "did you mean 'random_search'?"]),
    ([("arms.0.optimizer", "cmeas")], ["arms[0].optimizer = 'cmeas'", "unknown optimizer", "did you mean 'cmaes'?"]),
    ([("arms.0", {"label": "a", "optimizer": "gp", "sampler": "tpe"})], ["arms[0].sampler = 'tpe'", "a sampler"]),
    (
        [("arms.0", {"label": "a", "optimizer": "qmc", "n_startup_trials": 2})],
        ["arms[0].n_startup_trials = 2", "unknown key", "pruner, initial"],
    ),
    ([("arms.1.perturbation_intervall", 1)], ["arms[1].perturbation_intervall = 1", "'perturbation_interval'"]),
    ([("arms.1.perturbation_interval", 0.7)], ["arms[1].perturbation_interval = 0.7", "intervals of 0.5 epochs"]),
    ([("arms.1.stream", -1)], ["arms[1].stream = -1", "of at least 0"]),
    ([("arms.1.concurrency", 0)], ["arms[1].concurrency = 0", "of at least 1"]),
    ([("arms.1.explore", "al")], ["arms[1].explore = 'al'", "'copied', 'all'", "did you mean 'all'?"]),
    ([("arms.1.selection", "truncate")], ["arms[1].selection = 'truncate'", "did you mean 'truncation'?"]),
    ([("arms.1.selection.name", "best")], ["arms[1].selection.name = 'best'", "unknown selection", "exploit_best"]),
    ([("arms.1.selection.name", GONE)], ["arms[1].selection.name: missing", "truncation"]),
    ([("arms.1.selection", 3)], ["arms[1].selection = 3", "a table"]),
    ([("arms.1.selection.fraction", 1)], ["arms[1].selection.fraction = 1", "did you mean 'quantile_fraction'?"]),
    ([("arms.1.selection.quantile_fraction", 0.6)], ["selection.quantile_fraction = 0.6", "above 0 and at most 0.5"]),
    ([("arms.1.selection.quantile_fraction", 0)], ["arms[1].selection.quantile_fraction = 0", "above 0"]),
    ([("arms.1.selection.quantile_fraction", 0.1)], ["arms[1].selection.quantile_fraction = 0.1", "arm 'pbt'"]),
    ([("arms.1.perturbation.factors", [1.2, nan])], ["arms[1].perturbation.factors[1] = nan", "finite"]),
    ([("arms.1.perturbation.bounds", "clamp")], ["arms[1].perturbation.bounds = 'clamp'", "'clip', 'reflect'"]),
    # plug-ins in lists and tables
    (
        [(P, {"name": "chain"})],
        ["arms[1].perturbation.steps: missing", "a list, each item a table with the name of a per"],
    ),
    ([(P, {"name": "chain", "steps": []})], ["arms[1].perturbation.steps = []", "at least one"]),
    ([(P, {"name": "chain", "steps": "multiply"})], ["arms[1].perturbation.steps = 'multiply'", "a list, each item"]),
    ([(P, chain("multiply", 3))], ["arms[1].perturbation.steps[1] = 3", "a table"]),
    ([(P, chain("multiply", {"sigma": 1}))], ["arms[1].perturbation.steps[1].name: missing"]),
    ([(P, chain("multply"))], ["arms[1].perturbation.steps[0] = 'multply'", "did you mean 'multiply'?"]),
    (
        [(P, chain("resample", {"name": "multiply", "factors": [0]}))],
        ["arms[1].perturbation.steps[1].factors[0] = 0", "above 0"],
    ),
    (
        [(P, chain(chain({"name": "resample", "probabilty": 1})))],
        ["arms[1].perturbation.steps[0].steps[0].probabilty = 1", "did you mean 'probability'?"],
    ),
    (
        [(P, chain({"name": "multiply", "bounds": "reflect"}, "gaussian"))],
        ["arms[1].perturbation.steps = ['clip', 'reflect']", "agree on the `bounds` of depth", "arm 'pbt'"],
    ),
    (
        [(P, each(lrr="none"))],
        ["arms[1].perturbation.parameters.lrr = 'NoPerturbation'", "depth, kind, lr", "arm 'pbt'"],
    ),
    ([(P, each(lr="nnoe"))], ["arms[1].perturbation.parameters.lr = 'nnoe'", "did you mean 'none'?"]),
    ([(P, {"name": "per_parameter", "parameters": [1]})], ["arms[1].perturbation.parameters = [1]", "a table"]),
    (
        [(P, each(lr=chain("none", {"name": "gaussian", "sigma": 0})))],
        ["arms[1].perturbation.parameters.lr.steps[1].sigma = 0", "above 0"],
    ),
    (
        [(P, {"name": "per_parameter", "default": {"name": "gaussian", "sgma": 1}})],
        ["arms[1].perturbation.default.sgma = 1", "did you mean 'sigma'?"],
    ),
    # Optuna's samplers and pruners
    ([("arms.1", TPE | {"sampler": "cma-es"})], ["arms[1].sampler = 'cma-es'", "unknown sampler", "mean 'cmaes'?"]),
    ([("arms.1", TPE | {"sampler": {"name": "gpp"}})], ["arms[1].sampler.name = 'gpp'", "did you mean 'gp'?"]),
    ([("arms.1", TPE | {"sampler": {"multivariate": True}})], ["arms[1].sampler.name: missing", "tpe"]),
    (
        [("arms.1", TPE | {"sampler": {"name": "tpe", "multivariat": True}})],
        ["arms[1].sampler.multivariat = True", "did you mean 'multivariate'?"],
    ),
    ([("arms.1", TPE | {"sampler": {"name": "tpe", "group": 1}})], ["arms[1].sampler.group = 1", "true or false"]),
    (
        [("arms.1", TPE | {"sampler": {"name": "cmaes", "popsize": 3}})],
        ["arms[1].sampler.popsize = 3", "of at least 4"],
    ),
    (
        [("arms.1", TPE | {"sampler": {"name": "qmc", "qmc_type": "sobo"}})],
        ["arms[1].sampler.qmc_type = 'sobo'", "'sobol', 'halton'", "did you mean 'sobol'?"],
    ),
    (
        [("arms.1", TPE | {"sampler": {"name": "tpe", "multivariate": False, "group": True}})],
        ["arms[1].sampler.group = True", "multivariate = false"],
    ),
    ([("arms.1", TPE | {"pruner": "medain"})], ["arms[1].pruner = 'medain'", "unknown pruner", "mean 'median'?"]),
    (
        [("arms.1", TPE | {"pruner": {"name": "median", "n_warmup": 1}})],
        ["arms[1].pruner.n_warmup = 1", "did you mean 'n_warmup_steps'?"],
    ),
    (
        [("arms.1", TPE | {"pruner": {"name": "percentile", "percentile": 0}})],
        ["arms[1].pruner.percentile = 0", "above 0 and at most 100"],
    ),
    ([("arms.1", TPE | {"pruner": "threshold"})], ["arms[1].pruner.upper", "a number, unless lower is given"]),
    (
        [("arms.1", TPE | {"pruner": {"name": "hyperband", "min_resource": 999}})],
        ["arms[1].pruner.min_resource = 999", "no trial is ever stopped"],
    ),
    (
        [("arms.1", TPE | {"pruner": {"name": "patient", "wrapped": {"name": "hyperbund"}}})],
        ["arms[1].pruner.wrapped.name = 'hyperbund'", "did you mean 'hyperband'?"],
    ),
    # the comparison
    ([("comparison.baseline", "randon")], ["comparison.baseline = 'randon'", "'random', 'pbt'", "mean 'random'?"]),
    ([("comparison.metric", "eror")], ["comparison.metric = 'eror'", "'error', 'loss'", "did you mean 'error'?"]),
    ([("comparison.alpha", 1)], ["comparison.alpha = 1", "above 0 and below 1"]),
    ([("comparison.metric", GONE)], ["comparison.metric: missing"]),
    ([("comparison.metrik", 1)], ["comparison.metrik = 1", "did you mean 'metric'?"]),
    ([("arms", GOOD["arms"][:1])], ["comparison: needs at least two arms; the study has 1"]),
]


@pytest.mark.parametrize(("edits", "said"), BAD, ids=[str(said[0]) for _, said in BAD])
def test_bad_input_is_named(edits, said):
    message = problems_of(edited(*edits))
    first = message.splitlines()[0]
    assert first.startswith("s.toml: ")
    assert [text for text in said if text not in message] == []


def test_all_problems_come_together():
    edits = [("study.budget", nan), ("task.rate", "x"), ("arms.0.stream", -1), ("arms.1.explore", 3), ("x", 1)]
    lines = problems_of(edited(*edits, ("comparison.baseline", "me"))).splitlines()
    keys = [line.removeprefix("s.toml: ").split(" = ")[0] for line in lines]
    assert keys == ["x", "study.budget", "task.rate", "arms[0].stream", "arms[1].explore", "comparison.baseline"]


def test_damaged_data_are_an_input_error_of_their_own():
    with pytest.raises(DataError, match=r"train\.gz is damaged"):
        parse_study(edited(("task.broken", True)))
    assert "study.initial[0]" in problems_of(edited(("task.broken", True), ("study.initial", [{}])))


@pytest.mark.parametrize("error", [FileNotFoundError("no train.gz here"), ValueError("no digits"), KeyError("train")])
def test_data_that_cannot_be_loaded_are_named_with_the_line(monkeypatch, error):
    def development_data(self):
        raise error

    monkeypatch.setattr(Pictures, "development_data", development_data)
    message = problems_of(GOOD)
    assert message.startswith(f"s.toml: task: its data cannot be loaded: {type(error).__name__}: {error}; ")
    assert "test_file.py, line" in message


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_missing_file_names_the_nearest(tmp_path):
    (tmp_path / "mnist.toml").touch()
    with pytest.raises(SpecError, match=r"minst\.toml: study file: there is no such file \(did you mean 'mnist\.toml'"):
        load_study(tmp_path / "minst.toml")


def test_a_folder_is_no_study(tmp_path):
    with pytest.raises(SpecError, match="cannot be read: Is a directory"):
        load_study(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[study]\nname = \n", "not TOML: Invalid value .at line 2"),
        (b"\xff\xfe", "not UTF-8 text: byte 0"),
        (b"x = " + b"9" * 5000, "not TOML: "),
        (b"x = " + b"[" * 100_000, "not TOML: "),
        (b"", "study: missing"),
    ],
)
def test_a_file_that_is_no_study(tmp_path, content, said):
    (tmp_path / "s.toml").write_bytes(content)
    with pytest.raises(SpecError, match=said) as caught:
        load_study(tmp_path / "s.toml")
    assert str(caught.value).startswith(str(tmp_path / "s.toml"))


@pytest.mark.parametrize("path", sorted(STUDIES.rglob("*.toml")), ids=lambda path: path.stem)
def test_shipped_studies(path):
    try:
        specs = load_studies(path)
    except DataError as error:  # nothing else may be wrong with a study of data that have to be fetched
        pytest.skip(str(error))
    for spec in specs:
        _check_shipped(spec)
    if len(specs) == 1:
        parts = path.relative_to(STUDIES).with_suffix("").parts
        assert specs[0].name == "_".join(parts)


def _check_shipped(spec):
    again = parse_study(spec.document)
    assert again.document == spec.document
    assert again.arms == spec.arms
    assert changed_keys(spec.document, again.document) == []


def test_the_main_study_is_the_experiment():
    spec = load_study(STUDIES / "mnist_pbt_vs_random.toml")
    assert (spec.seeds, spec.population_size, spec.intervals) == (tuple(range(10)), 15, 20)
    assert [arm.label for arm in spec.arms] == ["random", "pbt-truncation", "pbt-exploit-best"]
    assert spec.space["lr"] == Float(1e-5, 1.0, log=True)
    assert spec.space["momentum"] == Float(0.1, 0.9999)


# --- lists of studies ---------------------------------------------------------------------------------------------------


def listing(folder, names, **more):
    (folder / "all.toml").write_text(tomli_w.dumps({"studies": names} | more))
    return folder / "all.toml"


def test_a_list_of_studies(tmp_path):
    (tmp_path / "more").mkdir()
    for name in ("one", "more/two"):
        (tmp_path / f"{name}.toml").write_text(tomli_w.dumps(edited(("study.name", name[-3:]))))
    path = listing(tmp_path, ["one.toml", "more/two.toml"])
    assert [spec.name for spec in load_studies(path)] == ["one", "two"]
    assert [spec.name for spec in load_studies(tmp_path / "one.toml")] == ["one"]
    with pytest.raises(SpecError, match="one study, not a list"):
        load_study(path)


@pytest.mark.parametrize(
    ("names", "more", "said"),
    [
        ([], {}, "studies = .*: a list of "),
        ("one.toml", {}, "studies = 'one.toml': a list of "),
        ([1], {}, "a list of "),
        (["one.toml"], {"study": {}}, "study: unknown key"),
        (["oen.toml"], {}, "no such file .*did you mean 'one.toml'"),
        (["one.toml", "./one.toml"], {}, "studies = s: studies with different names"),
        (["all.toml"], {}, "one study, not a list"),
    ],
)
def test_a_wrong_list_of_studies(tmp_path, names, more, said):
    (tmp_path / "one.toml").write_text(tomli_w.dumps(edited(("study.name", "s"))))
    with pytest.raises(SpecError, match=said):
        load_studies(listing(tmp_path, names, **more))


# --- the task's module -------------------------------------------------------------------------------------------------

MODULE = """
from hpo.core import registry
from tests_helper_of_a_module import Steps
registry.register_task({name!r})(Steps)
"""


@pytest.fixture
def isolated(monkeypatch):
    import sys

    monkeypatch.setattr(registry.tasks, "_classes", dict(registry.tasks._classes))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", sys.modules)
    monkeypatch.setitem(sys.modules, "tests_helper_of_a_module", SimpleNamespace(Steps=Steps))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def toml_with(module: str, task: str) -> str:
    return (
        f'[study]\nname = "s"\npopulation_size = 1\nbudget = 2\ninterval = 1\n[task]\nmodule = "{module}"\n'
        f'name = "{task}"\n[[arms]]\nlabel = "a"\noptimizer = "random_search"\n'
    )


@pytest.mark.usefixtures("isolated")
def test_a_module_beside_the_study_file_registers_its_task(tmp_path):
    (tmp_path / "spec_own_tasks.py").write_text(MODULE.format(name="steps_of_mine"))
    (tmp_path / "s.toml").write_text(toml_with("spec_own_tasks", "steps_of_mine"))
    spec = load_study(tmp_path / "s.toml")
    assert isinstance(spec, StudySpec)
    assert (spec.bound.name, spec.bound.modules) == ("steps_of_mine", ("spec_own_tasks",))
    assert spec.bound.search_path[0] == str(tmp_path.resolve())
    assert isinstance(spec.task, Steps)


@pytest.mark.usefixtures("isolated")
@pytest.mark.parametrize(
    ("body", "asked", "said"),
    [
        ("1 / 0\n", "spec_own_a", r"task.module = 'spec_own_a': cannot be imported: ZeroDivisionError.*_a.py, line 1"),
        ("raise SystemExit\n", "spec_own_a", r"cannot be imported: SystemExit"),
        ("def", "spec_own_a", r"cannot be imported: SyntaxError"),
        ("", "spec_own_b", r"ModuleNotFoundError.*looked in .*did you mean 'spec_own_a'"),
    ],
)
def test_a_module_that_cannot_be_imported(tmp_path, body, asked, said):
    (tmp_path / "spec_own_a.py").write_text(body)
    (tmp_path / "s.toml").write_text(toml_with(asked, "steps"))
    with pytest.raises(SpecError, match=said):
        load_study(tmp_path / "s.toml")


@pytest.mark.usefixtures("isolated")
def test_two_modules_of_one_name_are_not_confused(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "spec_own_c.py").write_text("")
        (tmp_path / folder / "s.toml").write_text(toml_with("spec_own_c", "steps"))
    load_study(tmp_path / "one" / "s.toml")
    with pytest.raises(SpecError, match="another module of that name is loaded already"):
        load_study(tmp_path / "two" / "s.toml")


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "gp", "qmc", "random"])
def test_a_samplers_name_is_an_optimizer(sampler):
    """Fault 32: `optimizer = "tpe"` means `optuna` with that sampler, and the two go on with each other's work."""
    arm = {"label": "random", "initial": 2}
    short = parse_study(edited(("arms.0", arm | {"optimizer": sampler})))
    long = parse_study(edited(("arms.0", arm | {"optimizer": "optuna", "sampler": sampler})))
    assert short.arms == long.arms
    assert resolved(short) == resolved(long)
    assert short.arms[0].optimizer_name == "optuna"


def test_a_samplers_options_may_be_the_arms():
    arm = {"label": "random", "optimizer": "tpe", "initial": 2, "n_ei_candidates": 7, "pruner": "hyperband"}
    optimizer = parse_study(edited(("arms.0", arm))).arms[0].optimizer
    assert (optimizer.sampler.n_ei_candidates, optimizer.initial) == (7, 2)
    assert type(optimizer.pruner).__name__ == "HyperbandPruner"


# --- changes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "edits",
    [
        [],
        [("study.replicates", 30)],
        [("study.replicates", GONE), ("study.seeds", [2, 0, 1])],
        [("study.replicates", GONE), ("study.seeds", [9, 0, 1, 2])],
        [("comparison", GONE)],
        [("comparison.alpha", 0.01)],
        [("arms", [{"label": "new", "optimizer": "pbt"}, *reversed(GOOD["arms"])])],
        [("study.budget", 2.0)],
    ],
)
def test_changes_that_alter_no_finished_work(edits):
    assert changed_keys(GOOD, edited(*edits)) == []


@pytest.mark.parametrize(
    ("edits", "lines"),
    [
        ([("study.interval", 1.0)], ["study.interval: 0.5 -> 1.0"]),
        ([("study.replicates", 1)], ["study.seeds: removed 1, 2"]),
        ([("study.replicates", GONE), ("study.seeds", [0, 2, 5])], ["study.seeds: removed 1"]),
        ([("arms", GOOD["arms"][:1])], ["arms[pbt]: removed"]),
        ([("arms.1.selection.name", "none")], ["arms[pbt].selection.name: 'truncation' -> 'none'"]),
        (
            [(P, chain("resample", each(lr="none")))],
            [
                "arms[pbt].perturbation.name: 'multiply' -> 'chain'",
                "arms[pbt].perturbation.factors: [1.2, 0.8] -> (absent)",
                "arms[pbt].perturbation.bounds: 'clip' -> (absent)",
                "arms[pbt].perturbation.steps[0]: (absent) -> 'resample'",
                "arms[pbt].perturbation.steps[1].name: (absent) -> 'per_parameter'",
                "arms[pbt].perturbation.steps[1].parameters.lr: (absent) -> 'none'",
            ],
        ),
        ([("arms.0.stream", 1)], ["arms[random].stream: (absent) -> 1"]),
        ([("arms.1.perturbation.factors", [1.2, 0.9])], ["arms[pbt].perturbation.factors: [1.2, 0.8] -> [1.2, 0.9]"]),
        ([("task.search_space.lr.log", GONE)], ["task.search_space.lr.log: True -> (absent)"]),
        ([("task.search_space.lr.log", 1)], ["task.search_space.lr.log: True -> 1"]),
        ([("study.initial", [{"lr": 1.0}])], ["study.initial[0].lr: (absent) -> 1.0"]),
    ],
)
def test_changes_that_alter_finished_work(edits, lines):
    assert changed_keys(GOOD, edited(*edits)) == lines


NESTED = chain(
    "resample",
    {
        "name": "per_parameter",
        "default": {"name": "gaussian", "sigma": 0.3},
        "parameters": {"lr": chain({"name": "multiply", "factors": [2]}, "none"), "depth": "neighbour"},
    },
)


def test_nested_plugins_come_back_as_they_were_written():
    spec = parse_study(edited((P, NESTED)))
    written = registry.to_table(spec.arms[1].optimizer)
    assert written["perturbation"] == chain(
        {"name": "resample", "probability": 0.25},
        {
            "name": "per_parameter",
            "default": {"name": "gaussian", "sigma": 0.3, "bounds": "clip"},
            "parameters": {
                "lr": chain(
                    {"name": "multiply", "factors": [2.0], "bounds": "clip"}, {"name": "none", "bounds": "clip"}
                ),
                "depth": {"name": "neighbour", "bounds": "clip"},
            },
        },
    )
    again = parse_study(edited((P, json.loads(json.dumps(written["perturbation"])))))
    assert again.arms[1].optimizer == spec.arms[1].optimizer
    assert changed_keys(resolved(spec), resolved(again)) == []
    other = parse_study(edited((P, {**NESTED, "steps": ["none", NESTED["steps"][1]]})))
    assert changed_keys(resolved(spec), resolved(other)) == [
        "arms[pbt].perturbation.steps[0].name: 'resample' -> 'none'",
        "arms[pbt].perturbation.steps[0].probability: 0.25 -> (absent)",
        "arms[pbt].perturbation.steps[0].bounds: (absent) -> 'clip'",
    ]


def test_plugins_may_lie_as_deep_as_one_likes():
    deep: Any = "multiply"
    for _ in range(40):
        deep = chain(deep)
    optimizer = parse_study(edited((P, deep))).arms[1].optimizer
    assert str(registry.to_table(optimizer)).count("'chain'") == 40


def test_flatten():
    leaves = flatten(GOOD)
    assert leaves["arms[pbt].selection.name"] == "truncation"
    assert leaves["arms[pbt].perturbation.factors"] == [1.2, 0.8]
    assert leaves["task.search_space.lr.low"] == 1e-3
    assert flatten({"study": {"initial": [{"a": 1}, {"a": 2}]}, "task": {}}) == {
        "study.initial[0].a": 1,
        "study.initial[1].a": 2,
        "task": {},
    }


# --- anything at all ---------------------------------------------------------------------------------------------------

WORDS = st.sampled_from(["study", "task", "arms", "comparison", "name", "label", "lr", "type", "low", "seeds", "pbt"])
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 20),
    st.sampled_from([10**400, -(10**30), 2**63, 0.5, 1e308, 5e-324, -0.0]),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["\ud800", "a\0b", "float", "truncation", "none", "random", "steps"]),
    st.dates(),
    WORDS,
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every item at any depth."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in items for found in [(*path, key), *paths(item, (*path, key))]]


PATHS = paths(GOOD)


def check_judged(document: Any) -> None:
    try:
        spec = parse_study(document)
    except InputError:
        return
    assert spec.intervals * spec.interval == spec.budget
    assert changed_keys(document, spec.document) == []


@settings(max_examples=cases(75))
@given(st.dictionaries(WORDS | st.text(max_size=4), VALUES, max_size=5))
def test_any_document_is_judged(document):
    check_judged(document)


@settings(max_examples=cases(100))
@given(st.lists(st.tuples(st.sampled_from(PATHS), st.sampled_from(["put", "drop", "add"]), WORDS, VALUES), max_size=3))
def test_any_mutation_of_a_good_document_is_judged(mutations):
    document = copy.deepcopy(GOOD)
    for path, what, word, value in mutations:
        at: Any = document
        try:
            for part in path[:-1]:
                at = at[part]
            if what == "drop":
                del at[path[-1]]
            elif what == "put":
                at[path[-1]] = value
            else:
                at[path[-1]][word] = value
        except (KeyError, IndexError, TypeError):
            continue  # an earlier mutation took the place away
    check_judged(document)
