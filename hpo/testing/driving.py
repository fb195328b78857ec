"""A search in memory: the engine's own loop over one optimizer, with a pure function in the place of training."""

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
    """An optimizer does not hold to its contract."""


@dataclass
class Run:
    """What happened in a search.

    Args:
        rounds: the asks by virtual time.
        results: what was told, in that order.
        journal: the asks and tells, as a store would hold them.
        best: the answer's key; empty for a search that was not driven to its end.
        counts: what the optimizer counted.
    """

    rounds: list[list[Segment]] = field(default_factory=list)
    results: dict[Key, Result] = field(default_factory=dict)
    journal: Entries = field(default_factory=list)
    best: Key = ""
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def segments(self) -> list[Segment]:
        """All that was asked for, in order."""
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
    """Run a search to its end, or for so many rounds, holding it to its contract on the way.

    Args:
        options: the optimizer.
        of: the problem.
        score: what each segment comes to, larger is better.
        diverges: which segments diverge, beside those that go on from a diverged one.
        rounds: how many virtual times; None: to the end.
        entries: the journal of an earlier sitting, or its beginning, which the search must follow.

    Raises:
        Broken: it does not hold to its contract.
        OptimizerError: it does not, in what the engine itself sees to.
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
    """Return what is asked for after some results; None, with the answer noted, when the search is over."""
    try:
        return next(steps) if results is None else steps.send(results)
    except StopIteration as end:
        run.best = end.value.best
        return None


def _check_round(segments: Sequence[Segment], of: Problem, run: Run) -> None:
    """Check what the engine cannot know to be wrong, or only when it is too late."""
    members = [segment.member for segment in segments]
    if len(set(members)) < len(members):
        raise Broken(f"a member is to train two segments at one time: {sorted(members)}")
    for segment in segments:
        if segment.parent is None:
            continue
        parent = run.results[segment.parent]
        who = f"member {segment.member}, interval {segment.interval}"
        if parent.diverged and parent.segment.member != segment.member:
            raise Broken(f"{who} goes on from member {parent.segment.member}, which has diverged")
        for name in of.space.held & segment.hparams.keys():
            if segment.hparams[name] != parent.segment.hparams[name]:
                was, now = parent.segment.hparams[name], segment.hparams[name]
                raise Broken(f"{who} changes {name} from {was!r} to {now!r} in flight: it is fixed, or controls others")


def evaluate(segment: Segment, run: Run, score: Score, diverges: Callable[[Segment], bool]) -> Result:
    """Return a segment's result: a diverged member stays diverged."""
    parent = None if segment.parent is None else run.results[segment.parent]
    diverged = diverges(segment) or (parent is not None and parent.diverged)
    value = -math.inf if diverged else score(segment)
    return Result(KEYS(segment), segment, {} if diverged else {"error": -value}, value, diverged)
