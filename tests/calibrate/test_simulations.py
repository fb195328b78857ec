"""The calibration, small: every number keeps its promises, and a number that breaks them is caught."""

import dataclasses
import itertools
import math
from functools import partial

import numpy as np
import pytest
from scipy import stats

from hpo.calibrate.__main__ import main
from hpo.calibrate.simulations import anytime, budget, images, pairs, power, run, several, sizes, tasks
from hpo.calibrate.simulations.kernels import KERNELS
from hpo.calibrate.simulations.rows import RateClaim, Row, at_least, at_most, exactly, measured
from hpo.calibrate.simulations.sections import sections
from hpo.statistics import equivalence_within, hodges_lehmann_interval, max_t_band, sign_flip_p
from hpo.statistics.bootstrap import percentile_interval
from hpo.statistics.images import crossed_interval
from hpo.statistics.interval import Interval
from hpo.statistics.paired import compare_paired
from hpo.statistics.signflip_power import t_test_power
from hpo.statistics.tasks import compare_tasks

SEED = 1


def marks(rows: tuple[Row, ...]) -> dict[str, str]:
    return {row.what: row.mark for row in rows}


# Bands


def test_the_bands_are_those_of_the_specification():
    assert [count / 2000 for count in exactly(0.05).band(2000)] == [0.0345, 0.0665]
    assert [count / 2000 for count in exactly(0.95).band(2000)] == [0.9335, 0.9655]
    assert exactly(0.0).band(2000) == (0, 0)
    assert exactly(1.0).band(2000) == (2000, 2000)
    assert at_most(0.05).band(2000) == (0, 133)
    assert at_least(0.95).band(2000) == (1867, 2000)
    low, high = RateClaim(0.8, 0.8, level=0.9973).band(2000)
    three_errors = 3 * math.sqrt(0.8 * 0.2 * 2000)
    assert (low, high) == (pytest.approx(1600 - three_errors, abs=2), pytest.approx(1600 + three_errors, abs=2))


@pytest.mark.parametrize(
    ("claim", "hits", "mark", "expected"),
    [
        (exactly(0.05), 100, "ok", "0.0345 to 0.0665"),
        (exactly(0.05), 69, "ok", "0.0345 to 0.0665"),
        (exactly(0.05), 68, "wrong", "0.0345 to 0.0665"),
        (exactly(0.05), 134, "wrong", "0.0345 to 0.0665"),
        (exactly(0.0), 0, "ok", "0.0000"),
        (exactly(0.0), 1, "wrong", "0.0000"),
        (at_most(0.05), 0, "ok", "at most 0.0665"),
        (at_most(0.05), 134, "wrong", "at most 0.0665"),
        (at_least(0.95), 2000, "ok", "at least 0.9335"),
        (at_least(0.95), 1866, "wrong", "at least 0.9335"),
        (None, 7, "shown", ""),
    ],
)
def test_a_row_is_judged_by_its_band(claim, hits, mark, expected):
    row = Row("a test rejects", "data", 6, 2000, hits, claim)
    assert (row.mark, row.expected) == (mark, expected)
    bold = "**wrong**" if mark == "wrong" else mark
    assert row.line == f"| a test rejects | data | 6 | 2,000 | {hits / 2000:.4f} | {expected} | {bold} |"


def test_studies_do_not_depend_on_how_they_are_divided():
    rows = partial(pairs.paired_rows, "normal", 6, seed=SEED)
    whole = rows(studies=range(12))
    halves = zip(rows(studies=range(5)), rows(studies=range(5, 12)), strict=True)
    assert tuple(one + other for one, other in halves) == whole
    assert pairs.paired_rows("normal", 6, range(12), SEED + 1) != whole


def test_a_study_and_its_claims_are_about_the_same():
    with pytest.raises(ValueError, match=r"\[\'x\'\].*\[\'y\'\]"):
        measured(lambda _: {"x": True}, {"y": None}, data="", n=1, studies=range(1), seed=0)


# What is known beforehand


def test_attainable_sizes():
    assert [sizes.sign_flip_size(n) for n in (1, 5, 6, 10)] == [0, 0, 1 / 32, 50 / 1024]
    assert sizes.sign_flip_size(20) == pytest.approx(0.05, abs=1e-5)
    for n in (5, 6, 7):
        # Of distinct powers of two no two sign patterns share a sum.
        patterns = itertools.product((1, -1), repeat=n)
        p = [sign_flip_p([sign * 2**k for k, sign in enumerate(signs)]) for signs in patterns]
        assert sizes.sign_flip_size(n) == np.mean(np.array(p) <= 0.05)


