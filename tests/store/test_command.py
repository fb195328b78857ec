"""`hpo store`: what is in a store, what is broken in it, what can go, and how it moves."""

import json
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest
from helpers import PBT, RANDOM, Interrupts, answer, document, environment, heed_signals, leftover, rows, run, sessions

from hpo.core.errors import InputError
from hpo.store import Store
from hpo.store.__main__ import main, parser

SMALL = document(arms=(RANDOM, PBT))
WALK = document({"name": "walk", "size": 9000}, arms=(RANDOM, PBT))
"""Its states are files."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Make finished run directories, with a store of their own and with a shared one."""
    folder = tmp_path_factory.mktemp("made")
    run(WALK, folder / "own")
    run(WALK, folder / "with", store=folder / "shared")
    run(SMALL, folder / "small")
    return folder


@pytest.fixture(params=["own", "shared"])
def store(made, tmp_path, request):
    """Yield a copy of the store with the segments, and its run directory."""
    shutil.copytree(made / "own", tmp_path / "own")
    shutil.copytree(made / "with", tmp_path / "with")
    shutil.copytree(made / "shared", tmp_path / "shared")
    with closing(sqlite3.connect(tmp_path / "with" / "store.sqlite")) as db, db:
        db.execute("UPDATE meta SET value = ? WHERE name = 'shared_store'", (str(tmp_path / "shared"),))
    return tmp_path / request.param


def again(store, **options):
    """Run the study of a store again; return its answer."""
    shared = store if store.name == "shared" else None
    run_dir = store.parent / ("with" if shared else "own")
    run(WALK, run_dir, store=shared, **options)
    return answer(run_dir)


def command(capsys, *arguments):
    """Run the command line in this process; return (exit code, stdout, stderr)."""
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def change(store, statement, *values):
    with closing(sqlite3.connect(store / "store.sqlite")) as db, db:
        assert db.execute(statement, values).rowcount > 0


def states(store):
    return sorted((store / "checkpoints").rglob("*.safetensors"))


# --- ls ------------------------------------------------------------------------------------------------------------------


def test_ls_says_what_is_in_a_run_directory(made, capsys):
    code, out, _ = command(capsys, "ls", made / "own")
    assert code == 0
    lines = out.splitlines()
    assert lines[1] == "study small: 2 of 2 replicates finished, arms random, pbt"
    segments, tests = rows(made / "own"), rows(made / "own", "tests")
    total = re.fullmatch(
        rf"total: {segments} segments, {tests} tests, .* MiB of rows, (\d+) checkpoint files of .* MiB", lines[-2]
    )
    assert int(total[1]) == len(states(made / "own"))
    seeds = [line.split() for line in lines if re.match(r" +\d", line)]
    assert [row[0] for row in seeds] == ["0", "1"]
    assert sum(int(row[1]) for row in seeds) == segments
    assert sum(int(row[4]) for row in seeds) == tests
    assert lines[-1].endswith(f"opened 4 times, for {tests} models, by 1 study")


def test_ls_says_which_studies_use_a_shared_store(made, tmp_path, capsys):
    shutil.copytree(made / "shared", tmp_path / "shared")
    with suppress(KeyboardInterrupt):
        run(
            WALK | {"study": WALK["study"] | {"replicates": 3, "name": "third"}},
            tmp_path / "third",
            store=tmp_path / "shared",
            observer=Interrupts(3),
        )
    _, out, _ = command(capsys, "ls", tmp_path / "shared")
    assert "a shared store" in out
    assert f"study small, in {made / 'with'}: 2 of 2 replicates finished" in out
    assert f"study third, in {tmp_path / 'third'}: 2 of 3 replicates finished" in out
    assert re.search(r"opened 8 times, for \d models, by 2 studies", out)
    _, out, _ = command(capsys, "ls", made / "with")
    assert f"segments, tests and checkpoints are in {made / 'shared'}" in out


# --- verify --------------------------------------------------------------------------------------------------------------


