"""What the data say against the assumptions of the test that decides, in sentences that stand beside a verdict."""

from __future__ import annotations

from collections.abc import Sequence

from hpo.report.numbers import plain
from hpo.statistics import Departure


def doubts(found: Sequence[Departure], where: str = "") -> tuple[str, ...]:
    """One or two sentences for each assumption that the differences speak against.

    Args:
        found: what the differences show.
        where: of which differences this is said, for example ``on digits``; by default of all.
    """
    place = f" {where}" if where else ""
    return tuple(
        _skew(departure, place) if departure.kind == "skew" else _ties(departure, place) for departure in found
    )


def _skew(found: Departure, place: str) -> str:
    other = "below" if found.side == "above" else "above"
    far = f"while none lies {other} it"
    if found.value is not None:
        far = f"{plain(found.value)} times as far as {other} it"
    return (
        f"But the differences{place} are skewed: they reach far {found.side} their median, {far}. The test assumes that they are "
        "symmetric. If an arm fails now and then, p depends on how many failures were drawn: look at the single values."
    )


def _ties(found: Departure, place: str) -> str:
    tied = 0 if found.value is None else round(found.value * found.n)
    return (
        f"But {tied} of the {found.n} differences{place} are 0 or as large as another one, so that p can take few values, and "
        "intervals that suppose a continuous metric do not hold."
    )
