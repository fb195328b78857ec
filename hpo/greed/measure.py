"""How much members gain within a perturbation interval, against the most that they could have gained from the same state.

Greed is to choose what helps within the next interval. Chebykin, Alderliesten and Bosman, "To be greedy, or not to be – that is the
question for population based training variants", TMLR 2025, argue with two tasks: on one of them greed is right, on the other it
costs. There the best choice for the next interval is known in closed form (`hpo.core.greed`), and training has no noise. So the
states of a finished run follow from its segments.csv, and for each state so does the gain that the arm missed:

    missed = max over h of score(train(state, h)) - score(what the arm trained from that state)

An arm that misses nothing is greedy. What greed costs is the difference between the final scores of the best known schedule and of
the policy that always takes the greedy choice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hpo.core.amounts import amount
from hpo.core.errors import InputError
from hpo.core.greed import KnowsGreed
from hpo.core.registry import optimizers
from hpo.core.run_files import RESULTS, SEGMENTS, check_readable
from hpo.core.segments import HParams
from hpo.core.space import SearchSpace
from hpo.core.splits import boundary
from hpo.core.task import Metric, Task
from hpo.engine.load import task_of
from hpo.greed.records import ArmGreed, Gains, Greed, Policy
from hpo.report.segments_csv import SegmentRow, origins, read_segments, records
from hpo.results.document import Results
from hpo.results.file import read_results

_OPTION = "perturbation_interval"

_EQUAL = 1e-9
"""How far a score that is computed again may be from the recorded one, relative to its size: other machines round differently."""


def measure(run_dir: Path, every: float | None = None, search_path: Sequence[Path] = ()) -> Greed:
    """Measure the greed of a finished run's arms.

    Args:
        run_dir: a run directory with at least one finished replicate.
        every: the length of a perturbation interval, in the task's unit; None: the arms' own.
        search_path: folders to search for the modules of `[task] module`.

    Raises:
        InputError: the run directory is incomplete, its task does not know its greedy choice, or training again along a lineage
            gives another score.
    """
    check_readable(run_dir)
    results = read_results(run_dir)
    if not results.replicates:
        raise InputError(f"{run_dir}: no finished replicate to measure")
    bound = task_of(results, run_dir / RESULTS, search_path)
    if not isinstance(bound.task, KnowsGreed):
        raise InputError(
            f"{run_dir}: task = {results.task.name!r}: allowed: a task that knows its greedy choice, such as zoo_plain and"
            " zoo_deceptive (hpo.core.greed.KnowsGreed)"
        )
    length = _length(results, every, run_dir)
    training = _Training(bound.task, bound.space, Fraction(str(results.interval)), length, results.intervals)
    schedule = bound.task.best_schedule(training.boundary(results.intervals), bound.space)
    path = run_dir / SEGMENTS
    if not path.is_file():
        raise InputError(f"{run_dir}: no {SEGMENTS} here, so there is nothing to measure")
    table = read_segments(path, results)
    return Greed(
        name=results.name,
        metric=training.metric,
        unit=results.task.unit,
        every=length * results.interval,
        interval=results.interval,
        seeds=results.finished_seeds,
        arms=tuple(_arm(training, table, results, arm.label) for arm in results.arms if arm.derived_from is None),
        greedy=_policy(training, "greedy policy", None),
        best=_policy(training, "best known schedule", schedule),
    )


def _length(results: Results, every: float | None, run_dir: Path) -> int:
    """Return the length of a perturbation interval in intervals of the study."""
    interval, registered = Fraction(str(results.interval)), optimizers.names()
    if every is None:
        own = {
            float(arm.options.get(_OPTION, results.interval))
            for arm in results.arms
            # The options of an arm leave out what its file leaves to the default, one interval.
            if _OPTION in arm.options
            or (arm.optimizer in registered and hasattr(optimizers.get(arm.optimizer), _OPTION))
        }
        if len(own) != 1:
            found = "their perturbation intervals differ" if own else f"no arm has a {_OPTION}"
            raise InputError(f"{run_dir}: {found}: pass --every, the training over which greed is measured")
        (every,) = own
    length = Fraction(str(every)) / interval
    if not (length.denominator == 1 and 1 <= length <= results.intervals):
        one, most = (amount(results.interval * count, results.task.unit) for count in (1, results.intervals))
        raise InputError(f"--every {every:g}: allowed: a whole number of intervals of {one}, at most {most}")
    return int(length)


@dataclass(frozen=True)
class _Training:
    """Trains and scores members of a task as a study does.

    Args:
        task: the task, which also is a `KnowsGreed`.
        space: the search space of the study.
        interval: the length of an interval, in steps.
        length: of a perturbation interval, in intervals.
        intervals: the budget of a member.
    """

    task: Any
    space: SearchSpace
    interval: Fraction
    length: int
    intervals: int

    @property
    def metric(self) -> Metric:
        task: Task[Any] = self.task
        return task.metrics[0]

    def boundary(self, interval: int) -> int:
        """Return the step at which an interval starts."""
        return boundary(interval, self.interval, 1)

    def steps(self, start: int, count: int) -> range:
        """Return the steps of some intervals."""
        return range(self.boundary(start), self.boundary(start + count))

    def score(self, state: Any) -> float:
        """Return the oriented primary metric."""
        return self.metric.oriented(self.task.evaluate(state, None).metrics[self.metric.name])

    def greedily(self, state: Any, start: int, count: int) -> Any:
        """Return the state after some intervals with the greedy choice for them."""
        steps = self.steps(start, count)
        return self.task.train(state, self.task.greedy_hparams(state, len(steps), self.space), steps)


# --- arms ----------------------------------------------------------------------------------------------------------------


def _arm(training: _Training, table: pd.DataFrame, results: Results, label: str) -> ArmGreed:
    gains, finals = [], []
    primary = results.task.primary
    for replicate in results.replicates:
        rows = table[(table["seed"] == replicate.seed) & (table["arm"] == label)].reset_index(drop=True)
        gains.append(_gains_of(training, records(rows), origins(rows).tolist(), replicate.seed))
        final = replicate.arms[label].validation[primary]
        if final is None:
            raise InputError(f"{RESULTS}: the answer of arm {label!r} with seed {replicate.seed} diverged")
        finals.append(training.metric.oriented(final))
    return ArmGreed(label, tuple(gains), np.array(finals))


def _gains_of(training: _Training, rows: Sequence[SegmentRow], origin: Sequence[int], seed: int) -> Gains:
    """Return the gains of an arm's members in one replicate; intervals that a lineage skips in part are left out."""
    states = _states(training, rows, origin, seed)
    starts = _starts(training.length, rows, origin)
    known: dict[tuple[int, int | None], tuple[float, float]] = {}
    found: list[tuple[int, float, float]] = []
    for end, start in enumerate(starts):
        if start is None or (rows[end].interval + 1) % training.length:
            continue
        row, parent = rows[start], origin[start]
        # Members that continue from the same checkpoint have the same greedy choice.
        checkpoint = (parent, None) if parent >= 0 and row.transform is None else (parent, start)
        if checkpoint not in known:
            before = states[start].before
            greedy = training.greedily(before, row.interval, training.length)
            known[checkpoint] = training.score(before), training.score(greedy)
        score, most = known[checkpoint]
        found.append((row.interval, states[end].score - score, most - score))
    return Gains.of(found)


