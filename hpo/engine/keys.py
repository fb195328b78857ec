"""The content keys of a study's segments."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from hpo.core.segments import ENGINE_VERSION, Key, KeyMaker, Segment
from hpo.study.bound import BoundTask

KeyOf = Callable[[Segment], Key]
"""Gives a segment its content key."""


@dataclass(frozen=True)
class Keys:
    """Makes segment keys from everything that determines a segment's result.

    Args:
        bound: the task, on its device.
        numerics: what the bits of its results depend on besides code and data.
        interval: the length of an interval in the task's unit.
        budget: of one member, in that unit; part of a key only if the task declares that the segment depends on it.
    """

    bound: BoundTask
    numerics: Mapping[str, str]
    interval: Fraction
    budget: Fraction

    def of(self, seed: int, stream: int) -> KeyOf:
        """Return the keys of one replicate's segments.

        Args:
            seed: the replicate's seed.
            stream: the arm's stream.
        """
        context = {
            "engine": ENGINE_VERSION,
            "task": self.bound.identity,
            "numerics": self.numerics,
            "interval": self.interval,
            "seed": seed,
            "stream": stream,
        }
        plain, with_budget = KeyMaker.of(context), KeyMaker.of({**context, "budget": self.budget})
        uses_budget = self.bound.task.uses_budget

        def key_of(segment: Segment) -> Key:
            return (with_budget if uses_budget(segment.hparams) else plain)(segment)

        return key_of
