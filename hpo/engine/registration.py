"""The plan of a comparison, written down before the data: its first version and all later changes.

The plan (baseline, metric, direction, alpha, ROPE, stopping, seeds, arms) is recorded when a study starts. It may be changed
later; results.json and the report then state what was changed, and how many test results had been seen by then. If there
were any, the fixed-n p is exploratory, and there is no verdict.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hpo.core.parsing import parse_json
from hpo.results.document import AfterLooking, DecisionRule, PlanChange, RegisteredPlan
from hpo.statistics import least_pairs
from hpo.statistics.anytime import least_anytime_pairs
from hpo.statistics.decision import Looked
from hpo.study.changes import differing
from hpo.study.spec import StudySpec


@dataclass(frozen=True)
class Amendment:
    """One change of the plan.

    Args:
        tests_opened: how many models the test set had been opened for.
        changes: one line per entry of the plan that changed.
        extended: only seeds, arms or trials were added.
        harmless: no test result had been seen, or the test does not depend on the change.
    """

    tests_opened: int
    changes: tuple[str, ...]
    extended: bool
    harmless: bool


@dataclass(frozen=True)
class Registration:
    """A study's plan and its history.

    Args:
        first: the plan as the study began.
        now: the plan in force.
        amendments: the changes from `first` to `now`, in order.
    """

    first: Mapping[str, Any]
    now: Mapping[str, Any]
    amendments: tuple[Amendment, ...] = ()

    @property
    def looked(self) -> tuple[Looked, str] | None:
        """Why a fixed-n p of this study is exploratory, as (kind of verdict, words); None if it is not."""
        late = [amendment for amendment in self.amendments if not amendment.harmless]
        if not late or self.now == self.first:  # a change that was undone is reported, but affects no p
            return None
        first = late[0]
        seen = f"{first.tests_opened} test result{'s' * (first.tests_opened != 1)}"
        words = f"the plan was changed when {seen} had been seen ({'; '.join(first.changes)})"
        return ("extended after looking" if all(item.extended for item in late) else "changed after looking"), words

    @property
    def record(self) -> RegisteredPlan:
        """The record in results.json; the digest is of `json.dumps(plan, sort_keys=True)`."""
        return RegisteredPlan(
            exploratory=None if self.looked is None else AfterLooking(*self.looked),
            plan=dict(self.first),
            sha256=hashlib.sha256(json.dumps(self.first, sort_keys=True).encode()).hexdigest(),
            amendments=tuple(PlanChange(item.tests_opened, item.changes) for item in self.amendments),
        )

    def dumps(self) -> str:
        """Return the registration as text, for `loads`."""
        amendments = [vars(item) | {"changes": list(item.changes)} for item in self.amendments]
        return json.dumps({"first": dict(self.first), "now": dict(self.now), "amendments": amendments})

    @staticmethod
    def loads(text: str) -> "Registration":
        """Return the registration that `dumps` wrote."""
        found = parse_json(text)
        amendments = (Amendment(**{**item, "changes": tuple(item["changes"])}) for item in found["amendments"])
        return Registration(found["first"], found["now"], tuple(amendments))


def plan_of(spec: StudySpec) -> dict[str, Any] | None:
    """Return a study's plan with all defaults filled in; None if the study compares nothing."""
    comparison = comparison_of(spec)
    if comparison is None:
        return None
    plan = {"comparison": asdict(comparison), "seeds": list(spec.seeds), "arms": [arm.label for arm in spec.arms]}
    return plan | ({"trials": spec.population_size} if spec.task.is_function else {})


def comparison_of(spec: StudySpec) -> DecisionRule | None:
    """Return the study's comparison with all defaults filled in."""
    plan = spec.comparison
    if plan is None:
        return None
    metric = next(metric for metric in spec.task.metrics if metric.name == plan.metric)
    return DecisionRule(plan.baseline, plan.metric, metric.direction, plan.alpha, plan.rope, plan.target, plan.stopping)


def cannot_decide(spec: StudySpec) -> str | None:
    """Return why no data could decide a study's comparison, and what to do; None if some data could."""
    plan = spec.comparison
    if plan is None:
        return None
    seeds, family = len(spec.seeds), len(spec.arms) - 1
    least = (least_anytime_pairs if plan.stopping == "anytime" else least_pairs)(plan.alpha, family)
    if seeds >= least:
        return None
    comparisons = "a comparison" if family == 1 else f"{family} comparisons at once"
    return (
        f"{seeds} seed{'s' * (seeds > 1)} cannot decide {comparisons} at alpha = {plan.alpha:g}, whatever the data: that takes"
        f" {least} or more. Plan more seeds or fewer arms; `hpo plan` says what they can show."
    )


def register(known: Registration | None, plan: Mapping[str, Any], tests_opened: int) -> Registration:
    """Return the registration of a study that starts or continues with a plan.

    Args:
        known: what was registered before; None for a study that begins.
        plan: the plan now.
        tests_opened: how many models the test set has been opened for.
    """
    if known is None:
        return Registration(plan, plan)
    if known.now == plan:
        return known
    return Registration(known.first, plan, (*known.amendments, _amendment(known.now, plan, tests_opened)))


def _amendment(old: Mapping[str, Any], new: Mapping[str, Any], tests_opened: int) -> Amendment:
    changes = []
    before, after = old["comparison"], new["comparison"]
    rules = differing(before, after)
    changes += [f"comparison.{key}: {_shown(was)} -> {_shown(now)}" for key, (was, now) in rules.items()]
    for name in ("seeds", "arms"):
        changes += _listed(name, old[name], new[name])
    same_trials = old.get("trials") == new.get("trials")
    if not same_trials:
        changes.append(f"trials: {_shown(old.get('trials'))} -> {_shown(new.get('trials'))}")
    removed = any(set(old[name]) - set(new[name]) for name in ("seeds", "arms"))
    # The anytime-valid test stays valid for any number of replicates; a target is only reported.
    anytime = after["stopping"] == before["stopping"] == "anytime"
    prefix = _prefix(old["seeds"], new["seeds"])
    free = (
        rules.keys() <= {"target"}
        and old["arms"] == new["arms"]
        and same_trials
        and (old["seeds"] == new["seeds"] or (anytime and prefix))
    )
    return Amendment(
        tests_opened=tests_opened,
        changes=tuple(changes) or ("the order of seeds or arms",),
        extended=rules.keys() <= {"target"} and not removed,
        harmless=tests_opened == 0 or free,
    )


def _prefix(a: Sequence[int], b: Sequence[int]) -> bool:
    shorter = min(len(a), len(b))
    return list(a[:shorter]) == list(b[:shorter])


def _listed(name: str, old: Sequence[object], new: Sequence[object]) -> list[str]:
    """Return lines that list what was added to a list and what was removed."""
    lines = []
    for what, some in (
        ("added", [item for item in new if item not in old]),
        ("removed", [item for item in old if item not in new]),
    ):
        if some:
            more = f" and {len(some) - 10} more" if len(some) > 10 else ""
            lines.append(f"{name}: {what} {', '.join(map(str, some[:10]))}{more}")
    return lines


def _shown(value: object) -> str:
    return "(none)" if value is None else f"{value!r}"
