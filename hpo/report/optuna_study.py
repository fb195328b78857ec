"""Members as trials of an Optuna study: for Optuna's figures, importances and dashboard.

A trial has the hyperparameters with which its member started. What else segments.csv says of the member is in the trial's
intermediate values and user attributes, so that nothing is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo.core.parameters import Categorical
from hpo.core.quiet_optuna import quiet_optuna
from hpo.core.segments import Step, Value
from hpo.core.space import SearchSpace
from hpo.report.members import Member, Outcome, spelling
from hpo.results.document import Results

_STATES: dict[Outcome, TrialState] = {
    "complete": TrialState.COMPLETE,
    "stopped": TrialState.PRUNED,
    "diverged": TrialState.FAIL,
    "running": TrialState.RUNNING,
}


def in_memory(results: Results, trials: Iterable[FrozenTrial]) -> optuna.Study:
    """Return a study in memory that holds the given trials."""
    with quiet_optuna():
        study = optuna.create_study(direction=results.task.metric(results.task.primary).direction)
        study.add_trials(trials)
    return study


class Trials:
    """Makes trials of a run's members.

    Args:
        results: of the run.
        shown: what to write instead of a name, or of a choice that is a text; as it is by default.
    """

    def __init__(self, results: Results, shown: Callable[[str], str] = str) -> None:
        self._metric = results.task.primary
        self.names = _distinct(results.task.space, shown)
        """What is written instead of each hyperparameter's name."""
        self._choices = {
            name: _choices(found, shown) for name, found in results.task.space.items() if isinstance(found, Categorical)
        }
        with quiet_optuna():
            self._distributions = _distributions(results.task.space, self._choices)

    def trial(self, member: Member, *, whole: bool = True) -> FrozenTrial:
        """Return a member as a trial.

        Its value is that of the last segment; a diverged member has none. Its steps are intervals, counted from 0.

        Args:
            member: the member.
            whole: whether the trial gets intermediate values and user attributes.
        """
        start = {name: self._written(name, value) for name, value in member.hparams[0].items()}
        values = {row.interval: row.metrics.get(self._metric) for row in member.segments}
        scored = {interval: value for interval, value in values.items() if value is not None}
        ended = member.outcome in ("complete", "stopped")
        return create_trial(
            state=_STATES[member.outcome],
            value=scored[max(scored)] if ended else None,
            params={self.names[name]: value for name, value in start.items()},
            distributions={self.names[name]: self._distributions[name] for name in start},
            intermediate_values=scored if whole else None,
            user_attrs=_attributes(member, self._metric) if whole else None,
        )

    def _written(self, name: str, value: Value) -> Value:
        return self._choices[name][str(value)] if name in self._choices else value


def _distributions(space: SearchSpace, choices: Mapping[str, Mapping[str, Value]]) -> dict[str, BaseDistribution]:
    return {
        name: CategoricalDistribution(tuple(choices[name].values())) if name in choices else parameter.to_optuna()
        for name, parameter in space.items()
    }


def _choices(parameter: Categorical, shown: Callable[[str], str]) -> dict[str, Value]:
    """Return what is written instead of each choice, by its text in segments.csv. Names of numbers stay numbers."""
    choices = spelling(parameter)
    texts = _distinct([value for value in choices.values() if isinstance(value, str)], shown)
    return {text: texts[value] if isinstance(value, str) else value for text, value in choices.items()}


def _distinct(texts: Iterable[str], shown: Callable[[str], str]) -> dict[str, str]:
    """Return what is written instead of each text: all different."""
    found: dict[str, str] = {}
    for text in texts:
        other = shown(text)
        while other in found.values():
            other += "′"
        found[text] = other
    return found


def step_attributes(step: Step) -> dict[str, Any]:
    """Return a step of a schedule as plain values, without its member; with a weight transform only if it has one."""
    transform = {} if step.transform is None else {"transform": step.transform.to_json()}
    return {"start": step.start, "stop": step.stop, "hparams": dict(step.hparams), **transform}


def _attributes(member: Member, metric: str) -> dict[str, Any]:
    """Return what parameters and intermediate values do not hold; what would be empty is left out."""
    rows = member.segments
    others = dict.fromkeys(name for row in rows for name in row.metrics if name != metric)
    found: dict[str, Any] = {
        "copied_from": {str(interval): donor for interval, donor in member.copies.items()},
        "best_lineage": [row.interval for row in rows if row.best],
        "diverged": [row.interval for row in rows if row.diverged],
    }
    for name in others:
        values = {str(row.interval): row.metrics.get(name) for row in rows}
        found[f"metric:{name}"] = {interval: value for interval, value in values.items() if value is not None}
    return {
        "seed": member.seed,
        "arm": member.arm,
        "member": member.number,
        "schedule": [step_attributes(step) for step in member.schedule],
        **{name: value for name, value in found.items() if value},
    }
