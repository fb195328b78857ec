"""Optuna's single-objective samplers: where the proposals of the `optuna` optimizer come from.

Akiba, Sano, Yanase, Ohta and Koyama, "Optuna: a next-generation hyperparameter optimization framework", KDD 2019. Optuna's
defaults change with its version (TPE is multivariate with the constant liar since version 5). The defaults here are this
project's own, and each option is given to Optuna by name, so that the same file means the same sampler with every version.

A sampler starts with trials that it draws from the prior. A completed trial counts as one of them whether it was drawn or
given, so the members of the initial population are these trials: `n_startup_trials` left out means `initial`, on purpose.
While failed ones are missing, or where a trial's hyperparameters are conditional, a sampler that needs one fixed space
draws independently from the prior.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

from annotated_types import Ge
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, QMCSampler, RandomSampler, TPESampler

from hpo.core.errors import OptionError
from hpo.core.optimizer import Problem
from hpo.core.registry import register_sampler

Startup = Annotated[int, Ge(0)] | None


@register_sampler("tpe")
@dataclass(frozen=True)
class TPE:
    """The tree-structured Parzen estimator: propose what is likely among good trials and unlikely among the others.

    Bergstra, Bardenet, Bengio and Kégl, "Algorithms for hyper-parameter optimization", NeurIPS 2011, section 4; Bergstra,
    Yamins and Cox, "Making a science of model search", ICML 2013. Multivariate: Falkner, Klein and Hutter, "BOHB", ICML
    2018, section 3. It learns from stopped trials, too.

    Args:
        n_startup_trials: trials before the model is used; None: `initial`.
        n_ei_candidates: candidates from which the one with the best expected improvement is taken.
        multivariate: one density over all hyperparameters, instead of one for each.
        group: one density for each group of hyperparameters that occur together: for conditional spaces.
        constant_liar: trials that are running count as bad ones, so that proposals of one time keep apart (Ginsbourger, Le
            Riche and Carraro, 2010).
    """

    n_startup_trials: Startup = None
    n_ei_candidates: Annotated[int, Ge(1)] = 24
    multivariate: bool = True
    group: bool = False
    constant_liar: bool = True

    def __post_init__(self) -> None:
        if self.group and not self.multivariate:
            raise OptionError("group", True, "false together with multivariate = false")

    def resolved(self, initial: int) -> Mapping[str, object]:
        """Return the options as they are given to Optuna."""
        return asdict(self) | {"n_startup_trials": _startup(self.n_startup_trials, initial)}

    def build(self, problem: Problem, initial: int, seed: int) -> BaseSampler:
        """Return Optuna's sampler."""
        return TPESampler(
            n_startup_trials=_startup(self.n_startup_trials, initial),
            n_ei_candidates=self.n_ei_candidates,
            multivariate=self.multivariate,
            group=self.group,
            constant_liar=self.constant_liar,
            seed=seed,
        )


@register_sampler("cmaes")
@dataclass(frozen=True)
class CMAES:
    """Covariance matrix adaptation: a normal distribution that moves and turns towards the better half of each generation.

    Hansen and Ostermeier, "Completely derandomized self-adaptation in evolution strategies", Evolutionary Computation 9(2),
    2001; Hansen, "The CMA evolution strategy: a tutorial", arXiv:1604.00772. Through the package `cmaes`. It starts in the
    middle of the space, whatever the start-up trials scored. Categorical hyperparameters, and a space of one hyperparameter,
    are drawn independently.

    Args:
        n_startup_trials: trials before the strategy is used; None: `initial`.
        popsize: proposals per generation, at least 4 (two must survive); None: 4 + floor(3 ln d) for d numerical
            hyperparameters.
        consider_pruned_trials: let stopped trials count, with their last scores.
        use_separable_cma: a diagonal covariance matrix (Ros and Hansen, 2008), for many hyperparameters.
        with_margin: keep a probability of every step of a discrete hyperparameter (Hamano et al., GECCO 2022); not in a space
            with conditional ones.
        lr_adapt: adapt the learning rate to noise (Nomura, Akimoto and Ono, GECCO 2023).
    """

    n_startup_trials: Startup = None
    popsize: Annotated[int, Ge(4)] | None = None
    consider_pruned_trials: bool = False
    use_separable_cma: bool = False
    with_margin: bool = False
    lr_adapt: bool = False

    def __post_init__(self) -> None:
        variants = [name for name in ("use_separable_cma", "with_margin", "lr_adapt") if getattr(self, name)]
        if len(variants) > 1:
            raise OptionError(variants[1], True, f"false together with {variants[0]} = true")

    def resolved(self, initial: int) -> Mapping[str, object]:
        """Return the options as they are given to Optuna."""
        return asdict(self) | {"n_startup_trials": _startup(self.n_startup_trials, initial)}

    def build(self, problem: Problem, initial: int, seed: int) -> BaseSampler:
        """Return Optuna's sampler; its margin is for a space of fixed dimension."""
        if self.with_margin and any(parameter.when for parameter in problem.space.values()):
            raise OptionError("with_margin", True, "false where hyperparameters are conditional")
        return CmaEsSampler(
            n_startup_trials=_startup(self.n_startup_trials, initial),
            independent_sampler=RandomSampler(seed=seed),
            warn_independent_sampling=False,
            seed=seed,
            consider_pruned_trials=self.consider_pruned_trials,
            popsize=self.popsize,
            use_separable_cma=self.use_separable_cma,
            with_margin=self.with_margin,
            lr_adapt=self.lr_adapt,
        )


