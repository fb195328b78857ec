"""Optuna's samplers and pruners through ask and tell: the world of independent trials, next to PBT's of copied ones.

Akiba, Sano, Yanase, Ohta and Koyama, "Optuna: a next-generation hyperparameter optimization framework", KDD 2019. The
samplers are in `samplers`, the pruners in `pruners`.
"""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

import optuna
from annotated_types import Ge
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler
from optuna.trial import Trial, TrialState
from threadpoolctl import threadpool_limits

from hpo.core.errors import OptionError
from hpo.core.optimizer import Optimizer, OptimizerOptions, Problem, Pruner, Sampler
from hpo.core.registry import register_optimizer
from hpo.core.segments import Key, Result, Segment, Value
from hpo.core.space import Categorical, Float, SearchSpace
from hpo.optimizers.chains import Chains, best_of, initial_hparams, root
from hpo.optimizers.pruners import NoPruner
from hpo.optimizers.samplers import TPE

_DEFAULT_SAMPLER = TPE()
_DEFAULT_PRUNER = NoPruner()


@register_optimizer("optuna")
@dataclass(frozen=True)
class OptunaSearch(OptimizerOptions):
    """Train what an Optuna sampler proposes, each proposal until an Optuna pruner stops it or its budget is spent.

    The first `initial` trials are members of the initial population, as all arms have them; the sampler proposes the rest.
    Trial t trains in slot t, from that slot's initial weights. Proposals are asked for `concurrency` at a time, and those
    of one time do not see each other's scores; so the default is `initial`, and not the population: at full width
    everything would be proposed blind.

    Without a pruner there are as many trials as members in the population. With one, what a stopped trial leaves is spent
    on further trials in further slots. A trial starts only while its whole budget is left, so none is cut short by the
    ceiling, and what stays unspent is less than one member's budget.

    A diverged trial is told as failed. Its chain is charged as far as its optimizer would go on with it: to its end without a
    pruner, as in random search; with one it stops.

    Args:
        sampler: which of Optuna's samplers.
        pruner: which of Optuna's pruners.
        initial: how many members of the initial population come first. They are the sampler's start-up trials: a completed
            trial counts as one, whether it was enqueued or drawn; while failed ones are missing, it draws from the prior.
    """

    sampler: Sampler = _DEFAULT_SAMPLER
    pruner: Pruner = _DEFAULT_PRUNER
    initial: Annotated[int, Ge(0)] = 5

    def start(self, problem: Problem) -> "OptunaRun":
        """Start a search.

        Raises:
            OptionError: `initial` is negative or larger than the population, the sampler does not fit the space, or the pruner
                could never stop a trial.
        """
        if not 0 <= self.initial <= problem.population_size:
            raise OptionError("initial", self.initial, f"0 to the population's size, {problem.population_size}")
        seed = problem.streams.key("sampler") % 2**32
        with _quiet(), _option("sampler"):
            sampler = self.sampler.build(problem, self.initial, seed)
        with _quiet(), _option("pruner"):
            self.pruner.check(problem)
            pruner = self.pruner.build(problem)
        # Hyperband hashes the study's name into a trial's bracket.
        return OptunaRun(problem, self.initial, sampler, pruner, study_name=f"hpo-{seed}")

    def default_concurrency(self, population_size: int) -> int:
        """Return `initial`, at least 1 and at most the population's size."""
        return min(max(1, self.initial), population_size)

    def resolved(self) -> Mapping[str, object]:
        """Return the sampler's options as they are given to Optuna; its version is in the results' environment."""
        return {"sampler_options": dict(self.sampler.resolved(self.initial))}


