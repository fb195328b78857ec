"""One unit in the last place, added to any cell of a table, changes no rank, no count, no exact p and no verdict.

The cells of the tables are equal or further apart than 1e-6 of their size, so that nothing in them nearly ties.
"""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from helpers import cases
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hpo.statistics import (
    anytime_test,
    compare_many,
    compare_paired,
    compare_tasks,
    decide,
    friedman,
    max_t_band,
    mean_ranks,
    nemenyi,
    nested_variance,
    tied_differences,
    time_to_target,
)

# What is counted, ranked, or the share of the patterns that reach what was observed.
DISCRETE = {
    "p_sign_flip",
    "p_holm",
    "wilcoxon_w",
    "wilcoxon_p",
    "sign_test_p",
    "win_share",
    "a12",
    "cliffs_delta",
    "mean_ranks",
    "p_wilcoxon",
    "times",
}


@st.composite
def nudged_tables(draw, rows=(2, 9), columns=(2, 4)):
    """A table of metric values, and the same with one cell a unit in the last place up or down."""
    n, k = draw(st.integers(*rows)), draw(st.integers(*columns))
    unit, base = (
        draw(st.sampled_from([0.1, 0.01, 1 / 97, 1e-4, 1 / 3, 250.0])),
        draw(st.sampled_from([0.0, 0.5, 0.9, 10.0])),
    )
    steps = st.integers(0, draw(st.sampled_from([1, 3, 40])))
    table = base + unit * np.array(draw(st.lists(st.lists(steps, min_size=k, max_size=k), min_size=n, max_size=n)))
    if draw(st.booleans()):
        table = 1 - table
    # Where all that is compared is 0, nothing says how large a number would have to be.
    assume(table[:, :2].any())
    row, column = draw(st.integers(0, n - 1)), draw(st.integers(0, k - 1))
    nudged = table.copy()
    nudged[row, column] = np.nextafter(table[row, column], draw(st.sampled_from([-math.inf, math.inf])))
    return table, nudged


def check_same(before: Any, after: Any, name: str = "") -> None:
    """Compare two results: floats to 1e-9, whatever is discrete exactly."""
    if dataclasses.is_dataclass(before):
        for field in dataclasses.fields(before):
            check_same(getattr(before, field.name), getattr(after, field.name), field.name)
    elif isinstance(before, dict):
        assert before.keys() == after.keys()
        for key in before:
            check_same(before[key], after[key], name)
    elif isinstance(before, tuple):
        assert len(before) == len(after), name
        for ours, theirs in zip(before, after, strict=True):
            check_same(ours, theirs, name)
    elif isinstance(before, float) and name not in DISCRETE:
        assert after == pytest.approx(before, rel=1e-9, abs=1e-9), name
    else:
        assert after == before, name


@settings(max_examples=cases(15))
@given(nudged_tables(), st.sampled_from([None, 0.05]))
def test_two_arms(tables, rope):
    before, after = (compare_paired(table[:, 0], table[:, 1], rope=rope) for table in tables)
    check_same(before, after)
    verdicts = (
        decide(
            [("b", found)], baseline="a", metric="error", direction="minimize", alpha=0.05, planned=found.n, rope=rope
        )["b"]
        for found in (before, after)
    )
    before, after = verdicts
    assert (before.kind, before.p_holm) == (after.kind, after.p_holm)


@settings(max_examples=cases(3))
@given(nudged_tables(rows=(21, 24), columns=(2, 2)))
def test_two_arms_where_patterns_are_drawn(tables):
    before, after = (compare_paired(table[:, 0], table[:, 1]) for table in tables)
    check_same(before, after)


@settings(max_examples=cases(15))
@given(nudged_tables())
def test_several_arms(tables):
    before, after = (compare_many({f"arm {i}": column for i, column in enumerate(table.T)}) for table in tables)
    check_same(before, after)


@settings(max_examples=cases(15))
@given(nudged_tables())
def test_ranks_within_blocks(tables):
    for call in (friedman, nemenyi):
        for larger in (False, True):
            assert call(tables[0], larger_is_better=larger) == call(tables[1], larger_is_better=larger)


@settings(max_examples=cases(15))
@given(nudged_tables(rows=(3, 9)), st.integers(1, 2))
def test_several_tasks(tables, split):
    assume(tables[0][:split, :2].any() and tables[0][split:, :2].any())

    def compared(table):
        tasks = {"first": table[:split], "second": table[split:]}
        return compare_tasks(
            {name: rows[:, 1] - rows[:, 0] for name, rows in tasks.items()},
            magnitudes={name: np.abs(rows[:, :2]).max(axis=1) for name, rows in tasks.items()},
        )

    check_same(*map(compared, tables))


@settings(max_examples=cases(15))
@given(nudged_tables(rows=(2, 14)))
def test_seeds_added_until_it_is_decided(tables):
    before, after = (anytime_test(tied_differences(table[:, 0], table[:, 1]), magnitude=0.0) for table in tables)
    assert (before.decided_at, before.n) == (after.decided_at, after.n)
    assert before.path == pytest.approx(after.path, abs=1e-9)
    assert (before.mean, before.p) == pytest.approx((after.mean, after.p), abs=1e-9)


@settings(max_examples=cases(15))
@given(nudged_tables(rows=(4, 9), columns=(4, 4)))
def test_along_the_budget(tables):
    before, after = (max_t_band(table[:, :2], table[:, 2:]) for table in tables)
    assert (before.p, before.better_from, before.worse_from) == (after.p, after.better_from, after.worse_from)
    check_same(before, after)
    assert mean_ranks({"a": tables[0][:, :2], "b": tables[0][:, 2:]}) == mean_ranks(
        {"a": tables[1][:, :2], "b": tables[1][:, 2:]}
    )
    for target in tables[0][0]:
        before, after = (time_to_target(table, float(target), [1, 2, 3, 4]) for table in tables)
        assert before == after


@settings(max_examples=cases(15))
@given(nudged_tables())
def test_variance_components(tables):
    check_same(*map(nested_variance, tables))
