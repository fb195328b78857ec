"""A search of `hpo.ask_tell` that is running."""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hpo.core.errors import InputError, OptimizerError
from hpo.core.optimizer import Optimizer, Problem
from hpo.core.segments import HParams, Key, Result, Segment
from hpo.core.task import Metric
from hpo.engine.search import Asked, ListJournal, search
from hpo.engine.trials_file import TrialsFile


@dataclass(frozen=True)
class Trial:
    """What to train next: one interval of one trial. With `intervals=1` that is the whole trial.

    Args:
        number: of the trial; for PBT, of the member.
        interval: its position in the trial's budget: 0, 1, 2, ...
        hparams: the active hyperparameters by name; read-only.
        parent: the `key` of the checkpoint to start from; None: start anew. It is that of this trial's interval before, or, after
            an exploit of PBT, the donor's.
        value: what `tell` recorded; None for an open trial, and for one that diverged.
    """

    number: int
    interval: int
    hparams: HParams
    parent: str | None
    value: float | None = None

    @property
    def key(self) -> str:
        """The name of the checkpoint to save, `<number>-<interval>`."""
        return _key(self)


class AskTell:
    """A running search of `ask_tell`.

    A trial is open until `tell` records its value. The search does not depend on the order in which open trials finish::

        while (trial := search.ask()) is not None:
            search.tell(trial, train(trial))
    """

    def __init__(self, problem: Problem, optimizer: Optimizer, file: TrialsFile | None) -> None:
        self._metric = Metric("value", problem.direction)
        self._file = file
        self._steps = search(optimizer, problem, _key, ListJournal("", (), lambda *_: None))
        self._finished: dict[Key, Trial] = {}
        self._diverged: set[Key] = set()
        """Trials that diverged, and those that would go on from them."""
        self._round: Asked = []
        """What the optimizer waits for."""
        self._open: dict[Key, Trial] = {}
        self._next: deque[Trial] = deque()
        """Open trials that `ask` has not returned yet."""
        self._answer: Key | None = None
        self._advance(None)
        if file is not None and file.recorded:
            line = min(line for line, _ in file.recorded.values())
            raise InputError(
                f"{file.path}, line {line}: this search does not ask for this trial: it has fewer trials, or the file was changed;"
                " pass another file"
            )

    def __repr__(self) -> str:
        return f"<AskTell: {len(self._finished)} finished, {len(self._open)} open>"

    def ask(self) -> Trial | None:
        """Return what to train next; None if nothing can start before another `tell`, or if the search is done."""
        while self._next:
            trial = self._next.popleft()
            if trial.key in self._open:
                return trial
        return None

    def tell(self, trial: Trial, value: float | None) -> None:
        """Record the value of an open trial, which `ask` may have returned in an earlier session.

        Args:
            trial: as `ask` returned it.
            value: a number; NaN, infinity and None mean that the trial diverged: it does not continue.

        Raises:
            InputError: the trial is not open, or the value is not a number.
            OptimizerError: the optimizer broke its contract.
        """
        number = _number(value)
        if not isinstance(trial, Trial):
            raise InputError(f"{trial!r:.80} is not a trial: pass what `ask` returned")
        key = trial.key
        if self._open.get(key) != trial:
            known = "has a value already" if key in self._finished else "is not open in this search"
            raise InputError(f"trial {key} {known}; open: {', '.join(self._open) or 'none'}")
        finished = replace(trial, value=number)
        if self._file is not None:
            self._file.append(vars(finished))
        self._finish(finished)
        if not self._open:
            self._advance(self._results())

    def __iter__(self) -> Iterator[Trial]:
        """Yield what to train next until the search is done.

        Raises:
            InputError: nothing can start before another `tell`.
        """
        while (trial := self.ask()) is not None:
            yield trial
        if not self.done:
            raise InputError(f"nothing can start before one of these trials has a value: {', '.join(self._open)}")

    @property
    def done(self) -> bool:
        """Whether the search has ended: all trials have a value, and no further one starts."""
        return self._answer is not None

    @property
    def trials(self) -> list[Trial]:
        """The finished trials, in the order in which they finished."""
        return list(self._finished.values())

    @property
    def best(self) -> Trial | None:
        """The optimizer's answer; until the search is done, the best value so far. None if there is none."""
        if self._answer is not None:
            return None if self._answer in self._diverged else self._finished[self._answer]
        return min(
            (trial for trial in self._finished.values() if trial.value is not None), key=self._rank, default=None
        )

    def lineage(self, trial: Trial) -> list[Trial]:
        """Return the finished trials whose checkpoints led to a trial, root first; their hyperparameters are its schedule."""
        path = [trial]
        while path[-1].parent is not None:
            path.append(self._finished[path[-1].parent])
        return path[::-1]

    def close(self) -> None:
        """Close the file, so that another process can go on."""
        if self._file is not None:
            self._file.close()

    def _advance(self, results: Sequence[Result] | None) -> None:
        """Send the results of one virtual time to the optimizer, until it asks for a trial without a known value."""
        while not self._open:
            try:
                self._round = self._steps.send(results)  # type: ignore[arg-type]
            except StopIteration as end:
                self._answer = end.value.best
                return
            for key, segment in self._round:
                self._start(key, segment)
            self._next = deque(self._open.values())
            results = None if self._open else self._results()

    def _start(self, key: Key, segment: Segment) -> None:
        trial = Trial(segment.member, segment.interval, segment.hparams, segment.parent)
        if key in self._finished or key in self._diverged or key in self._open:
            raise OptimizerError(f"the optimizer asked twice for interval {trial.interval} of member {trial.number}")
        if trial.parent in self._diverged:  # a diverged member stays diverged: there is nothing to train
            self._diverged.add(key)
        elif self._file is not None and (trial.number, trial.interval) in self._file.recorded:
            self._finish(replace(trial, value=self._file.check(vars(trial))))
        else:
            self._open[key] = trial

    def _finish(self, trial: Trial) -> None:
        self._finished[trial.key] = trial
        self._open.pop(trial.key, None)
        if trial.value is None:
            self._diverged.add(trial.key)

    def _results(self) -> list[Result]:
        return [self._result(key, segment) for key, segment in self._round]

    def _result(self, key: Key, segment: Segment) -> Result:
        value = None if key in self._diverged else self._finished[key].value
        if value is None:
            return Result(key, segment, {}, -math.inf, True)
        return Result(key, segment, {self._metric.name: value}, self._metric.oriented(value))

    def _rank(self, trial: Trial) -> tuple[float, int, int]:
        assert trial.value is not None
        return -self._metric.oriented(trial.value), trial.number, trial.interval


def _key(trial: Trial | Segment) -> Key:
    number = trial.number if isinstance(trial, Trial) else trial.member
    return f"{number}-{trial.interval}"


def _number(value: Any) -> float | None:
    """Return a value as a finite number; None if it is not finite.

    Raises:
        InputError: it is not a single number.
    """
    try:
        if isinstance(value, bool | np.bool_ | str | bytes) or np.ndim(value) != 0:
            raise TypeError
        number = math.nan if value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"value = {value!r:.80}: allowed: a number; or None, if the trial diverged") from None
    return number if math.isfinite(number) else None
