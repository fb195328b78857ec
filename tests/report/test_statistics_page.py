"""The statistics part of the report: every number of results.json is there, and nothing that may not be."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hpo.report import build_report
from hpo.report.data import load_run
from hpo.report.html import render_html, render_markdown
from hpo.report.page import build_page

Make = Callable[..., Path]
#: Numbers of the made-up comparison that suppose a number of pairs that was fixed beforehand.
FIXED = (
    "0.00391",  # sign-flip p
    "0.00781",  # adjusted
    "0.00314",  # t test
    "0.0195 (W = 3.5)",  # Wilcoxon
    "0.0215",  # sign test
    "0.0666 (lower 0.0666, upper 0.0011)",  # TOST
    "0.133",  # TOST, adjusted
    "1.01",  # detectable d_z
    "df 23.4",
)
ALWAYS = (
    "−1.23",  # d_z
    "−1.13",  # g_z
    "0.0625",  # share of pairs
    "0.136",  # A12
    "−0.729",  # Cliff's delta
    "+0.457",  # correlation
    "1.79 ×",  # seeds of an unpaired design
    "± 0.2",  # ROPE
    "0.098",  # noise floor
)


def edited(synthetic: ModuleType, folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    results = synthetic.read_results(folder)
    change(results)
    synthetic.write_json(folder / "results.json", results)
    return folder


def texts(folder: Path) -> tuple[str, str]:
    page = build_page(load_run(folder), [])
    return render_html(page), render_markdown(page).replace("\\", "")


def test_every_number_is_on_the_page(small_run: Make) -> None:
    for text in texts(small_run()):
        for number in (*FIXED, *ALWAYS):
            assert number in text, number


def test_the_whole_study_is_told(small_run: Make) -> None:
    for text in texts(small_run()):
        assert "pbt-truncation at this budget equals random at 2.3 times it, 95% interval 1.4 to 3.1" in text
        assert "8.123" in text  # Friedman
        assert "0.0123" in text
        assert "Nemenyi" in text  # why there is no critical-difference diagram
        assert "1.45" in text  # the target
        assert "79" in text  # the share of the search
        assert "0.00457" in text  # its variance in pp²
        for name in (
            "Assumptions",
            "What this design cannot say",
            "Where the difference comes from",
            "Against the budget",
        ):
            assert name in text


def test_differences_along_the_budget_are_told_at_several_horizons(small_run: Make, synthetic: ModuleType) -> None:
    def growing(results: dict[str, Any]) -> None:
        band = results["comparisons"][0]["incumbent"]
        points = range(8)
        band.update(budgets=[10 * (point + 1) for point in points], p=[1.0] * 8, better_from=None, worse_from=None)
        band.update(mean=[0.01 * point for point in points], low=[-0.5] * 8, high=[0.5] * 8)

    page = build_page(load_run(edited(synthetic, small_run(), growing)), [])
    assert page.statistics
    tables = [table for section in page.statistics.sections for table in section.tables]
    (table,) = [table for table in tables if table.header[0].startswith("difference in validation")]
    assert table.header[1:] == ("12.5%", "25%", "50%", "75%", "100%")
    # The last budget of at most each part of 80: the 1st, 2nd, 4th, 6th and 8th.
    assert [float(cell.split("\u202f")[0]) for cell in table.rows[0][1:]] == [0, 1, 3, 5, 7]


def test_an_anytime_study_shows_no_number_of_a_fixed_design(small_run: Make, synthetic: ModuleType) -> None:
    folder = edited(synthetic, small_run(), synthetic.make_anytime)
    for text in texts(folder):
        for number in ("0.00391", "0.00781", "0.00314", "0.0195", "1.01", "t interval", "TOST"):
            assert number not in text, number
        assert "e-value" in text
        assert "confidence sequence" in text
        assert "n = 3" in text
        assert "biased away from 0" in text
        assert "symmetric about 0" in text
    build_report(folder)
    names = {path.stem for path in (folder / "figures").glob("*.png")}
    assert {"anytime", "pairs", "differences", "incumbent"} <= names


def test_a_changed_plan_is_told_with_its_changes(small_run: Make, synthetic: ModuleType) -> None:
    def change(results: dict[str, Any]) -> None:
        line = "comparison.alpha: 0.05 -> 0.1"
        results["registration"]["amendments"] = [{"tests_opened": 4, "changes": [line]}]
        for comparison in results["comparisons"]:
            comparison["verdict"] = {"kind": "changed after looking", "words": f"No verdict: {line}."}

    for text in texts(edited(synthetic, small_run(), change)):
        assert "comparison.alpha: 0.05 -" in text
        assert "4 test results" in text
        assert "exploratory" in text
        assert "A verdict: seeds or arms were added, or the plan was changed" in text


def test_the_registered_plan_is_told(small_run: Make) -> None:
    for text in texts(small_run()):
        assert "3fa9000000000000" in text
        assert "not changed since" in text


def test_equivalence_goes_by_the_adjusted_p(small_run: Make, synthetic: ModuleType) -> None:
    def passes(results: dict[str, Any]) -> None:
        for comparison in results["comparisons"]:
            comparison["p_tost_holm"] = 0.05

    page = build_page(load_run(edited(synthetic, small_run(), passes)), [])
    assert page.statistics
    (row,) = [row for table in page.statistics.sections[0].tables for row in table.rows if row[0] == "equivalence"]
    assert set(row[1:]) == {"equivalent"}


def test_what_was_never_planned_or_says_nothing_is_not_shown(small_run: Make, synthetic: ModuleType) -> None:
    """Fault 19: no target that nobody stated, and no budget equivalence without an interval."""

    def change(results: dict[str, Any]) -> None:
        results["comparison"]["target"] = None
        for c in results["comparisons"]:
            c["budget_equivalence"]["interval"]["high"] = None

    for text in texts(edited(synthetic, small_run(), change)):
        assert "until a validation" not in text
        assert "2.3 times" not in text
        assert "Budget equivalence" not in text


def test_intervals_stand_beside_their_level(small_run: Make, synthetic: ModuleType) -> None:
    """Fault 16: intervals of 95% stood beside verdicts that were decided at another level."""

    def change(results: dict[str, Any]) -> None:
        results["comparisons"][0]["level"] = 0.0125

    for text in texts(edited(synthetic, small_run(), change)):
        assert "pp (98.75%)" in text
        assert "pp (97.5%)" in text
        assert "95% t interval" not in text


def test_two_families_are_promised_as_two(small_run: Make) -> None:
    """Fault 17: "the chance of any false claim" is not held at alpha where equivalence is tested too."""
    for text in texts(small_run()):
        (promise,) = [
            line for line in text.splitlines() if "Holm's method" in line.replace("&#39;", "'") and "chance" in line
        ]
        assert "any false better or worse" in promise
        assert "twice alpha" in text
        assert "any false claim" not in text


@pytest.mark.parametrize("kind", ["better", "inconclusive", "cannot show a difference", "worse"])
def test_no_sentence_says_what_the_verdict_forbids(small_run: Make, synthetic: ModuleType, kind: str) -> None:
    """Fault 11: "better from 1.5 epochs on" stood beside the verdict "cannot show a difference"."""

    def change(results: dict[str, Any]) -> None:
        for c in results["comparisons"]:
            assert c["incumbent"]["better_from"] is not None
            c["verdict"]["kind"] = kind

    for text in texts(edited(synthetic, small_run(), change)):
        assert ("is better than random from" in text) == (kind == "better")


def test_what_all_comparisons_share_is_said_once(small_run: Make) -> None:
    page = build_page(load_run(small_run()), [])
    assert len(set(page.limits)) == len(page.limits)
    assert len(set(page.assumptions)) == len(page.assumptions)


def test_meanings_are_given_for_what_is_shown(small_run: Make) -> None:
    page = build_page(load_run(small_run()), [])
    assert page.statistics
    explained = {name for name, _ in page.statistics.meanings}
    lines = page.statistics.sections[0].tables[0].rows
    shown = {row[0] for row in lines if len(row) > 1}
    assert shown <= explained


def test_bad_statistics_are_named(small_run: Make, synthetic: ModuleType) -> None:
    from hpo.report import ReportError

    changes: list[tuple[Callable[[dict[str, Any]], object], str]] = [
        (
            lambda c: c["numbers"].update(ties="none"),
            r"comparisons\[0\]\.numbers\.ties: expected a non-negative integer",
        ),
        (lambda c: c["numbers"]["bootstrap_t"].update(low=1.0, high=0.0), "an interval with low <= high"),
        (lambda c: c["incumbent"]["mean"].pop(), "as many as budgets"),
        (lambda c: c["images"]["crossed"].pop("truncated"), r"images\.crossed\.truncated: missing"),
        (lambda c: c["budget_equivalence"].update(pool_arm="nobody"), "one of the arms"),
        (lambda c: c.update(power=[]), "expected a table"),
    ]
    folder = small_run()
    whole = synthetic.read_results(folder)
    for change, message in changes:
        results = json.loads(json.dumps(whole))
        change(results["comparisons"][0])
        synthetic.write_json(folder / "results.json", results)
        with pytest.raises(ReportError, match=message):
            load_run(folder)


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
    other.mkdir()
    for name in ("results.json", "segments.csv", "execution.json"):
        (other / name).write_bytes((run_dir / name).read_bytes())
    assert build_report(other).read_text(encoding="utf-8") == html
    results = helpers.results(run_dir)
    for found in results["comparisons"]:
        assert found["verdict"]["words"].split(" (")[0] in re.sub(r"&#3[49];", "'", html)
        for name in ("p_holm", "p_sign_flip", "p_t", "p_tost_holm"):
            assert f"{found[name]:.3g}".replace("-", "−") in html
        for name in ("images", "incumbent", "budget_equivalence", "power", "numbers"):
            assert found[name] is not None
    assert results["several"] is not None
    assert results["retraining"]["pbt"]["retrains"] == 2
    for title in ("luck", "Friedman", "until a validation"):
        assert title in html