def test_nothing_is_broken_in_what_was_just_made(store, capsys):
    for path in (store, store.parent / "with"):
        assert command(capsys, "verify", path) == (0, f"{path}: no problems\n", "")


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "said"),
    [(truncate, "bytes instead of"), (flip, "digest in its name"), (lambda path: path.unlink(), "is missing")],
    ids=["truncated", "flipped", "deleted"],
)
def test_verify_names_a_broken_checkpoint_and_the_study_mends_it(made, store, damage, said, capsys):
    victim = states(store)[3]
    damage(victim)
    code, out, _ = command(capsys, "verify", store)
    assert code == 1
    assert f"{victim}: " in out
    assert said in out
    assert "1 problem\n" in out
    victim.unlink(missing_ok=True)  # as it says
    command(capsys, "gc", store)
    assert command(capsys, "verify", store)[0] == 0
    assert again(store) == answer(made / "own")


def test_verify_names_a_deleted_segment_and_the_study_makes_it_again(made, store, capsys):
    change(store, "DELETE FROM segments WHERE number = 3")
    code, out, _ = command(capsys, "verify", store)
    assert code == 1
    assert "its parent" in out
    code, out, _ = command(capsys, "verify", store.parent / "with" if store.name == "shared" else store)
    assert code == 1
    assert re.search(r"the journal of arm 'random', seed 0: entry \d+: segment [0-9a-f]{12} is missing", out)
    assert again(store) == answer(made / "own")
    assert command(capsys, "verify", store)[0] == 0


def test_verify_names_a_deleted_test(made, store, capsys):
    change(store, "DELETE FROM tests WHERE key = (SELECT MIN(key) FROM tests)")
    _, out, _ = command(capsys, "verify", store.parent / "with" if store.name == "shared" else store)
    assert re.search(r"the test of arm '\w+', seed \d: its result is missing", out)
    assert again(store) == answer(made / "own")


BROKEN_JOURNALS = {
    "a gap": ("DELETE FROM journal WHERE seed = 0 AND arm = 'pbt' AND position = 4", "entry 4 is missing"),
    "no JSON": (
        "UPDATE journal SET content = '{' WHERE seed = 0 AND arm = 'pbt' AND position = 4",
        "entry 4: EOF while parsing an object",
    ),
    "no key": (
        "UPDATE journal SET content = 'x' WHERE seed = 0 AND arm = 'pbt' AND position = 3",
        "entry 3: it reports something that is not a digest",
    ),
    "no answer": (
        "UPDATE journal SET content = json_set(content, '$.key', printf('%064d', 0))"
        " WHERE seed = 0 AND arm = 'pbt' AND kind = 'best'",
        "entry 10: the answer 000000000000 was never reported",
    ),
}


@pytest.mark.parametrize("broken", BROKEN_JOURNALS)
def test_verify_names_a_broken_journal_and_how_to_repair_it(made, tmp_path, broken, capsys):
    shutil.copytree(made / "own", tmp_path / "own")
    statement, said = BROKEN_JOURNALS[broken]
    change(tmp_path / "own", statement)
    code, out, _ = command(capsys, "verify", tmp_path / "own")
    assert code == 1
    assert f"the journal of arm 'pbt', seed 0: {said}" in out
    (advice,) = re.findall(r'sqlite3 store\.sqlite "(.*)"', out)
    change(tmp_path / "own", advice)
    run(WALK, tmp_path / "own")
    assert answer(tmp_path / "own") == answer(made / "own")
    assert sessions(tmp_path / "own")[-1]["segments_computed"] == 0
    assert command(capsys, "verify", tmp_path / "own")[0] == 0


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE segments SET metrics = '{' WHERE number = 2", "EOF while parsing an object"),
        ("UPDATE segments SET segment = '{}' WHERE number = 2", "unexpected or missing fields"),
        ("UPDATE segments SET state = zeroblob(size) WHERE number = 2", "the state is damaged"),
        ("UPDATE tests SET metrics = '[]'", "the metrics are not an object"),
        ("UPDATE meta SET value = '[]' WHERE name = 'study'", "which study is in"),
    ],
)
def test_verify_names_an_unreadable_row(made, tmp_path, statement, said, capsys):
    shutil.copytree(made / "small", tmp_path / "small")
    change(tmp_path / "small", statement)
    code, out, _ = command(capsys, "verify", tmp_path / "small")
    assert code == 1
    assert said in out


def test_verify_names_a_database_that_is_garbage(made, tmp_path, capsys):
    shutil.copytree(made / "small", tmp_path / "small")
    path = tmp_path / "small" / "store.sqlite"
    path.write_bytes(b"x" * path.stat().st_size)
    code, out, _ = command(capsys, "verify", tmp_path / "small")
    assert code == 1
    assert "move it away and run the study again" in out


