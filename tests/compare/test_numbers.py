"""Pairs are joined by key, and every number is what hpo.statistics says of them."""

import itertools
import json
import random
from dataclasses import asdict

import numpy as np
import pytest
from published import MAIZE

from hpo.compare.analysis import analyse
from hpo.compare.data import Inputs, TaskData
from hpo.statistics.decision import holm_adjusted, holm_levels
from hpo.statistics.friedman import friedman, friedman_from_mean_ranks, nemenyi
from hpo.statistics.paired import compare_paired
from hpo.statistics.signflip import sign_flip_p
from hpo.statistics.tasks import compare_tasks

OPTIONS = ("--metric", "error", "--direction", "minimize")
ARMS = {"a": 0.0, "b": -0.01, "c": 0.004}


def plain(record):
    """Return a record as JSON holds it."""
    return json.loads(json.dumps(asdict(record)))


@pytest.fixture
def document(numbers, table):
    """Compare rows and return what compare.json holds."""
    return lambda rows, metric="error", **request: numbers(table(rows, metric), metric=metric, **request)


def values(rows, arm, task):
    """Return an arm's values on a task in the order of the seeds."""
    return np.array([float(v) for _, v in sorted((s, v) for a, t, s, v in rows if (a, t) == (arm, task))])


# --- ties ---


def test_a_task_of_ties_takes_nothing_from_another(document):
    """Fault 2: one cell of an easy task is a unit in the last place off; the hard task has 8 of 8 seeds one way."""
    rows = [("A", "hard", seed, 0.3) for seed in range(8)]
    rows += [("B", "hard", seed, round(0.31 + 0.01 * seed, 2)) for seed in range(8)]
    rows += [(arm, "easy", seed, 0.2) for arm in "AB" for seed in range(8)]
    for cell in (0.2, 0.20000000000000004, 0.19999999999999998, 1 - 0.8):
        rows[-1] = ("B", "easy", 7, cell)
        (comparison,) = document(rows, baseline="A")["comparisons"]
        assert comparison["fixed"]["p_sign_flip"] == 2 / 2**8
        assert comparison["on_these_tasks"]["kind"] == "worse"
        easy = {task["effect"]["task"]: task["effect"] for task in comparison["tasks"]}["easy"]
        assert (easy["mean"], easy["standardized"], easy["d_z"], easy["p_sign_flip"]) == (0.0, 0.0, None, 1.0)


@pytest.mark.parametrize("tasks", [1, 4])
def test_equal_means_share_a_rank(document, tasks):
    """Fault 3: .10 and .20 have the mean of .15 and .15, and .1 is 1 - .9."""
    arms = {"A": (0.1, 0.2), "B": (0.15, 0.15), "C": (0.4, 0.5)}
    if tasks == 1:
        arms = {"A": (0.1, 0.1), "B": (1 - 0.9, 1 - 0.9), "C": (0.4, 0.5)}
    rows = [
        (arm, f"t{t}", seed, value) for t in range(tasks) for arm, of in arms.items() for seed, value in enumerate(of)
    ]
    ranks = document(rows, baseline="A")["ranks"]
    assert ranks["friedman"]["mean_ranks"] == [1.5, 1.5, 3.0]
    if tasks > 1:
        assert ranks["nemenyi"]["mean_ranks"] == [1.5, 1.5, 3.0]
        assert ranks["nemenyi"]["p"][0][1] == 1.0


def test_counts_decide_ties_of_means():
    """Fault 3: where there are counts, an arm with one more error in all has the worse rank, whatever the rates' rounding."""
    counts = {"A": {"0": 1, "1": 4}, "B": {"0": 2, "1": 3}, "C": {"0": 3, "1": 3}}
    total = 10**12
    tasks = tuple(
        TaskData(
            name=f"t{i}",
            source="here",
            metric="accuracy",
            direction="maximize",
            values={arm: {seed: 1 - count / total for seed, count in of.items()} for arm, of in counts.items()},
            counts=counts,
            rate=True,
        )
        for i in range(3)
    )
    found = analyse(Inputs(baseline="A", alpha=0.05, arms=("A", "B", "C"), tasks=tasks))
    assert found.ranks.friedman.mean_ranks == (1.5, 1.5, 3.0)


