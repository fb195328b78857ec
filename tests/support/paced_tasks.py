"""A toy whose segments wait until a test lets them go on."""

import fcntl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hazard_tasks import is_tried

import hpo
from hpo.tasks.toy import Toy


def _take(folder: Path) -> bool:
    """Take one of the bytes in the file `pace`, of which each lets one segment train."""
    with (folder / "taken").open("a") as taken:
        fcntl.flock(taken, fcntl.LOCK_EX)
        may = taken.tell() < (folder / "pace").stat().st_size
        taken.write("." * may)
    return may


@hpo.register_task("paced")
@dataclass(frozen=True)
class Paced(Toy):
    """The toy, as fast as a test wants.

    Args:
        folder: holds a file `pace`.
    """

    folder: str = ""

    version = "1"

    def train(self, state: Any, hparams: Any, batches: Any) -> Any:
        while not (is_tried() or _take(Path(self.folder))):
            time.sleep(0.01)
        return super().train(state, hparams, batches)
