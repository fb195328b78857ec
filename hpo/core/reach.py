"""What a function from a script or a notebook depends on: its source, and all code and values that it reaches by name.

A file that defines a task counts as a whole. A script or a notebook does not: an edit of the line that starts the search, as of its
number of trials, must not turn the finished trials into those of another function.
"""

import dis
import functools
import hashlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from hpo.core.errors import InputError

INDISTINGUISHABLE = (
    "results of different versions of it could not be distinguished: move it to a file, or give it a `version` and raise it with"
    " every change"
)
BY_VALUE = ("__main__", "__mp_main__", "__hpo_worker__")
"""Modules whose objects other processes cannot import: the user's script or notebook."""

_GENERATED = frozenset(
    f"__{name}__"
    for name in ["init", "repr", "eq", "lt", "le", "gt", "ge", "hash", "setattr", "delattr", "getstate", "setstate"]
)
"""The methods that `dataclass` may generate."""


@dataclass(frozen=True)
class Reach:
    """What an object depends on.

    Args:
        digests: the SHA-256 of each source and value in the user's script or notebook, by name.
        modules: the names of the other modules that are used.
    """

    digests: Mapping[str, str]
    modules: frozenset[str]


def reach_of(target: Any) -> Reach:
    """Return what a function, a class or another callable depends on.

    Raises:
        InputError: a source cannot be read, or a value has no digest.
    """
    walk = _Walk()
    walk.follow(name_of(target), target)
    return Reach(walk.digests, frozenset(walk.modules))


def name_of(target: object) -> str:
    """Return the name of a function or class, or of the class of another object."""
    return str(getattr(target, "__qualname__", type(target).__qualname__))


@dataclass
class _Walk:
    digests: dict[str, str] = field(default_factory=dict)
    modules: set[str] = field(default_factory=set)
    seen: set[int] = field(default_factory=set)

    def follow(self, name: str, value: Any) -> None:
        """Add a value that is used under a name, and what it depends on."""
        if isinstance(value, ModuleType):
            self.modules.add(value.__name__)
        elif not self.code(value):
            self._add(name, self._digest(name, value))

    def _add(self, name: str, digest: str) -> None:
        while name in self.digests:  # several lambdas have one name
            name += "'"
        self.digests[name] = digest

    def _digest(self, name: str, value: Any) -> str:
        from hpo.core.digests import ContentHasher  # imports joblib, which takes a while

        try:
            return str(ContentHasher(self._replaced).hash(value))
        except Exception as error:
            raise InputError(
                f"{name} is a {type(value).__name__}, whose content has no digest ({type(error).__name__}: {error}): two"
                " versions of it could not be distinguished. Make it inside the function, or give `version` and raise it with"
                " every change"
            ) from error

    def _replaced(self, value: Any) -> Any:
        """Return what stands for a value in a digest. Code is followed by its source."""
        if isinstance(value, ModuleType):
            self.modules.add(value.__name__)
            return "module", value.__name__
        if isinstance(value, FunctionType | type) and self.code(value):
            return "code", value.__module__, value.__qualname__
        if is_dataclass(value) and not isinstance(value, type) and type(value).__dataclass_params__.frozen:  # type: ignore[attr-defined]
            # What a frozen object caches beside its fields is no part of its value.
            return "fields", type(value), {item.name: getattr(value, item.name) for item in fields(value)}
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(value, torch.autocast):  # the rest is what the last block left in it
            return "autocast", value.device, str(value.fast_dtype), getattr(value, "_enabled", True)
        return value

    def code(self, value: Any) -> bool:
        """Add a function or class, and what it depends on; return whether the value is one."""
        if not isinstance(value, FunctionType | type) and hasattr(value, "__wrapped__"):  # such as by `functools.cache`
            return self.code(value.__wrapped__)
        if isinstance(value, MethodType):
            self.follow(value.__func__.__qualname__, value.__self__)
            return self.code(value.__func__)
        if isinstance(value, functools.partial):
            self.follow(f"partial({name_of(value.func)})", (value.args, value.keywords))
            return self.code(value.func)
        if not isinstance(value, FunctionType | type):
            return False
        if value.__module__ not in BY_VALUE:
            self.modules.add(value.__module__)
        elif id(value) not in self.seen:
            self.seen.add(id(value))
            if isinstance(value, type):
                self._class(value)
            else:
                self._function(value)
        return True

    def _function(self, function: FunctionType) -> None:
        self._add(function.__qualname__, _sha256(_source(function)))
        known = {**function.__globals__, **inspect.getclosurevars(function).nonlocals}
        used = {name: known[name] for name in _names(function.__code__) if name in known}
        defaults = {f"{function.__qualname__}({name})": value for name, value in _defaults(function)}
        own = {f"{function.__qualname__}.{name}": value for name, value in vars(function).items() if name[:2] != "__"}
        for name, value in (used | defaults | own).items():
            self.follow(name, value)

    def _class(self, cls: type) -> None:
        for base in cls.__bases__:
            self.code(base)
        for name, value in sorted(vars(cls).items()):
            value = _undecorated(value)
            if isinstance(value, FunctionType):
                if not (is_dataclass(cls) and name in _GENERATED and _is_generated(value)):
                    self.code(value)
            elif not (name.startswith(("__", "_abc_")) or inspect.isdatadescriptor(value)):
                self.follow(f"{cls.__qualname__}.{name}", value)


def _is_generated(method: FunctionType) -> bool:
    return str(inspect.unwrap(method).__code__.co_filename) == "<string>"


def _undecorated(value: Any) -> Any:
    """Return the function of a method or property of a class."""
    if isinstance(value, property):
        return value.fget
    if isinstance(value, functools.cached_property):
        return value.func
    return getattr(value, "__func__", value)


def _names(code: CodeType) -> Iterator[str]:
    """Yield the names that code looks up outside itself, also in functions that it defines."""
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF"):
            yield str(step.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _defaults(function: FunctionType) -> Iterator[tuple[str, Any]]:
    for name, parameter in inspect.signature(function, follow_wrapped=False).parameters.items():
        if parameter.default is not inspect.Parameter.empty:
            yield name, parameter.default


def _source(function: FunctionType) -> str:
    try:
        # Without what it wraps, whose source `inspect` would return.
        plain = FunctionType(function.__code__, function.__globals__, closure=function.__closure__)
        text = _of_lambda(plain) if function.__name__ == "<lambda>" else ""
        return text or inspect.cleandoc("\n" + inspect.getsource(plain))
    except (OSError, TypeError) as error:
        raise InputError(
            f"the source of {function.__qualname__} cannot be read ({error}), so {INDISTINGUISHABLE}"
        ) from error


def _of_lambda(function: FunctionType) -> str:
    """Return the parameters and the body of a lambda, without the statement that it stands in; empty if Python kept no columns."""
    code = function.__code__
    spans = [
        ((line, column), (last, end))
        for line, last, column, end in code.co_positions()
        if line is not None and last is not None and column is not None and end is not None
    ]
    spans = [(start, stop) for start, stop in spans if start != stop]
    if not spans:
        return ""
    first, column = min(start for start, _ in spans)
    last, end = max(stop for _, stop in spans)
    lines = [line.encode() for line in inspect.findsource(function)[0][first - 1 : last]]
    lines[-1] = lines[-1][:end]
    lines[0] = lines[0][column:]
    return (
        f"lambda {', '.join(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])}: {b''.join(lines).decode()}"
    )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
