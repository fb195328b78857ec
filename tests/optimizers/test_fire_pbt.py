from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from driver import FLOATS, KEYS, SPACES, drive, level, problem, smooth

from hpo.core.errors import OptionError
from hpo.core.space import Float, SearchSpace
from hpo.optimizers.curves import Curve
from hpo.optimizers.fire_pbt import FirePBT, apportioned, stops, succeeds
from hpo.optimizers.pbt import PBT
from hpo.optimizers.perturbation import Multiply, NoPerturbation
from hpo.optimizers.selection import Truncation

# --- sizes -------------------------------------------------------------------------------------------------------------


def test_sizes_are_those_given_or_in_their_ratio():
    assert apportioned((8, 8, 6), 22) == (8, 8, 6)
    assert apportioned((8, 8, 6), 44) == (16, 16, 12)
    # 10 * 8 / 22 = 3.64, twice, and 2.73: the evaluators have the largest remainder, then P1.
    assert apportioned((8, 8, 6), 10) == (4, 3, 3)
    assert apportioned((8, 8, 6), 6) == (2, 2, 2)


@pytest.mark.parametrize("n", range(6, 60))
def test_every_population_of_six_or_more_is_divided_into_three_useful_parts(n):
    greedy, parents, evaluators = apportioned((8, 8, 6), n)
    assert greedy + parents + evaluators == n
    assert min(greedy, parents, evaluators) >= 2
    assert evaluators <= parents
    FirePBT().start(problem(n))


@pytest.mark.parametrize("n", range(1, 6))
def test_a_population_that_is_too_small_is_refused_with_the_least_size(n):
    with pytest.raises(OptionError, match="at least 6") as caught:
        FirePBT().start(problem(n))
    assert caught.value.option == "sizes"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"sizes": (0, 2, 2)}, "sizes"),
        ({"sizes": (4, 4, 0)}, "sizes"),
        ({"sizes": (4, 0, 4)}, "sizes"),
        ({"sizes": (4, 2, 3)}, "sizes"),
        ({"sizes": (-1, 2, 2)}, "sizes"),
        ({"quantile_fraction": 0.6}, "quantile_fraction"),
        ({"perturbation_interval": 0.7}, "perturbation_interval"),
        ({"perturbation_interval": 2.0}, "perturbation_interval"),
        ({"max_evaluation": 0.7}, "max_evaluation"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, named):
    with pytest.raises(OptionError) as caught:
        FirePBT(**options).start(problem(8, 4))
    assert caught.value.option == named


def test_too_few_evaluations_per_exploit_are_warned_of():
    of = problem(22, 100)
    assert "9 evaluations" in " ".join(FirePBT(4.5).warnings(of))
    assert not FirePBT(5.0).warnings(of)
    assert not FirePBT(0.5, sizes=(1, 0, 0)).warnings(of)


def test_a_budget_that_ends_before_evaluators_are_judged_is_warned_of():
    of = problem(22, 40)
    assert len(FirePBT(10.0).warnings(of)) == 1
    assert not FirePBT(9.5).warnings(of)
    assert not FirePBT(10.0, sizes=(1, 0, 0)).warnings(of)


# --- against PBT -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("score", [smooth, level])
def test_without_evaluators_it_is_pbt(space, concurrency, score):
    of = problem(8, 12, SPACES[space], concurrency=concurrency)
    fire = drive(FirePBT(1.0, sizes=(1, 0, 0)), of, score)
    pbt = drive(PBT(1.0, Truncation(0.25), Multiply((2.0, 0.5))), of, score)
    assert fire.rounds == pbt.rounds
    assert fire.best == pbt.best
    assert fire.counts == pbt.counts | {"evaluators_succeeded": 0}
    assert fire.finals is not None
    assert {fire.results[key].segment.member for key in fire.finals} == set(range(8))


@pytest.mark.parametrize("n", [6, 11])
def test_the_answer_is_the_best_of_p1_even_if_others_are_better(n):
    def better_elsewhere(segment):
        return float(segment.member)

    run = drive(FirePBT(1.0), problem(n, 12), better_elsewhere)
    greedy = apportioned((8, 8, 6), n)[0]
    assert run.finals is not None
    assert [run.results[key].segment.member for key in run.finals] == list(range(greedy))
    assert run.results[run.best].segment.member == greedy - 1
    assert run.results[run.best].segment.interval == 11


# --- curves decide -----------------------------------------------------------------------------------------------------

RISING = np.arange(1.0, 13.0)


def test_an_evaluator_succeeds_if_it_is_significantly_better():
    # The child has reached 2 at its fourth evaluation, and is then ahead only once: 11 wins of 12.
    slower = np.arange(0.75, 13.0, 0.5)
    assert succeeds(Curve.of(2 * RISING), Curve.of(slower))
    assert not succeeds(Curve.of(slower), Curve.of(2 * RISING))
    # From 2 on, seven wins of seven have p = 1 / 128, and six of six p = 1 / 64.
    flat = Curve.of(np.linspace(1.5, 1.7, 12))
    assert succeeds(Curve.of(np.arange(9.0)), flat)
    assert not succeeds(Curve.of(np.arange(8.0)), flat)


