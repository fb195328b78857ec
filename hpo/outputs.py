"""The files of a run directory that people read: results, segments, models, and the report."""

import subprocess
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomli_w

from hpo.checkpoints import Checkpoint, CheckpointFiles, CheckpointMissing
from hpo.core.files import Content, inside, real_folder, write_atomic
from hpo.core.interpreters import command
from hpo.core.layout import EXECUTION, MODELS, RESULTS, SEGMENTS, STUDY
from hpo.engine.results import SCHEMA_VERSION, ArmRecord, dumps
from hpo.errors import InputError
from hpo.importing import own_path
from hpo.parsing import read_bytes, read_json, read_toml
from hpo.rundir import explained
from hpo.segments_table import SegmentsTable
from hpo.spec import StudySpec


def model_path(run_dir: Path, label: str, seed: int) -> Path:
    """Return where an arm's retrained winner is kept."""
    return inside(run_dir, MODELS, f"{label}-{seed}.safetensors")


def copy_model(path: Path, files: CheckpointFiles, checkpoint: Checkpoint | None) -> bool:
    """Copy a checkpoint to where users find it, and say whether the copy is there.

    Args:
        path: where it goes; what is there stays when the checkpoint is gone.
        files: the folder of checkpoints.
        checkpoint: None when it was evicted.
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


def read_results(run_dir: Path) -> dict[str, Any]:
    """Return what a run directory's results.json holds.

    Raises:
        InputError: it is missing, no JSON, or of another schema version.
    """
    path = inside(run_dir, RESULTS)
    results = read_json(path)
    found = results.get("schema_version") if isinstance(results, dict) else None
    if found != SCHEMA_VERSION:
        raise InputError(f"{path}: schema_version = {found!r}: this version of hpo reads {SCHEMA_VERSION}")
    return dict(results)


def _seeds_in(run_dir: Path) -> set[int]:
    """Return the seeds of the finished replicates that the results on disk hold."""
    try:
        return {replicate["seed"] for replicate in read_results(run_dir)["replicates"]}
    except (InputError, KeyError, TypeError):
        return set()


class Outputs:
    """Writes a study's files, each whole or not at all.

    While the study runs, the report is drawn by another process of low priority, so that no worker waits for a figure.

    Args:
        run_dir: the run directory.
        spec: the study.
        report: whether to draw the report at all.
        shown: the run directory as messages call it.
    """

    def __init__(self, run_dir: Path, spec: StudySpec, *, report: bool, shown: Path) -> None:
        self._run_dir = run_dir
        self._shown = shown
        self._spec = spec
        self._report = report
        self._drawing: subprocess.Popen[bytes] | None = None
        self._last_written = 0.0
        self._last_cost = 0.0
        self._seeds_before = _seeds_in(run_dir)
        with explained(run_dir / MODELS):
            real_folder(run_dir, MODELS)
        self._write_study()
        self._table = SegmentsTable(spec, run_dir)

    def close(self) -> None:
        """Stop what is being drawn, and let what was taken go."""
        self.settle()
        self._table.close()

    def add(self, seed: int, records: Sequence[ArmRecord]) -> None:
        """Take the segments of a finished replicate.

        Args:
            seed: the replicate's.
            records: of its arms, in the study's order.
        """
        self._table.add(seed, records)

    def due(self) -> bool:
        """Say whether it is time to write: always, but for studies of so many small replicates that writing would cost more."""
        return time.monotonic() - self._last_written >= 20 * self._last_cost

    def begin(self, results: dict[str, Any]) -> None:
        """Write the results of a study that begins: no replicate yet, but its registered plan."""
        if not (self._run_dir / RESULTS).exists():
            self._write(RESULTS, dumps(results))

    def write(self, results: dict[str, Any], *, complete: bool = False, aside: bool = True) -> None:
        """Write results.json and segments.csv.

        Args:
            results: what results.json holds; the segments of its replicates were given to `add`.
            complete: all that was to run did; else results that lack a replicate of those on disk are not written: a
                sitting that is interrupted while it replays what is finished takes nothing away.
            aside: begin to draw the report in another process.
        """
        if not complete and not self._seeds_before <= {replicate["seed"] for replicate in results["replicates"]}:
            return
        start = time.monotonic()
        self._write(RESULTS, dumps(results))
        seeds = [replicate["seed"] for replicate in results["replicates"]]
        self._write(SEGMENTS, lambda file: self._table.write(file, seeds))
        self._last_written = time.monotonic()
        self._last_cost = self._last_written - start
        if aside and results["replicates"]:
            self._draw_aside()

    def settle(self) -> None:
        """Stop what is being drawn aside: nothing writes in the run directory once a sitting has ended."""
        if self._drawing is not None:
            self._drawing.kill()
            self._drawing.communicate()
            self._drawing = None

    def draw(self) -> None:
        """Draw the report; results that are there do not fail for it."""
        if not self._report:
            return
        from hpo.report import build_report

        try:
            build_report(self._run_dir)
        except Exception as error:
            warnings.warn(
                f"the report could not be drawn: {type(error).__name__}: {error}; the results are in"
                f" {self._shown / RESULTS}, `python -m hpo.report {self._shown}` draws it again",
                RuntimeWarning,
                stacklevel=2,
            )

    def keep_model(self, label: str, seed: int, files: CheckpointFiles, checkpoint: Checkpoint | None) -> bool:
        """Copy a retrained winner's checkpoint to where users find it.

        Args:
            label: the arm's.
            seed: the replicate's.
            files: the folder of checkpoints.
            checkpoint: the winner's; None when it was evicted.

        Returns:
            Whether the copy is there.
        """
        return copy_model(model_path(self._run_dir, label, seed), files, checkpoint)

    def add_sitting(self, sitting: dict[str, Any], checkpoint_bytes: int) -> None:
        """Add what this sitting cost to execution.json."""
        path = inside(self._run_dir, EXECUTION)
        try:
            sittings = list(read_json(path)["sittings"])
        except (InputError, KeyError, TypeError):
            sittings = []
        self._write(EXECUTION, dumps({"sittings": [*sittings, sitting], "checkpoint_bytes": checkpoint_bytes}))

    def _write_study(self) -> None:
        """Write the study file; one that says the same stays as it is, with its user's comments."""
        try:
            known = read_toml(inside(self._run_dir, STUDY), "study file")
        except InputError:
            known = None
        if known != self._spec.document:
            self._write(STUDY, tomli_w.dumps(dict(self._spec.document)).encode())

    def _write(self, name: str, data: Content) -> None:
        path = inside(self._run_dir, name)
        with explained(path):
            write_atomic(path, data)

    def _draw_aside(self) -> None:
        if not self._report or (self._drawing is not None and self._drawing.poll() is None):
            return
        self.settle()
        self._drawing = subprocess.Popen(
            command(own_path(), "hpo.report.__main__", "--nice", "--lifeline", str(self._run_dir)),
            process_group=0,
            stdin=subprocess.PIPE,  # never written to: its end is ours, and tells it to leave
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
