import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from driver import FLOATS, KEYS, MIXED, drive, level, problem, smooth

from hpo.core.errors import OptionError
from hpo.core.optimizer import Member
from hpo.core.segments import Result, Segment
from hpo.core.space import Categorical, Float, SearchSpace
from hpo.optimizers.bg_pbt import BGPBT, State
from hpo.optimizers.local_search import Observation, Surrogate, observations
from hpo.optimizers.observations import Encoding, next_rows_of_others
from hpo.optimizers.pbt import PBT
from hpo.optimizers.perturbation import Resample, never_passes
from hpo.optimizers.selection import Truncation
from hpo.optimizers.trust_region import WHOLE_SPACE, TrustRegion
from hpo.testing.driving import before_training

H = {"lr": 0.1, "momentum": 0.5}


def member(slot, score, history=()):
    return Member(slot, f"{slot}", H, score, score == -math.inf, history)


def after(state, *scores, step=5, **options):
    return state.after([member(slot, score) for slot, score in enumerate(scores)], step, BGPBT(**options))


# --- the state -------------------------------------------------------------------------------------------------------


def test_a_step_succeeds_if_its_best_member_had_a_proposal():
    state = State(best=1.0, proposed=frozenset({1, 2}))
    assert after(state, 2.0, 3.0, 1.0).region == TrustRegion(successes=1)
    assert after(state, 3.0, 2.0, 1.0).region == TrustRegion(failures=1)
    assert after(state, 3.0, 2.0, 3.0).region == TrustRegion(successes=1)  # a tie
    assert after(state, 3.0, -math.inf, -math.inf).region == TrustRegion(failures=1)


def test_without_proposals_the_region_stays():
    region = TrustRegion(successes=2)
    assert after(State(region), 1.0, 2.0).region == region


def test_proposals_count_once():
    assert after(State(proposed=frozenset({0})), 1.0, 0.0).proposed == frozenset()


def test_the_search_restarts_when_the_region_cannot_shrink_further():
    # A third shrinkage takes the side from 0.178 to its smallest, 0.15.
    state = State(TrustRegion(0.4 / 1.5**2, failures=9), begun=(0, 2), best=9.0, proposed=frozenset({0}))
    assert after(state, 0.0, 1.0, step=7) == State(TrustRegion(), begun=(0, 2, 7), best=-math.inf)
    assert after(state, 1.0, 0.0, step=7).begun == (0, 2)


def test_the_search_restarts_after_exploits_without_a_new_best_score():
    state = State(best=2.0)
    for failures in (1, 2):
        state = after(state, 1.0, 0.5, patience=3)
        assert (state.failures, state.best, state.begun) == (failures, 2.0, (0,))
    assert after(state, 1.0, 0.5, patience=3, step=4) == State(begun=(0, 4))
    assert after(state, 2.0, 0.5, patience=3) == State(best=2.0)  # reaching the best again is enough
    assert after(state, 3.0, 0.5, patience=3) == State(best=3.0)


# --- what is observed ------------------------------------------------------------------------------------------------


def result(slot, interval, score, parent=None, at_start=None, **hparams):
    segment = Segment(slot, parent, interval, {**H, **hparams}, scored_at_start=at_start is not None)
    return Result(f"{slot}/{interval}", segment, {}, score, score == -math.inf, score_at_start=at_start)


