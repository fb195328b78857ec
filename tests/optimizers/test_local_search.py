import math
import statistics

import numpy as np
import pytest
from driver import FLOATS, MIXED

from hpo.core.space import Categorical, Float, SearchSpace
from hpo.optimizers.gaussian_process import FittedProcess, TimeVarying
from hpo.optimizers.local_search import Observation, Surrogate, drawn, neighbourhood, normal_scores
from hpo.optimizers.observations import Encoding
from hpo.optimizers.trust_region import WHOLE_SPACE, TrustRegion

LINE = SearchSpace({"x": Float(0.0, 1.0)})
ENCODING = Encoding.of(LINE)
KERNEL = TimeVarying(1.0, 0.2, 0.1, matern=True)


def surrogate(pairs, time=0):
    """Return a model of gains at places of a line."""
    points = np.array([[time, x] for x, _ in pairs], dtype=float)
    return Surrogate(ENCODING, FittedProcess(points, np.array([gain for _, gain in pairs]), KERNEL, 0.01))


def bound(model, taken, time=1, confidence=3.0):
    """Return the upper confidence bound on a fine grid of the line."""
    grid = np.linspace(0, 1, 1001)
    mean, deviation = model.process.given(np.array(taken)).moments(np.column_stack([np.full(1001, time), grid]))
    return grid, mean + confidence * deviation


def test_normal_scores_are_quantiles_of_ranks():
    quantile = statistics.NormalDist().inv_cdf
    assert normal_scores(np.array([3.0, -1e9, 7.0])) == pytest.approx([quantile(k / 4) for k in (2, 1, 3)])
    # Ranks 1.5, 1.5, 3 of 4; all alike: 0.
    assert normal_scores(np.array([2.0, 2.0, 5.0])) == pytest.approx([quantile(k / 4) for k in (1.5, 1.5, 3)])
    assert normal_scores(np.full(5, 0.1)).tolist() == [0.0] * 5


PEAK = [(x, 2 - 8 * (x - 0.7) ** 2) for x in (0.1, 0.3, 0.5, 0.8, 0.9)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("region", "near"), [(WHOLE_SPACE, (0.0, 1.0)), (TrustRegion(0.2), (0.3, 0.5))])
def test_a_proposal_maximises_the_bound_within_the_region(seed, region, near):
    model, taken = surrogate(PEAK), [[1.0, 0.62]]
    grid, values = bound(model, taken)
    values[(grid < near[0] - 1e-9) | (grid > near[1] + 1e-9)] = -np.inf
    got = model.proposed({"x": 0.4}, 1, taken, region, np.random.default_rng(seed))
    assert got["x"] == pytest.approx(grid[np.argmax(values)], abs=3e-3)


def test_confidence_weighs_the_deviation():
    model = surrogate(PEAK)
    for confidence in (0.0, 1.0):
        grid, values = bound(model, [], confidence=confidence)
        got = model.proposed({"x": 0.4}, 1, [], WHOLE_SPACE, np.random.default_rng(0), confidence)
        assert got["x"] == pytest.approx(grid[np.argmax(values)], abs=3e-3)


def test_taken_points_count_as_if_their_predicted_mean_had_been_observed():
    model = surrogate(PEAK)
    taken = np.array([[1.0, 0.62], [1.0, 0.2]])
    means, _ = model.process.given().moments(taken)
    imagined = FittedProcess(
        np.vstack([model.process.points, taken]), np.append(model.process.values, means), KERNEL, 0.01
    )
    at = np.column_stack([np.ones(11), np.linspace(0, 1, 11)])
    for got, expected in zip(model.process.given(taken).moments(at), imagined.given().moments(at), strict=True):
        assert got == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_proposals_lie_within_the_box_and_the_hamming_ball_and_keep_what_is_held(seed):
    rng = np.random.default_rng(seed)
    observed = [Observation(0, MIXED.sample(rng), float(rng.random())) for _ in range(20)]
    model = Surrogate.fitted(observed, MIXED)
    region = TrustRegion(0.2, share=0.5)  # one of two unordered categoricals
    for _ in range(5):
        center = MIXED.sample(rng)
        got = model.proposed(center, 1, [], region, rng)
        assert not MIXED.outside(got)
        assert got["width"] == center["width"]
        assert sum(got[name] != center[name] for name in ("activation", "nesterov")) <= 1
        for name, cells in (("lr", math.inf), ("layers", 6), ("batch", 4)):
            distance = abs(MIXED[name].to_unit(got[name]) - MIXED[name].to_unit(center[name]))
            # The box is of places; an integer or an ordered choice is the cell that contains its place.
            assert distance <= 0.1 + 0.5 / cells + 1e-9


