"""What the data say against the assumptions of the test that decides, in sentences that stand beside a verdict."""

from __future__ import annotations

from collections.abc import Sequence

from hpo.report.numbers import plain
from hpo.statistics import Departure


def doubts(found: Sequence[Departure]) -> tuple[str, ...]:
    """One sentence or two for each assumption that the differences speak against."""
    return tuple(_skew(departure) if departure.kind == "skew" else _ties(departure) for departure in found)


def _skew(found: Departure) -> str:
    other = "below" if found.side == "above" else "above"
    far = "and none lies on its other side"
    if found.value is not None:
        far = f"{plain(found.value)} times as far as any {other} it"
    return (
        f"But the differences are skewed: one lies far {found.side} their median, {far}. The sign-flip test assumes that they "
        "are symmetric. If an arm fails in some of its seeds, the p depends on how many of these were drawn: look at every pair."
    )


def _ties(found: Departure) -> str:
    share = 0 if found.value is None else round(found.value * found.n)
    return (
        f"But {share} of the {found.n} differences are 0 or as large as another one, so that p can take few values and "
        "intervals that suppose a continuous metric do not hold."
    )
