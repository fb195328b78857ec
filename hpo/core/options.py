"""Tables of a study file, read into frozen dataclasses: the table's keys are the dataclass's fields.

pydantic validates leaf values strictly (integers are allowed as floats; booleans, NaN and infinity are not numbers). This module
descends into tables and nested plug-ins, and collects all mistakes.
"""

import dataclasses
import json
import types
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import annotated_types
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from hpo.core import registry
from hpo.core.errors import HpoError, Mistake, OptionError, did_you_mean
from hpo.core.parameters import Categorical, Float, Int, Parameter

T = TypeVar("T")
P = TypeVar("P")

_STRICT = ConfigDict(strict=True, allow_inf_nan=False)
_ABSENT = object()


class Mistakes(list[Mistake]):
    """All mistakes found so far."""

    def add(self, key: str, allowed: str, given: object = _ABSENT, hint: str | None = None) -> None:
        """Add a mistake; `given` is the value as the user wrote it, if there is one."""
        self.append(Mistake(key, allowed, None if given is _ABSENT else shown(given), hint))

    def add_option(self, table: str, error: OptionError) -> None:
        """Add a plug-in's error about one of its options in this table."""
        self.add(f"{table}.{error.option}", f"allowed: {error.allowed}", error.given)


def shown(value: object) -> str:
    """Return the `repr` of a value, shortened for an error message."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, a table nested without end
        text = f"<a {type(value).__name__} too large to show>"
    return text if len(text) <= 120 else f"{text[:117]}..."


def as_table(value: object, key: str, problems: Mistakes) -> dict[str, Any] | None:
    """Return the value as a table with text keys, or None if it is not a table."""
    if not isinstance(value, Mapping):
        problems.add(key, "allowed: a table", value)
        return None
    return {str(name): item for name, item in value.items()}


def plugin_class(plugins: registry.Registry[P], name: object, key: str, problems: Mistakes) -> type[P] | None:
    """Return the class of the plug-in named at `key` (None: no name was given), or None if there is none."""
    if not isinstance(name, str):
        allowed = f"the name of a registered {plugins.kind}: one of {', '.join(plugins.names())}"
        if name is None:
            problems.add(key, f"missing; required: {allowed}")
        else:
            problems.add(key, f"allowed: {allowed}", name)
        return None
    try:
        return plugins.get(name)
    except registry.UnknownName as error:
        problems.add(key, f"unknown {plugins.kind}; allowed: {error.allowed}", name, error.hint)
    except (ImportError, HpoError) as error:
        problems.add(key, f"the {plugins.kind} cannot be loaded: {type(error).__name__}: {error}", name)
    return None


def field_names(cls: type) -> list[str]:
    """Return the names of the options of a dataclass."""
    return [item.name for item in dataclasses.fields(cls) if item.init]


def build(cls: type[T], table: Mapping[str, Any], key: str, problems: Mistakes, also: Iterable[str] = ()) -> T | None:
    """Return the dataclass with a table's options, or None if any of them is wrong.

    Args:
        cls: a frozen dataclass, whose annotations define what each option may be.
        table: the options, without those named in `also`.
        key: the key of the table, for messages; empty for the whole file.
        problems: collects all mistakes.
        also: further keys of the table that are read elsewhere; messages list them as valid.
    """
    before = len(problems)
    names = field_names(cls)
    unknown_keys(table, names, key, problems, also)
    hints = get_type_hints(cls, include_extras=True)
    values = {}
    for item in dataclasses.fields(cls):  # type: ignore[arg-type]
        at = f"{key}.{item.name}" if key else item.name
        if item.init and item.name in table:
            values[item.name] = read(hints[item.name], table[item.name], at, problems)
        elif item.init and item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            problems.add(at, f"missing; required: {describe(hints[item.name])}")
    if len(problems) > before:
        return None
    try:
        return cls(**values)
    except OptionError as error:
        problems.add_option(key, error)
    except (TypeError, ValueError, ArithmeticError) as error:
        problems.add(key, f"{type(error).__name__}: {error}", dict(table))
    return None


PARAMETERS: Mapping[str, type[Parameter]] = {"float": Float, "int": Int, "categorical": Categorical}
"""Classes by the `type` of an entry in a search space."""


def read_parameter(entry: object, key: str, problems: Mistakes) -> Parameter | None:
    """Return the hyperparameter of an entry in a search space, or None if it is wrong."""
    table = as_table(entry, key, problems)
    if table is None:
        return None
    kind = table.pop("type", None)
    if isinstance(kind, str) and kind in PARAMETERS:
        return build(PARAMETERS[kind], table, key, problems, also=["type"])
    allowed = f"one of {', '.join(map(repr, PARAMETERS))}"
    if kind is None:
        problems.add(f"{key}.type", f"missing; required: {allowed}")
    else:
        problems.add(f"{key}.type", f"allowed: {allowed}", kind, did_you_mean(str(kind), PARAMETERS))
    return None


def unknown_keys(
    table: Mapping[str, Any], known: Iterable[str], key: str, problems: Mistakes, also: Iterable[str] = ()
) -> None:
    """Add each unknown key of a table; keys in `also` are read elsewhere and listed as valid."""
    known = list(known)
    valid = [*also, *known]
    for name in table:
        if name not in known:
            allowed = f"unknown key; allowed: {', '.join(valid) or 'no keys'}"
            problems.add(f"{key}.{name}" if key else name, allowed, table[name], did_you_mean(name, valid))


def read(annotation: Any, value: object, key: str, problems: Mistakes) -> Any:
    """Return a value of the annotated type: a leaf, or plug-ins; None if it is wrong.

    Plug-ins may be single, in a list (`tuple[Perturbation, ...]`) or in a table (`Mapping[str, Perturbation]`), and may be
    nested. The class that holds them decides how many there may be.

    Args:
        annotation: the type, with any `Annotated` constraints.
        value: the value in the file. A list becomes the sequence type of the annotation.
        key: its key.
        problems: collects all mistakes.
    """
    holder = _holder_of(annotation)
    if holder is not None:
        return _held(holder, value, key, problems)
    adapter: TypeAdapter[Any] = TypeAdapter(annotation, config=_STRICT)
    try:
        # When parsing JSON, pydantic accepts lists as tuples and text as paths, and is strict otherwise.
        return adapter.validate_json(json.dumps(value))
    except ValidationError as error:
        _explain(error, annotation, value, key, problems)
    except (TypeError, ValueError, RecursionError):  # a date, an integer of thousands of digits, a cycle
        problems.add(key, f"allowed: {describe(annotation)}", value)
    return None


def describe(annotation: Any) -> str:
    """Return in words what an annotation allows.

    >>> from annotated_types import Gt, Le
    >>> describe(Annotated[float, Gt(0), Le(0.5)])
    'a finite number above 0 and at most 0.5'
    >>> describe(tuple[int, ...] | None)
    'a list, each item a whole number'
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        limits = [text for item in arguments[1:] for text in _limits(item)]
        return " ".join([describe(arguments[0]), " and ".join(limits)]).strip()
    if origin is Literal:
        return f"one of {', '.join(repr(choice) for choice in arguments)}"
    if origin in (Union, types.UnionType):
        return " or ".join(describe(argument) for argument in arguments if argument is not type(None))
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return f"a list, each item {describe(arguments[0])}"
    if origin is tuple:
        return f"a list of {len(arguments)}: {', '.join(describe(argument) for argument in arguments)}"
    if origin in (list, Sequence):
        return f"a list, each item {describe(arguments[0])}"
    if origin in (dict, Mapping):
        return f"a table, each value {describe(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return f"one of {', '.join(repr(member.value) for member in annotation)}"
    plugins = registry.NESTED.get(annotation) if isinstance(annotation, type) else None
    if plugins is not None:
        return f"a table with the name of a {plugins.kind} ({', '.join(plugins.names())}) and its options"
    words = {float: "a finite number", int: "a whole number", str: "a text", bool: "true or false", dict: "a table"}
    return words.get(origin or annotation, str(getattr(annotation, "__name__", annotation)))


