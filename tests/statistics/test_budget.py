"""Budget equivalence: the order-statistic estimate against all subsets, and known multiples found again."""

import itertools
import json
import math
import warnings
from dataclasses import asdict

import numpy as np
import pytest
from helpers import cases
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.statistics.budget import budget_equivalence, expected_best

NAN, INF = math.nan, math.inf

small_pools = st.lists(st.integers(-50, 50), min_size=1, max_size=8)


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# The expected best


@given(small_pools, st.data())
def test_expected_best_is_the_mean_over_all_subsets(pool, data):
    k = data.draw(st.integers(1, len(pool)))
    subsets = list(itertools.combinations(pool, k))
    expected = sum(max(subset) for subset in subsets) / len(subsets)
    assert expected_best(pool, k) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@given(small_pools)
def test_expected_best_goes_from_the_mean_to_the_maximum(pool):
    curve = [expected_best(pool, k) for k in range(1, len(pool) + 1)]
    assert curve[0] == pytest.approx(np.mean(pool), abs=1e-12)
    assert curve[-1] == pytest.approx(max(pool), abs=1e-12)
    assert all(after >= before - 1e-12 for before, after in itertools.pairwise(curve))


def test_expected_best_of_a_large_pool_is_stable():
    # For the scores 1 ... M the expected maximum of k is k (M + 1) / (k + 1).
    pool = np.arange(1, 3001)
    for k in (1, 2, 10, 500, 1000):
        assert expected_best(pool, k) == pytest.approx(k * 3001 / (k + 1), rel=1e-12)


def test_expected_best_is_unbiased():
    # Uniform scores: the expected maximum of k is k / (k + 1). Drawing with replacement would give .65 here for k = 3.
    generator = np.random.default_rng(1)
    estimates = [expected_best(generator.random(9), 3) for _ in range(2000)]
    assert abs(np.mean(estimates) - 0.75) < 4 * np.std(estimates) / math.sqrt(2000)
    assert np.std(estimates) / math.sqrt(2000) < 0.005


def test_diverged_members_count_as_the_worst():
    assert expected_best([0.5, NAN, 0.9, -INF], 2) == expected_best([0.5, 0.5, 0.9, 0.5], 2)
    assert expected_best([[0.5, NAN], [0.9, -INF]], 1) == pytest.approx(0.6)


@pytest.mark.parametrize("k", [0, 4])
def test_subsets_of_impossible_size_are_refused(k):
    with pytest.raises(ValueError, match="between 1 and the 3 members"):
        expected_best([1.0, 2.0, 3.0], k)


# The equivalence


def test_equivalence_by_hand():
    # The scores 1 ... 12: the expected best of k is 13 k / (k + 1): 6.5, 8.667, 9.75, 10.4; k goes to 12 / 3.
    pool = [[1.0, 12.0, 5.0, 8.0], [2.0, 11.0, 6.0, 7.0], [3.0, 10.0, 4.0, 9.0]]
    result = budget_equivalence(pool, [8.0, 9.0, 9.0])
    assert (result.n, result.population_size, result.pool, result.limit, result.diverged) == (3, 4, 12, 4, 0)
    assert result.curve == pytest.approx((6.5, 26 / 3, 9.75, 10.4))
    assert result.mean_value == pytest.approx(26 / 3)
    assert (result.k, result.ratio) == pytest.approx((2.0, 0.5))
    assert not result.more_than
    assert not result.less_than
    between = budget_equivalence(pool, [10.0, 10.0, 10.0])
    assert between.k == pytest.approx(3 + 0.25 / 0.65)
    assert between.ratio == between.k / 4


def test_beyond_the_limits():
    pool = [[1.0, 12.0, 5.0, 8.0], [2.0, 11.0, 6.0, 7.0], [3.0, 10.0, 4.0, 9.0]]
    more = budget_equivalence(pool, [12.0, 12.0, 12.0])
    assert (more.k, more.ratio, more.more_than, more.less_than) == (4.0, 1.0, True, False)
    assert more.interval.high is None
    less = budget_equivalence(pool, [1.0, 1.0, NAN])
    assert (less.k, less.ratio, less.more_than, less.less_than) == (1.0, 0.25, False, True)
    assert less.interval.low is None
    assert less.mean_value == 1.0
    assert budget_equivalence(pool, [6.5, 6.5, 6.5]).k == 1.0
    assert not budget_equivalence(pool, [6.5, 6.5, 6.5]).less_than
    at_the_limit = budget_equivalence(pool, [10.4, 10.4, 10.4])
    assert at_the_limit.k == pytest.approx(4.0)
    assert not at_the_limit.more_than


def test_few_members():
    nothing = budget_equivalence([[1.0, 2.0]], [1.5])
    assert (nothing.limit, nothing.curve, nothing.k, nothing.ratio, nothing.interval) == (0, (), None, None, None)
    one_seed = budget_equivalence([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]], [4.0])
    assert one_seed.interval is None
    # Best of two of six: 7 * 2 / 3 = 4.667; a half of the way from 3.5 is 4.083.
    assert one_seed.k == pytest.approx(1 + (4 - 3.5) / (14 / 3 - 3.5))


def test_equal_scores():
    result = budget_equivalence([[0.1] * 5] * 6, [0.1] * 6)
    assert (result.k, result.more_than, result.less_than) == (1.0, False, False)
    assert result.interval.low == result.interval.high == 0.2


