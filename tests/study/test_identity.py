"""What makes a task the task that it is: options, data, and every source file that its results may come from."""

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from helpers import cli, document, environment, write_study

import hpo
from hpo.core.errors import InputError
from hpo.study.identity import source_digests, task_identity
from hpo.tasks.images.mnist import Mnist
from hpo.tasks.toy import Toy

LAZY = """
from dataclasses import dataclass
from hpo.tasks.toy import Toy

@dataclass(frozen=True)
class Lazy(Toy):
    def train(self, state, hparams, batches):
        from lazy_package.inner.helper import shift
        return super().train(state, hparams, batches) + shift
"""


def lazy_code(folder):
    """Return the code of the lazy task of a package in a folder, as a fresh process finds it."""
    script = "import json; from lazy_package.task import Lazy; from hpo.study.identity import task_identity\n"
    script += "print(json.dumps(task_identity(Lazy(), 'lazy')['code']))"
    env = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_a_helper_that_is_imported_only_in_training_is_part_of_a_tasks_code(tmp_path):
    package = tmp_path / "lazy_package"
    (package / "inner").mkdir(parents=True)
    for name, text in (("__init__", ""), ("task", LAZY), ("inner/__init__", ""), ("inner/helper", "shift = 1")):
        (package / f"{name}.py").write_text(text)
    before = lazy_code(tmp_path)
    own = {key for key in before if key.startswith("lazy_package/")}
    assert own == {f"lazy_package/{name}.py" for name in ("__init__", "task", "inner/__init__", "inner/helper")}
    (package / "inner" / "helper.py").write_text("shift = 2")
    after = lazy_code(tmp_path)
    assert {key for key in before if before[key] != after[key]} == {"lazy_package/inner/helper.py"}


def test_packages_below_a_folder_that_is_none_are_told_apart(tmp_path):
    """`space` has no __init__.py: the packages in it count, each with the files that are imported."""
    for name in ("own", "base"):
        (tmp_path / "space" / name).mkdir(parents=True)
        (tmp_path / "space" / name / "__init__.py").touch()
        (tmp_path / "space" / name / "helper.py").touch()
    (tmp_path / "space" / "own" / ".#task.py").symlink_to("user@host.1234")  # an editor's lock, dangling
    (tmp_path / "space" / "base" / "task.py").write_text(
        "from hpo.tasks.toy import Toy\nfrom . import helper\nclass Base(Toy): pass\n"
    )
    (tmp_path / "space" / "own" / "task.py").write_text("from space.base.task import Base\nclass Own(Base): pass\n")
    script = (
        "from space.own.task import Own; from hpo.study.identity import source_digests; print(*source_digests(Own))"
    )
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    expected = {
        f"space/{file}.py" for file in ("own/__init__", "own/task", "base/__init__", "base/task", "base/helper")
    }
    assert set(done.stdout.split()) == expected | {"hpo/tasks/toy.py"}


THIRD = """
from dataclasses import dataclass
import hpo
from orig import push
from hpo.tasks.toy import Toy

@hpo.register_task("third")
@dataclass(frozen=True)
class Third(Toy):
    def train(self, state, hparams, batches):
        return push(super().train(state, hparams, batches))
"""


def test_an_edited_helper_beside_the_tasks_file_is_other_code(tmp_path):
    """Fault 25: third.py imports orig.py. After an edit of orig.py no seed is answered by the old model.

    The run directory is refused, with the file named; a file that nothing imports may change.
    """
    (tmp_path / "third.py").write_text(THIRD)
    (tmp_path / "orig.py").write_text("def push(state):\n    return state\n")
    (tmp_path / "unrelated.py").write_text("1")
    study = write_study(tmp_path, document({"name": "third", "module": "third"}))
    assert cli(study, "--executor", "serial", "--replicates", 1).returncode == 0
    (tmp_path / "unrelated.py").write_text("not python")
    assert cli(study, "--executor", "serial", "--replicates", 1).returncode == 0
    (tmp_path / "orig.py").write_text("def push(state):\n    return state + 1\n")
    done = cli(study, "--executor", "serial")
    assert done.returncode == 2
    assert "\n  orig.py: " in done.stderr


