"""Studies in an Optuna storage, read with Optuna and never changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from hpo.compare.data import Direction, Request, Role
from hpo.compare.searches.search import Search, attributes_of, number
from hpo.compare.table.words import direction_of
from hpo.core.databases import MAGIC
from hpo.core.errors import InputError
from hpo.report.numbers import listed

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial
    from sqlalchemy.engine import URL

_TABLES = {"studies", "study_directions", "trials", "trial_values", "version_info", "alembic_version"}
_ROLES: tuple[Role, ...] = ("arm", "task", "seed")


def read_storage(given: str, request: Request, wanted: Callable[[Sequence[str]], bool]) -> Iterator[Search]:
    """Yield the studies of an Optuna storage.

    Args:
        given: a URL such as `sqlite:///optuna.db`, or the path of an SQLite file.
        request: the command line.
        wanted: whether to read a study, by the folders and the database that hold it and its name.

    Raises:
        InputError: it is not an Optuna storage, or a study has several objectives or no finished trial.
    """
    import optuna
    import sqlalchemy
    from sqlalchemy.engine import URL, make_url

    try:
        url = make_url(given) if "://" in given else URL.create("sqlite", database=given)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise InputError(f"{given}: not a URL of a database; allowed: for example sqlite:///optuna.db") from None
    shown = url.render_as_string(hide_password=True) if "://" in given else given
    if url.get_backend_name() == "sqlite":
        names, url = _sqlite(url, shown)
    else:
        names = ((url.database or shown).rpartition("/")[2],)
    try:
        storage = _open(url, shown)
        all_names = [study.study_name for study in storage.get_all_studies()]
        picked = [name for name in all_names if wanted((*names, name))]
        studies = [optuna.load_study(study_name=name, storage=storage) for name in picked]
        trials = [study.get_trials(deepcopy=False) for study in studies]
    except InputError:
        raise
    except Exception as error:  # what Optuna and SQLAlchemy make of a file that anyone may have written
        first = str(error).strip().partition("\n")[0]
        raise InputError(f"{shown}: Optuna cannot read this storage: {first or type(error).__name__}") from None
    if not all_names:
        raise InputError(f"{shown}: this storage holds no study")
    for study, of_study in zip(studies, trials, strict=True):
        yield _Study(study, of_study, f"{shown}: study {study.study_name!r}", request).search(
            (*names, study.study_name)
        )


def _sqlite(url: URL, shown: str) -> tuple[tuple[str, ...], URL]:
    """Return the folders and the name of an SQLite file, and a URL by which nothing can be written.

    Raises:
        InputError: it is not an Optuna storage, or holds what could run code of its author's.
    """
    from sqlalchemy.engine import URL

    path = Path(url.database or "")
    if not path.is_file():
        raise InputError(f"{shown}: no such file")
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise InputError(f"{shown}: not an SQLite database")
    address = f"file:{quote(str(path.resolve()))}"
    try:
        with closing(sqlite3.connect(f"{address}?mode=ro", uri=True)) as db:
            db.execute("PRAGMA trusted_schema=OFF")
            schema = db.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    except sqlite3.Error as error:
        raise InputError(f"{shown}: cannot be read: {error}") from None
    _check_tables({str(name) for kind, name, _ in schema if kind == "table"}, shown)
    # A view or a trigger would run any SQL of the file's author, possibly forever.
    foreign = [str(name) for kind, name, sql in schema if kind in ("view", "trigger") or "VIRTUAL" in str(sql).upper()]
    if foreign:
        raise InputError(f"{shown}: holds {listed(foreign)}, which no Optuna storage does")
    return (*path.resolve().parent.parts, path.stem), URL.create(
        "sqlite", database=address, query={"mode": "ro", "uri": "true"}
    )


def _check_tables(found: set[str], shown: str) -> None:
    if lacking := sorted(_TABLES - found):
        raise InputError(f"{shown}: not an Optuna storage: it has no table {listed([repr(name) for name in lacking])}")


def _open(url: URL, shown: str) -> RDBStorage:
    import sqlalchemy
    from optuna.storages import RDBStorage

    text = url.render_as_string(hide_password=False)
    # Before Optuna opens it, which would add what its own tables lack.
    engine = sqlalchemy.create_engine(url)
    try:
        _check_tables(set(sqlalchemy.inspect(engine).get_table_names()), shown)
    finally:
        engine.dispose()
    return RDBStorage(text.replace("{", "{{").replace("}", "}}"), skip_table_creation=True)


class _Study:
    """One study: what its best trial found."""

    def __init__(self, study: Study, trials: Sequence[FrozenTrial], place: str, request: Request) -> None:
        finished = [trial for trial in trials if trial.state.is_finished()]
        self.study, self.place, self.request = study, place, request
        self.unfinished = len(trials) - len(finished)
        self.trials = sorted(finished, key=lambda trial: trial.number)[: request.trials]

    def search(self, names: tuple[str, ...]) -> Search:
        directions = self.study.directions
        if len(directions) != 1:
            raise InputError(
                f"{self.place}: has {len(directions)} objectives; allowed: studies with one, because several have no single best"
                " trial"
            )
        attributes = attributes_of(self.study.user_attrs)
        objective: Direction = "maximize" if directions[0].name == "MAXIMIZE" else "minimize"
        metric, direction, value = self._value(objective)
        return Search(
            names=names,
            place=self.place,
            attributes=attributes,
            roles={role: attributes[role] for role in _ROLES if role in attributes},
            metric=metric,
            direction=direction,
            value=value,
            chosen_by=metric in (None, *(self.study.metric_names or ())),
            trials=len(self.trials),
            reports=sum(max(1, len(trial.intermediate_values)) for trial in self.trials),
            unfinished=self.unfinished,
        )

    def _value(self, objective: Direction) -> tuple[str | None, Direction, float]:
        """Return the metric, its direction, and its value: the best objective, or an attribute of the study or its best trial."""
        best = self._best(objective)
        name = next(iter(self.study.metric_names or ()), None)
        metric = self.request.metric
        if metric in (None, name):
            return name, self._agreed(objective), best.value or 0.0
        assert metric is not None
        attributes = {**self.study.user_attrs, **best.user_attrs}
        value = number(attributes.get(metric))
        if value is None:
            have = [repr(each) for each, found in attributes.items() if number(found) is not None]
            raise InputError(
                f"--metric {metric!r}: {self.place}: neither the study nor its best trial has a number of this name as a user"
                f" attribute; found: {listed(have) or 'none'}; without --metric, the best objective is compared"
            )
        direction = self.request.direction or direction_of(metric)
        if direction is None or (self.request.direction is None and direction == "maximize"):
            raise InputError(f"--metric {metric!r}: {self.place}: are higher or lower values better? Say --direction")
        return metric, direction, value

    def _agreed(self, objective: Direction) -> Direction:
        if self.request.direction not in (None, objective):
            raise InputError(
                f"--direction {self.request.direction}: {self.place} says that its objective is to {objective}"
            )
        return objective

    def _best(self, objective: Direction) -> FrozenTrial:
        complete = [
            trial for trial in self.trials if trial.state.name == "COMPLETE" and number(trial.value) is not None
        ]
        if not complete:
            raise InputError(
                f"{self.place}: none of its {len(self.trials)} finished trials has a value, so it has no best one; leaving it"
                " out would favour its arm"
            )
        feasible = [trial for trial in complete if _is_feasible(trial)]
        if not feasible:
            raise InputError(f"{self.place}: no trial satisfies its constraints, so it has no best one")
        sign = 1 if objective == "minimize" else -1
        return min(feasible, key=lambda trial: sign * (trial.value or 0.0))


def _is_feasible(trial: FrozenTrial) -> bool:
    """Whether a trial satisfies its constraints, as `Study.best_trial` decides it."""
    found = getattr(trial, "constraints", None) or trial.system_attrs.get("constraints")
    values = found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
    return all((number(value) or 0) <= 0 for value in values)
