"""The options with which the conformance suite tries the registered optimizers, and what they refuse."""

from collections.abc import Mapping
from typing import Any

from hpo import options
from hpo.options import Mistakes
from hpo.protocols import OptimizerOptions
from hpo.registry import optimizers

TABLES: dict[str, dict[str, Any]] = {
    "optuna": {"optimizer": "optuna", "initial": 1},
    "optuna-blind": {"optimizer": "optuna", "initial": 0},
    "pbt": {"optimizer": "pbt", "perturbation_interval": 0.5, "selection": "exploit_best"},
    "pbt-truncation": {
        "optimizer": "pbt",
        "perturbation_interval": 0.5,
        "selection": {"name": "truncation", "quantile_fraction": 0.5},
    },
    "pbt-all": {
        "optimizer": "pbt",
        "perturbation_interval": 0.5,
        "selection": "exploit_best",
        "perturbation": {"name": "gaussian", "sigma": 0.3, "bounds": "reflect"},
        "explore": "all",
        "burn_in": 1.0,
        "select": "any",
    },
    "pbt-weights": {
        "optimizer": "pbt",
        "perturbation_interval": 1.0,
        "selection": "exploit_best",
        "inherit": "weights",
    },
    "random_search-any": {"optimizer": "random_search", "select": "any"},
}
"""By the name of the configuration, as an arm's table has it. A registered optimizer without one is tried with its defaults."""

REFUSES: dict[str, dict[str, str]] = {
    "pbt-truncation": {"n = 1": "there is nobody to copy from"},
}
"""By configuration: what its start refuses (see `hpo.testing.check_optimizer`), and why. Anything else must start."""

OWN_PROPOSALS = {"optuna", "optuna-blind"}
"""Configurations that do not train the initial population with the hyperparameters that all others start it with."""


def configurations() -> dict[str, OptimizerOptions]:
    """Return the options of every configuration, and of every registered optimizer that has none here, by name."""
    tables = dict(TABLES)
    for name in optimizers.names():
        if all(table["optimizer"] != name for table in TABLES.values()):
            tables[name] = {"optimizer": name}
    return {name: _built(name, table) for name, table in sorted(tables.items())}


def _built(name: str, table: Mapping[str, Any]) -> OptimizerOptions:
    problems = Mistakes()
    rest = {key: value for key, value in table.items() if key != "optimizer"}
    built = options.build(optimizers.get(table["optimizer"]), rest, name, problems)
    assert built is not None, f"{name} needs an entry in TABLES: {[str(problem) for problem in problems]}"
    return built
