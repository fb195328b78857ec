import math

import numpy as np
import pytest
from driver import donors, drive, population, problem

from hpo.core.errors import OptionError
from hpo.core.optimizer import Explore
from hpo.optimizers.pbt import PBT
from hpo.optimizers.perturbation import Multiply
from hpo.optimizers.selection import ranked
from hpo.optimizers.standard_deviation import StandardDeviation


def test_cuts_by_hand():
    # Mean 2, standard deviation sqrt(2): cuts at 2 ± max(k sqrt(2), a).
    scores = [0.0, 1.0, 2.0, 3.0, 4.0]
    assert donors(StandardDeviation(1.0, 0.0), scores) == {0: 4}
    assert donors(StandardDeviation(0.1, 1.5), scores) == {0: 4}
    assert donors(StandardDeviation(0.1, 3.0), scores) == {}
    by_default = [donors(StandardDeviation(), scores, seed) for seed in range(40)]  # cuts at 2 ± 0.141
    assert all(each.keys() == {0, 1} for each in by_default)
    assert {donor for each in by_default for donor in each.values()} == {3, 4}


def test_the_deviation_is_that_of_the_population_and_not_of_a_sample():
    # Scores 0, 0, 6: mean 2, squares 4 + 4 + 16 = 24, sqrt(24 / 3) = 2.83 and sqrt(24 / 2) = 3.46. The best is 4 above the mean.
    assert donors(StandardDeviation(0.7, 0.0), [0.0, 0.0, 6.0]) == {0: 2, 1: 2}
    # Scores 0, 6, 6: the lowest is 4 below the mean, which is 1.41 and 1.15 deviations.
    assert 0 in donors(StandardDeviation(1.3, 0.0), [0.0, 6.0, 6.0])


def test_without_leaders_an_underperformer_explores_from_its_own_weights():
    # Mean 8, deviation 4: the upper cut 10.4 is above all, the lower cut is 5.6.
    chosen = StandardDeviation(0.6, 0.0)(population([0.0, 10.0, 10.0, 10.0, 10.0]), np.random.default_rng(0))
    assert chosen == {0: "key0"}
    assert isinstance(chosen[0], Explore)


def test_diverged_members_are_below_and_do_not_count():
    # Mean 1, deviation 1 of the finite ones.
    assert donors(StandardDeviation(), [None, 0.0, 2.0]) == {0: 2, 1: 2}
    # Nothing is to be gained from other hyperparameters for what has diverged.
    assert donors(StandardDeviation(), [None, 1.0, 1.0]) == {}
    assert donors(StandardDeviation(), [None, -math.inf, 0.0, 2.0]) == {0: 3, 1: 3, 2: 3}


@pytest.mark.parametrize("score", [0.1, 1 / 3, 1e300])
def test_equal_scores_are_not_below_their_own_mean(score):
    assert donors(StandardDeviation(0.0, 0.0), [score] * 7) == {}


@pytest.mark.parametrize(
    ("selection", "n", "option"),
    [
        (StandardDeviation(-0.1), 5, "threshold_std"),
        (StandardDeviation(0.1, math.inf), 5, "threshold_abs"),
        (StandardDeviation(), 1, "threshold_std"),
        (StandardDeviation(1.0), 2, "threshold_std"),
        (StandardDeviation(2.0), 5, "threshold_std"),
    ],
)
def test_thresholds_that_no_member_can_pass_are_refused(selection, n, option):
    with pytest.raises(OptionError) as caught:
        selection.check(n)
    assert caught.value.option == option


def test_the_largest_threshold_that_is_accepted_can_be_passed():
    StandardDeviation(1.99).check(5)
    assert 0 in donors(StandardDeviation(1.99, 0.0), [0.0, 1.0, 1.0, 1.0, 1.0])


def test_in_pbt_it_explores_in_place_where_there_is_no_leader():
    # Slot 0 is 1 below three equal ones: mean 0.75, deviation 0.43, and no member is above 0.75 + 0.5.
    options = PBT(0.5, StandardDeviation(0.1, 0.5), Multiply((1.5,)))
    run = drive(options, problem(4, 2), score=lambda segment: float(segment.member > 0))
    before, after = run.rounds
    assert [run.results[segment.parent].segment for segment in after] == before  # no member copies another
    assert after[0].hparams["lr"] == min(1.0, 1.5 * before[0].hparams["lr"])
    assert [segment.hparams for segment in after[1:]] == [segment.hparams for segment in before[1:]]


def test_in_pbt_the_leaders_replace_the_others():
    run = drive(PBT(0.5, StandardDeviation(0.5, 0.0)), problem(8, 2))
    first = [result for result in run.results.values() if result.segment.interval == 0]
    scores = np.array([result.score for result in first])
    upper, lower = scores.mean() + 0.5 * scores.std(), scores.mean() - 0.5 * scores.std()
    for result, segment in zip(sorted(first, key=lambda r: r.segment.member), run.rounds[1], strict=True):
        parent = run.results[segment.parent]
        assert (parent != result) == (result.score < lower)
        assert parent.score > upper or parent == result
    assert ranked(population(scores))[-1].score < lower
