"""The decision rule: every verdict, Holm's method, and its false-positive rate on simulated studies."""

import math
import re

import numpy as np
import pytest
from helpers import cases
from hypothesis import given, settings
from hypothesis import strategies as st
from published import MAIZE
from scipy import stats
from statsmodels.stats.multitest import multipletests

from hpo.statistics import (
    PairedComparison,
    anytime_test,
    compare_paired,
    decide,
    decide_anytime,
    holm_adjusted,
    holm_levels,
    least_anytime_pairs,
    sign_flip_interval,
)


def comparison(differences, rope=None) -> PairedComparison:
    return compare_paired(np.zeros(len(differences)), differences, rope=rope)


def verdicts(arms, *, planned, direction="minimize", alpha=0.05, not_comparable=None, rope=None, looked=None):
    return decide(
        [(name, None if differences is None else comparison(differences, rope)) for name, differences in arms.items()],
        baseline="random",
        metric="test error",
        direction=direction,
        alpha=alpha,
        planned=planned,
        not_comparable=not_comparable or {},
        rope=rope,
        looked=looked,
    )


def verdict(differences, *, planned=None, **options):
    return verdicts({"pbt": differences}, planned=planned or len(differences), **options)["pbt"]


def test_holm_of_r_multtest():
    raw = [0.838541, 0.642194, 0.680846, 0.967834, 0.716269, 0.177097]
    raw += [5.23656777e-5, 0.0202732689, 2.8140506e-4, 0.0149877311]
    adjusted = holm_adjusted(raw)
    assert adjusted[:6] == (1.0,) * 6
    assert adjusted[6:] == pytest.approx((5.2366e-4, 0.141913, 0.0025326, 0.119902), rel=3e-5)


def test_holm_of_demsar():
    raw = 2 * stats.norm.sf([2.416, 2.342, 0.512])
    # The paper rounds its z to three digits.
    assert holm_adjusted(list(raw)) == pytest.approx((0.0472, 0.0472, 0.608), abs=9e-4)


@pytest.mark.parametrize("m", [2, 7, 40])
def test_holm_is_that_of_statsmodels_bit_for_bit(m):
    raw = np.random.default_rng(m).choice([0.0, 1.0, *np.random.default_rng(0).random(20) / m], m)
    assert holm_adjusted(list(raw)) == tuple(multipletests(raw, method="holm")[1])


def test_holm_edges():
    assert holm_adjusted([]) == ()
    assert holm_adjusted([0.03]) == (0.03,)
    with pytest.raises(ValueError, match=r"1\.5"):
        holm_adjusted([0.1, 1.5])


@pytest.mark.parametrize(
    ("sign", "direction", "kind"),
    [(1, "minimize", "worse"), (-1, "minimize", "better"), (1, "maximize", "better"), (-1, "maximize", "worse")],
)
def test_better_and_worse(sign, direction, kind):
    result = verdict([sign * d for d in (1, 2, 3, 4, 5, 6)], direction=direction)
    assert (result.kind, result.p_holm) == (kind, 2 / 64)
    assert result.words == (
        f"pbt is {kind} than random: the mean difference in test error over 6 pairs is {sign * 3.5:+.4g},"
        " exact sign-flip p = 0.03125 (alpha = 0.05)."
    )


def test_inconclusive_though_the_t_test_would_reject():
    maize = comparison(MAIZE)
    assert maize.p_t < 0.05 < maize.p_sign_flip
    result = verdict(MAIZE)
    assert (result.kind, result.p_holm) == ("inconclusive", 1726 / 32768)


@pytest.mark.parametrize(
    "differences", [MAIZE, [0] * 8, [1, -1, 2, -2, 3, -3], [1000, -1000, 1000, -1000, 1000, -1001]]
)
def test_no_verdict_names_seeds_for_the_observed_effect(differences):
    """Fault 19: the seeds that the observed effect would need are noise, and invite to extend the study."""
    result = verdict(differences)
    assert result.kind == "inconclusive"
    assert not {"seeds", "need", "needed", "power"} & set(result.words.replace(".", " ").split())


