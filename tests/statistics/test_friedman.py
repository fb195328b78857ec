"""Friedman and Nemenyi: published tables, brute force over the permutations, and SciPy, R and scikit-posthocs."""

import itertools
import math
import warnings
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import scikit_posthocs
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from published import DEMSAR
from scipy import stats

from hpo.statistics import critical_difference, friedman, nemenyi
from hpo.statistics.friedman import friedman_from_mean_ranks

DEMSAR_RANKS = (3.143, 2.000, 2.893, 1.964)
# R, package PMCMR, and the tests of scikit-posthocs.
PMCMR = [[4, 3, 4, 4, 5, 6, 3], [1, 2, 3, 5, 6, 7, 7], [1, 2, 6, 4, 1, 5, 1]]
# R, `?friedman.test`; Hollander and Wolfe (1973), p. 140: three ways of rounding first base, 22 players.
ROUNDING_TIMES = [
    *([5.40, 5.50, 5.55], [5.85, 5.70, 5.75], [5.20, 5.60, 5.50], [5.55, 5.50, 5.40], [5.90, 5.85, 5.70]),
    *([5.45, 5.55, 5.60], [5.40, 5.40, 5.35], [5.45, 5.50, 5.35], [5.25, 5.15, 5.00], [5.85, 5.80, 5.70]),
    *([5.25, 5.20, 5.10], [5.65, 5.55, 5.45], [5.60, 5.35, 5.45], [5.05, 5.00, 4.95], [5.50, 5.50, 5.40]),
    *([5.45, 5.55, 5.50], [5.55, 5.55, 5.35], [5.45, 5.50, 5.55], [5.50, 5.45, 5.25], [5.65, 5.60, 5.40]),
    *([5.70, 5.65, 5.55], [6.30, 6.30, 6.25]),
]

small_tables = st.tuples(st.integers(1, 4), st.integers(2, 3)).flatmap(
    lambda shape: arrays.arrays(np.int64, shape, elements=st.integers(0, 3))
)


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def doubled(row) -> list[int]:
    """Return twice the midranks."""
    return [sum(b < a for b in row) + sum(b <= a for b in row) + 1 for a in row]


def spread(totals) -> int:
    k = len(totals)
    return sum((k * total - sum(totals)) ** 2 for total in totals)


def brute_force(table) -> Fraction:
    """Return the share of all within-block permutations whose rank sums are spread at least as much."""
    ranks = [doubled(row) for row in table]
    observed = spread([sum(column) for column in zip(*ranks, strict=True)])
    hits = total = 0
    for rows in itertools.product(*(list(itertools.permutations(row)) for row in ranks)):
        hits += spread([sum(column) for column in zip(*rows, strict=True)]) >= observed
        total += 1
    return Fraction(hits, total)


def block_by_block(table) -> Fraction:
    """Return the same from the distribution of the rank sums, one block added at a time."""
    ranks = [doubled(row) for row in table]
    observed = spread([sum(column) for column in zip(*ranks, strict=True)])
    states = Counter({(0,) * len(ranks[0]): 1})
    for row in ranks:
        grown: Counter[tuple[int, ...]] = Counter()
        for state, count in states.items():
            for order in itertools.permutations(row):
                grown[tuple(a + b for a, b in zip(state, order, strict=True))] += count
        states = grown
    return Fraction(sum(n for state, n in states.items() if spread(state) >= observed), sum(states.values()))


# Oracles


def test_conovers_data():
    """Conover, Practical Nonparametric Statistics: exact p .0718 where the chi-square approximation gives .0803."""
    table = [
        [5, 4, 7, 10, 12],
        [1, 3, 1, 0, 2],
        [16, 12, 22, 22, 35],
        [5, 4, 3, 5, 4],
        [10, 9, 7, 13, 10],
        [19, 18, 28, 37, 58],
        [10, 7, 6, 8, 7],
    ]
    result = friedman(table)
    assert (result.method, result.statistic) == ("exact", pytest.approx(8.3284, abs=5e-5))
    assert (result.p, result.p_chi_square) == pytest.approx((0.0718, 0.0803), abs=5e-5)


