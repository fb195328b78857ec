"""Who computed a result: the task's code, options and data, and the machine's numerics. All of it enters segment keys."""

import dataclasses
import hashlib
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any

from hpo.protocols import Task

_LIBRARIES = ("hpo", "torch", "torchvision", "numpy", "scipy", "optuna", "safetensors", "statsmodels")


def task_options(task: Task[Any]) -> dict[str, Any]:
    """Return the values of a task's option fields."""
    return {item.name: getattr(task, item.name) for item in dataclasses.fields(task)}  # type: ignore[arg-type]


def task_identity(task: Task[Any], name: str) -> dict[str, Any]:
    """Return what makes this task this task: name, options, data fingerprint, and its source or its `version`.

    Args:
        task: the task.
        name: its registered name.
    """
    data = task.development_data()
    return {
        "name": name,
        "options": {name: _spelled(value) for name, value in task_options(task).items()},
        "data": None if data is None else data.fingerprint,
        "code": task.version if task.version is not None else source_digests(type(task)),
    }


def _spelled(value: Any) -> Any:
    """Return an option's value as a key holds it: a path is its text."""
    if isinstance(value, (list, tuple)):
        return [_spelled(item) for item in value]
    return str(value) if isinstance(value, PurePath) else value


def source_digests(cls: type) -> dict[str, str]:
    """Return the SHA-256 of every loaded module of the packages that a task's class and its bases come from.

    A package is the outermost one, so that a helper module beside the task counts; of `hpo` itself it is the one task's folder
    or file.
    """
    roots = {_root(base.__module__) for base in cls.__mro__ if base.__module__ not in ("builtins", "abc", "typing")}
    roots -= {"hpo.protocols"}
    digests = {}
    for name, module in sorted(sys.modules.items()):
        if any(name == root or name.startswith(f"{root}.") for root in roots):
            source = _source(module)
            if source is not None:
                digests[name] = hashlib.sha256(source).hexdigest()
    return digests


def _root(module: str) -> str:
    parts = module.split(".")
    if parts[0] == "hpo":
        return ".".join(parts[:3] if parts[:2] == ["hpo", "tasks"] else parts[:2])
    return parts[0]


def _source(module: ModuleType) -> bytes | None:
    file = getattr(module, "__file__", None)
    if file is None or not file.endswith(".py"):
        return None
    try:
        return Path(file).read_bytes()
    except OSError:
        return None


def environment(numerics: Mapping[str, str]) -> dict[str, Any]:
    """Return the part of the results that may differ between machines.

    Args:
        numerics: the task's numerics fingerprint.
    """
    versions = {"python": ".".join(map(str, sys.version_info[:3]))}
    for library in _LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            continue
    return {"versions": versions, "numerics": dict(numerics), "commit": _commit()}


def _commit() -> str | None:
    """Return the commit of the checkout that hpo runs from, with `+` if it was changed; None for an installed package."""
    here = Path(__file__).resolve().parent
    if not (here.parent / ".git").exists():
        return None
    try:
        head = _git(here, "rev-parse", "HEAD")
        return head + ("+" if _git(here, "status", "--porcelain", "--untracked-files=no", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
