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

_LIBRARIES = (
    *("hpo", "torch", "torchvision", "numpy", "scipy", "scikit-learn", "safetensors", "statsmodels"),
    *("optuna", "cmaes", "greenlet"),  # Optuna's GP sampler batches its searches where greenlet is installed
)


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
    for root in sorted({_root(module) for module in modules}):
        file = getattr(sys.modules.get(root), "__file__", None)
        if file is None:
            raise InputError(
                f"{cls.__qualname__} is defined where there is no source file (an interactive session?), so that {_TOLD_APART}"
            )
        path, name = Path(file), root.replace(".", "/")
        library = "" if root == own or root.startswith("hpo.") else _library(root, path)
        if library:
            digests[root] = library
        elif path.name == "__init__.py":
            for source in sorted(path.parent.rglob("*.py")):
                if not source.name.startswith("."):  # an editor's lock, not a module
                    digests[f"{name}/{source.relative_to(path.parent).as_posix()}"] = _sha256(source, cls)
        else:
            # A script has another name in a worker.
            digests["__main__.py" if root in _SCRIPTS else f"{name}.py"] = _sha256(path, cls)
    return digests


_SCRIPTS = ("__main__", "__hpo_worker__", "__mp_main__")
_TOLD_APART = (
    "results of another version of it could not be told apart: put it into a file, or give the class a `version` and raise it"
    " with every change"
)


def _root(module: str) -> str:
    """Return the outermost package that a module is in; a folder without `__init__.py` is none."""
    parts = module.split(".")
    if parts[:2] == ["hpo", "tasks"]:
        return ".".join(parts[:3])
    above = (".".join(parts[:count]) for count in range(1, len(parts) + 1))
    return next((name for name in above if getattr(sys.modules.get(name), "__file__", None)), module)


def _library(package: str, file: Path) -> str:
    """Return the version of the installed library that a package is of, whatever the library is called; empty for none."""
    if "site-packages" not in file.parts:
        return ""
    return ", ".join(sorted(version(library) for library in set(packages_distributions().get(package, []))))


def _sha256(path: Path, cls: type) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(
            f"the source of {cls.__qualname__} cannot be read ({path}: {error}), so that {_TOLD_APART}"
        ) from error


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
