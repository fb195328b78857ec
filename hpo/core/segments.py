"""The records of a study: segments, their results, and the paths that they form. They are frozen and do no I/O."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, KeysView, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, NoReturn

from hpo.core.errors import OptionError

ENGINE_VERSION = 1
"""Raised whenever the engine gives another result for the same key; guarded by a golden test."""

SHRINK_PERTURB = "shrink_perturb"
"""The name of the weight transform, in files and in what a task offers."""

Value = float | int | str | bool
HParams = Mapping[str, Value]
Key = str
"""A segment's content key: 64 hexadecimal digits."""


class ReadOnlyHParams(dict[str, Value]):
    """Read-only hyperparameters: those of a segment, which tasks and plug-ins receive.

    They can be unpacked, written as JSON and pickled like any dict; a copy of them is a plain dict. `RecordingHParams` also record
    what was read.

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
    """Hyperparameters that record in `read` the names that were looked up, including missing ones.

    Testing for a name (`in`) counts as looking it up. Using all of them (`**hparams`, `items()`) counts as looking up every
    name, and sets `taken`: it is then unknown which of them are used.
    """

    def __init__(self, hparams: HParams) -> None:
        super().__init__(hparams)
        self.given = dict(hparams)
        """A plain copy, whose reads are not recorded."""
        self.read: set[str] = set()
        self.taken = False

    def __getitem__(self, name: str) -> Value:
        self.read.add(name)
        return super().__getitem__(name)

    def __iter__(self) -> Iterator[str]:
        # CPython copies a dict without calling `__getitem__`, unless its class defines `__iter__`.
        self.taken = True
        return super().__iter__()

    def keys(self) -> KeysView[str]:  # type: ignore[override]
        """Return the names; counts as looking up all of them."""
        self.taken = True
        return KeysView(self)

    get = Mapping.get  # type: ignore[assignment]
    items = Mapping.items  # type: ignore[assignment]
    values = Mapping.values  # type: ignore[assignment]
    __contains__ = Mapping.__contains__


def unrecorded(hparams: HParams) -> dict[str, Value]:
    """Return a plain copy of hyperparameters, which does not count as reading them."""
    return dict(hparams.given if isinstance(hparams, RecordingHParams) else hparams)


class Split(StrEnum):
    """The part of the development data on which a segment trains."""

    SEARCH = "search"
    """The training part; evaluated on the validation part."""
    FULL = "full"
    """All of it; not evaluated, and used only to retrain."""


@dataclass(frozen=True, slots=True)
class ShrinkPerturb:
    """A weight transform: before training, the weights become shrink * weights + perturb * freshly initialized weights.

    Ash and Adams, "On warm-starting neural network training", NeurIPS 2020, section 4. The fresh weights come from the slot's
    stream at the segment's interval. `Task.shrink_perturb` says what else changes.

    Args:
        shrink: the factor on the parent's weights.
        perturb: the factor on the fresh weights. With shrink = 0 and perturb = 1 the weights are the fresh ones.
        reset_optimizer: also reset what the optimizer has accumulated, such as momentum.

    Raises:
        OptionError: a factor is negative or not finite.
    """

    shrink: float
    perturb: float
    reset_optimizer: bool = False

    def __post_init__(self) -> None:
        for option in ("shrink", "perturb"):
            value = getattr(self, option)
            if isinstance(value, (bool, str)) or not (math.isfinite(value) and value >= 0):
                raise OptionError(option, value, "a finite number of at least 0")
            object.__setattr__(self, option, float(value))

    def __str__(self) -> str:
        reset = ", the optimizer is reset" if self.reset_optimizer else ""
        return f"{self.shrink:g} × weights + {self.perturb:g} × new weights{reset}"

    def to_json(self) -> dict[str, Any]:
        """Return it as a plain mapping, which `from_json` reads."""
        out: dict[str, Any] = {"name": SHRINK_PERTURB, "shrink": self.shrink, "perturb": self.perturb}
        return out | ({"reset_optimizer": True} if self.reset_optimizer else {})

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> "ShrinkPerturb":
        """Return the transform that `to_json` wrote.

        Raises:
            ValueError: it is another one, or a factor is not allowed.
        """
        if record["name"] != SHRINK_PERTURB:
            raise ValueError(f"unknown weight transform: {record['name']!r}")
        try:
            return ShrinkPerturb(record["shrink"], record["perturb"], record.get("reset_optimizer", False))
        except OptionError as error:
            raise ValueError(str(error)) from error


@dataclass(frozen=True, slots=True)
class Segment:
    """The unit of work: train one member through one interval, then evaluate it.

    Args:
        member: the slot whose noise stream this segment uses.
        parent: the key of the segment whose checkpoint it starts from; None: the slot's initialization.
        interval: 0, 1, 2, ...: the position in the member's budget and in the order of the data. The parent's is lower: by one, or
            by more if the member continues from an earlier checkpoint. The intervals in between are then not in its lineage, so
            that a lineage is never longer than one member's budget.
        hparams: the hyperparameters to train with; stored as `ReadOnlyHParams`.
        split: the data to train on.
        transform: what happens to the parent's weights before training; None: nothing. A segment without a parent has none.
        scored_at_start: whether the state is also evaluated before training, on the search split; see `Result.score_at_start`.
    """

    member: int
    parent: Key | None
    interval: int
    hparams: HParams
    split: Split = Split.SEARCH
    transform: ShrinkPerturb | None = None
    scored_at_start: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.hparams, ReadOnlyHParams):  # shared along most of a chain
            object.__setattr__(self, "hparams", ReadOnlyHParams(self.hparams))

    def to_json(self) -> dict[str, Any]:
        """Return the segment as a plain mapping, which `from_json` reads."""
        return {
            "member": self.member,
            "parent": self.parent,
            "interval": self.interval,
            "hparams": dict(self.hparams),
            "split": str(self.split),
            **self._rare(),
        }

    def _rare(self) -> dict[str, Any]:
        """Return what only some optimizers use; it is absent otherwise, so that it changes no other segment's key."""
        transform = {} if self.transform is None else {"transform": self.transform.to_json()}
        return transform | ({"scored_at_start": True} if self.scored_at_start else {})

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> "Segment":
        """Return the segment that `to_json` wrote."""
        transform = record.get("transform")
        return Segment(
            record["member"],
            record["parent"],
            record["interval"],
            record["hparams"],
            Split(record["split"]),
            None if transform is None else ShrinkPerturb.from_json(transform),
            record.get("scored_at_start", False),
        )


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a segment, as an optimizer sees it.

    Args:
        key: the segment's content key; a child names it as its parent.
        segment: the segment itself.
        metrics: validation metrics by name, as the task returned them; empty if diverged or not evaluated.
        score: the primary metric, oriented so that larger is better; -inf if diverged.
        diverged: whether a loss, a metric or a parameter was not finite. A diverged member stays diverged.
        finished: whether the member has converged; see `Task.is_finished`.
        score_at_start: the score before training, after a transform; None unless the segment is `scored_at_start`, and if the
            score was not finite.
    """

    key: Key
    segment: Segment
    metrics: Mapping[str, float]
    score: float
    diverged: bool = False
    finished: bool = False
    score_at_start: float | None = None

    def stops(self, child: Segment) -> bool:
        """Return whether a child is not trained but equals this result: it has converged with the same hyperparameters."""
        return self.finished and child.transform is None and dict(child.hparams) == dict(self.segment.hparams)

    @property
    def rank_key(self) -> tuple[float, int]:
        """A sort key: ascending order puts the best first. Ties go to the lower member."""
        return (-self.score if not self.diverged else math.inf, self.segment.member)


@dataclass(frozen=True)
class KeyMaker:
    """Makes the content keys of one stream of one replicate.

    Args: context: everything apart from the segment that determines its result, by name: the engine's version, the task, the
        numerics, the replicate's seed and the stream, the length of an interval.
    """

    context: str

    @staticmethod
    def of(context: Mapping[str, object]) -> "KeyMaker":
        """Return the key maker for a context of plain values."""
        return KeyMaker(digest(canonical(context)))

    def __call__(self, segment: Segment) -> Key:
        """Return the segment's content key."""
        return digest(self.context, _canonical(segment))


