"""Optuna's samplers and pruners, driven through ask and tell: a search of independent trials.

Akiba, Sano, Yanase, Ohta and Koyama, "Optuna: a next-generation hyperparameter optimization framework", KDD 2019.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import optuna
from annotated_types import Ge
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler
from optuna.trial import Trial, TrialState, create_trial
from threadpoolctl import threadpool_limits

from hpo.core.errors import OptionError, nested_option
from hpo.core.optimizer import Optimizer, OptimizerOptions, Problem, Pruner, Sampler
from hpo.core.quiet_optuna import quiet_optuna
from hpo.core.registry import register_optimizer
from hpo.core.segments import HParams, Key, Result, Segment, Value
from hpo.core.space import Categorical, Float, SearchSpace
from hpo.optimizers.incumbent import best_of
from hpo.optimizers.population import initial_hparams, root
from hpo.optimizers.pruners import NoPruner
from hpo.optimizers.ready_queue import ReadyQueue
from hpo.optimizers.samplers import TPE

_DEFAULT_SAMPLER = TPE()
_DEFAULT_PRUNER = NoPruner()


@register_optimizer("optuna")
@dataclass(frozen=True)
class OptunaSearch(OptimizerOptions):
    """Train the proposals of an Optuna sampler, each until an Optuna pruner stops it or its budget is spent.

    The first `initial` trials are members of the initial population, which all arms share; the sampler proposes the rest. Trial t
    trains in slot t, from that slot's initial weights. `concurrency` proposals are made at a time, and these do not see each
    other's scores. So the default concurrency is `initial` rather than the population size, with which all proposals would be
    made blind.

    Without a pruner there are as many trials as members in the population. With a pruner, the budget that stopped trials leave
    pays for further trials in further slots. A trial starts only if its whole budget is left, so no trial is cut short, and less
    than one member's budget stays unspent.

    A diverged trial is reported to Optuna as failed. Without a pruner it is still charged for its whole budget, as in random
    search; with a pruner it stops.

    Args:
        sampler: one of Optuna's samplers.
        pruner: one of Optuna's pruners.
        initial: the number of trials taken from the initial population. They count as the sampler's start-up trials, as every
            completed trial does; if some of them fail, further trials are drawn from the prior until enough have completed.
    """

    sampler: Sampler = _DEFAULT_SAMPLER
    pruner: Pruner = _DEFAULT_PRUNER
    initial: Annotated[int, Ge(0)] = 5

    def start(self, problem: Problem) -> "OptunaRun":
        """Start a search.

        Raises:
            OptionError: `initial` is negative or larger than the population, the sampler does not suit the space, or the pruner
                could never stop a trial.
        """
        # The default suits any population: it may be that of a search that has few trials as yet.
        if self.initial not in range(problem.population_size + 1) and self.initial != type(self).initial:
            raise OptionError("initial", self.initial, f"0 to the population size, {problem.population_size}")
        seed = problem.streams.key("sampler") % 2**32
        with quiet_optuna(), nested_option("sampler"):
            sampler = self.sampler.build(problem, self.initial, seed)
        with quiet_optuna(), nested_option("pruner"):
            self.pruner.check(problem)
            pruner = self.pruner.build(problem)
        # Optuna's Hyperband hashes the study's name to choose a trial's bracket.
        return OptunaRun(problem, self.initial, sampler, pruner, study_name=f"hpo-{seed}")

    def default_concurrency(self, population_size: int) -> int:
        """Return `initial`, at least 1 and at most the population size."""
        return min(max(1, self.initial), population_size)

    def resolved(self) -> Mapping[str, object]:
        """Return the options passed to Optuna's sampler; Optuna's version is in the results' environment."""
        return {"sampler_options": dict(self.sampler.resolved(self.initial))}


class OptunaRun(Optimizer):
    """A running Optuna search.

    Args:
        problem: the problem to solve.
        initial: the number of trials taken from the initial population.
        sampler: Optuna's sampler.
        pruner: Optuna's pruner; None: no trial is stopped.
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
        self._queue = ReadyQueue(self._proposals())
        with quiet_optuna():
            self._study = optuna.create_study(
                sampler=sampler, pruner=pruner or NopPruner(), direction="maximize", study_name=study_name
            )
            for slot in range(initial):
                self._study.enqueue_trial(initial_hparams(problem, slot))

    def ask(self, free: int) -> Sequence[Segment]:
        """Return segments of running trials, then of new ones."""
        return self._queue.take(free)

    def tell(self, results: Sequence[Result]) -> None:
        """Report results in the order of their members, each before the next, and tell Optuna which trials ended."""
        self._results.extend(results)
        with quiet_optuna():
            for result in results:
                self._tell(result)
        # Stopped trials may have left enough budget for further ones.
        self._queue.set_new(self._proposals())

    def best(self) -> Key:
        """Return the key of the best last segment; if a pruner stopped every trial, the best of those trained longest."""
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
            self._queue.continue_from(result)

    def _finish(self, slot: int, result: Result, stopped: bool = False) -> None:
        trial = self._trials.pop(slot)
        if result.diverged:
            self._study.tell(trial, state=TrialState.FAIL)
        elif self._was_replaced(trial, slot, result.segment.hparams):
            self._tell_as_run(trial, result, TrialState.PRUNED if stopped else TrialState.COMPLETE)
        elif stopped:
            self._study.tell(trial, state=TrialState.PRUNED)  # Optuna takes the last reported score as its value
        else:
            self._study.tell(trial, result.score)

    def _was_replaced(self, trial: Trial, slot: int, run: HParams) -> bool:
        """Return whether a proposal was infeasible, so that the trial was run with other hyperparameters."""
        space = self._problem.space
        return space.feasible is not None and slot >= self._initial and space.cast(trial.params) != dict(run)

    def _tell_as_run(self, trial: Trial, result: Result, state: TrialState) -> None:
        """Tell Optuna of a trial with the hyperparameters that it was run with. The one that was proposed counts as failed."""
        hparams, distributions = dict(result.segment.hparams), self._problem.space.to_optuna()
        proposed = self._study.get_trials(deepcopy=False)[trial.number]
        run = create_trial(
            state=state,
            value=result.score,
            params=hparams,
            distributions={name: distributions[name] for name in hparams},
            system_attrs=proposed.system_attrs,  # such as the generation of CMA-ES
            intermediate_values=proposed.intermediate_values,
        )
        self._study.tell(trial, state=TrialState.FAIL)
        self._study.add_trial(run)

    def _proposals(self) -> Iterator[Segment]:
        """Yield new trials while the budget that running trials leave is enough for another."""
        while self._unreserved >= self._problem.intervals:
            slot = self._opened
            self._opened += 1
            self._unreserved -= self._problem.intervals
            # With more threads the last bits of a sum may change, and with them a proposal.
            with quiet_optuna(), threadpool_limits(limits=1):
                trial = self._study.ask()
                proposed = _suggest(trial, self._problem.space)
            self._trials[slot] = trial
            yield root(slot, initial_hparams(self._problem, slot) if slot < self._initial else proposed)


def _suggest(trial: Trial, space: SearchSpace) -> dict[str, Value]:
    """Return a trial's hyperparameters, suggesting the active ones one by one, controls before what depends on them."""
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
