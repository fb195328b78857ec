"""Several tasks: brute force over the signs, what must not change the p, and its false-positive rate."""

import itertools
import math
import warnings
from fractions import Fraction

import numpy as np
import pytest
from helpers import cases
from hypothesis import given, settings
from hypothesis import strategies as st
from published import DEMSAR, MAIZE
from scipy import stats

from hpo.statistics import (
    compare_paired,
    compare_tasks,
    holm_adjusted,
    interval_over_tasks,
    sign_flip_p,
    signed_ranks,
    smallest_p,
)
from hpo.statistics.tasks import LEAST_TASKS


def named(tasks):
    return {f"task {i}": values for i, values in enumerate(tasks)}


differences_of_tasks = (
    st.lists(st.lists(st.integers(-12, 12), min_size=1, max_size=4), min_size=2, max_size=3)
    .filter(lambda tasks: any(len(values) > 1 for values in tasks))
    .map(named)
)


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def standardized(values) -> float:
    """Return mean / root mean square."""
    scale = math.sqrt(sum(value * value for value in values) / len(values))
    return sum(values) / len(values) / scale if scale else 0.0


def statistic(tasks) -> float:
    """Return the mean over the cells of difference / root mean square of its task."""
    return sum(len(values) * standardized(values) for values in tasks) / sum(map(len, tasks))


def brute_force(tasks) -> float:
    """Return the share of all sign patterns over the cells whose statistic is at least as far from 0, ties included."""
    observed = abs(statistic(tasks)) - 1e-12
    ends = np.cumsum([len(values) for values in tasks])
    cells = list(itertools.chain(*tasks))
    hits = 0
    for signs in itertools.product((1, -1), repeat=len(cells)):
        flipped = [sign * value for sign, value in zip(signs, cells, strict=True)]
        pieces = [flipped[end - len(values) : end] for values, end in zip(tasks, ends, strict=True)]
        hits += abs(statistic(pieces)) >= observed
    return hits / 2 ** len(cells)


# These tasks and no others


@settings(max_examples=cases(10))
@given(differences_of_tasks)
def test_it_is_the_share_of_all_patterns_of_signs(tasks):
    result = compare_tasks(tasks)
    values = list(tasks.values())
    assert result.fixed.p_sign_flip == brute_force(values)
    assert result.fixed.standardized == pytest.approx(statistic(values), abs=1e-14)
    assert (result.fixed.exact, result.fixed.cells) == (True, sum(map(len, values)))
    assert result.fixed.smallest_p == smallest_p(result.fixed.cells) <= result.fixed.p_sign_flip


def test_two_tasks_by_hand():
    # mean / root mean square: 4/3 over sqrt(2), and 20 over sqrt(1400 / 3); all six cells are above 0.
    result = compare_tasks({"digits": [1, 2, 1], "letters": [10, 30, 20]})
    by_hand = (4 / 3 / math.sqrt(2), 20 / math.sqrt(1400 / 3))
    assert [task.standardized for task in result.tasks] == pytest.approx(by_hand, rel=1e-14)
    assert result.fixed.standardized == pytest.approx(sum(by_hand) / 2, rel=1e-14)
    assert (result.fixed.p_sign_flip, result.fixed.smallest_p) == (2 / 64, 2 / 64)


@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_one_task_is_the_paired_comparison(dtype):
    maize = np.array(MAIZE, dtype=dtype)
    result, alone = compare_tasks({"maize": maize}, alpha=0.1), compare_paired(np.zeros(15), MAIZE, alpha=0.1)
    [task] = result.tasks
    assert result.fixed.p_sign_flip == task.p_sign_flip == alone.p_sign_flip == 1726 / 32768
    assert (task.n, task.mean, task.d_z) == (alone.n, alone.mean, alone.d_z)
    assert (task.ci_low, task.ci_high) == (alone.ci_low, alone.ci_high)
    assert result.confidence == alone.confidence
    assert result.fixed.standardized == task.standardized
    for level in (0.1, 0.02):
        assert (
            interval_over_tasks({"maize": maize}, alpha=level)
            == compare_paired(np.zeros(15), MAIZE, alpha=level).sign_flip_interval
        )


