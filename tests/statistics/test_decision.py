"""The decision rule: every verdict, Holm's method, and its false-positive rate on simulated studies."""

import gc
import re

import numpy as np
import pytest
from scipy import stats

from hpo.statistics import PairedComparison, compare_paired, decide, holm_adjusted, seeds_needed

MAIZE = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]


def comparison(differences) -> PairedComparison:
    return compare_paired(np.zeros(len(differences)), differences)


def verdicts(arms, *, planned, direction="minimize", alpha=0.05, not_comparable=None):
    return decide(
        [(name, differences if differences is None else comparison(differences)) for name, differences in arms.items()],
        baseline="random",
        metric="test error",
        direction=direction,
        alpha=alpha,
        planned=planned,
        not_comparable=not_comparable or {},
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
    needed = seeds_needed(maize.d_z)
    assert f"d_z = +0.555) would need about {needed} seeds for 80% power at two-sided alpha = 0.05." in result.words


def test_inconclusive_without_an_effect_names_no_number():
    for differences in ([0] * 8, [1, -1, 2, -2, 3, -3]):
        result = verdict(differences)
        assert (result.kind, result.p_holm) == ("inconclusive", 1.0)
        assert "no number of seeds can be given" in result.words
        assert "need" not in result.words


def test_inconclusive_with_a_tiny_effect():
    result = verdict([10_000, -10_000, 10_000, -10_000, 10_000, -10_001])
    assert "would need more than 100,000 seeds" in result.words


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
    assert "two-sided alpha = 0.025" in with_null["middling"].words
    assert list(with_null) == ["middling", "null"]


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
        ({"planned": 2}, "'pbt' has 3 pairs where 2 were planned"),
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


# Calibration

STUDIES = 600


@pytest.fixture
def fast(monkeypatch):
    """Leave out what takes the time and decides nothing: seeds needed, and the garbage collection of `multipletests`."""
    monkeypatch.setattr("hpo.statistics.decision.seeds_needed", lambda *_, **__: 10)
    gc.freeze()
    yield
    gc.unfreeze()


def rejections(samples) -> int:
    kinds = [verdict(row).kind for row in samples]
    return sum(kind in ("better", "worse") for kind in kinds)


def band(size: float) -> tuple[int, int]:
    low, high = stats.binom.ppf([0.0005, 0.9995], STUDIES, size)
    return int(low), int(high)


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize(("n", "size"), [(6, 2 / 64), (10, 50 / 1024)])
@pytest.mark.parametrize("kernel", ["normal", "t3"])
def test_false_positives_are_those_of_the_exact_test(n, size, kernel):
    generator = np.random.default_rng([n, 7])
    shape = (STUDIES, n)
    samples = generator.normal(size=shape) if kernel == "normal" else generator.standard_t(3, size=shape)
    low, high = band(size)
    assert low > 0
    assert low <= rejections(samples) <= high


@pytest.mark.usefixtures("fast")
def test_false_positives_under_ties_stay_below_the_size():
    generator = np.random.default_rng(11)
    a, b = generator.binomial(200, 0.05, size=(2, STUDIES, 10))
    assert 0 < rejections(b - a) <= band(50 / 1024)[1]


@pytest.mark.usefixtures("fast")
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


@pytest.mark.usefixtures("fast")
def test_a_planted_effect_is_found():
    samples = np.random.default_rng(14).normal(1.0, size=(STUDIES, 10))
    assert abs(rejections(samples) / STUDIES - 0.80) <= 3 * np.sqrt(0.8 * 0.2 / STUDIES)
