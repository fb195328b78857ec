"""One suite for every registered optimizer: a new one is tested by being registered."""

from dataclasses import dataclass, replace

import pytest
from configurations import OWN_PROPOSALS, REFUSES, TABLES, configurations
from driver import drive, problem

from hpo.core.errors import OptimizerError, OptionError
from hpo.core.optimizer import OptimizerOptions
from hpo.core.registry import optimizers
from hpo.core.segments import Segment
from hpo.optimizers.random_search import RandomSearch, RandomSearchRun
from hpo.testing import (
    CHECKS,
    SIZES,
    SPACES,
    Broken,
    accepted,
    check_optimizer,
    check_processes,
    check_workers,
    members,
)

CONFIGURATIONS = configurations()
SHARING = sorted(CONFIGURATIONS.keys() - OWN_PROPOSALS)


def test_every_registered_optimizer_is_tried_and_nothing_else_is_listed():
    kinds = {type(options) for options in CONFIGURATIONS.values()}
    assert kinds == {optimizers.get(name) for name in optimizers.names()}
    assert {*TABLES, *REFUSES, *OWN_PROPOSALS} <= CONFIGURATIONS.keys()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_it_holds_to_its_contract(name, space, check):
    options = CONFIGURATIONS[name]
    for n in accepted(options, space, REFUSES.get(name, {})):
        check(options, SPACES[space], n)


def test_another_process_with_another_hash_seed_gives_the_same_answer():
    check_processes(CONFIGURATIONS)


def test_two_workers_give_the_same_answer():
    check_workers({name: options for name, options in CONFIGURATIONS.items() if "floats" not in REFUSES.get(name, {})})


@pytest.mark.parametrize("name", SHARING)
@pytest.mark.parametrize("space", SPACES)
def test_arms_share_their_initial_population(name, space):
    of = problem(members(CONFIGURATIONS[name], SPACES[space]), space=SPACES[space])
    mine = {s.member: s for s in drive(CONFIGURATIONS[name], of).segments if s.interval == 0}
    theirs = {s.member: s for s in drive(RandomSearch(), of).segments if s.interval == 0}
    shared = [slot for slot in range(of.population_size) if slot in mine]
    assert all(replace(mine[slot], scored_at_start=False) == theirs[slot] for slot in shared)
    assert 0 in mine


@pytest.mark.parametrize("name", SHARING)
def test_given_initial_hyperparameters_take_the_types_of_the_space(name):
    options, initial = CONFIGURATIONS[name], ({"lr": 1, "momentum": 0.5},)
    of = problem(members(options, SPACES["floats"]), initial=initial)
    run = drive(options, of)
    root = next(segment for segment in run.segments if segment.interval == 0 and segment.member == 0)
    assert root.hparams == {"lr": 1.0, "momentum": 0.5}


# --- the suite itself: each way to break the contract is seen --------------------------------------------------------

shared: list[object] = []


@dataclass(frozen=True)
class Bad(OptimizerOptions):
    """A random search that breaks its contract in one way."""

    way: str

    def start(self, problem):
        if problem.population_size < {"refuses": 2, "large": 9, "huge": 99}.get(self.way, 0):
            raise OptionError("way", self.way, "more")
        return BadRun(self.way, problem)

    def default_concurrency(self, population_size):
        return 99 if self.way == "concurrency" else population_size

    def resolved(self):
        return {"set": {1}} if self.way == "set" else {}


