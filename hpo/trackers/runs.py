"""What the runs of all tools have in common: one per member, one for each arm and seed, and what is logged in them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from hpo.core.files import inside
from hpo.core.observer import SegmentDone, StudyStarted
from hpo.core.run_files import MODELS, REPORTS, RESULTS, model_name
from hpo.core.segments import HParams
from hpo.results.segments_reader import transform_cells


class Run(NamedTuple):
    """A run of a tool: a member of an arm; or an arm in a replicate, if `member` is None."""

    seed: int
    arm: str
    member: int | None

    @staticmethod
    def of(segment: SegmentDone) -> "Run":
        """Return the run of a segment."""
        return Run(segment.seed, segment.arm, segment.member)

    @property
    def name(self) -> str:
        """A name for people."""
        return f"{self.arm}, seed {self.seed}" + ("" if self.member is None else f", member {self.member}")


def by_run(segments: Sequence[SegmentDone]) -> dict[Run, list[SegmentDone]]:
    """Return the segments of each run, in their order."""
    found: dict[Run, list[SegmentDone]] = defaultdict(list)
    for segment in segments:
        found[Run.of(segment)].append(segment)
    return found


def values_of(segment: SegmentDone) -> dict[str, float]:
    """Return the numbers that are logged of a segment: metrics, hyperparameters, where it comes from, and its weight transform."""
    return {
        **{f"metric/{name}": float(value) for name, value in segment.metrics.items()},
        **{f"hparam/{name}": float(value) for name, value in segment.hparams.items() if not isinstance(value, str)},
        "lineage/diverged": float(segment.diverged),
        "lineage/parent_member": float(segment.member if segment.parent_member is None else segment.parent_member),
        **{name.replace(":", "/"): float(value) for name, value in transform_cells(segment.transform).items()},
    }


def texts_of(hparams: HParams) -> dict[str, str]:
    """Return the hyperparameters that are not numbers."""
    return {f"hparam/{name}": value for name, value in hparams.items() if isinstance(value, str)}


def copied_from(segment: SegmentDone) -> int | None:
    """Return the other member whose checkpoint a segment started from; None if it is its own."""
    return None if segment.parent_member == segment.member else segment.parent_member


def tests_of(metrics: Mapping[str, float | None]) -> dict[str, float]:
    """Return the test metrics that are logged of an arm."""
    return {f"test/{name}": float(value) for name, value in metrics.items() if value is not None}


def artifacts_of(study: StudyStarted, run: Run) -> dict[str, str]:
    """Return the paths of the files about an arm in a replicate."""
    folder = study.run_dir.resolve()
    found: dict[str, Path] = {"results": folder / RESULTS, "report": folder / REPORTS[0]}
    model = inside(folder, MODELS, model_name(run.arm, run.seed))
    if model.exists():
        found["model"] = model
    return {name: str(path) for name, path in found.items()}
