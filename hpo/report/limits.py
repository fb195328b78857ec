"""What the statistics suppose, and what this design cannot say: plain sentences, worked out from the data present."""

from __future__ import annotations

from collections.abc import Iterator

from hpo.report.lines import view_of
from hpo.report.numbers import clean, p_value, plain, printable
from hpo.results.document import Results
from hpo.statistics import Reach


def assumptions(results: Results) -> list[str]:
    """What has to hold for the numbers shown; none while only pairs and means are shown."""
    if not results.comparisons:
        return []
    said = [_pairs(results), *(_anytime(results) if results.anytime else [])]
    if results.in_progress:
        return said if results.anytime else []
    if len(results.finished_seeds) > 1 and not results.anytime:
        said += [*_fixed(results), *_images(results), *_budget(results)]
    return said


def _pairs(results: Results) -> str:
    shared = "the split of the development data, the initial population and the order of the data"
    retrained = f" The {results.retrains} retrains of a search are averaged within it." if results.retrains > 1 else ""
    return (
        "The unit is the seed: one search, retrained and tested. Seeds are independent of each other; within a seed the "
        f"arms share {shared}, which is what makes them pairs.{retrained}"
    )


def _anytime(results: Results) -> Iterator[str]:
    yield (
        "The e-process tests that the differences are symmetric about 0 given those before them, in the order of the "
        "seeds; it does not test their mean alone. Differences with mean 0 that are skewed are rejected more often than "
        "alpha: exponential ones in 8.5% of studies by n = 30, at alpha 0.05."
    )
    if len(results.comparisons) > 1:
        yield f"Alpha is shared equally by {len(results.comparisons)} comparisons (Bonferroni)."


def _fixed(results: Results) -> Iterator[str]:
    yield (
        "The sign-flip test supposes that within a pair the two arms are exchangeable if neither is better: that "
        "their difference is as likely to be d as −d. It supposes no distribution."
    )
    several = len(results.comparisons) > 1
    if several:
        yield (
            f"Where that holds, Holm's method keeps the chance of any false better or worse over the {len(results.comparisons)} "
            "comparisons at alpha, however they depend on each other. Each interval has the level at which its arm was "
            "decided; they do not all hold at once."
        )
    if results.comparison is not None and results.comparison.rope is not None:
        both = "at most twice alpha" if several else "at most alpha: no difference is 0 and as large as the ROPE"
        yield (
            "The equivalence tests are a family of their own: the chance of any false equivalent, or by less than the ROPE, is "
            f"at most alpha too, where differences are normal. The two chances together are {both}."
        )
    if any(c.numbers and c.numbers.hodges_lehmann_interval for c in results.comparisons):
        yield "The interval of the Hodges–Lehmann estimate assumes that differences are symmetric."


def _images(results: Results) -> Iterator[str]:
    if any(c.images for c in results.comparisons):
        yield (
            "The interval on new test examples takes those of the test set as a random sample of the examples that matter, and "
            "seeds and examples as crossed random effects; its degrees of freedom are Satterthwaite's approximation."
        )


def _budget(results: Results) -> Iterator[str]:
    if any(c.incumbent and c.incumbent.budgets for c in results.comparisons):
        yield (
            "The band over the budget flips the sign of a seed's whole curve of differences at once, so the dependence "
            "between budgets is kept. All budgets of all arms share alpha."
        )


def limits(results: Results) -> list[str]:
    """What the numbers are conditional on, and what so many seeds, this data and this plan cannot show."""
    said = list(_conditions(results))
    if not results.comparisons:
        return said
    if not results.in_progress:
        said += [*_of_n(results), *_of_plan(results), *_of_images(results)]
    return [*said, *_of_scope(results)]


def _conditions(results: Results) -> Iterator[str]:
    """What the numbers hold for: always said."""
    yield f"This task ({clean(results.task.name)}), with this search space and this budget."
    if results.task.data:
        yield "This development set: every seed splits the same examples anew."
    if results.task.examples("test") is not None:
        yield (
            "This test set: the interval over seeds says how another seed would come out on the same test examples, "
            "and nothing about new ones. More seeds do not change that."
        )
    if len({arm.stream for arm in results.arms}) > 1:
        yield "The arms have different noise streams: they share initial populations, and not their training noise."


def _of_n(results: Results) -> Iterator[str]:
    """What the number of seeds cannot show."""
    if len(results.finished_seeds) == 1:
        yield "One replicate: nothing can be said about how another seed would come out, and nothing is tested."
        return
    if results.anytime:
        yield (
            "Differences after stopping early are biased away from 0, and no fixed-n interval or p value means what it "
            "says after it: none is shown. The confidence sequence is valid; it is wider."
        )
        return
    said: dict[str, None] = {}
    for c in results.comparisons:
        if c.power is not None:
            said |= dict.fromkeys(_of_power(c.n, c.power))
    yield from said


def _of_power(n: int, power: Reach) -> Iterator[str]:
    if n < power.least_n:
        yield (
            f"A difference: with {n} pairs the smallest p within reach is {p_value(power.smallest_p)} before "
            f"adjustment, and no data could have decided. That takes {power.least_n} pairs or more."
        )
    elif power.detectable_d_z is not None:
        yield (
            f"Small differences: with {n} pairs, effects below |d_z| = {plain(power.detectable_d_z)} are missed in "
            "more than one of five studies, if differences are normal. A difference that was not found may be there."
        )


def _of_plan(results: Results) -> Iterator[str]:
    """What the plan leaves open."""
    plan = results.comparison
    if plan is not None and plan.rope is None:
        yield "Equivalence: the plan states no ROPE, so arms that do not differ significantly are not called equal."
    if results.exploratory:
        yield (
            "A verdict: seeds or arms were added, or the plan was changed, after a test result had been seen. A study "
            "of new seeds under a fixed plan would give one."
        )
    if results.retrains == 1:
        yield (
            "Luck in the search against luck in the retraining: with one retrain per search the spread over seeds "
            "mixes the two (retrains = k separates them)."
        )
    for c in results.comparisons:
        if c.verdict.kind == "not comparable":
            yield f"{clean(c.arm)} against {clean(c.baseline)}: {printable(c.verdict.words)}"


def _of_images(results: Results) -> Iterator[str]:
    """What the test examples leave open."""
    if not results.task.data:
        return
    found = {c.arm: c.images for c in results.comparisons if c.images is not None}
    if not found:
        yield "New test examples: there is no interval over seeds and examples here."
    else:
        largest = max(images.noise_floor.floor for images in found.values())
        floor = view_of(results).shown.difference(largest, extra=1).lstrip("+")
        yield (
            f"Differences of two models near the noise floor of the test set, up to {floor} here: that standard error "
            "comes from the choice of test examples, and only more of them reduce it."
        )
    truncated = [clean(arm) for arm, images in found.items() if images.crossed.truncated]
    if truncated and not results.anytime:
        yield (
            f"A variance over examples or seeds came out below 0 and was truncated at 0 ({', '.join(truncated)}): the "
            "interval on new test examples is then approximate."
        )


def _of_scope(results: Results) -> Iterator[str]:
    yield (
        "Other tasks: one task cannot say how often an arm wins elsewhere. python -m hpo.compare joins the studies of "
        "several tasks."
    )
    yield "Wall-clock time: budgets are counted in intervals of training, the same on every machine."


def conditional(results: Results) -> str:
    """What a verdict is conditional on, as one sentence."""
    parts = [f"this task ({clean(results.task.name)})"]
    if results.task.data:
        parts.append("this development set")
    if results.task.examples("test") is not None:
        parts.append("this test set")
    listed = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"Conditional on {listed}."
