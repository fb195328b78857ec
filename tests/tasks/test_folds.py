"""Cross-validation of functions: `folds = k`."""

import re
from typing import Any

import numpy as np
import pytest
from helpers import cli, results, write_study

import hpo

SPACE = {"x": hpo.Float(0.0, 1.0)}
LABELS = ["a"] * 30 + ["b"] * 6 + ["c"] * 12
CALLS: list[tuple[Any, Any]] = []


def objective(hparams: Any, train: Any, validation: Any) -> dict[str, float]:
    CALLS.append((train, validation))
    return {"error": hparams["x"] + validation[0] / 100, "size": len(train)}


def tune(out: Any, function: Any = objective, **options: Any) -> Any:
    CALLS.clear()
    return hpo.tune(
        function, SPACE, **{"metric": "error", "trials": 4, "report": False, "out": out, "folds": 3, **options}
    )


@pytest.mark.parametrize("divided", [{"examples": 17}, {"labels": LABELS}], ids=["number", "labels"])
def test_every_trial_is_called_with_the_same_folds(tmp_path, divided):
    frame = tune(tmp_path, **divided).frame()
    everything = [*range(divided.get("examples", len(LABELS)))]
    assert len(CALLS) == 4 * 3
    for trial in range(4):
        folds = CALLS[3 * trial : 3 * trial + 3]
        assert sorted(np.concatenate([held for _, held in folds])) == everything
        for (train, held), (same, _) in zip(folds, CALLS[:3], strict=True):
            assert np.array_equal(train, same)
            assert sorted([*train, *held]) == everything
            assert [*train, *held] == [*sorted(train), *sorted(held)]
    by_fold = frame[[f"error_fold_{number}" for number in (1, 2, 3)]].to_numpy()
    first = np.array([held[0] for _, held in CALLS[:3]])
    assert np.allclose(by_fold, frame[["x"]].to_numpy() + first / 100)
    assert np.allclose(frame["error"], by_fold.mean(1))
    assert [*frame["size"]] == [pytest.approx(len(everything) * 2 / 3)] * 4


def test_the_folds_are_shuffled_by_the_seed_alone(tmp_path):
    def folds(out, **options):
        tune(tmp_path / out, examples=30, **options)
        return [tuple(held) for _, held in CALLS[:3]]

    one = folds("a")
    assert folds("b", optimizer="random_search", trials=2) == one
    assert folds("c", seed=1) != one
    assert one[0] != tuple(range(10))


def test_with_labels_every_fold_has_the_classes_in_their_proportions(tmp_path):
    tune(tmp_path, labels=np.array(LABELS), workers=2)
    tune(tmp_path, labels=np.array(LABELS), trials=5)
    for _, held in CALLS[:3]:
        assert [[LABELS[each] for each in held].count(label) for label in "abc"] == [10, 2, 4]


def test_seeds_differ_between_folds(tmp_path):
    frame = tune(tmp_path, lambda hparams, train, validation, seed: {"error": seed}, examples=9).frame()
    assert len({*frame[["error_fold_1", "error_fold_2", "error_fold_3"]].to_numpy().ravel()}) == 4 * 3


def test_a_fold_that_is_not_finite_makes_the_trial_diverge(tmp_path):
    def broken(hparams, train, validation):
        return np.nan if 0 in validation and hparams["x"] > 0.5 else hparams["x"]

    frame = tune(tmp_path, broken, metric="value", examples=9, trials=12).frame()
    assert [*frame["diverged"]] == [int(x > 0.5) for x in frame["x"]]


MODULE = """
y = [0, 1, 1] * 6

def error(hparams, train, validation):
    return (hparams["x"] - 0.3) ** 2 + validation[0] / 1000
"""


def test_a_study_with_folds_has_the_same_answer_on_two_workers(tmp_path):
    name = re.sub(r"\W", "_", tmp_path.name)
    (tmp_path / f"{name}.py").write_text(MODULE)
    study = {
        "study": {"name": "folds", "trials": 4, "replicates": 2},
        "task": {
            "function": f"{name}:error",
            "folds": 3,
            "labels": f"{name}:y",
            "search_space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
        },
        "arms": [{"label": label, "optimizer": label} for label in ("random_search", "tpe")],
        "comparison": {"baseline": "tpe", "metric": "value"},
    }
    for out, options in (("one", ["--executor", "serial"]), ("two", ["--workers", 2])):
        done = cli(write_study(tmp_path, study), "--out", tmp_path / out, *options)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "one/results.json").read_bytes() == (tmp_path / "two/results.json").read_bytes()
    for replicate in results(tmp_path / "one")["replicates"]:
        assert all(len(arm["test"]) == 1 + 3 for arm in replicate["arms"].values())
    study["task"]["labels"] = f"{name}:z"
    with pytest.raises(hpo.SpecError, match=r"task\.labels.*labels of all examples"):
        hpo.load_study(write_study(tmp_path, study))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "task.folds = 3.*examples.*labels"),
        ({"examples": 9, "labels": LABELS}, "task.folds = 3"),
        ({"folds": None, "examples": 9}, "task.examples = 9.*folds"),
        ({"folds": 1, "examples": 9}, "task.folds = 1"),
        ({"examples": 2}, "task.folds = 3.*2"),
        ({"labels": ["a", "b"] * 2}, "task.folds = 3"),
        ({"labels": np.zeros((4, 2))}, "one label per example"),
        ({"examples": 9, "function": lambda hparams: 1}, "train and validation"),
        ({"folds": None, "function": objective}, "`folds` gives it"),
    ],
)
def test_what_is_wrong_with_folds_is_named(tmp_path, options, words):
    with pytest.raises(hpo.InputError, match=words):
        tune(tmp_path, **options)
    assert not CALLS


@pytest.mark.parametrize(
    "returned", [lambda fold: {"error": "a"}, lambda fold: {"error": 1, str(fold): 1}], ids=["text", "names"]
)
def test_metrics_without_a_mean_are_named(tmp_path, returned):
    def odd(hparams, train, validation):
        return returned(validation[0])

    with pytest.raises(hpo.StudyFailed, match="odd returned"):
        tune(tmp_path, odd, examples=9)
