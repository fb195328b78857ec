"""From the statistics of `results.json` to `hpo.report.findings`; what is wrong is a `ReportError` that names its key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from hpo.report.findings import (
    Amendment,
    Anytime,
    ArmPair,
    BudgetEquivalence,
    Crossed,
    Equivalence,
    Findings,
    Images,
    IncumbentBand,
    Measurement,
    Numbers,
    Power,
    Registration,
    Retraining,
    Several,
    Times,
    TimeToTarget,
)
from hpo.report.reading import Node
from hpo.statistics.interval import Interval

T = TypeVar("T")


def maybe(node: Node, key: str, read: Callable[[Node], T]) -> T | None:
    """What stands under a key, read; None when it is absent or null."""
    child = node.optional(key)
    return None if child is None else read(child)


def number(node: Node, key: str) -> Measurement:
    """A number, or None when it is absent or null."""
    return maybe(node, key, Node.number)


def interval(node: Node) -> Interval:
    """An interval; an end that is null is unbounded."""
    low, high = node.at("low").measurement(), node.at("high").measurement()
    if low is not None and high is not None and low > high:
        node.fail("an interval with low <= high")
    return Interval(low, high)


def label(node: Node, labels: Sequence[str]) -> str:
    """The label of one of the study's arms."""
    if node.text() not in labels:
        node.fail(f"one of the arms {', '.join(labels)}")
    return node.text()


def _measurements(node: Node) -> tuple[Measurement, ...]:
    return tuple(child.measurement() for child in node.items())


def _numbers(node: Node) -> tuple[float, ...]:
    return tuple(child.number() for child in node.items())


def numbers(node: Node) -> Numbers:
    """The numbers beside the deciding test."""
    return Numbers(
        sign_flip_interval=maybe(node, "sign_flip_interval", interval),
        bootstrap_t=maybe(node, "bootstrap_t", interval),
        bca=maybe(node, "bca", interval),
        wilcoxon_w=number(node, "wilcoxon_w"),
        wilcoxon_p=number(node, "wilcoxon_p"),
        sign_test_p=number(node, "sign_test_p"),
        above=node.at("above").integer(),
        below=node.at("below").integer(),
        ties=node.at("ties").integer(),
        hodges_lehmann=number(node, "hodges_lehmann"),
        hodges_lehmann_interval=maybe(node, "hodges_lehmann_interval", interval),
        g_z=number(node, "g_z"),
        a12=number(node, "a12"),
        cliffs_delta=number(node, "cliffs_delta"),
        win_share=number(node, "win_share"),
        correlation=number(node, "correlation"),
        unpaired_factor=number(node, "unpaired_factor"),
        equivalence=maybe(node, "equivalence", _equivalence),
    )


def _equivalence(node: Node) -> Equivalence:
    return Equivalence(
        rope=node.at("rope").number(),
        p=number(node, "p"),
        p_lower=number(node, "p_lower"),
        p_upper=number(node, "p_upper"),
        equivalent=node.at("equivalent").flag(),
        within=node.at("within").flag(),
    )


def power(node: Node) -> Power:
    """What the number of seeds can show."""
    return Power(
        smallest_p=number(node, "smallest_p"),
        least_n=maybe(node, "least_n", Node.integer),
        detectable_d_z=number(node, "detectable_d_z"),
    )


def images(node: Node) -> Images:
    """What the correctness of every test example says."""
    floor = node.optional("noise_floor")
    return Images(
        crossed=maybe(node, "crossed", _crossed),
        noise_floor=number(floor, "floor") if floor else None,
    )


def _crossed(node: Node) -> Crossed:
    return Crossed(
        mean=number(node, "mean"),
        seed_interval=maybe(node, "interval_seeds", interval),
        image_interval=maybe(node, "interval_images", interval),
        interval=maybe(node, "interval_crossed", interval),
        truncated=node.at("truncated").flag(),
        df=number(node, "df"),
    )


def incumbent(node: Node, verdict: str) -> IncumbentBand:
    """The band over the budget; all its columns have one length.

    From where on an arm is better or worse stays unsaid unless its verdict says the same.
    """
    budgets = _numbers(node.at("budgets"))
    columns = {name: _measurements(node.at(name)) for name in ("mean", "low", "high", "p")}
    for name, column in columns.items():
        if len(column) != len(budgets):
            node.at(name).fail(f"{len(budgets)} values, as many as budgets")
    return IncumbentBand(
        budgets=budgets,
        **columns,
        better_from=number(node, "better_from") if verdict == "better" else None,
        worse_from=number(node, "worse_from") if verdict == "worse" else None,
        alpha=node.at("alpha").number(),
        family=maybe(node, "family", Node.integer) or 1,
    )