def test_better_almost_everywhere_is_not_enough_if_the_best_score_is_worse():
    # From the overlap on, 11 wins of 12: p = 13 / 4096. But the child's best score is its last.
    child = np.append(RISING - 1.5, [11.5, 100.0])
    assert not succeeds(Curve.of(RISING), Curve.of(child))


def test_without_an_overlap_an_evaluator_stops_after_its_time():
    below, above = Curve.of([1.0, 2.0, 3.0]), Curve.of([10.0, 11.0])
    assert not stops(below, above, longest=4)
    assert stops(below, above, longest=3)


def test_with_an_overlap_it_stops_as_soon_as_it_is_too_unlikely_to_be_better():
    # The evaluator, of six, wins all of 4 from the overlap on: p = 1 / 16, against 0.01 + 1 - 6 / longest.
    evaluator, child = Curve.of([0.0, 1.0, 2.0, 3.0, 4.0, 5.0]), Curve.of([1.5, 2.5, 3.0, 3.2])
    assert not stops(evaluator, child, longest=18)
    assert not stops(evaluator, child, longest=7)
    assert stops(evaluator, child, longest=6)
    # It wins none: p = 1 is too much as soon as it has trained for a hundredth of its time.
    assert stops(child, evaluator, longest=100)


# --- a search by hand --------------------------------------------------------------------------------------------------

FAST_ONCE_GREEDY = {0: 1.0, 1: 0.5, 2: 4.0, 3: 3.0, 4: 2.0, 5: 1.0}
"""How much weights gain in an interval, by the slot that they come from, if trained with the greedy learning rate."""
HEAD_START = {2: 0.0, 3: 10.0, 4: 20.0, 5: 40.0}
ONE = SearchSpace({"lr": Float(0.1, 0.5)})


def hidden_potential():
    """P2 does not improve on its own. The member with the lowest score, slot 2, improves fastest with P1's learning rate."""
    weights = {}

    def score(segment):
        come_from, value = weights.get(segment.parent, (segment.member, HEAD_START.get(segment.member, 0.0)))
        value += FAST_ONCE_GREEDY.get(come_from, 0.0) * (segment.hparams["lr"] == 0.5)
        weights[KEYS(segment)] = come_from, value
        return value

    return score


def search_by_hand(intervals=36):
    initial = tuple({"lr": 0.5 if slot < 2 else 0.1} for slot in range(10))
    options = FirePBT(6.0, sizes=(2, 4, 4), perturbation=NoPerturbation())
    return drive(options, problem(10, intervals, ONE, initial=initial), hidden_potential())


def parents_at(run, interval):
    """Return, by slot, the slot whose checkpoint it goes on from at an interval."""
    return {
        segment.member: run.results[segment.parent].segment.member
        for segment in run.segments
        if segment.interval == interval
    }


def test_evaluators_start_after_the_first_exploit_from_p2_with_the_best_hyperparameters_of_p1():
    run = search_by_hand()
    assert parents_at(run, 11) == {slot: slot for slot in range(10)}
    assert parents_at(run, 12) == {0: 0, 1: 0} | {2: 2, 3: 3, 4: 4, 5: 5} | {6: 2, 7: 3, 8: 4, 9: 5}
    rates = {segment.member: segment.hparams["lr"] for segment in run.segments if segment.interval == 12}
    assert [rates[slot] for slot in range(10)] == [0.5] * 2 + [0.1] * 4 + [0.5] * 4


def test_p2_copies_the_member_that_improves_fastest_and_not_the_one_with_the_highest_score():
    run = search_by_hand()
    # Evaluators: 4, 8, ..., 48; 13, 16, ..., 46; 22, 24, ..., 44; 41, 42, ..., 52. Best-score differences: 11, 14 and 6 of the
    # first to the others, 8 and 4 of the second to the last two, and 2 of the third to the last. Fitness: 31, 1, -20, -12.
    scores = {result.segment.member: result.score for result in run.results.values() if result.segment.interval == 23}
    assert scores[2] < scores[3] < scores[4] < scores[5]
    moved = {slot: parent for slot, parent in parents_at(run, 24).items() if 2 <= slot <= 5 and slot != parent}
    assert moved == {4: 2}


