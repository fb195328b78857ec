"""Task `loop`: a user's own training class, one interval at a time."""

from hpo.tasks.loop.task import LoopState, LoopTask

__all__ = ["LoopState", "LoopTask"]
