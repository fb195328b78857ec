"""The files of a run directory that people read: results, segments, models, and the report."""

import itertools
import subprocess
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import tomli_w

from hpo.core.checkpoints import Checkpoint, CheckpointFiles, CheckpointMissing
from hpo.core.errors import InputError
from hpo.core.files import Content, append_regular, inside, real_folder, write_atomic
from hpo.core.interpreters import command
from hpo.core.locks import explained
from hpo.core.parsing import read_bytes, read_toml
from hpo.core.run_files import EXECUTION, MODELS, RESULTS, SEGMENTS, STUDY, model_name
from hpo.engine.results import ArmRecord
from hpo.engine.segments_table import SegmentsTable
from hpo.results.document import Executions, Results, Session
from hpo.results.file import dumps, read_evidence, read_executions
from hpo.store import Stored
from hpo.study.importing import own_path
from hpo.study.spec import StudySpec


def model_path(run_dir: Path, label: str, seed: int) -> Path:
    """Return where an arm's retrained winner is kept."""
    return inside(run_dir, MODELS, model_name(label, seed))


def copy_model(path: Path, files: CheckpointFiles, checkpoint: Checkpoint | None) -> bool:
    """Copy a checkpoint to where users find it, and return whether the copy exists.

    Args:
        path: the destination; an existing file stays if the checkpoint is gone.
        files: the folder of checkpoints.
        checkpoint: None if it was evicted.
    """
    try:
        data = None if checkpoint is None else files.read(checkpoint)
    except CheckpointMissing:
        data = None
    if data is None:
        return path.exists()  # made when the checkpoint was new
    with explained(path):
        if not path.exists() or read_bytes(path, None) != data:
            write_atomic(path, data)
    return True


def _seeds_in(run_dir: Path) -> set[int]:
    """Return the seeds of the finished replicates that the results on disk hold."""
    try:
        return set(read_evidence(run_dir)[0].finished_seeds)
    except InputError:
        return set()


def _sessions_in(run_dir: Path) -> tuple[Session, ...]:
    """Return the earlier sessions in execution.json. Rename a file that cannot be read, with a warning.

    Read it before the study runs: an unreadable timing file must not stop a study, nor be overwritten.
    """
    path = inside(run_dir, EXECUTION)
    if not path.exists():
        return ()
    try:
        return read_executions(run_dir).sessions
    except InputError as error:
        names = (inside(run_dir, f"{EXECUTION}.damaged-{number}") for number in itertools.count(1))
        aside = next(name for name in names if not name.exists())
        path.rename(aside)
        warnings.warn(
            f"{error}; it was renamed to {aside.name}, and a new one is written", RuntimeWarning, stacklevel=2
        )
        return ()


_BETWEEN_MARKS = 2.0


