"""Plug-ins by name.

A plug-in is looked up in this order: registered by a decorator; built in (its module is imported when its name is first used); an
entry point of an installed package in the groups `hpo.tasks`, `hpo.optimizers`, `hpo.selections`, `hpo.perturbations`,
`hpo.samplers`, `hpo.pruners`, `hpo.trackers`.

>>> import hpo
>>> @hpo.register_selection("keep")
... @dataclass(frozen=True)
... class Keep:
...     def check(self, population_size): ...
...     def __call__(self, population, rng):
...         return {}
"""

import dataclasses
import importlib
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from hpo.core.errors import HpoError, InputError, did_you_mean
from hpo.core.optimizer import OptimizerOptions, Perturbation, Pruner, Sampler, Selection
from hpo.core.task import Task
from hpo.core.tracker import Tracker

P = TypeVar("P")


class UnknownName(InputError):
    """No plug-in of this kind has this name."""

    def __init__(self, kind: str, name: str, valid: list[str]) -> None:
        self.hint = did_you_mean(name, valid)
        self.allowed = f"one of {', '.join(valid)}"
        super().__init__(f"unknown {kind} {name!r}: {self.allowed}" + (f" ({self.hint})" if self.hint else ""))


@dataclass(frozen=True)
class Origin:
    """Where a plug-in's class is defined, so that another process can import it.

    Args:
        module: the module's name; `__main__` for a script.
        file: its file; None for an interactive session, or a script that was not read from a file.
    """

    module: str
    file: str | None


class Registry(Generic[P]):
    """The plug-ins of one kind.

    Args:
        kind: the kind, for messages: `task`, `optimizer`, ...
        group: the entry-point group.
        builtin: names of built-in plug-ins, with the modules that register them when imported.
        aliases: returns further names that a study file may use, for messages; the reader of the file resolves them.
        frozen: whether plug-ins are frozen dataclasses, whose fields are their options in a study file.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        builtin: dict[str, str],
        aliases: Callable[[], Sequence[str]] = tuple,
        frozen: bool = True,
    ) -> None:
        self.kind = kind
        self._group = group
        self._builtin = builtin
        self._aliases = aliases
        self._frozen = frozen
        self._classes: dict[str, type[P]] = {}

    def register(self, name: str) -> Callable[[type[P]], type[P]]:
        """Return a class decorator that registers a plug-in under a name."""

        def decorate(cls: type[P]) -> type[P]:
            params = getattr(cls, "__dataclass_params__", None)
            if self._frozen and (params is None or not params.frozen):
                raise HpoError(f"{self.kind} {name!r}: {cls.__qualname__} must be a @dataclass(frozen=True)")
            known = self._classes.get(name)
            if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
                raise HpoError(f"{self.kind} {name!r} is already registered by {known.__module__}.{known.__qualname__}")
            self._classes[name] = cls
            return cls

        return decorate

    def names(self) -> list[str]:
        """Return all names that `get` accepts, sorted."""
        return sorted({*self._classes, *self._builtin, *(point.name for point in entry_points(group=self._group))})

    def get(self, name: str) -> type[P]:
        """Return the class with this name.

        Raises:
            UnknownName: there is none; names the nearest valid name.
        """
        if name not in self._classes and name in self._builtin:
            with warnings.catch_warnings():
                # Optuna imports tqdm, which in a notebook warns about a progress bar that nobody uses.
                warnings.filterwarnings("ignore", "IProgress not found")
                importlib.import_module(self._builtin[name])
        if name not in self._classes:
            for point in entry_points(group=self._group, name=name):
                self.register(name)(point.load())
        if name not in self._classes:
            raise UnknownName(self.kind, name, [*self.names(), *self._aliases()])
        return self._classes[name]

    def find(self, plugin: object) -> str | None:
        """Return the name under which a plug-in's class is registered, or None."""
        return next((name for name, cls in self._classes.items() if type(plugin) is cls), None)


def origin_of(cls: type) -> Origin:
    """Return where a class is defined."""
    module = sys.modules.get(cls.__module__)
    file = Path(getattr(module, "__file__", None) or "<none>")  # "<stdin>" for `python - < script.py`
    return Origin(cls.__module__, str(file.resolve()) if file.is_file() else None)


