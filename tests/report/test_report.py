"""Whole reports: what is written, what is shown and what must not be."""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import helpers
import pytest

from hpo.report.build import build_report
from hpo.report.content import build_page
from hpo.report.data import load_run
from hpo.report.page import Page, Picture, Section
from hpo.report.render import render_html, render_markdown

Make = Callable[..., Path]
STUDY = ("pairs", "differences", "incumbent")
"""The figures of a study that is not anytime."""
HOSTILE = "<script>alert(1)</script> ../../x _$\\frac{1 a|b\n*c* [d](http://e) {{ 7 * 7 }} <img src=x onerror=alert(1)>"


def page_of(folder: Path) -> Page:
    return build_page(load_run(folder), [])


def part(page: Page, name: str) -> Section:
    found = page.section(name)
    assert found
    return found


def texts(folder: Path) -> tuple[str, str]:
    page = page_of(folder)
    return helpers.without_scripts(render_html(page)), render_markdown(page)


def test_is_rebuilt_from_two_files_and_byte_identical(small_run: Make, tmp_path: Path) -> None:
    folder = small_run(planned=1, finished=1)
    (folder / "execution.json").unlink()
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    assert build_report(folder) == folder / "report.html"
    build_report(copy)
    files = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert files == {path.relative_to(copy): path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    names = {f"{name}.{kind}" for name in (*STUDY, *_seed_figures(0)) for kind in ("png", "svg", "pdf")}
    assert {path.name for path in (folder / "figures").iterdir()} == {*names, "index.json"}
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert html.count("<figure data-chart=") == html.count("</figure>") == 9
    assert not re.search(r"(src|href)=\"(?!#)", helpers.without_scripts(html))


@pytest.mark.parametrize(("holds", "code"), [(True, 0), (False, 1)])
def test_what_a_study_has_drawn_is_left_undone_when_the_study_is_gone(small_run: Make, holds: bool, code: int) -> None:
    folder = small_run(planned=4, finished=4)
    command = [sys.executable, "-m", "hpo.report", str(folder), "--lifeline"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        if not holds:
            process.stdin.close()
        assert process.wait() == code
    assert (folder / "report.html").exists() == holds


def _seed_figures(seed: int) -> list[str]:
    return [f"{name}-seed-{seed}" for name in ("validation", "hyperparameters", "schedule")]


def test_draws_only_what_changed(small_run: Make, synthetic: ModuleType) -> None:
    folder = small_run(planned=2, finished=1, labels=("random", "pbt-truncation"))
    build_report(folder)
    figures = folder / "figures"
    before = {path.name: path.stat().st_mtime_ns for path in figures.glob("*.png")}
    (figures / "schedule-seed-0.png").write_bytes(b"damaged")
    synthetic.edited(folder, lambda r: r["study"]["study"].update(name="renamed"))
    build_report(folder)
    after = {path.name: path.stat().st_mtime_ns for path in figures.glob("*.png")}
    assert {name for name in before if before[name] != after[name]} == {"schedule-seed-0.png"}
    assert (figures / "schedule-seed-0.png").read_bytes().startswith(b"\x89PNG")


def test_hostile_texts_are_escaped_and_never_paths(small_run: Make, synthetic: ModuleType, tmp_path: Path) -> None:
    def poison(results: dict[str, Any]) -> None:
        results["task"]["unit"] = results["task"]["name"] = HOSTILE.replace("\n", " ")
        results["environment"]["versions"][HOSTILE] = HOSTILE
        results["arms"][1]["optimizer"] = HOSTILE
        results["arms"][1]["options"][HOSTILE] = [HOSTILE, {HOSTILE: HOSTILE}]
        for name in ("lr", "momentum"):
            results["task"]["search_space"][f"{HOSTILE}{name}"] = results["task"]["search_space"].pop(name)
            steps = [s for r in results["replicates"] for arm in r["arms"].values() for s in arm["schedule"]]
            for step in steps:
                step["hparams"][f"{HOSTILE}{name}"] = step["hparams"].pop(name)
        for comparison in results["comparisons"]:
            comparison["verdict"]["words"] = HOSTILE

    folder = synthetic.edited(small_run(planned=1, finished=1), poison)
    before = {path for path in tmp_path.rglob("*") if folder not in path.parents}
    build_report(folder)
    assert {path for path in tmp_path.rglob("*") if folder not in path.parents} == before
    assert all(
        re.fullmatch(rf"({'|'.join(STUDY)}|[a-z]+-seed-0)\.(png|svg|pdf)|index\.json", p.name)
        for p in (folder / "figures").iterdir()
    )
    html = helpers.without_scripts((folder / "report.html").read_text(encoding="utf-8"))
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "{{ 7 * 7 }}" in html
    parts = re.split(r"^```\w*$", markdown, flags=re.MULTILINE)
    prose, codes = "".join(parts[::2]), parts[1::2]
    assert sum("[d](" in code for code in codes) == 3  # TOML, JSON and Python, where it is no link
    assert "[d](" not in prose
    for text in (
        html,
        prose,
        *(path.read_text(encoding="utf-8") for path in (folder / "figures").glob("*.svg")),
    ):
        assert "<script" not in text
        assert "<img src=x" not in text


def test_in_progress_shows_pairs_and_means_only(small_run: Make) -> None:
    html, markdown = texts(small_run(planned=3, finished=2))
    for text in (html, markdown):
        assert "in progress (2 of 3)" in text
        assert "mean difference" in text
        for number in ("Holm-adjusted", "t interval", "sign-flip", "variance", "pp²"):
            assert number not in text


def test_finished_shows_the_verdict(small_run: Make) -> None:
    folder = small_run(planned=8, finished=8)
    for text in texts(folder):
        assert "8 of 8 planned replicates finished" in text
        assert "Holm-adjusted exact sign-flip p (decides)" in text
    page = page_of(folder)
    kinds = [comparison.verdict.kind for comparison in load_run(folder).results.comparisons]
    assert [verdict.kind for verdict in page.verdicts] == kinds
    assert "Verdict" in texts(folder)[1].splitlines()[4]  # after the title and how far the study is


def test_extended_after_looking_decides_nothing(small_run: Make, synthetic: ModuleType) -> None:
    def extend(results: dict[str, Any]) -> None:
        for comparison in results["comparisons"]:
            comparison["verdict"] |= {"kind": "extended after looking", "words": "Exploratory."}

    html, _ = texts(synthetic.edited(small_run(), extend))
    assert "(exploratory)" in html
    assert "decides" not in html


def test_one_replicate_says_it_has_no_intervals(small_run: Make) -> None:
    page = page_of(small_run(planned=1, finished=1))
    comparison = part(page, "comparison")
    assert comparison.tables[0].rows[0][4:] == ("–", "1")
    assert any("With one replicate" in note for note in comparison.notes)
    assert any(sentence.startswith("One replicate:") for sentence in part(page, "limits").items)


def test_one_arm_has_no_caption_of_a_comparison(small_run: Make) -> None:
    """Fault 31: captions spoke of a band, and of lines that join arms, where there were none."""
    folder = small_run(planned=2, finished=2, labels=("random",))
    build_report(folder)
    text = (folder / "report.md").read_text(encoding="utf-8")
    captions = [line for line in text.splitlines() if line.startswith("*Figure")]
    assert len(captions) == 2
    assert not [line for line in captions if "band" in line or "baseline" in line or "joins" in line]


def test_one_arm_is_plain_tuning(small_run: Make) -> None:
    folder = small_run(planned=1, finished=1, labels=("random",))
    html = build_report(folder).read_text(encoding="utf-8")
    assert "Baseline" not in html
    assert ">Comparison</h2>" not in html
    assert "<blockquote" not in html
    assert (folder / "figures" / "pairs.png").is_file()


def test_nothing_finished_yet(small_run: Make) -> None:
    folder = small_run(finished=0)
    assert "No replicate has finished yet" in build_report(folder).read_text(encoding="utf-8")
    assert not list((folder / "figures").glob("*.png"))


def test_the_toys_figures_are_drawn_by_the_docs(tmp_path: Path) -> None:
    study = tomllib.loads((helpers.ROOT / "studies/toy_figure2.toml").read_text(encoding="utf-8"))
    study["study"]["budget"] = 20
    helpers.run(study, tmp_path / "toy")
    script = helpers.ROOT / "docs/figures/toy.py"
    subprocess.run([sys.executable, str(script), str(tmp_path / "toy"), str(tmp_path)], check=True)
    assert all((tmp_path / f"toy_{name}.png").read_bytes().startswith(b"\x89PNG") for name in ("score", "plane"))


def test_all_diverged_and_nulls(small_run: Make, synthetic: ModuleType) -> None:
    folder = small_run(planned=1, finished=1, labels=("random", "pbt-truncation"))

    def diverge(results: dict[str, Any]) -> None:
        for outcome in results["replicates"][0]["arms"].values():
            outcome["test"] = {"error": 1.0, "loss": None, "error_count": 10000, "count": 10000}
            outcome["validation"] = dict.fromkeys(outcome["validation"])
            outcome |= {"test_diverged": True, "all_diverged": 2}
        results["comparisons"][0]["differences"] = [0.0]

    synthetic.edited(folder, diverge)
    lines = [line | {"error": None} for line in _segment_lines(synthetic, folder)]
    synthetic.write_segments(folder / "segments.csv", lines)
    html = build_report(folder).read_text(encoding="utf-8")
    assert "diverged: its non-finite outputs on the test set count as wrong" in html
    assert "All members of random, seed 0, had diverged at 2 exploit" in html
    assert not (folder / "figures" / "validation-seed-0.png").exists()
    assert (folder / "figures" / "hyperparameters-seed-0.png").exists()


def _segment_lines(synthetic: ModuleType, folder: Path) -> list[dict[str, Any]]:
    rows = load_run(folder).segments[0]
    return [
        {
            "seed": 0,
            "arm": row.arm,
            "member": row.member,
            "interval": row.interval,
            "parent": row.parent,
            "best": row.best,
            "error": row.metrics["error"],
            "hparams": row.hparams,
        }
        for row in rows
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r["arms"][1]["options"].update(select="any"), "different rules"),
        (lambda r: _outcome(r).update(charged_intervals=2), "budgets differ"),
        (lambda r: _outcome(r).update(test_openings=2), "opened 2 times"),
        (lambda r: [s["arms"]["pbt-truncation"].update(exploits=0) for s in r["replicates"]], "never exploited"),
        (lambda r: _outcome(r)["test"].update(error=0.5), "contradicts itself"),
    ],
)
def test_cautions(
    small_run: Make, synthetic: ModuleType, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    folder = small_run()
    assert page_of(folder).cautions == ()
    assert said in " ".join(page_of(synthetic.edited(folder, change)).cautions)


def _outcome(results: dict[str, Any]) -> dict[str, Any]:
    outcome: dict[str, Any] = results["replicates"][0]["arms"]["pbt-truncation"]
    return outcome


def test_pairs_table_has_counts_differences_and_means(small_run: Make, synthetic: ModuleType) -> None:
    folder = small_run(planned=2, finished=2, labels=("random", "pbt-truncation"))

    def fix(results: dict[str, Any]) -> None:
        for replicate, (a, b) in zip(results["replicates"], [(120, 100), (110, 105)], strict=True):
            for label, count in (("random", a), ("pbt-truncation", b)):
                replicate["arms"][label]["test"] |= {"error": count / 10_000, "error_count": count}
        results["comparisons"][0]["differences"] = [-0.002, -0.0005]

    (table,) = part(page_of(synthetic.edited(folder, fix)), "pairs").tables
    plain = [[cell.replace("\u202f", " ") for cell in row] for row in (*table.rows, table.foot)]
    assert plain == [
        ["0", "1.20 % (120)", "1.00 % (100)", "−0.20 pp"],
        ["1", "1.10 % (110)", "1.05 % (105)", "−0.05 pp"],
        ["mean", "1.150 %", "1.025 %", "−0.125 pp"],
    ]


def test_the_ledger_has_what_an_optimizer_counts(small_run: Make, synthetic: ModuleType) -> None:
    def count(results: dict[str, Any]) -> None:
        for seed, replicate in enumerate(results["replicates"]):
            replicate["arms"]["pbt-truncation"]["pruned_trials"] = 3 + seed

    folder = synthetic.edited(small_run(planned=2, finished=2, labels=("random", "pbt-truncation")), count)
    (table,) = part(page_of(folder), "ledger").tables
    assert ("pruned trials", "–", "7", "7") in table.rows


def test_missing_segments_leave_out_their_figures_and_say_so(small_run: Make) -> None:
    folder = small_run(planned=1, finished=1)
    (folder / "segments.csv").unlink()
    html = build_report(folder).read_text(encoding="utf-8")
    assert "segments.csv is missing" in html
    assert {path.stem for path in (folder / "figures").glob("*.png")} == {*STUDY, "schedule-seed-0"}


def test_markdown_links_figures_relatively(small_run: Make) -> None:
    run = load_run(small_run(planned=1, finished=1))
    pictures = [Picture("pairs", "Every pair", b""), Picture("schedule-seed-0", "Best schedules", b"", seed=0)]
    markdown = render_markdown(build_page(run, pictures))
    assert re.findall(r"\]\((.*?)\)", markdown) == ["figures/pairs.png", "figures/schedule-seed-0.png"]
