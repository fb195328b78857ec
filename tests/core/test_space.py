"""Search spaces: what is drawn, moved and brought back stays inside, with its own type."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from hpo.core.errors import OptionError
from hpo.core.space import Categorical, Float, Int, SearchSpace

UNIT = st.floats(0.0, 1.0)
FACTORS = st.floats(0.01, 10.0)
BOUNDS = st.sampled_from(["clip", "reflect"])
RNGS = st.integers(0, 2**32).map(np.random.default_rng)


@st.composite
def floats(draw):
    kind = draw(st.sampled_from(["linear", "log", "step"]))
    low = draw(st.floats(1e-6, 1e3) if kind == "log" else st.floats(-1e3, 1e3))
    high = low + draw(st.floats(1e-3, 1e4))
    step = None
    if kind == "step":
        step = draw(st.sampled_from([0.1, 0.25, 0.3, 1.0]))
        assume(step <= high - low)
    return Float(low, high, log=kind == "log", step=step)


@st.composite
def ints(draw):
    log = draw(st.booleans())
    low = draw(st.integers(1, 50) if log else st.integers(-50, 50))
    high = low + draw(st.integers(1, 1000))
    return Int(low, high, log=log, step=1 if log else draw(st.integers(1, high - low)))


CATEGORICALS = st.builds(
    Categorical,
    st.lists(st.integers(-5, 5) | st.text(max_size=3), min_size=2, max_size=5, unique=True).map(tuple),
    ordered=st.booleans(),
)
PARAMETERS = floats() | ints() | CATEGORICALS


def kinds(parameter):
    """Return the types that a parameter's values have."""
    if isinstance(parameter, Categorical):
        return {type(choice) for choice in parameter.choices}
    return {float if isinstance(parameter, Float) else int}


def on_grid(parameter, value):
    if isinstance(parameter, Categorical) or parameter.step is None:
        return True
    steps = (value - parameter.low) / parameter.step
    return abs(steps - round(steps)) < 1e-6


@given(PARAMETERS, RNGS)
@example(Float(0.0, 0.3, step=0.1), np.random.default_rng(0))
def test_samples_lie_inside(parameter, rng):
    for _ in range(5):
        value = parameter.sample(rng)
        assert parameter.contains(value)
        assert type(value) in kinds(parameter)
        assert on_grid(parameter, value)


@given(PARAMETERS, UNIT)
@example(Float(0.0, 0.3, step=0.1), 1.0)
def test_every_place_in_the_unit_interval_is_a_value(parameter, unit):
    value = parameter.from_unit(unit)
    assert parameter.contains(value)
    assert type(value) in kinds(parameter)
    assert on_grid(parameter, value)


@given(PARAMETERS, UNIT)
def test_unit_round_trip(parameter, unit):
    value = parameter.from_unit(unit)
    place = parameter.to_unit(value)
    assert -1e-9 <= place <= 1 + 1e-9
    again = parameter.from_unit(place)
    assert again == pytest.approx(value, rel=1e-9, abs=1e-9) if isinstance(parameter, Float) else again == value
    if isinstance(parameter, Float) and parameter.step is None:
        assert place == pytest.approx(unit, abs=1e-6)


@given(floats() | ints(), UNIT, UNIT)
def test_the_unit_interval_keeps_the_order(parameter, one, other):
    low, high = sorted([one, other])
    assert parameter.from_unit(low) <= parameter.from_unit(high)


@given(floats() | ints(), UNIT, FACTORS, BOUNDS)
@example(Float(0.0, 0.3, step=0.1), 0.9, 1.2, "clip")
@example(Float(0.1, 0.9999), 1.0, 1.2, "clip")
def test_scaled_then_bounded_lies_inside(parameter, unit, factor, how):
    value = parameter.bounded(parameter.scaled(parameter.from_unit(unit), factor), how)
    assert parameter.contains(value)
    assert type(value) in kinds(parameter)
    assert on_grid(parameter, value)


@given(floats() | ints(), st.floats(-1e6, 1e6), BOUNDS)
def test_anything_bounded_lies_inside(parameter, value, how):
    assert parameter.contains(parameter.bounded(value, how))


