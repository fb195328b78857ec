"""PyTorch Lightning as the training loop of a task: `hpo` stops its trainer after each interval."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from hpo.core.errors import HpoError, InputError
from hpo.core.segments import HParams
from hpo.tasks.loop.folder import temporary_folder
from hpo.tasks.loop.kept import TrainerLoop, silence

try:
    from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
    from lightning.pytorch.callbacks import Checkpoint
    from lightning.pytorch.plugins.environments import LightningEnvironment
except ModuleNotFoundError as error:
    raise InputError(
        'hpo.tasks.lightning needs PyTorch Lightning, which is not installed: pip install "hpo[lightning]"'
    ) from error


class LightningLoop(TrainerLoop):
    """The base of a training class with a `LightningModule`.

    A subclass says how to make the module, and may say how to make the trainer and a data module::

        class Training(LightningLoop):
            def module(self, hparams):
                return MyModule(lr=hparams["lr"])

            def trainer(self, hparams, **options):
                return Trainer(gradient_clip_val=1.0, **options)

    The unit is epochs or optimizer steps. The trainer is made for the whole budget, so that
    `self.trainer.estimated_stepping_batches` is the length of a learning rate schedule. A member that ends before its interval
    does, for instance by `EarlyStopping`, is finished. The metrics are those that `validation_step` logs.
    """

    libraries = ("lightning",)

    def module(self, hparams: HParams) -> LightningModule:
        """Return a new module."""
        raise NotImplementedError(f"{type(self).__name__} has no method module(hparams)")

    def trainer(self, hparams: HParams, **options: Any) -> Trainer:
        """Return a new trainer with these options and others.

        Args:
            hparams: the hyperparameters.
            options: the length, the device, the callback that stops an interval, and those that silence the trainer.
        """
        return Trainer(**options)

    def data(self, hparams: HParams) -> LightningDataModule | None:
        """Return a new data module; None if the module has the data loaders."""
        return None

    def evaluate(self) -> dict[str, float]:
        """Return what the validation logs."""
        with self._prepared([]) as (trainer, arguments), _from(self.checkpoint.tree) as path:
            found = trainer.validate(**arguments, ckpt_path=path, weights_only=True, verbose=False)
        return {name: value for each in found for name, value in each.items()}

    def model(self) -> LightningModule:
        """Return the trained module."""
        module = self.module(self.hparams)
        module.load_state_dict(self.checkpoint.tree["state_dict"])
        return module.eval()

    def _run(self, checkpoint: dict[str, Any] | None, length: int) -> dict[str, Any]:
        interval = _Interval(self.unit, length)
        with self._prepared([interval]) as (trainer, arguments), _from(checkpoint) as path:
            trainer.fit(**arguments, ckpt_path=path, weights_only=True)
            self.finished = interval.ended
            file = Path(trainer.default_root_dir) / "trained.ckpt"
            trainer.save_checkpoint(file)
            tree: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        return tree

    @contextmanager
    def _prepared(self, callbacks: list[Callback]) -> Iterator[tuple[Trainer, dict[str, Any]]]:
        """Yield a trainer with a folder of its own, and what it trains."""
        device = torch.device(self.device)
        length = {"max_epochs": self.budget} if self.unit == "epochs" else {"max_epochs": -1, "max_steps": self.budget}
        with silence("lightning.pytorch", "lightning.fabric"), temporary_folder() as folder:
            trainer = self.trainer(
                self.hparams,
                **length,
                callbacks=callbacks,
                accelerator="gpu" if device.type == "cuda" else device.type,
                devices=1 if device.index is None else [device.index],
                plugins=[LightningEnvironment()],  # a member is one process, also inside Slurm
                default_root_dir=folder,
                logger=False,
                enable_checkpointing=bool(callbacks),  # without it, Lightning refuses `_Interval`, which writes nothing
                enable_progress_bar=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
            )
            try:
                yield trainer, {"model": self.module(self.hparams), "datamodule": self.data(self.hparams)}
            except SystemExit as error:
                if isinstance(error.__context__, KeyboardInterrupt):  # Lightning turns Ctrl-C into an exit
                    raise error.__context__ from None
                raise


class _Interval(Checkpoint):  # type: ignore[misc]
    """Stops a trainer at the end of an interval.

    It is a `Checkpoint` because Lightning calls these last: if training was stopped before, another callback has stopped it.

    Args:
        unit: `epochs` or `steps`.
        length: of the interval.
    """

    def __init__(self, unit: str, length: int) -> None:
        self.unit, self.left = unit, length
        self.ended = False
        """Whether training has ended before the budget does."""
        self._steps = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop at once if the interval has no length."""
        self._steps = trainer.global_step
        self._passed(trainer, 0)

    def on_train_batch_end(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        """Count optimizer steps."""
        if self.unit == "steps":
            self._passed(trainer, trainer.global_step - self._steps)
            self._steps = trainer.global_step

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count epochs."""
        self._passed(trainer, self.unit == "epochs")

    def _passed(self, trainer: Trainer, length: int) -> None:
        self.left -= length
        if self.left < 0:
            raise HpoError("the trainer does not stop at the end of an interval: leave out min_epochs and min_steps")
        if length and trainer.should_stop:
            self.ended = True
        if not self.left:
            trainer.should_stop = True


@contextmanager
def _from(checkpoint: dict[str, Any] | None) -> Iterator[str | None]:
    """Yield the path of a checkpoint's file, if there is a checkpoint."""
    if checkpoint is None:
        yield None
        return
    with temporary_folder() as folder:
        path = str(folder / "checkpoint.ckpt")
        torch.save(checkpoint, path)
        yield path
