"""What is said of these tasks, and of tasks like these: every kind of verdict and its words."""

import itertools

import pytest

OPTIONS = ("--metric", "error", "--direction", "minimize")
KINDS = {"better", "worse", "inconclusive", "cannot show a difference", "exploratory", "refused"}


@pytest.fixture
def verdicts(numbers, table):
    """Compare rows and return the findings of every comparison, on these tasks and on tasks like these."""

    def make(rows, **request):
        found = numbers(table(rows), **{"metric": "error", "direction": "minimize"} | request)["comparisons"]
        assert {c[key]["kind"] for c in found for key in ("on_these_tasks", "on_new_tasks") if c[key]} <= KINDS
        return [(c["on_these_tasks"], c["on_new_tasks"]) for c in found]

    return make


def steady(effects, tasks=1, seeds=6):
    """Make rows whose differences are those effects, a little more with every seed."""
    return [
        (arm, f"t{task}", seed, round(1 + effect * (1 + seed / 10), 9))
        for task in range(tasks)
        for seed in range(seeds)
        for arm, effect in effects.items()
    ]


@pytest.mark.parametrize(
    ("effect", "kind", "said"), [(-0.1, "better", "b is better than a"), (0.1, "worse", "a is better than b")]
)
def test_the_better_arm_comes_first(verdicts, effect, kind, said):
    """Fault 21: the verdict names the winner first, the baseline too."""
    ((these, new),) = verdicts(steady({"a": 0, "b": effect}))
    assert these == {
        "kind": kind,
        "words": f"On this task {said}: the mean difference in error, b − a, is {1.25 * effect:+.4g}; over 6 pairs, exact"
        " sign-flip p = 0.03125 (alpha = 0.05).",
    }
    assert new == {
        "kind": "refused",
        "words": "On tasks like these nothing can be said: 1 task is too few (the smallest two-sided p that can be reached is"
        " 1); at least 6 are needed, and more seeds do not replace them.",
    }


@pytest.mark.parametrize(("direction", "kind"), [("minimize", "worse"), ("maximize", "better")])
def test_the_direction_says_what_is_better(verdicts, direction, kind):
    ((these, new),) = verdicts(steady({"a": 0, "b": 0.1}, tasks=6), direction=direction)
    assert these["kind"] == new["kind"] == kind


def test_several_tasks(verdicts):
    ((these, new),) = verdicts(steady({"a": 0, "b": -0.1}, tasks=6, seeds=3))
    assert these["words"] == (
        "On these 6 tasks (and no others) b is better than a: the mean standardized difference in error, b − a, is -0.997;"
        " over 18 pairs, exact sign-flip p = 7.629e-06 (alpha = 0.05)."
    )
    assert new["words"] == (
        "On tasks like these b is better than a: of 6 tasks, b is better on 6 and a on 0; exact sign-flip p over tasks ="
        " 0.03125 (alpha = 0.05). This assumes that these tasks are a random sample of the tasks you care about."
    )


def test_more_than_twenty_pairs_over_tasks_are_resampled_and_it_says_so(verdicts):
    ((these, _),) = verdicts(steady({"a": 0, "b": -0.1}, tasks=4))
    assert "over 24 pairs, sign-flip p (100,000 patterns) = 1e-05" in these["words"]


@pytest.mark.parametrize("tasks", [1, 2, 5])
def test_no_number_of_seeds_replaces_tasks(verdicts, tasks):
    ((these, new),) = verdicts(steady({"a": 0, "b": -0.1}, tasks=tasks, seeds=20))
    assert (these["kind"], new["kind"]) == ("better", "refused")


def test_tasks_against_the_verdict_are_named(verdicts):
    rows = steady({"a": 0, "b": -0.1}, tasks=9, seeds=5)
    rows = [(arm, task, seed, 2 - v if task == "t4" and arm == "b" else v) for arm, task, seed, v in rows]
    ((these, new),) = verdicts(rows)
    assert these["words"].endswith(" On t4 the mean of a is better.")
    assert "of 9 tasks, b is better on 8 and a on 1;" in new["words"]
    ((these, _),) = verdicts(rows, direction="maximize")
    assert these["words"].endswith(" On t4 the mean of b is better.")


def test_many_such_tasks_are_counted(verdicts):
    rows = steady({"a": 0, "b": -0.1}, tasks=30, seeds=2)
    rows = [(arm, task, seed, 2 - v if int(task[1:]) < 8 and arm == "b" else v) for arm, task, seed, v in rows]
    ((these, _),) = verdicts(rows)
    assert these["words"].endswith(" On t0, t1, t2, t3, t4, t5 and 2 more the mean of a is better.")


# --- what cannot be shown ------------------------------------------------------------------------------------------------


def test_five_seeds_of_one_task_cannot_show_a_difference(verdicts):
    ((these, _),) = verdicts(steady({"a": 0, "b": -0.1}, seeds=5))
    assert these == {
        "kind": "cannot show a difference",
        "words": "On this task this design cannot show a difference between b and a: with 5 pairs the smallest two-sided p"
        " that can be reached is 0.0625, and it must not exceed 0.05 (alpha = 0.05); at least 6 pairs are needed.",
    }


