"""Which modules a study runs: those that it names, what these import from their folder, and nothing else that lies beside it."""

import re
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import pytest
import tomli_w
from helpers import HERE, RANDOM, ROOT, document, environment, results, run

import hpo
from hpo.core.errors import SpecError

TASK = """
from dataclasses import dataclass
import hpo
from plain_tasks import Walk

@hpo.register_task("own_walk")
@dataclass(frozen=True)
class OwnWalk(Walk):
    pass
"""


def decoy(folder, *names):
    """Put modules into a folder that leave a trace if they are run."""
    for name in names:
        (folder / f"{name}.py").write_text(f"open({str(folder / 'ran')!r}, 'a').write('{name} ')\n")


def ran(folder):
    return (folder / "ran").read_text() if (folder / "ran").exists() else ""


def study(folder, source=TASK, **task):
    """Write a study of a task of its own, and the task's module `own_task`."""
    (folder / "own_task.py").write_text(source)
    of = {"name": "own_walk", "module": "own_task"} | task
    small = document(of, arms=(RANDOM,), replicates=1, budget=2, population_size=2)
    (folder / "study.toml").write_bytes(tomli_w.dumps(small).encode())
    return folder / "study.toml"


def python(*arguments, cwd, **more):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=environment(**more),
        capture_output=True,
        text=True,
        check=False,
    )


STANDARD = (
    "json",
    "pickle",
    "multiprocessing",
    "concurrent",
    "sqlite3",
    "hashlib",
    "argparse",
    "tomllib",
    "subprocess",
)


def direct_dependencies():
    """Return the modules of all distributions in pyproject.toml, optional ones too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    names = {re.split(r"[<>=\[;]", line)[0].strip() for lines in lists for line in lines}
    known = {
        "scikit-learn": "sklearn",
        "pytest-xdist": "xdist",
        "import-linter": "importlinter",
        "scipy-stubs": "scipy",
    }
    return sorted({known.get(name, name).replace("-", "_") for name in names} - {"hpo"})


def test_the_decoys_have_the_names_of_what_we_import():
    found = direct_dependencies()
    assert {"torch", "numpy", "sklearn", "ray", "tomli_w", "matplotlib"} <= {*found}
    sources = "\n".join(path.read_text() for path in (ROOT / "hpo").rglob("*.py"))
    imported = {name.partition(".")[0] for name in re.findall(r"^ *(?:from|import) ([\w.]+)", sources, re.MULTILINE)}
    known = {*sys.stdlib_module_names, *found, "hpo"}
    assert {name for name in imported - known if (ROOT / "hpo" / f"{name}.py").exists()} == set()


# --- what is named -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["json", "torch", "sys"])
def test_a_named_module_with_the_name_of_an_installed_one_is_refused(tmp_path, name):
    """Fault 40: what of the two is meant cannot be known."""
    decoy(tmp_path, name)
    (tmp_path / "study.toml").write_bytes(tomli_w.dumps(document({"name": "toy", "module": name})).encode())
    with pytest.raises(SpecError, match=rf"another module of that name is .*rename {tmp_path / name}\.py"):
        hpo.load_study(tmp_path / "study.toml")
    assert not ran(tmp_path)


def test_a_named_package_that_is_installed_is_found(tmp_path):
    (tmp_path / "study.toml").write_bytes(tomli_w.dumps(document({"name": "toy", "module": "json.tool"})).encode())
    assert hpo.load_study(tmp_path / "study.toml").bound.modules == ("json.tool",)


@pytest.mark.parametrize("executor", ["serial", "process"])
def test_what_a_named_module_imports_from_its_folder_is_found_also_late_and_in_workers(tmp_path, executor):
    helpers = "import importlib\nimport own_first\nfrom own_package.inner import VALUE\n"
    late = "    def train(self, state, hparams, batches):\n"
    late += "        assert importlib.import_module('own_late').VALUE == VALUE == own_first.VALUE\n"
    late += "        return super().train(state, hparams, batches)\n"
    file = study(tmp_path, helpers + TASK.replace("    pass\n", late))
    (tmp_path / "own_package").mkdir()
    for name in ("own_first", "own_late", "own_package/inner"):
        (tmp_path / f"{name}.py").write_text("VALUE = 7\n")
    done = python("-m", "hpo.run", file, "--executor", executor, "--out", tmp_path / "out", cwd=tmp_path.parent)
    assert done.returncode == 0, done.stderr


def test_processes_that_a_task_starts_find_its_module(tmp_path):
    late = "    def train(self, state, hparams, batches):\n"
    late += "        with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
    late += "            assert pool.apply(answer) == 42\n"
    late += "        return super().train(state, hparams, batches)\n"
    source = "import multiprocessing\ndef answer():\n    return 42\n" + TASK.replace("    pass\n", late)
    done = python("-m", "hpo.run", study(tmp_path, source), "--out", tmp_path / "out", cwd=tmp_path.parent)
    assert done.returncode == 0, done.stderr


# --- what is not named ---------------------------------------------------------------------------------------------------


def test_a_file_that_an_installed_module_hides_is_not_run_and_a_warning_names_it(tmp_path):
    """Fault 40: what is installed wins, and the user learns of it."""
    decoy(tmp_path, "fractions", "own_other")
    file = study(tmp_path, "from fractions import Fraction\nimport own_other\nassert Fraction(1)\n" + TASK)
    done = python("-m", "hpo.run", file, "--no-report", "--workers", 2, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(ran(tmp_path).split()) == {"own_other"}
    assert done.stderr.count("warning: ") == 1
    assert f"{tmp_path / 'fractions.py'} is not used" in done.stderr


def test_a_file_that_nothing_of_the_study_imports_is_not_found_though_nothing_of_its_name_is_installed(tmp_path):
    """Fault 40: libraries try to import others that may be missing; so do we. The study's folder is not searched for them."""
    decoy(tmp_path, "not_installed_anywhere")
    asks = "import importlib.util\nFOUND = importlib.util.find_spec('not_installed_anywhere')\n"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "library.py").write_text(asks + "def late():\n    import not_installed_anywhere\n")
    source = "import library\nassert library.FOUND is None\ntry:\n    library.late()\nexcept ImportError:\n    pass\n"
    source += "else:\n    raise AssertionError\n" + TASK
    done = python(
        *("-m", "hpo.run", study(tmp_path, source), "--no-report", "--workers", 2),
        cwd=tmp_path,
        PYTHONPATH=f"{HERE}:{ROOT}:{tmp_path / 'elsewhere'}",
    )
    assert done.returncode == 0, done.stderr
    assert not ran(tmp_path)


