"""Loads what a study trained."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hpo.checkpoints import CheckpointMissing, decode
from hpo.errors import InputError, SpecError
from hpo.options import Mistakes
from hpo.outputs import model_path, read_results
from hpo.space import SearchSpace
from hpo.study_task import FoundTask, read_task


def load_model(run_dir: str | Path, arm: str, seed: int, *, search_path: Iterable[str | Path] = ()) -> Any:
    """Return the retrained winner of an arm: for a `TorchTask` its `nn.Module`, in evaluation mode.

    The weights come from `models/<arm>-<seed>.safetensors`; nothing is unpickled.

    Args:
        run_dir: the run directory.
        arm: the arm's label.
        seed: the replicate's seed.
        search_path: folders in which the modules of `[task] module` are looked for, before the current one.

    Raises:
        InputError: there is no such arm, seed or file.
    """
    run_dir = Path(run_dir)
    results = read_results(run_dir)
    replicate = next((found for found in results["replicates"] if found["seed"] == seed), None)
    if replicate is None or arm not in replicate["arms"]:
        known = sorted((found["seed"], label) for found in results["replicates"] for label in found["arms"])
        raise InputError(f"{run_dir}: no finished arm {arm!r} with seed {seed}; there are {known}")
    found = _task(results, run_dir / "results.json", search_path)
    path = model_path(run_dir, arm, seed)
    try:
        arrays = decode(path.read_bytes())
    except FileNotFoundError as error:
        diverged = replicate["arms"][arm]["test_diverged"]
        why = "it diverged when it was retrained" if diverged else f"{path} is missing; run the study again"
        raise InputError(f"{run_dir}: arm {arm!r} with seed {seed} has no model: {why}") from error
    except (OSError, CheckpointMissing) as error:
        raise InputError(f"{path}: {error}") from error
    last = replicate["arms"][arm]["schedule"][-1]["hparams"]
    # An arm may have gone without an optional hyperparameter, and not all need be active.
    space = SearchSpace({name: parameter for name, parameter in found.space.items() if name in last})
    hparams = space.cast(last)
    return found.task.model_of(found.task.from_arrays(arrays, hparams))


def _task(results: dict[str, Any], file: Path, search_path: Iterable[str | Path]) -> FoundTask:
    """Return the task of some results; nothing else of the study is needed, its optimizers may be gone."""
    problems = Mistakes()
    folders = tuple(str(Path(folder).resolve()) for folder in (*search_path, Path.cwd()))
    found = read_task(results["study"], folders, problems)
    if found is None:
        raise SpecError(str(file), problems)
    return found