@settings(max_examples=cases(10))
@given(st.lists(st.integers(-30, 30), min_size=1, max_size=10))
def test_the_p_of_one_task_is_always_that_of_the_sign_flip_test(differences):
    assert compare_tasks({"one": differences}).fixed.p_sign_flip == sign_flip_p(differences)
    assert compare_tasks({"one": [d / 100 for d in differences]}).fixed.p_sign_flip == sign_flip_p(differences)


def test_every_task_is_shown_by_itself():
    tasks = {"a": [1, 2, 3, -1], "b": [5.5, 4.0], "c": [7]}
    result = compare_tasks(tasks)
    assert [task.task for task in result.tasks] == ["a", "b", "c"]
    for task in result.tasks:
        alone = compare_paired(np.zeros(len(tasks[task.task])), np.array(tasks[task.task], dtype=float))
        assert (task.n, task.mean, task.d_z, task.p_sign_flip) == (alone.n, alone.mean, alone.d_z, alone.p_sign_flip)
        assert (task.ci_low, task.ci_high) == (alone.ci_low, alone.ci_high)
    assert (result.tasks[2].ci_low, result.tasks[2].d_z) == (None, None)


@settings(max_examples=cases(10))
@given(differences_of_tasks, st.data())
def test_flipping_signs_leaves_the_scale_as_it_is(tasks, data):
    flipped = {
        name: [value * data.draw(st.sampled_from([1, -1])) for value in values] for name, values in tasks.items()
    }
    for before, after in zip(compare_tasks(tasks).tasks, compare_tasks(flipped).tasks, strict=True):
        scale = math.sqrt(np.mean(np.square(tasks[before.task], dtype=float))) or 1.0
        assert before.standardized == pytest.approx(before.mean / scale, abs=1e-14)
        assert after.standardized == pytest.approx(after.mean / scale, abs=1e-14)
        assert -1 - 1e-15 <= after.standardized <= 1 + 1e-15


@settings(max_examples=cases(10))
@given(differences_of_tasks, st.sampled_from([2.0**-40, 0.001, 3.0, 1e9]))
def test_the_unit_of_one_task_changes_nothing(tasks, factor):
    first = next(iter(tasks))
    scaled = tasks | {first: [value * factor for value in tasks[first]]}
    plain, other = compare_tasks(tasks), compare_tasks(scaled)
    assert other.fixed.p_sign_flip == plain.fixed.p_sign_flip
    assert other.fixed.standardized == pytest.approx(plain.fixed.standardized, abs=1e-13)
    assert (other.new.above, other.new.below) == (plain.new.above, plain.new.below)


@settings(max_examples=cases(10))
@given(differences_of_tasks, st.randoms(use_true_random=False))
def test_the_order_of_tasks_and_seeds_changes_nothing(tasks, random):
    names = list(tasks)
    random.shuffle(names)
    shuffled = {name: random.sample(tasks[name], len(tasks[name])) for name in names}
    plain, other = compare_tasks(tasks), compare_tasks(shuffled)
    assert [task.task for task in other.tasks] == names
    assert {task.task: task.mean for task in other.tasks} == {task.task: task.mean for task in plain.tasks}
    assert other.fixed.p_sign_flip == plain.fixed.p_sign_flip
    assert other.fixed.standardized == pytest.approx(plain.fixed.standardized, abs=1e-15)


def negated(value: float | None) -> float | None:
    return None if value is None else -value


