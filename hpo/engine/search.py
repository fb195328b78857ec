"""Drives one optimizer in virtual time.

An arm has `concurrency` virtual workers; each segment takes one of them for one interval. So all segments that start at one
virtual time end together, and the optimizer gets their results together, sorted by member: real parallelism changes the speed,
never the answer.
"""

import json
import operator
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from hpo.core.errors import OptimizerError, ReplayMismatch
from hpo.core.optimizer import Optimizer, Problem
from hpo.core.parsing import parse_json
from hpo.core.seeding import REPLAY_SLOT
from hpo.core.segments import SHRINK_PERTURB, HParams, Key, Result, Segment, Split, Value, lineage
from hpo.engine.keys import KeyOf

LEDGER = frozenset(
    [
        "validation",
        "test",
        "test_diverged",
        "test_openings",
        "tests",
        "correct",
        "retrains",
        "retrained_intervals",
        "optimizer_steps",
        "examples",
        "evaluations",
        "incumbent",
        "finals",
        "selected",
        "schedule",
        "charged_intervals",
        "computed_intervals",
        "diverged",
        "exploits",
    ]
)
"""Counts in results.json that the engine keeps itself, rather than the optimizer."""
REPLACED = "infeasible_proposals"
"""The count of proposals that were infeasible, and replaced."""
Asked = list[tuple[Key, Segment]]
_encoded = json.JSONEncoder(sort_keys=True).encode


class Journal(Protocol):
    """The asks and tells of one arm in one replicate, in order."""

    def record(self, kind: str, content: str) -> None:
        """Append an entry, or compare it with the next entry of an earlier session if any are left.

        Raises:
            ReplayMismatch: the entries differ.
        """


@dataclass(frozen=True)
class SearchRecord:
    """A finished search.

    Args:
        results: all results, in the order in which the optimizer received them.
        best: the key of the segment whose lineage is the answer.
        charged: the number of intervals charged.
        counts: the optimizer's own counts.
        finals: the results among which `select = "final"` chooses; None: all at the full budget.
    """

    results: Mapping[Key, Result]
    best: Key
    charged: int
    counts: Mapping[str, int] = field(default_factory=dict)
    finals: tuple[Key, ...] | None = None

    @property
    def path(self) -> list[Segment]:
        """The lineage of the answer, root first, without the segments of converged members, which were not trained."""
        path = lineage(self.best, lambda key: self.results[key].segment)
        return [segment for segment in path if not _is_stopped(segment, self.results)]


def search(
    optimizer: Optimizer, problem: Problem, key_of: KeyOf, journal: Journal
) -> Generator[Asked, Sequence[Result], SearchRecord]:
    """Run a search to its end; a generator that yields segments to run and receives their results, in any order.

    An infeasible proposal is replaced by a feasible one, whatever optimizer it comes from; the result tells the optimizer so.

    Raises:
        OptimizerError: the optimizer broke its contract.
        ReplayMismatch: it asks for different segments than in an earlier session.
    """
    known: dict[Key, Result] = {}
    charged, replaced = 0, 0
    while True:
        asked: Asked = []
        while free := min(problem.concurrency - len(asked), problem.budget - charged):
            segments = optimizer.ask(free)
            if not segments:
                break
            if len(segments) > free:
                raise OptimizerError(f"the optimizer asked for {len(segments)} segments, but only {free} may start")
            proposed = [_checked(segment, problem, known) for segment in segments]
            segments = [_feasible(segment, problem, known) for segment in proposed]
            replaced += sum(map(operator.is_not, segments, proposed))
            journal.record("ask", "\n".join(_encoded(segment.to_json()) for segment in segments))
            asked += [(key_of(segment), segment) for segment in segments]
            charged += sum(not _is_stopped(segment, known) for segment in segments)
        if not asked:
            break
        results = sorted((yield asked), key=lambda result: (result.segment.member, result.key))
        journal.record("tell", "\n".join(result.key for result in results))
        known.update((result.key, result) for result in results)
        optimizer.tell(results)
    best = optimizer.best()
    while best in known and _is_stopped(known[best].segment, known):
        best = known[best].segment.parent or best
    if best not in known:
        raise OptimizerError(f"the optimizer's best segment {best!r} is not the key of a result passed to `tell`")
    counts = _counts(optimizer.counts())
    if problem.space.feasible is not None:
        counts = {REPLACED: replaced} | counts  # a journal that is followed has its own
    finals = _finals(optimizer.finals(), known)
    answer = {"key": best, "counts": counts} | ({} if finals is None else {"finals": finals})
    journal.record("best", json.dumps(answer, sort_keys=True))
    return SearchRecord(known, best, charged, counts, finals)