# --- joining -------------------------------------------------------------------------------------------------------------


def test_the_order_of_the_lines_means_nothing(compare, table, gaussian, tmp_path):
    rows = gaussian(ARMS, tasks=3, seeds=6)
    said, files = [], []
    for shuffle in range(2):
        random.Random(shuffle).shuffle(rows)
        said.append(compare(table(rows), *OPTIONS, "--out", tmp_path / "out"))
        files.append({p.name: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()})
    assert said[0] == said[1]
    assert files[0] == files[1]


def test_seeds_are_sorted_as_numbers_and_joined_as_text(document):
    rows = [(arm, "t", seed, i) for arm in "ba" for i, seed in enumerate(["10", "9", "x", "07", "7"])]
    found = document(rows)
    assert list(found["tasks"][0]["values"]["a"]) == ["07", "7", "9", "10", "x"]
    assert found["missing"] == []
    assert set(found["comparisons"][0]["tasks"][0]["differences"].values()) == {0.0}


def test_a_swapped_label_changes_the_pairs(document, gaussian):
    """A comparison that paired by position would not see it."""
    rows = gaussian({"a": 0, "b": 0.01}, tasks=1)
    swapped = [(arm, task, {0: 1, 1: 0}.get(seed, seed) if arm == "b" else seed, v) for arm, task, seed, v in rows]
    one, other = (document(some)["comparisons"][0]["tasks"][0] for some in (rows, swapped))
    assert one["effect"]["mean"] == pytest.approx(other["effect"]["mean"])
    assert one["effect"]["d_z"] != other["effect"]["d_z"]


def test_incomplete_pairs_are_named_and_left_out(compare, table, gaussian, tmp_path):
    rows = gaussian(ARMS, tasks=2, seeds=6)
    lost = [("b", "task0", 3), ("b", "task1", 0), ("c", "task1", 5)]
    kept = [row for row in rows if row[:3] not in lost]
    said = compare(table(kept), *OPTIONS, "--baseline", "a", "--out", tmp_path / "out")
    told = "3 values are missing: task0, seed 3: b; task1, seed 0: b; task1, seed 5: c."
    assert f"! {told}" in said.words
    assert told in (tmp_path / "out" / "compare.html").read_text()
    found = json.loads((tmp_path / "out" / "compare.json").read_bytes())
    assert found["missing"] == [{"task": t, "seed": str(s), "arm": a} for a, t, s in lost]
    b, c = found["comparisons"]
    assert [task["effect"]["n"] for task in b["tasks"]] == [5, 5]
    assert [task["effect"]["n"] for task in c["tasks"]] == [6, 5]
    assert b["tasks"][0]["differences"].keys() == {"0", "1", "2", "4", "5"}
    assert (b["fixed"]["cells"], c["fixed"]["cells"]) == (10, 11)
    assert [of_task["n"] for of_task in found["means"]] == [5, 4]  # only seeds that every arm has rank the arms
    both = {task: [s for s in range(6) if ("b", task, s) not in lost] for task in ("task0", "task1")}
    by_hand = compare_tasks(
        {task: (values(rows, "b", task) - values(rows, "a", task))[seeds] for task, seeds in both.items()}
    )
    assert b["fixed"] == plain(by_hand.fixed)


def test_one_value_missing_is_told_in_the_singular(compare, table, gaussian):
    rows = gaussian({"a": 0, "b": 0}, tasks=1)
    assert "! 1 value is missing:" in compare(table(rows[1:]), *OPTIONS).out


def test_many_missing_values_are_counted(compare, table, gaussian):
    rows = gaussian({"a": 0, "b": 0}, tasks=1, seeds=40)
    kept = [row for row in rows if row[0] == "a" or row[2] < 10]
    said = compare(table(kept), *OPTIONS).words
    assert "30 values are missing" in said
    assert "task0, seed 29: b and 10 more." in said


