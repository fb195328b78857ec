"""The interval of the sign-flip test: exactly the shifts that the test does not reject."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from helpers import cases
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.statistics.interval import Interval
from hpo.statistics.inversion import integer_interval, sign_flip_interval
from hpo.statistics.signflip import sign_flip_p

alphas = st.sampled_from([0.01, 0.05, 2 / 64, 4 / 256, 0.1, 0.3, 0.9])


def p_after_shift(differences: list[int], shift: Fraction) -> float:
    return sign_flip_p([int((d - shift) * shift.denominator) for d in differences])


def subset_means(differences: list[int]) -> list[Fraction]:
    sizes = range(1, len(differences) + 1)
    means = {Fraction(sum(s), k) for k in sizes for s in itertools.combinations(differences, k)}
    return sorted(means)


@given(st.lists(st.integers(-9, 9), min_size=2, max_size=7), alphas)
def test_it_is_the_acceptance_region_everywhere(differences, alpha):
    means = subset_means(differences)
    between = [(low + high) / 2 for low, high in itertools.pairwise(means)]
    interval = sign_flip_interval(differences, alpha=alpha)
    for shift in [means[0] - 1, *means, *between, means[-1] + 1]:
        assert (float(shift) in interval) == (p_after_shift(differences, shift) > alpha)


@settings(max_examples=cases(7))
@given(st.lists(st.integers(-30, 30), min_size=8, max_size=12), alphas)
def test_its_ends_are_the_last_shifts_accepted(differences, alpha):
    means = subset_means(differences)
    interval = sign_flip_interval(differences, alpha=alpha)
    accepted = [shift for shift in means if p_after_shift(differences, shift) > alpha]
    if sign_flip_p([1] * len(differences)) > alpha:
        assert interval == Interval(None, None)
    else:
        assert interval == Interval(float(accepted[0]), float(accepted[-1]))
        index = means.index(accepted[0])
        beyond = (means[index - 1] + means[index]) / 2 if index else means[0] - 1
        assert p_after_shift(differences, beyond) <= alpha


@pytest.mark.parametrize(
    ("differences", "alpha", "interval"),
    [
        ([4], 0.05, None),
        ([1, 2, 3, 4, 5], 0.05, Interval(None, None)),
        ([1, 2, 3, 4, 5], 0.0625, Interval(1.0, 5.0)),
        ([6, 1, 5, 2, 4, 3], 0.05, Interval(1.0, 6.0)),
        ([1, 2, 3, 4, 5, 6], 0.0625, Interval(1.5, 5.5)),
        ([0] * 6, 0.05, Interval(0.0, 0.0)),
        ([0.0] * 30, 0.05, Interval(0.0, 0.0)),
        ([3] * 40, 0.05, Interval(3.0, 3.0)),
        ([0.25] * 12, 1e-4, Interval(None, None)),
        ([0.25] * 30, 1e-6, Interval(None, None)),
    ],
)
def test_known_intervals(differences, alpha, interval):
    assert sign_flip_interval(differences, alpha=alpha) == interval


@given(st.lists(st.integers(-40, 40), min_size=2, max_size=12), alphas)
def test_counting_subsets_equals_enumerating_them(differences, alpha):
    counted = integer_interval(differences, alpha, p=sign_flip_p(differences))
    enumerated = sign_flip_interval(differences, alpha=alpha)
    for ours, theirs in ((counted.low, enumerated.low), (counted.high, enumerated.high)):
        assert ours == (None if theirs is None else pytest.approx(theirs, rel=1e-14, abs=1e-14))


@pytest.mark.parametrize("n", [21, 35, 50])
def test_integers_are_exact_far_beyond_enumeration(n):
    differences = np.random.default_rng(n).integers(-20, 35, size=n).tolist()
    interval = sign_flip_interval(differences)
    for end, outwards in ((interval.low, -1), (interval.high, 1)):
        shift = Fraction(end).limit_denominator(n)
        assert float(shift) == end
        assert p_after_shift(differences, shift) > 0.05
        # Means of up to n whole numbers that differ, differ by more than this.
        beyond = Fraction(1, 2 * n * shift.denominator)
        assert p_after_shift(differences, shift + outwards * beyond) <= 0.05


@pytest.mark.parametrize("seed", range(6))
def test_the_resampled_interval_and_the_resampled_p_agree_at_zero(seed):
    differences = np.random.default_rng(seed).normal(0.45, 1.0, size=24)
    base = sign_flip_interval(differences)
    for shift in (base.low - 1e-3, base.low + 1e-3, base.high - 1e-3, base.high + 1e-3, 0.3):
        moved = differences - shift
        assert (0 in sign_flip_interval(moved)) == (sign_flip_p(moved) > 0.05)


def test_the_resampled_interval_is_near_the_exact_one():
    differences = np.random.default_rng(8).integers(-500, 900, size=26)
    exact, resampled = sign_flip_interval(differences), sign_flip_interval(differences.astype(float))
    assert exact != resampled
    # Within 4 standard errors of p, as exact tests of the two ends at those other levels.
    error = 4 * math.sqrt(0.05 * 0.95 / 100_000)
    wide, narrow = (sign_flip_interval(differences, alpha=0.05 + side * error) for side in (-1, 1))
    assert wide.low <= resampled.low <= narrow.low
    assert narrow.high <= resampled.high <= wide.high


def test_integers_too_large_for_a_table_are_resampled():
    differences = [10**9 + 7 * i * i for i in range(30)]
    huge = [0, 10**9, *differences]
    assert integer_interval(huge, 0.05, p=sign_flip_p(huge)) is None
    assert sign_flip_interval(huge) == sign_flip_interval(np.array(huge, dtype=float))


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="alpha"):
        sign_flip_interval([1, 2, 3], alpha=0.0)
    with pytest.raises(ValueError, match="entry 1 is nan"):
        sign_flip_interval([1.0, math.nan])
    with pytest.raises(ValueError, match="empty"):
        sign_flip_interval([])
