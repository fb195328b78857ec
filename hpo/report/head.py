"""The head of the report: what was planned and registered, the verdicts, and what to know before believing them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import get_args

from hpo.core.amounts import amount
from hpo.core.parameters import Categorical, Parameter
from hpo.report.comparison import e_value
from hpo.report.data import RunData
from hpo.report.numbers import NARROW, clean, listed, printable, quantity, significant, test_quantity
from hpo.report.page import VerdictText
from hpo.report.phrases import say
from hpo.results.document import ArmComparison, ArmSettings, Results
from hpo.results.pairs import unlike
from hpo.statistics import Departure, VerdictKind


def state(results: Results) -> str:
    """How far the study is."""
    return say("state", results=results, finished=len(results.finished_seeds), planned=len(results.planned_seeds))


def facts(results: Results) -> tuple[tuple[str, str], ...]:
    """The list under the title."""
    task, unit = results.task, clean(results.task.unit)
    metric = task.metric(results.metric)
    direction = results.comparison.direction if results.comparison else metric.direction
    better = "higher is better" if direction == "maximize" else "lower is better"
    most = "at most " if results.anytime else ""
    budget = f"{amount(results.intervals * results.interval, unit, NARROW)} per member in intervals of"
    facts = [
        ("Task", clean(task.name)),
        ("Metric", say("metric", results=results, better=better)),
        ("Chosen by", say("chosen_by", results=results)),
        *_plan(results),
        ("Finished", f"{len(results.finished_seeds)} of {most}{len(results.planned_seeds)}"),
        ("Budget", f"{results.population_size} members, {budget} {amount(results.interval, unit, NARROW)}")
        if not results.is_function
        else ("Budget", amount(results.population_size, unit, NARROW)),
    ]
    facts.append(("Search space", listed([_range(clean(name), each) for name, each in task.space.items()], 20)))
    if results.retrains > 1:
        facts.append(("Retrains", f"{results.retrains} of each answer, averaged within the replicate"))
    if task.data:
        facts.append(("Examples", ", ".join(f"{clean(name)} {count:,}" for name, count in task.data.items())))
    return tuple(facts)


def _range(name: str, parameter: Parameter) -> str:
    """A hyperparameter and its values."""
    if isinstance(parameter, Categorical):
        return f"{name} {{{listed([clean(str(choice)) for choice in parameter.choices])}}}"
    return f"{name} {significant(parameter.low, 4)} to {significant(parameter.high, 4)}{' (log)' * parameter.log}"


def _plan(results: Results) -> list[tuple[str, str]]:
    """What was to be decided, and how."""
    plan = results.comparison
    seeds = ("Planned seeds", _seed_list(results.planned_seeds))
    if plan is None:
        return [seeds]
    shown = test_quantity(results.task.metric(plan.metric), results.task)
    said = [
        ("Baseline", clean(plan.baseline)),
        ("Alpha", f"{significant(plan.alpha, 3)}, two-sided"),
        ("ROPE", say("rope", width=None if plan.rope is None else shown.width(plan.rope))),
        seeds,
        ("Stopping", say("stopping", plan=plan, planned=len(results.planned_seeds))),
    ]
    if plan.target is not None:
        primary = quantity(
            results.task.metric(results.task.primary), results.task, count=results.task.examples("validation")
        )
        said.append(("Target", f"validation {primary.name} {primary.text(plan.target)}"))
    return [*said, ("Registered", say("registered", found=results.registration))]


def _seed_list(seeds: Sequence[int]) -> str:
    if len(seeds) > 3 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds[:40])) + (" …" if len(seeds) > 40 else "")


def verdicts(results: Results) -> tuple[str, tuple[VerdictText, ...], str]:
    """What comes before the verdicts, the verdicts, and what they are conditional on; all empty if nothing is compared."""
    finished, planned = len(results.finished_seeds), len(results.planned_seeds)
    if results.comparison is None:
        return "", (), ""
    if not results.comparisons or (results.in_progress and not results.anytime):
        words = say("no_verdict_yet", finished=finished, planned=planned)
        return "", (VerdictText("No verdict yet", "in-progress", (words,)),), ""
    kinds = Counter(c.verdict.kind for c in results.comparisons)
    ordered = {kind: kinds[kind] for kind in get_args(VerdictKind) if kind in kinds}
    lead = say("lead", kinds=ordered) if len(results.comparisons) > 4 else ""
    return lead, tuple(_verdict(results, c) for c in results.comparisons), say("conditional", results=results)


def _verdict(results: Results, c: ArmComparison) -> VerdictText:
    """A verdict that begins with the winner, if there is one, and the numbers behind it as the tables spell them."""
    rule, shown, kind = (
        results.comparison,
        test_quantity(results.task.metric(results.metric), results.task),
        c.verdict.kind,
    )
    assert rule is not None
    first, second = (c.baseline, c.arm) if kind == "worse" else (c.arm, c.baseline)
    mean = c.mean if c.anytime is None else c.anytime.mean
    within = rule.rope is not None and c.p_tost_holm is not None and c.p_tost_holm <= rule.alpha
    title = say(
        "verdict",
        kind=kind,
        first=clean(first),
        second=clean(second),
        what=("test " if results.tested else results.validated) + shown.name,
        size="" if mean is None else shown.difference(abs(mean), extra=1).lstrip("+"),
        lower=rule.direction == "minimize",
        rate=shown.unit == "%",
        within=within,
        rope="" if rule.rope is None else shown.width(rule.rope).removeprefix("± "),
        progress=state(results),
    )
    words: tuple[str, ...] = (printable(c.verdict.words),)
    if kind not in ("cannot show a difference", "not comparable") and (c.numbers or c.anytime):
        why = results.registration.exploratory if results.registration else None
        numbers = say(
            "evidence",
            kind=kind,
            c=c,
            rule=rule,
            family=len(results.comparisons),
            difference=shown.difference(mean, extra=1),
            e="" if c.anytime is None else e_value(c.anytime.log_e),
            within=within,
            why=printable(why.why) if why and c.exploratory else "",
        )
        words = (numbers, *(doubts(c.numbers.departures) if c.numbers else ()))
    return VerdictText(title, kind.replace(" ", "-"), words)


def doubts(found: Sequence[Departure], where: str = "") -> tuple[str, ...]:
    """What the differences say against the assumptions of the test that decides.

    Args:
        found: what the differences show.
        where: which differences these are, for example ``on digits``; by default all.
    """
    return tuple(say("doubt", found=departure, where=where) for departure in found)


def cautions(run: RunData) -> tuple[str, ...]:
    """Every warning of a run, in a fixed order."""
    results = run.results
    return say.items(
        "cautions",
        results=results,
        unlike=tuple(unlike(results, results.labels)),
        searches={arm.label for arm in results.arms if arm.derived_from is None},
        idle=[arm.label for arm in results.arms if _never_exploits(results, arm)],
        contradicted=tuple(_contradicted(results)),
        has_segments=run.table is not None,
    )


def _never_exploits(results: Results, arm: ArmSettings) -> bool:
    selection = arm.options.get("selection")
    name = selection.get("name") if isinstance(selection, Mapping) else selection
    exploits = [replicate.arms[arm.label].exploits for replicate in results.replicates]
    selects = arm.optimizer == "pbt" and arm.derived_from is None and name != "none"
    return selects and bool(exploits) and not any(exploits)


def _contradicted(results: Results) -> Iterator[str]:
    """Yield the arms whose differences are not those of their test values, ties settled."""
    for c in (found for found in results.comparisons if found.n):
        tests = [
            [replicate.arms[label].test[c.metric] for label in (c.baseline, c.arm)] for replicate in results.replicates
        ]
        pairs = [(a, b) for a, b in tests if a is not None and b is not None]
        slack = 1e-8 * max((abs(value) for pair in pairs for value in pair), default=0.0)
        if len(c.differences) != len(pairs) or any(
            abs(difference - (b - a)) > slack for difference, (a, b) in zip(c.differences, pairs, strict=True)
        ):
            yield c.arm
