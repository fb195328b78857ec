"""The calibration of the numbers: simulated studies whose truth is known, through the functions that the report uses.

`python -m hpo.statistics.calibrate` prints a Markdown table of rejection rates, coverage and power. A row that promises
something is *ok* or *wrong*: its count must lie in the 99.9% binomial band about what is promised, so that even in a run
without any fault one row in a thousand is wrong by chance. A row that promises nothing is *shown*: what becomes of a number
whose assumption does not hold, or why the report does not give it. The pipeline around the numbers is calibrated by
`python -m hpo.calibrate`.
"""

import argparse
import math
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from multiprocessing import get_context
from time import perf_counter
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from hpo.core.interpreters import safe_path
from hpo.cores import usable_cores
from hpo.statistics.anytime import anytime_test, log_sign_e_process
from hpo.statistics.arrays import Floats
from hpo.statistics.budget import budget_equivalence
from hpo.statistics.curves import max_t_band
from hpo.statistics.decision import decide
from hpo.statistics.equivalence import equivalence_within
from hpo.statistics.images import crossed_interval
from hpo.statistics.interval import Interval
from hpo.statistics.intervals import bca_interval, percentile_interval
from hpo.statistics.paired import PairedComparison, compare_paired
from hpo.statistics.power import plan

ALPHA = 0.05
_CHUNK = 50
_MEMBERS = 8
_BUDGETS = 20

# Approximations have no coverage that is known beforehand: what 20,000 other studies of normal differences came to (standard
# error at most .0026) stands in for it.
_BOOTSTRAP_T = {5: 0.949, 6: 0.946, 10: 0.946, 20: 0.950}
_PERCENTILE = {5: 0.840, 6: 0.855, 10: 0.901, 20: 0.922}
_BCA = {5: 0.839, 6: 0.854, 10: 0.891, 20: 0.924}


# Rows


@dataclass(frozen=True)
class Claim:
    """What a rate is promised to be: a number from `low` to `high`.

    Attributes:
        low: the least true rate that keeps the promise.
        high: the largest one.
        level: of the binomial band about it.
    """

    low: float
    high: float
    level: float = 0.999

    def band(self, studies: int) -> tuple[int, int]:
        """Return how many of so many studies are to be expected, at the fewest and at the most."""
        tail = (1 - self.level) / 2
        return int(stats.binom.ppf(tail, studies, self.low)), int(stats.binom.ppf(1 - tail, studies, self.high))


def exactly(rate: float) -> Claim:
    """Return the promise of this very rate."""
    return Claim(rate, rate)


def about(rate: float, within: float = 0.005) -> Claim:
    """Return the promise of a rate that was itself measured, or that an approximation aims at."""
    return Claim(rate - within, rate + within)


def at_most(rate: float) -> Claim:
    """Return the promise of a rate no larger."""
    return Claim(0.0, rate)


def at_least(rate: float) -> Claim:
    """Return the promise of a rate no smaller."""
    return Claim(rate, 1.0)


@dataclass(frozen=True)
class Row:
    """How often something happened in many simulated studies.

    Attributes:
        what: the number looked at, and what it did.
        data: what the studies were drawn from.
        n: pairs (seeds) of each study.
        studies: how many.
        hits: in how many of them it happened.
        claim: what the rate is promised to be; None: the row only shows it.
    """

    what: str
    data: str
    n: int
    studies: int
    hits: int
    claim: Claim | None

    @property
    def rate(self) -> float:
        """The share of the studies in which it happened."""
        return self.hits / self.studies

    @property
    def mark(self) -> str:
        """Whether the promise is kept: "ok", "wrong", or "shown" where there is none."""
        if self.claim is None:
            return "shown"
        fewest, most = self.claim.band(self.studies)
        return "ok" if fewest <= self.hits <= most else "wrong"

    @property
    def expected(self) -> str:
        """The rates that keep the promise, in words; empty where there is none."""
        if self.claim is None:
            return ""
        fewest, most = (f"{count / self.studies:.4f}" for count in self.claim.band(self.studies))
        if self.claim.low == self.claim.high:
            return f"{fewest} to {most}" if fewest != most else fewest
        if self.claim.low == 0:
            return f"at most {most}"
        return f"at least {fewest}" if self.claim.high == 1 else f"{fewest} to {most}"

    @property
    def line(self) -> str:
        """The row as one of a Markdown table."""
        mark = "**wrong**" if self.mark == "wrong" else self.mark
        return (
            f"| {self.what} | {self.data} | {self.n} | {self.studies:,} | {self.rate:.4f} | {self.expected} | {mark} |"
        )

    def __add__(self, other: "Row") -> "Row":
        """Return the row of both sets of studies."""
        return replace(self, studies=self.studies + other.studies, hits=self.hits + other.hits)


