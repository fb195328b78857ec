import math

import numpy as np
import pytest
from driver import MIXED
from hypothesis import given
from hypothesis import strategies as st

from hpo.core.errors import OptionError
from hpo.core.optimizer import Member
from hpo.core.registry import perturbations
from hpo.core.space import Categorical, Float, Int, SearchSpace
from hpo.optimizers.perturbation import Gaussian, Multiply, Neighbour, NoPerturbation, Resample, natural


def members(space, count, seed=0):
    rng = np.random.default_rng(seed)
    return [Member(2 * i, f"key{i}", space.sample(rng), 0.0, False) for i in range(count)]


def perturbed(perturbation, space, population, seed=0):
    return perturbation(population, space, (), np.random.default_rng(seed))


@given(st.integers(1, 1000), st.sampled_from([(1.2, 0.8), (1.01, 0.99), (2.0, 0.5)]), st.integers(0, 9))
def test_multiply_always_moves_an_integer(value, factors, seed):
    space = SearchSpace({"layers": Int(1, 1000)})
    [moved] = perturbed(Multiply(factors), space, [Member(0, "key", {"layers": value}, 0.0, False)], seed).values()
    assert isinstance(moved["layers"], int)
    assert abs(moved["layers"] - value) >= 1


def test_multiply_acts_on_the_natural_value_with_one_factor_per_hyperparameter():
    population = members(MIXED, 200)
    seen = set()
    for member, moved in zip(population, perturbed(Multiply(), MIXED, population).values(), strict=True):
        ratio = moved["lr"] / member.hparams["lr"]
        choices = MIXED["batch"].choices
        step = choices.index(moved["batch"]) - choices.index(member.hparams["batch"])
        seen.add((round(ratio, 12), step))
        assert moved["activation"] == member.hparams["activation"]
        assert moved["width"] == member.hparams["width"]
    assert seen == {(ratio, step) for ratio in (1.2, 0.8) for step in (-1, 0, 1)}


def test_gaussian_moves_by_sigma_on_the_unit_axis_and_on_past_the_bounds():
    space = SearchSpace({"lr": Float(1e-5, 1.0, log=True), "momentum": Float(0.0, 1.0)})
    population = [Member(i, "key", {"lr": 1.0, "momentum": 0.5}, 0.0, False) for i in range(2000)]
    moved = perturbed(Gaussian(0.1), space, population).values()
    assert np.std([math.log10(each["lr"]) / 5 for each in moved]) == pytest.approx(0.1, rel=0.1)
    assert np.std([each["momentum"] for each in moved]) == pytest.approx(0.1, rel=0.1)
    assert 0.4 < np.mean([each["lr"] > 1.0 for each in moved]) < 0.6


def test_gaussian_keeps_types_and_leaves_unordered_and_fixed_alone():
    population = members(MIXED, 100)
    moved = perturbed(Gaussian(0.5), MIXED, population)
    for member in population:
        new = moved[member.slot]
        assert isinstance(new["layers"], int)
        assert new["batch"] in MIXED["batch"].choices
        assert all(new[name] == member.hparams[name] for name in ("activation", "nesterov", "width"))
    assert len({each["layers"] for each in moved.values()}) > 6


@given(
    st.sampled_from(
        [Float(1e-5, 1.0, log=True), Float(-2.0, 3.0), Int(1, 9), Int(8, 512, log=True), Int(0, 7, step=2)]
    ),
    st.floats(0.001, 0.999),
)
def test_natural_agrees_with_the_space_inside_the_bounds(parameter, unit):
    value = parameter.from_unit(unit)
    assert natural(parameter, parameter.to_unit(value)) == pytest.approx(value)
    assert natural(parameter, parameter.to_unit(parameter.high) + 0.5) > parameter.high
    assert natural(parameter, parameter.to_unit(parameter.low) - 0.5) < parameter.low


def test_natural_is_finite_far_out():
    assert math.isfinite(natural(Float(1e-300, 1e300, log=True), 5.0))
    assert natural(Float(1e-300, 1e300, log=True), -5.0) == 0.0


@pytest.mark.parametrize("perturbation", [Multiply(), Gaussian(0.1), Resample(), Neighbour()])
def test_draws_follow_the_sorted_names_and_not_the_order_of_the_space(perturbation):
    backwards = SearchSpace({name: MIXED[name] for name in reversed(list(MIXED))})
    population = members(MIXED, 5)
    assert perturbed(perturbation, MIXED, population) == perturbed(perturbation, backwards, population)


def test_callers_hyperparameters_are_left_as_they_were():
    population = members(MIXED, 3)
    before = [dict(member.hparams) for member in population]
    perturbed(Multiply(), MIXED, population)
    assert [dict(member.hparams) for member in population] == before
    assert perturbed(NoPerturbation(), MIXED, population) == {}


@pytest.mark.parametrize("factors", [(), (0.0,), (-1.0, 2.0), (math.nan,), (math.inf,)])
def test_factors_must_be_positive_and_finite(factors):
    with pytest.raises(OptionError, match="factors"):
        Multiply(factors)


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan, math.inf])
def test_sigma_must_be_positive_and_finite(sigma):
    with pytest.raises(OptionError, match="sigma"):
        Gaussian(sigma)


def test_all_are_registered():
    names = ("multiply", "resample", "gaussian", "neighbour", "none")
    assert [perturbations.get(name) for name in names] == [Multiply, Resample, Gaussian, Neighbour, NoPerturbation]


