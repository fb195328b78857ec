"""Schedules as values: equality, files, tables, and what other training loops make of them."""

import csv
import io
import itertools
import math
import tomllib
from fractions import Fraction

import numpy as np
import pytest
import torch
from helpers import HERE, PBT, RANDOM, document, results, run
from hypothesis import given
from hypothesis import strategies as st
from torch_tasks import Blobs

import hpo
from hpo.core.errors import InputError, OptionError, SpecError
from hpo.core.seeding import REPLAY_SLOT, Streams, forked_generators
from hpo.core.segments import Split
from hpo.core.splits import DataPlan
from hpo.schedules.schedule import Schedule, Source

HALVED = Schedule.of([(5, {"lr": 0.1, "momentum": 0.9}), (2.5, {"lr": 0.05, "momentum": 0.9})], "epochs")
VALUES = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**60), 2**60), st.booleans(), st.text(max_size=5)
)

TRANSFORMS = st.builds(hpo.ShrinkPerturb, st.floats(0, 2), st.floats(0, 2), st.booleans())
RESTARTED = Schedule.of(
    [
        (2, {"lr": 0.1}),
        (1, {"lr": 0.1}, hpo.ShrinkPerturb(0.2, 0.1)),
        (1, {"lr": 0.05}, hpo.ShrinkPerturb(0.5, 0.0, True)),
        (1, {"lr": 0.01}),
    ],
    "epochs",
)


@st.composite
def schedules(draw):
    names = draw(st.lists(st.text(min_size=1, max_size=5), max_size=3, unique=True))
    pool = draw(st.lists(st.fixed_dictionaries(dict.fromkeys(names, VALUES)), min_size=1, max_size=3))
    hparams = draw(st.lists(st.sampled_from(pool), min_size=1, max_size=12))
    members = draw(st.none() | st.lists(st.integers(0, 2**40), min_size=len(hparams), max_size=len(hparams)))
    source = draw(st.none() | st.builds(Source, st.text(max_size=5), st.text(max_size=5), st.integers(0, 2**53 - 1)))
    gaps = draw(st.none() | st.lists(st.integers(0, 2), min_size=len(hparams), max_size=len(hparams)))
    places = None if gaps is None else tuple(index + gap for index, gap in enumerate(itertools.accumulate(gaps)))
    interval = draw(st.fractions(min_value=Fraction(1, 1000), max_value=1000))
    budget = (places[-1] + 1 if places else len(hparams)) + draw(st.integers(0, 2))
    unit = draw(st.text(min_size=1, max_size=5))
    transforms = (None, *(draw(st.none() | TRANSFORMS) for _ in hparams[1:]))
    return Schedule(tuple(hparams), interval, unit, budget, members, places, source, transforms)


@pytest.fixture(scope="module")
def toy_run(tmp_path_factory):
    """Return the run directory of a toy study whose PBT arm has derived arms."""
    eager = {**PBT, "explore": "all"}
    derived = [{"label": name, "derived_from": "pbt", "replay": name} for name in ("constant_best", "shuffled")]
    return run(document(arms=(RANDOM, eager, *derived)), tmp_path_factory.mktemp("toy") / "run").run_dir


# --- the value -----------------------------------------------------------------------------------------------------------


def test_hyperparameters_over_time():
    assert (HALVED.interval, len(HALVED), HALVED.length) == (Fraction(5, 2), 3, Fraction(15, 2))
    assert HALVED.names == ("lr", "momentum")
    assert [HALVED.at(at)["lr"] for at in (0, 4.999, 5, 7.5, 100)] == [0.1, 0.1, 0.05, 0.05, 0.05]
    assert HALVED.steps() == [
        (0, 5, {"lr": 0.1, "momentum": 0.9}),
        (5, Fraction(15, 2), {"lr": 0.05, "momentum": 0.9}),
    ]


def test_a_position_is_what_it_is_written_as():
    tenths = Schedule(tuple({"lr": k / 10} for k in range(10)), Fraction("0.1"), "epochs")
    assert [tenths.at(at)["lr"] for at in (0.3, 0.6, 0.7)] == [0.3, 0.6, 0.7]


@pytest.mark.parametrize("position", [-1, float("nan"), float("inf")])
def test_a_position_that_is_none_is_refused(position):
    with pytest.raises(OptionError, match="position"):
        HALVED.at(position)


