import numpy as np
import pytest
from driver import FLOATS, KEYS, MIXED, drive, level, problem, smooth

from hpo.core.errors import OptionError
from hpo.core.optimizer import Member
from hpo.core.segments import Result, Segment
from hpo.core.space import Categorical, Float, Int, SearchSpace
from hpo.optimizers.composition import PerParameter
from hpo.optimizers.pb2 import PB2
from hpo.optimizers.pb2_mix import PB2Mix
from hpo.optimizers.pbt import PBT
from hpo.optimizers.selection import ExploitBest, Truncation
from hpo.testing import SPACES

KINDS = SearchSpace({"kind": Categorical(("a", "b", "c"))})
BOTH = SearchSpace({"x": Float(0.0, 1.0), "kind": Categorical(("a", "b"))})
NUMBERS = SearchSpace(
    {"lr": Float(1e-4, 1.0, log=True), "depth": Int(1, 4), "x": Float(0.0, 1.0), "w": Int(1, 9, fixed=True)}
)


def history_of(space, intervals, members, score, seed=0):
    """Return a history of chains with random hyperparameters, whose intervals gain `score(hparams, interval)`."""
    rng, totals, history = np.random.default_rng(seed), dict.fromkeys(range(members), 0.0), []
    for interval in range(intervals):
        for member in range(members):
            hparams = space.sample(rng)
            totals[member] += score(hparams, interval)
            parent = f"{member}/{interval - 1}" if interval else None
            history.append(
                Result(f"{member}/{interval}", Segment(member, parent, interval, hparams), {}, totals[member])
            )
    return history


def chosen(history, space, slots, options=None, seed=0):
    last = {result.segment.member: result for result in history}
    copied = [Member(slot, last[slot].key, last[slot].segment.hparams, 0.0, False) for slot in slots]
    return (options or PB2Mix())(copied, space, history, np.random.default_rng(seed))


@pytest.mark.parametrize("space", [FLOATS, NUMBERS], ids=["floats", "numbers"])
def test_in_a_space_of_floats_and_integers_it_is_pb2(space):
    for explore in ("copied", "all"):
        of = problem(8, 6, space)
        mixed, plain = (
            drive(PBT(0.5, Truncation(0.25), perturbation, explore=explore), of) for perturbation in (PB2Mix(), PB2())
        )
        assert mixed.segments == plain.segments


def test_rewarded_categories_are_picked_more_often_and_all_of_them_sometimes():
    history = history_of(KINDS, 10, 9, lambda hparams, _: float(hparams["kind"] == "b"))
    picks = [new["kind"] for seed in range(30) for new in chosen(history, KINDS, range(9), seed=seed).values()]
    shares = {kind: picks.count(kind) / len(picks) for kind in "abc"}
    assert shares["b"] > 0.5
    assert min(shares.values()) > 0.2 / 3 - 0.02
    even = history_of(KINDS, 10, 9, lambda hparams, _: 1.0)
    counts = [list(chosen(even, KINDS, range(9), seed=s).values()).count({"kind": "b"}) for s in range(5)]
    assert counts == [3] * 5  # nothing is known: nine members, three choices


def test_members_that_go_on_count_as_picks():
    even = [
        Result(f"{m}/{i}", Segment(m, f"{m}/{i - 1}" if i else None, i, {"kind": kind}), {}, float(i))
        for i in range(3)
        for m, kind in enumerate("aaabbc")
    ]
    # Two of each are expected. The others hold a, a, b and c, so b and c are left.
    assert sorted(new["kind"] for new in chosen(even, KINDS, (0, 3)).values()) == ["b", "c"]


def test_numbers_are_chosen_given_the_category():
    def score(hparams, _):
        best = 0.2 if hparams["kind"] == "a" else 0.8
        return -((hparams["x"] - best) ** 2)

    history = history_of(BOTH, 8, 8, score)
    news = [new for seed in range(4) for new in chosen(history, BOTH, range(4), PB2Mix(c1=0.0, c2=1e-6), seed).values()]
    assert {new["kind"] for new in news} == {"a", "b"}
    for new in news:  # β = 0: the mean alone
        assert new["x"] == pytest.approx(0.2 if new["kind"] == "a" else 0.8, abs=0.1)


