"""Seeds, images and both: hand-computed layouts, an independent analysis of variance, coverage."""

import json
import math
import warnings
from dataclasses import asdict
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from helpers import cases
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from hpo.statistics.images import crossed_interval, noise_floor
from hpo.statistics.paired import compare_paired


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@st.composite
def correctness_pairs(draw):
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 6)))
    return tuple(draw(arrays.arrays(bool, shape)) for _ in range(2))


def from_errors(difference):
    """Correctness of two arms whose error difference, b - a, is the given array."""
    return np.full(np.shape(difference), 0.5) + np.asarray(difference) / 2, 0.5 - np.asarray(difference) / 2


# The crossed layout

# wrong_b - wrong_a is [[1, 0, 0], [1, 1, 0]] here: mean 1/2, SS_seed 1/6, SS_image 1, SS_residual 1/3.
HAND_A = np.array([[1, 0, 1], [1, 1, 1]], dtype=bool)
HAND_B = np.array([[0, 0, 1], [0, 0, 1]], dtype=bool)


def test_a_layout_worked_by_hand():
    result = crossed_interval(HAND_A, HAND_B)
    assert (result.n_seeds, result.n_images, result.mean, result.truncated) == (2, 3, 0.5, False)
    # MS_seed = 1/6, MS_image = 1/2, MS_residual = 1/6; (1/6 + 1/2 - 1/6) / 6 = 1/12.
    assert result.se_crossed == pytest.approx(math.sqrt(1 / 12), rel=1e-14)
    assert result.se_seeds == pytest.approx(1 / 6, rel=1e-14)
    assert result.se_images == pytest.approx(math.sqrt(1 / 12), rel=1e-14)
    assert result.variance_seeds == 0.0
    assert result.variance_images == pytest.approx(1 / 6, rel=1e-14)
    assert result.variance_residual == pytest.approx(1 / 6, rel=1e-14)
    # (1/2)^2 / ((1/6)^2 / 1 + (1/2)^2 / 2 + (1/6)^2 / 2) = (1/4) / (1/6) = 3/2.
    assert result.df == pytest.approx(1.5, rel=1e-14)
    half_width = stats.t.ppf(0.975, 1.5) * math.sqrt(1 / 12)
    # Seed means 1/3 and 2/3 on one degree of freedom, t = 12.7062.
    assert result.interval_seeds.low == pytest.approx(0.5 - 12.706205 / 6, abs=1e-6)
    assert half_width < 12.706205 / 6
    assert (result.interval_crossed, result.widened) == (result.interval_seeds, True)
    # Image means 1, 1/2, 0 on two, t = 4.302653.
    assert result.interval_images.high == pytest.approx(0.5 + 4.302653 * math.sqrt(1 / 12), abs=1e-6)


def test_the_image_component_is_not_negative():
    # Differences [[1, 0], [0, 1], [1, 1]]: both images have the mean 2/3, MS_image = 0; seed means 1/2, 1/2, 1.
    result = crossed_interval(np.ones((3, 2)), 1 - np.array([[1, 0], [0, 1], [1, 1]]))
    assert result.truncated
    assert result.variance_images == 0.0
    assert result.variance_residual == pytest.approx(1 / 2)
    assert result.se_crossed == result.se_seeds == pytest.approx(1 / 6)
    assert result.df == 2.0
    # Nothing varies over the images: there is no interval over them, and none over seeds and images.
    assert (result.interval_images, result.interval_crossed) == (None, None)
    one_more = crossed_interval(np.ones((3, 4)), 1 - np.array([[1, 0, 1, 0], [0, 1, 0, 0], [1, 1, 1, 0]]))
    assert not one_more.truncated
    assert one_more.interval_crossed is not None


def test_degrees_of_freedom_keep_their_lower_bound():
    # Seed means are 0; SS_image = 12, SS_residual = 8, so that Satterthwaite's ratio is 9 / 13.
    difference = np.array([[1, -1] * 5, [1, -1] * 3 + [-1, 1] * 2])
    result = crossed_interval(*from_errors(difference))
    assert result.se_crossed == pytest.approx(math.sqrt((12 / 9 - 8 / 9) / 20))
    assert result.df == 1.0
    assert not result.truncated


