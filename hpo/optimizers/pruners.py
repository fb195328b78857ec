"""Optuna's pruners, which stop trials of the `optuna` optimizer before their budget is spent.

Akiba et al., "Optuna: a next-generation hyperparameter optimization framework", KDD 2019, section 3.2. A step is an interval.
After k intervals a trial reports its score as that of step k, so resources (`min_resource`) are intervals of training.
`n_warmup_steps` counts steps from zero, as in Optuna's documentation: trials are first judged one interval later. No trial is
judged after its last interval, when there is nothing left to save.

Every pruner raises `OptionError` for options with which it could never stop a trial.
"""

from dataclasses import asdict, dataclass
from typing import Annotated

import optuna
from annotated_types import Ge, Gt, Le
from optuna.pruners import BasePruner

from hpo.core.errors import OptionError, nested_option
from hpo.core.optimizer import Problem, Pruner
from hpo.core.registry import register_pruner
from hpo.optimizers.rungs import largest_power

Count = Annotated[int, Ge(0)]
Positive = Annotated[int, Ge(1)]
Factor = Annotated[int, Ge(2)]


@register_pruner("none")
@dataclass(frozen=True)
class NoPruner:
    """Train every trial to the full budget."""

    def check(self, problem: Problem) -> None:
        """Accept every problem."""

    def build(self, problem: Problem) -> BasePruner | None:
        """Return no pruner."""
        return None


_NONE = NoPruner()


@register_pruner("percentile")
@dataclass(frozen=True)
class PercentilePruner:
    """Stop a trial whose best score so far is below a percentile of the completed trials' scores at the same step.

    Args:
        percentile: a trial continues if it is among this percentage of the best completed trials.
        n_startup_trials: the number of trials to complete before any is stopped.
        n_warmup_steps: a trial is first judged after this many intervals plus one.
        interval_steps: the number of intervals between two judgements of a trial.
        n_min_trials: the number of completed trials that must have a score at the step.
    """

    percentile: Annotated[float, Gt(0), Le(100)] = 25.0
    n_startup_trials: Count = 5
    n_warmup_steps: Count = 0
    interval_steps: Positive = 1
    n_min_trials: Positive = 1

    def check(self, problem: Problem) -> None:
        """Raise `OptionError` if the population's budget, or a member's, ends before any trial is judged."""
        _check_warmup(self.n_warmup_steps, problem)
        _check_startup(self.n_startup_trials, self.n_min_trials, problem)

    def build(self, problem: Problem) -> BasePruner:
        """Return Optuna's pruner."""
        return optuna.pruners.PercentilePruner(**asdict(self) | {"n_warmup_steps": self.n_warmup_steps + 1})


@register_pruner("median")
@dataclass(frozen=True)
class MedianPruner:
    """Stop a trial whose best score so far is below the median of the completed trials' scores at the same step.

    The rule of Golovin et al., "Google Vizier: a service for black-box optimization", KDD 2017, section 3.2.2, but with
    the scores at the step rather than their averages up to it. The same as `percentile` with 50.

    Args:
        n_startup_trials: the number of trials to complete before any is stopped.
        n_warmup_steps: a trial is first judged after this many intervals plus one.
        interval_steps: the number of intervals between two judgements of a trial.
        n_min_trials: the number of completed trials that must have a score at the step.
    """

    n_startup_trials: Count = 5
    n_warmup_steps: Count = 0
    interval_steps: Positive = 1
    n_min_trials: Positive = 1

    def check(self, problem: Problem) -> None:
        """Raise `OptionError` if the population's budget, or a member's, ends before any trial is judged."""
        self._percentile().check(problem)

    def build(self, problem: Problem) -> BasePruner:
        """Return Optuna's pruner."""
        return self._percentile().build(problem)

    def _percentile(self) -> PercentilePruner:
        return PercentilePruner(50.0, **asdict(self))


@register_pruner("successive_halving")
@dataclass(frozen=True)
class SuccessiveHalvingPruner:
    """Stop, at each rung, trials that are not in the best 1/`reduction_factor` of those that have reached it so far.

    Li, Jamieson, Rostamizadeh, Gonina et al., "A system for massively parallel hyperparameter tuning" (ASHA), MLSys 2020,
    as implemented by Optuna: a trial is judged once, when it arrives, and a stopped one never resumes. Rung r is after
    `min_resource` * `reduction_factor` ** (`min_early_stopping_rate` + r) intervals.

    Args:
        min_resource: the number of intervals before the first rung (with a rate of 0).
        reduction_factor: the paper's eta.
        min_early_stopping_rate: the paper's s.
        bootstrap_count: the number of trials that must reach a rung before any may pass it.
    """

    min_resource: Positive = 1
    reduction_factor: Factor = 4
    min_early_stopping_rate: Count = 0
    bootstrap_count: Count = 0

    def check(self, problem: Problem) -> None:
        """Raise `OptionError` if a member's budget ends before the first rung."""
        first = self.min_resource * self.reduction_factor**self.min_early_stopping_rate
        named = "min_resource" if self.min_early_stopping_rate == 0 else "min_early_stopping_rate"
        if first >= problem.intervals:
            raise OptionError(
                named, getattr(self, named), f"a first rung (now after {first} intervals) {_before(problem)}"
            )

    def build(self, problem: Problem) -> BasePruner:
        """Return Optuna's pruner."""
        return optuna.pruners.SuccessiveHalvingPruner(**asdict(self))


