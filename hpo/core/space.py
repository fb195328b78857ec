"""Search spaces: hyperparameters by name, some of which are active only for certain values of others.

`hpo.core.parameters` defines single hyperparameters; its classes can also be imported from here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpo.core.errors import OptionError
from hpo.core.parameters import Bounds, Categorical, Float, Int, Parameter, When, conditions
from hpo.core.segments import HParams, ReadOnlyHParams, Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = ["Bounds", "Categorical", "Float", "Int", "Parameter", "Rule", "SearchSpace", "When", "mistakes"]

Rule = Callable[[HParams], bool]
"""Says whether active hyperparameters suit each other. It depends on them alone."""
TRIES = 10_000
"""The most draws from the prior until one is feasible."""
_HALVINGS = 10
"""Halvings of the line on which feasible hyperparameters are looked for."""


@dataclass(frozen=True)
class SearchSpace(Mapping[str, Parameter]):
    """Hyperparameters by name.

    >>> space = SearchSpace({"lr": Float(1e-5, 1.0, log=True), "layers": Int(1, 4)})
    >>> sorted(space.sample(np.random.default_rng(0)))
    ['layers', 'lr']

    A hyperparameter with `when` is active only if each of its controls is active and has one of the values in `when`. Controls are
    categorical or int hyperparameters of the same space. A member's `hparams` contain exactly its active hyperparameters:

    >>> space = SearchSpace(
    ...     {"beta2": Float(0.9, 0.999, when={"optimizer": "adam"}), "optimizer": Categorical(("sgd", "adam"))}
    ... )
    >>> list(space.active({"optimizer": "sgd"})), list(space.active({"optimizer": "adam"}))
    (['optimizer'], ['beta2', 'optimizer'])

    A rule across hyperparameters makes some of them infeasible. Draws from the prior are feasible:

    >>> space = SearchSpace({"batch": Int(1, 64), "part": Int(1, 64)}, feasible=lambda h: h["batch"] >= 2 * h["part"])
    >>> space.is_feasible({"batch": 10, "part": 8}), space.is_feasible(space.sample(np.random.default_rng(0)))
    (False, True)

    Args:
        parameters: the hyperparameters by name.
        feasible: the rule; None: all hyperparameters inside their bounds are feasible. A task states its rule as
            `Task.is_feasible`.

    Raises:
        OptionError: a condition is impossible; the option is named `<hyperparameter>.when.<control>`.
    """

    parameters: Mapping[str, Parameter]
    feasible: Rule | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        for error in mistakes(self.parameters):
            raise error

    def __getitem__(self, name: str) -> Parameter:
        return self.parameters[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.parameters)

    def __len__(self) -> int:
        return len(self.parameters)

    @cached_property
    def ordered(self) -> tuple[str, ...]:
        """The names, with controls before what they control, and otherwise in the space's order."""
        names: dict[str, None] = {}

        def add(name: str) -> None:
            for control in self._conditions.get(name, ()):
                add(control)
            names.setdefault(name)

        for name in self:
            add(name)
        return tuple(names)

    @cached_property
    def held(self) -> frozenset[str]:
        """The names that never change during training: `fixed` hyperparameters and controls."""
        controls = {control for found in self._conditions.values() for control in found}
        return frozenset(controls.union(name for name, parameter in self.items() if parameter.fixed))

    @cached_property
    def _conditions(self) -> dict[str, dict[str, tuple[Value, ...]]]:
        """The conditions of the hyperparameters that have any, with values of their controls' types."""
        return {
            name: {
                control: tuple(self[control].cast(value) for value in values)
                for control, values in conditions(parameter.when).items()
            }
            for name, parameter in self.items()
            if parameter.when
        }

    def active(self, hparams: HParams) -> "SearchSpace":
        """Return the active part of the space, in the space's order and without its rule.

        Its controls are `fixed`, so that what is held in the whole space is held in the part.

        Args:
            hparams: at least the controls' values; what depends on a missing control is inactive.
        """
        if not self._conditions:
            return self
        names = self.active_names(hparams)
        return SearchSpace(
            {
                name: replace(parameter, fixed=parameter.fixed or name in self.held)
                for name, parameter in self.items()
                if name in names
            }
        )

    def is_active(self, name: str, hparams: HParams) -> bool:
        """Return whether a hyperparameter is active, given the values of its direct and indirect controls."""
        return all(
            control in hparams and _is_one(hparams[control], values) and self.is_active(control, hparams)
            for control, values in self._conditions.get(name, {}).items()
        )

    def restricted(self, hparams: HParams) -> dict[str, Value]:
        """Return the active ones of the given hyperparameters, in the space's order."""
        names = self.active_names(hparams)
        return {name: hparams[name] for name in self if name in names and name in hparams}

    def inherited(self, own: HParams, donors: HParams) -> dict[str, Value]:
        """Return a member's own hyperparameters for continuing from another member's weights.

        Held ones belong to the weights and are the donor's, and so are those that they activate and that the member lacks.
        """
        return {name: donors[name] if name in self.held or name not in own else own[name] for name in donors}

    def sample(self, rng: np.random.Generator) -> dict[str, Value]:
        """Draw feasible hyperparameters from the prior, which is the initial range of those that have one.

        All are drawn in alphabetical order, and inactive ones dropped, so that no draw depends on another value. Infeasible draws
        are repeated.

        Raises:
            OptionError: none of `TRIES` draws is feasible, or the rule fails.
        """
        names = sorted(self)
        for _ in range(TRIES):
            drawn = self.restricted({name: self[name].sample(rng) for name in names})
            if self.is_feasible(drawn):
                return drawn
        raise self._bad_rule(f"a rule that leaves more of the search space: it refused {TRIES:,} draws in a row")

    def is_feasible(self, hparams: HParams) -> bool:
        """Return whether active hyperparameters obey the rule; always true without a rule.

        Raises:
            OptionError: the rule raises an exception, or returns something else than a boolean.
        """
        if self.feasible is None:
            return True
        try:
            answer = self.feasible(ReadOnlyHParams(hparams))
        except Exception as error:
            raise self._bad_rule(_answered(hparams, f"raised {type(error).__name__}: {error}")) from error
        if not isinstance(answer, bool | np.bool_):
            raise self._bad_rule(_answered(hparams, f"returned {answer!r:.80}"))
        return bool(answer)

    def made_feasible(self, hparams: HParams, anchor: HParams) -> HParams:
        """Return feasible hyperparameters near the given ones.

        They lie on the straight line to `anchor` in the unit cube, next to infeasible ones, and are found by bisection. What both
        ends have in common is unchanged.

        Args:
            hparams: inside their bounds; returned as they are if they are feasible.
            anchor: feasible ones, which are returned if there are no nearer ones.

        Raises:
            OptionError: the rule fails.
        """
        if self.is_feasible(hparams):
            return hparams
        common = {name: value for name, value in anchor.items() if hparams.get(name) == value}
        start, stop = self.to_unit(hparams), self.to_unit(anchor)
        near, low, high = anchor, 0.0, 1.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            found = self.from_unit(start + middle * (stop - start))
            between = {name: common.get(name, value) for name, value in found.items()}
            if self.is_feasible(between):
                near, high = between, middle
            else:
                low = middle
        return near

    def _bad_rule(self, allowed: str) -> OptionError:
        name = getattr(self.feasible, "__qualname__", type(self.feasible).__qualname__)
        return OptionError("feasible", name, allowed)

    def cast(self, hparams: HParams) -> dict[str, Value]:
        """Return the hyperparameters with the types and the order of the space.

        Raises:
            OptionError: a name is missing, unknown or inactive, or a value does not suit its hyperparameter.
        """
        names = self.active_names(hparams)
        if hparams.keys() != names:
            raise OptionError("hyperparameters", sorted(hparams), f"exactly {sorted(names)}")
        cast: dict[str, Value] = {}
        for name in (name for name in self if name in names):
            try:
                cast[name] = self[name].cast(hparams[name])
            except OptionError as error:
                raise OptionError(name, error.given, error.allowed) from error
        return cast

    def outside(self, hparams: HParams) -> list[str]:
        """Return the names whose values are outside their bounds, and those that are missing or inactive."""
        names = self.active_names(hparams)
        return [
            name
            for name, parameter in self.items()
            if (name in names) != (name in hparams) or (name in names and not parameter.contains(hparams[name]))
        ]

    def bounded(self, hparams: HParams, how: Bounds) -> tuple[dict[str, Value], int]:
        """Return the hyperparameters moved inside their bounds, and how many were outside.

        Those that become inactive when the controls are inside their bounds are dropped.

        Raises:
            OptionError: an active one is missing.
        """
        inside: dict[str, Value] = {}
        hits = 0
        for name in self.ordered:
            if self.is_active(name, inside):
                if name not in hparams:
                    raise OptionError(name, None, "a value, as it is active")
                hits += self[name].passes(hparams[name])
                inside[name] = self[name].bounded(hparams[name], how)
        return {name: inside[name] for name in self if name in inside}, hits

    def to_unit(self, hparams: HParams) -> NDArray[np.float64]:
        """Return the hyperparameters' position in the unit cube.

        Returns:
            Shape (len(self),), in the space's order; 0.5 for inactive ones.
        """
        names = self.active_names(hparams)
        places = [parameter.to_unit(hparams[name]) if name in names else 0.5 for name, parameter in self.items()]
        return np.array(places, dtype=np.float64)

    def from_unit(self, units: Sequence[float] | NDArray[np.float64]) -> dict[str, Value]:
        """Return the active hyperparameters at a position in the unit cube; they are inside their bounds.

        Args:
            units: shape (len(self),), in the space's order; the coordinates of inactive ones are ignored.

        Raises:
            OptionError: the shape differs.
        """
        return self._at(units, lambda parameter, unit: parameter.from_unit(unit))

    def initial_from_unit(self, units: Sequence[float] | NDArray[np.float64]) -> dict[str, Value]:
        """Return what `from_unit` returns, where the unit cube is the space with initial ranges in place of their bounds."""
        return self._at(units, lambda parameter, unit: parameter.initial_from_unit(unit))

    def _at(
        self, units: Sequence[float] | NDArray[np.float64], value: Callable[[Parameter, float], Value]
    ) -> dict[str, Value]:
        if len(units) != len(self):
            raise OptionError("units", len(units), f"{len(self)} numbers, one for each hyperparameter")
        pairs = zip(self.items(), units, strict=True)
        return self.restricted({name: value(parameter, float(unit)) for (name, parameter), unit in pairs})

    def to_optuna(self) -> "dict[str, BaseDistribution]":
        """Return Optuna's distributions by name, for active and inactive hyperparameters."""
        return {name: parameter.to_optuna() for name, parameter in self.parameters.items()}

    def to_json(self) -> dict[str, dict[str, object]]:
        """Return the space as in a study file's `[task.search_space]`.

        Every key is included, except an absent `when` and an absent `initial`.
        """
        kinds = {Float: "float", Int: "int", Categorical: "categorical"}
        out: dict[str, dict[str, object]] = {}
        for name, parameter in self.items():
            out[name] = {"type": kinds[type(parameter)]}
            for key in (item.name for item in fields(parameter) if item.name != "when"):
                value = getattr(parameter, key)
                if key != "initial" or value is not None:
                    out[name][key] = list(value) if isinstance(value, tuple) else value
            if name in self._conditions:
                found = self._conditions[name].items()
                out[name]["when"] = {
                    control: list(values) if len(values) > 1 else values[0] for control, values in found
                }
        return out

    @staticmethod
    def from_json(record: Mapping[str, Mapping[str, Any]]) -> "SearchSpace":
        """Return the space that `to_json` wrote."""
        kinds: dict[str, type[Parameter]] = {"float": Float, "int": Int, "categorical": Categorical}
        options = {name: {key: item for key, item in entry.items() if key != "type"} for name, entry in record.items()}
        return SearchSpace({name: kinds[entry["type"]](**options[name]) for name, entry in record.items()})

    def active_names(self, hparams: HParams) -> AbstractSet[str]:
        """Return the names of the active hyperparameters, given the controls' values."""
        if not self._conditions:
            return self.parameters.keys()
        return {name for name in self if self.is_active(name, hparams)}


