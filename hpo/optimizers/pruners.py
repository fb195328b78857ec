"""Optuna's pruners: which trials of the `optuna` optimizer stop before their budget is spent.

Akiba et al., "Optuna: a next-generation hyperparameter optimization framework", KDD 2019, section 3.2. A step is an interval.
After k intervals a trial's score is reported as that of step k, so resources (`min_resource`) are intervals of training.
`n_warmup_steps` counts, as in Optuna's documentation, steps from zero: the first judgement comes after one interval more.
Nothing is judged after its last interval, when there is nothing left to save.

Every pruner refuses options with which no trial could ever be stopped.
"""

from dataclasses import dataclass
from typing import Annotated

import optuna
from annotated_types import Ge, Gt, Le
from optuna.pruners import BasePruner

from hpo.core.errors import OptionError
from hpo.core.optimizer import Problem, Pruner
from hpo.core.registry import register_pruner
from hpo.optimizers.rungs import largest_power

Count = Annotated[int, Ge(0)]
Positive = Annotated[int, Ge(1)]
Factor = Annotated[int, Ge(2)]


@register_pruner("none")
@dataclass(frozen=True)
class NoPruner:
    """Every trial is trained to the full budget."""

    def check(self, problem: Problem) -> None:
        """Accept every problem."""

    def build(self, problem: Problem) -> BasePruner | None:
        """Return no pruner."""
        return None


_NONE = NoPruner()


@register_pruner("percentile")
@dataclass(frozen=True)
class Percentile:
    """Stop a trial whose best score so far is below a percentile of the completed trials' scores at the same step.

    Args:
        percentile: the percentage of completed trials, from the best, that a trial must be among to go on.
        n_startup_trials: completed trials before any is stopped.
        n_warmup_steps: a trial is judged first after one interval more than this.
        interval_steps: intervals between two judgements of a trial.
        n_min_trials: completed trials that must have a score at this step.
    """

    percentile: Annotated[float, Gt(0), Le(100)] = 25.0
    n_startup_trials: Count = 5
    n_warmup_steps: Count = 0
    interval_steps: Positive = 1
    n_min_trials: Positive = 1

    def check(self, problem: Problem) -> None:
        """Raise `OptionError` where no trial is judged before the population's budget, or a member's, is spent."""
        _warmup(self.n_warmup_steps, problem)
        _startup(self.n_startup_trials, self.n_min_trials, problem)

    def build(self, problem: Problem) -> BasePruner:
        """Return Optuna's pruner."""
        return optuna.pruners.PercentilePruner(
            self.percentile,
            n_startup_trials=self.n_startup_trials,
            n_warmup_steps=self.n_warmup_steps + 1,
            interval_steps=self.interval_steps,
            n_min_trials=self.n_min_trials,
        )


@register_pruner("median")
@dataclass(frozen=True)
class Median:
    """Stop a trial whose best score so far is below the median of the completed trials' scores at the same step.

    The rule of Golovin et al., "Google Vizier: a service for black-box optimization", KDD 2017, section 3.2.2, with the
    others' scores at the step in the place of their averages up to it. It is `percentile` with 50.

    Args:
        n_startup_trials: completed trials before any is stopped.
        n_warmup_steps: a trial is judged first after one interval more than this.
        interval_steps: intervals between two judgements of a trial.
        n_min_trials: completed trials that must have a score at this step.
    """

    n_startup_trials: Count = 5
    n_warmup_steps: Count = 0
    interval_steps: Positive = 1
    n_min_trials: Positive = 1

    def check(self, problem: Problem) -> None:
        """Raise `OptionError` where no trial is judged before the population's budget, or a member's, is spent."""
        self._percentile().check(problem)

    def build(self, problem: Problem) -> BasePruner:
        """Return Optuna's pruner."""
        return self._percentile().build(problem)

    def _percentile(self) -> Percentile:
        return Percentile(
            50.0, self.n_startup_trials, self.n_warmup_steps, self.interval_steps, n_min_trials=self.n_min_trials
        )


@register_pruner("successive_halving")
@dataclass(frozen=True)
class SuccessiveHalving:
    """Stop, at each rung, what is not among the best 1/`reduction_factor` of the trials that have reached it so far.

    Li, Jamieson, Rostamizadeh, Gonina et al., "A system for massively parallel hyperparameter tuning" (ASHA), MLSys 2020,
    as Optuna has it: a trial is judged once, when it arrives, and never resumed. Rung r is after
    `min_resource` * `reduction_factor` ** (`min_early_stopping_rate` + r) intervals.

    Args:
        min_resource: intervals before the first rung (with a rate of 0).
        reduction_factor: the paper's eta.
        min_early_stopping_rate: the paper's s.
        bootstrap_count: trials that a rung must have seen before it lets one pass.
    """

    min_resource: Positive = 1
    reduction_factor: Factor = 4
    min_early_stopping_rate: Count = 0
    bootstrap_count: Count = 0

    def check(self, problem: Problem) -> None:
        """Raise `OptionError` where the first rung is not before a member's budget is spent."""
        first = self.min_resource * self.reduction_factor**self.min_early_stopping_rate
        named = "min_resource" if self.min_early_stopping_rate == 0 else "min_early_stopping_rate"
        if first >= problem.intervals:
            raise OptionError(
                named, getattr(self, named), f"a first rung, now after {first} intervals, {_before(problem)}"
            )

    def build(self, problem: Problem) -> BasePruner:
        """Return Optuna's pruner."""
        return optuna.pruners.SuccessiveHalvingPruner(
            min_resource=self.min_resource,
            reduction_factor=self.reduction_factor,
            min_early_stopping_rate=self.min_early_stopping_rate,
            bootstrap_count=self.bootstrap_count,
        )


