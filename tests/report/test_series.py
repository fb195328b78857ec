"""What the figures plot, on cases small enough to be worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from hpo.core.amounts import amount
from hpo.core.segments import ShrinkPerturb, Step
from hpo.core.space import Categorical, Float, Int, SearchSpace
from hpo.report.figures import series
from hpo.report.figures.canvas import power
from hpo.report.numbers import NARROW, Quantity, clean, p_value
from hpo.report.segments_csv import SegmentRow
from hpo.statistics.interval import Interval

ACCURACY = Quantity("accuracy", "%", -100.0, 100.0, 2, maximize=True)
LR = Float(1e-5, 1.0, log=True)
MOMENTUM = Float(0.1, 0.9999)
ACT = Categorical(("relu", "tanh"))


def row(
    member: int, interval: int, error: float | None, *, parent: int | None = None, best: bool = False
) -> SegmentRow:
    hparams = {"lr": 0.1 * (member + 1), "momentum": 0.5 + 0.1 * interval}
    return SegmentRow("a", member, interval, parent, best, error is None, hparams, {"error": error})


# Member 1 is the better one and is copied by member 0 before interval 1; the copy ends best.
ROWS = [
    row(0, 0, 0.9),
    row(1, 0, 0.2, best=True),
    row(2, 0, None),
    row(0, 1, 0.1, parent=1, best=True),
    row(1, 1, 0.15, parent=1),
    row(2, 1, None, parent=2),
    row(0, 2, 0.05, parent=0, best=True),
    row(1, 2, 0.12, parent=1),
]


def test_best_line_follows_the_lineage_through_copies() -> None:
    curves = series.curves(ROWS, "error", ACCURACY, 0.5)
    np.testing.assert_allclose(curves.best.x, [0.5, 1.0, 1.5])
    np.testing.assert_allclose(curves.best.y, [80.0, 90.0, 95.0])


def test_a_members_line_stays_in_its_slot() -> None:
    curves = series.curves(ROWS, "error", ACCURACY, 0.5)
    np.testing.assert_allclose(curves.members[0].y, [10.0, 90.0, 95.0])
    np.testing.assert_allclose(curves.members[1].y, [80.0, 85.0, 88.0])


def test_divergence_is_a_gap_marked_where_it_began() -> None:
    curves = series.curves(ROWS, "error", ACCURACY, 0.5)
    assert np.isnan(curves.members[2].y).all()
    np.testing.assert_allclose(curves.diverged, [0.5])


def test_a_missing_interval_breaks_the_line() -> None:
    curves = series.curves([row(0, 0, 0.5), row(0, 3, 0.1)], "error", ACCURACY, 1.0)
    assert np.isnan(curves.members[0].y).tolist() == [False, True, False]


def test_stars_are_the_lineages_hyperparameters() -> None:
    stars = series.dots(series.lineage(ROWS), ["lr", "momentum"], 0.5)
    np.testing.assert_allclose(stars.x, [0.2, 0.1, 0.1])
    np.testing.assert_allclose(stars.y, [0.5, 0.6, 0.7])
    np.testing.assert_allclose(stars.interval, [0, 1, 2])


def test_one_hyperparameter_is_plotted_against_time() -> None:
    stars = series.dots(series.lineage(ROWS), ["momentum"], 0.5)
    np.testing.assert_allclose(stars.x, [0.5, 1.0, 1.5])


def test_scatter_axes_are_the_first_two_floats_else_integers() -> None:
    space = SearchSpace({"act": ACT, "width": Int(1, 9), "lr": LR, "momentum": MOMENTUM})
    assert series.scatter_axes(space) == ["lr", "momentum"]
    assert series.scatter_axes(SearchSpace({"act": ACT, "width": Int(1, 9)})) == ["width"]
    assert series.scatter_axes(SearchSpace({"act": ACT})) == []


def test_schedule_is_a_step_line_in_the_tasks_unit() -> None:
    schedule = [Step(1, 0, 2, {"lr": 0.1, "act": "tanh"}), Step(0, 2, 3, {"lr": 0.2})]
    steps = series.schedule_steps(schedule, "lr", LR, 0.5)
    np.testing.assert_allclose(steps.x, [0.0, 1.0, 1.0, 1.5])
    np.testing.assert_allclose(steps.y, [0.1, 0.1, 0.2, 0.2])
    act = series.schedule_steps(schedule, "act", ACT, 0.5)
    np.testing.assert_allclose(act.y, [1, 1, np.nan, np.nan])


def test_a_schedule_is_broken_over_what_its_lineage_left_out() -> None:
    schedule = [Step(0, 0, 2, {"lr": 0.1}), Step(0, 4, 5, {"lr": 0.1}), Step(1, 5, 6, {"lr": 0.2})]
    steps = series.schedule_steps(schedule, "lr", LR, 0.5)
    np.testing.assert_allclose(steps.x, [0, 1, 1.5, 2, 2.5, 2.5, 3])
    np.testing.assert_allclose(steps.y, [0.1, 0.1, np.nan, 0.1, 0.1, 0.2, 0.2])


def test_transforms_are_marked_where_they_happen() -> None:
    change = ShrinkPerturb(0.2, 0.1)
    schedule = [Step(1, 0, 2, {"lr": 0.1}), Step(1, 2, 3, {"lr": 0.2}, change), Step(0, 3, 4, {"lr": 0.4}, change)]
    marks = series.transforms(schedule, "lr", LR, 0.5)
    np.testing.assert_allclose(marks.x, [1.0, 1.5])
    np.testing.assert_allclose(marks.y, [0.2, 0.4])
    rows = [replace(found, transform=change) if found.interval == 1 else found for found in ROWS]
    np.testing.assert_allclose(series.curves(rows, "error", ACCURACY, 0.5).shrunk, [0.5])
    assert series.curves(ROWS, "error", ACCURACY, 0.5).shrunk.size == 0


def test_frame_leaves_out_what_is_absurd_but_for_rates() -> None:
    values = np.array([1.0, 1.1, 1.2, 1.3, 1e30, np.nan])
    loose = series.frame(values, bounded=False)
    assert loose
    assert loose[1] < 10
    whole = series.frame(np.array([10.0, 98.0, 98.5, 99.0]), bounded=True)
    assert whole
    assert whole[0] < 10
    assert series.frame(np.array([np.nan]), bounded=True) is None


@pytest.mark.parametrize(("value", "text"), [(1e-5, "10⁻⁵"), (0.01, "0.01"), (1000.0, "1000"), (1e6, "10⁶"), (0.0, "")])
def test_log_ticks(value: float, text: str) -> None:
    assert power(value) == text


def test_numbers_in_words() -> None:
    error = Quantity("error", "%", 100.0, 0.0, 2)
    assert error.text(0.0125) == "1.25\u202f%"
    assert error.text(None) == "–"
    assert error.difference(-0.0018) == "−0.18\u202fpp"
    assert error.difference(0.0) == "0.00\u202fpp"
    assert error.bounds(Interval(-0.0035, 0.0002)) == "[−0.350, +0.020]\u202fpp"
    assert p_value(0.001953125) == "0.00195"
    assert amount(0.5, "epochs", NARROW) == "0.5\u202fepochs"
    assert amount(1, "epochs") == "1 epoch"


def test_labels_are_printable_and_short() -> None:
    assert clean("a\nb\x00\ud800") == "a\ufffdb\ufffd\ufffd"
    assert len(clean("x" * 1000)) == 60
    assert clean("  ") == "(no name)"


def test_a_conditional_hyperparameter_is_an_axis_only_where_no_other_is_there() -> None:
    beta = Float(0.9, 1.0, when={"act": "tanh"})
    some = {"act": ACT, "beta": beta}
    assert series.scatter_axes(SearchSpace({**some, "lr": LR, "momentum": MOMENTUM})) == ["lr", "momentum"]
    assert series.scatter_axes(SearchSpace({**some, "lr": LR, "depth": Int(1, 9)})) == ["lr"]
    assert series.scatter_axes(SearchSpace({**some, "depth": Int(1, 9)})) == ["depth"]
    assert series.scatter_axes(SearchSpace({**some, "eps": beta})) == ["beta"]
