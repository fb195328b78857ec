"""The contracts between the engine and its plug-ins: optimizers, selections and perturbations, samplers and pruners.

A plug-in is a small frozen dataclass. Its fields are its options, against which the table of a study file is validated (annotate a
field with `Annotated[float, Gt(0), Le(1)]` to narrow it). It is registered under a name (`hpo.core.registry`); nothing else needs
to be edited.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from hpo.core.amounts import amount
from hpo.core.errors import OptionError
from hpo.core.seeding import Streams
from hpo.core.segments import HParams, Key, Result, Segment
from hpo.core.space import Bounds, SearchSpace
from hpo.core.task import Direction

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

BoundsOf = Callable[[str], Bounds | None]
"""What happens to the values of a hyperparameter, by name, outside their bounds; None: they never are."""


@dataclass(frozen=True)
class Problem:
    """What an optimizer has to solve: one arm in one replicate.

    Args:
        space: the hyperparameters.
        population_size: the number of members of the initial population.
        intervals: the budget of one member, in intervals.
        interval: the length of an interval, in the task's unit.
        unit: the name of that unit.
        streams: the arm's random streams.
        concurrency: the number of virtual workers: how many segments may run at one virtual time.
        initial: hyperparameters that the study gives for the first slots instead of draws from the prior.
        prior: the space from which initial hyperparameters are drawn if an arm searches only a part of it; None: `space`.
        direction: whether a lower or higher primary metric is better; a larger score is always better.
        transforms: the weight transforms that the task offers; see `Task.transforms`.
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
    transforms: frozenset[str] = frozenset()

    @property
    def budget(self) -> int:
        """The arm's whole budget, in intervals."""
        return self.population_size * self.intervals

    def hparams(self, slot: int) -> HParams:
        """Return a slot's initial hyperparameters, active and feasible: the same for every arm of the replicate that searches them.

        Raises:
            OptionError: the rule of the space fails, or leaves almost nothing.
        """
        if slot < len(self.initial):
            drawn = dict(self.initial[slot])
        else:
            prior = self.space if self.prior is None else self.prior
            drawn = prior.sample(self.streams.generator("prior", member=slot, shared=True))
        if self.prior is None:
            return drawn
        drawn = {name: drawn[name] for name in self.space if name in drawn}
        if self.space.is_feasible(drawn):
            return drawn
        # The rule may accept a draw only with what the arm leaves out.
        return self.space.sample(self.streams.generator("prior/part", member=slot, shared=True))

    def whole_intervals(self, duration: float, option: str) -> int:
        """Return a duration in intervals.

        Args:
            duration: in the task's unit.
            option: the option's name, for the error.

        Raises:
            OptionError: it is not positive, or not a whole number of intervals.
        """
        count = Fraction(str(duration)) / self.interval
        if count <= 0 or count.denominator != 1:
            raise OptionError(
                option, duration, f"a whole number of intervals of {amount(float(self.interval), self.unit)}"
            )
        return int(count)


class Optimizer(Protocol):
    """A running search, without I/O, clocks or global randomness. Derive from it to get the defaults.

    Virtual time makes it deterministic: an arm has `concurrency` virtual workers, and a segment occupies one of them for one
    interval. All results of one virtual time are told together, sorted by member. Four calls of a random search with two members
    and two intervals::

        ask(2)                   -> [Segment(0, None, 0, h0), Segment(1, None, 0, h1)]
        tell([r00, r10])            # r00.key is the key of slot 0's first segment
        ask(2)                   -> [Segment(0, r00.key, 1, h0), Segment(1, r10.key, 1, h1)]
        tell([r01, r11])
        ask(2)                   -> []          # done: nothing is running and nothing is asked
        best()                   -> r11.key     # the answer is that segment's lineage
    """

    def ask(self, free: int) -> Sequence[Segment]:
        """Return at most `free` segments that may start now, or none if the search is waiting for results or done."""

    def tell(self, results: Sequence[Result]) -> None:
        """Record all results of one virtual time, sorted by member."""

    def best(self) -> Key:
        """Return the key of the segment whose lineage is the answer."""

    def finals(self) -> Collection[Key] | None:
        """Return the keys of the results among which `select = "final"` chooses; None, the default: all at the full budget."""
        return None

    def counts(self) -> Mapping[str, int]:
        """Return numbers for the report other than the engine's own, such as `boundary_hits`; none by default."""
        return {}


class OptimizerOptions(Protocol):
    """A registered optimizer: a frozen dataclass of options that starts searches. Derive from it to get the defaults."""

    def start(self, problem: Problem) -> Optimizer:
        """Start a search.

        The options of a study are also checked by calling this, so it must be quick.

        Raises:
            OptionError: an option does not suit the problem.
        """

    def changes(self, space: SearchSpace) -> Collection[str]:
        """Return the hyperparameters that may differ between a segment and its parent; none by default."""
        return ()

    def default_concurrency(self, population_size: int) -> int:
        """Return the number of virtual workers if the study file does not give one; by default the population size."""
        return population_size

    def resolved(self) -> Mapping[str, object]:
        """Return resolved values that the study file does not state, such as a sampler's own defaults; none by default."""
        return {}

    def warnings(self, problem: Problem) -> Sequence[str]:
        """Return what a user should know before the search starts, such as a rule that can never apply; none by default."""
        return ()


