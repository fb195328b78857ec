"""Stepped floats: every optimizer draws each of their values equally often, and the decimal numbers that are meant."""

import math
from collections import Counter

import pytest
from configurations import configurations
from driver import drive, level, problem, smooth

from hpo.core.space import Float, SearchSpace
from hpo.optimizers.asha import ASHA
from hpo.optimizers.bohb import BOHB
from hpo.optimizers.grid import Grid
from hpo.optimizers.hyperband import Hyperband
from hpo.optimizers.optuna import OptunaSearch
from hpo.optimizers.pbt import PBT
from hpo.optimizers.perturbation import Gaussian, Multiply, Neighbour, Resample
from hpo.optimizers.quasi_random import QuasiRandom
from hpo.optimizers.random_search import RandomSearch
from hpo.optimizers.samplers import CMAES, GP, QMC, TPE, Random
from hpo.optimizers.selection import ExploitBest
from hpo.optimizers.successive_halving import SuccessiveHalving

N = 600
THIRDS = SearchSpace({"x": Float(0, 0.5, step=0.25), "lr": Float(1e-5, 1.0, log=True)})
START = {"n_startup_trials": N}
DRAWING = {
    "random_search": RandomSearch(),
    "sobol": QuasiRandom(),
    "halton": QuasiRandom("halton"),
    "grid": Grid({"x": 3, "lr": N}),
    "successive_halving": SuccessiveHalving(),
    "asha": ASHA(),
    "hyperband": Hyperband(),
    "bohb": BOHB(random_fraction=1.0),
    "pbt": PBT(0.5, ExploitBest(), Resample(1.0), explore="all"),
    "optuna random": OptunaSearch(Random(), initial=0),
    "optuna tpe": OptunaSearch(TPE(**START), initial=0),
    "optuna cmaes": OptunaSearch(CMAES(**START), initial=0),
    "optuna gp": OptunaSearch(GP(**START), initial=0),
    "optuna qmc": OptunaSearch(QMC(), initial=0),
}


SLOW = [pytest.mark.slow]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(options, id=name, marks=SLOW if name.startswith("optuna") and name != "optuna tpe" else [])
        for name, options in DRAWING.items()
    ],
)
def test_each_value_is_drawn_equally_often(options):
    """Fault 5: of Float(0, .5, step=.25) a third each; the ends were drawn half as often as the middle."""
    run = drive(options, problem(N, 2, THIRDS, concurrency=50), score=level)
    last = {segment.member: segment.hparams["x"] for segment in run.segments}
    counts = Counter(last.values())
    assert set(counts) == {0.0, 0.25, 0.5}
    expected = len(last) / 3
    assert all(abs(count - expected) < 4.5 * math.sqrt(expected * 2 / 3) for count in counts.values())


TENTHS = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
DECIMAL = SearchSpace({"x": Float(0, 1, step=0.1), "y": Float(0.9, 1.0, step=0.1), "lr": Float(1e-5, 1.0, log=True)})
MOVING = {
    f"pbt {type(perturbation).__name__} {perturbation.bounds}": PBT(0.5, ExploitBest(), perturbation, explore="all")
    for how in ("clip", "reflect")
    for perturbation in (Multiply(bounds=how), Gaussian(0.3, bounds=how), Neighbour(bounds=how))
}


@pytest.mark.parametrize("options", (configurations() | MOVING).values(), ids=configurations() | MOVING)
def test_every_value_is_the_decimal_number_that_is_meant(options):
    """Fault 5: 0.3 and not 0.30000000000000004, whoever proposes it; a range of one step is one."""
    run = drive(options, problem(16, 6, DECIMAL), score=smooth)
    assert {segment.hparams["x"] for segment in run.segments} <= set(TENTHS)
    assert {segment.hparams["y"] for segment in run.segments} <= {0.9, 1.0}
