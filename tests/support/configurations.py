"""The options with which the conformance suite tries the registered optimizers, and what they refuse."""

from collections.abc import Mapping
from typing import Any

from hpo.core import options
from hpo.core.optimizer import OptimizerOptions
from hpo.core.options import Mistakes
from hpo.core.registry import optimizers
from hpo.testing import SIZES

TABLES: dict[str, dict[str, Any]] = {
    "asha": {"optimizer": "asha", "reduction_factor": 2},
    "asha-any": {"optimizer": "asha", "min_budget": 1.0, "select": "any"},
    "bg_pbt": {"optimizer": "bg_pbt", "patience": 1},
    "bohb": {"optimizer": "bohb", "reduction_factor": 2, "random_fraction": 0.0},
    "fire_pbt-greedy": {"optimizer": "fire_pbt", "sizes": [1, 0, 0]},
    "fire_pbt": {"optimizer": "fire_pbt"},
    "halton": {"optimizer": "quasi_random", "sequence": "halton"},
    "hyperband": {"optimizer": "hyperband", "reduction_factor": 2},
    "ipbt": {"optimizer": "ipbt", "perturbation_interval": 0.5},
    "ipbt-restarts": {
        "optimizer": "ipbt",
        "perturbation_interval": 0.5,
        "starts": 1,
        "step_multiplier": 1,
        "patience": 1,
        "select": "any",
    },
    "mf_pbt": {"optimizer": "mf_pbt"},
    "mf_pbt-migration": {"optimizer": "mf_pbt", "perturbation_interval": 0.5, "frequencies": [1, 2], "select": "any"},
    "optuna": {"optimizer": "optuna", "initial": 1},
    "optuna-blind": {"optimizer": "optuna", "initial": 0},
    "optuna-cmaes": {"optimizer": "optuna", "sampler": "cmaes", "initial": 1},
    "optuna-qmc": {"optimizer": "optuna", "sampler": "qmc", "initial": 1},
    "optuna-halving": {
        "optimizer": "optuna",
        "sampler": {"name": "tpe", "group": True},
        "pruner": {"name": "successive_halving", "reduction_factor": 2},
        "initial": 1,
    },
    "optuna-hyperband": {"optimizer": "optuna", "sampler": "random", "pruner": "hyperband", "initial": 1},
    "optuna-threshold": {
        "optimizer": "optuna",
        "sampler": {"name": "cmaes", "consider_pruned_trials": True},
        "pruner": {"name": "threshold", "lower": -1.0},
        "initial": 1,
    },
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
    "pbt-asynchronous": {
        "optimizer": "pbt",
        "perturbation_interval": 0.5,
        "selection": {"name": "backtrack", "otherwise": "binary_tournament"},
        "perturbation": {
            "name": "per_parameter",
            "default": {"name": "chain", "steps": [{"name": "resample", "probability": 0.25}, "neighbour"]},
        },
        "mode": "asynchronous",
    },
    "pbt-mix": {
        "optimizer": "pbt",
        "perturbation_interval": 0.5,
        "selection": "exploit_best",
        "perturbation": "pb2_mix",
        "explore": "all",
    },
    "pbt-t-test": {
        "optimizer": "pbt",
        "perturbation_interval": 0.5,
        "selection": {"name": "t_test", "window": 3},
        "perturbation": "pb2",
    },
    "pbt-standard-deviation": {
        "optimizer": "pbt",
        "perturbation_interval": 0.5,
        "selection": {"name": "standard_deviation", "threshold_std": 0.5},
    },
    "random_search-any": {"optimizer": "random_search", "select": "any"},
    "sobol": {"optimizer": "quasi_random"},
    "successive_halving": {"optimizer": "successive_halving", "reduction_factor": 2},
    "successive_halving-one-rung": {"optimizer": "successive_halving", "min_budget": 2.0},
}
"""By the name of the configuration, as an arm's table has it. A registered optimizer without one is tried with its defaults."""

_QUARTERS = {f"n = {n}": "sub-populations need four equal quarters" for n in SIZES}
REFUSES: dict[str, dict[str, str]] = {
    "bg_pbt": {"n = 1": "there is nobody to copy from"},
    "fire_pbt": {f"n = {n}": "two sub-populations and evaluators, two of each" for n in (1, 2, 3)},
    "fire_pbt-greedy": {"n = 1": "there is nobody to copy from"},
    "ipbt": {"n = 1": "there is nobody to copy from"},
    "ipbt-restarts": {"n = 1": "there is nobody to copy from"},
    "mf_pbt": _QUARTERS,
    "mf_pbt-migration": _QUARTERS,
    "pbt-asynchronous": {"n = 1": "a tournament needs an opponent"},
    "pbt-standard-deviation": {"n = 1": "there is nobody to copy from"},
    "pbt-t-test": {"n = 1": "a t-test needs another member"},
    "pbt-truncation": {"n = 1": "there is nobody to copy from"},
}
"""By configuration: what its start refuses (see `hpo.testing.check_optimizer`), and why. Anything else must start."""

OWN_PROPOSALS = {"grid"} | {name for name in TABLES if TABLES[name]["optimizer"] in ("grid", "optuna", "quasi_random")}
"""Configurations that do not train the initial population with the hyperparameters that all others start it with."""


def configurations() -> dict[str, OptimizerOptions]:
    """Return the options of every configuration, and of every registered optimizer that has none here, by name."""
    tables = dict(TABLES)
    for name in optimizers.names():
        if all(table["optimizer"] != name for table in TABLES.values()):
            tables[name] = {"optimizer": name}
    return {name: built(name, table) for name, table in sorted(tables.items())}


def built(name: str, table: Mapping[str, Any]) -> OptimizerOptions:
    """Return the options of an arm's table; `name` is for the message if there is a mistake in it."""
    problems = Mistakes()
    rest = {key: value for key, value in table.items() if key != "optimizer"}
    found = options.build(optimizers.get(table["optimizer"]), rest, name, problems)
    assert found is not None, f"{name} needs an entry in TABLES: {[str(problem) for problem in problems]}"
    return found