@given(floats() | ints(), UNIT, BOUNDS)
def test_what_is_inside_is_left_alone(parameter, unit, how):
    value = parameter.from_unit(unit)
    assert parameter.bounded(value, how) == pytest.approx(value, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("parameter", "value", "clipped", "reflected"),
    [
        (Float(0.1, 0.9), 1.1, 0.9, 0.7),
        (Float(0.1, 0.9), -0.1, 0.1, 0.3),
        (Float(1.0, 100.0, log=True), 1000.0, 100.0, 10.0),
        (Float(1.0, 100.0, log=True), 0.1, 1.0, 10.0),
        (Float(0.0, 1.0, step=0.3), 1.0, 0.9, 0.9),  # 0, 0.3, 0.6, 0.9
        (Float(0.0, 1.0, step=0.3), 1.15, 0.9, 0.6),
        (Int(8, 128, log=True), 200, 128, 82),  # 128 * 128 / 200
        (Int(8, 128, log=True), 5, 8, 13),  # 8 * 8 / 5
        (Int(1, 10, step=4), 12, 9, 5),  # 1, 5, 9
        (Int(1, 10), 12, 10, 8),
        (Int(1, 10), -1, 1, 3),
    ],
)
def test_clip_and_reflect_by_hand(parameter, value, clipped, reflected):
    """Fault 5: a log range reflects geometrically, integers too (200 came to 56)."""
    assert parameter.bounded(value, "clip") == pytest.approx(clipped)
    assert parameter.bounded(value, "reflect") == pytest.approx(reflected)


@given(ints().filter(lambda parameter: parameter.step == 1), UNIT, FACTORS)
def test_integers_always_move(parameter, unit, factor):
    value = parameter.from_unit(unit)
    moved = parameter.scaled(value, factor)
    assert isinstance(moved, int)
    if factor != 1 and value != 0:
        assert (moved > value) == ((factor > 1) == (value > 0))
        assert moved != value


@given(ints(), UNIT, st.sampled_from([1.2, 0.8, 2.0, 0.5]))
@example(Int(10, 50, step=5), 0.0, 1.2)
def test_integers_move_on_their_grid_unless_a_bound_holds_them(parameter, unit, factor):
    value = parameter.from_unit(unit)
    assume(value != 0)
    step = parameter.step if (factor > 1) == (value > 0) else -parameter.step
    moved = parameter.bounded(parameter.scaled(value, factor), "clip")
    if parameter.contains(value + step):
        assert (moved - value) * step > 0
    else:
        assert moved == value


@given(CATEGORICALS, st.integers(0, 4), FACTORS)
def test_an_ordered_categorical_steps_to_a_neighbour(parameter, index, factor):
    index %= len(parameter.choices)
    moved = parameter.scaled(parameter.choices[index], factor)
    step = 0 if factor == 1 or not parameter.ordered else 1 if factor > 1 else -1
    assert moved == parameter.choices[min(max(index + step, 0), len(parameter.choices) - 1)]


@pytest.mark.filterwarnings("ignore:The distribution is specified by")
@given(PARAMETERS, UNIT)
def test_optuna_agrees(parameter, unit):
    distribution = parameter.to_optuna()
    value = parameter.from_unit(unit)
    if isinstance(parameter, Float) and parameter.step is not None:
        assert distribution.high == pytest.approx(parameter.high, rel=1e-15)
        assert distribution._contains(value)
    else:
        assert distribution._contains(distribution.to_internal_repr(value))
        assert distribution.to_external_repr(distribution.to_internal_repr(value)) == value


def test_optuna_by_hand():
    assert Float(1e-5, 1, log=True).to_optuna() == FloatDistribution(1e-5, 1.0, log=True)
    assert Int(1, 9, step=2).to_optuna() == IntDistribution(1, 9, step=2)
    assert Categorical(("a", "b")).to_optuna() == CategoricalDistribution(("a", "b"))