def test_equal_is_what_says_the_same_of_the_hyperparameters():
    again = Schedule(HALVED.hparams, HALVED.interval, "epochs", members=(1, 2, 3), source=Source("a", "b", 0))
    assert again == HALVED
    assert hash(again) == hash(HALVED)
    assert Schedule(HALVED.hparams, HALVED.interval, "steps") != HALVED
    assert Schedule(HALVED.hparams, HALVED.interval, "epochs", 4) != HALVED
    assert Schedule(HALVED.hparams[::-1], HALVED.interval, "epochs") != HALVED
    assert HALVED.stretched(7.5) == HALVED
    assert HALVED.stretched(15) != HALVED


def test_a_schedule_keeps_what_it_was_given():
    hparams = {"lr": 0.1}
    schedule = Schedule((hparams,), Fraction(1), "epochs")
    hparams["lr"] = 1.0
    assert schedule.at(0) == {"lr": 0.1}
    with pytest.raises(AttributeError):
        schedule.unit = "steps"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (((), 1, "epochs"), "hparams"),
        ((({"lr": 1.0},), 0, "epochs"), "interval"),
        ((({"lr": 1.0},), "half", "epochs"), "interval"),
        ((({"lr": 1.0},) * 3, 1, "epochs", 2), "budget"),
        ((({"lr": 1.0},) * 3, 1, "epochs", 3, (0, 1)), "members"),
        ((({"lr": 1.0},) * 3, 1, "epochs", 3, None, (0, 1)), "places"),
        ((({"lr": 1.0},) * 3, 1, "epochs", 3, None, (0, 1, 3)), "budget"),
        ((({"lr": 1.0},), 1, "epochs", 10**7), "budget"),
        ((({"lr": 1.0},), 1, "epochs", 0, None, (10**7,)), "budget"),
        ((({"lr": 1.0},) * 3, 1, "epochs", 3, None, None, None, (None,)), "transforms"),
        ((({"lr": 1.0},), 1, "epochs", 1, None, None, None, (hpo.ShrinkPerturb(1, 0),)), "transforms"),
        ((({"lr": 1.0},) * 2, 1, "epochs", 2, None, None, None, (None, 0.5)), "transforms"),
        ((({"lr": 1.0},), 1, ""), "unit"),
        ((({"lr": 1.0},), 10**400, "epochs"), "interval"),
        ((({"lr": 1.0},), Fraction(1, 10**400), "epochs"), "interval"),
        ((({"lr": 1.0}, {"lr": math.nan}), 1, "epochs"), "hparams.lr"),
        ((({"lr": math.inf},), 1, "epochs"), "hparams.lr"),
        ((({"lr": 10**400},), 1, "epochs"), "hparams.lr"),
        ((({"lr": None},), 1, "epochs"), "hparams.lr"),
        ((({"lr": [0.1]},), 1, "epochs"), "hparams.lr"),
    ],
)
def test_nonsense_is_refused(arguments, named):
    """Fault 33: and so is what could be saved, and not be loaded again."""
    with pytest.raises(OptionError) as raised:
        Schedule(*arguments)
    assert raised.value.option == named


@given(schedules(), st.fractions(min_value=Fraction(1, 100), max_value=100))
def test_stretching_scales_every_position(schedule, factor):
    stretched = schedule.stretched(schedule.length * factor)
    assert stretched.length == schedule.length * factor
    expected = [(start * factor, stop * factor, hparams) for start, stop, hparams in schedule.steps()]
    assert stretched.steps() == expected
    assert stretched.stretched(schedule.length) == schedule
    expected = {at * factor: found for at, found in schedule.weight_transforms().items()}
    assert stretched.weight_transforms() == expected
    assert set(expected) <= {start for start, _, _ in stretched.steps()}
    assert stretched.members == schedule.members


# --- files and tables ------------------------------------------------------------------------------------------------------


@given(schedules())
def test_a_file_gives_back_what_was_saved(tmp_path_factory, schedule):
    path = tmp_path_factory.getbasetemp() / "any" / "schedule.toml"
    schedule.save(path)
    found = Schedule.load(path)
    assert found == schedule
    assert (found.members, found.source) == (schedule.members, schedule.source)
    assert found.places == (schedule.places or tuple(range(len(schedule))))
    kinds = [[type(value) for value in hparams.values()] for hparams in schedule.hparams]
    assert [[type(value) for value in hparams.values()] for hparams in found.hparams] == kinds


