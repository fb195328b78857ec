"""A segment that begins with a weight transform, and one that is scored before training."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from hpo.core.checkpoints import decode
from hpo.core.segments import HParams, KeyMaker, Segment, ShrinkPerturb, Split
from hpo.execution.jobs import Job
from hpo.execution.runner import Runner, initialization
from hpo.execution.stacked import StackRunner
from hpo.tasks.digits import Digits
from hpo.tasks.landscapes import AllTie, GreedLoses
from hpo.tasks.torch.shrink_perturb import shrink_perturb
from hpo.tasks.toy import Toy

KEYS = KeyMaker.of({"test": "transforms"})
HALF = ShrinkPerturb(0.5, 0.25)
STILL = {"h0": 0.0, "h1": 0.0}


def ran(runner: Runner, segment: Segment, parent=None):
    outcome = runner(Job(KEYS(segment), segment, 3, 0, None if parent is None else parent.checkpoint))
    assert outcome.error is None
    return outcome


def state_of(runner, outcome):
    return decode(runner._files.read(outcome.checkpoint))


def pair(task, folder, hparams: HParams, **start):
    """Return a runner, a root's outcome and a child's, which begins as given."""
    runner = Runner(task, Fraction(1), folder)
    first = Segment(0, None, 0, hparams)
    root = ran(runner, first)
    return runner, root, ran(runner, Segment(0, KEYS(first), 1, hparams, **start), root)


def test_shrink_perturb_by_hand_on_theta(tmp_path):
    runner, root, child = pair(Toy(start=(0.8, -0.4)), tmp_path, STILL, transform=HALF)
    assert state_of(runner, root)["theta"].tolist() == [0.8, -0.4]
    assert state_of(runner, child)["theta"] == pytest.approx([0.75 * 0.8, 0.75 * -0.4])


def test_a_score_at_the_start_is_after_the_transform_and_before_training(tmp_path):
    hparams = {"h0": 1.0, "h1": 1.0}
    task = Toy(start=(0.8, 0.4), step_size=0.25)
    _, _, child = pair(task, tmp_path, hparams, transform=HALF, scored_at_start=True)
    # The root's step halves θ; then 0.5 * 0.5 + 0.25 = 0.5 of the start is left, and one more step halves that.
    assert child.metrics["score_at_start"] == pytest.approx(1.2 - (0.4**2 + 0.2**2))
    assert child.metrics["score"] == pytest.approx(1.2 - (0.2**2 + 0.1**2))


@pytest.mark.parametrize("task", [Toy(training_noise=0.1, evaluation_noise=0.1), Digits()], ids=["toy", "digits"])
def test_scoring_at_the_start_changes_no_bit_of_training(task, tmp_path):
    runner = Runner(task, Fraction(1), tmp_path)
    hparams = {name: parameter.from_unit(0.6) for name, parameter in task.search_space.items()}
    plain, scored = (Segment(2, None, 0, hparams, scored_at_start=flag) for flag in (False, True))
    one, other = ran(runner, plain), ran(runner, scored)
    assert one.checkpoint == other.checkpoint
    name = task.metrics[0].name
    assert {key: value for key, value in other.metrics.items() if key != f"{name}_at_start"} == one.metrics
    assert other.metrics[f"{name}_at_start"] != one.metrics[name]


def test_on_the_full_split_nothing_is_scored(tmp_path):
    runner = Runner(Toy(), Fraction(1), tmp_path)
    assert ran(runner, Segment(0, None, 0, STILL, Split.FULL, scored_at_start=True)).metrics == {}


def test_pytorch_weights_are_mixed_with_fresh_ones_and_momentum_stays_or_goes(tmp_path):
    task = Digits()
    hparams = {name: parameter.from_unit(0.5) for name, parameter in task.search_space.items()}
    runner = Runner(task, Fraction(1), tmp_path)
    with task.numerics_scope():
        torch.manual_seed(0)
        fresh, state = task.initialize(hparams), task.initialize(hparams)
        before = {name: value.clone() for name, value in state.model.named_parameters()}
        new = {name: value.clone() for name, value in fresh.model.named_parameters()}
        mixed = task.shrink_perturb(state, fresh, ShrinkPerturb(0.2, 0.1))
    assert mixed is state
    for name, value in mixed.model.named_parameters():
        assert torch.allclose(value, 0.2 * before[name] + 0.1 * new[name])
    for reset in (False, True):
        _, root, child = pair(task, tmp_path, hparams, transform=ShrinkPerturb(1.0, 0.0, reset))
        kept = state_of(runner, root)
        assert any(name.startswith("optimizer") for name in kept)
        _, _, plain = pair(task, tmp_path, hparams)
        # All of the old weights and none of the fresh ones: only what the optimizer has accumulated can differ.
        assert (child.checkpoint == plain.checkpoint) is not reset


def test_the_fresh_weights_are_those_of_the_slot_at_that_interval(tmp_path):
    task = Digits()
    hparams = {name: parameter.from_unit(0.5) for name, parameter in task.search_space.items()}
    runner = Runner(task, Fraction(1), tmp_path)
    first = Segment(0, None, 0, hparams)
    root = ran(runner, first)
    scratch = ShrinkPerturb(0.0, 1.0, True)
    ends = [
        ran(runner, Segment(slot, KEYS(first), interval, hparams, transform=scratch, scored_at_start=True), root)
        for slot, interval in [(0, 1), (0, 1), (1, 1), (0, 2)]
    ]
    starts = [end.metrics[f"{task.metrics[0].name}_at_start"] for end in ends]
    assert ends[0].checkpoint == ends[1].checkpoint
    assert len({end.checkpoint.digest for end in ends}) == 3
    assert starts[0] == starts[1]


def test_running_statistics_become_fresh_and_frozen_parameters_stay():
    torch.manual_seed(0)

    def model():
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))

    old, fresh = model(), model()
    old(torch.randn(8, 3))
    old[2].weight.requires_grad_(False)
    frozen, bias = old[2].weight.clone(), old[0].bias.clone()
    assert not torch.equal(old[1].running_mean, torch.zeros(4))
    shrink_perturb(old, fresh, 0.5, 2.0)
    assert torch.equal(old[1].running_mean, torch.zeros(4))
    assert int(old[1].num_batches_tracked) == 0
    assert torch.equal(old[2].weight, frozen)
    assert torch.allclose(old[0].bias, 0.5 * bias + 2.0 * fresh[0].bias)


def test_closed_form_tasks_keep_what_is_no_weight():
    greedy, tie = GreedLoses(dimensions=2, start=1.0, distance=30.0), AllTie()
    state = greedy.shrink_perturb(np.array([12.0, 4.0, -2.0]), greedy.initialize({}), HALF)
    assert state.tolist() == [12.0, 2.25, -0.75]
    assert tie.shrink_perturb(np.array([7.0, 2.0]), tie.initialize({}), HALF).tolist() == [7.0, 1.0]


def test_a_stack_begins_as_a_single_member_does(tmp_path):
    task = Digits()
    hparams = {name: parameter.from_unit(0.5) for name, parameter in task.search_space.items()}
    stacked = StackRunner(task, Fraction(1), tmp_path)
    first = Segment(0, None, 0, hparams)
    job = Job(KEYS(first), first, 3, 0)
    [root] = stacked.train({0: stacked.begin(job)}, 2)
    child = Segment(1, KEYS(first), 1, hparams, transform=HALF, scored_at_start=True)
    [end] = stacked.train({1: stacked.begin(Job(KEYS(child), child, 3, 0, root.checkpoint))}, 2)
    alone = ran(Runner(task, Fraction(1), tmp_path), child, root)
    name = f"{task.metrics[0].name}_at_start"
    assert end.metrics[name] == alone.metrics[name]
    assert initialization(job) == initialization(Job(KEYS(first), first, 3, 5))
