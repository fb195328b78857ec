"""Run directories of finished studies, one task each: which may be compared together, and why not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from hpo.compare.data import Inputs, Request, TaskData
from hpo.compare.names import chosen, hint
from hpo.compare.phrases import say
from hpo.core.errors import InputError
from hpo.core.files import inside
from hpo.core.run_files import RESULTS
from hpo.results.document import DecisionRule, Results
from hpo.results.file import read_results
from hpo.results.pairs import unlike

#: Verdicts of a study that keep it out of a comparison over tasks.
REFUSED = ("in progress", "not comparable", "extended after looking", "changed after looking")

_T = TypeVar("_T")


@dataclass(frozen=True)
class _FinishedStudy:
    """A study and the file that it is from."""

    path: str
    results: Results

    @property
    def rule(self) -> DecisionRule | None:
        return self.results.comparison


def read_runs(paths: Sequence[Path], request: Request) -> Inputs:
    """Read finished studies of different tasks with the same arms.

    Each study has the metric that it was planned for; `--metric` replaces all of them.

    Raises:
        InputError: a study cannot be read, or not be compared with the others.
    """
    studies = [_study(path) for path in _different(paths)]
    baseline, alpha = request.baseline, request.alpha
    if baseline is None:
        baseline = _agreed(studies, lambda rule: rule.baseline, "baseline")
    if alpha is None:
        alpha = _agreed(studies, lambda rule: rule.alpha, "alpha")
    arms = studies[0].results.labels
    # Spelled as in the plans, with which they are compared.
    request = replace(
        request,
        baseline=chosen(request.baseline, arms) or request.baseline,
        metric=chosen(request.metric, _metrics(studies[0])) or request.metric,
    )
    for study in studies:
        _check_arms(study, arms, studies[0])
        _check_finished(study)
        for reason in unlike(study.results, arms):
            raise InputError(f"{study.path}: its arms are not comparable: {reason}")
    _check_different_tasks(studies)
    names = _task_names(studies)
    return Inputs(
        baseline=baseline,
        alpha=0.05 if alpha is None else alpha,
        rope=_rope(studies) if request.rope is None else request.rope,
        arms=arms,
        tasks=tuple(_task(study, name, arms, request) for study, name in zip(studies, names, strict=True)),
        planned=all(study.rule is not None for study in studies),
        exploratory=_exploratory(studies, request),
        origin="studies",
        cautions=(*_unplanned(studies), *_diverged(studies, names), *_related(studies, names), *_settings(studies)),
    )


# --- one study -----------------------------------------------------------------------------------------------------------


def _different(paths: Sequence[Path]) -> Sequence[Path]:
    """Return the paths, after checking that no two are the same folder."""
    seen: dict[Path, Path] = {}
    for path in paths:
        real = _file(path).resolve()
        if real in seen:
            raise InputError(f"{path}: is given twice (as {seen[real]}); a task counts once")
        seen[real] = path
    return paths


def _file(path: Path) -> Path:
    return path if path.name == RESULTS else inside(path, RESULTS)


def _study(path: Path) -> _FinishedStudy:
    if not path.exists():
        raise InputError(f"{path}: no such run directory or CSV file")
    file = _file(path)
    results = read_results(file.parent)
    if results.anytime:
        raise InputError(
            f"{file}: comparison.stopping = 'anytime': its number of replicates depends on what they showed, and a"
            " fixed-n p of such data is wrong; allowed: studies with fixed stopping"
        )
    return _FinishedStudy(str(file), results)


def _metrics(study: _FinishedStudy) -> list[str]:
    return [metric.name for metric in study.results.task.metrics]


def _check_arms(study: _FinishedStudy, arms: Sequence[str], first: _FinishedStudy) -> None:
    labels = study.results.labels
    missing = [arm for arm in arms if arm not in labels]
    unknown = [arm for arm in labels if arm not in arms]
    if missing or unknown:
        parts = [f"lacks {', '.join(map(repr, missing))}"] if missing else []
        parts += [f"also has {', '.join(map(repr, unknown))}"] if unknown else []
        raise InputError(
            f"{study.path}: arms: {' and '.join(parts)}, compared with {first.path}; allowed: the same arms in all"
        )


def _check_finished(study: _FinishedStudy) -> None:
    planned, seeds = study.results.planned_seeds, study.results.finished_seeds
    if len(seeds) < len(planned):
        raise InputError(
            f"{study.path}: the study is in progress ({len(seeds)} of {len(planned)} replicates);"
            " comparing it now would be looking before the plan is done. Finish the study first"
        )
    for found in study.results.comparisons:
        if found.verdict.kind in REFUSED:
            raise InputError(
                f"{study.path}: arm {found.arm!r} is {found.verdict.kind!r} there, so it cannot enter a comparison over"
                f" tasks: {found.verdict.words}"
            )


def _task(study: _FinishedStudy, name: str, arms: Sequence[str], request: Request) -> TaskData:
    metric = request.metric or study.results.metric
    if metric not in _metrics(study):
        raise InputError(
            f"{study.path}: its task has no metric {metric!r}; allowed: {', '.join(_metrics(study))}"
            + hint(metric, _metrics(study))
        )
    declared = study.results.task.metric(metric)
    if request.direction not in (None, declared.direction):
        raise InputError(
            f"--direction {request.direction}: {study.path} says that {metric!r} is to {declared.direction}"
        )
    values: dict[str, dict[str, float]] = {arm: {} for arm in arms}
    counts: dict[str, dict[str, int]] = {arm: {} for arm in arms}
    totals = set()
    for replicate in sorted(study.results.replicates, key=lambda replicate: replicate.seed):
        seed = str(replicate.seed)
        for arm in arms:
            test = replicate.arms[arm].test
            value = test[metric]
            if value is None:
                raise InputError(
                    f"{study.path}: arm {arm!r}, seed {seed}: the test {metric} is undefined, because a retrained model"
                    " diverged; leaving the pair out would favour the arm that diverged"
                )
            values[arm][seed] = value
            count = test.get(declared.counts) if declared.counts is not None else None
            if isinstance(count, int):
                counts[arm][seed] = count
                totals.add(test.get("count"))
    # Only rates of one number of examples are a linear function of their counts.
    exact = len(totals) == 1 and None not in totals and all(counts[arm].keys() == values[arm].keys() for arm in arms)
    return TaskData(
        name=name,
        source=study.path,
        metric=metric,
        direction=declared.direction,
        values=values,
        counts=counts if exact else None,
        rate=declared.is_rate,
    )


# --- all studies together ------------------------------------------------------------------------------------------------


def _agreed(studies: Sequence[_FinishedStudy], found: Callable[[DecisionRule], _T], what: str) -> _T | None:
    """Return what all plans state; None if no study has a plan."""
    said = {study.path: None if study.rule is None else found(study.rule) for study in studies}
    first = said[studies[0].path]
    for path, value in said.items():
        if value != first:
            raise InputError(
                f"{path}: its {what} is {value!r}, and that of {studies[0].path} is {first!r}; allowed: the same in all,"
                f" or say --{what}"
            )
    return first


def _rope(studies: Sequence[_FinishedStudy]) -> float | None:
    """Return the ROPE that all plans state; None if they do not agree on one."""
    ropes = {None if study.rule is None else study.rule.rope for study in studies}
    return ropes.pop() if len(ropes) == 1 else None


def _check_different_tasks(studies: Sequence[_FinishedStudy]) -> None:
    """Raise `InputError` if a task is given twice.

    Equal digests of a population mean the same task and the same seed. With other seeds, the task's table in the study
    file, its data and its search space are compared.
    """
    populations: dict[tuple[str, int], str] = {}
    tasks: dict[str, str] = {}
    for study in studies:
        for replicate in study.results.replicates:
            key = (replicate.population_hash, replicate.seed)
            if key in populations:
                raise InputError(
                    f"{study.path}: is the same task as {populations[key]}: with seed {replicate.seed} both begin with the"
                    " same initial population, so their pairs are not independent; a task counts once"
                )
            populations[key] = study.path
        identity = _identity(study)
        if identity in tasks:
            raise InputError(
                f"{study.path}: is the same task as {tasks[identity]}, with other seeds; a task counts once. Add the"
                " seeds to one study instead"
            )
        tasks[identity] = study.path


def _identity(study: _FinishedStudy) -> str:
    """Return what two studies of one task have in common, budget included."""
    task, document = study.results.task, {**study.results.study}
    budget = {**study.results.study["study"]}
    identity = [
        document.get("task"),
        task.fingerprint,
        task.search_space,
        {key: budget[key] for key in ("budget", "population_size") if key in budget},
    ]
    return json.dumps(identity, sort_keys=True)


def _task_names(studies: Sequence[_FinishedStudy]) -> list[str]:
    """Return a name for each study's task: the task's own if it is unique, else the study's."""
    often = Counter(study.results.task.name for study in studies)
    names = [
        study.results.task.name if often[study.results.task.name] == 1 else study.results.name for study in studies
    ]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise InputError(
                f"{studies[i].path}: two tasks would be called {name!r}, this one and that of"
                f" {studies[names.index(name)].path}; studies of variants of one task need names of their own"
            )
    return names