@pytest.mark.parametrize("differences", [[1, 2, 3, 4, 5], [-1, -1, -1, -1, -1], [0] * 5, [4]])
def test_a_design_too_small_shows_nothing(differences):
    n = len(differences)
    result = verdict(differences)
    assert result.kind == "cannot show a difference"
    assert f"smallest two-sided p that can be reached is {min(1, 2 / 2**n):g}" in result.words
    assert "must not exceed 0.05" in result.words
    assert "at least 6 pairs" in result.words


@pytest.mark.parametrize(("arms", "least"), [(1, 6), (2, 7), (3, 7), (4, 8), (6, 8), (7, 9)])
def test_more_arms_need_more_pairs(arms, least):
    # n >= 1 + log2(m / alpha)
    def kinds(n):
        values = verdicts({f"arm {i}": range(1, n + 1) for i in range(arms)}, planned=n).values()
        return {value.kind for value in values}

    assert kinds(least - 1) == {"cannot show a difference"}
    assert kinds(least) == {"worse"}


def test_the_boundary_itself_can_show_a_difference():
    assert verdict([1, 2, 3, 4, 5], alpha=0.0625).kind == "worse"
    assert verdict([1, 2, 3, 4, 5], alpha=0.0624).kind == "cannot show a difference"


def test_holm_decides_over_all_arms():
    strong = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    middling = [-1, -2, -3, 4, 5, 6, 7, 8, 9, 10]
    p = comparison(middling).p_sign_flip
    assert 0.05 / 2 < p <= 0.05
    assert verdict(middling).kind == "worse"
    both = verdicts({"strong": strong, "middling": middling}, planned=10)
    assert (both["strong"].kind, both["strong"].p_holm) == ("worse", 4 / 1024)
    assert (both["middling"].kind, both["middling"].p_holm) == ("worse", p)
    with_null = verdicts({"middling": middling, "null": [1, -1] * 5}, planned=10)
    assert (with_null["middling"].kind, with_null["middling"].p_holm) == ("inconclusive", 2 * p)
    assert "alpha = 0.05 over 2 comparisons" in with_null["middling"].words
    assert list(with_null) == ["middling", "null"]


# The level of an interval

