"""A search in memory: rounds of virtual time as the engine runs them, with a pure function in the place of training."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from hpo.optimizers.optuna import OptunaSearch
from hpo.optimizers.pbt import PBT
from hpo.optimizers.pruners import Hyperband, NoPruner, SuccessiveHalving, Threshold
from hpo.optimizers.random_search import RandomSearch
from hpo.optimizers.samplers import CMAES, QMC, TPE, Random
from hpo.optimizers.selection import ExploitBest, NoSelection, Truncation
from hpo.protocols import Optimizer, OptimizerOptions, Problem
from hpo.seeding import Streams
from hpo.segments import HParams, Key, KeyMaker, Result, Segment
from hpo.space import Categorical, Float, Int, SearchSpace

FLOATS = SearchSpace({"lr": Float(1e-5, 1.0, log=True), "momentum": Float(0.1, 0.9999)})
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
SPACES = {"floats": FLOATS, "mixed": MIXED}
KEYS = KeyMaker.of({"task": "driver"})

OPTUNA = {
    "optuna-cmaes": (CMAES(), NoPruner()),
    "optuna-qmc": (QMC(), NoPruner()),
    "optuna-halving": (TPE(), SuccessiveHalving(reduction_factor=2)),
    "optuna-hyperband": (Random(), Hyperband()),
    "optuna-threshold": (CMAES(consider_pruned_trials=True), Threshold(lower=-1.0)),
}
"""Configurations of one optimizer that are held to the suite like optimizers of their own."""

Score = Callable[[Segment], float]


def problem(
    n: int = 6,
    intervals: int = 4,
    space: SearchSpace = FLOATS,
    *,
    seed: int = 0,
    stream: int = 0,
    concurrency: int | None = None,
    initial: tuple[HParams, ...] = (),
) -> Problem:
    return Problem(space, n, intervals, Fraction(1, 2), "epochs", Streams(seed, stream), concurrency or n, initial)


def never(segment: Segment) -> bool:
    return False


def level(segment: Segment) -> float:
    """Everything ties."""
    return 0.0


def smooth(segment: Segment) -> float:
    """A score with a best learning rate, that grows with training."""
    return segment.interval - abs(math.log10(float(segment.hparams["lr"])) + 2.0)


@dataclass
class Run:
    """What happened: the asks by round, the results, and the answer."""

    rounds: list[list[Segment]] = field(default_factory=list)
    results: dict[Key, Result] = field(default_factory=dict)
    best: Key = ""
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def segments(self) -> list[Segment]:
        return [segment for asked in self.rounds for segment in asked]

    def path(self, key: Key) -> list[Segment]:
        path: list[Segment] = []
        at: Key | None = key
        while at is not None:
            path.insert(0, self.results[at].segment)
            at = self.results[at].segment.parent
        return path


def drive(
    options: OptimizerOptions,
    of: Problem,
    score: Score = smooth,
    diverges: Callable[[Segment], bool] = never,
    rounds: int | None = None,
) -> Run:
    """Run a search to its end, or for so many rounds, holding it to its contract on the way."""
    optimizer, run = options.start(of), Run()
    charged = 0
    while charged < of.budget and (rounds is None or len(run.rounds) < rounds):
        asked = ask_round(optimizer, min(of.concurrency, of.budget - charged))
        if not asked:
            break
        results = [evaluate(segment, of, run, score, diverges) for segment in asked]
        assert len({segment.member for segment in asked}) == len(asked)
        charged += len(asked)
        run.rounds.append(asked)
        run.results |= {result.key: result for result in results}
        optimizer.tell(sorted(results, key=lambda result: result.segment.member))
    if rounds is None:
        assert not optimizer.ask(1) or charged == of.budget
        run.best = optimizer.best()
    run.counts = dict(optimizer.counts())
    return run


def ask_round(optimizer: Optimizer, free: int) -> list[Segment]:
    asked: list[Segment] = []
    while len(asked) < free:
        more: Sequence[Segment] = optimizer.ask(free - len(asked))
        assert len(more) <= free - len(asked)
        if not more:
            break
        asked.extend(more)
    return asked


def evaluate(segment: Segment, of: Problem, run: Run, score: Score, diverges: Callable[[Segment], bool]) -> Result:
    assert segment.hparams.keys() == of.space.keys()
    assert not of.space.outside(segment.hparams)
    cast = of.space.cast(segment.hparams)
    assert [type(cast[name]) for name in cast] == [type(segment.hparams[name]) for name in cast]
    parent = None if segment.parent is None else run.results[segment.parent]
    assert segment.interval == (0 if parent is None else parent.segment.interval + 1) < of.intervals
    key = KEYS(segment)
    assert key not in run.results
    diverged = diverges(segment) or (parent is not None and parent.diverged)
    value = -math.inf if diverged else score(segment)
    return Result(key, segment, {} if diverged else {"error": -value}, value, diverged)


def options_for(name: str, n: int) -> OptimizerOptions:
    """Return options of a registered optimizer that mean something for a population of n."""
    if name == "pbt":
        return PBT(0.5, selection=ExploitBest() if n == 1 else Truncation(0.5 if n < 5 else 0.2))
    if name == "optuna":
        return OptunaSearch(initial=min(2, n))
    if name in OPTUNA:
        return OptunaSearch(*OPTUNA[name], initial=min(2, n))
    if name == "random_search":
        return RandomSearch()
    from hpo.registry import optimizers

    return optimizers.get(name)()


def stops_early(name: str) -> bool:
    return name in OPTUNA and not isinstance(OPTUNA[name][1], NoPruner)


def no_exploit() -> PBT:
    return PBT(0.5, selection=NoSelection())
