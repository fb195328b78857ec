"""Population based training.

Jaderberg et al., "Population based training of neural networks", arXiv:1711.09846, 2017: algorithm 1 and section 3. A
population trains side by side; every `perturbation_interval` the selection says who copies whom (exploit), and the
perturbation changes hyperparameters (explore). In the paper no member waits for another one (`mode = "asynchronous"`); by
default all of them wait for each other before that. The answer is not a configuration but a schedule: the lineage of the best
segment.

A member has a clock of its own, the interval of its segments. It goes on by one with each segment, whatever the member copies:
so the budget is spent exactly, data and noise of an interval are used once per member, and `select = "final"` ranks each slot by
its last segment. The checkpoint that it goes on from may be from further back, another member's that is behind, or an earlier one
(`hpo.optimizers.backtrack`): then the lineage lacks the intervals between, and has been trained for that much less.
"""

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt
from numpy.random import Generator

from hpo.core.errors import OptimizerError, OptionError
from hpo.core.optimizer import Member, Optimizer, OptimizerOptions, Perturbation, Problem, Selection
from hpo.core.registry import register_optimizer
from hpo.core.segments import HParams, Key, Result, Segment, Value
from hpo.core.space import Categorical, SearchSpace
from hpo.optimizers.chains import Chains, Select, best_of, roots
from hpo.optimizers.composition import bounds_of, check, option_of
from hpo.optimizers.in_flight import changed_in_flight
from hpo.optimizers.perturbation import Multiply
from hpo.optimizers.selection import NoSelection, Truncation

_DEFAULT_SELECTION = Truncation(0.2)
_DEFAULT_PERTURBATION = Multiply((1.2, 0.8))


@register_optimizer("pbt")
@dataclass(frozen=True)
class PBT(OptimizerOptions):
    """Train a population; every so often let weak members copy strong ones and change hyperparameters.

    Args:
        perturbation_interval: training between two exploits, in the task's unit: whole intervals.
        selection: who copies whom.
        perturbation: how hyperparameters change.
        explore: whose: those of the members that have just copied, or of all.
        inherit: what a copying member takes. With "weights" it keeps its own hyperparameters, but for the `fixed` ones and those
            that control a `when`, which belong to the weights (the "exploit only" of the paper's Figure 2), and for what is
            active with them and the member lacks.
        burn_in: no exploit and no explore before this much training, in the task's unit: 0 or whole intervals.
        select: which segment is the answer: "final", the best member at the full budget, or "any" interval's.
        mode: "synchronous": all members wait for each other before each exploit. "asynchronous": nobody waits, and each one that
            comes so far is held against the last evaluations there are by then, of members ahead those at its own interval. Where
            all members train side by side (`concurrency` = population size) the two are the same.
    """

    perturbation_interval: Annotated[float, Gt(0)]
    selection: Selection = _DEFAULT_SELECTION
    perturbation: Perturbation = _DEFAULT_PERTURBATION
    explore: Literal["copied", "all"] = "copied"
    inherit: Literal["weights_and_hyperparameters", "weights"] = "weights_and_hyperparameters"
    burn_in: Annotated[float, Ge(0)] = 0.0
    select: Select = "final"
    mode: Literal["synchronous", "asynchronous"] = "synchronous"

    def start(self, problem: Problem) -> "PBTRun":
        """Start a search.

        Raises:
            OptionError: a duration is no whole number of intervals, no exploit could ever happen within the budget, the
                selection means nothing for this population, or the perturbation nothing in this search space.
        """
        period = problem.whole_intervals(self.perturbation_interval, "perturbation_interval")
        burn_in = 0 if self.burn_in == 0 else problem.whole_intervals(self.burn_in, "burn_in")
        budget = f"{float(problem.interval * problem.intervals):g} {problem.unit} per member, or nobody ever exploits"
        if period >= problem.intervals:
            raise OptionError("perturbation_interval", self.perturbation_interval, f"less than the budget of {budget}")
        if math.ceil(burn_in / period) * period >= problem.intervals:
            raise OptionError("burn_in", self.burn_in, f"one that leaves an exploit within the budget of {budget}")
        with option_of("selection"):
            self.selection.check(problem.population_size)
        with option_of("perturbation"):
            check(self.perturbation, problem.space)
        return PBTRun(self, problem, period, burn_in)

    def changes(self, space: SearchSpace) -> set[str]:
        """Return what members that copy keep as their own, or what the perturbation changes."""
        if isinstance(self.selection, NoSelection) and self.explore == "copied":
            return set()
        return set(space) - space.held if self.inherit == "weights" else changed_in_flight(self.perturbation, space)


