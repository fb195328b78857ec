import numpy as np
import pytest

from hpo.optimizers.trust_region import SMALLEST, WHOLE_SPACE, TrustRegion


def after(outcomes, region=None, **tolerances):
    region = region or TrustRegion()
    for succeeded in outcomes:
        region = region.after(succeeded, **tolerances)
    return region


S, F = [True], [False]


# --- growth and shrinkage --------------------------------------------------------------------------------------------


def test_it_grows_after_three_successes_in_a_row_and_shrinks_after_ten_failures():
    assert after(S * 2) == TrustRegion(0.4, 1.0, successes=2)
    assert after(S * 3) == TrustRegion(0.4 * 1.5, 1.0)
    assert after(F * 9) == TrustRegion(0.4, 1.0, failures=9)
    assert after(F * 10) == TrustRegion(0.4 / 1.5, 1 / 1.5)


def test_only_consecutive_outcomes_count():
    assert after(S * 2 + F + S * 2) == TrustRegion(0.4, 1.0, successes=2)
    assert after(F * 9 + S + F * 9) == TrustRegion(0.4, 1.0, failures=9)


def test_it_stays_between_its_smallest_and_largest_size_and_is_exhausted_at_the_smallest():
    # 0.4 * 1.5³ = 1.35
    assert after(S * 9).length == after(S * 30).length == 1.0
    # 0.4, 0.267, 0.178, 0.119
    assert [after(F * count).is_exhausted for count in (20, 29, 30)] == [False, False, True]
    assert after(F * 30).length == SMALLEST
    assert after(F * 30).share == pytest.approx(1 / 1.5**3)
    assert after(F * 90).share == 0.1
    assert not WHOLE_SPACE.is_exhausted


def test_tolerances_are_options():
    assert after(S, success_tolerance=1).length == pytest.approx(0.6)
    assert after(F * 2, failure_tolerance=2).length == pytest.approx(0.4 / 1.5)


# --- neighbourhoods --------------------------------------------------------------------------------------------------

CENTER = np.array([0.5, 0.1, 0.9])


def test_the_box_is_a_cube_around_the_centre_inside_the_unit_cube():
    near = TrustRegion(0.4).around(CENTER)
    assert near.low == pytest.approx([0.3, 0.0, 0.7])
    assert near.high == pytest.approx([0.7, 0.3, 1.0])


def test_sides_are_proportional_to_the_length_scales_with_the_same_volume():
    near = TrustRegion(0.2).around(np.full(3, 0.5), length_scales=(1.0, 2.0, 4.0))
    assert near.high - near.low == pytest.approx([0.1, 0.2, 0.4])
    # Categoricals have no sides: the scales are those of the numbers.
    near = TrustRegion(0.2).around(np.array([0.5, 1.0, 0.5]), [0, 2, 0], (1.0, 4.0))
    assert (near.high - near.low)[[0, 2]] == pytest.approx([0.1, 0.4])
    assert np.array_equal(TrustRegion(0.2).around(CENTER, length_scales=7.0).low, TrustRegion(0.2).around(CENTER).low)


def test_without_a_region_draws_are_those_of_the_unit_cube_bit_for_bit():
    near = WHOLE_SPACE.around(CENTER, length_scales=(1.0, 2.0, 3.0))
    drawn = near.draw(50, np.random.default_rng(1))
    assert np.array_equal(drawn, np.random.default_rng(1).random(size=(50, 3)))
    close = near.draw_near(CENTER, 0.1, 50, np.random.default_rng(1))
    noise = 0.1 * np.random.default_rng(1).standard_normal(size=(50, 3))
    assert np.array_equal(close, np.clip(CENTER + noise, 0.0, 1.0))


def mixed(share, length=0.2):
    """Return a neighbourhood in five categoricals of 2 to 4 choices and one number, and the categoricals' choices."""
    choices = [2, 0, 3, 4, 2, 3]
    center = np.array([0.0, 0.5, 1.0, 3.0, 1.0, 2.0])
    return TrustRegion(length, share).around(center, choices), np.array(choices)


@pytest.mark.parametrize(("share", "radius"), [(1.0, 5), (0.6, 3), (0.5, 2), (0.1, 1)])
def test_so_many_categoricals_differ_from_the_centre_as_the_ball_allows(share, radius):
    near, choices = mixed(share)
    assert near.radius == radius
    rng = np.random.default_rng(0)
    drawn = near.draw(2000, rng)
    farthest = drawn[np.argmax((drawn != near.center)[:, choices > 0].sum(axis=1))]
    for points in (drawn, near.draw_near(farthest, 0.1, 2000, rng)):
        differ = (points != near.center)[:, choices > 0].sum(axis=1)
        assert differ.max() == radius
        assert ((points[:, 1] >= 0.4) & (points[:, 1] <= 0.6)).all()
        assert (points[:, choices > 0] < choices[choices > 0]).all()


def test_every_choice_of_every_categorical_can_be_drawn():
    near, choices = mixed(0.1)
    drawn = near.draw(2000, np.random.default_rng(0))
    assert [np.unique(drawn[:, at]).tolist() for at in np.flatnonzero(choices)] == [
        [*range(k)] for k in (2, 3, 4, 2, 3)
    ]


# --- the maximum -----------------------------------------------------------------------------------------------------


def test_the_maximum_of_a_bound_inside_and_outside_the_box():
    def bound(points):
        return -np.square(points - [0.6, 0.9, 0.8]).sum(axis=1)

    best = TrustRegion(0.4).around(CENTER).maximum(bound, np.random.default_rng(0))
    assert best == pytest.approx([0.6, 0.3, 0.8], abs=0.02)
    best = WHOLE_SPACE.around(CENTER).maximum(bound, np.random.default_rng(0))
    assert best == pytest.approx([0.6, 0.9, 0.8], abs=0.02)


@pytest.mark.parametrize("share", [1.0, 0.1])
def test_the_maximum_over_categoricals_is_that_of_the_ball(share):
    near, choices = mixed(share)
    # Each categorical that differs from the centre's gains 1, and the third gains 3.
    gains = np.where(choices > 0, 1.0, 0.0) + np.array([0, 0, 2, 0, 0, 0])

    def bound(points):
        return (gains * (points != near.center)).sum(axis=1) - np.abs(points[:, 1] - 0.55)

    best = near.maximum(bound, np.random.default_rng(0))
    assert bound(best[None])[0] == pytest.approx(7.0 if share == 1.0 else 3.0, abs=0.01)
    assert best[1] == pytest.approx(0.55, abs=0.01)