@settings(max_examples=cases(10))
@given(st.lists(st.lists(st.integers(-9, 9), min_size=1, max_size=3), min_size=1, max_size=7))
def test_swapping_the_arms_mirrors(tasks):
    ours, theirs = (
        compare_tasks({str(i): [sign * value for value in values] for i, values in enumerate(tasks)})
        for sign in (1, -1)
    )
    if ours.fixed is not None:
        assert theirs.fixed.p_sign_flip == ours.fixed.p_sign_flip
        assert theirs.fixed.standardized == -ours.fixed.standardized
    assert (theirs.new.above, theirs.new.below) == (ours.new.below, ours.new.above)
    assert (theirs.new.test, theirs.new.p, theirs.new.p_wilcoxon) == (ours.new.test, ours.new.p, ours.new.p_wilcoxon)
    assert (theirs.new.effect, theirs.new.estimate) == (-ours.new.effect, negated(ours.new.estimate))
    for a, b in zip(ours.tasks, theirs.tasks, strict=True):
        assert (b.mean, b.standardized, b.d_z) == (-a.mean, -a.standardized, negated(a.d_z))
        assert (b.ci_low, b.ci_high, b.p_sign_flip) == (negated(a.ci_high), negated(a.ci_low), a.p_sign_flip)


FEW_SEEDS = {"s1": [0.001], "s2": [0.001], **{f"t{i}": [-1.5, 0.5] * 15 for i in range(4)}}


def test_tasks_with_one_seed_do_not_drown_tasks_with_thirty():
    """Fault 8: two tasks of one seed turned -.45 with p 1e-5 on four tasks of thirty seeds into +.035 with p .77."""
    with_them, without = compare_tasks(FEW_SEEDS), compare_tasks({k: v for k, v in FEW_SEEDS.items() if k[0] == "t"})
    assert without.fixed.standardized == pytest.approx(-0.5 / math.sqrt(1.25))
    assert without.fixed.p_sign_flip <= 2e-5
    assert with_them.fixed.standardized == pytest.approx((2 - 120 * 0.5 / math.sqrt(1.25)) / 122)
    assert with_them.fixed.p_sign_flip <= 5e-5
    # Over tasks, too: four of six point one way, which six tasks cannot make sure of.
    assert with_them.new.effect < -0.3
    assert with_them.new.p == 8 / 64
    interval = interval_over_tasks(FEW_SEEDS, alpha=0.05)
    assert -0.6 < interval.low < -0.42 < interval.high < -0.2


def test_every_seed_weighs_the_same():
    result = compare_tasks({"many": [1] * 15 + [-1], "few": [-1, -1]})
    assert [task.standardized for task in result.tasks] == [14 / 16, -1.0]
    assert result.fixed.standardized == pytest.approx((14 - 2) / 18)


@settings(max_examples=cases(8))
@given(st.integers(1, 4), st.integers(2, 4), st.data())
def test_with_equal_seeds_every_task_weighs_the_same(n, count, data):
    tasks = [data.draw(st.lists(st.integers(-9, 9), min_size=n, max_size=n)) for _ in range(count)]
    result = compare_tasks(named(tasks))
    mean = sum(map(standardized, tasks)) / count
    if n > 1:
        assert result.fixed.standardized == pytest.approx(mean, abs=1e-14)
        assert result.new.effect == pytest.approx(mean, abs=1e-14)


def test_more_cells_than_can_be_enumerated_are_drawn():
    first, second = MAIZE, [12, -30, 18, -22, 9, -41, 35, -3]
    result = compare_tasks({"maize": first, "again": second})
    assert (result.fixed.exact, result.fixed.cells) == (False, 23)
    assert result.fixed.smallest_p == 1 / 100_001
    # The sum of independent signs: normal to a good approximation, here only to see that the draws are right.
    weights = np.concatenate([np.array(v) / math.sqrt(np.mean(np.square(v))) for v in (first, second)])
    signs = np.random.default_rng(1).choice([-1, 1], size=(200_000, 23))
    share = np.mean(np.abs(signs @ weights) >= abs(weights.sum()) - 1e-12)
    error = math.sqrt(share * (1 - share) * (1 / 100_000 + 1 / 200_000))
    assert abs(result.fixed.p_sign_flip - share) < stats.norm.isf(0.0005) * error
    assert compare_tasks({"again": second[::-1], "maize": first[::-1]}).fixed.p_sign_flip == result.fixed.p_sign_flip
    alone = compare_tasks({"long": MAIZE * 2}).fixed
    assert (alone.exact, alone.p_sign_flip, alone.smallest_p) == (True, sign_flip_p(MAIZE * 2), 2.0**-29)
    assert not compare_tasks({"long": np.array(MAIZE * 2, dtype=float)}).fixed.exact


