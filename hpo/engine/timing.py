"""Estimates a study's run time from one timed segment, before the study starts."""

import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

from hpo.core.errors import StudyFailed
from hpo.core.segments import Segment
from hpo.core.task import Task
from hpo.execution.jobs import Job
from hpo.execution.runner import Runner
from hpo.study.spec import StudySpec


def time_segment(spec: StudySpec, task: Task[Any]) -> float:
    """Return the seconds of one root segment. It runs twice, so that one-off costs are not timed; nothing is stored.

    Args:
        spec: the study.
        task: its task, on its device.

    Raises:
        StudyFailed: the segment failed.
    """
    arm = next(arm for arm in spec.arms if arm.derived_from is None)
    problem = spec.problem(spec.seeds[0], arm)
    segment = Segment(0, None, 0, problem.hparams(0))
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(task, spec.interval, Path(folder), spec.intervals)
        for _ in range(2):
            outcome = runner(Job("0" * 64, segment, spec.seeds[0], arm.stream))
    if outcome.error is not None:
        raise StudyFailed(f"the timed segment failed:\n{outcome.error}")
    return outcome.seconds


def replicate_seconds(spec: StudySpec, task: Task[Any], segment: float) -> float:
    """Return at most how long one worker takes for one replicate; segments that arms share run once.

    Args:
        spec: the study.
        task: its task.
        segment: seconds of one search segment.
    """
    # Retraining sees all the development data, not only the training part.
    longer = Fraction(1)
    data = task.development_data()
    if data is not None:
        longer = Fraction(len(data), len(data) - task.validation_size)
    searched = spec.population_size * spec.intervals * sum(arm.derived_from is None for arm in spec.arms)
    retrained = spec.intervals * sum(map(spec.retrains_of, spec.arms))
    return (searched + retrained * float(longer)) * segment


def duration(seconds: float) -> str:
    """Return a length of time in words."""
    if seconds < 1:
        return "under 1 s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def clock(seconds: float) -> str:
    """Return a length of time as a clock shows it, for example ``0:18``."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
