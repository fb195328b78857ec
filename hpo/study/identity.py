"""What determines a result: the task's code, options and data, and the machine's numerics. All of it enters segment keys."""

import dataclasses
import functools
import hashlib
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path, PurePath
from typing import Any

from hpo.core.errors import InputError
from hpo.core.reach import BY_VALUE, INDISTINGUISHABLE, name_of, reach_of
from hpo.core.registry import origin_of
from hpo.core.task import NUMERIC, Task
from hpo.study.closure import import_closure

_LIBRARIES = (
    *("hpo", "torch", "torchvision", "numpy", "scipy", "scikit-learn", "safetensors", "statsmodels"),
    *("optuna", "cmaes", "greenlet"),  # Optuna's GP sampler batches its searches if greenlet is installed
)


def task_options(task: Task[Any]) -> dict[str, Any]:
    """Return the values of a task's option fields, except `Task.search_options`."""
    names = [item.name for item in dataclasses.fields(task)]  # type: ignore[arg-type]
    return {name: getattr(task, name) for name in names if name not in task.search_options}


def search_options(task: Task[Any]) -> dict[str, Any]:
    """Return those of `Task.search_options` that are set; code by its name."""
    given = {name: getattr(task, name) for name in task.search_options}
    return {name: _spelled(value) for name, value in given.items() if value is not None}


