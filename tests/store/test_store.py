"""The store: what goes in comes out, and what is wrong with it is said."""

import hashlib
import os
import pickle
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from helpers import PBT, answer, cli, document, leftover, run, sessions, write_study

from hpo.core.checkpoints import INLINE_BYTES, Checkpoint, CheckpointFiles, CheckpointMissing, decode, encode
from hpo.core.errors import InputError, StoreError
from hpo.core.segments import Segment, Split
from hpo.store import Store, Stored, TestResult
from hpo.store.verify import verify

KEY = "a" * 64
SEGMENT = Segment(1, None, 0, {"lr": 0.1, "depth": 2, "kind": "relu", "nesterov": True}, Split.FULL)
LARGE = INLINE_BYTES // 8 + 100
"""Numbers of a state that gets a file of its own."""


def stored(value=0.5, diverged=False, checkpoint=None):
    return Stored(SEGMENT, {} if diverged else {"error": value, "count": 7}, diverged, checkpoint)


def state(number, size=LARGE):
    return encode({"weights": np.full(size, float(number))})


# --- rows --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [3, LARGE])
def test_a_segment_comes_back_as_it_was_put_also_after_reopening(tmp_path, size):
    data = state(3, size)
    with Store(tmp_path) as store:
        assert store.segments.get(KEY) is None
        put = stored(1 / 3, checkpoint=store.segments.files.write(data))
        store.put(KEY, 0, put)
        assert store.segments.get(KEY) == put
    with Store(tmp_path) as store:
        found = store.segments.get(KEY)
        assert found == put
        assert type(found.metrics["count"]) is int
        assert [type(value) for value in found.segment.hparams.values()] == [float, int, str, bool]
        assert store.segments.files.read(found.checkpoint) == data
    assert any((tmp_path / "checkpoints").rglob("*.safetensors")) == (size == LARGE)


def test_a_diverged_segment_comes_back_without_a_checkpoint(tmp_path):
    with Store(tmp_path) as store:
        store.put(KEY, 0, stored(diverged=True))
    with Store(tmp_path) as store:
        assert store.segments.get(KEY) == stored(diverged=True)


@pytest.mark.parametrize(
    "other",
    [
        lambda files: stored(0.25, checkpoint=files.write(state(0, 3))),
        lambda files: stored(0.5, checkpoint=files.write(state(1, 3))),
        lambda files: stored(diverged=True),
    ],
    ids=["metrics", "checkpoint", "diverged"],
)
def test_the_same_key_with_another_result_is_a_loud_error_and_the_first_stays(tmp_path, other):
    with Store(tmp_path) as store:
        first = stored(0.5, checkpoint=store.segments.files.write(state(0, 3)))
        store.put(KEY, 0, first)
        store.put(KEY, 0, first)
        with pytest.raises(StoreError, match="computed again with a different result") as raised:
            store.put(KEY, 0, other(store.segments.files))
        assert KEY[:12] in str(raised.value)
        assert "member 1, interval 0" in str(raised.value)
    with Store(tmp_path) as store:
        assert store.segments.get(KEY) == first


def test_the_journal_keeps_its_order_by_arm_and_seed(tmp_path):
    with Store(tmp_path) as store:
        for position, kind in enumerate(["ask", "tell", "best"]):
            store.study.append_journal(0, "pbt", position, kind, f"{kind}\n{position}")
        store.study.append_journal(1, "pbt", 0, "ask", "other seed")
        store.study.append_journal(0, "random", 0, "ask", "other arm")
    with Store(tmp_path) as store:
        assert store.study.journal(0, "pbt") == [("ask", "ask\n0"), ("tell", "tell\n1"), ("best", "best\n2")]
        store.study.drop_journal(0, "pbt")
        assert store.study.journal(0, "pbt") == []
        assert store.study.journal(1, "pbt") == [("ask", "other seed")]
        assert store.study.journal(0, "random") == [("ask", "other arm")]


@pytest.mark.parametrize("correct", [None, np.arange(13) % 3 == 0])
def test_what_the_test_set_said_comes_back(tmp_path, correct):
    with Store(tmp_path) as store:
        store.put_test(KEY, TestResult({"error": 0.125}, correct, "print", False))
        assert store.segments.test("b" * 64) is None
        found = store.segments.test(KEY)
    assert (found.metrics, found.fingerprint, found.diverged) == ({"error": 0.125}, "print", False)
    assert found.correct is None if correct is None else np.array_equal(found.correct, correct)


