"""The sign e-process by hand and by enumeration, its error rates on simulated studies, and the confidence sequence."""

import dataclasses
import itertools
import math
import time
import warnings

import numpy as np
import pytest
from helpers import cases
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from hpo.statistics import (
    Interval,
    anytime_test,
    compare_paired,
    confidence_sequence,
    log_sign_e_process,
    sign_e_process,
)
from hpo.statistics.anytime import largest_log_e

BETS = [side * bet for bet in (0.25, 0.5, 1, 1.5, 2, 3) for side in (1, -1)]

few_integers = st.lists(st.integers(-30, 30), min_size=1, max_size=12)


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def by_hand(differences) -> list[float]:
    """Return E_1, ..., E_n from the formula as it is written."""
    products, largest, path = dict.fromkeys(BETS, 1.0), 0.0, []
    for d in differences:
        largest = max(largest, abs(d))
        z = d / largest if largest else 0.0
        for bet in BETS:
            products[bet] *= math.exp(bet * z) / math.cosh(bet * z)
        path.append(math.fsum(products.values()) / len(BETS))
    return path


# The e-process


def test_two_pairs_by_hand():
    def mean_over_bets(of_bet):
        return sum(of_bet(bet) for bet in BETS) / len(BETS)

    # cosh(2 b) / cosh(b)**2 = 1 + tanh(b)**2, cosh(0) / cosh(b)**2, and cosh(b / 2) / (cosh(b) cosh(b / 2)) = 1 / cosh(b)
    assert sign_e_process([5, 5]) == pytest.approx((1, mean_over_bets(lambda b: 1 + math.tanh(b) ** 2)), rel=1e-14)
    assert sign_e_process([5, -5]) == pytest.approx((1, mean_over_bets(lambda b: math.cosh(b) ** -2)), rel=1e-14)
    assert sign_e_process([2, -1]) == pytest.approx((1, mean_over_bets(lambda b: 1 / math.cosh(b))), rel=1e-14)
    assert sign_e_process([0, 5]) == (1, pytest.approx(1, rel=1e-14))


@given(few_integers)
def test_it_is_the_formula(differences):
    expected = by_hand(differences)
    assert sign_e_process(differences) == pytest.approx(expected, rel=1e-12)
    assert log_sign_e_process(differences) == pytest.approx([math.log(e) for e in expected], abs=1e-11)


@pytest.mark.parametrize("sizes", [[3, 1, 4, 1, 5, 9, 2, 6, 5, 3], [0, 0, 2, 0.1, 100, 1e-9, 7], [1, 1, 1], [8]])
def test_it_is_a_martingale_under_every_pattern_of_signs(sizes):
    n = len(sizes)
    paths = np.array([sign_e_process(np.array(sizes) * signs) for signs in itertools.product((1, -1), repeat=n)])
    assert paths.mean(axis=0) == pytest.approx(np.ones(n), rel=1e-12)
    for k in range(1, n):
        # The patterns with the same first k signs stand together: the mean of what may come is what is there.
        for group in paths.reshape(2**k, -1, n):
            assert group[:, k].mean() == pytest.approx(group[0, k - 1], rel=1e-12)


@pytest.mark.parametrize("sizes", [[1] * 12, [2, 5, 1, 1, 3, 8, 2, 2, 6, 4, 9, 7]])
def test_few_patterns_ever_reach_the_threshold(sizes):
    paths = [log_sign_e_process(np.array(sizes) * signs) for signs in itertools.product((1, -1), repeat=12)]
    highest = np.exp(np.max(paths, axis=1))
    for alpha in (0.05, 0.1, 0.5):
        assert 0 < np.mean(highest >= 1 / alpha) <= alpha


def test_a_factor_is_never_revised():
    differences = [3, -1, 4, 1, -5, 9, 2, 6]
    whole = sign_e_process(differences)
    for n in range(1, 9):
        assert sign_e_process(differences[:n]) == whole[:n]


