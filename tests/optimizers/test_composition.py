from dataclasses import dataclass

import numpy as np
import pytest
from driver import FLOATS, MIXED, drive, level, problem
from hypothesis import given
from hypothesis import strategies as st

from hpo.core.errors import OptimizerError, OptionError
from hpo.core.optimizer import Member
from hpo.core.registry import perturbations
from hpo.core.space import Categorical, Float, Int, SearchSpace
from hpo.optimizers.composition import Chain, PerParameter, bounds_of
from hpo.optimizers.pb2 import PB2
from hpo.optimizers.pbt import PBT
from hpo.optimizers.perturbation import Gaussian, Multiply, Neighbour, NoPerturbation, Resample
from hpo.optimizers.selection import ExploitBest, NoSelection

SIMPLE = [Multiply(), Resample(0.5), Gaussian(0.2), Neighbour("reflect"), NoPerturbation()]


def members(count=6, seed=0, space=MIXED):
    rng = np.random.default_rng(seed)
    return [Member(2 * i, f"key{i}", space.sample(rng), 0.0, False) for i in range(count)]


def perturbed(perturbation, population, seed=0, space=MIXED):
    return perturbation(population, space, (), np.random.default_rng(seed))


def everyone(perturbation):
    return PBT(0.5, NoSelection(), perturbation, explore="all")


# --- chain -----------------------------------------------------------------------------------------------------------


def test_a_chain_of_none_is_no_change():
    assert perturbed(Chain((NoPerturbation(), NoPerturbation())), members()) == {}


@pytest.mark.parametrize("part", SIMPLE)
@given(seed=st.integers(0, 50))
def test_a_chain_of_one_is_that_one(part, seed):
    population = members(seed=seed)
    for chain in (Chain((part,)), Chain((NoPerturbation(), part)), Chain((part, NoPerturbation()))):
        assert perturbed(chain, population, seed) == perturbed(part, population, seed)


def test_each_step_sees_what_the_former_made():
    space = SearchSpace({"lr": Float(0.0, 100.0)})
    population = [Member(0, "key", {"lr": 2.0}, 0.0, False)]
    assert perturbed(Chain((Multiply((3.0,)), Multiply((5.0,)))), population, space=space) == {0: {"lr": 30.0}}
    redrawn = perturbed(Chain((Multiply((3.0,)), Resample(1.0))), population, space=space)[0]["lr"]
    after = perturbed(Chain((Resample(1.0), Multiply((3.0,)))), population, space=space)[0]["lr"]
    assert after == redrawn * 3  # to choose from one factor takes nothing from the stream


def test_steps_draw_one_after_another_from_one_stream():
    population, first, second = members(), Resample(0.5), Gaussian(0.1)
    rng = np.random.default_rng(3)
    between = first(population, MIXED, (), rng)
    carried = [Member(m.slot, m.key, between[m.slot], 0.0, False) for m in population]
    assert perturbed(Chain((first, second)), population, 3) == second(carried, MIXED, (), rng)


def test_values_are_bounded_and_counted_after_the_last_step():
    space = SearchSpace({"lr": Float(0.1, 1.0)})
    of = problem(3, 2, space, initial=tuple({"lr": 0.9} for _ in range(3)))
    there_and_back = drive(everyone(Chain((Multiply((2.0,)), Multiply((0.5,))))), of, score=level)
    assert [s.hparams["lr"] for s in there_and_back.rounds[1]] == [0.9] * 3
    assert there_and_back.counts["boundary_hits"] == 0
    reflecting = Chain((Resample(0.0), Multiply((1.0,), "reflect"), Multiply((1.2,), "reflect")))
    out = drive(everyone(reflecting), of, score=level)
    assert [s.hparams["lr"] for s in out.rounds[1]] == pytest.approx([0.92] * 3)
    assert out.counts["boundary_hits"] == 3


def test_steps_must_agree_on_the_bounds_and_there_must_be_one():
    with pytest.raises(OptionError, match="steps"):
        Chain(())
    chain = Chain((Multiply(bounds="reflect"), Resample(), NoPerturbation(), PB2(), Gaussian(bounds="clip")))
    with pytest.raises(OptionError, match=r"perturbation\.steps = \['clip', 'reflect'\].*agree on the `bounds` of lr"):
        everyone(chain).start(problem())
    everyone(Chain((Multiply(bounds="reflect"), Resample(), NoPerturbation(), PB2()))).start(problem())


# --- per parameter ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", SIMPLE)
@given(seed=st.integers(0, 50))
def test_the_same_for_all_is_that_one(part, seed):
    population = members(seed=seed)
    same = PerParameter(part, {"lr": part, "layers": part, "batch": part})
    assert perturbed(same, population, seed) == perturbed(part, population, seed)
    assert perturbed(PerParameter(part), population, seed) == perturbed(part, population, seed)


