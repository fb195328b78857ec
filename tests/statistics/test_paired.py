"""The sign-flip test and the paired numbers: published results, brute force, and what must not change them."""

import dataclasses
import itertools
import json
import math
import subprocess
import sys
import warnings
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from helpers import cases
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from published import MAIZE
from scipy import stats

from hpo.statistics import PairedComparison, compare_paired, sign_flip_p, smallest_p
from hpo.statistics.interval import Interval

SLEEP_A = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SLEEP_B = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]

small_integers = st.lists(st.integers(-40, 40), min_size=1, max_size=9)
pairs_of_counts = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), min_size=1, max_size=9)


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def brute_force(differences: list[int] | list[Fraction]) -> Fraction:
    observed = abs(sum(differences))
    signs = list(itertools.product((-1, 1), repeat=len(differences)))
    hits = sum(abs(sum(s * d for s, d in zip(row, differences, strict=True))) >= observed for row in signs)
    return Fraction(hits, len(signs))


# Oracles


@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_darwins_maize(dtype):
    assert sign_flip_p(np.array(MAIZE, dtype=dtype)) == 1726 / 32768


def test_darwins_maize_t_numbers():
    result = compare_paired(np.zeros(15), MAIZE)
    assert result.n == 15
    assert result.mean == pytest.approx(314 / 15, abs=1e-12)
    assert result.p_t == pytest.approx(0.0497029, abs=5e-8)
    assert (result.ci_low, result.ci_high) == pytest.approx((0.031193, 41.835473), abs=5e-7)
    assert result.d_z == pytest.approx(0.554608, abs=5e-7)
    assert result.d_z * math.sqrt(15) == pytest.approx(2.147987, abs=5e-7)
    assert result.p_sign_flip == 1726 / 32768
    assert result.confidence == 0.95


def test_darwins_maize_ranks_and_intervals():
    result = compare_paired(np.zeros(15), MAIZE)
    assert (result.wilcoxon_w, result.wilcoxon_p) == (24.0, 0.041259765625)
    assert result.sign_test_p == pytest.approx(0.00738525, abs=5e-9)
    assert (result.above, result.below, result.ties, result.win_share) == (13, 2, 0, 13 / 15)
    assert result.sign_flip_interval == Interval(pytest.approx(-1 / 6, abs=1e-14), 41.0)
    assert sign_flip_p([6 * d + 1 for d in MAIZE]) > 0.05
    assert result.g_z == pytest.approx(0.554608 * (1 - 3 / 55), abs=5e-7)


def test_sleep_ranks():
    result = compare_paired(SLEEP_A, SLEEP_B)
    assert (result.above, result.below, result.ties, result.win_share) == (9, 0, 1, 0.95)
    assert (result.wilcoxon_w, result.wilcoxon_p, result.sign_test_p) == (0.0, 0.00390625, 0.00390625)
    # R: cor(extra[group == 1], extra[group == 2]); var.test's ratio of the same data gives the variances.
    assert result.correlation == pytest.approx(0.7951702, abs=5e-8)
    variances = [np.var(SLEEP_A, ddof=1), np.var(SLEEP_B, ddof=1)]
    assert result.unpaired_factor == pytest.approx(sum(variances) / result.variance, rel=1e-12)


def test_sleep():
    result = compare_paired(SLEEP_B, SLEEP_A)
    assert result.p_sign_flip == 4 / 1024
    assert result.p_t == pytest.approx(0.00283289, abs=5e-9)
    assert (result.ci_low, result.ci_high) == pytest.approx((-2.459886, -0.700114), abs=5e-7)
    assert result.d_z == pytest.approx(-1.284558, abs=5e-7)
    assert result.d_z * math.sqrt(10) == pytest.approx(-4.062128, abs=5e-7)