several_arms = st.lists(
    st.one_of(
        st.lists(st.integers(-6, 9), min_size=9, max_size=9),
        st.lists(st.floats(-1, 2).map(lambda value: round(value, 3)), min_size=9, max_size=9),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=cases(25))
@given(several_arms, st.sampled_from([0.05, 0.1, 0.2, 1 / 16, 3 / 64]))
def test_an_interval_at_the_level_that_decides_leaves_0_out_where_the_verdict_rejects(rows, alpha):
    """Fault 16: intervals of 95% beside Holm-adjusted verdicts left 0 out under "inconclusive"."""
    found = verdicts({str(i): row for i, row in enumerate(rows)}, planned=9, alpha=alpha)
    for row, result in zip(rows, found.values(), strict=True):
        interval = compare_paired(np.zeros(9), row, alpha=result.level).sign_flip_interval
        assert (0.0 in interval) == (result.kind not in ("better", "worse"))


def test_five_arms_that_95_percent_intervals_would_all_call_different():
    """Fault 16: five arms with p from .0176 to .0234: none rejected at .05 / 5, though each interval of 95% leaves 0 out."""
    rows = {str(i): [9, 8, 7, 6, 5, 4, 3 + i, 2, -1, -4] for i in range(5)}
    found = verdicts(rows, planned=10)
    for row, result in zip(rows.values(), found.values(), strict=True):
        assert (result.kind, result.level) == ("inconclusive", 0.01)
        assert 0.0 not in sign_flip_interval(row, alpha=0.05)
        assert 0.0 in sign_flip_interval(row, alpha=result.level)


def test_levels_of_holm_by_hand():
    # Steps of .06 over three: .02, .03, .06.
    assert holm_levels([0.001, 0.5, 0.02], 0.06) == pytest.approx((0.02, 0.06, 0.03))
    assert holm_levels([0.03, 0.001, 0.05], 0.06) == pytest.approx((0.03, 0.02, 0.06))
    # The second step fails: so do all that follow, at the level of that step.
    assert holm_levels([0.001, 0.04, 0.05], 0.06) == pytest.approx((0.02, 0.03, 0.03))
    # Equal p share the strictest of their steps; Holm's method rejects both or none.
    assert holm_levels([0.02, 0.02, 0.9], 0.06) == pytest.approx((0.02, 0.02, 0.06))
    assert holm_levels([0.5, 0.9], 0.06) == (0.03, 0.03)
    assert holm_levels([0.05], 0.06) == (0.06,)
    assert holm_levels([], 0.06) == ()
    with pytest.raises(ValueError, match="alpha"):
        holm_levels([0.5], 1.0)


@given(st.lists(st.integers(0, 64).map(lambda k: k / 64), min_size=1, max_size=7), st.integers(1, 20))
def test_a_p_reaches_its_level_exactly_where_holm_rejects(p_values, alpha):
    alpha /= 64
    for p, level, adjusted in zip(p_values, holm_levels(p_values, alpha), holm_adjusted(p_values), strict=True):
        assert (p <= level) == (adjusted <= alpha)
        assert alpha / len(p_values) * (1 - 1e-12) <= level <= alpha


def test_there_is_no_level_where_there_is_no_test():
    found = verdicts({"half": [1, 2], "other": [1] * 8, "none": None}, planned=8, not_comparable={"other": "budgets"})
    assert [result.level for result in found.values()] == [None, None, None]


def test_in_progress_shows_no_p():
    result = verdict([3, 4, 5, 6, 7, 8, 9], planned=10)
    assert (result.kind, result.p_holm) == ("in progress", None)
    assert result.words == (
        "pbt against random is in progress (7 of 10): the mean difference in test error over 7 pairs so far is +6."
    )
    none_yet = verdicts({"pbt": None}, planned=10)["pbt"]
    assert (none_yet.kind, none_yet.p_holm) == ("in progress", None)
    assert "in progress (0 of 10)" in none_yet.words


def test_in_progress_comes_before_too_small():
    assert verdict([1, 2], planned=5).kind == "in progress"


def test_unfinished_arms_count_as_p_one():
    both = verdicts({"done": [1, 2, 3, 4, 5, 6, 7, 8], "half": [1, 2, 3, 4, 5, 6, 7]}, planned=8)
    assert (both["done"].kind, both["done"].p_holm) == ("worse", 4 / 256)
    assert (both["half"].kind, both["half"].p_holm) == ("in progress", None)
    both = verdicts({"done": [1, 2, 3, 4, 5, 6, -7, 8], "half": None}, planned=8)
    assert "1 unfinished comparison(s) counted as p = 1" in both["done"].words


def test_not_comparable_comes_first_and_gives_the_reason():
    arms = {"pbt": [1, 2, 3, 4, 5, 6, 7], "asha": [1, 2]}
    result = verdicts(arms, planned=7, not_comparable={"asha": "it was charged 12% more budget.", "bohb": "no budget"})
    assert list(result) == ["pbt", "asha", "bohb"]
    assert result["asha"].kind == result["bohb"].kind == "not comparable"
    assert result["asha"].words == "asha is not comparable with random: it was charged 12% more budget."
    assert result["asha"].p_holm is None
    # Three arms at n = 7: 3 * 2 / 128 <= .05.
    assert (result["pbt"].kind, result["pbt"].p_holm) == ("worse", 6 / 128)
    assert verdicts(arms, planned=7, not_comparable={"pbt": "selection rules differ"})["pbt"].p_holm is None


def test_swapping_the_arms_swaps_better_and_worse():
    generator = np.random.default_rng(1)
    swapped = {"better": "worse", "worse": "better", "inconclusive": "inconclusive"}
    seen = set()
    for _ in range(30):
        a, b = generator.normal([[0.0], [1.0]], size=(2, 8))
        kinds = [
            decide(
                [("x", pair)],
                baseline="y",
                metric="loss",
                direction="minimize",
                alpha=0.05,
                planned=8,
                not_comparable={},
            )["x"].kind
            for pair in (compare_paired(a, b), compare_paired(b, a))
        ]
        assert kinds[1] == swapped[kinds[0]]
        seen.add(kinds[0])
    assert seen >= {"worse", "inconclusive"}


def test_every_verdict_is_one_sentence():
    arms = {"a": [1, 2, 3, 4, 5, 6, 7, 8], "b": [1, -1] * 4, "c": [1, 2], "d": None, "e": [1]}
    for value in verdicts(arms, planned=8, not_comparable={"e": "of its budget"}).values():
        assert value.words.endswith(".")
        assert not re.search(r"\.\s+[A-Z]", value.words)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"direction": "min"}, "direction"),
        ({"alpha": 1.0}, "alpha"),
        ({"planned": 0}, "planned"),
        ({"planned": 2}, "'pbt' has 3 pairs, .*2 "),
        ({"rope": -1.0}, "rope must be a positive number"),
        ({"rope": math.inf}, "rope must be a positive number"),
        ({"rope": 1.0}, "'pbt' was compared with the rope none, not 1.0"),
    ],
)
def test_bad_input_is_refused(options, message):
    arguments = {"baseline": "b", "metric": "m", "direction": "minimize", "alpha": 0.05, "planned": 3} | options
    with pytest.raises(ValueError, match=message):
        decide([("pbt", comparison([1, 2, 3]))], **arguments)