# --- the numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_every_number_is_that_of_the_statistics(document, gaussian, direction):
    rows = gaussian(ARMS, tasks=6, seeds=3)
    found = document(rows, baseline="a", direction=direction)
    tasks = [f"task{i}" for i in range(6)]
    by_hand = {
        arm: compare_tasks({task: values(rows, arm, task) - values(rows, "a", task) for task in tasks})
        for arm in ("b", "c")
    }
    for result, (arm, theirs) in zip(found["comparisons"], by_hand.items(), strict=True):
        assert (result["baseline"], result["arm"]) == ("a", arm)
        assert result["fixed"] == plain(theirs.fixed)
        assert result["new"] == plain(theirs.new)
        for of_task, effect in zip(result["tasks"], theirs.tasks, strict=True):
            assert of_task["effect"] == plain(effect)
            assert of_task["mean_arm"] == pytest.approx(values(rows, arm, effect.task).mean())
            assert of_task["mean_baseline"] == pytest.approx(values(rows, "a", effect.task).mean())
    p_values = [result.fixed.p_sign_flip for result in by_hand.values()]
    assert [result["fixed_p_holm"] for result in found["comparisons"]] == list(holm_adjusted(p_values))
    adjusted = holm_adjusted([result.new.p for result in by_hand.values()])
    assert [result["new_p_holm"] for result in found["comparisons"]] == list(adjusted)
    assert [result["level"] for result in found["comparisons"]] == list(holm_levels(p_values, 0.05))
    means = [[values(rows, arm, task).mean() for arm in "abc"] for task in tasks]
    np.testing.assert_allclose([of_task["arms"] for of_task in found["means"]], means)
    larger = direction == "maximize"
    assert found["ranks"]["blocks"] == "tasks"
    assert found["ranks"]["friedman"] == plain(friedman(means, larger_is_better=larger))
    assert found["ranks"]["nemenyi"] == plain(nemenyi(means, larger_is_better=larger))


def test_one_task_is_an_ordinary_paired_comparison(document, gaussian):
    rows = gaussian({"a": 0, "b": 0.01}, tasks=1, seeds=9)
    found = document(rows)["comparisons"][0]
    theirs = compare_paired(values(rows, "a", "task0"), values(rows, "b", "task0"))
    effect = found["tasks"][0]["effect"]
    for name in ("mean", "ci_low", "ci_high", "d_z", "p_sign_flip"):
        assert effect[name] == pytest.approx(getattr(theirs, name), rel=1e-12)
    assert found["fixed"]["p_sign_flip"] == theirs.p_sign_flip == found["fixed_p_holm"]
    assert (found["new"]["p"], found["new_p_holm"]) == (None, None)
    assert (found["level"], found["interval"]) == (0.05, pytest.approx(plain(theirs.sign_flip_interval)))


def test_darwins_maize_as_whole_numbers_and_as_eighths(document):
    """Oracle 1 of the specification: ties are exact, whether the differences are integers or floats."""
    for unit in (1, 8):
        rows = [("self", "maize", i, 0) for i in range(15)] + [
            ("cross", "maize", i, d / unit) for i, d in enumerate(MAIZE)
        ]
        rows = [(arm, task, seed, int(v) if unit == 1 else v) for arm, task, seed, v in rows]
        found = document(rows, baseline="self", direction="maximize")["comparisons"][0]
        assert found["fixed"]["p_sign_flip"] == 1726 / 32768
        assert found["on_these_tasks"]["kind"] == "inconclusive"
        effect = found["tasks"][0]["effect"]
        assert effect["d_z"] == pytest.approx(0.554608, abs=1e-6)
        assert (effect["ci_low"] * unit, effect["ci_high"] * unit) == pytest.approx((0.031193, 41.835473), abs=1e-6)


def test_whole_numbers_are_exact_above_twenty_pairs(document):
    draw = random.Random(2)
    gaps = [draw.randrange(-5, 8) for _ in range(40)]
    rows = [("a", "t", i, 100) for i in range(40)] + [("b", "t", i, 100 + gap) for i, gap in enumerate(gaps)]
    found = document(rows)
    assert found["tasks"][0]["counts"] is not None
    fixed = found["comparisons"][0]["fixed"]
    assert fixed["exact"]
    assert fixed["p_sign_flip"] == sign_flip_p(gaps)


