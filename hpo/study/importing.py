"""Importing the modules that a study names, without running other files next to it.

A study's folder is searched last, so that installed modules win, and only for modules that the study names and for what these
import. So a `torch.py` or `json.py` next to a study is never run.
"""

import importlib
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from importlib.machinery import ModuleSpec, PathFinder
from itertools import dropwhile
from pathlib import Path
from types import ModuleType
from typing import Any

from hpo.core.errors import InputError
from hpo.study.closure import import_closure


class NameTaken(InputError):
    """A module that a study needs is hidden by another one with the same name.

    Args:
        name: the module's name.
        how: why the other one hides it: `loaded already`, or `installed, and comes first`.
        other: where that one is.
        own: the file to rename.
    """

    def __init__(self, name: str, how: str, other: object, own: object) -> None:
        self.allowed = f"another module of that name is {how}, {other}"
        self.hint = f"rename {own}"
        super().__init__(f"{name}: {self.allowed}: {self.hint}")


def import_named(module: str, folders: Iterable[str]) -> ModuleType:
    """Import a module that a study names.

    Args:
        module: its dotted name.
        folders: the folders to search for it; they are searched for nothing else.

    Raises:
        NameTaken: it is in one of the folders, but an installed or loaded module has its name.
        Exception: anything that the module raises.
    """
    importlib.invalidate_caches()
    top = module.partition(".")[0]
    found = ((folder, _own(top, folder)) for folder in folders)
    folder, own = next(((folder, spec) for folder, spec in found if spec is not None), ("", None))
    if own is not None and (own.origin is not None or "." in module):
        installed = _installed(top)
        if installed is not None and not _is_same(own, installed):
            raise NameTaken(top, "installed, and comes first", installed.origin, own.origin or Path(folder, top))
        _check_loaded(top, own)
        _studies.add(folder, top)
    return importlib.import_module(module)


def check_helpers(module: ModuleType) -> None:
    """Check that the modules which a study's module imports from its folder are the files there.

    A file with the name of an installed module is never run; a warning names it.

    Raises:
        NameTaken: another study's module with the same name is loaded in this process.
    """
    file = Path(getattr(module, "__file__", None) or "")
    folder = next((path for path in _studies.paths if Path(path) in file.parents), None)
    if folder is None:
        return
    hidden: dict[str, str] = {}
    taken: list[NameTaken] = []

    def foreign(name: str) -> bool:
        own, installed = _own(name, folder), _installed(name)
        if own is None or own.origin is None:
            return installed is not None
        if installed is not None and not _is_same(own, installed):
            hidden[own.origin] = f"{name!r} ({installed.origin})"
            return True
        try:
            _check_loaded(name, own)
        except NameTaken as error:
            taken.append(error)
        return False

    with suppress(InputError):  # an unreadable source is an error later, when it enters a key
        import_closure([file], Path(folder), foreign)
    for error in taken:
        raise error
    for path, other in hidden.items():
        warnings.warn(
            f"{path} is not used: an installed module has its name and comes first, {other}. Rename the file if the study"
            " needs it",
            RuntimeWarning,
            stacklevel=3,
        )


def own_path(*, studies: bool = False) -> tuple[str, ...]:
    """Return this process's module search path, as absolute paths.

    Args:
        studies: include the folders that are on it only for the modules of studies.
    """
    found = []
    for entry in sys.path:
        with suppress(OSError):  # the current folder was deleted
            found.append(str(Path(entry).absolute()))
    return tuple(path for path in found if studies or path not in _studies.paths)


def take_path(path: Sequence[str]) -> None:
    """Search for modules where the coordinator does, before all other places, and no longer in the current folder."""
    left_out = {*path, "", ".", *_studies.paths}
    with suppress(OSError):  # the current folder was deleted
        left_out.add(str(Path.cwd()))
    sys.path[:] = [*path, *(entry for entry in sys.path if entry not in left_out), *sorted(_studies.paths)]


# --- the folders of studies ----------------------------------------------------------------------------------------------


