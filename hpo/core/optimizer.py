"""The contracts between the engine and its plug-ins: optimizers, selections and perturbations, samplers and pruners.

A plug-in is a small frozen dataclass: its fields are its options, and a study file's table is validated against them
(annotate a field with `Annotated[float, Gt(0), Le(1)]` to narrow it). It is registered under a name
(`hpo.core.registry`) and nothing else is edited.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from hpo.core.errors import OptionError
from hpo.core.seeding import Streams
from hpo.core.segments import HParams, Key, Result, Segment
from hpo.core.space import Bounds, SearchSpace
from hpo.core.task import Direction

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

BoundsOf = Callable[[str], Bounds | None]
"""What happens to a hyperparameter that passed a bound, by its name; None: it never does."""


@dataclass(frozen=True)
class Problem:
    """What an optimizer is asked to solve: one arm in one replicate.

    Args:
        space: the hyperparameters.
        population_size: members of the initial population.
        intervals: the budget of one member, in intervals.
        interval: the length of an interval, in the task's unit.
        unit: that unit's name.
        streams: the arm's random streams.
        concurrency: virtual workers: how many segments may run at one virtual time.
        initial: hyperparameters given by the study for the first slots, instead of draws from the prior.
        prior: the space that initial hyperparameters are drawn from where an arm searches only a part of it; None: `space`.
        direction: which way the primary metric is better as it is written; scores are larger when better, whatever it is.
    """

    space: SearchSpace
    population_size: int
    intervals: int
    interval: Fraction
    unit: str
    streams: Streams
    concurrency: int
    initial: tuple[HParams, ...] = ()
    prior: SearchSpace | None = None
    direction: Direction = "maximize"

    @property
    def budget(self) -> int:
        """The ceiling for the whole arm, in intervals."""
        return self.population_size * self.intervals

    def hparams(self, slot: int) -> HParams:
        """Return a slot's initial hyperparameters: the same for every arm of the replicate, as far as it searches them.

        They are the active ones alone.
        """
        if slot < len(self.initial):
            drawn = dict(self.initial[slot])
        else:
            prior = self.space if self.prior is None else self.prior
            drawn = prior.sample(self.streams.generator("prior", member=slot, shared=True))
        return drawn if self.prior is None else {name: drawn[name] for name in self.space if name in drawn}

    def whole_intervals(self, duration: float, option: str) -> int:
        """Return how many intervals a duration is.

        Args:
            duration: in the task's unit.
            option: the option's name, for the error.

        Raises:
            OptionError: it is not positive or no whole number of intervals.
        """
        count = Fraction(str(duration)) / self.interval
        if count <= 0 or count.denominator != 1:
            raise OptionError(option, duration, f"a whole number of intervals of {float(self.interval):g} {self.unit}")
        return int(count)


class Optimizer(Protocol):
    """A search that is going on. No I/O, no clock, no global randomness. Derive from it for the defaults.

    Virtual time makes it deterministic: an arm has `concurrency` virtual workers, a segment takes one of them for one
    interval, and all that finish at one virtual time are told together, sorted by member. Four calls of a random search
    with two members and two intervals::

        ask(2)                   -> [Segment(0, None, 0, h0), Segment(1, None, 0, h1)]
        tell([r00, r10])            # r00.key is the key of slot 0's first segment
        ask(2)                   -> [Segment(0, r00.key, 1, h0), Segment(1, r10.key, 1, h1)]
        tell([r01, r11])
        ask(2)                   -> []          # done: nothing is running and nothing is asked
        best()                   -> r11.key     # the answer is that segment's lineage
    """

    def ask(self, free: int) -> Sequence[Segment]:
        """Return at most `free` segments that may start now; none: waiting for results, or done."""

    def tell(self, results: Sequence[Result]) -> None:
        """Take all results that finished at one virtual time, sorted by member."""

    def best(self) -> Key:
        """Return the key of the segment whose lineage is the answer."""

    def counts(self) -> Mapping[str, int]:
        """Return what the report counts beside the engine's own ledger, such as `boundary_hits`; by default nothing."""
        return {}


class OptimizerOptions(Protocol):
    """A registered optimizer: a frozen dataclass of options that starts searches. Derive from it for the defaults."""

    def start(self, problem: Problem) -> Optimizer:
        """Start a search.

        It is also how options are checked before a study starts, so it must be quick.

        Raises:
            OptionError: an option does not fit the problem.
        """

    def changes(self, space: SearchSpace) -> Collection[str]:
        """Return the hyperparameters that may change from a state to the segment that goes on from it; by default none."""
        return ()

    def default_concurrency(self, population_size: int) -> int:
        """Return the number of virtual workers where the study file gives none; by default the population's size."""
        return population_size

    def resolved(self) -> Mapping[str, object]:
        """Return what the options resolved to beyond what was written, like a sampler's own defaults; by default nothing."""
        return {}


