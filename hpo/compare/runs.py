"""Run directories of finished studies, one task each: what may be joined, and why not.

Of `results.json` only what a comparison needs is read: the versions, names and plan, and the test values.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from hpo.compare.data import Direction, Inputs, Request, TaskData
from hpo.compare.names import chosen, hint, listed
from hpo.core.files import inside
from hpo.core.layout import RESULTS
from hpo.errors import InputError
from hpo.report.data import SCHEMA_VERSION
from hpo.report.reading import Node, load_json

#: Verdicts of a study after which none of its p values may enter another.
REFUSED = ("in progress", "not comparable", "extended after looking", "changed after looking")

_T = TypeVar("_T")


@dataclass(frozen=True)
class _Plan:
    """What a study was planned to decide."""

    baseline: str
    metric: str
    alpha: float
    rope: float | None


@dataclass(frozen=True)
class _Study:
    """One `results.json`, its values not read yet.

    Attributes:
        root: the whole file.
        name: of the study.
        task: name of its task.
        plan: of its comparison; None where it has none.
    """

    root: Node
    name: str
    task: str
    plan: _Plan | None

    @property
    def path(self) -> str:
        return self.root.file

    @property
    def arms(self) -> dict[str, Node]:
        """The arms by label."""
        return {node.at("label").text(): node for node in self.root.at("arms").items()}

    @property
    def metrics(self) -> dict[str, Node]:
        """What the task measures, by name."""
        return {node.at("name").text(): node for node in self.root.at("task", "metrics").items()}


def read_runs(paths: Sequence[Path], request: Request) -> Inputs:
    """Read finished studies of different tasks with the same arms.

    Each study brings the metric that it was planned for; `--metric` puts another in the place of all.

    Raises:
        InputError: one cannot be joined with the others.
        ReportError: a file cannot be read or is malformed.
    """
    studies = [_study(path) for path in _different(paths)]
    baseline, alpha = request.baseline, request.alpha
    if baseline is None:
        baseline = _agreed(studies, lambda plan: plan.baseline, "baseline")
    if alpha is None:
        alpha = _agreed(studies, lambda plan: plan.alpha, "alpha")
    arms = list(studies[0].arms)
    # As the plans spell them: they are compared with what was planned.
    request = replace(
        request,
        baseline=chosen(request.baseline, arms) or request.baseline,
        metric=chosen(request.metric, studies[0].metrics) or request.metric,
    )
    for study in studies:
        _check_arms(study, arms, studies[0])
        _check_finished(study)
        _check_budgets(study)
    _check_different_tasks(studies)
    names = _task_names(studies)
    return Inputs(
        baseline=baseline,
        alpha=0.05 if alpha is None else alpha,
        rope=_rope(studies) if request.rope is None else request.rope,
        arms=tuple(arms),
        tasks=tuple(_task(study, name, arms, request) for study, name in zip(studies, names, strict=True)),
        planned=all(study.plan is not None for study in studies),
        exploratory=_exploratory(studies, request),
        cautions=(*_unplanned(studies), *_diverged(studies, names), *_related(studies, names), *_settings(studies)),
    )


# --- one study -----------------------------------------------------------------------------------------------------------


def _different(paths: Sequence[Path]) -> Sequence[Path]:
    """Return the paths after checking that none is another name of one before it."""
    seen: dict[Path, Path] = {}
    for path in paths:
        real = _file(path).resolve()
        if real in seen:
            raise InputError(f"{path}: is given twice (as {seen[real]}); a task counts once")
        seen[real] = path
    return paths


def _file(path: Path) -> Path:
    return path if path.name == RESULTS else inside(path, RESULTS)


def _study(path: Path) -> _Study:
    file = _file(path)
    if not path.exists():
        raise InputError(f"{path}: no such run directory or CSV file")
    if not file.is_file():
        raise InputError(f"{path}: no results.json here; a run writes it after its first finished replicate")
    root = Node(load_json(file).value, str(file))
    version = root.at("schema_version").value
    if isinstance(version, bool) or version != SCHEMA_VERSION:
        raise InputError(
            f"{file}: schema_version: this hpo reads version {SCHEMA_VERSION}, the file has {version!r}; run the study"
            " again with this hpo (what is finished is not computed again), or compare with the hpo that wrote it"
        )
    found = root.optional("comparison")
    if found is not None and found.at("stopping").text() == "anytime":
        raise InputError(
            f"{file}: comparison.stopping = 'anytime': its number of replicates depends on what they showed, and a"
            " fixed-n p of such data is wrong; allowed: studies with fixed stopping"
        )
    plan = None
    if found is not None:
        rope = found.optional("rope")
        plan = _Plan(
            found.at("baseline").text(),
            found.at("metric").text(),
            found.at("alpha").number(),
            None if rope is None else rope.number(),
        )
    return _Study(root, root.at("study", "study", "name").text(), root.at("task", "name").text(), plan)


def _check_arms(study: _Study, arms: Sequence[str], first: _Study) -> None:
    labels = [node.at("label").text() for node in study.root.at("arms").items()]
    if len(set(labels)) != len(labels):
        study.root.at("arms").fail("labels all different")
    missing = [arm for arm in arms if arm not in labels]
    unknown = [arm for arm in labels if arm not in arms]
    if missing or unknown:
        parts = [f"lacks {', '.join(map(repr, missing))}"] if missing else []
        parts += [f"has {', '.join(map(repr, unknown))} besides"] if unknown else []
        raise InputError(
            f"{study.path}: arms: {' and '.join(parts)}, compared with {first.path}; allowed: the same arms in all"
        )


def _check_finished(study: _Study) -> None:
    planned = [node.integer() for node in study.root.at("planned_seeds").items()]
    seeds = [node.at("seed").integer() for node in study.root.at("replicates").items()]
    for seed, times in Counter(seeds).items():
        if times > 1:
            raise InputError(f"{study.path}: replicates: seed {seed} is there {times} times; allowed: once")
    if missing := [seed for seed in planned if seed not in seeds]:
        raise InputError(
            f"{study.path}: the study is in progress ({len(planned) - len(missing)} of {len(planned)} replicates);"
            " joining it now would be looking before the plan is done. Finish it first"
        )
    if extra := [seed for seed in seeds if seed not in planned]:
        raise InputError(f"{study.path}: replicates: seeds {', '.join(map(str, extra))} were not planned")
    for node in study.root.at("comparisons").items():
        verdict = node.at("verdict")
        kind = verdict.at("kind").text()
        if kind in REFUSED:
            raise InputError(
                f"{study.path}: arm {node.at('arm').text()!r} is {kind!r} there, so it cannot enter a comparison over"
                f" tasks: {verdict.at('words').text()}"
            )


def _check_budgets(study: _Study) -> None:
    """Refuse arms with other budgets (one member's and more) or other rules of selection, whatever the baseline is."""
    rules = {}
    for label, arm in study.arms.items():
        options = arm.optional("options")
        select = options.optional("select") if options else None
        rules[label] = "final" if select is None else select.text()
    if len(set(rules.values())) > 1:
        told = ", ".join(f"{label!r}: {rule!r}" for label, rule in rules.items())
        raise InputError(f"{study.path}: the arms choose their answers by different rules, {told}: not comparable")
    intervals = study.root.at("intervals").integer()
    for replicate in study.root.at("replicates").items():
        charged = {label: arm.at("charged_intervals").integer() for label, arm in replicate.at("arms").fields()}
        if charged and max(charged.values()) - min(charged.values()) >= intervals:
            told = ", ".join(f"{label!r} {count}" for label, count in charged.items())
            raise InputError(
                f"{study.path}: with seed {replicate.at('seed').integer()} the arms were charged different budgets, in"
                f" intervals: {told}: not comparable"
            )


def _task(study: _Study, name: str, arms: Sequence[str], request: Request) -> TaskData:
    metric = request.metric
    if metric is None:
        metric = study.plan.metric if study.plan else study.root.at("task", "primary").text()
    if metric not in study.metrics:
        raise InputError(
            f"{study.path}: its task has no metric {metric!r}; allowed: {', '.join(study.metrics)}"
            + hint(metric, study.metrics)
        )
    declared = study.metrics[metric]
    counted, complement = declared.optional("counts"), declared.optional("complement")
    values: dict[str, dict[str, float]] = {arm: {} for arm in arms}
    counts: dict[str, dict[str, int]] = {arm: {} for arm in arms}
    totals = set()
    for replicate in sorted(study.root.at("replicates").items(), key=lambda node: node.at("seed").integer()):
        seed = str(replicate.at("seed").integer())
        for arm in arms:
            test = replicate.at("arms", arm, "test")
            value = test.at(metric).measurement()
            if value is None:
                raise InputError(
                    f"{study.path}: arm {arm!r}, seed {seed}: the test {metric} is undefined, because a retrained model"
                    " diverged; leaving the pair out would favour the arm that diverged"
                )
            values[arm][seed] = value
            if counted is not None and (count := test.optional(counted.text())) is not None:
                counts[arm][seed] = count.integer()
                totals.add(test.at("count").integer())
    # Only rates of one number of examples are a linear function of their counts.
    exact = len(totals) == 1 and all(counts[arm].keys() == values[arm].keys() for arm in arms)
    return TaskData(
        name=name,
        source=study.path,
        metric=metric,
        direction=_direction(study, metric, request),
        values=values,
        counts=counts if exact else None,
        rate=counted is not None or complement is not None,
    )


def _direction(study: _Study, metric: str, request: Request) -> Direction:
    direction = study.metrics[metric].at("direction")
    if direction.text() not in ("minimize", "maximize"):
        direction.fail('"minimize" or "maximize"')
    found: Direction = "minimize" if direction.text() == "minimize" else "maximize"
    if request.direction not in (None, found):
        raise InputError(f"--direction {request.direction}: {study.path} says that {metric!r} is to {found}")
    return found


# --- all studies together ------------------------------------------------------------------------------------------------


def _agreed(studies: Sequence[_Study], found: Callable[[_Plan], _T], what: str) -> _T | None:
    """Return what all plans say; None where no study has one."""
    said = {study.path: None if study.plan is None else found(study.plan) for study in studies}
    first = said[studies[0].path]
    for path, value in said.items():
        if value != first:
            raise InputError(
                f"{path}: its {what} is {value!r}, and that of {studies[0].path} is {first!r}; allowed: the same in all,"
                f" or say --{what}"
            )
    return first


def _rope(studies: Sequence[_Study]) -> float | None:
    """Return the ROPE that all plans state; None where one states none, or another: it is in the unit of its metric."""
    ropes = {None if study.plan is None else study.plan.rope for study in studies}
    return ropes.pop() if len(ropes) == 1 else None


def _check_different_tasks(studies: Sequence[_Study]) -> None:
    """Refuse one task twice.

    Equal digests of a population mean the same task and the same seed. With other seeds, the task's table in the study
    file, its data and its search space tell.
    """
    populations: dict[tuple[str, int], str] = {}
    tasks: dict[str, str] = {}
    for study in studies:
        for replicate in study.root.at("replicates").items():
            digest, seed = replicate.optional("population_hash"), replicate.at("seed").integer()
            if digest is None:
                continue
            key = (digest.text(), seed)
            if key in populations:
                raise InputError(
                    f"{study.path}: is the same task as {populations[key]}: with seed {seed} both begin with the same"
                    " initial population, so their pairs are not independent; a task counts once"
                )
            populations[key] = study.path
        identity = _identity(study)
        if identity in tasks:
            raise InputError(
                f"{study.path}: is the same task as {tasks[identity]}, with other seeds; a task counts once, and more"
                " seeds of it belong into one study"
            )
        tasks[identity] = study.path


def _identity(study: _Study) -> str:
    """Return what two studies of one task have in common, budget included."""
    task, document = study.root.at("task"), study.root.at("study")
    budget = {key: node.value for key, node in document.at("study").fields() if key in ("budget", "population_size")}
    told = [document.at("task").value, task.at("fingerprint").value, task.at("search_space").value, budget]
    return json.dumps(told, sort_keys=True)


def _task_names(studies: Sequence[_Study]) -> list[str]:
    """Return a name for each study's task: the task's own where it is unique, else the study's."""
    often = Counter(study.task for study in studies)
    names = [study.task if often[study.task] == 1 else study.name for study in studies]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise InputError(
                f"{studies[i].path}: two tasks would be called {name!r}, this one and that of"
                f" {studies[names.index(name)].path}; studies of variants of one task need names of their own"
            )
    return names


def _exploratory(studies: Sequence[_Study], request: Request) -> str | None:
    """Say what the command line changes of the studies' plans, all of which are older than the command line."""
    plans = [study.plan for study in studies if study.plan is not None]
    changed: list[tuple[str, object, set[object]]] = [
        ("the metric", request.metric, {plan.metric for plan in plans}),
        ("the baseline", request.baseline, {plan.baseline for plan in plans}),
        # A smaller level never makes more of the data.
        ("alpha", request.alpha, {plan.alpha for plan in plans if request.alpha and plan.alpha < request.alpha}),
    ]
    said = [
        f"{what} is {asked} where {', '.join(sorted(map(str, planned - {asked})))} was planned"
        for what, asked, planned in changed
        if asked is not None and planned - {asked}
    ]
    return ", and ".join(said) or None


def _unplanned(studies: Sequence[_Study]) -> list[str]:
    names = [study.name for study in studies if study.plan is None]
    return [f"No comparison was planned in {listed(names)}."] if names else []


def _diverged(studies: Sequence[_Study], names: Sequence[str]) -> list[str]:
    """Name the models that have their metric's worst value, because they diverged."""
    found = []
    for study, name in zip(studies, names, strict=True):
        for replicate in study.root.at("replicates").items():
            seed = replicate.at("seed").integer()
            for label, arm in replicate.at("arms").fields():
                if (flag := arm.optional("test_diverged")) is not None and flag.flag():
                    found.append(f"{label} on {name}, seed {seed}")
    return [f"Retrained models diverged and have the worst test value: {listed(found)}."] if found else []


def _related(studies: Sequence[_Study], names: Sequence[str]) -> list[str]:
    """Name tasks that are variants of one, or have data in common."""
    said = []
    by_task: dict[str, list[str]] = {}
    by_data: dict[str, list[str]] = {}
    for study, name in zip(studies, names, strict=True):
        by_task.setdefault(study.task, []).append(name)
        if (fingerprint := study.root.at("task").optional("fingerprint")) is not None:
            by_data.setdefault(fingerprint.text(), []).append(name)
    for task, variants in by_task.items():
        if len(variants) > 1:
            said.append(
                f"{listed(variants)} are variants of one task, {task}: as a sample of tasks they count for less."
            )
    for sharing in by_data.values():
        if len(sharing) > 1 and sharing not in by_task.values():
            said.append(f"{listed(sharing)} are trained on the same data: as a sample of tasks they count for less.")
    return said


def _settings(studies: Sequence[_Study]) -> list[str]:
    """Name arms that are configured differently from study to study."""
    said = []
    for arm in studies[0].arms:
        tables = []
        for study in studies:
            node = study.arms[arm]
            options = node.optional("options")
            settings = {key: child.value for key, child in options.fields()} if options else {}
            tables.append({"optimizer": node.at("optimizer").text(), **settings})
        keys = dict.fromkeys(key for table in tables for key in table)
        if other := [key for key in keys if any(table.get(key) != tables[0].get(key) for table in tables)]:
            said.append(f"The arm {arm} is not configured alike in all studies: they differ in {', '.join(other)}.")
    return said