def test_against_scipy_at_another_level():
    generator = np.random.default_rng(3)
    a, b = generator.normal(size=12), generator.normal(0.5, size=12)
    ours, theirs = compare_paired(a, b, alpha=0.1), stats.ttest_rel(b, a)
    assert ours.p_t == pytest.approx(theirs.pvalue, rel=1e-10)
    assert (ours.ci_low, ours.ci_high) == pytest.approx(tuple(theirs.confidence_interval(0.9)), rel=1e-10)
    assert ours.variance == pytest.approx(np.var(b - a, ddof=1), rel=1e-12)
    assert ours.confidence == pytest.approx(0.9)
    permuted = stats.permutation_test((b - a,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert ours.p_sign_flip == permuted.pvalue


# The sign-flip test


@given(small_integers)
def test_convolution_and_float_enumeration_equal_brute_force(differences):
    expected = float(brute_force(differences))
    assert sign_flip_p(np.array(differences)) == expected
    assert sign_flip_p(np.array(differences) / 1000) == expected


@settings(max_examples=cases(8))
@given(st.lists(st.integers(-500, 500), min_size=12, max_size=20))
def test_convolution_equals_enumeration_to_twenty(differences):
    assert sign_flip_p(differences) == sign_flip_p(np.array(differences, dtype=float))


def test_convolution_is_exact_far_beyond_enumeration():
    # With equal differences the test is the sign test, whose p is a binomial tail.
    differences = np.array([7] * 70 + [-7] * 30)
    tail = sum(math.comb(100, k) for k in range(70, 101))
    assert sign_flip_p(differences) == 2 * tail / 2**100
    assert sign_flip_p(np.full(60, 5)) == 2 / 2**60


def test_integers_far_apart_are_enumerated_exactly():
    differences = [10**17 + 1, -(10**17), 3, 10**16, -5]
    assert sign_flip_p(differences) == float(brute_force(differences))
    assert sign_flip_p([10**16 * d for d in MAIZE] * 2) == sign_flip_p(MAIZE * 2)


def test_float_ties_are_ties():
    # 0.1 + 0.2 > 0.3 in binary.
    meant = [Fraction(1, 10), Fraction(2, 10), Fraction(3, 10), Fraction(-6, 10), Fraction(12, 10)]
    assert sign_flip_p([float(d) for d in meant]) == float(brute_force(meant))
    tied = [0.1, 0.2, -0.3]
    assert math.fsum(tied) != 0
    assert sign_flip_p(tied) == 1.0


def test_ties_of_rates_survive_the_subtraction():
    generator = np.random.default_rng(0)
    for _ in range(300):
        n = int(generator.integers(5, 9))
        a, b = generator.integers(150, 160, size=(2, n))
        from_rates = compare_paired(1 - a / 10_000, 1 - b / 10_000).p_sign_flip
        assert from_rates == sign_flip_p(b - a) == float(brute_force([int(d) for d in b - a]))


def test_resampling_above_twenty_is_near_the_exact_p_and_repeats():
    differences = np.array([*MAIZE, 12, -30, 18, -22, 9, -41, 35, -3])
    exact, resampled = sign_flip_p(differences), sign_flip_p(differences.astype(float))
    assert 0.01 < exact < 0.2
    assert exact != resampled
    assert abs(resampled - exact) < 5 * math.sqrt(exact * (1 - exact) / 100_000)
    assert resampled == sign_flip_p(differences.astype(float)) == sign_flip_p(np.sort(differences).astype(float))


def test_resampled_p_is_never_zero():
    assert sign_flip_p(np.full(60, 0.5)) == 1 / 100_001


@pytest.mark.parametrize("differences", [[0], [0, 0, 0], [0.0] * 6, [0.0] * 30, [3, -3], [0.5, -0.5]])
def test_no_mean_difference_gives_one(differences):
    assert sign_flip_p(differences) == 1.0


def test_smallest_p():
    assert [smallest_p(n) for n in (0, 1, 2, 5, 6)] == [1.0, 1.0, 0.5, 0.0625, 0.03125]
    for n in range(1, 13):
        assert smallest_p(n) == sign_flip_p(np.arange(1, n + 1)) == sign_flip_p(np.arange(1, n + 1) * 0.1)
    with pytest.raises(ValueError, match="-1"):
        smallest_p(-1)


@pytest.mark.parametrize(
    ("differences", "message"),
    [
        ([], "empty"),
        ([1.0, math.nan], "entry 1 is nan"),
        ([math.inf], "entry 0 is inf"),
        ([[1, 2]], "one-dimensional"),
        (["a"], "real numbers"),
    ],
)
def test_bad_differences_are_refused(differences, message):
    with pytest.raises(ValueError, match=message):
        sign_flip_p(differences)


# The comparison


def numbers(result: PairedComparison) -> dict[str, object]:
    return {name: value for name, value in dataclasses.asdict(result).items() if name != "differences"}


def plain_values(value: object) -> Iterator[object]:
    """Yield the leaves of what `dataclasses.asdict` gives."""
    if isinstance(value, dict | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from plain_values(item)
    else:
        yield value


@given(pairs_of_counts, st.randoms(use_true_random=False))
def test_the_order_of_the_pairs_changes_nothing(pairs, random):
    shuffled = pairs.copy()
    random.shuffle(shuffled)
    plain, other = (compare_paired(*np.array(rows).T / 7.0) for rows in (pairs, shuffled))
    assert numbers(plain) == numbers(other)
    assert sorted(plain.differences) == sorted(other.differences)


def mirrored(interval: Interval | None) -> Interval | None:
    if interval is None:
        return None
    low, high = (None if end is None else -end for end in (interval.high, interval.low))
    return Interval(low, high)


def negated(value: float | None) -> float | None:
    return None if value is None else -value


def with_arms_swapped(result: PairedComparison) -> PairedComparison:
    """Return what the comparison of the same arms must be the other way round."""
    same = result.equivalence
    return dataclasses.replace(
        result,
        differences=tuple(-d for d in result.differences),
        mean=-result.mean,
        ci_low=negated(result.ci_high),
        ci_high=negated(result.ci_low),
        d_z=negated(result.d_z),
        g_z=negated(result.g_z),
        sign_flip_interval=mirrored(result.sign_flip_interval),
        bootstrap_t=mirrored(result.bootstrap_t),
        bca=mirrored(result.bca),
        above=result.below,
        below=result.above,
        win_share=(result.below + result.ties / 2) / result.n,
        hodges_lehmann=-result.hodges_lehmann,
        hodges_lehmann_interval=mirrored(result.hodges_lehmann_interval),
        cliffs_delta=-result.cliffs_delta,
        a12=(1 - result.cliffs_delta) / 2,
        departures=tuple(
            dataclasses.replace(found, side=found.side and ("below" if found.side == "above" else "above"))
            for found in result.departures
        ),
        equivalence=same and dataclasses.replace(same, p_lower=same.p_upper, p_upper=same.p_lower),
    )


@given(pairs_of_counts)
def test_swapping_the_arms_flips_the_signs_and_nothing_else(pairs):
    a, b = np.array(pairs).T / 7.0
    ours, theirs = compare_paired(a, b, rope=5.0), compare_paired(b, a, rope=5.0)
    assert ours.differences == tuple(b - a)
    assert theirs == with_arms_swapped(ours)
    assert theirs.a12 == pytest.approx(1 - ours.a12, abs=1e-15)


@pytest.mark.parametrize("n", [20, 24, 31])
@pytest.mark.parametrize("kind", ["float", "integer", "counts"])
def test_many_pairs_swap_and_shuffle_too(n, kind):
    generator = np.random.default_rng([n, 5])
    a, b = generator.integers(80, 130, size=(2, n))
    order = generator.permutation(n)

    def compared(a, b):
        if kind == "integer":
            return compare_paired(a, b)
        return compare_paired(1 - a / 9973, 1 - b / 9973, counts=(a, b) if kind == "counts" else None)

    plain = compared(a, b)
    assert compared(b, a) == with_arms_swapped(plain)
    assert numbers(compared(a[order], b[order])) == numbers(plain)
    for interval in (plain.sign_flip_interval, plain.bootstrap_t, plain.hodges_lehmann_interval):
        assert interval.low < plain.mean < interval.high
    assert (plain.bca is not None) == (n >= 30)


@given(pairs_of_counts, st.integers(-1000, 1000))
def test_a_constant_added_to_both_arms_changes_nothing(pairs, constant):
    a, b = np.array(pairs).T / 8.0
    assert compare_paired(a, b, rope=0.5) == compare_paired(a + constant, b + constant, rope=0.5)


@given(pairs_of_counts, st.integers(-900, 900))
def test_a_power_of_two_scales_the_estimates_only(pairs, exponent):
    a, b = np.array(pairs, dtype=float).T
    plain = numbers(compare_paired(a, b, rope=3.0))
    scaled = numbers(compare_paired(np.ldexp(a, exponent), np.ldexp(b, exponent), rope=math.ldexp(3.0, exponent)))
    if plain["equivalence"] is not None:
        assert scaled["equivalence"].pop("rope") == math.ldexp(plain["equivalence"].pop("rope"), exponent)
    for name in ("mean", "ci_low", "ci_high", "hodges_lehmann"):
        end = plain.pop(name)
        assert scaled.pop(name) == (None if end is None else math.ldexp(end, exponent))
    for name in ("sign_flip_interval", "bootstrap_t", "hodges_lehmann_interval"):
        ends = plain.pop(name)
        expected = ends and {side: None if end is None else math.ldexp(end, exponent) for side, end in ends.items()}
        assert scaled.pop(name) == expected
    assert (plain.pop("variance") is None) <= (scaled.pop("variance") is None)
    assert scaled == plain


@given(pairs_of_counts, st.floats(0.001, 1000))
def test_any_factor_scales_the_estimates_only(pairs, factor):
    a, b = np.array(pairs, dtype=float).T
    plain, scaled = compare_paired(a, b), compare_paired(factor * a, factor * b)
    assert scaled.p_sign_flip == plain.p_sign_flip
    assert scaled.mean == pytest.approx(factor * plain.mean, rel=1e-9, abs=1e-9)
    if plain.d_z is not None:
        assert scaled.d_z == pytest.approx(plain.d_z, rel=1e-6, abs=1e-9)
        assert scaled.p_t == pytest.approx(plain.p_t, rel=1e-6)


@given(pairs_of_counts)
def test_counts_decide_the_p_and_the_values_the_estimates(pairs):
    a, b = np.array(pairs).T
    rates, accuracies = (a / 10_000, b / 10_000), (1 - a / 10_000, 1 - b / 10_000)
    for values in (rates, accuracies):
        result = compare_paired(*values, counts=(a.astype(np.uint64), b.astype(np.uint64)))
        assert result.p_sign_flip == float(brute_force([int(d) for d in b - a]))
        assert result.mean == pytest.approx(float(np.mean(values[1] - values[0])), abs=1e-15)


def test_counts_give_exact_p_where_floats_would_be_resampled():
    a, b = np.full(25, 100), np.arange(101, 126)
    assert compare_paired(a / 1e4, b / 1e4, counts=(a, b)).p_sign_flip == 2 / 2**25
    assert compare_paired(a, b).p_sign_flip == 2 / 2**25
    assert compare_paired(a / 1e4, b / 1e4).p_sign_flip == 1 / 100_001


@pytest.mark.parametrize("n", [2, 6, 30])
@pytest.mark.parametrize("value", [0.0, 0.3, 97.5])
def test_identical_arms(n, value):
    result = compare_paired([value] * n, [value] * n)
    assert (result.mean, result.variance, result.p_sign_flip) == (0.0, 0.0, 1.0)
    assert (result.p_t, result.d_z, result.ci_low, result.ci_high) == (None,) * 4


@pytest.mark.parametrize("n", [2, 5, 6, 30])
def test_no_difference_at_all(n):
    result = compare_paired([0.3, 0.7] * (n // 2) + [0.5] * (n % 2), [0.3, 0.7] * (n // 2) + [0.5] * (n % 2), rope=0.01)
    assert (result.above, result.below, result.ties, result.win_share) == (0, 0, n, 0.5)
    assert (result.wilcoxon_w, result.wilcoxon_p, result.sign_test_p, result.p_sign_flip) == (0.0, 1.0, 1.0, 1.0)
    assert result.bootstrap_t is result.bca is result.d_z is result.g_z is result.unpaired_factor is None
    assert (result.hodges_lehmann, result.a12, result.cliffs_delta) == (0.0, 0.5, 0.0)
    assert result.correlation == pytest.approx(1.0, abs=1e-15)
    bounded = Interval(0.0, 0.0) if n > 5 else Interval(None, None)
    assert result.sign_flip_interval == result.hodges_lehmann_interval == bounded
    assert result.equivalence is None


def test_equal_differences_have_no_variance_though_the_floats_differ():
    a = np.array([0.971, 0.962, 0.953, 0.944, 0.935, 0.926])
    b = a + 0.1
    assert len(set(b - a)) > 1
    result = compare_paired(a, b)
    assert (result.variance, result.p_t, result.d_z, result.p_sign_flip) == (0.0, None, None, 2 / 2**6)
    assert result.mean == result.hodges_lehmann == pytest.approx(0.1)
    assert result.sign_flip_interval == Interval(result.mean, result.mean) == result.hodges_lehmann_interval
    assert (result.wilcoxon_w, result.wilcoxon_p, result.bootstrap_t, result.unpaired_factor) == (
        0,
        2 / 2**6,
        None,
        None,
    )


def test_equal_values_but_for_one_unit_in_the_last_place_tie():
    """Fault 1: six pairs of equal values, one of them a unit in the last place apart, are six ties."""
    x = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    y = [math.nextafter(0.1, 1), *x[1:]]
    result = compare_paired(x, y)
    assert (result.above, result.below, result.ties, result.win_share) == (0, 0, 6, 0.5)
    assert (result.p_sign_flip, result.wilcoxon_p, result.sign_test_p) == (1.0, 1.0, 1.0)
    assert (result.mean, result.differences, result.hodges_lehmann) == (0.0, (0.0,) * 6, 0.0)
    assert (result.cliffs_delta, result.a12, result.variance, result.p_t) == (0.0, 0.5, 0.0, None)


def test_means_that_tie_differ_by_0():
    # The differences are .1, .2 and -.3, but not in binary.
    a, b = [0.1, 0.1, 0.1], [0.2, 0.3, -0.2]
    assert math.fsum(np.subtract(b, a)) != 0
    assert compare_paired(a, b).mean == 0.0


@pytest.mark.parametrize("values", [([1.0, 1.0], [1.5, 1.5]), ([0.1] * 7, [1 - 0.9] * 7), ([3] * 30, [5] * 30)])
def test_without_variance_there_is_no_t(values):
    """Fault 13: differences that all tie have no t-test, no interval of it, no bootstrap, no equivalence, no effect size d_z."""
    result = compare_paired(*values, rope=10.0)
    assert result.variance == 0.0
    assert result.p_t is result.ci_low is result.ci_high is result.d_z is result.g_z is None
    assert result.bootstrap_t is result.bca is result.equivalence is None


def test_ties_are_counted():
    """Fault 13: how many differences are 0, and how many others share their size."""
    counts = np.array([[3, 3], [4, 4], [2, 3], [5, 4], [6, 7], [9, 7], [9, 2], [8, 8]])
    for arms in (counts, counts / 400, 1 - counts / 400):
        result = compare_paired(*arms.T)
        assert (result.n, result.ties, result.tied_sizes) == (8, 3, 3)


def test_many_large_integers_are_drawn():
    """Fault 20: the exact distribution of 40 large integers does not fit into memory: their p is estimated, and says so."""
    generator = np.random.default_rng(20)
    a, b = generator.integers(10**15, 10**16, size=(2, 40))
    result = compare_paired(a, b)
    assert not result.exact
    same = compare_paired(a.astype(float), b.astype(float))
    assert (result.p_sign_flip, result.wilcoxon_p) == (same.p_sign_flip, same.wilcoxon_p)
    assert (0 in result.sign_flip_interval) == (result.p_sign_flip > 0.05)
    assert compare_paired(a, b + 10**16).p_sign_flip == 1 / 100_001
    # Counts of any size that fit are exact, and so are up to 20 pairs.
    assert compare_paired(a // 10**12, b // 10**12).exact
    assert compare_paired(a[:20], b[:20]).exact


def test_a_p_says_whether_it_is_exact():
    """Fault 10: "exact" is what counts all patterns of signs, and not what is drawn."""
    a, b = np.random.default_rng(10).normal(size=(2, 30))
    assert not compare_paired(a, b).exact
    assert compare_paired(a[:20], b[:20]).exact
    assert compare_paired(np.rint(100 * a).astype(int), np.rint(100 * b).astype(int)).exact
    # p = 1 where the means tie, whatever the patterns.
    assert compare_paired(a, a).exact


def test_one_pair_gives_estimates_without_intervals():
    result = compare_paired([0.5], [0.25], rope=1.0)
    assert result == PairedComparison(
        n=1,
        differences=(-0.25,),
        mean=-0.25,
        variance=None,
        p_sign_flip=1.0,
        exact=True,
        ci_low=None,
        ci_high=None,
        p_t=None,
        d_z=None,
        confidence=0.95,
        sign_flip_interval=None,
        bootstrap_t=None,
        bca=None,
        wilcoxon_w=None,
        wilcoxon_p=None,
        sign_test_p=None,
        above=0,
        below=1,
        ties=0,
        tied_sizes=0,
        win_share=0.0,
        hodges_lehmann=-0.25,
        hodges_lehmann_interval=None,
        g_z=None,
        a12=0.0,
        cliffs_delta=-1.0,
        correlation=None,
        unpaired_factor=None,
        equivalence=None,
        departures=(),
    )


@given(st.lists(st.tuples(*[st.floats(-1e300, 1e300)] * 2), min_size=1, max_size=6), st.floats(1e-300, 1e300))
def test_no_finite_input_warns_or_gives_what_json_cannot_hold(pairs, rope):
    a, b = np.array(pairs).T
    result = dataclasses.asdict(compare_paired(a, b, rope=rope))
    assert 0 < result["p_sign_flip"] <= 1
    json.dumps(result, allow_nan=False)
    assert {type(value) for value in plain_values(result)} <= {int, float, bool, str, type(None)}


def test_what_is_too_large_for_a_float_is_none():
    result = compare_paired([0.0, 0.0, 0.0], [1.5e308, -1.5e308, 1e300])
    assert (result.variance, result.ci_low, result.ci_high) == (None, None, None)
    assert result.d_z == pytest.approx(0.0, abs=1e-7)


@given(pairs_of_counts, st.sampled_from([0.05, 0.1, 0.25, 2 / 64]))
def test_zero_lies_in_the_sign_flip_interval_just_when_the_test_does_not_reject(pairs, alpha):
    a, b = np.array(pairs).T
    assume(len(a) > 1)
    for result in (
        compare_paired(1 - a / 9973, 1 - b / 9973, alpha=alpha),
        compare_paired(1 - a / 9973, 1 - b / 9973, alpha=alpha, counts=(a, b)),
        compare_paired(a, b, alpha=alpha),
    ):
        assert (0 in result.sign_flip_interval) == (result.p_sign_flip > alpha)


@given(pairs_of_counts)
def test_ranks_of_rates_are_those_of_the_counts(pairs):
    a, b = np.array(pairs).T
    exact = compare_paired(a, b)
    for result in (
        compare_paired(a / 9973, b / 9973),
        compare_paired(a / 9973, b / 9973, counts=(a, b)),
        with_arms_swapped(compare_paired(1 - a / 9973, 1 - b / 9973, counts=(a, b))),
    ):
        for name in ("wilcoxon_w", "wilcoxon_p", "sign_test_p", "above", "below", "ties", "win_share", "cliffs_delta"):
            assert getattr(result, name) == getattr(exact, name)
        assert result.hodges_lehmann * 9973 == pytest.approx(exact.hodges_lehmann, abs=1e-9)
        assert (result.bootstrap_t is None) == (exact.bootstrap_t is None)
        if exact.bootstrap_t is not None:
            assert result.bootstrap_t.low * 9973 == pytest.approx(exact.bootstrap_t.low, rel=1e-6, abs=1e-6)


def test_counts_that_cancel_have_no_mean():
    a, b = np.array([120, 100, 110, 131, 99, 107]), np.array([127, 93, 113, 128, 110, 96])
    assert (b - a).sum() == 0 != np.sum(b / 9973 - a / 9973)
    for left, right in ((a / 9973, b / 9973), (1 - a / 9973, 1 - b / 9973)):
        result = compare_paired(left, right, counts=(a, b))
        assert (result.mean, result.d_z, result.p_sign_flip, result.p_t) == (0.0, 0.0, 1.0, 1.0)


def test_values_far_apart_in_size_keep_their_own_ties():
    result = compare_paired([1e12, 0.5, 0.5, 0.5], [1e12 + 1e9, 0.5 + 1e-9, 0.5 + 2e-9, 0.5])
    assert (result.above, result.below, result.ties, result.wilcoxon_w) == (3, 0, 1, 0.0)


@given(pairs_of_counts)
def test_the_t_interval_excludes_zero_just_when_the_t_test_rejects(pairs):
    a, b = np.array(pairs, dtype=float).T
    result = compare_paired(a, b)
    assume(result.d_z is not None and abs(result.p_t - 0.05) > 1e-9)
    assert (result.p_t < 0.05) == (not result.ci_low <= 0 <= result.ci_high)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([1.0, 2.0], [1.0]), {}, "a has 2 values and b has 1"),
        (([], []), {}, "a: is empty"),
        (([1.0], []), {}, "b: is empty"),
        (([1.0, math.nan], [1.0, 2.0]), {}, "a: entry 1 is nan"),
        (([1.0, 2.0], [-math.inf, 2.0]), {}, "b: entry 0 is -inf"),
        (([-1.5e308], [1.5e308]), {}, "b - a: entry 0 is inf"),
        (([1.0], [2.0]), {"alpha": 0.0}, "alpha"),
        (([1.0], [2.0]), {"alpha": 1.0}, "alpha"),
        (([1.0], [2.0]), {"rope": 0.0}, "rope must be a positive number"),
        (([1.0], [2.0]), {"rope": math.nan}, "rope"),
        (([1.0], [2.0]), {"rope": math.inf}, "rope"),
        (([1.0], [2.0]), {"counts": ([1.0], [2.0])}, "counts of a: must be integers"),
        (([1.0], [2.0]), {"counts": ([1], [2, 3])}, "counts of b: 2 counts for 1 pairs"),
        (([0.1, 0.2, 0.3], [0.2, 0.4, 0.1]), {"counts": ([10, 20, 30], [40, 20, 10])}, "not proportional"),
        (([0.1, 0.2], [0.2, 0.1]), {"counts": ([1, 1], [1, 1])}, "not proportional"),
        (([0.5] * 6, [0.5] * 6), {"counts": ([1] * 6, [2] * 6)}, "not proportional"),
    ],
)
def test_bad_comparisons_are_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        compare_paired(*arguments, **options)


def test_import_is_light():
    code = "import sys, hpo.statistics; sys.exit(not {'statsmodels', 'scipy.special', 'scipy.stats'}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