def _finals(given: Collection[Key] | None, known: Mapping[Key, Result]) -> tuple[Key, ...] | None:
    """Return the optimizer's final results, in the order of their members and intervals."""
    if given is None:
        return None
    if unknown := sorted(set(given) - known.keys()):
        raise OptimizerError(f"the optimizer's final results {unknown} are not keys of results passed to `tell`")
    order = sorted((known[key] for key in set(given)), key=lambda found: (found.segment.member, found.segment.interval))
    return tuple(result.key for result in order)


def _is_stopped(segment: Segment, known: Mapping[Key, Result]) -> bool:
    return segment.parent is not None and known[segment.parent].stops(segment)


def _counts(given: Mapping[str, int]) -> dict[str, int]:
    """Return an optimizer's counts as plain integers."""
    reserved = sorted(LEDGER & given.keys())
    if reserved:
        raise OptimizerError(f"the optimizer counts {', '.join(reserved)}, which the engine counts itself")
    try:
        return {str(name): operator.index(count) for name, count in sorted(given.items())}
    except TypeError as error:
        raise OptimizerError(f"the optimizer's counts are not whole numbers: {dict(given)!r}") from error


def _checked(segment: Segment, problem: Problem, known: Mapping[Key, Result]) -> Segment:
    """Check a proposal against the optimizer contract before running it.

    Returns:
        The segment with its hyperparameters in the space's order, so that results do not depend on which optimizer asked
        first. If they equal its parent's, they are the same object, so that a lineage holds them once.
    """
    parent: Result | None = None
    if segment.split is not Split.SEARCH:
        raise _broken(segment, "is not on the search split")
    if not 0 <= segment.member < REPLAY_SLOT:
        raise _broken(segment, f"has an invalid member: allowed: 0 to {REPLAY_SLOT - 1}")
    if not 0 <= segment.interval < problem.intervals:
        raise _broken(segment, f"lies outside the budget of {problem.intervals} intervals per member")
    if segment.parent is None:
        if segment.interval != 0:
            raise _broken(segment, "has no parent but is not the first interval")
    else:
        parent = known.get(segment.parent)
        if parent is None:
            raise _broken(segment, f"has a parent without a result: {segment.parent!r}")
        if parent.segment.interval >= segment.interval:
            raise _broken(segment, f"has a parent at interval {parent.segment.interval}, which is not before it")
    active = problem.space.active_names(segment.hparams)
    if segment.hparams.keys() != active:
        raise _broken(segment, f"has hyperparameters {sorted(segment.hparams)}, not {sorted(active)}")
    hparams: dict[str, Value] = {}
    for name, parameter in problem.space.parameters.items():
        if name not in active:
            continue
        value = segment.hparams[name]
        if not parameter.contains(value):
            raise _broken(segment, f"has {name} = {value!r}, outside the search space")
        hparams[name] = parameter.cast(value)
        if type(value) is not type(hparams[name]):
            raise _broken(segment, f"has {name} = {value!r}, of the type {type(value).__name__}")
    if segment.transform is not None:
        if parent is None:
            raise _broken(segment, "has a weight transform but no parent")
        if SHRINK_PERTURB not in problem.transforms:
            raise _broken(segment, "has a weight transform, which the task does not offer")
    inherited = None if parent is None else parent.segment.hparams
    if inherited is not None and _same(inherited, hparams):
        return replace(segment, hparams=inherited)
    return replace(segment, hparams=hparams)


