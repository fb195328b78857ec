"""The best answer as TOML, JSON and Python: each gives back what the search found, and the Python runs."""

import json
import tomllib
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import hpo
from hpo.schedules.best import Best
from hpo.schedules.forms import MOST_STEPS, forms

VALUES = (
    st.text(max_size=9)
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False, allow_infinity=False)
)
HPARAMS = st.dictionaries(st.text(min_size=1, max_size=5), VALUES, min_size=1, max_size=3)


def best_of(schedule: hpo.Schedule, arm: str = "pbt") -> Best:
    return Best(arm, 3, schedule.hparams[0], schedule, "error", 0.25, {"error": 0.5})


def run(code: str) -> dict[str, object]:
    names: dict[str, object] = {}
    exec(compile(code, "<report>", "exec"), names)
    return names


@given(HPARAMS, st.text(max_size=9))
def test_constant_hyperparameters_come_back_from_each_form(hparams, arm):
    found = forms(best_of(hpo.Schedule((hparams,) * 3, 0.5, "epochs"), arm))
    assert tomllib.loads(found["TOML"]) == json.loads(found["JSON"]) == hparams
    assert run(found["Python"])["hparams"] == hparams


@given(
    st.lists(HPARAMS, min_size=2, max_size=6),
    st.sampled_from([Fraction(1, 2), Fraction(1, 3), Fraction(7), Fraction("123456.789")]),
    st.text(min_size=1, max_size=9),
    st.none() | st.builds(hpo.ShrinkPerturb, st.floats(0, 2), st.floats(0, 2), st.booleans()),
)
def test_a_schedule_comes_back_from_each_form(hparams, interval, unit, change):
    members = tuple(range(len(hparams)))
    transforms = (None, *(change if "a" in each else None for each in hparams[1:]))
    schedule = hpo.Schedule(tuple(hparams), interval, unit, members=members, transforms=transforms)
    best = best_of(schedule)
    if not best.changes:
        return
    found = forms(best)
    assert hpo.Schedule.from_document(tomllib.loads(found["TOML"])) == schedule
    assert hpo.Schedule.from_document(json.loads(found["JSON"])) == schedule
    python = run(found["Python"])["schedule"]
    assert python.steps() == schedule.steps()
    assert python.weight_transforms() == schedule.weight_transforms()


def test_the_python_form_drives_a_torch_optimizer():
    schedule = hpo.Schedule(({"lr": 0.5, "momentum": 0.25}, {"lr": 0.125, "momentum": 0.75}), 1, "epochs")
    scheduler = run(forms(best_of(schedule))["Python"])["scheduler"]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    steps = scheduler(optimizer, 2)
    seen = []
    for _ in range(4):
        (group,) = optimizer.param_groups
        seen.append((group["lr"], group["momentum"]))
        optimizer.step()
        steps.step()
    assert seen == [(0.5, 0.25)] * 2 + [(0.125, 0.75)] * 2


def test_the_python_form_shrinks_the_weights_of_a_model():
    half = (None, hpo.ShrinkPerturb(0.5, 0.25, True))
    schedule = hpo.Schedule(({"lr": 0.0},) * 2, 1, "epochs", transforms=half)
    best = best_of(schedule)
    assert best.changes
    scheduler = run(forms(best)["Python"])["scheduler"]
    model = torch.nn.Linear(2, 2)
    before = model.weight.detach().clone()
    fresh = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)
    steps = scheduler(optimizer, 2, model, lambda: fresh)
    for number in range(2):
        assert torch.equal(model.weight, before)
        model(torch.ones(2)).sum().backward()
        optimizer.step()
        assert bool(optimizer.state) == (number < 2)
        steps.step()
    assert torch.allclose(model.weight, 0.5 * before + 0.25 * fresh.weight)
    assert not optimizer.state


@pytest.mark.parametrize("changed", [{"batch": 8}, {"lr": "auto"}])
def test_without_a_learning_rate_nothing_drives_an_optimizer(changed):
    schedule = hpo.Schedule(({"lr": 0.5}, changed), 1, "epochs")
    assert "scheduler" not in run(forms(best_of(schedule))["Python"])


def test_a_long_schedule_is_exported_instead():
    schedule = hpo.Schedule(tuple({"lr": 1 / (1 + i)} for i in range(MOST_STEPS + 1)), 1, "epochs")
    found = forms(best_of(schedule))
    assert list(found) == ["TOML"]
    assert tomllib.loads(found["TOML"]) == {"lr": 1.0}
    assert "--export" in found["TOML"]


def test_what_was_never_trained_again_has_no_command():
    best = best_of(hpo.Schedule(({"lr": 0.5},), 1, "epochs"), "a b")
    assert best.replay_command("my run") == "hpo replay 'my run' --arm 'a b' --schedule-seed 3 --seed 3"
    assert replace(best, tested=False).replay_command(".") is None
    assert replace(best, final=False).replay_command(".") is None
