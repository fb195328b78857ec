"""Several arms on one task: every pair is the paired comparison, Holm over them, Friedman beside them."""

import itertools
import math
import time
import warnings

import numpy as np
import pytest
from helpers import cases
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from hpo.statistics import compare_many, compare_paired, friedman

ARMS = {
    "random": [0.30, 0.31, 0.29, 0.33, 0.32, 0.30, 0.28, 0.31],
    "pbt": [0.28, 0.27, 0.28, 0.30, 0.31, 0.26, 0.27, 0.30],
    "asha": [0.29, 0.31, 0.30, 0.32, 0.30, 0.29, 0.28, 0.30],
    "bohb": [0.31, 0.30, 0.28, 0.33, 0.31, 0.31, 0.27, 0.29],
}

tables = st.tuples(st.integers(1, 5), st.integers(2, 4)).flatmap(
    lambda shape: st.lists(
        st.lists(st.integers(0, 30), min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0]
    )
)


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def arms_of(table):
    """Return the columns of a table of seeds by arms."""
    return {f"arm {i}": list(column) for i, column in enumerate(zip(*table, strict=True))}


def p_holm(pairs):
    """Return Holm's p values: the i-th smallest of m is multiplied by m - i + 1, and none falls below the one before."""
    order = sorted(range(len(pairs)), key=lambda i: pairs[i].p_sign_flip)
    adjusted, highest = [0.0] * len(pairs), 0.0
    for place, i in enumerate(order):
        highest = max(highest, min(1.0, (len(pairs) - place) * pairs[i].p_sign_flip))
        adjusted[i] = highest
    return adjusted


@pytest.mark.parametrize("larger_is_better", [False, True])
def test_every_pair_is_the_paired_comparison(larger_is_better):
    result = compare_many(ARMS, larger_is_better=larger_is_better)
    assert [(pair.a, pair.b) for pair in result.pairs] == list(itertools.combinations(ARMS, 2))
    for pair in result.pairs:
        alone = compare_paired(ARMS[pair.a], ARMS[pair.b])
        assert (pair.mean, pair.p_sign_flip) == (alone.mean, alone.p_sign_flip)
    assert [pair.p_holm for pair in result.pairs] == pytest.approx(p_holm(result.pairs), rel=1e-12)


def test_friedman_over_the_seeds():
    result = compare_many(ARMS, larger_is_better=True)
    table = np.column_stack(list(ARMS.values()))
    assert result.friedman == friedman(table, larger_is_better=True)
    assert result.friedman.statistic == pytest.approx(stats.friedmanchisquare(*ARMS.values()).statistic, rel=1e-10)
    assert (result.labels, result.n, result.mean_ranks) == (tuple(ARMS), 8, result.friedman.mean_ranks)
    assert result.alpha == 0.05


@settings(max_examples=cases(5))
@given(tables, st.randoms(use_true_random=False))
def test_holm_is_over_all_pairs_and_the_order_of_seeds_and_arms_changes_nothing(table, random):
    arms = arms_of(table)
    names, rows = list(arms), list(range(len(table)))
    random.shuffle(names)
    random.shuffle(rows)
    plain = compare_many(arms)
    adjusted = [pair.p_holm for pair in plain.pairs]
    assert adjusted == pytest.approx(p_holm(plain.pairs), rel=1e-12)
    assert adjusted == pytest.approx(multipletests([pair.p_sign_flip for pair in plain.pairs], method="holm")[1])
    assert len(plain.pairs) == math.comb(len(arms), 2)
    shuffled = compare_many({name: [arms[name][row] for row in rows] for name in names})
    assert dict(zip(shuffled.labels, shuffled.mean_ranks, strict=True)) == dict(
        zip(plain.labels, plain.mean_ranks, strict=True)
    )
    assert shuffled.friedman.p == pytest.approx(plain.friedman.p, rel=1e-12)
    signed = {(pair.a, pair.b): pair for pair in plain.pairs}
    for pair in shuffled.pairs:
        same = signed.get((pair.a, pair.b))
        other = signed.get((pair.b, pair.a))
        expected = same.mean if same is not None else -other.mean
        found = same or other
        assert (pair.mean, pair.p_sign_flip, pair.p_holm) == (expected, found.p_sign_flip, found.p_holm)


@settings(max_examples=cases(5))
@given(tables)
def test_the_other_direction_turns_ranks_and_means_round(table):
    arms = arms_of(table)
    small = compare_many(arms)
    large = compare_many({name: [-value for value in column] for name, column in arms.items()}, larger_is_better=True)
    assert large.mean_ranks == small.mean_ranks
    assert [pair.mean for pair in large.pairs] == [-pair.mean for pair in small.pairs]
    assert [pair.p_holm for pair in large.pairs] == [pair.p_holm for pair in small.pairs]


def test_two_arms_are_the_paired_comparison():
    two = {name: ARMS[name] for name in ("random", "pbt")}
    result = compare_many(two)
    alone = compare_paired(ARMS["random"], ARMS["pbt"])
    assert len(result.pairs) == 1
    assert (result.pairs[0].p_sign_flip, result.pairs[0].p_holm) == (alone.p_sign_flip, alone.p_sign_flip)


