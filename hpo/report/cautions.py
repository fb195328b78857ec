"""What a reader must be told before believing the numbers: plain sentences, none when there is nothing to say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hpo.report.numbers import clean, printable
from hpo.report.records import Run
from hpo.results.document import ArmSettings, Results
from hpo.results.pairs import unlike


def cautions(run: Run) -> list[str]:
    """Every warning of a run, in a fixed order."""
    results = run.results
    return [
        *_unlike(results),
        *_divergence(results),
        *_no_exploits(results),
        *_test_openings(results),
        *_differences(results),
        *_files(run),
    ]


def _unlike(results: Results) -> Iterator[str]:
    for reason in unlike(results, results.labels):
        yield f"Not all arms can be compared with each other: {printable(reason)}."


def _divergence(results: Results) -> Iterator[str]:
    searches = {arm.label for arm in results.arms if arm.derived_from is None}
    for replicate in results.replicates:
        for label, arm in replicate.arms.items():
            if label in searches and arm.validation.get(results.task.primary) is None:
                yield f"The search of {clean(label)}, seed {replicate.seed}, has no answer: what it chose had diverged."
            if arm.test_diverged:
                yield (
                    f"The retrained winner of {clean(label)}, seed {replicate.seed}, diverged: its non-finite outputs "
                    "on the test set count as wrong, and the pair is kept."
                )
            if times := arm.all_diverged:
                yield f"All members of {clean(label)}, seed {replicate.seed}, had diverged at {times} exploit step(s)."


def _no_exploits(results: Results) -> Iterator[str]:
    for arm in results.arms:
        exploits = [replicate.arms[arm.label].exploits for replicate in results.replicates]
        if arm.optimizer == "pbt" and arm.derived_from is None and _selects(arm) and exploits and not any(exploits):
            yield f"The arm {clean(arm.label)} is PBT and never exploited: with these settings it only perturbs."


def _selects(arm: ArmSettings) -> bool:
    selection = arm.options.get("selection")
    name = selection.get("name") if isinstance(selection, Mapping) else selection
    return name != "none"


def _test_openings(results: Results) -> Iterator[str]:
    for replicate in results.replicates:
        for label, arm in replicate.arms.items():
            times, due = arm.test_openings, max(arm.retrains, 1)
            if times > due:
                planned = "once" if due == 1 else f"{due} times"
                yield f"The test set was opened {times} times, not {planned}, for {clean(label)}, seed {replicate.seed}."


def _differences(results: Results) -> Iterator[str]:
    """The listed differences must be those of the test values beside them, ties settled."""
    for comparison in (found for found in results.comparisons if found.n):
        sides = (comparison.baseline, comparison.arm)
        tests = [[replicate.arms[label].test[comparison.metric] for label in sides] for replicate in results.replicates]
        pairs = [(a, b) for a, b in tests if a is not None and b is not None]
        slack = 1e-8 * max((abs(value) for pair in pairs for value in pair), default=0.0)
        agree = len(comparison.differences) == len(pairs) and all(
            abs(listed - (b - a)) <= slack for listed, (a, b) in zip(comparison.differences, pairs, strict=True)
        )
        if not agree:
            yield (
                f"results.json contradicts itself: the differences listed for {clean(comparison.arm)} are not those of "
                "its test values. It was edited, or written by another program."
            )


def _files(run: Run) -> Iterator[str]:
    if not run.has_segments and run.results.replicates:
        yield "segments.csv is missing: the figures of every member are left out."
