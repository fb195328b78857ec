"""A CSV file of any tool's results: every layout that is read, every cell, and every refusal with what to do."""

import csv
import io
import itertools
import os
import random
from contextlib import suppress

import pytest
from helpers import cases
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hpo.compare.analysis import analyse
from hpo.compare.data import Request
from hpo.compare.inputs import read_inputs
from hpo.compare.table.text import MOST_BYTES
from hpo.core.errors import InputError

GOOD = "arm,task,seed,error\na,t,0,0.1\nb,t,0,0.2\na,t,1,0.1\nb,t,1,0.3\n"
ATTACK = settings(max_examples=cases(75), suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def read(table):
    """Read a table, by default of a metric that is to be maximized."""

    def inputs(content, **request):
        return read_inputs([table(content)], Request(**{"direction": "maximize"} | request))

    return inputs


def values(inputs):
    """Return what was read: task -> arm -> seed -> value."""
    return {task.name: task.values for task in inputs.tasks}


# --- layouts -------------------------------------------------------------------------------------------------------------

ONE_SEED = {"iris": {"nb": {"": 0.9}, "svm": {"": 0.8}}, "wine": {"nb": {"": 0.7}, "svm": {"": 0.6}}}
SEEDS = {"iris": {"nb": {"0": 0.9, "1": 0.7}, "svm": {"0": 0.8, "1": 0.6}}}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("arm,task,seed,acc\nnb,iris,0,.9\nsvm,iris,0,.8\nnb,iris,1,.7\nsvm,iris,1,.6\n", SEEDS),
        ("acc,Random Seed,Data set,Method\n.9,0,iris,nb\n.8,0,iris,svm\n.7,1,iris,nb\n.6,1,iris,svm\n", SEEDS),
        ("ALGORITHM,problem_id,Run,acc,note\nnb,iris,0,.9,\nsvm,iris,0,.8,x\nnb,iris,1,.7,\nsvm,iris,1,.6,\n", SEEDS),
        ("model,benchmark,replicate,acc\nnb,iris,0,.9\nsvm,iris,0,.8\nnb,iris,1,.7\nsvm,iris,1,.6\n", SEEDS),
        (",optimizer,task,fold,acc\n0,nb,iris,0,.9\n1,svm,iris,0,.8\n2,nb,iris,1,.7\n3,svm,iris,1,.6\n", SEEDS),
        ("Unnamed: 0,arm,task,seed,acc\n7,nb,iris,0,.9\n1,svm,iris,0,.8\n2,nb,iris,1,.7\n3,svm,iris,1,.6\n", SEEDS),
        ("dataset,seed,nb,svm\niris,0,.9,.8\niris,1,.7,.6\n", SEEDS),
        ("seed,dataset,svm,nb\n0,iris,.8,.9\n1,iris,.6,.7\n", SEEDS),
        ("method,seed,iris,wine\nnb,0,.9,-\nsvm,0,.8,-\nnb,1,.7,-\nsvm,1,.6,-\n", SEEDS),
        ("method,dataset,0,1\nnb,iris,.9,.7\nsvm,iris,.8,.6\n", SEEDS),
        ("method,dataset,acc\nnb,iris,.9\nsvm,iris,.8\nnb,wine,.7\nsvm,wine,.6\n", ONE_SEED),
        ("library,dataset,acc\nnb,iris,.9\nsvm,iris,.8\nnb,wine,.7\nsvm,wine,.6\n", ONE_SEED),
        ("dataset,nb,svm\niris,.9,.8\nwine,.7,.6\n", ONE_SEED),
        ("UCI,nb,svm\niris,.9,.8\nwine,.7,.6\n", ONE_SEED),
        (",nb,svm\niris,.9,.8\nwine,.7,.6\n", ONE_SEED),
        (",dataset,nb,svm\n0,iris,.9,.8\n1,wine,.7,.6\n", ONE_SEED),
        ("method,iris,wine\nnb,.9,.7\nsvm,.8,.6\n", ONE_SEED),
    ],
)
def test_every_layout_is_read(read, content, expected):
    """Fault 21: long tables by any name of their columns, without seeds, and wide ones either way round."""
    assert values(read(content)) == {task: dict(of_task) for task, of_task in expected.items()}