def test_the_order_of_the_pairs_matters():
    # The later 1 counts as half a 2; the earlier one counted in full.
    assert sign_e_process([1, 2])[1] == sign_e_process([5, 5])[1] > sign_e_process([2, 1])[1]
    late, early = [1, 2, 4, 8, 16, 32, 64], [64, 32, 16, 8, 4, 2, 1]
    assert anytime_test(late).decided_at == 7
    assert anytime_test(early).decided_at is None


def test_values_too_large_for_a_float():
    assert sign_e_process(np.ones(3000))[-1] == pytest.approx(np.finfo(float).max, rel=1e-12)
    # In the end all is made by the bet of +3: a twelfth of exp(3 n) / cosh(3)**n.
    log_e = log_sign_e_process(np.full(3000, 0.5))[-1]
    assert log_e == pytest.approx(3000 * (3 - math.log(math.cosh(3))) - math.log(12), rel=1e-9)
    assert anytime_test([1e308, -1e308, 1.5e308]).mean == 5e307


# The test


def test_equal_differences_are_decided_as_soon_as_may_be():
    # The mean of cosh(b n) / cosh(b)**n over the bets: 17.7, 33.4 and 63.8 for n = 6, 7, 8.
    e = [np.mean([math.cosh(b * n) / math.cosh(b) ** n for b in BETS]) for n in range(1, 10)]
    assert sign_e_process([2] * 9) == pytest.approx(e, rel=1e-12)
    for family, threshold, first in ((1, 20, 7), (2, 40, 8), (3, 60, 8), (4, 80, 9)):
        result = anytime_test([2] * 9, family=family)
        assert result.threshold == pytest.approx(threshold)
        assert result.decided_at == first == next(n for n in range(1, 10) if e[n - 1] >= threshold)
        assert (result.counted, result.mean, result.log_e) == (first, 2.0, result.path[first - 1])
    assert anytime_test([2] * 6).decided_at is None
    assert anytime_test([2] * 6, alpha=0.06).decided_at == 6


def test_what_comes_after_the_decision_does_not_undo_it():
    decided, later = [1, 2, 3, 4, 5, 6, 7], [-20, -20, -20]
    stopped, result = anytime_test(decided), anytime_test(decided + later)
    assert (result.n, result.counted, result.decided_at) == (10, 7, 7)
    assert result.path[-1] < math.log(20) <= result.path[6] == result.log_e
    for name in ("counted", "mean", "log_e", "p", "decided_at"):
        assert getattr(result, name) == getattr(stopped, name)
    assert dataclasses.astuple(result.interval) == pytest.approx(dataclasses.astuple(stopped.interval), rel=1e-12)
    assert (result.mean, result.p) == (4.0, pytest.approx(math.exp(-result.path[6])))


def test_what_is_shown_is_what_decided():
    """Fault 15: beside two undecided arms, E after 12 pairs (.88) stood under "decided after 8", where 60 are needed."""
    result = anytime_test([1.0] * 9 + [-1.0] * 3, family=3)
    assert math.exp(result.path[-1]) == pytest.approx(0.88, abs=0.01)
    assert result.decided_at == result.counted == 8
    assert math.exp(result.log_e) == pytest.approx(63.8, abs=0.05)
    assert math.exp(result.log_e) >= result.threshold == pytest.approx(60)
    assert result.mean == 1.0
    assert result.p <= 0.05 / 3
    assert result.interval == result.intervals[7] == confidence_sequence([1.0] * 8, alpha=0.05 / 3)
    assert 0.0 not in result.interval
    # Those of all arms hold at once: after seven pairs one arm alone would have had an interval.
    assert result.intervals[6] == Interval(None, None)
    assert confidence_sequence([1.0] * 7) != Interval(None, None)


