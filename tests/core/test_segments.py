"""Segments, content keys and lineages."""

import copy
import dataclasses
import json
import math
import pickle
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.core.errors import OptionError
from hpo.core.segments import (
    KeyMaker,
    ReadOnlyHParams,
    RecordingHParams,
    Result,
    Segment,
    ShrinkPerturb,
    Split,
    Step,
    canonical,
    digest,
    lineage,
    retraced,
    schedule_of,
)

VALUES = st.one_of(st.booleans(), st.integers(-5, 5), st.floats(allow_nan=False), st.text(max_size=3))
HPARAMS = st.dictionaries(st.sampled_from(["lr", "momentum", "depth"]), VALUES, max_size=3)
SEGMENTS = st.builds(
    Segment,
    member=st.integers(0, 20),
    parent=st.none() | st.sampled_from(["a" * 64, "b" * 64]),
    interval=st.integers(0, 20),
    hparams=HPARAMS,
    split=st.sampled_from(Split),
    transform=st.none() | st.builds(ShrinkPerturb, st.floats(0, 1), st.floats(0, 1), st.booleans()),
    scored_at_start=st.booleans(),
)
CONTEXT = {"engine": 1, "task": {"name": "toy", "rate": 0.1}, "seed": 0, "interval": Fraction(1, 2)}
KEY = KeyMaker.of(CONTEXT)


def spelled(segment):
    """Return the segment with types told apart as keys tell them: 1, 1.0 and True, 0.0 and -0.0."""
    hparams = {name: (type(value), repr(value)) for name, value in segment.hparams.items()}
    start = None if segment.transform is None else repr(segment.transform.to_json()), segment.scored_at_start
    return segment.member, segment.parent, segment.interval, hparams, segment.split, start


# --- canonical ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (1, "1"),
        (1.0, '["f","0x1.0000000000000p+0"]'),
        (0.1, '["f","0x1.999999999999ap-4"]'),
        (-0.0, '["f","-0x0.0p+0"]'),
        (math.nan, '["f","nan"]'),
        (math.inf, '["f","inf"]'),
        (Fraction(1, 2), '["q","1/2"]'),
        ((1, "é"), '[1,"\\u00e9"]'),
        ({"b": 1, "a": [2]}, '{"a":[2],"b":1}'),
    ],
)
def test_canonical_spelling(value, text):
    assert canonical(value) == text


def test_what_has_no_canonical_spelling():
    with pytest.raises(TypeError, match="set has no canonical spelling"):
        canonical({"a": {1, 2}})


@given(st.lists(st.text(max_size=4), max_size=4), st.lists(st.text(max_size=4), max_size=4))
def test_digests_of_different_lists_differ(texts, others):
    assert (digest(*texts) == digest(*others)) == (texts == others)


# --- keys --------------------------------------------------------------------------------------------------------------


@given(SEGMENTS, SEGMENTS)
def test_keys_are_equal_exactly_when_the_segments_are(one, other):
    assert (KEY(one) == KEY(other)) == (spelled(one) == spelled(other))


@pytest.mark.parametrize(
    "change",
    [
        {"member": 2},
        {"parent": "c" * 64},
        {"parent": None},
        {"interval": 4},
        {"hparams": {"lr": 0.2, "depth": 2}},
        {"hparams": {"lr": 0.1, "depth": 2.0}},
        {"hparams": {"lr": 0.1}},
        {"split": Split.FULL},
        {"transform": ShrinkPerturb(0.2, 0.1)},
        {"scored_at_start": True},
    ],
)
def test_a_key_holds_every_field(change):
    segment = Segment(1, "a" * 64, 3, {"lr": 0.1, "depth": 2})
    assert KEY(dataclasses.replace(segment, **change)) != KEY(segment)
    whole = dataclasses.replace(segment, transform=ShrinkPerturb(0.2, 0.1), scored_at_start=True)
    assert {field.name for field in dataclasses.fields(Segment)} == set(whole.to_json())


@pytest.mark.parametrize("other", [ShrinkPerturb(0.1, 0.2), ShrinkPerturb(0.2, 0.1, True)])
def test_a_key_holds_every_number_of_a_transform(other):
    segment = Segment(1, "a" * 64, 3, {"lr": 0.1}, transform=ShrinkPerturb(0.2, 0.1))
    assert KEY(dataclasses.replace(segment, transform=other)) != KEY(segment)


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf, True, "1"])
def test_a_transform_has_finite_factors(bad):
    with pytest.raises(OptionError, match="perturb"):
        ShrinkPerturb(0.2, bad)


