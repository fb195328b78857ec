"""What a reader must be told before believing the numbers: plain sentences, none when there is nothing to say."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from hpo.report.numbers import clean
from hpo.report.records import Arm, Results, Run


def cautions(run: Run) -> list[str]:
    """Every warning of a run, in a fixed order."""
    results = run.results
    return [
        *_selection_rules(results),
        *_budgets(results),
        *_missing(results),
        *_divergence(results),
        *_no_exploits(results),
        *_test_openings(results),
        *_differences(results),
        *_files(run),
    ]


def _selection_rules(results: Results) -> Iterator[str]:
    rules = {arm.label: str(arm.options.get("select", "final")) for arm in results.arms}
    if len(set(rules.values())) > 1:
        told = ", ".join(f"{clean(label)}: {clean(rule)}" for label, rule in rules.items())
        yield f"The arms choose their answer by different rules (select = {told}); a difference may come from that."


def _budgets(results: Results) -> Iterator[str]:
    """Unspent is less than one member's budget by design; a difference of one member's budget or more is not."""
    for replicate in results.replicates:
        charged = {
            label: o.ledger["charged_intervals"]
            for label, o in replicate.arms.items()
            if "charged_intervals" in o.ledger
        }
        if charged and max(charged.values()) - min(charged.values()) >= results.intervals:
            told = ", ".join(f"{clean(label)} {count}" for label, count in charged.items())
            yield f"The arms of seed {replicate.seed} were charged different budgets, in intervals: {told}."


def _missing(results: Results) -> Iterator[str]:
    for replicate in results.replicates:
        absent = [clean(arm.label) for arm in results.arms if arm.label not in replicate.arms]
        if absent:
            yield f"Seed {replicate.seed} has no result of {', '.join(absent)}: its pairs with them are not counted."


def _divergence(results: Results) -> Iterator[str]:
    for replicate in results.replicates:
        for label, outcome in replicate.arms.items():
            if outcome.test_diverged:
                yield (
                    f"The retrained winner of {clean(label)}, seed {replicate.seed}, diverged: its non-finite outputs "
                    "on the test set count as wrong, and the pair is kept."
                )
            if times := outcome.ledger.get("all_diverged", 0):
                yield f"All members of {clean(label)}, seed {replicate.seed}, had diverged at {times} exploit step(s)."


def _no_exploits(results: Results) -> Iterator[str]:
    for arm in results.arms:
        outcomes = [r.arms[arm.label].ledger for r in results.replicates if arm.label in r.arms]
        counted = [ledger["exploits"] for ledger in outcomes if "exploits" in ledger]
        if arm.optimizer == "pbt" and arm.derived_from is None and _selects(arm) and counted and not any(counted):
            yield f"The arm {clean(arm.label)} is PBT and never exploited: at most random search with perturbation."


def _selects(arm: Arm) -> bool:
    selection = arm.options.get("selection")
    name = selection.get("name") if isinstance(selection, Mapping) else selection
    return name != "none"


def _test_openings(results: Results) -> Iterator[str]:
    for replicate in results.replicates:
        for label, outcome in replicate.arms.items():
            times, due = outcome.ledger.get("test_openings", 1), max(outcome.ledger.get("retrains", 1), 1)
            if times > due:
                planned = "once" if due == 1 else f"{due} times"
                yield f"The test set was opened {times} times, not {planned}, for {clean(label)}, seed {replicate.seed}."


def _differences(results: Results) -> Iterator[str]:
    """The listed differences must be those of the test values beside them."""
    for comparison in results.comparisons:
        recomputed = []
        for replicate in results.replicates:
            if comparison.arm in replicate.arms and comparison.baseline in replicate.arms:
                a = replicate.arms[comparison.baseline].test.get(comparison.metric)
                b = replicate.arms[comparison.arm].test.get(comparison.metric)
                if a is not None and b is not None:
                    recomputed.append(b - a)
        listed = [d for d in comparison.differences if d is not None]
        agree = len(listed) == len(recomputed) and all(
            math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
            for a, b in zip(sorted(listed), sorted(recomputed), strict=True)
        )
        if not agree:
            yield (
                f"results.json contradicts itself: the differences listed for {clean(comparison.arm)} are not those of "
                "its test values. It was edited, or written by another program."
            )


def _files(run: Run) -> Iterator[str]:
    if not run.has_segments and run.results.replicates:
        yield "segments.csv is missing: the figures of every member are left out."
