import pytest
from driver import FLOATS, MIXED, drive, problem
from hypothesis import given
from hypothesis import strategies as st

from hpo.core.errors import OptionError
from hpo.core.space import Categorical, Float, Int, SearchSpace
from hpo.optimizers.grid import Grid, grid_members

SMALL = SearchSpace(
    {
        "rate": Float(1e-4, 1.0, log=True),
        "layers": Int(1, 3),
        "kind": Categorical(("a", "b")),
    }
)


def members(points, n, space=SMALL, **more):
    return grid_members(problem(n, 2, space, **more), points)


def test_a_grid_of_exactly_the_population_is_walked_in_order_the_last_name_fastest():
    points = [(m["rate"], m["layers"], m["kind"]) for m in members({"rate": 3, "layers": 2}, 12)]
    rates = (1e-4, 1e-2, 1.0)
    expected = [(rate, layers, kind) for rate in rates for layers in (1, 3) for kind in "ab"]
    assert [point[1:] for point in points] == [point[1:] for point in expected]
    assert [point[0] for point in points] == pytest.approx([point[0] for point in expected])


def test_integers_steps_and_categoricals_have_at_most_their_values():
    space = SearchSpace(
        {
            "layers": Int(2, 9, step=3),
            "size": Int(1, 8, log=True),
            "drop": Float(0.0, 0.5, step=0.25),
            "on": Categorical((False, True)),
        }
    )
    found = members(50, 3 * 8 * 3 * 2, space)
    assert sorted({m["layers"] for m in found}) == [2, 5, 8]
    assert sorted({m["size"] for m in found}) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert sorted({m["drop"] for m in found}) == [0.0, 0.25, 0.5]
    with pytest.raises(OptionError, match="population_size"):
        members(None, 3 * 8 * 3 * 2 + 1, space)


def test_a_single_point_is_the_middle():
    (only,) = members(1, 1, SearchSpace({"rate": Float(1e-4, 1.0, log=True), "layers": Int(1, 5)}))
    assert only["rate"] == pytest.approx(1e-2)
    assert only["layers"] == 3


def test_of_a_larger_grid_a_random_part_is_taken_that_depends_on_seed_and_stream_alone():
    whole = [tuple(m.items()) for m in members(5, 25, FLOATS)]
    part = [tuple(m.items()) for m in members(5, 9, FLOATS)]
    assert len(set(part)) == 9
    assert set(part) < set(whole)
    assert part != whole[:9]
    assert part == [tuple(m.items()) for m in members(5, 9, FLOATS)]
    assert part == [tuple(m.items()) for m in members(5, 10, FLOATS)][:9]
    assert part != [tuple(m.items()) for m in members(5, 9, FLOATS, seed=1)]
    assert part != [tuple(m.items()) for m in members(5, 9, FLOATS, stream=1)]


@given(st.integers(1, 60))
def test_without_points_the_grid_is_the_smallest_that_is_no_smaller_than_the_population(n):
    least = next(p for p in range(1, 61) if p * min(p, 3) * 2 >= n)
    found = members(None, n)
    assert found == members(least, n)
    if least > 1:
        with pytest.raises(OptionError, match=f"{least} for each"):
            members(least - 1, n)


def test_points_that_differ_only_in_what_is_not_active_are_one():
    space = SearchSpace(
        {
            "optimizer": Categorical(("sgd", "adam")),
            "momentum": Float(0.0, 0.9, when={"optimizer": "sgd"}),
            "layers": Int(1, 2),
        }
    )
    # 3 · 2 points with sgd, 2 with adam: 8 different ones among 12.
    found = members({"momentum": 3, "layers": 2}, 8, space)
    points = {tuple(sorted(m.items())) for m in found}
    assert len(points) == 8
    assert sum("momentum" in m for m in found) == 6
    with pytest.raises(OptionError, match="not 8"):
        members({"momentum": 3, "layers": 2}, 9, space)
    assert len(members(None, 9, space)) == 9


@pytest.mark.parametrize(
    ("points", "named"),
    [
        ({"rate": 3}, "a number for each of: rate, layers"),
        ({"rate": 3, "layers": 2, "kind": 2}, "no other name"),
        ({"rate": 3, "layers": 0}, "numbers from 1"),
        (0, "numbers from 1"),
        ({"rate": 200_000, "layers": 3}, "at most 1,000,000 points, not 1,200,000"),
    ],
)
def test_points_that_mean_nothing_are_refused(points, named):
    with pytest.raises(OptionError, match=named) as caught:
        Grid(points).start(problem(4, 2, SMALL))
    assert caught.value.option == "points"


def test_every_point_is_trained_to_the_full_budget():
    run = drive(Grid(3), problem(9, 4, FLOATS))
    finals = [run.path(key) for key, result in run.results.items() if result.segment.interval == 3]
    assert len({tuple(path[0].hparams.items()) for path in finals}) == 9
    assert all(len({tuple(segment.hparams.items()) for segment in path}) == 1 for path in finals)


def test_select_any_takes_the_best_of_any_interval():
    run = drive(Grid(2, select="any"), problem(4, 3), score=lambda s: float(s.interval == 1))
    assert run.results[run.best].segment.interval == 1


def test_ten_thousand_members_of_many_hyperparameters_are_all_different():
    found = members(None, 10_000, MIXED)
    assert len({tuple(m.items()) for m in found}) == 10_000
