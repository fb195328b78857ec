"""An optimizer whose members restart from the shrunk and perturbed weights of the best one."""

from collections.abc import Sequence
from dataclasses import dataclass

import hpo
from hpo.core.optimizer import Member, Optimizer, Problem
from hpo.core.segments import SHRINK_PERTURB, Key, Segment
from hpo.optimizers.generations import DONE, Generation, Generations


@hpo.register_optimizer("restarting")
@dataclass(frozen=True)
class Restarting(hpo.OptimizerOptions):
    """Every `every` intervals, all members go on from the best one's weights, each with its own hyperparameters."""

    shrink: float = 0.5
    perturb: float = 0.25
    reset_optimizer: bool = False
    every: int = 2

    def start(self, problem: Problem) -> Optimizer:
        if SHRINK_PERTURB not in problem.transforms:
            raise hpo.OptionError("shrink", self.shrink, "a task whose weights can be shrunk")
        return RestartingRun(self, problem)


class RestartingRun(Generations):
    def __init__(self, options: Restarting, problem: Problem) -> None:
        slots = range(problem.population_size)
        roots = [Segment(slot, None, 0, problem.hparams(slot), scored_at_start=True) for slot in slots]
        self.options = options
        super().__init__(problem, Generation(roots, options.every))

    def evolve(self, members: Sequence[Member]) -> Generation:
        done = members[0].history[-1].segment.interval + 1
        if done == self.problem.intervals:
            return DONE
        best = min(members, key=lambda member: (-member.score, member.slot))
        change = hpo.ShrinkPerturb(self.options.shrink, self.options.perturb, self.options.reset_optimizer)
        return Generation(
            [
                Segment(member.slot, best.key, done, hparams, transform=change, scored_at_start=True)
                for member in members
                for hparams in [self.problem.space.inherited(member.hparams, best.hparams)]
            ],
            self.options.every,
        )

    def finals(self) -> list[Key]:
        return [past[-1].key for past in self.history.values()]

    def best(self) -> Key:
        return min((self.by_key[key] for key in self.finals()), key=lambda result: result.rank_key).key