def test_one_pair_cannot_either(verdicts):
    ((these, _),) = verdicts(steady({"a": 0, "b": -0.1}, seeds=1))
    assert these["kind"] == "cannot show a difference"
    assert "with 1 pair the smallest" in these["words"]


@pytest.mark.parametrize(("arms", "least"), [(2, 6), (3, 7), (4, 7), (6, 8)])
def test_more_arms_need_more_pairs_and_more_tasks(verdicts, arms, least):
    """n >= 1 + log2(m / alpha) for m comparisons with the baseline."""
    effects = {"a": 0.0} | {f"b{i}": -0.1 - i / 100 for i in range(arms - 1)}
    few = verdicts(steady(effects, tasks=1, seeds=least - 1), baseline="a")
    assert {these["kind"] for these, _ in few} == {"cannot show a difference"}
    enough = verdicts(steady(effects, tasks=1, seeds=least), baseline="a")
    assert {these["kind"] for these, _ in enough} == {"better"}
    assert f"Holm-adjusted exact sign-flip p = {(arms - 1) * 2 / 2**least:.4g}" in enough[0][0]["words"] or arms == 2
    tasks = verdicts(steady(effects, tasks=max(6, least - 1), seeds=1), baseline="a")
    assert {new["kind"] for _, new in tasks} == {"better" if arms == 2 else "cannot show a difference"}
    assert arms == 2 or f"at least {least} tasks are needed" in tasks[0][1]["words"]


def test_all_pairs_are_one_family(verdicts):
    effects = {"a": 0.0, "b": -0.1, "c": -0.3}
    found = verdicts(steady(effects, seeds=8))
    assert len(found) == 3
    for these, _ in found:
        assert "Holm-adjusted exact sign-flip p = 0.02344 (alpha = 0.05 over 3 comparisons)" in these["words"]


def test_a_smaller_alpha_can_make_a_design_too_small(verdicts):
    rows = steady({"a": 0, "b": -0.1}, seeds=6)
    assert verdicts(rows, alpha=0.04)[0][0]["kind"] == "better"
    assert verdicts(rows, alpha=0.03)[0][0]["kind"] == "cannot show a difference"


# --- what is left open ---------------------------------------------------------------------------------------------------

OPEN = [0.3, -0.1, 0.2, -0.2, 0.25, 0.1, -0.05]


def of_differences(differences, tasks=1):
    """Make rows of two arms with these differences on every task."""
    return [
        row
        for t in range(tasks)
        for i, d in enumerate(differences)
        for row in (("a", f"t{t}", i, 1), ("b", f"t{t}", i, 1 + d))
    ]


@pytest.mark.parametrize("tasks", [1, 8])
def test_no_verdict_names_seeds_for_the_observed_effect(verdicts, tasks):
    """Fault 19: seeds, pairs or tasks that the observed effect would need are noise, and invite to extend the study."""
    # Every second task the other way round.
    rows = of_differences(OPEN, tasks=tasks)
    rows = [(arm, task, seed, 2 - v if int(task[1:]) % 2 else v) for arm, task, seed, v in rows]
    ((these, new),) = verdicts(rows)
    assert (
        "mean difference in error, b − a, is +0.07143; over 7 pairs, exact sign-flip p =" in these["words"] or tasks > 1
    )
    for finding in (these, new)[: 1 if tasks == 1 else 2]:
        assert finding["kind"] == "inconclusive"
        assert not {"would", "need", "needed", "power"} & set(finding["words"].replace(".", " ").split())


def test_equal_arms_are_never_called_equivalent(verdicts):
    """No ROPE, no claim of equivalence."""
    ((these, new),) = verdicts(of_differences([0.0] * 8, tasks=6))
    assert (these["kind"], new["kind"]) == ("inconclusive", "inconclusive")
    assert "sign-flip p (100,000 patterns) = 1 " in these["words"]


def test_the_effect_that_is_told_is_the_one_that_is_tested(verdicts):
    """The mean of d_z over tasks, which one very even task can turn, is not told beside a test of something else."""
    even = [("a", "even", i, 1) for i in range(4)] + [("b", "even", i, 1.1 + i / 1e4) for i in range(4)]
    rest = [
        row
        for t, i in itertools.product(range(5), range(4))
        for row in (("a", f"t{t}", i, 1), ("b", f"t{t}", i, 0.9 + i / 100))
    ]
    ((these, _),) = verdicts(even + rest)
    assert these["kind"] == "better"
    assert "mean standardized difference in error, b − a, is -0.6" in these["words"]
    assert these["words"].endswith("On even the mean of a is better.")


def test_differences_that_are_all_equal_are_as_standardized_as_can_be(verdicts):
    ((these, _),) = verdicts(of_differences([-0.1] * 6, tasks=2))
    assert these["kind"] == "better"
    assert "mean standardized difference in error, b − a, is -1;" in these["words"]


# --- single pairs --------------------------------------------------------------------------------------------------------


