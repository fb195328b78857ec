"""Optuna's single-objective samplers, which make the proposals of the `optuna` optimizer.

Akiba, Sano, Yanase, Ohta and Koyama, "Optuna: a next-generation hyperparameter optimization framework", KDD 2019. Optuna's
defaults change between versions (TPE is multivariate with the constant liar since version 5). The defaults here are this
project's own, and every option is passed to Optuna by name, so that a study file means the same sampler with every version.

A sampler starts with trials drawn from the prior. Every completed trial counts as one of them, so the members of the initial
population do, and `n_startup_trials` defaults to `initial`. Until enough trials have completed, or if a trial's hyperparameters
are conditional, a sampler that needs one fixed space draws independently from the prior.
"""

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, QMCSampler, RandomSampler, TPESampler

from hpo.core.errors import OptionError
from hpo.core.optimizer import Problem
from hpo.core.registry import register_sampler

Startup = Annotated[int, Ge(0)] | None


@dataclass(frozen=True)
class SamplerOptions:
    """Options that a sampler passes to the arguments of the same name of Optuna's class."""

    def resolved(self, initial: int) -> dict[str, Any]:
        """Return the options as they are passed to Optuna."""
        given = asdict(self)
        return given | ({"n_startup_trials": initial} if given.get("n_startup_trials", 0) is None else {})


@register_sampler("tpe")
@dataclass(frozen=True)
class TPE(SamplerOptions):
    """The tree-structured Parzen estimator: proposes points that are likely among good trials and unlikely among the others.

    Bergstra, Bardenet, Bengio and Kégl, "Algorithms for hyper-parameter optimization", NeurIPS 2011, section 4; Bergstra,
    Yamins and Cox, "Making a science of model search", ICML 2013. Multivariate: Falkner, Klein and Hutter, "BOHB", ICML
    2018, section 3. It also learns from stopped trials.

    Args:
        n_startup_trials: the number of trials before the model is used; None: `initial`.
        n_ei_candidates: the number of candidates; the one with the best expected improvement is proposed.
        multivariate: one joint density over all hyperparameters instead of one for each.
        group: one density for each group of hyperparameters that occur together; for conditional spaces.
        constant_liar: count running trials as bad ones, so that simultaneous proposals differ (Ginsbourger, Le Riche and
            Carraro, 2010).
    """

    n_startup_trials: Startup = None
    n_ei_candidates: Annotated[int, Ge(1)] = 24
    multivariate: bool = True
    group: bool = False
    constant_liar: bool = True

    def __post_init__(self) -> None:
        if self.group and not self.multivariate:
            raise OptionError("group", True, "false if multivariate = false")

    def build(self, problem: Problem, initial: int, seed: int) -> BaseSampler:
        """Return Optuna's sampler."""
        return TPESampler(**self.resolved(initial), seed=seed)


@register_sampler("cmaes")
@dataclass(frozen=True)
class CMAES(SamplerOptions):
    """Covariance matrix adaptation: moves and rotates a normal distribution towards the better half of each generation.

    Hansen and Ostermeier, "Completely derandomized self-adaptation in evolution strategies", Evolutionary Computation 9(2),
    2001; Hansen, "The CMA evolution strategy: a tutorial", arXiv:1604.00772; the package `cmaes`. It starts in the middle
    of the space, for any scores of the start-up trials. Categorical hyperparameters, and a space of one hyperparameter,
    are drawn independently.

    Args:
        n_startup_trials: the number of trials before the strategy is used; None: `initial`.
        popsize: the number of proposals per generation, at least 4 (two must survive); None: 4 + floor(3 ln d) for d numerical
            hyperparameters.
        consider_pruned_trials: also learn from the last scores of stopped trials.
        use_separable_cma: use a diagonal covariance matrix (Ros and Hansen, 2008); for many hyperparameters.
        with_margin: keep some probability for every step of a discrete hyperparameter (Hamano et al., GECCO 2022); not for
            conditional spaces.
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
            raise OptionError(variants[1], True, f"false if {variants[0]} = true")

    def build(self, problem: Problem, initial: int, seed: int) -> BaseSampler:
        """Return Optuna's sampler. Raises `OptionError` for a margin in a conditional space."""
        if self.with_margin and any(parameter.when for parameter in problem.space.values()):
            raise OptionError("with_margin", True, "false if hyperparameters are conditional")
        return CmaEsSampler(**self.resolved(initial), **_independent(seed), seed=seed)


@register_sampler("gp")
@dataclass(frozen=True)
class GP(SamplerOptions):
    """Bayesian optimization: a Gaussian process with automatic relevance determination, and log expected improvement.

    Jones, Schonlau and Welch, "Efficient global optimization of expensive black-box functions", 1998; Ament et al.,
    "Unexpected improvements to expected improvement for Bayesian optimization", NeurIPS 2023. A proposal takes about a
    second, and longer with more trials (cubic in their number). Only completed trials count.

    Args:
        n_startup_trials: the number of completed trials before the model is used; None: `initial`.
        deterministic_objective: assume that scores have no noise.
    """

    n_startup_trials: Startup = None
    deterministic_objective: bool = False

    def build(self, problem: Problem, initial: int, seed: int) -> BaseSampler:
        """Return Optuna's sampler."""
        return GPSampler(**self.resolved(initial), **_independent(seed), seed=seed)


@register_sampler("qmc")
@dataclass(frozen=True)
class QMC(SamplerOptions):
    """A low-discrepancy sequence: covers the space more evenly than random draws, and does not learn from scores.

    Bergstra and Bengio, "Random search for hyper-parameter optimization", JMLR 13, 2012. Categorical
    hyperparameters and the first trial are drawn independently. Each initial trial skips a point of the sequence.

    Args:
        qmc_type: Sobol' (1967) or Halton (1964).
        scramble: randomize the sequence with the seed (Owen, 1998); otherwise every replicate tries the same points.
    """

    qmc_type: Literal["sobol", "halton"] = "sobol"
    scramble: bool = True

    def build(self, problem: Problem, initial: int, seed: int) -> BaseSampler:
        """Return Optuna's sampler."""
        return QMCSampler(**self.resolved(initial), **_independent(seed), seed=seed, warn_asynchronous_seeding=False)


@register_sampler("random")
@dataclass(frozen=True)
class Random(SamplerOptions):
    """Independent draws from the prior, different from those of `random_search`, which all arms share."""

    def build(self, problem: Problem, initial: int, seed: int) -> BaseSampler:
        """Return Optuna's sampler."""
        return RandomSampler(seed=seed)


def _independent(seed: int) -> dict[str, Any]:
    """Return the arguments of a sampler that draws some hyperparameters independently from the prior."""
    return {"independent_sampler": RandomSampler(seed=seed), "warn_independent_sampling": False}