def to_table(plugin: object) -> dict[str, object]:
    """Return a plug-in's options as the table of a study file.

    Nested plug-ins, single, in lists or in tables and at any depth, become tables with their `name`. Options that are None are left
    out, as in a study file.
    """
    options = {item.name: getattr(plugin, item.name) for item in dataclasses.fields(plugin)}  # type: ignore[arg-type]
    return {name: _written(value) for name, value in options.items() if value is not None}


def _written(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = next(filter(None, (plugins.find(value) for plugins in NESTED.values())), None)
        return ({} if name is None else {"name": name}) | to_table(value)
    if isinstance(value, Mapping):
        return {name: _written(item) for name, item in value.items()}
    return [_written(item) for item in value] if isinstance(value, (tuple, list)) else value


tasks: Registry[Task] = Registry(  # type: ignore[type-arg]
    "task",
    "hpo.tasks",
    {
        "mnist": "hpo.tasks.images.mnist",
        "fashion_mnist": "hpo.tasks.images.fashion_mnist",
        "cifar10": "hpo.tasks.images.cifar10",
        "digits": "hpo.tasks.digits",
        "mnist1d": "hpo.tasks.mnist1d",
        "cartpole": "hpo.tasks.cartpole",
        "toy": "hpo.tasks.toy",
        "coin": "hpo.tasks.coin",
        "function": "hpo.tasks.function",
        "loop": "hpo.tasks.loop",
    }
    | dict.fromkeys(["schedule_wins", "greed_loses", "all_tie"], "hpo.tasks.landscapes")
    | dict.fromkeys(["zoo_plain", "zoo_deceptive"], "hpo.tasks.zoo"),
)
optimizers: Registry[OptimizerOptions] = Registry(
    "optimizer",
    "hpo.optimizers",
    {
        "random_search": "hpo.optimizers.random_search",
        "grid": "hpo.optimizers.grid",
        "quasi_random": "hpo.optimizers.quasi_random",
        "successive_halving": "hpo.optimizers.successive_halving",
        "asha": "hpo.optimizers.asha",
        "hyperband": "hpo.optimizers.hyperband",
        "bg_pbt": "hpo.optimizers.bg_pbt",
        "ipbt": "hpo.optimizers.ipbt",
        "bohb": "hpo.optimizers.bohb",
        "mf_pbt": "hpo.optimizers.mf_pbt",
        "pbt": "hpo.optimizers.pbt",
        "fire_pbt": "hpo.optimizers.fire_pbt",
        "optuna": "hpo.optimizers.optuna",
    },
    aliases=lambda: samplers.names(),
)
selections: Registry[Selection] = Registry(
    "selection",
    "hpo.selections",
    dict.fromkeys(["truncation", "exploit_best", "binary_tournament", "none"], "hpo.optimizers.selection")
    | {name: f"hpo.optimizers.{name}" for name in ("t_test", "backtrack", "standard_deviation")},
)
perturbations: Registry[Perturbation] = Registry(
    "perturbation",
    "hpo.perturbations",
    {
        **dict.fromkeys(["multiply", "resample", "gaussian", "neighbour", "none"], "hpo.optimizers.perturbation"),
        **dict.fromkeys(["chain", "per_parameter"], "hpo.optimizers.composition"),
        "pb2": "hpo.optimizers.pb2",
        "pb2_mix": "hpo.optimizers.pb2_mix",
    },
)
samplers: Registry[Sampler] = Registry(
    "sampler",
    "hpo.samplers",
    dict.fromkeys(["tpe", "cmaes", "gp", "qmc", "random"], "hpo.optimizers.samplers"),
)
pruners: Registry[Pruner] = Registry(
    "pruner",
    "hpo.pruners",
    dict.fromkeys(
        ["none", "median", "percentile", "successive_halving", "hyperband", "patient", "threshold"],
        "hpo.optimizers.pruners",
    ),
)
trackers: Registry[Tracker] = Registry(
    "tracker",
    "hpo.trackers",
    {name: f"hpo.trackers.{name}" for name in ("tensorboard", "mlflow", "wandb")},
    frozen=False,
)
NESTED: dict[object, Registry[Any]] = {
    Selection: selections,
    Perturbation: perturbations,
    Sampler: samplers,
    Pruner: pruners,
}
"""Registries of plug-ins that occur in other plug-ins' options, by the type with which the field is annotated."""

register_task = tasks.register
register_optimizer = optimizers.register
register_selection = selections.register
register_perturbation = perturbations.register
register_sampler = samplers.register
register_pruner = pruners.register
register_tracker = trackers.register