class Outputs:
    """Writes a study's files atomically.

    While the study runs, a separate process of low priority draws the report, so that no worker waits for a figure.

    Args:
        run_dir: the run directory.
        spec: the study.
        report: whether to draw the report at all.
        shown: the run directory as shown in messages.
    """

    def __init__(self, run_dir: Path, spec: StudySpec, *, report: bool, shown: Path) -> None:
        self._run_dir = run_dir
        self._shown = shown
        self._spec = spec
        self._report = report
        self._drawing: subprocess.Popen[bytes] | None = None
        self._last_written = 0.0
        self._last_cost = 0.0
        self._last_marked = self._cost_of_mark = 0.0
        self._seeds_before = _seeds_in(run_dir)
        self._written: tuple[int, ...] | None = None if self._seeds_before else ()
        """The replicates in segments.csv that are part of the results; None while the file is an earlier session's."""
        self._sessions_before = _sessions_in(run_dir)
        with explained(run_dir / MODELS):
            real_folder(run_dir, MODELS)
        self._write_study()
        self._table = SegmentsTable(spec, run_dir)
        self._segments = inside(run_dir, SEGMENTS)

    def close(self) -> None:
        """Stop drawing the report, and release the table of segments."""
        self.settle()
        self._table.close()

    def add(self, seed: int, records: Sequence[ArmRecord]) -> None:
        """Add the segments of a finished replicate.

        Args:
            seed: the replicate's seed.
            records: of its arms, in the study's order.
        """
        self._table.add(seed, records)

    def note(self, seed: int, label: str, parent_member: int | None, result: Stored) -> None:
        """Add a segment of a running replicate to segments.csv.

        Args:
            seed: the replicate's seed.
            label: the arm's label.
            parent_member: the member whose checkpoint it started from.
            result: the segment's result.
        """
        if seed in self._seeds_before:
            return  # finished by an earlier session: its rows are added together once it is replayed
        row = self._table.note(seed, label, parent_member, result)
        if self._written is None or row == b"":
            return
        with explained(self._segments):
            if row is None or not append_regular(self._segments, row):
                self._write_segments(self._written, running=True, sync=False)

    def due(self) -> bool:
        """Return whether to write now: always, unless replicates are so many and small that writing costs more."""
        return time.monotonic() - self._last_written >= 20 * self._last_cost

    def mark_due(self) -> bool:
        """Return whether to call `mark` now: at most every two seconds, and for at most a hundredth of the time."""
        return time.monotonic() - self._last_marked >= max(_BETWEEN_MARKS, 100 * self._cost_of_mark)

    def mark(self, results: Results) -> None:
        """Write results.json with how far the unfinished replicates are, unless it would then lack replicates on disk."""
        start = time.monotonic()
        if self._seeds_before <= set(results.finished_seeds):
            self._write(RESULTS, dumps(results), sync=False)
        self._last_marked = time.monotonic()
        self._cost_of_mark = self._last_marked - start

    def begin(self, results: Results) -> None:
        """Write the results of a new study: its registered plan, and no replicates."""
        if not (self._run_dir / RESULTS).exists():
            self._write(RESULTS, dumps(results))

    def write(self, results: Results, *, complete: bool = False, aside: bool = True) -> None:
        """Write results.json and segments.csv.

        Args:
            results: the content of results.json; the segments of its replicates were passed to `add`.
            complete: everything that was to run has run. Otherwise, results that lack a replicate on disk are not written: a
                session that is interrupted while it replays finished work must not remove any.
            aside: start to draw the report in another process.
        """
        if not complete and not self._seeds_before <= set(results.finished_seeds):
            return
        start = time.monotonic()
        self._write(RESULTS, dumps(results))
        self._written = results.finished_seeds
        self._write_segments(self._written, running=not complete)
        self._last_written = time.monotonic()
        self._last_cost = self._last_written - start
        if aside and results.replicates:
            self._draw_aside()

    def settle(self) -> None:
        """Stop the process that draws the report: nothing may write to the run directory after a session has ended."""
        if self._drawing is not None:
            self._drawing.kill()
            self._drawing.communicate()
            self._drawing = None

    def draw(self) -> Path | None:
        """Draw the report and return its path; a failure is a warning, because the results are written."""
        if not self._report:
            return None
        from hpo.report.build import build_report

        try:
            return build_report(self._run_dir)
        except Exception as error:
            warnings.warn(
                f"the report could not be drawn: {type(error).__name__}: {error}; the results are in"
                f" {self._shown / RESULTS}, `hpo report {self._shown}` draws it again",
                RuntimeWarning,
                stacklevel=2,
            )
            return None

    def keep_model(self, label: str, seed: int, files: CheckpointFiles, checkpoint: Checkpoint | None) -> bool:
        """Copy a retrained winner's checkpoint to where users find it.

        Args:
            label: the arm's label.
            seed: the replicate's seed.
            files: the folder of checkpoints.
            checkpoint: the winner's; None if it was evicted.

        Returns:
            Whether the copy exists.
        """
        return copy_model(model_path(self._run_dir, label, seed), files, checkpoint)

    def add_session(self, session: Session, checkpoint_bytes: int) -> None:
        """Add this session's cost to execution.json."""
        self._write(EXECUTION, dumps(Executions((*self._sessions_before, session), checkpoint_bytes)))

    def _write_study(self) -> None:
        """Write the study file, unless the existing one is equivalent: that keeps the user's comments."""
        try:
            known = read_toml(inside(self._run_dir, STUDY), "study file")
        except InputError:
            known = None
        if known != self._spec.document:
            self._write(STUDY, tomli_w.dumps(dict(self._spec.document)).encode())

    def _write_segments(self, seeds: Sequence[int], *, running: bool, sync: bool = True) -> None:
        self._write(SEGMENTS, lambda file: self._table.write(file, seeds, running=running), sync=sync)

    def _write(self, name: str, data: Content, *, sync: bool = True) -> None:
        path = inside(self._run_dir, name)
        with explained(path):
            write_atomic(path, data, sync=sync)

    def _draw_aside(self) -> None:
        if not self._report or (self._drawing is not None and self._drawing.poll() is None):
            return
        self.settle()
        self._drawing = subprocess.Popen(
            command(own_path(), "hpo.report.__main__", "--nice", "--lifeline", str(self._run_dir)),
            process_group=0,
            stdin=subprocess.PIPE,  # never written to: the process exits when this end closes
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
