"""The files that a module runs: its static import closure inside one folder, found from syntax trees.

Loaded modules are not used, because what is loaded depends on what has run. So an import inside a function counts whether or not it
was reached, and a file that nothing imports does not count.
"""

import ast
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from importlib.machinery import BYTECODE_SUFFIXES, EXTENSION_SUFFIXES, SOURCE_SUFFIXES
from pathlib import Path

from hpo.core.errors import InputError

Name = tuple[str, ...]
"""A module's absolute name, split at the dots."""

_SUFFIXES = (*EXTENSION_SUFFIXES, *SOURCE_SUFFIXES, *BYTECODE_SUFFIXES)
"""The order in which Python looks for a module."""
_DYNAMIC = ("import_module", "__import__")


def import_closure(
    modules: Iterable[Path], folder: Path, foreign: Callable[[str], bool] = lambda package: False
) -> list[Path]:
    """Return the files in a folder that some of its modules run when they are imported and used, including their own files.

    This follows `import` and `from ... import` statements anywhere, including relative ones, and `import_module` and
    `__import__` with a literal name, or with a variable that the same file sets to literal names. Importing `a.b.c` also runs
    the packages `a` and `a.b`; a namespace package has nothing to run. Imports of computed names cannot be followed.

    Args:
        modules: the files to start from, each below `folder` (not resolved: a link in the folder counts as a file in it).
        folder: the folder from which the modules can be imported; may be a link.
        foreign: returns whether the first part of a name is imported from elsewhere, even if the folder contains it.

    Returns:
        Sorted paths, each below `folder`.

    Raises:
        InputError: a file cannot be read, or is not valid Python.
        ValueError: a module is not in the folder.
    """
    found: set[Path] = set()
    waiting = list(modules)
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            package = file.relative_to(folder).parts[:-1]
            names = [package, *(_imported(_parsed(file), package) if file.suffix in SOURCE_SUFFIXES else ())]
            waiting += [own for name in names if name and not foreign(name[0]) for own in _files(folder, name)]
    return sorted(found)


def _imported(tree: ast.Module, package: Name) -> Iterator[Name]:
    """Yield the names that a source file may import; some may belong to things inside a module.

    Args:
        tree: the file's syntax tree.
        package: the package that contains the file.
    """
    called = {*_DYNAMIC}
    literals: dict[str, list[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute("." * node.level + (node.module or ""), package)
            yield from ((*base, alias.name) for alias in node.names if base)
            called |= {alias.asname for alias in node.names if alias.asname and alias.name in _DYNAMIC}
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.For | ast.comprehension | ast.NamedExpr):
            source = node.iter if isinstance(node, ast.For | ast.comprehension) else node.value
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                literals.setdefault(getattr(target, "id", ""), []).extend(_texts(source))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from (_absolute(name, package) for name in _asked(node, called, literals))


def _texts(value: ast.expr | None) -> list[str]:
    """Return a literal text, or the texts of a literal list, tuple or set."""
    items = value.elts if isinstance(value, ast.List | ast.Tuple | ast.Set) else [value]
    return [item.value for item in items if isinstance(item, ast.Constant) and isinstance(item.value, str)]


def _asked(call: ast.Call, called: Collection[str], literals: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """Return the names that a call of `import_module` or `__import__`, under any prefix or alias, may import."""
    function = call.func
    if (function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", None)) not in called:
        return []
    given = next(iter([*call.args[:1], *(keyword.value for keyword in call.keywords if keyword.arg == "name")]), None)
    return literals.get(given.id, []) if isinstance(given, ast.Name) else _texts(given)


def _absolute(name: str, package: Name) -> Name:
    """Return the absolute name of a possibly relative one; nothing if it leads out of the folder."""
    bare = name.lstrip(".")
    level = len(name) - len(bare)
    own = tuple(bare.split(".")) if bare else ()
    if not level:
        return own
    return (*package[: len(package) - level + 1], *own) if level <= len(package) else ()


def _files(folder: Path, name: Name) -> Iterator[Path]:
    """Yield the files that importing a name runs: those of its parent packages, and of the module itself."""
    place, init = folder, None
    for part in name:
        if part == "*":
            yield from (file for each in _listed(init) for file in _files(folder, (*name[:-1], each)))
        if not part.isidentifier():
            return
        place /= part
        init = _first(place / f"__init__{suffix}" for suffix in _SUFFIXES)
        found = init or _first(place.with_name(part + suffix) for suffix in _SUFFIXES)
        if found is not None:
            yield found
        if init is None and (found is not None or not place.is_dir()):
            return


def _listed(init: Path | None) -> list[str]:
    """Return the names in a package's `__all__`: what `from package import *` imports."""
    if init is None or init.suffix not in SOURCE_SUFFIXES:
        return []
    values = []
    for node in _parsed(init).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(getattr(target, "id", None) == "__all__" for target in targets):
            values.append(getattr(node, "value", None))
    constants = [item.value for value in values if value for item in ast.walk(value) if isinstance(item, ast.Constant)]
    return [value for value in constants if isinstance(value, str) and value.isidentifier()]


def _first(files: Iterable[Path]) -> Path | None:
    return next((file for file in files if file.is_file()), None)


def _parsed(file: Path) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # importing the file has already shown them
            return ast.parse(file.read_bytes(), str(file))
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error
    except SyntaxError as error:
        raise InputError(f"{file}, line {error.lineno}: not valid Python: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:  # a null byte; nested too deeply
        raise InputError(f"{file}: not valid Python: {error}") from error
