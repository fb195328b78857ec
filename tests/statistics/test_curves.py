"""Curves along the budget: the max-T band against brute force and its one-point case, ranks, time to target."""

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
from scipy import stats
from statsmodels.duration.survfunc import SurvfuncRight

from hpo.statistics.curves import max_t_band, mean_ranks, time_to_target
from hpo.statistics.paired import compare_paired

NAN, INF = math.nan, math.inf


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@st.composite
def integer_curves(draw, max_n=7):
    n, points = draw(st.integers(1, max_n)), draw(st.integers(1, 4))
    row = st.lists(st.integers(-9, 9), min_size=points, max_size=points)
    return tuple(np.array(draw(st.lists(row, min_size=n, max_size=n)), dtype=float) for _ in range(2))


def brute_force(difference):
    """Step-down max-T p values in whole numbers: r^2 compared as fractions with a common denominator."""
    n, points = difference.shape
    whole = [[int(value) for value in row] for row in difference]
    squares = [sum(row[t] ** 2 for row in whole) for t in range(points)]

    def statistics(signs):
        # sum^2 / squares, over the product of all squares that are not 0.
        sums = [sum(sign * row[t] for sign, row in zip(signs, whole, strict=True)) for t in range(points)]
        product = math.prod(square for square in squares if square)
        return [total**2 * (product // square) if square else 0 for total, square in zip(sums, squares, strict=True)]

    observed = statistics([1] * n)
    order = sorted(range(points), key=lambda t: -observed[t])
    patterns = [statistics(signs) for signs in itertools.product((1, -1), repeat=n)]
    p, running = [0.0] * points, 0.0
    for place, t in enumerate(order):
        rest = order[place:]
        hits = sum(max(pattern[u] for u in rest) >= observed[t] for pattern in patterns)
        running = max(running, hits / len(patterns))
        p[t] = running
    return tuple(p)


# The band


@settings(max_examples=cases(20))
@given(integer_curves())
def test_step_down_p_against_brute_force(pair):
    a, b = pair
    assert max_t_band(a, b).p == brute_force(b - a)
    # Tenths are not exact in binary: ties must survive it.
    assert max_t_band(a / 10, b / 10).p == brute_force(b - a)


@given(integer_curves(max_n=9), st.sampled_from([1.0, 0.1]))
def test_one_point_is_the_sign_flip_test(pair, unit):
    a, b = (array[:, 0] * unit for array in pair)
    paired = compare_paired(a, b)
    band = max_t_band(a[:, None], b[:, None])
    assert band.p == (paired.p_sign_flip,)
    assert band.mean == (pytest.approx(paired.mean, abs=1e-14),)
    assert band.exact


def test_one_point_is_the_sign_flip_test_above_enumeration():
    generator = np.random.default_rng(1)
    a, b = generator.normal(size=25), generator.normal(0.4, size=25)
    band = max_t_band(a[:, None], b[:, None])
    assert not band.exact
    assert band.p == (compare_paired(a, b).p_sign_flip,)


def test_twenty_pairs_are_enumerated():
    generator = np.random.default_rng(2)
    a, b = generator.normal(size=20), generator.normal(0.5, size=20)
    band = max_t_band(np.tile(a[:, None], 3), np.tile(b[:, None], 3))
    # Three copies of one column are one test.
    assert band.exact
    assert band.p == (compare_paired(a, b).p_sign_flip,) * 3


def test_better_from_by_hand():
    a = np.zeros((6, 5))
    # No pattern of signs brings r of `noise` above 22 / sqrt(6 * 166) = .70; that of 1 ... 6 is .90, of the others more.
    noise = np.array([9, -1, 1, -1, 1, -9])
    b = np.column_stack([noise, np.arange(1, 7), 2 * noise, np.arange(2, 8), np.arange(3, 9)]).astype(float)
    band = max_t_band(a, b)
    # Only the pattern in which all six agree, and its mirror image, reach the second, fourth and fifth column.
    assert band.p[1] == band.p[3] == band.p[4] == 2 / 64
    assert band.p[0] == band.p[2] == 1.0
    assert (band.better_from, band.worse_from) == (3, None)
    mirrored = max_t_band(b, a)
    assert (mirrored.better_from, mirrored.worse_from) == (None, 3)
    assert max_t_band(a[:, :3], b[:, :3]).better_from is None
    assert max_t_band(a[:, 3:], b[:, 3:]).better_from == 0


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_up_to_five_pairs_show_nothing(n):
    b = np.linspace(1, 2, n * 3).reshape(n, 3)
    band = max_t_band(np.zeros((n, 3)), b)
    assert min(band.p) == (2 / 2**n if n > 1 else 1.0) > 0.05
    assert (band.better_from, band.worse_from, band.critical_value) == (None, None, None)
    assert band.low == band.high == (None,) * 3


def test_critical_value_of_six_pairs_by_hand():
    # One of 32 patterns may be above: the second largest |sum| of the residuals, -2.5 ... 2.5, is 9 - 1 = 8: r^2 = 64 / (6 * 17.5).
    d = np.arange(1.0, 7.0)
    band = max_t_band(np.zeros((6, 1)), d[:, None])
    t = math.sqrt(5 * 64 / (6 * 17.5 - 64))
    assert band.critical_value == pytest.approx(t, rel=1e-12)
    half_width = t * d.std(ddof=1) / math.sqrt(6)
    assert band.low[0] == pytest.approx(3.5 - half_width, rel=1e-12)
    assert band.high[0] == pytest.approx(3.5 + half_width, rel=1e-12)


@settings(max_examples=cases(10))
@given(st.integers(0, 10**6), st.sampled_from([6, 9]), st.lists(st.integers(-8, 8), min_size=4, max_size=4))
def test_an_effect_moves_the_band_and_does_not_narrow_it(seed, n, effect):
    noise = np.random.default_rng(seed).integers(-64, 65, (n, 4)).astype(float)
    plain, moved = max_t_band(np.zeros((n, 4)), noise), max_t_band(np.zeros((n, 4)), noise + 64.0 * np.array(effect))
    assert moved.critical_value == pytest.approx(plain.critical_value, rel=1e-9)
    for ends in ("low", "high"):
        expected = np.array(getattr(plain, ends)) + 64.0 * np.array(effect)
        assert getattr(moved, ends) == pytest.approx(expected.tolist(), rel=1e-9, abs=1e-9)


@settings(max_examples=cases(8))
@given(integer_curves(), st.integers(1, 9))
def test_several_arms_share_the_level(pair, family):
    """Fault 11: arms x budgets are one family, so that the band of each of m arms has the level alpha / m."""
    shared, alone = max_t_band(*pair, alpha=0.3, family=family), max_t_band(*pair, alpha=0.3 / family)
    assert shared.family == family
    assert (shared.p, shared.low, shared.high) == (alone.p, alone.low, alone.high)
    assert (shared.better_from, shared.worse_from) == (alone.better_from, alone.worse_from)
    assert shared.confidence == alone.confidence == 1 - 0.3 / family


def test_familywise_error_of_correlated_curves():
    generator = np.random.default_rng(3)
    studies, n, points = 1000, 8, 12
    false, false_without_adjustment = 0, 0
    for _ in range(studies):
        a, b = np.cumsum(generator.normal(size=(2, n, points)), axis=2)
        band = max_t_band(a, b)
        false += min(band.p) <= 0.05
        false_without_adjustment += stats.ttest_rel(a, b).pvalue.min() <= 0.05
    # Attainable size: 6 of 128 patterns. 99.9% binomial band.
    size = 6 / 128
    assert abs(false / studies - size) < 3.29 * math.sqrt(size * (1 - size) / studies)
    assert false_without_adjustment / studies > 0.1


@pytest.mark.parametrize("n", [6, 10])
@pytest.mark.parametrize("largest", [2.0, 8.0])
def test_simultaneous_coverage(n, largest):
    generator = np.random.default_rng(4)
    truth = np.array([0.0, 0.25, 0.5, 1.0]) * largest
    covered = 0
    for _ in range(1000):
        noise = generator.normal(size=(n, 1)) + generator.normal(size=(n, 4))
        band = max_t_band(np.zeros((n, 4)), truth + noise)
        covered += bool(np.all((band.low <= truth) & (truth <= band.high)))
    assert abs(covered / 1000 - 0.95) < 3.29 * math.sqrt(0.95 * 0.05 / 1000)


@given(integer_curves(), st.randoms(use_true_random=False))
def test_order_and_direction_of_the_band(pair, random):
    a, b = pair[0] / 7, pair[1] / 7
    plain, swapped = max_t_band(a, b), max_t_band(b, a)
    rows = list(range(len(a)))
    random.shuffle(rows)
    assert max_t_band(a[rows], b[rows]) == plain
    assert (swapped.p, swapped.critical_value) == (plain.p, plain.critical_value)
    assert swapped.mean == tuple(-value for value in plain.mean)
    assert (swapped.better_from, swapped.worse_from) == (plain.worse_from, plain.better_from)
    assert asdict(plain)["p"] == tuple(json.loads(json.dumps(asdict(plain), allow_nan=False))["p"])


def test_order_of_resampled_pairs():
    generator = np.random.default_rng(5)
    a, b = generator.normal(size=(2, 24, 3))
    rows = generator.permutation(24)
    assert max_t_band(a[rows], b[rows]) == max_t_band(a, b)
    assert max_t_band(b, a).p == max_t_band(a, b).p


@given(integer_curves(), st.integers(-900, 900))
def test_a_power_of_two_scales_the_band(pair, exponent):
    a, b = pair
    plain, scaled = max_t_band(a, b), max_t_band(np.ldexp(a, exponent), np.ldexp(b, exponent))
    assert (scaled.p, scaled.critical_value) == (plain.p, plain.critical_value)
    assert scaled.mean == tuple(math.ldexp(value, exponent) for value in plain.mean)


def test_identical_curves():
    curve = np.random.default_rng(6).normal(size=(8, 3))
    band = max_t_band(curve, curve)
    assert band.p == (1.0,) * 3
    assert band.mean == (0.0,) * 3
    assert band.better_from is band.worse_from is None
    # Every r is 0, so that 0 is the critical value and the intervals are points.
    assert band.low == band.high == (0.0,) * 3


def test_no_result_is_never_better():
    generator = np.random.default_rng(7)
    a = generator.normal(size=(8, 3))
    b = a + 1.0
    b[:, 0] = NAN
    a[:3, 1] = -INF
    band = max_t_band(a, b)
    assert band.mean[0] < 0
    assert band.mean[1] > 0
    assert band.replaced == (8, 3, 0)
    assert (band.better_from, band.worse_from) == (1, None)
    nothing = max_t_band(np.full((6, 2), NAN), np.full((6, 2), -INF))
    assert (nothing.p, nothing.mean, nothing.replaced) == ((1.0, 1.0), (0.0, 0.0), (12, 12))


@given(integer_curves(), st.integers(0, 3))
def test_losing_a_result_never_helps(pair, point):
    # One more pair holds the worst value of all, so that losing another one does not change what the worst is.
    a, b = (np.vstack([array, np.full(array.shape[1], -10.0)]) for array in pair)
    point %= a.shape[1]
    without = b.copy()
    without[0, point] = NAN
    assert max_t_band(a, without).mean[point] <= max_t_band(a, b).mean[point]
    assert max_t_band(without, a).mean[point] >= max_t_band(b, a).mean[point]


# Ranks


def test_mean_ranks_by_hand():
    curves = {
        "a": [[0.1, 0.9], [0.3, NAN]],
        "b": [[0.1, 0.8], [0.2, -INF]],
        "c": [[NAN, 0.7], [0.1, 0.5]],
    }
    # First budget: 1.5, 1.5, 3 and 1, 2, 3. Second: 1, 2, 3 and 2.5, 2.5, 1.
    assert mean_ranks(curves) == {"a": (1.25, 1.75), "b": (1.75, 2.25), "c": (3.0, 2.0)}


@given(integer_curves())
def test_ranks_share_a_constant_sum(pair):
    ranks = mean_ranks({"x": pair[0], "y": pair[1], "z": pair[0]})
    assert np.sum(list(ranks.values()), axis=0) == pytest.approx(np.full(pair[0].shape[1], 6.0))
    assert ranks["x"] == ranks["z"]
    assert mean_ranks({"x": pair[0]}) == {"x": (1.0,) * pair[0].shape[1]}


# Time to target


def test_time_to_target_by_hand():
    curve = [[0.5, 0.8, 0.9], [0.8, 0.8, 0.8], [NAN, 0.5, 0.85], [0.1, 0.2, 0.3]]
    result = time_to_target(curve, 0.8, [10, 20, 40])
    assert result.times == (20.0, 10.0, 40.0, None)
    assert (result.n, result.reached, result.horizon) == (4, 3, 40.0)
    # Half of four seeds by 20.
    assert result.median == 20.0
    assert result.restricted_mean == (10 + 20 + 40 + 40) / 4


@pytest.mark.parametrize(("target", "median"), [(0.05, 1.0), (0.35, 2.0), (0.65, None), (9.0, None)])
def test_median_is_undefined_where_fewer_than_half_arrive(target, median):
    curve = [[0.1, 0.4], [0.2, 0.6], [0.1, 0.3], [0.1, 0.7], [0.1, 0.2]]
    assert time_to_target(curve, target, [1, 2]).median == median


@settings(max_examples=cases(15))
@given(st.lists(st.lists(st.integers(0, 9), min_size=5, max_size=5), min_size=1, max_size=9), st.integers(0, 10))
def test_median_and_mean_are_those_of_kaplan_and_meier(rows, target):
    curve, budgets = np.maximum.accumulate(np.array(rows), axis=1), np.array([1.0, 2.0, 4.0, 7.0, 8.0])
    result = time_to_target(curve, target, budgets)
    observed = [8.0 if time is None else time for time in result.times]
    estimate = SurvfuncRight(observed, [time is not None for time in result.times])
    early = estimate.surv_times[estimate.surv_prob <= 0.5 + 1e-12]
    assert result.median == (early[0] if len(early) else None)
    steps = np.concatenate([[0.0], estimate.surv_times, [8.0]])
    assert result.restricted_mean == pytest.approx(np.diff(steps) @ np.concatenate([[1.0], estimate.surv_prob]))
    assert asdict(result)["times"] == tuple(json.loads(json.dumps(asdict(result), allow_nan=False))["times"])


# Bad input


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([1.0], [1.0], r"a: must have the shape \(seeds, budgets\)"),
        ([[1.0]], [[1.0, 2.0]], r"a has the shape \(1, 1\) and b \(1, 2\)"),
        (np.ones((0, 2)), np.ones((0, 2)), "a: is empty"),
        ([[1.0]], [[INF]], r"b: entry \(0, 0\) is inf"),
        ([["x"]], [[1.0]], "a: must hold real numbers"),
        ([[-1.5e308]], [[1.5e308]], "b - a"),
    ],
)
def test_bad_curves_are_refused(a, b, message):
    with pytest.raises(ValueError, match=message):
        max_t_band(a, b)