def test_counts_decide_the_p_and_the_values_the_means():
    generator = np.random.default_rng(3)
    counts = {name: generator.integers(300, 330, size=25) for name in ("a", "b", "c")}
    rates = {name: 1 - errors / 10_000 for name, errors in counts.items()}
    with_counts, without = compare_many(rates, counts=counts), compare_many(rates)
    for pair, plain in zip(with_counts.pairs, without.pairs, strict=True):
        assert pair.mean == pytest.approx(plain.mean, rel=1e-9)
        assert pair.p_sign_flip == compare_paired(counts[pair.a], counts[pair.b]).p_sign_flip
        # More than twenty float pairs are resampled; the counts are exact.
        assert pair.p_sign_flip != plain.p_sign_flip
        assert pair.p_sign_flip == pytest.approx(plain.p_sign_flip, abs=0.01)
    assert [pair.p_holm for pair in with_counts.pairs] == pytest.approx(p_holm(with_counts.pairs), rel=1e-12)
    assert with_counts.friedman == without.friedman


def test_arms_computed_in_two_ways_share_their_rank():
    """Fault 3: .1 and 1 - .9 are one value, and share a rank; error counts decide ties where there are any."""
    arms = {"a": [0.1] * 6, "b": [1 - 0.9] * 6, "c": [0.3] * 6}
    result = compare_many(arms)
    assert result.mean_ranks == result.friedman.mean_ranks == (1.5, 1.5, 3.0)
    assert [pair.p_sign_flip for pair in result.pairs] == [1.0, 2 / 64, 2 / 64]


@pytest.mark.parametrize("kind", ["errors", "accuracies"])
def test_counts_decide_the_ranks(kind):
    """Fault 3: of a hundred thousand million examples, one more error is a difference, though the rates tie."""
    counts = {"a": [5, 7, 9], "b": [6, 7, 10], "c": [4, 4, 9]}
    rates = {name: [count / 10**11 + 0.25 for count in column] for name, column in counts.items()}
    accuracies = {name: [1 - rate for rate in column] for name, column in rates.items()}
    values = rates if kind == "errors" else accuracies
    assert compare_many(values).mean_ranks == (2.0, 2.0, 2.0)
    result = compare_many(values, counts=counts, larger_is_better=kind == "accuracies")
    assert result.mean_ranks == compare_many(counts).mean_ranks == pytest.approx((6 / 3, 8.5 / 3, 3.5 / 3))


def test_thirty_arms_share_the_drawn_patterns():
    """Fault 20: 435 pairs of arms share the patterns that are drawn."""
    generator = np.random.default_rng(30)
    arms = {str(i): generator.normal(size=24) for i in range(30)}

    def seconds(chosen):
        best = math.inf
        for _ in range(3):
            start = time.process_time()
            compare_many({name: arms[name] for name in chosen})
            best = min(best, time.process_time() - start)
        return best

    # 3 pairs and 435; each alone would take 145 times as long. Half of that is far above what shared patterns take.
    assert seconds(list(arms)) < 145 / 2 * seconds(["0", "1", "2"])


def test_arms_that_are_all_the_same():
    result = compare_many(dict.fromkeys("abc", ARMS["pbt"]))
    assert result.mean_ranks == (2.0, 2.0, 2.0)
    assert (result.friedman.p, result.friedman.statistic) == (1.0, None)
    for pair in result.pairs:
        assert (pair.mean, pair.p_sign_flip, pair.p_holm) == (0.0, 1.0, 1.0)
        assert math.copysign(1, pair.mean) == 1


def test_one_seed():
    result = compare_many({"a": [1.0], "b": [2.0], "c": [0.5]})
    assert (result.n, result.mean_ranks) == (1, (2.0, 3.0, 1.0))
    assert {pair.p_holm for pair in result.pairs} == {1.0}


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ({"a": [1, 2]}, {}, "2 or more arms, got 1"),
        ({}, {}, "2 or more arms, got 0"),
        ({"a": [1, 2], "b": [1, 2, 3]}, {}, "unequal numbers: {'a': 2, 'b': 3}"),
        ({"a": [], "b": []}, {}, "at least 1 block"),
        ({"a": [1, 2], "b": [1, math.nan]}, {}, "block 1, column 1 is nan"),
        ({"a": [1, 2], "b": ["1", "2"]}, {}, "values of 'b': must be real numbers"),
        ({"a": [1, 2], "b": [[1], [2]]}, {}, "values of 'b': must be real numbers in one dimension"),
        ({"a": [1, 2], "b": [2, 1]}, {"alpha": 1.0}, "alpha"),
        ({"a": [1, 2], "b": [2, 1]}, {"counts": {"a": [1, 2]}}, "counts: .* a, b; got a"),
        ({"a": [1, 2], "b": [2, 1]}, {"counts": {"a": [1.0, 2.0], "b": [2, 1]}}, "must be integers"),
        ({"a": [1, 2], "b": [2, 1]}, {"counts": {"a": [1, 2], "b": [2, 7]}}, "not proportional"),
        ({"a": [1, 2], "b": [2, 1]}, {"counts": {"a": [1, 2], "b": [2]}}, "1 counts for 2 pairs"),
    ],
)
def test_bad_input_is_refused(values, options, message):
    with pytest.raises(ValueError, match=message):
        compare_many(values, **options)
