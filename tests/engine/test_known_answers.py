"""Studies whose answers are known: the verdicts of the report are those that the tasks' docstrings derive."""

from pathlib import Path

import pytest
from helpers import results

import hpo
from hpo.study.file import load_studies

STUDIES = Path(hpo.__file__).parent.parent / "studies" / "known_answers"


def test_every_answer_has_its_study():
    listed = load_studies(STUDIES.with_suffix(".toml"))
    assert [spec.name for spec in listed] == ["known_answers_win", "known_answers_lose", "known_answers_tie"]
    assert {path.stem for path in STUDIES.glob("*.toml")} == {"win", "lose", "tie"}


@pytest.mark.parametrize(
    ("name", "verdict", "sign"), [("win", "better", -1), ("lose", "worse", 1), ("tie", "equivalent", 0)]
)
def test_the_verdict_is_the_known_answer(name, verdict, sign, tmp_path):
    spec = hpo.load_study(STUDIES / f"{name}.toml")
    hpo.run_study(spec, out=tmp_path, executor="serial", report=False)
    found = results(tmp_path)
    (comparison,) = found["comparisons"]
    assert comparison["verdict"]["kind"] == verdict
    metric = spec.comparison.metric
    differences = [
        replicate["arms"]["pbt"]["test"][metric] - replicate["arms"]["random"]["test"][metric]
        for replicate in found["replicates"]
    ]
    assert 0 not in differences  # the seeds differ, those of the tie too
    if sign:
        assert all(sign * difference > 0 for difference in differences)
    else:
        assert min(differences) < 0 < max(differences)
