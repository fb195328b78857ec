"""Several CSV files at once, columns with names of their own, and what the names of files say."""

import itertools

import pytest

from hpo.compare.data import Request
from hpo.compare.inputs import read_inputs
from hpo.compare.naming import Pattern, arms_and_seeds, parse_pattern
from hpo.core.errors import InputError

ONE_TASK = {"t": {"a": {"0": 0.1, "1": 0.15}, "b": {"0": 0.2, "1": 0.3}}}
BY_FOLDER = {"mnist": {"pbt": {"0": 0.1, "1": 0.15}, "tpe": {"0": 0.2, "1": 0.3}}}


@pytest.fixture
def write(tmp_path):
    """Write files below a folder called mnist, and return their paths."""

    def files(contents):
        paths = [tmp_path / "mnist" / name for name in contents]
        for path, content in zip(paths, contents.values(), strict=True):
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_text(content)
        return paths

    return files


def read(paths, **request):
    return read_inputs(paths, Request(**{"direction": "minimize"} | request))


def values(inputs):
    return {task.name: task.values for task in inputs.tasks}


@pytest.mark.parametrize(
    ("contents", "request_", "expected"),
    [
        (
            {
                "one.csv": "arm,task,seed,err\na,t,0,0.1\nb,t,0,0.2\n",
                "two.csv": "seed,task,arm,err\n1,t,b,.3\n1,t,a,.15\n",
            },
            {},
            ONE_TASK,
        ),
        ({"t.csv": "arm,seed,err\na,0,.1\na,1,.15\nb,0,.2\nb,1,.3\n"}, {}, ONE_TASK),
        ({"pbt.csv": "seed,err\n0,.1\n1,.15\n", "tpe.csv": "seed,err\n0,.2\n1,.3\n"}, {}, BY_FOLDER),
        (
            {
                f"{arm}-{seed}.csv": f"err,time\n{value},3\n"
                for (arm, seed), value in zip(
                    itertools.product(("pbt", "tpe"), (0, 1)), (0.1, 0.15, 0.2, 0.3), strict=True
                )
            },
            {"metric": "err"},
            BY_FOLDER,
        ),
        (
            {"pbt.csv": "dataset,err\nx,.1\ny,.2\n", "tpe.csv": "dataset,err\ny,.4\nx,.3\n"},
            {},
            {"x": {"pbt": {"": 0.1}, "tpe": {"": 0.3}}, "y": {"pbt": {"": 0.2}, "tpe": {"": 0.4}}},
        ),
        (
            {
                "t_a_s0.csv": "err,x\n.1,0\n",
                "t_a_s1.csv": "err,x\n.15,0\n",
                "t_b_s0.csv": "x,err\n0,.2\n",
                "t_b_s1.csv": "err,x\n.3,0\n",
            },
            {"names": "{task}_{arm}_s{seed}", "metric": "err"},
            ONE_TASK,
        ),
        (
            {"t/0.csv": "method,err\na,.1\nb,.2\n", "t/1.csv": "method,err\na,.15\nb,.3\n"},
            {"names": "{task}/{seed}"},
            ONE_TASK,
        ),
        (
            {"one.csv": "optimizer_name,data,run_id,model,err\na,t,0,1,.1\nb,t,0,2,.2\na,t,1,3,.15\nb,t,1,4,.3\n"},
            {"roles": {"arm": "optimizer_name", "task": "Data", "seed": "run_id"}, "metric": "err"},
            ONE_TASK,
        ),
        (
            {"one.csv": "who,where,when,err\na,t,0,.1\nb,t,0,.2\na,t,1,.15\nb,t,1,.3\n"},
            {"roles": {"arm": "who", "task": "where", "seed": "when"}},
            ONE_TASK,
        ),
    ],
    ids=[
        "rows",
        "stem is the task",
        "arms",
        "arms and seeds",
        "arms on tasks",
        "pattern",
        "folder",
        "columns",
        "any columns",
    ],
)
def test_what_columns_and_names_say(write, contents, request_, expected):
    found = read(write(contents), **request_)
    assert values(found) == expected
    assert values(read([*reversed(write(contents))], **request_)) == expected


def test_how_files_are_read_is_said(write, compare):
    paths = write({"pbt.csv": "seed,err\n0,.1\n1,.15\n", "tpe.csv": "seed,err\n0,.2\n1,.3\n"})
    said = compare(*paths).words
    assert f"mnist, from {paths[0]}, {paths[1]}" in said
    assert "seeds in column 'seed', arms by the name of the file" in said


def test_a_replaced_column_is_no_number(write):
    content = "arm,seed,run_id,err\na,7,0,.1\nb,8,0,.2\na,9,1,.15\nb,9,1,.3\n"
    assert values(read(write({"t.csv": content}), roles={"seed": "run_id"})) == ONE_TASK


ROWS = "arm,task,seed,err\na,t,0,.1\nb,t,0,.2\n"


