"""The reader of JSON and TOML files: what it bounds, and how it says so."""

import json
import math
import os
import socket
import struct

import helpers
import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

import hpo
from hpo import Schedule, load_study
from hpo.core import parsing
from hpo.core.errors import InputError, SpecError

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def nested(kind: str, levels: int) -> str:
    """Return a text with so many levels of lists or tables."""
    return {
        "JSON lists": "[" * levels + "]" * levels,
        "JSON tables": '{"a":' * levels + "1" + "}" * levels,
        "TOML lists": "x = " + "[" * (levels - 1) + "]" * (levels - 1),
        "TOML tables": "x = " + "{a = " * (levels - 1) + "1" + "}" * (levels - 1),
        "TOML keys": ".".join("a" * levels) + " = 1",
        "TOML quoted keys": " . ".join(['"b c"'] * levels) + " = 1",
        "TOML headers": f"[{'.'.join('a' * (levels - 1))}]\nb = 1",
    }[kind]


@given(PLAIN)
def test_json_is_read_as_python_writes_it(value):
    assert json.dumps(parsing.parse_json(json.dumps(value))) == json.dumps(value)


@given(st.binary(min_size=8, max_size=8))
def test_no_bit_of_a_number_is_lost(data):
    (number,) = struct.unpack("d", data)
    if math.isfinite(number):
        assert parsing.parse_json(repr(number)).hex() == number.hex()


@pytest.mark.parametrize(
    "kind", ["JSON lists", "JSON tables", "TOML lists", "TOML tables", "TOML keys", "TOML headers"]
)
def test_what_people_nest_is_read(kind):
    parse = parsing.parse_json if kind.startswith("JSON") else parsing.parse_toml
    assert parse(nested(kind, 50))


@pytest.mark.parametrize("levels", [250, 2_000, 500_000])
@pytest.mark.parametrize(
    "kind",
    ["JSON lists", "JSON tables", "TOML lists", "TOML tables", "TOML keys", "TOML quoted keys", "TOML headers"],
)
def test_deep_nesting_is_refused_with_the_limit(kind, levels):
    """Fault 43: a depth limit with a named error, and no time or stack that grows with the depth."""
    parse = parsing.parse_json if kind.startswith("JSON") else parsing.parse_toml
    with pytest.raises(ValueError, match=f"nested too deeply.*{parsing.DEEPEST} levels"):
        parse(nested(kind, levels))


@pytest.mark.parametrize("line", ["a" * 200_000, '"' * 200_000, "a." * 100_000, "a.\n" * 100_000, "1.5, " * 100_000])
def test_long_lines_take_no_quadratic_time(line):
    with pytest.raises(ValueError, match=r"\w"):
        parsing.parse_toml(line)


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path):
    """Fault 32: editors of Windows begin UTF-8 files with a byte-order mark."""
    document = helpers.document()
    (tmp_path / "study.toml").write_bytes(b"\xef\xbb\xbf" + tomli_w.dumps(document).encode())
    assert load_study(tmp_path / "study.toml").document == document
    schedule = Schedule.of([(1, {"lr": 0.1})], unit="epochs")
    schedule.save(tmp_path / "s.toml")
    (tmp_path / "s.toml").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "s.toml").read_bytes())
    assert Schedule.load(tmp_path / "s.toml") == schedule
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf[1]")
    assert parsing.read_json(tmp_path / "a.json") == [1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "malformed JSON"),
        (b"{", "malformed JSON"),
        (b"[1] 2", "malformed JSON"),
        (b"1" * 5000, "malformed JSON"),
        (b'"\xff"', "not UTF-8 text: byte 1"),
        ("[1]".encode("utf-16"), "not UTF-8 text"),
        (b"[" * 100_000, "malformed JSON: nested too deeply"),
    ],
)
def test_json_that_is_none_is_named(tmp_path, content, words):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError) as caught:
        parsing.read_json(tmp_path / "a.json")
    assert str(caught.value).startswith(f"{tmp_path / 'a.json'}: {words}")


def make(kind, path):
    """Put something at a path that is no regular file, or too large a one; return what closes it."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
    elif kind == "directory":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "huge":
        with path.open("wb") as file:
            file.truncate(parsing.MOST_BYTES + 1)


@pytest.mark.parametrize("kind", ["pipe", "socket", "directory", "device", "huge", "missing"])
def test_only_regular_files_of_a_bounded_size_are_read(tmp_path, monkeypatch, kind):
    """Fault 45: nothing waits for the other end of a pipe, and nothing reads a device without end."""
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    path = helpers.Path("it")
    make(kind, path)
    with pytest.raises(InputError, match=r"^it(:| is not a regular file)"):
        parsing.read_json(path)
    with pytest.raises(SpecError, match=r"it: study file: "):
        load_study(path)


def test_documents_in_memory_have_the_same_limit():
    deep: object = 1
    for _ in range(20_000):
        deep = {"a": [deep]}
    with pytest.raises(SpecError, match="nested too deeply"):
        hpo.parse_study({**helpers.document(), "task": deep})
    with pytest.raises(SpecError, match="nested too deeply"):
        Schedule.from_document({"steps": deep})


def test_a_name_that_no_file_can_have():
    with pytest.raises(InputError, match="a name that no file can have"):
        parsing.read_text(helpers.Path("a\0b"))