@register_pruner("hyperband")
@dataclass(frozen=True)
class Hyperband:
    """Successive halving in brackets: each with a later first rung, so that slow starters have their chance.

    Li, Jamieson, DeSalvo, Rostamizadeh and Talwalkar, "Hyperband", JMLR 18, 2018, as Optuna has it: floor(log_eta(R /
    `min_resource`)) + 1 brackets, counted exactly, where R is the budget of a member in intervals. A trial's bracket is a hash
    of the study's name and the trial's number; the name is the sampler's seed, so it differs between replicates and never
    between runs. A sampler sees the trials of its own bracket alone, start-up trials included.

    Args:
        min_resource: intervals before the first rung of the first bracket.
        reduction_factor: the paper's eta.
        bootstrap_count: trials that a rung must have seen before it lets one pass.
    """

    min_resource: Positive = 1
    reduction_factor: Factor = 3
    bootstrap_count: Count = 0

    def check(self, problem: Problem) -> None:
        """Raise `OptionError` where the first rung is not before a member's budget is spent."""
        if self.min_resource >= problem.intervals:
            raise OptionError("min_resource", self.min_resource, f"a number of intervals {_before(problem)}")

    def build(self, problem: Problem) -> BasePruner:
        """Return Optuna's pruner, with its number of brackets counted: its own logarithm gives 5 for R = 243 and eta = 3."""
        pruner = optuna.pruners.HyperbandPruner(
            min_resource=self.min_resource,
            max_resource=problem.intervals,
            reduction_factor=self.reduction_factor,
            bootstrap_count=self.bootstrap_count,
        )
        pruner._n_brackets = largest_power(self.min_resource, self.reduction_factor, problem.intervals) + 1
        return pruner


@register_pruner("patient")
@dataclass(frozen=True)
class Patient:
    """Let another pruner stop a trial only when it has not improved for a while.

    The early stopping of Prechelt, "Early stopping - but when?", 1998, as a condition: the best score of the last
    `patience` + 1 intervals is worse, by more than `min_delta`, than the best before them.

    Args:
        wrapped: the other pruner; `none`: no improvement is enough to stop.
        patience: intervals without improvement that are forgiven.
        min_delta: a loss that is forgiven, in the metric's own unit.
    """

    wrapped: Pruner = _NONE
    patience: Count = 1
    min_delta: Annotated[float, Ge(0)] = 0.0

    def check(self, problem: Problem) -> None:
        """Raise `OptionError` where patience lasts longer than a member's budget, or the wrapped pruner says so."""
        if self.patience + 2 >= problem.intervals:
            raise OptionError(
                "patience", self.patience, f"a first judgement, after patience + 2 intervals, {_before(problem)}"
            )
        try:
            self.wrapped.check(problem)
        except OptionError as error:
            raise OptionError(f"wrapped.{error.option}", error.given, error.allowed) from error

    def build(self, problem: Problem) -> BasePruner:
        """Return Optuna's pruner."""
        return optuna.pruners.PatientPruner(
            self.wrapped.build(problem), patience=self.patience, min_delta=self.min_delta
        )


@register_pruner("threshold")
@dataclass(frozen=True)
class Threshold:
    """Stop a trial whose primary metric lies outside given bounds.

    Args:
        lower: stop below it; in the metric as it is written, whichever way is better.
        upper: stop above it; one of the two at least is needed.
        n_warmup_steps: a trial is judged first after one interval more than this.
        interval_steps: intervals between two judgements of a trial.
    """

    lower: float | None = None
    upper: float | None = None
    n_warmup_steps: Count = 0
    interval_steps: Positive = 1

    def __post_init__(self) -> None:
        if self.lower is None and self.upper is None:
            raise OptionError("upper", None, "a number, or lower")
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise OptionError("lower", self.lower, f"a number of at most upper = {self.upper}")

    def check(self, problem: Problem) -> None:
        """Raise `OptionError` where no trial is judged before a member's budget is spent."""
        _warmup(self.n_warmup_steps, problem)

    def build(self, problem: Problem) -> BasePruner:
        """Return Optuna's pruner; a metric to be minimized is the score's negative."""
        lower, upper = self.lower, self.upper
        if problem.direction == "minimize":
            lower, upper = (None if bound is None else -bound for bound in (upper, lower))
        return optuna.pruners.ThresholdPruner(
            lower=lower, upper=upper, n_warmup_steps=self.n_warmup_steps + 1, interval_steps=self.interval_steps
        )


def _warmup(steps: int, problem: Problem) -> None:
    if steps + 1 >= problem.intervals:
        raise OptionError(
            "n_warmup_steps", steps, f"a first judgement, after n_warmup_steps + 1 intervals, {_before(problem)}"
        )


def _startup(startup: int, least: int, problem: Problem) -> None:
    """Refuse to wait for more completed trials than a population without pruning makes.

    Until so many are completed, trials run to their end side by side, `concurrency` at a time.
    """
    needed = max(startup, least, 1)
    together = -(-needed // problem.concurrency) * problem.concurrency
    if together >= problem.population_size:
        allowed = (
            f"fewer: at a concurrency of {problem.concurrency}, {together} trials are over before one is judged, and"
            f" {problem.population_size} spend the whole budget"
        )
        option, given = ("n_min_trials", least) if least > max(startup, 1) else ("n_startup_trials", startup)
        raise OptionError(option, given, allowed)


def _before(problem: Problem) -> str:
    return f"before the budget's end at {problem.intervals}, or no trial is ever stopped"
