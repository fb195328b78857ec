import warnings

import numpy as np
import pytest
from driver import FLOATS, MIXED, drive, problem
from scipy.stats import qmc

from hpo.core.space import Float, SearchSpace
from hpo.optimizers.quasi_random import QuasiRandom, quasi_random_members

CUBE = SearchSpace({name: Float(0.0, 1.0) for name in "abc"})


def points(n, sequence, **more):
    found = quasi_random_members(problem(n, 2, CUBE, **more), sequence)
    return np.array([[member[name] for name in "abc"] for member in found])


@pytest.mark.parametrize("sequence", ["sobol", "halton"])
def test_they_fill_the_cube_more_evenly_than_random_points(sequence):
    ours = [qmc.discrepancy(points(64, sequence, seed=seed)) for seed in range(10)]
    random = [qmc.discrepancy(np.random.default_rng(seed).random((64, 3))) for seed in range(10)]
    assert max(ours) < min(random)


def test_sobol_points_are_balanced_on_every_axis():
    for column in points(32, "sobol").T:
        assert sorted(np.floor(column * 32)) == list(range(32))


@pytest.mark.parametrize("sequence", ["sobol", "halton"])
def test_a_smaller_population_is_the_beginning_of_a_larger_one_and_there_is_no_warning(sequence):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        seven = points(7, sequence)
        assert points(1, sequence).shape == (1, 3)
    assert np.array_equal(points(20, sequence)[:7], seven)
    assert not np.array_equal(points(7, sequence, seed=1), seven)
    assert not np.array_equal(points(7, sequence, stream=1), seven)


def test_points_pass_through_the_scales_of_the_space():
    rates = [m["lr"] for m in quasi_random_members(problem(64, 2, FLOATS), "sobol")]
    counts = np.histogram(np.log10(rates), bins=5, range=(-5, 0))[0]
    assert min(counts) >= 12
    assert max(counts) <= 14
    widths = {m["activation"] for m in quasi_random_members(problem(8, 2, MIXED), "halton")}
    assert widths == {"relu", "tanh", "gelu"}


def test_members_are_trained_to_the_end_with_their_point():
    of = problem(6, 3, MIXED)
    run = drive(QuasiRandom(), of)
    expected = quasi_random_members(of, "sobol")
    assert all(segment.hparams == expected[segment.member] for segment in run.segments)
    any_run = drive(QuasiRandom("halton", "any"), of, score=lambda s: float(s.interval == 1))
    assert any_run.results[any_run.best].segment.interval == 1
