"""Seeds and effects: R's pwr, the integral that power is, and what the sign-flip test can reach at all."""

import math

import numpy as np
import pytest
from scipy import integrate, special, stats
from statsmodels.stats.power import TTestPower

from hpo.statistics import detectable_effect, least_pairs, plan, seeds_needed, sign_flip_p, smallest_p


def t_test_power(d_z: float, n: int, alpha: float = 0.05) -> float:
    """Return the power of the two-sided paired t-test, by integrating over the standard deviation that is observed."""
    df, shift = n - 1, d_z * math.sqrt(n)
    critical = stats.t.isf(alpha / 2, df) / math.sqrt(df)

    def rejected(chi: float) -> float:
        return stats.chi.pdf(chi, df) * (special.ndtr(shift - critical * chi) + special.ndtr(-shift - critical * chi))

    return integrate.quad(rejected, 0, stats.chi.isf(1e-16, df), epsabs=1e-13, limit=200)[0]


@pytest.mark.parametrize(("d_z", "at_80", "at_90"), [(0.5, 34, 44), (0.8, 15, 19), (1.0, 10, 13), (1.5, 6, 7)])
def test_table_of_r_pwr(d_z, at_80, at_90):
    assert (seeds_needed(d_z), seeds_needed(d_z, power=0.9)) == (at_80, at_90)
    assert (seeds_needed(-d_z), seeds_needed(-d_z, power=0.9)) == (at_80, at_90)


def test_the_power_underneath_is_that_of_r_pwr():
    assert TTestPower().power(0.2, 20, 0.05) == pytest.approx(0.1359562887679666, abs=1e-12)
    assert TTestPower().power(1.0, 30, 0.05, alternative="larger") == pytest.approx(0.999892010204909, abs=1e-12)
    assert plan(n=20, d_z=0.2).power == plan(n=20, d_z=-0.2).power == pytest.approx(0.1359562887679666, abs=1e-12)
    # The one-sided test is one half of a two-sided one at twice the level, whose other half adds next to nothing here.
    assert plan(n=30, d_z=1.0, alpha=0.1).power == pytest.approx(0.999892010204909, abs=1e-11)


def test_an_exercise_of_cohen():
    # `?pwr.t.test`: exercise 2.5 of Cohen (1988), p. 47, one sample: R prints power = 0.4555818.
    assert plan(n=60, d_z=0.2, alpha=0.10).power == pytest.approx(0.4555818, abs=5e-8)
    assert detectable_effect(60, alpha=0.10, power=0.4555818) == pytest.approx(0.2, abs=1e-7)


@pytest.mark.parametrize("d_z", [0.05, 0.31, 0.7, 1.2, 2.0])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_it_is_the_smallest_number_that_reaches_the_power(d_z, alpha):
    n = seeds_needed(d_z, alpha=alpha)
    assert t_test_power(d_z, n, alpha) >= 0.8 > t_test_power(d_z, n - 1, alpha)


def test_none_where_no_number_helps():
    assert seeds_needed(0.0) is None
    assert seeds_needed(1e-4) is None
    assert seeds_needed(0.0089) == pytest.approx(99_093, abs=5)
    assert seeds_needed(0.0088) is None


@pytest.mark.parametrize("alpha", [0.05, 0.0125, 0.001])
def test_larger_effects_never_need_more_seeds(alpha):
    # SciPy's noncentral t gives NaN at many of these.
    needed = [seeds_needed(d_z, alpha=alpha) for d_z in np.geomspace(0.2, 1e6, 80)]
    assert needed == sorted(needed, reverse=True)
    assert needed[0] > 190
    assert needed[-1] == seeds_needed(1e300, alpha=alpha) == 2


@pytest.mark.parametrize(
    ("d_z", "options", "message"),
    [(math.nan, {}, "d_z"), (math.inf, {}, "d_z"), (1.0, {"alpha": 0.0}, "alpha"), (1.0, {"power": 1.0}, "power")],
)
def test_bad_input_is_refused(d_z, options, message):
    with pytest.raises(ValueError, match=message):
        seeds_needed(d_z, **options)


# The fewest pairs


@pytest.mark.parametrize("alpha", [0.5, 0.1, 0.0625, 0.05, 0.01, 0.001])
@pytest.mark.parametrize("family", [1, 2, 3, 5, 8, 100])
def test_the_fewest_pairs_are_those_that_can_reach_the_level(alpha, family):
    n = least_pairs(alpha, family)
    # n >= 1 + log2(m / alpha); sign-flip p values are 2 / 2**n at least.
    assert n == math.ceil(1 + math.log2(family / alpha) - 1e-12)
    assert smallest_p(n) <= alpha / family < smallest_p(n - 1)


def test_the_fewest_pairs_of_the_usual_levels():
    assert [least_pairs(0.05, family) for family in (1, 2, 3, 4, 6, 7)] == [6, 7, 7, 8, 8, 9]
    assert (least_pairs(), least_pairs(0.0625), least_pairs(0.01)) == (6, 5, 8)
    assert sign_flip_p(range(1, 7)) <= 0.05 < sign_flip_p(range(1, 6))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0.0,), "alpha"), ((1.0,), "alpha"), ((math.nan,), "alpha"), ((0.05, 0), "family must be 1 or more")],
)
def test_no_fewest_pairs_for_these(arguments, message):
    with pytest.raises(ValueError, match=message):
        least_pairs(*arguments)


# The detectable effect


