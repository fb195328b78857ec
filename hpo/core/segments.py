"""The records of a study: segments, their results, and the paths that they form. Frozen, and without I/O."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, KeysView, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, NoReturn

ENGINE_VERSION = 1
"""Raised whenever the engine gives another result for the same key; a golden test holds it."""

Value = float | int | str | bool
HParams = Mapping[str, Value]
Key = str
"""A segment's content key: 64 hexadecimal digits."""


class ReadOnlyHParams(dict[str, Value]):
    """Hyperparameters that nobody can change: those of a segment, which tasks and plug-ins are given.

    They can be unpacked, written as JSON and pickled as any dict; a copy of them is a plain dict. `RecordingHParams` also
    remember what was read.

    >>> hparams = ReadOnlyHParams({"lr": 0.1})
    >>> {**hparams, "lr": 0.2}, hparams
    ({'lr': 0.2}, {'lr': 0.1})

    Raises:
        TypeError: something is set or removed.
    """

    __slots__ = ()

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError(
            "hyperparameters are read-only: the study records what a segment trains with. Change a copy: dict(hparams)"
        )

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type["ReadOnlyHParams"], tuple[dict[str, Value]]]:
        return type(self), (dict(self),)

    def __copy__(self) -> dict[str, Value]:
        return dict(self)

    def __deepcopy__(self, memo: object) -> dict[str, Value]:
        return dict(self)


class RecordingHParams(ReadOnlyHParams):
    """Hyperparameters that note in `read` the names that were looked up, those that are not there included.

    To ask whether a name is there (`in`) is to look it up; to take the whole (`**hparams`, `items()`) looks up every name, and sets
    `taken`: nothing shows then which of them are used.
    """

    def __init__(self, hparams: HParams) -> None:
        super().__init__(hparams)
        self.given = dict(hparams)
        """A plain copy, whose reads are not noted."""
        self.read: set[str] = set()
        self.taken = False

    def __getitem__(self, name: str) -> Value:
        self.read.add(name)
        return super().__getitem__(name)

    def __iter__(self) -> Iterator[str]:
        # CPython copies a dict past `__getitem__` unless its class iterates in its own way.
        self.taken = True
        return super().__iter__()

    def keys(self) -> KeysView[str]:  # type: ignore[override]
        """Return the names; like every way to take the whole."""
        self.taken = True
        return KeysView(self)

    get = Mapping.get  # type: ignore[assignment]
    items = Mapping.items  # type: ignore[assignment]
    values = Mapping.values  # type: ignore[assignment]
    __contains__ = Mapping.__contains__


class Split(StrEnum):
    """Which part of the development data a segment trains on."""

    SEARCH = "search"
    """The training part; evaluated on the validation part."""
    FULL = "full"
    """All of it; not evaluated. Used only to retrain."""


@dataclass(frozen=True, slots=True)
class Segment:
    """The unit of work: train one member through one interval, then evaluate it.

    Args:
        member: the slot whose noise stream this segment draws from.
        parent: the key of the segment whose checkpoint it starts from; None: from the slot's initialization.
        interval: 0, 1, 2, ...: the place in the member's budget, and in the order of the data. The parent's is lower: one less,
            or fewer where the member goes on from a checkpoint further back. What lies between belongs to no lineage of it,
            so that a lineage is never longer than the budget of one member.
        hparams: what the member trains with; kept as `ReadOnlyHParams`.
        split: the data that it trains on.
    """

    member: int
    parent: Key | None
    interval: int
    hparams: HParams
    split: Split = Split.SEARCH

    def __post_init__(self) -> None:
        if not isinstance(self.hparams, ReadOnlyHParams):  # else shared, as it is along most of a chain
            object.__setattr__(self, "hparams", ReadOnlyHParams(self.hparams))

    def to_json(self) -> dict[str, Any]:
        """Return the segment as a plain mapping that `from_json` reads."""
        return {
            "member": self.member,
            "parent": self.parent,
            "interval": self.interval,
            "hparams": dict(self.hparams),
            "split": str(self.split),
        }

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> "Segment":
        """Return the segment of a mapping that `to_json` gave."""
        return Segment(
            record["member"], record["parent"], record["interval"], record["hparams"], Split(record["split"])
        )


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a segment, as an optimizer sees it.

    Args:
        key: the segment's content key; a child names it as its parent.
        segment: the segment itself.
        metrics: validation metrics by name, as the task gave them; empty when diverged or not evaluated.
        score: the primary metric, oriented so that larger is better; -inf when diverged.
        diverged: a loss, a metric or a parameter was not finite. A diverged member stays diverged.
    """

    key: Key
    segment: Segment
    metrics: Mapping[str, float]
    score: float
    diverged: bool = False

    @property
    def rank_key(self) -> tuple[float, int]:
        """Sort ascending by this to get the best first; ties go to the lower member."""
        return (-self.score if not self.diverged else math.inf, self.segment.member)


@dataclass(frozen=True)
class KeyMaker:
    """Makes the content keys of one stream of one replicate.

    Args:
        context: everything beside the segment that determines its result, by name: the engine's version, the task, the
            numerics, the replicate's seed and the stream, the length of an interval.
    """

    context: str

    @staticmethod
    def of(context: Mapping[str, object]) -> "KeyMaker":
        """Return the maker for a context given as plain values."""
        return KeyMaker(digest(canonical(context)))

    def __call__(self, segment: Segment) -> Key:
        """Return the segment's content key."""
        return digest(self.context, _canonical(segment))