def test_openings_count_each_final_model_once_however_often_it_is_replayed(tmp_path):
    with Store(tmp_path) as store:
        for key in (KEY, KEY, "b" * 64):
            store.open_test(0, "pbt", key, "print")
        store.open_test(0, "random", KEY, "print")
        store.open_test(1, "random", KEY, "another test set")
        assert store.study.openings("print") == {(0, "pbt"): 2, (0, "random"): 1}


# --- the lock ----------------------------------------------------------------------------------------------------------


def test_a_run_directory_in_use_is_refused_and_free_again_afterwards(tmp_path):
    with Store(tmp_path), pytest.raises(InputError, match=f"in use by process {os.getpid()} "):
        Store(tmp_path)
    Store(tmp_path).close()


def test_a_run_directory_in_use_by_another_process_is_refused_until_that_is_killed(tmp_path):
    script = "import sys; from pathlib import Path; from hpo.store import Store\n"
    script += f"store = Store(Path({str(tmp_path)!r})); print('locked', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(InputError, match=f"in use by process {other.pid} on"):
            Store(tmp_path)
        other.kill()
        other.wait()
    with Store(tmp_path) as store:  # no stale lock: it was the kernel's
        assert store.segments.get(KEY) is None


# --- damage ------------------------------------------------------------------------------------------------------------


def filled(run_dir):
    """Make a store of many rows, closed cleanly."""
    with Store(run_dir) as store:
        for number in range(300):
            store.put(f"{number:064}", 0, stored(checkpoint=Checkpoint("d" * 64, 40, b"x" * 4000)))
    return run_dir / "store.sqlite"


def read_all(run_dir):
    with Store(run_dir) as store:
        for number in range(300):
            store.segments.get(f"{number:064}")


def garbage(path):
    path.write_bytes(np.random.default_rng(0).bytes(path.stat().st_size))


def truncated(path):
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 3)


def scribbled(path):
    with path.open("r+b") as file:
        for page in range(1, 40):
            file.seek(4096 * page)
            file.write(b"\xff" * 512)


@pytest.mark.parametrize("damage", [garbage, truncated, scribbled])
def test_a_damaged_store_is_named_with_what_to_do(tmp_path, damage):
    damage(filled(tmp_path))
    with pytest.raises(StoreError, match=r"store\.sqlite is damaged .*: move it away and run the study again"):
        read_all(tmp_path)
    # The directory is not left locked.
    (tmp_path / "store.sqlite").unlink()
    Store(tmp_path).close()


@pytest.mark.parametrize("missing", [1, 100, 4095, 4096, 4097, 50_000])
def test_a_store_that_lacks_its_end_is_refused_when_it_is_opened(tmp_path, missing):
    """Also where the cut is in its last page, of which SQLite takes what is missing for zeros."""
    path = filled(tmp_path)
    os.truncate(path, path.stat().st_size - missing)
    with pytest.raises(StoreError, match=r"store\.sqlite is damaged .*: move it away and run the study again"):
        Store(tmp_path)
    assert [problem.what for problem in verify(tmp_path) if "store.sqlite is damaged" in problem.what]


@pytest.mark.parametrize("left", [0, 1])
def test_a_store_that_was_emptied_beside_results_is_no_new_one(tmp_path, left):
    small = document()
    run(small, tmp_path)
    content = (tmp_path / "store.sqlite").read_bytes()
    (tmp_path / "store.sqlite").write_bytes(content[:left])
    with pytest.raises(InputError, match=r"store\.sqlite: is empty"):
        run(small, tmp_path)
    (tmp_path / "store.sqlite").write_bytes(content)
    assert run(small, tmp_path).results["replicates"]
    assert sessions(tmp_path)[-1]["segments_computed"] == 0


def test_a_store_of_another_version_is_refused(tmp_path):
    with Store(tmp_path) as store:
        store.study.set_meta("schema_version", "999")
    with pytest.raises(InputError, match="store schema 999"):
        Store(tmp_path)
    with pytest.raises(InputError, match="store schema 999"):  # and is not left locked
        Store(tmp_path)


MANGLED = [
    "UPDATE segments SET metrics = '{\"score\": '",
    "UPDATE segments SET segment = '{}'",
    "UPDATE segments SET segment = '[1, '",
    "UPDATE tests SET metrics = 'nonsense'",
    "UPDATE meta SET value = '{' WHERE name = 'study'",
    "UPDATE meta SET value = '[]' WHERE name = 'study'",
    "UPDATE meta SET value = '{}' WHERE name = 'study'",
]
FOLLOWED = [
    "UPDATE journal SET content = '{' WHERE kind = 'ask'",
    "UPDATE journal SET content = '{}' WHERE kind = 'ask'",
    "UPDATE journal SET content = '' WHERE kind = 'best'",
    "UPDATE journal SET content = '{}' WHERE kind = 'best'",
    "UPDATE journal SET content = '[]' WHERE kind = 'best'",
]


