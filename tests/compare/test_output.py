"""What is written and printed: files that are the same every time, labels that are only ever text, and exit codes."""

import json
import os
import re
import subprocess
import sys

import pytest

from hpo.compare.__main__ import main
from hpo.core.files import write_atomic

HOSTILE = [
    "<script>alert(1)</script>",
    "../../x",
    "_$\\frac{1",
    "a|b\n*c* [d](http://e) {{ 7 * 7 }} {rank}",
    "[red]r[/red] :smile:",
    "\x1b[31m\x07bell",
    "=cmd()",
    "x" * 300,
]
OPTIONS = ("--metric", "error", "--direction", "minimize")
FILES = {"compare.html", "compare.md", "compare.json"}
FIGURES = {f"figures/{name}.{kind}" for name in ("tasks", "critical-difference") for kind in ("png", "svg")}


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def command(*arguments, **environment):
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-m", "hpo.compare", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        timeout=120,
    )


@pytest.fixture
def rows(gaussian):
    return gaussian({"a": 0.0, "b": -0.01, "c": 0.02}, tasks=3, seeds=3)


# --- files ---------------------------------------------------------------------------------------------------------------


def test_everything_is_written_and_the_same_every_time(compare, table, rows, tmp_path):
    path = table(rows)
    said = compare(path, *OPTIONS, "--out", tmp_path / "new" / "out")
    assert said.code == 0
    assert said.out.splitlines()[-1] == f"report: {tmp_path / 'new' / 'out' / 'compare.html'}"
    first = files(tmp_path / "new" / "out")
    assert first.keys() == FILES | FIGURES
    # In another process, with other sets: there, look at what it imports as well.
    other = command(path, *OPTIONS, "--out", tmp_path / "other", PYTHONHASHSEED="7", PYTHONPROFILEIMPORTTIME="1")
    assert other.returncode == 0
    assert files(tmp_path / "other") == first
    assert other.stdout == said.out.replace(str(tmp_path / "new" / "out"), str(tmp_path / "other"))
    assert all(line.startswith("import time:") for line in other.stderr.splitlines())
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in other.stderr.splitlines()}
    assert "scipy" in imported
    assert not imported & {"torch", "optuna"}


def test_figures_of_an_earlier_comparison_do_not_stay(compare, table, rows, tmp_path):
    compare(table(rows), *OPTIONS, "--out", tmp_path / "out")
    (tmp_path / "out" / "figures" / "mine.png").write_bytes(b"mine")
    compare(table([row for row in rows if row[0] != "c"]), *OPTIONS, "--out", tmp_path / "out")
    assert files(tmp_path / "out").keys() == {*FILES, "figures/tasks.png", "figures/tasks.svg", "figures/mine.png"}
    assert "critical-difference" not in (tmp_path / "out" / "compare.md").read_text()


def test_html_stands_alone_and_shows_what_the_console_says(compare, table, rows, tmp_path):
    said = compare(table(rows), *OPTIONS, "--baseline", "a", "--out", tmp_path)
    html, markdown = ((tmp_path / f"compare.{kind}").read_text() for kind in ("html", "md"))
    assert html.count("data:image/png;base64,") == 2
    assert not re.search(r"(src|href)=\"(?!data:|#)", html)
    assert re.findall(r"\]\((.*?)\)", markdown) == ["figures/tasks.png", "figures/critical-difference.png"]
    document = json.loads((tmp_path / "compare.json").read_bytes())
    for comparison in document["comparisons"]:
        words = comparison["on_these_tasks"]["words"]
        assert words in said.words
        assert words in html
        assert words.replace("_", "\\_") in markdown
        refusal = comparison["on_new_tasks"]["words"]
    for text in (said.words, html, markdown):
        assert text.count(refusal) == 1
        assert "critical difference of mean ranks is 1.91" in text


def test_markdown_tables_are_whole(compare, table, rows, tmp_path):
    for options in ((), ("--baseline", "a")):
        compare(table(rows), *OPTIONS, *options, "--out", tmp_path)
        blocks = re.findall(r"(?:^\|.*\n)+", (tmp_path / "compare.md").read_text(), flags=re.MULTILINE)
        assert len(blocks) == 1 + 1 + (2 if options else 3) + 1 + 3  # main, means, each comparison, Nemenyi, values
        for block in blocks:
            assert len({line.count("|") for line in block.splitlines()}) == 1
            assert set(block.splitlines()[1]) <= set("| -:")