def test_an_arm_given_twice_is_refused():
    arm = ("pbt", comparison([1, 2, 3]))
    with pytest.raises(ValueError, match="twice"):
        decide([arm, arm], baseline="b", metric="m", direction="minimize", alpha=0.05, planned=3)


# The region of practical equivalence

SMALL = [2, -1, 1, 0, -2, 1, -1, 2, 0, -1]
SLIGHTLY_LESS = [-1, -2, -1, -2, -3, -1, -2, -1, -2, -2]


def tost(differences, rope) -> float:
    """Return the larger p of SciPy's two one-sided t tests."""
    lower = stats.ttest_1samp(differences, -rope, alternative="greater").pvalue
    return float(max(lower, stats.ttest_1samp(differences, rope, alternative="less").pvalue))


def test_equivalent_within_the_rope():
    p = tost(SMALL, 1.5)
    assert p < 0.05
    result = verdict(SMALL, rope=1.5)
    assert (result.kind, result.p_tost_holm) == ("equivalent", pytest.approx(p, rel=1e-9))
    assert result.p_holm == comparison(SMALL).p_sign_flip > 0.05
    assert result.words.startswith(f"pbt is equivalent to random within the ROPE of 1.5: TOST p = {p:.4g}; the mean")
    assert "exact sign-flip p" in result.words


def test_equivalence_is_never_claimed_without_a_rope():
    for differences in (SMALL, [0] * 10):
        result = verdict(differences)
        assert (result.kind, result.p_tost_holm) == ("inconclusive", None)
        assert "ROPE" not in result.words
    # Equal counts have no variance, and without one there is no test of equivalence.
    assert (verdict([0] * 10, rope=1e-9).kind, verdict([0] * 10, rope=1e-9).p_tost_holm) == ("inconclusive", 1.0)


def test_inconclusive_where_neither_is_shown():
    p = tost(SMALL, 0.5)
    assert p > 0.05
    result = verdict(SMALL, rope=0.5)
    assert (result.kind, result.p_tost_holm) == ("inconclusive", pytest.approx(p, rel=1e-9))


@pytest.mark.parametrize(
    ("sign", "direction", "kind"), [(1, "minimize", "better"), (-1, "minimize", "worse"), (1, "maximize", "worse")]
)
def test_a_difference_that_is_real_and_too_small_to_matter(sign, direction, kind):
    differences = [sign * d for d in SLIGHTLY_LESS]
    result = verdict(differences, rope=4, direction=direction)
    p = tost(SLIGHTLY_LESS, 4)
    assert (result.kind, result.p_holm, result.p_tost_holm) == (kind, 2 / 1024, pytest.approx(p, rel=1e-9))
    assert result.words.startswith(
        f"pbt is {kind} than random, by less than the ROPE of 4 (TOST p = {p:.4g}): the mean"
    )


