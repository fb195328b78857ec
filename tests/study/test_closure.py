"""The static import closure: which files of a folder a module runs, whatever has been loaded."""

import sys
from pathlib import Path

import pytest

from hpo.core.errors import InputError
from hpo.study.closure import import_closure


def folder_of(root, files):
    """Write files, by their names; a name without a suffix is a folder."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def closure(folder, *modules):
    """Return the closure's names, without that of the module itself."""
    found = import_closure([folder / module for module in modules], folder)
    return {path.relative_to(folder).as_posix() for path in found} - set(modules)


PACKAGE = {"pkg/__init__.py": "", "pkg/inner/__init__.py": "", "pkg/inner/deep.py": "", "pkg/other.py": ""}
SPACE = {"space/part/here.py": "", "space/other.py": ""}
CASES = {
    "a plain import": ("import orig", {"orig.py": ""}, {"orig.py"}),
    "several, with other names": ("import orig as o, two", {"orig.py": "", "two.py": ""}, {"orig.py", "two.py"}),
    "a name of it": ("from orig import thing", {"orig.py": "thing = 1"}, {"orig.py"}),
    "everything of it": ("from orig import *", {"orig.py": ""}, {"orig.py"}),
    "by way of another": ("import orig", {"orig.py": "import far", "far.py": ""}, {"orig.py", "far.py"}),
    "in a circle": ("import orig", {"orig.py": "import task"}, {"orig.py"}),
    "inside a function": ("def f():\n    if 0:\n        import orig", {"orig.py": ""}, {"orig.py"}),
    "inside a class and a try": (
        "class C:\n  try: import orig\n  except ImportError: pass",
        {"orig.py": ""},
        {"orig.py"},
    ),
    "a dotted name": (
        "import pkg.inner.deep",
        PACKAGE,
        {"pkg/__init__.py", "pkg/inner/__init__.py", "pkg/inner/deep.py"},
    ),
    "a module from a package": ("from pkg import other", PACKAGE, {"pkg/__init__.py", "pkg/other.py"}),
    "a name from a package": ("from pkg import nothing", PACKAGE, {"pkg/__init__.py"}),
    "what __all__ lists": (
        "from pkg import *",
        PACKAGE | {"pkg/__init__.py": "__all__ = ['other']\n__all__ += ['*', 'x']"},
        {"pkg/__init__.py", "pkg/other.py"},
    ),
    "__all__ that nobody asks for": (
        "import pkg",
        PACKAGE | {"pkg/__init__.py": "__all__ = ['other']"},
        {"pkg/__init__.py"},
    ),
    "relative imports": (
        "import pkg.inner.deep",
        PACKAGE | {"pkg/inner/deep.py": "from .. import other", "pkg/other.py": "from .inner import *"},
        {"pkg/__init__.py", "pkg/inner/__init__.py", "pkg/inner/deep.py", "pkg/other.py"},
    ),
    "a relative import beyond the folder": ("from . import orig\nfrom ... import orig", {"orig.py": ""}, set()),
    "a namespace package": ("import space.part.here", SPACE, {"space/part/here.py"}),
    "from a namespace package": ("from space import other", SPACE, {"space/other.py"}),
    "a package before a module": ("import orig", {"orig.py": "", "orig/__init__.py": ""}, {"orig/__init__.py"}),
    "a module before a namespace": ("import orig.x", {"orig.py": "", "orig/x.py": ""}, {"orig.py"}),
    "import_module": ("import importlib\nimportlib.import_module('orig')", {"orig.py": ""}, {"orig.py"}),
    "import_module by its own name": (
        "from importlib import import_module\nimport_module(name='orig')",
        {"orig.py": ""},
        {"orig.py"},
    ),
    "__import__": ("__import__('pkg.other')", PACKAGE, {"pkg/__init__.py", "pkg/other.py"}),
    "a relative import_module": (
        "import pkg",
        PACKAGE | {"pkg/__init__.py": "import_module('.other', __package__)"},
        {"pkg/__init__.py", "pkg/other.py"},
    ),
    "import_module under another name": (
        "from importlib import import_module as load\nload('orig')",
        {"orig.py": ""},
        {"orig.py"},
    ),
    "a name that is a constant": (
        "import importlib\nORIG = 'orig'\ndef build():\n    return importlib.import_module(ORIG)",
        {"orig.py": ""},
        {"orig.py"},
    ),
    "names in a loop": (
        "for name in ('orig', 'pkg.other'):\n    __import__(name)\n[import_module(n) for n in ['third']]",
        PACKAGE | {"orig.py": "", "third.py": "", "fourth.py": ""},
        {"orig.py", "third.py", "pkg/__init__.py", "pkg/other.py"},
    ),
    "a computed name": ("import importlib\nimportlib.import_module('or' + 'ig')", {"orig.py": ""}, set()),
    "a name that is no name": ("__import__('/etc/passwd')\n__import__('')\n__import__('..')", {"orig.py": ""}, set()),
    "what only lies there": ("import sys, numpy", {"orig.py": "", "broken.py": "def"}, set()),
    "another encoding": ("import orig", {"orig.py": "# coding: latin-1"}, {"orig.py"}),
    "compiled": ("import orig", {f"orig.{sys.implementation.cache_tag}.txt": "", "orig.pyc": ""}, {"orig.pyc"}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_files_that_a_module_runs(tmp_path, case):
    """Fault 25: every way to import a module of the folder counts, and nothing else does."""
    text, files, expected = CASES[case]
    folder_of(tmp_path, files | {"task.py": text})
    assert closure(tmp_path, "task.py") == expected


def test_a_module_inside_a_package_runs_the_package(tmp_path):
    folder_of(tmp_path, PACKAGE | {"pkg/__init__.py": "import orig", "orig.py": ""})
    assert closure(tmp_path, "pkg/inner/deep.py") == {"pkg/__init__.py", "pkg/inner/__init__.py", "orig.py"}


def test_several_modules_have_one_closure(tmp_path):
    folder_of(tmp_path, {"a.py": "import orig", "b.py": "import orig, far", "orig.py": "", "far.py": "", "c.py": ""})
    found = import_closure([tmp_path / "a.py", tmp_path / "b.py"], tmp_path)
    assert found == [tmp_path / f"{name}.py" for name in ("a", "b", "far", "orig")]


def test_links_are_files_of_the_folder(tmp_path):
    """The folder may be a link, and so may a module or a package in it: they are imported under their names there."""
    real = folder_of(tmp_path / "real", {"task.py": "import orig, pkg.other"})
    elsewhere = folder_of(tmp_path / "elsewhere", PACKAGE | {"shared.py": "import sibling", "sibling.py": ""})
    (real / "orig.py").symlink_to(elsewhere / "shared.py")
    (real / "pkg").symlink_to(elsewhere / "pkg")
    (tmp_path / "link").symlink_to(real)
    assert closure(tmp_path / "link", "task.py") == {"orig.py", "pkg/__init__.py", "pkg/other.py"}


def test_names_that_are_imported_from_elsewhere_are_left_out(tmp_path):
    folder_of(tmp_path, {"task.py": "import orig, far", "orig.py": "", "far.py": ""})
    found = import_closure([tmp_path / "task.py"], tmp_path, lambda package: package == "far")
    assert [path.name for path in found] == ["orig.py", "task.py"]


@pytest.mark.parametrize("text", ["def f(:\n    pass", "x = 1\0", "(" * 5000], ids=["syntax", "null", "deep"])
def test_a_file_that_is_not_python_is_named(tmp_path, text):
    folder_of(tmp_path, {"task.py": "def f():\n    import orig", "orig.py": text})
    with pytest.raises(InputError, match=r"orig\.py.*not valid Python"):
        closure(tmp_path, "task.py")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.py: cannot be read"):
        import_closure([Path(tmp_path / "gone.py")], tmp_path)


@pytest.mark.filterwarnings("error")
def test_warnings_about_a_files_text_are_its_imports(tmp_path):
    folder_of(tmp_path, {"task.py": r"pattern = '\d'"})
    assert closure(tmp_path, "task.py") == set()
