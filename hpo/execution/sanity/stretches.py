"""The tiny stretches that a study is tried on: the first and the last batch of an interval, and a few examples to evaluate."""

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from hpo.core.segments import Split
from hpo.core.splits import DataPlan, boundary
from hpo.core.task import Batches, Examples, Indices

STEPS = 2
"""Of an interval of a task without data."""


@dataclass(frozen=True)
class Stretch(Batches):
    """The first and the last batch of an interval, also of another size, where a task changes it by `dataclasses.replace`.

    Args:
        whole: the examples of the whole interval.
    """

    whole: Indices = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def __post_init__(self) -> None:
        rest = len(self.whole) % self.size
        whole = self.whole[: len(self.whole) - rest] if self.drop_last else self.whole
        last = whole[-(len(whole) % self.size or self.size) :] if len(whole) > self.size else whole[:0]
        object.__setattr__(self, "positions", np.concatenate([whole[: self.size], last]))

    @property
    def last_size(self) -> int:
        """How many examples the last batch has."""
        return len(self.positions) % self.size or min(self.size, len(self.positions))


def stretch(batches: Batches | range) -> Stretch | range:
    """Return the stretch of an interval's batches; of a task without data its first steps."""
    if isinstance(batches, range):
        return batches[:STEPS]
    return Stretch(**vars(batches), whole=batches.positions)


def later_intervals(plan: DataPlan, split: Split, intervals: int, size: int) -> list[int]:
    """Return an interval with the smallest last batch, and the last interval; never the first one.

    Args:
        plan: what segments train on.
        split: the split.
        intervals: the budget of one member.
        size: of a batch.
    """
    found = {intervals - 1}
    if plan.data is not None:
        examples = len(plan.data) - (plan.validation_size if split is Split.SEARCH else 0)
        found.add(
            min(range(_different(plan.interval * examples, intervals)), key=lambda k: _last(plan, examples, k, size))
        )
    return sorted(found - {0})


def _different(length: Fraction, intervals: int) -> int:
    """Return after how many intervals their lengths repeat, if that is soon."""
    return min(intervals, length.denominator, 1000)


def _last(plan: DataPlan, examples: int, k: int, size: int) -> int:
    length = boundary(k + 1, plan.interval, examples) - boundary(k, plan.interval, examples)
    return (length - 1) % size


def few(examples: Examples | None, size: int) -> Examples | None:
    """Return the first and the last so many examples, all of them where there are no more."""
    if examples is None or len(examples) <= 2 * size:
        return examples
    return Examples(examples.dataset, np.concatenate([examples.indices[:size], examples.indices[-size:]]))
