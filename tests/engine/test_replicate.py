"""One arm in one replicate: whose optimizer it was that went wrong."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
from helpers import RANDOM, document, results, run

from hpo.core import registry
from hpo.core.errors import OptimizerError, SpecError, StudyFailed
from hpo.optimizers.random_search import RandomSearch, RandomSearchRun
from hpo.store import Store


@dataclass(frozen=True)
class Own(RandomSearch):
    """Random search with something in the place of one of its methods."""

    method: ClassVar[str]
    instead: ClassVar[Callable[..., Any]]

    def start(self, problem):
        run = RandomSearchRun(self, problem)
        if problem.streams.seed == 1:
            setattr(run, self.method, type(self).instead)
        return run


@pytest.fixture
def own(monkeypatch):
    """Return a function that runs a study with an optimizer whose method is another one with seed 1."""
    monkeypatch.setitem(registry.optimizers._classes, "own", Own)

    def go(run_dir, method, instead):
        monkeypatch.setattr(Own, "method", method, raising=False)
        monkeypatch.setattr(Own, "instead", staticmethod(instead), raising=False)
        return run(document(arms=(RANDOM, {"label": "mine", "optimizer": "own"})), run_dir).results

    return go


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"exploits": 3}, "counts exploits, which the engine counts itself"),
        ({"rungs": 1, "test": 2, "selected": 3}, "counts selected, test, which the engine counts itself"),
        ({"rungs": 1.0}, "counts are not whole numbers: {'rungs': 1.0}"),
        ({"rungs": np.float64(2)}, "counts are not whole numbers"),
        ({"rungs": "3"}, "counts are not whole numbers"),
    ],
)
def test_counts_that_are_the_engines_or_no_whole_numbers_are_refused(own, tmp_path, counts, said):
    with pytest.raises(OptimizerError) as raised:
        own(tmp_path, "counts", lambda: counts)
    assert f"{tmp_path}: arm 'mine', seed 1: the optimizer" in str(raised.value)
    assert said in str(raised.value)
    assert [replicate["seed"] for replicate in results(tmp_path)["replicates"]] == [0]


def test_counts_may_be_whole_numbers_of_numpy(own, tmp_path):
    own(tmp_path, "counts", lambda: {"rungs": np.int64(3), "stopped": np.uint8(2), "boundary_hits": 1})
    first, second = (replicate["arms"]["mine"] for replicate in results(tmp_path)["replicates"])
    assert (second["rungs"], second["stopped"], second["boundary_hits"]) == (3, 2, 1)
    assert "rungs" not in first


def raises(*_):
    raise ZeroDivisionError("the cause to be mended")


@pytest.mark.parametrize("method", ["ask", "tell", "best", "counts"])
def test_an_exception_in_an_optimizer_names_arm_and_seed(own, tmp_path, method):
    with pytest.raises(StudyFailed) as raised:
        own(tmp_path, method, raises)
    assert str(raised.value).startswith(f"{tmp_path}: arm 'mine', seed 1: an exception in the optimizer:\nTraceback")
    assert "test_replicate.py" in str(raised.value)
    assert str(raised.value).endswith("ZeroDivisionError: the cause to be mended\n")
    assert [replicate["seed"] for replicate in results(tmp_path)["replicates"]] == [0]


def test_a_broken_contract_names_arm_and_seed(own, tmp_path):
    with pytest.raises(OptimizerError, match="arm 'mine', seed 1: the optimizer's best segment 'none' is not"):
        own(tmp_path, "best", lambda: "none")


def test_an_optimizer_that_cannot_start_is_named_before_anything_runs(monkeypatch, tmp_path):
    @dataclass(frozen=True)
    class Stuck(RandomSearch):
        def start(self, problem):
            raise KeyError("no such table")

    monkeypatch.setitem(registry.optimizers._classes, "stuck", Stuck)
    with pytest.raises(SpecError, match=r"arms\[1\] \(arm 'mine'\)|arms\[1\].*KeyError: 'no such table'") as raised:
        run(document(arms=(RANDOM, {"label": "mine", "optimizer": "stuck"})), tmp_path / "run")
    assert "mine" in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_a_directory_in_which_nothing_was_begun_takes_any_study(tmp_path):
    with Store(tmp_path) as store:
        store.study.set_meta("study", "{}")  # a session that was interrupted before its first segment
    assert len(run(document(budget=3), tmp_path).results["replicates"]) == 2


def test_the_order_in_which_an_optimizer_names_hyperparameters_shows_nowhere(monkeypatch, tmp_path):
    class Backwards(RandomSearchRun):
        def ask(self, free):
            asked = super().ask(free)
            return [replace(segment, hparams=dict(reversed(segment.hparams.items()))) for segment in asked]

    @dataclass(frozen=True)
    class FromBehind(RandomSearch):
        def start(self, problem):
            return Backwards(self, problem)

    monkeypatch.setitem(registry.optimizers._classes, "backwards", FromBehind)
    plain = run(document(arms=({"label": "a", "optimizer": "random_search"},)), tmp_path / "plain")
    behind = run(document(arms=({"label": "a", "optimizer": "backwards"},)), tmp_path / "behind")
    assert json.dumps(behind.results["replicates"]) == json.dumps(plain.results["replicates"])