@dataclass(frozen=True)
class Member:
    """A member of a population, as a selection or a perturbation sees it.

    Args:
        slot: its number.
        key: its current segment, which other members may copy.
        hparams: the hyperparameters it continues with, or was copied with.
        score: its last evaluation; larger is better, -inf if diverged.
        diverged: whether it has diverged; such a member is never a donor.
        history: all results of this slot so far, oldest first, including the last evaluation. After a copy they belong to more than
            one model: a model's own past is its lineage (`Segment.parent`), which the histories of all members contain together.
    """

    slot: int
    key: Key
    hparams: HParams
    score: float
    diverged: bool
    history: Sequence[Result] = field(default=(), repr=False)

    @property
    def rank_key(self) -> tuple[float, int]:
        """A sort key: ascending order puts the best first. Ties go to the lower slot, and diverged members come last.

        A selection that copies from the first few members must check that they have not diverged.
        """
        return (-self.score if not self.diverged else float("inf"), self.slot)


class Explore(Key):
    """What a selection returns for a member that copies nothing but is to explore: `Explore(member.key)`.

    A member that copies always explores, so with another member's key it is that key.
    """

    __slots__ = ()


class Selection(Protocol):
    """Exploit: the checkpoint from which each member continues. A frozen dataclass of options.

    It is another member's `key`, or the key of any finite result in the population's histories, which is an earlier checkpoint. The
    member still counts its own intervals: its next interval has the same number as without the copy, and the budget is spent as
    usual. The lineage then skips the intervals in between.
    """

    def check(self, population_size: int) -> None:
        """Raise `OptionError` if the options do not suit a population of this size."""

    def __call__(self, population: Sequence[Member], rng: np.random.Generator) -> Mapping[int, Key]:
        """Return, by slot, the key to continue from. Omit a slot, or return its own key, to change nothing.

        With `Explore(member.key)`, its own key in this class, a member keeps its weights and changes its hyperparameters.

        Args:
            population: all evaluated members, in slot order; at least one has not diverged. In asynchronous PBT there may be fewer
                than the population size, at different intervals, and only some are about to continue: what is returned for the
                others is ignored.
            rng: the random stream of this selection.
        """


class Perturbation(Protocol):
    """Explore: new hyperparameters for all members to change. A frozen dataclass of options.

    Returned values may be outside the bounds of the space: PBT moves them inside as `bounds` says, and counts them.
    """

    @property
    def bounds(self) -> Bounds | BoundsOf:
        """What happens to values outside the bounds; a function of the name if it differs between hyperparameters."""

    def __call__(
        self, copied: Sequence[Member], space: SearchSpace, history: Sequence[Result], rng: np.random.Generator
    ) -> Mapping[int, HParams]:
        """Return new hyperparameters by slot. Omit a slot to keep its hyperparameters.

        Args:
            copied: the members to change, in slot order, with their inherited hyperparameters.
            space: the search space; PBT restores parameters that are `held`. A member's hyperparameters, and those to return, are
                the active ones only.
            history: all results so far, oldest first. A result's segment names its parent's key, so that the gain of an interval
                is the difference of two scores.
            rng: the random stream of this perturbation.
        """


@runtime_checkable
class ChecksSpace(Protocol):
    """A perturbation that checks the search space before anything runs."""

    def check(self, space: SearchSpace) -> None:
        """Raise `OptionError` if the options do not suit this space."""


class Sampler(Protocol):
    """A source of proposals for the `optuna` optimizer: one of Optuna's samplers. A frozen dataclass of options.

    Every option is passed to Optuna by name, so that a study file means the same sampler even if Optuna's defaults change.
    """

    def resolved(self, initial: int) -> Mapping[str, object]:
        """Return the options as they are passed to Optuna.

        Args:
            initial: the number of members of the initial population before the sampler's own proposals.
        """

    def build(self, problem: Problem, initial: int, seed: int) -> "BaseSampler":
        """Return Optuna's sampler.

        Args:
            problem: the problem to propose for.
            initial: as for `resolved`.
            seed: 0 to 2**32 - 1.

        Raises:
            OptionError: an option does not suit the problem.
        """


class Pruner(Protocol):
    """Stops trials of the `optuna` optimizer early: one of Optuna's pruners. A frozen dataclass of options.

    It judges a trial after every interval except the last. Steps are intervals: a trial's first score is that of step 1.
    """

    def check(self, problem: Problem) -> None:
        """Raise `OptionError` if no trial could ever be stopped."""

    def build(self, problem: Problem) -> "BasePruner | None":
        """Return Optuna's pruner, for scores where larger is better; None: every trial runs to its end."""