def test_what_a_script_imports_from_its_folder_is_its_tasks_code(tmp_path):
    """Fault 25: a class in a script that uses hpo as a library has the same closure; it has the same names in a worker."""
    (tmp_path / "orig.py").write_text("def push(state):\n    return state\n")
    (tmp_path / "script.py").write_text(
        THIRD + "from helpers import document\n"
        "if __name__ == '__main__':\n"
        "    spec = hpo.parse_study(document({'name': 'third'}))\n"
        "    hpo.run_study(spec, workers=2, report=False)\n"
        "    print(*spec.bound.identity['code'])\n"
    )
    done = subprocess.run(
        [sys.executable, "script.py"], env=environment(), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {"__main__.py", "orig.py", "hpo/tasks/toy.py"}


def test_the_module_through_which_a_study_reaches_its_task_counts(tmp_path):
    """Fault 25: `[task] module` names register.py, which changes a class of models.py; another module of the study has no say."""
    (tmp_path / "models.py").write_text("from hpo.tasks.toy import Toy\nclass Model(Toy): pass\n")
    (tmp_path / "register.py").write_text("import models\nmodels.Model.train = None\n")
    (tmp_path / "perturbations.py").touch()
    script = "import perturbations, register, models; from hpo.study.identity import source_digests as digests\n"
    script += "print(*digests(models.Model, ('register', 'perturbations')))"
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"models.py", "register.py", "hpo/tasks/toy.py"}


def test_sources_that_cannot_be_read_are_input_errors(tmp_path):
    with zipfile.ZipFile(tmp_path / "zipped.zip", "w") as archive:
        archive.writestr("zipped_task.py", "from hpo.tasks.toy import Toy\nclass Zipped(Toy): pass\n")
    script = "from zipped_task import Zipped; from hpo.study.identity import source_digests; source_digests(Zipped)"
    env = os.environ | {"PYTHONPATH": str(tmp_path / "zipped.zip")}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False)
    assert "InputError: the source of Zipped cannot be read" in done.stderr
    assert "give it a `version`" in done.stderr


def test_the_code_of_mnist_is_its_package_and_the_base_of_all_torch_tasks():
    folder = Path(hpo.__file__).parent / "tasks"
    files = [*(folder / "images").glob("*.py"), *(folder / "torch").glob("*.py")]
    assert set(source_digests(Mnist)) == {f"hpo/tasks/{file.relative_to(folder).as_posix()}" for file in files}
    assert set(source_digests(Toy)) == {"hpo/tasks/toy.py"}


def nowhere(version):
    """Return a task's class that no file defines."""
    names = {"__name__": "a_session", "Toy": Toy, "dataclass": dataclass}
    exec(f"@dataclass(frozen=True)\nclass Typed(Toy):\n    version = {version!r}", names)
    return names["Typed"]


def test_a_class_without_a_file_needs_a_version():
    with pytest.raises(InputError, match=r"Typed .*give it a `version`"):
        task_identity(nowhere(None)(), "typed")
    assert task_identity(nowhere("3")(), "typed")["code"] == "3"


def test_a_version_stands_for_the_code():
    class Versioned(Toy):
        version = "7"

    assert task_identity(Versioned(), "versioned")["code"] == "7"


INSTALLED = """
import json
import otherwise_called
from hpo.tasks.images.mnist import Mnist
from hpo.study.identity import source_digests
class Mine(otherwise_called.Base, Mnist): pass
print(json.dumps([dict(source_digests(Mnist)), dict(source_digests(Mine))]))
"""


def test_installed_libraries_count_by_their_version_and_hpo_itself_by_its_files(tmp_path):
    """The same digests wherever hpo lies; a library may be called otherwise than its package."""
    packages = tmp_path / "site-packages"
    packages.mkdir()
    (packages / "hpo").symlink_to(Path(hpo.__file__).parent)
    (packages / "otherwise_called.py").write_text("class Base: pass\n")
    info = packages / "the_library-4.5.6.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: the-library\nVersion: 4.5.6\n")
    (info / "top_level.txt").write_text("otherwise_called\n")
    script = tmp_path / "script.py"
    script.write_text(INSTALLED)
    env = os.environ | {"PYTHONPATH": str(packages)}
    done = subprocess.run([sys.executable, str(script)], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    of_mnist, of_mine = json.loads(done.stdout)
    assert of_mnist == source_digests(Mnist)
    assert of_mine["otherwise_called"] == "4.5.6"
    assert of_mine.keys() == {"otherwise_called", "__main__.py", *of_mnist}


def test_a_task_of_an_interactive_session_depends_on_the_files_of_its_bases():
    text = "from dataclasses import dataclass\nfrom hpo.tasks.toy import Toy\nfrom hpo.study.identity import task_identity\n"
    text += "@dataclass(frozen=True)\nclass Mine(Toy): pass\nprint(*task_identity(Mine(), 'mine')['code'])"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert "hpo/tasks/toy.py" in done.stdout.split()
