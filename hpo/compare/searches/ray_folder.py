"""Experiments of Ray Tune, from the JSON and CSV files in their folders. The pickles there are never read."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo.compare.data import Direction, Request, natural_order
from hpo.compare.names import hint
from hpo.compare.searches.search import Search, attributes_of, best, number
from hpo.compare.table.words import direction_of
from hpo.core.errors import InputError
from hpo.core.files import inside
from hpo.core.parsing import parse_json, read_text
from hpo.report.numbers import listed

_CONFIG, _RESULTS, _PROGRESS, _FAILED = "params.json", "result.json", "progress.csv", "error.txt"
_MOST_BYTES = 2**28  # of one file
#: What Ray adds to each report.
_OWN = frozenset(
    {
        "timestamp",
        "date",
        "done",
        "trial_id",
        "training_iteration",
        "iterations_since_restore",
        "experiment_tag",
        "config",
    }
    | {"time_this_iter_s", "time_total_s", "time_since_restore", "pid", "hostname", "node_ip"}
    | {"checkpoint_dir_name", "should_checkpoint"}
)


@dataclass(frozen=True)
class _Trial:
    """A trial: its folder, its hyperparameters, and what it reported, in order."""

    folder: Path
    config: Mapping[str, Any]
    reports: Sequence[Mapping[str, Any]]


def experiments(folder: Path) -> list[Path]:
    """Return the experiments in a folder: itself, or the folders in it; none if there are none."""
    return [each for each in (folder, *_folders(folder)) if any(map(_is_trial, _folders(each)))][: _most(folder)]


def _most(folder: Path) -> int | None:
    return 1 if any(map(_is_trial, _folders(folder))) else None


def _folders(folder: Path) -> list[Path]:
    with suppress(PermissionError):
        found = [each for each in folder.iterdir() if each.is_dir() and not each.is_symlink()]
        return sorted(found, key=lambda each: natural_order(each.name))
    return []


def _is_trial(folder: Path) -> bool:
    return (folder / _CONFIG).is_file() and any((folder / name).is_file() for name in (_RESULTS, _PROGRESS, _FAILED))


def read_experiment(folder: Path, request: Request) -> Search:
    """Read an experiment.

    Args:
        folder: of the experiment; its trials have folders of their own in it.
        request: the command line.

    Raises:
        InputError: a file is malformed, the metric is missing or not clear, or no trial has a value.
    """
    trials = [_trial(each) for each in _folders(folder) if _is_trial(each)][: request.trials]
    metric = _metric(folder, trials, request)
    direction = request.direction or direction_of(metric)
    if direction is None or (request.direction is None and direction == "maximize"):
        raise InputError(
            f"{folder}: are higher or lower values of {metric!r} better? Say --direction maximize or minimize"
        )
    found = [value for trial in trials if (value := _value(trial, metric, direction, request)) is not None]
    value = best(found, direction)
    if value is None:
        raise InputError(
            f"{folder}: none of its {len(trials)} trials has a finite {metric!r}, so it has no best one; leaving it out would"
            " favour its arm"
        )
    shared = [attributes_of(trial.config).items() for trial in trials]
    return Search(
        names=folder.resolve().parts,
        place=str(folder),
        attributes=dict(sorted(set.intersection(*map(set, shared)))),
        roles={},
        metric=metric,
        direction=direction,
        value=value,
        chosen_by=True,
        trials=len(trials),
        reports=sum(len(trial.reports) for trial in trials),
        unfinished=_unfinished(folder),
    )


def _trial(folder: Path) -> _Trial:
    config = _parsed(inside(folder, _CONFIG))
    return _Trial(folder, config, list(_reports(folder)))


def _parsed(path: Path) -> dict[str, Any]:
    return _object(read_text(path, _MOST_BYTES), str(path))


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        found = parse_json(text)
    except ValueError as error:
        raise InputError(f"{where}: malformed JSON: {error}") from None
    if not isinstance(found, dict):
        raise InputError(f"{where}: allowed: a JSON object")
    return found


def _reports(folder: Path) -> Iterator[dict[str, Any]]:
    results, progress = inside(folder, _RESULTS), inside(folder, _PROGRESS)
    if results.is_file():
        *lines, last = read_text(results, _MOST_BYTES).split("\n")  # the last one is empty, or half-written
        for i, line in enumerate(lines, 1):
            if line.strip():
                yield _object(line, f"{results}: line {i}")
        with suppress(InputError):
            yield _object(last, "")
    elif progress.is_file():
        try:
            for row in csv.DictReader(read_text(progress, _MOST_BYTES).splitlines(), strict=True):
                yield {str(name): _from_text(text) for name, text in row.items()}
        except csv.Error as error:
            raise InputError(f"{progress}: malformed CSV: {error}") from None


def _from_text(text: object) -> object:
    try:
        return float(text) if isinstance(text, str) else text
    except ValueError:
        return text


def _at(report: Mapping[str, Any], name: str) -> object:
    """Return what a report says of a metric; a name such as `env_runners/return` leads into nested tables."""
    if name in report:
        return report[name]
    found: object = report
    for part in name.split("/"):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _metric(folder: Path, trials: Sequence[_Trial], request: Request) -> str:
    found = {
        name
        for trial in trials
        for report in trial.reports
        for name, value in report.items()
        if number(value) is not None
    }
    own = sorted(found - _OWN)
    if request.metric is None:
        if len(own) != 1:
            raise InputError(
                f"{folder}: --metric is required; its trials reported: {listed([*map(repr, own)]) or 'nothing'}"
            )
        return own[0]
    if not any(number(_at(report, request.metric)) is not None for trial in trials for report in trial.reports):
        raise InputError(
            f"--metric {request.metric!r}: no trial in {folder} reported a number of this name; they reported:"
            f" {listed([*map(repr, own)]) or 'nothing'}" + hint(request.metric, own)
        )
    return request.metric


def _value(trial: _Trial, metric: str, direction: Direction, request: Request) -> float | None:
    """Return the value of a trial: of its last report, or the best of all; None if it diverged or reported nothing."""
    values = [number(_at(report, metric)) for report in trial.reports]
    if request.value == "best":
        return best([value for value in values if value is not None], direction)
    return values[-1] if values else None


def _unfinished(folder: Path) -> int:
    """Return how many trials run or wait, by the state that Ray saved last; 0 if it cannot be read."""
    states = sorted(folder.glob("experiment_state-*.json"))
    if not states:
        return 0
    with suppress(InputError, ValueError, TypeError, LookupError, AttributeError):
        saved = _parsed(inside(folder, states[-1].name))["trial_data"]
        status = [parse_json(trial[0])["status"] for trial in saved]
        return sum(each in ("PENDING", "RUNNING", "PAUSED") for each in status)
    return 0
