"""The general parts of the population family: against PBT, which they generalize, and where stretches and members change."""

import pytest
from driver import drive, level, problem, smooth

from hpo.core.errors import OptimizerError
from hpo.core.optimizer import OptimizerOptions
from hpo.core.segments import Segment, ShrinkPerturb
from hpo.optimizers.generations import DONE, Generation, Generations, at_the_end
from hpo.optimizers.incumbent import best_of
from hpo.optimizers.pbt import PBT
from hpo.optimizers.perturbation import Multiply
from hpo.optimizers.population import initial_hparams, root, roots
from hpo.optimizers.selection import Truncation
from hpo.optimizers.steps import TwoSteps
from hpo.testing import SPACES

SELECTION, PERTURBATION = Truncation(0.34), Multiply((1.5, 0.5))


class Plain(OptimizerOptions):
    """PBT, written with the general parts."""

    def start(self, problem):
        return PlainRun(problem, Generation(list(roots(problem)), 2))


class PlainRun(Generations):
    def evolve(self, members):
        interval = members[0].history[-1].segment.interval
        if interval + 1 == self.problem.intervals:
            return DONE
        steps = TwoSteps(SELECTION, PERTURBATION, self.problem.space)
        streams = self.problem.streams
        slots = {member.slot for member in members}
        copied = steps.exploit(members, slots, self.by_key, streams.generator("selection", interval=interval))
        rng = streams.generator("perturbation", interval=interval)
        explored = steps.explore([copied[slot] for slot in sorted(copied)], self.results, rng)
        segments = self.going_on(members, copied)
        return Generation(
            [Segment(s.member, s.parent, s.interval, explored.get(s.member, s.hparams)) for s in segments], 2
        )

    def best(self):
        return best_of(self.results, "final", self.problem.intervals)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("concurrency", [1, 4, 6])
@pytest.mark.parametrize("score", [smooth, level])
def test_two_steps_in_generations_are_pbt(space, concurrency, score):
    of = problem(6, 8, SPACES[space], concurrency=concurrency)
    run = drive(Plain(), of, score)
    general = drive(PBT(1.0, SELECTION, PERTURBATION), of, score)
    assert run.rounds == general.rounds
    assert run.best == general.best


class Changing(OptimizerOptions):
    """Stretches of 1, 2 and 3 intervals; the best member restarts twice, once from scratch, and the others stop."""

    def start(self, problem):
        return ChangingRun(problem, Generation(list(roots(problem)), 1))


class ChangingRun(Generations):
    def evolve(self, members):
        if len(members) < 3:
            return DONE
        best = min(members, key=lambda member: member.rank_key)
        at, transform = best.history[-1].segment.interval + 1, ShrinkPerturb(0.2, 0.1)
        again = Segment(best.slot, best.key, at, best.hparams, transform=transform, scored_at_start=True)
        new = self.problem.population_size
        return Generation([root(new, initial_hparams(self.problem, new)), again], 3)

    def best(self):
        return best_of(self.results, "any", self.problem.intervals)

    def finals(self):
        return at_the_end(self.results, 4, range(3))


def test_stretches_and_members_may_change():
    run = drive(Changing(), problem(3, 8))
    assert [(s.member, s.interval) for s in run.rounds[0]] == [(0, 0), (1, 0), (2, 0)]
    again = run.rounds[1][-1]
    assert [len(asked) for asked in run.rounds[1:]] == [2, 2, 2]
    assert {s.member for asked in run.rounds[1:] for s in asked} == {3, again.member}
    assert again.transform == ShrinkPerturb(0.2, 0.1)
    assert all(s.transform is None and not s.scored_at_start for asked in run.rounds[2:] for s in asked)
    scored = [result for result in run.results.values() if result.score_at_start is not None]
    assert [result.segment for result in scored] == [again]
    assert [run.results[key].segment.interval for key in run.finals] == [3]


def test_a_task_without_the_transform_and_a_root_with_one_are_refused():
    from dataclasses import replace

    with pytest.raises(OptimizerError, match="does not offer"):
        drive(Changing(), replace(problem(3, 8), transforms=frozenset()))
