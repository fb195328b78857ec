import math

import numpy as np
import pytest
from driver import MIXED
from hypothesis import given
from hypothesis import strategies as st

from hpo.errors import OptionError
from hpo.optimizers.perturbation import Gaussian, Multiply, NoPerturbation, natural
from hpo.protocols import Member
from hpo.registry import perturbations
from hpo.space import Float, Int, SearchSpace


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


@pytest.mark.parametrize("perturbation", [Multiply(), Gaussian(0.1)])
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
    names = ("multiply", "gaussian", "none")
    assert [perturbations.get(name) for name in names] == [Multiply, Gaussian, NoPerturbation]
