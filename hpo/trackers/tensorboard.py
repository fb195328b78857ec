"""TensorBoard: one folder of event files per member, `DIR/<study>/<arm>/seed-<seed>/member-<member>`.

A segment is one record of an event file, so it is there as a whole or not at all. Files are open only while records are appended:
there may be thousands of members. A session never appends to an earlier one's files, whose last record may be cut off.
"""

import os
import re
import time
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from hpo.core.errors import InputError
from hpo.core.files import write_atomic
from hpo.core.observer import Place, ReplicateDone, SegmentDone, StudyStarted
from hpo.core.registry import register_tracker
from hpo.core.tracker import Tracker
from hpo.trackers.runs import Run, artifacts_of, by_run, tests_of, texts_of, values_of

_OWNER = "run_dir.txt"
_RUN = re.compile(r"seed-(\d+)(?:/member-(\d+))?")


@register_tracker("tensorboard")
class TensorBoard(Tracker):
    """Writes event files; see docs/how_to/trackers.md.

    Args:
        destination: the folder that TensorBoard is started on.
    """

    library, extra = "tensorboard", "tensorboard"

    @classmethod
    def place(cls, destination: str) -> str:
        """Return the folder's path, without links."""
        return str(Path(destination).resolve())

    def check(self) -> None:
        """Create the folder.

        Raises:
            InputError: it cannot be written to.
        """
        folder = Path(self.destination)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder} cannot be created: {error.strerror}: give another folder") from None
        if not os.access(folder, os.W_OK | os.X_OK):
            raise InputError(f"{folder} cannot be written to: give another folder, or change its permissions")

    def open(self, study: StudyStarted) -> list[Place]:
        """Read back what the folder holds of this study."""
        self._study = study
        self._folder = _own_folder(Path(self.destination) / study.name, study.run_dir.resolve())
        self._latest: dict[Path, int] = {}
        """The number in the name of each folder's last event file."""
        self._files: dict[Path, Path] = {}
        """This session's event file in each folder."""
        self._finished: set[Run] = set()
        places: list[Place] = []
        for folder in self._folder.glob("*/seed-*/**/"):
            found = _RUN.fullmatch("/".join(folder.relative_to(self._folder).parts[1:]))
            if found is None:
                continue
            seed, arm = int(found[1]), folder.relative_to(self._folder).parts[0]
            steps = list(self._steps(folder))
            if found[2] is not None:
                places += [(seed, arm, int(found[2]), step - 1) for step in steps]
            elif steps:
                self._finished.add(Run(seed, arm, None))
        if not list(self._steps(self._folder)):
            self._append(self._folder, [(0, _experiment(study))])
        return places

    def log(self, segments: Sequence[SegmentDone]) -> None:
        """Append one record per segment."""
        for run, found in by_run(segments).items():
            records = [(each.interval + 1, self._summary(run, each)) for each in found]
            self._append(self._folder_of(run), records)

    def finished_replicate(self, replicate: ReplicateDone) -> None:
        """Write the test metrics of each arm, and the paths of its files."""
        for arm, metrics in replicate.tests.items():
            run = Run(replicate.seed, arm, None)
            if run not in self._finished:
                summary = _with_texts(_scalars(tests_of(metrics)), artifacts_of(self._study, run))
                self._append(self._folder_of(run), [(self._study.intervals, summary)])
                self._finished.add(run)

    def _summary(self, run: Run, segment: SegmentDone) -> Any:
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb

        summary = _with_texts(_scalars(values_of(segment)), texts_of(segment.hparams))
        if segment.interval == 0:
            summary.MergeFrom(hparams_pb(dict(segment.hparams), trial_id=f"{run.arm}/{run.seed}/{run.member}"))
        return summary

    def _folder_of(self, run: Run) -> Path:
        folder = self._folder / run.arm / f"seed-{run.seed}"
        return folder if run.member is None else folder / f"member-{run.member:03}"

    def _append(self, folder: Path, records: Sequence[tuple[int, Any]]) -> None:
        """Append (step, summary) records to this session's event file in a folder."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        path, now = self._files.get(folder), time.time()
        events = [Event(wall_time=now, step=step, summary=summary) for step, summary in records]
        if path is None:
            # TensorBoard reads the files of a folder in the order of their names, and stays at the last one.
            number = max(int(now), self._latest.get(folder, 0) + 1)
            path = self._files[folder] = (
                folder / f"events.out.tfevents.{number:010}.{os.uname().nodename}.{os.getpid()}"
            )
            folder.mkdir(parents=True, exist_ok=True)
            events.insert(0, Event(wall_time=now, file_version="brain.Event:2"))
        with path.open("ab") as file:
            writer = RecordWriter(file)
            for event in events:
                writer.write(event.SerializeToString())

    def _steps(self, folder: Path) -> Iterator[int]:
        """Yield the steps of the whole records in a folder's event files."""
        from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
        from tensorboard.compat.proto.event_pb2 import Event

        for path in sorted(folder.glob("events.out.tfevents.*")):
            self._latest[folder] = int(path.name.split(".")[3])
            for data in RawEventFileLoader(str(path)).Load():
                event = Event.FromString(data)
                if event.HasField("summary"):
                    yield event.step


def _own_folder(folder: Path, run_dir: Path) -> Path:
    """Return the folder for a run directory; a study of the same name in another one gets a number behind its own."""
    for number in count(1):
        own = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        owner = own / _OWNER
        if not own.exists() or not any(own.iterdir()):
            own.mkdir(parents=True, exist_ok=True)
            write_atomic(owner, f"{run_dir}\n".encode())
        if owner.is_file() and owner.read_text() == f"{run_dir}\n":
            return own
    raise AssertionError


def _experiment(study: StudyStarted) -> Any:
    """Return what the HPARAMS tab shows of a study: its hyperparameters and metrics."""
    from tensorboard.plugins.hparams.summary_v2 import HParam, Metric, hparams_config_pb

    metrics = [Metric(f"metric/{metric.name}", display_name=metric.name) for metric in study.metrics]
    return hparams_config_pb([HParam(name) for name in study.space], metrics)


def _scalars(values: dict[str, float]) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])


def _with_texts(summary: Any, texts: dict[str, str]) -> Any:
    from tensorboard.plugins.text.summary_v2 import text_pb

    for tag, text in texts.items():
        summary.MergeFrom(text_pb(tag, text))
    return summary
