"""A search in memory: the engine's own loop over one optimizer, with a pure function instead of training."""

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field

from hpo.core.errors import HpoError
from hpo.core.optimizer import OptimizerOptions, Problem
from hpo.core.segments import Key, KeyMaker, Result, Segment, lineage
from hpo.engine.search import Asked, ListJournal, SearchRecord, search
from hpo.testing.problems import never, smooth

KEYS = KeyMaker.of({"task": "driver"})
Score = Callable[[Segment], float]
Entries = list[tuple[str, str]]


class Broken(HpoError):
    """An optimizer breaks its contract."""


@dataclass
class Run:
    """The record of a search.

    Args:
        rounds: the asks, by virtual time.
        results: the tells, in order.
        journal: the asks and tells, as the store holds them.
        best: the key of the answer; empty unless the search ran to its end.
        counts: the optimizer's own counts.
        finals: the results among which `select = "final"` chooses; None: all at the full budget.
    """

    rounds: list[list[Segment]] = field(default_factory=list)
    results: dict[Key, Result] = field(default_factory=dict)
    journal: Entries = field(default_factory=list)
    best: Key = ""
    counts: dict[str, int] = field(default_factory=dict)
    finals: tuple[Key, ...] | None = None

    @property
    def segments(self) -> list[Segment]:
        """All segments that were asked for, in order."""
        return [segment for asked in self.rounds for segment in asked]

    def path(self, key: Key) -> list[Segment]:
        """Return the lineage of a segment, root first."""
        return lineage(key, lambda found: self.results[found].segment)


def drive(
    options: OptimizerOptions,
    of: Problem,
    score: Score = smooth,
    diverges: Callable[[Segment], bool] = never,
    rounds: int | None = None,
    entries: Sequence[tuple[str, str]] = (),
) -> Run:
    """Run a search to its end, or for some rounds, and check its contract on the way.

    Args:
        options: the optimizer.
        of: the problem.
        score: the score of each segment; larger is better.
        diverges: which segments diverge; descendants of a diverged segment always do.
        rounds: the number of virtual times; None: to the end.
        entries: the journal of an earlier run, or its beginning, which the search must follow.

    Raises:
        Broken: the optimizer breaks its contract.
        OptimizerError: it breaks a part of the contract that the engine itself checks.
        ReplayMismatch: it asks for something else than the journal says.
    """
    run = Run()
    if rounds != 0:
        for run in driven(options, of, score, diverges, entries):
            if len(run.rounds) == rounds:
                break
    return run


def driven(
    options: OptimizerOptions,
    of: Problem,
    score: Score = smooth,
    diverges: Callable[[Segment], bool] = never,
    entries: Sequence[tuple[str, str]] = (),
) -> Iterator[Run]:
    """Run a search as `drive` does, and yield the same growing record after each round."""
    run, optimizer = Run(journal=list(entries)), options.start(of)

    def append(position: int, kind: str, content: str) -> None:
        run.journal.append((kind, content))

    steps = search(optimizer, of, KEYS, ListJournal("the journal", tuple(entries), append))
    asked = _next(steps, None, run)
    while asked is not None:
        segments = [segment for _, segment in asked]
        _check_round(segments, of, run)
        results = [evaluate(segment, run, score, diverges) for segment in segments]
        run.rounds.append(segments)
        run.results |= {result.key: result for result in results}
        asked = _next(steps, results, run)
        run.counts = dict(optimizer.counts())
        yield run


def _next(
    steps: Generator[Asked, Sequence[Result], SearchRecord], results: Sequence[Result] | None, run: Run
) -> Asked | None:
    """Return the next asks after some results, or record the answer and return None when the search is over."""
    try:
        return next(steps) if results is None else steps.send(results)
    except StopIteration as end:
        run.best, run.finals = end.value.best, end.value.finals
        return None


def _check_round(segments: Sequence[Segment], of: Problem, run: Run) -> None:
    """Check rules that the engine does not check, or only later."""
    members = [segment.member for segment in segments]
    if len(set(members)) < len(members):
        raise Broken(f"asked for two segments of one member at the same time: {sorted(members)}")
    for segment in segments:
        if segment.parent is None:
            continue
        parent = run.results[segment.parent]
        who = f"member {segment.member}, interval {segment.interval}"
        if parent.diverged and parent.segment.member != segment.member:
            raise Broken(f"{who} continues from member {parent.segment.member}, which has diverged")
        for name in of.space.held & segment.hparams.keys():
            if segment.hparams[name] != parent.segment.hparams[name]:
                was, now = parent.segment.hparams[name], segment.hparams[name]
                raise Broken(f"{who} changes {name} from {was!r} to {now!r}, but {name} is fixed or controls others")


def evaluate(segment: Segment, run: Run, score: Score, diverges: Callable[[Segment], bool]) -> Result:
    """Return a segment's result; descendants of a diverged segment are diverged."""
    parent = None if segment.parent is None else run.results[segment.parent]
    diverged = diverges(segment) or (parent is not None and parent.diverged)
    value = -math.inf if diverged else score(segment)
    at_start = before_training(segment) if segment.scored_at_start else None
    metrics = {} if diverged else {"error": -value}
    return Result(KEYS(segment), segment, metrics, value, diverged, score_at_start=at_start)


def before_training(segment: Segment) -> float:
    """Return the score of a state before training: a little below that of the interval before."""
    return segment.interval - 1.5
