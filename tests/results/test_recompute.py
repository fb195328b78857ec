"""`hpo report RUN_DIR --recompute`: the statistics anew, everything else as it was."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import helpers
import pytest

from hpo.core.locks import lock
from hpo.report.__main__ import main
from hpo.results.document import SCHEMA_VERSION, Statistics
from hpo.results.file import read_results
from hpo.results.recompute import recompute

PUBLISHED = helpers.ROOT / "docs" / "results" / "mnist_pbt_vs_random"
COMPUTED = set(Statistics.__dataclass_fields__)


def replicates(text: str) -> str:
    """Return the text of the array, found without the code that is tested."""
    start = text.index('"replicates": [')
    return text[start : text.index("\n ]", start)]


def copy(folder: Path, change=lambda text: text) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "results.json").write_text(change((PUBLISHED / "results.json").read_text()))
    return folder / "results.json"


@pytest.fixture
def second(tmp_path):
    """The published replicates in a file of schema version 2, whatever version is published."""
    old = json.loads((PUBLISHED / "results.json").read_text()) | {
        "schema_version": 2,
        "winners_curse": {"random": None},
    }
    return copy(tmp_path, lambda text: json.dumps(old, indent=1) + "\n")


def recomputed(path: Path) -> int:
    return main([str(path.parent), "--recompute"])


def test_an_older_file_is_refused_with_the_command_that_brings_it_up_to_date(second, capsys):
    assert main([str(second.parent)]) == 2
    said = capsys.readouterr().err
    assert f"results.json: schema_version = 2: this version of hpo reads 3 and {SCHEMA_VERSION}" in said
    assert f"hpo report {second.parent} --recompute" in said


def test_the_replicates_of_the_published_study_keep_their_bytes(second):
    before = second.read_text()
    assert recomputed(second) == 0
    after = second.read_text()
    assert replicates(after) == replicates(before) == replicates((PUBLISHED / "results.json").read_text())
    assert len(replicates(after)) > 100_000
    old, new = json.loads(before), json.loads(after)
    assert new["schema_version"] == SCHEMA_VERSION
    kept = old.keys() - COMPUTED - {"schema_version", "winners_curse"}
    assert {name: new[name] for name in kept} == {name: old[name] for name in kept}
    assert "winners_curse" not in new
    assert read_results(second.parent).comparisons[0].differences == tuple(old["comparisons"][0]["differences"])
    assert (second.parent / "report.html").exists()


def test_a_second_time_changes_no_byte(second):
    recompute(second.parent)
    once = second.read_bytes()
    recompute(second.parent)
    assert second.read_bytes() == once


def test_other_spellings_of_the_same_replicates_are_kept(tmp_path):
    """A file that another program laid out: no number is respelled, no key of another schema stays."""
    path = copy(tmp_path, lambda text: json.dumps(json.loads(text)).replace("0.0125", "1.25e-2"))
    compact = path.read_text()
    assert "1.25e-2" in compact
    recompute(tmp_path)
    start = compact.index('"replicates": [')
    assert compact[start : compact.index('}], "', start) + 2] in path.read_text()


def test_statistics_that_somebody_edited_are_computed_anew(tmp_path):
    path = copy(tmp_path)
    recompute(tmp_path)
    right = path.read_bytes()
    wrong = json.loads(right)
    wrong["comparisons"][0] |= {"p_holm": 0.001, "verdict": {"kind": "better"}}
    del wrong["several"]
    path.write_text(json.dumps(wrong, indent=1) + "\n")
    recompute(tmp_path)
    assert path.read_bytes() == right


def test_what_the_engine_writes_stays_as_it_is(tmp_path):
    for name, more in {"fixed": {}, "progress": {"seeds": [0]}}.items():
        helpers.run(helpers.document({"name": "guess"}, retrains=2, replicates=3), tmp_path / name, **more)
    anytime = helpers.document(name="anytime")
    del anytime["study"]["replicates"]
    anytime["comparison"] |= {"stopping": "anytime", "max_replicates": 3}
    helpers.run(anytime, tmp_path / "anytime")
    alone = helpers.document(arms=(helpers.RANDOM,))
    helpers.run(alone, tmp_path / "alone")
    for folder in tmp_path.iterdir():
        before = (folder / "results.json").read_bytes()
        recompute(folder)
        assert (folder / "results.json").read_bytes() == before, folder.name


def first_arm(document):
    return document["replicates"][0]["arms"]["random"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(schema_version=1), "schema_version = 1"),
        (lambda d: d.update(schema_version=SCHEMA_VERSION + 1), f"schema_version = {SCHEMA_VERSION + 1}"),
        (lambda d: d.update(schema_version="2"), "schema_version = '2'"),
        (lambda d: d.pop("replicates"), "replicates: missing"),
        (lambda d: first_arm(d)["test"].update(error="low"), "replicates[0].arms.random.test.error = 'low'"),
        (lambda d: first_arm(d)["correct"]["bits"].append("?"), "replicates[0].arms.random.correct"),
        (lambda d: first_arm(d)["incumbent"].pop(), "replicates[0].arms.random.incumbent"),
        (lambda d: d["replicates"].append(d["replicates"][0]), "replicates: allowed: seeds that are all different"),
    ],
)
def test_what_cannot_be_computed_from_is_refused_and_stays(tmp_path, capsys, change, words):
    document = json.loads((PUBLISHED / "results.json").read_text())
    change(document)
    path = copy(tmp_path, lambda text: json.dumps(document))
    before = path.read_bytes()
    assert recomputed(path) == 2
    said = capsys.readouterr().err
    assert "results.json" in said
    assert words in said
    assert path.read_bytes() == before
    assert {file.name for file in tmp_path.iterdir()} == {"results.json"}


def test_a_directory_in_use_is_left_alone(tmp_path, capsys):
    path = copy(tmp_path)
    before = path.read_bytes()
    (tmp_path / ".lock").touch()
    with lock(tmp_path):
        assert recomputed(path) == 2
    assert "in use" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_neither_training_nor_the_store_is_needed(tmp_path):
    copy(tmp_path / "run")
    shutil.copy(PUBLISHED / "segments.csv", tmp_path / "run")
    code = (
        "import sys; from hpo.report.__main__ import main; main(sys.argv[1:]);"
        "print({'torch', 'hpo.store', 'hpo.engine.session', 'hpo.tasks'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "--recompute"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("run/report.html\nset()\n", "")