def test_the_confidence_sequence_leaves_0_out_where_the_test_decides():
    generator = np.random.default_rng(15)
    decided = 0
    for _ in range(60):
        result = anytime_test(
            generator.normal(generator.normal(0, 1), 1, size=25), family=int(generator.integers(1, 4))
        )
        if result.decided_at is not None and result.interval is not None:
            decided += 1
            assert 0.0 not in result.interval
            assert (result.interval.low > 0) == (result.mean > 0)
    assert decided > 20


@settings(max_examples=cases(13))
@given(few_integers, st.integers(1, 4), st.sampled_from([0.05, 0.2, 0.6]))
def test_the_numbers_agree_with_each_other(differences, family, alpha):
    result = anytime_test(differences, alpha=alpha, family=family)
    path = log_sign_e_process(differences)
    assert (result.path, result.n) == (path, len(differences))
    assert result.counted == (result.decided_at or result.n)
    assert (result.log_e, result.interval) == (path[result.counted - 1], result.intervals[result.counted - 1])
    assert result.p == pytest.approx(min(1, 1 / max(by_hand(differences[: result.counted]))), rel=1e-12)
    assert (result.decided_at is not None) == (result.p <= alpha / family)
    assert (result.alpha, result.family, result.threshold) == (alpha, family, family / alpha)
    assert result.mean == compare_paired(np.zeros(result.counted), differences[: result.counted]).mean
    if result.decided_at is not None:
        assert result.log_e >= math.log(family / alpha) > max((0, *path[: result.decided_at - 1]))
        # Where E first reaches its threshold the mean cannot lie on the other side of 0 than the signs.
        assert result.mean != 0


def test_a_mean_of_zero_is_zero():
    # The sum of what is already divided is not: it carries the rounding of the thirds.
    assert math.fsum([1 / 3, 2 / 3, -3 / 3]) != 0
    assert anytime_test([1, 2, -3]).mean == 0.0


def mirrored(interval: Interval | None) -> Interval | None:
    if interval is None:
        return None
    low, high = (None if end is None else -end for end in (interval.high, interval.low))
    return Interval(low, high)


@settings(max_examples=cases(8))
@given(few_integers)
def test_swapping_the_arms_mirrors(differences):
    ours, theirs = anytime_test(differences, family=2), anytime_test([-d for d in differences], family=2)
    assert theirs == dataclasses.replace(
        ours,
        mean=-ours.mean,
        interval=mirrored(ours.interval),
        intervals=tuple(mirrored(interval) for interval in ours.intervals),
    )