# --- gc ------------------------------------------------------------------------------------------------------------------


def test_gc_removes_what_no_row_names_and_nothing_else(made, store, capsys):
    before = states(store)
    orphan = store / "checkpoints" / "00" / f"{'0' * 64}.safetensors"
    temporary = leftover(orphan.parent)
    orphan.write_bytes(b"half")
    code, out, _ = command(capsys, "gc", store, "--dry-run")
    assert code == 0
    assert "would remove 0.0 MiB: 0 checkpoints, 1 unreferenced checkpoint files, 1 temporary files" in out
    assert orphan.exists()
    assert temporary.exists()
    command(capsys, "gc", store)
    assert states(store) == before
    assert not temporary.exists()
    assert command(capsys, "verify", store)[0] == 0


def test_gc_keeps_to_a_budget_and_the_models_that_were_tested_go_last(made, store, capsys):
    sizes = {path: path.stat().st_size for path in states(store)}
    with closing(sqlite3.connect(store / "store.sqlite")) as db:
        tested = {
            digest for (digest,) in db.execute("SELECT digest FROM segments JOIN tests ON tests.key = segments.key")
        }
    budget = 6 * max(sizes.values())
    assert len(tested) <= 4
    command(capsys, "gc", store, "--budget", budget / 2**20)
    left = states(store)
    assert sum(sizes[path] for path in left) <= budget
    assert len(left) == 6
    assert tested <= {path.stem for path in left}
    assert command(capsys, "verify", store)[0] == 0
    command(capsys, "gc", store, "--budget", 0)
    assert states(store) == []
    assert again(store) == answer(made / "own")


def test_gc_takes_the_checkpoints_of_finished_replicates_first(tmp_path, capsys):
    with suppress(KeyboardInterrupt):
        run(WALK, tmp_path, observer=Interrupts(45))  # in the second replicate
    with closing(sqlite3.connect(tmp_path / "store.sqlite")) as db:
        by_seed = [
            {digest for (digest,) in db.execute("SELECT digest FROM segments WHERE seed = ?", (seed,))}
            for seed in (0, 1)
        ]
        assert db.execute("SELECT DISTINCT seed FROM openings").fetchall() == [(0,)]
    size = max(path.stat().st_size for path in states(tmp_path))
    command(capsys, "gc", tmp_path, "--budget", (len(by_seed[1]) + 1) * size / 2**20)
    assert by_seed[1] <= {path.stem for path in states(tmp_path)}
    command(capsys, "gc", tmp_path, "--keep-best")
    assert by_seed[1] <= {path.stem for path in states(tmp_path)}
    run(WALK, tmp_path)
    assert sessions(tmp_path)[-1]["segments_recomputed"] == 0


def test_gc_keep_best_leaves_the_models_that_were_tested(made, store, capsys):
    command(capsys, "gc", store, "--keep-best")
    with closing(sqlite3.connect(store / "store.sqlite")) as db:
        tested = {
            digest for (digest,) in db.execute("SELECT digest FROM segments JOIN tests ON tests.key = segments.key")
        }
    assert {path.stem for path in states(store)} == tested
    assert again(store) == answer(made / "own")


def test_gc_does_not_touch_a_store_in_use(made, tmp_path, capsys):
    shutil.copytree(made / "shared", tmp_path / "shared")
    with Store(tmp_path / "run", shared=tmp_path / "shared"):
        for path in ("run", "shared"):
            code, _, err = command(capsys, "gc", tmp_path / path)
            assert code == 2
            assert "in use by" in err
        assert command(capsys, "verify", tmp_path / "shared")[0] == 0
    assert command(capsys, "gc", tmp_path / "shared")[0] == 0
    Store(tmp_path / "run", shared=tmp_path / "shared").close()


# --- export and import ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["own", "with"])
def test_an_exported_run_directory_goes_on_elsewhere_with_the_same_results(made, tmp_path, source, capsys):
    assert command(capsys, "export", made / source, "--out", tmp_path / "rows.jsonl")[0] == 0
    assert command(capsys, "import", tmp_path / "rows.jsonl", "--into", tmp_path / "new")[0] == 0
    assert rows(tmp_path / "new") == rows(made / "own")
    assert rows(tmp_path / "new", "journal") == rows(made / "own", "journal")
    assert command(capsys, "verify", tmp_path / "new")[0] == 0
    run(WALK, tmp_path / "new")
    assert answer(tmp_path / "new") == answer(made / "own")
    # Nothing is computed but what leads to the models that were to be copied.
    (session,) = sessions(tmp_path / "new")
    assert session["segments_computed"] == session["segments_recomputed"]
    assert sorted(path.name for path in (tmp_path / "new" / "models").iterdir()) == sorted(
        path.name for path in (made / "own" / "models").iterdir()
    )