class PBTRun(Optimizer):
    """A population based training that is going on.

    Synchronous: members train until each has reached the next exploit (the barrier), whatever the number of workers; then all of
    them are given their parents and hyperparameters at once. Asynchronous: those that reach it at one virtual time are, and then
    queue behind those that wait for a worker.

    Args:
        options: how.
        problem: on what.
        period: intervals between two exploits.
        burn_in: intervals before the first one.
    """

    def __init__(self, options: PBT, problem: Problem, period: int, burn_in: int) -> None:
        self._options = options
        self._problem = problem
        self._period = period
        self._burn_in = burn_in
        self._chains = Chains(roots(problem))
        self._results: list[Result] = []
        self._by_key: dict[Key, Result] = {}
        # By slot; entry k is of interval k: a slot's clock goes on whatever it copies.
        self._history: list[list[Result]] = [[] for _ in range(problem.population_size)]
        self._at_barrier: dict[int, Result] = {}
        self._boundary_hits = 0
        self._all_diverged = 0

    def ask(self, free: int) -> Sequence[Segment]:
        """Return at most `free` segments that may start now; none while members wait for each other."""
        return self._chains.take(free)

    def tell(self, results: Sequence[Result]) -> None:
        """Take results; exploit and explore for those members, or with the last one for all, that have come so far."""
        arrived: dict[int, dict[int, Result]] = {}
        for result in results:
            slot, done = result.segment.member, result.segment.interval + 1
            self._results.append(result)
            self._by_key[result.key] = result
            self._history[slot].append(result)
            if self._exploits_after(done):
                arrived.setdefault(done, {})[slot] = result
            elif done < self._problem.intervals:
                self._chains.go_on(result)
        if self._options.mode == "synchronous":
            for group in arrived.values():
                self._at_barrier |= group
            if len(self._at_barrier) < self._problem.population_size:
                return
            arrived, self._at_barrier = {0: self._at_barrier}, {}
        for _, group in sorted(arrived.items()):
            self._chains.queue(self._next_segments([group[slot] for slot in sorted(group)]))

    def best(self) -> Key:
        """Return the key of the best segment, as `select` says."""
        return best_of(self._results, self._options.select, self._problem.intervals)

    def counts(self) -> Mapping[str, int]:
        """Return how many values passed a bound, and how many exploits were left out because all had diverged."""
        return {"boundary_hits": self._boundary_hits, "all_diverged": self._all_diverged}

    def _exploits_after(self, done: int) -> bool:
        return done % self._period == 0 and self._burn_in <= done < self._problem.intervals

    def _next_segments(self, group: Sequence[Result]) -> list[Segment]:
        """Return the next segment of each slot of a group; where the whole population has diverged, each just goes on.

        Args:
            group: results of one interval, in the order of their slots.
        """
        interval = group[0].segment.interval
        # A group that is not everybody has a stream of its own: its first member comes to this interval once.
        whole = len(group) == self._problem.population_size
        first = -1 if whole else group[0].segment.member
        streams = self._problem.streams
        population = self._population(interval)
        moving = {result.segment.member for result in group}
        members = [member for member in population if member.slot in moving]
        explored: Mapping[int, HParams] = {}
        if all(member.diverged for member in population):
            self._all_diverged += 1
        else:
            copied = self._exploit(population, moving, streams.generator("selection", member=first, interval=interval))
            members = [copied.get(member.slot, member) for member in members]
            changing = members if self._options.explore == "all" else [m for m in members if m.slot in copied]
            explored = self._explore(changing, streams.generator("perturbation", member=first, interval=interval))
        return [Segment(m.slot, m.key, interval + 1, explored.get(m.slot, m.hparams)) for m in members]

    def _population(self, interval: int) -> list[Member]:
        """Return the members that have been evaluated, as a member that has come to an interval sees them.

        One that is ahead is seen as it was at this interval, so that no lineage is ever trained for longer than the budget
        of one member.
        """
        seen = [history[: interval + 1] if len(history) > interval + 1 else history for history in self._history]
        return [
            Member(slot, last.key, last.segment.hparams, last.score, last.diverged, past)
            for slot, past in enumerate(seen)
            if past
            for last in past[-1:]
        ]

    def _exploit(self, population: Sequence[Member], moving: AbstractSet[int], rng: Generator) -> dict[int, Member]:
        """Return, by slot, the members that copy, as they stand after it: at the donor's segment, with what they inherit.

        Args:
            population: all that have been evaluated.
            moving: the slots that are about to go on.
            rng: the stream of the selection.

        Raises:
            OptimizerError: the selection named an unknown slot or key, or a diverged donor.
        """
        members = {member.slot: member for member in population}
        past = {member.slot: len(member.history) for member in population}
        copied = {}
        for slot, key in self._options.selection(population, rng).items():
            donor = self._by_key.get(key)
            if slot not in members or donor is None or donor.segment.interval >= past[donor.segment.member]:
                raise self._broken(
                    "selection", f"slot {slot!r} is to copy {key!r}: no member stands there, or ever stood"
                )
            member = members[slot]
            if slot not in moving or key == member.key:
                continue
            if donor.diverged:
                what = f"slot {slot} is to copy slot {donor.segment.member}, which has diverged"
                raise self._broken("selection", what)
            hparams = self._inherited(member.hparams, donor.segment.hparams)
            copied[slot] = Member(slot, key, hparams, donor.score, donor.diverged, member.history)
        return copied

    def _inherited(self, own: HParams, donors: HParams) -> HParams:
        if self._options.inherit == "weights_and_hyperparameters":
            return donors
        return self._problem.space.inherited(own, donors)

    def _explore(self, changing: Sequence[Member], rng: Generator) -> dict[int, HParams]:
        """Return new hyperparameters by slot, inside their bounds; counts what passed one.

        Raises:
            OptimizerError: the perturbation returned a slot that was not to change, other names than the space's, or a
                value that no bound can mend.
        """
        if not changing:
            return {}
        perturbation, space = self._options.perturbation, self._problem.space
        before = {member.slot: member.hparams for member in changing}
        explored: dict[int, HParams] = {}
        for slot, returned in perturbation(changing, space, self._results, rng).items():
            if slot not in before:
                raise self._broken("perturbation", f"slot {slot!r} was not to be changed")
            held = {name: value for name, value in before[slot].items() if name in space.held}
            raw = {**returned, **held}
            wrong = _unmendable(space, before[slot], raw)
            if wrong is not None:
                raise self._broken("perturbation", f"slot {slot}: {wrong}")
            bounded, hits = _inside(space, raw, perturbation)
            explored[slot] = space.cast(bounded)
            self._boundary_hits += hits
        return explored

    def _broken(self, option: Literal["selection", "perturbation"], what: str) -> OptimizerError:
        return OptimizerError(f"{option} {type(getattr(self._options, option)).__name__}: {what}")