def test_seeds_may_be_columns_by_their_names(read):
    found = values(read("method,dataset,seed 3,seed 4\nnb,iris,.9,.7\nsvm,iris,.8,.6\n"))
    assert found == {"iris": {"nb": {"seed 3": 0.9, "seed 4": 0.7}, "svm": {"seed 3": 0.8, "seed 4": 0.6}}}


def test_what_the_header_leaves_open_an_option_says(read, refused, table):
    """A table with methods in its rows and no name over them is read the other way round when told so."""
    content = ",iris,wine\nnb,.9,.7\nsvm,.8,.6\n"
    assert read(content).arms == ("iris", "wine")
    assert values(read(content, columns="tasks")) == ONE_SEED
    assert values(read(content, baseline="SVM")) == ONE_SEED  # a baseline is an arm
    by_number = "method,0,1\nnb,.9,.7\nsvm,.8,.6\n"
    assert "--columns tasks or --columns seeds" in refused(table(by_number), "--direction", "maximize")
    assert len(read(by_number, columns="tasks").tasks) == 2
    assert list(values(read(by_number, columns="seeds"))["results"]["nb"]) == ["0", "1"]
    metrics = "dataset,acc,f1\niris,.9,.8\nwine,.7,.6\n"
    assert "--columns arms" in refused(table(metrics), "--direction", "maximize")
    assert read(metrics, columns="arms").arms == ("acc", "f1")


def test_how_a_table_is_read_is_said(compare, table):
    said = compare(table("UCI,nb,svm\niris,.9,.8\nwine,.7,.6\n"), "--direction", "maximize").words
    assert "tasks in column 'UCI', one column per arm" in said


LABELS = st.text(st.characters(exclude_characters="\0\r\n", exclude_categories=["Cs"]), max_size=6).map(
    lambda text: f"Zq{text}".strip()  # no header of these is a known one
)
DIGITS = st.integers(1, 10**6).filter(lambda n: n % 10 != 0)  # of a number with four decimals that is not whole


@st.composite
def grids(draw):
    """Draw arms, tasks, seeds (one without a name, or several) and a four-digit decimal for each of their combinations."""
    arms = draw(st.lists(LABELS, min_size=2, max_size=4, unique_by=str.casefold))
    tasks = draw(st.lists(LABELS, min_size=2, max_size=4, unique_by=str.casefold))
    seeds = draw(st.one_of(st.just([""]), st.lists(LABELS, min_size=2, max_size=3, unique=True)))
    cells = {key: draw(DIGITS) for key in itertools.product(arms, tasks, seeds)}
    return arms, tasks, seeds, cells


def written(layout, arms, tasks, seeds, text):
    """Return the rows of a table in a layout, where `text` gives the cell of an arm, task and seed."""
    seeded = [["seed"], [""]][seeds == [""]]
    key = (lambda seed: [seed]) if seeds != [""] else (lambda seed: [])
    head = [] if seeds == [""] else seeded
    if layout == "long":
        body = [[a, t, *key(s), text(a, t, s)] for a in arms for t in tasks for s in seeds]
        return [["Method", "Data set", *head, "zork"], *body]
    if layout == "arms":
        body = [[t, *key(s), *(text(a, t, s) for a in arms)] for t in tasks for s in seeds]
        return [["dataset", *head, *arms], *body]
    body = [[a, *key(s), *(text(a, t, s) for t in tasks)] for a in arms for s in seeds]
    return [["algorithm", *head, *tasks], *body]


