"""Files that anybody may have written: whatever they hold, a command works or ends with 2 and names the file; never a traceback."""

import copy
import json
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing

import pytest
from helpers import PBT, RANDOM, cases, document, run, write_study
from helpers import command_here as command
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import hpo
from hpo.core.errors import InputError
from hpo.core.parsing import DEEPEST
from hpo.report.content import build_page
from hpo.report.data import load_run
from hpo.report.render import render_html

STUDY = document(arms=(RANDOM, PBT), replicates=2, budget=2, population_size=2)
OTHER = document({"name": "guess"}, arms=(RANDOM, PBT), replicates=2, budget=2, population_size=2)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Make two run directories, an exported store, a schedule file and a comparison."""
    folder = tmp_path_factory.mktemp("made")
    run(STUDY, folder / "run")
    run(OTHER, folder / "other")
    write_study(folder, STUDY)
    for arguments in (
        ("store", "export", folder / "run", "--out", folder / "rows.jsonl"),
        ("replay", folder / "run", "--arm", "pbt", "--schedule-seed", 0, "--export", folder / "schedule.toml"),
        (
            "replay",
            folder / "run",
            "--arm",
            "pbt",
            "--schedule-seed",
            0,
            "--seed",
            7,
            "--executor",
            "serial",
            "--quiet",
        ),
    ):
        code, said = command(*arguments)
        assert code == 0, said
    return folder


# --- wrong types ---------------------------------------------------------------------------------------------------------

VALUES = [None, True, 7, -1, 0.5, 1e308, 10**60, 10**400, "", "x", "../../x", [], [[]], [None], {}, {"x": {}}]


def nodes(value, at=()):
    """Yield the path of everything in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield (*at, name)
        yield from nodes(item, (*at, name))


def replaced(value, path, by):
    """Return a document with one node replaced."""
    changed = copy.deepcopy(value)
    at = changed
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = by
    return changed


