"""Loads what a study trained."""

from pathlib import Path
from typing import Any

from hpo.checkpoints import CheckpointMissing, decode
from hpo.errors import InputError
from hpo.outputs import model_path, read_results
from hpo.study_file import parse_study


def load_model(run_dir: str | Path, arm: str, seed: int) -> Any:
    """Return the retrained winner of an arm: for a `TorchTask` its `nn.Module`, in evaluation mode.

    The weights come from `models/<arm>-<seed>.safetensors`; nothing is unpickled.

    Args:
        run_dir: the run directory.
        arm: the arm's label.
        seed: the replicate's seed.

    Raises:
        InputError: there is no such arm, seed or file.
    """
    run_dir = Path(run_dir)
    results = read_results(run_dir)
    replicate = next((found for found in results["replicates"] if found["seed"] == seed), None)
    if replicate is None or arm not in replicate["arms"]:
        known = sorted((found["seed"], label) for found in results["replicates"] for label in found["arms"])
        raise InputError(f"{run_dir}: no finished arm {arm!r} with seed {seed}; there are {known}")
    spec = parse_study(results["study"], file=str(run_dir / "results.json"), search_path=(str(Path.cwd()),))
    path = model_path(run_dir, arm, seed)
    try:
        arrays = decode(path.read_bytes())
    except (OSError, CheckpointMissing) as error:
        raise InputError(f"{path}: {error}") from error
    hparams = spec.space.cast(replicate["arms"][arm]["schedule"][-1]["hparams"])
    return spec.task.model_of(spec.task.from_arrays(arrays, hparams))