def test_one_value_per_task_is_one_claim(verdicts, compare, table, demsar):
    """Fault 9: what is said of "these tasks and no others" needs seeds."""
    rows = [(arm, task, seed, 1 - float(v)) for arm, task, seed, v in demsar]
    found = verdicts(rows, baseline="C4.5")
    assert {these for these, _ in found} == {None}
    words = {new["words"].split(" is better")[0].split(" ")[-1]: new["words"] for _, new in found}
    assert "C4.5+m is better on 10 and C4.5 on 2, and they tie on 2" in words["C4.5+m"]
    assert "C4.5+m − C4.5, is -0.013; Holm-adjusted exact signed-rank p over tasks = 0.02197" in words["C4.5+m"]
    said = compare(table(rows), *OPTIONS, "--baseline", "C4.5")
    assert "C4.5+m is better than C4.5" in said.out.splitlines()
    assert "no others" not in said.words
    assert "One pair only" not in said.words


def test_few_tasks_of_one_value_say_nothing(compare, table):
    said = compare(table(steady({"a": 0, "b": 0.1}, tasks=3, seeds=1)), *OPTIONS)
    assert "b against a: too few tasks" in said.out.splitlines()
    assert said.words.count("nothing can be said") == 1


def test_tasks_of_one_pair_among_others_are_named(compare, table):
    rows = steady({"a": 0, "b": 0.1}, tasks=3)
    kept = [row for row in rows if row[1] == "t0" or row[2] == 0]
    assert "! One pair only on t1, t2: it has a sign" in compare(table(kept), *OPTIONS).words


# --- titles --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "title"),
    [
        (steady({"a": 0, "b": -0.1}), "b is better than a"),
        (steady({"a": 0, "b": -0.1}, tasks=6), "b is better than a"),
        (steady({"a": 0, "b": -0.1}, seeds=5), "b against a: no difference can be shown"),
        (
            [(a, t, i, 2 - v if (a, t) == ("b", "t0") else v) for a, t, i, v in steady({"a": 0, "b": -0.1}, 6, 3)],
            "b is better than a (on tasks like these: inconclusive)",
        ),
    ],
)
def test_the_title_says_both_where_they_differ(compare, table, rows, title):
    assert title in compare(table(rows), *OPTIONS).out.splitlines()


def test_a_refusal_is_told_once(compare, table):
    said = compare(table(steady({"a": 0, "b": 0.1, "c": 0.2, "d": 0.3}, tasks=4)), *OPTIONS)
    assert said.words.count("nothing can be said") == 1


def test_many_comparisons_are_said_in_a_line_per_winner(compare, table):
    """Ten verdicts of two sentences each are not read; the numbers of each are in the table below."""
    rows = steady({"a": 0, "b": -0.2, "c": -0.1, "d": 0.1, "e": 0}, tasks=2, seeds=10)
    rows = [(arm, task, seed, v + (arm == "e") * (seed % 2 - 0.5) / 1e3) for arm, task, seed, v in rows]
    said = compare(table(rows), *OPTIONS)
    lines = said.out.splitlines()
    for line in ("b is better than a, c, d, e", "c is better than a, d, e", "a is better than d", "e is better than d"):
        assert line in lines
    assert "Inconclusive: e against a" in lines
    assert said.words.count("cannot show") == 0


def test_many_comparisons_that_can_show_nothing_say_what_is_missing(compare, table):
    said = compare(table(steady({arm: i / 10 for i, arm in enumerate("abcde")}, seeds=5)), *OPTIONS)
    assert "No difference can be shown: b against a, c against a, d against a" in said.words
    assert said.words.count("at least 9 pairs are needed") == 1


def test_what_speaks_against_the_test_follows_the_verdict(compare, table):
    """Fault 18: an arm that collapses in one seed makes the differences skewed, and nothing was said."""
    values = [(seed, 0.3 + 0.001 * seed, -0.012 + 0.0007 * (seed % 5)) for seed in range(12)]
    rows = [
        (arm, "digits", seed, round(a + (arm == "b") * (0.6 if seed == 4 else gap), 6))
        for seed, a, gap in values
        for arm in "ab"
    ]
    text = compare(table(rows), *OPTIONS).words
    assert (
        text.index("is inconclusive")
        < text.index("differences are skewed: the tail above")
        < text.index("pairs better")
    )
    assert "11 / 1 / 0" in text
    assert "skewed" not in compare(table([row for row in rows if row[2] != 4]), *OPTIONS).words


def test_doubts_of_many_comparisons_are_said_once(compare, table):
    """Fault 18, of more comparisons than are written in full: those that the data speak against are named."""
    rows = [
        (f"arm{i}", "digits", seed, 0.3 + 0.01 * (seed * (i + 3) * 0.618034 % 1) + (0.5 if (i, seed) == (3, 2) else 0))
        for i in range(8)
        for seed in range(12)
    ]
    text = compare(table(rows), *OPTIONS, "--baseline", "arm0").words
    assert text.count("speak against it") == 1
    assert "ties: arm3 − arm0." in text
