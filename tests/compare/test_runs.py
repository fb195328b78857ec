"""Run directories: studies as the engine writes them, what is joined, and every refusal."""

import json
import re

import helpers
import pytest

RENAMED = {**helpers.PBT, "label": "other"}


def change_first(**parts):
    """Return a change of the first replicate's second arm."""
    return lambda results: results["replicates"][0]["arms"]["pbt"].update(parts)


@pytest.fixture
def both(studies, refused, tmp_path):
    """Run the command on a good study and a copy of another, changed one."""

    def run(name, change, *options):
        return refused(studies.walk, studies.copy(name, tmp_path / "changed", change), *options)

    return run


def test_tasks_of_one_metric_are_joined(studies, compare, numbers):
    said = compare(studies.walk, studies.wide)
    assert said.code == 0
    assert "distance of 2 arms on 2 tasks" in said.out
    found = numbers(studies.walk, studies.wide)
    assert [task["name"] for task in found["tasks"]] == ["walk", "wide"]  # one task, two studies: by the studies' names
    for task, run_dir in zip(found["tasks"], (studies.walk, studies.wide), strict=True):
        assert task["source"] == str(run_dir / "results.json")
        for replicate in helpers.results(run_dir)["replicates"]:
            for arm in ("random", "pbt"):
                assert task["values"][arm][str(replicate["seed"])] == replicate["arms"][arm]["test"]["distance"]
    assert found["planned"]
    assert found["baseline"] == "random"
    assert "walk, wide are variants of one task, walk" in said.words


def test_tasks_with_metrics_and_directions_of_their_own_are_turned_into_gains(studies, compare, numbers):
    said = compare(studies.walk, studies.toy, studies.guess)
    assert said.code == 0
    assert "walk: distance, lower is better; toy: score, higher is better; guess: error, lower is better" in said.words
    found = numbers(studies.walk, studies.toy, studies.guess)
    assert (found["metric"], found["direction"], found["gains"]) == (None, "maximize", True)
    (comparison,) = found["comparisons"]
    for task, result, better in zip(found["tasks"], comparison["tasks"], (-1, 1, -1), strict=True):
        values = task["values"]
        for seed, difference in result["differences"].items():
            assert difference == better * (values["pbt"][seed] - values["random"][seed])
    assert comparison["new"]["p_wilcoxon"] is None
    assert "walk, guess are trained on the same data" in said.words


def test_a_rope_on_the_command_line_that_is_not_used_is_named(studies, compare):
    plain = compare(studies.walk, studies.wide)
    given = compare(studies.walk, studies.wide, "--rope", 0.01)
    assert (plain.code, given.code) == (0, 0)
    assert "ROPE" in given.out
    assert "ROPE" not in plain.out


def test_counts_are_used_where_the_engine_has_them(studies, numbers):
    """Rates of 20 examples differ by rounding where counts tie."""
    found = numbers(studies.guess)
    assert found["tasks"][0]["counts"]["pbt"].keys() == found["tasks"][0]["values"]["pbt"].keys()
    (theirs,) = helpers.results(studies.guess)["comparisons"]
    ours = found["comparisons"][0]
    assert ours["fixed_p_holm"] == theirs["p_holm"]
    assert ours["on_these_tasks"]["kind"] == theirs["verdict"]["kind"]
    assert list(ours["tasks"][0]["differences"].values()) == theirs["differences"]


@pytest.mark.parametrize("name", ["walk", "toy"])
def test_a_study_alone_says_what_its_own_report_says(studies, numbers, name):
    found = numbers(getattr(studies, name))["comparisons"][0]
    (theirs,) = helpers.results(getattr(studies, name))["comparisons"]
    assert found["fixed_p_holm"] == theirs["p_holm"]
    effect = found["tasks"][0]["effect"]
    for key in ("mean", "ci_low", "ci_high", "d_z", "p_sign_flip"):
        assert effect[key] == theirs[key]
    assert found["on_these_tasks"]["kind"] == theirs["verdict"]["kind"]


# --- refusals ------------------------------------------------------------------------------------------------------------


def test_paths_that_hold_no_study(studies, refused, tmp_path):
    assert "no such run directory or CSV file" in refused(tmp_path / "nowhere")
    assert "no results.json here" in refused(tmp_path)
    assert "no results.json here" in refused(studies.walk, tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"a": NaN}', b"[" * 100_000])
def test_files_that_are_no_results(refused, tmp_path, content):
    (tmp_path / "results.json").write_bytes(content)
    assert "results.json" in refused(tmp_path)