@pytest.mark.parametrize("n", [5, 6, 8])
def test_signed_rank_size_is_how_often_zero_is_left_out(n):
    signed = itertools.product((1, -1), repeat=n)
    left_out = [0 not in hodges_lehmann_interval([s * r for r, s in enumerate(signs, 1)]) for signs in signed]
    assert sizes.signed_rank_size(n) == np.mean(left_out)
    assert sizes.signed_rank_size(10) == 50 / 1024


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_are_what_they_say(name):
    kernel, n = KERNELS[name], 100_000
    drawn = kernel.draw(np.random.default_rng(SEED), n)
    differences = drawn.b - drawn.a
    assert abs(differences.mean()) < 4 * kernel.deviation / math.sqrt(n)
    # t3 has no fourth moment, so that its sample variance settles slowly.
    assert differences.std() == pytest.approx(kernel.deviation, rel=0.1 if name == "t3" else 0.02)
    above = stats.binomtest(int((differences > 0).sum()), int((differences != 0).sum())).pvalue
    assert (above > 1e-4) == kernel.symmetric
    assert ((differences == 0).mean() > 0.05) == kernel.tied
    assert (drawn.counts is not None) == kernel.tied


@pytest.mark.parametrize("arms", ["arms alike", "arms unlike"])
def test_simulated_correctness_has_the_error_rates_that_it_says(arms, monkeypatch):
    seen = []

    def recorded(a, b, **options):
        seen.append((1 - a.mean(), 1 - b.mean()))
        return crossed_interval(a, b, **options)

    monkeypatch.setattr(images, "crossed_interval", recorded)
    images.crossed_rows(arms, 2_000, 4, range(150), SEED)
    rates = np.array(seen)
    errors = rates.std(axis=0) / math.sqrt(len(rates))
    assert (np.abs(rates.mean(axis=0) - (0.05, 0.045)) < 4 * errors).all()
    assert errors.max() < 0.001


# Promises kept


@pytest.mark.parametrize("n", [5, 6])
@pytest.mark.parametrize("kernel", KERNELS)
def test_two_equal_arms(kernel, n):
    found = marks(pairs.paired_rows(kernel, n, range(60), SEED))
    assert "wrong" not in found.values()
    promised = {what for what, mark in found.items() if mark == "ok"}
    exact = {f"{name} interval holds the mean" for name in ("sign-flip", "Hodges-Lehmann")} | {"sign-flip test rejects"}
    assert promised == (set() if kernel == "skewed differences" else set(found) if kernel == "normal" else exact)


@pytest.mark.parametrize(
    "rows",
    [
        partial(pairs.power_rows, 1.0, 10, range(150), power=exactly(0.8)),
        partial(pairs.departure_rows, "t3", 10, range(300)),
        partial(pairs.collapse_rows, 10, range(300)),
        partial(several.family_rows, 0, 7, range(40)),
        partial(several.family_rows, 1, 7, range(40)),
        partial(pairs.equivalence_rows, "normal", 0.5, 6, range(200)),
        partial(pairs.equivalence_rows, "normal", 2.0, 10, range(200)),
        partial(several.rope_rows, (False,), 10, range(150)),
        partial(several.rope_rows, (True,), 10, range(150)),
        partial(several.rope_rows, (False, True), 10, range(100)),
        partial(power.plan_rows, 1.5, 6, 1, range(1_000)),
        partial(power.plan_rows, 1.5, 9, 8, range(1_000)),
        partial(power.plan_rows, 1.0, 10, 1, range(1_000)),
        partial(tasks.tasks_rows, (1, 1, 1, 2, 2, 8), 0.0, range(100)),
        partial(tasks.table_rows, 7, range(100)),
        partial(anytime.anytime_rows, "t3", 30, range(400), claim=at_most(0.05)),
        partial(anytime.anytime_family_rows, 3, 30, range(400)),
        partial(anytime.sequence_family_rows, 3, 9, range(40)),
        partial(anytime.anytime_power_rows, 1.0, {30: exactly(0.96)}, range(400)),
        partial(anytime.sequence_rows, "normal", 9, range(40)),
        partial(images.crossed_rows, "arms unlike", 200, 5, range(400)),
        partial(images.crossed_rows, "arms alike", 200, 2, range(400)),
        partial(images.crossed_rows, "arms unlike", 200, 3, range(400)),
        partial(budget.band_rows, 0.0, 6, range(400)),
        partial(budget.band_family_rows, "random walks", 8, 10, range(60)),
        partial(budget.band_family_rows, "plateaus", 3, 8, range(200)),
        partial(budget.band_family_rows, "random walks", 3, 8, range(200), later=True),
        partial(budget.budget_rows, 1, 10, range(200), claim=RateClaim(0.88, 0.93)),
    ],
    ids=lambda rows: f"{rows.func.__name__}{rows.args[:-1]}",
)
def test_promises_are_kept(rows):
    found = marks(rows(seed=SEED))
    assert "wrong" not in found.values()
    assert "ok" in found.values()


