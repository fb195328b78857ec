"""An attack on files: whatever lies in a folder, or stands in somebody's file, nothing of the user's is changed or run.

In a temporary home directory lie decoys: links at every name that we use and what they lead to, and files and folders of somebody
else with these names. Every command is run against them. Afterwards each decoy must be as it was: its bytes, its time of change,
and where it leads. (tests/study/test_importing.py is the attack by modules with the names of what we import.)
"""

import hashlib
import itertools
import json
import os
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest
from helpers import PBT, RANDOM, cases, document, run, thinned, write_study
from helpers import command_here as command

import hpo
from hpo.compare import output
from hpo.core.errors import HpoError
from hpo.core.run_files import CHECKPOINTS, COORDINATORS, FILES, FOLDERS, MODELS, REPLAYS

UNDRAWN = (CHECKPOINTS, MODELS, REPLAYS, COORDINATORS)
STUDY = document({"name": "walk", "size": 9000}, arms=(RANDOM, PBT), replicates=2, budget=2, population_size=2)
"""Its states are files."""


def snapshot(folder: Path) -> dict[str, tuple[object, ...]]:
    """Return what is in a folder and below: kinds, permissions, times, and contents or where links lead."""
    found: dict[str, tuple[object, ...]] = {}
    for path in [folder, *folder.rglob("*")]:
        status = path.lstat()
        content: object = None
        if path.is_symlink():
            content = str(path.readlink())
        elif path.is_file():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_mtime_ns, status.st_size, content)
    return found