def half_width(interval):
    return (interval.high - interval.low) / 2


@pytest.mark.parametrize("seeds", [2, 3, 6])
@pytest.mark.parametrize("likeness", [0.3, 1.0])
def test_new_images_too_is_never_narrower_than_this_test_set(seeds, likeness):
    """Fault 14: the interval on new images too came out narrower than that on this test set, at two and three seeds above all."""
    generator = np.random.default_rng([14, seeds])
    narrower, wider = 0, 0
    for _ in range(200):
        ease = generator.normal(0, 1, 60)
        arms = [
            ease + generator.normal(0, likeness, 60) + generator.normal(1, 0.5, (seeds, 60)) > 0
            for _ in ("baseline", "arm")
        ]
        result = crossed_interval(*arms)
        if result.interval_seeds is None or result.interval_images is None:
            assert result.interval_crossed is None
            continue
        ours = half_width(result.interval_crossed)
        assert ours >= half_width(result.interval_seeds)
        assert ours >= half_width(result.interval_images)
        own = stats.t.ppf(0.975, result.df) * result.se_crossed
        assert ours == pytest.approx(max(own, half_width(result.interval_seeds), half_width(result.interval_images)))
        assert result.widened == (ours > own * (1 + 1e-9))
        narrower += own < half_width(result.interval_seeds) * (1 - 1e-9)
        wider += own > half_width(result.interval_seeds)
    # Left to itself it would have been narrower in some studies of few seeds, and wider in others.
    assert narrower > 0 or seeds > 3
    assert wider > 0


@settings(max_examples=cases(25))
@given(correctness_pairs())
def test_an_interval_about_more_holds_one_about_less(pair):
    result = crossed_interval(*pair)
    if result.interval_crossed is not None:
        for inner in (result.interval_seeds, result.interval_images):
            if inner is not None:
                assert result.interval_crossed.low <= inner.low <= inner.high <= result.interval_crossed.high


def test_seeds_that_agree_by_chance_prove_nothing():
    # Both seeds have the mean 0, and the images disagree about which arm they favour.
    result = crossed_interval(*from_errors([[1, -1, 0, 0], [-1, 1, 0, 0]]))
    assert (result.se_crossed, result.df, result.interval_crossed, result.truncated) == (0.0, None, None, True)
    assert result.interval_seeds is None


@pytest.mark.parametrize("shape", [(2, 5), (6, 9), (4, 30)])
@pytest.mark.parametrize("kind", ["boolean", "three retrains", "real"])
def test_against_an_analysis_of_variance(shape, kind):
    generator = np.random.default_rng(len(kind) + shape[0])
    ease = generator.random(shape[1])
    if kind == "boolean":
        a, b = (generator.random(shape) < ease for _ in range(2))
    elif kind == "three retrains":
        a, b = (generator.binomial(3, np.broadcast_to(ease, shape)) / 3 for _ in range(2))
    else:
        a, b = generator.random((2, *shape)) * ease
    difference = (1 - b.astype(float)) - (1 - a.astype(float))
    seed, image = (index.ravel() for index in np.indices(shape))
    table = anova_lm(ols("d ~ C(s) + C(i)", pd.DataFrame({"d": difference.ravel(), "s": seed, "i": image})).fit())
    of_seed, of_image, residual = table["mean_sq"]
    result = crossed_interval(a, b)
    assert result.mean == pytest.approx(difference.mean(), abs=1e-14)
    assert result.variance_residual == pytest.approx(residual, rel=1e-9)
    assert result.variance_seeds == pytest.approx(max(0, of_seed - residual) / shape[1], rel=1e-9, abs=1e-12)
    assert result.variance_images == pytest.approx(max(0, of_image - residual) / shape[0], rel=1e-9, abs=1e-12)
    assert result.se_seeds**2 == pytest.approx(of_seed / difference.size, rel=1e-9)
    assert result.truncated == (of_image < residual)
    if not result.truncated:
        combined = of_seed + of_image - residual
        spread = (np.array([of_seed, of_image, residual]) ** 2 / table["df"]).sum()
        assert result.se_crossed**2 == pytest.approx(combined / difference.size, rel=1e-9)
        assert result.df == pytest.approx(max(combined**2 / spread, min(shape) - 1), rel=1e-9)