def test_no_difference_at_all():
    result = compare_tasks({"a": [0, 0, 0], "b": [0.0, 0.0]})
    assert (result.fixed.p_sign_flip, result.fixed.standardized) == (1.0, 0.0)
    assert (result.new.above, result.new.below) == (0, 0)
    # A task without any difference takes nothing from the other's certainty but its share of the mean.
    half = compare_tasks({"a": [0] * 3, "b": [1, 2, 3, 4, 5, 6]}).fixed
    assert half.p_sign_flip == 2 / 64
    assert half.standardized == pytest.approx(3.5 / math.sqrt(91 / 6) * 6 / 9)


def test_tied_sums_count_as_tied_though_the_floats_differ():
    # Twice the same task: flipping one cell up here and the same down there is a tie.
    tasks = {"a": [0.1, 0.2, 0.3], "b": [0.3, 0.1, 0.2]}
    exact = [Fraction(1), Fraction(2), Fraction(3)] * 2
    signs = list(itertools.product((1, -1), repeat=6))
    for flips in ((1, 1, -1, 1, 1, 1), (1, -1, -1, 1, -1, 1)):
        signed = [s * d for s, d in zip(flips, exact, strict=True)]
        shares = sum(abs(sum(s * d for s, d in zip(row, exact, strict=True))) >= abs(sum(signed)) for row in signs)
        flipped = {"a": [f * d for f, d in zip(flips[:3], tasks["a"], strict=True)]}
        order = [2, 0, 1]
        flipped["b"] = [flips[3:][i] * value for i, value in zip(order, tasks["b"], strict=True)]
        assert compare_tasks(flipped).fixed.p_sign_flip == shares / 64


# Counts and magnitudes


def test_counts_make_ties_exact():
    generator = np.random.default_rng(2)
    for _ in range(30):
        a, b = generator.integers(150, 160, size=(2, 5))
        rates = (1 - b / 10_000) - (1 - a / 10_000)
        integers = compare_tasks({"one": (a - b), "two": [3, -1, 2]})
        # Either sign of the counts will do: errors go down where accuracy goes up.
        for counts in (a - b, b - a):
            result = compare_tasks({"one": rates, "two": [3, -1, 2]}, counts={"one": counts})
            assert result.fixed.p_sign_flip == integers.fixed.p_sign_flip == brute_force([(a - b).tolist(), [3, -1, 2]])
            assert result.tasks[0].p_sign_flip == sign_flip_p(a - b)
            assert result.fixed.standardized == pytest.approx(integers.fixed.standardized, abs=1e-12)


def test_counts_are_exact_where_floats_would_be_drawn():
    maize = np.array(MAIZE * 2)
    result = compare_tasks({"maize": maize / 10_000}, counts={"maize": maize})
    assert (result.fixed.exact, result.fixed.p_sign_flip) == (True, sign_flip_p(MAIZE * 2))
    assert result.tasks[0].mean == pytest.approx(314 / 15 / 10_000)