@register_pruner("hyperband")
@dataclass(frozen=True)
class HyperbandPruner:
    """Successive halving in brackets, each with a later first rung, so that slow starters get a chance.

    Li, Jamieson, DeSalvo, Rostamizadeh and Talwalkar, "Hyperband", JMLR 18, 2018, as implemented by Optuna, with
    floor(log_eta(R / `min_resource`)) + 1 brackets, where R is the budget of a member in intervals. A trial's bracket is a hash of
    the study's name and the trial's number; the name contains the sampler's seed, so it differs between replicates but not between
    runs. A sampler sees only the trials of its own bracket, including start-up trials.

    Args:
        min_resource: the number of intervals before the first rung of the first bracket.
        reduction_factor: the paper's eta.
        bootstrap_count: the number of trials that must reach a rung before any may pass it.
    """

    min_resource: Positive = 1
    reduction_factor: Factor = 3
    bootstrap_count: Count = 0

    def check(self, problem: Problem) -> None:
        """Raise `OptionError` if a member's budget ends before the first rung."""
        if self.min_resource >= problem.intervals:
            raise OptionError("min_resource", self.min_resource, f"a number of intervals {_before(problem)}")

    def build(self, problem: Problem) -> BasePruner:
        """Return Optuna's pruner with the exact number of brackets: Optuna's rounded logarithm gives 5 for R = 243 and eta = 3."""
        pruner = optuna.pruners.HyperbandPruner(max_resource=problem.intervals, **asdict(self))
        pruner._n_brackets = largest_power(self.min_resource, self.reduction_factor, problem.intervals) + 1
        return pruner


@register_pruner("patient")
@dataclass(frozen=True)
class PatientPruner:
    """Let another pruner stop a trial only if the trial has not improved for a while.

    The early stopping of Prechelt, "Early stopping - but when?", 1998, as a condition: the best score of the last
    `patience` + 1 intervals is worse than the best before them by more than `min_delta`.

    Args:
        wrapped: the other pruner; `none`: stop every trial that does not improve.
        patience: the number of intervals without improvement to tolerate.
        min_delta: the loss to tolerate, in the metric's own unit.
    """

    wrapped: Pruner = _NONE
    patience: Count = 1
    min_delta: Annotated[float, Ge(0)] = 0.0

    def check(self, problem: Problem) -> None:
        """Raise `OptionError` if a member's budget ends before the first judgement, or if the wrapped pruner raises it."""
        if self.patience + 2 >= problem.intervals:
            raise OptionError(
                "patience", self.patience, f"a first judgement (after patience + 2 intervals) {_before(problem)}"
            )
        with nested_option("wrapped"):
            self.wrapped.check(problem)

    def build(self, problem: Problem) -> BasePruner:
        """Return Optuna's pruner."""
        return optuna.pruners.PatientPruner(
            self.wrapped.build(problem), patience=self.patience, min_delta=self.min_delta
        )


@register_pruner("threshold")
@dataclass(frozen=True)
class ThresholdPruner:
    """Stop a trial whose primary metric is outside the given bounds.

    Args:
        lower: stop below this value of the metric, whichever direction is better.
        upper: stop above this value; at least one of the two is required.
        n_warmup_steps: a trial is first judged after this many intervals plus one.
        interval_steps: the number of intervals between two judgements of a trial.
    """

    lower: float | None = None
    upper: float | None = None
    n_warmup_steps: Count = 0
    interval_steps: Positive = 1

    def __post_init__(self) -> None:
        if self.lower is None and self.upper is None:
            raise OptionError("upper", None, "a number, unless lower is given")
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise OptionError("lower", self.lower, f"a number of at most upper = {self.upper}")

    def check(self, problem: Problem) -> None:
        """Raise `OptionError` if a member's budget ends before any trial is judged."""
        _check_warmup(self.n_warmup_steps, problem)

    def build(self, problem: Problem) -> BasePruner:
        """Return Optuna's pruner. A score is the negative of a metric to minimize."""
        lower, upper = self.lower, self.upper
        if problem.direction == "minimize":
            lower, upper = (None if bound is None else -bound for bound in (upper, lower))
        return optuna.pruners.ThresholdPruner(
            lower=lower, upper=upper, n_warmup_steps=self.n_warmup_steps + 1, interval_steps=self.interval_steps
        )


def _check_warmup(steps: int, problem: Problem) -> None:
    if steps + 1 >= problem.intervals:
        raise OptionError(
            "n_warmup_steps", steps, f"a first judgement (after n_warmup_steps + 1 intervals) {_before(problem)}"
        )


def _check_startup(startup: int, least: int, problem: Problem) -> None:
    """Raise `OptionError` if the budget is spent before enough trials complete.

    Until then trials run to their end, `concurrency` at a time.
    """
    needed = max(startup, least, 1)
    together = -(-needed // problem.concurrency) * problem.concurrency
    if together >= problem.population_size:
        allowed = (
            f"fewer: at a concurrency of {problem.concurrency}, {together} trials complete before one is judged, and"
            f" {problem.population_size} spend the whole budget"
        )
        option, given = ("n_min_trials", least) if least > max(startup, 1) else ("n_startup_trials", startup)
        raise OptionError(option, given, allowed)


def _before(problem: Problem) -> str:
    return f"before the budget ends at {problem.intervals}, or no trial is ever stopped"
