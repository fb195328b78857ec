"""An initial range: every optimizer starts inside it, may leave it afterwards, and stays inside the bounds."""

from dataclasses import replace

import pytest
from configurations import REFUSES, configurations
from driver import SPACES, drive, problem

from hpo.core.space import Categorical, Float, Int, SearchSpace
from hpo.optimizers.asha import ASHA
from hpo.optimizers.grid import grid_members
from hpo.optimizers.optuna import OptunaSearch
from hpo.optimizers.pbt import PBT
from hpo.optimizers.perturbation import Gaussian, Multiply, Resample
from hpo.optimizers.quasi_random import quasi_random_members
from hpo.optimizers.random_search import RandomSearch
from hpo.optimizers.samplers import CMAES, QMC, TPE, Random
from hpo.optimizers.selection import ExploitBest
from hpo.testing import accepted

CONFIGURATIONS = configurations()
RANGES = {
    "lr": (1e-3, 2e-3),
    "momentum": (0.7, 0.8),
    "dropout": (0.2, 0.3),
    "heads": (4, 6),
    "width": (100, 120),
}


def narrowed(space):
    """Return a space of the conformance suite with an initial range of each hyperparameter in RANGES."""
    found = {
        name: replace(parameter, initial=RANGES[name]) if name in RANGES else parameter
        for name, parameter in space.items()
    }
    return SearchSpace(found)


def initial_population(options, run, n):
    """Return the hyperparameters of the members that do not start from a model's proposal."""
    started = min(options.initial, n) if isinstance(options, OptunaSearch) else n
    return [s.hparams for s in run.segments if s.parent is None and s.member < started]


def outside(hparams):
    ranges = ((value, RANGES[name]) for name, value in hparams.items() if name in RANGES)
    return any(not low <= value <= high for value, (low, high) in ranges)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_optimizer_starts_inside_the_range(name, space):
    options = CONFIGURATIONS[name]
    for n in accepted(options, space, REFUSES.get(name, {}))[-1:]:
        run = drive(options, problem(n, space=narrowed(SPACES[space])))  # which also checks the bounds
        found = initial_population(options, run, n)
        assert found or options == OptunaSearch(initial=0)
        assert not any(map(outside, found))


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_range_as_wide_as_the_bounds_changes_nothing(name, space):
    plain = SPACES[space]
    wide = {
        key: found if isinstance(found, Categorical) else replace(found, initial=(found.low, found.high))
        for key, found in plain.items()
    }
    for n in accepted(CONFIGURATIONS[name], space, REFUSES.get(name, {}))[-1:]:
        runs = [drive(CONFIGURATIONS[name], problem(n, space=given)) for given in (plain, SearchSpace(wide))]
        assert runs[0].segments == runs[1].segments


@pytest.mark.parametrize("perturbation", [Multiply(), Gaussian(), Resample(1.0), Resample(0.5)])
def test_pbt_leaves_the_range(perturbation):
    run = drive(PBT(0.5, ExploitBest(), perturbation), problem(6, 8, narrowed(SPACES["mixed"])))
    later = [segment.hparams for segment in run.segments if segment.interval > 4]
    assert any(map(outside, later))
    assert {hparams["width"] for hparams in later} <= set(range(100, 121))  # fixed: inherited, never moved


def test_a_draw_between_the_bounds_is_still_uniform_over_all_of_them():
    space = SearchSpace({"lr": Float(1e-4, 1.0, log=True, initial=(0.5, 0.6))})
    run = drive(PBT(0.5, ExploitBest(), Resample(1.0), explore="all"), problem(200, 2, space))
    places = [space["lr"].to_unit(s.hparams["lr"]) for s in run.segments if s.interval == 1]
    assert sum(place < 0.5 for place in places) == pytest.approx(100, abs=35)


@pytest.mark.parametrize("sampler", [TPE(), CMAES(), QMC(), Random()])
def test_the_proposals_of_samplers_keep_the_bounds(sampler):
    options = OptunaSearch(sampler, initial=4)
    run = drive(options, problem(40, 2, narrowed(SPACES["floats"]), concurrency=4))
    roots = [segment.hparams for segment in run.segments if segment.parent is None]
    assert not any(map(outside, roots[:4]))
    assert sum(map(outside, roots[4:])) > 10


def test_members_beyond_the_initial_population_start_inside_the_range():
    run = drive(ASHA(reduction_factor=2), problem(6, 4, narrowed(SPACES["floats"])))
    roots = [segment for segment in run.segments if segment.parent is None]
    assert len(roots) > 6
    assert not any(outside(segment.hparams) for segment in roots)


@pytest.mark.parametrize("sequence", ["sobol", "halton"])
def test_a_sequence_fills_the_range_as_it_fills_bounds(sequence):
    narrow = SearchSpace({"x": Float(1e-5, 1.0, log=True, initial=(1e-3, 1e-1)), "n": Int(0, 90, initial=(20, 29))})
    bounds = SearchSpace({"x": Float(1e-3, 1e-1, log=True), "n": Int(20, 29)})
    assert quasi_random_members(problem(9, space=narrow), sequence) == quasi_random_members(
        problem(9, space=bounds), sequence
    )


def test_a_grid_covers_the_range():
    space = SearchSpace(
        {
            "x": Float(0.0, 2.0, initial=(0.9, 1.1)),
            "y": Float(0.0, 1.0, initial=(0.5, 0.5)),
            "n": Int(1, 64, log=True, initial=(4, 6)),
        }
    )
    found = grid_members(problem(9, space=space), 3)
    assert [(each["x"], each["y"], each["n"]) for each in found] == [
        (pytest.approx(x), 0.5, n) for x in (0.9, 1.0, 1.1) for n in (4, 5, 6)
    ]
    assert not any(each["x"] < 0.9 or each["x"] > 1.1 for each in found)


def test_a_study_draws_from_the_range_and_says_so_in_its_results(tmp_path):
    from hpo import parse_study, run_study

    study = {"name": "s", "population_size": 4, "budget": 2, "interval": 1}
    h0 = {"type": "float", "low": 0.0, "high": 1.0, "initial": [0.25, 0.5]}
    task = {"name": "toy", "search_space": {"h0": h0}}
    spec = parse_study({"study": study, "task": task, "arms": [{"label": "a", "optimizer": "random_search"}]})
    result = run_study(spec, out=tmp_path / "s", executor="serial", report=False)
    space = result.results["task"]["search_space"]
    assert space["h0"]["initial"] == [0.25, 0.5]
    assert "initial" not in space["h1"]
    drawn = [spec.problem(0, spec.arms[0]).hparams(slot) for slot in range(50)]
    assert all(0.25 <= hparams["h0"] <= 0.5 for hparams in drawn)
    assert max(hparams["h1"] for hparams in drawn) > 0.9


def test_random_search_without_a_range_draws_as_before():
    """The stream and the arithmetic of draws are part of every study's answer."""
    drawn = drive(RandomSearch(), problem(2, 1, SPACES["floats"])).segments
    assert [dict(segment.hparams) for segment in drawn] == [
        {"lr": 0.013977371620507401, "momentum": 0.7046089070623703},
        {"lr": 0.2578236815306484, "momentum": 0.31393305015069384},
    ]
