"""The statistic of studies/step_size.toml, by hand."""

import importlib.util
import json
import sys

import numpy as np
import pytest
from helpers import ROOT

from hpo import parse_study, run_study

PATH = ROOT / "studies/step_size/statistic.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("step_size_statistic", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def document(tables):
    """Return the part of results.json that the script reads; tables by seed, with variants A and B and intervals 1, 2 and 4."""
    labels = [f"{variant} {interval}" for variant in ("A 1", "B") for interval in (1, 2, 4)]
    replicates = [
        {"arms": {label: {"test": {"error": value}} for label, value in zip(labels, np.ravel(table), strict=True)}}
        for table in tables
    ]
    arms = [{"label": label} for label in labels]
    return {"task": {"metrics": [{"name": "error"}]}, "arms": arms, "replicates": replicates}


def test_a_table_by_hand(script):
    # Means of the intervals 2, 3, 7: variance 7. Means of the variants 3, 5: variance 2.
    table = np.array([[1.0, 2.0, 6.0], [3.0, 4.0, 8.0]])
    assert script.statistic(table) == pytest.approx(5)
    assert script.without_noise(table) == pytest.approx(5)  # it is additive: there are no residuals


def test_noise_is_taken_off_both_variances(script):
    # Residuals of +-1 and 0: a sum of squares of 4 with 2 degrees of freedom. The means stay.
    table = np.array([[1.0, 2.0, 6.0], [3.0, 4.0, 8.0]]) + np.array([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0]])
    assert script.statistic(table) == pytest.approx(5)
    assert script.without_noise(table) == pytest.approx(5 - 2 / 2 + 2 / 3)


def test_pure_noise_is_worth_nothing_once_it_is_taken_off(script):
    drawn = np.random.default_rng(0).standard_normal((4000, 7, 3))
    assert np.mean([script.statistic(table) for table in drawn]) == pytest.approx(1 / 7 - 1 / 3, abs=0.02)
    assert np.mean([script.without_noise(table) for table in drawn]) == pytest.approx(0, abs=0.02)


def test_labels_become_a_table(script):
    table = [[1.0, 2.0, 6.0], [3.0, 4.0, 8.0]]
    variants, intervals, tables = script.tables_of(document([table, table]))
    assert (variants, intervals) == (["A 1", "B"], ["1", "2", "4"])
    assert tables.tolist() == [table, table]
    with pytest.raises(ValueError, match="finite"):
        script.tables_of(document([[[1.0, None, 6.0], [3.0, 4.0, 8.0]]]))


def test_it_reads_what_a_run_wrote(script, tmp_path, capsys, monkeypatch):
    arms = [
        {"label": f"{name} {interval}", "optimizer": optimizer, "perturbation_interval": interval}
        for name, optimizer in (("MF-PBT", "mf_pbt"), ("BG-PBT", "bg_pbt"))
        for interval in (1, 2)
    ]
    study = {"name": "small", "replicates": 2, "population_size": 4, "budget": 6, "interval": 1}
    spec = parse_study({"study": study, "task": {"name": "toy"}, "arms": arms})
    run_study(spec, out=tmp_path / "run", executor="serial", report=False)
    _, _, tables = script.tables_of(json.loads((tmp_path / "run/results.json").read_text()))
    monkeypatch.setattr(sys, "argv", ["statistic.py", str(tmp_path / "run")])
    script.main()
    said = capsys.readouterr().out
    assert "small: 2 variants, 2 intervals, 2 seeds" in said
    assert f"{np.mean([script.statistic(table) for table in tables]):.3g}, 95% unbounded" in said
    assert "sign-flip p = 0.5 " in said or "sign-flip p = 1 " in said
