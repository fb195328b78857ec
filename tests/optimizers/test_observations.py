import numpy as np
import pytest
from driver import MIXED
from hypothesis import given
from hypothesis import strategies as st

from hpo.core.segments import Result, Segment, ShrinkPerturb
from hpo.core.space import Categorical, Float, Int, SearchSpace
from hpo.optimizers.observations import Encoding, improvements, next_rows_of_others, next_times, standardised
from hpo.testing import SPACES


def told(member, interval, hparams, score, parent=None, diverged=False):
    return Result(f"{member}/{interval}", Segment(member, parent, interval, hparams), {}, score, diverged)


# --- hyperparameters as rows -----------------------------------------------------------------------------------------


def test_a_row_by_hand():
    space = SearchSpace(
        {
            "lr": Float(1e-4, 1.0, log=True),
            "depth": Int(1, 4),
            "kind": Categorical(("a", "b", "c")),
            "batch": Categorical((16, 32), ordered=True),
            "width": Int(8, 64, fixed=True),
        }
    )
    encoding = Encoding.of(space)
    assert encoding.names == ("batch", "depth", "kind", "lr")
    assert (encoding.categorical, encoding.numbers) == ((3,), 3)
    assert encoding.row(5, {"lr": 0.1, "depth": 2, "kind": "c", "batch": 32, "width": 9}) == [5, 0.75, 0.375, 2, 0.75]
    assert encoding.row(5, {"width": 9}) == [5, 0.5, 0.5, -1, 0.5]


@given(st.integers(0, 999), st.sampled_from([MIXED, *SPACES.values()]))
def test_a_row_is_decoded_to_its_hyperparameters(seed, space):
    hparams = space.sample(np.random.default_rng(seed))
    encoding = Encoding.of(space)
    back = encoding.decoded(encoding.row(0, hparams)[1:], hparams)
    assert back.keys() == hparams.keys()
    floats = {name for name in hparams if isinstance(hparams[name], float)}
    assert [back[name] for name in floats] == pytest.approx([hparams[name] for name in floats], rel=1e-12)
    assert all(back[name] == hparams[name] for name in hparams.keys() - floats)
    assert [type(value) for value in back.values()] == [type(value) for value in hparams.values()]


def test_rows_of_candidates_have_inactive_hyperparameters_at_their_fixed_place():
    space = SearchSpace({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0), "z": Categorical(("a", "b"))})
    rows = Encoding.of(space).rows(3, np.array([[0.1, 0.2, 1.0], [0.3, 0.4, 0.0]]), {"x": 0.9})
    assert rows.tolist() == [[3.0, 0.1, 0.5, -1.0], [3.0, 0.3, 0.5, -1.0]]


def test_members_that_go_on_have_rows_at_their_next_interval():
    space = SearchSpace({"x": Float(0.0, 1.0)})
    history = [
        told(0, 0, {"x": 0.1}, 0.0),
        told(1, 0, {"x": 0.2}, 0.0),
        told(2, 0, {"x": 0.3}, 0.0),
        told(1, 1, {"x": 0.4}, 0.0, parent="1/0"),
        told(3, 0, {"x": 0.5}, -np.inf, diverged=True),
    ]
    assert next_times(history) == {0: 1, 1: 2, 2: 1, 3: 1}
    assert next_rows_of_others({0}, history, Encoding.of(space)) == [[2.0, 0.4], [1.0, 0.3]]


# --- improvements ----------------------------------------------------------------------------------------------------


def test_an_improvement_is_against_the_parent_whoever_that_was():
    space = SearchSpace({"lr": Float(1e-4, 1.0, log=True), "depth": Int(1, 4), "kind": Categorical(("a", "b"))})
    own = {"lr": 1e-2, "depth": 3, "kind": "a"}
    history = [
        told(0, 0, own, 5.0),
        told(1, 0, own, 2.0),
        told(2, 0, own, -np.inf, diverged=True),
        told(0, 1, {**own, "lr": 1e-3}, 5.5, parent="0/0"),
        told(1, 1, {**own, "depth": 1}, 4.0, parent="0/0"),  # it copied member 0: from 5 to 4
        told(2, 1, own, -np.inf, parent="2/0", diverged=True),
        told(0, 2, own, -np.inf, parent="0/1", diverged=True),
    ]
    points, gains = improvements(history, Encoding(space, ("depth", "lr")))
    assert points == pytest.approx(np.array([[1.0, 0.625, 0.25], [1.0, 0.125, 0.5]]))
    assert gains.tolist() == [0.5, -1.0]
    partial = [told(0, 0, {"lr": 1.0}, 0.0), told(0, 1, {"lr": 1.0}, 3.0, parent="0/0")]
    assert improvements(partial, Encoding(space, ("depth", "lr")))[0].tolist() == [[1.0, 0.5, 1.0]]
    assert improvements([], Encoding(space, ("lr",)))[0].shape == (0, 2)


def test_a_score_before_training_stands_for_the_parents():
    space = SearchSpace({"x": Float(0.0, 1.0)})
    shrunk = ShrinkPerturb(0.2, 0.1)
    history = [
        Result("a", Segment(0, None, 0, {"x": 0.1}, scored_at_start=True), {}, 5.0, score_at_start=3.0),
        Result(
            "b", Segment(0, "a", 1, {"x": 0.2}, transform=shrunk, scored_at_start=True), {}, 4.0, score_at_start=2.5
        ),
        Result("c", Segment(1, "a", 1, {"x": 0.3}, transform=shrunk, scored_at_start=True), {}, 4.0),  # not finite
    ]
    points, gains = improvements(history, Encoding.of(space))
    assert points.tolist() == [[0.0, 0.1], [1.0, 0.2]]
    assert gains.tolist() == [2.0, 1.5]


def test_improvements_are_standardised_and_cut():
    assert standardised(np.array([1.0, 3.0])).tolist() == [-1.0, 1.0]
    assert standardised(np.array([0.5, 0.5, 0.5])).tolist() == [0.0, 0.0, 0.0]
    assert standardised(np.array([0.0] * 9 + [-1e9])).min() == -2.0
    assert standardised(np.array([])).tolist() == []


def test_gains_between_the_largest_scores_are_standardised_although_their_difference_is_infinite():
    history = [told(0, 0, {"lr": 0.1}, -1.5e308), told(1, 0, {"lr": 0.2}, 1.5e308)]
    history += [told(0, 1, {"lr": 0.1}, 1.5e308, "0/0"), told(1, 1, {"lr": 0.2}, 1.5e308, "1/0")]
    _, gains = improvements(history, Encoding.of(SearchSpace({"lr": Float(0.0, 1.0)})))
    assert standardised(gains).tolist() == [1.0, -1.0]
    assert standardised(np.array([np.inf, np.inf])).tolist() == [0.0, 0.0]
