"""What the tests of optimizers share beside `hpo.testing`: small spaces and populations, and options of no exploit."""

import math
from collections.abc import Callable

import numpy as np

from hpo.core.optimizer import Member, Problem
from hpo.core.segments import Result, Segment
from hpo.core.space import Categorical, Float, Int, SearchSpace
from hpo.optimizers.pbt import PBT
from hpo.optimizers.selection import NoSelection
from hpo.testing import SPACES, Run, drive, driving, problem
from hpo.testing.driving import KEYS, Score
from hpo.testing.problems import level, never, smooth

__all__ = [
    "FLOATS",
    "KEYS",
    "MIXED",
    "SPACES",
    "Run",
    "Score",
    "donors",
    "drive",
    "evaluate",
    "level",
    "never",
    "no_exploit",
    "population",
    "problem",
    "smooth",
]

FLOATS = SPACES["floats"]
MIXED = SearchSpace(
    {
        "lr": Float(1e-5, 1.0, log=True),
        "layers": Int(1, 6),
        "width": Int(8, 512, log=True, fixed=True),
        "activation": Categorical(("relu", "tanh", "gelu")),
        "batch": Categorical((16, 32, 64, 128), ordered=True),
        "nesterov": Categorical((False, True)),
    }
)


def evaluate(segment: Segment, of: Problem, run: Run, score: Score, diverges: Callable[[Segment], bool]) -> Result:
    assert not of.space.outside(segment.hparams)
    return driving.evaluate(segment, run, score, diverges)


def no_exploit() -> PBT:
    return PBT(0.5, selection=NoSelection())


def population(scores):
    """Members by slot; None is a diverged one."""
    return [
        Member(slot, f"key{slot}", {"lr": 0.1}, -math.inf if score is None else score, score is None)
        for slot, score in enumerate(scores)
    ]


def donors(selection, scores, seed=0):
    """The slot that each slot copies."""
    chosen = selection(population(scores), np.random.default_rng(seed))
    return {slot: int(key.removeprefix("key")) for slot, key in chosen.items()}