def test_whole_numbers_too_large_for_that_are_resampled(document):
    draw = random.Random(2)
    rows = [(arm, "t", i, draw.randrange(10**12)) for i in range(30) for arm in "ab"]
    assert not document(rows)["comparisons"][0]["fixed"]["exact"]


@pytest.mark.parametrize("seeds", [1, 3, 8])
def test_swapping_the_arms_turns_signs_and_nothing_else(document, gaussian, seeds):
    rows = gaussian({"a": 0, "b": 0.02}, tasks=7, seeds=seeds)
    there, back = (document(rows, baseline=arm)["comparisons"][0] for arm in "ab")
    for one, other in zip(there["tasks"], back["tasks"], strict=True):
        assert (one["mean_arm"], one["mean_baseline"]) == (other["mean_baseline"], other["mean_arm"])
        assert one["differences"] == {seed: -value for seed, value in other["differences"].items()}
        assert turned(one["effect"]) == other["effect"]
    assert (there["fixed"] is None) == (seeds == 1)
    for part in ("fixed", "new", "interval"):
        assert turned(there[part]) == back[part]
    assert there["fixed_p_holm"] == back["fixed_p_holm"]
    assert there["new_p_holm"] == back["new_p_holm"]
    first = "on_new_tasks" if seeds == 1 else "on_these_tasks"
    kinds = {there[first]["kind"], back[first]["kind"]}
    assert kinds in ({"better", "worse"}, {"inconclusive"})


def turned(record):
    """Return a record of the other way round."""
    if record is None:
        return None
    out = dict(record)
    for name in ("mean", "d_z", "standardized", "effect", "estimate"):
        out |= {name: minus(record[name])} if name in record else {}
    for one, other in (("ci_low", "ci_high"), ("low", "high")):
        out |= {one: minus(record[other]), other: minus(record[one])} if one in record else {}
    if "above" in record:
        out |= {"above": record["below"], "below": record["above"]}
    return out


def minus(value):
    return None if value is None else -value


def test_scale_and_direction_change_no_p(document, gaussian):
    rows = gaussian(ARMS, tasks=3, seeds=5)
    plain_p = [c["fixed_p_holm"] for c in document(rows)["comparisons"]]
    scaled = [(arm, task, seed, -1024 * value) for arm, task, seed, value in rows]
    assert [c["fixed_p_holm"] for c in document(scaled, direction="maximize")["comparisons"]] == plain_p


def test_the_same_values_under_two_labels_differ_by_nothing(document, gaussian):
    rows = gaussian({"a": 0}, tasks=6, seeds=4)
    rows += [("b", task, seed, value) for _, task, seed, value in rows]
    found = document(rows)["comparisons"][0]
    assert (found["fixed_p_holm"], found["new_p_holm"]) == (1, 1)
    assert (found["new"]["above"], found["new"]["below"]) == (0, 0)
    assert [task["effect"]["d_z"] for task in found["tasks"]] == [None] * 6
    assert found["on_these_tasks"]["kind"] == found["on_new_tasks"]["kind"] == "inconclusive"


@pytest.mark.parametrize("scale", [1e-310, 1e-150, 1e150, 1.4e299])
def test_extreme_sizes_are_no_trouble(document, scale):
    rows = [(arm, t, i, scale * (i + 1 + (arm == "b") * (i % 3))) for t in "xyz" for i in range(5) for arm in "abc"]
    found = document(rows)
    assert 0 < found["comparisons"][0]["fixed_p_holm"] <= 1


# --- ranks ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tasks", "arms", "blocks"), [(1, 2, None), (3, 2, None), (1, 3, "seeds"), (2, 3, None), (3, 3, "tasks")]
)
def test_ranks_are_over_three_tasks_or_more(document, gaussian, tasks, arms, blocks):
    effects = dict(itertools.islice(ARMS.items(), arms))
    rows = gaussian(effects, tasks=tasks, seeds=4)
    ranks = document(rows)["ranks"]
    assert (ranks and ranks["blocks"]) == blocks
    if blocks == "seeds":
        theirs = friedman(np.column_stack([values(rows, arm, "task0") for arm in effects]))
        assert ranks == {"blocks": "seeds", "friedman": plain(theirs), "nemenyi": None}