def measured(
    study: Callable[[np.random.Generator], Mapping[str, bool]],
    claims: Mapping[str, Claim | None],
    *,
    data: str,
    n: int,
    studies: range,
    seed: int,
) -> tuple[Row, ...]:
    """Simulate studies and count what happens in them: one row for each thing looked at.

    Args:
        study: draws one study from the generator and says of each thing looked at whether it happened.
        claims: what is promised of each, None for nothing; their order is that of the rows.
        data: what the studies are drawn from.
        n: pairs of each study.
        studies: their numbers. Each has a generator of its own, from seed, data, n and number: the same studies come out
            however they are divided among processes.
        seed: of all the studies.
    """
    hits: Counter[str] = Counter()
    for number in studies:
        generator = np.random.default_rng([seed, zlib.crc32(data.encode()), n, number])
        found = study(generator)
        if found.keys() != claims.keys():
            raise ValueError(f"a study looks at {sorted(found)}, and the claims are about {sorted(claims)}")
        hits.update({what: int(happened) for what, happened in found.items()})
    return tuple(Row(what, data, n, len(studies), hits[what], claim) for what, claim in claims.items())


# What two arms are drawn from


class Pairs(NamedTuple):
    """The values of a baseline and of an arm, and their error counts where they have any."""

    a: Floats
    b: Floats
    counts: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None


@dataclass(frozen=True)
class Kernel:
    """Pairs of which neither arm is better: the mean difference is 0.

    Attributes:
        draw: draws n pairs.
        deviation: standard deviation of the differences.
        symmetric: whether the differences are symmetric about 0, as the sign-flip test takes them to be.
        tied: whether equal sums of differences have a positive probability, so that exact tests may reject less often.
        normal: whether the differences are normal, as the t-test takes them to be.
    """

    draw: Callable[[np.random.Generator, int], Pairs]
    deviation: float
    symmetric: bool = True
    tied: bool = False
    normal: bool = False


def _normal(generator: np.random.Generator, n: int) -> Pairs:
    return _differing(generator, generator.normal(size=n))


def _t3(generator: np.random.Generator, n: int) -> Pairs:
    return _differing(generator, generator.standard_t(3, size=n))


def _skewed_differences(generator: np.random.Generator, n: int) -> Pairs:
    return _differing(generator, generator.exponential(size=n) - 1)


def _skewed_arms(generator: np.random.Generator, n: int) -> Pairs:
    return Pairs(generator.exponential(size=n), generator.exponential(size=n))


def _tied_counts(generator: np.random.Generator, n: int) -> Pairs:
    a, b = generator.binomial(_TIED_IMAGES, _TIED_RATE, size=(2, n))
    return Pairs(a / _TIED_IMAGES, b / _TIED_IMAGES, (a, b))


def _differing(generator: np.random.Generator, differences: Floats) -> Pairs:
    a = generator.normal(size=len(differences))
    return Pairs(a, a + differences)


_TIED_IMAGES, _TIED_RATE = 200, 0.02

