"""BOHB's model: its density against statsmodels', its split against equation 3, its proposals near the good ones."""

import math

import numpy as np
import pytest
from driver import FLOATS, KEYS, drive, problem, smooth
from statsmodels.nonparametric.kernel_density import KDEMultivariate

from hpo.core.errors import OptionError
from hpo.core.segments import Result, Segment
from hpo.core.space import Categorical, Float, SearchSpace
from hpo.optimizers.bohb import BOHB, ModelProposals
from hpo.optimizers.hyperband import Hyperband
from hpo.optimizers.kernel_density import Density

POINTS = np.random.default_rng(0).random((20, 3))


def test_numbers_have_the_density_of_statsmodels():
    theirs = KDEMultivariate(POINTS, "ccc", bw="normal_reference")
    ours = Density(POINTS, [None] * 3)
    at = np.random.default_rng(1).random((50, 3))
    assert ours.bandwidths == pytest.approx(theirs.bw)
    assert np.exp(ours.log_density(at)) == pytest.approx(theirs.pdf(at))


def test_choices_have_the_kernel_of_aitchison_and_aitken():
    # Choices 0, 0, 1 of 3: shares 2/3 and 1/3, so the indicators' standard deviation is sqrt(1 - 5/9) = 2/3.
    density = Density(np.array([[1 / 6], [1 / 6], [3 / 6]]), [3])
    width = 1.06 * 3 ** (-1 / 5) * 2 / 3
    assert density.bandwidths == pytest.approx([width])
    expected = [(2 * (1 - width) + width / 2) / 3, ((1 - width) + 2 * width / 2) / 3, width / 2]
    found = np.exp(density.log_density(np.array([[1 / 6], [3 / 6], [5 / 6]])))
    assert found == pytest.approx(expected)
    assert sum(found) == pytest.approx(1)


def test_where_all_points_agree_others_stay_possible():
    density = Density(np.array([[0.5, 0.25]] * 4), [None, 2])
    assert list(density.bandwidths) == [1e-3, 1e-3]
    assert np.isfinite(density.log_density(np.array([[0.9, 0.75]]))).all()


def test_samples_follow_the_density_widened_and_inside_the_cube():
    density = Density(np.array([[0.02, 1 / 6], [0.02, 1 / 6], [0.04, 1 / 6], [0.04, 3 / 6]]), [None, 3])
    narrow, wide = (density.sample(4000, factor, np.random.default_rng(0)) for factor in (1.0, 3.0))
    for drawn in (narrow, wide):
        assert drawn.shape == (4000, 2)
        assert drawn.min() >= 0
        assert drawn.max() <= 1
    assert wide[:, 0].std() > 1.5 * narrow[:, 0].std()
    shares = [np.mean(narrow[:, 1] > at) for at in (1 / 3, 2 / 3)]
    width = density.bandwidths[1]
    assert shares[1] == pytest.approx(width / 2, abs=0.03)
    assert shares[0] == pytest.approx(3 / 4 * width + 1 / 4 * (1 - width / 2), abs=0.03)


def observed(space, scores, interval=0, first=0):
    results = []
    for slot, score in enumerate(scores, start=first):
        segment = Segment(slot, None, interval, space.from_unit([(slot + 0.5) / 40] * len(space)))
        value = -math.inf if score is None else score
        results.append(Result(KEYS(segment), segment, {}, value, score is None))
    return results


def proposals(options=None, **more):
    return ModelProposals(options or BOHB(), problem(9, 9, FLOATS, **more), {1, 3, 9})


def members(results):
    return [result.segment.member for result in results]


def test_the_model_needs_d_plus_three_finite_observations_at_one_budget():
    # d = 2, N_min = 3: no model with 4 finite observations; with 5, the 3 best and the 3 worst.
    model = proposals()
    model.observe(observed(FLOATS, [1.0, 2.0, None, 3.0, 4.0]))
    assert model.split() is None
    model.observe(observed(FLOATS, [0.0], first=5))
    good, others = model.split()
    assert members(good) == [4, 3, 1]
    assert members(others) == [0, 5, 2]


def test_the_split_is_that_of_equation_3():
    # N = 30: 0.15 · 30 = 4.5, so the best 4 and the worst 26.
    model = proposals()
    model.observe(observed(FLOATS, [float(i) for i in range(30)]))
    good, others = model.split()
    assert members(good) == [29, 28, 27, 26]
    assert members(others) == list(range(25, -1, -1))


def test_the_highest_budget_with_enough_observations_counts():
    model = proposals()
    model.observe(observed(FLOATS, [float(i) for i in range(30)]))
    model.observe(observed(FLOATS, [float(-i) for i in range(5)], interval=2))
    model.observe(observed(FLOATS, [1.0] * 4, interval=8))
    model.observe(observed(FLOATS, [1.0] * 30, interval=4))  # no budget of the brackets
    good, others = model.split()
    assert {result.segment.interval for result in [*good, *others]} == {2}
    assert members(good) == [0, 1, 2]


def test_proposals_are_near_the_good_and_far_from_the_others():
    space = SearchSpace({"x": Float(0.0, 1.0), "kind": Categorical(("a", "b", "c"))})
    model = ModelProposals(BOHB(random_fraction=0.0), problem(9, 9, space), {1})
    results = []
    for slot in range(60):
        segment = Segment(slot, None, 0, {"x": slot / 60, "kind": "abc"[slot % 3]})
        score = -abs(slot / 60 - 0.25) - (slot % 3 != 1)
        results.append(Result(KEYS(segment), segment, {}, score))
    model.observe(results)
    proposed = [model.propose(slot) for slot in range(100, 150)]
    assert np.mean([abs(each["x"] - 0.25) < 0.2 for each in proposed]) > 0.9
    assert np.mean([each["kind"] == "b" for each in proposed]) > 0.9
    assert proposed == [model.propose(slot) for slot in range(100, 150)]


def test_a_third_of_the_members_stays_random():
    of = problem(150, 3, FLOATS, concurrency=5)
    run = drive(BOHB(), of, score=smooth)
    roots = [s for s in run.segments if s.parent is None][20:]
    random = [s.hparams == of.space.cast(of.hparams(s.member)) for s in roots]
    assert 0.25 < np.mean(random) < 0.42


def test_it_finds_better_members_than_hyperband():
    def lr_alone(segment):
        return -abs(math.log10(segment.hparams["lr"]) + 2.0)

    def mean_of_roots(options):
        run = drive(options, problem(40, 9, FLOATS, concurrency=4), score=lr_alone)
        return np.mean([lr_alone(s) for s in run.segments if s.parent is None and s.member >= 40])

    assert mean_of_roots(BOHB()) > mean_of_roots(Hyperband()) + 0.3


@pytest.mark.parametrize(
    "options",
    [
        {"random_fraction": -0.1},
        {"random_fraction": 1.1},
        {"random_fraction": math.nan},
        {"top_fraction": 0.0},
        {"top_fraction": 0.6},
        {"candidates": 0},
        {"bandwidth_factor": 0.5},
    ],
)
def test_options_that_mean_nothing_are_refused(options):
    with pytest.raises(OptionError) as caught:
        BOHB(**options)
    assert caught.value.option in options