class _Studies:
    """The folders of the studies that this process has loaded.

    They are at the end of `sys.path`: installed modules come first, and processes that a task starts also find its module. A
    path hook makes Python ask this class instead of searching them itself.
    """

    def __init__(self) -> None:
        self.paths: set[str] = set()
        self.modules: set[str] = set()
        """Top-level names of the modules that studies name, and of those that these have imported from here."""

    def add(self, path: str, name: str) -> None:
        """Search a folder for a module and for what it imports."""
        self.modules.add(name)
        if path in self.paths or path in sys.path:  # a folder that the user put on the path is searched for everything
            return
        if self.hook not in sys.path_hooks:
            sys.path_hooks.insert(0, self.hook)
        self.paths.add(path)
        sys.path_importer_cache.pop(path, None)
        sys.path.append(path)

    def hook(self, path: str) -> "_Folder":
        """Return the finder for a folder; called by Python."""
        if path not in self.paths:
            raise ImportError
        return _Folder(path, self)


class _Folder:
    """Finds modules in the folder of a study; called by Python.

    Args:
        path: the folder.
        studies: determines which modules may be found.
    """

    def __init__(self, path: str, studies: _Studies) -> None:
        self._path = path
        self._studies = studies

    def find_spec(self, name: str, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in self._studies.modules and _asking() not in self._studies.modules:
            return None
        if _found_by(dropwhile(lambda finder: finder is not PathFinder, sys.meta_path), name):
            return None
        spec = _own(name, self._path)
        if spec is not None:
            self._studies.modules.add(name)
        return spec

    def invalidate_caches(self) -> None:
        """Do nothing: this finder has no cache."""


_studies = _Studies()
_MACHINERY = frozenset({"importlib", "importlib.util", __name__})


def _asking() -> str:
    """Return the top-level name of the module that is importing something now."""
    frame = sys._getframe(1)
    while frame.f_back is not None and (
        frame.f_code.co_filename.startswith("<frozen importlib") or frame.f_globals.get("__name__") in _MACHINERY
    ):
        frame = frame.f_back
    return str(frame.f_globals.get("__name__")).partition(".")[0]


def _own(name: str, folder: str) -> ModuleSpec | None:
    """Return the spec of a module in a folder, if it is there."""
    for hook in sys.path_hooks:
        if hook != _studies.hook:
            with suppress(ImportError):
                return hook(folder).find_spec(name)
    return None


def _installed(name: str) -> ModuleSpec | None:
    """Return the spec of the module that Python finds under a name outside the folders of studies."""
    before = [*sys.meta_path][: sys.meta_path.index(PathFinder)] if PathFinder in sys.meta_path else sys.meta_path
    return (
        _found_by(before, name)
        or PathFinder.find_spec(name, [path for path in sys.path if path not in _studies.paths])
        or _found_by(dropwhile(lambda finder: finder is not PathFinder, sys.meta_path), name)
    )


def _found_by(finders: Iterable[Any], name: str) -> ModuleSpec | None:
    found = (finder.find_spec(name, None) for finder in finders if finder is not PathFinder)
    return next((spec for spec in found if spec is not None), None)


def _check_loaded(name: str, own: ModuleSpec) -> None:
    """Raise `NameTaken` if a module with this name is loaded that is not the one in a study's folder."""
    loaded = sys.modules.get(name)
    if loaded is not None and own.origin is not None:
        file = getattr(loaded, "__file__", None)
        if file is None or Path(file).resolve() != Path(own.origin).resolve():
            raise NameTaken(name, "loaded already", file, own.origin)


def _is_same(one: ModuleSpec, other: ModuleSpec) -> bool:
    return not {*_places(one)}.isdisjoint(_places(other))


def _places(spec: ModuleSpec) -> Iterator[Path]:
    if spec.origin is not None and spec.has_location:
        yield Path(spec.origin).resolve()
    else:
        yield from (Path(path).resolve() for path in spec.submodule_search_locations or ())
