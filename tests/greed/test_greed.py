"""`hpo greed` on tasks whose answers follow by hand."""

import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import HERE, cases
from hypothesis import given, settings
from hypothesis import strategies as st

import hpo
from hpo.__main__ import main
from hpo.greed.measure import measure
from hpo.tasks.zoo import ZooDeceptive

RANDOM = {"label": "random", "optimizer": "random_search"}


def ran(folder, task, initial, *arms, budget=8, interval=2, population_size=None, replicates=1, **options):
    """Run a study with given initial hyperparameters, and return its run directory."""
    study = {"name": "known", "budget": budget, "interval": interval, "replicates": replicates, "initial": initial}
    study["population_size"] = population_size or len(initial)
    module = {} if task.startswith("zoo") else {"module": "greedy_tasks"}
    document = {
        "study": study,
        "task": {"name": task, **module, **options},
        "arms": list(arms) or [RANDOM],
    }
    hpo.run_study(hpo.parse_study(document, search_path=[HERE]), out=folder / "run", executor="serial", report=False)
    return folder / "run"


def rates(*values):
    return [{"rate": value} for value in values]


def spends(*values):
    return [{"spend": value} for value in values]


def pbt(interval, **options):
    return {"label": "pbt", "optimizer": "pbt", "perturbation_interval": interval, **options}


# --- known answers ---------------------------------------------------------------------------------------------------


def test_an_arm_that_is_greedy_misses_nothing(tmp_path):
    found = measure(ran(tmp_path, "halving", rates(0.5, 0.5)), every=4)
    (arm,) = found.arms
    assert arm.gains[0].missed.tolist() == [0.0] * 4
    assert arm.shares.tolist() == [0.0]
    assert arm.finals.tolist() == [found.greedy.final] == [found.best.final] == [-(0.5**16)]
    assert found.cost == 0


def test_what_a_constant_rate_misses_by_hand(tmp_path):
    found = measure(ran(tmp_path, "halving", rates(0.25)), every=4)
    (gains,) = found.arms[0].gains
    assert gains.start.tolist() == [0, 2]
    before = [1, 0.75**8]
    assert gains.gained == pytest.approx([loss * (1 - 0.75**8) for loss in before])
    assert gains.greedy == pytest.approx([loss * (1 - 0.5**8) for loss in before])
    assert found.arms[0].missed == pytest.approx([(0.75**8 - 0.5**8) * (1 + 0.75**8) / 2])
    assert found.arms[0].shares == pytest.approx([(0.75**8 - 0.5**8) / (1 - 0.5**8)])
    assert found.arms[0].finals == pytest.approx([-(0.75**16)])


def test_what_greed_costs_by_hand(tmp_path):
    found = measure(ran(tmp_path, "investing", spends(0.5, 1.0), budget=4, interval=1), every=1)
    assert (found.greedy.final, found.best.final, found.cost) == (4.0, 8.0, 4.0)
    # The best schedule keeps 1, 2, 4 and then spends 8, all of which greed would have spent.
    assert found.best.gains.missed.tolist() == [1.0, 2.0, 4.0, 0.0]
    assert found.greedy.gains.missed.tolist() == [0.0] * 4
    # Half of 1, 1.5, 2.25 and 3.375 is spent, and the other half missed; the other member is greedy.
    (arm,) = found.arms
    missed = [0.5 * 1.5**step for step in range(4)]
    assert sorted(arm.gains[0].missed.tolist()) == pytest.approx([0.0] * 4 + missed)
    assert arm.missed == pytest.approx([sum(missed) / 8])
    assert arm.finals == pytest.approx([sum(missed)])


