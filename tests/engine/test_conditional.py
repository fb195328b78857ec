"""Conditional hyperparameters from the study file to the report: only what is active is trained with, written and shown."""

import csv
import itertools
import re

import pytest
import torch
from conditional_tasks import Choosing
from helpers import HERE, PBT, RANDOM, TPE, answer, document, results, run
from hypothesis import given
from hypothesis import strategies as st

import hpo
from hpo.core.derived_arms import replayed
from hpo.core.seeding import Streams
from hpo.core.segments import Segment
from hpo.optimizers.random_search import RandomSearch
from hpo.report.build import build_report
from hpo.report.numbers import NONE
from hpo.testing import SPACES, drive, problem

BONUS = {"type": "float", "low": 0, "high": 1, "when": {"optimizer": "adam", "layers": [1, 2]}}
ARMS = (
    {**RANDOM, "label": "random"},
    {**PBT, "label": "pbt", "explore": "all"},
    {**PBT, "label": "weights", "inherit": "weights", "without": ["bonus"]},
    {**TPE, "label": "tpe"},
    {"label": "shuffled", "derived_from": "pbt", "replay": "shuffled"},
    {"label": "last", "derived_from": "weights", "replay": "constant_best"},
)
GIVEN = {"lr": 0.1, "optimizer": "sgd", "momentum": 0.5, "nesterov": True, "layers": 1}


def choosing():
    task = {"name": "choosing", "module": "conditional_tasks", "search_space": {"bonus": BONUS}}
    return document(task, arms=ARMS, population_size=6, budget=3, initial=[GIVEN])


@pytest.fixture(scope="module")
def chosen(tmp_path_factory):
    """Return the run directory of a study of every kind of arm."""
    return run(choosing(), tmp_path_factory.mktemp("choosing") / "run").run_dir


def active(optimizer, layers, *, bonus):
    names = {"lr", "optimizer", "layers"} | ({"width"} if int(layers) == 2 else set())
    if optimizer == "sgd":
        return names | {"momentum", "nesterov"}
    return names | {"weight_decay"} | ({"bonus"} if bonus else set())


def test_segments_and_schedules_hold_exactly_what_is_active(chosen):
    seen = set()
    with (chosen / "segments.csv").open() as file:
        for row in csv.DictReader(file):
            hparams = {name.removeprefix("hparam:"): row[name] for name in row if name.startswith("hparam:")}
            bonus = row["arm"] not in ("weights", "last")
            expected = active(hparams["optimizer"], hparams["layers"], bonus=bonus)
            assert {name for name, value in hparams.items() if value} == expected
            seen.add((hparams["optimizer"], hparams["layers"]))
            if row["member"] == row["interval"] == "0" and row["arm"] != "tpe":
                assert (hparams["optimizer"], hparams["momentum"], hparams["weight_decay"]) == ("sgd", "0.5", "")
    assert seen == set(itertools.product(("sgd", "adam"), "12"))
    for replicate in results(chosen)["replicates"]:
        for label, arm in replicate["arms"].items():
            for step in arm["schedule"]:
                found = step["hparams"]
                bonus = label not in ("weights", "last")
                assert found.keys() == active(found["optimizer"], found["layers"], bonus=bonus)


def test_some_members_copy_and_all_models_load(chosen):
    found = results(chosen)
    assert sum(replicate["arms"]["weights"]["exploits"] for replicate in found["replicates"]) > 0
    for label in [arm["label"] for arm in ARMS]:
        model = hpo.load_model(chosen, label, 0, search_path=[HERE])
        data = Choosing().test_data()
        with torch.inference_mode():
            wrong = int((model(data.inputs).argmax(1) != data.targets).sum())
        assert wrong == found["replicates"][0]["arms"][label]["test"]["error_count"]


@pytest.mark.slow
def test_two_workers_give_the_same_answer(chosen, tmp_path):
    again = run(choosing(), tmp_path / "run", executor="process", workers=2).run_dir
    assert answer(again) == answer(chosen)


def test_the_report_shows_what_is_active_and_leaves_the_rest_blank(chosen):
    text = build_report(chosen).read_text()
    names = [*Choosing.search_space, "bonus"]
    for label in ("random", "pbt"):
        step = results(chosen)["replicates"][0]["arms"][label]["schedule"][0]["hparams"]
        table = text[text.index(f"<strong>{label}: member") :].partition("<tbody>")[2]
        cells = dict(zip(names, re.findall(r"<td.*?>(.*?)</td>", table)[2:], strict=False))
        assert {name for name in names if cells[name] != NONE} == step.keys()
    figures = [path.name for path in (chosen / "figures").iterdir()]
    assert {"hyperparameters-seed-0.png", "schedule-seed-0.png"} <= set(figures)


@given(st.integers(0, 50), st.sampled_from(["schedule", "constant_best", "shuffled"]))
def test_a_replay_keeps_what_is_held_and_active_at_the_root(seed, replay):
    """Also along a path whose segments were never one search's: each has another member's hyperparameters."""
    space = SPACES["conditional"]
    drawn = [segment.hparams for segment in drive(RandomSearch(), problem(5, 1, space, seed=seed)).segments]
    path = [Segment(0, None, interval, hparams) for interval, hparams in enumerate(drawn)]
    for segment in replayed(path, replay, space, Streams(seed)):
        assert segment.hparams.keys() == drawn[0].keys()
        assert space.outside(segment.hparams) == []
        assert all(segment.hparams[name] == drawn[0][name] for name in space.held & drawn[0].keys())
