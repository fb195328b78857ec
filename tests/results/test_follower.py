"""What a follower of a run directory sees, whatever happens to the files meanwhile."""

import csv
import io
import json
import shutil
from collections import Counter
from contextlib import suppress

import hypothesis.strategies as st
import pytest
from helpers import PBT, RANDOM, Interrupts, cases, document, run
from hypothesis import HealthCheck, given, settings

from hpo.core.csv_files import cell, rows_into
from hpo.core.errors import InputError
from hpo.engine.session import Observer
from hpo.results.follower import Follower
from hpo.results.progress import Started, Stopped, Warned, to_line
from hpo.results.segments_reader import LEADING

STUDY = document(arms=(RANDOM, PBT), replicates=3)
ROWS = 3 * 2 * 4 * 5
TEXTS = ["plain", 'quo"ted', "two\nlines", "=1+1", 'a "line"\nand, more']


def everything(follower):
    """Return the follower's news, until there are no more, in one list of segments and one of all news."""
    segments, news = [], []
    while not news or news[-1].more:
        news.append(follower.look())
        segments += news[-1].segments
    return segments, news


def content(segment):
    """Return what identifies a row, without what may change."""
    hparams, metrics = (tuple(sorted(part.items())) for part in (segment.hparams, segment.metrics))
    return segment.seed, segment.arm, segment.member, segment.interval, segment.parent_member, hparams, metrics


