"""Files for a paper: numbers that are those of compare.json, words that say no more, and labels that are only ever text."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from helpers import cases
from hypothesis import given, settings
from hypothesis import strategies as st

import hpo
from hpo.compare.latex.escape import escape

FILES = {"how_we_compared.tex", "table_means.tex", "table_comparison.tex", "figures.tex", "preview.tex"}
TASKS = {"figures/tasks.pdf", "figures/tasks.caption.tex"}
RANKS = {"figures/critical-difference.pdf", "figures/critical-difference.caption.tex"}
OPTIONS = ("--metric", "error", "--latex")

TEXT_COMMANDS = frozenset(
    re.findall(
        r"\S+",
        r"""\# \$ \% \& \_ \{ \} \, \\ \textbackslash \textasciitilde \textasciicircum \textless \textgreater \textbar \char
        \pm \times \infty \textdegree \ldots \ss \o \O \ae \AE \oe \OE \l \L \i \` \' \^ \~ \" \= \. \u \r \H \v \c
        \ifdefined \Umathchar \else \fi \alpha \beta \gamma \delta \epsilon \zeta \eta \theta \iota \kappa \lambda \mu \nu
        \xi \pi \rho \sigma \tau \upsilon \phi \chi \psi \omega \Gamma \Delta \Theta \Lambda \Xi \Pi \Sigma \Upsilon \Phi
        \Psi \Omega""",
    )
)
"""What text becomes: nothing here reads a file, defines a command or runs one."""
OUR_COMMANDS = frozenset(
    re.findall(
        r"\S+",
        r"""\documentclass \usepackage \begin \end \input \centering \caption \label \ref \toprule \midrule \bottomrule
        \textbf \textit \footnotesize \setlength \tabcolsep \bigskip \medskip \shortstack \includegraphics \linewidth
        \hpodir \providecommand \mathrm \circ \cdot \ast""",
    )
)


def code(text):
    """Return LaTeX without its comments, after checking that braces, dollars and environments are balanced."""
    lines = [re.sub(r"(?<!\\)((?:\\\\)*)%.*", r"\1", line) for line in text.split("\n")]
    body = "\n".join(lines)
    bare = re.sub(r"\\[^A-Za-z]", "", body)
    depth = 0
    for character in bare:
        depth += (character == "{") - (character == "}")
        assert depth >= 0
    assert depth == 0
    assert bare.count("$") % 2 == 0
    open_ones = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", body):
        if kind == "begin":
            open_ones.append(name)
        else:
            assert open_ones.pop() == name
    assert not open_ones
    return body


def commands(text):
    return set(re.findall(r"\\(?:[A-Za-z]+|[^A-Za-z])", text))


@pytest.fixture
def paper(compare, tmp_path):
    """Compare for LaTeX, and return the files' content by name, and what compare.json holds."""

    def write(*arguments):
        out = tmp_path / "paper"
        said = compare(*arguments, "--latex", "--out", out)
        assert said.code == 0, said.err
        assert said.out.splitlines()[-1] == f"LaTeX: {out / 'preview.tex'}"
        texts = {str(path.relative_to(out)): path.read_text() for path in out.rglob("*.tex")}
        for text in texts.values():
            assert text.startswith("% Written by hpo compare")
            assert commands(code(text)) <= TEXT_COMMANDS | OUR_COMMANDS
        return texts, json.loads((out / "compare.json").read_bytes())

    return write


def rows(text):
    """Return the cells of a table's rows."""
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)&", line.strip().removesuffix(r"\\"))]
        for line in code(text).split("\n")
        if line.rstrip().endswith(r"\\") and "&" in line
    ]


def number(cell):
    """Return the number in a cell, without marks and units."""
    return float(re.sub(r"\\textbf\{(.*?)\}", r"\1", cell).replace("$-$", "-").split()[0])


# --- numbers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("baseline", [None, "b"])
def test_means_are_those_of_the_document(paper, table, gaussian, baseline):
    path = table(gaussian({"a": 0.0, "b": -0.01, "c": 0.02}, tasks=3, seeds=5))
    texts, found = paper(path, "--metric", "error", *(["--baseline", baseline] if baseline else []))
    (header, *body, ranks) = rows(texts["table_means.tex"])
    assert header[:2] == ["task", "seeds"]
    for row, means in zip(body, found["means"], strict=True):
        assert row[:2] == [means["task"], "5"]
        values = found["tasks"][int(row[0][-1])]["values"]
        for cell, arm, mean, sd in zip(row[2:], "abc", means["arms"], means["sds"], strict=True):
            assert number(cell) == pytest.approx(mean, abs=6e-4)
            assert number(cell.split(r"\pm$")[1]) == pytest.approx(sd, abs=6e-4)
            assert mean == pytest.approx(sum(values[arm].values()) / 5)
            assert (r"\textbf" in cell) == (mean == min(means["arms"]))
    assert [*map(float, ranks[2:])] == pytest.approx(found["ranks"]["friedman"]["mean_ranks"], abs=6e-3)


def test_comparisons_are_those_of_the_document(paper, studies):
    texts, found = paper(studies.walk)
    (header, row) = rows(texts["table_comparison.tex"])
    (comparison,) = found["comparisons"]
    assert header[0] == "arm"
    assert row[0] == "pbt"
    assert row[-1] == comparison["on_these_tasks"]["kind"]
    assert number(row[header.index("$p$")]) == pytest.approx(comparison["fixed_p_holm"], rel=1e-2)
    assert number(row[3 if "mean" in header[3] else 5]) == pytest.approx(
        comparison["tasks"][0]["effect"]["mean"], rel=1e-2
    )
    assert comparison["on_these_tasks"]["words"].partition(":")[0] in texts["how_we_compared.tex"]


def test_marks_are_the_verdicts(paper, table):
    lines = []
    for i in range(10):
        values = {"a": 0.3, "better": 0.25 + i / 1000, "same": 0.3 + (-1) ** i / 1000, "worse": 0.35 + i / 1000}
        lines += [(arm, "t", i, value) for arm, value in values.items()]
    path = table(lines)
    texts, _ = paper(path, "--metric", "error", "--baseline", "a")
    names = [row[0] for row in rows(texts["table_means.tex"])[1:]]
    assert names == ["a", "better$^{+}$", r"same$^{\circ}$", "worse$^{-}$"]
    caption = texts["table_means.tex"].partition("tabular")[0]
    for legend in ("$^{+}$ better", "$^{-}$ worse", r"$^{\circ}$ inconclusive"):
        assert legend in caption
    texts, _ = paper(path, "--metric", "error")  # all pairs: letters of the arms that one is better than
    names = [row[0] for row in rows(texts["table_means.tex"])[1:]]
    assert names == [r"a (a)$^{\mathrm{d}}$", r"better (b)$^{\mathrm{a,c,d}}$", r"same (c)$^{\mathrm{d}}$", "worse (d)"]


def test_rates_are_percentages_with_the_unit_at_the_head(paper, table):
    texts, found = paper(table("seed,a,b\n0,12.5%,14%\n1,12%,13%\n2,11%,15%\n"), "--metric", "error")
    header, *body = rows(texts["table_means.tex"])
    assert header[1] == r"error (\%)"
    assert number(body[0][1]) == pytest.approx(100 * found["means"][0]["arms"][0], abs=0.05)
    assert any(r"(pp)" in title for title in rows(texts["table_comparison.tex"])[0])


# --- words ---------------------------------------------------------------------------------------------------------------


def test_the_paragraph_has_the_numbers_and_says_no_more_than_the_verdicts(paper, studies):
    """A study alone: its plan, pairs, level, and every verdict as it is."""
    texts, found = paper(studies.walk)
    said = " ".join(code(texts["how_we_compared.tex"]).split())
    assert "6 pairs per comparison" in said
    assert r"two-sided at $\alpha$ = 0.05" in said
    assert "fixed in the study file" in said
    assert "Nothing is concluded about other tasks" in said
    words = found["comparisons"][0]["on_these_tasks"]["words"]
    assert escape(words) in said
    verdict = found["comparisons"][0]["on_these_tasks"]["kind"]
    assert ("is better than" in said) == (verdict in ("better", "worse"))
    assert ("does not show that the arms are equal" in said) == (verdict not in ("better", "worse"))


def test_several_tasks_several_arms_and_no_plan(paper, table, gaussian):
    effects = {"a": 0.0, "b": -0.001, "c": 0.001}
    texts, found = paper(table(gaussian(effects, tasks=7, seeds=4)), "--metric", "error")
    said = " ".join(code(texts["how_we_compared.tex"]).split())
    assert "in all pairs" in said
    assert "with 4 seeds each" in said
    assert "28 pairs per comparison" in said
    assert "family-wise error rate of the 3 comparisons, in each of the two families" in said
    assert "No record shows" in said
    assert "fixed in the study file" not in said
    for comparison in found["comparisons"]:
        for verdict in ("on_these_tasks", "on_new_tasks"):
            assert escape(comparison[verdict]["words"]) in said
    assert texts.keys() == {name for name in FILES | TASKS | RANKS if name.endswith(".tex")}


def test_what_departs_from_the_plan_has_no_verdict(paper, studies):
    texts, _ = paper(studies.walk, "--metric", "spread")
    said = " ".join(code(texts["how_we_compared.tex"]).split())
    assert "every $p$ is exploratory, and there is no verdict" in said
    assert "is better than" not in said
    assert "no verdict" in rows(texts["table_comparison.tex"])[1][-1]


def test_many_comparisons_are_left_to_the_table(paper, table, gaussian):
    texts, found = paper(table(gaussian({f"m{i}": 0.0 for i in range(5)}, tasks=1, seeds=6)), "--metric", "error")
    assert r"Table~\ref{tab:hpo-comparison}" in texts["how_we_compared.tex"]
    assert r"\label{tab:hpo-comparison}" in texts["table_comparison.tex"]
    assert len(rows(texts["table_comparison.tex"])) == 1 + len(found["comparisons"]) == 11


def test_missing_values_and_cautions_are_said(paper, table):
    texts, _ = paper(
        table("seed,a,b\n" + "".join(f"{i},0.1,0.{i}\n" for i in range(1, 8)) + "8,NA,0.1\n"), "--metric", "error"
    )
    assert "1 missing value left out the pairs that need it" in " ".join(texts["how_we_compared.tex"].split())
    assert re.search(r"^% - 1 value is missing", texts["how_we_compared.tex"], re.MULTILINE)


# --- files ---------------------------------------------------------------------------------------------------------------


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_files_are_the_same_every_time_and_go_when_they_are_not_wanted(compare, studies, tmp_path):
    def write(*options):
        assert compare(studies.walk, "--out", tmp_path / "out", *options).code == 0
        return files(tmp_path / "out")

    plain = write()
    first = write("--latex")
    assert first.keys() - plain.keys() == FILES | TASKS
    assert first["figures/tasks.pdf"].startswith(b"%PDF")
    assert b"Date" not in first["figures/tasks.pdf"]
    assert write("--latex") == first
    assert write() == plain
    (tmp_path / "out" / "figures.tex").write_text("mine")
    assert write()["figures.tex"] == b"mine"


@pytest.mark.parametrize("name", sorted(FILES | TASKS | RANKS))
def test_files_of_others_stay(refused, studies, tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    assert f"{tmp_path / name} exists, and hpo compare did not write it" in refused(
        studies.walk, "--latex", "--out", tmp_path
    )
    assert files(tmp_path) == {name: b"mine"}


def test_latex_needs_a_folder(refused, studies):
    assert "--latex: allowed with --out DIR only" in refused(studies.walk, "--latex")


def test_a_link_in_the_folder_is_not_followed(refused, studies, tmp_path):
    (tmp_path / "mine.tex").write_text("% Written by hpo compare\n")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "figures.tex").symlink_to(tmp_path / "mine.tex")
    assert "is a link" in refused(studies.walk, "--latex", "--out", tmp_path / "out")


# --- hostile labels ------------------------------------------------------------------------------------------------------

HOSTILE = [
    r"\input{/etc/passwd}",
    r"\write18{id} \end{table}",
    "50% of_x & #1 ~^{}$",
    "日本 α é ß “q” --,, ``a'' \\\\",
    "[2pt] *star",
    "^^5cinput{x}",
    '<b>|"z"',
    "}}\\fi\\else{{",
    "\x1b[31m\u202e\u2028x",
]


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("50% of x_1 & #2", r"50\% of x\_1 \& \#2"),
        (r"\input{x}", r"\textbackslash{}input\{x\}"),
        ("^^5c", r"\textasciicircum{}\textasciicircum{}5c"),
        ("-0.5 to −1, a-b", "$-$0.5 to $-$1, a-b"),
        ("a--b ``c''", "a-{}-b `{}`c'{}'"),
        ("[1] *", "{[}1{]} {*}"),
        ("naïve Čech Łódź ß", r"na\"{i}ve \v{C}ech \L{}\'{o}d\'{z} \ss{}"),
        ("α Ω", r"$\alpha$ $\Omega$"),
        ("1.2\u202f% ± 3", r"1.2\,\% $\pm$ 3"),
        ("日", r"{\ifdefined\Umathchar 日\else U+65E5\fi}"),
        ("a\nb\x00", "a b "),
    ],
)  # fmt: skip
def test_text_is_shown_as_it_is(text, latex):
    assert escape(text) == latex


@settings(max_examples=cases(200))
@given(st.one_of(st.text(), st.text("\\{}$%&#_^~[]*-`',!?<>|\"aé日\n0. ")))
def test_any_text_is_balanced_and_runs_nothing(text):
    latex = escape(text)
    assert commands(latex) <= TEXT_COMMANDS
    assert code(latex) == latex
    assert not re.search(r"(?<!\\)[#&_^%]|\^\^", latex.replace("$^2$", ""))
    assert "\n" not in latex