@pytest.mark.parametrize("alpha", [0.0, 1.0, NAN])
def test_bad_alpha_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha"):
        max_t_band([[1.0]], [[2.0]], alpha=alpha)


def test_a_family_has_an_arm():
    with pytest.raises(ValueError, match="family must be 1 or more arms"):
        max_t_band([[1.0]], [[2.0]], family=0)


def test_bad_arms_are_refused():
    with pytest.raises(ValueError, match="at least one arm"):
        mean_ranks({})
    with pytest.raises(ValueError, match="equal seeds"):
        mean_ranks({"a": [[1.0]], "b": [[1.0, 2.0]]})
    with pytest.raises(ValueError, match=r"curves\['b'\]: entry"):
        mean_ranks({"a": [[1.0]], "b": [[INF]]})


@pytest.mark.parametrize(
    ("target", "budgets", "message"),
    [
        (0.5, [1.0], r"budgets: must have the shape \(2,\)"),
        (0.5, [1.0, 1.0], "increasing"),
        (0.5, [-1.0, 1.0], "0 or more"),
        (0.5, [1.0, NAN], "finite"),
        (NAN, [1.0, 2.0], "target must be finite"),
    ],
)
def test_bad_targets_are_refused(target, budgets, message):
    with pytest.raises(ValueError, match=message):
        time_to_target([[0.1, 0.2]], target, budgets)
