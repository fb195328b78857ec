"""Problems to try an optimizer on: search spaces of every kind, and pure functions instead of training."""

import math
from fractions import Fraction

from hpo.core.errors import OptionError
from hpo.core.optimizer import OptimizerOptions, Problem
from hpo.core.seeding import Streams
from hpo.core.segments import SHRINK_PERTURB, HParams, Segment
from hpo.core.space import Categorical, Float, Int, SearchSpace

LR = Float(1e-5, 1.0, log=True)
SPACES = {
    "floats": SearchSpace({"lr": LR, "momentum": Float(0.1, 0.9999)}),
    "mixed": SearchSpace(
        {
            "lr": LR,
            "dropout": Float(0.0, 0.5, step=0.1),
            "layers": Int(1, 6),
            "heads": Int(2, 8, step=2),
            "width": Int(8, 512, log=True, fixed=True),
            "activation": Categorical(("relu", "tanh", "gelu")),
            "batch": Categorical((16, 32, 64, 128), ordered=True),
            "nesterov": Categorical((False, True)),
        }
    ),
    "conditional": SearchSpace(
        {
            "beta2": Float(0.9, 0.9999, when={"optimizer": "adam"}),
            "lr": LR,
            "dampening": Float(0.0, 0.5, when={"optimizer": "sgd", "nesterov": False}),
            "nesterov": Categorical((False, True), when={"optimizer": "sgd"}),
            "momentum": Float(0.0, 0.99, when={"optimizer": ("sgd", "rmsprop")}),
            "optimizer": Categorical(("sgd", "adam", "rmsprop")),
            "layers": Int(1, 3, fixed=True),
            "width2": Int(8, 64, log=True, fixed=True, when={"layers": (2, 3)}),
            "width3": Int(8, 64, log=True, fixed=True, when={"layers": 3}),
            "skip": Categorical(("none", "add", "concat"), ordered=True, when={"layers": (2, 3)}),
        }
    ),
}
"""Spaces of floats, of every kind of hyperparameter, and of nested conditions. All have `lr`."""

SIZES = (1, 2, 3, 6)
"""The population sizes that every optimizer is tried with."""
LARGER = (8, 12, 16, 24, 32)
"""The population sizes, of which the first that starts is used for an optimizer that needs more members than those of `SIZES`."""


def starts(options: OptimizerOptions, space: SearchSpace, n: int) -> bool:
    """Return whether a search starts on a space with n members."""
    try:
        options.start(problem(n, space=space))
    except OptionError:
        return False
    return True


def members(options: OptimizerOptions, space: SearchSpace) -> int | None:
    """Return the largest of `SIZES` if a search starts with so many members, else the first of `LARGER`; None: it never does."""
    return next((n for n in (SIZES[-1], *LARGER) if starts(options, space, n)), None)


def problem(
    n: int = 6,
    intervals: int = 4,
    space: SearchSpace = SPACES["floats"],
    *,
    seed: int = 0,
    stream: int = 0,
    concurrency: int | None = None,
    initial: tuple[HParams, ...] = (),
) -> Problem:
    """Return a problem with n members, `intervals` intervals of half an epoch each, and `concurrency` (or n) virtual workers.

    Its task offers `shrink_perturb`.
    """
    streams, offered = Streams(seed, stream), frozenset({SHRINK_PERTURB})
    half = Fraction(1, 2)
    return Problem(space, n, intervals, half, "epochs", streams, concurrency or n, initial, transforms=offered)


def smooth(segment: Segment) -> float:
    """Return a score that increases with training and the closer the learning rate is to 0.01."""
    return segment.interval - abs(math.log10(float(segment.hparams["lr"])) + 2.0)


def level(segment: Segment) -> float:
    """Return the same score for all segments."""
    return 0.0


def never(segment: Segment) -> bool:
    """Return False: nothing diverges."""
    return False


def always(segment: Segment) -> bool:
    """Return True: everything diverges."""
    return True


def every_other(segment: Segment) -> bool:
    """Return whether a member of an even slot is past its first interval, and so diverges."""
    return segment.member % 2 == 0 and segment.interval >= 1