def test_tasks_of_both_directions_are_the_same_tasks_turned(gaussian):
    """Where large is good on a task whose values are negated, nothing changes but the sign of all differences."""
    rows = gaussian(ARMS, tasks=7, seeds=3)

    def found(directions_turned=()):
        tasks = []
        for i in range(7):
            sign = -1 if i in directions_turned else 1
            by_arm = {arm: dict(enumerate((sign * values(rows, arm, f"task{i}")).tolist())) for arm in ARMS}
            by_seed = {arm: {str(seed): value for seed, value in of_arm.items()} for arm, of_arm in by_arm.items()}
            direction = "maximize" if i in directions_turned else "minimize"
            tasks.append(TaskData(f"task{i}", "here", "error", direction, by_seed, None, rate=False))
        return analyse(Inputs("a", 0.05, tuple(ARMS), tuple(tasks)))

    one, mixed = found(), found((2, 5))
    assert (one.gains, mixed.gains, mixed.direction) == (False, True, "maximize")
    for plain_one, turned_one in zip(one.comparisons, mixed.comparisons, strict=True):
        assert turned(plain(plain_one.fixed)) == plain(turned_one.fixed)
        assert turned(plain(plain_one.new)) == plain(turned_one.new)
        assert plain_one.on_these_tasks.kind == turned_one.on_these_tasks.kind
        assert plain_one.on_new_tasks.kind == turned_one.on_new_tasks.kind
        assert "gain in error" in turned_one.on_these_tasks.words
    assert mixed.ranks == one.ranks
    assert one.ranks is not None


def test_a_task_without_a_complete_seed_ranks_nothing(document, gaussian):
    rows = gaussian(ARMS, tasks=4, seeds=3)
    hidden = {("a", 0), ("b", 1), ("c", 2)}
    found = document([row for row in rows if row[1] != "task2" or (row[0], row[2]) not in hidden])
    assert found["means"][2] == {"task": "task2", "n": 0, "arms": None, "sds": None}
    assert found["ranks"]["friedman"]["n"] == 3


def test_demsar(document, demsar):
    """Oracle 3 of the specification: the worked example of Demšar (2006), section 3.2.

    In the paper's row "voting" (the 13th) C4.5+cf is ahead of C4.5+m+cf, which the printed values tie.
    """
    paper = [("C4.5+cf", "set12", 0, "0.9751") if row[:2] == ("C4.5+cf", "set12") else row for row in demsar]
    arms = ["C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf"]
    for rows, printed in ((paper, [3.143, 2.000, 2.893, 1.964]), (demsar, [3.143, 2.000, 2.929, 1.929])):
        found = document(rows, baseline="C4.5", direction="maximize", metric="auc")
        ranks = found["ranks"]
        by_arm = dict(zip(found["arms"], ranks["friedman"]["mean_ranks"], strict=True))
        assert [by_arm[arm] for arm in arms] == pytest.approx(printed, abs=5e-4)
        assert ranks["nemenyi"]["mean_ranks"] == ranks["friedman"]["mean_ranks"]
        assert ranks["nemenyi"]["critical_difference"] == pytest.approx(1.25, abs=5e-3)
        assert ranks["friedman"]["method"] == "chi-square"
        if rows is paper:  # the paper's statistic is not corrected for ties
            uncorrected = friedman_from_mean_ranks(ranks["friedman"]["mean_ranks"], 14)
            assert uncorrected.statistic == pytest.approx(9.28, abs=5e-3)
            assert uncorrected.f == pytest.approx(3.69, abs=5e-3)
    looser = document(demsar, direction="maximize", alpha=0.10, metric="auc")
    assert looser["ranks"]["nemenyi"]["critical_difference"] == pytest.approx(1.12, abs=5e-3)


