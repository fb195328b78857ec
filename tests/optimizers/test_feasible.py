"""A rule across hyperparameters: whatever an optimizer proposes, only feasible ones are trained, and it learns of them."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from configurations import OWN_PROPOSALS, REFUSES, configurations
from driver import FLOATS, drive, problem
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState
from ruled_tasks import band

from hpo.core.errors import OptionError
from hpo.core.optimizer import Problem
from hpo.core.space import TRIES, Categorical, Float, Int, SearchSpace
from hpo.optimizers.grid import Grid
from hpo.optimizers.optuna import OptunaSearch
from hpo.optimizers.pruners import ThresholdPruner
from hpo.optimizers.random_search import RandomSearch
from hpo.optimizers.samplers import CMAES, QMC, TPE
from hpo.testing import SPACES, members
from hpo.testing.problems import starts

CONFIGURATIONS = configurations()
BATCHES = SearchSpace(
    {
        "lr": Float(1e-5, 1.0, log=True),
        "batch_size": Int(16, 256, log=True),
        "minibatch": Int(8, 128, log=True),
        "kind": Categorical(("a", "b", "c")),
    },
    feasible=lambda hparams: hparams["batch_size"] >= 2 * hparams["minibatch"],
)
THIN = replace(FLOATS, feasible=band(0.49, 0.51))
"""A rule that leaves 2 % of the space."""
RULED = {"batches": BATCHES, "thin": THIN}


def sizes(name: str) -> list[int]:
    return [n for n in (1, 3, 8) if starts(CONFIGURATIONS[name], FLOATS, n)]


@pytest.mark.parametrize("space", RULED)
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_optimizer_trains_feasible_hyperparameters_alone(name, space):
    for n in sizes(name):
        run = drive(CONFIGURATIONS[name], problem(n, space=RULED[space]))
        assert run.segments
        assert all(RULED[space].is_feasible(segment.hparams) for segment in run.segments)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_rule_that_accepts_everything_changes_nothing(name, space):
    if space in REFUSES.get(name, {}):
        return
    options = CONFIGURATIONS[name]
    n = 3 if starts(options, SPACES[space], 3) else members(options, SPACES[space])
    of = problem(n, space=SPACES[space])
    ruled = drive(options, replace(of, space=replace(of.space, feasible=lambda _: True)))
    assert ruled.segments == drive(options, of).segments


@pytest.mark.parametrize("name", sorted(CONFIGURATIONS.keys() - OWN_PROPOSALS))
def test_members_with_a_feasible_draw_keep_it_and_all_arms_share_the_others(name):
    n = 8
    free = {s.member: s.hparams for s in drive(RandomSearch(), problem(n)).segments if s.interval == 0}
    ruled = problem(n, space=replace(FLOATS, feasible=band(0.3, 0.7)))
    shared = {s.member: s.hparams for s in drive(RandomSearch(), ruled).segments if s.interval == 0}
    kept = {slot for slot in range(n) if ruled.space.is_feasible(free[slot])}
    assert 0 < len(kept) < n
    assert all(shared[slot] == free[slot] for slot in kept)
    own = {s.member: s.hparams for s in drive(CONFIGURATIONS[name], ruled).segments if s.parent is None}
    early = [slot for slot in own if slot < n] if name != "bohb" else [0]
    assert all(own[slot] == shared[slot] for slot in early)


# --- what is replaced, and by what -----------------------------------------------------------------------------------


def journal_counts(run: Any) -> dict[str, int]:
    return json.loads(run.journal[-1][1])["counts"]


def test_draws_from_the_prior_are_redrawn_and_other_proposals_replaced_and_counted():
    assert journal_counts(drive(RandomSearch(), problem(8, space=THIN))) == {"infeasible_proposals": 0}
    assert journal_counts(drive(RandomSearch(), problem(8))) == {}
    sobol = drive(CONFIGURATIONS["sobol"], problem(8, space=THIN))
    free = drive(CONFIGURATIONS["sobol"], problem(8)).segments
    refused = [s.member for s in free if s.parent is None and not THIN.is_feasible(s.hparams)]
    assert journal_counts(sobol)["infeasible_proposals"] == len(refused) > 4
    for segment in sobol.segments:
        if segment.member not in refused:
            assert segment.hparams == next(s.hparams for s in free if s.member == segment.member)


def test_a_grid_drops_infeasible_points_before_it_counts_them():
    space = SearchSpace({"a": Int(1, 4), "b": Int(1, 4)}, feasible=lambda hparams: hparams["a"] < hparams["b"])
    run = drive(Grid(), problem(6, space=space), score=lambda segment: 0.0)
    found = {(s.hparams["a"], s.hparams["b"]) for s in run.segments}
    assert found == {(1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)}
    assert journal_counts(run) == {"infeasible_proposals": 0}
    with pytest.raises(OptionError, match="population_size"):
        Grid().start(problem(7, space=space))


def test_the_replacement_lies_on_the_line_to_the_anchor_at_the_edge_of_what_is_feasible():
    space = SearchSpace({"a": Float(0, 1), "b": Float(0, 1)}, feasible=lambda h: h["a"] + h["b"] <= 1)
    found = space.made_feasible({"a": 1.0, "b": 1.0}, {"a": 0.0, "b": 0.5})
    assert found["a"] == pytest.approx(1 / 3, abs=0.002)  # 1 - t + 1 - t/2 = 1 at t = 2/3
    assert found["b"] == pytest.approx(2 / 3, abs=0.002)
    assert 0.995 < found["a"] + found["b"] <= 1


@given(data=st.data(), space=st.sampled_from(sorted(SPACES)), low=st.floats(0, 0.9), width=st.floats(0.02, 0.5))
@settings(max_examples=200, deadline=None)
def test_a_replacement_is_feasible_inside_the_space_and_keeps_what_both_ends_share(data, space, low, width):
    ruled = replace(SPACES[space], feasible=band(low, low + width))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    proposed, anchor = SPACES[space].sample(rng), ruled.sample(rng)
    for name in data.draw(st.sets(st.sampled_from(sorted(set(proposed) & set(anchor) - {"lr"})))):
        proposed[name] = anchor[name]
    proposed = {**ruled.restricted({**anchor, **proposed})}
    found = ruled.made_feasible(proposed, anchor)
    assert ruled.is_feasible(found)
    assert not ruled.outside(found)
    assert ruled.cast(found) == found
    shared = {name: value for name, value in proposed.items() if anchor.get(name) == value}
    assert {name: found[name] for name in shared if name in found} == {n: v for n, v in shared.items() if n in found}
    if ruled.is_feasible(proposed):
        assert found == proposed


@pytest.mark.parametrize("name", [name for name in CONFIGURATIONS if name.startswith("pbt")])
def test_a_perturbed_member_keeps_what_belongs_to_its_weights(name):
    """The driver checks held hyperparameters against the parent's; the rule here is about one of them."""
    wide = replace(SPACES["mixed"], feasible=lambda h: h["layers"] * h["width"] <= 200)
    run = drive(CONFIGURATIONS[name], problem(6, 6, space=wide))
    assert all(wide.is_feasible(segment.hparams) for segment in run.segments)