def test_everything_in_the_table_can_be_measured():
    for rows in itertools.chain(*sections().values()):
        found = rows(studies=range(1), seed=SEED)
        assert found
        assert "wrong" not in marks(found).values()


# Promises broken


def test_a_one_sided_test_in_the_direction_that_the_data_chose_is_caught():
    def one_sided(a, b, *, counts=None):
        found = compare_paired(a, b, counts=counts)
        return dataclasses.replace(found, p_sign_flip=found.p_sign_flip / 2)

    rows = pairs.paired_rows("normal", 6, range(250), SEED, compare=one_sided)
    assert marks(rows)["sign-flip test rejects"] == "wrong"


def test_an_interval_that_is_too_narrow_is_caught():
    def percentile(a, b, *, counts=None):
        found = compare_paired(a, b, counts=counts)
        interval = percentile_interval(found.differences, resamples=999)
        return dataclasses.replace(found, ci_low=interval.low, ci_high=interval.high)

    rows = pairs.paired_rows("normal", 5, range(250), SEED, compare=percentile)
    assert marks(rows)["t interval holds the mean"] == "wrong"


def test_a_test_without_power_is_caught(monkeypatch):
    def never(a, b):
        return dataclasses.replace(compare_paired(a, b), p_sign_flip=1.0)

    monkeypatch.setattr(pairs, "compare_paired", never)
    rows = pairs.power_rows(1.0, 6, range(30), SEED, power=exactly(0.5))
    assert marks(rows)["sign-flip test rejects"] == "wrong"


def test_a_t_test_after_every_pair_is_caught():
    def first_significant(differences):
        looks = (n for n in range(5, len(differences) + 1) if stats.ttest_1samp(differences[:n], 0).pvalue <= 0.05)
        return next(looks, None)

    def rows(decided):
        return anytime.anytime_rows("normal", 30, range(100), SEED, claim=at_most(0.05), decided=decided)

    assert marks(rows(first_significant)) == {"anytime-valid test decides": "wrong"}
    assert marks(rows(anytime.first_decision)) == {"anytime-valid test decides": "ok"}


def test_a_mean_within_the_rope_taken_for_equivalence_is_caught(monkeypatch):
    def within(differences, rope, *, alpha):
        found = equivalence_within(differences, rope, alpha=alpha)
        return dataclasses.replace(found, equivalent=found.within)

    monkeypatch.setattr(pairs, "equivalence_within", within)
    rows = pairs.equivalence_rows("normal", 2.0, 10, range(60), SEED)
    assert set(marks(rows).values()) == {"wrong"}


def test_an_interval_that_forgets_the_images_is_caught(monkeypatch):
    def forgetful(a, b, *, alpha):
        found = crossed_interval(a, b, alpha=alpha)
        return dataclasses.replace(found, interval_crossed=found.interval_seeds)

    monkeypatch.setattr(images, "crossed_interval", forgetful)
    found = marks(images.crossed_rows("arms unlike", 200, 10, range(150), SEED))
    assert found["crossed interval: new seeds, new images"] == "wrong"
    assert found["seed interval: new seeds, this test set"] == "ok"


def test_a_test_at_every_budget_by_itself_is_caught(monkeypatch):
    def pointwise(a, b, *, alpha):
        p = stats.ttest_rel(b, a).pvalue.tolist()
        return dataclasses.replace(max_t_band(a, b, alpha=alpha), p=tuple(p))

    monkeypatch.setattr(budget, "max_t_band", pointwise)
    found = marks(budget.band_rows(0.0, 6, range(300), SEED))
    assert found["max-T band: p <= .05 at any budget"] == "wrong"
    assert found["max-T band holds the mean at all budgets"] == "ok"


def test_bands_that_are_each_a_family_of_their_own_are_caught(monkeypatch):
    """Fault 11: with a level of its own for each of 8 equal arms, one of them is "better" somewhere in a fifth of the studies."""

    def alone(a, b, *, alpha, family):
        return max_t_band(a, b, alpha=alpha)

    monkeypatch.setattr(budget, "max_t_band", alone)
    found = marks(budget.band_family_rows("plateaus", 8, 10, range(120), SEED))
    assert found["bands: p <= .05 / arms at any budget without a difference"] == "wrong"


def test_the_power_of_another_test_is_caught():
    """Fault 12: with six pairs the t-test finds d_z = 1.5 in .833 of studies, the test that decides in .660."""
    rows = power.plan_rows(1.5, 6, 1, range(400), SEED, power=exactly(t_test_power(1.5, 6)))
    assert set(marks(rows).values()) == {"wrong"}