@pytest.mark.parametrize("larger_is_better", [False, True])
def test_ranks_tie_by_the_scale_of_their_block(larger_is_better):
    """Fault 3: .1 and 1 - .9 share a rank; so does what rounding left of zeros, and a block in a small unit keeps its own."""
    table = [[0.1, 1 - 0.9, 0.3], [0.2, 0.2 + 1e-17, 0.4], [0.0, 1 - 0.9 - 0.1, 5e-324], [5e4, 5e4 + 1e-6, 6e4]]
    small = [[1e-12, 2e-12, 3e-12], *table]
    ranked = [[1, 1, 2], [1, 1, 2], [1, 1, 1], [1, 1, 2]]
    for call in (friedman, nemenyi):
        assert call(table, larger_is_better=larger_is_better) == call(ranked, larger_is_better=larger_is_better)
        assert call(small, larger_is_better=larger_is_better) == call(
            [[1, 2, 3], *ranked], larger_is_better=larger_is_better
        )


def test_demsars_mean_ranks():
    # Voting, the row before the last, is a tie in print; the paper ranked it by more digits than it prints.
    as_ranked = [list(row) for row in DEMSAR]
    as_ranked[12][2] += 1e-4
    assert friedman(as_ranked, larger_is_better=True).mean_ranks == pytest.approx(DEMSAR_RANKS, abs=5e-4)
    tied = friedman(DEMSAR, larger_is_better=True).mean_ranks
    assert tied == pytest.approx((44 / 14, 28 / 14, 41 / 14, 27 / 14), rel=1e-15)


def test_demsars_friedman_from_the_published_ranks():
    result = friedman_from_mean_ranks(DEMSAR_RANKS, 14)
    assert (result.statistic, result.f) == pytest.approx((9.28, 3.69), abs=5e-3)
    assert result.p_chi_square == pytest.approx(stats.chi2.sf(result.statistic, 3), rel=1e-12)
    # The paper: the critical value of F(3, 39) for alpha = .05 is 2.85.
    assert stats.f.isf(0.05, 3, 39) == pytest.approx(2.85, abs=5e-3)
    assert result.p_f == pytest.approx(stats.f.sf(result.f, 3, 39), rel=1e-12)
    assert result.p_f < 0.05


def test_demsars_critical_differences():
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=5e-3)
    assert critical_difference(4, 14, alpha=0.1) == pytest.approx(1.12, abs=5e-3)


@pytest.mark.parametrize(
    ("alpha", "quantiles"),
    [
        (0.05, [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]),
        (0.10, [1.645, 2.052, 2.291, 2.459, 2.589, 2.693, 2.780, 2.855, 2.920]),
    ],
)
def test_demsars_table_of_nemenyi_quantiles(alpha, quantiles):
    for k, quantile in enumerate(quantiles, start=2):
        # With n = k (k + 1) blocks the factor sqrt(k (k + 1) / (6 n)) is 1 / sqrt(6). The table is rounded twice.
        assert critical_difference(k, k * (k + 1), alpha) * math.sqrt(6) == pytest.approx(quantile, abs=1e-3)


def test_pmcmr():
    result = friedman(PMCMR)
    assert result.statistic == pytest.approx(8.468354, abs=5e-7)
    assert result.p_chi_square == pytest.approx(0.205758, abs=5e-7)
    assert (result.n, result.k, result.method) == (3, 7, "exact")
    row = nemenyi(PMCMR).p[0]
    expected = [1.0, 0.9999999, 0.8414506, 0.9177741, 0.9177741, 0.2147827, 0.9976902]
    assert row == pytest.approx(expected, abs=6e-8)


def test_rounding_times_of_r():
    result = friedman(ROUNDING_TIMES)
    assert (result.n, result.k, result.method) == (22, 3, "chi-square")
    assert result.statistic == pytest.approx(11.143, abs=5e-4)
    assert result.p == result.p_chi_square == pytest.approx(0.003805, abs=5e-7)


def test_published_exact_tails():
    # Siegel (1956), table N, after Friedman (1937): p = .028, .194, .0046, .042, .042 and .167.
    a, b, c = [1, 2, 3], [1, 3, 2], [2, 1, 3]
    for table, statistic, p in [
        ([a] * 3, 6.0, 1 / 36),
        ([a, a, c], 14 / 3, 7 / 36),
        ([a] * 4, 8.0, 1 / 216),
        ([a, a, a, b], 6.5, 9 / 216),
        ([[1, 2, 3, 4]] * 2, 6.0, 1 / 24),
        ([[1, 2, 3, 4], [1, 2, 4, 3]], 5.4, 4 / 24),
    ]:
        result = friedman(table)
        assert (result.statistic, result.p) == pytest.approx((statistic, p), rel=1e-12)


