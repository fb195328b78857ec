"""The first segments of members."""

from collections.abc import Iterator

from hpo.core.optimizer import Problem
from hpo.core.segments import HParams, Segment, Value


def initial_hparams(problem: Problem, slot: int) -> dict[str, Value]:
    """Return a slot's initial hyperparameters with the space's types, so that all arms start from the same root segments."""
    return problem.space.cast(problem.hparams(slot))


def roots(problem: Problem) -> Iterator[Segment]:
    """Yield the first segment of each member of the initial population, in slot order."""
    for slot in range(problem.population_size):
        yield root(slot, initial_hparams(problem, slot))


def root(slot: int, hparams: HParams) -> Segment:
    """Return the segment that starts from a slot's initialization."""
    return Segment(slot, None, 0, hparams)