def _inside(space: SearchSpace, raw: HParams, perturbation: Perturbation) -> tuple[dict[str, Value], int]:
    """Return hyperparameters inside their bounds, as the perturbation says for each, and how many had passed one."""
    clipped, hits = space.bounded(raw, "clip")
    reflected, _ = space.bounded(raw, "reflect")
    reflects = {name for name in clipped if bounds_of(perturbation, name) == "reflect"}
    return {name: (reflected if name in reflects else clipped)[name] for name in clipped}, hits


def _unmendable(space: SearchSpace, before: HParams, hparams: HParams) -> str | None:
    """Return what is wrong with hyperparameters that bringing them inside the bounds cannot put right, or None."""
    if hparams.keys() != before.keys():
        return f"hyperparameters {sorted(hparams)}, not {sorted(before)}"
    for name, value in hparams.items():
        parameter = space[name]
        if isinstance(parameter, Categorical):
            try:
                parameter.cast(value)
            except OptionError:
                return f"{name} = {value!r} is none of {list(parameter.choices)!r}"
        elif not _is_finite_number(value):
            return f"{name} = {value!r} is no finite number"
    return None


def _is_finite_number(value: Value) -> bool:
    try:
        return not isinstance(value, (str, bool)) and math.isfinite(value)
    except (TypeError, OverflowError):
        return False
