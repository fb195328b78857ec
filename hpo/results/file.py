"""Reads and writes results.json and execution.json; errors name the first wrong key."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from hpo.core.errors import InputError, OptionError, SpecError
from hpo.core.files import inside
from hpo.core.options import place, shown
from hpo.core.parsing import json_fault, parse_json, read_text
from hpo.core.run_files import EXECUTION, RESULTS
from hpo.core.segments import Step
from hpo.results.document import (
    READABLE,
    RECOMPUTABLE,
    STRICT,
    ArmResult,
    Evidence,
    Executions,
    Results,
    Statistics,
)

T = TypeVar("T")


def read_results(run_dir: Path) -> Results:
    """Return the content of a run directory's results.json.

    Raises:
        InputError: it is missing, malformed, of another schema version, or contradicts itself.
    """
    path = inside(run_dir, RESULTS)
    text = _text(path)
    version = _version(text, path)
    if version not in READABLE:
        known = " and ".join(map(str, READABLE))
        advice = f"; {_anew(run_dir)}" if version in RECOMPUTABLE else ""
        raise InputError(f"{path}: schema_version = {version}: this version of hpo reads {known}{advice}")
    try:
        return _checked(parsed(Results, text, path), path)
    except WrongKey as error:
        statistics = {item.name for item in fields(Statistics)}
        if error.key.partition(".")[0].partition("[")[0] in statistics:
            raise InputError(f"{error}; {_anew(run_dir)}") from None
        raise


def read_evidence(run_dir: Path) -> tuple[Evidence, str]:
    """Return the content of a results.json, also of an older version, without its statistics, and the file's text.

    Raises:
        InputError: as for `read_results`.
    """
    path = inside(run_dir, RESULTS)
    text = _text(path)
    version = _version(text, path)
    if version not in RECOMPUTABLE:
        known = ", ".join(map(str, RECOMPUTABLE))
        raise InputError(f"{path}: schema_version = {version}: the versions that can be computed anew are {known}")
    return _checked(parsed(Evidence, text, path), path), text


def read_executions(run_dir: Path) -> Executions:
    """Return the content of a run directory's execution.json.

    Raises:
        InputError: it is missing or malformed.
    """
    path = inside(run_dir, EXECUTION)
    return parsed(Executions, read_text(path), path)


def to_json(record: Results | Executions) -> dict[str, Any]:
    """Return a file's content as nested mappings and sequences."""
    found: dict[str, Any] = _adapter(type(record)).dump_python(record, mode="json")
    if not found.get("unfinished", True):
        del found["unfinished"]
    return found


