"""The one tolerance: what ties, what does not, and that neither sign, order nor unit matters."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.statistics.ties import (
    scale_of,
    scales_of_rows,
    settled,
    settled_differences,
    settled_sizes,
    tied,
    tolerance_of_sums,
)

finite = st.floats(-1e300, 1e300)
values = st.lists(finite, min_size=1, max_size=9).map(np.array)


@pytest.mark.parametrize(
    ("x", "y"),
    [(0.1, 1 - 0.9), (1e-4, 1 - 0.9999), (0.3, 0.1 + 0.2), (1 - 0.9 - 0.1, 0.0), (0.5, 0.5 + 4e-10), (-2.0, -2 - 1e-9)],
)
def test_one_number_computed_in_two_ways_ties(x, y):
    scale = scale_of([0.1, 0.2, 0.5])
    assert tied(x, y, scale)
    assert tied(y, x, scale)
    assert tied(-x, -y, scale)


@pytest.mark.parametrize(
    ("x", "y"), [(0.5, 0.5 + 6e-10), (1e-4, 1e-4 + 3e-10), (0.0, 3e-10), (2.0, -2.0), (1e300, -1e300)]
)
def test_what_differs_in_the_ninth_digit_does_not_tie(x, y):
    assert not tied(x, y, scale_of([0.1, 0.2, 0.5]))


def test_the_scale_is_the_median_of_the_sizes_that_are_not_0():
    assert scale_of([0.0, -3.0, 1.0], [2.0, 0.0, math.inf]) == 2.0
    assert scale_of([1.0, 4.0]) == 2.5
    assert scale_of([1.7e308, -1.7e308]) == 1.7e308
    assert scale_of([0.0, 0.0]) == 0.0
    assert scale_of([1, 2], [3]) == 0.0


def test_integers_tie_only_where_they_are_equal():
    counts = np.array([10**15, 10**15 + 1])
    assert not tied(counts[0], counts[1], scale_of(counts))
    assert settled(counts, scale_of(counts)).tolist() == counts.tolist()
    assert settled_differences(counts).tolist() == counts.tolist()
    # The same numbers as floats.
    assert len(set(settled_differences(counts.astype(float)))) == 1


def test_infinities_are_equal_to_themselves_only():
    x = np.array([-math.inf, -math.inf, 1.0])
    assert tied(x, [-math.inf, 1.0, math.inf], 1.0).tolist() == [True, False, False]
    assert settled(np.array([1.0, -math.inf, 1.0, -math.inf]), 1.0).tolist() == [1.0, -math.inf, 1.0, -math.inf]


def test_a_class_of_ties_is_one_float():
    found = settled(np.array([0.3, 0.1, 0.1 + 0.2, 1 - 0.9, 0.3 + 1e-9]), 0.2)
    assert found[0] == found[2] != found[4]
    assert found[1] == found[3] == pytest.approx(0.1, rel=1e-9)
    assert found[4] == 0.3 + 1e-9


def test_each_row_has_a_scale_of_its_own():
    table = np.array([[1e-6, 2e-6, 0.0], [5e4, 5e4 + 1e-6, 6e4], [0.0, 1 - 0.9 - 0.1, 5e-324], [0.1, 0.2, 0.3]])
    ranked = settled(table, scales_of_rows(table))
    assert len(set(ranked[0])) == 3
    assert ranked[1, 0] == ranked[1, 1] < ranked[1, 2]
    # What is left of zeros has no size: it is measured by the other rows.
    assert len(set(ranked[2])) == 1


@given(values, st.randoms(use_true_random=False))
def test_sign_and_order_do_not_matter(array, random):
    order = list(range(len(array)))
    random.shuffle(order)
    scale = scale_of(array)
    plain = settled(array, scale)
    assert settled(array[order], scale).tolist() == plain[order].tolist()
    assert settled(-array, scale).tolist() == (-plain).tolist()
    sizes = settled_sizes(array, scale)
    assert settled_sizes(-array, scale).tolist() == (-sizes + 0.0).tolist()


@given(values)
def test_settling_moves_no_value_beyond_the_tolerance_of_its_class(array):
    scale = scale_of(array)
    found = settled(array, scale)
    assert np.abs(found - array).max() <= len(array) * 1e-9 * max(scale, np.abs(array).max())
    assert settled(found, scale).tolist() == found.tolist()
    # Whatever does not tie with anything keeps every digit.
    for i, value in enumerate(array):
        if not tied(value, np.delete(array, i), scale).any():
            assert found[i] == value


@given(values, st.integers(-60, 60))
def test_the_unit_does_not_matter(array, power):
    array = np.where(np.abs(array) < 1e-200, 0.0, array)
    unit = math.ldexp(1.0, power) if np.abs(array).max() < 1e280 else 1.0
    assert scale_of(array * unit) == scale_of(array) * unit
    assert settled(array * unit, scale_of(array * unit)).tolist() == (settled(array, scale_of(array)) * unit).tolist()


def test_means_tie_where_sums_do():
    differences = np.array([0.1, 0.2, -0.3])
    assert 0 != abs(math.fsum(differences)) < tolerance_of_sums(differences, scale_of(differences))
    # Three values about 1000 and their means: 1e-9 times 1000, three times.
    assert tolerance_of_sums(differences, 1000.0) == pytest.approx(3e-6)
    assert tolerance_of_sums(differences, 0.0) == pytest.approx(0.6e-9)


@pytest.mark.parametrize(("bad", "message"), [([], "empty"), ([math.nan], "nan"), ([[1.0]], "one-dimensional")])
def test_bad_differences_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        settled_differences(bad)