def hostile_rows():
    return [
        (arm, task, seed, (i * 7 + t * 3 + seed * 5) % 11)
        for i, arm in enumerate(HOSTILE)
        for t, task in enumerate(HOSTILE)
        for seed in (0, 1)
    ]


@pytest.mark.parametrize("options", [[], ["--baseline", HOSTILE[0]]], ids=["all pairs", "baseline"])
def test_labels_are_text_and_never_commands(paper, table, options):
    path = table(hostile_rows(), r"\loss{x}_%")
    texts, _ = paper(path, "--direction", "minimize", *options)  # `paper` checks the commands of every file
    assert "input" not in re.sub(r"textbackslash\{\}input|5cinput", "", texts["table_means.tex"])
    assert all(r"\input" not in code(text) for name, text in texts.items() if name != "preview.tex")
    assert {len(row) for row in rows(texts["table_means.tex"])} == {2 + len(HOSTILE)}


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="LaTeX is not installed")
@pytest.mark.parametrize("shape", ["study", "tasks", "one value per task", "hostile"])
def test_it_compiles(paper, table, gaussian, studies, tmp_path, shape):
    effects = {"a": 0.0, "b": -0.01, "c": 0.02}
    inputs = {
        "study": lambda: [studies.walk],
        "tasks": lambda: [table(gaussian(effects, tasks=7, seeds=3))],
        "one value per task": lambda: [table(gaussian(effects, tasks=9, seeds=1)), "--rope", 0.01, "--baseline", "a"],
        "hostile": lambda: [table(hostile_rows(), r"\loss{x}_%"), "--direction", "minimize"],
    }
    paper(*inputs[shape]())
    done = subprocess.run(
        ["pdflatex", "-no-shell-escape", "-halt-on-error", "-interaction=nonstopmode", "preview.tex"],
        cwd=tmp_path / "paper",
        capture_output=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout[-2000:]


PAGE = Path(hpo.__file__).parent.parent / "docs/how_to/papers.md"


def test_the_page_goes_as_it_says(compare, studies, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, *others = re.findall(r"^hpo compare (.*)$", PAGE.read_text(), re.MULTILINE)
    assert not others
    run, *options = first.split()
    assert run == "runs/mnist_quick"
    assert compare(studies.walk, *options).code == 0
    (document,) = re.findall(r"^```latex\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    for name in re.findall(r"\\input\{(.*?)\}", document):
        assert (tmp_path / f"{name}.tex").exists()
    listed = set(re.findall(r"^\| `(.*?)`", PAGE.read_text(), re.MULTILINE))
    assert listed == FILES | {"figures/NAME.pdf", "figures/NAME.caption.tex"}
    if shutil.which("pdflatex"):
        (tmp_path / "mine.tex").write_text(document)
        subprocess.run(["pdflatex", "-halt-on-error", "mine.tex"], check=True, capture_output=True, timeout=100)