def test_a_copy_is_measured_from_the_state_that_it_continued_from(tmp_path):
    arm = pbt(4, selection="exploit_best", perturbation="none")
    found = measure(ran(tmp_path, "halving", rates(0.25, 0.5), arm))
    (gains,) = found.arms[0].gains
    rows = sorted(zip(gains.start.tolist(), gains.gained.tolist(), gains.missed.tolist(), strict=True))
    # After four steps, member 0 copies member 1, whose loss is 0.5^8 and whose rate is the greedy one.
    after = (2, pytest.approx(0.5**8 * (1 - 0.5**8)), 0.0)
    assert rows == [
        (0, pytest.approx(1 - 0.75**8), pytest.approx(0.75**8 - 0.5**8)),
        (0, 1 - 0.5**8, 0.0),
        after,
        after,
    ]
    assert found.every == 4.0


def test_copies_within_the_interval_count_along_the_lineage(tmp_path):
    arm = pbt(2, selection="exploit_best", perturbation="none")
    (gains,) = measure(ran(tmp_path, "halving", rates(0.25, 0.5), arm), every=4).arms[0].gains
    # Member 0 copies after two steps. Four steps back along its lineage is the start of member 1.
    assert gains.missed == pytest.approx([0.0] * 4)
    assert gains.gained[gains.start == 0] == pytest.approx([1 - 0.5**8] * 2)


def test_what_a_weight_transform_changes_is_no_gain(tmp_path):
    arm = {"label": "restarting", "optimizer": "halving_weights"}
    (gains,) = measure(ran(tmp_path, "halving", rates(0.5), arm), every=4).arms[0].gains
    # Weights are halved after four steps: the loss falls to a quarter before the second interval.
    assert gains.gained == pytest.approx([1 - 0.5**8, 0.5**10 * (1 - 0.5**8)])
    assert gains.missed == pytest.approx([0.0, 0.0])


def test_a_last_interval_that_is_not_whole_is_left_out(tmp_path):
    found = measure(ran(tmp_path, "halving", rates(0.25), budget=10), every=4)
    assert found.arms[0].gains[0].start.tolist() == found.greedy.gains.start.tolist() == [0, 2]
    assert found.greedy.final == -(0.5**20)


def test_the_bounds_of_the_study_count(tmp_path):
    narrow = {"search_space": {"rate": {"type": "float", "low": 0.0, "high": 0.25}}}
    found = measure(ran(tmp_path, "halving", rates(0.25), **narrow), every=4)
    assert found.arms[0].missed.tolist() == [0.0]


# --- the tasks of the paper ------------------------------------------------------------------------------------------

FAMILY = (
    RANDOM,
    pbt(20, selection={"name": "truncation", "quantile_fraction": 0.25}, perturbation="resample"),
    {"label": "ipbt", "optimizer": "ipbt", "perturbation_interval": 20},
)


@pytest.mark.parametrize(
    ("task", "greedy", "best"), [("zoo_plain", 1.19973, 1.19973), ("zoo_deceptive", 0.82697, 1.19794)]
)
def test_greed_is_right_on_one_task_of_the_paper_and_costs_on_the_other(tmp_path, task, greedy, best):
    run_dir = ran(tmp_path, task, [{"lr": 1e-4}], *FAMILY, budget=1000, interval=20, population_size=8)
    found = measure(run_dir)
    assert found.greedy.final == pytest.approx(greedy, abs=1e-5)
    assert found.best.final == pytest.approx(best, abs=1e-5)
    # Member 0 of the random search takes the greedy choice throughout, and is the greedy policy.
    gains = found.arms[0].gains[0]
    assert sum(gains.missed == 0) >= 50
    assert all((arm.gains[0].missed >= -1e-12).all() for arm in found.arms)
    assert all(0 < arm.shares[0] < 1 for arm in found.arms)
    transformed = "transform:shrink" in (run_dir / "segments.csv").read_text().splitlines()[0]
    assert transformed