@pytest.mark.parametrize("n", [2, 3, 6, 10, 34, 400])
@pytest.mark.parametrize(("alpha", "power"), [(0.05, 0.8), (0.01, 0.9), (0.05, 0.3)])
def test_the_detectable_effect_has_the_power_and_needs_the_seeds(n, alpha, power):
    effect = detectable_effect(n, alpha=alpha, power=power)
    assert t_test_power(effect, n, alpha) == pytest.approx(power, abs=1e-9)
    assert seeds_needed(effect, alpha=alpha, power=power) == n
    # A little less of an effect takes one pair more.
    assert seeds_needed(effect * (1 - 1e-9), alpha=alpha, power=power) == n + 1


@pytest.mark.parametrize(("d_z", "at_80", "at_90"), [(0.5, 34, 44), (0.8, 15, 19), (1.0, 10, 13), (1.5, 6, 7)])
def test_the_table_of_r_pwr_the_other_way_round(d_z, at_80, at_90):
    for n, power in ((at_80, 0.8), (at_90, 0.9)):
        assert detectable_effect(n, power=power) <= d_z < detectable_effect(n - 1, power=power)


def test_no_detectable_effect():
    assert detectable_effect(1) is None
    # Every effect, 0 too, is found with a probability of alpha.
    assert detectable_effect(10, power=0.05) is None
    assert detectable_effect(10, power=0.04) is None
    assert 0 < detectable_effect(10, power=0.0501) < 0.05


@pytest.mark.parametrize(
    ("n", "options", "message"),
    [
        (0, {}, "n must be 1 or more"),
        (5, {"alpha": 0.0}, "alpha"),
        (5, {"power": 1.0}, "power"),
        (5, {"power": 0}, "power"),
    ],
)
def test_no_detectable_effect_for_these(n, options, message):
    with pytest.raises(ValueError, match=message):
        detectable_effect(n, **options)


# The plan


def test_a_plan_of_ten_pairs():
    found = plan(n=10, d_z=1.0)
    assert (found.n, found.alpha, found.family, found.wanted_power, found.d_z) == (10, 0.05, 1, 0.8, 1.0)
    assert (found.smallest_p, found.least_n) == (2 / 1024, 6)
    assert (found.seeds, found.seeds_80, found.seeds_90) == (10, 10, 13)
    assert found.power == pytest.approx(t_test_power(1.0, 10), abs=1e-12)
    assert found.detectable_d_z == detectable_effect(10) < 1.0 < detectable_effect(9)


def test_several_arms_share_the_level():
    found = plan(n=12, d_z=0.9, family=4, wanted_power=0.7)
    assert found.least_n == least_pairs(0.05, 4) == 8
    assert found.power == pytest.approx(t_test_power(0.9, 12, 0.0125), abs=1e-12)
    assert found.detectable_d_z == detectable_effect(12, alpha=0.0125, power=0.7)
    assert found.seeds == seeds_needed(0.9, alpha=0.0125, power=0.7)
    assert (found.seeds_80, found.seeds_90) == tuple(seeds_needed(0.9, alpha=0.0125, power=p) for p in (0.8, 0.9))


def test_too_few_pairs_have_no_power_whatever_the_t_test_could_do():
    assert t_test_power(3.0, 5) > 0.99
    found = plan(n=5, d_z=3.0)
    assert (found.power, found.detectable_d_z, found.smallest_p) == (0.0, None, 0.0625)
    # Four pairs would be enough for the t-test; no sign-flip test rejects with fewer than six.
    assert t_test_power(3.0, 4) >= 0.9 > t_test_power(3.0, 3)
    assert (found.seeds, found.seeds_80, found.seeds_90) == (6, 6, 6)
    assert plan(n=6, d_z=3.0).power > 0.99
    assert plan(n=1).smallest_p == 1.0


def test_a_plan_without_an_effect():
    found = plan(n=8)
    assert (found.d_z, found.power, found.seeds, found.seeds_80, found.seeds_90) == (None,) * 5
    assert found.detectable_d_z == detectable_effect(8)
    none = plan(n=8, d_z=0.0, family=2)
    assert (none.power, none.seeds, none.seeds_80, none.seeds_90) == (0.025, None, None, None)
    assert plan(n=8, d_z=1e-5).seeds is None


def test_the_sign_of_the_effect_does_not_matter():
    more, less = plan(n=9, d_z=0.7), plan(n=9, d_z=-0.7)
    assert (more.power, more.seeds, more.seeds_90) == (less.power, less.seeds, less.seeds_90)


def test_the_planned_power_is_about_that_of_the_sign_flip_test():
    # From about eight pairs on: of 600 simulated studies, within a binomial band of the planned power and two points.
    studies, n, d_z = 600, 10, 1.0
    found = sum(sign_flip_p(row) <= 0.05 for row in np.random.default_rng(9).normal(d_z, size=(studies, n)))
    power = plan(n=n, d_z=d_z).power
    low, high = stats.binom.ppf([0.0005, 0.9995], studies, [power - 0.02, power + 0.02])
    assert low <= found <= high


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n must be 1 or more pairs, got 0"),
        ({"n": 5, "alpha": 0.0}, "alpha"),
        ({"n": 5, "alpha": 1.0}, "alpha"),
        ({"n": 5, "family": 0}, "family"),
        ({"n": 5, "wanted_power": 1.0}, "wanted_power"),
        ({"n": 5, "wanted_power": 0.0}, "wanted_power"),
        ({"n": 5, "d_z": math.nan}, "d_z must be finite"),
        ({"n": 9, "d_z": math.inf}, "d_z must be finite"),
    ],
)
def test_bad_plans_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        plan(**options)