def test_an_interval_on_new_images_that_is_the_narrower_one_is_caught(monkeypatch):
    """Fault 14: with two seeds Satterthwaite's interval on new images too is often narrower than that on this test set."""

    def approximate(a, b, *, alpha):
        found = crossed_interval(a, b, alpha=alpha)
        half = 0.0 if found.df is None else stats.t.ppf(1 - alpha / 2, found.df) * found.se_crossed
        return dataclasses.replace(found, interval_crossed=Interval(found.mean - half, found.mean + half))

    monkeypatch.setattr(images, "crossed_interval", approximate)
    found = marks(images.crossed_rows("arms alike", 200, 2, range(100), SEED))
    assert found["crossed interval is narrower than one of the others"] == "wrong"


def test_a_t_test_of_counts_without_variance_is_caught():
    """Fault 13: of 0 to 3 errors per test, equal differences again and again had a t-test with p 0."""

    def t_test(a, b, *, counts=None):
        found = compare_paired(a, b, counts=counts)
        return dataclasses.replace(found, p_sign_flip=0.0 if found.p_t is None else found.p_t)

    rows = pairs.paired_rows("0 to 3 errors", 5, range(200), SEED, compare=t_test)
    assert marks(rows)["sign-flip test rejects"] == "wrong"


def test_tasks_of_one_or_two_seeds_do_not_drown_those_of_many():
    """Fault 8: five tasks of one or two seeds leave most of the power that one task of many seeds has alone."""
    rows = tasks.tasks_rows((1, 1, 1, 2, 2, 12), 0.9, range(40), SEED)
    found = {row.what: row.rate for row in rows}
    assert found["these tasks: p <= .05"] > 0.8 * found["these tasks, without those of few seeds: p <= .05"] > 0.5


def test_too_small_a_p_over_tasks_is_caught(monkeypatch):
    def smaller(differences):
        found = compare_tasks(differences)
        fixed = dataclasses.replace(found.fixed, p_sign_flip=found.fixed.p_sign_flip / 3)
        return dataclasses.replace(found, fixed=fixed)

    monkeypatch.setattr(tasks, "compare_tasks", smaller)
    found = marks(tasks.tasks_rows((1, 1, 1, 2, 2, 4), 0.0, range(200), SEED))
    assert found["these tasks: p <= .05"] == "wrong"


def test_a_mean_within_the_rope_taken_for_a_claim_is_caught(monkeypatch):
    """Fault 17: of an arm that is better by just the ROPE it is false that it is equivalent."""

    def within(a, b, *, rope):
        found = compare_paired(a, b, rope=rope)
        p = 0.0 if found.equivalence.within else 1.0
        return dataclasses.replace(found, equivalence=dataclasses.replace(found.equivalence, p=p))

    monkeypatch.setattr(several, "compare_paired", within)
    assert set(marks(several.rope_rows((True,), 10, range(60), SEED)).values()) == {"wrong"}


# The run


def few_sections():
    return {
        "First": [partial(anytime.anytime_rows, "normal", 8, claim=at_most(0.05))],
        "Second": [partial(pairs.equivalence_rows, "t3", 2.0, 6), partial(budget.budget_rows, 1, 4)],
    }


def test_the_table(monkeypatch, capsys):
    monkeypatch.setattr(run, "sections", few_sections)
    assert main(["statistics", "--studies", "60", "--workers", "1"]) == 0
    printed = capsys.readouterr()
    lines = [line for line in printed.out.splitlines() if line]
    assert [line for line in lines if line.startswith("**")] == ["**First**", "**Second**"]
    assert sum(line.startswith("| anytime-valid test decides | normal | 8 | 60 |") for line in lines) == 1
    assert sum(line.endswith("| shown |") for line in lines) == 2
    assert lines[-1].startswith("1 of 1 ")
    assert printed.err == ""


def test_a_broken_promise_is_named_and_sets_the_exit_code(monkeypatch, capsys):
    broken = {"Only": [partial(anytime.anytime_rows, "normal", 8, claim=at_least(0.9))]}
    monkeypatch.setattr(run, "sections", lambda: broken)
    assert main(["statistics", "--studies", "60", "--workers", "1"]) == 1
    printed = capsys.readouterr()
    assert "**wrong**" in printed.out
    assert "0 of 1 " in printed.out
    assert printed.err.startswith("wrong: anytime-valid test decides, normal, n = 8: 0.0")


@pytest.mark.slow
def test_processes_change_nothing(monkeypatch):
    monkeypatch.setattr(run, "sections", few_sections)
    assert list(run.calibrate(60, SEED, 2)) == list(run.calibrate(60, SEED, 1))


def test_an_interval_that_is_not_given_holds_nothing():
    assert not sizes.holds(None, 0.0)
    assert sizes.holds(Interval(None, None), 0.0)