def _limits(constraint: object) -> list[str]:
    if isinstance(constraint, FieldInfo):
        return [text for item in constraint.metadata for text in _limits(item)]
    if isinstance(constraint, annotated_types.GroupedMetadata):
        return [text for item in constraint for text in _limits(item)]
    match constraint:
        case annotated_types.Gt(limit):
            return [f"above {limit}"]
        case annotated_types.Ge(limit):
            return [f"of at least {limit}"]
        case annotated_types.Lt(limit):
            return [f"below {limit}"]
        case annotated_types.Le(limit):
            return [f"at most {limit}"]
        case annotated_types.MinLen(limit):
            return [f"(no fewer than {limit})"]
        case annotated_types.MaxLen(limit):
            return [f"(no more than {limit})"]
    return []


def _holder_of(annotation: Any) -> Any:
    """Return the part of an annotation that is a plug-in's protocol, or a list or table of plug-ins; None if there is none.

    In an `Annotated` type or a union it is the first such part.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Annotated, Union, types.UnionType):
        return next((holder for holder in map(_holder_of, arguments) if holder is not None), None)
    if origin in (tuple, list, Sequence, dict, Mapping):
        return annotation if any(_holder_of(argument) is not None for argument in arguments) else None
    return annotation if isinstance(annotation, type) and annotation in registry.NESTED else None


def _held(holder: Any, value: object, key: str, problems: Mistakes) -> Any:
    """Return the plug-in, or the tuple or table of plug-ins, that a value describes; mistakes are added to the problems."""
    origin, arguments = get_origin(holder), get_args(holder)
    if origin is None:
        return _nested(registry.NESTED[holder], value, key, problems)
    if origin in (dict, Mapping):
        entries = as_table(value, key, problems) or {}
        return {name: read(arguments[1], item, f"{key}.{name}", problems) for name, item in entries.items()}
    if isinstance(value, (list, tuple)):
        return tuple(read(arguments[0], item, f"{key}[{index}]", problems) for index, item in enumerate(value))
    problems.add(key, f"allowed: {describe(holder)}", value)
    return None


def _nested(plugins: registry.Registry[Any], value: object, key: str, problems: Mistakes) -> Any:
    if isinstance(value, str):
        cls = plugin_class(plugins, value, key, problems)
        return None if cls is None else build(cls, {}, key, problems)
    table = as_table(value, key, problems)
    if table is None:
        return None
    cls = plugin_class(plugins, table.pop("name", None), f"{key}.name", problems)
    return None if cls is None else build(cls, table, key, problems, also=["name"])


def place(loc: Iterable[int | str], value: object, key: str = "") -> tuple[str, object]:
    """Return the key and the value at a location that pydantic reports.

    Args:
        loc: the location.
        value: the document.
        key: the document's own key; empty for the whole file.
    """
    for step in loc:
        # Union members are also steps of the location, but not of the value.
        if isinstance(step, int) and isinstance(value, (list, tuple)) and step < len(value):
            key, value = f"{key}[{step}]", value[step]
        elif isinstance(value, Mapping) and step in value:
            key, value = f"{key}.{step}" if key else str(step), value[step]
    return key, value


def _explain(error: ValidationError, annotation: object, value: object, key: str, problems: Mistakes) -> None:
    first = error.errors()[0]
    at, part = place(first["loc"], value, key)
    allowed = str(first["ctx"]["error"]) if first["type"] == "value_error" else describe(annotation)
    problems.add(at, f"allowed: {allowed}", part, _nearest(annotation, part))


def _nearest(annotation: object, value: object) -> str | None:
    if get_origin(annotation) is Literal:
        return did_you_mean(value, map(str, get_args(annotation))) if isinstance(value, str) else None
    hints = (_nearest(argument, value) for argument in get_args(annotation))
    return next((hint for hint in hints if hint is not None), None)
