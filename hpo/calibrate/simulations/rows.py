"""Rows of the table: how often something happened, what was promised, and the band that this gives."""

import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

ALPHA = 0.05


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
        found = study(np.random.default_rng([seed, zlib.crc32(data.encode()), n, number]))
        if found.keys() != claims.keys():
            raise ValueError(f"a study looks at {sorted(found)}, and the claims are about {sorted(claims)}")
        hits.update({what: int(happened) for what, happened in found.items()})
    return tuple(Row(what, data, n, len(studies), hits[what], claim) for what, claim in claims.items())