def test_a_step_of_a_schedule_begins_where_weights_are_transformed():
    shrunk = ShrinkPerturb(0.2, 0.1)
    path = [Segment(0, None, 0, {"lr": 0.1}), Segment(0, "a" * 64, 1, {"lr": 0.1}, transform=shrunk)]
    path.append(Segment(0, "b" * 64, 2, {"lr": 0.1}))
    assert schedule_of(path) == (Step(0, 0, 1, {"lr": 0.1}), Step(0, 1, 3, {"lr": 0.1}, shrunk))
    traced = [segment for _, segment in retraced(path, Split.FULL, KEY)]
    assert [segment.transform for segment in traced] == [None, shrunk, None]


def test_a_key_does_not_depend_on_the_order_of_names():
    one, other = Segment(0, None, 0, {"a": 1, "b": 2}), Segment(0, None, 0, {"b": 2, "a": 1})
    assert KEY(one) == KEY(other)


@pytest.mark.parametrize("change", [{"seed": 1}, {"engine": 2}, {"task": {"name": "toy", "rate": 0.2}}, {"more": 0}])
def test_a_key_holds_the_context(change):
    assert KeyMaker.of(CONTEXT | change)(Segment(0, None, 0, {})) != KEY(Segment(0, None, 0, {}))


def test_keys_never_change():
    """Golden: a change here makes every store useless."""
    assert KEY(Segment(1, "a" * 64, 3, {"lr": 0.1, "depth": 2})) == GOLDEN


GOLDEN = "d117ee914e9c9cefd28ce52a626a39bd9f1e9f0d129923e10c7c6b4589c117cf"


@given(SEGMENTS)
def test_json_round_trip(segment):
    assert spelled(Segment.from_json(segment.to_json())) == spelled(segment)


# --- lineages ----------------------------------------------------------------------------------------------------------

STEPS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0.1, 0.2])), min_size=1, max_size=12)


def walk(steps, split=Split.SEARCH):
    """Return segments by key along a path of (member, lr), and the last key."""
    made, parent = {}, None
    for interval, (member, lr) in enumerate(steps):
        segment = Segment(member, parent, interval, {"lr": lr}, split)
        parent = KEY(segment)
        made[parent] = segment
    return made, parent


@given(STEPS)
def test_a_lineage_is_the_path_from_its_root(steps):
    made, last = walk(steps)
    path = lineage(last, made.__getitem__)
    assert path == list(made.values())
    assert [segment.interval for segment in path] == list(range(len(steps)))


@given(STEPS)
def test_a_schedule_covers_the_path_once_and_merges_equal_neighbours(steps):
    schedule = schedule_of(walk(steps)[0].values())
    assert [(step.member, step.hparams["lr"]) for step in schedule for _ in range(step.start, step.stop)] == steps
    assert [step.start for step in schedule] == [0, *(step.stop for step in schedule[:-1])]
    for one, following in pairwise(schedule):
        assert (one.member, one.hparams) != (following.member, following.hparams)


def test_a_schedule_by_hand():
    schedule = schedule_of(walk([(0, 0.1), (0, 0.1), (1, 0.1), (1, 0.2)])[0].values())
    assert schedule == (Step(0, 0, 2, {"lr": 0.1}), Step(1, 2, 3, {"lr": 0.1}), Step(1, 3, 4, {"lr": 0.2}))
    assert schedule_of([]) == ()


def test_values_that_keys_tell_apart_are_different_steps():
    values = [1, 1.0, True, 0.0, -0.0]
    steps = schedule_of([Segment(0, None, interval, {"x": value}) for interval, value in enumerate(values)])
    assert [str(step.hparams["x"]) for step in steps] == ["1", "1.0", "True", "0.0", "-0.0"]


def test_a_schedule_lacks_what_its_lineage_left_out():
    path = [Segment(0, None, 0, {}), Segment(0, "a", 1, {}), Segment(0, "b", 4, {}), Segment(0, "c", 5, {})]
    assert schedule_of(path) == (Step(0, 0, 2, {}), Step(0, 4, 6, {}))


@given(STEPS)
def test_walked_again_on_the_same_split_a_lineage_has_the_same_keys(steps):
    made, last = walk(steps)
    path = lineage(last, made.__getitem__)
    assert retraced(path, Split.SEARCH, KEY) == list(made.items())
    full = retraced(path, Split.FULL, KEY)
    assert dict(full) == walk(steps, Split.FULL)[0]
    assert made.keys().isdisjoint(dict(full))


