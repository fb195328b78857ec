"""A CSV file of any tool's results: what is read, and every refusal."""

import os
import threading

import pytest

GOOD = "arm,task,seed,error\na,t,0,0.1\nb,t,0,0.2\na,t,1,0.1\nb,t,1,0.3\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty; expected a header with the columns arm, task, seed and a metric"),
        ("\n\n", "is empty"),
        ("arm,task,seed,error\n", "no line of values"),
        ("arm,task,seed,error\n,,,\n   ,,,\n", "no line of values"),
        (
            "arms,task,seed,error\n",
            "no column 'arm'; needed: arm, task, seed and a metric; found: arms, task, seed, error",
        ),
        ("arms,task,seed,error\n", "(did you mean 'arms'?)"),
        ("arm,error\n", "no column 'task'"),
        ("error\n0.1\n", "no column 'arm'"),
        ("arm;task;seed;error\na;t;0;0.1\n", "found: arm;task;seed;error (commas are to separate the columns)"),
        ("arm,task,seed\na,t,0\n", "no column of a metric beside arm, task, seed"),
        ("arm,task,seed,loss,errors\n", "no such column; found: loss, errors (did you mean 'errors'?)"),
        ("arm,task,seed,error,error\n", "column 'error' is there 2 times; allowed: once"),
        ("arm,task,seed,seed,error\n", "column 'seed' is there 2 times"),
        (GOOD + "a,t,2\n", "line 6: 3 cells; allowed: 4, as many as the header has columns"),
        (GOOD + "a,t,2,0.1,0.2\n", "line 6: 5 cells"),
        (GOOD + ",t,2,0.1\n", "line 6: arm: is empty"),
        (GOOD + "a, ,2,0.1\n", "line 6: task: is empty"),
        (GOOD + "a,t,,0.1\n", "line 6: seed: is empty"),
        (GOOD + " a ,t,1,0.1\n", "line 6: arm 'a', task 't', seed '1' is there already, in line 4"),
        (GOOD + "c,u,0,0.1\n", "task 't' has no line of arm 'c'; every task needs the same arms"),
        (GOOD + "a,u,0,0.1\na,u,1,0.1\n", "task 'u' has no line of arm 'b'"),
        (GOOD + "a,u,0,0.1\nb,u,1,0.1\n", "task 'u': arms 'a' and 'b' have no seed in common"),
        ("arm,task,seed,error\na,t,0,0.1\na,t,1,0.1\n", "a comparison needs 2 or more arms, got 'a' only"),
        (GOOD + 'a,t,2,"0.1\n', "line 6: malformed CSV: unexpected end of data"),
        (GOOD + 'a,t,2,"0"1\n', "line 6: malformed CSV"),
        (GOOD + "a,t,2,0.1\0\n", "line 6"),
    ],
)
def test_refusals(table, refused, text, words):
    path = table(text)
    said = refused(path, "--metric", "error")
    assert words in said
    assert str(path) in said


@pytest.mark.parametrize(
    "value", ["", "nan", "NaN", "inf", "-Infinity", "1e999", "0,1", "1_000", "0x10", "low", "null", "1 2", "−1"]
)
def test_a_value_that_is_no_finite_number_is_refused_with_its_line(table, refused, value):
    said = refused(table([("a", "t", 0, 1), ("b", "t", 0, value)]), "--metric", "error")
    assert f"line 3: error = {value!r}: allowed: a finite number" in said
    assert "would favour the arm that diverged" in said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfea\x00r\x00m\x00", "not UTF-8 text"),
        (b"arm,task,seed,error\n\xe9,t,0,1\n", "not UTF-8 text"),
        (b"arm,task,seed,error\na,t,0," + b"1" * 200_000 + b"\n", "field larger than field limit"),
    ],
)
def test_bytes_that_are_no_text_are_refused(table, refused, content, words):
    assert words in refused(table(content), "--metric", "error")


def test_values_too_large_to_be_computed_with_are_refused(table, refused):
    path = table([("a", "t", 0, 1), ("b", "t", 0, -1e308)])
    said = refused(path, "--metric", "error")
    assert "task 't', arm 'b', seed '0': error = -1e+308: allowed: sizes up to 1e+300" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "--metric is needed with a CSV file; its other columns are: error"),
        (["--metric", "seed"], "--metric 'seed'"),
        (["--metric", "eror"], "(did you mean 'error'?)"),
        (["--metric", "error", "--baseline", "c"], "--baseline 'c': allowed: one of the arms a, b"),
        (["--metric", "error", "--alpha", "0"], "--alpha 0: allowed: a number strictly between 0 and 1"),
        (["--metric", "error", "--alpha", "nan"], "--alpha nan"),
    ],
)
def test_options_that_do_not_fit_are_refused(table, refused, options, words):
    assert words in refused(table(GOOD), *options)


def test_a_table_is_compared_on_its_own(table, refused, tmp_path):
    path = table(GOOD)
    assert "a CSV file is compared on its own, got 2 inputs" in refused(path, tmp_path, "--metric", "error")
    assert "a CSV file is compared on its own" in refused(path, path, "--metric", "error")
    assert "no such run directory or CSV file" in refused(tmp_path / "nowhere.csv", "--metric", "error")
    assert "File name too long" in refused("x" * 5000)


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        "\ufeff" + GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("\n", "\r"),
        GOOD.replace("\n", "\n\n"),
        GOOD.replace("\n", "\n,,,\n"),
        GOOD.replace("a,t", '"a", t '),
        GOOD.replace(",", " , "),
        GOOD.replace("0.1", "+1e-1"),
        GOOD.removesuffix("\n"),
        GOOD.replace("error", "error,note,note").replace("\n", ",x,\n").replace("note,x,\n", "note\n", 1),
    ],
    ids=[
        "plain",
        "bom",
        "crlf",
        "cr",
        "blank",
        "empty-cells",
        "quotes",
        "spaces",
        "exponent",
        "no-newline",
        "more-columns",
    ],
)
def test_one_table_however_it_is_written(table, compare, content):
    plain = compare(table(GOOD), "--metric", "error", "--direction", "minimize")
    assert plain.code == 0
    assert compare(table(content), "--metric", "error", "--direction", "minimize") == plain


def test_a_pipe_is_a_table(compare, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=[GOOD])
    writer.start()
    assert compare(pipe, "--metric", "error").code == 0
    writer.join()


def test_the_direction_that_was_assumed_is_told(table, compare):
    path = table(GOOD)
    told = "Lower error is taken to be better"
    assert told in compare(path, "--metric", "error").out
    assert told not in compare(path, "--metric", "error", "--direction", "minimize").out


def test_without_a_baseline_all_pairs_are_compared(table, compare, gaussian):
    path = table(gaussian({"c": 0, "a": 0, "b": 0}))
    assert "Comparisons: 3, all pairs of arms" in compare(path, "--metric", "error").out
    assert "Comparisons: 2, against c" in compare(path, "--metric", "error", "--baseline", "c").out