KERNELS: Mapping[str, Kernel] = {
    "normal": Kernel(_normal, 1.0, normal=True),
    "t3": Kernel(_t3, math.sqrt(3)),
    "skewed differences": Kernel(_skewed_differences, 1.0, symmetric=False),
    "skewed arms": Kernel(_skewed_arms, math.sqrt(2)),
    "tied counts": Kernel(_tied_counts, math.sqrt(2 * _TIED_RATE * (1 - _TIED_RATE) / _TIED_IMAGES), tied=True),
}


# What is looked at


class Compare(Protocol):
    """`compare_paired`, or what takes its place."""

    def __call__(
        self, a: ArrayLike, b: ArrayLike, *, counts: tuple[ArrayLike, ArrayLike] | None = None
    ) -> PairedComparison:
        """Compare b with a."""


def paired_rows(
    kernel: str, n: int, studies: range, seed: int, *, compare: Compare = compare_paired
) -> tuple[Row, ...]:
    """Return how often two equal arms are called different, and how often each interval holds 0.

    Args:
        kernel: name of one of `KERNELS`.
        n: pairs of each study.
        studies: their numbers.
        seed: of all of them.
        compare: what is calibrated.
    """
    source = KERNELS[kernel]

    def study(generator: np.random.Generator) -> dict[str, bool]:
        pairs = source.draw(generator, n)
        found = compare(pairs.a, pairs.b, counts=pairs.counts)
        return {
            "sign-flip test rejects": found.p_sign_flip <= ALPHA,
            "t-test rejects": found.p_t is not None and found.p_t <= ALPHA,
            **_holding(found, 0.0),
            "percentile interval holds the mean": _holds(percentile_interval(found.differences), 0.0),
            "BCa interval holds the mean": _holds(bca_interval(found.differences), 0.0),
        }

    def symmetric(size: float) -> Claim | None:
        if not source.symmetric:
            return None
        return at_most(size) if source.tied else exactly(size)

    def covering(size: float) -> Claim | None:
        if not source.symmetric:
            return None
        return at_least(1 - size) if source.tied else exactly(1 - size)

    def as_documented(coverage: Mapping[int, float]) -> Claim | None:
        return about(coverage[n]) if source.normal and n in coverage else None

    claims = {
        "sign-flip test rejects": symmetric(sign_flip_size(n)),
        "t-test rejects": exactly(ALPHA) if source.normal else None,
        "sign-flip interval holds the mean": covering(sign_flip_size(n)),
        "t interval holds the mean": exactly(1 - ALPHA) if source.normal else None,
        "bootstrap-t interval holds the mean": as_documented(_BOOTSTRAP_T),
        "Hodges-Lehmann interval holds the mean": covering(signed_rank_size(n)),
        "percentile interval holds the mean": as_documented(_PERCENTILE),
        "BCa interval holds the mean": as_documented(_BCA),
    }
    return measured(study, claims, data=kernel, n=n, studies=studies, seed=seed)


def power_rows(d_z: float, n: int, studies: range, seed: int, *, power: Claim | None = None) -> tuple[Row, ...]:
    """Return how often an effect of normal differences is found, and how often each interval holds it.

    Args:
        d_z: the effect.
        n: pairs of each study.
        studies: their numbers.
        seed: of all of them.
        power: what is promised of the sign-flip test.
    """

    def study(generator: np.random.Generator) -> dict[str, bool]:
        a, b, _ = _normal(generator, n)
        found = compare_paired(a, b + d_z)
        return {
            "sign-flip test rejects": found.p_sign_flip <= ALPHA,
            "t-test rejects": found.p_t is not None and found.p_t <= ALPHA,
            **_holding(found, d_z),
        }

    claims = {
        "sign-flip test rejects": power,
        "t-test rejects": exactly(plan(n=n, d_z=d_z, alpha=ALPHA).power or 0.0),
        "sign-flip interval holds the mean": exactly(1 - sign_flip_size(n)),
        "t interval holds the mean": exactly(1 - ALPHA),
        "bootstrap-t interval holds the mean": about(_BOOTSTRAP_T[n]) if n in _BOOTSTRAP_T else None,
        "Hodges-Lehmann interval holds the mean": exactly(1 - signed_rank_size(n)),
    }
    return measured(study, claims, data=f"normal, d_z = {d_z:g}", n=n, studies=studies, seed=seed)


