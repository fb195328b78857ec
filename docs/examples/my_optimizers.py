"""An optimizer of one's own: successive halving (Jamieson and Talwalkar, AISTATS 2016)."""

from dataclasses import dataclass
from typing import Literal

import hpo


@hpo.register_optimizer("halving")
@dataclass(frozen=True)
class Halving(hpo.OptimizerOptions):
    """Start many members; at each rung only the best 1/eta continue."""

    eta: Literal[2, 3, 4] = 2

    def start(self, problem):
        return HalvingRun(self.eta, problem)


class HalvingRun(hpo.Optimizer):
    def __init__(self, eta, problem):
        self.rungs = [problem.intervals]  # where members are ranked, in intervals: ..., budget / eta, budget
        while self.rungs[0] >= eta:
            self.rungs.insert(0, self.rungs[0] // eta)
        lengths = [stop - start for start, stop in zip([0, *self.rungs[:-1]], self.rungs, strict=True)]
        members = problem.population_size
        while sum(length * max(1, (members + 1) // eta**i) for i, length in enumerate(lengths)) <= problem.budget:
            members += 1  # most stop early, so the arm's budget pays for more members than the population has
        self.sizes = [max(1, members // eta**i) for i in range(len(self.rungs))]
        self.ready, self.arrived = [hpo.Segment(slot, None, 0, problem.hparams(slot)) for slot in range(members)], []

    def ask(self, free):
        asked, self.ready = self.ready[:free], self.ready[free:]
        return asked

    def tell(self, results):
        for result in results:
            arrived = result.segment.interval + 1 == self.rungs[0]
            (self.arrived if arrived else self.ready).append(result if arrived else next_segment(result))
        if len(self.arrived) == self.sizes[0] and len(self.rungs) > 1:
            del self.rungs[0], self.sizes[0]
            best = sorted(self.arrived, key=lambda result: result.rank_key)[: self.sizes[0]]
            self.ready, self.arrived = [next_segment(result) for result in best], []

    def best(self):
        return min(self.arrived, key=lambda result: result.rank_key).key


def next_segment(result):
    return hpo.Segment(result.segment.member, result.key, result.segment.interval + 1, result.segment.hparams)
