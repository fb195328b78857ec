"""What stands beside the test that decides: one line per number, with how it is written and what it means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hpo.report.numbers import NONE, Quantity, p_value, percent, plain, signed, test_quantity
from hpo.results.document import ArmComparison, ExampleNumbers, Results
from hpo.statistics import PairedComparison


@dataclass(frozen=True)
class View:
    """How a run's numbers are written."""

    shown: Quantity  # the compared metric on the test set
    alpha: float
    maximize: bool

    def confidence(self, c: ArmComparison) -> str:
        """The level of a comparison's intervals, for example ``97.5%``; that of a confidence sequence is the family's."""
        level = c.level if c.level is not None else self.alpha
        return percent(1 - (c.anytime.alpha / c.anytime.family if c.anytime is not None else level))


def view_of(results: Results) -> View:
    """How this run's numbers are written."""
    shown = test_quantity(results.task.metric(results.metric), results.task)
    maximize = results.comparison.direction == "maximize" if results.comparison else shown.maximize
    return View(shown, results.comparison.alpha if results.comparison else 0.05, maximize)


@dataclass(frozen=True)
class Line:
    """One number of every comparison."""

    label: str
    meaning: str
    cell: Callable[[ArmComparison, View], str]

    def row(self, comparisons: Sequence[ArmComparison], view: View) -> tuple[str, ...]:
        """The line's row of a table."""
        return (self.label, *(self.cell(c, view) for c in comparisons))


def _numbers(tell: Callable[[PairedComparison, View], str]) -> Callable[[ArmComparison, View], str]:
    return lambda c, view: NONE if c.numbers is None else tell(c.numbers, view)


def _images(tell: Callable[[ExampleNumbers, View], str]) -> Callable[[ArmComparison, View], str]:
    return lambda c, view: NONE if c.images is None else tell(c.images, view)


def _rope(n: PairedComparison, view: View) -> str:
    return NONE if n.equivalence is None else view.shown.width(n.equivalence.rope)


def won(c: ArmComparison, view: View) -> str:
    """In how many pairs the arm is better than the baseline, worse, and equal, for example ``8 / 1 / 1``."""
    if c.numbers is None:
        return NONE
    above, below = c.numbers.above, c.numbers.below
    better, worse = (above, below) if view.maximize else (below, above)
    return f"{better} / {worse} / {c.numbers.ties}"


def _crossed(images: ExampleNumbers, view: View) -> str:
    crossed = images.crossed
    mark = " †" if crossed.truncated else ""
    df = "" if crossed.df is None else f" (df {plain(crossed.df)})"
    return view.shown.bounds(crossed.interval_crossed) + df + mark


#: What stands beside the test that decides; everything else is in results.json.
BESIDE = (
    Line(
        "Hodges–Lehmann estimate",
        "Median of all pairwise means of the differences: the typical difference, little moved by one odd seed.",
        _numbers(lambda n, view: view.shown.difference(n.hodges_lehmann, extra=1)),
    ),
    Line(
        "its interval",
        "0 lies outside exactly where the signed-rank test rejects, at the level of the interval above; unbounded where n is too "
        "small. Supposes symmetric differences.",
        _numbers(lambda n, view: view.shown.bounds(n.hodges_lehmann_interval)),
    ),
    Line(
        "effect size d_z", "Mean difference over the standard deviation of the differences.", lambda c, _: signed(c.d_z)
    ),
    Line(
        "interval on new test examples too",
        "Seeds and examples as crossed random effects: how another seed would come out on other examples of the same kind, at "
        "the same level; never narrower than the interval on this test set. † marks a variance that was truncated at 0. df: "
        "Satterthwaite's degrees of freedom.",
        _images(_crossed),
    ),
    Line("ROPE", "Region of practical equivalence: differences inside it count as none.", _numbers(_rope)),
    Line(
        "TOST p",
        "Two one-sided t tests against the ends of the ROPE: the larger p, adjusted for the number of arms. At most alpha: the "
        "difference is smaller than the ROPE.",
        lambda c, _: p_value(c.p_tost_holm),
    ),
)

#: What the main table shows, for the list of meanings.
DECIDING = (
    ("better / worse / tied", "In how many pairs the arm is better than the baseline, worse, and equal."),
    ("mean difference", "Mean over seeds of arm − baseline."),
    (
        "interval",
        "Every difference that the sign-flip test does not reject at the level of Holm's method for this arm, so that 0 lies "
        "outside exactly where the test rejects; unbounded where n is too small. The level of an arm that is better or worse is "
        "that of its own step, the level of all others that of the first step that failed. The intervals do not all hold at "
        "once with that probability.",
    ),
    (
        "sign-flip p",
        "Two-sided: the share of sign patterns with a mean at least as far from 0, exact for counts and up to 20 seeds, else from "
        "100,000 drawn patterns; by Holm's method adjusted for the number of arms that are compared with the baseline.",
    ),
)
DECIDING_ANYTIME = (
    ("pairs", "Those up to the decision; pairs that follow while other arms are open no longer count."),
    (
        "mean difference",
        "Mean over these pairs of arm − baseline. Stopping when decided makes it look larger than it is.",
    ),
    ("e-value", "Evidence against symmetry about 0 after these pairs, from the sign e-process in seed order."),
    ("needed", "The e-value that decides: the number of arms compared, over alpha."),
    ("anytime-valid p", "1 over the largest e-value so far, not adjusted for several arms: valid whenever one stops."),
    (
        "confidence sequence",
        "Every shift that the e-process does not reject after these pairs; valid at every n and for all arms at once.",
    ),
)