def test_tables_show_no_empty_columns_and_one_number_of_decimals(compare, table, rows):
    out = compare(table([row for row in rows if row[0] != "c"]), *OPTIONS).out
    lines = [line.split() for line in out.splitlines() if line.startswith(" task")]
    assert lines[0] == [
        "task",
        "pairs",
        "a",
        "b",
        "mean",
        "difference",
        "d_z",
        "sign-flip",
        "p",
    ]
    assert {len(row[2].partition(".")[2]) for row in lines[1:]} == {4}
    single = compare(table([row for row in rows if row[2] == 0 and row[0] != "c"]), *OPTIONS).out
    (header,) = (line.split() for line in single.splitlines() if line.startswith(" task "))
    assert header == ["task", "a", "b", "difference"]


@pytest.mark.parametrize("seeds", [1, 3], ids=["one value per task", "seeds"])
def test_two_arms_are_shown_with_the_interval_that_decides(compare, table, gaussian, seeds, tmp_path):
    """Fault 19: the console shows p, its interval and the ties, for two arms too; no interval of another test beside them."""
    said = compare(table(gaussian({"a": 0.0, "b": -0.01}, tasks=8, seeds=seeds)), *OPTIONS, "--out", tmp_path)
    (found,) = json.loads((tmp_path / "compare.json").read_bytes())["comparisons"]
    table_of_all = said.out.partition("\nComparison")[2].partition("Differences are")[0].replace("\N{MINUS SIGN}", "-")
    shown = [float(number) for number in re.findall(r"[-+]?\d*\.\d+(?![\d%])", table_of_all)]
    for end in ("low", "high"):
        assert any(number == pytest.approx(found["interval"][end], rel=0.05, abs=1e-3) for number in shown)
    assert "(95%)" in table_of_all
    assert "t interval" not in said.out


def test_a_table_of_one_value_per_task_shows_each_value_once(compare, table, rows, tmp_path):
    """It has no means, and no table per task of a single row."""
    compare(table([row for row in rows if row[2] == 0]), *OPTIONS, "--baseline", "a", "--out", tmp_path)
    written = (tmp_path / "compare.md").read_text()
    assert "## Values" in written
    assert "Means" not in written
    assert "Every value" not in written


def test_values_are_shown_as_they_were_given(compare, table, tmp_path):
    rows = [("a", "t", i, v) for i, v in enumerate((12, 15, 19))] + [
        ("b", "t", i, v) for i, v in enumerate((11, 15, 12))
    ]
    compare(table(rows), *OPTIONS, "--out", tmp_path)
    html = (tmp_path / "compare.html").read_text()
    rows_shown = [re.findall(r"<td.*?>(.*?)</td>", row) for row in html.split("<tr>")]
    assert ["0", "12", "11"] in rows_shown
    assert any(row[3:6] == ["15.33", "12.67", "−2.67"] for row in rows_shown)


def test_a_mean_that_rounds_to_nothing_has_no_sign(compare, table):
    rows = [("a", "t", i, v) for i, v in enumerate((0.5, -0.50001))] + [("b", "t", i, 0.3) for i in range(2)]
    assert re.search(
        r"^ b − a +2 +1 / 1 / 0 +0\.000 +0\.300 +\+0\.300 ", compare(table(rows), *OPTIONS).out, re.MULTILINE
    )


def test_tasks_on_different_scales_have_decimals_of_their_own(compare, table):
    rows = [(a, t, i, s * (5 + i + (a == "b"))) for t, s in (("x", 1000), ("y", 0.001)) for i in range(3) for a in "ab"]
    out = compare(table(rows), *OPTIONS).out
    assert re.search(r"^ x +3 +6000\.0 +7000\.0 +\+1000\.0 ", out, re.MULTILINE)
    assert re.search(r"^ y +3 +0\.0060\d* +0\.0070\d* +\+0\.0010\d* ", out, re.MULTILINE)


# --- hostile labels ------------------------------------------------------------------------------------------------------


def test_labels_are_text_and_never_markup_or_paths(compare, table, tmp_path):
    rows = [
        (arm, task, f"<b>{s}", i + s + t)
        for i, arm in enumerate(HOSTILE)
        for t, task in enumerate(HOSTILE)
        for s in (0, 1)
    ]
    before = files(tmp_path).keys()
    said = compare(table(rows, "<i>err</i>"), *OPTIONS[2:], "--baseline", HOSTILE[0], "--out", tmp_path / "out")
    assert said.code == 0
    assert files(tmp_path).keys() - before == {"results.csv", *(f"out/{name}" for name in FILES | FIGURES)}
    html, markdown = ((tmp_path / "out" / f"compare.{kind}").read_text() for kind in ("html", "md"))
    for text in (html, markdown):
        for tag in ("<script", "<i>", "<b>0"):
            assert tag not in text
        assert "7 * 7" in text.replace("\\*", "*")
    assert "{{ 7 * 7 }} {rank}" in html
    assert "[d](" not in markdown
    assert "[red]r[/red] :smile:" in said.out
    for text in (said.out, html, markdown):
        assert all(character.isprintable() or character == "\n" for character in text)
    svg = (tmp_path / "out" / "figures" / "critical-difference.svg").read_text()
    assert "<script" not in svg
    document = json.loads((tmp_path / "out" / "compare.json").read_bytes())
    assert set(document["arms"]) == {
        label.strip() for label in HOSTILE
    }  # as they are, where nothing can read them wrong