def departure_rows(kernel: str, n: int, studies: range, seed: int) -> tuple[Row, ...]:
    """Return how often differences are said to be skewed.

    Args:
        kernel: name of one of `KERNELS`.
        n: pairs of each study.
        studies: their numbers.
        seed: of all of them.
    """
    source = KERNELS[kernel]

    def study(generator: np.random.Generator) -> dict[str, bool]:
        pairs = source.draw(generator, n)
        return {"skew is shown beside the verdict": _is_skewed(compare_paired(pairs.a, pairs.b, counts=pairs.counts))}

    claims = {"skew is shown beside the verdict": at_most(ALPHA) if source.symmetric else None}
    return measured(study, claims, data=kernel, n=n, studies=studies, seed=seed)


_COLLAPSES, _DEPTH = 0.1, 30.0


def collapse_rows(n: int, studies: range, seed: int) -> tuple[Row, ...]:
    """Return what is said where a baseline is better by a standard deviation, but collapses in one seed of ten.

    Then its mean is the worse one, and what a study shows depends on whether a seed of it collapsed.

    Args:
        n: pairs of each study.
        studies: their numbers.
        seed: of all of them.
    """

    def study(generator: np.random.Generator) -> dict[str, bool]:
        a, b, _ = _normal(generator, n)
        collapsed = generator.random(n) < _COLLAPSES
        found = compare_paired(a + _DEPTH * collapsed, b + 1)
        return {
            "sign-flip test calls the arm worse, which it is not": found.p_sign_flip <= ALPHA and found.mean > 0,
            "skew is shown beside the verdict": _is_skewed(found),
            "one to a third of the seeds collapsed, and no skew is shown": (
                1 <= collapsed.sum() <= n // 3 and not _is_skewed(found)
            ),
        }

    claims = {
        "sign-flip test calls the arm worse, which it is not": None,
        "skew is shown beside the verdict": None,
        "one to a third of the seeds collapsed, and no skew is shown": at_most(0.03),
    }
    return measured(study, claims, data="baseline collapses in 10% of seeds", n=n, studies=studies, seed=seed)


def family_rows(better: int, n: int, studies: range, seed: int) -> tuple[Row, ...]:
    """Return how often any of three arms is called better or worse than a baseline though it is not.

    Args:
        better: how many of the arms are better indeed, by d_z = 1.5; the others are like the baseline.
        n: pairs of each arm.
        studies: their numbers.
        seed: of all of them.
    """
    effects = [1.5 * math.sqrt(2) * (arm < better) for arm in range(3)]

    def study(generator: np.random.Generator) -> dict[str, bool]:
        baseline = generator.normal(size=n)
        arms = [
            (str(arm), compare_paired(baseline, effect + generator.normal(size=n)))
            for arm, effect in enumerate(effects)
        ]
        verdicts = decide(arms, baseline="a", metric="score", direction="maximize", alpha=ALPHA, planned=n)
        called = [verdicts[name].kind in ("better", "worse") for name, _ in arms]
        return {"Holm: any arm wrongly called better or worse": any(called[better:])}

    claims = {"Holm: any arm wrongly called better or worse": at_most(ALPHA)}
    data = f"normal, {better} of 3 arms better" if better else "normal, 3 arms, none better"
    return measured(study, claims, data=data, n=n, studies=studies, seed=seed)


