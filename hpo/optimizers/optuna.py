"""Optuna's samplers through ask and tell: the world of independent trials, next to PBT's of copied ones.

`sampler = "tpe"` is the tree-structured Parzen estimator: Bergstra, Bardenet, Bengio and Kégl, "Algorithms for
hyper-parameter optimization", NeurIPS 2011, section 4; Bergstra, Yamins and Cox, "Making a science of model search", ICML
2013; its multivariate form: Falkner, Klein and Hutter, "BOHB", ICML 2018. Optuna has had it multivariate with
the constant liar (Ginsbourger, Le Riche and Carraro, 2010) by default since version 5, and another one before; here its
options are given one by one, so that the same file means the same sampler with every version.
"""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Literal

import optuna
from annotated_types import Ge
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import Trial, TrialState

from hpo.errors import OptionError
from hpo.optimizers.chains import Chains, best_of, initial_hparams, root
from hpo.protocols import Optimizer, OptimizerOptions, Problem
from hpo.registry import register_optimizer
from hpo.segments import Key, Result, Segment

_STUDY_NAME = "hpo"


@register_optimizer("optuna")
@dataclass(frozen=True)
class OptunaSearch(OptimizerOptions):
    """Train what an Optuna sampler proposes, each proposal to completion.

    The first `initial` trials are members of the initial population, as all arms have them; the sampler proposes the rest.
    Trial t trains in slot t, from that slot's initial weights. Proposals are asked for `concurrency` at a time, and those
    of one time do not see each other's scores; so the default is `initial`, and not the population: at full width
    everything would be proposed blind. A diverged trial goes on being charged, as in every arm, and is told as failed.

    Args:
        sampler: which of Optuna's samplers.
        initial: how many members of the initial population come first. They are the sampler's start-up trials: a completed
            trial counts as one, whether it was enqueued or drawn; while failed ones are missing, it draws from the prior.
    """

    sampler: Literal["tpe"] = "tpe"
    initial: Annotated[int, Ge(0)] = 5

    def start(self, problem: Problem) -> "OptunaRun":
        """Start a search.

        Raises:
            OptionError: `initial` is negative or larger than the population.
        """
        if not 0 <= self.initial <= problem.population_size:
            raise OptionError("initial", self.initial, f"0 to the population's size, {problem.population_size}")
        return OptunaRun(self, problem)

    def default_concurrency(self, population_size: int) -> int:
        """Return `initial`, at least 1 and at most the population's size."""
        return min(max(1, self.initial), population_size)

    def resolved(self) -> Mapping[str, object]:
        """Return the sampler's options as they are given to Optuna."""
        return {"sampler_options": self._sampler_options()}

    def make_sampler(self, seed: int) -> BaseSampler:
        """Return the sampler.

        Args:
            seed: 0 to 2**32 - 1.
        """
        options = self._sampler_options()
        with _quiet():
            return TPESampler(
                n_startup_trials=self.initial,
                n_ei_candidates=int(options["n_ei_candidates"]),
                multivariate=bool(options["multivariate"]),
                group=bool(options["group"]),
                constant_liar=bool(options["constant_liar"]),
                seed=seed,
            )

    def _sampler_options(self) -> dict[str, int | bool]:
        return {
            "n_startup_trials": self.initial,
            "n_ei_candidates": 24,
            "multivariate": True,
            "group": False,
            "constant_liar": True,
        }


class OptunaRun(Optimizer):
    """A search by an Optuna sampler that is going on."""

    def __init__(self, options: OptunaSearch, problem: Problem) -> None:
        self._problem = problem
        self._initial = options.initial
        self._results: list[Result] = []
        self._trials: dict[int, Trial] = {}
        self._chains = Chains(self._proposals())
        with _quiet():
            self._distributions = problem.space.to_optuna()
            self._study = optuna.create_study(
                sampler=options.make_sampler(problem.streams.key("sampler") % 2**32),
                direction="maximize",
                study_name=_STUDY_NAME,
            )
            for slot in range(options.initial):
                self._study.enqueue_trial(initial_hparams(problem, slot))

    def ask(self, free: int) -> Sequence[Segment]:
        """Return segments of the trials that go on, then new trials."""
        return self._chains.take(free)

    def tell(self, results: Sequence[Result]) -> None:
        """Take results; the sampler is told of the trials whose budget is spent, by member."""
        self._results.extend(results)
        for result in results:
            if result.segment.interval + 1 < self._problem.intervals:
                self._chains.go_on(result)
                continue
            trial = self._trials.pop(result.segment.member)
            with _quiet():
                if result.diverged:
                    self._study.tell(trial, state=TrialState.FAIL)
                else:
                    self._study.tell(trial, result.score)

    def best(self) -> Key:
        """Return the key of the best trial's last segment."""
        return best_of(self._results, "final", self._problem.intervals)

    def _proposals(self) -> Iterator[Segment]:
        for slot in range(self._problem.population_size):
            with _quiet():
                trial = self._study.ask(self._distributions)
            self._trials[slot] = trial
            space = self._problem.space
            proposed = space.cast(space.restricted(trial.params))
            yield root(slot, initial_hparams(self._problem, slot) if slot < self._initial else proposed)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's news and experimental warnings off the user's terminal, and put the verbosity back afterwards."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(verbosity, logging.WARNING))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="optuna")
            warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
            # Optuna lowers a bound that its step does not reach, as our spaces do.
            warnings.filterwarnings("ignore", message="The distribution is specified by")
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
