"""Population based training, synchronous.

Jaderberg et al., "Population based training of neural networks", arXiv:1711.09846, 2017: algorithm 1 and section 3. A
population trains side by side; every `perturbation_interval` the selection says who copies whom (exploit), and the
perturbation changes hyperparameters (explore). Here all members wait for each other before that, as all of one virtual
time are told together; the paper's are asynchronous. The answer is not a configuration but a schedule: the lineage of the
best segment.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt

from hpo.errors import OptimizerError, OptionError
from hpo.optimizers.chains import Chains, Select, best_of, roots
from hpo.optimizers.perturbation import Multiply
from hpo.optimizers.selection import Truncation
from hpo.protocols import Member, Optimizer, OptimizerOptions, Perturbation, Problem, Selection
from hpo.registry import register_optimizer
from hpo.segments import HParams, Key, Result, Segment, Value
from hpo.space import Categorical, SearchSpace

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
    """

    perturbation_interval: Annotated[float, Gt(0)]
    selection: Selection = _DEFAULT_SELECTION
    perturbation: Perturbation = _DEFAULT_PERTURBATION
    explore: Literal["copied", "all"] = "copied"
    inherit: Literal["weights_and_hyperparameters", "weights"] = "weights_and_hyperparameters"
    burn_in: Annotated[float, Ge(0)] = 0.0
    select: Select = "final"

    def start(self, problem: Problem) -> "PBTRun":
        """Start a search.

        Raises:
            OptionError: a duration is no whole number of intervals, no exploit could ever happen within the budget, or the
                selection means nothing for this population.
        """
        period = problem.whole_intervals(self.perturbation_interval, "perturbation_interval")
        burn_in = 0 if self.burn_in == 0 else problem.whole_intervals(self.burn_in, "burn_in")
        budget = f"{float(problem.interval * problem.intervals):g} {problem.unit} per member, or nobody ever exploits"
        if period >= problem.intervals:
            raise OptionError("perturbation_interval", self.perturbation_interval, f"less than the budget of {budget}")
        if math.ceil(burn_in / period) * period >= problem.intervals:
            raise OptionError("burn_in", self.burn_in, f"one that leaves an exploit within the budget of {budget}")
        try:
            self.selection.check(problem.population_size)
        except OptionError as error:
            raise OptionError(f"selection.{error.option}", error.given, error.allowed) from error
        return PBTRun(self, problem, period, burn_in)