@settings(max_examples=cases(30))
@given(
    st.lists(st.floats(1e-4, 1.1), max_size=50),
    st.integers(0, 19),
    st.sampled_from([1, 5, 20, 33, 100, 300]),
    st.tuples(st.floats(0, 0.5), st.floats(0.6, 1.2)),
)
def test_no_rate_of_a_fine_grid_gains_more_than_the_greedy_one(rates, more, steps, bounds):
    task = ZooDeceptive()
    state = task.train(task.initialize({}), {"lr": 1.0}, range(0))
    for rate in rates:
        state = task.train(state, {"lr": rate}, range(20))
    state = task.train(state, {"lr": 0.5}, range(more))
    space = hpo.SearchSpace({"lr": hpo.Float(*bounds)})

    def after(rate):
        return task.score(task.train(state, {"lr": float(rate)}, range(steps)))

    most = after(task.greedy_hparams(state, steps, space)["lr"])
    assert max(map(after, np.linspace(*bounds, 60))) <= most + 1e-15


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, str(HERE)])
    monkeypatch.chdir(tmp_path)
    initial = spends(0.25, 0.5, 0.75)
    ran(tmp_path, "investing", initial, RANDOM, pbt(1), budget=4, interval=1, population_size=5, replicates=5)
    return Path("run")


def test_the_table_and_the_figure(run_dir, capsys):
    assert main(["greed", str(run_dir), "--figure", "greed.svg"]) == 0
    out = capsys.readouterr().out
    assert "Following greed costs 4 in the end: the greedy policy ends at 4, the best known schedule at 8." in out
    found = measure(run_dir)
    table = {line.split("  ")[0].strip(): line for line in out.splitlines()[4:] if "%" in line}
    assert table.keys() == {"random", "pbt", "greedy policy", "best known schedule"}
    for arm in found.arms:
        assert f"{arm.missed.mean():.4g}" in table[arm.label]
        assert f"{arm.finals.mean():.4g}" in table[arm.label]
        assert "[" in table[arm.label]
    assert Path("greed.svg").read_text().startswith("<?xml")
    before = Path("greed.svg").stat().st_mtime_ns
    assert main(["greed", str(run_dir), "--figure", "greed.svg"]) == 0
    assert Path("greed.svg").stat().st_mtime_ns == before
    Path("greed.svg").write_text("mine")
    assert main(["greed", str(run_dir), "--figure", "greed.svg"]) == 2
    assert Path("greed.svg").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--every", "0.5"], "--every 0.5: allowed: a whole number of intervals of 1 step, at most 4 steps"),
        (["--every", "5"], "at most 4 steps"),
        (["--figure", "x.jpg"], ".png, .svg, .pdf"),
        (["--figure", "nowhere/x.png"], "there is no folder nowhere"),
    ],
)
def test_bad_options_are_errors(run_dir, capsys, arguments, said):
    assert main(["greed", str(run_dir), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_arms_without_a_perturbation_interval_need_one(tmp_path):
    with pytest.raises(hpo.InputError, match="pass --every"):
        measure(ran(tmp_path, "halving", rates(0.25)))


@pytest.mark.parametrize("other", [{"perturbation_interval": 2}, {}])
def test_arms_of_several_perturbation_intervals_need_one(tmp_path, other):
    arms = [pbt(4, selection="exploit_best"), {"label": "b", "optimizer": "pbt", "selection": "exploit_best", **other}]
    with pytest.raises(hpo.InputError, match="differ: pass --every"):
        measure(ran(tmp_path, "halving", rates(0.25, 0.5), *arms))


def test_a_task_that_does_not_know_its_greedy_choice_is_refused(tmp_path):
    study = {"name": "unknown", "budget": 1, "interval": 1, "population_size": 2}
    document = {"study": study, "task": {"name": "coin"}, "arms": [RANDOM]}
    hpo.run_study(hpo.parse_study(document), out=tmp_path, executor="serial", report=False)
    with pytest.raises(hpo.InputError, match="'coin'"):
        measure(tmp_path)


def test_a_task_with_noise_is_refused(tmp_path):
    with pytest.raises(hpo.InputError, match=r"member 0, interval 0: training again .* has noise"):
        measure(ran(tmp_path, "halving", rates(0.25), noise=0.1), every=4)
