"""Which examples a segment sees."""

from fractions import Fraction

import numpy as np
import pytest
from helpers import cases
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_tasks import Numbers

from hpo.core.segments import Split
from hpo.core.splits import DataPlan, boundary, interval_positions, search_split

SIZES = st.integers(1, 400)
INTERVALS = st.sampled_from([Fraction(text) for text in ("1/2", "1/3", "1/7", "2/3", "0.3", "0.05", "1", "1.5", "3")])


@given(st.integers(2, 500), st.data(), st.integers(0, 5))
def test_a_split_is_disjoint_and_complete(examples, data, seed):
    validation_size = data.draw(st.integers(1, examples - 1))
    training, validation = search_split(examples, validation_size, seed)
    assert len(validation) == validation_size
    assert not set(training) & set(validation)
    assert sorted([*training, *validation]) == list(range(examples))


def test_splits_differ_by_seed_and_are_no_prefix():
    (_, one), (_, other) = search_split(1000, 200, 0), search_split(1000, 200, 1)
    assert not np.array_equal(one, other)
    assert one.min() < 500  # drawn from everywhere, not cut off one end
    assert one.max() > 500


@settings(max_examples=cases(15))
@given(SIZES, INTERVALS, st.integers(0, 3))
def test_intervals_cover_each_epoch_exactly_once(examples, interval, seed):
    """The intervals of so many epochs that they end together hold every example once per epoch, in the epochs' order."""
    epochs = interval.numerator
    pieces = [interval_positions(k, interval, examples, seed, Split.SEARCH) for k in range(interval.denominator)]
    walked = np.concatenate(pieces).reshape(epochs, examples)
    for epoch in walked:
        assert sorted(epoch) == list(range(examples))
    whole = np.concatenate(
        [interval_positions(epoch, Fraction(1), examples, seed, Split.SEARCH) for epoch in range(epochs)]
    )
    assert np.array_equal(walked.ravel(), whole)


@given(SIZES, INTERVALS, st.integers(0, 50))
def test_a_boundary_is_rounded_once_halves_up(examples, interval, k):
    exact = k * interval * examples
    assert abs(boundary(k, interval, examples) - exact) <= Fraction(1, 2)
    if exact % 1 == Fraction(1, 2):
        assert boundary(k, interval, examples) == exact + Fraction(1, 2)
    assert boundary(k + 1, interval, examples) >= boundary(k, interval, examples)


def test_boundaries_by_hand():
    assert [boundary(k, Fraction(1, 2), 48_000) for k in range(3)] == [0, 24_000, 48_000]
    assert [boundary(k, Fraction(1, 2), 5) for k in range(5)] == [0, 3, 5, 8, 10]
    assert [boundary(k, Fraction(1, 3), 10) for k in range(4)] == [0, 3, 7, 10]
    assert boundary(3 * 10**6, Fraction(1, 3), 10) == 10**7


@pytest.mark.parametrize("k", [0, 1, 2, 19])
def test_the_full_split_of_mnist_has_468_batches_of_64_and_one_of_48(k):
    plan = DataPlan(Numbers(60_000, "x"), 12_000, 64, Fraction(1, 2))
    batches = plan.batches(0, Split.FULL, k)
    assert len(batches) == 469
    assert [len(batch) for batch in batches] == [64] * 468 + [48]
    assert (batches.start, batches.stop) == (k / 2, (k + 1) / 2)
    assert [len(batch) for batch in plan.batches(0, Split.SEARCH, k)] == [64] * 375


@pytest.mark.parametrize("interval", ["1/2", "1/3", "1.5"])
def test_no_batch_crosses_an_interval_and_odd_sizes_lose_nobody(interval):
    plan = DataPlan(Numbers(103, "x"), 16, 7, Fraction(interval))
    sizes = []
    for k in range(6):
        batches = [len(batch) for batch in plan.batches(0, Split.SEARCH, k)]
        assert all(size == 7 for size in batches[:-1])
        assert 1 <= batches[-1] <= 7
        sizes.append(sum(batches))
    assert sum(sizes) == 6 * Fraction(interval) * 87


def test_a_search_trains_on_the_training_part_alone_and_validates_on_the_rest():
    plan = DataPlan(Numbers(40, "x"), 10, 8, Fraction(1))
    trained = set(np.concatenate(list(plan.batches(3, Split.SEARCH, 0))))
    validated = set(plan.validation(3).indices)
    assert len(trained) == 30
    assert len(validated) == 10
    assert not trained & validated
    assert set(np.concatenate(list(plan.batches(3, Split.FULL, 0)))) == trained | validated


def test_the_order_is_one_per_seed_epoch_and_split():
    def order(seed, epoch, split=Split.SEARCH):
        return interval_positions(epoch, Fraction(1), 50, seed, split).tolist()

    orders = [order(seed, epoch, split) for seed in (0, 1) for epoch in (0, 1) for split in Split]
    assert len({tuple(found) for found in orders}) == 8
    # Nobody's member, arm or stream enters: asked again, it is the same, whatever was asked between.
    assert order(0, 1) == orders[2]


def test_a_plan_asked_for_several_seeds_keeps_them_apart():
    plan = DataPlan(Numbers(40, "x"), 10, 8, Fraction(1))
    first = plan.validation(0).indices
    assert not np.array_equal(first, plan.validation(1).indices)
    assert np.array_equal(first, plan.validation(0).indices)


def test_a_task_without_data_is_given_the_steps_of_its_interval():
    plan = DataPlan(None, 0, 0, Fraction(4))
    assert [plan.batches(0, Split.SEARCH, k) for k in (0, 1, 7)] == [range(4), range(4, 8), range(28, 32)]
    assert plan.validation(0) is None
