"""What the data say against the deciding test: how often by chance, and how often where it is so."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hpo.statistics import compare_paired, departures

STUDIES = 2_000
NORMAL = [0.1, -0.2, 0.3, 0.05, -0.15, 0.25, -0.05, 0.12]


def kinds(differences):
    return [found.kind for found in departures(differences)]


def said(samples, kind):
    return sum(kind in kinds(row) for row in samples)


@pytest.mark.parametrize("n", [6, 7, 9, 10, 20, 30])
@pytest.mark.parametrize("kernel", ["normal", "t3", "counts", "rare counts"])
def test_symmetric_differences_are_rarely_called_skewed(n, kernel):
    """Fault 18: at most one study in twenty, heavy tails and ties included."""
    generator = np.random.default_rng([n, 18])
    shape = (STUDIES, n)
    samples = {
        "normal": lambda: generator.normal(2.0, 1.0, shape),
        "t3": lambda: generator.standard_t(3, shape),
        "counts": lambda: np.subtract(*generator.binomial(200, 0.02, (2, *shape))),
        "rare counts": lambda: np.subtract(*generator.binomial(200, 0.002, (2, *shape))),
    }[kernel]()
    assert said(samples, "skew") <= stats.binom.ppf(0.9995, STUDIES, 0.05)


@pytest.mark.parametrize("n", [6, 10, 20, 30])
def test_a_collapse_in_one_seed_of_ten_is_found_where_it_is_in_the_data(n):
    """Fault 18: a baseline that collapses in 10% of the seeds makes differences that are not symmetric."""
    generator = np.random.default_rng(n)
    collapsed = generator.random((STUDIES, n)) < 0.1
    samples = generator.normal(0.5, 1.0, (STUDIES, n)) - 30 * collapsed
    some = collapsed.any(axis=1) & (collapsed.sum(axis=1) <= n // 3)
    assert said(samples[some], "skew") >= 0.97 * some.sum()
    (found,) = departures([*NORMAL, -30.0])
    assert (found.kind, found.n, found.side) == ("skew", 9, "below")
    # The median is .05; the largest differences on either side are .3 and -30.
    assert found.value == pytest.approx(30.05 / 0.25)
    assert found.limit == pytest.approx(3.5 + 24 / 9)


def test_the_comparison_carries_them():
    baseline = np.array([0.05, 0.052, 0.049, 0.051, 0.9, 0.05, 0.048, 0.053])
    arm = np.array([0.055, 0.056, 0.0561, 0.0554, 0.057, 0.058, 0.053, 0.0562])
    assert [found.kind for found in compare_paired(baseline, arm).departures] == ["skew"]
    assert compare_paired(np.zeros(8), NORMAL).departures == ()


def test_heavy_ties_are_a_share_of_the_pairs():
    """Fault 13: error counts that mostly tie are named beside the verdict, with the share of the pairs that do."""
    (found,) = departures([0, 0, 1, -1, 1, 3, 2, -4])
    assert (found.kind, found.n, found.value, found.limit, found.side) == ("heavy ties", 8, 5 / 8, 0.5, None)
    assert departures([0, 5, 1, -1, 8, 3, 2, -4]) == ()
    assert kinds([0.3 - 0.1 - 0.2, 0.1, 0.3 - 0.2, -0.2, 0.5, 0.6, 0.4]) == []
    assert kinds([0.0] * 6) == ["heavy ties"]


def test_few_pairs_and_few_signs_show_nothing():
    assert departures([0.1, 0.1, 0.1, 0.1, 5.0]) == ()
    # Five pairs that differ all lie on one side in one study of sixteen.
    assert "skew" not in kinds([0] * 20 + [1] * 5)
    assert "skew" in kinds([0] * 20 + [1] * 6)
    assert departures([0] * 20 + [1] * 6)[0].value is None


@given(st.lists(st.integers(-30, 30), min_size=1, max_size=12), st.integers(-20, 20), st.randoms(use_true_random=False))
def test_neither_order_nor_shift_nor_direction_matters_to_skew(differences, shift, random):
    def skew(values):
        return [(found.value, found.side) for found in departures(values) if found.kind == "skew"]

    expected = skew(differences)
    assert skew([d + shift for d in random.sample(differences, len(differences))]) == expected
    turned = {"above": "below", "below": "above"}
    assert skew([-d for d in differences]) == [(value, turned[side]) for value, side in expected]


@pytest.mark.parametrize(("bad", "message"), [([], "empty"), ([math.nan], "nan")])
def test_bad_differences_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        departures(bad)
