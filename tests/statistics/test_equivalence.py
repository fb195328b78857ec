"""Two one-sided tests: SciPy's one-sided t tests, the matching interval, and what has no variance."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from hpo.statistics.equivalence import equivalence_within

differences_of_integers = st.lists(st.integers(-30, 30), min_size=2, max_size=9)


@given(differences_of_integers, st.floats(0.5, 40))
def test_it_is_two_one_sided_t_tests(differences, rope):
    assume(len(set(differences)) > 1)
    result = equivalence_within(differences, rope)
    lower = stats.ttest_1samp(differences, -rope, alternative="greater").pvalue
    upper = stats.ttest_1samp(differences, rope, alternative="less").pvalue
    assert (result.p_lower, result.p_upper) == pytest.approx((lower, upper), rel=1e-9, abs=1e-15)
    assert result.p == max(result.p_lower, result.p_upper)
    assert result.within == (abs(np.mean(differences)) < rope)
    mirror = equivalence_within([-d for d in differences], rope)
    assert (mirror.p_lower, mirror.p_upper, mirror.p) == (result.p_upper, result.p_lower, result.p)
    assert equivalence_within(differences[::-1], rope) == result


@given(differences_of_integers, st.floats(0.5, 40), st.sampled_from([0.01, 0.05, 0.1]))
def test_equivalent_just_when_the_interval_of_twice_the_level_lies_within(differences, rope, alpha):
    assume(len(set(differences)) > 1)
    result = equivalence_within(differences, rope, alpha=alpha)
    assume(abs(result.p - alpha) > 1e-9)
    low, high = stats.ttest_1samp(differences, 0).confidence_interval(1 - 2 * alpha)
    assert result.equivalent == (-rope < low and high < rope)


@pytest.mark.parametrize("value", [0.0, 0.1, -7])
@pytest.mark.parametrize("rope", [1e-30, 0.1, 2.0])
def test_equal_differences_have_no_test(value, rope):
    """Fault 13: identical counts, or one difference again and again, have no variance and are not "equivalent" with p 0."""
    assert equivalence_within([value] * 5, rope) is None


def test_differences_that_tie_have_no_test_either():
    differences = np.array([1.071, 1.062, 1.053, 1.044]) - np.array([0.971, 0.962, 0.953, 0.944])
    assert len(set(differences)) > 1
    assert equivalence_within(differences, 0.02) is None


def test_a_mean_on_the_bound_but_for_rounding_is_not_within():
    differences = np.array([0.981, 0.972, 0.973]) - np.array([0.971, 0.972, 0.953])
    assert not equivalence_within(differences, 0.01).within
    assert equivalence_within(differences, 0.0101).within


def test_a_mean_within_is_not_yet_equivalence():
    result = equivalence_within([5, -5, 4, -4, 1], 1.0)
    assert (result.within, result.equivalent) == (True, False)


def test_one_pair_has_no_test():
    assert equivalence_within([0.0], 1.0) is None


@pytest.mark.parametrize("factor", [2.0**-1000, 2.0**900])
def test_scale_changes_nothing(factor):
    plain, scaled = (equivalence_within([s * d for d in (1, 2, -1, 3)], s * 4) for s in (1.0, factor))
    assert (scaled.p_lower, scaled.p_upper, scaled.within) == (plain.p_lower, plain.p_upper, plain.within)
    assert scaled.rope == 4 * factor


def test_a_rope_beyond_comparison_is_no_trouble():
    assert equivalence_within([1e-300, 2e-300, -1e-300], 1e300).p == 0.0
    assert equivalence_within([1e300, 2e300, 4e300], 1e-300).p > 0.5


@pytest.mark.parametrize("rope", [0.0, -1.0, math.nan, math.inf])
def test_a_rope_must_be_a_positive_number(rope):
    with pytest.raises(ValueError, match="rope must be a positive number"):
        equivalence_within([1.0, 2.0], rope)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="alpha"):
        equivalence_within([1.0, 2.0], 1.0, alpha=0.0)
    with pytest.raises(ValueError, match="entry 1 is inf"):
        equivalence_within([1.0, math.inf], 1.0)