class Home:
    """A home directory.

    Args:
        folder: an empty folder.
        made: with a run directory `own`, one `with` a store `shared`, a replay's folder and a comparison.
    """

    def __init__(self, folder: Path, made: Path) -> None:
        self.folder, self.made = folder, made
        self.precious = folder / "precious"
        (self.precious / "folder" / "ab").mkdir(parents=True)
        (self.precious / "file").write_text("secret\n")
        for name in ("list.csv", f"ab/{'ab' * 32}.safetensors", ".a.tmp", "index.json", "pairs.png", "12-" + "0" * 32):
            (self.precious / "folder" / name).write_text("secret\n")
        self.study = write_study(folder, STUDY)

    def copy(self, kind: str) -> Path:
        """Return a fresh copy of something that was made."""
        place = self.folder / "place"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.made, place)
        return place / kind

    def commands(self, target: Path, name: str = "") -> list[tuple[str, ...]]:
        """Return all commands that may use a folder, in whatever part.

        Args:
            target: the folder.
            name: what in it was changed: reports and comparisons, which take their time, are drawn where they use it.
        """
        beside, out = str(self.folder / "beside"), str(self.folder / "out")
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(out, ignore_errors=True)
        Path(out).mkdir()
        looked_at = target.name not in ("shared", "replay") and not name.startswith(
            tuple(f"{each}/" for each in UNDRAWN)
        )
        quick = (str(self.study), "--executor", "serial", "--quiet", "--no-report")
        replayed = ("replay", str(target), "--arm", "random", "--schedule-seed", "0")
        return [
            ("store", "ls", str(target)),
            ("store", "verify", str(target)),
            ("store", "gc", str(target), "--dry-run"),
            ("store", "export", str(target), "--out", f"{out}/rows.jsonl"),
            ("run", *quick, "--out", str(target)),
            ("run", *quick, "--out", str(target), "--store", str(target.parent / "shared")),
            ("run", *quick, "--out", beside, "--store", str(target)),
            (*replayed, "--seed", "7", "--executor", "serial", "--quiet"),
            (*replayed, "--seed", "7", "--executor", "serial", "--quiet", "--out", str(target)),
            (*replayed, "--export", f"{out}/schedule.toml", "--quiet"),
            ("store", "import", str(self.made / "rows.jsonl"), "--into", str(target)),
            ("store", "import", str(self.made / "rows.jsonl"), "--into", str(target), "--shared"),
            *[("compare", str(self.made / "own"), str(self.made / "other"), "--out", str(target))] * looked_at,
            ("compare", str(target), str(self.made / "other")),
            ("plan", str(target), "--no-timing"),
            *[("report", str(target))] * looked_at,
            ("store", "gc", str(target)),
            ("store", "gc", str(target), "--budget", "0"),
        ]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Make one of everything that we write."""
    folder = tmp_path_factory.mktemp("made")
    run(STUDY, folder / "own", report=True)
    run(STUDY, folder / "with", store=folder / "shared", report=True)
    other = document(arms=(RANDOM, PBT), replicates=2, budget=2, population_size=2)
    run(other, folder / "other")
    study = write_study(folder, STUDY)
    replay = ("replay", str(folder / "own"), "--arm", "random", "--schedule-seed", "0", "--executor", "serial")
    for made in (
        (*replay, "--seed", "7"),
        (*replay, "--seed", "8", "--out", str(folder / "replay")),
        ("store", "export", str(folder / "own"), "--out", str(folder / "rows.jsonl")),
        ("compare", str(folder / "own"), str(folder / "other"), "--out", str(folder / "compared")),
    ):
        code, said = command(*made)
        assert code == 0, said
    study.unlink()
    return folder


@pytest.fixture
def home(tmp_path, made, monkeypatch):
    found = Home(tmp_path, made)
    monkeypatch.chdir(tmp_path)
    return found


# --- links ---------------------------------------------------------------------------------------------------------------

KINDS = ("own", "with", "shared", "replay", "compared")


def names_in(folder: Path) -> list[str]:
    """Return the names that are in a folder, at any depth, and those that the table of names knows, one of a kind."""
    found = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*"))]
    by_place = {}
    for name in found:  # of the many checkpoints, models and figures in a folder the first two
        parent, kind = os.path.split(name)[0], Path(name).suffix
        by_place.setdefault((parent if "checkpoints/" not in name else "checkpoints", kind), []).append(name)
    some = [name for names in by_place.values() for name in (names if "/" not in names[0] else names[:2])]
    table = [*FILES, *FOLDERS, *output.PAGES, output.DOCUMENT, "models/random-0.safetensors", "figures/pairs.png"]
    return sorted({*some, *table, "coordinators/12-" + "0" * 32})


@pytest.mark.parametrize("kind", KINDS)
def test_no_link_at_any_name_is_followed_or_replaced(home, kind):
    """Faults 35, 36, 39 and their siblings: links at every name that a run directory, a store or a comparison uses."""
    before = snapshot(home.precious)
    refused = 0
    for name in thinned(names_in(home.made / kind)):
        folder = home.copy(kind)
        link = folder / name
        if link.is_dir() and not link.is_symlink():
            shutil.rmtree(link)
            link.symlink_to(home.precious / "folder")
        else:
            link.unlink(missing_ok=True)
            link.parent.mkdir(exist_ok=True, parents=True)
            link.symlink_to(home.precious / ("folder" if name in FOLDERS else "file"))
        leads = str(link.readlink())
        for arguments in home.commands(folder, name):
            code, said = command(*arguments)
            assert code in (0, 1, 2), said
            assert snapshot(home.precious) == before, (name, arguments, said)
            assert str(link.readlink()) == leads, (name, arguments, said)
            refused += code != 0
    assert refused >= cases(13)


@pytest.mark.parametrize("kind", ["own", "shared", "compared"])
def test_no_file_is_made_where_a_dangling_link_leads(home, kind):
    before = snapshot(home.precious)
    for name in thinned([*FILES, *FOLDERS, *output.PAGES, output.DOCUMENT]):
        folder = home.copy(kind)
        link = folder / name
        shutil.rmtree(link) if link.is_dir() else link.unlink(missing_ok=True)
        link.symlink_to(home.precious / "nowhere")
        for arguments in home.commands(folder):
            code, said = command(*arguments)
            assert code in (0, 1, 2), said
            assert snapshot(home.precious) == before, (name, arguments, said)
            assert str(link.readlink()) == str(home.precious / "nowhere"), (name, arguments, said)


def test_no_pipe_at_any_name_is_waited_for(home):
    """Fault 45: a FIFO as results.json hung whoever read it; the same at all other names."""
    for name in thinned(names_in(home.made / "own")):
        folder = home.copy("own")
        pipe = folder / name
        shutil.rmtree(pipe) if pipe.is_dir() else pipe.unlink(missing_ok=True)
        pipe.parent.mkdir(exist_ok=True, parents=True)
        os.mkfifo(pipe)
        for arguments in home.commands(folder, name):
            code, said = command(*arguments)
            assert code in (0, 1, 2), said
            assert pipe.is_fifo(), (name, arguments, said)


def test_a_run_directory_and_a_store_may_be_links_themselves(home):
    place = home.copy("own").parent
    for kind in ("own", "with", "shared"):
        (home.folder / f"{kind}-link").symlink_to(place / kind)
    quick = (str(home.study), "--executor", "serial", "--quiet", "--no-report")
    for arguments in (
        ("run", *quick, "--out", str(home.folder / "own-link")),
        ("run", *quick, "--out", str(home.folder / "with-link"), "--store", str(home.folder / "shared-link")),
        ("store", "gc", str(home.folder / "shared-link")),
        ("report", str(home.folder / "own-link")),
    ):
        code, said = command(*arguments)
        assert code == 0, said
    assert all((home.folder / f"{kind}-link").is_symlink() for kind in ("own", "with", "shared"))


# --- folders of somebody else --------------------------------------------------------------------------------------------


def test_a_folder_of_somebody_else_is_left_as_it_is(home):
    """Fault 39: foreign files and folders at every name, `.*.tmp` files, a whole home directory as --out."""
    foreign = home.folder / "foreign"
    for name in [*FILES, *output.PAGES, output.DOCUMENT, ".a.tmp", "sub/.b.tmp", "figures/tasks.png", "notes.txt"]:
        (foreign / name).parent.mkdir(parents=True, exist_ok=True)
        (foreign / name).write_text("mine\n")
    for name in FOLDERS:
        (foreign / name).mkdir(exist_ok=True)
        (foreign / name / "list.csv").write_text("mine\n")
    before = snapshot(foreign)
    for arguments in home.commands(foreign):
        code, said = command(*arguments)
        assert code in (1, 2), said
        assert snapshot(foreign) == before, (arguments, said)


@pytest.mark.parametrize("name", [*FILES, *FOLDERS, "compare.json", "figures/tasks.png"])
def test_one_file_or_folder_of_somebody_else_is_left_as_it_is(home, name):
    """Faults 36 and 39: a folder that merely has `coordinators/list.csv` lost it."""
    folder = home.folder / "foreign"
    path = folder / name / "list.csv" if name in FOLDERS else folder / name
    path.parent.mkdir(parents=True)
    path.write_text("mine\n")
    before = path.stat()
    for arguments in home.commands(folder):
        code, said = command(*arguments)
        # A comparison may stand beside other files.
        assert code in (1, 2) or arguments[0] == "compare", said
        assert (path.read_text(), path.stat().st_mtime_ns, path.stat().st_ino) == (
            "mine\n",
            before.st_mtime_ns,
            before.st_ino,
        ), (arguments, said)


@pytest.mark.parametrize("name", ["study.toml", "other.toml"])
def test_a_study_beside_which_it_is_to_run_is_not_rewritten(home, name):
    """Fault 39: `run exp/study.toml --out exp` rewrote the user's own study.toml."""
    folder = home.folder / "exp"
    folder.mkdir()
    text = "# mine\n" + write_study(folder, STUDY, name).read_text()
    (folder / name).write_text(text)
    before = snapshot(folder)
    code, said = command("run", str(folder / name), "--out", str(folder), "--quiet")
    assert (code, "another --out" in said) == (2, True)
    assert snapshot(folder) == before