@ATTACK
@given(
    grid=grids(),
    layout=st.sampled_from(["long", "arms", "tasks"]),
    separator=st.sampled_from(",;\t"),
    comma=st.booleans(),
    percent=st.booleans(),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    start=st.sampled_from(["", "\ufeff", "# from a paper\n\n", "sep"]),
    trailing=st.booleans(),
    spread=st.sampled_from(["", " ± 0.0200", "*", " (2)"]),
)
def test_any_table_is_the_same_however_it_is_written(
    table, grid, layout, separator, comma, percent, end, start, trailing, spread
):
    """Layouts, separators, decimal marks, percent signs, line ends and marks change neither what is read nor what is found."""
    arms, tasks, seeds, cells = grid

    def plain(*key):
        return f"{cells[key] / 10**4:.4f}"

    def decorated(*key):
        number = f"{cells[key] / 10**2:.2f}%" if percent else plain(*key)
        return (number + spread).replace(".", ",") if comma else number + spread

    def content(rows, separator):
        file = io.StringIO(newline="")
        writer = csv.writer(file, delimiter=separator, lineterminator=end)
        writer.writerows([*row, ""] if trailing else row for row in rows)
        return file.getvalue()

    request = Request(direction="maximize", metric="zork")
    reference = read_inputs([table(content(written("long", arms, tasks, seeds, plain), ","))], request)
    given_separator = f"sep={separator}{end}" if start == "sep" else start
    text = given_separator + content(written(layout, arms, tasks, seeds, decorated), separator)
    found = read_inputs([table(text)], request)
    assert (found.arms, values(found)) == (reference.arms, values(reference))
    one, other = analyse(reference), analyse(found)
    assert (one.comparisons, one.means, one.ranks) == (other.comparisons, other.means, other.ranks)


# --- text and cells ------------------------------------------------------------------------------------------------------

LONG = "arm,task,seed,zork\na,t,0,0.1\nb,t,0,0.25\na,t,1,0.2\nb,t,1,0.375\n"


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff" + LONG,
        "\ufeff\ufeff" + LONG,
        LONG.replace("\n", "\r\n"),
        LONG.replace("\n", "\r"),
        LONG.replace("\n", "\n\n"),
        LONG.replace("\n", "\n,,,\n"),
        LONG.replace("\n", ",\n"),
        LONG.replace("\n", ",\n").replace(",\n", "\n", 1),
        LONG.replace("b,t,1", "# b,t,0\narm,task,seed,zork\nb,t,1"),
        "# made by hand\n\n" + LONG,
        "sep=,\n" + LONG,
        "sep=;\n" + LONG.replace(",", ";").replace(".", ","),
        LONG.replace(",", "\t").replace(".", ","),
        LONG.replace(",", "|"),
        LONG.replace("a,t", '"a", t '),
        LONG.replace(",", " , "),
        LONG.replace("0.1", "+1e-1"),
        LONG.replace("0.1", "**0.1**").replace("0.2\n", "0.2*\n"),
        LONG.replace("0.1", "0.1 ± 0.02").replace("0.2\n", "0.2 +/- 1e-3\n").replace("0.375", "0.375 (0.01)"),
        LONG.replace("0.375", '"0,375"').replace("0.25", '"0,25"').replace("0.1", '"0,1"').replace("0.2\n", '"0,2"\n'),
        LONG.replace("0.1", "10%").replace("0.25", "25 %").replace("0.2\n", "20.0%\n").replace("0.375", "37.5 ± 1%"),
        LONG.removesuffix("\n"),
        LONG.replace("zork", "zork,note").replace("\n", ",x\n").replace("note,x\n", "note\n", 1),
    ],
)
def test_one_table_however_its_cells_are_written(read, content):
    found = read(content)
    assert values(found) == {"t": {"a": {"0": 0.1, "1": 0.2}, "b": {"0": 0.25, "1": 0.375}}}
    assert found.tasks[0].metric == "zork"


@pytest.mark.parametrize("cell", ["NA", "nan", "-", "", "n/a", "N/A", "–", "null", "#N/A"])
def test_a_missing_cell_is_a_missing_value(read, cell):
    assert values(read(f"dataset,a,b\nx,.1,.2\ny,.3,{cell}\n")) == {
        "x": {"a": {"": 0.1}, "b": {"": 0.2}},
        "y": {"a": {"": 0.3}, "b": {}},
    }


def test_percent_signs_state_the_unit(compare, read, table):
    """Fault 21: 12.3% is .123, to the last bit, and is shown as a percentage."""
    content = "dataset,a,b\nx,12.3%,14.8%\ny,20%,0.7%\n"
    assert values(read(content))["x"] == {"a": {"": 0.123}, "b": {"": 0.148}}
    said = compare(table(content), "--direction", "maximize").words.replace("\u202f", " ")
    assert "12.3 %" in said
    assert "+2.5 pp" in said


