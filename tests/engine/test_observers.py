"""What observers of a study are told, and in which order."""

import warnings
from contextlib import suppress

import helpers
import pytest
from helpers import Interrupts, run

import hpo

EVENTS = ["started", "job_started", "job_ended", "segment", "tested", "finished_replicate", "warning", "stopped"]


class Records(hpo.Observer):
    """Keeps every event and its record."""

    def __init__(self):
        self.events = []

    def of(self, *names):
        return [record for name, record in self.events if name in names]


def _keeps(event):
    def method(self, record):
        self.events.append((event, record))

    return method


for event in EVENTS:
    setattr(Records, event, _keeps(event))


def test_every_event_of_the_contract_is_known_here():
    assert {name for name in vars(hpo.Observer) if not name.startswith("_")} == set(EVENTS)


@pytest.mark.parametrize("workers", [1, 2])
def test_events_hold_the_whole_study(tmp_path, workers):
    seen = Records()
    executor = "serial" if workers == 1 else "process"
    run(helpers.document(), tmp_path, executor=executor, workers=workers, observer=seen)
    names = [name for name, _ in seen.events]
    assert names[0] == "started"
    assert names[-1] == "stopped"
    (study,), (end,) = seen.of("started"), seen.of("stopped")
    assert (study.name, study.run_dir, study.workers) == ("small", tmp_path, workers)
    assert [(arm.label, arm.optimizer) for arm in study.arms] == [("random", "random_search"), ("pbt", "pbt")]
    assert (study.seeds, study.planned_seeds) == ((0, 1), (0, 1))
    assert set(study.space) == {"h0", "h1"}
    assert study.notes  # two seeds can decide nothing
    assert end == hpo.StudyStopped("done")
    searched = [each for each in seen.of("segment") if not each.retraining]
    places = [(each.seed, each.arm, each.member, each.interval) for each in searched]
    assert len(places) == len(set(places)) == 2 * 2 * 4 * 5
    by_place = dict(zip(places, searched, strict=True))
    for each in searched:
        if each.interval:
            assert (each.seed, each.arm, each.parent_member, each.parent_interval) in by_place
            assert each.parent_interval == each.interval - 1
        else:
            assert each.parent_member is each.parent_interval is None
        assert set(each.hparams) == {"h0", "h1"}
        assert "score" in each.metrics
    assert any(each.parent_member not in (None, each.member) for each in searched)  # PBT copied
    assert len(seen.of("tested")) == 4
    assert [each.done for each in seen.of("finished_replicate")] == [1, 2]


@pytest.mark.parametrize("workers", [1, 2])
def test_jobs_begin_and_end_on_workers_that_do_one_thing_at_a_time(tmp_path, workers):
    seen = Records()
    executor = "serial" if workers == 1 else "process"
    run(helpers.document(), tmp_path, executor=executor, workers=workers, observer=seen)
    busy, used = {}, set()
    for name, record in seen.events:
        if name == "job_started":
            assert record.worker not in busy
            busy[record.worker] = record
            used.add(record.worker)
        elif name == "job_ended":
            assert busy.pop(record.job.worker) == record.job
            assert record.seconds >= 0
    assert not busy
    assert used == set(range(workers))
    computed = [each for each in seen.of("segment", "tested") if each.computed]
    assert len(computed) == len(seen.of("job_started"))
    kinds = {(each.kind, each.arm) for each in seen.of("job_started")}
    assert kinds >= {("search", "random"), ("retraining", "pbt"), ("test", "pbt")}


def test_what_was_finished_is_told_again(tmp_path):
    with suppress(KeyboardInterrupt):
        run(helpers.document(), tmp_path, observer=Interrupts(20))
    seen = Records()
    run(helpers.document(), tmp_path, observer=seen)
    searched = [each for each in seen.of("segment") if not each.retraining]
    assert len(searched) == 80
    assert 10 <= sum(not each.computed for each in searched) < 80


def test_a_lost_checkpoint_is_a_job_and_no_segment(tmp_path):
    study = helpers.document({"name": "walk", "size": 9000}, replicates=1)
    helpers.lose_states(study, tmp_path)
    seen = Records()
    run(study, tmp_path, observer=seen)
    again = [each for each in seen.of("job_started") if each.kind == "checkpoint"]
    assert again
    assert {each.arm for each in again} <= {"random", "pbt"}
    searched = [(each.arm, each.member, each.interval) for each in seen.of("segment") if not each.retraining]
    assert len(searched) == len(set(searched)) == 40


def test_how_a_study_ended(tmp_path):
    class Fails(Records):
        def segment(self, segment):
            raise KeyboardInterrupt("by hand")

    stopped = Fails()
    with suppress(KeyboardInterrupt):
        run(helpers.document(), tmp_path / "interrupted", observer=stopped)
    assert stopped.of("stopped") == [hpo.StudyStopped("interrupted", "by hand")]
    late = Records()
    run(helpers.document(), tmp_path / "late", observer=late, time_limit=1e-6)
    assert late.of("stopped") == [hpo.StudyStopped("out of time")]
    (tmp_path / "mode").write_text("raise")
    failed = Records()
    with pytest.raises(hpo.StudyFailed):
        run(helpers.document({"name": "hazard", "folder": str(tmp_path)}), tmp_path / "failed", observer=failed)
    (end,) = failed.of("stopped")
    assert end.reason == "failed"
    assert "member" in end.message


def test_warnings_are_events_and_are_still_shown(tmp_path):
    """Also those from before the study started, after `started`; and only those of the study."""

    class Warns(Records):
        def finished_replicate(self, replicate):
            warnings.warn("not of the study", stacklevel=1)

    run(helpers.document(), tmp_path)
    (tmp_path / "execution.json").write_text("{")
    seen = Warns()
    with pytest.warns(RuntimeWarning, match="execution.json") as shown:
        run(helpers.document(), tmp_path, observer=seen)
    assert any("not of the study" in str(each.message) for each in shown)
    (text,) = seen.of("warning")
    assert "execution.json" in text
    assert [name for name, _ in seen.events[:2]] == ["started", "warning"]
    assert warnings.showwarning.__module__ == "warnings"