def test_an_evaluator_that_succeeds_passes_its_weights_and_not_its_hyperparameters():
    # P1's slot 0 has 1, 2, ..., 24, and slot 2's evaluator 4, 8, ..., 48: 11 wins of 12 from the overlap at 4.
    run = search_by_hand()
    assert parents_at(run, 24)[0] == 6
    assert run.counts["evaluators_succeeded"] >= 1
    taken = next(segment for segment in run.segments if (segment.member, segment.interval) == (0, 24))
    own = next(segment for segment in run.segments if (segment.member, segment.interval) == (0, 23))
    assert taken.hparams == own.hparams
    assert [segment.member for segment in run.path(run.best)][:24] == [2] * 12 + [6] * 12


def test_held_hyperparameters_come_with_the_weights():
    space = replace(ONE, parameters=ONE.parameters | {"width": Float(1.0, 9.0, fixed=True)})
    initial = tuple({"lr": 0.5 if slot < 2 else 0.1, "width": 1.0 + slot / 2} for slot in range(10))
    options = FirePBT(6.0, sizes=(2, 4, 4), perturbation=NoPerturbation())
    run = drive(options, problem(10, 36, space, initial=initial), hidden_potential())
    at = {(segment.member, segment.interval): segment.hparams for segment in run.segments}
    assert at[6, 12] == {"lr": 0.5, "width": 2.0}
    assert at[0, 24] == {"lr": 0.5, "width": 2.0}


def test_members_of_p2_wait_in_the_order_of_their_last_evaluation_and_perturbed_ones_last():
    # All scores tie, so evaluators stop at once, and the higher of the two slots with evaluators copies the lower one.
    run = drive(FirePBT(0.5, sizes=(2, 5, 2)), problem(9, 6), level)
    judged = [[parents_at(run, interval)[slot] for slot in (7, 8)] for interval in range(1, 6)]
    copies = [{s: p for s, p in parents_at(run, i).items() if 2 <= s < 7 and s != p} for i in range(1, 6)]
    assert copies == [{}, {3: 2}, {5: 4}, {6: 2}, {4: 3}]
    # The queue: 2 3 4 5 6; 4 5 6 2 3; 6 2 3 4 5; 3 4 5 2 6.
    assert judged == [[2, 3], [4, 5], [6, 2], [3, 4], [5, 2]]


def test_an_evaluator_without_anything_to_judge_goes_on_with_what_it_has():
    run = drive(FirePBT(0.5, sizes=(2, 2, 2)), problem(6, 6), diverges=lambda segment: 2 <= segment.member < 4)
    chains = [segment for segment in run.segments if segment.member >= 4]
    assert all(s.parent is None or run.results[s.parent].segment.member == s.member for s in chains)
    assert len(chains) == 2 * 6


def test_diverged_members_of_p2_are_replaced_by_judged_ones():
    def diverges(segment):
        return (segment.member, segment.interval) == (4, 0)

    run = drive(FirePBT(1.0, sizes=(2, 3, 2)), problem(7, 10, FLOATS), diverges=diverges)
    moved = [i for i in range(2, 10, 2) if parents_at(run, i)[4] != 4]
    assert moved[0] == 4  # the first exploit of P2
    assert not run.results[next(s.parent for s in run.segments if (s.member, s.interval) == (4, 4))].diverged


def test_a_diverged_p1_neither_exploits_nor_takes_part_in_evaluations():
    run = drive(FirePBT(0.5, sizes=(2, 2, 2)), problem(6, 6), diverges=lambda segment: segment.member < 2)
    assert run.counts["all_diverged"] == 5
    assert all(parents_at(run, interval)[slot] == slot for interval in range(1, 6) for slot in range(6))


# --- greed -------------------------------------------------------------------------------------------------------------


def deceptive():
    """Figure 2 of Chebykin et al. (TMLR 2025): lr should fall linearly to 0, and falling at once looks better."""
    states = {None: (0.9, ())}

    def score(segment):
        theta, past = states[segment.parent]
        for step in range(2 * segment.interval, 2 * segment.interval + 2):
            if step % 20 == 0:
                past = (*past, segment.hparams["lr"])
            penalty = 0.2 * sum(abs(lr - (1 - i / 50)) for i, lr in enumerate(past))
            theta -= 0.001 * 2 * max(2 - segment.hparams["lr"] - penalty, 0) * theta
        states[KEYS(segment)] = theta, past
        return 1.2 - theta**2

    return score


@pytest.mark.slow
def test_it_resists_greed_more_than_pbt_where_greed_is_punished():
    space = SearchSpace({"lr": Float(1e-4, 1.1)})
    ends = []
    for seed in range(3):
        initial = tuple({"lr": lr} for lr in np.random.default_rng(seed).uniform(0.9, 1.1, 22))
        of = replace(problem(22, 500, space, seed=seed, initial=initial), interval=Fraction(2))
        pbt = drive(PBT(20, Truncation(0.25), Multiply((2.0, 0.5))), of, deceptive())
        fire = drive(FirePBT(20), of, deceptive())
        ends.append([pbt.results[pbt.best].score, fire.results[fire.best].score])
    assert all(fire > pbt for pbt, fire in ends), ends