def test_each_hyperparameter_goes_its_own_way():
    mine = PerParameter(NoPerturbation(), {"lr": Multiply((1.5,)), "layers": Neighbour(), "activation": Resample(1.0)})
    population = members(300)
    moved = perturbed(mine, population)
    for member in population:
        new, old = moved[member.slot], member.hparams
        assert new["lr"] == old["lr"] * 1.5
        assert abs(new["layers"] - old["layers"]) == 1
        assert {name: new[name] for name in ("batch", "nesterov", "width")} == {
            name: old[name] for name in ("batch", "nesterov", "width")
        }
    assert len({moved[m.slot]["activation"] for m in population}) == 3


def test_none_for_one_leaves_it_and_the_others_as_without():
    population = members()
    whole = perturbed(Multiply(), population)
    without = perturbed(PerParameter(Multiply(), {"nesterov": NoPerturbation()}), population)
    assert all(without[m.slot]["nesterov"] == m.hparams["nesterov"] for m in population)
    assert all(abs(without[m.slot]["layers"] - m.hparams["layers"]) >= 1 for m in population)
    assert whole.keys() == without.keys()


def test_bounds_are_those_of_each_part():
    space = SearchSpace({"a": Float(0.1, 1.0), "b": Float(0.1, 1.0)})
    of = problem(3, 2, space, initial=tuple({"a": 0.9, "b": 0.9} for _ in range(3)))
    mixed = PerParameter(Multiply((1.2,), "clip"), {"b": Chain((Multiply((1.2,), "reflect"),))})
    run = drive(everyone(mixed), of, score=level)
    assert [s.hparams["a"] for s in run.rounds[1]] == [1.0] * 3
    assert [s.hparams["b"] for s in run.rounds[1]] == pytest.approx([0.92] * 3)
    assert run.counts["boundary_hits"] == 6
    assert [bounds_of(mixed, name) for name in "ab"] == ["clip", "reflect"]


@pytest.mark.parametrize(
    ("perturbation", "space", "option"),
    [
        (PerParameter(parameters={"lrr": Multiply()}), MIXED, "perturbation.parameters.lrr"),
        (PerParameter(parameters={"width": Multiply()}), MIXED, "perturbation.parameters.width"),
        (Chain((Multiply(), PerParameter(parameters={"x": Multiply()}))), MIXED, "perturbation.steps[1].parameters.x"),
        (PerParameter(parameters={"activation": PB2()}), MIXED, "perturbation.parameters.activation.name"),
        (PerParameter(PB2(), {"lr": Multiply(), "momentum": Multiply()}), FLOATS, None),
        (PB2(), SearchSpace({"kind": Categorical(("a", "b")), "width": Int(1, 9, fixed=True)}), "perturbation.name"),
        (PerParameter(Chain((PB2(),)), {"lr": Multiply()}), FLOATS, None),
    ],
)
def test_what_means_nothing_in_the_space_is_refused_at_the_start(perturbation, space, option):
    if option is None:
        everyone(perturbation).start(problem(space=space))
        return
    with pytest.raises(OptionError) as caught:
        everyone(perturbation).start(problem(space=space))
    assert caught.value.option == option
    if "parameters" in option and "name" not in option:
        assert "activation, batch, layers, lr, nesterov" in caught.value.allowed


@dataclass(frozen=True)
class Adds:
    bounds: str = "clip"

    def __call__(self, copied, space, history, rng):
        return {member.slot: {**member.hparams, "typo": 1.0} for member in copied}


def test_a_part_that_misbehaves_is_still_an_error():
    for perturbation in (Chain((Multiply(), Adds())), PerParameter(Multiply(), {"lr": Adds()})):
        with pytest.raises(OptimizerError, match="typo"):
            drive(PBT(0.5, ExploitBest(), perturbation), problem(4, 3))


@pytest.mark.parametrize(
    "perturbation",
    [
        Chain((Resample(), Multiply())),
        PerParameter(Chain((Resample(), Gaussian(0.5))), {"layers": Neighbour("reflect"), "activation": Resample(1.0)}),
    ],
)
def test_searches_keep_fixed_ones_and_bounds_and_repeat_themselves(perturbation):
    runs = [
        drive(PBT(0.5, ExploitBest(), perturbation, explore="all"), problem(5, 6, MIXED, concurrency=c)) for c in (5, 2)
    ]
    assert set(runs[0].results) == set(runs[1].results)
    assert len({s.hparams["width"] for s in runs[0].rounds[1]}) == 1
    assert len({s.hparams["lr"] for s in runs[0].segments}) > 20


def test_all_are_registered():
    assert [perturbations.get(name) for name in ("chain", "per_parameter", "pb2")] == [Chain, PerParameter, PB2]