def test_the_box_is_longer_where_the_model_varies_less():
    kernel = TimeVarying(length_scale=(0.1, 0.4))
    near = neighbourhood(TrustRegion(0.2), {"lr": 1e-2, "momentum": 0.5}, Encoding.of(FLOATS), kernel)
    assert near.high - near.low == pytest.approx([0.1, 0.4])


def test_what_is_inactive_neither_counts_for_the_ball_nor_appears():
    space = SearchSpace(
        {
            "kind": Categorical(("a", "b"), fixed=True),
            "p": Categorical(("x", "y")),
            "q": Categorical(("x", "y"), when={"kind": "b"}),
            "z": Float(0.0, 1.0),
        }
    )
    encoding = Encoding.of(space)
    center = {"kind": "a", "p": "x", "z": 0.5}
    assert neighbourhood(WHOLE_SPACE, center, encoding).choices.tolist() == [2, 0, 0]
    assert neighbourhood(WHOLE_SPACE, {**center, "kind": "b", "q": "y"}, encoding).radius == 2
    rng = np.random.default_rng(0)
    model = Surrogate.fitted([Observation(0, space.sample(rng), float(rng.random())) for _ in range(12)], space)
    assert model.proposed(center, 1, [], WHOLE_SPACE, rng).keys() == center.keys()


def test_it_learns_a_choice_and_a_number_that_gain():
    space = SearchSpace({"p": Categorical(("x", "y", "z")), "a": Float(0.0, 1.0)})
    rng = np.random.default_rng(0)
    tried = [space.sample(rng) for _ in range(40)]
    model = Surrogate.fitted([Observation(0, h, (h["p"] == "y") - abs(h["a"] - 0.3)) for h in tried], space)
    got = model.proposed({"p": "x", "a": 0.9}, 1, [], WHOLE_SPACE, rng, confidence=0.5)
    assert got["p"] == "y"
    assert got["a"] == pytest.approx(0.3, abs=0.1)


def test_the_auxiliary_model_knows_the_best_prediction_of_each_search():
    model = surrogate(PEAK, time=4)
    earlier = [
        [Observation(0, {"x": 0.2}, 9.0), Observation(1, {"x": 0.65}, 1.0)],
        [Observation(4, {"x": x}, gain) for x, gain in PEAK],
    ]
    auxiliary = model.auxiliary(earlier, time=5)
    # At the time of the restart this model predicts more at 0.65 than at 0.2, whatever was gained there long ago.
    assert auxiliary.process.points.tolist() == [[5.0, 0.65], [5.0, 0.8]]
    means, _ = model.process.given().moments(np.array([[5.0, 0.65], [5.0, 0.8]]))
    assert auxiliary.process.values == pytest.approx(means)
    assert (auxiliary.process.kernel, auxiliary.process.noise) == (KERNEL, 0.01)


def test_draws_are_uniform_over_the_space():
    rng = np.random.default_rng(0)
    encoding, inherited = Encoding.of(MIXED), MIXED.sample(rng)
    found = [drawn(inherited, encoding, rng) for _ in range(2000)]
    assert np.mean([math.log10(h["lr"]) for h in found]) == pytest.approx(-2.5, abs=0.1)
    assert np.mean([h["layers"] for h in found]) == pytest.approx(3.5, abs=0.12)
    for name in ("activation", "batch", "nesterov"):
        counts = [sum(h[name] == choice for h in found) for choice in MIXED[name].choices]
        assert min(counts) > 0.85 * 2000 / len(counts)
    assert {h["width"] for h in found} == {inherited["width"]}
