"""Seeds and effects: R's pwr for the t-test, and the power of the sign-flip test, which decides."""

import itertools
import math
import time

import numpy as np
import pytest
from helpers import cases
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats
from statsmodels.stats.power import TTestPower

from hpo.statistics import (
    detectable_effect,
    least_pairs,
    plan,
    seeds_needed,
    sign_flip_p,
    sign_flip_power,
    smallest_p,
    t_test_power,
)

# The t-test


def integrated(d_z: float, n: int, alpha: float = 0.05) -> float:
    """Return the power of the two-sided paired t-test, by integrating over the standard deviation that is observed."""
    df, shift = n - 1, d_z * math.sqrt(n)
    critical = stats.t.isf(alpha / 2, df) / math.sqrt(df)

    def rejected(chi: float) -> float:
        return stats.chi.pdf(chi, df) * (special.ndtr(shift - critical * chi) + special.ndtr(-shift - critical * chi))

    return integrate.quad(rejected, 0, stats.chi.isf(1e-16, df), epsabs=1e-13, limit=200)[0]


@pytest.mark.parametrize(("d_z", "at_80", "at_90"), [(0.5, 34, 44), (0.8, 15, 19), (1.0, 10, 13), (1.5, 6, 7)])
def test_table_of_r_pwr(d_z, at_80, at_90):
    for power, n in ((0.8, at_80), (0.9, at_90)):
        assert t_test_power(d_z, n) >= power > t_test_power(d_z, n - 1)
        assert t_test_power(-d_z, n) == t_test_power(d_z, n)


def test_the_power_of_the_t_test_is_that_of_r_pwr():
    assert TTestPower().power(1.0, 30, 0.05, alternative="larger") == pytest.approx(0.999892010204909, abs=1e-12)
    assert t_test_power(0.2, 20) == t_test_power(-0.2, 20) == pytest.approx(0.1359562887679666, abs=1e-12)
    # The one-sided test is one half of a two-sided one at twice the level, whose other half adds next to nothing here.
    assert t_test_power(1.0, 30, alpha=0.1) == pytest.approx(0.999892010204909, abs=1e-11)
    # `?pwr.t.test`: exercise 2.5 of Cohen (1988), p. 47, one sample: R prints power = 0.4555818.
    assert t_test_power(0.2, 60, alpha=0.10) == pytest.approx(0.4555818, abs=5e-8)


@pytest.mark.parametrize("alpha", [0.05, 0.0125, 0.001])
@pytest.mark.parametrize("n", [2, 7, 40])
def test_the_power_of_the_t_test_is_an_integral(n, alpha):
    # SciPy's noncentral t gives NaN at many of these.
    effects = np.geomspace(0.05, 1e6, 40)
    powers = [t_test_power(d_z, n, alpha=alpha) for d_z in effects]
    assert powers == sorted(powers)
    assert powers[-1] == 1.0
    for d_z, power in zip(effects[:16], powers, strict=False):
        assert power == pytest.approx(integrated(d_z, n, alpha), abs=1e-9)


# The sign-flip test


def test_the_power_at_the_fewest_pairs_is_that_of_signs_that_all_agree():
    """Fault 12: six pairs reject only if all signs agree, which d_z = 1.5 does in .660 of studies; the t-test has .833."""
    found = plan(n=6, d_z=1.5)
    assert found.power == pytest.approx(special.ndtr(1.5) ** 6 + special.ndtr(-1.5) ** 6, abs=1e-12)
    assert found.power == pytest.approx(0.660, abs=5e-4)
    assert (found.power_method, found.power_error) == ("exact", 0.0)
    assert t_test_power(1.5, 6) == pytest.approx(0.833, abs=5e-4)


def test_the_seeds_for_an_effect_are_those_of_the_test_that_decides():
    """Fault 12: d_z = 1.5 needs 7 seeds for 80% power, not 6; ten seeds find d_z = 1 in .795 of studies, so 11 are needed."""
    assert plan(n=6, d_z=1.5).seeds_80 == 7
    assert plan(n=7, d_z=1.5).power == pytest.approx(0.88, abs=0.005)
    assert plan(n=10, d_z=1.0).power == pytest.approx(0.795, abs=0.003)
    assert plan(n=10, d_z=1.0).seeds_80 == 11


