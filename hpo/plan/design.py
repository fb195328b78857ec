"""The design of a comparison: its rule, the spread in a pilot, and the effects to plan for."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpo.results.document import DecisionRule, Results

EFFECTS = (0.5, 0.8, 1.0, 1.5)
"""The effects to show if neither a pilot nor an effect is given."""
CAUTION = 0.8
"""The confidence of the upper limit of a pilot's standard deviation (Browne, Statistics in Medicine 14, 1995)."""


@dataclass(frozen=True)
class Design:
    """The design of a comparison.

    Args:
        name: the study's name.
        rule: its `[comparison]`, with all defaults filled in.
        others: the arms that are compared with the baseline.
        seeds: the number of planned seeds; with anytime stopping, the largest number.
    """

    name: str
    rule: "DecisionRule"
    others: tuple[str, ...]
    seeds: int

    @property
    def anytime(self) -> bool:
        """Whether replicates are added until decided."""
        return bool(self.rule.anytime)


@dataclass(frozen=True)
class Spread:
    """The spread of one arm's differences in a pilot.

    Args:
        n: number of pairs.
        sd: their standard deviation; above 0.
    """

    n: int
    sd: float

    @property
    def cautious_sd(self) -> float:
        """The upper confidence limit of the standard deviation, because that of a small pilot is often too small."""
        from scipy.stats import chi2

        return self.sd * math.sqrt((self.n - 1) / float(chi2.ppf(1 - CAUTION, self.n - 1)))


@dataclass(frozen=True)
class Effect:
    """An effect to plan for.

    Args:
        arm: the arm; "any" without a pilot.
        what: the origin of the effect, in words.
        d_z: its size.
        cautious: its size with the cautious standard deviation; None without a pilot.
    """

    arm: str
    what: str
    d_z: float
    cautious: float | None = None


def spreads_of(results: "Results") -> dict[str, Spread]:
    """Return the spread of each arm's differences in the results of a run, for arms that have one.

    The observed means are not used: a pilot's effect is too uncertain to plan with, and looking at a study in progress is not
    allowed.
    """
    found = {}
    for item in results.comparisons:
        differences = item.differences
        n = len(differences)
        if n < 2:
            continue
        mean = math.fsum(differences) / n
        sd = math.sqrt(math.fsum((value - mean) ** 2 for value in differences) / (n - 1))
        if sd > 0:
            found[item.arm] = Spread(n, sd)
    return found


def effects_of(
    design: Design, spreads: Mapping[str, Spread], d_z: float | None, difference: float | None
) -> list[Effect]:
    """Return the effects to plan for: the given one, or the ROPE relative to a pilot's spread, or some examples."""
    if d_z is not None:
        return [Effect("any", "as given", abs(d_z))]
    what, size = ("the ROPE", design.rule.rope) if difference is None else ("as given", abs(difference))
    known = {arm: spreads[arm] for arm in design.others if arm in spreads}
    effects = [Effect(arm, what, size / of.sd, size / of.cautious_sd) for arm, of in known.items() if size]
    return effects or [Effect("any", "for example", size) for size in EFFECTS]


def facts_of(design: Design, spreads: Mapping[str, Spread], power: float) -> list[str]:
    """Return the facts that hold for any effect, in sentences."""
    from hpo.statistics import plan

    rule, family = design.rule, len(design.others)
    found = plan(n=design.seeds, alpha=rule.alpha, family=family, wanted_power=power)
    most = "at most " if design.anytime else ""
    comparisons = f"{family} comparison{'s' * (family > 1)} with {rule.baseline}"
    said = [
        f"{design.name}: {most}{design.seeds} seeds, {comparisons} on test {rule.metric}, alpha = {rule.alpha:g}"
        + (" over all of them (Holm)" if family > 1 and not design.anytime else "")
    ]
    if design.anytime:
        return [*said, "Stops when the anytime-valid test decides; simulated with normal differences."]
    said.append(
        f"Smallest possible two-sided p: {found.smallest_p:.3g}; fewer than {found.least_n} seeds cannot show a difference,"
        " whatever the data."
    )
    if found.detectable_d_z is None:
        return said
    detectable = f"Detectable with {power:.0%} power at {design.seeds} seeds: |d_z| = {found.detectable_d_z:.3g}"
    units = [f"{found.detectable_d_z * spread.sd:.3g} for {arm}" for arm, spread in spreads.items()]
    return [*said, detectable + (f", which is a difference in {rule.metric} of {', '.join(units)}" * bool(units))]