def test_a_study_file_in_its_run_directory_keeps_its_comments(home):
    target = home.copy("own")
    text = "# mine\n" + (target / "study.toml").read_text()
    (target / "study.toml").write_text(text)
    code, said = command("run", str(target / "study.toml"), "--out", str(target), "--quiet", "--executor", "serial")
    assert code == 0, said
    assert (target / "study.toml").read_text() == text


# --- labels and digests --------------------------------------------------------------------------------------------------

PATHS = ["../../../escaped", "/{home}/escaped", "..", "../../precious/file", "a/b", "x\0y", "\n", "a" * 300]


def outside(home: Home, target: Path) -> dict[str, tuple[object, ...]]:
    """Return what is in the home directory but for a folder."""
    inner = str(target.relative_to(home.folder))
    ignored = (inner, "out", "beside")
    found = snapshot(home.folder)
    return {
        name: entry[:1] + entry[2:] if entry[3] is None else entry
        for name, entry in found.items()
        if not name.startswith(ignored) and name != "."
    }


def renamed(text: str, label: str) -> str:
    return text.replace('"random"', json.dumps(label)).replace('"random-0"', json.dumps(label))


@pytest.mark.parametrize("label", PATHS)
def test_no_label_in_results_json_leads_out_of_the_folder(home, label):
    """Fault 38: an arm labelled `../../../x`: `hpo.replay RUN_DIR` wrote there."""
    label = label.replace("{home}", str(home.folder))
    target = home.copy("own")
    text = (target / "results.json").read_text()
    (target / "results.json").write_text(renamed(text, label))
    before = outside(home, target)
    replayed = ("replay", str(target), f"--arm={label}", "--schedule-seed", "0", "--executor", "serial")
    for arguments in (
        (*replayed, "--seed", "7"),
        ("report", str(target)),
        ("compare", str(target), str(home.made / "other"), "--out", str(home.folder / "out")),
        ("plan", str(target), "--no-timing"),
    ):
        code, said = command(*arguments)
        assert code in (0, 1, 2), said
        assert outside(home, target) == before, (arguments, said)
    for load in (hpo.load_model, hpo.load_schedule):
        with suppress(HpoError):
            load(target, label, 0)
    assert outside(home, target) == before


