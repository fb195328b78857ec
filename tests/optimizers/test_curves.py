import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.optimizers.curves import Curve, best_score_difference, binomial_p, overlap

SLOW, FAST = [1.5, 2.5, 3.0, 3.2], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
"""FAST has reached the first score of SLOW at its third evaluation, 2.0, and is then compared over SLOW's four evaluations."""

scores = st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=12)


def difference(one, other):
    return best_score_difference(Curve.of(one), Curve.of(other))


def test_curves_overlap_from_where_the_lower_one_reaches_the_start_of_the_higher_one():
    assert overlap(np.array(FAST), np.array(SLOW)) == (2, 0, 4)
    assert overlap(np.array(SLOW), np.array(FAST)) == (0, 2, 4)
    assert overlap(np.array([1.0, 2.0]), np.array([1.0, 0.0, 5.0])) == (0, 0, 2)
    assert overlap(np.array([0.0, 1.0, 2.0]), np.array([2.0, 3.0])) == (2, 0, 1)
    assert overlap(np.array([0.0, 1.0]), np.array([2.0, 3.0])) is None
    assert overlap(np.array([3.0]), np.array([1.0])) is None
    assert overlap(np.array([1.0]), np.array([1.0])) == (0, 0, 1)


def test_the_difference_of_best_scores_by_hand():
    # Over the overlap: FAST 2, 3, 4, 5 and SLOW 1.5, 2.5, 3, 3.2.
    assert difference(FAST, SLOW) == pytest.approx(5.0 - 3.2)
    assert difference(SLOW, FAST) == pytest.approx(3.2 - 5.0)


def test_what_a_curve_did_before_or_after_the_overlap_does_not_count():
    # FAST's fifth evaluation in the overlap, and SLOW's head start, are outside it.
    assert difference([*FAST, 9.0], SLOW) == pytest.approx(5.0 - 3.2)
    assert difference([-1.0, *FAST], SLOW) == pytest.approx(5.0 - 3.2)


def test_curves_that_do_not_overlap_are_shifted_by_hand():
    # Shifts of 7, 7.3, ..., 9.7 take the start of the upper curve to 3 - 0.3 k. The seventh, to 0.9, leaves 0.9, 2.9, 4.9 against
    # 1, 2, 3; a smaller shift, to 1.2, leaves two evaluations: 1.2, 3.2 against 2, 3.
    assert difference([10.0, 12.0, 14.0, 16.0], [0.0, 1.0, 2.0, 3.0]) == pytest.approx(4.9 - 3.0)


def test_a_shift_never_makes_the_upper_curve_worse_than_the_lower_one():
    parallel = difference([10.0, 11.0, 12.0, 13.0], [0.0, 1.0, 2.0, 3.0])
    slower = difference([10.0, 10.1, 10.2, 10.3], [0.0, 1.0, 2.0, 3.0])
    assert parallel == pytest.approx(0.0, abs=1e-6)
    assert slower == 0.0


def test_the_lower_of_two_curves_without_overlap_gets_nothing_and_a_flat_one_allows_no_shift():
    assert difference([0.0, 1.0, 2.0, 3.0], [10.0, 12.0, 14.0, 16.0]) == 0.0
    assert difference([5.0, 6.0], [1.0, 1.0]) == 0.0


def test_binomial_probabilities_by_hand():
    assert binomial_p(Curve.of(FAST), Curve.of(SLOW)) == pytest.approx(1 / 2**4)  # wins 4 of 4
    assert binomial_p(Curve.of(SLOW), Curve.of(FAST)) == 1.0  # 0 of 4
    # 2 of 3 from the overlap on, at 2: 2, 3, 4 against 1.5, 3.5, 3.6. P(2 or 3 of 3) = (3 + 1) / 8.
    assert binomial_p(Curve.of([0.0, 1.0, 2.0, 3.0, 4.0]), Curve.of([1.5, 3.5, 3.6])) == pytest.approx(0.5)


def test_three_evaluations_can_never_be_significant_and_seven_can():
    steep, flat = np.arange(1.0, 9.0), Curve.of(np.linspace(1.5, 1.7, 12))
    assert binomial_p(Curve.of(steep[:4]), flat) == pytest.approx(1 / 2**3)  # 2, 3, 4 against 1.5, ...
    assert binomial_p(Curve.of(steep), flat) == pytest.approx(1 / 2**7)


def test_without_an_overlap_the_upper_curve_wins_and_curves_that_fall_are_compared_from_the_start():
    high, low = Curve.of([5.0, 6.0]), Curve.of([1.0, 2.0])
    assert (binomial_p(high, low), binomial_p(low, high)) == (0.0, 1.0)
    # 1 < 2 and 0.9 > 0.5: one win of two or better has probability 3/4.
    assert binomial_p(Curve.of([1.0, 0.9]), Curve.of([2.0, 0.5])) == pytest.approx(0.75)


def test_smoothing_follows_a_curve_and_averages_noise():
    times = np.linspace(0, 1, 100)
    noise = np.random.default_rng(0).normal(0, 0.1, 100)
    smooth = Curve(times**2 + noise).smoothed
    assert np.abs(smooth - times**2).mean() < 0.5 * np.abs(noise).mean()
    assert Curve.of([1.0, 2.0, 4.0]).smoothed == pytest.approx([1.0, 2.0, 4.0], abs=1e-4)
    assert Curve.of([2.5]).smoothed == pytest.approx([2.5])
    noisy = Curve(times**2 + noise).scores
    assert (Curve(np.ldexp(noisy, 1000)).smoothed == np.ldexp(Curve(noisy).smoothed, 1000)).all()


@given(scores, scores, st.integers(-5, 5))
@settings(max_examples=30, deadline=None)
def test_only_differences_of_scores_count(one, other, shift):
    assert difference([x + 8 * shift for x in one], [x + 8 * shift for x in other]) == pytest.approx(
        difference(one, other), abs=1e-6
    ) or _nearly_tied(one, other)


def _nearly_tied(one, other):
    """Where a smoothed score equals another one's start but for rounding, the overlap may begin one evaluation later."""
    a, b = Curve.of(one).smoothed, Curve.of(other).smoothed
    shifts = np.linspace(min(one) - max(other), min(one) - min(other), 10, endpoint=False)
    starts = [np.abs(b - a[0]).min(), np.abs(a - b[0]).min(), *(np.abs(b - a[0] + shift).min() for shift in shifts)]
    return min(starts) < 1e-6