def test_helpers_of_two_studies_with_one_name_are_not_confused(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "own_helper.py").write_text("")
        (tmp_path / name / f"own_{name}.py").write_text("import own_helper\n")
        small = document({"name": "toy", "module": f"own_{name}"})
        (tmp_path / name / "study.toml").write_bytes(tomli_w.dumps(small).encode())
    hpo.load_study(tmp_path / "one" / "study.toml")
    with pytest.raises(SpecError, match=r"loaded already, .*one/own_helper\.py \(rename .*two/own_helper\.py"):
        hpo.load_study(tmp_path / "two" / "study.toml")


# --- interpreters --------------------------------------------------------------------------------------------------------

SCRIPT = """
import sys
import hpo

if __name__ == "__main__":
    study = hpo.load_study(sys.argv[1])
    pool, options = None, {"workers": 2}
    if len(sys.argv) > 2:
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        options = {"executor": ProcessPoolExecutor(2, mp_context=get_context(sys.argv[2]))}
    hpo.run_study(study, out=sys.argv[1] + ".out", report=False, **options)
"""


@pytest.mark.parametrize(
    "start",
    [
        pytest.param((), id="process"),
        pytest.param(("spawn",), id="spawn", marks=pytest.mark.slow),
        pytest.param(("forkserver",), id="forkserver", marks=pytest.mark.slow),
    ],
)
def test_workers_of_a_script_elsewhere_do_not_look_in_the_current_folder(tmp_path, start):
    """Fault 40: `python -P`, or a script elsewhere, and workers imported numpy.py from the current folder."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "script.py").write_text(SCRIPT)
    decoy(tmp_path, *direct_dependencies())
    if not start:  # making a pool starts a process that tracks resources, before the pool is ours to start workers in
        decoy(tmp_path, *STANDARD)
    small = document(replicates=1)
    (tmp_path / "study.toml").write_bytes(tomli_w.dumps(small).encode())
    done = python("scripts/script.py", "study.toml", *start, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(results(tmp_path / "study.toml.out")["replicates"]) == 1
    assert not ran(tmp_path)


def test_what_a_task_starts_in_a_pool_finds_modules_as_usual(tmp_path):
    """Only the pool's own interpreters leave the current folder out; a program of the task's is started as everywhere."""
    check = "import os\nassert 'PYTHONSAFEPATH' not in os.environ\n"
    late = "    def train(self, state, hparams, batches):\n"
    late += "        assert 'PYTHONSAFEPATH' not in os.environ\n        return super().train(state, hparams, batches)\n"
    (tmp_path / "script.py").write_text(SCRIPT)
    study(tmp_path, check + TASK.replace("    pass\n", late))
    done = python("script.py", "study.toml", "spawn", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_importing_hpo_leaves_the_path_of_other_programs_alone(tmp_path):
    code = "import sys; before = [*sys.path]; import hpo; assert sys.path == before and sys.path[0] == '', sys.path"
    assert python("-c", code, cwd=tmp_path).returncode == 0
    (tmp_path / "program.py").write_text("import sys\nimport hpo\nprint(sys.path[0])\n")
    assert python("-m", "program", cwd=tmp_path).stdout.strip() == str(tmp_path)


def test_a_study_of_built_in_parts_puts_nothing_on_the_path(tmp_path):
    (tmp_path / "study.toml").write_bytes(tomli_w.dumps(document()).encode())
    before = [*sys.path]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hpo.load_study(Path(tmp_path, "study.toml"))
    assert sys.path == before


# --- studies of built-in parts -------------------------------------------------------------------------------------------

EXECUTORS = {
    "serial": ("--executor", "serial"),
    "process": ("--workers", "2"),
    "stacked": ("--executor", "stacked", "--no-report"),
    "ray": ("--executor", "ray", "--workers", "1", "--no-report"),
}


@pytest.mark.parametrize(
    "executor",
    [pytest.param(name, marks=[pytest.mark.slow] if name != "process" else []) for name in EXECUTORS],
)
def test_no_module_beside_a_study_is_run(tmp_path, executor):
    """Fault 40: a study of built-in parts alone ran a `torch.py` that lay beside it, in the current folder or the run directory."""
    if executor == "ray":
        pytest.importorskip("ray")
    of = {"name": "digits" if executor == "stacked" else "toy"}
    small = document(of, arms=(RANDOM,), replicates=3, budget=1, population_size=2)
    (tmp_path / "study.toml").write_bytes(tomli_w.dumps(small).encode())
    decoy(tmp_path, *direct_dependencies(), *STANDARD)
    for seeds in (
        1,
        3,
    ):  # the second time the report is drawn in a process of its own, too, and decoys are in the run directory
        command = ("-m", "hpo.run", "study.toml", "--out", "run", "--quiet", "--replicates", seeds)
        done = python(*command, *EXECUTORS[executor], cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        decoy(tmp_path / "run", *direct_dependencies(), *STANDARD)
    assert (tmp_path / "run" / "report.html").exists() != ("--no-report" in EXECUTORS[executor])
    assert not ran(tmp_path)
    assert not ran(tmp_path / "run")


def test_no_module_in_the_current_folder_is_run_by_any_command(tmp_path):
    """Fault 40, for the commands that read what was made: in the run directory, which they are given, too."""
    run_dir = run(document(replicates=2), tmp_path / "run").run_dir
    decoy(run_dir, *direct_dependencies(), *STANDARD)
    commands = (
        ("hpo.store", "verify", run_dir),
        ("hpo.report", run_dir),
        ("hpo.plan", run_dir, "--no-timing"),
        ("hpo.compare", run_dir),
        ("hpo.replay", run_dir, "--arm", "random", "--schedule-seed", "0", "--seed", "7"),
    )
    said = [python("-m", *command, cwd=run_dir) for command in commands]
    assert [done.returncode for done in said] == [0] * len(commands), [done.stderr for done in said]
    assert not ran(run_dir)