def _canonical(segment: Segment) -> str:
    """Return `canonical(segment.to_json())`, written out: every segment is spelled, also on resume."""
    parent = "null" if segment.parent is None else quoted(segment.parent)
    return (
        f'{{"hparams":{{{_canonical_hparams(segment.hparams)}}},"interval":{_canonical_value(segment.interval)},'
        f'"member":{_canonical_value(segment.member)},"parent":{parent},"split":"{segment.split.value}"}}'
    )


def _canonical_hparams(hparams: HParams) -> str:
    return ",".join(f"{quoted(name)}:{_canonical_value(value)}" for name, value in sorted(hparams.items()))


def _canonical_value(value: Value) -> str:
    if type(value) is float and math.isfinite(value):
        return f'["f","{value.hex()}"]'
    return str(value) if type(value) is int else canonical(value)


@dataclass(frozen=True)
class Step:
    """A stretch of a schedule with the same member and hyperparameters: intervals `start` to `stop` - 1."""

    member: int
    start: int
    stop: int
    hparams: HParams


def lineage(key: Key, segment_of: Callable[[Key], Segment]) -> list[Segment]:
    """Return the path from the root to the segment `key`, root first."""
    path = []
    at: Key | None = key
    while at is not None:
        segment = segment_of(at)
        path.append(segment)
        at = segment.parent
    return path[::-1]


def schedule_of(path: Iterable[Segment]) -> tuple[Step, ...]:
    """Return the schedule along a lineage; consecutive intervals of one member with equal hyperparameters are merged.

    Its steps hold as many intervals as the lineage trained: where it went on from further back, there is a gap between them.
    """
    steps: list[Step] = []
    for segment in path:
        last = steps[-1] if steps else None
        if last is not None and _goes_on(last, segment):
            steps[-1] = Step(last.member, last.start, segment.interval + 1, last.hparams)
        else:
            steps.append(Step(segment.member, segment.interval, segment.interval + 1, dict(segment.hparams)))
    return tuple(steps)


def _goes_on(step: Step, segment: Segment) -> bool:
    """Say whether a segment belongs to the step before it; hyperparameters are equal as keys spell them: 1, 1.0 and true differ."""
    return (step.member, step.stop) == (segment.member, segment.interval) and _canonical_hparams(
        step.hparams
    ) == _canonical_hparams(segment.hparams)


def retraced(path: Sequence[Segment], split: Split, key_of: Callable[[Segment], Key]) -> list[tuple[Key, Segment]]:
    """Return the segments that train along a lineage again, from its root's initialization, on another split.

    Each segment keeps its interval, its hyperparameters and its original member, hence its noise stream. On the split that it
    came from, the lineage reproduces its own keys.
    """
    traced: list[tuple[Key, Segment]] = []
    for segment in path:
        parent = traced[-1][0] if traced else None
        again = Segment(segment.member, parent, segment.interval, segment.hparams, split)
        traced.append((key_of(again), again))
    return traced


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode


def canonical(value: object) -> str:
    """Return the one JSON text of a value: keys sorted, no spaces, floats as `float.hex`.

    Args:
        value: nested mappings with string keys, sequences, strings, booleans, None, integers, floats and fractions.
            An integer and a float of the same size are spelled differently: `1` and `["f", "0x1.0000000000000p+0"]`.

    Raises:
        TypeError: for a value of any other type.
    """
    return _encode(_plain(value))


def digest(*texts: str) -> str:
    """Return the SHA-256 of the texts, joined so that no two different lists of texts give the same bytes, as hex."""
    sha = hashlib.sha256()
    for text in texts:
        data = text.encode()
        sha.update(b"%d:" % len(data))
        sha.update(data)
    return sha.hexdigest()


def _plain(value: object) -> Any:
    # bool before int: True is an int.
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return ["f", value.hex() if math.isfinite(value) else repr(value)]
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Fraction):
        return ["q", str(value)]
    raise TypeError(f"{type(value).__name__} has no canonical spelling: {value!r}")
