"""`hpo export --frame`: a row per segment, each column with its type."""

import csv
import io
import sys

import pandas as pd
import pytest
from helpers import PBT, RANDOM, command_here, document, run

import hpo
from hpo.core.csv_files import text_of
from hpo.report.data import load_run

SPACE = {
    "lr": hpo.Float(1e-9, 1, log=True),
    "depth": hpo.Int(1, 9, when={"kind": "=tree"}),
    "kind": hpo.Categorical(("=tree", "linear")),
    "mixed": hpo.Categorical((2, "two", 0.5)),
    "number": hpo.Categorical((1, 2.5)),
    "size": hpo.Categorical((16, 32)),
    "flag": hpo.Categorical((True, False)),
    "seed": hpo.Int(0, 10**30),
    "value": hpo.Float(0, 1),
}
TYPES = {
    "seed": "int64",
    "arm": "string",
    "member": "int64",
    "interval": "int64",
    "parent_member": "Int64",
    "on_best_lineage": "boolean",
    "diverged": "bool",
    "lr": "float64",
    "depth": "Int64",
    "kind": "string",
    "mixed": "string",
    "number": "float64",
    "size": "Int64",
    "flag": "boolean",
    "hparam:seed": "float64",
    "hparam:value": "float64",
    "metric:value": "float64",
}


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned") / "run"
    hpo.tune(
        lambda hparams: hparams["lr"] if hparams["flag"] else float("nan"),
        SPACE,
        trials=20,
        optimizer="random_search",
        out=folder,
        report=False,
        progress=False,
    )
    return folder


def lines(run_dir):
    with (run_dir / "segments.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_parquet_has_the_types_of_the_search_space_and_every_value(tuned, tmp_path):
    code, said = command_here("export", tuned, "--frame", tmp_path / "x.parquet")
    assert (code, said.split()) == (0, [str(tmp_path / "x.parquet")])
    found = pd.read_parquet(tmp_path / "x.parquet")
    assert {name: str(kind) for name, kind in found.dtypes.items()} == TYPES
    for line, row in zip(lines(tuned), found.to_dict("records"), strict=True):
        assert row["lr"] == float(line["hparam:lr"])
        assert row["hparam:seed"] == float(line["hparam:seed"])
        assert row["kind"] == text_of(line["hparam:kind"])
        assert row["mixed"] == line["hparam:mixed"]
        assert str(row["flag"]) == line["hparam:flag"]
        assert pd.isna(row["depth"]) == (row["kind"] == "linear")
        assert row["diverged"] == (not row["flag"])
        assert pd.isna(row["metric:value"]) == row["diverged"]


def test_csv_is_the_same_with_text_that_is_no_formula(tuned, tmp_path):
    assert command_here("export", tuned, "--frame", tmp_path / "x.csv")[0] == 0
    with (tmp_path / "x.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert list(found[0]) == list(TYPES)
    assert {row["kind"] for row in found} == {"'=tree", "linear"}
    for line, row in zip(lines(tuned), found, strict=True):
        for name in ("lr", "depth", "mixed", "size", "flag"):
            assert row[name] == line[f"hparam:{name}"]
        assert row["hparam:seed"] == line["hparam:seed"]


def test_standard_output_holds_the_table_alone(tmp_path, capsys):
    from hpo.export.__main__ import main

    run(document(arms=(RANDOM, PBT)), tmp_path / "run")
    assert main([str(tmp_path / "run"), "--frame", "-"]) == 0
    found = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert len(found) == 2 * 2 * 4 * 5
    assert set(found["arm"]) == {"random", "pbt"}
    best = found[found["on_best_lineage"] & (found["arm"] == "pbt") & (found["seed"] == 0)]
    assert len(best) == 5
    answer = load_run(tmp_path / "run").results.replicates[0].arms["pbt"]
    assert best["score"].iloc[-1] == answer.validation["score"]


def test_a_file_is_never_replaced(tuned, tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("mine\n")
    code, said = command_here("export", tuned, "--frame", path)
    assert (code, str(path) in said, path.read_text()) == (2, True, "mine\n")
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    assert command_here("export", tuned, "--frame", path)[0] == 2
    assert not (tmp_path / "elsewhere").exists()
    path.unlink()
    for _ in range(2):  # the same again is there already
        assert command_here("export", tuned, "--frame", path)[0] == 0


@pytest.mark.parametrize("name", ["x.json", "x", "none/x.csv"])
def test_a_name_that_cannot_be_is_refused(tuned, tmp_path, name):
    code, said = command_here("export", tuned, "--frame", tmp_path / name)
    assert (code, name in said) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_without_pyarrow_the_extra_is_named(tuned, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    code, said = command_here("export", tuned, "--frame", tmp_path / "x.parquet")
    assert (code, "hpo[parquet]" in said) == (2, True)
    assert not (tmp_path / "x.parquet").exists()


def test_what_is_missing_is_named(tuned, tmp_path):
    assert command_here("export", tmp_path / "none", "--frame", "-")[0] == 2
    (tmp_path / "results.json").write_bytes((tuned / "results.json").read_bytes())
    code, said = command_here("export", tmp_path, "--frame", "-")
    assert (code, "segments.csv" in said) == (2, True)
    with pytest.raises(SystemExit) as ended:
        command_here("export", tuned)
    assert ended.value.code == 2