def test_an_unfinished_run_directory_moves_too(made, tmp_path, capsys):
    with suppress(KeyboardInterrupt):
        run(SMALL, tmp_path / "part", observer=Interrupts(17))
    command(capsys, "export", tmp_path / "part", "--out", tmp_path / "rows.jsonl")
    command(capsys, "import", tmp_path / "rows.jsonl", "--into", tmp_path / "new")
    run(SMALL, tmp_path / "new")
    assert answer(tmp_path / "new") == answer(made / "small")
    assert (
        sessions(tmp_path / "new")[0]["segments_computed"]
        == rows(tmp_path / "new") + rows(tmp_path / "new", "tests") - 17
    )


def test_a_shared_store_moves_too(made, tmp_path, capsys):
    command(capsys, "export", made / "shared", "--out", tmp_path / "rows.jsonl")
    command(capsys, "import", tmp_path / "rows.jsonl", "--into", tmp_path / "new")
    run(WALK, tmp_path / "run", store=tmp_path / "new")
    assert answer(tmp_path / "run") == answer(made / "own")
    _, out, _ = command(capsys, "ls", tmp_path / "new")
    assert f"study small, in {made / 'with'}: 2 of 2" in out


def test_an_import_wants_an_empty_folder(made, tmp_path, capsys):
    command(capsys, "export", made / "small", "--out", tmp_path / "rows.jsonl")
    code, _, err = command(capsys, "import", tmp_path / "rows.jsonl", "--into", tmp_path)
    assert code == 2
    assert "is not empty" in err


def apart(folder, capsys):
    """Compute the replicates of `SMALL` on machines of their own, export them, and return the files."""
    files = []
    for seed in (0, 1):
        run(SMALL, folder / f"machine-{seed}", seeds=[seed])
        files.append(folder / f"{seed}.jsonl")
        assert command(capsys, "export", folder / f"machine-{seed}", "--out", files[-1])[0] == 0
    return files


def test_what_several_machines_computed_comes_together_in_a_shared_store(made, tmp_path, capsys):
    for file in apart(tmp_path, capsys) * 2:  # twice: what is known is passed over
        code, out, _ = command(capsys, "import", file, "--into", tmp_path / "store", "--shared")
        assert code == 0
    assert out == f"{tmp_path / 'store'}: 0 new segments\n"
    run(SMALL, tmp_path / "all", store=tmp_path / "store")
    assert answer(tmp_path / "all") == answer(made / "small")
    assert sessions(tmp_path / "all")[0]["segments_computed"] == 0


def test_old_run_directories_come_into_a_shared_store_with_their_checkpoints(made, tmp_path, capsys):
    shutil.copytree(made / "own" / "checkpoints", tmp_path / "store" / "checkpoints")
    command(capsys, "export", made / "own", "--out", tmp_path / "rows.jsonl")
    assert command(capsys, "import", tmp_path / "rows.jsonl", "--into", tmp_path / "store", "--shared")[0] == 0
    assert command(capsys, "verify", tmp_path / "store")[0] == 0
    run(WALK, tmp_path / "all", store=tmp_path / "store")
    assert answer(tmp_path / "all") == answer(made / "own")
    assert sessions(tmp_path / "all")[0]["segments_computed"] == 0


def test_checkpoints_that_are_brought_later_are_found_by_importing_again(made, tmp_path, capsys):
    command(capsys, "export", made / "own", "--out", tmp_path / "rows.jsonl")
    command(capsys, "import", tmp_path / "rows.jsonl", "--into", tmp_path / "store", "--shared")
    shutil.copytree(made / "own" / "checkpoints", tmp_path / "store" / "checkpoints", dirs_exist_ok=True)
    _, out, _ = command(capsys, "import", tmp_path / "rows.jsonl", "--into", tmp_path / "store", "--shared")
    assert out == f"{tmp_path / 'store'}: 0 new segments\n"
    run(WALK, tmp_path / "all", store=tmp_path / "store")
    assert sessions(tmp_path / "all")[0]["segments_computed"] == 0