def _canonical(segment: Segment) -> str:
    """Return `canonical(segment.to_json())`, written out for speed: every segment is encoded, also on resume."""
    if segment.transform is not None or segment.scored_at_start:
        return canonical(segment.to_json())
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
    """A part of a schedule with the same member and hyperparameters: intervals `start` to `stop` - 1.

    Its `transform` is applied to the weights before the first of these intervals.
    """

    member: int
    start: int
    stop: int
    hparams: HParams
    transform: ShrinkPerturb | None = None


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

    Its steps cover as many intervals as the lineage trained. If the lineage continued from an earlier checkpoint, there is a gap
    between them.
    """
    steps: list[Step] = []
    for segment in path:
        last = steps[-1] if steps else None
        if last is not None and _goes_on(last, segment):
            steps[-1] = replace(last, stop=segment.interval + 1)
        else:
            stop = segment.interval + 1
            steps.append(Step(segment.member, segment.interval, stop, dict(segment.hparams), segment.transform))
    return tuple(steps)


def _goes_on(step: Step, segment: Segment) -> bool:
    """Return whether a segment continues a step; hyperparameters are equal if their keys are: 1, 1.0 and true differ."""
    return (
        segment.transform is None
        and (step.member, step.stop) == (segment.member, segment.interval)
        and _canonical_hparams(step.hparams) == _canonical_hparams(segment.hparams)
    )


def retraced(path: Sequence[Segment], split: Split, key_of: Callable[[Segment], Key]) -> list[tuple[Key, Segment]]:
    """Return the segments that train along a lineage again, from its root's initialization, on another split.

    Each segment keeps its interval, its hyperparameters, its transform and its original member, hence its noise stream. On the
    split that it came from, the lineage reproduces its own keys.
    """
    traced: list[tuple[Key, Segment]] = []
    for segment in path:
        parent = traced[-1][0] if traced else None
        scored = segment.scored_at_start and split is Split.SEARCH
        again = replace(segment, parent=parent, split=split, scored_at_start=scored)
        traced.append((key_of(again), again))
    return traced


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode


def canonical(value: object) -> str:
    """Return the canonical JSON text of a value: keys sorted, no spaces, floats as `float.hex`.

    Args:
        value: nested mappings with string keys, sequences, strings, booleans, None, integers, floats and fractions.
            Integers and floats of the same size are encoded differently: `1` and `["f", "0x1.0000000000000p+0"]`.

    Raises:
        TypeError: for a value of any other type.
    """
    return _encode(_plain(value))


def digest(*texts: str) -> str:
    """Return the hex SHA-256 of the texts, joined so that different lists of texts give different bytes."""
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
