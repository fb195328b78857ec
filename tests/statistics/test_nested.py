"""Search luck against training noise: known tables, a simulation with known components, and what must not matter."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hpo.statistics import nested_variance

tables = st.tuples(st.integers(1, 6), st.integers(1, 5)).flatmap(
    lambda shape: st.lists(
        st.lists(st.integers(-50, 50), min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0]
    )
)


def test_snedecor_and_cochran():
    """Snedecor and Cochran, Statistical Methods, the turnip leaves: 4 leaves, 4 determinations of calcium of each.

    Mean squares .2961 between and .0066 within leaves, hence components .0724 and .0066.
    """
    leaves = [
        [3.28, 3.09, 3.03, 3.03],
        [3.52, 3.48, 3.38, 3.38],
        [2.88, 2.80, 2.81, 2.76],
        [3.34, 3.38, 3.23, 3.26],
    ]
    found = nested_variance(leaves)
    assert found.variance_training == pytest.approx(0.0066, abs=5e-5)
    assert found.variance_search == pytest.approx(0.0724, abs=5e-5)
    assert found.share_search == pytest.approx(0.0724 / 0.0790, abs=1e-3)
    # The same mean squares as a one-way analysis of variance.
    f = stats.f_oneway(*leaves).statistic
    assert (found.variance_training + 4 * found.variance_search) / found.variance_training == pytest.approx(f)


def test_components_that_are_known_are_found():
    generator = np.random.default_rng(3)
    values = generator.normal(0, 2.0, (4_000, 1)) + generator.normal(0, 1.0, (4_000, 3))
    found = nested_variance(values)
    assert found.variance_search == pytest.approx(4.0, abs=4 * 4.4 * math.sqrt(2 / 4_000))
    assert found.variance_training == pytest.approx(1.0, abs=4 * math.sqrt(2 / 8_000))


def test_retrains_that_explain_everything():
    found = nested_variance([[1, 3], [1, 3], [3, 1]])
    assert (found.variance_training, found.variance_search, found.truncated) == (2.0, 0.0, True)
    assert found.share_search == 0.0


def test_what_cannot_be_said_is_none():
    one = nested_variance([[0.2, 0.4]])
    assert (one.variance_search, one.share_search) == (None, None)
    assert one.variance_training == pytest.approx(0.02)
    single = nested_variance([[0.2], [0.4]])
    assert (single.variance_training, single.share_search) == (None, None)
    assert single.variance_search == pytest.approx(0.02)
    equal = nested_variance([[0.1, 0.1, 0.1]] * 7)
    assert (equal.variance_search, equal.variance_training, equal.share_search) == (0.0, 0.0, None)


@given(tables, st.integers(-8, 8), st.randoms(use_true_random=False))
def test_neither_order_nor_a_constant_matters_and_scaling_scales(table, shift, random):
    values = np.array(table, dtype=float)
    plain = nested_variance(values)
    rows = [random.sample(row, len(row)) for row in table]
    random.shuffle(rows)
    for other, factor in ((nested_variance(np.array(rows) + shift), 1.0), (nested_variance(4 * values), 16.0)):
        for name in ("variance_search", "variance_training"):
            ours, theirs = getattr(plain, name), getattr(other, name)
            assert theirs is None if ours is None else theirs == pytest.approx(factor * ours, abs=1e-9)


@pytest.mark.parametrize("values", [[], [1.0, 2.0], [[]], [["a"]], [[1.0, math.nan]], [[math.inf]]])
def test_bad_input_is_refused(values):
    with pytest.raises(ValueError, match="values"):
        nested_variance(values)
