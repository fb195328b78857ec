"""Loads what a study trained."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from hpo.core.checkpoints import CheckpointMissing, decode
from hpo.core.errors import InputError, SpecError, did_you_mean
from hpo.core.options import Mistakes
from hpo.core.parsing import read_bytes
from hpo.core.space import SearchSpace
from hpo.engine.run_dir import model_path
from hpo.results.document import ArmResult, Results
from hpo.results.file import read_results
from hpo.schedules.best import Best, best_of
from hpo.schedules.from_results import schedule_of
from hpo.schedules.schedule import Schedule
from hpo.study.bound import BoundTask
from hpo.study.task_table import read_task


def load_model(
    run_dir: str | Path, arm: str, seed: int, *, search_path: Iterable[str | Path] = (), task: BoundTask | None = None
) -> Any:
    """Return the retrained winner of an arm: for a `TorchTask` its `nn.Module`, in evaluation mode; for a loop its object.

    Without a test set nothing is retrained, and the winner is as the search left it.

    The weights come from `models/<arm>-<seed>.safetensors`; nothing is unpickled.

    Args:
        run_dir: the run directory.
        arm: the arm's label.
        seed: the replicate's seed.
        search_path: folders to search for the modules of `[task] module`, before the current one.
        task: the study's task; by default it is built from results.json.

    Raises:
        InputError: there is no such arm, seed or file, or the task is a function.
    """
    run_dir = Path(run_dir)
    results = read_results(run_dir)
    entry = _entry(results, run_dir, arm, seed)
    if results.task.name == "function":
        raise InputError(f"{run_dir}: a function has no model; hpo.load_best returns its best hyperparameters")
    found = task_of(results, run_dir / "results.json", search_path) if task is None else task
    path = model_path(run_dir, arm, seed)
    try:
        arrays = decode(read_bytes(path, None))
    except FileNotFoundError as error:
        diverged = entry.test_diverged
        why = "it diverged when it was retrained" if diverged else f"{path} is missing; run the study again"
        raise InputError(f"{run_dir}: arm {arm!r} with seed {seed} has no model: {why}") from error
    except (OSError, CheckpointMissing) as error:
        raise InputError(f"{path}: {error}") from error
    last = schedule_of(results, entry, arm, seed).hparams[-1]
    # An arm may leave out optional hyperparameters, and conditional ones may be inactive.
    space = SearchSpace({name: parameter for name, parameter in found.space.items() if name in last})
    hparams = space.cast(last)
    return found.task.model_of(found.task.from_arrays(arrays, hparams))


def load_best(run_dir: str | Path) -> Best | None:
    """Return the best hyperparameters in a run directory, chosen by their validation value; None if there are none yet.

    Compares the metric that the searches optimise, over all arms and finished replicates. Ties go to the first arm in the study
    file, then to the lowest seed. The test set is not used.

    Args:
        run_dir: the run directory; only its results.json is read.

    Raises:
        InputError: there are no results.
    """
    return best_of(read_results(Path(run_dir)))


def load_schedule(run_dir: str | Path, arm: str, seed: int) -> Schedule:
    """Return the schedule that an arm's final model was trained along; a derived arm's is the one that it made from its source's.

    Args:
        run_dir: the run directory; only its results.json is read.
        arm: the arm's label.
        seed: the replicate's seed.

    Raises:
        InputError: there is no such arm or seed, or no results.
    """
    run_dir = Path(run_dir)
    results = read_results(run_dir)
    entry = _entry(results, run_dir, arm, seed)
    return schedule_of(results, entry, arm, seed)


def _entry(results: Results, run_dir: Path, arm: str, seed: int) -> ArmResult:
    """Return an arm's results in a replicate."""
    for replicate in results.replicates:
        if replicate.seed == seed and arm in replicate.arms:
            return replicate.arms[arm]
    arms, seeds = ", ".join(map(repr, results.labels)), ", ".join(map(str, results.finished_seeds))
    hint = did_you_mean(str(arm), results.labels) if arm not in results.labels else None
    raise InputError(
        f"{run_dir}: no finished arm {arm!r} with seed {seed!r}; there are the arms {arms}"
        f" with {f'the seeds {seeds}' if seeds else 'no finished seed'}" + (f" ({hint})" if hint else "")
    )


def task_of(results: Results, file: Path, search_path: Iterable[str | Path]) -> BoundTask:
    """Return the task of a study from its results; its optimizers need not be installed."""
    problems = Mistakes()
    table = cast(Mapping[str, Any], results.study).get("task", {})
    if results.task.name == "loop" and ":" not in str(table.get("loop")):
        raise InputError(
            f"{file}: the class {table.get('loop')} was given to hpo.tune, and only a program can give it again: call hpo.tune with"
            " the same arguments, which computes nothing anew, and use the `model` of its result"
        )
    folders = tuple(str(Path(folder).resolve()) for folder in (*search_path, Path.cwd()))
    found = read_task(results.study, folders, problems)
    if found is None:
        raise SpecError(str(file), problems)
    return found