@pytest.mark.parametrize(
    ("d_z", "n", "alpha"), [(1.5, 7, 0.05), (1.0, 10, 0.05), (1.0, 9, 0.05 / 3), (0.8, 14, 0.05), (1.2, 10, 0.00625)]
)
def test_the_simulated_power_is_how_often_the_test_rejects(d_z, n, alpha):
    studies = 2_000
    found = sign_flip_power(d_z, n, alpha=alpha)
    rows = np.random.default_rng(9).normal(d_z, size=(studies, n))
    rejected = sum(sign_flip_p(row) <= alpha for row in rows)
    assert (found.method, 0 < found.error < 0.002) == ("simulated", True)
    low, high = stats.binom.ppf([0.0005, 0.9995], studies, [found.value - 0.003, found.value + 0.003])
    assert low <= rejected <= high


def test_the_simulated_power_is_exact_given_the_sizes():
    # Seven pairs at .05 reject for 3 of 64 patterns: by hand from the sizes of a large sample.
    sizes = np.abs(np.random.default_rng(1).normal(1.0, size=(4_000, 7)))
    signs = np.array(list(itertools.product((1, -1), repeat=7)))
    sums = sizes @ signs.T
    largest = -np.sort(-np.abs(sums), axis=1)[:, 5:6]  # three patterns and their mirror images
    plus = 1 / (1 + np.exp(-2 * sizes))
    chances = np.prod(np.where(signs == 1, plus[:, None], 1 - plus[:, None]), axis=2)
    by_hand = np.sum(chances * (np.abs(sums) >= largest - 1e-12), axis=1)
    found = sign_flip_power(1.0, 7)
    assert found.value == pytest.approx(by_hand.mean(), abs=4 * (by_hand.std() / math.sqrt(4_000) + found.error))


@pytest.mark.parametrize("alpha", [0.05, 0.0125])
def test_where_the_power_of_the_t_test_stands_in_it_is_as_close_as_said(alpha):
    n = next(n for n in itertools.count(6) if sign_flip_power(1.0, n, alpha=alpha).method == "t-test")
    found = sign_flip_power(0.7, n, alpha=alpha)
    assert found.value == t_test_power(0.7, n, alpha=alpha)
    # One pair less is still simulated.
    simulated = sign_flip_power(0.7, n - 1, alpha=alpha)
    assert simulated.method == "simulated"
    apart = abs(t_test_power(0.7, n - 1, alpha=alpha) - simulated.value)
    assert apart <= found.error + 3 * simulated.error
    assert found.error <= 0.002


def test_no_effect_is_found_as_often_as_the_test_errs():
    assert [sign_flip_power(0.0, n).value for n in (5, 6, 7, 10)] == [0.0, 2 / 64, 6 / 128, 50 / 1024]
    assert sign_flip_power(0.0, 10).method == "exact"
    assert sign_flip_power(0.0, 5_000).value == 0.05
    assert sign_flip_power(1e-9, 10).value == pytest.approx(50 / 1024, abs=1e-6)


@settings(max_examples=cases(10))
@given(st.floats(0.01, 4), st.integers(1, 30), st.sampled_from([0.1, 0.05, 0.05 / 3, 0.00625]))
def test_larger_effects_and_more_pairs_have_more_power(d_z, n, alpha):
    here = sign_flip_power(d_z, n, alpha=alpha)
    assert 0 <= here.value <= 1
    assert sign_flip_power(-d_z, n, alpha=alpha) == here
    for other in (sign_flip_power(d_z * 1.1, n, alpha=alpha), sign_flip_power(d_z, n + 1, alpha=alpha)):
        assert other.value >= here.value - 3 * here.error - 3 * other.error


@pytest.mark.parametrize("d_z", [0.31, 0.7, 1.2, 2.0, 1e9])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_it_is_the_smallest_number_that_reaches_the_power(d_z, alpha):
    n = seeds_needed(d_z, alpha=alpha)
    assert sign_flip_power(d_z, n, alpha=alpha).value >= 0.8 > sign_flip_power(d_z, n - 1, alpha=alpha).value
    assert seeds_needed(-d_z, alpha=alpha) == n >= least_pairs(alpha)