def test_whole_numbers_are_counts(read):
    assert read("dataset,a,b\nx,12,14\ny,3,0.5\n").tasks[0].counts == {"a": {"": 12}, "b": {"": 14}}
    assert read("dataset,a,b\nx,12,14\ny,3,0.5\n").tasks[1].counts is None


def test_what_is_left_of_a_cell_is_said(read):
    ((spread, marks), plain) = (read(c).cautions for c in ("task,a,b\nx,.1 ± .2,**.3**\n", "task,a,b\nx,.1,.3\n"))
    assert plain == ()
    assert "1 of 2" in spread
    assert "1 of 2" in marks


# --- refusals ------------------------------------------------------------------------------------------------------------

WIDE = "dataset,a,b\nx,0.1,0.2\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty; the first row must hold the names"),
        ("\n\n# nothing\n", "is empty"),
        (",,,\n", "is empty"),
        ("arm,task,seed,error\n", "no row of values"),
        ("arm,task,seed,error\n,,,\n   ,,,\n", "no row of values"),
        ("arm error\na 0.1\n", "separated by commas, semicolons or tabs"),
        ("Table 3\n" + WIDE, "one name only"),
        ("Table 3, of a paper\n" + WIDE, "The header must be the first row, without a title above it"),
        ("| dataset | a | b |\n|---|---|---|\n", "Markdown"),
        ("iris,0.9,0.8\nwine,0.7,0.6\n", "the first row holds numbers"),
        ('"a","b"\n"iris",0.9,0.8\n', "row 2: 3 cells; allowed: 2"),
        (
            "library,dataset,version,error\nx,t,1,0.1\n",
            "--metric is required because there are several numeric columns: 'version', 'error'",
        ),
        ("dataset,error,time\nx,0.1,0.2\n", "no column holds the arms"),
        ("dataset,error\nx,0.1\n", "no column holds the arms; found: 'dataset', 'error'. Name the one that does 'arm'"),
        ("arm,task,seed\na,t,0\n", "no column of numbers"),
        ("id,no\n1,2\n", "no column of numbers"),
        (
            "arm,task,loss,errors\na,t,1,2\n",
            "--metric is required because there are several numeric columns: 'loss', 'errors'",
        ),
        ("arm,task,seed,error,error\na,t,0,1,1\n", "column 'error' occurs 2 times; rename or remove"),
        ("model,method,dataset,error\na,b,x,1\n", "columns 'model', 'method' could all hold the arm; rename"),
        ("a,b\n0.1,0.2\n", "are the rows tasks or seeds? Name a column 'task' or 'seed'"),
        (",a,b\n0,0.1,0.2\n1,0.1,0.3\n", "are the rows tasks or seeds? Name the first column"),
        ("dataset,a\nx,0.1\n", "no column holds the arms"),
        (GOOD + "a,t,2\n", "row 6: 3 cells; allowed: 4"),
        (GOOD + "a,t,2,0.1,0.2\n", "row 6: 5 cells; allowed: 4"),
        (GOOD + "a,t,2,0.1,0.2,,\n", "malformed CSV: Expected 5 fields in line 6, saw 7"),
        (GOOD + ",t,2,0.1\n", "row 6: arm '' is empty"),
        (GOOD + "a, ,2,0.1\n", "row 6: task '' is empty; write it in every row"),
        (GOOD + "a,t,,0.1\n", "row 6: seed '' is empty"),
        (GOOD + " a ,t,1,0.1\n", "row 6: arm 'a', task 't', seed '1' is already in row 4"),
        (
            "arm,task,error\na,t,1\nb,t,1\na,t,2\n",
            "row 4: arm 'a', task 't' is already in row 2; runs can be paired only",
        ),
        (WIDE + "x,0.3,0.4\n", "arm 'a', task 'x' is already in row 2"),
        (GOOD + "a,u,0,0.1\nb,u,1,0.1\n", "task 'u': arms 'a' and 'b' have no seed in common"),
        ("arm,task,error\na,t,1\nb,u,1\n", "arms 'a' and 'b' have no task in common"),
        ("dataset,a,b,c\nx,1,2,\ny,1,2,NA\n", "arm 'c' has no value"),
        ("arm,task,seed,error\na,t,0,0.1\na,t,1,0.1\n", "a comparison needs 2 or more arms, got 'a' only"),
        (WIDE + "Average,0.1,0.2\n", "row 3: task 'Average' seems to summarize others; remove it"),
        ("dataset,a,b\nx,0,1,0,2\n", "a number with a decimal comma needs quotation marks"),
        ("dataset,a,b\nx,0,1,2\n", "a number with a decimal comma needs quotation marks"),
        ("method,seed,gpu,zork\na,0,x,1\na,0,y,1\n", "arm 'a', task 'results', seed '0' is already in row"),
        ("arm,task,error\nPBT,t,1\npbt,u,1\n", "arms 'PBT' and 'pbt' differ only in case; write them alike"),
        ("dataset,a,b\nIris,1,2\niris,1,2\n", "tasks 'Iris' and 'iris' differ only in case"),
        ("method,x,y,mean\na,1,2,1.5\n", "task 'mean' seems to summarize others"),
        (GOOD + 'a,t,2,"0.1\n', "malformed CSV: unexpected end of data"),
        (GOOD + 'a,t,2,"0"1\n', "malformed CSV"),
        ('# c\n\ufeff"', "one name only"),
        (GOOD + "a,t,2,0.1\0\n", "NUL bytes"),
        ("dataset,a,b\nx,12.3%,13\n", "row 2: b = '13' has no percent sign, and '12.3%' has one"),
        ('dataset,a,b\nx,"1,234","5,678"\n', "row 2: a = '1,234': is it 1234 or 1.234?"),
        ("dataset;a;b\nx;1,234;999\n", "row 2: a = '1,234': is it 1234 or 1.234?"),
        ("dataset;a;b\nx;0,5;0.5\n", "row 2: a = '0,5' has a comma where '0.5' has a point"),
        ('dataset,a,b\nx,"1,234.5",2.5\n', "row 2: a = '1,234.5': allowed: numbers without thousands separators"),
        ("dataset;a;b\nx;1.234,5;2,5\n", "'1.234,5': allowed: numbers without thousands separators"),
        ("dataset,a,b\nx,0.5.,2\n", "'0.5.': allowed: numbers without thousands separators"),
        ("dataset,a,b\nx,1 234,2\n", "'1 234': allowed: numbers without thousands separators"),
    ],
)
def test_what_is_refused_names_the_fix(table, refused, content, words):
    path = table(content)
    said = refused(path, "--direction", "minimize")
    assert words in said
    assert str(path) in said