def observed(period, *histories):
    results = {each.key: each for history in histories for each in history}
    members = [member(history[-1].segment.member, history[-1].score, history) for history in histories]
    return observations(members, period, histories[0][-1].segment.interval // period, results)


def test_a_gain_is_that_of_a_whole_perturbation_interval_and_a_root_started_from_its_initialization():
    first = [result(0, 0, 3.0, at_start=1.0, lr=0.2), result(0, 1, 5.0, "0/0", lr=0.2)]
    assert observed(2, first) == [Observation(0, {**H, "lr": 0.2}, 4.0)]
    # Slot 1 copied slot 0 after two intervals, and gained 7 - 5.
    second = [result(1, 0, 2.0, at_start=0.0), result(1, 1, 2.5, "1/0")]
    second += [result(1, 2, 4.0, "0/1", lr=0.3), result(1, 3, 7.0, "1/2", lr=0.3)]
    first += [result(0, 2, 5.0, "0/1"), result(0, 3, 4.5, "0/2")]
    assert observed(2, first, second) == [Observation(1, H, -0.5), Observation(1, {**H, "lr": 0.3}, 2.0)]


def test_diverged_members_and_unknown_first_scores_are_left_out():
    assert observed(1, [result(0, 0, -math.inf, at_start=1.0)], [result(1, 0, 2.0)]) == []


def test_roots_are_scored_before_training_and_nothing_else_is():
    run = drive(BGPBT(0.5), problem(4, 4), smooth)
    assert {segment.scored_at_start for segment in run.segments if segment.interval == 0} == {True}
    assert {segment.scored_at_start for segment in run.segments if segment.interval > 0} == {False}


# --- the general case ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bandit:
    """PB2's explore with the model of BG-PBT: each member takes the maximum of the bound in the whole space."""

    bounds = staticmethod(never_passes)

    def __call__(self, copied, space, history, rng):
        scores = {each.key: each.score for each in history}
        gains = [
            Observation(
                each.segment.interval,
                each.segment.hparams,
                each.score - scores.get(each.segment.parent, before_training(each.segment)),
            )
            for each in history
        ][-100:]
        model, encoding, time = Surrogate.fitted(gains, space), Encoding.of(space), gains[-1].time + 1
        taken = next_rows_of_others({each.slot for each in copied}, history, encoding)
        changed = {}
        for each in copied:
            posterior = model.process.given(np.array(taken))
            cube = WHOLE_SPACE.around(np.full(len(encoding.names), 0.5))
            place = cube.maximum(
                lambda units, posterior=posterior: posterior.upper_confidence(
                    np.column_stack([np.full(len(units), time), units]), 9.0
                ),
                rng,
            )
            changed[each.slot] = encoding.decoded(place, each.hparams)
            taken.append(encoding.row(time, changed[each.slot]))
        return changed


def test_without_a_trust_region_it_is_pbt_with_a_bandit_bit_for_bit():
    of = problem(8, 8, FLOATS)
    ours = drive(BGPBT(trust_region=False, patience=99), of, smooth)
    theirs = drive(PBT(None, Truncation(count=2), Bandit()), of, smooth)
    assert [(s.member, s.interval, s.hparams) for s in ours.segments] == [
        (s.member, s.interval, s.hparams) for s in theirs.segments
    ]
    assert drive(BGPBT(patience=99), of, smooth).segments != ours.segments


# --- whole searches --------------------------------------------------------------------------------------------------


def explored(run):
    """Return the donor's hyperparameters, a member's own, and the interval, for each segment that continues a copy."""
    pairs = [(run.results[segment.parent].segment, segment) for segment in run.segments if segment.parent is not None]
    return [(donor.hparams, own.hparams, own.interval) for donor, own in pairs if donor.member != own.member]


def distances(run, space, at=lambda interval: True):
    """Return how far members that copied went from their donors, in the unit cube."""
    return [np.abs(space.to_unit(own) - space.to_unit(theirs)).max() for theirs, own, i in explored(run) if at(i)]


def test_members_that_copy_stay_within_the_region_around_their_donors():
    # Two exploits at most: the region has not grown yet.
    run = drive(BGPBT(0.5), problem(12, 3, FLOATS), smooth)
    found = distances(run, FLOATS)
    assert len(found) == 6
    # With two length scales in one, the box is a cube.
    assert max(found) <= 0.2 + 1e-9
    assert max(distances(drive(BGPBT(0.5, trust_region=False), problem(12, 3, FLOATS), smooth), FLOATS)) > 0.3


def falling(segment):
    """Return a score that only falls, so that nothing ever improves."""
    return -segment.interval - abs(math.log10(float(segment.hparams["lr"])) + 2.0)


def test_after_a_restart_the_auxiliary_model_proposes_in_the_whole_space():
    of = problem(8, 12, FLOATS)
    run = drive(BGPBT(patience=4), of, falling)
    # The first exploit sets the best score, and the next four do not reach it: the fifth restarts, and so does the tenth.
    assert run.counts == {"restarts": 2, "all_diverged": 0}
    restarts = (5, 10)
    assert max(distances(run, FLOATS, lambda i: i in restarts)) > 0.3
    assert max(distances(run, FLOATS, lambda i: i not in restarts)) <= 0.2 + 1e-9


def test_until_the_population_is_observed_it_draws_from_the_prior():
    def lost(segment):
        return segment.member == 3 and segment.interval == 0

    run = drive(BGPBT(), problem(4, 3, FLOATS), smooth, diverges=lost)
    [(donor, drawn, _)] = [each for each in explored(run) if each[2] == 1]
    assert drawn["lr"] != donor["lr"]
    assert drive(BGPBT(confidence=0.0), problem(4, 3, FLOATS), smooth, diverges=lost).segments[4:8] == run.segments[4:8]


START = before_training(Segment(0, None, 0, H))
"""The score of every root before training, in a driven search."""


class Wandering:
    """A score that gains most near a place that wanders through three numbers, with all three categoricals at "y"."""

    space = SearchSpace(
        {name: Float(0.0, 1.0) for name in "abc"} | {name: Categorical(("x", "y", "z")) for name in "pqr"}
    )

    def __init__(self):
        self.totals = {None: START}

    def __call__(self, segment):
        h, best = segment.hparams, 0.2 + 0.04 * segment.interval
        gain = 1 - sum((h[name] - best) ** 2 for name in "abc") - 0.3 * sum(h[name] != "y" for name in "pqr")
        self.totals[KEYS(segment)] = self.totals[segment.parent] + gain
        return self.totals[KEYS(segment)]


class Plain:
    """The closed form of PBT-Zoo in which a rate that falls at once is best; θ starts at 0.9, 20 steps an interval."""

    space = SearchSpace({"lr": Float(0.0001, 1.1)})

    def __init__(self):
        self.thetas = {None: 0.9}

    def __call__(self, segment):
        theta = self.thetas[segment.parent] * (1 - 0.002 * (2 - segment.hparams["lr"])) ** 20
        self.thetas[KEYS(segment)] = theta
        return START + 0.9**2 - theta**2


@pytest.mark.parametrize(("score", "n", "initial", "margin"), [(Wandering, 12, False, 2.0), (Plain, 22, True, 0.0)])
def test_it_is_ahead_of_random_changes(score, n, initial, margin):
    found = {BGPBT: [], PBT: []}
    for seed in range(2):
        rng = np.random.default_rng(seed)
        given = tuple({"lr": rng.uniform(0.9, 1.1)} for _ in range(n)) if initial else ()
        of = problem(n, 16, score.space, seed=seed, initial=given)
        for options in (BGPBT(), PBT(None, Truncation(0.25), Resample())):
            run = drive(options, of, score())
            found[type(options)].append(run.results[run.best].score)
    assert np.mean(found[BGPBT]) > np.mean(found[PBT]) + margin


def test_scores_that_all_tie_are_searched_to_the_end():
    run = drive(BGPBT(), problem(3, 6, MIXED), level)
    assert len(run.segments) == 18
    assert all(not MIXED.outside(segment.hparams) for segment in run.segments)


# --- refusals --------------------------------------------------------------------------------------------------------

FIXED = SearchSpace({name: replace(parameter, fixed=True) for name, parameter in FLOATS.items()})


@pytest.mark.parametrize(
    ("options", "of", "said"),
    [
        (BGPBT(), problem(1), "population_size of at least 2"),
        (BGPBT(), problem(4, space=FIXED), "not fixed"),
        (BGPBT(2.0), problem(4), "perturbation_interval.*less than the budget"),
        (BGPBT(0.3), problem(4), "perturbation_interval.*whole number of intervals"),
    ],
)
def test_what_cannot_be_searched_is_refused(options, of, said):
    with pytest.raises(OptionError, match=said):
        options.start(of)


@pytest.mark.parametrize("n", [2, 3])
def test_the_smallest_populations_copy_one_member(n):
    run = drive(BGPBT(), problem(n, 4), smooth)
    assert len(explored(run)) == 3
