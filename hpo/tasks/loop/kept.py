"""What the adapters of trainers share: a checkpoint of plain data, and the silence of a library."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hpo.core.errors import HpoError
from hpo.core.segments import HParams


class Kept:
    """The checkpoint of a trainer, as an attribute of a training class.

    Args:
        tree: tensors, numbers and texts in dicts and lists.
    """

    def __init__(self, tree: dict[str, Any]) -> None:
        self.tree = tree

    def state_dict(self) -> dict[str, Any]:
        """Return the checkpoint."""
        return self.tree

    def load_state_dict(self, tree: dict[str, Any]) -> None:
        """Replace the checkpoint."""
        self.tree = tree


class TrainerLoop:
    """A training class around a trainer that stops after each interval, and goes on from its own checkpoint.

    A subclass of this runs the trainer. The constructor lets it prepare a new member without training it, so that the checkpoint
    holds what the hyperparameters determine, such as learning rates. The task `loop` compares two of them to put new
    hyperparameters in force in a checkpoint (`hpo.tasks.loop.follow`); the trainer then restores what was put in force.

    Args:
        hparams: the hyperparameters.
        steps: the whole budget, in the unit.
        unit: `epochs` or `steps`.
        device: where to train.

    Raises:
        HpoError: another unit.
    """

    def __init__(self, hparams: HParams, steps: int, unit: str, device: str) -> None:
        if unit not in ("epochs", "steps"):
            raise HpoError(f"the unit of {type(self).__name__} is {unit!r}; allowed: 'epochs' or 'steps'")
        self.hparams, self.budget, self.unit, self.device = hparams, steps, unit, device
        self.finished = False
        self.checkpoint = Kept(self._run(None, 0))

    def train(self, steps: range) -> None:
        """Train for one interval."""
        self.checkpoint = Kept(self._run(self.checkpoint.tree, len(steps)))

    def _run(self, checkpoint: dict[str, Any] | None, length: int) -> dict[str, Any]:
        """Go on from a checkpoint, or start without one; return the next checkpoint.

        Args:
            checkpoint: where to start.
            length: epochs or steps to train; 0 only prepares the training.
        """
        raise NotImplementedError


@contextmanager
def silence(*packages: str) -> Iterator[None]:
    """Hide the log messages of packages below the level of errors, and the warnings that they raise."""
    loggers = [logging.getLogger(name) for name in packages]
    before = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for name, logger in zip(packages, loggers, strict=True):
            logger.setLevel(logging.ERROR)
            warnings.filterwarnings("ignore", module=name.replace(".", r"\."))
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)