def _starts(length: int, rows: Sequence[SegmentRow], origin: Sequence[int]) -> list[int | None]:
    """Return, for each row, the row with which the perturbation interval along its lineage begins; None if that was skipped."""
    starts: list[int | None] = []
    for at, (row, parent) in enumerate(zip(rows, origin, strict=True)):
        if row.diverged:
            starts.append(None)
        elif row.interval % length == 0:
            starts.append(at)
        else:
            starts.append(starts[parent] if parent >= 0 and rows[parent].interval == row.interval - 1 else None)
    return starts


@dataclass(frozen=True)
class _State:
    """A member around an interval: its state before and after it, and the oriented score after it."""

    before: Any
    after: Any
    score: float


def _states(training: _Training, rows: Sequence[SegmentRow], origin: Sequence[int], seed: int) -> list[_State]:
    """Train every segment again."""
    states: list[_State] = []
    for row, parent in zip(rows, origin, strict=True):
        if row.diverged:
            states.append(_State(None, None, -np.inf))
            continue
        before = _started(training.task, row, None if parent < 0 else states[parent].after)
        after = training.task.train(before, row.hparams, training.steps(row.interval, 1))
        states.append(_State(before, after, _checked(training, after, row, seed)))
    return states


def _started(task: Any, row: SegmentRow, parent: Any) -> Any:
    """Return the state that a segment trains."""
    if parent is None:
        return task.initialize(row.hparams)
    return parent if row.transform is None else task.shrink_perturb(parent, task.initialize(row.hparams), row.transform)


def _checked(training: _Training, state: Any, row: SegmentRow, seed: int) -> float:
    """Return the oriented score of a state, which must be the recorded one."""
    score, recorded = training.score(state), row.metrics[training.metric.name]
    if recorded is None or abs(score - training.metric.oriented(recorded)) > _EQUAL * max(1.0, abs(recorded)):
        raise InputError(
            f"{SEGMENTS}: seed {seed}, arm {row.arm}, member {row.member}, interval {row.interval}: training again along its"
            f" lineage gives {training.metric.oriented(score):.9g} instead of {recorded!r}: the task is another one, or has noise"
        )
    return score


# --- policies ------------------------------------------------------------------------------------------------------------


def _policy(training: _Training, label: str, schedule: Sequence[HParams] | None) -> Policy:
    """Return a policy: a schedule, by step, or the greedy one."""
    first = training.space.sample(np.random.default_rng(0)) if schedule is None else schedule[0]
    state = training.task.initialize(first)
    found: list[tuple[int, float, float]] = []
    for start in range(0, training.intervals, training.length):
        count = min(training.length, training.intervals - start)
        before, greedy = training.score(state), training.greedily(state, start, count)
        if schedule is None:
            state = greedy
        else:
            for hparams, steps in _pieces(schedule, training.steps(start, count)):
                state = training.task.train(state, hparams, steps)
        if count == training.length:
            found.append((start, training.score(state) - before, training.score(greedy) - before))
    return Policy(label, Gains.of(found), training.score(state))


def _pieces(schedule: Sequence[HParams], steps: range) -> Iterator[tuple[HParams, range]]:
    """Yield the longest runs of equal hyperparameters within some steps."""
    for hparams, run in groupby(steps, lambda step: dict(schedule[step])):
        those = list(run)
        yield hparams, range(those[0], those[-1] + 1)
