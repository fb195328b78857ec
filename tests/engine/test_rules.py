"""Studies of tasks with a rule across hyperparameters."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from helpers import PBT, RANDOM, TPE, Interrupts, answer, document, results, run, sessions
from ruled_tasks import half
from tried_tasks import Points, frozen, registered, tried

import hpo
from hpo.core.errors import SpecError, StudyFailed
from hpo.core.space import Int
from hpo.execution.sanity.configurations import covering_configurations
from hpo.report.build import build_report
from hpo.tasks.toy import Toy
from hpo.testing import SPACES

NOISE = {"name": "gaussian", "sigma": 0.3}
ARMS = (
    RANDOM,
    PBT | {"explore": "all", "perturbation": NOISE},
    TPE,
    {"label": "sobol", "optimizer": "quasi_random"},
    {"label": "shuffled", "derived_from": "pbt", "replay": "shuffled"},
)


def ruled(arms: Any = ARMS, **study: Any) -> dict[str, Any]:
    """Return a study whose task fails if it is trained with infeasible hyperparameters."""
    table = {"name": "ruled", "module": "ruled_tasks", "evaluation_noise": 0.05}
    return document(table, arms, **{"replicates": 2, "population_size": 6, **study})


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(ruled(), tmp_path_factory.mktemp("ruled") / "run").run_dir


def test_what_was_replaced_is_counted_and_reported(undisturbed: Path) -> None:
    totals = dict.fromkeys(["random", "pbt", "tpe", "sobol", "shuffled"], 0)
    for replicate in results(undisturbed)["replicates"]:
        for label, arm in replicate["arms"].items():
            totals[label] += arm["infeasible_proposals"]
            assert all(half(step["hparams"]) for step in arm["schedule"])
    assert totals["random"] == 0
    assert totals["shuffled"] == totals["pbt"] > 0
    assert totals["sobol"] > 0
    build_report(undisturbed)
    text = (undisturbed / "report.md").read_text()
    (row,) = [line for line in text.splitlines() if "infeasible proposals" in line]
    assert [int(cell) for cell in row.strip("| ").split("|")[1:-1]] == list(totals.values())


def test_two_workers_give_the_same_answer(undisturbed: Path, tmp_path: Path) -> None:
    run(ruled(), tmp_path, executor="process", workers=2)
    assert answer(tmp_path) == answer(undisturbed)


@pytest.mark.parametrize("options", [{}, {"follow_journal": True}])
def test_resumed_it_has_the_same_answer_and_counts(undisturbed: Path, tmp_path: Path, options: Any) -> None:
    with suppress(KeyboardInterrupt):
        run(ruled(), tmp_path, observer=Interrupts(150))
    run(ruled(), tmp_path, **options)
    assert answer(tmp_path) == answer(undisturbed)


def test_a_rule_is_in_no_key(tmp_path: Path) -> None:
    """Segments that a study without the rule has trained are taken from the store."""
    given = [{"h0": 0.8, "h1": 0.2}, {"h0": 0.9, "h1": 0.1}]
    computed = []
    for number, rule in enumerate((None, half)):
        rules = {} if rule is None else {"is_feasible": staticmethod(rule)}
        cls = frozen(type("Tried", (Toy,), {"__annotations__": {}, "version": "1", **rules}))
        with registered(cls) as name:
            study = document({"name": name}, (RANDOM,), replicates=1, population_size=2, initial=given)
            found = run(study, tmp_path / str(number), store=tmp_path / "store")
        computed.append(sessions(found.run_dir)[-1]["segments_computed"])
    assert computed[0] > computed[1] == 0


# --- mistakes --------------------------------------------------------------------------------------------------------


def raising(hparams: Any) -> bool:
    return bool(hparams["typo"])


@pytest.mark.parametrize("rule", [raising, lambda hparams: None, lambda hparams: False])
def test_a_rule_that_fails_or_leaves_nothing_is_an_error_of_the_study(rule: Any) -> None:
    cls = type("Tried", (Points,), {"__annotations__": {}, "is_feasible": lambda self, hparams: rule(hparams)})
    with registered(frozen(cls)) as name, pytest.raises(SpecError) as error:
        hpo.parse_study(document({"name": name}))
    assert [problem.key for problem in error.value.problems] == ["task.feasible"]


def test_infeasible_initial_members_are_an_error_of_the_file() -> None:
    initial = [{"h0": 0.8, "h1": 0.2}, {"h0": 0.3, "h1": 0.2}]
    with pytest.raises(SpecError) as error:
        run(ruled((RANDOM,), initial=initial), Path("nowhere"))
    assert [problem.key for problem in error.value.problems] == ["study.initial[1]"]


def test_a_rule_that_fails_later_stops_the_study_and_keeps_what_is_finished(tmp_path: Path) -> None:
    class Late(Points):
        fails = True

        def is_feasible(self, hparams: Any) -> bool:
            if type(self).fails and hparams["lr"] > 0.1 - 1e-9:
                raise ZeroDivisionError("late")
            return True

    arms = (PBT | {"explore": "all", "perturbation": {"name": "multiply", "factors": [100]}},)
    with registered(frozen(Late)) as name:
        study = document({"name": name}, arms, replicates=1, budget=2)
        with pytest.raises(StudyFailed, match="late"):
            run(study, tmp_path)
        Late.fails = False
        found = run(study, tmp_path)
    assert sessions(found.run_dir)[-1]["cache_hits"] >= 4


# --- before the start ------------------------------------------------------------------------------------------------


def test_what_is_tried_before_the_start_is_feasible() -> None:
    class Parts(Points):
        search_space = hpo.SearchSpace({**Points.search_space, "batch_size": Int(4, 64), "part": Int(2, 40)})

        def is_feasible(self, hparams: Any) -> bool:
            return int(hparams["batch_size"]) >= 2 * int(hparams["part"])

        def train(self, state: Any, hparams: Any, batches: Any) -> Any:
            assert self.is_feasible(hparams)
            assert batches.size == hparams["batch_size"]
            return super().train(state, hparams, batches)

    tried(frozen(Parts), arms=(RANDOM, PBT))


def test_configurations_keep_their_choices_where_the_rule_allows_it() -> None:
    mixed = hpo.SearchSpace(
        SPACES["mixed"].parameters, lambda h: h["activation"] != "tanh" and (h["layers"] <= 2 or h["batch"] == 128)
    )
    found, complete = covering_configurations(mixed)
    assert all(mixed.is_feasible(each) for each in found)
    assert {each["activation"] for each in found} == {"relu", "gelu"}
    assert {each["batch"] for each in found} == {16, 32, 64, 128}
    assert not complete  # no configuration can have tanh
