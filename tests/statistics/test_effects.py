"""Effect sizes and the worth of the pairing, against their definitions."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hpo.statistics.effects import a12, cliffs_delta, correlation_of_pairs, hedges_g_z, unpaired_factor

SLEEP_A = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SLEEP_B = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]

pairs_of_integers = st.lists(st.tuples(st.integers(-20, 20), st.integers(-20, 20)), min_size=1, max_size=9)


def test_hedges_correction():
    assert hedges_g_z(-1.284558, 10) == pytest.approx(-1.284558 * 32 / 35, rel=1e-15)
    assert hedges_g_z(0.5, 3) == pytest.approx(0.5 * 4 / 7, rel=1e-15)
    assert hedges_g_z(None, 10) is hedges_g_z(0.5, 2) is None
    # The correction approximates the ratio of gamma functions of Hedges' equation 6e.
    for n in (5, 10, 40):
        half = (n - 1) / 2
        exact = math.exp(math.lgamma(half) - math.lgamma(half - 0.5)) / math.sqrt(half)
        assert hedges_g_z(1.0, n) == pytest.approx(exact, abs=3e-3)


@given(pairs_of_integers)
def test_dominance_is_counted_over_all_pairs(pairs):
    a, b = zip(*pairs, strict=True)
    above = sum(y > x for x in a for y in b)
    below = sum(y < x for x in a for y in b)
    cells = len(pairs) ** 2
    assert cliffs_delta(a, b) == float(Fraction(above - below, cells))
    assert a12(a, b) == pytest.approx((above + (cells - above - below) / 2) / cells, abs=1e-15)
    assert cliffs_delta(b, a) == -cliffs_delta(a, b)
    statistic = stats.mannwhitneyu(b, a, method="asymptotic").statistic if len(set(a + b)) > 1 else cells / 2
    assert a12(a, b) == pytest.approx(statistic / cells, abs=1e-15)


def test_dominance_sees_rounding_as_ties():
    assert cliffs_delta([0.3, 0.3], [0.1 + 0.2, 0.3]) == 0.0
    assert cliffs_delta([0.0], [5e-324]) == 1.0 == -cliffs_delta([1.0], [-1.0])
    assert cliffs_delta([-1.7e308], [1.7e308]) == 1.0


def test_sleep():
    assert correlation_of_pairs(SLEEP_A, SLEEP_B) == pytest.approx(0.7951702, abs=5e-8)
    variances = np.var([SLEEP_A, SLEEP_B, np.subtract(SLEEP_B, SLEEP_A)], axis=1, ddof=1)
    assert unpaired_factor(SLEEP_A, SLEEP_B) == pytest.approx((variances[0] + variances[1]) / variances[2], rel=1e-12)


@given(pairs_of_integers, st.integers(-10_000, 10_000))
def test_correlation_and_factor(pairs, constant):
    a, b = np.array(pairs).T
    correlation, factor = correlation_of_pairs(a, b), unpaired_factor(a, b)
    assert (correlation is None) == (len(set(a)) == 1 or len(set(b)) == 1)
    assert (factor is None) == (len(set(b - a)) == 1)
    if correlation is not None:
        assert correlation == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-12)
    if factor is not None:
        assert factor == pytest.approx((np.var(a) + np.var(b)) / np.var(b - a), rel=1e-12)
    assert (correlation_of_pairs(b, a), unpaired_factor(b, a)) == (correlation, factor)
    assert correlation_of_pairs(a + constant, b + constant) == correlation
    assert unpaired_factor(a + constant, b + constant) == factor
    assert unpaired_factor(a / 1024, b / 1024) == factor


def test_the_factor_says_what_independence_and_perfect_pairing_say():
    assert unpaired_factor([-1, -1, 1, 1], [-1, 1, -1, 1]) == 1.0
    assert unpaired_factor([0, 1, 2], [10, 12, 14]) == pytest.approx(5.0, rel=1e-15)
    assert unpaired_factor([0, 1, 2], [2, 1, 0]) == pytest.approx(0.5, rel=1e-15)


def test_numbers_that_differ_by_rounding_alone_do_not_vary():
    assert correlation_of_pairs([0.3, 0.1 + 0.2, 0.3], [1.0, 2.0, 3.0]) is None
    assert unpaired_factor([0.971, 0.962, 0.953], [1.071, 1.062, 1.053]) is None


def test_differences_that_are_tiny_beside_the_values():
    def factor(huge):
        return unpaired_factor([0.0, 1.0, 1.0, huge], [1.0, 1.0, 1.0, huge])

    assert factor(2.0**40) == pytest.approx(2.0**81)
    assert factor(2.0**511) == pytest.approx(2.0**1023)
    assert factor(2.0**512) is factor(2.0**600) is None  # more than a float can hold


@pytest.mark.parametrize("call", [a12, cliffs_delta, correlation_of_pairs, unpaired_factor])
def test_bad_input_is_refused(call):
    with pytest.raises(ValueError, match="a has 2 values and b has 1"):
        call([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="b: entry 0 is nan"):
        call([1.0], [math.nan])
    with pytest.raises(ValueError, match="a: is empty"):
        call([], [])