def damage(target: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(target / "store.sqlite")) as db, db:
        db.execute(statement, values)


@pytest.mark.parametrize("digest", [*PATHS, "ab" * 31 + "..", b"\0" * 32, 7])
@pytest.mark.parametrize("kind", ["own", "shared"])
def test_no_digest_in_a_store_leads_out_of_it(home, kind, digest):
    """Fault 37: a digest '/abs/models/best' with a large size: the budget's eviction deleted that file."""
    target = home.copy(kind)
    (home.folder / "escaped.safetensors").write_text("mine\n")
    given = digest.replace("{home}", str(home.folder)) if isinstance(digest, str) else digest
    damage(target, "UPDATE segments SET digest = ?, size = 1000000000000, state = NULL WHERE number = 1", given)
    place = target.parent
    before = outside(home, place)
    small = ("run", str(home.study), "--executor", "serial", "--quiet", "--no-report", "--out", str(place / "own"))
    for arguments in (*home.commands(target), (*small, "--checkpoint-budget", "1")):
        code, said = command(*arguments)
        assert code in (0, 1, 2), said
        assert outside(home, place) == before, (arguments, said)


@pytest.mark.parametrize("name", ["../precious/file", "/etc/passwd", "12-" + "0" * 32, "", 7])
def test_no_coordinator_in_a_store_leads_out_of_it(home, name):
    target = home.copy("shared")
    os.mkfifo(home.precious / "pipe")  # whoever opens it waits for ever
    before = outside(home, target.parent)
    for coordinator in (name, "../../precious/pipe"):
        keys = [row[0] for row in sqlite3.connect(target / "store.sqlite").execute("SELECT key FROM segments")]
        damage(target, "DELETE FROM segments")
        damage(target, "DELETE FROM tests")
        for key, test in itertools.product(keys, (0, 1)):
            damage(target, "INSERT OR REPLACE INTO claims VALUES (?, ?, ?)", key, test, coordinator)
        code, said = command(
            *("run", str(home.study), "--executor", "serial", "--quiet", "--no-report"),
            *("--out", str(target.parent / f"new-{coordinator == name}"), "--store", str(target)),
        )
        assert code == 0, said
        assert outside(home, target.parent) == before


def test_a_study_name_in_a_file_leads_nowhere(home):
    """A replay of a schedule file goes to runs/<study name>."""
    code, said = command("replay", str(home.made / "own"), "--arm=random", "--schedule-seed=0", "--export", "s.toml")
    assert code == 0, said
    for name in ("..", "../x", "/tmp/x", ""):
        (home.folder / "hostile.toml").write_text(home.study.read_text().replace('"small"', json.dumps(name)))
        before = outside(home, home.folder / "runs")
        command("replay", "--schedule", "s.toml", "--study", "hostile.toml", "--seed", "3", "--executor", "serial")
        assert outside(home, home.folder / "runs") == before


def test_files_that_the_user_names_are_replaced_only_where_we_wrote_them(home):
    own = str(home.made / "own")
    kept = {name: home.folder / name for name in ("study.toml", "mine.toml", "mine.csv", "mine.jsonl")}
    for name in ("mine.toml", "mine.csv", "mine.jsonl"):
        kept[name].write_text('unit = "epochs"\n')
    before = {name: path.read_bytes() for name, path in kept.items()}
    export = ("replay", own, "--arm", "random", "--schedule-seed", "0", "--export")
    for arguments in (
        *((*export, str(kept[name])) for name in ("study.toml", "mine.toml", "mine.csv")),
        ("store", "export", own, "--out", str(kept["mine.jsonl"])),
    ):
        code, said = command(*arguments)
        assert (code, "hpo did not write it" in said) == (2, True), said
    assert {name: path.read_bytes() for name, path in kept.items()} == before
    for _ in range(2):
        for name in ("new.toml", "new.csv"):
            assert command(*export, name)[0] == 0
        assert command("store", "export", own, "--out", "new.jsonl")[0] == 0
