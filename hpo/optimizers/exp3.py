"""TV.EXP3.M: a bandit that plays several arms in each round, in a world that changes.

Parker-Holder, Nguyen, Desai, Roberts, "Tuning mixed input hyperparameters on the fly for efficient population based AutoRL",
NeurIPS 2021, section 4 and its algorithm TV.EXP3.M. It is EXP3.M (Uchiya, Nakamura, Kudo, "Algorithms for adversarial bandit
problems with multiple plays", ALT 2010), whose weights forget as those of EXP3.S do (Auer, Cesa-Bianchi, Freund, Schapire, "The
nonstochastic multiarmed bandit problem", SIAM J. Comput. 32, 2002, section 8). With C arms, B plays a round and T rounds:

    γ = min(1, sqrt(C ln(C / B) / ((e - 1) B T))),    α = 1 / T
    p_c = B ((1 - γ) w_c / Σ w + γ / C)               the expected plays of arm c; w is capped so that p_c <= 1
    ĝ_c = g_c / p_c                                   for played arms, 0 for the others
    w_c <- w_c exp(B γ ĝ_c / C) + (e α / C) Σ w       the exponential is left out for arms whose weight is capped

Arms are played by dependent rounding (Gandhi, Khuller, Parthasarathy, Srinivasan, J. ACM 53, 2006): B plays in all, and p_c of arm
c on average.

The paper has fewer plays than arms. A population usually has more members than a categorical has choices. Then, as in the paper's
program (`exp3.py` in jparkerholder/procgen_autorl), γ = 0.2 and no weight is capped, so arms are played more than once; dependent
rounding then plays arm c either floor(p_c) or ceil(p_c) times, and ĝ_c = g_c / min(1, p_c).

Where the program differs from the formulas above, the formulas are followed. It takes a tenth of T in γ and ten times T in α, adds
the forgetting to p as well, multiplies the weights of played arms by it and leaves out the others, finds the cap by numerical
minimisation, and keeps capped weights for later rounds.
"""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

_MANY_PLAYS_MIXING = 0.2
_SETTLED = 1e-9


def mixing(arms: int, plays: int, rounds: int) -> float:
    """Return γ, the share of uniform exploration.

    Args:
        arms: C, at least 2.
        plays: B, at least 1.
        rounds: T, at least 1.
    """
    if plays >= arms:
        return _MANY_PLAYS_MIXING
    return min(1.0, math.sqrt(arms * math.log(arms / plays) / ((math.e - 1) * plays * rounds)))


def expected_plays(weights: Floats, plays: int, gamma: float) -> tuple[Floats, NDArray[np.bool_]]:
    """Return p, the expected plays of each arm, which add up to `plays`, and which weights are capped for it.

    With fewer plays than arms none is expected more than once: weights from ν on count as ν, where ν is the largest cap that
    makes this true.

    Args:
        weights: shape (C,), above 0.
        plays: B, at least 1.
        gamma: γ, from 0 to 1.
    """
    arms = len(weights)
    cap = _cap(weights, (1 / plays - gamma / arms) / (1 - gamma)) if plays < arms and gamma < 1 else math.inf
    capped = weights >= cap
    kept = np.where(capped, cap, weights)
    return plays * ((1 - gamma) * kept / kept.sum() + gamma / arms), capped


def updated(weights: Floats, rewards: Floats, plays: int, rounds: int) -> Floats:
    """Return the weights after a round, scaled to add up to 1.

    Args:
        weights: shape (C,), above 0; their scale has no effect.
        rewards: g, from 0 to 1, shape (C,); NaN for arms that were not played.
        plays: B, at least 1.
        rounds: T, at least 1.
    """
    gamma = mixing(len(weights), plays, rounds)
    expected, capped = expected_plays(weights, plays, gamma)
    estimates = np.nan_to_num(rewards, nan=0.0) / np.minimum(expected, 1.0)
    grown = weights * np.where(capped, 1.0, np.exp(plays * gamma * estimates / len(weights)))
    grown += math.e / rounds / len(weights) * weights.sum()
    return np.asarray(grown / grown.sum())


def learned(times: Floats, arms: Counts, rewards: Floats, count: int, rounds: int) -> Floats:
    """Return the weights after all rounds so far, from equal ones. An arm's reward in a round is the mean over its plays.

    Args:
        times: the round of each play, shape (n,).
        arms: the arm of each play, shape (n,).
        rewards: from 0 to 1, shape (n,).
        count: C, the number of arms.
        rounds: T, at least 1.
    """
    weights = np.full(count, 1 / count)
    for time in np.unique(times):
        now = times == time
        plays = np.bincount(arms[now], minlength=count)
        sums = np.bincount(arms[now], weights=rewards[now], minlength=count)
        means = np.divide(sums, plays, out=np.full(count, np.nan), where=plays > 0)
        weights = updated(weights, means, int(plays.sum()), rounds)
    return weights


def picked(expected: Floats, taken: Counts, rng: np.random.Generator) -> Counts:
    """Return the arms of the plays that are still to be picked, in random order.

    Args:
        expected: the expected plays of each arm in this round, shape (C,), which add up to a whole number.
        taken: how often each arm has been picked for this round already, shape (C,); at most as many in all.
        rng: the random stream.

    Returns:
        What remains of `expected` is divided among the remaining plays; shape (remaining plays,).
    """
    remaining = round(float(expected.sum())) - int(taken.sum())
    free = np.maximum(expected - taken, 0.0)
    if remaining > 0:
        free *= remaining / free.sum()
    return np.asarray(rng.permutation(np.repeat(np.arange(len(expected)), dependently_rounded(free, rng))))


def dependently_rounded(shares: Floats, rng: np.random.Generator) -> Counts:
    """Return each share rounded up or down, so that its mean is the share and the sum stays what it is.

    Args:
        shares: at least 0, shape (C,); their sum is a whole number, up to rounding errors.
        rng: the random stream.
    """
    whole = np.floor(shares + _SETTLED)
    rest = shares - whole
    unsettled = [arm for arm, part in enumerate(rest.tolist()) if part > _SETTLED]
    while len(unsettled) > 1:
        one, other = unsettled[:2]
        up, down = min(1 - rest[one], rest[other]), min(rest[one], 1 - rest[other])
        step = up if rng.random() < down / (up + down) else -down
        rest[one] += step
        rest[other] -= step
        unsettled = [arm for arm in unsettled if _SETTLED < rest[arm] < 1 - _SETTLED]
    return (whole + np.rint(rest)).astype(np.int64)


def _cap(weights: Floats, share: float) -> float:
    """Return ν with ν = share · (the sum of weights after those from ν on became ν); infinity if none is that large."""
    if weights.max() < share * weights.sum():
        return math.inf
    descending = np.sort(weights)[::-1]
    below = weights.sum()
    for above, weight in enumerate(descending, start=1):
        below -= weight
        cap = share * below / (1 - above * share)
        if above == len(weights) - 1 or descending[above] < cap:
            break
    return float(cap)