def test_another_result_of_a_known_segment_is_refused_and_changes_nothing(tmp_path, capsys):
    one, other = apart(tmp_path, capsys)
    store = tmp_path / "store"
    command(capsys, "import", one, "--into", store, "--shared")
    before = rows(store)
    lines = one.read_text().splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith('{"segments"'))
    row = json.loads(lines[place])["segments"]
    row[3] = json.dumps({"score": 0.125})
    # Rows that are new stand before it.
    lines = [lines[0], *other.read_text().splitlines()[1:], json.dumps({"segments": row})]
    (tmp_path / "false.jsonl").write_text("\n".join(lines))
    code, _, err = command(capsys, "import", tmp_path / "false.jsonl", "--into", store, "--shared")
    assert code == 2
    assert f"false.jsonl, line {len(lines)}: segments: key '{row[0]}' has a different result in the store" in err
    assert rows(store) == before
    code, _, err = command(capsys, "import", tmp_path / "false.jsonl", "--into", tmp_path / "machine-0", "--shared")
    assert code == 2
    assert "is a run directory, not a shared store" in err
    with Store(tmp_path / "run", shared=store):
        code, _, err = command(capsys, "import", other, "--into", store, "--shared")
    assert code == 2
    assert "in use" in err


def test_gc_and_ls_know_run_directories_that_are_gone(made, tmp_path, capsys):
    """An unfinished study keeps the checkpoints of its seeds in a shared store; one that was removed does not."""
    store = tmp_path / "store"
    run(WALK, tmp_path / "whole", store=store)
    more = {**WALK, "study": {**WALK["study"], "name": "more", "replicates": 3}}
    with suppress(KeyboardInterrupt):
        run(more, tmp_path / "left", store=store, observer=Interrupts(3))
    _, kept, _ = command(capsys, "gc", store, "--keep-best", "--dry-run")
    shutil.rmtree(tmp_path / "left")
    _, out, _ = command(capsys, "ls", store)
    assert f"in {tmp_path / 'left'} (gone)" in out
    assert f"in {tmp_path / 'whole'}:" in out
    _, freed, _ = command(capsys, "gc", store, "--keep-best", "--dry-run")
    (tmp_path / "whole").rename(tmp_path / "moved")  # the models that it was tested with stay, wherever it is
    assert command(capsys, "gc", store, "--keep-best", "--dry-run")[1] == freed
    assert int(freed.partition(" MiB: ")[2].split()[0]) > int(kept.partition(" MiB: ")[2].split()[0])


HEADER = {"format": "hpo store", "version": 1, "schema": 1, "kind": "run"}
KEY = "a" * 64
ROOT = {"member": 0, "parent": None, "interval": 0, "hparams": {"lr": 0.1}, "split": "search"}
GOOD = [KEY, 0, json.dumps(ROOT), "{}", 0, None, None, None, 0]
SHRUNK = {"name": "shrink_perturb", "shrink": 0.2, "perturb": 0.1}


def with_(place, value):
    return [*GOOD[:place], value, *GOOD[place + 1 :]]


HOSTILE = {
    "nothing": [],
    "another file": [{"a": 1}],
    "no record": [[1]],
    "another version": [HEADER | {"version": 2}],
    "another kind": [HEADER | {"kind": ["run"]}],
    "another table": [HEADER, {"sqlite_master": [1]}],
    "two tables": [HEADER, {"segments": GOOD, "tests": []}],
    "a short row": [HEADER, {"segments": GOOD[:3]}],
    "twice": [HEADER, {"segments": GOOD}, {"segments": GOOD}],
    "a key that is a path": [HEADER, {"segments": with_(0, "../" * 21 + "x")}],
    "a digest that is a path": [HEADER, {"segments": [*GOOD[:5], "../../etc/passwd", 3, None, 0]}],
    "a seed that is a text": [HEADER, {"segments": with_(1, "0")}],
    "a seed that is too large": [HEADER, {"segments": with_(1, 2**70)}],
    "no segment": [HEADER, {"segments": with_(2, 3)}],
    "another split": [HEADER, {"segments": with_(2, json.dumps(ROOT | {"split": "test"}))}],
    "another transform": [HEADER, {"segments": with_(2, json.dumps(ROOT | {"transform": {"name": "exec"}}))}],
    "a factor that is a text": [
        HEADER,
        {"segments": with_(2, json.dumps(ROOT | {"transform": SHRUNK | {"shrink": "1"}}))},
    ],
    "an unknown part of a transform": [
        HEADER,
        {"segments": with_(2, json.dumps(ROOT | {"transform": SHRUNK | {"a": 1}}))},
    ],
    "no text": [HEADER, {"segments": with_(3, '{"error": "\ud800"}')}],
    "a state of another hash": [HEADER, {"segments": [*GOOD[:5], "b" * 64, 3, "YWJj", 0]}],
    "no base64": [HEADER, {"segments": [*GOOD[:5], "b" * 64, 3, "*", 0]}],
    "a test of too many examples": [HEADER, {"tests": [KEY, "p", "{}", 0, "YWJj", 10**9]}],
    "a list for a number": [HEADER, {"tests": [KEY, "p", "{}", 0, None, [1]]}],
    "another schema": [HEADER, {"meta": ["schema_version", "9"]}],
    "a store elsewhere": [HEADER, {"meta": ["shared_store", "/"]}],
    "no entry": [HEADER, {"journal": [0, "pbt", 0, "exec", "import os"]}],
}


