"""Bootstrap intervals: R's boot, all resamples enumerated, and the coverage of the studentised one."""

import itertools
import math

import numpy as np
import pytest
from helpers import cases
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hpo.statistics.bootstrap import bca_interval, bootstrap_t_interval, percentile_interval
from hpo.statistics.interval import Interval

BOOT = [10, 12, 12.5, 12.5, 13.9, 15, 21, 22, 23, 34, 50, 81, 89, 121, 134, 213]
COVERAGE_STUDIES = 400


@pytest.mark.parametrize(("call", "ends"), [(percentile_interval, (28.86, 84.21)), (bca_interval, (32.31, 91.43))])
def test_r_boot(call, ends):
    interval = call(BOOT, resamples=1_000_000)
    # R's million resamples are others; SciPy's own test of these numbers allows the same half percent.
    assert (interval.low, interval.high) == pytest.approx(ends, rel=0.005)


def test_bootstrap_t_is_near_that_of_all_resamples():
    values = np.array([1.0, 2.5, 2.9, 4.2, 6.1, 9.7])
    rows = np.array(list(itertools.product(values, repeat=6)))
    rows = rows[rows.max(axis=1) > rows.min(axis=1)]
    ratios = np.sort((rows.mean(axis=1) - values.mean()) / stats.sem(rows, axis=1))
    # 9,999 resamples put the .025 quantile between these two levels, but for one time in 16,000.
    error = 4 * math.sqrt(0.025 * 0.975 / 9_999)
    interval = bootstrap_t_interval(values)
    for end, level in ((interval.low, 0.975), (interval.high, 0.025)):
        bounds = values.mean() - np.quantile(ratios, [level + error, level - error]) * stats.sem(values)
        assert bounds[0] <= end <= bounds[1]


def test_bootstrap_t_covers_what_the_percentile_interval_misses():
    generator = np.random.default_rng(21)
    low, high = stats.binom.ppf([0.0005, 0.9995], COVERAGE_STUDIES, 0.95)
    covered = sum(0 in bootstrap_t_interval(row) for row in generator.normal(size=(COVERAGE_STUDIES, 10)))
    assert low <= covered <= high
    few = sum(0 in percentile_interval(row) for row in generator.normal(size=(COVERAGE_STUDIES, 5)))
    assert few < low


@settings(max_examples=cases(8))
@given(st.lists(st.integers(-50, 50), min_size=4, max_size=12), st.randoms(use_true_random=False))
def test_order_sign_and_scale(differences, random):
    shuffled = differences.copy()
    random.shuffle(shuffled)
    for call in (bootstrap_t_interval, percentile_interval, bca_interval):
        interval = call(differences)
        if len(set(differences)) == 1:
            assert interval is None
        if interval is None:
            continue
        assert call(shuffled) == interval
        assert call([-d for d in differences]) == Interval(-interval.high, -interval.low)
        assert call([0.25 * d for d in differences]) == Interval(interval.low / 4, interval.high / 4)


def test_a_symmetric_sample_has_a_symmetric_interval():
    for call in (bootstrap_t_interval, percentile_interval, bca_interval):
        interval = call([-3, -1, -0.5, 0.5, 1, 3])
        assert interval.low == -interval.high < 0


def test_undefined_intervals_are_none():
    assert bootstrap_t_interval([1.0, 2.0, 4.0]) is None
    assert bootstrap_t_interval([1.0, 2.0, 4.0, 7.0]) is not None
    assert bootstrap_t_interval([0.1] * 8) is None
    assert bootstrap_t_interval([0.3, 0.1 + 0.2, 0.3, 0.1 + 0.2]) is None
    assert bootstrap_t_interval([1.0, 2.0, 4.0, 7.0], alpha=1e-4) is None
    for call in (percentile_interval, bca_interval):
        assert call([1.0]) is None
        assert call([2.0, 2.0, 2.0]) is None
        assert call([1.0, 2.0]) is not None


def test_resamples_of_equal_values_are_left_out():
    # 35% of the resamples of ten hold no 1, and their ratio is 0 / 0; all others have a mean of .1 at least, and so no
    # ratio below 0.
    interval = bootstrap_t_interval([0.0] * 9 + [1.0])
    assert interval.low < 0 < 0.1 == interval.high
    # 0.1 + 0.2 and 0.3 are one number: a resample of these alone would have a ratio of rounding errors.
    noisy, clean = ([a] * 5 + [b] * 4 + [1.3] for a, b in ((0.1 + 0.2, 0.3), (0.3, 0.3)))
    ours, theirs = bootstrap_t_interval(noisy), bootstrap_t_interval(clean)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=1e-9)


def test_large_and_small_numbers_are_no_trouble():
    for factor in (1e300, 1e-300):
        plain, scaled = bootstrap_t_interval(BOOT), bootstrap_t_interval([factor * value for value in BOOT])
        assert scaled.low == pytest.approx(factor * plain.low, rel=1e-9)
    assert bca_interval([1e-320, 2e-320, 4e-320, 9e-320]) is not None


@pytest.mark.parametrize("call", [bootstrap_t_interval, percentile_interval, bca_interval])
def test_bad_input_is_refused(call):
    with pytest.raises(ValueError, match="alpha"):
        call([1.0, 2.0, 3.0], alpha=1.0)
    with pytest.raises(ValueError, match="entry 0 is nan"):
        call([math.nan, 2.0])
    with pytest.raises(ValueError, match="empty"):
        call([])