def test_diverged_members_are_counted_and_put_last():
    pool, values = [[0.2, NAN, 0.9], [0.4, 0.8, -INF], [0.3, 0.5, 0.7]], [0.5, -INF, 0.7]
    filled = [[0.2, 0.2, 0.9], [0.4, 0.8, 0.2], [0.3, 0.5, 0.7]]
    result, expected = budget_equivalence(pool, values), budget_equivalence(filled, [0.5, 0.2, 0.7])
    assert result.diverged == 2
    assert (result.k, result.curve, result.interval) == (expected.k, expected.curve, expected.interval)


@pytest.mark.parametrize("times", [1, 2])
def test_a_known_multiple_is_found_again(times):
    # The other arm is random search with `times` as many fresh members: the ratio is `times`, up to noise.
    generator = np.random.default_rng(2)
    seeds, size, studies = 24, 8, 80
    logarithms, covered = [], 0
    for _ in range(studies):
        pool = generator.normal(size=(seeds, size))
        values = generator.normal(size=(seeds, size * times)).max(axis=1)
        result = budget_equivalence(pool.tolist(), values.tolist())
        logarithms.append(math.log(result.ratio / times))
        ends = (result.interval.low or 0.0, INF if result.interval.high is None else result.interval.high)
        covered += ends[0] <= times <= ends[1]
    error = np.std(logarithms) / math.sqrt(studies)
    assert error < 0.05
    assert abs(np.mean(logarithms)) < 3.5 * error
    # A percentile interval covers less than its nominal .95.
    assert covered >= 0.85 * studies


def test_the_order_of_the_seeds_does_not_matter():
    generator = np.random.default_rng(3)
    pool, values = generator.normal(size=(9, 6)), generator.normal(1, 0.3, size=9)
    order = generator.permutation(9)
    plain = budget_equivalence(pool.tolist(), values.tolist())
    assert plain.interval.low < plain.ratio
    assert budget_equivalence(pool[order][:, ::-1].tolist(), values[order].tolist()) == plain
    assert budget_equivalence(pool.tolist(), values.tolist()) == plain


def test_members_and_value_of_a_seed_are_resampled_together():
    # Where a lucky seed lifts both sides, the multiple is surer than where it lifts one and another seed the other.
    luck, members = np.linspace(0, 1, 12), np.linspace(-1, 1, 10)
    pool, values = (luck[:, None] + members).tolist(), luck + 0.6
    together, apart = (budget_equivalence(pool, list(order)) for order in (values, values[::-1]))
    assert together.ratio == apart.ratio
    widths = [result.interval.high - result.interval.low for result in (together, apart)]
    assert widths[0] < 0.6 * widths[1]
    surer = budget_equivalence(pool, values.tolist(), alpha=0.5).interval
    assert together.interval.low < surer.low < together.ratio < surer.high < together.interval.high


@settings(max_examples=cases(7))
@given(st.integers(0, 1000), st.sampled_from([0.001, 0.5, 3.0, 1e6]), st.sampled_from([-100.0, 0.0, 0.3, 1e3]))
def test_shift_and_scale(seed, scale, shift):
    generator = np.random.default_rng(seed)
    pool, values = generator.normal(size=(5, 6)), generator.normal(0.8, 0.5, size=5)
    plain = budget_equivalence(pool.tolist(), values.tolist())
    moved = budget_equivalence((scale * pool + shift).tolist(), (scale * values + shift).tolist())
    assert moved.curve == pytest.approx([scale * value + shift for value in plain.curve], rel=1e-9, abs=1e-9 * scale)
    assert (moved.more_than, moved.less_than) == (plain.more_than, plain.less_than)
    assert moved.ratio == pytest.approx(plain.ratio, rel=1e-6)
    for ours, theirs in ((moved.interval.low, plain.interval.low), (moved.interval.high, plain.interval.high)):
        assert ours == (None if theirs is None else pytest.approx(theirs, rel=1e-6))


@settings(max_examples=cases(7))
@given(st.integers(0, 1000))
def test_a_better_arm_is_worth_more(seed):
    generator = np.random.default_rng(seed)
    pool, values = generator.normal(size=(4, 6)), generator.normal(0.5, 0.5, size=4)
    results = [budget_equivalence(pool.tolist(), (values + gain).tolist()) for gain in (0.0, 0.2, 0.4, 5.0)]
    assert all(before.k <= after.k for before, after in itertools.pairwise(results))
    assert results[-1].more_than
    assert all(json.loads(json.dumps(asdict(result), allow_nan=False))["k"] == result.k for result in results)


@pytest.mark.parametrize(
    ("pool", "values", "message"),
    [
        ([], [], "pool: is empty"),
        ([[1.0, 2.0], [1.0]], [1.0, 1.0], r"same number of members.*\[2, 1\]"),
        ([[], []], [1.0, 1.0], "same number of members"),
        ([[1.0, 2.0]], [1.0, 2.0], "2 values for the 1 seeds"),
        ([[NAN, -INF]], [1.0], "no finite score among 2 members"),
        ([[1.0, INF]], [1.0], "pool: holds inf"),
        ([[1.0, 2.0], [1.0, 2.0]], [1.0, INF], "values: entry 1 is inf"),
    ],
)
def test_bad_pools_are_refused(pool, values, message):
    with pytest.raises(ValueError, match=message):
        budget_equivalence(pool, values)


@pytest.mark.parametrize("alpha", [0.0, 1.0, NAN])
def test_bad_alpha_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha"):
        budget_equivalence([[1.0, 2.0, 3.0]], [1.0], alpha=alpha)
