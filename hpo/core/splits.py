"""The examples that each segment uses: index arrays, rounded in one place only."""

from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

import numpy as np

from hpo.core.errors import HpoError
from hpo.core.seeding import Streams
from hpo.core.segments import Split
from hpo.core.task import Batches, Dataset, Examples, Indices, evaluation_view


def boundary(k: int, interval: Fraction, examples: int) -> int:
    """Return the start of interval k in the concatenated epoch shuffles: k * interval * examples, halves rounded up."""
    # floor(x + 1/2) in integers, because every segment needs this.
    return (2 * k * interval.numerator * examples + interval.denominator) // (2 * interval.denominator)


def search_split(examples: int, validation_size: int, seed: int) -> tuple[Indices, Indices]:
    """Split development data for a search.

    Args:
        examples: the number of examples.
        validation_size: the number of examples to hold out; below `examples`.
        seed: the replicate's seed.

    Returns:
        Training and validation positions, each ascending; they are disjoint and cover all examples.
    """
    shuffled = Streams(seed).generator("split", shared=True).permutation(examples)
    return np.sort(shuffled[validation_size:]), np.sort(shuffled[:validation_size])


@lru_cache(maxsize=8)
def _epoch_order(seed: int, split: Split, epoch: int, examples: int) -> Indices:
    order = Streams(seed).generator(f"order/{split}", interval=epoch, shared=True).permutation(examples)
    order.setflags(write=False)
    return order


def interval_positions(k: int, interval: Fraction, examples: int, seed: int, split: Split) -> Indices:
    """Return the examples of interval k in training order: a window on the concatenated epoch shuffles.

    Args:
        k: the interval's number.
        interval: its length in epochs.
        examples: the size N of the split's training part.
        seed: the replicate's seed; the order is shared by all members and arms.
        split: which split the shuffles belong to.

    Returns:
        Positions in 0..N-1, shape (boundary(k+1) - boundary(k),).
    """
    start, stop = boundary(k, interval, examples), boundary(k + 1, interval, examples)
    pieces = []
    while start < stop:
        epoch, offset = divmod(start, examples)
        take = min(stop - start, examples - offset)
        pieces.append(_epoch_order(seed, split, epoch, examples)[offset : offset + take])
        start += take
    return np.concatenate(pieces) if pieces else np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Steps:
    """The numbers of all steps of a member of a task without data, in the place of a data set.

    Args:
        budget: how many there are.
    """

    budget: int
    fingerprint = "steps"

    def __len__(self) -> int:
        return self.budget

    def take(self, indices: Indices) -> list[int]:
        """Return the numbers at these positions, which are the same numbers."""
        return [int(index) for index in indices]


@dataclass(frozen=True)
class DataPlan:
    """The data on which every segment of a study is trained and evaluated.

    Args:
        data: the development data; None for a task without data, whose unit is a step.
        validation_size: the number of examples that a search holds out.
        batch_size: the number of examples per training batch, unless a segment has its own.
        interval: the length of an interval in the task's unit.
        budget: the budget of one member, in the task's unit; None if unknown.
        drop_last: leave out an interval's last batch if it is short.
    """

    data: Dataset | None
    validation_size: int
    batch_size: int
    interval: Fraction
    budget: Fraction | None = None
    drop_last: bool = False
    _splits: dict[int, tuple[Indices, Indices]] = field(default_factory=dict, repr=False, compare=False)

    def batches(
        self, seed: int, split: Split, k: int, *, size: int | None = None, with_budget: bool = False
    ) -> Batches | range:
        """Return the training batches of interval k; for a task without data, the range of its steps.

        With the budget, these are `Batches` of the numbers of the steps.

        Args:
            seed: the replicate's seed.
            split: the data to train on.
            k: the interval's number.
            size: the number of examples per batch; None: `batch_size`.
            with_budget: include the budget.

        Raises:
            HpoError: the budget is requested but unknown.
        """
        if self.data is None:
            steps = range(boundary(k, self.interval, 1), boundary(k + 1, self.interval, 1))
            if not with_budget:
                return steps
            whole = self._budget()
            numbers = Steps(round(whole)), np.array(steps)
            return Batches(*numbers, 1, steps.start, steps.stop, whole, False, self._lengths(1))
        training = self._training(seed, split)
        positions = interval_positions(k, self.interval, len(training), seed, split)
        start, stop = float(k * self.interval), float((k + 1) * self.interval)
        budget = self._budget() if with_budget else None
        size = self.batch_size if size is None else size
        lengths = self._lengths(len(training)) if with_budget else ()
        return Batches(self.data, training[positions], size, start, stop, budget, self.drop_last, lengths)

    def validation(self, seed: int) -> Examples | None:
        """Return the validation part of the search split, without augmentation; None for a task without data."""
        return None if self.data is None else Examples(evaluation_view(self.data), self._search(seed)[1])

    def _budget(self) -> float:
        if self.budget is None:
            raise HpoError("training depends on a member's budget, which is unknown here")
        return float(self.budget)

    def _lengths(self, examples: int) -> tuple[int, ...]:
        """Return the number of examples in each interval of the budget."""
        count = int(Fraction(self.budget or 0) / self.interval)
        starts = [boundary(k, self.interval, examples) for k in range(count + 1)]
        return tuple(stop - start for start, stop in pairwise(starts))

    def _training(self, seed: int, split: Split) -> Indices:
        if split is Split.FULL:
            assert self.data is not None
            return np.arange(len(self.data))
        return self._search(seed)[0]

    def _search(self, seed: int) -> tuple[Indices, Indices]:
        if seed not in self._splits:
            assert self.data is not None
            self._splits.clear()
            self._splits[seed] = search_split(len(self.data), self.validation_size, seed)
        return self._splits[seed]
