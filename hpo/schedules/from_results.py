"""The schedules in results.json, as `Schedule` values."""

from collections.abc import Sequence

from hpo.core.derived_arms import replayed
from hpo.core.seeding import Streams
from hpo.core.segments import Segment
from hpo.results.document import ArmResult, Evidence
from hpo.schedules.schedule import Schedule, Source, as_fraction


def schedule_of(results: Evidence, entry: ArmResult, arm: str, seed: int) -> Schedule:
    """Return the schedule along which an arm's final model was trained.

    Args:
        results: the content of results.json.
        entry: the arm's result in the replicate.
        arm: the arm's label; a derived arm's schedule is made from its source's.
        seed: the replicate's seed.
    """
    settings = next(settings for settings in results.arms if settings.label == arm)
    path = [
        Segment(step.member, None, at, step.hparams, transform=step.transform if at == step.start else None)
        for step in entry.schedule
        for at in range(step.start, step.stop)
    ]
    path = replayed(path, settings.replay, results.task.space, Streams(seed, settings.stream))
    return schedule_along(results, path, arm, seed)


def schedule_along(results: Evidence, path: Sequence[Segment], arm: str, seed: int) -> Schedule:
    """Return the schedule of a lineage.

    Args:
        results: the content of results.json.
        path: the segments, from the root.
        arm: the arm's label.
        seed: the replicate's seed.
    """
    stream = next(settings.stream for settings in results.arms if settings.label == arm)
    return Schedule(
        tuple(segment.hparams for segment in path),
        as_fraction(results.interval, "interval"),
        results.task.unit,
        results.intervals,
        tuple(segment.member for segment in path),
        tuple(segment.interval for segment in path),
        Source(results.name, arm, seed, stream),
        tuple(segment.transform for segment in path),
    )
