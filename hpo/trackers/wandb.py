"""Weights & Biases: a run per member, in groups by arm and seed, and one per arm and seed with its test metrics.

Runs have ids that follow from the run directory, so a resumed study continues them. Without a network, set `WANDB_MODE=offline`:
runs are then written to `wandb/`, and `wandb sync` uploads them.
"""

import struct
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from hpo.core.errors import InputError
from hpo.core.observer import Place, ReplicateDone, SegmentDone, StudyStarted, StudyStopped
from hpo.core.registry import register_tracker
from hpo.core.tracker import Tracker
from hpo.trackers.runs import Run, artifacts_of, copied_from, tests_of, texts_of, values_of

_MOST_OPEN = 32
"""The most runs that are open at once: each has files and threads."""
_ID = "hpo/place"


@register_tracker("wandb")
class WeightsAndBiases(Tracker):
    """Writes runs to a project; see docs/how_to/trackers.md.

    Args:
        destination: the project, or `entity/project`.
    """

    library, extra = "wandb", "wandb"

    def __init__(self, destination: str) -> None:
        super().__init__(destination)
        self._open: OrderedDict[Run, Any] = OrderedDict()

    def check(self) -> None:
        """Log in, unless W&B is offline.

        Raises:
            InputError: there is no project's name, or no key.
        """
        import wandb

        if not self.destination.strip("/"):
            raise InputError("the name of a project is missing: write wandb:PROJECT or wandb:ENTITY/PROJECT")
        if wandb.setup().settings.mode == "online" and not wandb.login(verify=True):
            raise InputError("not logged in: run `wandb login`, or set WANDB_MODE=offline")

    def open(self, study: StudyStarted) -> list[Place]:
        """Read back what the local files of this run directory's runs hold."""
        import wandb

        self._study = study
        self._close()  # after a failure: what is not written yet is written now, and read back
        self._ended: set[tuple[int, str]] = set()
        identity = str(study.run_dir.resolve())
        self._identity = sha256(identity.encode()).hexdigest()[:8]
        places: list[Place] = []
        for path in sorted(Path(wandb.setup().settings.wandb_dir).glob(f"*run-*-{self._identity}-*/run-*.wandb")):
            for seed, arm, member, interval in _history(path):
                if member is None:
                    self._ended.add((seed, arm))
                else:
                    places.append((seed, arm, member, interval))
        return places

    def log(self, segments: Sequence[SegmentDone]) -> None:
        """Write segments, each as one step of its run."""
        for segment in segments:
            run = self._run(Run.of(segment), segment)
            if (source := copied_from(segment)) is not None:
                run.tags = (*(run.tags or ()), f"{segment.interval + 1}: copied from {source}")
            place = [segment.seed, segment.arm, segment.member, segment.interval]
            run.log({**values_of(segment), **texts_of(segment.hparams), _ID: place}, step=segment.interval + 1)

    def finished_replicate(self, replicate: ReplicateDone) -> None:
        """Write the test metrics of each arm, and the paths of its files; close the replicate's runs."""
        for arm, metrics in replicate.tests.items():
            if (replicate.seed, arm) not in self._ended:
                which = Run(replicate.seed, arm, None)
                run = self._run(which)
                run.config.update({f"artifact/{name}": path for name, path in artifacts_of(self._study, which).items()})
                run.log({**tests_of(metrics), _ID: [replicate.seed, arm, None, None]}, step=self._study.intervals)
                self._ended.add((replicate.seed, arm))
        for which in [run for run in self._open if run.seed == replicate.seed]:
            self._open.pop(which).finish()

    def stopped(self, end: StudyStopped) -> None:
        """Close all runs."""
        self._close()

    def _close(self) -> None:
        while self._open:
            self._open.popitem()[1].finish()

    def _run(self, which: Run, first: SegmentDone | None = None) -> Any:
        """Return a run that is open; close the one that was not used for the longest time if there are too many."""
        import wandb

        if which in self._open:
            self._open.move_to_end(which)
            return self._open[which]
        while len(self._open) >= _MOST_OPEN:
            self._open.popitem(last=False)[1].finish()
        entity, _, project = self.destination.strip("/").rpartition("/")
        digest = sha256(repr(tuple(which)).encode()).hexdigest()[:12]
        run = self._open[which] = wandb.init(
            entity=entity or None,
            project=project,
            id=f"{self._identity}-{digest}",
            name=which.name,
            group=f"{self._study.name}, {which.arm}, seed {which.seed}",
            job_type="arm" if which.member is None else "member",
            config=None if first is None or first.interval else dict(first.hparams),
            tags=[self._study.name, which.arm],
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(
                silent=True, console="off", x_disable_stats=True, disable_git=True, disable_code=True
            ),
        )
        return run


def _history(path: Path) -> Iterator[tuple[int, str, int | None, int]]:
    """Yield the places that are logged in a run's file."""
    import json

    from wandb.proto.wandb_internal_pb2 import Record

    for data in _records(path.read_bytes()):
        for item in Record.FromString(data).history.item:
            if _ID in (item.key, "/".join(item.nested_key)):
                yield tuple(json.loads(item.value_json))


_BLOCK, _HEADER = 32768, 7


def _records(data: bytes) -> Iterator[bytes]:
    """Yield the whole records of a file in LevelDB's log format (https://github.com/google/leveldb/blob/main/doc/log_format.md).

    The first 7 bytes are a header of W&B's own. A record that was cut off ends the file.
    """
    at, record = _HEADER, b""
    while at + _HEADER <= len(data):
        left = _BLOCK - at % _BLOCK
        if left < _HEADER:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        at += _HEADER
        record += data[at : at + length]
        at += length
        if kind == 0 or at > len(data):
            return
        if kind in (1, 4):  # whole, or the last part of one
            yield record
            record = b""