GOOD = HALVED.to_document()
SHRUNK = hpo.ShrinkPerturb(0.2, 0.1).to_json()


def with_step(index, **changes):
    steps = [{**step, **(changes if at == index else {})} for at, step in enumerate(GOOD["steps"])]
    return {**GOOD, "steps": steps}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({**GOOD, "schema_version": 2}, "schema_version = 2: this version of hpo reads 1"),
        ({name: value for name, value in GOOD.items() if name != "unit"}, "unit: missing; required: a text"),
        ({**GOOD, "intervall": 1}, "intervall = 1: unknown key; allowed: source, steps, schema_version"),
        ({**GOOD, "intervall": 1}, "did you mean 'interval'?"),
        ({**GOOD, "interval": 0}, "interval = 0"),
        ({**GOOD, "interval": "1/0"}, "interval = '1/0': allowed: a number above 0"),
        ({**GOOD, "steps": []}, "steps: missing"),
        ({**GOOD, "steps": 3}, "steps: missing"),
        ({**GOOD, "budget": 1}, "budget = 1: allowed: at least the schedule's 3 intervals"),
        ({**GOOD, "source": {"study": "a", "arm": "b", "seed": -1}}, "source.seed = -1"),
        (with_step(0, start=1), "steps[0].start = 1: allowed: 0, "),
        (with_step(1, start=1), "steps[1].start = 1: allowed: 2, "),
        (with_step(1, stop=2), "steps[1].stop = 2: allowed: a whole number above start = 2"),
        (with_step(1, stop=10**12), "steps[1].stop = 1000000000000"),
        (with_step(1, place=1), "places = [0, 1, 1]: allowed: numbers from 0, each above the one before"),
        (with_step(1, hparams={"lr": [1]}), "steps[1].hparams.lr"),
        (with_step(1, member=3), "steps[1].member = 3: allowed: a member in every step, or in none"),
        (with_step(1, transform={"name": "rotate"}), "steps[1].transform.name = 'rotate': allowed: 'shrink_perturb'"),
        (with_step(1, transform={"name": "shrink_perturb", "shrink": 1}), "steps[1].transform.perturb: missing"),
        (with_step(1, transform={**SHRUNK, "shrink": -1}), "steps[1].transform.shrink = -1"),
        (with_step(1, transform=0.5), "steps[1].transform = 0.5: allowed: a table"),
        (with_step(0, transform=SHRUNK), "steps[0].transform: not allowed in the first step"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(wrong, message):
    with pytest.raises(SpecError) as raised:
        Schedule.from_document(wrong, file="my.toml")
    assert message in str(raised.value)
    assert str(raised.value).startswith("my.toml: ")


def test_a_file_that_is_none_is_named(tmp_path):
    (tmp_path / "schedule.toml").write_text("[")
    with pytest.raises(SpecError, match=r"schedule\.toml: not TOML"):
        Schedule.load(tmp_path / "schedule.toml")
    with pytest.raises(SpecError, match=r"schedule file: there is no such file \(did you mean 'schedule\.toml'\?\)"):
        Schedule.load(tmp_path / "shedule.toml")


def test_a_file_is_written_as_a_person_would(tmp_path):
    HALVED.save(tmp_path / "schedule.toml")
    assert tomllib.loads((tmp_path / "schedule.toml").read_text()) == {
        "schema_version": 1,
        "unit": "epochs",
        "interval": 2.5,
        "steps": [
            {"start": 0, "stop": 2, "hparams": {"lr": 0.1, "momentum": 0.9}},
            {"start": 2, "stop": 3, "hparams": {"lr": 0.05, "momentum": 0.9}},
        ],
    }


def test_a_table_has_a_row_for_each_step():
    mixed = Schedule.of([(1, {"lr": 0.1}), (2, {"lr": 0.1, "kind": "a, b"})], "epochs")
    assert mixed.to_csv() == 'from,to,unit,lr,kind\n0.0,1.0,epochs,0.1,\n1.0,3.0,epochs,0.1,"a, b"\n'


def test_a_weight_transform_is_part_of_a_schedule():
    first, second = hpo.ShrinkPerturb(0.2, 0.1), hpo.ShrinkPerturb(0.5, 0.0, True)
    assert RESTARTED.transforms == (None, None, first, second, None)
    assert RESTARTED.weight_transforms() == {2: first, 3: second}
    assert [start for start, _, _ in RESTARTED.steps()] == [0, 2, 3, 4]
    plain = Schedule(RESTARTED.hparams, 1, "epochs")
    assert plain != RESTARTED
    assert plain == Schedule(RESTARTED.hparams, 1, "epochs", transforms=(None,) * 5)
    assert hash(plain) == hash(Schedule(RESTARTED.hparams, 1, "epochs", transforms=(None,) * 5))
    assert RESTARTED.to_csv().splitlines() == [
        "from,to,unit,lr,transform:shrink,transform:perturb,transform:reset_optimizer",
        "0.0,2.0,epochs,0.1,,,",
        "2.0,3.0,epochs,0.1,0.2,0.1,",
        "3.0,4.0,epochs,0.05,0.5,0.0,1",
        "4.0,5.0,epochs,0.01,,,",
    ]


# --- of a run ----------------------------------------------------------------------------------------------------------------


def test_the_schedule_of_a_run_is_the_one_in_its_results(toy_run):
    for replicate in results(toy_run)["replicates"]:
        schedule = hpo.load_schedule(toy_run, "pbt", replicate["seed"])
        steps = replicate["arms"]["pbt"]["schedule"]
        assert (len(schedule), schedule.interval, schedule.unit, schedule.budget) == (5, 1, "steps", 5)
        for step in steps:
            for interval in range(step["start"], step["stop"]):
                assert schedule.at(interval) == step["hparams"]
                assert schedule.members[interval] == step["member"]
        assert schedule.source == Source("small", "pbt", replicate["seed"], 0)
        rows = list(csv.DictReader(io.StringIO(schedule.to_csv())))
        assert [float(row["h0"]) for row in rows] == [hparams["h0"] for _, _, hparams in schedule.steps()]


def test_the_schedule_of_a_derived_arm_is_the_one_that_it_trained(toy_run):
    source = hpo.load_schedule(toy_run, "pbt", 0)
    assert len(set(map(str, source.hparams))) == 5
    constant = hpo.load_schedule(toy_run, "constant_best", 0)
    assert constant.hparams == source.hparams[-1:] * 5
    assert constant.members == (REPLAY_SLOT,) * 5
    order = Streams(0).generator("shuffle").permutation(5)
    assert hpo.load_schedule(toy_run, "shuffled", 0).hparams == tuple(source.hparams[index] for index in order)


def test_an_arm_or_seed_that_is_not_there_is_named(toy_run):
    with pytest.raises(InputError, match=r"no finished arm 'ptb' with seed 0; .*'constant_best'.*did you mean 'pbt'"):
        hpo.load_schedule(toy_run, "ptb", 0)
    with pytest.raises(InputError, match="no finished arm 'pbt' with seed 7"):
        hpo.load_schedule(toy_run, "pbt", 7)


# --- other training loops ------------------------------------------------------------------------------------------------------


def sgd(lr=1.0, groups=1):
    weights = [torch.nn.Parameter(torch.ones(2)) for _ in range(groups)]
    return torch.optim.SGD([{"params": [weight]} for weight in weights], lr=lr)


def held(optimizer, scheduler, steps, key="lr"):
    """Return what the groups hold before each training step."""
    found = []
    for _ in range(steps):
        found.append([group[key] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return found


def test_a_lambda_gives_the_rates_of_the_schedule():
    optimizer = sgd()
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, HALVED.lr_lambda("lr", steps_per_unit=2))
    assert held(optimizer, scheduler, 20) == [[0.1]] * 10 + [[0.05]] * 10
    half = HALVED.lr_lambda("lr", steps_per_unit=2, base=0.5)
    assert [half(9), half(10)] == [0.2, 0.1]


def test_boundaries_between_steps_fall_on_the_first_step_after_them():
    # 3 steps per epoch, intervals of half an epoch: positions 0, 1/3, 2/3, 1, 4/3, ...
    schedule = Schedule(tuple({"lr": k / 10} for k in range(1, 5)), Fraction(1, 2), "epochs")
    rates = schedule.lr_lambda("lr", steps_per_unit=3)
    assert [rates(step) for step in range(8)] == [0.1, 0.1, 0.2, 0.3, 0.3, 0.4, 0.4, 0.4]
    assert [rates(step) for step in range(6)] == [schedule.at(Fraction(step, 3))["lr"] for step in range(6)]


PAIRS = st.lists(st.tuples(st.floats(1e-6, 1), st.floats(0, 1)), min_size=1, max_size=8)


@given(PAIRS, st.fractions(Fraction(1, 10), 3), st.integers(1, 30))
def test_a_scheduler_holds_every_group_to_the_schedule_at_every_step(pairs, interval, steps_per_unit):
    schedule = Schedule([{"lr": lr, "decay": decay} for lr, decay in pairs], interval, "epochs")
    optimizer = sgd(groups=2)
    scheduler = hpo.torch_scheduler(
        optimizer, schedule, steps_per_unit=steps_per_unit, parameters={"lr": "lr", "decay": "weight_decay"}
    )
    for step in range(25):
        expected = schedule.at(Fraction(step, steps_per_unit))
        for group in optimizer.param_groups:
            assert (group["lr"], group["weight_decay"], group["momentum"]) == (expected["lr"], expected["decay"], 0)
        assert scheduler.get_last_lr() == [expected["lr"]] * 2
        optimizer.step()
        scheduler.step()


def test_by_default_all_hyperparameters_that_name_a_key_are_set():
    schedule = Schedule.of([(1, {"momentum": 0.5, "width": 3}), (1, {"momentum": 0.7, "width": 3})], "epochs")
    optimizer = sgd(lr=0.3)
    scheduler = hpo.torch_scheduler(optimizer, schedule, steps_per_unit=1)
    assert held(optimizer, scheduler, 3, "momentum") == [[0.5], [0.7], [0.7]]
    assert optimizer.param_groups[0]["lr"] == scheduler.get_last_lr()[0] == 0.3


def test_a_boolean_is_set_as_a_number_is():
    """Fault 33: one boolean hyperparameter that names a key had all of them refused."""
    schedule = Schedule.of([(1, {"lr": 0.5, "nesterov": True}), (1, {"lr": 0.1, "nesterov": False})], "epochs")
    for parameters in (None, {"nesterov": "nesterov"}):
        optimizer = torch.optim.SGD(torch.nn.Linear(2, 1).parameters(), lr=0.3, momentum=0.9)
        scheduler = hpo.torch_scheduler(optimizer, schedule, steps_per_unit=1, parameters=parameters)
        assert held(optimizer, scheduler, 3, "nesterov") == [[True], [False], [False]]
        assert optimizer.param_groups[0]["lr"] == (0.1 if parameters is None else 0.3)


def test_the_state_goes_on_where_it_was_left(tmp_path):
    kinds = {"steps_per_unit": 2, "parameters": {"lr": "lr", "momentum": "momentum"}}
    optimizer = sgd()
    scheduler = hpo.torch_scheduler(optimizer, HALVED, **kinds)
    held(optimizer, scheduler, 7)
    torch.save(scheduler.state_dict(), tmp_path / "state.pt")
    expected = held(optimizer, scheduler, 10)
    optimizer = sgd(lr=9.0)
    scheduler = hpo.torch_scheduler(optimizer, HALVED, **kinds)
    scheduler.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert held(optimizer, scheduler, 10) == expected == [[0.1]] * 3 + [[0.05]] * 7


@pytest.mark.parametrize(("steps_per_unit", "expected"), [(2, [4, 6]), (Fraction(1, 2), [1, 2])])
def test_weights_are_transformed_where_the_schedule_says(steps_per_unit, expected, tmp_path):
    """Before the first training step at or after the position; and not once more where a state is loaded."""
    applied = []

    def scheduler(optimizer):
        note = lambda change: applied.append((taken, change))  # noqa: E731
        return hpo.torch_scheduler(optimizer, RESTARTED, steps_per_unit=steps_per_unit, transform=note)

    optimizer = sgd()
    following = scheduler(optimizer)
    for taken in range(1, 12):
        optimizer.step()
        following.step()
        if taken == 5:
            state = following.state_dict()
    assert applied == list(zip(expected, RESTARTED.weight_transforms().values(), strict=True))
    applied.clear()
    again = scheduler(sgd())
    again.load_state_dict(state)
    assert applied == []


def test_what_a_scheduler_cannot_do_is_said():
    with pytest.raises(OptionError, match=r"transform = None: .*2, 3 epochs; see hpo\.shrink_perturb"):
        hpo.torch_scheduler(sgd(), RESTARTED, steps_per_unit=1)
    with pytest.warns(UserWarning, match="2, 3 epochs"):
        RESTARTED.lr_lambda(steps_per_unit=1)


def test_rates_that_are_tensors_stay_tensors():
    optimizer = sgd(lr=torch.tensor(1.0, dtype=torch.float64))
    rate = optimizer.param_groups[0]["lr"]
    scheduler = hpo.torch_scheduler(optimizer, HALVED, steps_per_unit=1, parameters={"lr": "lr"})
    held(optimizer, scheduler, 6)
    assert optimizer.param_groups[0]["lr"] is rate
    assert float(rate) == 0.05


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"lr": "learning_rate"}, r"parameters = 'learning_rate': allowed: one of .*lr"),
        ({"rate": "lr"}, "parameter = 'rate': allowed: one of lr, momentum"),
        ({}, "parameters = {}"),
    ],
)
def test_what_cannot_be_set_is_named(parameters, message):
    with pytest.raises(OptionError, match=message):
        hpo.torch_scheduler(sgd(), HALVED, steps_per_unit=1, parameters=parameters)


