"""What the tests of optimizers share beside `hpo.testing`: small spaces, and options of no exploit."""

from collections.abc import Callable

from hpo.core.optimizer import Problem
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
    "drive",
    "evaluate",
    "level",
    "never",
    "no_exploit",
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
