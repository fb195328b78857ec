"""What a study's numbers say of its arms: from the plain records of results.json to its comparisons.

Everything here is computed from results.json alone, so that anyone can compute it again.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo.statistics import (
    AnytimeResult,
    PairedComparison,
    Verdict,
    anytime_test,
    budget_equivalence,
    compare_many,
    compare_paired,
    crossed_interval,
    decide,
    decide_anytime,
    log_sign_e_process,
    max_t_band,
    mcnemar_test,
    mean_ranks,
    nested_variance,
    noise_floor,
    plan,
    time_to_target,
)

Floats = NDArray[np.float64]
_SETTLED = ("in progress", "not comparable")
_FLAT = ("variance", "p_sign_flip", "ci_low", "ci_high", "p_t", "d_z")
_NUMBERS = (
    "sign_flip_interval",
    "bootstrap_t",
    "bca",
    "wilcoxon_w",
    "wilcoxon_p",
    "sign_test_p",
    "above",
    "below",
    "ties",
    "hodges_lehmann",
    "hodges_lehmann_interval",
    "g_z",
    "a12",
    "cliffs_delta",
    "win_share",
    "correlation",
    "unpaired_factor",
    "equivalence",
)


def compared(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the statistical part of results.json.

    Args:
        document: all else that results.json holds.

    Returns:
        The entries `comparisons`, `several`, `winners_curse`, `retraining`, `time_to_target` and `mean_ranks_over_budget`.
    """
    out: dict[str, Any] = {
        "comparisons": [],
        "several": None,
        "winners_curse": None,
        "retraining": None,
        "time_to_target": None,
        "mean_ranks_over_budget": None,
    }
    if document["comparison"] is None or not document["replicates"]:
        return out
    study = Compared.of(document)
    out["comparisons"] = study.comparisons()
    if any(item["verdict"]["kind"] == "in progress" for item in out["comparisons"]):
        return out
    return out | {
        "several": study.several(),
        "winners_curse": {label: study.winners_curse(label) for label in study.labels},
        "retraining": {label: study.retraining(label) for label in study.labels},
        "time_to_target": study.time_to_target(),
        "mean_ranks_over_budget": study.mean_ranks(),
    }


def decided_after(document: Mapping[str, Any]) -> int | None:
    """Return after how many replicates an anytime-valid comparison is decided; None: not yet.

    Args:
        document: what results.json would hold with the replicates finished so far, in the order of their seeds.
    """
    if not document["replicates"]:
        return None
    study = Compared.of(document)
    reasons = study.not_comparable()
    decided = [study.decided_at(label) for label in study.others if label not in reasons]
    known = [at for at in decided if at is not None]
    return max(known) if known and len(known) == len(decided) else None