def test_a_table_of_one_value_per_task_is_decided_by_signed_ranks(document, demsar):
    """Fault 9: Demšar's table was decided by what is a sign test, and one p was printed as two claims."""
    found = document(demsar, baseline="C4.5", direction="maximize", metric="auc")
    by_arm = {comparison["arm"]: comparison for comparison in found["comparisons"]}
    won = {arm: (c["new"]["above"], c["new"]["below"]) for arm, c in by_arm.items()}
    assert won == {"C4.5+m": (10, 2), "C4.5+cf": (7, 6), "C4.5+m+cf": (11, 2)}
    for comparison in by_arm.values():
        assert (comparison["fixed"], comparison["fixed_p_holm"], comparison["on_these_tasks"]) == (None, None, None)
        assert comparison["new"]["test"] == "signed-rank"
        # 0 lies outside the interval, of the level that decides, where the verdict is better.
        interval, kind = comparison["interval"], comparison["on_new_tasks"]["kind"]
        assert (interval["low"] > 0) == (kind == "better")
    assert by_arm["C4.5+m"]["new"]["p"] == pytest.approx(0.0073, abs=5e-5)
    assert by_arm["C4.5+m"]["new_p_holm"] == pytest.approx(0.022, abs=5e-4)
    assert by_arm["C4.5+m"]["on_new_tasks"]["kind"] == "better"
    assert by_arm["C4.5+m"]["level"] == pytest.approx(0.05 / 3)
    everyone = document(demsar, direction="maximize", metric="auc")["comparisons"]
    pair = next(c for c in everyone if {c["baseline"], c["arm"]} == {"C4.5", "C4.5+m"})
    assert pair["new_p_holm"] == pytest.approx(0.044, abs=5e-4)


def test_a_stated_rope_has_the_bayesian_test_beside(document, demsar):
    """Fault 9: with a ROPE of .01, baycomp gives P(ROPE) = .33 and P(C4.5+m) = .67."""
    for direction, side in (("maximize", "above"), ("minimize", "below")):
        sign = 1 if direction == "maximize" else -1
        rows = [(arm, task, seed, sign * float(value)) for arm, task, seed, value in demsar]
        found = document(rows, baseline="C4.5", direction=direction, rope=0.01)["comparisons"]
        bayesian = next(c["bayesian"] for c in found if c["arm"] == "C4.5+m")
        assert (bayesian[side], bayesian["within"]) == pytest.approx((0.67, 0.33), abs=0.01)
    assert [c["bayesian"] for c in document(demsar, metric="auc", direction="maximize")["comparisons"]] == [None] * 6


def test_tasks_with_few_seeds_do_not_decide_for_tasks_with_many(document):
    """Fault 8: two tasks of one seed turned a clear difference on four tasks of thirty seeds into its opposite."""
    rows = [("a", task, 0, 1.0) for task in ("s1", "s2")] + [("b", task, 0, 1.001) for task in ("s1", "s2")]
    rows += [("a", f"t{t}", seed, 1.0) for t in range(4) for seed in range(30)]
    rows += [("b", f"t{t}", seed, [-0.5, 1.5][seed % 2]) for t in range(4) for seed in range(30)]
    (found,) = document(rows)["comparisons"]
    assert found["fixed"]["standardized"] < -0.4
    assert found["fixed_p_holm"] < 1e-4
    assert found["on_these_tasks"]["kind"] == "better"


def test_tasks_whose_metrics_have_no_common_unit_are_decided_by_their_signs(demsar):
    by_task = {}
    for arm, task, _, value in demsar:
        by_task.setdefault(task, {}).setdefault(arm, {})["0"] = float(value)
    tasks = tuple(
        TaskData(task, "here", f"metric of {task}", "maximize", values, None, rate=False)
        for task, values in by_task.items()
    )
    found = analyse(Inputs("C4.5", 0.05, ("C4.5", "C4.5+m"), tasks)).comparisons[0]
    assert (found.new.test, found.new.estimate, found.interval) == ("sign", None, None)
    assert found.new.p == pytest.approx(158 / 2**12)  # 2 (1 + 12 + 66)