# Exact below ten blocks


@given(small_tables)
def test_it_is_the_share_of_all_permutations(table):
    result = friedman(table)
    assert result.p == pytest.approx(float(brute_force(table)), rel=1e-12)
    assert result.method == "exact"


@pytest.mark.parametrize("table", [[[1, 1, 2, 2], [4, 3, 2, 1], [1, 2, 2, 3]], [[1, 2, 3, 4, 5], [2, 1, 3, 3, 4]]])
def test_wider_tables_with_ties(table):
    assert friedman(table).p == pytest.approx(float(brute_force(table)), rel=1e-12)


@pytest.mark.parametrize(("n", "k"), [(9, 3), (6, 4)])
@pytest.mark.parametrize("ties", [False, True])
def test_more_blocks_one_at_a_time(n, k, ties):
    generator = np.random.default_rng([n, k])
    table = generator.integers(0, 4, size=(n, k)) if ties else generator.normal(size=(n, k)) + 0.4 * np.arange(k)
    result = friedman(table)
    assert 1e-4 < result.p < 0.9
    assert result.p == pytest.approx(float(block_by_block(table.tolist())), rel=1e-12)
    assert (result.method, result.n, result.k) == ("exact", n, k)


@given(arrays.arrays(np.int64, st.tuples(st.integers(1, 9), st.just(2)), elements=st.integers(0, 2)))
def test_two_columns_are_the_sign_test(table):
    wins, losses = int(np.sum(table[:, 0] < table[:, 1])), int(np.sum(table[:, 0] > table[:, 1]))
    expected = stats.binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert friedman(table).p == pytest.approx(expected, rel=1e-12)


def test_the_smallest_p_is_that_of_blocks_that_all_agree():
    for n, k in ((2, 5), (5, 3), (9, 4)):
        result = friedman([list(range(k))] * n)
        assert result.p == pytest.approx(math.factorial(k) ** (1 - n), rel=1e-12)
        assert result.statistic == pytest.approx(n * (k - 1))
        assert (result.f, result.p_f) == (None, 0.0)


@pytest.mark.parametrize(("n", "k"), [(3, 6), (9, 5)])
def test_the_exact_p_of_larger_tables_is_near_what_permuting_gives(n, k):
    generator = np.random.default_rng([n, k, 2])
    ranks = generator.normal(size=(n, k)).argsort(axis=1).argsort(axis=1)
    result = friedman(ranks)
    assert result.method == "exact"
    drawn = generator.permuted(np.broadcast_to(ranks, (50_000, n, k)), axis=2).sum(axis=1)
    # The ranks have no ties, so that the sum of squared rank sums is all of the statistic that varies.
    hits = np.count_nonzero(np.sum(drawn**2, axis=1) >= np.sum(ranks.sum(axis=0) ** 2))
    low, high = stats.binom.ppf([0.0005, 0.9995], 50_000, result.p)
    assert low <= hits <= high


def test_too_many_permutations_are_drawn():
    # Of two blocks only the second's order against the first's matters: 8! orders.
    first, second = range(8), [1, 0, 3, 2, 6, 4, 5, 7]
    result = friedman([first, second])
    assert result.method == "monte carlo"
    orders = np.array(list(itertools.permutations(range(8))))
    sums = np.sum((orders + np.arange(8) - 7) ** 2, axis=1)
    exact = np.mean(sums >= np.sum((np.array(first) + second - 7) ** 2))
    assert 0.001 < exact < 0.05
    low, high = stats.binom.ppf([0.0005, 0.9995], 100_000, exact)
    assert low + 1 <= result.p * 100_001 <= high + 1
    assert friedman([second, first]).p == friedman([first, second]).p == result.p


def test_a_drawn_p_is_never_zero():
    assert friedman([list(range(8))] * 9).p == 1 / 100_001


# Chi-square from ten blocks on


@pytest.mark.parametrize(("n", "k"), [(10, 3), (14, 4), (40, 6)])
@pytest.mark.parametrize("ties", [False, True])
def test_from_ten_blocks_on_it_is_scipys(n, k, ties):
    generator = np.random.default_rng([n, k, 1])
    table = generator.integers(0, 5, size=(n, k)) if ties else generator.normal(size=(n, k))
    result, theirs = friedman(table), stats.friedmanchisquare(*table.T)
    assert result.method == "chi-square"
    assert (result.statistic, result.p) == pytest.approx((theirs.statistic, theirs.pvalue), rel=1e-10)
    assert result.p_chi_square == result.p