def test_the_interval_seeds_is_the_paired_t_interval_of_the_error_rates():
    generator = np.random.default_rng(4)
    a, b = generator.random((2, 7, 50)) < 0.9
    paired = compare_paired(1 - a.mean(axis=1), 1 - b.mean(axis=1), alpha=0.1)
    result = crossed_interval(a, b, alpha=0.1)
    assert result.mean == pytest.approx(paired.mean, abs=1e-15)
    assert (result.interval_seeds.low, result.interval_seeds.high) == pytest.approx((paired.ci_low, paired.ci_high))
    assert result.confidence == paired.confidence


def test_one_seed_says_something_about_images_alone():
    generator = np.random.default_rng(5)
    a, b = generator.random((2, 1, 200)) < 0.8
    result = crossed_interval(a, b)
    expected = stats.ttest_rel(~b[0] * 1.0, ~a[0] * 1.0).confidence_interval()
    assert (result.interval_images.low, result.interval_images.high) == pytest.approx(tuple(expected), rel=1e-10)
    undefined = (
        result.se_seeds,
        result.interval_seeds,
        result.se_crossed,
        result.interval_crossed,
        result.df,
        result.variance_residual,
    )
    assert undefined == (None,) * 6
    assert not result.truncated


def test_one_image_says_something_about_seeds_alone():
    result = crossed_interval([[1], [1], [0]], [[0], [1], [0]])
    assert (result.se_images, result.interval_images, result.se_crossed, result.interval_crossed) == (None,) * 4
    assert result.se_seeds == pytest.approx(1 / 3)
    single = crossed_interval([[1]], [[0]])
    assert (single.mean, single.interval_seeds, single.interval_images, single.interval_crossed) == (
        1.0,
        None,
        None,
        None,
    )


@pytest.mark.parametrize("value", [False, True])
def test_identical_arms(value):
    both = np.full((4, 9), value)
    result = crossed_interval(both, both)
    assert (result.mean, result.se_crossed, result.df, result.truncated) == (0.0, 0.0, None, False)
    # No variance, no t.
    assert (result.interval_crossed, result.interval_seeds, result.interval_images, result.widened) == (
        None,
        None,
        None,
        False,
    )


def test_thirds_leave_no_rounding_behind():
    # Rows and columns add up exactly, so the residual is 0; in floats its sum of squares is not.
    difference = np.add.outer([0.0, 1 / 3, 2 / 3], [0.1, 1 / 7, 0.3, 1 / 3])
    assert crossed_interval(*from_errors(difference)).variance_residual == 0.0


def test_many_booleans_give_the_exact_mean_squares():
    generator = np.random.default_rng(6)
    a, b = generator.random((30, 10_000)) < 0.99, generator.random((30, 10_000)) < 0.985
    difference = a.astype(int) - b.astype(int)
    cells, total = difference.size, int(difference.sum())
    of_rows = sum(int(x) ** 2 for x in difference.sum(axis=1))
    of_columns = sum(int(x) ** 2 for x in difference.sum(axis=0))
    squares = int((difference**2).sum())
    residual = Fraction(cells * squares - 30 * of_rows - 10_000 * of_columns + total**2, cells * 29 * 9_999)
    result = crossed_interval(a, b)
    assert result.mean == total / cells
    assert result.se_seeds == math.sqrt(float(Fraction(30 * of_rows - total**2, cells)) / 29 / cells)
    assert result.variance_residual == pytest.approx(float(residual), rel=1e-15)


def test_coverage_when_seeds_and_images_both_vary():
    generator = np.random.default_rng(7)
    seeds, images, studies, truth = 8, 60, 1500, 0.02
    covered, covered_by_seeds_alone = 0, 0
    for _ in range(studies):
        seed_effect = generator.normal(0, 0.01, (seeds, 1))
        image_effect = generator.normal(0, 0.06, images)
        residual = generator.normal(0, 0.05, (seeds, images))
        result = crossed_interval(*from_errors(truth + seed_effect + image_effect + residual))
        covered += truth in result.interval_crossed
        covered_by_seeds_alone += truth in result.interval_seeds
    # 99.9% binomial band about .95.
    assert abs(covered / studies - 0.95) < 3.29 * math.sqrt(0.95 * 0.05 / studies)
    assert covered_by_seeds_alone / studies < 0.8


