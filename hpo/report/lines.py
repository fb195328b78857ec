"""What stands beside the test that decides: one line per number, with how it is written and what it means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hpo.report.numbers import NONE, Quantity, p_value, percent, plain, signed, test_quantity
from hpo.results.document import ArmComparison, ExampleNumbers, Results
from hpo.statistics import PairedComparison, Reach


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
    """One number of every comparison.

    `fixed` marks what supposes a number of pairs fixed in advance: it is not shown where the data decide when to stop.
    `optional` lines are left out where no comparison has them.
    """

    label: str
    meaning: str
    cell: Callable[[ArmComparison, View], str]
    fixed: bool = False
    optional: bool = False

    def row(self, comparisons: Sequence[ArmComparison], view: View) -> tuple[str, ...]:
        """The line's row of a table."""
        return (self.label, *(self.cell(c, view) for c in comparisons))


def _numbers(tell: Callable[[PairedComparison, View], str]) -> Callable[[ArmComparison, View], str]:
    return lambda c, view: NONE if c.numbers is None else tell(c.numbers, view)


def _power(tell: Callable[[Reach], str]) -> Callable[[ArmComparison, View], str]:
    return lambda c, view: NONE if c.power is None else tell(c.power)


def _images(tell: Callable[[ExampleNumbers, View], str]) -> Callable[[ArmComparison, View], str]:
    return lambda c, view: NONE if c.images is None else tell(c.images, view)


def _count(value: int | None, none: str = NONE) -> str:
    return none if value is None else f"{value:,}"


def _won(n: PairedComparison, view: View) -> str:
    won, lost = (n.above, n.below) if view.maximize else (n.below, n.above)
    return f"{won} / {lost} / {n.ties}"


def _wilcoxon(n: PairedComparison) -> str:
    return NONE if n.wilcoxon_p is None else f"{p_value(n.wilcoxon_p)} (W = {plain(n.wilcoxon_w, 6)})"


def _factor(value: float | None) -> str:
    return NONE if value is None else f"{plain(value)} ×"


def _rope(n: PairedComparison, view: View) -> str:
    return NONE if n.equivalence is None else view.shown.width(n.equivalence.rope)


def _tost(n: PairedComparison) -> str:
    e = n.equivalence
    return NONE if e is None else f"{p_value(e.p)} (lower {p_value(e.p_lower)}, upper {p_value(e.p_upper)})"


def _equivalent(c: ArmComparison, view: View) -> str:
    if c.p_tost_holm is None or c.numbers is None or c.numbers.equivalence is None:
        return NONE
    if c.p_tost_holm <= view.alpha:
        return "equivalent"
    return "not shown" if c.numbers.equivalence.within else "not shown, mean outside"