def _answered(hparams: HParams, what: str) -> str:
    return f"a rule that returns True or False; with the hyperparameters {dict(hparams)} it {what}"


def mistakes(parameters: Mapping[str, Parameter]) -> Iterator[OptionError]:
    """Yield what is wrong with the conditions of a space's hyperparameters; options are named from the space on.

    A control must be a categorical or int hyperparameter of the space that can have each of the values. No hyperparameter may
    depend on itself, and the conditions along a chain must be possible together.
    """
    controls = [name for name, parameter in parameters.items() if not isinstance(parameter, Float)]
    found = False
    for name, parameter in parameters.items():
        for control, values in conditions(parameter.when).items():
            option = f"{name}.when.{control}"
            if control not in controls or control == name:
                others = ", ".join(repr(other) for other in controls if other != name) or "(the space has no other)"
                given = values[0] if len(values) == 1 else list(values)
                error = OptionError(option, given, f"a categorical or int parameter instead of {control}: {others}")
            elif impossible := [value for value in values if not parameters[control].contains(value)]:
                error = OptionError(option, impossible[0], f"a value that {control} can have: {parameters[control]}")
            else:
                continue
            found = True
            yield error
    if not found:
        yield from _never(parameters)


def _never(parameters: Mapping[str, Parameter]) -> Iterator[OptionError]:
    """Yield a mistake for each hyperparameter that depends on itself, or that no values of its controls activate."""
    for name, parameter in parameters.items():
        chain = _chain(name, parameters)
        if chain is None:
            yield OptionError(f"{name}.when", dict(parameter.when or {}), "conditions without a cycle")
            continue
        for control in dict.fromkeys(control for control, _ in chain):
            sets = [values for other, values in chain if other == control]
            if not any(all(_is_one(value, values) for values in sets) for value in sets[0]):
                allowed = f"conditions that are possible together: along the chain, {control} would have to be "
                allowed += " and ".join(" or ".join(map(repr, values)) for values in sets)
                yield OptionError(f"{name}.when", dict(parameter.when or {}), allowed)


def _chain(name: str, parameters: Mapping[str, Parameter]) -> list[tuple[str, tuple[Value, ...]]] | None:
    """Return all conditions of a hyperparameter, of its controls, and so on; None if there is a cycle."""
    chain: list[tuple[str, tuple[Value, ...]]] = []

    def follow(at: str, path: tuple[str, ...]) -> bool:
        for control, values in conditions(parameters[at].when).items():
            chain.append((control, values))
            if control in path or not follow(control, (*path, control)):
                return False
        return True

    return chain if follow(name, (name,)) else None


def _is_one(value: Value, values: Iterable[Value]) -> bool:
    """Return whether a value is one of the given values; booleans are not numbers."""
    return any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in values)
