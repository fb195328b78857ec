"""Optuna's figures of an arm's members, as plotly figures in JSON.

Akiba, Sano, Yanase, Ohta and Koyama, "Optuna: a next-generation hyperparameter optimization framework", KDD 2019. Importances are
PED-ANOVA's: Watanabe, Bansal and Hutter, "PED-ANOVA: efficiently quantifying hyperparameter importance in arbitrary subspaces",
IJCAI 2023.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from hpo.core.quiet_optuna import quiet_optuna
from hpo.report.members import Member
from hpo.report.numbers import printable
from hpo.report.optuna_study import Trials, in_memory
from hpo.report.phrases import say
from hpo.results.document import Results

FEWEST = 10
"""The fewest members that importances are computed of."""
GOOD = 5
"""The fewest members among the best ones, of which importances say what they have in common."""
MOST_AXES, MOST_SLICES, MOST_CONTOURS = 10, 6, 3
"""The most hyperparameters in a figure: the most important ones."""
MOST_POINTS = 100
"""The most members in the contour figure, whose size grows with the square of their number."""


@dataclass(frozen=True)
class OptunaFigure:
    """One of Optuna's figures of an arm.

    Args:
        name: `parallel_coordinates`, `importance`, `slice` or `contour`.
        figure: for plotly, with `data` and `layout`: texts are escaped, and the page decides colours and fonts. None if there
            is none.
        words: the caption; or why there is no figure.
    """

    name: str
    figure: dict[str, Any] | None
    words: str


def optuna_figures(results: Results, arm: str, members: Sequence[Member]) -> tuple[OptunaFigure, ...]:
    """Return the four figures of one arm's members; the same input gives the same figures.

    Args:
        results: of the run.
        arm: the arm's label.
        members: of the arm, in one or several replicates.
    """
    with quiet_optuna():
        return tuple(_Arm(results, arm, members).figures())


class _Arm:
    """The members of an arm that reached the end of their budget, as trials, by their number."""

    def __init__(self, results: Results, arm: str, members: Sequence[Member]) -> None:
        self._results, self._arm, self._members = results, arm, members
        complete = [member for member in members if member.outcome == "complete"]
        self._complete = sorted(complete, key=lambda member: (member.number, member.seed))
        making = Trials(results, _escaped)
        self._trials = [making.trial(member, whole=False) for member in self._complete]
        self._labels = [
            label for label in making.names.values() if any(label in trial.params for trial in self._trials)
        ]

    def figures(self) -> Iterator[OptunaFigure]:
        """Yield the figures."""
        if len(self._trials) < 2 or not self._labels:
            why = "few" if len(self._trials) < 2 else "empty"
            yield from (self._missing(name, why) for name in ("parallel_coordinates", "importance", "slice", "contour"))
            return
        study = in_memory(self._results, self._trials)
        importances, evaluator, best = dict[str, float](), None, 0
        if (count := len(self._trials)) >= FEWEST:
            # Only here: it imports scikit-learn, which takes a second.
            best = max(round(count / 10), GOOD)
            evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=best / count)
            importances = _importances(study, evaluator, self._labels)
        labels = list(importances) or self._labels
        draw = optuna.visualization
        yield self._drawn("parallel_coordinates", draw.plot_parallel_coordinate, study, labels[:MOST_AXES])
        if sum(importances.values()) > 0:
            importance = partial(draw.plot_param_importances, evaluator=evaluator)
            yield self._drawn("importance", importance, study, labels, best=best)
        else:
            yield self._missing("importance", "alike" if evaluator else "few_for_importance")
        yield self._drawn("slice", draw.plot_slice, study, labels[:MOST_SLICES])
        points = _spread(self._trials, study.best_trial.number)
        varied = [label for label in labels if len({repr(trial.params.get(label)) for trial in points}) > 1]
        if len(varied) > 1:
            yield self._drawn("contour", draw.plot_contour, in_memory(self._results, points), varied[:MOST_CONTOURS])
        else:
            yield self._missing("contour", "one")

    def _drawn(
        self, name: str, draw: Callable[..., Any], study: optuna.Study, labels: Sequence[str], best: int = 0
    ) -> OptunaFigure:
        try:
            figure = draw(study, params=list(labels), target_name=_escaped(self._results.task.primary))
        except Exception:  # such as an overflow near the largest floats: Optuna's code must not cost the report
            return self._missing(name, "failed")
        words = say(
            "optuna_figure",
            name=name,
            arm=self._arm,
            results=self._results,
            members=self._members,
            shown=len(study.get_trials(deepcopy=False)),
            left_out=len(self._labels) - len(labels),
            changes=any(len(member.schedule) > 1 for member in self._complete),
            copies=any(member.copies for member in self._complete),
            best=best,
        )
        return OptunaFigure(name, _plain(figure), words)

    def _missing(self, name: str, why: str) -> OptunaFigure:
        words = say("no_optuna_figure", why=why, arm=self._arm, results=self._results, fewest=FEWEST)
        return OptunaFigure(name, None, words)


def _escaped(text: str) -> str:
    """Return a text for plotly, which takes some tags for markup."""
    return html.escape(printable(text), quote=False)


def _plain(figure: Any) -> dict[str, Any]:
    """Return a plotly figure as JSON without what the page decides: title, width and colours of the background."""
    found: dict[str, Any] = json.loads(figure.to_json())
    for name in ("template", "title", "width", "plot_bgcolor"):
        found["layout"].pop(name, None)
    return found


def _importances(study: optuna.Study, evaluator: Any, labels: Sequence[str]) -> dict[str, float]:
    """Return the importances in descending order; empty if Optuna cannot compute them."""
    try:
        # With all labels given, equal importances are in their order, not in that of a set.
        return optuna.importance.get_param_importances(study, evaluator=evaluator, params=list(labels), normalize=False)
    except ValueError:  # before Optuna 5, if no trial has all the hyperparameters
        return {}


def _spread(trials: Sequence[FrozenTrial], best: int) -> list[FrozenTrial]:
    """Return at most `MOST_POINTS` trials, evenly spaced, with the best one."""
    if len(trials) <= MOST_POINTS:
        return list(trials)
    chosen = {round(place * (len(trials) - 1) / (MOST_POINTS - 2)) for place in range(MOST_POINTS - 1)}
    return [trials[place] for place in sorted(chosen | {best})]