@settings(max_examples=cases(8))
@given(few_integers, st.integers(-900, 900))
def test_a_power_of_two_scales_means_and_intervals_only(differences, power):
    factor = 2.0**power
    plain = anytime_test(differences)
    scaled = anytime_test([d * factor for d in differences], magnitude=factor)
    assert (scaled.path, scaled.p, scaled.decided_at) == (plain.path, plain.p, plain.decided_at)
    assert scaled.mean == plain.mean * factor
    for ours, theirs in zip(plain.intervals, scaled.intervals, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None and theirs is not None:
            assert theirs == Interval(*(None if end is None else end * factor for end in (ours.low, ours.high)))


@given(few_integers, st.sampled_from([0.001, 0.3, 7.7, 1e5]))
def test_any_factor_changes_nothing_but_the_last_digits(differences, factor):
    scaled = [d * factor for d in differences]
    assert log_sign_e_process(scaled) == pytest.approx(log_sign_e_process(differences), abs=1e-9)


def test_what_rounding_left_of_equal_values_is_a_tie():
    """Fault 1, sibling: eight times what is left of 1 - .9 - .1 has eight times the same sign, and decides nothing."""
    residue = (1 - 0.9) - 0.1
    assert residue == -(2.0**-55)
    result = anytime_test([residue] * 8)
    assert (result.decided_at, result.mean, result.p) == (None, 0.0, 1.0)
    assert result.path == (0.0,) * 8
    mixed = anytime_test([0.01, residue, 0.02, 0.03])
    assert mixed.path == anytime_test([0.01, 0.0, 0.02, 0.03]).path
    # Who knows the values can say how large they are, and that ties are settled already.
    for magnitude in (1e-16, 0.0):
        assert anytime_test([residue] * 8, magnitude=magnitude).decided_at == 7
    assert anytime_test([-1] * 8).decided_at == 7


@pytest.mark.parametrize("n", [9, 40])
def test_what_was_known_after_n_pairs_does_not_depend_on_later_ones(n):
    differences = np.random.default_rng(n).standard_t(3, size=n)
    result = anytime_test(differences)
    for at in (7, n - 1, n):
        alone, among = confidence_sequence(differences[:at]), result.intervals[at - 1]
        assert (among.low, among.high) == pytest.approx((alone.low, alone.high), rel=1e-12)


def test_every_interval_costs_little_more_than_the_last_one():
    """Fault 20: the confidence sequence of 300 pairs is found at all n together, not 300 times."""
    differences = np.random.default_rng(300).normal(0.1, 1.0, size=300)

    def seconds(function):
        times = []
        for _ in range(3):
            start = time.process_time()
            function(differences)
            times.append(time.process_time() - start)
        return min(times)

    assert seconds(anytime_test) < 20 * seconds(confidence_sequence)


def test_no_difference_at_all():
    result = anytime_test([0] * 12)
    assert (result.mean, result.p, result.decided_at, result.counted) == (0.0, 1.0, None, 12)
    assert result.path == pytest.approx([0] * 12, abs=1e-14)
    assert result.interval == Interval(0.0, 0.0)
    assert math.copysign(1, result.interval.low) == 1


def test_the_same_difference_again_and_again():
    result = anytime_test([0.3] * 10)
    assert (result.decided_at, result.mean) == (7, 0.3)
    assert result.interval == Interval(0.3, 0.3)


def test_one_pair():
    for difference in (0, 3, -0.5):
        result = anytime_test([difference])
        assert (result.n, result.mean, result.log_e, result.p) == (1, difference, pytest.approx(0, abs=1e-15), 1.0)
        assert (result.decided_at, result.intervals) == (None, (Interval(None, None),))


@pytest.mark.parametrize(
    ("differences", "options", "message"),
    [
        ([], {}, "differences: is empty"),
        ([[1, 2]], {}, "one-dimensional"),
        ([1.0, math.nan], {}, "entry 1 is nan"),
        ([-math.inf], {}, "entry 0 is -inf"),
        (["1"], {}, "real numbers"),
        ([1, 2], {"alpha": 0.0}, "alpha"),
        ([1, 2], {"alpha": 1.0}, "alpha"),
        ([1, 2], {"alpha": math.nan}, "alpha"),
        ([1, 2], {"family": 0}, "family must be 1 or more arms, got 0"),
    ],
)
def test_bad_input_is_refused(differences, options, message):
    with pytest.raises(ValueError, match=message):
        anytime_test(differences, **options)


@pytest.mark.parametrize("function", [sign_e_process, log_sign_e_process, confidence_sequence])
def test_bad_differences_are_refused_everywhere(function):
    for differences, message in (([], "empty"), ([1.0, math.inf], "entry 1 is inf"), ([[1.0]], "one-dimensional")):
        with pytest.raises(ValueError, match=message):
            function(differences)


def test_bad_levels_and_lengths_are_refused():
    with pytest.raises(ValueError, match="alpha"):
        confidence_sequence([1, 2], alpha=1.5)
    with pytest.raises(ValueError, match="-1"):
        largest_log_e(-1)


# The confidence sequence


def refused(differences, shift, threshold: float = 20) -> bool:
    return by_hand([d - shift for d in differences])[-1] >= threshold


def test_it_is_unbounded_while_nothing_can_be_refused():
    # 17.7 is the most that six pairs can reach, 33.4 seven, 63.8 eight: see above.
    differences = [1, 5, 2, 4, 3, 9, 7, 8, 6]
    assert [math.exp(largest_log_e(n)) for n in (0, 6, 7, 8)] == pytest.approx([1, 17.655, 33.445, 63.786], abs=5e-4)
    result = anytime_test(differences)
    bounded = [interval.low is not None and interval.high is not None for interval in result.intervals]
    assert bounded == [False] * 6 + [True] * 3
    assert result.intervals[5] == Interval(None, None)
    assert anytime_test(differences[:7], family=3).interval == Interval(None, None)
    assert None not in dataclasses.astuple(anytime_test(differences[:8], family=3).interval)
    assert confidence_sequence(differences[:6], alpha=0.06) != Interval(None, None)


DATA = {
    "normal": np.random.default_rng(1).normal(0.4, 1.0, size=14),
    "many": np.random.default_rng(2).standard_t(3, size=60),
    "ties": np.array([1, -2, 0, 3, 3, 1, 1, -1, 2, 2, 0, 1]),
    "as few as can be": np.array([0.3, 0.1, 0.9, 0.2, -0.4, 0.6, 0.5]),
    "one outlier": np.array([0.3, 0.1, 0.9, 0.2, -0.4, 1e5, 0.6, 0.5, 0.1, 0.2]),
    "far from 0": 1000 + np.random.default_rng(3).normal(size=9),
    "sizes far apart": np.array([1e-3, -1.0, 1e4, 30.0, -1e-2, 0.5, 7.0, -2.0, 1e-4, 1.0]),
}


@pytest.mark.parametrize("alpha", [0.05, 0.2])
@pytest.mark.parametrize("name", DATA)
def test_it_holds_the_shifts_that_are_not_refused(name, alpha):
    differences = DATA[name]
    found = confidence_sequence(differences, alpha=alpha)
    # Everything between neighbouring differences is looked at, however far apart they lie, and far beyond them.
    sides = np.array([-1e6, -10, -1, -1e-2, -1e-5]) * np.ptp(differences)
    between = [np.linspace(*ends, 12) for ends in itertools.pairwise(np.unique(differences))]
    for shift in np.concatenate([*between, differences.min() + sides, differences.max() - sides]):
        assert shift in found or refused(differences, shift, 1 / alpha)
    # It is the hull of the set, so that its ends are not refused and what lies beyond them is.
    width = found.high - found.low
    for end, outwards in ((found.low, -1), (found.high, 1)):
        assert not refused(differences, end, (1 + 1e-9) / alpha)
        for step in 1e-6 * width, 0.01 * width, width, 100 * width:
            assert refused(differences, end + outwards * step, 1 / alpha)


def test_an_outlier_hides_no_part_of_it():
    # Half the differences are 0 and half are 1, give or take: 1/2 is the middle, and neither 0 nor 1 is allowed.
    differences = [0, 0.001, 1, 0.999, 0.002, 1.001, 0.998, 0.003, 1.002, 0.004, 0.997, 1.003] * 3
    with_outlier = [*differences, 1e6]
    assert all(refused(with_outlier, shift) for shift in with_outlier)
    assert not refused(with_outlier, 0.5)
    found = confidence_sequence(with_outlier)
    assert found is not None
    assert 0.5 in found
    near = confidence_sequence(differences)
    assert 0 < near.low < found.low < 0.5 < found.high < 1.1


@settings(max_examples=cases(10))
@given(st.lists(st.integers(-9, 9), min_size=7, max_size=12))
def test_no_difference_is_outside_only_where_the_test_refuses_it(differences):
    found = confidence_sequence(differences)
    assert found is not None
    assert 0 in found or refused(differences, 0)
    assert not refused(differences, found.low, 20 + 1e-9)
    assert not refused(differences, found.high, 20 + 1e-9)


def test_it_is_empty_where_no_centre_explains_the_order():
    differences = [0] * 40 + [1] * 7
    for shift in (-1e6, -1, -1e-9, 0, 1e-9, 1e-3, 0.1, 0.25, 0.5, 0.75, 0.9, 0.999, 1, 1 + 1e-9, 2, 1e6):
        assert refused(differences, shift)
    assert confidence_sequence(differences) is None
    result = anytime_test(differences)
    assert (result.interval, result.decided_at) == (None, 47)


@settings(max_examples=cases(8))
@given(st.lists(st.integers(-50, 50), min_size=7, max_size=12, unique=True), st.integers(-1000, 1000))
def test_a_shift_of_the_data_shifts_it(differences, shift):
    plain = confidence_sequence(differences)
    shifted = confidence_sequence([d + shift for d in differences])
    assert plain is not None
    assert shifted is not None
    assert (shifted.low, shifted.high) == pytest.approx((plain.low + shift, plain.high + shift), abs=1e-8)


@settings(max_examples=cases(3))
@given(st.lists(st.integers(-50, 50), min_size=9, max_size=12, unique=True))
def test_more_arms_make_it_wider(differences):
    alone, among = anytime_test(differences), anytime_test(differences, family=4)
    assert alone.intervals[-1] == confidence_sequence(differences)
    # Level alpha / family: one in eighty.
    assert among.intervals[-1] == confidence_sequence(differences, alpha=0.05 / 4)
    assume(alone.intervals[-1] is not None)
    assert among.intervals[-1].low <= alone.intervals[-1].low <= alone.intervals[-1].high <= among.intervals[-1].high


def test_far_differences_leave_it_finite_or_say_that_it_has_no_end():
    found = confidence_sequence([1.7e308, -1.7e308] * 6)
    assert all(end is None or math.isfinite(end) for end in (found.low, found.high))
    assert 0 in found


# Calibration

STUDIES = 2000


def decided_at(samples) -> np.ndarray:
    """Return for each study when it was decided, inf where it never was."""
    log_e = np.array([log_sign_e_process(row) for row in samples])
    reached = log_e >= math.log(20)
    return np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, math.inf)