@dataclass(frozen=True)
class Compared:
    """A study's arms, side by side.

    Args:
        document: see `compared`.
        replicates: its replicates, in the order of their seeds.
        labels: of all arms.
        baseline: the label of the one that the others are compared with.
        metric: what is compared, as the task declares it.
        primary: the metric that the searches see.
    """

    document: Mapping[str, Any]
    replicates: Sequence[Mapping[str, Any]]
    labels: tuple[str, ...]
    baseline: str
    metric: Mapping[str, Any]
    primary: Mapping[str, Any]
    _pairs: dict[str, PairedComparison | None] = field(default_factory=dict, repr=False, compare=False)

    @staticmethod
    def of(document: Mapping[str, Any]) -> "Compared":
        """Return the arms of a study that has a comparison."""
        metrics = {metric["name"]: metric for metric in document["task"]["metrics"]}
        return Compared(
            document=document,
            replicates=document["replicates"],
            labels=tuple(arm["label"] for arm in document["arms"]),
            baseline=document["comparison"]["baseline"],
            metric=metrics[document["comparison"]["metric"]],
            primary=metrics[document["task"]["primary"]],
        )

    @property
    def others(self) -> tuple[str, ...]:
        """All arms but the baseline."""
        return tuple(label for label in self.labels if label != self.baseline)

    @property
    def _alpha(self) -> float:
        return float(self.document["comparison"]["alpha"])

    @property
    def _is_anytime(self) -> bool:
        return bool(self.document["comparison"]["stopping"] == "anytime")

    @property
    def _budget(self) -> int:
        """Intervals from one point of the incumbent curves to the next: one for each member of the population."""
        return int(self.document["study"]["study"]["population_size"])

    # --- verdicts ----------------------------------------------------------------------------------------------------

    def comparisons(self) -> list[dict[str, Any]]:
        """Return every arm against the baseline, paired by replicate."""
        pairs = {label: self._paired(label) for label in self.others}
        tests = {label: self.anytime(label) for label in self.others} if self._is_anytime else {}
        verdicts = self._anytime_verdicts(tests) if self._is_anytime else self._verdicts(pairs)
        return [self._comparison(label, pairs[label], tests.get(label), verdicts[label]) for label in self.others]

    def _comparison(
        self, label: str, pairs: PairedComparison | None, test: AnytimeResult | None, verdict: Verdict
    ) -> dict[str, Any]:
        """Return one entry of `comparisons`; pairs and means only where nothing is decided.

        While the study is in progress nobody peeks by accident; what is not comparable has no p that means something. A
        test with a fixed number of pairs has no place beside one that stops when it is decided.
        """
        shown = verdict.kind not in _SETTLED and pairs is not None
        fixed = shown and not self._is_anytime
        return {
            "baseline": self.baseline,
            "arm": label,
            "metric": self.metric["name"],
            "n": 0 if pairs is None else pairs.n,
            "differences": [] if pairs is None else list(pairs.differences),
            "mean": None if pairs is None else pairs.mean,
            **{name: getattr(pairs, name) if fixed else None for name in _FLAT},
            "p_holm": verdict.p_holm if fixed else None,
            "p_tost_holm": verdict.p_tost_holm if fixed else None,
            "numbers": self._numbers(pairs) if fixed and pairs is not None else None,
            "power": self._power(pairs) if fixed and pairs is not None else None,
            "images": self._images(label) if shown and not self._is_anytime else None,
            "incumbent": self._incumbent(label) if fixed else None,
            "budget_equivalence": self._budget_equivalence(label) if shown else None,
            "anytime": None if test is None or verdict.kind == "not comparable" else asdict(test),
            "verdict": {"kind": verdict.kind, "words": verdict.words},
        }

    def _verdicts(self, pairs: Mapping[str, PairedComparison | None]) -> dict[str, Verdict]:
        rule = self.document["comparison"]
        registration = self.document["registration"] or {}
        looked = registration.get("exploratory")
        return decide(
            list(pairs.items()),
            baseline=self.baseline,
            metric=self.metric["name"],
            direction=self.metric["direction"],
            alpha=self._alpha,
            planned=len(self.document["planned_seeds"]),
            not_comparable=self.not_comparable(),
            rope=rule["rope"],
            looked=None if looked is None else (looked["kind"], looked["why"]),
        )

    def _anytime_verdicts(self, tests: Mapping[str, AnytimeResult | None]) -> dict[str, Verdict]:
        return decide_anytime(
            list(tests.items()),
            baseline=self.baseline,
            metric=self.metric["name"],
            direction=self.metric["direction"],
            alpha=self._alpha,
            rope=self.document["comparison"]["rope"],
            max_replicates=len(self.document["planned_seeds"]),
            not_comparable=self.not_comparable(),
        )

    def not_comparable(self) -> dict[str, str]:
        """Return why arms cannot be compared with the baseline, by label.

        Budgets may differ by less than one member's: what is left over.
        """
        rules = {arm["label"]: arm["options"].get("select", "final") for arm in self.document["arms"]}
        reasons = {}
        for label in self.others:
            if rules[self.baseline] != rules[label]:
                reasons[label] = (
                    f"their answers were selected by other rules, {rules[self.baseline]!r} and {rules[label]!r}"
                )
            for replicate in self.replicates:
                ours, theirs = (replicate["arms"][name]["charged_intervals"] for name in (self.baseline, label))
                if abs(ours - theirs) >= self.document["intervals"]:
                    reasons[label] = (
                        f"their budgets differ: {ours} and {theirs} intervals were charged with seed {replicate['seed']}"
                    )
                    break
            if self._paired(label) is None:
                reasons[label] = f"a test {self.metric['name']} is undefined, because a retrained model diverged"
        return reasons

    def _tests(self, label: str) -> list[Mapping[str, Any]]:
        return [replicate["arms"][label]["test"] for replicate in self.replicates]

    def _paired(self, label: str) -> PairedComparison | None:
        """Return the comparison of the pairs; None where a value is missing."""
        if label not in self._pairs:
            self._pairs[label] = self._compare(label)
        return self._pairs[label]

    def _compare(self, label: str) -> PairedComparison | None:
        name, counts_name = self.metric["name"], self.metric["counts"]
        sides = [self._tests(self.baseline), self._tests(label)]
        a, b = ([test[name] for test in side] for side in sides)
        if None in a or None in b:
            return None
        counts = None
        totals = {test.get("count") for side in sides for test in side}
        if counts_name is not None and len(totals) == 1 and None not in totals:
            # Rates of one number of examples: the exact test is on the integers, where ties are exact.
            first, second = ([test[counts_name] for test in side] for side in sides)
            counts = (first, second)
        rope = self.document["comparison"]["rope"]
        return compare_paired(a, b, alpha=self._alpha, counts=counts, rope=rope)

    def anytime(self, label: str) -> AnytimeResult | None:
        """Return the anytime-valid test of an arm against the baseline; None where a value is missing."""
        pairs = self._paired(label)
        if pairs is None:
            return None
        return anytime_test(pairs.differences, alpha=self._alpha, family=len(self.others))

    def decided_at(self, label: str) -> int | None:
        """Return after how many pairs that test decides, without the confidence sequence, which takes the time."""
        pairs = self._paired(label)
        if pairs is None:
            return None
        threshold = math.log(len(self.others) / self._alpha)
        path = log_sign_e_process(pairs.differences)
        return next((n for n, log_e in enumerate(path, start=1) if log_e >= threshold), None)

    @staticmethod
    def _numbers(pairs: PairedComparison) -> dict[str, Any]:
        found = asdict(pairs)
        return {name: found[name] for name in _NUMBERS}

    def _power(self, pairs: PairedComparison) -> dict[str, Any]:
        found = plan(n=pairs.n, d_z=pairs.d_z, alpha=self._alpha, family=len(self.others))
        return asdict(found)

    # --- where the difference comes from -----------------------------------------------------------------------------

    def _images(self, label: str) -> dict[str, Any] | None:
        """Return what the correctness of every test example says; None where it means nothing."""
        if self.metric["counts"] is None:
            return None
        arms = {name: [_correctness(item["arms"][name]) for item in self.replicates] for name in (self.baseline, label)}
        rows = [row for side in arms.values() for row in side]
        if any(row is None for row in rows) or len({len(row) for row in rows if row is not None}) != 1:
            return None
        a, b = (np.stack([row for row in side if row is not None]) for side in arms.values())
        # The difference of the metric: of wrong answers for an error, of right ones for an accuracy.
        first, second = (a, b) if self.metric["direction"] == "minimize" else (b, a)
        best = {name: self._best_replicate(name) for name in arms}
        one = (_first_correct(self.replicates[best[name]]["arms"][name]) for name in arms)
        return {
            "crossed": asdict(crossed_interval(first, second, alpha=self._alpha)),
            "noise_floor": asdict(noise_floor(first, second)),
            "mcnemar": {
                "seed_baseline": self.replicates[best[self.baseline]]["seed"],
                "seed_arm": self.replicates[best[label]]["seed"],
                **asdict(mcnemar_test(*one)),
            },
        }

    def _best_replicate(self, label: str) -> int:
        """Return which replicate of an arm has the best validation score: the model that one would deploy."""
        scores = [self._oriented(item["arms"][label]["validation"]) for item in self.replicates]
        return int(np.argmax(np.nan_to_num(scores, nan=-np.inf)))

    def _oriented(self, metrics: Mapping[str, Any]) -> float:
        """Return the primary metric so that larger is better; NaN where it is undefined."""
        return self._larger_is_better(metrics.get(self.primary["name"]))

    def _larger_is_better(self, value: float | None) -> float:
        if value is None:
            return math.nan
        return value if self.primary["direction"] == "maximize" else -value

    def winners_curse(self, label: str) -> dict[str, Any] | None:
        """Return by how much the selected validation score was better than the test score of the retrained model."""
        pairs = [
            (self._oriented(arm["test"]), self._oriented(arm["validation"]))
            for arm in (item["arms"][label] for item in self.replicates)
        ]
        known = [pair for pair in pairs if not any(map(math.isnan, pair))]
        if not known:
            return None
        tests, validations = zip(*known, strict=True)
        found = compare_paired(tests, validations, alpha=self._alpha)
        interval = None if found.ci_low is None else {"low": found.ci_low, "high": found.ci_high}
        return {"n": found.n, "mean": found.mean, "interval": interval}

    def retraining(self, label: str) -> dict[str, Any] | None:
        """Return how the test metric varies from search to search, and between the retrains of one; None where there is one."""
        name = self.metric["name"]
        rows = [[test[name] for test in item["arms"][label]["tests"]] for item in self.replicates]
        if len(rows[0]) < 2 or any(value is None for row in rows for value in row):
            return None
        return asdict(nested_variance(rows))

    # --- the cost axis -----------------------------------------------------------------------------------------------

    def _curves(self, label: str) -> Floats:
        """Return incumbents, shape (replicates, points), so that larger is better."""
        rows = [
            [self._larger_is_better(value) for value in replicate["arms"][label]["incumbent"]]
            for replicate in self.replicates
        ]
        return np.array(rows, dtype=np.float64)

    def _incumbent(self, label: str) -> dict[str, Any]:
        """Return where along the budget the arm's incumbent is better, over all points at once."""
        band = max_t_band(self._curves(self.baseline), self._curves(label), alpha=self._alpha)
        sign = 1 if self.primary["direction"] == "maximize" else -1
        ends = [(band.low, band.high), (band.high, band.low)][sign < 0]
        low, high = ([None if end is None else sign * end for end in side] for side in ends)
        points = [self._budget * (point + 1) for point in range(len(band.mean))]
        return {
            "budgets": points,
            "mean": [None if value is None else sign * value for value in band.mean],
            "low": low,
            "high": high,
            "p": list(band.p),
            "better_from": None if band.better_from is None else points[band.better_from],
            "worse_from": None if band.worse_from is None else points[band.worse_from],
            "alpha": self._alpha,
        }

    def _budget_equivalence(self, label: str) -> dict[str, Any] | None:
        """Return the budget at which random search would do as well; None where neither arm is one."""
        searches = {
            arm["label"] for arm in self.document["arms"] if arm["optimizer"] == "random_search" and not arm["replay"]
        }
        pool_arm = next((name for name in (self.baseline, label) if name in searches), None)
        if pool_arm is None:
            return None
        arm = label if pool_arm == self.baseline else self.baseline
        pool = [
            [self._larger_is_better(value) for value in item["arms"][pool_arm]["finals"]] for item in self.replicates
        ]
        values = [self._oriented(item["arms"][arm]["validation"]) for item in self.replicates]
        if not all(pool) or not np.isfinite(values).all() or not np.isfinite(np.concatenate(pool)).any():
            return None
        return {"pool_arm": pool_arm, "arm": arm, **asdict(budget_equivalence(pool, values, alpha=self._alpha))}

    def time_to_target(self) -> dict[str, Any]:
        """Return when each arm's incumbent reached a target: the study's own, or the median of what the baseline ends with."""
        given = self.document["comparison"]["target"]
        target = self._larger_is_better(given)
        if given is None:
            ends = self._curves(self.baseline)[:, -1]
            target = float(np.median(np.nan_to_num(ends, nan=-math.inf)))
        arms = {}
        for label in self.labels:
            curves = self._curves(label)
            budgets = [self._budget * (point + 1) for point in range(curves.shape[1])]
            arms[label] = asdict(time_to_target(curves, target, budgets)) if math.isfinite(target) else None
        shown = target if self.primary["direction"] == "maximize" else -target
        return {"target": shown if math.isfinite(shown) else None, "given": given is not None, "arms": arms}

    def mean_ranks(self) -> dict[str, list[float]]:
        """Return the mean rank of every arm's incumbent along the budget; 1 is the best."""
        ranks = mean_ranks({label: self._curves(label) for label in self.labels})
        return {label: list(values) for label, values in ranks.items()}

    def several(self) -> dict[str, Any] | None:
        """Return three arms and more against each other; None where there are fewer, or where values are missing."""
        if len(self.labels) < 3 or self._is_anytime or self.not_comparable():
            return None
        name = self.metric["name"]
        values = {label: [test[name] for test in self._tests(label)] for label in self.labels}
        larger = self.metric["direction"] == "maximize"
        return asdict(compare_many(values, alpha=self._alpha, larger_is_better=larger))


def _correctness(arm: Mapping[str, Any]) -> Floats | None:
    """Return for each test example in how many of the retrains it was right, as a share."""
    rows = _unpacked(arm)
    return None if rows is None else rows.mean(axis=0)


def _first_correct(arm: Mapping[str, Any]) -> NDArray[np.bool_]:
    rows = _unpacked(arm)
    assert rows is not None
    first: NDArray[np.bool_] = rows[0]
    return first


def _unpacked(arm: Mapping[str, Any]) -> NDArray[np.bool_] | None:
    packed = arm["correct"]
    if packed is None:
        return None
    rows = [np.frombuffer(base64.b64decode(bits), np.uint8) for bits in packed["bits"]]
    return np.unpackbits(np.stack(rows), axis=1, count=packed["count"]).astype(np.bool_)