def test_magnitudes_say_how_far_rounding_goes():
    generator = np.random.default_rng(3)
    tenths = [1, 2, -3, 4]
    for _ in range(30):
        # 1 + 2 - 3 + 4 = -1 - 2 + 3 + 4, but for the rounding of numbers near 1000.
        baseline = generator.integers(9_000, 12_000, size=4)
        a, b = baseline / 10, (baseline + tenths) / 10
        magnitude = {"one": np.maximum(a, b)}
        assert compare_tasks({"one": b - a}, magnitudes=magnitude).fixed.p_sign_flip == sign_flip_p(tenths)
        # Twice the same task: the cells tie across the tasks too.
        twice = {"one": b - a, "two": b - a}
        both = compare_tasks(twice, magnitudes={"one": a, "two": b})
        assert both.fixed.p_sign_flip == sign_flip_p(tenths * 2)


def test_a_mean_of_rounding_alone_is_neither_above_nor_below():
    a, b = np.array([0.97, 0.98, 0.95]), np.array([0.98, 1.0, 0.92])
    assert (b - a).mean() > 0
    for options in ({"magnitudes": {"one": b}}, {"magnitudes": {"one": b}, "counts": {"one": [1, 2, -3]}}):
        result = compare_tasks({"one": b - a}, **options)
        assert (result.new.above, result.new.below) == (0, 0)
        assert result.tasks[0].standardized == result.fixed.standardized == result.new.effect == 0.0
    assert compare_tasks({"one": [1, 2, -3]}).fixed.standardized == 0.0
    real = compare_tasks({"one": b - a + 1e-8}, magnitudes={"one": b})
    assert (real.new.above, real.new.below) == (1, 0)


# Tasks like these


@pytest.mark.parametrize("n", range(1, 8))
def test_few_tasks_say_nothing_about_others(n):
    result = compare_tasks({str(i): [1.0, 2.0 + i] for i in range(n)})
    numbers = (result.new.p, result.new.p_wilcoxon)
    assert result.new.smallest_p == smallest_p(n)
    assert (result.new.n, result.new.above, result.new.below) == (n, n, 0)
    assert LEAST_TASKS == 6
    if n < 6:
        assert numbers == (None, None)
        assert f"{n} task{' is' if n == 1 else 's are'} too few" in result.new.refusal
        assert f"{min(1, 2 / 2**n):.4g}; at least 6 tasks are needed" in result.new.refusal
    else:
        assert result.new.refusal is None
        assert (result.new.test, result.new.p, result.new.p_wilcoxon) == ("sign-flip", 2 / 2**n, 2 / 2**n)


@settings(max_examples=cases(10))
@given(st.lists(st.lists(st.integers(-9, 9), min_size=2, max_size=4), min_size=6, max_size=9))
def test_the_task_is_the_unit(tasks):
    result = compare_tasks(named(tasks))
    scores = [math.sqrt(len(values)) * standardized(values) for values in tasks]
    # In twelfths the means are integers, whose ties are exact.
    twelfths = [int(12 * Fraction(sum(values), len(values))) for values in tasks]
    assert result.new.test == "sign-flip"
    assert result.new.p == sign_flip_p(scores)
    assert result.new.p_wilcoxon == signed_ranks(twelfths).wilcoxon_p
    assert (result.new.above, result.new.below) == (sum(d > 0 for d in twelfths), sum(d < 0 for d in twelfths))
    weights = [math.sqrt(len(values)) for values in tasks]
    assert result.new.effect == pytest.approx(sum(scores) / sum(weights), abs=1e-14)
    assert compare_tasks(named(tasks), common_unit=False).new.p_wilcoxon is None


# One value per task


def of_demsar(a: int, b: int):
    """Return the arguments of `compare_tasks` for two of the four arms."""
    differences = {str(i): [row[b] - row[a]] for i, row in enumerate(DEMSAR)}
    return {"differences": differences, "magnitudes": {str(i): [max(row[a], row[b])] for i, row in enumerate(DEMSAR)}}