@pytest.mark.parametrize("value", ["inf", "-Infinity", "1e999", "1e99999", "0x10", "low", "0.91a", "1/2", "±1", "١"])
def test_a_cell_that_is_no_finite_number_is_refused_with_its_row(table, refused, value):
    said = refused(table([("a", "t", 0, 1), ("b", "t", 0, value)]), "--metric", "error")
    assert f"row 3: error = {value!r}: allowed: a finite number" in said
    assert "would favour the arm that diverged" in said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("dataset,a,b\nx,1,2\n".encode("utf-16"), "UTF-16 text"),
        ("dataset,a,b\nx,1,2\n".encode("utf-16-be"), "UTF-16"),
        ("dataset,a,b\ncafé,1,2\n".encode("latin-1"), "line 2: is not UTF-8 text, but perhaps Latin-1"),
        (b"PK\x03\x04" + bytes(100), "Excel"),
        (b"\xd0\xcf\x11\xe0" + bytes(100), "Excel"),
        (b"\x1f\x8b\x08", "gzip"),
        (GOOD.encode() + b"a,t,2," + b"1" * 200_000 + b"\n", "field larger than field limit"),
        (b"a,b\n" * (MOST_BYTES // 4 + 1), "allowed: at most 16,777,216"),
        (b"," * 50_000 + b"\n" * 50_000, "cells in all"),
        (b'arm,task,error\n"' + b"a\n" * 600 + b'",t,1\n', "row 2: a cell of more than 1,000 characters"),
        (
            b"arm,task,error\n" + b"".join(b"a%d,t,%d\n" % (i, i) for i in range(201)),
            "201 arms on 1 tasks; allowed: 200",
        ),
    ],
)
def test_bytes_that_are_no_table_are_refused(table, refused, content, words):
    assert words in refused(table(content), "--metric", "error")


