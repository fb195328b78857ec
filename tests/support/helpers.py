"""What the engine's tests share: study documents, runs in processes of their own, and what is compared afterwards."""

import ast
import importlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

import tomli_w

import hpo
from hpo.engine.session import Observer, StudyResult
from hpo.execution.executors import Execution
from hpo.execution.jobs import Context, Executor
from hpo.study.spec import StudySpec

T = TypeVar("T")

HERE = Path(__file__).parent
ROOT = Path(hpo.__file__).parent.parent
DEADLINE = 120.0
"""Seconds after which a condition that was waited for counts as never coming true."""


def code_lines(path: Path) -> list[str]:
    """Return the lines of a module without blank lines, comments and docstrings."""
    source = path.read_text()
    texts = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    ]
    docstrings = {number for node in texts for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    numbered = enumerate(source.splitlines(), 1)
    return [
        line
        for number, line in numbered
        if number not in docstrings and line.strip() and not line.strip().startswith("#")
    ]


def cases(number: int) -> int:
    """Return how many cases a property is tried on: `HPO_TEST_SCALE` times as many as `make test` does."""
    return number * int(os.environ.get("HPO_TEST_SCALE", "1"))


def thinned(items: Sequence[T]) -> Sequence[T]:
    """Return every fourth item in `make test`, and with a larger `HPO_TEST_SCALE` more of them, up to all."""
    return items[:: max(1, 4 // cases(1))]


RANDOM = {"label": "random", "optimizer": "random_search"}
PBT = {
    "label": "pbt",
    "optimizer": "pbt",
    "perturbation_interval": 1,
    "selection": {"name": "truncation", "quantile_fraction": 0.5},
}
GREEDY = {"label": "greedy", "optimizer": "pbt", "perturbation_interval": 2, "selection": {"name": "exploit_best"}}
TPE = {"label": "tpe", "optimizer": "optuna", "sampler": "tpe", "initial": 2}
TOY = {"name": "toy", "training_noise": 0.01, "evaluation_noise": 0.05}
COMPARISON = {
    "toy": "score",
    "hazard": "score",
    "walk": "distance",
    "guess": "error",
    "tenth": "error",
    "products": "norm",
    "blobs": "error",
}
MODULES = {"blobs": "torch_tasks", "hazard": "hazard_tasks", "paced": "paced_tasks"} | dict.fromkeys(
    ["walk", "guess", "tenth", "products"], "plain_tasks"
)


def document(
    task: Mapping[str, Any] = TOY,
    arms: tuple[Mapping[str, Any], ...] = (RANDOM, PBT),
    **study: Any,
) -> dict[str, Any]:
    """Return a small study: 4 members, 5 intervals of one unit, 2 replicates."""
    task = {"module": MODULES.get(task["name"])} | dict(task)
    out: dict[str, Any] = {
        "study": {"name": "small", "replicates": 2, "population_size": 4, "budget": 5, "interval": 1} | study,
        "task": {name: value for name, value in task.items() if value is not None},
        "arms": [dict(arm) for arm in arms],
    }
    if len(arms) > 1 and task["name"] in COMPARISON:
        out["comparison"] = {"baseline": arms[0]["label"], "metric": COMPARISON[task["name"]]}
    return out


def run(document: Mapping[str, Any], out: Path, **options: Any) -> StudyResult:
    """Run a study in this process."""
    spec = hpo.parse_study(document, search_path=[HERE])
    return hpo.run_study(spec, out=out, **{"executor": "serial", "report": False, **options})


def executor_of(spec: StudySpec, folder: Path, execution: Execution) -> Executor:
    """Open an executor by itself, without a study that gives it work."""
    context = Context.of(spec.bound, spec.task.numerics(), spec.interval, spec.intervals, folder)
    return execution.open(context, spec.task)


STUDIES = {
    "toy": document(),
    "torch": document({"name": "blobs"}, replicates=1, budget=3),
    "files": document({"name": "walk", "size": 9000}, arms=(RANDOM, PBT, GREEDY)),
}
"""What every executor must answer alike: small states, a network with dropout, states that are large enough for files."""


class Interrupts(Observer):
    """Ctrl-C after so many answers that were computed."""

    def __init__(self, answers: int) -> None:
        self.left = answers

    def segment(self, segment: hpo.SegmentDone) -> None:
        self._answered(segment.computed)

    def tested(self, test: hpo.Tested) -> None:
        self._answered(test.computed)

    def _answered(self, computed: bool) -> None:
        self.left -= computed
        if not self.left:
            raise KeyboardInterrupt


def lose_states(document: Mapping[str, Any], out: Path) -> None:
    """Run a part of a study and remove its checkpoint files."""
    with suppress(KeyboardInterrupt):
        run(document, out, observer=Interrupts(15))
    states = list(out.glob("checkpoints/*/*.safetensors"))
    assert len(states) > 5
    for state in states:
        state.unlink()


SEEN = {
    "study": {"name": "seen", "trials": 4, "replicates": 1},
    "task": {"function": "resource_tasks:seen", "search_space": {"x": {"type": "float", "low": 0.0, "high": 1.0}}},
    "arms": [{"label": "random", "optimizer": "random_search"}],
}
"""A study whose trials return what they may use."""


def seen(out: Path, **options: Any) -> dict[str, float]:
    """Return what each trial of a study saw, by name; it must be the same for all of them."""
    frame = run(SEEN, out, **options).frame()
    assert len(frame) == 4
    found = {name: set(frame[name]) for name in ("fewest", "most", "torch", "variable", "gpus")}
    assert all(len(values) == 1 for values in found.values()), found
    return {name: values.pop() for name, values in found.items()}


def hazard(folder: Path, mode: str, **study: Any) -> dict[str, Any]:
    """Return a study to which something happens; only one with the same folder has the same answer."""
    (folder / "mode").write_text(mode)
    return document({"name": "hazard", "folder": str(folder)}, **study)


def write_study(folder: Path, document: Mapping[str, Any], name: str = "study.toml") -> Path:
    """Write a study file."""
    path = folder / name
    path.write_bytes(tomli_w.dumps(document).encode())
    return path


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a run in a process of its own: it finds the tests' tasks, and the `hpo` that is tested."""
    return os.environ | {"PYTHONPATH": f"{HERE}{os.pathsep}{ROOT}"} | more


def command(study: Path, *options: object) -> list[str]:
    """Return the command line of a run."""
    return [sys.executable, "-m", "hpo.run", str(study), "--no-report", *map(str, options)]


def command_here(*arguments: object) -> tuple[int, str]:
    """Run a command, like ``"report", run_dir``, in this process; return its exit code and all that it says."""
    where = arguments[0] if arguments[0] == "replay" else f"{arguments[0]}.__main__"
    main = importlib.import_module(f"hpo.{where}").main
    before, said = signal.getsignal(signal.SIGTERM), StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(said), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            code = main([str(argument) for argument in arguments[1:]])
        return code, said.getvalue() + "".join(f"{warning.message}\n" for warning in caught)
    finally:
        signal.signal(signal.SIGTERM, before)


def cli(study: Path, *options: object, **more: Any) -> "subprocess.CompletedProcess[str]":
    """Run the command line to its end."""
    more = {"env": environment(), "cwd": study.parent, "timeout": DEADLINE} | more
    return subprocess.run(command(study, *options), capture_output=True, text=True, check=False, **more)


def start(study: Path, *options: object) -> "subprocess.Popen[str]":
    """Start the command line, in a session (hence a process group) of its own, as a terminal would."""
    return subprocess.Popen(
        command(study, *options),
        env=environment(),
        cwd=study.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_signals,
    )


def heed_signals() -> None:
    """Have a process that is about to start heed signals: a shell in the background, or `nohup`, may have the tests ignore some."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def until(condition: Callable[[], object], process: "subprocess.Popen[str] | None" = None) -> bool:
    """Poll until a condition holds; False when the process ended before."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        if process is not None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.003)
                return bool(condition())
    return True


def leftover(folder: Path) -> Path:
    """Leave what a writer of ours leaves in a folder that is killed in the middle."""
    script = "import os, signal, sys; from pathlib import Path; from hpo.core.files import write_atomic\n"
    script += "def write(file): file.write(b'half'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    script += "write_atomic(Path(sys.argv[1]), write)"
    folder.mkdir(parents=True, exist_ok=True)
    before = set(folder.iterdir())
    done = subprocess.run([sys.executable, "-c", script, str(folder / "whole")], env=environment(), check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = set(folder.iterdir()) - before
    assert left.read_bytes() == b"half"
    return left


def rows(run_dir: Path, table: str = "segments") -> int:
    """Return how many rows a table of a store has now, whoever is writing; 0 when there is none yet."""
    path = run_dir / "store.sqlite"
    if not path.exists():
        return 0
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        try:
            return int(db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])
        except sqlite3.OperationalError:
            return 0


def answer(run_dir: Path) -> bytes:
    """Return the bytes of results.json without what may differ between machines and checkouts."""
    text = (run_dir / "results.json").read_text()
    results = json.loads(text)
    assert json.dumps(results, indent=1, ensure_ascii=False) + "\n" == text
    del results["environment"]
    return json.dumps(results, indent=1).encode() + (run_dir / "segments.csv").read_bytes()


def work(run_dir: Path) -> tuple[list[Any], bytes]:
    """Return what the answer rests on, without the verdicts: a study that grew after a look has another history."""
    return results(run_dir)["replicates"], (run_dir / "segments.csv").read_bytes()


def results(run_dir: Path) -> dict[str, Any]:
    """Return what results.json holds."""
    return json.loads((run_dir / "results.json").read_bytes())


def sessions(run_dir: Path) -> list[dict[str, Any]]:
    """Return what execution.json says of each session."""
    return json.loads((run_dir / "execution.json").read_bytes())["sessions"]


def children(pid: int) -> list[int]:
    """Return the process ids of a process's children."""
    everyone = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [child for child in everyone if _stat(child)[1] == pid]


def alive(pid: int) -> bool:
    """Say whether a process is there and not a zombie."""
    return _stat(pid)[0] not in ("", "Z", "X")


def _stat(pid: int) -> tuple[str, int]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "", -1
    state, parent = text.rpartition(")")[2].split()[:2]
    return state, int(parent)


def without_scripts(html: str) -> str:
    """Return a page without its scripts and the data of its charts: what it says without them."""
    return re.sub("<script[^>]*>.*?</script>", "", html, flags=re.DOTALL)