def test_one_value_per_task_is_decided_by_the_signed_ranks_of_the_tasks():
    """Fault 9: Demsar's table, C4.5+m against C4.5: signed-rank p .0073, Holm .022 over three and .044 over all six pairs."""
    against = [compare_tasks(**of_demsar(0, arm)) for arm in (1, 2, 3)]
    first = against[0]
    assert (first.fixed, first.new.test, first.new.exact, first.new.p_wilcoxon) == (None, "signed-rank", True, None)
    assert first.new.p == pytest.approx(0.0073, abs=5e-5)
    assert (first.new.above, first.new.below, first.new.n) == (10, 2, 14)
    assert first.new.estimate == pytest.approx(0.013)
    assert holm_adjusted([found.new.p for found in against])[0] == pytest.approx(0.022, abs=5e-4)
    pairs = [compare_tasks(**of_demsar(a, b)).new.p for a, b in itertools.combinations(range(4), 2)]
    assert holm_adjusted(pairs)[0] == pytest.approx(0.044, abs=5e-4)


def test_thirty_tasks_are_not_decided_by_signs_alone():
    """Fault 9: thirty tasks were decided by what is a sign test; sizes count, where the tasks share a unit."""
    generator = np.random.default_rng(4)
    values = generator.normal(0.5, 1.0, size=30)
    tasks = {str(i): [value] for i, value in enumerate(values)}
    found, apart = compare_tasks(tasks).new, compare_tasks(tasks, common_unit=False).new
    assert found.p == pytest.approx(stats.wilcoxon(values, method="exact").pvalue, rel=1e-9)
    assert (apart.test, apart.p) == ("sign", stats.binomtest(int((values > 0).sum()), 30).pvalue)
    assert found.p < apart.p
    assert apart.estimate is None
    assert apart.effect == pytest.approx(2 * np.mean(values > 0) - 1)
    ranks = stats.rankdata(np.abs(values))
    assert found.effect == pytest.approx((ranks * np.sign(values)).sum() / ranks.sum())


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 3, 0.01, 0.005])
@pytest.mark.parametrize("arm", [1, 2, 3])
def test_the_interval_over_tasks_agrees_with_the_test(alpha, arm):
    arguments = of_demsar(0, arm)
    interval, found = interval_over_tasks(**arguments, alpha=alpha), compare_tasks(**arguments).new
    assert (0.0 in interval) == (found.p > alpha)
    assert found.estimate in interval


@settings(max_examples=cases(10))
@given(
    st.lists(st.lists(st.integers(-4, 9), min_size=1, max_size=3), min_size=1, max_size=8),
    st.sampled_from([0.02, 0.05, 0.1, 0.25]),
)
def test_the_interval_agrees_with_the_test_that_decides(tasks, alpha):
    found = compare_tasks(named(tasks))
    interval = interval_over_tasks(named(tasks), alpha=alpha)
    cells = sum(map(len, tasks))
    assert (interval is None) == (cells == 1)
    if interval is not None:
        p = found.new.p if found.fixed is None else found.fixed.p_sign_flip
        p = signed_ranks([values[0] for values in tasks]).wilcoxon_p if p is None else p
        assert (0.0 in interval) == (p > alpha)


def test_wilcoxon_over_tasks_is_scipys():
    generator = np.random.default_rng(5)
    tasks = {str(i): generator.normal(0.4, 1.0, size=4) for i in range(12)}
    result = compare_tasks(tasks)
    theirs = stats.wilcoxon([values.mean() for values in tasks.values()], method="exact")
    assert result.new.p_wilcoxon == pytest.approx(theirs.pvalue, rel=1e-12)


def test_more_seeds_do_not_make_up_for_tasks():
    generator = np.random.default_rng(6)
    # Two tasks of eight go the other way, whatever the seed.
    tasks = {str(i): generator.normal(1.0 if i < 6 else -1.0, 0.01, size=20) for i in range(8)}
    few, many = compare_tasks({name: values[:2] for name, values in tasks.items()}), compare_tasks(tasks)
    assert many.fixed.p_sign_flip < 0.001
    assert many.new.p == pytest.approx(few.new.p, abs=0.2)
    assert min(many.new.p, many.new.p_wilcoxon) > 0.1