class BadRun(RandomSearchRun):
    def __init__(self, way, problem):
        super().__init__(RandomSearch(), problem)
        self.way, self.problem, self.told, self.asked = way, problem, [], 0
        if way == "shares":
            shared.append(self)

    def ask(self, free):
        segments = super().ask(free)
        self.asked += len(segments)
        if self.way == "lazy" and self.asked > self.problem.intervals:
            return []
        if self.way == "slots":
            segments = [replace(segment, member=2 * segment.member) for segment in segments]
        if self.way == "hash":
            seed = hash("a") % 1000 / 1000
            segments = [replace(segment, hparams={**segment.hparams, "lr": 1e-5 + seed}) for segment in segments]
        if self.way == "shares":
            at = len(shared) % 7 / 10
            segments = [replace(segment, hparams={**segment.hparams, "lr": 0.1 + at}) for segment in segments]
        return [self.broken(segment) for segment in segments]

    def broken(self, segment):
        hparams = dict(segment.hparams)
        if self.way == "fixed" and segment.interval == 1 and "width" in hparams:
            hparams["width"] = 8 if hparams["width"] != 8 else 9
        if self.way == "bounds":
            hparams["lr"] = 2.0
        if self.way == "inactive" and "optimizer" in hparams:
            hparams["momentum"] = 0.5
            hparams["beta2"] = 0.95
        healthy = [result for result in self.told if result.segment.interval == segment.interval - 1]
        lost = [result for result in healthy if result.diverged and result.segment.member != segment.member]
        parent = lost[0].key if self.way == "donor" and lost else segment.parent
        return Segment(segment.member, parent, segment.interval, hparams)

    def tell(self, results):
        self.told += results
        super().tell(results)

    def best(self):
        if self.way == "worst":
            return max(self.told, key=lambda result: (result.segment.interval, result.rank_key)).key
        if self.way == "lazy":
            return self.told[0].key
        return super().best()


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("lazy", "intervals of 8 are left"),
        ("slots", r"check_budget: slots .*\[0, 2\]"),
        ("fixed", "changes width from"),
        ("bounds", "outside the search space"),
        ("inactive", "has hyperparameters .*'beta2'.* not"),
        ("donor", "which has diverged"),
        ("worst", "the answer is member"),
        ("shares", "asks for something else|share state|continues differently"),
        ("concurrency", "default concurrency is 99"),
        ("set", "check_options: options .*JSON"),
        ("refuses", "refuses floats, n = 1"),
    ],
)
def test_a_broken_contract_is_seen(way, said):
    with pytest.raises((Broken, OptimizerError), match=said):
        check_optimizer(Bad(way), processes=False)


def test_what_depends_on_the_hash_seed_is_seen():
    check_optimizer(Bad("hash"), processes=False)
    with pytest.raises(Broken, match=r"hash seed.* floats, mixed, conditional"):
        check_processes({"bad": Bad("hash")})


def test_a_refusal_that_is_named_is_accepted_and_one_that_does_not_happen_is_not():
    check_optimizer(Bad("refuses"), refuses={"n = 1": "it is bad"}, processes=False)
    with pytest.raises(Broken, match="starts on floats, n = 2"):
        check_optimizer(Bad("refuses"), refuses={"n = 1": "it is bad", "n = 2": "is it?"}, processes=False)


SMALL = {f"n = {n}": "too few" for n in SIZES}


def test_an_optimizer_that_needs_many_members_is_checked_with_the_first_larger_size_that_it_accepts():
    assert accepted(Bad("large"), "floats", SMALL) == [12]
    assert members(Bad("large"), SPACES["floats"]) == 12
    check_workers({"large": Bad("large"), "small": RandomSearch()})
    with pytest.raises(Broken, match="refuses floats, n = 1"):
        accepted(Bad("large"), "floats", {})
    with pytest.raises(Broken, match="refuses floats with every n up to 32"):
        accepted(Bad("huge"), "floats", SMALL)
    with pytest.raises(Broken, match="huge: no population size"):
        check_workers({"huge": Bad("huge")})
    assert accepted(Bad("huge"), "floats", {**SMALL, "floats": "none at all"}) == []


def test_the_spaces_have_every_kind_of_hyperparameter():
    mixed, conditional = SPACES["mixed"], SPACES["conditional"]
    assert mixed["dropout"].step == 0.1
    assert (mixed["width"].log, mixed["width"].fixed, mixed["batch"].ordered) == (True, True, True)
    assert conditional.held == {"optimizer", "nesterov", "layers", "width2", "width3"}
    run = drive(RandomSearch(), problem(60, 2, conditional))
    seen = {frozenset(segment.hparams) for segment in run.segments}
    # sgd with and without dampening, adam, rmsprop; each with one, two and three layers
    assert len(seen) == 4 * 3