def test_results_rank_by_score_then_member_and_diverged_last():
    def result(member, score, diverged=False):
        return Result(str(member), Segment(member, None, 0, {}), {}, score, diverged)

    results = [result(0, -math.inf, True), result(3, 1.0), result(1, 1.0), result(2, 2.0), result(4, -1e300)]
    assert [item.segment.member for item in sorted(results, key=lambda item: item.rank_key)] == [2, 1, 3, 4, 0]


values = st.one_of(st.floats(), st.integers(), st.booleans(), st.text(max_size=4))


@given(
    st.integers(0, 2**41),
    st.one_of(st.none(), st.text(max_size=70)),
    st.integers(0, 10**6),
    st.dictionaries(st.text(max_size=4), values, max_size=4),
    st.sampled_from(Split),
)
def test_a_key_is_the_digest_of_the_canonical_spelling(member, parent, interval, hparams, split):
    segment = Segment(member, parent, interval, hparams, split)
    maker = KeyMaker.of({"seed": 0})
    assert maker(segment) == digest(maker.context, canonical(segment.to_json()))


# --- read-only hyperparameters -------------------------------------------------------------------------------------------


def unpacked(**hparams):
    return hparams


@pytest.mark.parametrize(
    "write",
    [
        lambda hparams: hparams.__setitem__("lr", 1.0),
        lambda hparams: hparams.__delitem__("lr"),
        lambda hparams: hparams.pop("lr"),
        lambda hparams: hparams.popitem(),
        lambda hparams: hparams.clear(),
        lambda hparams: hparams.update(lr=1.0),
        lambda hparams: hparams.setdefault("momentum", 0.9),
        lambda hparams: hparams.__ior__({"lr": 1.0}),
    ],
)
@pytest.mark.parametrize("sent", [lambda segment: segment, lambda segment: pickle.loads(pickle.dumps(segment))])
def test_the_hyperparameters_of_a_segment_cannot_be_changed(write, sent):
    """Fault 41: neither by who made the segment, nor by who is given it, in this process or in another."""
    given = {"lr": 0.1}
    segment = sent(Segment(0, None, 0, given))
    given["lr"] = 0.2
    with pytest.raises(TypeError, match=r"read-only.*dict\(hparams\)"):
        write(segment.hparams)
    assert segment.hparams == {"lr": 0.1}


@given(hparams=HPARAMS)
def test_a_copy_of_read_only_hyperparameters_is_a_plain_dict(hparams):
    fixed = ReadOnlyHParams(hparams)
    copies = [
        dict(fixed),
        {**fixed},
        unpacked(**fixed),
        fixed | {},
        fixed.copy(),
        copy.copy(fixed),
        copy.deepcopy(fixed),
    ]
    assert all(type(each) is dict and each == hparams for each in copies)
    assert json.loads(json.dumps(fixed)) == hparams
    assert fixed == hparams
    assert repr(fixed) == repr(hparams)


@pytest.mark.parametrize(
    ("look", "read"),
    [
        (lambda hparams: hparams["lr"], {"lr"}),
        (lambda hparams: hparams.get("lr", 1.0), {"lr"}),
        (lambda hparams: hparams.get("dropout", 0.0), {"dropout"}),
        (lambda hparams: "momentum" in hparams, {"momentum"}),
        (lambda hparams: unpacked(**hparams), {"lr", "momentum"}),
        (lambda hparams: {**hparams}, {"lr", "momentum"}),
        (lambda hparams: dict(hparams), {"lr", "momentum"}),
        (lambda hparams: hparams.copy(), {"lr", "momentum"}),
        (lambda hparams: {} | hparams, {"lr", "momentum"}),
        (lambda hparams: dict(hparams.items()), {"lr", "momentum"}),
        (lambda hparams: list(hparams.values()), {"lr", "momentum"}),
        (lambda hparams: json.dumps(hparams), {"lr", "momentum"}),
        (lambda hparams: (list(hparams), len(hparams), bool(hparams)), set()),
    ],
)
def test_recording_hyperparameters_know_what_was_looked_up(look, read):
    hparams = RecordingHParams({"lr": 0.1, "momentum": 0.9})
    assert look(Segment(0, None, 0, hparams).hparams) == look({"lr": 0.1, "momentum": 0.9})
    assert hparams.read == read