@pytest.mark.parametrize(
    ("cls", "options", "option"),
    [
        (Float, {"low": 1, "high": 1}, "low"),
        (Float, {"low": 2, "high": 1}, "low"),
        (Float, {"low": 0, "high": 1, "log": True}, "low"),
        (Float, {"low": -1, "high": 1, "log": True}, "low"),
        (Float, {"low": math.nan, "high": 1}, "low"),
        (Float, {"low": 0, "high": 1, "step": 2}, "step"),
        (Float, {"low": 0, "high": 1, "step": 0}, "step"),
        (Float, {"low": 1, "high": 2, "step": 0.1, "log": True}, "step"),
        (Int, {"low": 1, "high": 1}, "low"),
        (Int, {"low": 0, "high": 4, "log": True}, "low"),
        (Int, {"low": 1, "high": 4, "log": True, "step": 2}, "step"),
        (Int, {"low": 1, "high": 4, "step": 0}, "step"),
        (Categorical, {"choices": ("a",)}, "choices"),
        (Categorical, {"choices": ("a", "a")}, "choices"),
        (Categorical, {"choices": (1, 1.0)}, "choices"),
        (Categorical, {"choices": (True, "a", 1)}, "choices"),
        (Categorical, {"choices": (0.0, False)}, "choices"),
        (Categorical, {"choices": (0.0, -0.0)}, "choices"),
        (Categorical, {"choices": (0.1, math.nan)}, "choices"),
        (Categorical, {"choices": (0.1, math.inf)}, "choices"),
        (Categorical, {"choices": ((1, 2), (3, 4))}, "choices"),
        (Categorical, {"choices": ("a", None)}, "choices"),
        (Float, {"low": True, "high": 2}, "low"),
        (Float, {"low": 0, "high": 1, "step": math.nan}, "step"),
        (Float, {"low": 0, "high": 1, "step": math.inf}, "step"),
        (Float, {"low": 0, "high": 1, "step": True}, "step"),
        (Float, {"low": 1e16, "high": 1e16 + 10, "step": 0.5}, "step"),
        (Float, {"low": -1e301, "high": 0}, "low"),
        (Float, {"low": 0, "high": 1e301}, "high"),
        (Float, {"low": 1e-301, "high": 1, "log": True}, "low"),
        (Int, {"low": 0, "high": 10**400}, "high"),
        (Int, {"low": 1.5, "high": 4}, "low"),
        (Int, {"low": 0, "high": 4.5}, "high"),
        (Int, {"low": False, "high": 4}, "low"),
        (Int, {"low": 0, "high": 4, "step": 1.5}, "step"),
        (Int, {"low": 0, "high": 4, "step": 5}, "step"),
    ],
)
def test_bad_bounds(cls, options, option):
    """Faults 5 and 6: also choices that a cast could not tell apart."""
    with pytest.raises(OptionError) as caught:
        cls(**options)
    assert caught.value.option == option


# --- stepped ranges ------------------------------------------------------------------------------------------------------


def values(parameter):
    """Return all values of a stepped range, and check that they have cells of one width, in order."""
    count = parameter.steps.count
    found = [parameter.from_unit((2 * k + 1) / (2 * count)) for k in range(count)]
    edges = [parameter.from_unit((k + way) / count) for k in range(count) for way in (1e-6, 1 - 1e-6)]
    assert edges == [value for value in found for _ in range(2)]
    return found