def equivalence_rows(kernel: str, rope: float, n: int, studies: range, seed: int) -> tuple[Row, ...]:
    """Return how often two arms are called equivalent whose mean difference is as large as the ROPE.

    Args:
        kernel: name of one of `KERNELS`.
        rope: half-width of the region, in standard deviations of the differences.
        n: pairs of each study.
        studies: their numbers.
        seed: of all of them.
    """
    source = KERNELS[kernel]
    border = rope * source.deviation

    def study(generator: np.random.Generator) -> dict[str, bool]:
        pairs = source.draw(generator, n)
        found = equivalence_within(pairs.b - pairs.a + border, border, alpha=ALPHA)
        return {"TOST calls the border of the ROPE equivalent": found is not None and found.equivalent}

    # With a ROPE of many standard errors the other border plays no part, and the level is that of one t-test.
    wide = rope * math.sqrt(n) > 5
    claim = (exactly(ALPHA) if wide else at_most(ALPHA)) if source.normal else None
    claims = {"TOST calls the border of the ROPE equivalent": claim}
    return measured(study, claims, data=f"{kernel}, ROPE {rope:g} sd", n=n, studies=studies, seed=seed)


def first_decision(differences: Floats) -> int | None:
    """Return the number of pairs at which the anytime-valid test decides; None where it does not."""
    reached = np.flatnonzero(np.array(log_sign_e_process(differences)) >= -math.log(ALPHA))
    return int(reached[0]) + 1 if reached.size else None


def anytime_rows(
    kernel: str,
    n: int,
    studies: range,
    seed: int,
    *,
    claim: Claim | None = None,
    decided: Callable[[Floats], int | None] = first_decision,
) -> tuple[Row, ...]:
    """Return how often a test that is looked at after every pair decides between two equal arms.

    Args:
        kernel: name of one of `KERNELS`.
        n: pairs at which the study gives up.
        studies: their numbers.
        seed: of all of them.
        claim: what is promised.
        decided: the test that is calibrated: the number of pairs at which it decides, or None.
    """

    def study(generator: np.random.Generator) -> dict[str, bool]:
        pairs = KERNELS[kernel].draw(generator, n)
        return {"anytime-valid test decides": decided(pairs.b - pairs.a) is not None}

    return measured(study, {"anytime-valid test decides": claim}, data=kernel, n=n, studies=studies, seed=seed)


def anytime_power_rows(d_z: float, claims: Mapping[int, Claim | None], studies: range, seed: int) -> tuple[Row, ...]:
    """Return how often an effect of normal differences is found by so many pairs.

    Args:
        d_z: the effect.
        claims: the numbers of pairs, and what is promised by then.
        studies: their numbers.
        seed: of all of them.
    """
    n = max(claims)

    def study(generator: np.random.Generator) -> dict[str, bool]:
        pairs = _normal(generator, n)
        at = first_decision(pairs.b - pairs.a + d_z)
        return {f"anytime-valid test has decided by pair {by}": at is not None and at <= by for by in claims}

    promised = {f"anytime-valid test has decided by pair {by}": claim for by, claim in claims.items()}
    return measured(study, promised, data=f"normal, d_z = {d_z:g}", n=n, studies=studies, seed=seed)


def sequence_rows(kernel: str, n: int, studies: range, seed: int) -> tuple[Row, ...]:
    """Return how often the confidence sequence holds the mean at every one of n pairs, and at the last."""
    source = KERNELS[kernel]

    def study(generator: np.random.Generator) -> dict[str, bool]:
        pairs = source.draw(generator, n)
        found = anytime_test(pairs.b - pairs.a + source.deviation, alpha=ALPHA)
        holds = [_holds(interval, source.deviation) for interval in found.intervals]
        return {
            "confidence sequence holds the mean at every n": all(holds),
            "confidence sequence holds the mean at the last n": holds[-1],
        }

    claim = at_least(1 - ALPHA) if source.symmetric else None
    claims = {
        "confidence sequence holds the mean at every n": claim,
        "confidence sequence holds the mean at the last n": claim,
    }
    return measured(study, claims, data=f"{kernel}, d_z = 1", n=n, studies=studies, seed=seed)


