"""`hpo.SearchCV`: a search of the hyperparameters of a scikit-learn estimator, by cross-validation.

`BaseSearchCV` does everything but propose candidates: it fits and scores them on every split, in parallel through joblib, routes
metadata, and refits the best one. Its documentation names `_run_search` as the method that other searches define. It is in a
private module, from which scikit-optimize, scikit-learn's own halving searches and others import it.

A search keeps nothing on disk: `BaseSearchCV` fits whatever it is given, so finished candidates could not be skipped. For a search
that can be interrupted there is `hpo.tune`, which proposes the same candidates.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils import check_random_state

from hpo.core.errors import OptionError, SpecError, did_you_mean
from hpo.core.optimizer import OptimizerOptions
from hpo.core.options import Mistakes
from hpo.core.parameters import Categorical, Parameter
from hpo.core.segments import HParams, Value
from hpo.engine.ask_tell import ask_tell
from hpo.engine.asking import AskTell

Choices = Mapping[str, Mapping[Value, Any]]
"""The choices of any kind, by the name of the hyperparameter and by what stands for them in the search."""


class SearchCV(BaseSearchCV):  # type: ignore[misc]
    """Search the hyperparameters of an estimator for the best cross-validated score.

    It is used like `RandomizedSearchCV`, and has the same methods and fitted attributes. Candidates come from one of `hpo`'s
    optimizers, and are the same as those of `hpo.tune` with the same seed. The result does not depend on `n_jobs`.

    >>> from sklearn.datasets import load_iris
    >>> from sklearn.svm import SVC
    >>> search = SearchCV(SVC(), {"C": hpo.Float(0.01, 100, log=True), "class_weight": [None, "balanced"]}, trials=10)
    >>> round(float(search.fit(*load_iris(return_X_y=True)).best_score_), 2)
    0.99

    Args:
        estimator: what is fitted, with `score`, unless `scoring` is given.
        space: by the name of the estimator's parameter (`step__parameter` in a pipeline): `hpo.Float`, `hpo.Int` or
            `hpo.Categorical`; or choices of any kind, such as None or estimators: a list of them, or a mapping of texts to them.
            Conditions (`when`) name such a choice by its text, or by its `repr`.
        feasible: a rule across them: says whether parameters of the estimator may be tried together; no others are.
        optimizer: a registered optimizer or sampler by name; or a table as in a study file, `{"optimizer": "tpe", "initial": 10}`;
            or its options as an object.
        trials: the number of candidates.
        concurrency: how many candidates are proposed before the first of them is scored; by default the optimizer's own choice.
            This many times the number of splits are fitted in parallel, if there are as many `n_jobs`.
        scoring: as in `RandomizedSearchCV`. With several metrics the optimizer maximizes the one that `refit` names, and otherwise
            the first. A candidate whose mean score is not finite is diverged.
        n_jobs: as in `RandomizedSearchCV`.
        refit: as in `RandomizedSearchCV`.
        cv: as in `RandomizedSearchCV`. All candidates are scored on the same splits.
        verbose: as in `RandomizedSearchCV`.
        pre_dispatch: as in `RandomizedSearchCV`.
        random_state: the seed of the search; a `RandomState` or None draw one.
        error_score: as in `RandomizedSearchCV`.
        return_train_score: as in `RandomizedSearchCV`.

    Raises:
        InputError: the estimator has no such parameter, or the search cannot start; nothing was fitted.
    """

    def __init__(
        self,
        estimator: Any,
        space: Mapping[str, Parameter | Sequence[Any] | Mapping[str, Any]],
        *,
        feasible: Callable[[dict[str, Any]], bool] | None = None,
        optimizer: str | Mapping[str, Any] | OptimizerOptions = "tpe",
        trials: int = 100,
        concurrency: int | None = None,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        pre_dispatch: int | str = "2*n_jobs",
        random_state: int | np.random.RandomState | None = 0,
        error_score: float | str = np.nan,
        return_train_score: bool = False,
    ) -> None:
        super().__init__(
            estimator=estimator,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.space = space
        self.feasible = feasible
        self.optimizer = optimizer
        self.trials = trials
        self.concurrency = concurrency
        self.random_state = random_state

    def _run_search(self, evaluate_candidates: Any, *, callback_ctx: Any = None) -> None:
        """Propose candidates until all trials are spent; `BaseSearchCV` calls this with what fits and scores them."""
        space, choices = _read_space(self.space, problems := Mistakes())
        _check_names(self.estimator, space, choices, problems)
        search = self._search(space, choices, problems)
        splits = _SameSplits(self._checked_cv_orig)
        with _reported(self, callback_ctx, "search", max_subtasks=None) as whole:
            while not search.done:
                trials = list(iter(search.ask, None))
                candidates = [_parameters(trial.hparams, choices) for trial in trials]
                fits = len(trials) * self.n_splits_
                with _reported(self, whole, "round", max_subtasks=fits, sequential_subtasks=False) as part:
                    given = {} if part is None else {"callback_ctx": part}
                    results = evaluate_candidates(candidates, cv=splits, **given)
                scores = results[self._metric(results)][-len(trials) :]
                for trial, score in zip(trials, scores, strict=True):
                    search.tell(trial, score)

    def _metric(self, results: Mapping[str, Any]) -> str:
        """Return the key of the scores to maximize."""
        means = [key for key in results if key.startswith("mean_test_")]
        return next((key for key in means if key == f"mean_test_{self.refit}"), means[0])

    def _search(self, space: Mapping[str, Parameter], choices: Choices, problems: Mistakes) -> AskTell:
        """Return a new search, or report what is wrong."""
        rule: Any = getattr(self.space, "feasible", None) if self.feasible is None else self.feasible
        seed = _plain(self.random_state)
        if seed is None or isinstance(seed, np.random.RandomState):
            seed = int(check_random_state(seed).randint(2**31))
        if not problems:
            try:
                return ask_tell(
                    space,
                    feasible=(lambda hparams: rule(_parameters(hparams, choices))) if callable(rule) else rule,
                    optimizer=self.optimizer,
                    seed=seed,
                    direction="maximize",
                    trials=_plain(self.trials),
                    concurrency=_plain(self.concurrency),
                )
            except SpecError as error:
                names = {"seed": "random_state"}
                problems += [replace(each, key=names.get(each.key, each.key)) for each in error.problems]
        raise SpecError("hpo.SearchCV", problems)


class _SameSplits:
    """A splitter that splits once, so that all candidates are scored on the same splits, even random ones."""

    def __init__(self, splitter: Any) -> None:
        self._splitter = splitter
        self._splits: list[Any] | None = None

    def split(self, X: Any, y: Any = None, **given: Any) -> list[Any]:
        """Return the splits of the first call."""
        if self._splits is None:
            self._splits = list(self._splitter.split(X, y, **given))
        return self._splits


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


@contextmanager
def _reported(search: SearchCV, parent: Any, name: str, **options: Any) -> Iterator[Any]:
    """Report a task to the callbacks of a search, which scikit-learn has since its version 1.9."""
    if parent is None:
        yield None
        return
    context = parent.subcontext(task_name=name, **options).call_on_fit_task_begin(estimator=search)
    yield context
    context.call_on_fit_task_end(estimator=search)


# --- the space -------------------------------------------------------------------------------------------------------


def _read_space(given: Any, problems: Mistakes) -> tuple[dict[str, Parameter], Choices]:
    """Return the hyperparameters, and what their choices stand for."""
    space: dict[str, Parameter] = {}
    choices: dict[str, Mapping[Value, Any]] = {}
    if not isinstance(given, Mapping) or not given:
        problems.add("search_space", "allowed: at least one hyperparameter by name", given)
        return {}, {}
    for key, entry in given.items():
        name = str(key)
        if isinstance(entry, Parameter):
            space[name] = replace(entry)  # it caches values, and a search must not change its own parameters
            continue
        if isinstance(entry, Mapping):
            choices[name] = dict(entry)
        elif isinstance(entry, (list, tuple, range, np.ndarray)):
            choices[name] = {_text(value): value for value in entry}
            if len(choices[name]) < len(entry):
                problems.add(f"search_space.{name}", "allowed: choices that are all different", entry)
        else:
            allowed = "allowed: hpo.Float(...), hpo.Int(...), hpo.Categorical(...) or a list of choices"
            problems.add(f"search_space.{name}", allowed, entry)
            continue
        try:
            space[name] = Categorical(tuple(choices[name]))
        except OptionError as error:
            problems.add(f"search_space.{name}", f"allowed: {error.allowed}", entry)
    return space, choices


def _text(choice: Any) -> Value:
    """Return what stands for a choice in the search."""
    plain = _plain(choice)
    return plain if isinstance(plain, (str, bool, int, float)) else repr(choice)


def _parameters(hparams: HParams, choices: Choices) -> dict[str, Any]:
    """Return the estimator's parameters in a trial."""
    return {name: choices[name][value] if name in choices else value for name, value in hparams.items()}