def test_a_difference_that_may_matter():
    for rope in (1, 1.9):
        result = verdict(SLIGHTLY_LESS, rope=rope)
        assert tost(SLIGHTLY_LESS, rope) > 0.05
        assert (result.kind, result.p_holm) == ("better", 2 / 1024)
        assert "ROPE" not in result.words


def test_holm_over_the_equivalence_tests_too():
    # Far from 0, and far outside the rope.
    far = [10, 11, 12, 13, 10, 11, 12, 13, 10, 11]
    rope = 1.05
    p = tost(SMALL, rope)
    assert 0.05 / 2 < p <= 0.05
    assert verdict(SMALL, rope=rope).kind == "equivalent"
    both = verdicts({"near": SMALL, "far": far}, planned=10, rope=rope)
    assert (both["near"].kind, both["near"].p_tost_holm) == ("inconclusive", pytest.approx(2 * p, rel=1e-9))
    assert (both["far"].kind, both["far"].p_tost_holm) == ("worse", pytest.approx(1, abs=1e-6))
    twice = verdicts({"near": SMALL, "same": SMALL}, planned=10, rope=1.3)
    each = 2 * tost(SMALL, 1.3)
    assert each <= 0.05
    for value in twice.values():
        assert (value.kind, value.p_tost_holm) == ("equivalent", pytest.approx(each, rel=1e-9))
    assert f"Holm-adjusted TOST p = {each:.4g}" in twice["near"].words


def test_unfinished_arms_count_as_p_one_there_too():
    rope, p = 1.05, tost(SMALL, 1.05)
    for other in (None, SMALL[:4]):
        both = verdicts({"done": SMALL, "half": other}, planned=10, rope=rope)
        assert (both["done"].kind, both["done"].p_tost_holm) == ("inconclusive", pytest.approx(2 * p, rel=1e-9))
        assert (both["half"].kind, both["half"].p_holm, both["half"].p_tost_holm) == ("in progress", None, None)


def test_the_rule_that_comes_first_decides():
    tight = [0.1, -0.1, 0.1, -0.1, 0.1]
    looked = ("extended after looking", "two seeds were added")
    assert tost(tight, 1) < 0.001
    # Five pairs show no difference, and then they show no equivalence either.
    too_few = verdict(tight, rope=1)
    assert (too_few.kind, too_few.p_tost_holm) == ("cannot show a difference", pytest.approx(tost(tight, 1), rel=1e-9))
    assert verdict(tight, rope=1, looked=looked).kind == "extended after looking"
    assert verdict(tight, rope=1, looked=looked, planned=6).kind == "in progress"
    first = verdict(tight, rope=1, looked=looked, planned=6, not_comparable={"pbt": "budgets differ"})
    assert (first.kind, first.p_holm, first.p_tost_holm) == ("not comparable", None, None)


@pytest.mark.parametrize(("compared", "decided", "was"), [(2, 3, "2"), (None, 3, "none"), (2, None, "2")])
def test_another_rope_than_the_comparisons_is_refused(compared, decided, was):
    with pytest.raises(ValueError, match=f"'pbt' was compared with the rope {was}, not {decided}"):
        decide(
            [("pbt", comparison(SMALL, compared))],
            baseline="b",
            metric="m",
            direction="minimize",
            alpha=0.05,
            planned=10,
            rope=decided,
        )


def test_one_pair_has_no_equivalence_test():
    result = verdict([3], rope=10)
    assert (result.kind, result.p_tost_holm) == ("cannot show a difference", 1.0)


# Looked at before it was done