def budget_equivalence(node: Node, labels: Sequence[str]) -> BudgetEquivalence | None:
    """A multiple of random search's budget; None where the pool is too small for an interval with two ends."""
    ratio, found = number(node, "ratio"), maybe(node, "interval", interval)
    if ratio is None or found is None or found.low is None or found.high is None:
        return None
    return BudgetEquivalence(
        pool_arm=label(node.at("pool_arm"), labels),
        arm=label(node.at("arm"), labels),
        ratio=ratio,
        interval=found,
        n=node.at("n").integer(),
        population_size=node.at("population_size").integer(),
    )


def anytime(node: Node) -> Anytime:
    """The e-process; a path and a confidence sequence of one length."""
    path = _numbers(node.at("path"))
    intervals = tuple(None if child.value is None else interval(child) for child in node.at("intervals").items())
    if len(intervals) != len(path):
        node.at("intervals").fail(f"{len(path)} intervals, as many as path")
    if node.at("threshold").number() <= 0:
        node.at("threshold").fail("a number above 0")
    return Anytime(
        n=node.at("n").integer(),
        log_e=node.at("log_e").number(),
        p=number(node, "p"),
        threshold=node.at("threshold").number(),
        alpha=node.at("alpha").number(),
        family=node.at("family").integer(),
        decided_at=maybe(node, "decided_at", Node.integer),
        path=path,
        interval=maybe(node, "interval", interval),
        intervals=intervals,
    )


def registration(node: Node) -> Registration:
    """The plan's hash, and its changes."""
    return Registration(
        sha256=node.at("sha256").text(),
        amendments=tuple(
            Amendment(
                child.at("tests_opened").integer(),
                tuple(change.text() for change in child.at("changes").items()),
            )
            for child in node.at("amendments").items()
        ),
    )


def findings(root: Node, labels: Sequence[str]) -> Findings:
    """What is said of all arms together."""
    return Findings(
        several=maybe(root, "several", lambda node: _several(node, labels)),
        retraining=maybe(root, "retraining", lambda node: _by_arm(node, labels, _retraining)),
        target=maybe(root, "time_to_target", lambda node: _target(node, labels)),
        ranks=maybe(root, "mean_ranks_over_budget", lambda node: _by_arm(node, labels, _measurements)),
    )


def _by_arm(node: Node, labels: Sequence[str], read: Callable[[Node], T]) -> dict[str, T]:
    for name, child in node.fields():
        if name not in labels:
            child.fail(f"a key among the arms {', '.join(labels)}")
    found = {name: maybe(node, name, read) for name in labels}
    return {name: value for name, value in found.items() if value is not None}


def _several(node: Node, labels: Sequence[str]) -> Several:
    named = tuple(label(child, labels) for child in node.at("labels").items())
    ranks = _numbers(node.at("mean_ranks"))
    if len(ranks) != len(named):
        node.at("mean_ranks").fail(f"{len(named)} ranks, as many as labels")
    friedman = node.at("friedman")
    return Several(
        labels=named,
        n=node.at("n").integer(),
        mean_ranks=ranks,
        statistic=number(friedman, "statistic"),
        p=number(friedman, "p"),
        method=friedman.at("method").text(),
        pairs=tuple(_pair(child, labels) for child in node.at("pairs").items()),
    )


def _pair(node: Node, labels: Sequence[str]) -> ArmPair:
    return ArmPair(
        a=label(node.at("a"), labels),
        b=label(node.at("b"), labels),
        mean=number(node, "mean"),
        p_sign_flip=number(node, "p_sign_flip"),
        p_holm=number(node, "p_holm"),
    )


def _retraining(node: Node) -> Retraining:
    return Retraining(
        n=node.at("n").integer(),
        retrains=node.at("retrains").integer(),
        variance_search=number(node, "variance_search"),
        variance_training=number(node, "variance_training"),
        truncated=node.at("truncated").flag(),
        share_search=number(node, "share_search"),
    )


def _target(node: Node, labels: Sequence[str]) -> TimeToTarget:
    return TimeToTarget(
        target=number(node, "target"),
        arms=_by_arm(node.at("arms"), labels, _times),
    )


def _times(node: Node) -> Times:
    times = _measurements(node.at("times"))
    return Times(node.at("reached").integer(), node.at("n").integer(), times, number(node, "median"))
