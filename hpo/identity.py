"""Who computed a result: the task's code, options and data, and the machine's numerics. All of it enters segment keys."""

import dataclasses
import hashlib
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path, PurePath
from typing import Any

from hpo.errors import InputError
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
        "code": task.version if task.version is not None else dict(source_digests(type(task))),
    }


def _spelled(value: Any) -> Any:
    """Return an option's value as a key holds it: a path is its text."""
    if isinstance(value, (list, tuple)):
        return [_spelled(item) for item in value]
    return str(value) if isinstance(value, PurePath) else value


@cache
def source_digests(cls: type) -> Mapping[str, str]:
    """Return the SHA-256 of the sources that a task's class and its bases come from, by path.

    All Python files of a package count, so that a helper beside the task does, whether it is imported yet or not; a package is
    the outermost one, and of `hpo` itself the one task's folder or file. A base class from another installed library counts by
    that library's version. The files are read once per class: what was loaded is what is meant, even if it is edited later.

    Raises:
        InputError: the class was defined where there is no file.
    """
    digests: dict[str, str] = {}
    own = _root(cls.__module__)
    modules = {base.__module__ for base in cls.__mro__} - {"builtins", "abc", "typing", "hpo.protocols"}
    for module in sorted(modules):
        root = _root(module)
        # A folder without __init__.py has no file: then the module stands for itself.
        file = getattr(sys.modules.get(root), "__file__", None) or getattr(sys.modules.get(module), "__file__", None)
        if file is None:
            raise InputError(
                f"{cls.__qualname__} is defined where there is no source file (an interactive session?), so that results of"
                " another version of it could not be told apart: put it into a file, or give the class a `version` and raise"
                " it with every change"
            )
        path = Path(file)
        library = "" if root == own or root.startswith("hpo.") else _library(root, path)
        if library:
            digests[root] = library
        elif path.name == "__init__.py":
            for source in sorted(path.parent.rglob("*.py")):
                digests[f"{root.replace('.', '/')}/{source.relative_to(path.parent).as_posix()}"] = _sha256(source)
        else:
            digests[path.name] = _sha256(path)
    return digests


def _root(module: str) -> str:
    parts = module.split(".")
    if parts[0] == "hpo":
        return ".".join(parts[:3] if parts[:2] == ["hpo", "tasks"] else parts[:2])
    return parts[0]


def _library(package: str, file: Path) -> str:
    """Return the version of the installed library that a package is of, whatever the library is called; empty for none."""
    if "site-packages" not in file.parts:
        return ""
    return ", ".join(sorted(version(library) for library in set(packages_distributions().get(package, []))))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


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