@pytest.mark.parametrize(
    ("low", "high", "step", "expected"),
    [
        (0, 0.5, 0.25, [0.0, 0.25, 0.5]),
        (0.9, 1.0, 0.1, [0.9, 1.0]),
        (0.7, 0.7 + 0.1, 0.1, [0.7, 0.8]),
        (0.0, 1 - 0.7, 0.1, [0.0, 0.1, 0.2, 0.3]),
        (0, 1, 0.1, [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
        (0, 1, 0.3, [0.0, 0.3, 0.6, 0.9]),
        (-0.3, 0.3, 0.1, [-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3]),
        (0.1, 0.8, 0.35, [0.1, 0.45, 0.8]),
        (1e-300, 3e-300, 1e-300, [1e-300, 2e-300, 3e-300]),
        (7e299, 1e300, 1e299, [7e299, 8e299, 9e299, 1e300]),
        (1e15, 1e15 + 0.5, 0.25, [1e15, 1e15 + 0.25, 1e15 + 0.5]),
        (100, 500, 200, [100.0, 300.0, 500.0]),
        (0, 1e-5, 2.5e-6, [0.0, 2.5e-6, 5e-6, 7.5e-6, 1e-5]),
    ],
)
def test_the_values_of_a_stepped_range(low, high, step, expected):
    """Fault 5: all of equal width, none lost to rounding, and the decimal numbers that are meant."""
    parameter = Float(low, high, step=step)
    assert values(parameter) == expected
    assert (parameter.low, parameter.high) == (expected[0], expected[-1])
    assert all(parameter.contains(value) and parameter.cast(value) == value for value in expected)


@given(
    low=st.integers(-1000, 1000),
    step=st.integers(1, 300),
    count=st.integers(2, 40),
    exponent=st.integers(-20, 20),
    below=st.integers(0, 299),
)
def test_a_stepped_range_of_any_decimal_numbers(low, step, count, exponent, below):
    """Fault 5: whatever the decimal numbers, no value is lost, added or doubled; `high` is lowered where no step reaches it."""

    def decimal(digits):
        return float(f"{digits}e{exponent}")

    expected = [decimal(low + k * step) for k in range(count)]
    parameter = Float(expected[0], decimal(low + (count - 1) * step + below % step), step=decimal(step))
    assert values(parameter) == expected
    assert parameter.high == expected[-1]
    distribution = parameter.to_optuna()
    assert (distribution.low, distribution.high) == (expected[0], expected[-1])
    for k, value in enumerate(expected):
        nearly = math.nextafter(value, math.inf if k % 2 else -math.inf)
        assert parameter.contains(nearly)
        assert not parameter.passes(nearly)
        assert parameter.cast(nearly) == parameter.bounded(nearly, "reflect") == value
        assert parameter.from_unit(parameter.to_unit(value)) == value
    assert not parameter.contains((expected[0] + expected[1]) / 2)
    assert parameter.passes(expected[0] - decimal(step) / 2)
    assert parameter.passes(expected[-1] + decimal(step) / 2)


@given(floats() | ints(), UNIT, st.floats(0.001, 0.999))
def test_a_bound_reflects_on_the_scale_of_the_range(parameter, unit, by):
    """What lies so far beyond a bound comes as far before it: in the logarithm where the range has one."""
    space = math.log if parameter.log else float
    back = math.exp if parameter.log else float
    low, high = space(parameter.low), space(parameter.high)
    beyond = back(high + by * (high - low)), back(low - by * (high - low))
    expected = back(high - by * (high - low)), back(low + by * (high - low))
    for value, mirrored in zip(beyond, expected, strict=True):
        assume(parameter.passes(value))
        half = 0.5000001 * (parameter.step or 0)
        assert abs(parameter.bounded(value, "reflect") - mirrored) <= half + 1e-9 * abs(mirrored) + 1e-9


@pytest.mark.parametrize("parameter", [Float(1e-300, 1e300, log=True), Float(0, 1e300), Int(1, 10**300, log=True)])
@pytest.mark.parametrize("how", ["clip", "reflect"])
def test_the_largest_floats_can_be_scaled(parameter, how):
    """Fault 33: a product that no float holds passes the bound and comes back from it."""
    for factor in (1.2, 1e10):
        moved = parameter.bounded(parameter.scaled(parameter.high, factor), how)
        assert parameter.contains(moved)
        assert moved > (0 if factor == 1e10 else 0.5) * parameter.high


def test_numpys_numbers_are_taken_as_pythons():
    space = SearchSpace(
        {
            "x": Float(np.float32(0), np.float64(0.5), step=np.float64(0.25)),
            "n": Int(np.int64(8), np.int64(128)),
            "batch": Categorical(tuple(np.array([16, 32]))),
        }
    )
    assert SearchSpace.from_json(json.loads(json.dumps(space.to_json()))) == space
    assert type(space["n"].low) is type(space["batch"].choices[0]) is int


@pytest.mark.parametrize("options", [{"low": 0, "high": math.inf}, {"low": 0, "high": math.nan}])
def test_a_bound_that_is_not_finite_is_named(options):
    with pytest.raises(OptionError) as caught:
        Float(**options)
    assert caught.value.option == "high"


def test_types_come_from_the_space():
    space = SearchSpace({"lr": Float(0, 1), "depth": Int(1, 8), "kind": Categorical((1, 2.5, "a", False))})
    cast = space.cast({"kind": 1.0, "depth": 2.0, "lr": 0})
    assert list(cast) == ["lr", "depth", "kind"]
    assert [type(value) for value in cast.values()] == [float, int, int]
    assert type(space["kind"].cast(False)) is bool
    with pytest.raises(OptionError, match="exactly"):
        space.cast({"lr": 0})


@given(st.lists(st.sampled_from([0, 1, True, False, 1.0, "1"]), min_size=2, max_size=4, unique=True))
def test_a_choice_is_inside_exactly_when_it_can_be_cast(choices):
    parameter = Categorical(tuple(choices))
    for value in (0, 1, True, False, 1.0, "1"):
        try:
            parameter.cast(value)
            castable = True
        except OptionError:
            castable = False
        assert parameter.contains(value) == castable


@given(st.dictionaries(st.sampled_from("abcd"), PARAMETERS, min_size=1), st.integers(0, 99))
def test_a_space_samples_by_name_whatever_its_order(parameters, seed):
    space = SearchSpace(parameters)
    backwards = SearchSpace(dict(reversed(parameters.items())))
    drawn = space.sample(np.random.default_rng(seed))
    assert drawn == backwards.sample(np.random.default_rng(seed))
    assert list(drawn) == list(space)
    assert space.outside(drawn) == []


def test_a_space_counts_what_passed_a_bound():
    space = SearchSpace({"lr": Float(1e-5, 1, log=True), "momentum": Float(0.1, 0.9999)})
    inside, hits = space.bounded({"lr": 0.5, "momentum": 1.08}, "clip")
    assert (inside, hits) == ({"lr": 0.5, "momentum": 0.9999}, 1)


def test_to_json_is_what_a_study_file_holds():
    space = SearchSpace({"lr": Float(1e-5, 1, log=True), "kind": Categorical(("a", "b"))})
    assert space.to_json() == {
        "lr": {"type": "float", "low": 1e-5, "high": 1.0, "log": True, "step": None, "fixed": False},
        "kind": {"type": "categorical", "choices": ["a", "b"], "ordered": False, "fixed": False},
    }


# --- initial ranges ------------------------------------------------------------------------------------------------------


@st.composite
def narrowed(draw):
    """A number with an initial range between two of its values."""
    parameter = draw(floats() | ints())
    ends = sorted(parameter.from_unit(draw(UNIT)) for _ in range(2))
    return dataclasses.replace(parameter, initial=tuple(ends))


@given(narrowed(), UNIT, RNGS)
def test_initial_values_are_those_of_a_hyperparameter_with_the_range_as_its_bounds(parameter, unit, rng):
    low, high = parameter.initial
    value = parameter.initial_from_unit(unit)
    if low < high:
        assert value == dataclasses.replace(parameter, low=low, high=high, initial=None).from_unit(unit)
    assert low <= value <= high
    assert low <= parameter.sample(rng) <= high
    assert parameter.contains(value)
    assert type(value) in kinds(parameter)
    assert on_grid(parameter, value)


@given(narrowed(), UNIT, st.floats(-1e6, 1e6), FACTORS, BOUNDS)
def test_everything_but_the_draw_keeps_the_bounds(parameter, unit, value, factor, how):
    whole = dataclasses.replace(parameter, initial=None)
    assert parameter.from_unit(unit) == whole.from_unit(unit)
    assert parameter.to_unit(value) == whole.to_unit(value)
    assert parameter.bounded(value, how) == whole.bounded(value, how)
    assert parameter.contains(value) == whole.contains(value)
    assert parameter.to_optuna() == whole.to_optuna()
    assert parameter.bounded(parameter.scaled(parameter.initial[0], factor), how) == whole.bounded(
        whole.scaled(parameter.initial[0], factor), how
    )


@given(st.dictionaries(st.sampled_from("abcd"), narrowed() | PARAMETERS, min_size=1))
def test_an_initial_range_is_written_and_read(parameters):
    space = SearchSpace(parameters)
    document = json.loads(json.dumps(space.to_json()))
    assert SearchSpace.from_json(document) == space
    for name, parameter in space.items():
        assert document[name].get("initial") == (list(parameter.initial) if "initial" in document[name] else None)
        assert ("initial" in document[name]) == (getattr(parameter, "initial", None) is not None)


def test_an_initial_range_by_hand():
    assert Float(1e-4, 1.0, log=True, initial=(1e-3, 1e-1)).initial_from_unit(0.5) == pytest.approx(1e-2)
    assert Float(0, 1, step=0.1, initial=(0.2, 0.4)).initial_from_unit(0.99) == 0.4
    assert [Int(0, 9, initial=[2, 4]).initial_from_unit(unit) for unit in (0.0, 0.3, 0.5, 0.7, 1.0)] == [2, 2, 3, 4, 4]
    assert Int(0, 9, initial=np.array([3, 3]).tolist()).sample(np.random.default_rng(0)) == 3
    assert Float(0, 1, initial=(np.float64(0.1), np.float64(0.2))).initial == (0.1, 0.2)


@pytest.mark.parametrize(
    ("cls", "options", "said"),
    [
        (Float, {"low": 0, "high": 1, "initial": (0.5, 1.5)}, "two values from 0.0 to 1.0"),
        (Float, {"low": 0, "high": 1, "initial": (-0.1, 0.5)}, "two values from 0.0 to 1.0"),
        (Float, {"low": 0, "high": 1, "initial": (0.5, 0.4)}, "the lower one first"),
        (Float, {"low": 0, "high": 1, "initial": (0.5,)}, "two values"),
        (Float, {"low": 0, "high": 1, "initial": ()}, "two values"),
        (Float, {"low": 0, "high": 1, "initial": 0.5}, "two values"),
        (Float, {"low": 0, "high": 1, "initial": (0.5, math.nan)}, "two values"),
        (Float, {"low": 0, "high": 1, "initial": (False, True)}, "two values"),
        (Float, {"low": 0, "high": 1, "initial": ("0.1", "0.2")}, "two values"),
        (Float, {"low": 0, "high": 1, "step": 0.25, "initial": (0.25, 0.6)}, "in steps of 0.25"),
        (Int, {"low": 0, "high": 9, "step": 3, "initial": (3, 4)}, "from 0 to 9 in steps of 3"),
        (Int, {"low": 1, "high": 9, "initial": (1.5, 4)}, "two values from 1 to 9"),
        (Int, {"low": 1, "high": 9, "log": True, "initial": (0, 4)}, "two values from 1 to 9"),
    ],
)
def test_a_bad_initial_range(cls, options, said):
    with pytest.raises(OptionError, match=said) as caught:
        cls(**options)
    assert caught.value.option == "initial"


# --- conditional hyperparameters ---------------------------------------------------------------------------------------

NESTED = SearchSpace(
    {
        "dampening": Float(0.0, 0.5, when={"optimizer": "sgd", "nesterov": False}),
        "momentum": Float(0.0, 0.9, when={"optimizer": ["sgd", "rmsprop"]}),
        "nesterov": Categorical((False, True), when={"optimizer": "sgd"}),
        "optimizer": Categorical(("sgd", "adam", "rmsprop")),
        "lr": Float(0.1, 1.0),
        "layers": Int(1, 3, fixed=True),
        "width2": Int(8, 64, log=True, fixed=True, when={"layers": (2, 3)}),
    }
)


@st.composite
def spaces(draw):
    """Spaces in which any hyperparameter may wait for values of controls that were drawn before it."""
    parameters = {}
    for name in draw(st.permutations("abcdefg"))[: draw(st.integers(1, 7))]:
        parameter = draw(PARAMETERS)
        when = {}
        for control in [other for other in parameters if not isinstance(parameters[other], Float)]:
            if draw(st.booleans()):
                found = parameters[control]
                values = [found.from_unit(draw(UNIT)) for _ in range(draw(st.integers(1, 2)))]
                when[control] = values if draw(st.booleans()) else values[0]
        parameters[name] = dataclasses.replace(parameter, when=when)
    shuffled = dict(draw(st.permutations(list(parameters.items()))))
    try:
        return SearchSpace(shuffled)
    except OptionError as error:
        assume("possible together" not in error.allowed)  # a chain that excludes itself; nothing else may be wrong
        raise


def active_by_hand(space, hparams):
    """Return the active names, by the definition, until nothing changes."""
    names = set()
    while True:
        more = {
            name
            for name, parameter in space.items()
            if all(
                control in names
                and any(
                    hparams[control] == value and isinstance(hparams[control], bool) == isinstance(value, bool)
                    for value in (values if isinstance(values, (list, tuple)) else [values])
                )
                for control, values in (parameter.when or {}).items()
            )
        }
        if more == names:
            return names
        names = more


@given(spaces(), st.integers(0, 2**32))
def test_what_is_drawn_is_inside_and_exactly_what_is_active(space, seed):
    drawn = space.sample(np.random.default_rng(seed))
    assert drawn.keys() == active_by_hand(space, drawn) == space.active(drawn).keys()
    assert space.outside(drawn) == []
    assert list(drawn) == [name for name in space if name in drawn]
    assert space.bounded(drawn, "clip")[1] == 0


@given(spaces(), st.integers(0, 2**32))
def test_a_draw_does_not_depend_on_what_is_active(space, seed):
    flat = SearchSpace({name: dataclasses.replace(parameter, when=None) for name, parameter in space.items()})
    drawn = space.sample(np.random.default_rng(seed))
    everything = flat.sample(np.random.default_rng(seed))
    assert drawn == {name: everything[name] for name in drawn}


@given(spaces(), st.integers(0, 2**32))
def test_the_unit_cube_round_trip(space, seed):
    rng = np.random.default_rng(seed)
    hparams = space.from_unit(rng.random(len(space)))
    assert hparams.keys() == space.active(hparams).keys()
    assert space.outside(hparams) == []
    units = space.to_unit(hparams)
    assert units.shape == (len(space),)
    assert all(unit == 0.5 for name, unit in zip(space, units, strict=True) if name not in hparams)
    again = space.from_unit(units)
    assert again.keys() == hparams.keys()
    for name, value in again.items():
        assert (
            value == pytest.approx(hparams[name], rel=1e-9, abs=1e-9)
            if isinstance(space[name], Float)
            else value == hparams[name]
        )


@given(spaces(), st.integers(0, 2**32))
def test_casting_again_changes_nothing(space, seed):
    once = space.cast(space.sample(np.random.default_rng(seed)))
    again = space.cast(once)
    assert again == once
    assert list(again) == list(once)
    assert [type(value) for value in again.values()] == [type(value) for value in once.values()]


@given(spaces())
def test_controls_come_before_what_they_control_and_are_held(space):
    assert sorted(space.ordered) == sorted(space)
    for name, parameter in space.items():
        for control in parameter.when or ():
            assert space.ordered.index(control) < space.ordered.index(name)
            assert control in space.held
        assert parameter.fixed <= (name in space.held)


@given(spaces(), st.integers(0, 2**32))
def test_the_active_part_holds_what_the_whole_holds(space, seed):
    hparams = space.sample(np.random.default_rng(seed))
    part = space.active(hparams)
    assert part.held == space.held & part.keys()
    assert part.cast(hparams) == hparams
    assert part.active(hparams).keys() == part.keys()


@given(st.dictionaries(st.sampled_from("abcd"), PARAMETERS, min_size=1))
def test_without_conditions_all_is_active_in_the_spaces_order(parameters):
    space = SearchSpace(parameters)
    assert space.active({}) is space
    assert space.ordered == tuple(parameters)
    assert space.held == {name for name, parameter in parameters.items() if parameter.fixed}


@pytest.mark.parametrize(
    ("given_", "active"),
    [
        ({"optimizer": "adam", "layers": 1}, "optimizer lr layers"),
        ({"optimizer": "rmsprop", "layers": 2}, "momentum optimizer lr layers width2"),
        ({"optimizer": "sgd", "layers": 1, "nesterov": True}, "momentum nesterov optimizer lr layers"),
        ({"optimizer": "sgd", "layers": 1, "nesterov": False}, "dampening momentum nesterov optimizer lr layers"),
        ({"optimizer": "adam", "layers": 1, "nesterov": False}, "optimizer lr layers"),
        ({"layers": 3.0}, "optimizer lr layers width2"),
    ],
)
def test_what_is_active_by_hand(given_, active):
    assert list(NESTED.active(given_)) == active.split()


def test_order_and_what_is_held_by_hand():
    assert NESTED.ordered == ("optimizer", "nesterov", "dampening", "momentum", "lr", "layers", "width2")
    assert NESTED.held == {"optimizer", "nesterov", "layers", "width2"}


def test_names_that_are_not_active_are_wrong_and_bounding_drops_them():
    hparams = {"optimizer": "adam", "lr": 0.5, "layers": 1}
    assert NESTED.cast(hparams) == hparams
    with pytest.raises(OptionError, match="exactly"):
        NESTED.cast({**hparams, "momentum": 0.5})
    with pytest.raises(OptionError, match="exactly"):
        NESTED.cast({"lr": 0.5, "layers": 1})
    assert NESTED.outside({**hparams, "momentum": 0.5, "lr": 7.0}) == ["momentum", "lr"]
    assert NESTED.outside({"optimizer": "adam", "lr": 0.5}) == ["layers"]
    assert NESTED.restricted({**hparams, "momentum": 0.5}) == hparams
    # With layers brought back to 3, width2 is active and must be there.
    with pytest.raises(OptionError, match="width2"):
        NESTED.bounded({**hparams, "layers": 9}, "clip")
    inside, hits = NESTED.bounded({**hparams, "layers": 9, "width2": 99, "momentum": 5.0}, "clip")
    assert (inside, hits) == ({"optimizer": "adam", "lr": 0.5, "layers": 3, "width2": 64}, 2)


def test_what_leaves_the_grid_has_passed_no_bound():
    space = SearchSpace({"dropout": Float(0.0, 0.5, step=0.1), "heads": Int(2, 8, step=2)})
    inside, hits = space.bounded({"dropout": 0.24, "heads": 5}, "clip")
    assert (inside, hits) == ({"dropout": pytest.approx(0.2), "heads": 6}, 0)
    assert space.bounded({"dropout": 0.6, "heads": 9}, "clip")[1] == 2


def test_weights_bring_their_controls_and_what_these_need():
    own = {"optimizer": "sgd", "nesterov": True, "momentum": 0.1, "lr": 0.2, "layers": 1}
    donors = {"optimizer": "rmsprop", "momentum": 0.8, "lr": 0.9, "layers": 2, "width2": 16}
    mine = {"optimizer": "rmsprop", "momentum": 0.1, "lr": 0.2, "layers": 2, "width2": 16}
    assert NESTED.inherited(own, donors) == mine
    back = {"optimizer": "sgd", "nesterov": True, "momentum": 0.8, "lr": 0.9, "layers": 1}
    assert NESTED.inherited(donors, own) == back


AB = Categorical(("a", "b"))


@pytest.mark.parametrize(
    ("parameters", "option", "said"),
    [
        ({"x": Float(0, 1, when={"y": 1})}, "x.when.y", "instead of y"),
        ({"x": Float(0, 1, when={"y": 1}), "y": Float(0, 1)}, "x.when.y", "no other"),
        ({"x": Int(0, 1, when={"x": 1})}, "x.when.x", "instead of x"),
        ({"x": Float(0, 1, when={"k": "c"}), "k": AB}, "x.when.k", "a value that k can have"),
        ({"x": Float(0, 1, when={"k": ["a", "c"]}), "k": AB}, "x.when.k", "a value that k can have"),
        ({"x": Float(0, 1, when={"n": True}), "n": Int(0, 1)}, "x.when.n", "a value that n can have"),
        ({"x": Float(0, 1, when={"n": 3}), "n": Int(0, 4, step=2)}, "x.when.n", "a value that n can have"),
        ({"k": Categorical(("a", "b"), when={"n": 1}), "n": Int(0, 1, when={"k": "a"})}, "k.when", "a cycle"),
        (
            {"k": AB, "n": Int(0, 1, when={"k": "a"}), "x": Float(0, 1, when={"n": 1, "k": "b"})},
            "x.when",
            "k would have to be 'a' and 'b'",
        ),
    ],
)
def test_a_condition_that_cannot_be_is_named(parameters, option, said):
    with pytest.raises(OptionError) as caught:
        SearchSpace(parameters)
    assert caught.value.option == option
    assert said in caught.value.allowed


def test_an_int_control_takes_no_boolean_for_a_number():
    space = SearchSpace({"n": Int(0, 1), "x": Float(0, 1, when={"n": 1})})
    assert "x" in space.active({"n": 1})
    assert "x" not in space.active({"n": True})


def test_conditions_are_written_as_a_study_file_has_them():
    table = NESTED.to_json()
    assert table["momentum"]["when"] == {"optimizer": ["sgd", "rmsprop"]}
    assert table["dampening"]["when"] == {"optimizer": "sgd", "nesterov": False}
    assert "when" not in table["lr"]
    with pytest.raises(OptionError, match="at least one"):
        Float(0, 1, when={"k": []})
    assert Float(0, 1, when={}) == Float(0, 1)
    assert hash(NESTED["momentum"]) == hash(Float(0.0, 0.9))


@given(st.dictionaries(st.text(max_size=3), PARAMETERS, max_size=4))
def test_from_json_gives_back_the_space(parameters):
    for space in (SearchSpace(parameters), NESTED):
        assert SearchSpace.from_json(json.loads(json.dumps(space.to_json()))) == space