@settings(max_examples=cases(15), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_results_with_a_value_of_another_type_are_used_or_refused_by_file_and_key(made, tmp_path, data):
    good = json.loads((made / "run" / "results.json").read_bytes())
    path, value = data.draw(st.sampled_from(list(nodes(good)))), data.draw(st.sampled_from(VALUES))
    # A replay trains for as long as the file says.
    assume(path != ("interval",) or not isinstance(value, int | float) or value < 100)
    uses_results(made, tmp_path, replaced(good, path, value), path[0])


@pytest.mark.parametrize("value", [10**60, 10**400, "x", True, None, [1]])
def test_hyperparameters_in_results_are_ones_of_the_search_space(made, tmp_path, value):
    """An integer that no float can hold was a traceback, in the report's table of schedules."""
    good = json.loads((made / "run" / "results.json").read_bytes())
    path = ("replicates", 1, "arms", "pbt", "schedule", 0, "hparams", "h0")
    said = uses_results(made, tmp_path, replaced(good, path, value), "replicates[1].arms.pbt.schedule[0].hparams")
    assert "results.json: replicates[1].arms.pbt.schedule[0].hparams.h0" in said or value == 10**60


def uses_results(made, folder, results, key):
    """Have everything that reads results.json read these; return what was said of them."""
    target, out = folder / "run", folder / "out"
    for path in (target, out):
        shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(made / "run", target, ignore=shutil.ignore_patterns("replays", "figures"))
    (target / "results.json").write_text(json.dumps(results))
    schedule = ("replay", target, "--arm", "pbt", "--schedule-seed", 0)
    words = ""
    try:
        render_html(build_page(load_run(target), []))  # the report without its figures
    except InputError:
        code, words = command("report", target)
        assert code == 2
        assert f"{target}/results.json: {key}" in words or "contradict" in words, words
    for arguments in (
        (*schedule, "--export", out / "schedule.toml"),
        (*schedule, "--seed", 7, "--executor", "serial", "--quiet", "--out", out / "replay"),
        ("compare", target, made / "other"),
        ("plan", target, "--no-timing"),
        ("export", target, "--frame", out / "segments.csv", "--bibtex", out / "references.bib"),
    ):
        out.mkdir(exist_ok=True)
        code, said = command(*arguments)
        assert code in (0, 2), (arguments, said)
        assert "Traceback" not in said, (arguments, said)
        assert code == 0 or str(target) in said or arguments[0] == "compare", (arguments, said)
    for load in (hpo.load_schedule, hpo.load_model):
        try:
            load(target, "pbt", 0)
        except InputError as error:
            assert str(target) in str(error)  # noqa: PT017 - it may as well work
    return words


# --- deep nesting --------------------------------------------------------------------------------------------------------

DEEP = '{"a":' * 50_000 + "1" + "}" * 50_000
DEEP_TOML = "x = " + "[" * 50_000 + "]" * 50_000


def safetensors(header):
    return len(header).to_bytes(8, "little") + header.encode()


FILES = {
    "results.json": DEEP,
    "execution.json": DEEP,
    "figures/index.json": DEEP,
    "compare.json": DEEP,
    "replays/pbt-0-on-8/replay.json": DEEP,
    "study.toml": DEEP_TOML,
    "models/pbt-0.safetensors": safetensors('{"__metadata__":' + DEEP + "}"),
}
COLUMNS = [
    ("segments", "segment"),
    ("segments", "metrics"),
    ("tests", "metrics"),
    ("journal", "content"),
    ("meta", "value"),
]


def every_command(made, target, out):
    """Return all commands that read what is in a run directory."""
    schedule = ("replay", target, "--arm", "pbt", "--schedule-seed", 0)
    study = (made / "study.toml", "--executor", "serial", "--quiet")
    return [
        ("store", "ls", target),
        ("store", "verify", target),
        ("store", "gc", target, "--dry-run"),
        ("store", "export", target, "--out", out / "rows.jsonl"),
        ("report", target, "--recompute"),
        ("plan", target, "--no-timing"),
        ("compare", target, made / "other", "--out", target),
        (*schedule, "--seed", 7, "--executor", "serial", "--quiet"),
        (*schedule, "--export", out / "schedule.toml"),
        ("run", *study, "--no-report", "--out", target),
        ("run", *study, "--no-report", "--out", out / "with", "--store", target),
    ]


def survives(made, folder, target):
    """Run every command, and return what those say that refuse or warn."""
    out = folder / "out"
    out.mkdir()
    said = []
    for arguments in every_command(made, target, out):
        code, words = command(*arguments)
        assert code in (0, 1, 2), (arguments, words)
        assert "Traceback" not in words, (arguments, words)
        assert "RecursionError" not in words, (arguments, words)
        assert len(words) < 5000, arguments
        said.append(words)
    return said


@pytest.fixture
def target(made, tmp_path):
    shutil.copytree(made / "run", tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if "/" in name else []) for name in FILES]
)
def test_deep_nesting_in_a_file_is_survived_by_every_command(made, tmp_path, target, name):
    """Fault 43: results.json, execution.json, study.toml, and every other file that holds JSON or TOML."""
    (target / name).parent.mkdir(exist_ok=True)
    content = FILES[name]
    (target / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    if name.startswith("models"):
        with pytest.raises(InputError, match=r"models/pbt-0\.safetensors: "):
            hpo.load_model(target, "pbt", 0)
    said = survives(made, tmp_path, target)
    if name in ("results.json", "execution.json", "replays/pbt-0-on-8/replay.json"):
        assert any(str(target / name) in words and f"at most {DEEPEST} levels" in words for words in said), said
    if name == "study.toml":
        assert hpo.load_study(target / name).document == STUDY  # written anew


@pytest.mark.parametrize(
    ("table", "column"),
    [pytest.param(*each, marks=[pytest.mark.slow] if "metrics" in each else []) for each in COLUMNS],
)
def test_deep_nesting_in_the_store_is_survived_by_every_command(made, tmp_path, target, table, column):
    """Fault 43: rows of the store."""
    with closing(sqlite3.connect(target / "store.sqlite")) as db, db:
        kept = " WHERE name != 'schema_version'" if table == "meta" else ""
        assert db.execute(f"UPDATE {table} SET {column} = ?{kept}", (DEEP,)).rowcount > 0
    said = survives(made, tmp_path, target)
    assert any("store.sqlite" in words and "nested too deeply" in words for words in said), said


@pytest.mark.parametrize("kind", ["study", "list", "schedule", "header", "row"])
def test_deep_nesting_in_a_file_that_the_user_names_is_refused_by_name(made, tmp_path, kind):
    """Fault 43: study files, lists of them, schedule files, exported stores."""
    file = tmp_path / ("hostile.jsonl" if kind in ("header", "row") else "hostile.toml")
    schedule = (made / "schedule.toml").read_text()
    rows = (made / "rows.jsonl").read_text().splitlines()
    file.write_text(
        {
            "study": (made / "study.toml").read_text() + f"\n[x]\n{DEEP_TOML}\n",
            "list": DEEP_TOML,
            "schedule": f"{DEEP_TOML}\n{schedule}",
            "header": "\n".join([DEEP, *rows[1:]]),
            "row": "\n".join([rows[0], DEEP, *rows[1:]]),
        }[kind]
    )
    commands = {
        "study": [("run", file), ("run", file, "--dry-run"), ("plan", file)],
        "list": [("run", file)],
        "schedule": [("replay", "--schedule", file, "--study", made / "study.toml", "--seed", 3)],
        "header": [("store", "import", file, "--into", tmp_path / "into")],
        "row": [("store", "import", file, "--into", tmp_path / "into")],
    }[kind]
    for arguments in commands:
        code, said = command(*arguments)
        assert code == 2, said
        assert str(file) in said
        assert f"at most {DEEPEST} levels" in said or kind == "header"
    assert not list(tmp_path.glob("into/*"))


@pytest.mark.parametrize("name", ["results.json", "store.sqlite"])
def test_what_a_message_quotes_from_a_file_does_not_command_the_terminal(made, target, name):
    """Escape sequences may hide lines, rename the window, or write the clipboard."""
    escapes = "\x1b]0;owned\x07\x1b[2J\x9b2J\u202e"
    if name == "results.json":
        text = (target / name).read_text()
        (target / name).write_text(text.replace('"pbt"', json.dumps(f"pbt{escapes}", ensure_ascii=False)))
    else:
        with closing(sqlite3.connect(target / name)) as db, db:
            assert db.execute("UPDATE journal SET content = ? || content", (escapes,)).rowcount > 0
    code, said = {
        "results.json": lambda: command("report", target),
        "store.sqlite": lambda: command("run", made / "study.toml", "--executor", "serial", "--quiet", "--out", target),
    }[name]()
    assert code in (1, 2)
    assert "error: " in said
    assert all(character.isprintable() or character == "\n" for character in said)


def test_the_stores_command_quotes_rows_so_that_neither_terminal_nor_shell_obeys_them(tmp_path, target):
    """`verify` gives commands to paste; a key that holds `$(...)` would be run by the shell."""
    hostile = f'\'; $(touch {tmp_path}/ran) "; touch {tmp_path}/ran; " `touch {tmp_path}/ran`'
    with closing(sqlite3.connect(target / "store.sqlite")) as db, db:
        first, second = (key for (key,) in db.execute("SELECT key FROM segments LIMIT 2"))
        db.execute("UPDATE segments SET key = ? WHERE key = ?", (hostile, first))
        db.execute("UPDATE segments SET key = ? WHERE key = ?", ("\x1b[2J", second))
        db.execute("UPDATE journal SET arm = ?, content = '{' WHERE arm = 'pbt'", (hostile,))
        db.execute("UPDATE meta SET value = replace(value, '\"small\"', '\"\\u001b[2J\"') WHERE name = 'study'")
    for verb in ("ls", "verify"):
        code, said = command("store", verb, target)
        assert code == (verb == "verify"), said
        assert all(character.isprintable() or character == "\n" for character in said)
    pasted = re.findall(r"`(sqlite3 store\.sqlite .*)`\)", said)
    assert len(pasted) >= 3
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sqlite3").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "sqlite3").chmod(0o755)
    for line in pasted:
        subprocess.run(line, shell=True, env={"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}, check=True)
    assert not (tmp_path / "ran").exists()
