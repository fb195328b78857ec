"""segments.csv while a study runs."""

import csv
import json
import os
from collections import Counter
from contextlib import suppress

import pytest
from helpers import PBT, RANDOM, Interrupts, document, run

import hpo
from hpo.core.observer import Observer
from hpo.report.build import build_report

STUDY = document(arms=(RANDOM, PBT), replicates=3)
ROWS = 3 * 2 * 4 * 5


def rows(run_dir):
    with (run_dir / "segments.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def once_each(found):
    """Return the rows by what identifies them, and check that each is there once."""
    places = Counter((row["seed"], row["arm"], row["member"], row["interval"]) for row in found)
    assert set(places.values()) <= {1}
    return {(row["seed"], row["arm"], row["member"], row["interval"]): row for row in found}


class Looks(Observer):
    """Reads segments.csv at every answer, and fails where something is missing."""

    def __init__(self, run_dir):
        self.run_dir = run_dir
        self.told = []
        self.counts = []
        self.finished = set()

    def segment(self, segment):
        if segment.retraining:
            return
        self.told.append((str(segment.seed), segment.arm, str(segment.member), str(segment.interval)))
        found = once_each(rows(self.run_dir))
        self.counts.append((found.keys() >= set(self.told), len(found)))

    def finished_replicate(self, replicate):
        self.finished.add(replicate.seed)


def test_rows_appear_as_segments_finish(tmp_path):
    """Fault 31: there was nothing in segments.csv until a replicate ended."""
    looks = Looks(tmp_path)
    run(STUDY, tmp_path, observer=looks)
    assert [count for _, count in looks.counts] == list(range(1, ROWS + 1))
    assert all(there for there, _ in looks.counts)
    assert {row["on_best_lineage"] for row in rows(tmp_path)} == {"0", "1"}


def test_a_row_that_was_there_early_is_the_final_one_but_for_what_was_not_known(tmp_path):
    """Fault 31: only `on_best_lineage` is open before the replicate ends."""
    with suppress(KeyboardInterrupt):
        run(STUDY, tmp_path, observer=Interrupts(30))
    early = once_each(rows(tmp_path))
    assert {row["on_best_lineage"] for row in early.values()} == {""}
    run(STUDY, tmp_path)
    final = once_each(rows(tmp_path))
    assert len(final) == ROWS
    for place, row in early.items():
        assert row == final[place] | {"on_best_lineage": ""}


def test_the_report_of_an_unfinished_study_shows_what_is_finished(tmp_path):
    with suppress(KeyboardInterrupt):
        run(STUDY, tmp_path, observer=Interrupts(65))
    build_report(tmp_path)
    finished = len(json.loads((tmp_path / "results.json").read_text())["replicates"])
    assert 0 < finished < 3
    assert f"{finished} of 3" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize("stops", [(10,), (30,), (65, 1), (90, 40)])
def test_after_resuming_every_row_is_there_once(stops, tmp_path):
    """Fault 31: the final file has the same bytes, however often the study was stopped, and on however many workers it ran."""
    run(STUDY, tmp_path / "alone")
    for stop in stops:
        with suppress(KeyboardInterrupt):
            run(STUDY, tmp_path / "stopped", observer=Interrupts(stop))
        once_each(rows(tmp_path / "stopped"))
    spec = hpo.parse_study(STUDY)
    hpo.run_study(spec, out=tmp_path / "stopped", workers=2, report=False, observer=Looks(tmp_path / "stopped"))
    alone, stopped = ((tmp_path / name / "segments.csv").read_bytes() for name in ("alone", "stopped"))
    assert alone == stopped


def test_another_name_of_the_file_keeps_what_it_had(tmp_path):
    """Fault 31: what a user has linked or deleted meanwhile is neither changed nor missed."""

    class Links(Looks):
        def segment(self, segment):
            super().segment(segment)
            if len(self.told) == 10:
                os.link(self.run_dir / "segments.csv", self.run_dir.parent / "kept.csv")
            if len(self.told) == 20:
                (self.run_dir / "segments.csv").unlink()

    looks = Links(tmp_path / "run")
    run(STUDY, tmp_path / "run", observer=looks)
    assert [count for _, count in looks.counts] == list(range(1, ROWS + 1))
    assert len((tmp_path / "kept.csv").read_text().splitlines()) == 11


def test_metrics_that_come_later_get_their_columns(tmp_path):
    """Fault 31: a member that diverged has no metrics, and may be the first row."""
    study = document({"name": "hazard", "folder": str(tmp_path)}, replicates=1)
    (tmp_path / "mode").write_text("")
    looks = Looks(tmp_path / "run")
    run(study, tmp_path / "run", observer=looks)
    assert all(there for there, _ in looks.counts)
