"""The Bayesian signed-rank test: the numbers of baycomp, and the posterior sampled another way."""

import math

import numpy as np
import pytest
from helpers import cases
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.statistics import BayesianSignedRanks, bayesian_signed_ranks

# Demšar (2006), Table 2: AUC of C4.5 and of C4.5 with m tuned.
C45 = np.array([0.763, 0.599, 0.954, 0.628, 0.882, 0.936, 0.661, 0.583, 0.775, 1.0, 0.940, 0.619, 0.972, 0.957])
C45_M = np.array([0.768, 0.591, 0.971, 0.661, 0.888, 0.931, 0.668, 0.583, 0.838, 1.0, 0.962, 0.666, 0.981, 0.978])


@pytest.mark.parametrize(("rope", "within", "above"), [(0.01, 0.3306, 0.6694), (0.02, 0.8860, 0.1140)])
def test_demsars_table_as_in_baycomp(rope, within, above):
    """Fault 9: beside the exact signed-rank test, at ROPE .01: P(ROPE) = .33, P(C4.5+m) = .67 (baycomp, 200,000 samples)."""
    found = bayesian_signed_ranks(C45_M - C45, rope)
    # Standard errors .0022 and .0011.
    assert (found.below, found.within, found.above) == pytest.approx((0.0, within, above), abs=0.01)
    assert found == bayesian_signed_ranks(C45_M - C45, rope)


@settings(max_examples=cases(3))
@given(st.lists(st.integers(-8, 8), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_neither_order_nor_direction_nor_unit_matters(differences, random):
    found = bayesian_signed_ranks(differences, 1.5)
    assert found.below + found.within + found.above == pytest.approx(1.0, abs=1e-12)
    swapped = bayesian_signed_ranks([-d for d in differences], 1.5)
    assert (swapped.below, swapped.within, swapped.above) == (found.above, found.within, found.below)
    shuffled = random.sample(differences, len(differences))
    assert bayesian_signed_ranks(shuffled, 1.5) == found
    scaled = bayesian_signed_ranks([d / 1024 for d in differences], 1.5 / 1024)
    assert (scaled.below, scaled.within, scaled.above) == (found.below, found.within, found.above)


def test_it_is_the_posterior_of_the_dirichlet_process():
    differences, rope = [3.0, -1.0, 2.0, 0.5, 1.0, -0.5], 0.75
    generator = np.random.default_rng(1)
    wins = np.zeros(3)
    # A Dirichlet vector is a vector of gamma variables over their sum.
    gammas = generator.gamma([0.5] + [1.0] * 6, size=(20_000, 7))
    for weights in gammas / gammas.sum(axis=1, keepdims=True):
        masses = dict.fromkeys(("below", "within", "above"), 0.0)
        for x, p in zip([0.0, *differences], weights, strict=True):
            for y, q in zip([0.0, *differences], weights, strict=True):
                mean = (x + y) / 2
                if abs(mean) == rope:
                    masses["within"] += p * q / 2
                    masses["above" if mean > 0 else "below"] += p * q / 2
                else:
                    masses["below" if mean < -rope else "above" if mean > rope else "within"] += p * q
        wins[list(masses.values()).index(max(masses.values()))] += 1
    found = bayesian_signed_ranks(differences, rope)
    assert (found.below, found.within, found.above) == pytest.approx(wins / 20_000, abs=4 * math.sqrt(0.25 / 14_000))


def test_no_difference_at_all_is_practically_equal():
    assert bayesian_signed_ranks([0] * 8, 0.01) == BayesianSignedRanks(0.01, below=0.0, within=1.0, above=0.0)
    assert bayesian_signed_ranks([0.3 - 0.1 - 0.2], 0.01).within == 1.0


@pytest.mark.parametrize("rope", [0.0, -1.0, math.nan, math.inf])
def test_a_rope_must_be_a_positive_number(rope):
    with pytest.raises(ValueError, match="rope must be a positive number"):
        bayesian_signed_ranks([1.0], rope)


@pytest.mark.parametrize(("bad", "message"), [([], "empty"), ([math.nan], "nan")])
def test_bad_differences_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        bayesian_signed_ranks(bad, 1.0)