@pytest.mark.parametrize("kind", ["extended after looking", "changed after looking"])
@pytest.mark.parametrize("differences", [[1, 2, 3, 4, 5, 6, 7], SMALL, [1, 2, 3], [0] * 8])
def test_after_looking_there_is_no_verdict(kind, differences):
    result = verdict(differences, looked=(kind, "seeds 6 and 7 were added after a result was opened"))
    p = comparison(differences).p_sign_flip
    assert (result.kind, result.p_holm, result.p_tost_holm) == (kind, p, None)
    assert result.words.startswith(
        "No verdict on pbt against random: seeds 6 and 7 were added after a result was opened, "
    )
    assert "exploratory; the mean difference in test error over" in result.words
    assert f"exact sign-flip p = {p:.4g}" in result.words
    assert 'stopping = "anytime"' in result.words
    for claim in ("is better", "is worse", "equivalent", "inconclusive", "cannot show"):
        assert claim not in result.words


def test_after_looking_the_exploratory_p_values_are_adjusted_too():
    looked = ("changed after looking", "the baseline was changed")
    arms = {"a": SLIGHTLY_LESS, "b": SMALL, "c": [1] * 9, "d": None}
    result = verdicts(arms, planned=10, looked=looked, rope=3)
    assert {name: value.kind for name, value in result.items()} == {
        "a": "changed after looking",
        "b": "changed after looking",
        "c": "in progress",
        "d": "in progress",
    }
    assert result["a"].p_holm == 4 * 2 / 1024
    assert result["b"].p_tost_holm == pytest.approx(4 * min(tost(SMALL, 3), tost(SLIGHTLY_LESS, 3)), rel=1e-9)
    assert "Holm-adjusted exact sign-flip p" in result["a"].words
    assert (result["c"].p_holm, result["c"].p_tost_holm) == (None, None)


# The anytime-valid test


def anytime_verdicts(arms, *, most, direction="minimize", alpha=0.05, not_comparable=None, rope=None, family=None):
    family = family or len(set(arms) | set(not_comparable or {}))
    return decide_anytime(
        [
            (name, None if differences is None else anytime_test(differences, alpha=alpha, family=family))
            for name, differences in arms.items()
        ],
        baseline="random",
        metric="test error",
        direction=direction,
        alpha=alpha,
        max_replicates=most,
        not_comparable=not_comparable,
        rope=rope,
    )


def anytime_verdict(differences, *, most=30, **options):
    return anytime_verdicts({"pbt": differences}, most=most, **options)["pbt"]


@pytest.mark.parametrize(
    ("sign", "direction", "kind"),
    [(1, "minimize", "worse"), (-1, "minimize", "better"), (1, "maximize", "better"), (-1, "maximize", "worse")],
)
def test_decided_as_soon_as_the_threshold_is_reached(sign, direction, kind):
    # Seven equal differences give E = 33, more than 20; six give 18.
    result = anytime_verdict([2 * sign] * 7, direction=direction)
    assert (result.kind, result.p_holm, result.p_tost_holm) == (kind, None, None)
    assert result.words == (
        f"pbt is {kind} than random: decided after 7 pairs, where the mean difference in test error is {2 * sign:+.4g}"
        " and the anytime-valid e-value is 33.45, needed: 20 (alpha = 0.05)."
    )
    assert anytime_verdict([2 * sign] * 6, direction=direction).kind == "in progress"


def test_what_came_after_the_decision_no_longer_counts():
    differences = [2] * 7 + [-90] * 3
    assert np.mean(differences) < 0
    for most in (10, 30):
        result = anytime_verdict(differences, most=most)
        assert result.kind == "worse"
        assert "decided after 7 pairs, where the mean difference in test error is +2" in result.words


def test_more_arms_need_more_evidence():
    # E = 33 after seven equal differences, 64 after eight: 3 arms need 60.
    arms = {"a": [2] * 7, "b": [-2] * 8, "c": None}
    result = anytime_verdicts(arms, most=20)
    assert {name: value.kind for name, value in result.items()} == {
        "a": "in progress",
        "b": "better",
        "c": "in progress",
    }
    assert "needed: 60 (alpha = 0.05 over 3 comparisons)" in result["a"].words
    assert anytime_verdict(arms["a"]).kind == "worse"