def test_every_kind_of_hyperparameter_moves_but_the_fixed():
    history = history_of(MIXED, 6, 8, lambda hparams, _: float(hparams["lr"]))
    new = chosen(history, MIXED, range(8))
    last = {result.segment.member: result.segment.hparams for result in history}
    moved = {name for slot in new for name in MIXED if new[slot][name] != last[slot][name]}
    assert moved == set(MIXED) - {"width"}
    assert not any(MIXED.outside(hparams) for hparams in new.values())
    assert new == chosen(history, MIXED, range(8))
    assert new != chosen(history, MIXED, range(8), seed=1)


def test_before_anything_is_known_members_spread_over_the_choices():
    copied = [Member(slot, "", {"x": 0.5, "kind": "a"}, 0.0, False) for slot in range(8)]
    new = PB2Mix()(copied, BOTH, [], np.random.default_rng(0))
    assert sorted(hparams["kind"] for hparams in new.values()) == ["a"] * 4 + ["b"] * 4
    assert len({hparams["x"] for hparams in new.values()}) == 8


def test_a_member_without_a_category_is_not_given_one():
    space = SPACES["conditional"]
    rng = np.random.default_rng(0)
    copied = [Member(slot, "", space.sample(rng), 0.0, False) for slot in range(12)]
    for slot, hparams in PB2Mix()(copied, space, [], rng).items():
        assert hparams.keys() == copied[slot].hparams.keys()
        assert not space.outside(hparams)


@pytest.mark.parametrize("score", [level, smooth])
@pytest.mark.parametrize("space", ["mixed", "conditional"])
def test_searches_stay_in_bounds_whatever_diverges(space, score):
    options = PBT(0.5, ExploitBest(), PB2Mix(), explore="all")
    run = drive(options, problem(4, 5, SPACES[space]), score, diverges=lambda s: s.member == 0 and s.interval == 2)
    assert run.counts["boundary_hits"] == 0
    assert len(run.segments) == 20


def test_an_asynchronous_search_stays_in_bounds():
    options = PBT(0.5, ExploitBest(), PB2Mix(), mode="asynchronous")
    run = drive(options, problem(5, 6, MIXED, concurrency=2), smooth)
    assert len(run.segments) == 30
    assert not any(MIXED.outside(segment.hparams) for segment in run.segments)


class Switching:
    """A score that grows by one in an interval with the right kind, which changes after the first half."""

    def __init__(self, intervals):
        self.intervals, self.totals = intervals, {None: 0.0}

    def __call__(self, segment):
        right = "a" if segment.interval < self.intervals // 2 else "b"
        total = self.totals[segment.parent] + (segment.hparams["kind"] == right) - abs(segment.hparams["x"] - 0.5)
        self.totals[KEYS(segment)] = total
        return total


@pytest.mark.parametrize("seed", range(3))
def test_where_the_best_category_changes_it_follows_and_pb2_cannot(seed):
    found = {}
    for perturbation in (PB2Mix(), PB2()):
        run = drive(PBT(0.5, Truncation(0.25), perturbation), problem(8, 16, BOTH, seed=seed), Switching(16))
        found[type(perturbation)] = run.results[run.best].score
    assert found[PB2Mix] > found[PB2] + 2


def test_the_number_of_rounds_sets_how_much_is_forgotten():
    history = history_of(
        KINDS, 10, 9, lambda hparams, interval: float(hparams["kind"] == ("b" if interval < 6 else "c"))
    )
    picks = {
        rounds: [
            new["kind"]
            for s in range(20)
            for new in chosen(history, KINDS, range(9), PB2Mix(rounds=rounds), s).values()
        ]
        for rounds in (1, 1000)
    }
    assert picks[1].count("c") > picks[1].count("b")
    assert picks[1000].count("b") > picks[1].count("b")


def test_what_means_nothing_is_refused():
    with pytest.raises(OptionError, match="rounds"):
        PB2Mix(rounds=0)
    with pytest.raises(OptionError, match="c1"):
        PB2Mix(c1=-1.0)
    with pytest.raises(OptionError, match="pb2_mix"):
        PB2Mix().check(SearchSpace({"width": Int(1, 9, fixed=True)}))
    PB2Mix().check(KINDS)
    PB2Mix().check(FLOATS)


def test_other_hyperparameters_can_be_left_to_another_perturbation():
    options = PBT(0.5, ExploitBest(), PerParameter(PB2Mix(), {"activation": PB2Mix(rounds=5)}), explore="all")
    run = drive(options, problem(4, 5, MIXED))
    assert len({segment.hparams["activation"] for segment in run.segments}) == 3
