"""Files of ours: names stay below their folder, links are not followed, a file is replaced whole, with the right permissions."""

import os
import sqlite3
import stat
import struct
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from helpers import environment, leftover
from hypothesis import given
from hypothesis import strategies as st

from hpo.core import files
from hpo.core.errors import InputError
from hpo.core.run_files import (
    FILES,
    FOLDERS,
    WRITTEN_IN_PLACE,
    check_names,
    check_ours,
    checkpoint_files,
    checkpoint_names,
    remove_leftovers,
)
from hpo.store.listing import listing

# --- names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/etc/passwd", "a\0b", "x" * 256, "é" * 128])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path, name):
    assert not files.is_name(name)
    with pytest.raises(InputError, match="file name in"):
        files.inside(tmp_path, "models", name)


@given(st.text(max_size=300))
def test_a_name_either_is_refused_or_names_a_file_in_the_folder(tmp_path_factory, name):
    folder = tmp_path_factory.getbasetemp()
    try:
        path = files.inside(folder, name)
    except InputError:
        assert not files.is_name(name)
    else:
        assert path.parent == folder
        assert os.path.normpath(path) == str(path)


def test_the_folder_that_the_user_names_may_be_a_link_and_no_name_below_it(tmp_path):
    (tmp_path / "real" / "models").mkdir(parents=True)
    (tmp_path / "named").symlink_to(tmp_path / "real")
    assert files.inside(tmp_path / "named", "models", "a") == tmp_path / "named" / "models" / "a"
    (tmp_path / "real" / "link").symlink_to(tmp_path / "real" / "models")
    (tmp_path / "real" / "dangling").symlink_to(tmp_path / "nowhere")
    for names in (("link",), ("link", "a"), ("dangling",)):
        with pytest.raises(InputError, match="is a link"):
            files.inside(tmp_path / "named", *names)