@dataclass(frozen=True)
class Member:
    """A member of a population, as a selection or a perturbation sees it.

    Args:
        slot: its number.
        key: the segment it stands at: what another member copies.
        hparams: the hyperparameters it goes on with, or was copied with.
        score: its last evaluation, larger is better; -inf when diverged.
        diverged: never a donor.
        history: all results of this slot so far, oldest first, the last evaluation included. After a copy they are of more than
            one model: a model's own past is its lineage (`Segment.parent`), which the histories of all members hold together.
    """

    slot: int
    key: Key
    hparams: HParams
    score: float
    diverged: bool
    history: Sequence[Result] = field(default=(), repr=False)

    @property
    def rank_key(self) -> tuple[float, int]:
        """Sort ascending by this to get the best first; ties go to the lower slot, diverged members come last.

        They are still members: a rule that copies from the first of a few must see to it that it has not diverged.
        """
        return (-self.score if not self.diverged else float("inf"), self.slot)


class Selection(Protocol):
    """Exploit: whose checkpoint each member goes on from. A frozen dataclass of options.

    That is another member's `key`, or the key of any finite result in the population's histories: a checkpoint further back. The
    member's own clock goes on all the same: its next interval has the number that it would have had, and the budget is spent
    as if nothing had happened; the lineage lacks the intervals between.
    """

    def check(self, population_size: int) -> None:
        """Raise `OptionError` where the options mean nothing for a population of this size."""

    def __call__(self, population: Sequence[Member], rng: np.random.Generator) -> Mapping[int, Key]:
        """Return, by slot, the key that the member goes on from; a slot that is left out, or its own key: no change.

        Args:
            population: all members that have been evaluated, in the order of their slots; at least one has not diverged.
                Without a barrier (asynchronous PBT) they may be fewer than the population's size, at different intervals, and
                only some of them are about to go on: what is returned for the others is not used.
            rng: the stream of this selection.
        """


class Perturbation(Protocol):
    """Explore: new hyperparameters for all members to be changed at once. A frozen dataclass of options.

    What is returned may pass the bounds of the space: PBT brings it inside as `bounds` says, and counts.
    """

    @property
    def bounds(self) -> Bounds | BoundsOf:
        """What happens to a value that passed a bound; a function of the name where that is not the same for all."""

    def __call__(
        self, copied: Sequence[Member], space: SearchSpace, history: Sequence[Result], rng: np.random.Generator
    ) -> Mapping[int, HParams]:
        """Return new hyperparameters by slot; a slot that is left out keeps what it has.

        Args:
            copied: the members to change, in the order of their slots, with the hyperparameters that they inherited.
            space: the search space; parameters that are `held` are put back by PBT. A member's hyperparameters are the
                active ones, not all of the space, and so must be what is returned.
            history: every result so far, oldest first; a result's segment names its parent's key, so that what an interval
                gained is the difference of two scores.
            rng: the stream of this perturbation.
        """


@runtime_checkable
class ChecksSpace(Protocol):
    """A perturbation that has something to say about the search space before anything runs."""

    def check(self, space: SearchSpace) -> None:
        """Raise `OptionError` where the options mean nothing in this space."""


class Sampler(Protocol):
    """Where the `optuna` optimizer's proposals come from: one of Optuna's samplers. A frozen dataclass of options.

    Every option is given to Optuna by name, so that the same file means the same sampler whatever Optuna's defaults are.
    """

    def resolved(self, initial: int) -> Mapping[str, object]:
        """Return the options by Optuna's names, as they are given to it.

        Args:
            initial: how many members of the initial population come before the sampler's own proposals.
        """

    def build(self, problem: Problem, initial: int, seed: int) -> "BaseSampler":
        """Return Optuna's sampler.

        Args:
            problem: what it proposes for.
            initial: as for `resolved`.
            seed: 0 to 2**32 - 1.

        Raises:
            OptionError: an option does not fit the problem.
        """


class Pruner(Protocol):
    """Which trials of the `optuna` optimizer stop early: one of Optuna's pruners. A frozen dataclass of options.

    It judges a trial after each interval but its last. Steps are intervals: a trial's first score is that of step 1.
    """

    def check(self, problem: Problem) -> None:
        """Raise `OptionError` where no trial could ever be stopped."""

    def build(self, problem: Problem) -> "BasePruner | None":
        """Return Optuna's pruner, for scores of which larger ones are better; None: trials run to their end."""