def _check_names(estimator: Any, space: Mapping[str, Parameter], choices: Choices, problems: Mistakes) -> None:
    """Report hyperparameters that are no parameters of the estimator, of its steps, or of a choice of these."""
    owners = _owners(estimator, choices)
    for name, parameter in space.items():
        path, _, last = name.rpartition("__")
        value = next(iter(choices[name].values())) if name in choices else parameter.from_unit(0.5)
        if any(_accepts(owner, last, value) for owner in owners.get(path, [])):
            continue
        if path in owners:
            owner = owners[path][0]
            step = f", the step {path!r}" if path else ""
            allowed = f"not a parameter of {type(owner).__name__}{step}"
            problems.add(f"search_space.{name}", allowed, hint=did_you_mean(last, owner.get_params()))
        else:
            allowed = f"{type(estimator).__name__} has no estimator {path!r}"
            problems.add(f"search_space.{name}", allowed, hint=did_you_mean(path, filter(None, owners)))


def _owners(estimator: Any, choices: Choices) -> dict[str, list[Any]]:
    """Return the estimators that can be at each path of names: the estimator itself at "", its steps, and choices of these."""
    owners: dict[str, list[Any]] = {}
    parts = [("", estimator), *((name, value) for name in choices for value in choices[name].values())]
    for path, part in parts:
        if not _has_parameters(part):
            continue
        owners.setdefault(path, []).append(part)
        for name, value in part.get_params().items():
            if _has_parameters(value):
                owners.setdefault(f"{path}__{name}" if path else name, []).append(value)
    return owners


def _has_parameters(value: Any) -> bool:
    return hasattr(value, "get_params") and not isinstance(value, type)


def _accepts(owner: Any, name: str, value: Any) -> bool:
    # Only the estimator itself knows: some accept more parameters than `get_params` names.
    try:
        clone(owner).set_params(**{name: value})
    except ValueError:
        return False
    return True