@given(arrays.arrays(np.int64, st.tuples(st.integers(2, 9), st.integers(3, 4)), elements=st.integers(0, 4)))
def test_the_statistic_below_ten_is_scipys_too(table):
    result = friedman(table)
    if all(len(set(row)) == 1 for row in table.tolist()):
        assert (result.statistic, result.p_chi_square, result.f, result.p_f, result.p) == (None, None, None, None, 1.0)
        return
    theirs = stats.friedmanchisquare(*table.T)
    assert result.statistic == pytest.approx(theirs.statistic, rel=1e-9, abs=1e-12)
    assert result.p_chi_square == pytest.approx(theirs.pvalue, rel=1e-9)


@given(arrays.arrays(np.int64, st.tuples(st.integers(2, 7), st.integers(2, 4)), elements=st.integers(0, 4)))
def test_f_is_the_analysis_of_variance_of_the_ranks(table):
    result = friedman(table)
    ranks = np.array([doubled(row) for row in table.tolist()], dtype=float)
    n, k = ranks.shape
    columns = n * np.sum((ranks.mean(axis=0) - (k + 1)) ** 2)
    rest = np.sum((ranks - (k + 1)) ** 2) - columns
    if columns + rest < 1e-9:
        assert (result.f, result.p_f) == (None, None)
    elif rest < 1e-9:
        assert (result.f, result.p_f) == (None, 0.0)
    else:
        f = (columns / (k - 1)) / (rest / ((n - 1) * (k - 1)))
        assert result.f == pytest.approx(f, rel=1e-9, abs=1e-12)
        assert result.p_f == pytest.approx(stats.f.sf(f, k - 1, (n - 1) * (k - 1)), rel=1e-9)


def test_one_block_shows_nothing():
    result = friedman([[3, 1, 2]])
    assert (result.mean_ranks, result.p, result.method) == ((3.0, 1.0, 2.0), 1.0, "exact")
    assert (result.f, result.p_f) == (None, None)


@pytest.mark.parametrize("n", [1, 4, 12])
def test_all_tied(n):
    result = friedman(np.full((n, 3), 0.97))
    assert (result.mean_ranks, result.statistic, result.p) == ((2.0, 2.0, 2.0), None, 1.0)
    assert set(itertools.chain(*nemenyi(np.full((n, 3), 0.97)).p)) == {1.0}


# What must not change them


@given(small_tables, st.randoms(use_true_random=False))
def test_the_order_of_blocks_and_columns_changes_nothing(table, random):
    rows, columns = list(range(table.shape[0])), list(range(table.shape[1]))
    random.shuffle(rows)
    random.shuffle(columns)
    plain, shuffled = friedman(table), friedman(table[rows][:, columns])
    assert shuffled.mean_ranks == tuple(plain.mean_ranks[column] for column in columns)
    assert shuffled.p == pytest.approx(plain.p, rel=1e-12)
    assert (shuffled.statistic, shuffled.method, shuffled.f) == (plain.statistic, plain.method, plain.f)
    ours, theirs = nemenyi(table), nemenyi(table[rows][:, columns])
    assert np.array(theirs.p) == pytest.approx(np.array(ours.p)[np.ix_(columns, columns)], abs=1e-12)


def test_the_order_changes_no_drawn_p_either():
    table = np.random.default_rng(4).normal(size=(6, 8))
    assert friedman(table[::-1]).method == "monte carlo"
    assert friedman(table[::-1]).p == friedman(table).p == friedman(table[:, ::-1]).p


@given(small_tables)
def test_the_other_direction_turns_the_ranks_round(table):
    small, large = friedman(table), friedman(table, larger_is_better=True)
    k = table.shape[1]
    assert large.mean_ranks == pytest.approx([k + 1 - rank for rank in small.mean_ranks])
    assert large.mean_ranks == friedman(-table).mean_ranks
    assert (large.statistic, large.p_f) == (small.statistic, small.p_f)
    assert large.p == pytest.approx(small.p, rel=1e-12)
    assert nemenyi(table, larger_is_better=True).p == nemenyi(table).p


