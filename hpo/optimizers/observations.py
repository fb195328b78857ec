"""What a model of a population is fitted to: hyperparameters as rows of numbers, and the improvements of intervals.

PB2, PB2-Mix, BG-PBT and IPBT share it. A row is (t, x_1, ..., x_d), with the interval t first, as
`hpo.optimizers.gaussian_process` takes it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpo.core.segments import HParams, Result, Value
from hpo.core.space import Categorical, SearchSpace
from hpo.optimizers.perturbation import perturbable

Floats = NDArray[np.float64]

INACTIVE_NUMBER = 0.5
INACTIVE_CATEGORY = -1.0
_CUT = 2.0


@dataclass(frozen=True)
class Encoding:
    """Hyperparameters as rows of numbers, and back.

    >>> from hpo.core.space import Float
    >>> space = SearchSpace({"lr": Float(1e-4, 1.0, log=True), "kind": Categorical(("a", "b", "c"))})
    >>> encoding = Encoding.of(space)
    >>> encoding.names, encoding.categorical, encoding.row(7, {"lr": 0.01, "kind": "c"})
    (('kind', 'lr'), (1,), [7.0, 2.0, 0.5])
    >>> encoding.decoded([0.0, 1.0], {"lr": 0.01, "kind": "c"})
    {'lr': 1.0, 'kind': 'a'}

    Floats, integers and ordered categoricals are numbers: their position on the unit axis of their own scale (an integer or an
    ordered choice is the middle of its cell). An unordered categorical is the index of its choice. An inactive hyperparameter
    has a fixed place: 0.5 for a number, -1 for a categorical.

    Args:
        space: the search space.
        names: the hyperparameters in a row, in the order of its columns 1, 2, ..., d.
    """

    space: SearchSpace
    names: tuple[str, ...]

    @classmethod
    def of(cls, space: SearchSpace) -> "Encoding":
        """Return the encoding of all hyperparameters that may change during training, in alphabetical order."""
        return cls(space, tuple(perturbable(space)))

    @property
    def categorical(self) -> tuple[int, ...]:
        """The columns of a row that are categories: the `categorical` of a kernel."""
        return tuple(column for column, name in enumerate(self.names, start=1) if is_unordered(self.space, name))

    @property
    def numbers(self) -> int:
        """How many columns are numbers, apart from the time."""
        return len(self.names) - len(self.categorical)

    def choices(self, name: str) -> tuple[Value, ...]:
        """Return the choices of a categorical, by index."""
        parameter = self.space[name]
        if not isinstance(parameter, Categorical):
            raise ValueError(f"{name} is a number")
        return parameter.choices

    def row(self, time: float, hparams: HParams) -> list[float]:
        """Return the row of hyperparameters at a time, in intervals, length 1 + d."""
        return [float(time), *(self._place(name, hparams) for name in self.names)]

    def rows(self, time: float, units: Floats, hparams: HParams) -> Floats:
        """Return the rows of several candidates at one time, with what is inactive at its fixed place.

        Args:
            time: in intervals.
            units: the candidates, shape (c, d): positions of numbers, indices of choices.
            hparams: the hyperparameters that the candidates would change; their names are the active ones.

        Returns:
            Shape (c, 1 + d).
        """
        active = [name in hparams for name in self.names]
        fixed = [self._inactive(name) for name in self.names]
        return np.column_stack([np.full(len(units), float(time)), np.where(active, units, fixed)])

    def with_numbers(self, numbers: Floats, hparams: HParams) -> Floats:
        """Return candidates with given numbers, and the categories of some hyperparameters.

        Args:
            numbers: positions on the unit axes of the columns that are numbers, shape (..., numbers).
            hparams: the hyperparameters.

        Returns:
            Shape (..., d).
        """
        own = self.row(0, hparams)[1:]
        units = np.tile(own, (*numbers.shape[:-1], 1))
        units[..., [column - 1 for column in range(1, len(own) + 1) if column not in self.categorical]] = numbers
        return units

    def decoded(self, units: Sequence[float] | Floats, hparams: HParams) -> dict[str, Value]:
        """Return hyperparameters with the active ones of `names` taken from a row without its time.

        Args:
            units: the row, length d.
            hparams: the hyperparameters to change; those that are not in `names` keep their values.
        """
        changed = dict(hparams)
        for name, unit in zip(self.names, units, strict=True):
            if name in hparams:
                changed[name] = self._value(name, float(unit))
        return changed

    def _place(self, name: str, hparams: HParams) -> float:
        if name not in hparams:
            return self._inactive(name)
        if is_unordered(self.space, name):
            return float(self.choices(name).index(self.space[name].cast(hparams[name])))
        return self.space[name].to_unit(hparams[name])

    def _inactive(self, name: str) -> float:
        return INACTIVE_CATEGORY if is_unordered(self.space, name) else INACTIVE_NUMBER

    def _value(self, name: str, unit: float) -> Value:
        return self.choices(name)[int(unit)] if is_unordered(self.space, name) else self.space[name].from_unit(unit)


def is_unordered(space: SearchSpace, name: str) -> bool:
    """Return whether a hyperparameter is an unordered categorical."""
    parameter = space[name]
    return isinstance(parameter, Categorical) and not parameter.ordered


def improvements(history: Sequence[Result], encoding: Encoding) -> tuple[Floats, Floats]:
    """Return the improvement of each interval, and the point at which it was made.

    Args:
        history: all results, oldest first.
        encoding: the hyperparameters of the model.

    Returns:
        The rows of the points, shape (n, 1 + d), whose time is the interval, and the differences in score, shape (n,), between
        segments and their parents, or their own score before training if they are `scored_at_start`. Other roots and diverged
        segments are left out.
    """
    scores = {result.key: result.score for result in history if not result.diverged}
    rows, gains = [], []
    for result in history:
        before = result.score_at_start
        if not result.segment.scored_at_start and result.segment.parent is not None:
            before = scores.get(result.segment.parent)
        if before is not None and not result.diverged:
            rows.append(encoding.row(result.segment.interval, result.segment.hparams))
            gains.append(result.score - before)
    return np.array(rows, dtype=np.float64).reshape(-1, 1 + len(encoding.names)), np.array(gains, dtype=np.float64)


def standardised(values: Floats, *, cut: float = _CUT, ddof: int = 0) -> Floats:
    """Return values, shape (n,), scaled to mean 0 and deviation 1 and cut; all 0 if they are all equal.

    Args:
        values: no NaN.
        cut: values are cut at plus and minus this.
        ddof: the deviation is that of n - ddof values.
    """
    # The difference of two large scores of opposite signs can be infinite.
    values = np.clip(values, -np.finfo(np.float64).max, np.finfo(np.float64).max)
    if len(values) == 0 or np.all(values == values[0]):
        return np.zeros(len(values))
    # Scaling by a power of two changes no bit of the result, but keeps the squares of large scores from overflowing.
    values = np.ldexp(values, -np.frexp(np.abs(values).max())[1])
    return np.asarray(np.clip((values - values.mean()) / values.std(ddof=ddof), -cut, cut))


def next_times(history: Sequence[Result]) -> Mapping[int, int]:
    """Return each slot's next interval."""
    return {result.segment.member: result.segment.interval + 1 for result in history}


def next_rows_of_others(changed: Collection[int], history: Sequence[Result], encoding: Encoding) -> list[list[float]]:
    """Return the next rows of the members that are not changed and have not diverged: they keep their hyperparameters.

    Args:
        changed: the slots that are changed.
        history: all results, oldest first.
        encoding: the hyperparameters of the model.
    """
    last = {result.segment.member: result for result in history}
    return [
        encoding.row(result.segment.interval + 1, result.segment.hparams)
        for slot, result in sorted(last.items())
        if slot not in changed and not result.diverged
    ]