@pytest.mark.parametrize("mangle", [*MANGLED, *FOLLOWED])
def test_a_mangled_row_is_named_with_what_to_do(tmp_path, mangle):
    small = document(replicates=1)
    run(small, tmp_path)
    with closing(sqlite3.connect(tmp_path / "store.sqlite")) as db, db:
        assert db.execute(mangle).rowcount > 0
    with pytest.raises(
        (StoreError, InputError), match=r"store\.sqlite is damaged .*: move it away and run the study again"
    ):
        run(small, tmp_path, follow_journal=mangle in FOLLOWED)


def test_a_study_goes_on_after_its_damaged_store_was_moved_away(tmp_path):
    run(document(), tmp_path / "run")
    whole = answer(tmp_path / "run")
    garbage(tmp_path / "run" / "store.sqlite")
    with pytest.raises(InputError, match="is damaged"):  # nothing was started
        run(document(), tmp_path / "run")
    (tmp_path / "run" / "store.sqlite").rename(tmp_path / "moved")
    run(document(), tmp_path / "run")
    assert answer(tmp_path / "run") == whole


def test_a_checkpoint_with_hostile_content_is_never_unpickled(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "owned",))

    data = pickle.dumps([Hostile(), b"x" * INLINE_BYTES])
    pickle.loads(data)
    (tmp_path / "owned").unlink()  # it does what it is feared for
    files = CheckpointFiles(tmp_path)
    digest = hashlib.sha256(data).hexdigest()
    files.path(digest).parent.mkdir()
    files.path(digest).write_bytes(data)
    with pytest.raises(CheckpointMissing):
        decode(files.read(Checkpoint(digest, len(data))))
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("damage", [truncated, Path.unlink, scribbled], ids=["truncated", "missing", "changed"])
def test_a_damaged_checkpoint_file_is_missing_to_another_process(tmp_path, damage):
    checkpoint = CheckpointFiles(tmp_path).write(state(1))
    damage(CheckpointFiles(tmp_path).path(checkpoint.digest))
    with pytest.raises(CheckpointMissing):
        CheckpointFiles(tmp_path).read(checkpoint)


# --- the checkpoint budget ---------------------------------------------------------------------------------------------


def put(store, number, seed):
    """Put a segment with a large state; return its key."""
    key = f"{number:064}"
    store.put(key, seed, stored(checkpoint=store.segments.files.write(state(number))))
    return key


def kept(store, keys):
    return [key for key in keys if store.segments.get(key).checkpoint is not None]


def on_disk(store):
    return sum(path.stat().st_size for path in (store.run_dir / "checkpoints").rglob("*.safetensors"))


SIZE = len(state(0))


def test_the_checkpoints_of_finished_replicates_go_first_then_the_oldest(tmp_path):
    with Store(tmp_path, checkpoint_budget=8 * SIZE) as store:
        running = [put(store, number, 0) for number in range(4)]
        finished = [put(store, 10 + number, 1) for number in range(4)]
        assert store.segments.evict([], {0}) == 0  # they just fit
        running += [put(store, 20 + number, 0) for number in range(2)]
        # Down to nine tenths: three go, all of the finished replicate, the oldest first.
        assert store.segments.evict([], {0}) == 3 * SIZE
        assert kept(store, finished) == finished[3:]
        assert kept(store, running) == running
        running += [put(store, 30 + number, 0) for number in range(3)]
        store.segments.evict([], {0})
        assert kept(store, finished) == []
        assert kept(store, running) == running[2:]
        assert store.segments.checkpoint_bytes == on_disk(store) <= 8 * SIZE
    with Store(tmp_path) as store:
        assert kept(store, running) == running[2:]
        assert store.segments.checkpoint_bytes == on_disk(store)


def test_pinned_checkpoints_stay_even_over_the_budget(tmp_path):
    with Store(tmp_path, checkpoint_budget=SIZE) as store:
        keys = [put(store, number, 0) for number in range(4)]
        store.segments.evict(keys[:2], {1})  # of a finished replicate, and the oldest
        assert kept(store, keys) == keys[:2]
        for key in keys[:2]:
            assert decode(store.segments.files.read(store.segments.get(key).checkpoint))
        assert store.segments.checkpoint_bytes == on_disk(store) == 2 * SIZE