def in_file(run_dir):
    """Return what segments.csv holds now, as `content` does."""
    return Counter(content(segment) for segment in everything(Follower(run_dir))[0])


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A run directory without a segment, whose space has a choice of texts, too."""
    out = tmp_path_factory.mktemp("begun")
    with suppress(KeyboardInterrupt):
        run(STUDY, out, observer=Interrupts(1))
    results = json.loads((out / "results.json").read_text())
    results["task"]["search_space"]["text"] = {"type": "categorical", "choices": TEXTS}
    (out / "results.json").write_text(json.dumps(results))
    (out / "segments.csv").unlink()
    return out


# --- any interleaving of what writers do ---------------------------------------------------------------------------------

ROW = st.tuples(
    st.integers(0, 1),  # seed
    st.integers(0, 1),  # member
    st.integers(0, 2),  # interval
    st.sampled_from(TEXTS),
    st.sampled_from(["0.25", "0.5", ""]),  # a metric
    st.sampled_from(["1.5", ""]),  # one that not every row has
)
ACTS = st.one_of(
    ROW.map(lambda row: ("append", row)),
    st.tuples(st.just("torn"), ROW, st.floats(0, 1)),
    st.tuples(st.just("replace"), st.randoms(use_true_random=False)),
    st.tuples(st.just("rewrite"), st.randoms(use_true_random=False)),
    st.just(("remove",)),
    st.just(("look",)),
)


class Writer:
    """Writes segments.csv as hpo does, and less carefully."""

    def __init__(self, path):
        self.path = path
        self.rows = []
        self.best = []
        self.metrics = ["one"]

    def text(self, row, best):
        seed, member, interval, text, one, two = row
        values = {"one": one, "two": two}
        leading = [seed, "arm", member, interval, None, best, int(not one)]
        return self._csv([*leading, cell(text), *(values[name] for name in self.metrics)])

    def _csv(self, cells):
        out = io.StringIO()
        rows_into(out).writerow(cells)
        return out.getvalue().encode()

    def whole(self):
        header = self._csv([*LEADING, "hparam:text", *(f"metric:{name}" for name in self.metrics)])
        return header + b"".join(map(self.text, self.rows, self.best))

    def append(self, row, share=None):
        """Append a row, of which only a share is written; the rest comes with what is written next."""
        self.rows.append(row)
        self.best.append(None)
        if (row[5] and "two" not in self.metrics) or not self.path.exists():
            self.metrics = ["two", "one"] if row[5] else self.metrics
            self.replace(None)
            return
        line = self.text(row, None)
        with self.path.open("ab") as file:
            file.write(line if share is None else line[: int(share * len(line))])
        if share is not None:
            self.pending = line[int(share * len(line)) :]

    pending = b""

    def complete(self):
        if self.pending and self.path.exists():
            with self.path.open("ab") as file:
                file.write(self.pending)
        self.pending = b""

    def shuffle(self, random):
        order = list(range(len(self.rows)))
        random.shuffle(order)
        self.rows = [self.rows[at] for at in order]
        self.best = [random.choice([None, 0, 1]) for _ in order]

    def replace(self, random):
        self.pending = b""
        if random is not None:
            self.shuffle(random)
        temporary = self.path.with_name("new")
        temporary.write_bytes(self.whole())
        temporary.replace(self.path)

    def rewrite(self, random):
        """Write the file in place, as copying over it does."""
        self.pending = b""
        self.shuffle(random)
        self.path.write_bytes(self.whole())


@settings(max_examples=cases(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=st.lists(ACTS, max_size=25))
def test_every_segment_is_given_once_whatever_happens_to_the_file(acts, begun, tmp_path_factory):
    out = tmp_path_factory.mktemp("any")
    shutil.copy(begun / "results.json", out)
    writer, follower = Writer(out / "segments.csv"), Follower(out)
    segments, best = [], {}

    def look():
        found, news = everything(follower)
        segments.extend(found)
        best.update((segment.id, segment.best) for segment in found)
        best.update(change for each in news for change in each.settled)

    for act, *arguments in acts:
        if act == "look":
            look()
            continue
        writer.complete()
        if act == "remove":
            writer.path.unlink(missing_ok=True)
        elif act in ("append", "torn"):
            writer.append(*arguments)
        else:
            getattr(writer, act)(*arguments)
    writer.complete()
    if not writer.path.exists():
        writer.replace(None)
    look()
    expected = Counter(
        (
            seed,
            "arm",
            member,
            interval,
            None,
            (("text", text),),
            tuple((k, float(v)) for k, v in (("one", one), ("two", two)) if v),
        )
        for seed, member, interval, text, one, two in writer.rows
    )
    assert Counter(map(content, segments)) == expected
    assert [segment.id for segment in segments] == list(range(len(writer.rows)))
    known = Counter((content(segment), best[segment.id]) for segment in segments)
    marks = [None if mark is None else bool(mark) for mark in writer.best]
    assert known == Counter(zip(map(content, _parsed(writer)), marks, strict=True))
    follower.close()


def _parsed(writer):
    folder = writer.path.parent / "again"
    folder.mkdir()
    shutil.copy(writer.path.parent / "results.json", folder)
    shutil.copy(writer.path, folder)
    return everything(Follower(folder))[0]


# --- real studies --------------------------------------------------------------------------------------------------------


class Follows(Observer):
    """Looks after every answer; fails unless each segment is there as soon as its answer."""

    def __init__(self, follower):
        self.follower = follower
        self.segments, self.events, self.settled, self.results, self.told = [], [], {}, [], 0

    def look(self):
        found, news = everything(self.follower)
        assert not any(each.reset or each.problems for each in news)
        self.segments += found
        self.events += [event for each in news for event in each.events]
        self.results += [each.results for each in news if each.results is not None]
        for each in news:
            self.settled.update(each.settled)

    def answered(self, seed, label, answer, computed):
        segment = getattr(answer, "segment", None)
        self.told += segment is not None and segment.split == "search"
        self.look()
        assert len(self.segments) >= self.told


def test_a_study_is_followed_segment_by_segment_through_interruptions(tmp_path):
    with suppress(KeyboardInterrupt):
        run(STUDY, tmp_path, observer=Interrupts(10))
    follows = Follows(Follower(tmp_path))
    follows.look()
    for stop in (30, 65):
        follows.told = 0
        with suppress(KeyboardInterrupt):
            run(STUDY, tmp_path, observer=Interrupts(stop))
        follows.look()
    follows.told = 0
    run(STUDY, tmp_path, observer=follows)
    follows.look()
    assert len(follows.segments) == ROWS
    assert Counter(map(content, follows.segments)) == in_file(tmp_path)
    best = {segment.id: segment.best for segment in follows.segments} | follows.settled
    with (tmp_path / "segments.csv").open(newline="") as file:
        assert sum(mark for mark in best.values()) == sum(row["on_best_lineage"] == "1" for row in csv.DictReader(file))
    assert [len(found.replicates) for found in follows.results][-1] == 3
    ends = [event.reason for event in follows.events if isinstance(event, Stopped)]
    assert ends == ["interrupted"] * 3 + ["done"]
    assert sum(isinstance(event, Started) for event in follows.events) == 4


def test_another_study_in_the_same_place_is_seen(tmp_path):
    out = tmp_path / "run"
    run(STUDY, out)
    follower = Follower(out)
    assert len(everything(follower)[0]) == ROWS
    out.rename(tmp_path / "old")
    assert everything(follower)[0] == []  # nothing there: what is known stays known
    run(document(name="another", replicates=1), out)
    segments, news = everything(follower)
    assert [each.reset for each in news].count(True) == 1
    assert news[-1].reset or len(segments) == 2 * 4 * 5
    assert [segment.id for segment in segments] == list(range(40))
    assert [event.seeds for each in news for event in each.events if isinstance(event, Started)] == [(0,)]
    shutil.rmtree(tmp_path / "old")
    for path in out.iterdir():  # the same folder, emptied
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    everything(follower)
    run(STUDY, out)
    segments, news = everything(follower)
    assert [each.reset for each in news].count(True) == 1
    assert len(segments) == ROWS


def test_lines_of_progress_are_given_once_though_old_ones_are_left_out(begun, tmp_path):
    shutil.copy(begun / "results.json", tmp_path)
    path, follower = tmp_path / "progress.jsonl", Follower(tmp_path)
    lines = [to_line(Warned(session="s", n=n, time=float(n), text=str(n))) for n in range(6)]

    def numbers():
        return [event.n for event in follower.look().events]

    path.write_bytes(lines[0] + lines[1][:-5])
    assert numbers() == [0]
    path.write_bytes(b"".join(lines[:4]))
    assert numbers() == [1, 2, 3]
    path.unlink()
    path.write_bytes(
        lines[0] + lines[4] + b"no line\n" + lines[5] + to_line(Warned(session="t", n=0, time=6.0, text=""))
    )
    assert numbers() == [4, 5, 0]


def test_results_that_are_gone_for_a_moment_give_no_segment_twice(begun, tmp_path):
    shutil.copy(begun / "results.json", tmp_path)
    writer, follower = Writer(tmp_path / "segments.csv"), Follower(tmp_path)
    for number in range(3):
        writer.append((number, 0, 0, TEXTS[0], "0.5", ""))
        (tmp_path / "results.json").unlink(missing_ok=True)
        segments, news = everything(follower)
        shutil.copy(begun / "results.json", tmp_path)
        segments += everything(follower)[0]
        assert [segment.id for segment in segments] == [number]
        assert not any(each.reset for each in news)


def test_a_long_file_comes_in_parts(begun, tmp_path, monkeypatch):
    monkeypatch.setattr("hpo.results.tail.MOST_BYTES", 100)
    shutil.copy(begun / "results.json", tmp_path)
    writer = Writer(tmp_path / "segments.csv")
    for number in range(50):
        writer.append((number, 0, 0, TEXTS[number % 5], "0.5", ""))
    segments, news = everything(Follower(tmp_path))
    assert [segment.seed for segment in segments] == list(range(50))
    assert len(news) > 10


@pytest.mark.parametrize("name", ["segments.csv", "progress.jsonl", "results.json"])
def test_a_link_is_not_followed(name, begun, tmp_path):
    shutil.copy(begun / "results.json", tmp_path)
    follower = Follower(tmp_path)
    follower.look()
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name).symlink_to(begun / name)
    assert any("is a link" in problem for problem in follower.look().problems)
    with pytest.raises(InputError, match="is a link"):
        Follower(tmp_path)


@pytest.mark.parametrize("garbage", [b"\0\xff\n" * 50, b"seed,arm\n1,2\n", b'"' * 1000 + b"\n", b"[]\n{}\n"])
def test_files_that_are_not_ours_give_nothing(garbage, begun, tmp_path):
    shutil.copy(begun / "results.json", tmp_path)
    (tmp_path / "segments.csv").write_bytes(garbage)
    (tmp_path / "progress.jsonl").write_bytes(garbage)
    segments, news = everything(Follower(tmp_path))
    assert segments == []
    assert not any(each.events for each in news)


def test_a_folder_that_holds_no_study_is_refused(tmp_path):
    for folder, words in ((tmp_path / "none", "no such directory"), (tmp_path, "not a run directory")):
        with pytest.raises(InputError, match=words):
            Follower(folder)
