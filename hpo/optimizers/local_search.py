"""Explore by Bayesian optimization in a trust region of a mixed space, as BG-PBT and IPBT do.

Wan et al., "Bayesian generational population-based training", AutoML 2022, arXiv:2207.09405, section 3.1. A Gaussian process
models what hyperparameters gained at a time; see `hpo.optimizers.gaussian_process`. The next hyperparameters of a member maximise
the upper confidence bound at its next time within a trust region around those that it has inherited, given the points that other
members have taken. (The paper's program gives those points their predicted mean as observations. That leaves the mean of a Gaussian
process as it is, and lowers the deviation as `FittedProcess.given` does.)
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hpo.core.optimizer import Member
from hpo.core.segments import HParams, Key, Result, Value
from hpo.core.space import SearchSpace
from hpo.optimizers.observations import Encoding, Floats, is_unordered
from hpo.optimizers.trust_region import WHOLE_SPACE, Neighbourhood, TrustRegion

if TYPE_CHECKING:
    from hpo.optimizers.gaussian_process import FittedProcess, TimeVarying

CONFIDENCE = 3.0
"""How many deviations the bound lies above the mean; that of BG-PBT's program."""


@dataclass(frozen=True)
class Observation:
    """What a member gained.

    Args:
        time: when it did, in any unit; the model forgets with it.
        hparams: the hyperparameters that it trained with.
        gain: the gain in score; larger is better.
    """

    time: int
    hparams: HParams
    gain: float


@dataclass(frozen=True)
class Surrogate:
    """A model of gains, and what it proposes.

    Args:
        encoding: the hyperparameters of the model.
        process: the fitted process.
    """

    encoding: Encoding
    process: "FittedProcess"

    @classmethod
    def fitted(cls, observed: Sequence[Observation], space: SearchSpace) -> "Surrogate":
        """Return the model of at least one observation, with the covariance and the ranges of BG-PBT's program."""
        from hpo.optimizers.gaussian_process import fit

        encoding = Encoding.of(space)
        gains = np.array([each.gain for each in observed])
        kernel = _kernel(encoding)
        return cls(encoding, fit(_rows(observed, encoding), normal_scores(gains), kernel, 1e-3, (1e-6, 0.1)))

    def auxiliary(self, earlier: Sequence[Sequence[Observation]], time: int) -> "Surrogate":
        """Return the model from which a search restarts: algorithm 2 of the paper.

        Its observations are the best point of each earlier search, with the gain that this model, the last search's own,
        predicts for it; it has the same covariance.

        Args:
            earlier: the observations of each search so far, at least one each.
            time: the time of the restart.
        """
        from hpo.optimizers.gaussian_process import FittedProcess

        points, values = [], []
        for observed in earlier:
            rows = _rows(observed, self.encoding)
            rows[:, 0] = time
            means, _ = self.process.given().moments(rows)
            points.append(rows[int(np.argmax(means))])
            values.append(means.max())
        return Surrogate(
            self.encoding, FittedProcess(np.array(points), np.array(values), self.process.kernel, self.process.noise)
        )

    def proposed(
        self,
        inherited: HParams,
        time: int,
        taken: Sequence[Sequence[float]],
        region: TrustRegion,
        rng: np.random.Generator,
        confidence: float = CONFIDENCE,
    ) -> dict[str, Value]:
        """Return a member's next hyperparameters.

        Args:
            inherited: the centre of the region; what may not change, or is not in the model, is kept.
            time: the member's next time.
            taken: the rows that other members have taken.
            region: where to look.
            rng: the random stream.
            confidence: how many deviations the bound lies above the mean.
        """
        posterior = self.process.given(np.array(taken))
        near = neighbourhood(region, inherited, self.encoding, self.process.kernel)

        def bound(units: Floats) -> Floats:
            return posterior.upper_confidence(self.encoding.rows(time, units, inherited), confidence**2)

        return self.encoding.decoded(near.maximum(bound, rng), inherited)