def test_one_directory_twice(studies, refused, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(studies.walk)
    for again in (studies.walk, studies.walk / "results.json", studies.walk / ".." / "walk", link):
        assert "is given twice" in refused(studies.walk, studies.toy, again)


def test_in_progress(refused, tmp_path):
    helpers.run(helpers.document(replicates=4), tmp_path, seeds=[0, 2])
    said = refused(tmp_path)
    assert "the study is in progress (2 of 4 replicates)" in said
    assert "looking before the plan is done" in said


def test_extended_after_looking(refused, tmp_path):
    helpers.run(helpers.document(replicates=2), tmp_path)
    helpers.run(helpers.document(replicates=3), tmp_path)
    assert "arm 'pbt' is 'extended after looking' there" in refused(tmp_path)


def test_changed_after_looking(refused, tmp_path):
    plan = helpers.document()
    helpers.run(plan, tmp_path)
    helpers.run({**plan, "comparison": {**plan["comparison"], "baseline": "pbt"}}, tmp_path)
    assert "is 'changed after looking' there" in refused(tmp_path)


def test_anytime_stopping(refused, tmp_path):
    plan = helpers.document()
    del plan["study"]["replicates"]
    plan["comparison"] |= {"stopping": "anytime", "max_replicates": 2}
    helpers.run(plan, tmp_path)
    said = refused(tmp_path)
    assert "comparison.stopping = 'anytime'" in said
    assert "a fixed-n p of such data is wrong" in said


def test_other_rules_of_selection(refused, tmp_path):
    helpers.run(helpers.document(arms=(helpers.RANDOM, {**helpers.PBT, "select": "any"})), tmp_path / "planned")
    assert "is 'not comparable' there" in refused(tmp_path / "planned")
    plan = helpers.document(arms=(helpers.RANDOM, {**helpers.PBT, "select": "any"}))
    del plan["comparison"]
    helpers.run(plan, tmp_path / "free")
    said = refused(tmp_path / "free")
    assert "not comparable: their answers are selected by different rules (random: 'final', pbt: 'any')" in said


def test_unequal_budgets(both):
    said = both("wide", change_first(charged_intervals=15))
    assert "not comparable: their budgets differ: with seed 0" in said


def test_a_difference_below_one_members_budget_is_what_is_left_over(studies, compare, tmp_path):
    assert compare(studies.copy("wide", tmp_path / "less", change_first(charged_intervals=16))).code == 0


def test_other_arms(studies, refused, tmp_path):
    helpers.run(helpers.document(arms=(helpers.RANDOM, RENAMED)), tmp_path)
    said = refused(studies.walk, tmp_path, "--baseline", "random")
    assert "arms: lacks 'pbt' and also has 'other'" in said


def test_one_task_in_two_studies(studies, refused, tmp_path):
    copy = studies.copy("walk", tmp_path / "copy", lambda results: results["study"]["study"].update(name="new"))
    said = refused(studies.walk, copy)
    assert "is the same task as" in said
    assert "with seed 0 both begin with the same initial population" in said


def test_one_task_in_two_studies_with_other_seeds(studies, refused, tmp_path):
    plan = helpers.document({"name": "walk"}, name="more", seeds=[10, 11])
    del plan["study"]["replicates"]
    helpers.run(plan, tmp_path)
    said = refused(studies.walk, tmp_path)
    assert "is the same task as" in said
    assert "Add the seeds to one study" in said


def test_variants_of_one_task_need_names(studies, refused, tmp_path):
    same = studies.copy("wide", tmp_path / "same", lambda results: results["study"]["study"].update(name="walk"))
    assert "two tasks would be called 'walk'" in refused(studies.walk, same)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r.update(schema_version=1), "schema_version = 1: this version of hpo reads 3 and 4"),
        (lambda r: r.update(schema_version=True), "schema_version"),
        (lambda r: r.pop("schema_version"), "schema_version: missing"),
        (lambda r: r["arms"].append(r["arms"][0]), "arms: allowed: labels that are all different"),
        (lambda r: r["replicates"].append(r["replicates"][0]), "replicates: allowed: seeds that are all different"),
        (lambda r: r["planned_seeds"].remove(5), "replicates: allowed: 0, 1, 2, 3, 4; 5 is not among them"),
        (lambda r: r["comparison"].update(alpha=0.01), "its alpha is 0.01, and that of"),
        (
            lambda r: (r["comparison"].update(baseline="pbt"), r.update(comparisons=[])),
            "its baseline is 'pbt', and that of",
        ),
        (
            lambda r: r["comparison"].update(metric="f1"),
            "comparison.metric: allowed: 'distance', 'spread'; 'f1' is not among them",
        ),
        (
            lambda r: r["task"]["metrics"][0].update(direction="up"),
            "task.metrics[0].direction = 'up': allowed: 'minimize' or 'maximize'",
        ),
        (lambda r: r["replicates"][3]["arms"].pop("pbt"), "replicates[3].arms: allowed: every arm of the study"),
        (lambda r: r["replicates"][0].update(seed=-1), "replicates[0].seed = -1: allowed: greater than or equal to 0"),
        (change_first(test={"distance": None, "spread": None}), "arm 'pbt', seed 0: the test distance is undefined"),
        (
            change_first(test={"distance": None, "spread": None}),
            "leaving the pair out would favour the arm that diverged",
        ),
        (
            change_first(test={"distance": "low"}),
            "replicates[0].arms.pbt.test.distance = 'low': allowed: integer or number",
        ),
        (change_first(test={}), "replicates[0].arms.pbt.test.distance: allowed: a number or null; it is missing"),
        (change_first(charged_intervals=None), "replicates[0].arms.pbt.charged_intervals = None: allowed: integer"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(both, tmp_path, change, words):
    said = both("wide", change)
    assert words in said
    assert str(tmp_path / "changed") in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--metric", "spred"], "its task has no metric 'spred'; allowed: distance, spread (did you mean 'spread'?)"),
        (["--direction", "maximize"], "says that 'distance' is to minimize"),
        (["--baseline", "tpe"], "--baseline 'tpe': allowed: one of the arms random, pbt"),
    ],
)
def test_options_that_do_not_fit_are_refused(studies, refused, options, words):
    assert words in refused(studies.walk, studies.wide, *options)