def test_in_progress_until_the_most_replicates():
    result = anytime_verdict([3, -1, 2], most=12)
    assert (result.kind, result.p_holm) == ("in progress", None)
    assert result.words == (
        "pbt against random is in progress (3 of at most 12): the mean difference in test error so far is +1.333, not"
        " decided (needed: 20 (alpha = 0.05))."
    )
    none_yet = anytime_verdict(None, most=12)
    assert none_yet.kind == "in progress"
    assert none_yet.words == "pbt against random is in progress (0 of at most 12): no pair is complete yet."
    # Not even where the confidence sequence lies within the rope already.
    assert anytime_verdict([0] * 10, rope=1).kind == "in progress"


def test_inconclusive_at_the_most_replicates():
    result = anytime_verdict(SMALL, most=10)
    assert (result.kind, result.p_holm) == ("inconclusive", None)
    assert result.words == (
        "pbt against random is inconclusive: after 10 pairs, the most allowed, the mean difference in test error is"
        " +0.1, and the e-value is 0.2831, needed: 20 (alpha = 0.05)."
    )


@pytest.mark.parametrize(
    ("arms", "alpha", "least"), [(1, 0.05, 7), (3, 0.05, 8), (5, 0.05, 9), (1, 0.1, 6), (1, 0.01, 9)]
)
def test_fewer_pairs_than_the_e_process_needs_cannot_show_a_difference(arms, alpha, least):
    """It needs more pairs than the fixed test: six equal differences have E = 17.7, where 20 is needed."""
    assert least_anytime_pairs(alpha, arms) == least
    assert anytime_test([1] * least, alpha=alpha, family=arms).decided_at == least
    few = anytime_verdicts({f"arm {i}": [1] * (least - 1) for i in range(arms)}, most=least - 1, alpha=alpha, rope=9)
    assert {result.kind for result in few.values()} == {"cannot show a difference"}
    assert f"at least {least} pairs are needed" in few["arm 0"].words


def test_equivalent_where_the_confidence_sequence_lies_within_the_rope():
    differences = [1, -1, 2, -2] * 5
    interval = anytime_test(differences).interval
    reach = max(-interval.low, interval.high)
    assert 0.5 < reach < 2
    result = anytime_verdict(differences, most=20, rope=reach * 1.01)
    assert (result.kind, result.p_holm, result.p_tost_holm) == ("equivalent", None, None)
    assert f"({interval.low:+.4g} to {interval.high:+.4g}) lies within it (alpha = 0.05)" in result.words
    # An end on the bound is not within it.
    for rope in (reach, reach * 0.99, None):
        assert anytime_verdict(differences, most=20, rope=rope).kind == "inconclusive"


def test_equivalence_of_several_arms_needs_the_wider_interval():
    differences = [1, -1, 2, -2] * 5
    narrow, wide = (
        max(-interval.low, interval.high)
        for interval in (anytime_test(differences, family=family).interval for family in (1, 3))
    )
    assert narrow * 1.01 < wide
    arms = dict.fromkeys(("a", "b", "c"), differences)
    assert {v.kind for v in anytime_verdicts(arms, most=20, rope=narrow * 1.01).values()} == {"inconclusive"}
    assert {v.kind for v in anytime_verdicts(arms, most=20, rope=wide * 1.01).values()} == {"equivalent"}


def test_unbounded_is_not_equivalent():
    # Six pairs refuse no shift at all, though seven do.
    assert anytime_verdict([0] * 6, most=6, rope=1e9).kind == "cannot show a difference"
    assert anytime_verdict([0] * 6 + [1e-3], most=7, rope=1).kind == "equivalent"


def test_equal_differences_are_not_equivalent():
    """Fault 13: identical counts have no spread by which anything could be called small."""
    assert anytime_verdict([0] * 9, most=9, rope=1).kind == "inconclusive"


def test_not_comparable_comes_first_and_counts_in_the_family():
    arms = {"pbt": [2] * 7, "asha": [2] * 9}
    result = anytime_verdicts(arms, most=9, not_comparable={"asha": "it was charged more.", "bohb": "no budget"})
    assert list(result) == ["pbt", "asha", "bohb"]
    assert [value.kind for value in result.values()] == ["in progress", "not comparable", "not comparable"]
    assert result["asha"].words == "asha is not comparable with random: it was charged more."
    assert "over 3 comparisons" in result["pbt"].words