def test_only_numbers_that_are_always_there_can_be_set():
    mixed = Schedule.of([(1, {"lr": 0.1, "kind": "a"}), (1, {"lr": 0.1, "kind": "a", "decay": 0.1})], "epochs")
    for name in ("kind", "decay"):
        with pytest.raises(OptionError, match="a number in every interval"):
            mixed.lr_lambda(name, steps_per_unit=1)
    for wrong in ({"steps_per_unit": 0}, {"steps_per_unit": 1, "base": 0}):
        with pytest.raises(OptionError):
            mixed.lr_lambda("lr", **wrong)


@pytest.mark.parametrize(
    "transforms", [None, (None, hpo.ShrinkPerturb(0.6, 0.3), None, hpo.ShrinkPerturb(0.5, 0, True))]
)
def test_a_plain_loop_trains_what_the_engine_trains(tmp_path, transforms):
    """Without dropout nothing is drawn while training: the bits are those of the engine, whose segments pass through files."""
    rates = [(0.3, 0.5), (0.1, 0.9), (0.1, 0.2), (0.02, 0.9)]
    hparams = [{"lr": lr, "momentum": momentum} for lr, momentum in rates]
    schedule = Schedule(hparams, Fraction(1, 2), "epochs", transforms=transforms)
    task = Blobs(dropout=0.0)
    table = {"task": {"name": "blobs", "module": "torch_tasks", "dropout": 0.0}}
    options = {"seed": 3, "out": tmp_path, "executor": "serial", "search_path": [HERE]}
    engine = hpo.replay_schedule(schedule, table, **options).model()

    plan = DataPlan(task.development_data(), task.validation_size, task.batch_size, Fraction(1, 2))
    key = Streams(3).key("initialize", member=REPLAY_SLOT, shared=True)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        with task.numerics_scope():
            with forked_generators(key):
                model = task.build_model({})
            optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, fused=True)

            def transform(change):
                key = Streams(3).key("initialize", member=REPLAY_SLOT, interval=interval + 1, shared=True)
                with forked_generators(key):
                    hpo.shrink_perturb(model, task.build_model({}), change.shrink, change.perturb)
                if change.reset_optimizer:
                    optimizer.state.clear()

            scheduler = hpo.torch_scheduler(optimizer, schedule, steps_per_unit=20, transform=transform)
            for interval in range(4):
                batches = plan.batches(3, Split.FULL, interval)
                assert len(batches) == 10
                for inputs, targets in batches:
                    optimizer.zero_grad()
                    torch.nn.functional.cross_entropy(model(inputs), targets).backward()
                    optimizer.step()
                    scheduler.step()
    finally:
        torch.set_num_threads(threads)
    for ours, theirs in zip(model.parameters(), engine.parameters(), strict=True):
        assert np.array_equal(ours.detach().numpy(), theirs.detach().numpy())