def test_none_where_no_number_helps():
    assert seeds_needed(0.0) is None
    assert seeds_needed(1e-4) is None
    assert seeds_needed(0.0089) == pytest.approx(99_093, abs=5)
    assert seeds_needed(0.0088) is None


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


@pytest.mark.parametrize("n", [7, 10, 34, 400])
@pytest.mark.parametrize(("alpha", "power"), [(0.05, 0.8), (0.02, 0.9), (0.05, 0.3)])
def test_the_detectable_effect_has_the_power(n, alpha, power):
    effect = detectable_effect(n, alpha=alpha, power=power)
    assert sign_flip_power(effect, n, alpha=alpha).value == pytest.approx(power, abs=1e-3)
    # A little more of an effect takes no more pairs, a little less takes one more.
    assert (
        seeds_needed(effect * 1.001, alpha=alpha, power=power)
        <= n
        < seeds_needed(effect * 0.999, alpha=alpha, power=power)
    )


def test_no_detectable_effect():
    assert detectable_effect(5) is None
    assert detectable_effect(6) == pytest.approx(1.7927, abs=1e-3)
    # Every effect, 0 too, is found with a probability of about alpha.
    assert detectable_effect(10, power=0.05) is None
    assert detectable_effect(10, power=0.04) is None


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
    assert (found.seeds, found.seeds_80, found.seeds_90) == (11, 11, 13)
    power = sign_flip_power(1.0, 10)
    assert (found.power, found.power_method, found.power_error) == (power.value, power.method, power.error)
    assert found.detectable_d_z == detectable_effect(10) > 1.0 > detectable_effect(11)


def test_several_arms_share_the_level():
    found = plan(n=12, d_z=0.9, family=4, wanted_power=0.7)
    assert found.least_n == least_pairs(0.05, 4) == 8
    assert found.power == sign_flip_power(0.9, 12, alpha=0.0125).value
    assert found.detectable_d_z == detectable_effect(12, alpha=0.0125, power=0.7)
    assert found.seeds == seeds_needed(0.9, alpha=0.0125, power=0.7)
    assert (found.seeds_80, found.seeds_90) == tuple(seeds_needed(0.9, alpha=0.0125, power=p) for p in (0.8, 0.9))


def test_too_few_pairs_have_no_power_whatever_the_t_test_could_do():
    assert t_test_power(3.0, 5) > 0.99
    found = plan(n=5, d_z=3.0)
    assert (found.power, found.power_error, found.detectable_d_z, found.smallest_p) == (0.0, 0.0, None, 0.0625)
    # Four pairs would be enough for the t-test; no sign-flip test rejects with fewer than six.
    assert t_test_power(3.0, 4) >= 0.9 > t_test_power(3.0, 3)
    assert (found.seeds, found.seeds_80, found.seeds_90) == (6, 6, 6)
    assert plan(n=6, d_z=3.0).power > 0.99
    assert plan(n=1).smallest_p == 1.0


def test_a_plan_without_an_effect():
    found = plan(n=8)
    assert (found.d_z, found.power, found.power_method, found.power_error) == (None,) * 4
    assert (found.seeds, found.seeds_80, found.seeds_90) == (None,) * 3
    assert found.detectable_d_z == detectable_effect(8)
    none = plan(n=8, d_z=0.0, family=2)
    assert (none.power, none.seeds, none.seeds_80, none.seeds_90) == (3 / 128, None, None, None)
    assert plan(n=8, d_z=1e-5).seeds is None


def test_a_plan_is_the_same_every_time_and_takes_no_time():
    sign_flip_power.cache_clear()
    before, began = np.random.get_state()[1].tolist(), time.perf_counter()
    first = plan(n=15, d_z=0.8)
    assert time.perf_counter() - began < 5  # about half a second on one slow core
    sign_flip_power.cache_clear()
    assert plan(n=15, d_z=0.8) == first
    assert np.random.get_state()[1].tolist() == before


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
