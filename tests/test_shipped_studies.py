"""The studies that come with the project can decide what they are to decide."""

import contextlib
import io

import pytest
from helpers import ROOT

import hpo
from hpo import statistics
from hpo.engine.registration import cannot_decide
from hpo.plan.__main__ import main
from hpo.study.file import load_studies

STUDIES = sorted(str(path.relative_to(ROOT / "studies")) for path in (ROOT / "studies").rglob("*.toml"))


@pytest.mark.parametrize("name", STUDIES)
def test_its_seeds_are_enough_for_its_comparisons(name):
    """Fault 34: six seeds and three comparisons could not reach alpha, whatever the data."""
    for spec in load_studies(ROOT / "studies" / name):
        assert cannot_decide(spec) is None


def test_the_quick_study_was_planned():
    """Fault 34: 80% power for a difference of one standard deviation; its file quotes the plan."""
    path = ROOT / "studies/mnist_quick.toml"
    spec = hpo.load_study(path)
    assert len(spec.arms) == 2
    found = statistics.plan(n=len(spec.seeds), d_z=1.0, alpha=spec.comparison.alpha)
    assert found.power >= 0.8
    assert found.seeds_80 == len(spec.seeds)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main([str(path), "--d-z", "1", "--no-timing"]) == 0
    quoted = "\n".join(f"#     {line}".rstrip() for line in said.getvalue().rstrip().splitlines())
    assert quoted in path.read_text()
