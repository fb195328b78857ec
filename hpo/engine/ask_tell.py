"""`hpo.ask_tell`: an optimizer for a training loop of your own."""

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Le

from hpo.core import options, registry
from hpo.core.errors import InputError, OptimizerError, OptionError, SpecError
from hpo.core.optimizer import Optimizer, OptimizerOptions, Problem
from hpo.core.options import Mistakes
from hpo.core.parameters import Parameter
from hpo.core.seeding import Streams
from hpo.core.segments import HParams, Key, Result, Segment
from hpo.core.space import Rule
from hpo.core.task import Direction, Metric
from hpo.engine.search import Asked, ListJournal, search
from hpo.engine.trials_file import TrialsFile
from hpo.study.arms_table import MOST, Seed, arm_table, read_arm
from hpo.study.spec import Arm
from hpo.study.task_table import search_space

Count = Annotated[int, Ge(1), Le(MOST)]
_OF_STUDIES = ("label", "without", "derived_from", "replay")
"""Keys of an arm that have no meaning outside a study."""


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


@dataclass(frozen=True)
class _Size:
    """How much a search may train."""

    seed: Seed
    direction: Direction
    intervals: Count
    trials: Count | None
    population_size: Count | None

    def __post_init__(self) -> None:
        if self.trials is not None and self.population_size is not None:
            raise OptionError("trials", self.trials, "either trials or population_size, not both")
        if self.intervals > 1 and self.population_size is None:
            allowed = f"a whole number of at least 1, instead of trials, with intervals = {self.intervals}"
            raise OptionError("population_size", None, allowed)

    @property
    def members(self) -> int:
        return self.population_size or self.trials or 100


def ask_tell(
    space: Mapping[str, Parameter],
    *,
    feasible: Rule | None = None,
    optimizer: str | Mapping[str, Any] | OptimizerOptions = "tpe",
    seed: int = 0,
    direction: Direction = "minimize",
    trials: int | None = None,
    population_size: int | None = None,
    intervals: int = 1,
    concurrency: int | None = None,
    file: str | Path | None = None,
) -> AskTell:
    """Return a search for a training loop of your own: it says what to train, and you say what came out.

    The same arguments and values give the same trials, which are also those of an arm of a study.

    Args:
        space: the hyperparameters by name.
        feasible: a rule across them: says whether active hyperparameters may be tried together; nothing else is asked for.
        optimizer: a registered optimizer or sampler by name; or a table as in a study file, `{"optimizer": "tpe", "initial": 10}`;
            or its options as an object. Durations are in intervals; the `perturbation_interval` of `pbt` is 1 by default.
        seed: of the search.
        direction: whether a low or a high value is good.
        trials: how many there are, with one interval each; 100 by default.
        population_size: with more than one interval, the number of trials that the budget trains to the end. An optimizer that
            stops some of them starts further ones.
        intervals: how often a trial is trained and evaluated, at most.
        concurrency: how many trials can be open at the same time; by default the optimizer's own choice, as in a study. With
            1, each proposal knows the values of all trials before it.
        file: keeps the finished trials. The same call goes on from there, also with more `trials`. None: nothing is kept.

    Raises:
        InputError: an argument is wrong; or the file is in use, is damaged, or belongs to another search.
        ReplayMismatch: the optimizer no longer asks for the trials in the file.
    """
    problems = Mistakes()
    found = search_space(space, problems, feasible)
    given = {"seed": seed, "direction": direction, "intervals": intervals, "trials": trials}
    size = options.build(_Size, {**given, "population_size": population_size}, "", problems)
    arm = _arm(arm_table(optimizer), concurrency, size, problems)
    if found is None or size is None or arm is None or problems:
        raise SpecError("hpo.ask_tell", problems)
    problem = Problem(
        space=found,
        population_size=size.members,
        intervals=size.intervals,
        interval=Fraction(1),
        unit="intervals",
        streams=Streams(size.seed, arm.stream),
        concurrency=arm.concurrency,
        direction=size.direction,
    )
    try:
        running = arm.optimizer.start(problem)
    except OptionError as error:
        problems.add(error.option, f"allowed: {error.allowed}", error.given)
        raise SpecError("hpo.ask_tell", problems) from error
    opened = None if file is None else TrialsFile(Path(file), _identity(problem, arm, concurrency))
    return AskTell(problem, running, opened)


def _arm(table: dict[str, Any], concurrency: int | None, size: _Size | None, problems: Mistakes) -> Arm | None:
    """Return the optimizer as an arm of a study."""
    if table.get("optimizer") == "pbt" and size is not None and size.intervals == 1:
        allowed = (
            "allowed: at least 2 for pbt, in which members copy each other between intervals; pass population_size too"
        )
        problems.add("intervals", allowed, size.intervals)
    for name in _OF_STUDIES:
        if name in table:
            problems.add(name, "not allowed here: it is for an arm of a study", table[name])
    if problems:
        return None
    given = {} if concurrency is None else {"concurrency": concurrency}
    wrong = Mistakes()
    arm = read_arm({"label": "optimizer", **table, **given}, "arm", None if size is None else size.members, None, wrong)
    problems += [replace(mistake, key=mistake.key.removeprefix("arm.")) for mistake in wrong]
    return arm if isinstance(arm, Arm) else None


def _identity(problem: Problem, arm: Arm, concurrency: int | None) -> dict[str, Any]:
    """Return what determines the trials; more trials with one interval each change none of the others."""
    size = {} if problem.intervals == 1 else {"population_size": problem.population_size}
    return {
        "search_space": problem.space.to_json(),
        "optimizer": {"optimizer": arm.optimizer_name, **registry.to_table(arm.optimizer)},
        "seed": problem.streams.seed,
        "stream": arm.stream,
        "direction": problem.direction,
        "intervals": problem.intervals,
        "concurrency": concurrency,
        **size,
    }


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
