"""results.json while a study runs: how far its searches are, and nothing of it once the study is done."""

import json
from contextlib import suppress

import pytest
from helpers import PBT, RANDOM, Interrupts, document, results, run

import hpo
from hpo.engine import run_dir
from hpo.report.build import build_report
from hpo.results.file import dumps, read_results
from hpo.results.recompute import recompute

STUDY = document(arms=(RANDOM, PBT), replicates=3)
BUDGET = 4 * 5


class Looks(hpo.Observer):
    """Reads results.json at every segment."""

    def __init__(self, folder):
        self.folder = folder
        self.seen = []

    def segment(self, segment):
        self.seen.append(results(self.folder).get("unfinished", []))


@pytest.fixture
def at_every_answer(monkeypatch):
    monkeypatch.setattr(run_dir.Outputs, "mark_due", lambda _: True)


@pytest.mark.usefixtures("at_every_answer")
def test_the_file_follows_the_searches(tmp_path):
    looks = Looks(tmp_path)
    run(STUDY, tmp_path, observer=looks)
    places = {(item["seed"], item["arm"]) for seen in looks.seen for item in seen}
    assert places == {(seed, arm) for seed in range(3) for arm in ("random", "pbt")}
    last = [
        max(item["charged_intervals"] for seen in looks.seen for item in seen if (item["seed"], item["arm"]) == place)
        for place in places
    ]
    assert last == [BUDGET] * 6
    for seen in looks.seen:
        for item in seen:
            curve = next(r for r in results(tmp_path)["replicates"] if r["seed"] == item["seed"])["arms"][item["arm"]][
                "incumbent"
            ]
            if item["charged_intervals"] % 4 == 0:
                assert item["incumbent"] == curve[item["charged_intervals"] // 4 - 1]
    assert "unfinished" not in results(tmp_path)


def test_an_interrupted_study_says_how_far_it_is_and_the_final_file_has_the_same_bytes(tmp_path):
    run(STUDY, tmp_path / "alone")
    with suppress(KeyboardInterrupt):
        run(STUDY, tmp_path / "stopped", observer=Interrupts(65))
    found = results(tmp_path / "stopped")
    finished = {replicate["seed"] for replicate in found["replicates"]}
    assert found["unfinished"]
    assert finished.isdisjoint(item["seed"] for item in found["unfinished"])
    run(STUDY, tmp_path / "stopped")
    assert (tmp_path / "stopped/results.json").read_bytes() == (tmp_path / "alone/results.json").read_bytes()


def test_the_report_of_an_interrupted_study_shows_it(tmp_path):
    with suppress(KeyboardInterrupt):
        run(STUDY, tmp_path, observer=Interrupts(7))
    assert results(tmp_path)["replicates"] == []
    before = (tmp_path / "results.json").read_bytes()
    text = build_report(tmp_path).with_suffix(".md").read_text()
    for item in results(tmp_path)["unfinished"]:
        assert f"| {item['seed']} | {item['arm']} | {item['charged_intervals']} of {BUDGET} |" in text
    recompute(tmp_path)
    assert (tmp_path / "results.json").read_bytes() == before
    assert json.loads(dumps(read_results(tmp_path))) == json.loads(before)


def test_a_session_that_repeats_finished_work_takes_nothing_away(tmp_path, monkeypatch):
    run(STUDY, tmp_path, seeds=[0, 1])
    monkeypatch.setattr(run_dir.Outputs, "mark_due", lambda _: True)
    with suppress(KeyboardInterrupt):
        run(STUDY, tmp_path, observer=Interrupts(3))
    assert [replicate["seed"] for replicate in results(tmp_path)["replicates"]] == [0, 1]
    assert {item["seed"] for item in results(tmp_path).get("unfinished", [])} <= {2}


def test_writing_it_is_rare(tmp_path, monkeypatch):
    marks = []
    mark = run_dir.Outputs.mark
    monkeypatch.setattr(run_dir.Outputs, "mark", lambda self, found: (marks.append(found), mark(self, found)))
    run(document(replicates=5, budget=20), tmp_path)
    assert len(marks) <= 1 + 5  # in a few seconds


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 9}, "unfinished: allowed: 0, 1, 2; 9"),
        ({"arm": "x"}, "unfinished: allowed: 'random', 'pbt'; 'x'"),
        ({"charged_intervals": -1}, r"unfinished\[0\]\.charged_intervals = -1"),
    ],
)
def test_what_contradicts_the_study_is_refused(change, words, tmp_path):
    with suppress(KeyboardInterrupt):
        run(STUDY, tmp_path, observer=Interrupts(7))
    found = results(tmp_path)
    found["unfinished"][0] |= change
    (tmp_path / "results.json").write_text(json.dumps(found))
    with pytest.raises(hpo.InputError, match=words):
        read_results(tmp_path)
