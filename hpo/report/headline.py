"""The head of the report: what was planned and registered, how far it is, and the verdict in one paragraph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from hpo.report.doubts import doubts
from hpo.report.limits import conditional
from hpo.report.numbers import NONE, amount, clean, printable, quantity, significant, test_quantity
from hpo.results.document import ArmComparison, Results
from hpo.statistics import VerdictKind

_PARAGRAPH = 4  # verdicts that are read as one


@dataclass(frozen=True)
class Verdict:
    """One comparison's outcome in words, and what the data say against it; `kind` is a CSS class."""

    title: str
    kind: str
    words: str
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Headline:
    """The verdicts of all comparisons, what comes before them and what they are conditional on."""

    lead: str
    verdicts: tuple[Verdict, ...]
    close: str

    @property
    def many(self) -> bool:
        """Whether they are too many for one paragraph."""
        return len(self.verdicts) > _PARAGRAPH


def state(results: Results) -> str:
    """How far the study is."""
    planned = len(results.planned_seeds)
    if results.anytime:
        if results.in_progress:
            return f"in progress ({len(results.finished_seeds)} replicates, at most {planned})"
        return f"stopped after {len(results.finished_seeds)} of at most {planned} replicates"
    if results.in_progress:
        return f"in progress ({len(results.finished_seeds)} of {planned})"
    return f"{planned} of {planned} planned replicates finished"


def headline(results: Results) -> Headline | None:
    """The paragraph of verdict; None where nothing is compared."""
    if results.comparison is None:
        return None
    if results.in_progress and not (results.anytime and results.comparisons):
        words = (
            f"In progress ({len(results.finished_seeds)} of {len(results.planned_seeds)} planned replicates finished): pairs "
            "and means only. No test is shown before the plan is done, since looking early makes false positives."
        )
        return Headline("", (Verdict("No verdict yet", "in-progress", words),), "")
    verdicts = tuple(
        Verdict(f"{clean(c.arm)}: {clean(c.verdict.kind)}", css(c), printable(c.verdict.words), _doubts(c))
        for c in results.comparisons
    )
    metric = clean(results.metric)
    what = "each arm" if len(verdicts) > 1 else clean(results.comparisons[0].arm) if verdicts else "each arm"
    pairs = "one seed" if len(results.finished_seeds) == 1 else f"{len(results.finished_seeds)} paired seeds"
    lead = f"Over {pairs}, the test {metric} of {what} was compared with that of {clean(results.comparison.baseline)}."
    if len(verdicts) > _PARAGRAPH:
        kinds = Counter(c.verdict.kind for c in results.comparisons)
        lead += (
            " "
            + ", ".join(f"{kinds[kind]} {kind}" for kind in get_args(VerdictKind) if kind in kinds).capitalize()
            + "."
        )
    return Headline(lead, verdicts, conditional(results))


def _doubts(c: ArmComparison) -> tuple[str, ...]:
    return () if c.numbers is None else doubts(c.numbers.departures)


def css(comparison: ArmComparison) -> str:
    """The class of a verdict's kind."""
    return comparison.verdict.kind.replace(" ", "-")


def facts(results: Results) -> tuple[tuple[str, str], ...]:
    """The list under the title."""
    task = results.task
    metric = task.metric(results.metric)
    direction = results.comparison.direction if results.comparison else metric.direction
    better = "higher is better" if direction == "maximize" else "lower is better"
    facts = [
        ("Task", clean(task.name)),
        ("Metric", f"{clean(metric.name)} on the test set, {better}"),
        ("Chosen by", f"{clean(task.primary)} on the validation set"),
        *_plan(results),
        (
            "Finished",
            f"{len(results.finished_seeds)} of {'at most ' if results.anytime else ''}{len(results.planned_seeds)}",
        ),
    ]
    total = amount(results.intervals * results.interval, clean(task.unit))
    budget = f"{total} per member in intervals of {amount(results.interval, clean(task.unit))}"
    facts.append(("Budget", f"{results.population_size} members, {budget}"))
    if results.retrains > 1:
        facts.append(("Retrains", f"{results.retrains} of each answer, averaged within the replicate"))
    if task.data:
        facts.append(("Examples", ", ".join(f"{clean(name)} {count:,}" for name, count in task.data.items())))
    return tuple(facts)


def _plan(results: Results) -> list[tuple[str, str]]:
    """What was to be decided, and how."""
    plan = results.comparison
    seeds = ("Planned seeds", _seed_list(results.planned_seeds))
    if plan is None:
        return [seeds]
    shown = test_quantity(results.task.metric(plan.metric), results.task)
    rope = "none: equivalence is never claimed"
    if plan.rope is not None:
        rope = shown.width(plan.rope)
    stopping = "after all planned seeds"
    if plan.stopping == "anytime":
        stopping = f"when the anytime-valid test decides, at most {len(results.planned_seeds)} seeds"
    said = [
        ("Baseline", clean(plan.baseline)),
        ("Alpha", f"{significant(plan.alpha, 3)}, two-sided"),
        ("ROPE", rope),
        seeds,
        ("Stopping", stopping),
    ]
    if plan.target is not None:
        primary = quantity(
            results.task.metric(results.task.primary), results.task, count=results.task.examples("validation")
        )
        said.append(("Target", f"validation {primary.name} {primary.text(plan.target)}"))
    return [*said, ("Registered", _registered(results))]


def _registered(results: Results) -> str:
    """Whether the plan is the one that the study began with."""
    found = results.registration
    if found is None:
        return NONE
    text = f"at the start, SHA-256 {clean(found.sha256)[:16]}…"
    if not found.amendments:
        return f"{text}; not changed since"
    changes = []
    for amendment in found.amendments:
        seen = f"{amendment.tests_opened} test result{'' if amendment.tests_opened == 1 else 's'}"
        when = f"after {seen} had been seen" if amendment.tests_opened else "before any test result was seen"
        listed = ", ".join(printable(change) for change in amendment.changes[:10])
        more = f" and {len(amendment.changes) - 10} more" if len(amendment.changes) > 10 else ""
        changes.append(f"changed {when}: {listed}{more}")
    return "; ".join([text, *changes])


def _seed_list(seeds: Sequence[int]) -> str:
    if len(seeds) > 3 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds[:40])) + (" …" if len(seeds) > 40 else "")