def test_every_anytime_verdict_is_one_sentence():
    arms = {"a": [2] * 9, "b": SMALL[:9], "c": [1, 2], "d": None, "e": [0] * 8 + [1e-3], "f": [1]}
    result = anytime_verdicts(arms, most=9, rope=0.5, not_comparable={"f": "of its budget"})
    kinds = ["worse", "inconclusive", "in progress", "in progress", "equivalent", "not comparable"]
    assert [value.kind for value in result.values()] == kinds
    for value in result.values():
        assert value.words.endswith(".")
        assert not re.search(r"\.\s+[A-Z]", value.words)
        assert "-0 " not in value.words


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"direction": "down"}, "direction"),
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": 0.1}, r"'pbt' was tested at 0.05 over 1 arms, not 0.1 over 1"),
        ({"not_comparable": {"asha": "why"}}, r"'pbt' was tested at 0.05 over 1 arms, not 0.05 over 2"),
        ({"max_replicates": 0}, "max_replicates must be 1 or more"),
        ({"max_replicates": 2}, "'pbt' has 3 pairs, more than max_replicates = 2"),
        ({"rope": 0.0}, "rope must be a positive number"),
        ({"rope": -1.0}, "rope must be a positive number"),
        ({"rope": math.nan}, "rope must be a positive number"),
        ({"rope": math.inf}, "rope must be a positive number"),
    ],
)
def test_bad_anytime_input_is_refused(options, message):
    arguments = {"baseline": "b", "metric": "m", "direction": "minimize", "alpha": 0.05, "max_replicates": 3} | options
    with pytest.raises(ValueError, match=message):
        decide_anytime([("pbt", anytime_test([1, 2, 3]))], **arguments)


def test_an_arm_given_twice_is_refused_there_too():
    arm = ("pbt", anytime_test([1, 2, 3], family=2))
    with pytest.raises(ValueError, match="twice"):
        decide_anytime([arm, arm], baseline="b", metric="m", direction="minimize", alpha=0.05, max_replicates=3)


# Calibration

STUDIES = 600


def rejections(samples) -> int:
    kinds = [verdict(row).kind for row in samples]
    return sum(kind in ("better", "worse") for kind in kinds)


def band(size: float) -> tuple[int, int]:
    low, high = stats.binom.ppf([0.0005, 0.9995], STUDIES, size)
    return int(low), int(high)


@pytest.mark.parametrize(("n", "size"), [(6, 2 / 64), (10, 50 / 1024)])
@pytest.mark.parametrize("kernel", ["normal", "t3"])
def test_false_positives_are_those_of_the_exact_test(n, size, kernel):
    generator = np.random.default_rng([n, 7])
    shape = (STUDIES, n)
    samples = generator.normal(size=shape) if kernel == "normal" else generator.standard_t(3, size=shape)
    low, high = band(size)
    assert low > 0
    assert low <= rejections(samples) <= high


def test_false_positives_under_ties_stay_below_the_size():
    generator = np.random.default_rng(11)
    a, b = generator.binomial(200, 0.05, size=(2, STUDIES, 10))
    assert 0 < rejections(b - a) <= band(50 / 1024)[1]


@pytest.mark.slow
def test_family_wise_false_positives_of_three_arms():
    generator = np.random.default_rng(12)
    baseline, *arms = generator.normal(size=(4, STUDIES, 8))
    wrong = 0
    for study in range(STUDIES):
        values = verdicts({str(i): arm[study] - baseline[study] for i, arm in enumerate(arms)}, planned=8).values()
        wrong += any(value.kind != "inconclusive" for value in values)
    assert 0 < wrong <= band(0.05)[1]


def test_five_pairs_never_reject():
    samples = np.random.default_rng(13).normal(5.0, size=(50, 5))
    assert {verdict(row).kind for row in samples} == {"cannot show a difference"}


def test_a_planted_effect_is_found():
    samples = np.random.default_rng(14).normal(1.0, size=(STUDIES, 10))
    assert abs(rejections(samples) / STUDIES - 0.80) <= 3 * np.sqrt(0.8 * 0.2 / STUDIES)
