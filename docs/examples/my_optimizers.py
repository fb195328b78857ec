"""An optimizer and a selection of one's own: successive halving, and PBT's binary tournament."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

import hpo


@hpo.register_optimizer("halving")
@dataclass(frozen=True)
class Halving:
    """Start many members; at each rung only the best 1/eta go on (Jamieson and Talwalkar, AISTATS 2016)."""

    eta: Annotated[int, Ge(2)] = 2

    def start(self, problem):
        return HalvingRun(self.eta, problem)

    def default_concurrency(self, population_size):
        return population_size

    def resolved(self):
        return {}


class HalvingRun:
    def __init__(self, eta, problem):
        self.rungs = [problem.intervals]  # the ends of the rungs, in intervals: ..., full / eta, full
        while self.rungs[0] >= eta:
            self.rungs.insert(0, self.rungs[0] // eta)
        lengths = [end - start for start, end in zip([0, *self.rungs], self.rungs, strict=False)]
        members = problem.population_size
        while sum(max(1, (members + 1) // eta**i) * length for i, length in enumerate(lengths)) <= problem.budget:
            members += 1  # as many as the arm's budget allows: more than the population, since most stop early
        self.sizes = [max(1, members // eta**i) for i in range(len(self.rungs))]
        self.ready = [hpo.Segment(slot, None, 0, problem.hparams(slot)) for slot in range(members)]
        self.rung, self.arrived = 0, []

    def ask(self, free):
        asked, self.ready = self.ready[:free], self.ready[free:]
        return asked

    def tell(self, results):
        for result in results:
            at_end = result.segment.interval + 1 == self.rungs[self.rung]
            (self.arrived if at_end else self.ready).append(result if at_end else going_on(result))
        if len(self.arrived) == self.sizes[self.rung] and self.rung + 1 < len(self.rungs):
            best = sorted(self.arrived, key=lambda result: result.rank_key)
            self.rung, self.arrived = self.rung + 1, []
            self.ready = [going_on(result) for result in best[: self.sizes[self.rung]]]

    def best(self):
        return min(self.arrived, key=lambda result: result.rank_key).key

    def counts(self):
        return {}


def going_on(result):
    segment = result.segment
    return hpo.Segment(segment.member, result.key, segment.interval + 1, segment.hparams)