def task_identity(task: Task[Any], name: str, modules: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return what distinguishes a task from others: name, options, data fingerprint, and its source or its `version`.

    Options that `Task.numerics` declares are left out.

    Args:
        task: the task.
        name: its registered name.
        modules: the modules that the study imports; see `source_digests`.
    """
    data = task.development_data()
    declared = {item.name for item in dataclasses.fields(task) if item.metadata.get(NUMERIC)}  # type: ignore[arg-type]
    return {
        "name": name,
        "options": {
            key: _spelled(value, key in task.references)
            for key, value in task_options(task).items()
            if key not in declared
        },
        "data": None if data is None else data.fingerprint,
        "code": task.version if task.version is not None else _code_digests(task, modules),
    }


def _spelled(value: Any, is_object: bool = False) -> Any:
    """Return an option's value as it enters a key; a path becomes text.

    Objects that are given instead of their names become names: code counts by its source, and data by their fingerprint.
    """
    if callable(value) or (is_object and not isinstance(value, str | None)):
        return name_of(value)
    if isinstance(value, (list, tuple)):
        return [_spelled(item) for item in value]
    return str(value) if isinstance(value, PurePath) else value


def is_by_value(part: object) -> bool:
    """Return whether a class or function can only be given to other processes by value: it is in a script or a notebook.

    A task's class in a script that is a file is imported from there instead.
    """
    if isinstance(part, functools.partial):  # its arguments may be from anywhere
        return True
    if isinstance(part, type) and issubclass(part, Task) and origin_of(part).file is not None:
        return False
    return getattr(part, "__module__", BY_VALUE[0]) in BY_VALUE


def _code_digests(task: Task[Any], modules: tuple[str, ...]) -> Mapping[str, str]:
    """Return the digests of all code that a task's results depend on, by name."""
    digests: Mapping[str, str] = {}
    for part in task.code():
        if isinstance(part, type) and issubclass(part, Task) and not is_by_value(part):
            digests = {**digests, **source_digests(part, modules)}
        else:
            reach = reach_of(part)
            modules_used = sorted(reach.modules)
            files = {file: name for module in modules_used for file, name in _used(module, part).items()}
            digests = _with_files(_together(digests, reach.digests), files, part)
    return digests


def _together(digests: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """Return digests with further ones; two parts of a task may have one name, such as two lambdas."""
    found = dict(digests)
    for name, digest in more.items():
        while found.get(name, digest) != digest:
            name += "'"
        found[name] = digest
    return found


def _used(module: str, part: Any) -> dict[Path, str]:
    """Return the files of a module that code uses, with their names; none of an installed package, unless the code is its."""
    root = _root(module)
    file = _file_of(root)
    if file is None or root.partition(".")[0] in sys.stdlib_module_names:
        return {}
    own = part.func if isinstance(part, functools.partial) else part
    if root.startswith("hpo.") or (_is_installed(file) and root == _root(getattr(own, "__module__", None) or "")):
        return _whole(root, file)
    return {} if root == "hpo" or _is_installed(file) else _closure(module, part)


@functools.cache
def source_digests(cls: type, modules: tuple[str, ...] = ()) -> Mapping[str, str]:
    """Return the SHA-256 of the source files that may affect a task's results, by path.

    For the task's class and each of its bases, these are the static import closure of its module inside the folder where the
    module was found (`hpo.study.closure`): a helper next to the task counts if it is imported anywhere, and other files do not.
    Of `hpo` itself it is the task's own folder or file. Installed packages count by their library's version, except the package
    that contains the class, of which all files count. Files are read once per class, so that edits after loading do not matter.

    Args:
        cls: the task's class.
        modules: the modules that the study imports; one whose closure includes the class's files also counts, as it may change it.

    Raises:
        InputError: the class has no source file, or a file cannot be read or parsed.
    """
    digests: dict[str, str] = {}
    files: dict[Path, str] = {}
    bases = {base.__module__ for base in cls.__mro__} - {"hpo.core.task"}
    bases = {module for module in bases if module.partition(".")[0] not in sys.stdlib_module_names}
    for module in sorted(bases):
        root = _root(module)
        file = _file_of(root)
        if file is None:
            raise InputError(
                f"{cls.__qualname__} is not defined in a source file (but in an interactive session?), so {INDISTINGUISHABLE}"
            )
        if root.startswith("hpo."):
            files |= _whole(root, file)
        elif not _is_installed(file):
            files |= _closure(module, cls)
        elif root != _root(cls.__module__) and (library := _library(root)):
            digests[root] = library
        else:
            files |= _whole(root, file)
    for module in sorted(set(modules) - bases):
        file = _file_of(module)
        if file is not None and not _is_installed(file):
            reached = _closure(module, cls)
            if not files.keys().isdisjoint(reached):
                files |= reached
    return _with_files(digests, files, cls)


def _with_files(digests: Mapping[str, str], files: Mapping[Path, str], part: object) -> dict[str, str]:
    """Return digests with those of files."""
    found = dict(digests)
    for file, name in files.items():
        # Two folders may contain files with the same name.
        while name in found:
            name += "'"
        found[name] = _sha256(file, part)
    return found


def _root(module: str) -> str:
    """Return the outermost package of a module, not counting folders without `__init__.py`."""
    parts = module.split(".")
    if parts[:2] == ["hpo", "tasks"]:
        return ".".join(parts[:3])
    above = (".".join(parts[:count]) for count in range(1, len(parts) + 1))
    return next((name for name in above if getattr(sys.modules.get(name), "__file__", None)), module)


def _file_of(module: str) -> Path | None:
    file = getattr(sys.modules.get(module), "__file__", None)
    return None if file is None else Path(file)


def _closure(module: str, part: object) -> dict[Path, str]:
    """Return the static import closure of a module: files, with their names in the folder from which it is imported."""
    file = _file_of(module)
    assert file is not None
    own = file.parent if file.name.startswith("__init__.") else file.with_suffix("")
    parts = module.split(".")
    depth = len(parts) if list(own.parts[-len(parts) :]) == parts else 1
    folder = own.parents[depth - 1]
    try:
        found = import_closure([file], folder, lambda package: package == "hpo")
    except InputError as error:
        raise InputError(f"the source of {name_of(part)} cannot be read: {error}; so {INDISTINGUISHABLE}") from error
    # A script has a different name in a worker.
    return {
        each: "__main__.py" if each == file and module in BY_VALUE else each.relative_to(folder).as_posix()
        for each in found
    }


def _whole(root: str, file: Path) -> dict[Path, str]:
    """Return all Python files of a package, or the one file of a module, with their names."""
    name = root.replace(".", "/")
    if file.name != "__init__.py":
        return {file: f"{name}.py"}
    sources = (source for source in sorted(file.parent.rglob("*.py")) if not source.name.startswith("."))
    return {source: f"{name}/{source.relative_to(file.parent).as_posix()}" for source in sources}


def _is_installed(file: Path) -> bool:
    return not {"site-packages", "dist-packages"}.isdisjoint(file.parts)


def _library(package: str) -> str:
    """Return the version of the installed library that contains a package, which may have another name; empty if none."""
    return ", ".join(sorted(version(library) for library in set(packages_distributions().get(package, []))))


def _sha256(path: Path, part: object) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(
            f"the source of {name_of(part)} cannot be read ({path}: {error}), so {INDISTINGUISHABLE}"
        ) from error


def environment(numerics: Mapping[str, str]) -> dict[str, Any]:
    """Return the part of the results that may differ between machines.

    Args:
        numerics: the task's numerics fingerprint.
    """
    return {"versions": versions(), "numerics": dict(numerics), "commit": _commit()}


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries on which results depend, by name."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    """Return the commit of the checkout that hpo runs from, with `+` if it has changes; None for an installed package."""
    here = Path(__file__).resolve().parents[1]
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