# Variances of what makes an image right or wrong: its ease for all models; for one arm; the model's seed; their meeting.
_EASE, _TASTES, _LUCK, _MEETING = 2.0, {"arms alike": 0.05, "arms unlike": 1.0}, 0.01, 1.0
_ERROR_RATES = 0.05, 0.045


def crossed_rows(arms: str, images: int, n: int, studies: range, seed: int) -> tuple[Row, ...]:
    """Return how often the intervals over seeds and images hold what each is about.

    A model gets an image right when a normal score is positive: the sum of the image's ease, its ease for this arm, the
    model's luck and a part of the model and the image together. So the true error rates, .05 and .045 over new seeds and
    new images, are known, and also those of new seeds on these images and of these models on new ones. The less the arms
    are alike in the images that they err on, the more an interval over the seeds alone leaves out.

    Args:
        arms: "arms alike", which err on nearly the same images, or "arms unlike".
        images: number of test images.
        n: number of seeds.
        studies: their numbers.
        seed: of all of them.
    """
    tasted = _TASTES[arms]

    def study(generator: np.random.Generator) -> dict[str, bool]:
        ease = generator.normal(0, math.sqrt(_EASE), images)
        right, on_these, of_these = [], [], []
        for rate in _ERROR_RATES:
            taste = generator.normal(0, math.sqrt(tasted), images)
            luck = generator.normal(0, math.sqrt(_LUCK), (n, 1))
            meeting = generator.normal(0, math.sqrt(_MEETING), (n, images))
            level = -special.ndtri(rate) * math.sqrt(_EASE + tasted + _LUCK + _MEETING)
            right.append(level + ease + taste + luck + meeting > 0)
            on_these.append(special.ndtr(-(level + ease + taste) / math.sqrt(_LUCK + _MEETING)).mean())
            of_these.append(special.ndtr(-(level + luck) / math.sqrt(_EASE + tasted + _MEETING)).mean())
        found = crossed_interval(*right, alpha=ALPHA)
        truth = _ERROR_RATES[1] - _ERROR_RATES[0]
        return {
            "crossed interval: new seeds, new images": _holds(found.interval_crossed, truth),
            "seed interval: new seeds, this test set": _holds(found.interval_seeds, on_these[1] - on_these[0]),
            "image interval: these models, new images": _holds(found.interval_images, of_these[1] - of_these[0]),
            "seed interval: new seeds, new images": _holds(found.interval_seeds, truth),
        }

    claims = {
        "crossed interval: new seeds, new images": about(1 - ALPHA, within=0.01),
        "seed interval: new seeds, this test set": about(1 - ALPHA, within=0.01),
        "image interval: these models, new images": about(1 - ALPHA, within=0.01),
        "seed interval: new seeds, new images": None,
    }
    return measured(study, claims, data=f"{images:,} images, {arms}", n=n, studies=studies, seed=seed)


def band_rows(effect: float, n: int, studies: range, seed: int) -> tuple[Row, ...]:
    """Return what the max-T band says of two arms whose curves are random walks along 20 budgets.

    Args:
        effect: mean difference at every budget, in standard deviations of the differences there.
        n: pairs of each study.
        studies: their numbers.
        seed: of all of them.
    """
    truth = effect * np.sqrt(2 * np.arange(1, _BUDGETS + 1))

    def study(generator: np.random.Generator) -> dict[str, bool]:
        a, b = np.cumsum(generator.normal(size=(2, n, _BUDGETS)), axis=2)
        band = max_t_band(a, b + truth, alpha=ALPHA)
        intervals = [Interval(low, high) for low, high in zip(band.low, band.high, strict=True)]
        return {
            "max-T band: better or worse from some budget on": (band.better_from, band.worse_from) != (None, None),
            "max-T band: p <= .05 at any budget": min(band.p) <= ALPHA,
            "max-T band holds the mean at all budgets": all(
                float(mean) in interval for mean, interval in zip(truth, intervals, strict=True)
            ),
        }

    size = sign_flip_size(n)
    claims: dict[str, Claim | None] = {
        "max-T band: better or worse from some budget on": None if effect else at_most(size),
        "max-T band: p <= .05 at any budget": None if effect else exactly(size),
        "max-T band holds the mean at all budgets": about(1 - ALPHA, within=0.01),
    }
    data = f"random walks, d_z = {effect:g}"
    return measured(study, claims, data=data, n=n, studies=studies, seed=seed)


