"""The statistics part of the report: every number of results.json is there, and nothing that may not be."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import helpers
import pytest

from hpo.core.errors import InputError
from hpo.report.build import build_report
from hpo.report.content import build_page
from hpo.report.data import load_run
from hpo.report.render import render_html, render_markdown

Make = Callable[..., Path]
#: The numbers that a reader sees: values that occur once, and their text.
SHOWN: dict[tuple[str, ...], tuple[Any, str]] = {
    ("mean",): (-0.0123456, "−1.235"),
    ("p_holm",): (0.0078125, "0.00781"),
    ("p_tost_holm",): (0.1332, "0.133"),
    ("d_z",): (-1.234, "−1.23"),
    ("numbers", "sign_flip_interval"): ({"low": -0.0222, "high": -0.0111}, "[−2.220, −1.110]"),
    ("numbers", "hodges_lehmann"): (-0.0135, "−1.350"),
    ("numbers", "hodges_lehmann_interval"): ({"low": -0.0333, "high": -0.0101}, "[−3.330, −1.010]"),
    ("numbers", "equivalence", "rope"): (0.00234, "± 0.234"),
    ("images", "crossed", "interval_crossed"): ({"low": -0.0444, "high": -0.0105}, "[−4.440, −1.050]"),
    ("images", "crossed", "df"): (23.45, "df 23.4"),
}
#: What stays in results.json: one test decides, one interval, one estimate and one effect size stand beside it.
KEPT: dict[tuple[str, ...], tuple[float, str]] = {
    ("p_t",): (0.0031415, "0.00314"),
    ("numbers", "wilcoxon_p"): (0.01953125, "0.0195"),
    ("numbers", "sign_test_p"): (0.021484375, "0.0215"),
    ("numbers", "g_z"): (-1.128, "−1.13"),
    ("numbers", "a12"): (0.1357, "0.136"),
    ("numbers", "cliffs_delta"): (-0.7286, "−0.729"),
    ("numbers", "unpaired_factor"): (7.7891, "7.79"),
}


def plant(results: dict[str, Any]) -> None:
    """Put those values into the first comparison."""
    for path, (value, _) in (SHOWN | KEPT).items():
        at = results["comparisons"][0]
        for name in path[:-1]:
            at = at[name]
        assert path[-1] in at
        at[path[-1]] = value


@pytest.fixture
def whole(small_run: Make, synthetic: ModuleType) -> Path:
    """A finished study that can decide, of which every number is defined."""
    return synthetic.edited(small_run(planned=8, finished=8), plant)


def texts(folder: Path) -> tuple[str, str]:
    page = build_page(load_run(folder), [])
    return helpers.without_scripts(render_html(page)), render_markdown(page).replace("\\", "")


def test_a_reader_sees_one_number_of_each_kind(whole: Path) -> None:
    """Fault 19: five intervals and four tests stood side by side."""
    for text in texts(whole):
        for path, (_, number) in SHOWN.items():
            assert number in text, path
        for path, (_, number) in KEPT.items():
            assert number not in text, path
        assert re.search(r"\d / \d / \d", text)


def test_the_whole_study_is_told(whole: Path, synthetic: ModuleType) -> None:
    def change(results: dict[str, Any]) -> None:
        found = {"n": 8, "retrains": 3, "mean": 0.01, "variance_search": 4.567e-7, "variance_training": 1.2e-7}
        results["retraining"]["random"] = found | {"truncated": False, "share_search": 0.787}

    for text in texts(synthetic.edited(whole, change)):
        assert "1.45" in text  # the target
        assert "79" in text  # the share of the search
        assert "0.00457" in text  # its variance in pp²
        for name in ("Assumptions", "What this design cannot say", "Against the budget", "Luck"):
            assert name in text


@pytest.mark.parametrize("kind", ["skew", "heavy ties"])
def test_what_speaks_against_the_test_stands_beside_the_verdict(whole: Path, synthetic: ModuleType, kind: str) -> None:
    """Faults 13 and 18: differences that are skewed or mostly tied were compared without a word."""
    found = {"kind": kind, "n": 8, "value": 0.75 if kind == "heavy ties" else 41.5, "limit": 0.5, "side": None}
    if kind == "skew":
        found |= {"limit": 6.5, "side": "below"}

    def change(results: dict[str, Any]) -> None:
        for comparison in results["comparisons"]:
            comparison["numbers"]["departures"] = []
        results["comparisons"][0]["numbers"]["departures"] = [found]

    page = build_page(load_run(synthetic.edited(whole, change)), [])
    first, *others = page.verdicts
    words, doubt = first.words
    assert ("6 of the 8" in doubt) if kind == "heavy ties" else ("below" in doubt and "41.5 times" in doubt)
    assert all(len(verdict.words) == 1 for verdict in others)
    for text in (render_html(page), render_markdown(page)):
        assert text.index(words[:20]) < text.index(doubt[:20]) < text.rindex("Comparison")


def test_an_anytime_study_shows_no_number_of_a_fixed_design(small_run: Make, synthetic: ModuleType) -> None:
    folder = small_run(planned=8, finished=8, stopping="anytime")
    assert load_run(folder).results.several is None
    for text in texts(folder):
        for number in ("Holm", "t interval", "TOST", "Wilcoxon test", "detectable"):
            assert number not in text, number
        assert "e-value" in text
        assert "confidence sequence" in text
        assert "biased away from 0" in text
        assert "symmetric about 0" in text
    decided = texts(synthetic.edited(folder, lambda r: r["comparisons"][0]["anytime"].update(decided_at=7)))
    assert all("n = 7" in text for text in decided)
    build_report(folder)
    names = {path.stem for path in (folder / "figures").glob("*.png")}
    assert {"anytime", "pairs", "differences", "incumbent"} <= names


def test_a_changed_plan_is_told_with_its_changes(small_run: Make, synthetic: ModuleType) -> None:
    def change(results: dict[str, Any]) -> None:
        line = "comparison.alpha: 0.05 -> 0.1"
        results["registration"]["amendments"] = [{"tests_opened": 4, "changes": [line]}]
        for comparison in results["comparisons"]:
            comparison["verdict"] |= {"kind": "changed after looking", "words": f"No verdict: {line}."}

    for text in texts(synthetic.edited(small_run(), change)):
        assert "comparison.alpha: 0.05 -" in text
        assert "4 test results" in text
        assert "exploratory" in text
        assert "A verdict: seeds or arms were added, or the plan was changed" in text


def test_the_registered_plan_is_told(small_run: Make) -> None:
    for text in texts(small_run()):
        assert "3fa9000000000000" in text
        assert "not changed since" in text


def test_what_was_never_planned_or_says_nothing_is_not_shown(whole: Path, synthetic: ModuleType) -> None:
    """Fault 19: no target that nobody stated, and no budget equivalence without an interval."""

    def change(results: dict[str, Any]) -> None:
        results["time_to_target"] = None
        for c in results["comparisons"]:
            c["budget_equivalence"] |= {"ratio": 2.3, "interval": {"low": 1.0, "high": None}}

    for text in texts(synthetic.edited(whole, change)):
        assert "until a validation" not in text
        assert "2.3 times" not in text
        assert "Budget equivalence" not in text


def test_intervals_stand_beside_their_level(whole: Path, synthetic: ModuleType) -> None:
    """Fault 16: intervals of 95% stood beside verdicts that were decided at another level."""
    other = load_run(whole).results.comparisons[1].level
    assert other == 0.025
    for text in texts(synthetic.edited(whole, lambda results: results["comparisons"][0].update(level=0.0125))):
        assert "pp (98.75%)" in text
        assert "pp (97.5%)" in text
        assert "95% t interval" not in text


def test_two_families_are_promised_as_two(whole: Path) -> None:
    """Fault 17: "the chance of any false claim" is not held at alpha where equivalence is tested too."""
    for text in texts(whole):
        (promise,) = [
            line for line in text.splitlines() if "Holm's method" in line.replace("&#39;", "'") and "chance" in line
        ]
        assert "any false better or worse" in promise
        assert "twice alpha" in text
        assert "any false claim" not in text


@pytest.mark.parametrize("kind", ["inconclusive", "cannot show a difference", "worse"])
def test_no_sentence_says_what_the_verdict_forbids(whole: Path, synthetic: ModuleType, kind: str) -> None:
    """Fault 11: "better from 1.5 epochs on" stood beside the verdict "cannot show a difference"."""

    def change(results: dict[str, Any], kind: str) -> None:
        comparison = results["comparisons"][0]
        comparison["verdict"]["kind"] = kind
        comparison["incumbent"] |= {"better_from": comparison["incumbent"]["budgets"][1], "worse_from": None}

    for text in texts(synthetic.edited(whole, lambda results: change(results, "better"))):
        assert "pbt-truncation is better than random from 1" in text
    synthetic.edited(whole, lambda results: change(results, kind))
    with pytest.raises(InputError, match=rf"incumbent\.better_from: .* null where the verdict is '{kind}'"):
        load_run(whole)


def test_what_all_comparisons_share_is_said_once(small_run: Make) -> None:
    page = build_page(load_run(small_run()), [])
    for name in ("limits", "assumptions"):
        section = page.section(name)
        assert section
        assert len(set(section.items)) == len(section.items) > 0


def test_meanings_are_given_for_what_is_shown(small_run: Make) -> None:
    page = build_page(load_run(small_run()), [])
    meanings, sizes = page.section("meanings"), page.section("size")
    assert meanings
    assert sizes
    explained = {item.partition(": ")[0] for item in meanings.items}
    assert {row[0] for row in sizes.tables[0].rows} <= explained


BAD: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda c: c["numbers"].update(ties="none"), r"comparisons\[0\]\.numbers\.ties = 'none': allowed: integer"),
    (lambda c: c["incumbent"]["mean"].pop(), r"comparisons\[0\]\.incumbent\.mean: .* as many as budgets"),
    (lambda c: c["images"]["crossed"].pop("truncated"), r"images\.crossed\.truncated: missing"),
    (lambda c: c["budget_equivalence"].update(pool_arm="nobody"), "budget_equivalence: .*'nobody' is not among them"),
    (lambda c: c.update(power=[]), r"comparisons\[0\]\.power = \[\]: allowed: "),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_statistics_are_named(
    whole: Path, synthetic: ModuleType, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    synthetic.edited(whole, lambda results: change(results["comparisons"][0]))
    with pytest.raises(InputError, match=message) as caught:
        load_run(whole)
    assert "--recompute" in str(caught.value)


def test_a_real_studys_numbers_are_all_there(tmp_path: Path) -> None:
    """From results.json as the engine writes it: with retrains, correctness, a ROPE and a target."""
    import helpers

    arms = (helpers.RANDOM, helpers.PBT, helpers.GREEDY)
    document = helpers.document({"name": "guess"}, arms=arms, replicates=7, retrains=2)
    document["comparison"] |= {"rope": 0.05, "target": 0.3}
    run_dir = helpers.run(document, tmp_path).run_dir
    html = build_report(run_dir).read_text(encoding="utf-8")
    # What results.json alone, moved elsewhere, gives is the same.
    other = tmp_path / "other"
    shutil.copytree(run_dir / "models", other / "models")
    for name in ("results.json", "segments.csv", "execution.json"):
        (other / name).write_bytes((run_dir / name).read_bytes())
    assert build_report(other).read_text(encoding="utf-8") == html
    results = helpers.results(run_dir)
    for found in results["comparisons"]:
        for name in ("p_holm", "p_tost_holm"):
            assert f"{found[name]:.3g}".replace("-", "−") in html
        for name in ("images", "incumbent", "budget_equivalence", "power", "numbers"):
            assert found[name] is not None
    assert results["several"] is not None
    assert results["retraining"]["pbt"]["retrains"] == 2
    for title in ("luck", "until a validation"):
        assert title in html


@pytest.mark.parametrize(
    ("kind", "first"),
    [("better", "pbt-truncation"), ("worse", "random"), ("inconclusive", None), ("cannot show a difference", None)],
)
def test_the_winner_comes_first_and_without_a_verdict_nobody_wins(
    whole: Path, synthetic: ModuleType, kind: str, first: str | None
) -> None:
    def change(results: dict[str, Any]) -> None:
        comparison = results["comparisons"][0]
        comparison["verdict"]["kind"] = kind
        comparison["incumbent"] |= {"better_from": None, "worse_from": None}

    title = build_page(load_run(synthetic.edited(whole, change)), []).verdicts[0].title
    if first is None:
        assert not re.search(r"\b(less|more|lower|higher|better|worse)\b", title)
    else:
        assert title.startswith(f"{first} has 1.235")
        assert "less test error" in title


def test_the_verdict_and_the_table_spell_the_difference_alike(whole: Path) -> None:
    page = build_page(load_run(whole), [])
    comparison = page.section("comparison")
    assert comparison
    shown = comparison.tables[0].columns[2].cells[0]
    assert shown.startswith("−1.235")
    assert shown in page.verdicts[0].words[0]