INTERVALS = (
    Line(
        "level of the intervals",
        "By Holm's method: 1 minus the level of its own step for an arm that is better or worse, 1 minus that of the first step "
        "that failed for all others. The intervals do not all hold at once with that probability.",
        lambda c, view: view.confidence(c),
        fixed=True,
    ),
    Line(
        "variance of the differences",
        "Sample variance of the paired differences, divisor n − 1.",
        lambda c, view: view.shown.variance(c.variance),
    ),
    Line(
        "t interval",
        "Mean ± t·s/√n. Supposes normal differences; close to its level from a few pairs on.",
        lambda c, view: view.shown.interval(c.ci_low, c.ci_high),
        fixed=True,
    ),
    Line(
        "bootstrap-t interval",
        "Studentised bootstrap over seeds: no normality supposed, and covers what it says at small n, "
        "where percentile and BCa intervals do not.",
        _numbers(lambda n, view: view.shown.bounds(n.bootstrap_t)),
        fixed=True,
    ),
    Line(
        "BCa interval",
        "Bias-corrected and accelerated bootstrap; shown from 30 seeds on only, below which it is too short.",
        _numbers(lambda n, view: view.shown.bounds(n.bca)),
        fixed=True,
        optional=True,
    ),
    Line(
        "Hodges–Lehmann estimate",
        "Median of all pairwise means of the differences: the typical difference, little moved by one odd seed.",
        _numbers(lambda n, view: view.shown.difference(n.hodges_lehmann, extra=1)),
    ),
    Line(
        "its interval",
        "Of the Hodges–Lehmann estimate: 0 lies outside exactly where the signed-rank test rejects; unbounded if n is too small.",
        _numbers(lambda n, view: view.shown.bounds(n.hodges_lehmann_interval)),
        fixed=True,
    ),
)
TESTS = (
    Line("paired t test, p", "The mean difference over its standard error.", lambda c, _: p_value(c.p_t), fixed=True),
    Line(
        "Wilcoxon signed-rank, p",
        "Exact, on the ranks of |difference|, zeros left out; W is the smaller rank sum.",
        _numbers(lambda n, _: _wilcoxon(n)),
        fixed=True,
    ),
    Line(
        "sign test, p",
        "Exact binomial on how many pairs are won, ties left out.",
        _numbers(lambda n, _: p_value(n.sign_test_p)),
        fixed=True,
    ),
)
EFFECTS = (
    Line("d_z", "Mean difference over the standard deviation of the differences.", lambda c, _: signed(c.d_z)),
    Line("Hedges' g_z", "d_z without its small-sample bias.", _numbers(lambda n, _: signed(n.g_z))),
    Line(
        "pairs better / worse / tied",
        "In how many pairs the arm is better than the baseline, worse, and equal.",
        _numbers(_won),
    ),
    Line(
        "share of pairs with a higher value",
        "Paired; ties count half. For a metric where lower is better, a small share is good.",
        _numbers(lambda n, _: plain(n.win_share)),
    ),
    Line(
        "A12 (unpaired)",
        "Chance that a value of the arm is higher than one of the baseline, over all n × n cross pairs, ties half: "
        "it ignores the pairing.",
        _numbers(lambda n, _: plain(n.a12)),
    ),
    Line(
        "Cliff's delta (unpaired)",
        "2·A12 − 1: −1 where every value is lower, +1 where every value is higher.",
        _numbers(lambda n, _: signed(n.cliffs_delta)),
    ),
)
PAIRING = (
    Line(
        "correlation of the pairs",
        "Between the arm and the baseline over seeds: what they share is what pairing removes.",
        _numbers(lambda n, _: signed(n.correlation)),
    ),
    Line(
        "seeds an unpaired design needs",
        "How many times as many seeds would give the same standard error without pairing.",
        _numbers(lambda n, _: _factor(n.unpaired_factor)),
    ),
)
EQUIVALENCE = (
    Line("ROPE", "Region of practical equivalence: differences inside it count as none.", _numbers(_rope)),
    Line(
        "TOST, p",
        "Two one-sided t tests against the ends of the ROPE; the larger p counts.",
        _numbers(lambda n, _: _tost(n)),
        fixed=True,
    ),
    Line("TOST, Holm-adjusted p", "Adjusted for the number of arms.", lambda c, _: p_value(c.p_tost_holm), fixed=True),
    Line("equivalence", "Whether that p is at most alpha.", _equivalent, fixed=True),
)
POWER = (
    Line(
        "smallest p within reach",
        "2/2ⁿ: the two-sided sign-flip p when all pairs point one way.",
        _power(lambda p: p_value(p.smallest_p)),
        fixed=True,
    ),
    Line(
        "least seeds that can decide",
        "Below so many, no data reach alpha after adjustment for the number of arms.",
        _power(lambda p: _count(p.least_n)),
        fixed=True,
    ),
    Line(
        "detectable |d_z|, 80% power",
        "An effect of this size is found in four of five studies like this one.",
        _power(lambda p: plain(p.detectable_d_z)),
        fixed=True,
    ),
)
#: The table beside the one that decides, by groups.
BESIDE = (
    ("Estimates and intervals", INTERVALS),
    ("Tests", TESTS),
    ("Effect size", EFFECTS),
    ("What pairing gains", PAIRING),
    ("Equivalence", EQUIVALENCE),
    ("Reach", POWER),
)


def _crossed(images: ExampleNumbers, view: View) -> str:
    crossed = images.crossed
    mark = " †" if crossed.truncated else ""
    df = "" if crossed.df is None else f" (df {plain(crossed.df)})"
    return view.shown.bounds(crossed.interval_crossed) + df + mark


IMAGES = (
    Line(
        "mean difference",
        "Arm − baseline over seeds and test examples, from the correctness of every example.",
        _images(lambda i, view: view.shown.difference(i.crossed.mean, extra=1)),
    ),
    Line(
        "interval on this test set",
        "Over seeds alone: how another seed would come out on the same examples.",
        _images(lambda i, view: view.shown.bounds(i.crossed.interval_seeds)),
        fixed=True,
    ),
    Line(
        "interval on new images, these models",
        "Over test examples alone: how these very models would come out on other examples of the same kind.",
        _images(lambda i, view: view.shown.bounds(i.crossed.interval_images)),
        fixed=True,
    ),
    Line(
        "interval on new images too",
        "Seeds and examples as crossed random effects: how another seed would come out on other examples of the same "
        "kind; never narrower than the two above. † marks a variance that was truncated at 0. df: Satterthwaite's "
        "degrees of freedom.",
        _images(_crossed),
        fixed=True,
    ),
    Line(
        "test-set noise floor",
        "Standard error of the difference of one pair of models that comes from the choice of test examples alone: "
        "more seeds do not reduce it.",
        _images(lambda i, view: view.shown.difference(i.noise_floor.floor, extra=1).lstrip("+")),
    ),
)
#: Where the difference comes from, by groups.
SOURCES = (("Seeds and test images", IMAGES),)

#: What the main table shows, for the list of meanings.
DECIDING = (
    ("mean difference", "Mean over seeds of arm − baseline."),
    (
        "sign-flip p",
        "Two-sided: the share of sign patterns with a mean at least as far from 0. Exact for counts and up to 20 seeds; else "
        "from 100,000 drawn patterns.",
    ),
    ("Holm-adjusted p", "The same, adjusted for the number of arms compared with the baseline."),
    (
        "sign-flip interval",
        "Every difference that the sign-flip test does not reject at the level of Holm's method for this arm, so that 0 lies "
        "outside exactly where the test rejects; unbounded where n is too small.",
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
