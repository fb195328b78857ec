"""The little data that a study is tried on: the first and the last batch of an interval, and a few validation examples."""

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from hpo.core.segments import Split
from hpo.core.splits import DataPlan, boundary
from hpo.core.task import Batches, Examples, Indices

STEPS = 2
"""Steps of an interval of a task without data."""


@dataclass(frozen=True)
class FirstAndLast(Batches):
    """The first and the last batch of an interval, also if a task changes the batch size by `dataclasses.replace`.

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
        """The number of examples in the last batch."""
        return len(self.positions) % self.size or min(self.size, len(self.positions))


def first_and_last(batches: Batches | range) -> FirstAndLast | range:
    """Return the first and the last batch of an interval; for a task without data its first steps."""
    if isinstance(batches, range):
        return batches[:STEPS]
    return FirstAndLast(**vars(batches), whole=batches.positions)


def later_intervals(plan: DataPlan, split: Split, intervals: int, size: int) -> list[int]:
    """Return an interval with the smallest last batch, and the last interval, but never the first one.

    Args:
        plan: the data that segments train on.
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
    """Return after how many intervals their lengths repeat, at most 1000."""
    return min(intervals, length.denominator, 1000)


def _last(plan: DataPlan, examples: int, k: int, size: int) -> int:
    length = boundary(k + 1, plan.interval, examples) - boundary(k, plan.interval, examples)
    return (length - 1) % size


def first_and_last_examples(examples: Examples | None, size: int) -> Examples | None:
    """Return the first and the last `size` examples; all of them if there are no more."""
    if examples is None or len(examples) <= 2 * size:
        return examples
    return Examples(examples.dataset, np.concatenate([examples.indices[:size], examples.indices[-size:]]))