@pytest.mark.parametrize("lines", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_export_is_refused_and_leaves_nothing(tmp_path, lines, capsys):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    code, out, err = command(capsys, "import", file, "--into", tmp_path / "new")
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {file}")
    assert not (tmp_path / "new").exists() or not any((tmp_path / "new").iterdir())


@pytest.mark.parametrize("content", [b"\xff\x00", b"[" * 100_000, b"\x80\x04}q\x00."], ids=["bytes", "deep", "pickle"])
def test_a_file_that_is_no_export_is_refused(tmp_path, content, capsys):
    (tmp_path / "rows").write_bytes(content)
    code, _, err = command(capsys, "import", tmp_path / "rows", "--into", tmp_path / "new")
    assert code == 2
    assert "not a file written by" in err


# --- all commands --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ls", "verify", "gc", "export"])
def test_a_folder_without_a_store_is_refused(tmp_path, name, capsys):
    more = ["--out", tmp_path / "rows"] if name == "export" else []
    code, out, err = command(capsys, name, tmp_path, *more)
    assert (code, out) == (2, "")
    assert "no store here" in err


@pytest.mark.parametrize("name", ["ls", "verify", "gc", "export"])
def test_a_store_of_another_version_is_refused(made, tmp_path, name, capsys):
    shutil.copytree(made / "small", tmp_path / "small")
    change(tmp_path / "small", "UPDATE meta SET value = '0' WHERE name = 'schema_version'")
    more = ["--out", tmp_path / "rows"] if name == "export" else []
    code, _, err = command(capsys, name, tmp_path / "small", *more)
    assert code == 2
    assert "store schema 0" in err
    with pytest.raises(InputError, match="store schema 0"):
        run(SMALL, tmp_path / "small")


OLD = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE segments (
    number INTEGER PRIMARY KEY, key TEXT UNIQUE NOT NULL, seed INTEGER NOT NULL, segment TEXT NOT NULL,
    metrics TEXT NOT NULL, diverged INTEGER NOT NULL, digest TEXT, size INTEGER, state BLOB, evicted INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE tests (
    key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, metrics TEXT NOT NULL, diverged INTEGER NOT NULL, correct BLOB,
    count INTEGER
) WITHOUT ROWID;
CREATE TABLE openings (
    seed INTEGER NOT NULL, arm TEXT NOT NULL, key TEXT NOT NULL, fingerprint TEXT NOT NULL, PRIMARY KEY (seed, arm, key)
) WITHOUT ROWID;
CREATE TABLE journal (
    seed INTEGER NOT NULL, arm TEXT NOT NULL, position INTEGER NOT NULL, kind TEXT NOT NULL, content TEXT NOT NULL,
    PRIMARY KEY (seed, arm, position)
) WITHOUT ROWID;
"""
"""The tables as they were before stores were shared."""


def test_a_run_directory_from_before_stores_were_shared_goes_on(made, tmp_path):
    (tmp_path / "old").mkdir()
    with closing(sqlite3.connect(tmp_path / "old" / "store.sqlite")) as db, db:
        db.executescript(OLD)
        db.execute("ATTACH ? AS made", (str(made / "small" / "store.sqlite"),))
        for table in ("meta", "segments", "tests", "openings", "journal"):
            db.execute(f"INSERT INTO {table} SELECT * FROM made.{table}")
    run(SMALL, tmp_path / "old")
    assert sessions(tmp_path / "old")[0]["segments_computed"] == 0
    assert answer(tmp_path / "old") == answer(made / "small")


def test_the_module_is_the_command(made):
    done = subprocess.run(
        [sys.executable, "-m", "hpo.store", "verify", str(made / "small")],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("no problems\n")


def test_every_option_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "reference" / "command_line.md").read_text()
    text = page.split("## `hpo store`")[1].split("\n## ")[0]
    (commands,) = (action.choices for action in parser()._actions if isinstance(action.choices, dict))
    for name, command in commands.items():
        assert f"| `{name}` |" in text
        options = {option for action in command._actions for option in action.option_strings}
        assert all(re.search(rf"`[^`]*{option}\b[^`]*`", text) for option in options - {"-h"})


# --- what is no table of a store ------------------------------------------------------------------------------------------

ENDLESS = "WITH RECURSIVE endless(x) AS (SELECT 1 UNION ALL SELECT x FROM endless) SELECT "
COLUMNS = {
    "segments": "x AS number, x AS key, x AS seed, x AS segment, x AS metrics, x AS diverged, x AS digest, x AS size,"
    " x AS state, x AS evicted FROM endless",
    "meta": "x AS name, x AS value FROM endless",
}
FOREIGN = {
    "segments is an endless view": f"DROP TABLE segments; CREATE VIEW segments AS {ENDLESS}{COLUMNS['segments']};",
    "meta is an endless view": f"DROP TABLE meta; CREATE VIEW meta AS {ENDLESS}{COLUMNS['meta']};",
    "a trigger": "CREATE TRIGGER spy AFTER INSERT ON meta BEGIN DELETE FROM segments; END;",
    "a virtual table": "DROP TABLE tests; CREATE VIRTUAL TABLE tests USING fts5(key);",
    "a column that is computed": "DROP TABLE openings; CREATE TABLE openings (seed, arm, key, fingerprint AS (zeroblob(999)));",
    "an index of somebody's": "CREATE INDEX mine ON segments (abs(seed));",
    "somebody's database": "DROP TABLE meta; DROP TABLE segments; DROP TABLE journal; CREATE TABLE mine (a, b);",
}


@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
def test_a_database_that_holds_more_than_the_tables_of_a_store_is_refused(made, tmp_path, foreign):
    """Fault 44: `segments` as a view over an endless query; by every command, before anything is asked of it."""
    for folder in ("own", "shared"):
        store = tmp_path / folder
        shutil.copytree(made / folder, store)
        with closing(sqlite3.connect(store / "store.sqlite")) as db:
            db.executescript(foreign)
        before = (store / "store.sqlite").read_bytes()
        for words in (["ls"], ["verify"], ["gc"], ["export", "--out", tmp_path / "exported"]):
            done = subprocess.run(
                [sys.executable, "-m", "hpo.store", words[0], store, *words[1:]],
                capture_output=True,
                text=True,
                check=False,
                env=environment(),
                timeout=60,
            )
            assert done.returncode == 2, done.stderr
            assert "not a store of hpo" in done.stderr
        with pytest.raises(InputError, match="not a store of hpo"):
            run(
                WALK,
                *((store,) if folder == "own" else (tmp_path / "new",)),
                store=store if folder == "shared" else None,
            )
        assert (store / "store.sqlite").read_bytes() == before


def test_a_query_that_takes_long_can_be_interrupted(made, tmp_path):
    """Fault 44: SQLite does not see signals by itself."""
    script = (
        "import sys; from pathlib import Path; from hpo.cli import exit_code; from hpo.store.folder import opened\n"
        "def query():\n"
        "    with opened(Path(sys.argv[1])) as folder:\n"
        "        print('begins', flush=True)\n"
        f"        folder.db.execute({ENDLESS + 'COUNT(*) FROM endless'!r}).fetchone()\n"
        "sys.exit(exit_code(query))\n"
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        process = subprocess.Popen(
            [sys.executable, "-c", script, made / "own"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            preexec_fn=heed_signals,
        )
        assert process.stdout.readline() == "begins\n"
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert err.startswith("interrupted")
        assert "Traceback" not in err
