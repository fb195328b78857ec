"""A run as studies in an Optuna storage, one for each arm and seed.

A search is what Optuna calls a study: the values of one search were measured on the same split, so that its best trial, its history
and its samplers mean something. Trial i is member i.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, get_storage
from optuna.trial import FrozenTrial
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from hpo.core.databases import check_database
from hpo.core.errors import HpoError, InputError
from hpo.core.quiet_optuna import quiet_optuna
from hpo.core.task import Direction
from hpo.export.run import Run
from hpo.report.members import members_of
from hpo.report.optuna_study import Trials, step_attributes


@dataclass(frozen=True)
class Exported:
    """A study in the storage.

    Args:
        name: of the study.
        trials: how many it has.
        new: how many of them were added now.
    """

    name: str
    trials: int
    new: int


@dataclass(frozen=True)
class _Search:
    name: str
    direction: Direction
    metric: str
    attributes: dict[str, Any]
    trials: Sequence[FrozenTrial]


def to_optuna(run: Run, url: str) -> list[Exported]:
    """Add the searches of a run to a storage. A search that is there already is left alone; one that is there in part is completed.

    Args:
        run: the run.
        url: of the storage, such as `sqlite:///x.db`.

    Raises:
        InputError: the storage cannot be opened, or a study of the same name is there and holds something else. Nothing was added.
        HpoError: the storage cannot be written.
    """
    with quiet_optuna():
        searches = list(_searches(run))
        storage = _open(url)
        try:
            there = {search.name: _there(storage, search, url) for search in searches}
            return [_add(storage, search, there[search.name]) for search in searches]
        except (SQLAlchemyError, StorageInternalError) as error:
            raise HpoError(f"{shown(url)}: cannot be written: {_first_line(error)}") from None
        finally:
            storage.remove_session()


def _searches(run: Run) -> Iterator[_Search]:
    results, making = run.results, Trials(run.results)
    metric = results.task.metric(results.task.primary)
    finished = {replicate.seed: replicate for replicate in results.replicates}
    for arm in results.arms:
        members = members_of(run.table[run.table["arm"] == arm.label], results)
        for seed in dict.fromkeys(member.seed for member in members):
            attributes: dict[str, Any] = {
                "study": results.name,
                "arm": arm.label,
                "seed": seed,
                "optimizer": arm.optimizer,
                "options": arm.options,
                "task": results.task.name,
                "metric": metric.name,
                "interval": f"{results.interval:g} {results.task.unit}",
                "finished": seed in finished,
            }
            if seed in finished:
                answer = finished[seed].arms[arm.label]
                attributes["schedule"] = [{"member": step.member, **step_attributes(step)} for step in answer.schedule]
                attributes["test"] = answer.test
            trials = [making.trial(member) for member in members if member.seed == seed]
            name = f"{results.name} / {arm.label} / seed {seed}"
            yield _Search(name, metric.direction, metric.name, attributes, trials)


def _open(url: str) -> BaseStorage:
    """Return the storage: a new one, or one of Optuna's."""
    try:
        check_database(url, {"studies"})
        return get_storage(url)
    except InputError as error:
        raise InputError(f"--optuna {shown(url)}: {error}") from None
    except (SQLAlchemyError, StorageInternalError, ImportError, ValueError, RuntimeError) as error:
        allowed = "allowed: the URL of a database, such as sqlite:///optuna.db"
        raise InputError(f"--optuna {shown(url)}: cannot be opened: {_first_line(error)}; {allowed}") from None


def _there(storage: BaseStorage, search: _Search, url: str) -> int:
    """Return how many trials of a search are there.

    Raises:
        InputError: there is something else.
    """
    try:
        study = optuna.load_study(study_name=search.name, storage=storage)
    except KeyError:
        return 0
    kept = study.get_trials(deepcopy=False)
    if not _is_part(study, kept, search):
        raise InputError(
            f"{shown(url)}: the study {search.name!r} is there already and holds something else, such as an earlier state of this"
            " run: pass another database, or delete it with `optuna delete-study`"
        )
    return len(kept)


def _is_part(study: optuna.Study, kept: Sequence[FrozenTrial], search: _Search) -> bool:
    """Return whether a study is what an export of this search leaves when it is interrupted, or all of it."""
    if [direction.name.lower() for direction in study.directions] != [search.direction]:
        return False
    attributes = _as_json(search.attributes)
    if any(name not in attributes or value != attributes[name] for name, value in study.user_attrs.items()):
        return False
    return len(kept) <= len(search.trials) and all(map(_same, kept, search.trials))


def _same(one: FrozenTrial, other: FrozenTrial) -> bool:
    return _facts(one) == _facts(other)


def _facts(trial: FrozenTrial) -> tuple[object, ...]:
    params = {name: trial.distributions[name].to_internal_repr(value) for name, value in trial.params.items()}
    return (
        trial.state,
        trial.value,
        params,  # as they are stored: integers as floats
        trial.distributions,
        trial.intermediate_values,
        _as_json(trial.user_attrs),
    )


def _as_json(value: object) -> Any:
    """Return a value as it is read back from a storage."""
    return json.loads(json.dumps(value))


def _add(storage: BaseStorage, search: _Search, there: int) -> Exported:
    study = optuna.create_study(
        study_name=search.name, storage=storage, direction=search.direction, load_if_exists=True
    )
    if study.metric_names is None:
        study.set_metric_names([search.metric])
    for name, value in search.attributes.items():
        if name not in study.user_attrs:
            study.set_user_attr(name, value)
    new = search.trials[there:]
    study.add_trials(new)
    return Exported(search.name, len(search.trials), len(new))


def shown(url: str) -> str:
    """Return a URL without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except SQLAlchemyError:
        return repr(url)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