def _exploratory(studies: Sequence[_FinishedStudy], request: Request) -> str | None:
    """Say how the command line departs from the studies' plans, which are older; None if it does not."""
    plans = [study.rule for study in studies if study.rule is not None]
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


def _unplanned(studies: Sequence[_FinishedStudy]) -> list[str]:
    names = [study.results.name for study in studies if study.rule is None]
    return [say("unplanned", studies=names)] if names else []


def _diverged(studies: Sequence[_FinishedStudy], names: Sequence[str]) -> list[str]:
    """Name the models that have their metric's worst value, because they diverged."""
    found = [
        f"{label} on {name}, seed {replicate.seed}"
        for study, name in zip(studies, names, strict=True)
        for replicate in study.results.replicates
        for label, arm in replicate.arms.items()
        if arm.test_diverged
    ]
    return [say("diverged", models=found)] if found else []


def _related(studies: Sequence[_FinishedStudy], names: Sequence[str]) -> list[str]:
    """Name tasks that are variants of one, or have data in common."""
    said = []
    by_task: dict[str, list[str]] = {}
    by_data: dict[str, list[str]] = {}
    for study, name in zip(studies, names, strict=True):
        task = study.results.task
        by_task.setdefault(task.name, []).append(name)
        if task.fingerprint is not None:
            by_data.setdefault(task.fingerprint, []).append(name)
    for name, variants in by_task.items():
        if len(variants) > 1:
            said.append(say("variants", names=variants, task=name))
    for sharing in by_data.values():
        if len(sharing) > 1 and sharing not in by_task.values():
            said.append(say("same_data", names=sharing))
    return said


def _settings(studies: Sequence[_FinishedStudy]) -> list[str]:
    """Name arms that are configured differently from study to study."""
    said = []
    for label in studies[0].results.labels:
        found = [arm for study in studies for arm in study.results.arms if arm.label == label]
        tables = [{"optimizer": arm.optimizer, **arm.options} for arm in found]
        keys = dict.fromkeys(key for table in tables for key in table)
        if other := [key for key in keys if any(table.get(key) != tables[0].get(key) for table in tables)]:
            said.append(say("settings", arm=label, keys=other))
    return said