def dumps(document: Results | Executions | Mapping[str, Any]) -> bytes:
    """Return a document as the bytes of a JSON file."""
    plain = document if isinstance(document, Mapping) else to_json(document)
    return (json.dumps(plain, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()


# --- reading -------------------------------------------------------------------------------------------------------------


class WrongKey(InputError):
    """A well-formed file with an impossible value.

    Args:
        path: the file.
        key: of the value.
        words: what is wrong with it.
    """

    def __init__(self, path: Path, key: str, words: str) -> None:
        super().__init__(f"{path}: {key or 'the file'}{words}")
        self.key = key


@dataclass(frozen=True)
class _Versioned:
    __pydantic_config__ = STRICT
    schema_version: int


def _adapter(cls: type) -> TypeAdapter[Any]:
    """Return the pydantic adapter that reads and writes a record; cached."""
    if cls not in _ADAPTERS:
        _ADAPTERS[cls] = TypeAdapter(cls)
    return _ADAPTERS[cls]


_ADAPTERS: dict[type, TypeAdapter[Any]] = {}


def _text(path: Path) -> str:
    if not path.exists():
        raise InputError(f"{path.parent}: no {path.name} here; a run writes it after its first finished replicate")
    return read_text(path)


def _version(text: str, path: Path) -> int:
    return parsed(_Versioned, text, path).schema_version


def _anew(run_dir: Path) -> str:
    return f"`hpo report {run_dir} --recompute` computes the statistics anew from the file's replicates"


def parsed(cls: type[T], text: str, path: Path) -> T:
    """Return the record that a JSON text holds.

    Raises:
        InputError: it does not hold one; names the first wrong key.
    """
    try:
        found: T = _adapter(cls).validate_json(text)
        return found
    except ValidationError as error:
        errors = error.errors(include_url=False)
    if errors[0]["type"] == "json_invalid":
        raise InputError(f"{path}: malformed JSON: {json_fault(str(errors[0]['ctx']['error']))}")
    raw = parse_json(text)
    key, given = place(errors[0]["loc"], raw)
    alike = [item for item in errors if place(item["loc"], raw)[0] == key]
    if errors[0]["type"] == "missing":
        name = str(errors[0]["loc"][-1])
        raise WrongKey(path, f"{key}.{name}" if key else name, ": missing")
    raise WrongKey(path, key, f" = {shown(given)}: allowed: {' or '.join(dict.fromkeys(map(_allowed, alike)))}")


def _allowed(error: ErrorDetails) -> str:
    """Return in words what is allowed at the place of a pydantic error."""
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    return error["msg"].removeprefix("Input should be ").removeprefix("a valid ")


# --- what types cannot check ---------------------------------------------------------------------------------------------

R = TypeVar("R", bound=Evidence)


def _checked(found: R, path: Path) -> R:
    """Return a document after checking that its parts fit each other."""
    try:
        found.task.space  # noqa: B018 - built and checked on first access
    except SpecError as error:
        raise SpecError(str(path), error.problems) from None
    # In order: each part relies on those before it.
    for key, allowed in chain(_of_evidence(found), _of_statistics(found) if isinstance(found, Results) else ()):
        raise WrongKey(path, key, f": allowed: {allowed}")
    return found


def _of_evidence(found: Evidence) -> Iterator[tuple[str, str]]:
    """Yield (key, what is allowed) for each part of the evidence that contradicts another part."""
    labels, metrics = found.labels, [metric.name for metric in found.task.metrics]
    for key, text in (("name", found.task.name), ("unit", found.task.unit), *(("metrics", name) for name in metrics)):
        if not text.isprintable():
            yield f"task.{key}", f"text that can be printed; {shown(text)} cannot"
    yield from _distinct("arms", "labels", labels)
    yield from _distinct("task.metrics", "names", metrics)
    yield from _among("task.primary", [found.task.primary], metrics)
    yield from _distinct("planned_seeds", "seeds", found.planned_seeds)
    yield from _distinct("replicates", "seeds", found.finished_seeds)
    yield from _among("replicates", found.finished_seeds, found.planned_seeds)
    if found.comparison is not None:
        yield from _among("comparison.baseline", [found.comparison.baseline], labels)
        yield from _among("comparison.metric", [found.comparison.metric], metrics)
    for index, replicate in enumerate(found.replicates):
        key = f"replicates[{index}].arms"
        if set(replicate.arms) != set(labels):
            yield key, f"every arm of the study, {_listed(labels)}, and no other"
        for label, arm in replicate.arms.items():
            yield from _of_arm(f"{key}.{label}", arm, len(found.budgets), metrics)
            yield from _of_schedule(f"{key}.{label}.schedule", arm.schedule, found)


def _of_arm(key: str, arm: ArmResult, points: int, metrics: list[str]) -> Iterator[tuple[str, str]]:
    for name, tests in (("test", [arm.test]), *((f"tests[{i}]", [test]) for i, test in enumerate(arm.tests))):
        if missing := [metric for metric in metrics if metric not in tests[0]]:
            yield f"{key}.{name}.{missing[0]}", "a number or null; it is missing"
    yield from _as_many(f"{key}.incumbent", arm.incumbent, points, "budgets")
    if arm.correct is not None and len(arm.correct.bits) != len(arm.tests):
        yield f"{key}.correct.bits", f"{len(arm.tests)} texts, as many as tests"


def _of_schedule(key: str, steps: Iterable[Step], found: Evidence) -> Iterator[tuple[str, str]]:
    stop, space = 0, found.task.space
    for index, step in enumerate(steps):
        if not stop <= step.start < step.stop <= found.intervals:
            yield f"{key}[{index}]", f"a start from {stop} and a stop after it, up to {found.intervals}"
        if step.transform is not None and not index:
            yield f"{key}[0].transform", "none in the first step"
        stop = step.stop
        yield from _among(f"{key}[{index}].hparams", step.hparams, space)
        for name, value in step.hparams.items():
            try:
                space[name].cast(value)
            except OptionError as error:
                yield f"{key}[{index}].hparams.{name} = {shown(value)}", error.allowed


def _of_statistics(found: Results) -> Iterator[tuple[str, str]]:
    """Yield (key, what is allowed) for each part of the statistics that contradicts another part."""
    labels = found.labels
    rule = found.comparison
    others = [label for label in labels if rule is not None and label != rule.baseline]
    for index, item in enumerate(found.comparisons):
        key = f"comparisons[{index}]"
        yield from _among(f"{key}.arm", [item.arm], others)
        yield from _among(f"{key}.baseline", [item.baseline], labels)
        yield from _among(f"{key}.metric", [item.metric], [found.metric])
        yield from _as_many(f"{key}.differences", item.differences, item.n, "n")
        if (band := item.incumbent) is not None:
            for name in ("mean", "low", "high", "p"):
                yield from _as_many(f"{key}.incumbent.{name}", getattr(band, name), len(band.budgets), "budgets")
            for kind in ("better", "worse"):
                if getattr(band, f"{kind}_from") is not None and item.verdict.kind != kind:
                    yield f"{key}.incumbent.{kind}_from", f"null where the verdict is {item.verdict.kind!r}"
        if (test := item.anytime) is not None:
            yield from _as_many(f"{key}.anytime.intervals", test.intervals, len(test.path), "path")
            if test.threshold <= 0:
                yield f"{key}.anytime.threshold", "a number above 0"
        if (pool := item.budget_equivalence) is not None:
            yield from _among(f"{key}.budget_equivalence", [pool.arm, pool.pool_arm], labels)
    yield from _among("unfinished", [item.seed for item in found.unfinished], found.planned_seeds)
    yield from _among("unfinished", [item.arm for item in found.unfinished], labels)
    yield from _distinct("unfinished", "replicates of an arm", [(item.seed, item.arm) for item in found.unfinished])
    if found.several is not None:
        yield from _among("several.labels", found.several.labels, labels)
        yield from _as_many("several.mean_ranks", found.several.mean_ranks, len(found.several.labels), "labels")
        named = [label for pair in found.several.pairs for label in (pair.a, pair.b)]
        yield from _among("several.pairs", named, labels)
    times = None if found.time_to_target is None else found.time_to_target.arms
    ranks = found.mean_ranks_over_budget
    for name, table in (
        ("retraining", found.retraining),
        ("time_to_target.arms", times),
        ("mean_ranks_over_budget", ranks),
    ):
        yield from _among(name, table or (), labels)
    for label, curve in (ranks or {}).items():
        yield from _as_many(f"mean_ranks_over_budget.{label}", curve, len(found.budgets), "budgets")


def _distinct(key: str, what: str, values: Iterable[object]) -> Iterator[tuple[str, str]]:
    known = list(values)
    if len(set(known)) < len(known):
        yield key, f"{what} that are all different"


def _among(key: str, values: Iterable[object], allowed: Iterable[object]) -> Iterator[tuple[str, str]]:
    known = dict.fromkeys(allowed)
    if wrong := [value for value in values if value not in known]:
        yield key, f"{_listed(known)}; {shown(wrong[0])} is not among them"


def _as_many(key: str, values: Iterable[object], wanted: int, name: str) -> Iterator[tuple[str, str]]:
    if len(list(values)) != wanted:
        yield key, f"{wanted} values, as many as {name}"


def _listed(values: Iterable[object]) -> str:
    known = list(values)
    return ", ".join(map(repr, known[:20])) + (", ..." if len(known) > 20 else "")
