"""Signed ranks: published values, brute force over the signs, and SciPy where it is exact."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hpo.statistics.interval import Interval
from hpo.statistics.signed_ranks import hodges_lehmann, hodges_lehmann_interval, signed_ranks

MAIZE = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
# Hollander and Wolfe: depression scale factor of nine patients before and after a tranquilizer, after minus before.
DEPRESSION = [-0.952, 0.147, -1.022, -0.43, -0.62, -0.59, -0.49, 0.08, -0.01]


def test_darwins_maize():
    result = signed_ranks(MAIZE)
    assert (result.w, result.wilcoxon_p) == (24.0, 0.041259765625)
    assert result.sign_test_p == pytest.approx(0.00738525, abs=5e-9)


def test_sleep_where_pratts_ranks_give_half_the_right_p():
    result = signed_ranks([12, 24, 13, 13, 0, 10, 18, 8, 46, 14])
    assert (result.above, result.below, result.ties) == (9, 0, 1)
    assert (result.w, result.wilcoxon_p) == (0.0, 0.00390625)


def test_depression():
    result = signed_ranks(DEPRESSION)
    assert (result.w, result.wilcoxon_p) == (5.0, 0.0390625)
    assert hodges_lehmann(DEPRESSION) == pytest.approx(-0.46, abs=1e-12)
    interval = hodges_lehmann_interval(DEPRESSION, alpha=0.04)
    assert (interval.low, interval.high) == pytest.approx((-0.786, -0.010), abs=1e-12)
    assert hodges_lehmann_interval(DEPRESSION, alpha=0.0390625) == interval
    assert hodges_lehmann_interval(DEPRESSION, alpha=0.039).low < interval.low


def brute_force(differences: list[int]) -> tuple[float, float]:
    kept = [d for d in differences if d]
    doubled = [sum(abs(e) < abs(d) for e in kept) + sum(abs(e) <= abs(d) for e in kept) + 1 for d in kept]
    plus = sum(rank for rank, d in zip(doubled, kept, strict=True) if d > 0)
    w = min(plus, sum(doubled) - plus)
    sums = [sum(itertools.compress(doubled, signs)) for signs in itertools.product((0, 1), repeat=len(kept))]
    return w / 2, float(min(Fraction(1), 2 * Fraction(sum(value <= w for value in sums), len(sums))))


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=10))
def test_ties_are_exact(differences):
    result = signed_ranks(differences)
    assert (result.w, result.wilcoxon_p) == brute_force(differences)
    n, least = result.above + result.below, min(result.above, result.below)
    tail = Fraction(sum(math.comb(n, k) for k in range(least + 1)), 2**n)
    assert result.sign_test_p == pytest.approx(float(min(Fraction(1), 2 * tail)), rel=1e-12)


@pytest.mark.parametrize("n", [7, 20, 49, 80])
def test_without_ties_it_is_scipys_exact_test(n):
    differences = np.random.default_rng(n).normal(0.2, 1.0, size=n)
    theirs = stats.wilcoxon(differences, method="exact")
    result = signed_ranks(differences)
    assert result.w == theirs.statistic
    assert result.wilcoxon_p == pytest.approx(theirs.pvalue, rel=1e-11)


def test_many_pairs_with_ties_are_exact_where_scipy_no_longer_is():
    # All sizes are equal, so that the test is the sign test, whose p is a binomial tail.
    differences = [3] * 30 + [-3] * 15 + [0] * 4
    result = signed_ranks(differences)
    tail = float(Fraction(2 * sum(math.comb(45, k) for k in range(16)), 2**45))
    assert result.wilcoxon_p == tail
    assert result.sign_test_p == pytest.approx(tail, rel=1e-12)
    assert abs(stats.wilcoxon(differences).pvalue / tail - 1) > 0.1


@settings(deadline=None)
@given(st.lists(st.integers(-400, 400), min_size=2, max_size=9, unique=True), st.sampled_from([0.05, 0.1, 0.2]))
def test_the_interval_holds_the_shifts_that_are_not_rejected(differences, alpha):
    interval = hodges_lehmann_interval(differences, alpha=alpha)
    averages = sorted({(x + y) / 2 for x in differences for y in differences})
    # Halfway between neighbouring averages no shifted difference is 0 and no two sizes are equal.
    halfway = [(low + high) / 2 for low, high in itertools.pairwise(averages)]
    for shift in [averages[0] - 1, *halfway, averages[-1] + 1]:
        p = signed_ranks(np.array(differences) - shift).wilcoxon_p
        assert (shift in interval) == (p > alpha)


def test_edges():
    assert hodges_lehmann([7.0]) == 7.0
    assert hodges_lehmann([1e308, 1.5e308]) == 1.25e308
    assert hodges_lehmann([0.0, -0.0]) == 0.0
    assert hodges_lehmann_interval([7.0]) is None
    assert hodges_lehmann_interval([1, 2, 3, 4, 5]) == Interval(None, None)
    assert hodges_lehmann_interval([1, 2, 3, 4, 5, 6]) == Interval(1.0, 6.0)
    nothing = signed_ranks([0, 0])
    assert (nothing.w, nothing.wilcoxon_p, nothing.sign_test_p, nothing.ties) == (0.0, 1.0, 1.0, 2)
    for bad in (lambda: signed_ranks([math.nan]), lambda: hodges_lehmann([]), lambda: hodges_lehmann([math.inf])):
        with pytest.raises(ValueError, match="differences"):
            bad()
    with pytest.raises(ValueError, match="alpha"):
        hodges_lehmann_interval([1, 2], alpha=2)