class OptunaRun(Optimizer):
    """A search through Optuna that is going on.

    Args:
        problem: what is to be solved.
        initial: how many members of the initial population come first.
        sampler: Optuna's sampler.
        pruner: Optuna's pruner; None: trials run to their end.
        study_name: the name of Optuna's study.
    """

    def __init__(
        self, problem: Problem, initial: int, sampler: BaseSampler, pruner: BasePruner | None, study_name: str
    ) -> None:
        self._problem = problem
        self._initial = initial
        self._stops = pruner is not None
        self._results: list[Result] = []
        self._trials: dict[int, Trial] = {}
        self._opened = 0
        self._unreserved = problem.budget
        self._pruned = 0
        self._chains = Chains(self._proposals())
        with _quiet():
            self._study = optuna.create_study(
                sampler=sampler, pruner=pruner or NopPruner(), direction="maximize", study_name=study_name
            )
            for slot in range(initial):
                self._study.enqueue_trial(initial_hparams(problem, slot))

    def ask(self, free: int) -> Sequence[Segment]:
        """Return segments of the trials that go on, then new trials."""
        return self._chains.take(free)

    def tell(self, results: Sequence[Result]) -> None:
        """Take results by member: each is reported and, where its trial ends with it, told before the next one."""
        self._results.extend(results)
        with _quiet():
            for result in results:
                self._tell(result)
        # What stopped trials have left may be enough for further ones.
        self._chains.start(self._proposals())

    def best(self) -> Key:
        """Return the key of the best trial's last segment; where a pruner let none reach the end, of the longest trials' best."""
        finite = [result for result in self._results if not result.diverged]
        longest = max((result.segment.interval + 1 for result in finite or self._results), default=0)
        return best_of(self._results, "final", longest if self._stops else self._problem.intervals)

    def counts(self) -> Mapping[str, int]:
        """Return how many trials a pruner stopped."""
        return {"pruned": self._pruned} if self._stops else {}

    def _tell(self, result: Result) -> None:
        slot, step = result.segment.member, result.segment.interval + 1
        trial = self._trials[slot]
        if not result.diverged:
            trial.report(result.score, step)
        if step == self._problem.intervals:
            self._finish(slot, result)
        elif self._stops and (result.diverged or trial.should_prune()):
            self._unreserved += self._problem.intervals - step
            self._pruned += not result.diverged
            self._finish(slot, result, stopped=True)
        else:
            self._chains.go_on(result)

    def _finish(self, slot: int, result: Result, stopped: bool = False) -> None:
        trial = self._trials.pop(slot)
        if result.diverged:
            self._study.tell(trial, state=TrialState.FAIL)
        elif stopped:
            self._study.tell(trial, state=TrialState.PRUNED)  # Optuna takes the last reported score as its value
        else:
            self._study.tell(trial, result.score)

    def _proposals(self) -> Iterator[Segment]:
        """Yield new trials while the budget left by those that were started is enough for another."""
        while self._unreserved >= self._problem.intervals:
            slot = self._opened
            self._opened += 1
            self._unreserved -= self._problem.intervals
            # The number of threads may change the last bits of a sum, hence of a proposal.
            with _quiet(), threadpool_limits(limits=1):
                trial = self._study.ask()
                proposed = _suggest(trial, self._problem.space)
            self._trials[slot] = trial
            yield root(slot, initial_hparams(self._problem, slot) if slot < self._initial else proposed)


def _suggest(trial: Trial, space: SearchSpace) -> dict[str, Value]:
    """Return a trial's hyperparameters, suggested one by one: those that are active, controls before what depends on them."""
    for name in space.ordered:
        parameter = space[name]
        if not space.is_active(name, trial.params):
            continue
        if isinstance(parameter, Categorical):
            trial.suggest_categorical(name, parameter.choices)
        elif isinstance(parameter, Float):
            trial.suggest_float(name, parameter.low, parameter.optuna_high, step=parameter.step, log=parameter.log)
        else:
            trial.suggest_int(name, parameter.low, parameter.high, step=parameter.step, log=parameter.log)
    return space.cast(trial.params)


@contextmanager
def _option(table: str) -> Iterator[None]:
    """Say of which nested table an option is."""
    try:
        yield
    except OptionError as error:
        raise OptionError(f"{table}.{error.option}", error.given, error.allowed) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's news and experimental warnings off the user's terminal, and put the verbosity back afterwards."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(verbosity, logging.ERROR))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="optuna")
            warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
            # Optuna lowers a bound to the last value that is reached; see `Float.optuna_high`.
            warnings.filterwarnings("ignore", message="The distribution is specified by")
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