@given(small_tables, st.integers(-5, 5))
def test_only_ranks_within_a_block_matter(table, shift):
    stretched = np.exp(table) + shift * np.arange(len(table))[:, None]
    assert friedman(stretched) == friedman(table)


# Nemenyi


@pytest.mark.parametrize("ties", [False, True])
def test_nemenyi_of_scikit_posthocs(ties):
    generator = np.random.default_rng(8)
    table = generator.integers(0, 4, size=(9, 5)) if ties else generator.normal(size=(9, 5)) + 0.5 * np.arange(5)
    result = nemenyi(table)
    theirs = scikit_posthocs.posthoc_nemenyi_friedman(table).to_numpy()
    assert np.array(result.p) == pytest.approx(theirs, abs=1e-7)
    assert result.mean_ranks == friedman(table).mean_ranks


def test_ranks_further_apart_than_the_critical_difference_are_those_with_a_small_p():
    table = np.random.default_rng(9).normal(size=(12, 5)) + 0.8 * np.arange(5)
    result = nemenyi(table, alpha=0.1)
    assert (result.alpha, result.critical_difference) == (0.1, critical_difference(5, 12, 0.1))
    ranks = np.array(result.mean_ranks)
    apart = np.abs(ranks[:, None] - ranks) > result.critical_difference
    assert 0 < apart.sum() < 20
    assert np.array_equal(apart, np.array(result.p) < 0.1)


def test_two_columns_of_nemenyi_are_a_normal_test():
    # The studentized range of two is |z| sqrt(2); the difference of two mean ranks has the standard error 1 / sqrt(n).
    result = nemenyi([[1, 2]] * 7 + [[2, 1]] * 2)
    assert result.p[0][1] == pytest.approx(2 * stats.norm.sf(5 / 9 * 3), rel=1e-6)
    assert result.critical_difference == pytest.approx(stats.norm.isf(0.025) / 3, rel=1e-6)


def test_without_ties_the_mean_ranks_are_enough():
    table = np.random.default_rng(10).normal(size=(11, 4)) + 0.5 * np.arange(4)
    whole = friedman(table)
    summary = friedman_from_mean_ranks(whole.mean_ranks, 11)
    assert (summary.statistic, summary.p_chi_square) == pytest.approx((whole.statistic, whole.p_chi_square), rel=1e-10)
    assert (summary.f, summary.p_f) == pytest.approx((whole.f, whole.p_f), rel=1e-9)


def test_edges_of_the_summary():
    assert friedman_from_mean_ranks([1, 2, 3], 5).f is None
    assert friedman_from_mean_ranks([1, 2, 3], 5).p_f == 0.0
    assert (friedman_from_mean_ranks([1, 2], 1).f, friedman_from_mean_ranks([1, 2], 1).p_f) == (None, None)
    assert friedman_from_mean_ranks([2, 2, 2], 5).statistic == pytest.approx(0, abs=1e-12)


# Bad input


@pytest.mark.parametrize("function", [friedman, nemenyi])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, 2, 3], "two-dimensional"),
        ([[1], [2]], "2 columns"),
        (np.empty((0, 3)), "1 block"),
        ([[1.0, 2.0], [3.0, math.nan]], "block 1, column 1 is nan"),
        ([[1.0, -math.inf]], "block 0, column 1 is -inf"),
        ([["a", "b"]], "real numbers"),
    ],
)
def test_bad_tables_are_refused(function, values, message):
    with pytest.raises(ValueError, match=message):
        function(values)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 5), "k must"),
        ((3, 0), "n must"),
        ((3, 5, 0.0), "alpha"),
        ((3, 5, 1.0), "alpha"),
        ((3, 5, math.nan), "alpha"),
    ],
)
def test_no_critical_difference_for_these(arguments, message):
    with pytest.raises(ValueError, match=message):
        critical_difference(*arguments)


@pytest.mark.parametrize(
    ("ranks", "n", "message"),
    [
        ([1.0], 5, "2 or more"),
        ([1.0, 2.0], 0, "n must"),
        ([0.5, 2.5], 5, "between 1 and 2"),
        ([1, math.nan], 5, "between"),
    ],
)
def test_bad_mean_ranks_are_refused(ranks, n, message):
    with pytest.raises(ValueError, match=message):
        friedman_from_mean_ranks(ranks, n)


def test_bad_alpha_of_nemenyi_is_refused():
    with pytest.raises(ValueError, match="alpha"):
        nemenyi([[1, 2], [2, 1]], alpha=2)