def _feasible(segment: Segment, problem: Problem, known: Mapping[Key, Result]) -> Segment:
    """Return the segment, or one with feasible hyperparameters in place of infeasible ones.

    They lie on the way to the parent's hyperparameters or, for a member's first segment, to the slot's draw from the prior.
    """
    if problem.space.feasible is None:
        return segment
    inherited = None if segment.parent is None else known[segment.parent].segment.hparams
    if segment.hparams is inherited or problem.space.is_feasible(segment.hparams):
        return segment
    anchor = problem.hparams(segment.member) if inherited is None else inherited
    hparams = problem.space.made_feasible(segment.hparams, anchor)
    return replace(segment, hparams=hparams)


def _same(one: HParams, other: HParams) -> bool:
    """Return whether two mappings are identical, in the same order: 0.0 and -0.0 are equal, but not identical."""
    return list(one) == list(other) and all(map(operator.is_, one.values(), other.values()))


def _broken(segment: Segment, how: str) -> OptimizerError:
    return OptimizerError(f"the segment asked for member {segment.member}, interval {segment.interval}, {how}")


@dataclass
class ListJournal:
    """A journal on top of the entries of an earlier session.

    Args:
        where: the journal's name in messages.
        entries: the recorded entries.
        append: called with (position, kind, content) for every new entry.
    """

    where: str
    entries: Sequence[tuple[str, str]]
    append: "Appender"
    position: int = 0

    def record(self, kind: str, content: str) -> None:
        """Append an entry, or compare it with the recorded one."""
        if self.position < len(self.entries):
            was_kind, was = self.entries[self.position]
            if (was_kind, was) != (kind, content):
                raise ReplayMismatch(self._difference(was_kind, was, kind, content))
        else:
            self.append(self.position, kind, content)
        self.position += 1

    def _difference(self, was_kind: str, was: str, kind: str, content: str) -> str:
        first = next(
            ((old, new) for old, new in zip(was.split("\n"), content.split("\n"), strict=False) if old != new),
            (was_kind, kind),
        )
        return (
            f"{self.where}: entry {self.position} of the journal is {was_kind!r}, the optimizer's is {kind!r}; they first"
            f" differ in\n  then: {first[0]}\n  now:  {first[1]}\n"
            "Likely causes: another version of the optimizer's library (see `environment` in results.json), an edited"
            " plug-in or rule (`feasible`), or other numerics.\n"
            "Go on with the version that began, or with --follow-journal: arms that were finished keep their journaled"
            " answers, unfinished ones start again with what is installed now."
        )


class JournaledOptimizer:
    """Repeats the asks and the answer of a finished journal, without calling the installed optimizer.

    Args:
        entries: a journal that ends with its `best`.
    """

    def __init__(self, entries: Sequence[tuple[str, str]]) -> None:
        # Consecutive asks belong to one virtual time; a tell or the end of the journal closes a round.
        self._asks: list[list[Segment] | None] = [
            [Segment.from_json(parse_json(line)) for line in content.split("\n")] if kind == "ask" else None
            for kind, content in entries[:-1]
        ]
        self._at = 0
        answer = parse_json(entries[-1][1])
        self._best: Key = answer["key"]
        self._counts: dict[str, int] = answer["counts"]
        self._finals: list[Key] | None = answer.get("finals")

    def ask(self, free: int) -> Sequence[Segment]:
        """Return the next journaled ask of this virtual time."""
        asked = self._asks[self._at] if self._at < len(self._asks) else None
        if asked is None:
            return []
        self._at += 1
        return asked

    def tell(self, results: Sequence[Result]) -> None:
        """Advance to the next virtual time."""
        self._at += 1

    def best(self) -> Key:
        """Return the journaled answer."""
        return self._best

    def finals(self) -> Collection[Key] | None:
        """Return the journaled final results."""
        return self._finals

    def counts(self) -> Mapping[str, int]:
        """Return the journaled counts."""
        return self._counts


class Appender(Protocol):
    """Writes a new journal entry."""

    def __call__(self, position: int, kind: str, content: str) -> None:
        """Write it."""