# --- what optimizers learn -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", [TPE(), TPE(multivariate=False), CMAES(popsize=4), QMC()])
@pytest.mark.parametrize("pruner", [None, ThresholdPruner(lower=1.0)])
def test_optuna_learns_the_hyperparameters_that_were_run(sampler, pruner):
    options = OptunaSearch(sampler=sampler, initial=2, **({} if pruner is None else {"pruner": pruner}))
    started = []

    class Kept(OptunaSearch):
        def start(self, of: Problem) -> Any:
            started.append(options.start(of))
            return started[-1]

    run = drive(Kept(), problem(12, 3, space=BATCHES, concurrency=2))
    (optimizer,) = started
    assert run.segments
    assert journal_counts(run)["infeasible_proposals"] > 0
    trials = optimizer._study.get_trials(states=[TrialState.COMPLETE, TrialState.PRUNED])
    last = {segment.member: segment for segment in run.segments}
    ran = sorted(sorted(segment.hparams.items(), key=str) for segment in last.values())
    assert sorted(sorted(BATCHES.cast(trial.params).items(), key=str) for trial in trials) == ran
    scores = [result.score for result in run.results.values() if result.segment == last[result.segment.member]]
    assert sorted(trial.value for trial in trials) == sorted(scores)
    for name in BATCHES:  # otherwise a sampler would see another space, and draw independently
        assert len({repr(trial.distributions[name]) for trial in trials}) == 1


# --- rules that fail -------------------------------------------------------------------------------------------------


def test_a_rule_that_leaves_nothing_is_an_error():
    tries = []
    space = replace(FLOATS, feasible=lambda hparams: bool(tries.append(1)))
    with pytest.raises(OptionError, match="feasible"):
        space.sample(np.random.default_rng(0))
    assert len(tries) == TRIES


@pytest.mark.parametrize("answer", [None, 1, "yes", 0.0, []])
def test_a_rule_must_return_a_boolean(answer):
    space = replace(FLOATS, feasible=lambda hparams: answer)
    with pytest.raises(OptionError, match="True or False"):
        space.is_feasible({"lr": 0.1, "momentum": 0.5})
    assert replace(FLOATS, feasible=lambda hparams: np.bool_(True)).is_feasible({})


def test_a_rule_cannot_change_hyperparameters():
    space = replace(FLOATS, feasible=lambda hparams: hparams.pop("lr") > 0)
    with pytest.raises(OptionError, match="read-only"):
        space.is_feasible({"lr": 0.1, "momentum": 0.5})


def test_the_part_of_an_arm_that_leaves_something_out_is_feasible_too():
    whole = replace(BATCHES, feasible=lambda h: "batch_size" in h or h["minibatch"] < 20)
    part = replace(whole, parameters={name: whole[name] for name in whole if name != "batch_size"})
    of = replace(problem(20, space=part), prior=whole)
    drawn = [of.hparams(slot) for slot in range(20)]
    assert all(part.is_feasible(hparams) for hparams in drawn)
    kept = [whole.sample(of.streams.generator("prior", member=slot, shared=True)) for slot in range(20)]
    same = [slot for slot in range(20) if kept[slot]["minibatch"] < 20]
    assert 0 < len(same) < 20
    assert all(drawn[slot] == {n: v for n, v in kept[slot].items() if n != "batch_size"} for slot in same)