# --- what is told --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--metric", "spread"], "the metric is spread where distance was planned"),
        (["--baseline", "pbt"], "the baseline is pbt where random was planned"),
        (["--alpha", "0.1"], "alpha is 0.1 where 0.05 was planned"),
        (
            ["--metric", "spread", "--alpha", "0.5"],
            "the metric is spread where distance was planned, and alpha is 0.5 where 0.05 was planned",
        ),
    ],
)
def test_what_was_not_planned_gives_no_verdict(studies, compare, tmp_path, options, why):
    said = compare(studies.walk, studies.wide, *options, "--out", tmp_path)
    assert ": no verdict" in said.out
    assert why in said.words
    assert "every p is exploratory" in said.words
    found = json.loads((tmp_path / "compare.json").read_bytes())
    assert [c["on_these_tasks"]["kind"] for c in found["comparisons"]] == ["exploratory"]
    html = (tmp_path / "compare.html").read_text()
    assert "Every p is exploratory and decides nothing." in html
    assert "<td" in html
    assert not re.search(r"<td[^>]*><strong>", html)


@pytest.mark.parametrize(
    "options", [["--metric", "distance"], ["--baseline", "random"], ["--alpha", "0.05"], ["--alpha", "0.01"]]
)
def test_what_was_planned_or_is_stricter_gives_one(studies, compare, options):
    assert ": no verdict" not in compare(studies.walk, studies.wide, *options).out


def test_studies_without_a_plan_compare_all_pairs_of_the_primary_metric(compare, tmp_path):
    plan = helpers.document({"name": "walk"}, arms=(helpers.RANDOM, helpers.PBT, helpers.GREEDY))
    del plan["comparison"]
    helpers.run(plan, tmp_path / "run")
    said = compare(tmp_path / "run", "--out", tmp_path / "out")
    assert "Comparisons: 3, all pairs of arms" in said.out
    assert "No comparison was planned in small." in said.words
    assert "Nothing here says what was planned" in (tmp_path / "out" / "compare.md").read_text()


def test_models_that_diverged_have_the_worst_value_and_are_named(compare, tmp_path):
    helpers.run(helpers.document({"name": "guess", "explode": "test"}), tmp_path)
    said = compare(tmp_path)
    assert said.code == 0
    assert "diverged and have the worst test value: random on guess, seed 0; " in said.words.replace(", pbt", "; pbt")


def test_arms_that_are_configured_otherwise_are_named(studies, compare, tmp_path):
    def eager(results):
        results["arms"][1]["options"].update(burn_in=2.0, explore="all")

    said = compare(studies.walk, studies.copy("wide", tmp_path / "eager", eager))
    assert "The arm pbt is not configured alike in all studies: they differ in explore, burn_in." in said.words


def test_the_order_of_replicates_and_of_arms_in_a_file_means_nothing(studies, numbers, tmp_path):
    def turn(results):
        results["replicates"].reverse()
        results["arms"].reverse()
        for replicate in results["replicates"]:
            replicate["arms"] = dict(reversed(replicate["arms"].items()))

    same, changed = (
        numbers(studies.walk, studies.copy("wide", tmp_path / name / "wide", change))
        for name, change in (("same", lambda results: None), ("turned", turn))
    )
    for found, name in ((same, "same"), (changed, "turned")):
        assert found["tasks"][1].pop("source") == str(tmp_path / name / "wide" / "results.json")
    assert json.dumps(changed) == json.dumps(same)