def budget_rows(times: int, n: int, studies: range, seed: int, *, claim: Claim | None = None) -> tuple[Row, ...]:
    """Return how often the budget equivalence of random search at a multiple of its own budget holds that multiple.

    Args:
        times: the multiple.
        n: seeds of each study.
        studies: their numbers.
        seed: of all of them.
        claim: what is promised.
    """

    def study(generator: np.random.Generator) -> dict[str, bool]:
        pool = generator.normal(size=(n, _MEMBERS))
        values = generator.normal(size=(n, times * _MEMBERS)).max(axis=1)
        found = budget_equivalence(pool.tolist(), values.tolist(), alpha=ALPHA)
        return {"budget equivalence holds the multiple": _holds(found.interval, float(times))}

    claims = {"budget equivalence holds the multiple": claim}
    return measured(study, claims, data=f"{_MEMBERS} members, {times}x", n=n, studies=studies, seed=seed)


def sign_flip_size(n: int) -> float:
    """Return how often the exact sign-flip test of n pairs without ties rejects: the multiple of 2 / 2**n below alpha."""
    return math.floor(math.ldexp(ALPHA, n - 1)) / math.ldexp(1.0, n - 1)


def signed_rank_size(n: int) -> float:
    """Return how often the exact signed-rank test of n pairs without ties rejects."""
    patterns = np.ones(1)
    for rank in range(1, n + 1):
        patterns = np.convolve(patterns, [1.0] + [0.0] * (rank - 1) + [1.0])
    levels = 2 * np.cumsum(patterns) / 2**n
    return max((float(level) for level in levels if level <= ALPHA), default=0.0)


def _holds(interval: Interval | None, truth: float) -> bool:
    """Return whether the interval holds the truth; one that is not given does not."""
    return interval is not None and truth in interval


def _is_skewed(found: PairedComparison) -> bool:
    return any(departure.kind == "skew" for departure in found.departures)


def _holding(found: PairedComparison, truth: float) -> dict[str, bool]:
    return {
        "sign-flip interval holds the mean": _holds(found.sign_flip_interval, truth),
        "t interval holds the mean": _holds(Interval(found.ci_low, found.ci_high), truth),
        "bootstrap-t interval holds the mean": _holds(found.bootstrap_t, truth),
        "Hodges-Lehmann interval holds the mean": _holds(found.hodges_lehmann_interval, truth),
    }


# The run


class Rows(Protocol):
    """A function that simulates the studies of these numbers and returns what it counted."""

    def __call__(self, *, studies: range, seed: int) -> tuple[Row, ...]:
        """Simulate."""