@settings(ATTACK, max_examples=cases(250))
@given(
    content=st.one_of(
        st.binary(max_size=200),
        st.text(max_size=200),
        st.text('ab01.,;\t%-±*"#\n =()eN', max_size=200),
        st.lists(
            st.sampled_from(
                [*"abx01,,,,\n\n;%", "seed", "arm", "task", "0.5", "NA", '"', "error", "-", "\ufeff", "sep=;\n"]
            )
        ).map("".join),
    ),
    columns=st.sampled_from([None, "metrics", "arms", "tasks", "seeds"]),
)
@example(content="\ud800", columns=None)
def test_any_bytes_are_a_table_or_refused(table, content, columns):
    path = table(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    with suppress(InputError):
        analyse(read_inputs([path], Request(direction="minimize", columns=columns)))


def test_values_too_large_to_be_computed_with_are_refused(table, refused):
    path = table([("a", "t", 0, 1), ("b", "t", 0, -1e308)])
    said = refused(path, "--metric", "error")
    assert "task 't', arm 'b', seed '0': error = -1e+308: allowed: sizes up to 1e+300" in said


# --- options -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--metric", "seed"], "--metric 'seed'"),
        (["--metric", "EROR"], "(did you mean 'error'?)"),
        (["--metric", "error", "--baseline", "c"], "--baseline 'c': allowed: one of the arms a, b"),
        (["--metric", "error", "--alpha", "0"], "--alpha 0: allowed: a number strictly between 0 and 1"),
        (["--metric", "error", "--alpha", "nan"], "--alpha nan"),
        (["--columns", "arms"], "--columns arms: the arm is already in column 'arm'"),
    ],
)
def test_options_that_do_not_fit_are_refused(table, refused, options, words):
    assert words in refused(table(GOOD), *options)


def test_paths_that_are_no_table(table, refused, tmp_path):
    path = table(GOOD)
    assert "no results.json here" in refused(path, tmp_path, "--metric", "error")
    assert f"{path}: is given twice" in refused(path, path, "--metric", "error")
    assert "no such run directory or CSV file" in refused(tmp_path / "nowhere.csv", "--metric", "error")
    assert "File name too long" in refused("x" * 5000)
    assert "--columns arms: allowed with a CSV file only" in refused(tmp_path, "--columns", "arms")
    assert "--column arm=x: allowed with a CSV file, Optuna or Ray Tune only" in refused(tmp_path, "--column", "arm=x")
    assert "--names {arm}: allowed with a CSV file, Optuna or Ray Tune only" in refused(tmp_path, "--names", "{arm}")


def test_a_pipe_is_refused_at_once(refused, tmp_path):
    """A named pipe without a writer would be waited for without end."""
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in refused(tmp_path / "pipe", "--metric", "error")


def test_names_are_matched_whatever_their_case(compare, table):
    path = table(GOOD.replace("b,", "Random Search,"))
    exact = compare(path, "--metric", "error", "--baseline", "Random Search")
    assert compare(path, "--metric", "ERROR", "--baseline", " random search") == exact
    assert exact.code == 0


@pytest.mark.parametrize(
    "metric", ["error", "Test_Error (%)", "valLoss", "RMSE", "mean squared error", "log loss", "top-5 error"]
)
def test_lower_is_better_by_name_and_that_is_said(table, compare, metric):
    """Fault 21: what the name of the metric says is taken, and printed."""
    path = table([("a", "t", i, 0.2) for i in range(8)] + [("b", "t", i, 0.1 + i / 1000) for i in range(8)], metric)
    told = "is assumed to be better, from its name"
    said = compare(path)
    assert said.code == 0
    assert "b is better than a" in said.words
    assert told in said.words
    assert told not in compare(path, "--direction", "minimize").words