def test_labels_that_look_alike_stay_apart(compare, table):
    rows = [
        (arm, "t", s, i) for i, arm in enumerate(("a\x01", "a\x02", "y" * 70 + "1", "y" * 70 + "2")) for s in range(2)
    ]
    said = compare(table(rows), *OPTIONS)
    assert "Arms: a\ufffd, a\ufffd (2), " + "y" * 59 + "…, " + "y" * 59 + "… (2)" in said.words


@pytest.mark.parametrize("label", ["a\nb", "\x1b]0;x\x07", "\u202e"])
def test_an_error_is_one_line_without_control_characters(table, refused, label):
    said = refused(table([(label, label, 0, 1)]), "--metric", "error", "--baseline", label)
    assert said.isprintable()


# --- the command ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("out", ["file", "file/below", "readonly/figures/x"])
def test_what_cannot_be_written_is_exit_code_1(compare, table, rows, tmp_path, out):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "readonly").mkdir()
    (tmp_path / "readonly" / "figures").write_text("in the way")
    said = compare(table(rows), *OPTIONS, "--out", tmp_path / out)
    assert said.code == 1
    assert said.err.startswith(f"error: cannot write {tmp_path / out}: ")
    assert said.err.count("\n") == 1
    assert "b is better than a" in said.out  # what was found is printed all the same


def test_a_full_disk_leaves_the_old_files(compare, table, rows, tmp_path, monkeypatch):
    compare(table(rows), *OPTIONS, "--out", tmp_path / "out")
    before = files(tmp_path / "out")

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hpo.compare.output.write_atomic", full)
    said = compare(table(rows[:6]), *OPTIONS, "--out", tmp_path / "out")
    assert (said.code, said.err) == (1, f"error: cannot write {tmp_path / 'out'}: No space left on device\n")
    monkeypatch.setattr("hpo.compare.output.write_atomic", write_atomic)
    assert files(tmp_path / "out") == before


@pytest.mark.parametrize(
    "arguments", [[], ["x.csv", "--direction", "up"], ["x.csv", "--alpha", "small"], ["--frobnicate"]]
)
def test_a_wrong_command_line_is_exit_code_2(arguments):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2


def test_as_a_command(tmp_path):
    wrong = command(tmp_path / "nowhere")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == f"error: {tmp_path / 'nowhere'}: no such run directory or CSV file\n"


def test_help_needs_nothing_heavy():
    code = (
        "import sys\n"
        "from hpo.compare.__main__ import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as stopped: assert stopped.code == 0\n"
        "print([m for m in ('torch', 'optuna', 'scipy', 'numpy', 'matplotlib', 'rich') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for option in ("--baseline", "--metric", "--direction", "--alpha", "--out"):
        assert option in done.stdout
    assert "Exit codes: 0 done; 2 the inputs cannot be compared; 1 the output cannot be written." in " ".join(
        done.stdout.split()
    )


# --- figures -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tasks", "arms", "seeds"), [(45, 2, 2), (2, 7, 2), (1, 3, 2), (1, 2, 1), (3, 3, 1)])
def test_figures_of_every_shape(compare, table, gaussian, tmp_path, tasks, arms, seeds):
    rows = gaussian({f"arm{i}": i / 100 for i in range(arms)}, tasks=tasks, seeds=seeds)
    assert compare(table(rows), *OPTIONS, "--out", tmp_path).code == 0
    size = (tmp_path / "figures" / "tasks.png").stat().st_size
    assert 5_000 < size < 1_000_000


def test_arms_that_are_equal_everywhere_are_drawn(compare, table, tmp_path):
    rows = [(arm, f"t{t}", seed, 1) for arm in "abc" for t in range(3) for seed in range(2)]
    said = compare(table(rows), *OPTIONS, "--out", tmp_path)
    assert said.code == 0
    assert "Friedman's chi-square –, p = 1 (exact)." in said.words
    assert files(tmp_path).keys() >= FIGURES