def observations(
    members: Sequence[Member], stretch: int, time: int, results: Mapping[Key, Result]
) -> list[Observation]:
    """Return what each member gained in the last intervals: its score, less that of the state from which it started.

    A root started from its initialization, and a start after a weight transform from the transformed state, which have scores of
    their own. Members that have diverged, and those whose first score is not known, are left out.

    Args:
        members: the population.
        stretch: the number of intervals, which all members have trained.
        time: the time of the observations.
        results: all results, by key.
    """
    observed = []
    for member in members:
        first = member.history[-stretch]
        parent = first.segment.parent
        before = first.score_at_start if first.segment.scored_at_start or parent is None else results[parent].score
        if not member.diverged and before is not None:
            observed.append(Observation(time, first.segment.hparams, member.score - before))
    return observed


def explored(
    surrogate: Surrogate | None,
    copied: Mapping[int, Member],
    others: Sequence[Member],
    time: int,
    region: TrustRegion,
    encoding: Encoding,
    rng: np.random.Generator,
    confidence: float = CONFIDENCE,
) -> dict[int, HParams]:
    """Return new hyperparameters, by slot, for members that have copied others, one after another.

    Args:
        surrogate: the model that proposes them; None: they are drawn from the space.
        copied: the members, with what they have inherited, which is the centre of each one's region.
        others: the members that keep their hyperparameters; proposals keep away from them and from each other.
        time: the next time of all of them.
        region: where to look.
        encoding: the hyperparameters of the model.
        rng: the random stream.
        confidence: see `Surrogate.proposed`.
    """
    taken = [encoding.row(time, member.hparams) for member in others]
    found: dict[int, HParams] = {}
    for slot, member in copied.items():
        if surrogate is None:
            found[slot] = drawn(member.hparams, encoding, rng)
        else:
            found[slot] = surrogate.proposed(member.hparams, time, taken, region, rng, confidence)
        taken.append(encoding.row(time, found[slot]))
    return found


def drawn(inherited: HParams, encoding: Encoding, rng: np.random.Generator) -> dict[str, Value]:
    """Return hyperparameters with all those that may change drawn uniformly from the space, whatever was inherited."""
    [units] = neighbourhood(WHOLE_SPACE, inherited, encoding).draw(1, rng)
    return encoding.decoded(units, inherited)


def neighbourhood(
    region: TrustRegion, center: HParams, encoding: Encoding, kernel: "TimeVarying | None" = None
) -> Neighbourhood:
    """Return a trust region around hyperparameters; only active categoricals count for its Hamming ball."""
    unordered = {name for name in encoding.names if name in center and is_unordered(encoding.space, name)}
    choices = [len(encoding.choices(name)) if name in unordered else 0 for name in encoding.names]
    # A model of categories alone has no length scale, but an inactive category counts as a number here.
    scales = 1.0 if kernel is None or np.size(kernel.length_scale) == 0 else kernel.length_scale
    return region.around(np.array(encoding.row(0, center)[1:]), choices, scales)


def normal_scores(values: Floats) -> Floats:
    """Return the normal quantiles of the ranks of values, shape (n,): rank / (n + 1), where ties share their mean rank.

    No outlier can flatten the others. If all values are equal, so are all scores, and 0.
    """
    from scipy.special import ndtri
    from scipy.stats import rankdata

    return np.asarray(ndtri(rankdata(values) / (len(values) + 1)), dtype=np.float64)


def _rows(observed: Sequence[Observation], encoding: Encoding) -> Floats:
    return np.array([encoding.row(each.time, each.hparams) for each in observed])


def _kernel(encoding: Encoding) -> "TimeVarying":
    """Return the covariance of Casmopolitan: Matern 5/2 and the exponential overlap, half their sum and half their product."""
    from hpo.optimizers.gaussian_process import TimeVarying

    scales = (0.01, math.sqrt(len(encoding.names)))
    return TimeVarying(
        length_scale=0.5 if encoding.numbers else (),
        weights=0.5,
        categorical=encoding.categorical,
        matern=True,
        exponential=True,
        variance_bounds=(0.5, 5.0),
        length_scale_bounds=scales,
        mix_bounds="fixed",
        weights_bounds=scales,
    )
