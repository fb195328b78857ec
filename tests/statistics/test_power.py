"""Seeds needed for an effect, against R's pwr and against its own definition."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from hpo.statistics import seeds_needed


@pytest.mark.parametrize(("d_z", "at_80", "at_90"), [(0.5, 34, 44), (0.8, 15, 19), (1.0, 10, 13), (1.5, 6, 7)])
def test_table_of_r_pwr(d_z, at_80, at_90):
    assert (seeds_needed(d_z), seeds_needed(d_z, power=0.9)) == (at_80, at_90)
    assert (seeds_needed(-d_z), seeds_needed(-d_z, power=0.9)) == (at_80, at_90)


def test_the_power_underneath_is_that_of_r_pwr():
    assert TTestPower().power(0.2, 20, 0.05) == pytest.approx(0.1359562887679666, abs=1e-12)
    assert TTestPower().power(1.0, 30, 0.05, alternative="larger") == pytest.approx(0.999892010204909, abs=1e-12)


@pytest.mark.parametrize("d_z", [0.05, 0.31, 0.7, 1.2, 2.0])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_it_is_the_smallest_number_that_reaches_the_power(d_z, alpha):
    def power(n: int) -> float:
        critical = stats.t.ppf(1 - alpha / 2, n - 1)
        noncentral = stats.nct(n - 1, d_z * math.sqrt(n))
        return noncentral.sf(critical) + noncentral.cdf(-critical)

    n = seeds_needed(d_z, alpha=alpha)
    assert power(n) >= 0.8 > power(n - 1)


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