# --- resample --------------------------------------------------------------------------------------------------------


def test_resample_draws_each_hyperparameter_anew_with_its_probability():
    population = members(MIXED, 4000)
    moved = perturbed(Resample(0.25), MIXED, population)
    changed = {name: [moved[m.slot][name] != m.hparams[name] for m in population] for name in MIXED}
    assert np.mean(changed["lr"]) == pytest.approx(0.25, abs=0.03)
    assert np.mean(changed["activation"]) == pytest.approx(0.25 * 2 / 3, abs=0.03)  # it may draw what it had
    both = np.mean(np.logical_and(changed["lr"], changed["layers"]))
    assert both == pytest.approx(0.25 * 0.25 * 5 / 6, abs=0.02)
    drawn = [math.log10(moved[m.slot]["lr"]) for m, new in zip(population, changed["lr"], strict=True) if new]
    assert np.mean(drawn) == pytest.approx(-2.5, abs=0.15)
    assert not any(changed["width"])


@given(st.integers(0, 99))
def test_resample_stays_inside_and_its_ends_are_nothing_and_everything(seed):
    population = members(MIXED, 5, seed)
    nothing, everything = (perturbed(Resample(p), MIXED, population, seed) for p in (0.0, 1.0))
    assert [nothing[m.slot] for m in population] == [m.hparams for m in population]
    assert all(everything[m.slot]["lr"] != m.hparams["lr"] for m in population)
    assert not any(MIXED.outside(hparams) for hparams in everything.values())


@pytest.mark.parametrize("probability", [-0.1, 1.1, math.nan])
def test_a_probability_lies_between_0_and_1(probability):
    with pytest.raises(OptionError, match="probability"):
        Resample(probability)


# --- neighbour -------------------------------------------------------------------------------------------------------

STEPPED = SearchSpace(
    {
        "depth": Int(1, 8, step=3),  # 1, 4, 7
        "rate": Float(0.0, 1.0, step=0.3),  # 0, 0.3, 0.6, 0.9
        "size": Int(2, 64, log=True),
        "batch": Categorical((16, 32, 64), ordered=True),
        "kind": Categorical(("a", "b")),
        "lr": Float(0.0, 1.0),
        "width": Int(1, 9, fixed=True),
    }
)


def reached(bounds, hparams):
    """Return the values that each hyperparameter comes to, brought inside as PBT does, and how many passed a bound."""
    population = [Member(i, "key", hparams, 0.0, False) for i in range(64)]
    inside = [STEPPED.bounded(h, bounds) for h in perturbed(Neighbour(bounds), STEPPED, population).values()]
    values = {name: sorted({round(h[name], 9) if name == "rate" else h[name] for h, _ in inside}) for name in STEPPED}
    return values, {hits for _, hits in inside}


INNER = {"depth": 4, "rate": 0.3, "size": 8, "batch": 32, "kind": "a", "lr": 0.5, "width": 5}
LOW = {"depth": 1, "rate": 0.0, "size": 2, "batch": 16, "kind": "a", "lr": 0.5, "width": 5}
HIGH = {"depth": 7, "rate": 0.9, "size": 64, "batch": 64, "kind": "b", "lr": 0.5, "width": 5}
STILL = {"lr": [0.5], "width": [5]}


@pytest.mark.parametrize(
    ("bounds", "at", "expected"),
    [
        ("clip", INNER, {"depth": [1, 7], "rate": [0.0, 0.6], "size": [7, 9], "batch": [16, 64], "kind": ["a"]}),
        ("reflect", INNER, {"depth": [1, 7], "rate": [0.0, 0.6], "size": [7, 9], "batch": [16, 64], "kind": ["a"]}),
        ("clip", LOW, {"depth": [1, 4], "rate": [0.0, 0.3], "size": [2, 3], "batch": [16, 32], "kind": ["a"]}),
        ("reflect", LOW, {"depth": [4], "rate": [0.3], "size": [3], "batch": [32], "kind": ["a"]}),
        ("clip", HIGH, {"depth": [4, 7], "rate": [0.6, 0.9], "size": [63, 64], "batch": [32, 64], "kind": ["b"]}),
        ("reflect", HIGH, {"depth": [4], "rate": [0.6], "size": [63], "batch": [32], "kind": ["b"]}),
    ],
)
def test_neighbour_moves_one_step_and_at_an_end_stays_or_turns(bounds, at, expected):
    values, hits = reached(bounds, at)
    assert values == expected | STILL
    assert (max(hits) > 0) == (at is not INNER)


def test_neighbour_goes_up_as_often_as_down():
    population = [Member(i, "key", INNER, 0.0, False) for i in range(4000)]
    ups = [hparams["depth"] == 7 for hparams in perturbed(Neighbour(), STEPPED, population).values()]
    assert np.mean(ups) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("perturbation", [Multiply(), Gaussian(0.1), Resample(0.5), Neighbour()])
def test_hyperparameters_that_a_member_does_not_have_are_not_given_to_it(perturbation):
    whole = members(MIXED, 20)
    partial = [
        Member(m.slot, m.key, {name: m.hparams[name] for name in m.hparams if name != "layers"}, 0.0, False)
        for m in whole
    ]
    full, part = perturbed(perturbation, MIXED, whole), perturbed(perturbation, MIXED, partial)
    for member in whole:
        assert part[member.slot] == {name: value for name, value in full[member.slot].items() if name != "layers"}
