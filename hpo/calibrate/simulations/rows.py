"""Rows of the tables: how often something happened, the claimed rate, and the binomial band about it."""

import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

ALPHA = 0.05


@dataclass(frozen=True)
class RateClaim:
    """A claim that a rate lies between `low` and `high`.

    Attributes:
        low: the smallest true rate that satisfies the claim.
        high: the largest one.
        level: level of the binomial band about it.
    """

    low: float
    high: float
    level: float = 0.999

    def band(self, studies: int) -> tuple[int, int]:
        """Return the smallest and the largest expected count in `studies` studies."""
        tail = (1 - self.level) / 2
        return int(stats.binom.ppf(tail, studies, self.low)), int(stats.binom.ppf(1 - tail, studies, self.high))


def exactly(rate: float) -> RateClaim:
    """Return the claim that the rate is exactly `rate`."""
    return RateClaim(rate, rate)


def about(rate: float, within: float = 0.005) -> RateClaim:
    """Return the claim that the rate is within `within` of a measured or approximate `rate`."""
    return RateClaim(rate - within, rate + within)


def at_most(rate: float) -> RateClaim:
    """Return the claim that the rate is at most `rate`."""
    return RateClaim(0.0, rate)


def at_least(rate: float) -> RateClaim:
    """Return the claim that the rate is at least `rate`."""
    return RateClaim(rate, 1.0)


@dataclass(frozen=True)
class Row:
    """How often something happened in many simulated studies.

    Attributes:
        what: the statistic and the event.
        data: the distribution of the studies.
        n: number of pairs (seeds) per study.
        studies: number of studies.
        hits: number of studies in which the event happened.
        claim: the claimed rate; None: the row only shows the rate.
    """

    what: str
    data: str
    n: int
    studies: int
    hits: int
    claim: RateClaim | None

    @property
    def rate(self) -> float:
        """The share of studies in which the event happened."""
        return self.hits / self.studies

    @property
    def mark(self) -> str:
        """Whether the claim holds: "ok", "wrong", or "shown" without a claim."""
        if self.claim is None:
            return "shown"
        fewest, most = self.claim.band(self.studies)
        return "ok" if fewest <= self.hits <= most else "wrong"

    @property
    def expected(self) -> str:
        """The rates that satisfy the claim, in words; empty without a claim."""
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
        """The row of a Markdown table."""
        mark = "**wrong**" if self.mark == "wrong" else self.mark
        return (
            f"| {self.what} | {self.data} | {self.n} | {self.studies:,} | {self.rate:.4f} | {self.expected} | {mark} |"
        )

    def __add__(self, other: "Row") -> "Row":
        """Return the row of both sets of studies together."""
        return replace(self, studies=self.studies + other.studies, hits=self.hits + other.hits)


def measured(
    study: Callable[[np.random.Generator], Mapping[str, bool]],
    claims: Mapping[str, RateClaim | None],
    *,
    data: str,
    n: int,
    studies: range,
    seed: int,
) -> tuple[Row, ...]:
    """Simulate studies and count events in them: one row for each event.

    Args:
        study: draws one study from the generator and returns whether each event happened.
        claims: the claim for each event, or None; their order is that of the rows.
        data: the distribution of the studies.
        n: number of pairs per study.
        studies: indices of the studies. Each has its own generator from seed, data, n and number, so that studies are the same
            however they are divided among processes.
        seed: seed of all studies.
    """
    hits: Counter[str] = Counter()
    for number in studies:
        found = study(np.random.default_rng([seed, zlib.crc32(data.encode()), n, number]))
        if found.keys() != claims.keys():
            raise ValueError(f"a study reports {sorted(found)}, but the claims are for {sorted(claims)}")
        hits.update({what: int(happened) for what, happened in found.items()})
    return tuple(Row(what, data, n, len(studies), hits[what], claim) for what, claim in claims.items())