# Calibration

STUDIES = 400


def test_false_positives_over_fixed_tasks_are_those_of_the_exact_test():
    # Of 2**9 patterns of signs those with p <= .05 come in pairs: 24 of 512.
    generator = np.random.default_rng(7)
    rejected = 0
    for _ in range(STUDIES):
        tasks = {
            "normal": generator.normal(0, 100.0, size=3),
            "heavy": generator.standard_t(2, size=3),
            "uneven": generator.uniform(-1, 1, size=3) * [1, 5, 25],
        }
        rejected += compare_tasks(tasks).fixed.p_sign_flip <= 0.05
    low, high = stats.binom.ppf([0.0005, 0.9995], STUDIES, 24 / 512)
    assert 0 < low <= rejected <= high


@pytest.mark.slow
def test_false_positives_over_new_tasks():
    # Each task prefers the one or the other arm, by chance; whatever the seeds say, there are six tasks: 2 of 64.
    generator = np.random.default_rng(8)
    rejected = 0
    for _ in range(STUDIES):
        tasks = {str(i): generator.normal(generator.normal(), 0.1, size=2) for i in range(6)}
        rejected += compare_tasks(tasks).new.p <= 0.05
    low, high = stats.binom.ppf([0.0005, 0.9995], STUDIES, 2 / 64)
    assert 0 < low <= rejected <= high


# Bad input


@pytest.mark.parametrize(
    ("differences", "options", "message"),
    [
        ({}, {}, "at least one task"),
        ({"a": [1, 2], "b": []}, {}, "differences of 'b': is empty"),
        ({"a": [1.0, math.nan]}, {}, "differences of 'a': entry 1 is nan"),
        ({"a": [math.inf]}, {}, "differences of 'a': entry 0 is inf"),
        ({"a": [[1, 2]]}, {}, "differences of 'a': must be one-dimensional"),
        ({"a": ["1"]}, {}, "differences of 'a': must hold real numbers"),
        ({"a": [1, 2]}, {"alpha": 0.0}, "alpha"),
        ({"a": [1, 2]}, {"alpha": 1.0}, "alpha"),
        ({"a": [0.1, 0.2]}, {"counts": {"a": [1.0, 2.0]}}, "counts of 'a' must be 2 integers"),
        ({"a": [0.1, 0.2]}, {"counts": {"a": [1]}}, "counts of 'a' must be 2 integers, got 1"),
        ({"a": [0.1, 0.2]}, {"counts": {"a": [1, 3]}}, "counts of 'a' are not proportional"),
        ({"a": [0.1, 0.2]}, {"counts": {"a": [1, -2]}}, "counts of 'a' are not proportional"),
        ({"a": [0.1, 0.2]}, {"counts": {"a": [0, 0]}}, "counts of 'a' are not proportional"),
        ({"a": [0.0, 0.0]}, {"counts": {"a": [1, 2]}}, "counts of 'a' are not proportional"),
        ({"a": [0.1, 0.2]}, {"magnitudes": {"a": [1.0]}}, "magnitudes of 'a': 1 for 2 differences"),
        ({"a": [0.1, 0.2]}, {"magnitudes": {"a": [1.0, math.inf]}}, "magnitudes of 'a': entry 1 is inf"),
        ({"a": [0.1], "b": [0.2]}, {"counts": {"A": [1]}}, "counts: 'A' is not one of the tasks: a, b"),
        ({"a": [0.1], "b": [0.2]}, {"magnitudes": {"c": [1]}}, "magnitudes: 'c' is not one of the tasks: a, b"),
    ],
)
def test_bad_input_is_refused(differences, options, message):
    with pytest.raises(ValueError, match=message):
        compare_tasks(differences, **options)