def band(lowest: float, highest: float) -> tuple[int, int]:
    """Return the counts that a rate between the two gives with a probability of 99.9%."""
    return int(stats.binom.ppf(0.0005, STUDIES, lowest)), int(stats.binom.ppf(0.9995, STUDIES, highest))


SYMMETRIC = {
    "normal": lambda generator, shape: generator.normal(size=shape),
    "t3": lambda generator, shape: generator.standard_t(3, size=shape),
    "uniform": lambda generator, shape: generator.uniform(-1, 1, size=shape),
    "counts with ties": lambda generator, shape: np.subtract(*generator.binomial(200, 0.05, size=(2, *shape))),
    "growing": lambda generator, shape: generator.normal(size=shape) * 1.2 ** np.arange(shape[1]),
}


@pytest.mark.parametrize("kernel", SYMMETRIC)
def test_looking_after_every_seed_rejects_less_than_alpha(kernel):
    samples = SYMMETRIC[kernel](np.random.default_rng(21), (STUDIES, 30))
    wrong = np.count_nonzero(decided_at(samples) <= 30)
    low, high = band(0.014, 0.03)
    assert low <= wrong <= high < 0.05 * STUDIES


def test_it_tests_symmetry_and_not_the_mean():
    samples = np.random.default_rng(22).exponential(size=(STUDIES, 30)) - 1
    low, high = band(0.085, 0.085)
    assert low <= np.count_nonzero(decided_at(samples) <= 30) <= high


def test_a_planted_effect_is_found_and_when():
    found = decided_at(np.random.default_rng(23).normal(1.0, size=(STUDIES, 30)))
    low, high = band(0.96, 0.96)
    assert low <= np.count_nonzero(found <= 30) <= high
    # 100,000 studies from the formula as written: 45.7% are decided by 11 pairs, 51.4% by 12, after 14.4 on average.
    low, high = band(0.457, 0.514)
    assert low <= np.count_nonzero(found <= 11) < np.count_nonzero(found <= 12) <= high
    used = np.minimum(found, 30)
    assert abs(used.mean() - 14.4) < stats.norm.isf(0.0005) * used.std() / math.sqrt(STUDIES)