def test_states_that_are_equal_lie_on_disk_once_and_are_counted_once(tmp_path):
    with Store(tmp_path, checkpoint_budget=10 * SIZE) as store:
        for number in range(5):
            store.put(f"{number:064}", 0, stored(checkpoint=store.segments.files.write(state(7))))
        assert store.segments.checkpoint_bytes == on_disk(store) == SIZE
        store.segments.lost(f"{3:064}")
        assert store.segments.checkpoint_bytes == on_disk(store) == 0
        assert store.segments.get(f"{0:064}").checkpoint is None
        store.put(f"{0:064}", 0, stored(checkpoint=store.segments.files.write(state(7))))
        assert store.segments.checkpoint_bytes == on_disk(store) == SIZE
        assert store.segments.get(f"{4:064}").checkpoint is not None


def test_small_states_live_in_the_row_and_cost_no_budget(tmp_path):
    with Store(tmp_path, checkpoint_budget=1) as store:
        store.put(KEY, 0, stored(checkpoint=store.segments.files.write(state(1, 8))))
        assert store.segments.evict([], set()) == 0
        assert decode(store.segments.files.read(store.segments.get(KEY).checkpoint))["weights"].tolist() == [1.0] * 8


# --- a full disk -------------------------------------------------------------------------------------------------------


def limit_files(size: int = 200_000) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@contextmanager
def limited_files(folder: Path) -> Iterator[dict[str, object]]:
    """Yield options for `cli` with which no file becomes larger than 200 kB."""
    yield {"preexec_fn": limit_files}


@contextmanager
def small_disk(folder: Path) -> Iterator[dict[str, object]]:
    """Give `folder` a file system of 3 MiB where this process may mount one, else limit its files; yield options for `cli`."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        with limited_files(folder) as options:
            yield options
        return
    try:
        yield {}
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize(("limited", "executor"), [(small_disk, "serial"), (limited_files, "process")])
def test_a_full_disk_is_named_and_what_is_finished_is_kept(tmp_path, limited, executor):
    study = write_study(tmp_path, document({"name": "walk", "size": 30_000}, arms=(PBT,)))  # 240 kB a state
    out = tmp_path / "run"
    out.mkdir()
    with limited(out) as options:
        done = cli(study, "--out", out, "--executor", executor, **options)
        assert done.returncode == 1, done.stderr
        assert f"no space left on the disk of {out}" in done.stderr
        assert "Traceback" not in done.stderr
        if options:  # give it room, and it goes on
            again = cli(study, "--out", out, "--executor", executor)
            assert again.returncode == 0, again.stderr


def test_a_store_that_cannot_grow_says_so(tmp_path):
    script = "import resource, sys; from pathlib import Path; from hpo.store import Store\n"
    script += "from hpo.core.errors import StoreError\n"
    script += f"store = Store(Path({str(tmp_path)!r}))\n"
    script += "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
    script += "try:\n for n in range(10_000): store.study.set_meta(str(n), 'x' * 5000)\n"
    script += "except StoreError as error: print(error); sys.exit(3)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert "is the disk full" in done.stdout
    with closing(Store(tmp_path)) as store:  # everything that was said to be kept was kept
        assert store.study.meta("0") == "x" * 5000


def test_what_another_process_is_writing_below_is_left_alone(tmp_path):
    inner = tmp_path / "replays" / "one"
    with Store(inner):
        left = leftover(inner)
        Store(tmp_path).close()
        assert left.exists()
    Store(inner).close()
    assert not left.exists()


def test_a_forked_process_does_not_go_on_holding_the_lock(tmp_path):
    (waits, go_on), (told, there) = os.pipe(), os.pipe()
    with Store(tmp_path):
        child = os.fork()
        if child == 0:
            os.write(there, b".")
            os.read(waits, 1)
            os._exit(0)
        assert os.read(told, 1)  # it may be some time before it runs
        with pytest.raises(InputError, match="in use by process"):  # the child let go of it, and we did not
            Store(tmp_path)
    try:
        Store(tmp_path).close()
    finally:
        os.write(go_on, b".")
        os.waitpid(child, 0)


def test_what_killed_writers_left_is_removed(tmp_path):
    run(document(), tmp_path)
    before = answer(tmp_path)
    left = [leftover(tmp_path), leftover(tmp_path / "checkpoints" / "ab")]
    run(document(), tmp_path)
    assert not any(path.exists() for path in left)
    assert answer(tmp_path) == before