def sections() -> dict[str, list[Rows]]:
    """Return all that is measured, by the headings that it stands under."""
    return {
        "Two arms, no difference": [partial(paired_rows, kernel, n) for kernel in KERNELS for n in (5, 6, 10, 20)],
        # Three standard errors about .80.
        "Two arms, a planted effect": [partial(power_rows, 1.0, 10, power=Claim(0.8, 0.8, level=0.9973))],
        "What the data show against symmetry": [
            *(
                partial(departure_rows, kernel, n)
                for kernel in ("normal", "t3", "tied counts", "skewed differences")
                for n in (6, 10, 20, 30)
            ),
            *(partial(collapse_rows, n) for n in (6, 10, 20, 30)),
        ],
        "Three arms against one baseline": [
            partial(family_rows, better, n) for better, n in ((0, 8), (0, 10), (1, 10))
        ],
        "Equivalence": [
            *(partial(equivalence_rows, "normal", rope, n) for rope in (0.5, 2.0) for n in (6, 10, 20)),
            *(partial(equivalence_rows, kernel, 2.0, 10) for kernel in ("t3", "skewed differences", "skewed arms")),
        ],
        "Seeds added until it is decided": [
            *(
                partial(anytime_rows, kernel, 30, claim=Claim(0.014, 0.03) if source.symmetric else about(0.085))
                for kernel, source in KERNELS.items()
            ),
            partial(anytime_power_rows, 1.0, {11: at_most(0.5), 12: at_least(0.5), 30: about(0.96)}),
            *(partial(sequence_rows, kernel, 20) for kernel in ("normal", "t3", "skewed differences")),
        ],
        "Seeds and test images": [
            partial(crossed_rows, arms, images, n) for arms in _TASTES for images in (200, 2_000) for n in (5, 10, 20)
        ],
        "Along the budget": [
            *(partial(band_rows, effect, n) for effect in (0.0, 1.0, 3.0) for n in (6, 10)),
            *(partial(budget_rows, times, 10, claim=Claim(0.88, 0.93)) for times in (1, 2)),
            *(partial(budget_rows, 1, n) for n in (6, 20)),
        ],
    }


def calibrate(studies: int, seed: int, workers: int) -> Iterator[tuple[str, tuple[Row, ...]]]:
    """Measure everything; yield the heading and the rows of each measurement as they are done.

    Args:
        studies: how many for each row.
        seed: of all of them.
        workers: processes.
    """
    chunks = [range(start, min(start + _CHUNK, studies)) for start in range(0, studies, _CHUNK)]
    work = [(heading, rows) for heading, several in sections().items() for rows in several]
    parts = [(rows, chunk, seed) for _, rows in work for chunk in chunks]
    with ExitStack() as stack:
        found: Iterator[tuple[Row, ...]] = map(_part, parts)
        if workers > 1:
            stack.enter_context(safe_path())
            pool = stack.enter_context(ProcessPoolExecutor(workers, mp_context=get_context("spawn")))
            found = pool.map(_part, parts)
        for heading, _ in work:
            total = next(found)
            for _ in chunks[1:]:
                total = tuple(one + other for one, other in zip(total, next(found), strict=True))
            yield heading, total


def _part(part: tuple[Rows, range, int]) -> tuple[Row, ...]:
    rows, studies, seed = part
    return rows(studies=studies, seed=seed)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the calibration, print its tables, and return 1 where a promise is not kept."""
    parser = argparse.ArgumentParser(
        prog="python -m hpo.statistics.calibrate", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--studies", type=int, default=2000, metavar="N", help="studies per row (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the simulations (default: 0)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: the usable cores)")
    options = parser.parse_args(arguments)
    if options.studies < 1:
        parser.error(f"--studies must be 1 or more, got {options.studies}")
    began = perf_counter()
    faults: list[Row] = []
    count = 0
    found = calibrate(options.studies, options.seed, options.workers or usable_cores())
    for heading, measurements in groupby(found, key=lambda item: item[0]):
        print(f"\n**{heading}**\n\n| what | data | n | studies | rate | expected | |\n|---|---|---:|---:|---:|---|---|")
        for _, rows in measurements:
            print(*(row.line for row in rows), sep="\n", flush=True)
            faults += [row for row in rows if row.mark == "wrong"]
            count += sum(row.claim is not None for row in rows)
    print(f"\n{count - len(faults)} of {count} promises kept, in {perf_counter() - began:.0f} s.")
    for row in faults:
        print(f"wrong: {row.what}, {row.data}, n = {row.n}: {row.rate:.4f}, expected {row.expected}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
