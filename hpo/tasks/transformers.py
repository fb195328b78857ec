"""The `Trainer` of Hugging Face transformers as the training loop of a task: `hpo` stops it after each interval."""

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from hpo.core.errors import InputError
from hpo.core.segments import HParams
from hpo.tasks.loop.folder import temporary_folder
from hpo.tasks.loop.kept import TrainerLoop, silence

try:
    from transformers import PrinterCallback, Trainer, TrainerCallback
    from transformers.utils import logging
except ModuleNotFoundError as error:
    raise InputError(
        'hpo.tasks.transformers needs transformers, which is not installed: pip install "hpo[transformers]"'
    ) from error

_STATE = "trainer_state.json"


class TransformersLoop(TrainerLoop):
    """The base of a training class with a `transformers.Trainer`.

    A subclass says how to make the trainer::

        class Training(TransformersLoop):
            def trainer(self, hparams, **arguments):
                arguments = TrainingArguments(learning_rate=hparams["lr"], warmup_steps=10, **arguments)
                return Trainer(MyModel(), arguments, train_dataset=train, eval_dataset=validation)

    The unit is epochs or optimizer steps. The arguments hold the whole budget, which is the length of the learning rate schedule. A
    member that ends before its interval does, for instance by `EarlyStoppingCallback`, is finished. The metrics are those of
    `Trainer.evaluate`, without times.
    """

    libraries = ("transformers", "accelerate")

    def __init__(self, hparams: HParams, steps: int, unit: str, device: str) -> None:
        self.data_seed = random.getrandbits(31)
        super().__init__(hparams, steps, unit, device)

    def trainer(self, hparams: HParams, **arguments: Any) -> Trainer:
        """Return a new trainer, with a new model.

        Args:
            hparams: the hyperparameters.
            arguments: for `TrainingArguments`: the length, the seeds, and what silences the trainer.
        """
        raise NotImplementedError(f"{type(self).__name__} has no method trainer(hparams, **arguments)")

    def evaluate(self) -> dict[str, float]:
        """Return the metrics of `Trainer.evaluate`."""
        with self._prepared() as trainer:
            _load_weights(trainer, self.checkpoint.tree)
            found = trainer.evaluate()
        return {
            name: value
            for name, value in found.items()
            if not name.endswith(("epoch", "_runtime", "_per_second", "_time"))
        }

    def model(self) -> torch.nn.Module:
        """Return the trained model."""
        with self._prepared() as trainer:
            _load_weights(trainer, self.checkpoint.tree)
            model: torch.nn.Module = trainer.model
            return model.eval()

    def _run(self, checkpoint: dict[str, Any] | None, length: int) -> dict[str, Any]:
        interval = _Interval(self.unit, length)
        with self._prepared() as trainer, temporary_folder() as folder:
            trainer.add_callback(interval)
            if checkpoint is not None:
                _write(_counted_anew(checkpoint) if self.unit == "epochs" else checkpoint, folder)
            self.finished = False
            with suppress(_IntervalEnded):
                trainer.train(resume_from_checkpoint=None if checkpoint is None else folder)
                self.finished = trainer.state.global_step < trainer.state.max_steps
            trainer.state.log_history.clear()  # it holds times
            trainer._save_checkpoint(trainer.model, trial=None)
            return _read(Path(trainer.args.output_dir) / f"checkpoint-{trainer.state.global_step}")

    @contextmanager
    def _prepared(self) -> Iterator[Trainer]:
        """Yield a trainer with a folder of its own."""
        length = {"num_train_epochs": self.budget} if self.unit == "epochs" else {"max_steps": self.budget}
        with _silence(), temporary_folder() as folder:
            trainer = self.trainer(
                self.hparams,
                **length,
                # The constructor of a trainer seeds the global generators: here, from the stream that they have.
                seed=random.getrandbits(31),
                # The order of the data, so that an interval that begins within an epoch goes on with its remaining examples.
                data_seed=self.data_seed,
                use_cpu=torch.device(self.device).type == "cpu",
                output_dir=folder,
                report_to="none",
                disable_tqdm=True,
                save_strategy="no",
                restore_callback_states_from_checkpoint=True,
                logging_strategy="no",
            )
            trainer.remove_callback(PrinterCallback)
            yield trainer


class _IntervalEnded(Exception):
    """Leaves a training, which would go on to the end of the budget."""


class _Interval(TrainerCallback):  # type: ignore[misc]
    """Ends a training before the first step of the next interval.

    Args:
        unit: `epochs` or `steps`.
        length: of the interval.
    """

    def __init__(self, unit: str, length: int) -> None:
        self.unit, self.left = unit, length

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Leave the training at the end of the interval."""
        if not self.left:
            raise _IntervalEnded

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Count optimizer steps."""
        self.left -= self.unit == "steps"

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        """Count epochs."""
        self.left -= self.unit == "epochs"


def _read(folder: Path) -> dict[str, Any]:
    """Return the files of a checkpoint that are needed to go on, as plain data; the states of random generators are not."""
    tree: dict[str, Any] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix == ".safetensors":
            tree[path.name] = load_file(path)
        elif path.suffix == ".pt":
            tree[path.name] = torch.load(path, map_location="cpu", weights_only=True)
        elif path.name == _STATE:
            tree[path.name] = json.loads(path.read_text())
    return tree


def _counted_anew(tree: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint with the number of optimizer steps after which as many epochs have passed.

    The trainer finds out from it which epoch comes next, and it changes when another batch size is put in force.
    """
    state = tree[_STATE]
    steps = round((state["epoch"] or 0) * state["max_steps"] / state["num_train_epochs"])
    found = {**tree, _STATE: {**state, "global_step": steps}}
    if tree["scheduler.pt"].get("last_epoch") == state["global_step"]:
        found["scheduler.pt"] = {**tree["scheduler.pt"], "last_epoch": steps}
    return found


def _write(tree: dict[str, Any], folder: Path) -> None:
    """Write the files of a checkpoint."""
    for name, content in tree.items():
        if name.endswith(".safetensors"):
            save_file(content, folder / name)
        elif name.endswith(".pt"):
            torch.save(content, folder / name)
        else:
            (folder / name).write_text(json.dumps(content))


def _load_weights(trainer: Trainer, tree: dict[str, Any]) -> None:
    with temporary_folder() as folder:
        _write(tree, folder)
        trainer._load_from_checkpoint(folder)


@contextmanager
def _silence() -> Iterator[None]:
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with silence("transformers", "accelerate"):
            yield
    finally:
        if shown:
            logging.enable_progress_bar()