@settings(max_examples=cases(15))
@given(correctness_pairs(), st.randoms(use_true_random=False))
def test_order_and_direction(pair, random):
    a, b = pair
    plain, swapped = crossed_interval(a, b), crossed_interval(b, a)
    assert swapped.mean == -plain.mean
    kept = ("se_seeds", "se_images", "se_crossed", "df", "variance_seeds", "variance_images", "variance_residual")
    assert [getattr(swapped, name) for name in kept] == [getattr(plain, name) for name in kept]
    assert (swapped.truncated, swapped.widened) == (plain.truncated, plain.widened)
    rows, columns = list(range(a.shape[0])), list(range(a.shape[1]))
    random.shuffle(rows)
    random.shuffle(columns)
    assert crossed_interval(a[rows][:, columns], b[rows][:, columns]) == plain
    assert crossed_interval(~b, ~a) == plain
    assert asdict(plain) == json.loads(json.dumps(asdict(plain), allow_nan=False))


# The noise floor


def test_noise_floor_by_hand():
    # One pair: only a right on 3 of 10 images, only b on 1: .4 - (.1 - .3)^2 = .36, sqrt(.36 / 10).
    a = np.array([[1, 1, 1, 0, 1, 1, 1, 1, 0, 0]], dtype=bool)
    b = np.array([[0, 0, 0, 1, 1, 1, 1, 1, 0, 0]], dtype=bool)
    result = noise_floor(a, b)
    assert (result.n_seeds, result.n_images, result.only_a, result.only_b) == (1, 10, 0.3, 0.1)
    assert result.floor == pytest.approx(0.6 / math.sqrt(10), rel=1e-14)
    # A second pair without differences: the mean variance halves.
    joined = noise_floor(np.vstack([a, a]), np.vstack([b, a]))
    assert joined.floor == pytest.approx(math.sqrt(0.36 / 2 / 10), rel=1e-14)
    assert (joined.only_a, joined.only_b) == (0.15, 0.05)


@given(correctness_pairs(), st.integers(2, 4))
def test_more_seeds_do_not_lower_the_floor_but_more_images_do(pair, times):
    a, b = pair
    plain = noise_floor(a, b)
    assert noise_floor(np.repeat(a, times, axis=0), np.repeat(b, times, axis=0)).floor == pytest.approx(plain.floor)
    more_images = noise_floor(np.repeat(a, times, axis=1), np.repeat(b, times, axis=1))
    assert more_images.floor == pytest.approx(plain.floor / math.sqrt(times))
    swapped = noise_floor(b, a)
    assert (swapped.only_a, swapped.only_b, swapped.floor) == (plain.only_b, plain.only_a, plain.floor)


def test_floor_of_one_pair_is_its_standard_error_over_images():
    generator = np.random.default_rng(8)
    a, b = generator.random((2, 1, 500)) < 0.9
    # The one divides by N, the other by N - 1.
    assert noise_floor(a, b).floor == pytest.approx(crossed_interval(a, b).se_images * math.sqrt(499 / 500), rel=1e-12)


# Bad input


@pytest.mark.parametrize("function", [crossed_interval, noise_floor])
@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([1, 0], [1, 0], r"a: must have the shape \(seeds, images\), got \(2,\)"),
        ([[1, 0]], [[1, 0], [1, 1]], r"a has the shape \(1, 2\) and b \(2, 2\)"),
        (np.ones((0, 3)), np.ones((0, 3)), "a: is empty"),
        ([[1.0, 0.5]], [[1.0, 1.5]], r"b: entry \(0, 1\) is 1.5"),
        ([[1.0, math.nan]], [[1.0, 1.0]], r"a: entry \(0, 1\) is nan"),
        ([["x"]], [[1]], "a: must hold booleans"),
    ],
)
def test_bad_correctness_is_refused(function, a, b, message):
    with pytest.raises(ValueError, match=message):
        function(a, b)


@pytest.mark.parametrize("alpha", [0.0, 1.0, math.nan])
def test_bad_alpha_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha"):
        crossed_interval(HAND_A, HAND_B, alpha=alpha)