@pytest.mark.parametrize("digest", ["/abs/models/best", "../../x", "A" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n", ""])
def test_what_is_no_digest_names_no_checkpoint(digest):
    with pytest.raises(ValueError, match="not a digest"):
        checkpoint_names(digest)


# --- opening -------------------------------------------------------------------------------------------------------------


def make_link(path):
    path.symlink_to(path.with_name("target"))


@pytest.mark.parametrize("make", [make_link, Path.mkdir, os.mkfifo], ids=["link", "folder", "pipe"])
def test_only_regular_files_are_read_and_written_and_nobody_waits_for_a_pipe(tmp_path, make):
    (tmp_path / "target").write_text("precious")
    path = tmp_path / "file"
    make(path)
    for use in (files.open_regular, lambda path: files.write_atomic(path, b"x")):
        with pytest.raises(InputError, match=r"file is (a link|not a regular file)"):
            use(path)
    files.remove_regular(path)
    assert path.is_symlink() or path.exists()
    assert (tmp_path / "target").read_text() == "precious"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "target"]


# --- writing -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_permissions_that_the_umask_leaves(tmp_path, mask, mode):
    """Fault 45: permissions were 0644, whatever the umask."""
    before = os.umask(mask)
    try:
        files.write_atomic(tmp_path / "file", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666])
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path, mode):
    """Fault 45: a results.json that its user had closed to others was open again after the next replicate."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(mode)
    files.write_atomic(path, lambda file: file.write(b"new"))
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", mode)


def test_a_file_is_on_the_disk_before_its_name_and_the_name_before_the_return(tmp_path):
    """Fault 45: the content was not synced. What the system is asked to do is seen from outside, by `strace`."""
    script = "import sys; from pathlib import Path; from hpo.core.files import write_atomic\n"
    script += "write_atomic(Path(sys.argv[1]), b'x' * 9, sync=sys.argv[2] == 'True')"
    calls = {}
    for sync in (True, False):
        command = ["strace", "-f", "-e", "trace=write,fsync,rename,renameat2", sys.executable, "-c", script]
        try:
            done = subprocess.run(
                [*command, str(tmp_path / "file"), str(sync)],
                capture_output=True,
                text=True,
                env=environment(),
                check=False,
            )
        except FileNotFoundError:
            pytest.skip("strace is not installed")
        if "ptrace" in done.stderr and "not permitted" in done.stderr:
            pytest.skip("strace may not trace here")
        lines = done.stderr.splitlines()
        start = next(at for at, line in enumerate(lines) if "xxxxxxxxx" in line)
        calls[sync] = [line.partition("(")[0].split()[-1] for line in lines[start:] if "(" in line][:4]
    assert calls[True] == ["write", "fsync", "rename", "fsync"]
    assert calls[False][:2] == ["write", "rename"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(ZeroDivisionError):
        files.write_atomic(tmp_path / "file", lambda file: file.write(b"new") and 1 // 0)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"old"}


def test_a_named_file_is_replaced_only_where_we_wrote_it(tmp_path):
    (tmp_path / "mine").write_text("kept")
    with pytest.raises(InputError, match="hpo did not write it"):
        files.write_named(tmp_path / "mine", b"# ours\nnew", b"# ours")
    assert (tmp_path / "mine").read_text() == "kept"
    for content in (b"# ours\n1", b"# ours\n2"):
        files.write_named(tmp_path / "new" / "file", content, b"# ours")
    assert (tmp_path / "new" / "file").read_bytes() == b"# ours\n2"


# --- what killed writers leave -------------------------------------------------------------------------------------------


def test_only_files_that_killed_writers_of_ours_left_are_removed(tmp_path):
    """Fault 39: every `.*.tmp` below --out was deleted."""
    part = tmp_path / "run" / "checkpoints" / "ab"
    left = [leftover(folder) for folder in (tmp_path / "run", part, tmp_path / "run" / "figures")]
    foreign = [tmp_path / "run" / ".a.tmp", part / ".x.tmp", tmp_path / "run" / "mine" / left[0].name]
    elsewhere = leftover(tmp_path / "elsewhere")
    (tmp_path / "run" / "models").symlink_to(elsewhere.parent)
    (tmp_path / "run" / left[1].name).symlink_to(elsewhere)
    beside = tmp_path / "run" / left[2].name
    beside.mkdir()
    alive = tmp_path / "run" / files.temporary_name()  # as of this process, which may be writing it
    for path in (*foreign, alive):
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    remove_leftovers(tmp_path / "run")
    assert not any(path.exists() for path in left)
    assert all(path.read_text() == "mine" for path in (*foreign, alive))
    assert beside.is_dir()
    assert elsewhere.exists()


# --- whose a folder is ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*FILES, *FOLDERS])
@pytest.mark.parametrize("kind", ["link", "other kind", "hard link"])
def test_every_name_must_be_what_it_is_to_be(tmp_path, name, kind):
    if kind == "link":
        (tmp_path / name).symlink_to(tmp_path)
    elif kind == "hard link":
        (tmp_path / "elsewhere").write_text("precious")
        (tmp_path / name).hardlink_to(tmp_path / "elsewhere")
    elif name in FILES:
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_text("precious")
    if kind == "hard link" and name in FILES and name not in WRITTEN_IN_PLACE:
        check_names(tmp_path)  # it is replaced, and the other name keeps its content
        return
    with pytest.raises(InputError, match=name):
        check_names(tmp_path)


def hostile_journal(folder, victim):
    """Make a database, and a journal for it that makes SQLite delete another file (https://sqlite.org/fileformat2.html)."""
    (folder / "store.sqlite").unlink(missing_ok=True)
    with closing(sqlite3.connect(folder / "store.sqlite")) as db, db:
        db.execute("CREATE TABLE meta (name, value)")
    magic, page, sector = bytes.fromhex("d9d505f920a163d7"), 4096, 512
    header = magic + struct.pack(">5I", 0, 1, (folder / "store.sqlite").stat().st_size // page, sector, page)
    name = os.fsencode(victim)
    record = struct.pack(">I", 2**30 // page + 1) + name + struct.pack(">2I", len(name), sum(name)) + magic
    (folder / "store.sqlite-journal").write_bytes(header.ljust(sector, b"\0") + record)


def test_a_journal_that_names_another_file_is_refused(tmp_path):
    """Fault 37's kind: a path comes out of a file. SQLite itself deletes what a journal names as its super-journal."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "d").mkdir()
    hostile_journal(tmp_path / "d", victim)
    with closing(sqlite3.connect(tmp_path / "d" / "store.sqlite")) as db:
        db.execute("SELECT * FROM meta")
    assert not victim.exists()  # it does what it is feared for
    victim.write_text("mine")
    hostile_journal(tmp_path / "d", victim)
    for use in (check_names, lambda folder: check_ours(folder, ""), lambda folder: [*listing(folder)]):
        with pytest.raises(InputError, match="names another file"):
            use(tmp_path / "d")
    assert victim.read_text() == "mine"


@pytest.mark.parametrize(
    "entry", ["study.toml", ".a.tmp", "store.sqlite", ".lock", "results.json", "coordinators/list.csv"]
)
def test_a_folder_that_is_not_empty_and_not_ours_is_refused(tmp_path, entry):
    path = tmp_path / "folder" / entry
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(InputError, match=r"not created by hpo .*: give another --out"):
        check_ours(tmp_path / "folder", "give another --out")
    assert path.read_text() == "mine"


def test_new_folders_and_ours_are_taken(tmp_path):
    digest = "ab" * 32
    (tmp_path / "copied" / "checkpoints" / "ab").mkdir(parents=True)
    (tmp_path / "copied" / "checkpoints" / "ab" / f"{digest}.safetensors").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    leftover(tmp_path / "killed")
    (tmp_path / "killed" / ".lock").touch()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / ".lock").write_text("process 12 on host")  # by an earlier version
    (tmp_path / "old" / "results.json").write_text("{}")
    for name in ("copied", "empty", "killed", "old", "not there"):
        check_ours(tmp_path / name, "")
    (tmp_path / "copied" / "checkpoints" / "ab" / "mine.safetensors").write_bytes(b"")
    assert [path.stem for path in checkpoint_files(tmp_path / "copied" / "checkpoints")] == [digest]
    with pytest.raises(InputError, match="not created by hpo"):
        check_ours(tmp_path / "copied", "")
