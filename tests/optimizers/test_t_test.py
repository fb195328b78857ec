import math
import warnings

import numpy as np
import pytest
from driver import KEYS, drive, problem
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from hpo.core.errors import OptionError
from hpo.core.optimizer import Member
from hpo.core.registry import selections
from hpo.core.segments import Result, Segment
from hpo.optimizers.pbt import PBT
from hpo.optimizers.perturbation import NoPerturbation
from hpo.optimizers.t_test import TTest, evaluations, welch


def chain(slot, scores, parent=None, start=0):
    """A slot's results, oldest first; None is a diverged one."""
    results = []
    for interval, score in enumerate(scores, start):
        key = f"{slot}/{interval}"
        segment = Segment(slot, parent, interval, {"lr": 0.1})
        results.append(Result(key, segment, {}, -math.inf if score is None else score, score is None))
        parent = key
    return results


def member(slot, history):
    last = history[-1]
    return Member(slot, last.key, last.segment.hparams, last.score, last.diverged, history)


def moves(selection, histories, seed=0):
    population = [member(slot, history) for slot, history in enumerate(histories)]
    return selection(population, np.random.default_rng(seed))


def p_by_the_formula(a, b):
    """Welch's t and the degrees of freedom of Satterthwaite, and the density of Student's t integrated."""
    va, vb = np.var(a, ddof=1) / len(a), np.var(b, ddof=1) / len(b)
    t = abs(np.mean(a) - np.mean(b)) / math.sqrt(va + vb)
    df = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
    scale = math.gamma((df + 1) / 2) / (math.sqrt(df * math.pi) * math.gamma(df / 2))
    tail, _ = integrate.quad(lambda x: scale * (1 + x * x / df) ** (-(df + 1) / 2), t, math.inf)
    return 2 * tail


def test_welch_by_hand():
    # Means 2 and 5, variances 1 and 4, n = 3: t = 3 / sqrt(5 / 3), df = (5/3)^2 / ((1/9 + 16/9) / 2) = 50 / 17.
    assert welch([1.0, 2.0, 3.0], [3.0, 5.0, 7.0]) == pytest.approx(2 * stats.t.sf(3 / math.sqrt(5 / 3), 50 / 17))
    assert welch([1.0, 2.0, 3.0], [3.0, 5.0, 7.0]) == pytest.approx(p_by_the_formula([1, 2, 3], [3, 5, 7]), rel=1e-6)


@given(
    st.lists(st.integers(0, 9).map(float), min_size=2, max_size=12), st.lists(st.integers(0, 9).map(float), min_size=2)
)
def test_welch_is_scipys_and_warns_of_nothing(a, b):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        p = welch(a, b)
    if len(set(a)) > 1 and len(set(b)) > 1:
        assert p == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue)
    assert 0 <= p <= 1


def test_a_member_copies_what_is_significantly_better_and_only_that():
    low, high = [1.0, 2.0, 3.0], [3.0, 5.0, 7.0]  # p = 0.10
    assert moves(TTest(alpha=0.2), [chain(0, low), chain(1, high)]) == {0: "1/2"}
    assert moves(TTest(alpha=0.05), [chain(0, low), chain(1, high)]) == {}
    assert moves(TTest(alpha=0.2), [chain(0, high), chain(1, low)]) == {1: "0/2"}


def test_the_last_evaluation_does_not_count_more_than_the_others():
    # A lucky last evaluation of a worse member, which a tournament would follow.
    steady, lucky = [5.0, 5.1, 4.9, 5.0, 5.0] * 2, [1.0, 1.1, 0.9] * 3 + [9.0]
    assert moves(TTest(), [chain(0, steady), chain(1, lucky)]) == {1: "0/9"}


def test_only_the_window_counts():
    old, recent = [9.0, 9.1, 9.2] * 3, [1.0, 1.1, 1.2]
    fresh = [2.0, 2.1, 2.2]
    histories = [chain(0, old + recent), chain(1, fresh)]
    assert moves(TTest(window=3), histories) == {0: "1/2"}
    assert moves(TTest(window=12), histories) == {1: "0/11"}  # mean 7.1 with variance 13 against 2.1: p < 0.01


def test_fewer_than_two_evaluations_are_no_test():
    assert moves(TTest(alpha=0.99), [chain(0, [0.0]), chain(1, [9.0, 9.0, 9.0])]) == {}
    assert moves(TTest(alpha=0.99), [chain(0, [0.0, 0.0]), chain(1, [9.0])]) == {}


def test_samples_that_do_not_vary():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert moves(TTest(), [chain(0, [1.0, 1.0]), chain(1, [2.0, 2.0])]) == {0: "1/1"}
        assert moves(TTest(), [chain(0, [1.0, 1.0]), chain(1, [1.0, 1.0])]) == {}
        assert moves(TTest(), [chain(0, [1.0] * 4), chain(1, [2.0, 2.1, 1.9, 2.0])]) == {0: "1/3"}


def test_after_a_copy_the_evaluations_are_those_of_the_models_own_lineage():
    donor = chain(1, [8.0, 8.1, 7.9])
    copier = chain(0, [1.0, 1.2, 0.8]) + chain(0, [8.2], parent="1/2", start=3)
    donor += chain(1, [8.0], parent="1/2", start=3)
    known = {result.key: result for result in [*donor, *copier]}
    assert evaluations(member(0, copier), known) == [8.0, 8.1, 7.9, 8.2]
    # By its slot's past it would be far worse, and copy again.
    assert np.mean([1.0, 1.2, 0.8, 8.2]) < np.mean([8.0, 8.1, 7.9, 8.0])
    assert moves(TTest(alpha=0.5), [copier, donor]) == {}


def test_a_diverged_member_copies_any_finite_one_and_is_copied_by_none():
    assert moves(TTest(), [chain(0, [5.0, None]), chain(1, [1.0])]) == {0: "1/0"}
    assert moves(TTest(), [chain(0, [None, None]), chain(1, [1.0, 1.0])]) == {0: "1/1"}


def test_the_smallest_populations():
    assert moves(TTest(), [chain(0, [1.0, 2.0])]) == {}
    TTest().check(2)
    with pytest.raises(OptionError, match="at least 2"):
        TTest().check(1)


@pytest.mark.parametrize(
    ("options", "named"), [({"window": 1}, "window"), ({"alpha": 0.0}, "alpha"), ({"alpha": 1.0}, "alpha")]
)
def test_options_that_mean_nothing_are_refused(options, named):
    with pytest.raises(OptionError) as caught:
        TTest(**options).check(5)
    assert caught.value.option == named


def test_a_population_settles_on_the_better_half():
    asked = {}

    def root(segment):
        return segment if segment.parent is None else root(asked[segment.parent])

    def score(segment):
        """Two kinds of models, far apart against the wiggle of their evaluations."""
        asked[KEYS(segment)] = segment
        return 5.0 * (root(segment).member < 3) + 0.1 * ((7 * segment.member + 3 * segment.interval) % 5)

    run = drive(PBT(0.5, TTest(), NoPerturbation()), problem(6, 9), score=score)
    told = [(segment, run.results[segment.parent].segment) for segment in run.segments if segment.parent]
    copies = [(segment, donor) for segment, donor in told if donor.member != segment.member]
    assert all(root(donor).member < 3 for _, donor in copies)
    assert min(segment.interval for segment, _ in copies) == 2  # with one evaluation each there is no test
    assert {root(segment).member for segment in run.rounds[-1]} <= {0, 1, 2}


def test_it_is_registered():
    assert selections.get("t_test") is TTest
