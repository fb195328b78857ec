"""The sign-flip test and the paired numbers: published results, brute force, and what must not change them."""

import itertools
import math
import subprocess
import sys
import warnings
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from hpo.statistics import PairedComparison, compare_paired, sign_flip_p, smallest_p

MAIZE = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
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


@settings(max_examples=30)
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
    with pytest.raises(ValueError, match="too large"):
        sign_flip_p([10**17 + i for i in range(21)])


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


def numbers(result: PairedComparison) -> tuple:
    return (result.mean, result.variance, result.p_sign_flip, result.ci_low, result.ci_high, result.p_t, result.d_z)


@given(pairs_of_counts, st.randoms(use_true_random=False))
def test_the_order_of_the_pairs_changes_nothing(pairs, random):
    shuffled = pairs.copy()
    random.shuffle(shuffled)
    plain, other = (compare_paired(*np.array(rows).T / 7.0) for rows in (pairs, shuffled))
    assert numbers(plain) == numbers(other)
    assert sorted(plain.differences) == sorted(other.differences)


@given(pairs_of_counts)
def test_swapping_the_arms_flips_the_signs_and_nothing_else(pairs):
    a, b = np.array(pairs).T / 7.0
    ours, theirs = compare_paired(a, b), compare_paired(b, a)
    assert ours.differences == tuple(b - a) == tuple(-d for d in theirs.differences)
    assert ours.mean == -theirs.mean
    assert (ours.n, ours.variance, ours.p_sign_flip, ours.p_t) == (
        theirs.n,
        theirs.variance,
        theirs.p_sign_flip,
        theirs.p_t,
    )
    if ours.n == 1:
        assert ours.ci_low is ours.ci_high is ours.d_z is theirs.ci_low is None
    else:
        assert (ours.ci_low, ours.ci_high) == (-theirs.ci_high, -theirs.ci_low)
        assert ours.d_z == (None if theirs.d_z is None else -theirs.d_z)


@given(pairs_of_counts, st.integers(-1000, 1000))
def test_a_constant_added_to_both_arms_changes_nothing(pairs, constant):
    a, b = np.array(pairs).T / 8.0
    assert compare_paired(a, b) == compare_paired(a + constant, b + constant)


@given(pairs_of_counts, st.integers(-900, 900))
def test_a_power_of_two_scales_the_estimates_only(pairs, exponent):
    a, b = np.array(pairs, dtype=float).T
    plain, scaled = compare_paired(a, b), compare_paired(np.ldexp(a, exponent), np.ldexp(b, exponent))
    assert scaled.mean == math.ldexp(plain.mean, exponent)
    assert (scaled.p_sign_flip, scaled.p_t, scaled.d_z) == (plain.p_sign_flip, plain.p_t, plain.d_z)
    if plain.ci_low is not None:
        assert scaled.ci_low == pytest.approx(math.ldexp(plain.ci_low, exponent), rel=1e-12)


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
    assert (result.mean, result.variance, result.p_sign_flip, result.p_t, result.d_z) == (0.0, 0.0, 1.0, 1.0, None)
    assert (result.ci_low, result.ci_high) == (0.0, 0.0)


def test_equal_differences_have_no_variance_though_the_floats_differ():
    a = np.array([0.971, 0.962, 0.953, 0.944, 0.935, 0.926])
    b = a + 0.1
    assert len(set(b - a)) > 1
    result = compare_paired(a, b)
    assert (result.variance, result.p_t, result.d_z, result.p_sign_flip) == (0.0, 0.0, None, 2 / 2**6)
    assert result.ci_low == result.ci_high == result.mean == pytest.approx(0.1)


def test_one_pair_gives_estimates_without_intervals():
    result = compare_paired([0.5], [0.25])
    assert result == PairedComparison(
        n=1,
        differences=(-0.25,),
        mean=-0.25,
        variance=None,
        p_sign_flip=1.0,
        ci_low=None,
        ci_high=None,
        p_t=None,
        d_z=None,
        confidence=0.95,
    )


@given(st.lists(st.tuples(*[st.floats(-1e300, 1e300)] * 2), min_size=1, max_size=6))
def test_no_finite_input_warns_or_gives_nan(pairs):
    a, b = np.array(pairs).T
    result = compare_paired(a, b)
    assert 0 < result.p_sign_flip <= 1
    assert not any(math.isnan(value) for value in numbers(result) if value is not None)


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
        (([1.0], [2.0]), {"counts": ([1.0], [2.0])}, "counts of a: must be integers"),
        (([1.0], [2.0]), {"counts": ([1], [2, 3])}, "counts of b: 2 counts for 1 pairs"),
        (([0.1, 0.2, 0.3], [0.2, 0.4, 0.1]), {"counts": ([10, 20, 30], [40, 20, 10])}, "not proportional"),
        (([0.1, 0.2], [0.2, 0.1]), {"counts": ([1, 1], [1, 1])}, "not proportional"),
    ],
)
def test_bad_comparisons_are_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        compare_paired(*arguments, **options)


def test_import_is_light():
    code = "import sys, hpo.statistics; sys.exit(any(name.startswith('statsmodels') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