@register_sampler("gp")
@dataclass(frozen=True)
class GP:
    """Bayesian optimization: a Gaussian process with automatic relevance determination, and log expected improvement.

    Jones, Schonlau and Welch, "Efficient global optimization of expensive black-box functions", 1998; Ament et al.,
    "Unexpected improvements to expected improvement for Bayesian optimization", NeurIPS 2023. It takes about a second per
    proposal and more as trials gather (cubic in their number), and learns from completed trials alone.

    Args:
        n_startup_trials: completed trials before the model is used; None: `initial`.
        deterministic_objective: scores have no noise.
    """

    n_startup_trials: Startup = None
    deterministic_objective: bool = False

    def resolved(self, initial: int) -> Mapping[str, object]:
        """Return the options as they are given to Optuna."""
        return asdict(self) | {"n_startup_trials": _startup(self.n_startup_trials, initial)}

    def build(self, problem: Problem, initial: int, seed: int) -> BaseSampler:
        """Return Optuna's sampler."""
        return GPSampler(
            n_startup_trials=_startup(self.n_startup_trials, initial),
            deterministic_objective=self.deterministic_objective,
            independent_sampler=RandomSampler(seed=seed),
            warn_independent_sampling=False,
            seed=seed,
        )


@register_sampler("qmc")
@dataclass(frozen=True)
class QMC:
    """A low-discrepancy sequence: it fills the space more evenly than random draws, and learns nothing.

    Bergstra and Bengio, "Random search for hyper-parameter optimization", JMLR 13, 2012. Categorical
    hyperparameters are drawn independently. So is the first trial; given ones pass over a point of the sequence.

    Args:
        qmc_type: Sobol' (1967) or Halton (1964).
        scramble: randomize the sequence by the seed (Owen, 1998); without it every replicate tries the same points.
    """

    qmc_type: Literal["sobol", "halton"] = "sobol"
    scramble: bool = True

    def resolved(self, initial: int) -> Mapping[str, object]:
        """Return the options as they are given to Optuna."""
        return asdict(self)

    def build(self, problem: Problem, initial: int, seed: int) -> BaseSampler:
        """Return Optuna's sampler."""
        return QMCSampler(
            qmc_type=self.qmc_type,
            scramble=self.scramble,
            seed=seed,
            independent_sampler=RandomSampler(seed=seed),
            warn_asynchronous_seeding=False,
            warn_independent_sampling=False,
        )


@register_sampler("random")
@dataclass(frozen=True)
class Random:
    """Independent draws from the prior: other ones than `random_search` makes, which are shared by all arms."""

    def resolved(self, initial: int) -> Mapping[str, object]:
        """Return nothing: it has no options."""
        return {}

    def build(self, problem: Problem, initial: int, seed: int) -> BaseSampler:
        """Return Optuna's sampler."""
        return RandomSampler(seed=seed)


def _startup(given: int | None, initial: int) -> int:
    return initial if given is None else given