@pytest.mark.parametrize(
    ("contents", "options", "words"),
    [
        ({"x.csv": ROWS, "y.csv": ROWS}, [], "y.csv: row 2: arm 'a', task 't', seed '0' is already in row 2 of "),
        ({"x.csv": ROWS, "y.csv": ROWS.replace("err", "loss")}, [], "its metric is 'loss', and that of"),
        ({"x.csv": ROWS, "y.csv": "arm,task,err\na,u,.1\n"}, [], "y.csv: has no seeds, and "),
        ({"x.csv": ROWS, "y.csv": ROWS.replace(".1", "1%").replace(".2", "2%").replace(",0,", ",1,")}, [], "have percent signs"),
        ({"x.csv": ROWS, "y.csv": ROWS.replace("t,0", "T,1")}, [], "tasks 'T' and 't' differ only in case"),
        ({"pbt-0.csv": "err,x\n1,1\n", "tpe.csv": "err,x\n1,1\n"}, ["--metric", "err"], "'tpe' does not end in a seed, and"),
        ({"x.csv": ROWS}, ["--column", "seed=sed"], "x.csv has no such column; found: 'arm', 'task', 'seed', 'err' (did you mean"),
        ({"x.csv": ROWS}, ["--column", "arm=seed", "--column", "seed=seed"], "one column cannot hold two"),
        ({"x.csv": ROWS}, ["--column", "arm=a", "--column", "arm=b"], "--column arm=b: the arm is already in 'a'"),
        ({"x.csv": ROWS}, ["--column", "metric=err"], "--column metric=err: allowed: arm=NAME, task=NAME or seed=NAME"),
        ({"x.csv": ROWS}, ["--column", "arms"], "(--columns says what the columns of numbers are)"),
        ({"x.csv": ROWS}, ["--names", "{arm}"], "the arm is in column 'arm', and in --names '{arm}': drop one"),
        ({"x.csv": ROWS}, ["--names", "y{*}"], "--names 'y{*}': allowed: text with each of {arm}"),
        ({"x.csv": "seed,err\n0,1\n"}, ["--names", "y-{arm}"], "--names 'y-{arm}': "),
        ({"a-b-c.csv": "seed,err\n0,1\n"}, ["--names", "{task}-{arm}"], "read as arm 'b-c', task 'a' or arm 'c', task 'a-b'"),
    ],
)  # fmt: skip
def test_what_is_refused_names_the_file_or_option(write, refused, contents, options, words):
    assert words in refused(*write(contents), *options)


@pytest.mark.parametrize(
    ("pattern", "names", "expected"),
    [
        ("{arm}-{seed}", ["tpe-0"], {"arm": "tpe", "seed": "0"}),
        ("{arm}-{seed}", ["tpe-v2-10"], {"arm": "tpe-v2", "seed": "10"}),
        ("{arm}-{seed}", ["tpe-x"], None),
        ("{seed}_{arm}_*", ["3_tpe_2026-01-01"], {"seed": "3", "arm": "tpe"}),
        ("{task}/{arm}", ["x", "mnist", "tpe"], {"task": "mnist", "arm": "tpe"}),
        ("*/{arm}", ["x", "mnist", "tpe"], {"arm": "tpe"}),
        ("(a|b)+{arm}", ["(a|b)+tpe"], {"arm": "tpe"}),
        ("{arm}", ["-" * 600], None),
    ],
)
def test_patterns(pattern, names, expected):
    assert parse_pattern(pattern).read(names) == expected


@pytest.mark.parametrize("pattern", ["", "x", "{arm}{arm}", "{Arm}", "{arm", "arm}", "{}", "{arm}{{}}", "*"])
def test_patterns_that_say_nothing_or_too_much(pattern):
    with pytest.raises(InputError, match="--names"):
        parse_pattern(pattern)


def test_a_hostile_name_takes_no_time():
    assert isinstance(parse_pattern("{task}-{arm}-{seed}"), Pattern)
    assert parse_pattern("{task}-{arm}-{seed}").read(["-" * 512]) is None
    with pytest.raises(InputError, match="read as"):
        parse_pattern("*-{task}-{arm}-*").read(["-" * 300])


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["tpe-0", "tpe_1", "cma es 2"], [("tpe", "0"), ("tpe", "1"), ("cma es", "2")]),
        (["tpe-seed0", "tpe_seed_1", "tpe-Run-2"], [("tpe", "0"), ("tpe", "1"), ("tpe", "2")]),
        (["pb2", "tpe"], [("pb2", ""), ("tpe", "")]),
    ],
)
def test_names_without_a_pattern(names, expected):
    assert arms_and_seeds(names) == expected


def test_tables_and_studies_are_compared_together(studies, write, compare, numbers, refused):
    """They hold different tasks, with the same arms; the plan of the study is that of a part only."""
    (path,) = write(
        {
            "mine.csv": "arm,seed,distance\n"
            + "".join(f"{a},{s},{s + (a == 'pbt')}\n" for a in ("pbt", "random") for s in range(6))
        }
    )
    found = numbers(studies.walk, path, direction="minimize")
    assert [task["name"] for task in found["tasks"]] == ["walk", "mine"]
    assert (found["planned"], found["baseline"]) == (False, "random")
    assert found["tasks"][0] == numbers(studies.walk)["tasks"][0]
    assert any("kinds" in caution for caution in found["cautions"])
    (same,) = write({"walk.csv": path.read_text()})
    assert "task 'walk' is also in" in refused(studies.walk, same, "--direction", "minimize")
    (other,) = write({"other.csv": path.read_text().replace("pbt", "bohb")})
    assert "arms: lacks 'pbt' and also has 'bohb'" in refused(studies.walk, other, "--direction", "minimize")
