import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.optimizers.exp3 import dependently_rounded, expected_plays, learned, mixing, picked, updated

WEIGHTS = st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=7).map(np.array)


def test_the_mixing_by_hand():
    # sqrt(3 ln(3 / 2) / ((e - 1) · 2 · 4)) = sqrt(1.216395 / 13.746255)
    assert mixing(arms=3, plays=2, rounds=4) == pytest.approx(0.297472, abs=1e-6)
    assert mixing(arms=10, plays=1, rounds=1) == 1.0
    assert mixing(arms=3, plays=3, rounds=4) == mixing(arms=3, plays=22, rounds=100) == 0.2


def test_expected_plays_by_hand():
    expected, capped = expected_plays(np.array([3.0, 2.0, 1.0]), plays=2, gamma=0.25)
    # 2 (0.75 · (3, 2, 1) / 6 + 0.25 / 3)
    assert expected == pytest.approx([11 / 12, 2 / 3, 5 / 12])
    assert not capped.any()


def test_a_weight_is_capped_where_its_arm_would_be_played_more_than_once():
    # η = (1/2 - 0.1/3) / 0.9 = 14/27; 8 is at least η · 10, so ν = η · 2 / (1 - η) = 28/13.
    expected, capped = expected_plays(np.array([8.0, 1.0, 1.0]), plays=2, gamma=0.1)
    assert expected == pytest.approx([1.0, 0.5, 0.5])
    assert capped.tolist() == [True, False, False]
    # η = (1/3 - 0.1/4) / 0.9 = 37/108. Two are capped: ν = η · 2 / (1 - 2 η) = 74/34, and the third's is below.
    expected, capped = expected_plays(np.array([8.0, 1.0, 6.0, 1.0]), plays=3, gamma=0.1)
    assert expected == pytest.approx([1.0, 0.5, 1.0, 0.5])
    assert capped.tolist() == [True, False, True, False]


@given(WEIGHTS, st.integers(1, 12), st.floats(0, 1))
def test_expected_plays_add_up_and_no_arm_is_played_twice_while_there_are_others(weights, plays, gamma):
    expected, capped = expected_plays(weights, plays, gamma)
    assert expected.sum() == pytest.approx(plays)
    assert expected.min() > -1e-9
    if plays < len(weights):
        assert expected.max() <= 1 + 1e-9
    else:
        assert not capped.any()


def test_an_update_by_hand():
    weights = updated(np.array([2.0, 2.0, 2.0]), np.array([1.0, 0.5, np.nan]), plays=2, rounds=4)
    gamma = 0.29747168
    # p = 2/3 for each arm, so ĝ = (1.5, 0.75, 0); the exponent is 2 γ ĝ / 3, the forgetting (e / 4) / 3 of the sum 6.
    grown = np.array([2 * math.exp(gamma), 2 * math.exp(gamma / 2), 2]) + math.e / 4 / 3 * 6
    assert weights == pytest.approx(grown / grown.sum(), rel=1e-6)


def test_a_capped_weight_grows_by_the_forgetting_alone():
    plain = np.array([40.0, 1.0, 1.0])
    weights = updated(plain, np.array([1.0, np.nan, 1.0]), plays=2, rounds=100)
    gamma = mixing(3, 2, 100)
    [one, half, _], _ = expected_plays(plain, 2, gamma)
    assert one == pytest.approx(1.0)
    shared = math.e / 100 / 3 * 42
    grown = np.array([40 + shared, 1 + shared, math.exp(2 * gamma / half / 3) + shared])
    assert weights == pytest.approx(grown / grown.sum())


def test_with_more_plays_than_arms_a_reward_is_the_mean_over_an_arms_plays():
    # Round 0: arm 0 gains 0.25 and 0.75, arm 1 gains 1. Round 1: arm 1 alone.
    times, arms = np.array([0.0, 0.0, 0.0, 1.0, 1.0]), np.array([0, 0, 1, 1, 1])
    weights = learned(times, arms, np.array([0.25, 0.75, 1.0, 0.5, 0.7]), count=2, rounds=10)
    step = updated(np.array([1.0, 1.0]), np.array([0.5, 1.0]), plays=3, rounds=10)
    assert weights == pytest.approx(updated(step, np.array([np.nan, 0.6]), plays=2, rounds=10))
    # γ = 0.2 and p = 1.5 each, so ĝ = g: exponents 3 · 0.2 · g / 2.
    grown = np.exp([0.15, 0.3]) + math.e / 10 / 2 * 2
    assert step == pytest.approx(grown / grown.sum())


def test_it_follows_the_better_arm_and_forgets_when_another_becomes_better():
    times, arms = np.repeat(np.arange(40.0), 6), np.tile([0, 0, 1, 1, 2, 2], 40)
    best = np.where(times < 20, 0, 2)
    early = learned(times[:120], arms[:120], 1.0 * (arms == best)[:120], 3, rounds=40)
    late = learned(times, arms, 1.0 * (arms == best), 3, rounds=40)
    assert np.argmax(early) == 0
    assert np.argmax(late) == 2
    assert max(early.max(), late.max()) < 1 - math.e / 40 / 3  # the others keep a share


# --- dependent rounding ----------------------------------------------------------------------------------------------


@given(WEIGHTS, st.integers(1, 12), st.integers(0, 999))
def test_shares_are_rounded_up_or_down_and_keep_their_sum(weights, total, seed):
    shares = total * weights / weights.sum()
    counts = dependently_rounded(shares, np.random.default_rng(seed))
    assert counts.sum() == total
    assert np.all(np.abs(counts - shares) < 1 + 1e-9)


@pytest.mark.parametrize("shares", [[0.5, 0.3, 0.2], [0.9, 0.7, 0.4], [2.25, 0.25, 1.5, 0.0], [1.0, 3.0]])
def test_the_mean_of_what_is_rounded_is_the_share(shares):
    rng = np.random.default_rng(0)
    counts = [dependently_rounded(np.array(shares), rng) for _ in range(4000)]
    assert np.mean(counts, axis=0) == pytest.approx(shares, abs=4 * 0.5 / math.sqrt(4000))


def test_what_others_hold_counts_as_picked():
    rng = np.random.default_rng(0)
    expected = np.array([3.0, 2.0, 1.0])
    assert sorted(picked(expected, np.array([3, 1, 0]), rng).tolist()) == [1, 2]
    assert sorted(picked(expected, np.array([5, 0, 0]), rng).tolist()) in ([1], [2])
    assert picked(expected, np.array([3, 2, 1]), rng).tolist() == []
    many = [picked(expected, np.array([5, 0, 0]), rng).tolist() for _ in range(3000)]
    assert np.mean(many) == pytest.approx(4 / 3, abs=0.04)  # 2 : 1 for the arms 1 and 2


@given(st.integers(2, 8), st.integers(0, 999))
def test_fewer_plays_than_arms_pick_different_ones(arms, seed):
    rng = np.random.default_rng(seed)
    plays = int(rng.integers(1, arms))
    expected, _ = expected_plays(rng.random(arms) + 1e-3, plays, mixing(arms, plays, 10))
    found = picked(expected, np.zeros(arms, dtype=np.int64), rng)
    assert len(set(found.tolist())) == len(found) == plays