class PBTRun(Optimizer):
    """A population based training that is going on.

    Members train until each has reached the next exploit (the barrier), whatever the number of workers; then all of them
    are given their parents and hyperparameters at once.

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
        self._history: list[list[Result]] = [[] for _ in range(problem.population_size)]
        self._at_barrier: dict[int, Result] = {}
        self._boundary_hits = 0
        self._all_diverged = 0

    def ask(self, free: int) -> Sequence[Segment]:
        """Return at most `free` segments that may start now; none while members wait for each other."""
        return self._chains.take(free)

    def tell(self, results: Sequence[Result]) -> None:
        """Take results; when the last member has reached the barrier, exploit and explore."""
        self._results.extend(results)
        for result in results:
            slot, done = result.segment.member, result.segment.interval + 1
            self._history[slot].append(result)
            if self._exploits_after(done):
                self._at_barrier[slot] = result
            elif done < self._problem.intervals:
                self._chains.go_on(result)
        if len(self._at_barrier) == self._problem.population_size:
            standing = [self._at_barrier[slot] for slot in range(self._problem.population_size)]
            self._at_barrier = {}
            self._chains.start(self._next_generation(standing))

    def best(self) -> Key:
        """Return the key of the best segment, as `select` says."""
        return best_of(self._results, self._options.select, self._problem.intervals)

    def counts(self) -> Mapping[str, int]:
        """Return how many values passed a bound, and how many exploits were left out because all had diverged."""
        return {"boundary_hits": self._boundary_hits, "all_diverged": self._all_diverged}

    def _exploits_after(self, done: int) -> bool:
        return done % self._period == 0 and self._burn_in <= done < self._problem.intervals

    def _next_generation(self, standing: Sequence[Result]) -> list[Segment]:
        """Return each slot's next segment; where all have diverged, everyone just goes on."""
        interval = standing[0].segment.interval
        members = [
            Member(slot, result.key, result.segment.hparams, result.score, result.diverged, self._history[slot])
            for slot, result in enumerate(standing)
        ]
        explored: Mapping[int, HParams] = {}
        if all(member.diverged for member in members):
            self._all_diverged += 1
        else:
            copied = self._exploit(members, interval)
            members = [copied.get(member.slot, member) for member in members]
            changing = members if self._options.explore == "all" else [m for m in members if m.slot in copied]
            explored = self._explore(changing, interval)
        return [Segment(m.slot, m.key, interval + 1, explored.get(m.slot, m.hparams)) for m in members]

    def _exploit(self, members: Sequence[Member], interval: int) -> dict[int, Member]:
        """Return, by slot, the members that copy, as they stand after it: at the donor's segment, with what they inherit.

        Raises:
            OptimizerError: the selection named an unknown slot or key, or a diverged donor.
        """
        rng = self._problem.streams.generator("selection", interval=interval)
        by_key = {member.key: member for member in members}
        copied = {}
        for slot, key in self._options.selection(members, rng).items():
            donor = by_key.get(key)
            if donor is None or not 0 <= slot < len(members):
                raise self._broken("selection", f"slot {slot!r} is to copy {key!r}: no member stands there")
            if donor.slot == slot:
                continue
            if donor.diverged:
                raise self._broken("selection", f"slot {slot} is to copy slot {donor.slot}, which has diverged")
            member = members[slot]
            hparams = self._inherited(member.hparams, donor.hparams)
            copied[slot] = Member(slot, donor.key, hparams, donor.score, donor.diverged, member.history)
        return copied

    def _inherited(self, own: HParams, donors: HParams) -> HParams:
        if self._options.inherit == "weights_and_hyperparameters":
            return donors
        return self._problem.space.inherited(own, donors)

    def _explore(self, changing: Sequence[Member], interval: int) -> dict[int, HParams]:
        """Return new hyperparameters by slot, inside their bounds; counts what passed one.

        Raises:
            OptimizerError: the perturbation returned a slot that was not to change, other names than the space's, or a
                value that no bound can mend.
        """
        if not changing:
            return {}
        perturbation, space = self._options.perturbation, self._problem.space
        rng = self._problem.streams.generator("perturbation", interval=interval)
        before = {member.slot: member.hparams for member in changing}
        explored: dict[int, HParams] = {}
        for slot, returned in perturbation(changing, space, self._results, rng).items():
            if slot not in before:
                raise self._broken("perturbation", f"slot {slot!r} was not to be changed")
            held = {name: value for name, value in before[slot].items() if name in space.held}
            raw = {**returned, **held}
            wrong = _unmendable(space, raw)
            if wrong is not None:
                raise self._broken("perturbation", f"slot {slot}: {wrong}")
            bounded, hits = space.bounded(raw, perturbation.bounds)
            explored[slot] = space.cast(bounded)
            self._boundary_hits += hits
        return explored

    def _broken(self, option: Literal["selection", "perturbation"], what: str) -> OptimizerError:
        return OptimizerError(f"{option} {type(getattr(self._options, option)).__name__}: {what}")


def _unmendable(space: SearchSpace, hparams: HParams) -> str | None:
    """Return what is wrong with hyperparameters that bringing them inside the bounds cannot put right, or None."""
    active = space.active(hparams)
    if hparams.keys() != active.keys():
        return f"hyperparameters {sorted(hparams)}, not {sorted(active)}"
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