@pytest.mark.parametrize(
    "metric",
    [
        "accuracy",
        "acc",
        "AUC",
        "f1",
        "score",
        "reward",
        "R2",
        "bleu",
        "mAP",
        "neg_log_loss",
        "1 - error",
        "-loss",
        "zork",
        "value",
    ],
)
def test_any_other_metric_needs_a_direction(table, compare, refused, metric):
    """Fault 21: nothing is called worse the wrong way round."""
    path = table([("a", "t", i, 0.2) for i in range(8)] + [("b", "t", i, 0.1 + i / 1000) for i in range(8)], metric)
    said = refused(path)
    assert "--direction maximize" in said
    assert "--direction minimize" in said
    assert "a is better than b" in compare(path, "--direction", "maximize").words
    assert "b is better than a" in compare(path, "--direction", "minimize").words


def test_without_a_baseline_all_pairs_are_compared(table, compare, gaussian):
    path = table(gaussian({"c": 0, "a": 0, "b": 0}))
    assert "Comparisons: 3, all pairs of arms" in compare(path, "--metric", "error").out
    assert "Comparisons: 2, against c" in compare(path, "--metric", "error", "--baseline", "c").out


# --- missing values ------------------------------------------------------------------------------------------------------


def of_twenty_tasks():
    """Write a table of 20 tasks and 10 arms, one value each; that of arm m3 on task d07 is missing."""
    draw = random.Random(3)
    rows = [["dataset", *(f"m{i}" for i in range(10))]]
    for task in range(20):
        base = draw.gauss(0.8, 0.05)
        rows.append([f"d{task:02}", *(f"{base + i * 0.004 + draw.gauss(0, 0.01):.3f}" for i in range(10))])
    rows[8][4] = "n/a"
    return "\n".join(map(",".join, rows))


def test_one_missing_cell_of_twenty_tasks_and_ten_arms(compare, table, numbers):
    """Fault 21: the nine pairs that lack it leave the task out, and say so; the other 36 have all 20 tasks."""
    path = table(of_twenty_tasks())
    said = compare(path, "--direction", "maximize", "--metric", "accuracy")
    assert said.code == 0
    assert "! 1 value is missing: d07: m3." in said.words
    found = numbers(path, direction="maximize")
    assert found["missing"] == [{"task": "d07", "seed": "", "arm": "m3"}]
    for comparison in found["comparisons"]:
        pairs = 19 if "m3" in (comparison["baseline"], comparison["arm"]) else 20
        assert len(comparison["tasks"]) == comparison["new"]["n"] == pairs
        assert ("d07" in {task["effect"]["task"] for task in comparison["tasks"]}) == (pairs == 20)
    without = numbers(table(of_twenty_tasks().replace("d07", "#")), direction="maximize")
    by_arms = {(c["baseline"], c["arm"]): c for c in without["comparisons"]}
    for comparison in found["comparisons"]:
        if "m3" in (comparison["baseline"], comparison["arm"]):
            assert comparison["new"] == by_arms[comparison["baseline"], comparison["arm"]]["new"]
    assert found["ranks"] == without["ranks"]  # blocks are complete
    assert found["ranks"]["friedman"]["n"] == 19
    assert found["means"][7]["n"] == 0
    assert found["means"][7]["arms"].count(None) == 1


def test_a_comparison_with_too_few_tasks_counts_as_p_1(numbers, table):
    """Five tasks have no p over tasks; the family is still that of all comparisons."""
    rows = [("c" if i == 5 else "x", i) for i in range(6)]
    lines = ["task,a,b,c", *(f"t{i},0.1,{0.2 + i / 100},{'NA' if i == 5 else 0.3 + i / 100}" for i in range(6))]
    found = numbers(table("\n".join(lines)), direction="maximize", baseline="a")
    b, c = found["comparisons"]
    assert len(rows) == b["new"]["n"] == 6
    assert c["new"]["n"] == 5
    assert c["new_p_holm"] is None
    assert b["new_p_holm"] == pytest.approx(2 * b["new"]["p"])


def test_a_task_or_seed_without_any_value_is_named(read):
    found = read("dataset,a,b\nx,.1,.2\ny,NA,-\nz,.1,.3\n")
    assert [task.name for task in found.tasks] == ["x", "z"]
    assert any("No arm has a value for y" in caution for caution in found.cautions)


def test_folds_are_no_independent_runs(read):
    assert any("share training" in caution for caution in read(LONG.replace("seed", "CV fold")).cautions)
    assert read(LONG).cautions == ()
