"""Signed ranks: published values, brute force over the signs, and SciPy where it is exact."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from helpers import cases
from hypothesis import given, settings
from hypothesis import strategies as st
from published import MAIZE
from scipy import stats

from hpo.statistics import compare_paired, holm_adjusted, tied_differences
from hpo.statistics.interval import Interval
from hpo.statistics.signed_ranks import hodges_lehmann, hodges_lehmann_interval, signed_rank_p, signed_ranks

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


# Demšar (2006), Table 2: AUC of C4.5, and with cf, m or both tuned, in thousandths.
C45 = [763, 599, 954, 628, 882, 936, 661, 583, 775, 1000, 940, 619, 972, 957]
C45_CF = [771, 590, 968, 654, 886, 916, 609, 563, 866, 1000, 965, 614, 975, 946]
C45_BOTH = [798, 569, 967, 657, 898, 931, 685, 625, 875, 1000, 962, 669, 975, 970]
C45_M = [768, 591, 971, 661, 888, 931, 668, 583, 838, 1000, 962, 666, 981, 978]


def test_demsars_table():
    """Fault 9: tables of one value per task have an exact signed-rank test, with zeros dropped and ranks shared."""
    for a, b in ((C45, C45_M), (np.array(C45) / 1000, np.array(C45_M) / 1000)):
        result = compare_paired(a, b)
        assert (result.above, result.below, result.ties) == (10, 2, 2)
        assert result.wilcoxon_p == signed_rank_p(np.subtract(b, a)) == pytest.approx(0.0073, abs=5e-5)


def test_demsars_pairs_by_holms_method():
    """Fault 9: over all six pairs .044, over the three against C4.5 .022."""
    arms = np.array([C45, C45_M, C45_CF, C45_BOTH]) / 1000
    six = [signed_rank_p(tied_differences(a, b)) for a, b in itertools.combinations(arms, 2)]
    assert holm_adjusted(six)[0] == pytest.approx(0.0439, abs=5e-5)
    assert holm_adjusted(six[:3])[0] == pytest.approx(0.0220, abs=5e-5)


def test_many_tasks_with_small_losses():
    """Fault 9: of 30 tasks 22 are won, and the 8 lost ones by less: the sign test sees the count, the ranks see the sizes."""
    differences = [*range(9, 31), *range(-8, 0)]
    result = signed_ranks(differences)
    assert (result.above, result.below, result.w) == (22, 8, 36.0)
    assert result.sign_test_p == pytest.approx(0.0161, abs=5e-5)
    # The subsets of 1, ..., 30 with a sum of at most 36, twice, of 2**30.
    subsets = [1] + [0] * 36
    for rank in range(1, 31):
        for total in range(36, rank - 1, -1):
            subsets[total] += subsets[total - rank]
    assert result.wilcoxon_p == 2 * sum(subsets) / 2**30 < 1e-4


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


@given(
    st.lists(st.integers(-400, 400).filter(bool), min_size=2, max_size=9, unique_by=abs),
    st.sampled_from([0.05, 0.1, 0.2]),
)
def test_the_interval_holds_the_shifts_that_are_not_rejected(differences, alpha):
    """Without ties and differences of 0, which the interval is corrected for at 0."""
    interval = hodges_lehmann_interval(differences, alpha=alpha)
    averages = sorted({(x + y) / 2 for x in differences for y in differences})
    # Halfway between neighbouring averages no shifted difference is 0 and no two sizes are equal.
    halfway = [(low + high) / 2 for low, high in itertools.pairwise(averages)]
    for shift in [averages[0] - 1, *halfway, averages[-1] + 1]:
        p = signed_ranks(np.array(differences) - shift).wilcoxon_p
        assert (shift in interval) == (p > alpha)


TIED_A = [925, 917, 927, 935, 956, 909, 928, 910, 921, 945, 938, 944, 938, 945, 927]
TIED_B = [928, 917, 927, 944, 952, 906, 940, 910, 916, 947, 947, 947, 949, 953, 936]


def test_fifteen_pairs_whose_interval_began_at_0_though_the_test_rejects():
    """Fault 4: p = .0498 with three differences of 0; the interval without regard to them begins at 0."""
    result = compare_paired(np.array(TIED_A) / 1000, np.array(TIED_B) / 1000)
    assert result.wilcoxon_p == pytest.approx(0.0498, abs=5e-5)
    interval = result.hodges_lehmann_interval
    assert (interval.low, interval.high) == pytest.approx((0.001, 0.007), abs=1e-12)
    assert interval.low < result.hodges_lehmann < interval.high
    mirror = compare_paired(np.array(TIED_B) / 1000, np.array(TIED_A) / 1000).hodges_lehmann_interval
    assert (mirror.low, mirror.high) == (-interval.high, -interval.low)


@st.composite
def tied_pairs(draw):
    """Two arms of up to 26 small integers, of which many are equal."""
    n = draw(st.integers(2, 26))
    column = st.lists(st.integers(0, draw(st.integers(1, 6))), min_size=n, max_size=n)
    return np.array(draw(column)), np.array(draw(column))


@settings(max_examples=cases(38))
@given(tied_pairs(), st.floats(0.001, 0.999), st.sampled_from(["integers", "rates", "counts"]))
def test_intervals_leave_0_out_exactly_where_their_test_rejects(pairs, alpha, kind):
    """Fault 4: the intervals of the signed ranks and of the sign flips agree with the p that stands beside them."""
    a, b = pairs
    arguments = (a, b) if kind == "integers" else (1 - a / 997, 1 - b / 997)
    options = {"counts": (a, b)} if kind == "counts" else {}
    found = compare_paired(*arguments, **options)
    # At their own p, and at any other level.
    for level in {alpha, found.wilcoxon_p, found.p_sign_flip} - {1.0}:
        result = compare_paired(*arguments, alpha=level, **options)
        assert (0 in result.hodges_lehmann_interval) == (result.wilcoxon_p > level)
        assert (0 in result.sign_flip_interval) == (result.p_sign_flip > level)
        for interval in (result.hodges_lehmann_interval, result.sign_flip_interval):
            for end in (interval.low, interval.high):
                assert end is None or end == 0 or abs(end) > 1e-5


TIED = {
    "three values": lambda generator, shape: generator.integers(-1, 2, shape),
    "between two values": lambda generator, shape: 2 * generator.integers(0, 2, shape) - 1,
    "counts": lambda generator, shape: np.subtract(*generator.binomial(200, 0.02, (2, *shape))),
    "mostly 0": lambda generator, shape: generator.integers(-3, 4, shape) * (generator.random(shape) < 0.3),
    "outliers": lambda generator, shape: np.rint(generator.standard_t(2, shape)).astype(int),
}


@pytest.mark.parametrize("kernel", TIED)
@pytest.mark.parametrize("centre", [0, 1, 3])
def test_the_interval_covers_with_ties_too(kernel, centre):
    n, studies = 12, 400
    samples = TIED[kernel](np.random.default_rng(centre), (studies, n)) + centre
    missed = sum(centre not in hodges_lehmann_interval(row) for row in samples)
    assert missed <= stats.binom.ppf(0.999, studies, 0.05)


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
