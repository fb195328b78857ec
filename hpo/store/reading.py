"""Rows as they should be: what is read from a database that may be damaged, or from a file that anybody may have written."""

import hashlib
from collections.abc import Sequence
from typing import Any

from hpo.core.layout import is_digest
from hpo.core.parsing import parse_json
from hpo.core.segments import Key, Segment

Row = Sequence[Any]
SEGMENT = ("key", "seed", "segment", "metrics", "diverged", "digest", "size", "state", "evicted")
TEST = ("key", "fingerprint", "metrics", "diverged", "correct", "count")
JOURNAL = ("seed", "arm", "position", "kind", "content")


def read_segment(row: Row) -> Segment:
    """Return the segment of a row with the columns `SEGMENT`.

    Raises:
        ValueError: something in it is not what it should be.
    """
    key, seed, text, metrics, diverged, digest, size, state, evicted = row
    _need(is_digest(key), "its key is no key")
    _need(_is_int(seed) and _is_int(diverged) and _is_int(evicted), "its seed or its marks are no integers")
    record = parse_json(text)
    _need(isinstance(record, dict), "its segment is no record")
    _need(record.keys() == {"member", "parent", "interval", "hparams", "split"}, "its segment has other fields")
    _need(_is_int(record["member"]) and _is_int(record["interval"]), "its member or its interval is no integer")
    _need(record["parent"] is None or is_digest(record["parent"]), "its parent is no key")
    _need(isinstance(record["hparams"], dict), "its hyperparameters are no record")
    _need(
        all(isinstance(value, int | float | str) for value in record["hparams"].values()),
        "a hyperparameter is no value",
    )
    _numbers(metrics)
    if digest is None:
        _need(size is None and state is None, "it has a state without a digest")
    else:
        _need(is_digest(digest), "the digest of its state is none")
        _need(_is_int(size) and size >= 0, "the size of its state is none")
        if state is not None and not evicted:
            _need(isinstance(state, bytes) and len(state) == size, "its state has another size")
            _need(hashlib.sha256(state).hexdigest() == digest, "its state is damaged")
    return Segment.from_json(record)


def read_test(row: Row) -> Key:
    """Return the key of a row with the columns `TEST`.

    Raises:
        ValueError: something in it is not what it should be.
    """
    key, fingerprint, metrics, diverged, correct, count = row
    _need(is_digest(key), "its key is no key")
    _need(isinstance(fingerprint, str) and _is_int(diverged), "its fingerprint is no text, or its mark no integer")
    _numbers(metrics)
    if correct is None:
        _need(count is None, "it has a number of examples, and says nothing of them")
    else:
        _need(isinstance(correct, bytes) and _is_int(count), "what it says of examples is no bits")
        _need(0 <= count <= 8 * len(correct) < count + 8, "it has too few or too many examples")
    return str(key)


def read_entry(kind: object, content: object) -> tuple[Sequence[Segment], Sequence[Key]]:
    """Return what a journal's entry asks for, and the keys that it tells of.

    Raises:
        ValueError: it is no such entry.
    """
    _need(isinstance(content, str), "its content is no text")
    text = str(content)
    try:
        if kind == "ask":
            return [Segment.from_json(parse_json(line)) for line in text.split("\n")], []
        if kind == "tell":
            keys = text.split("\n")
        elif kind == "best":
            keys = [parse_json(text)["key"]]
        else:
            raise ValueError(f"{kind!r} is no kind of entry")
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    _need(all(map(is_digest, keys)), "it tells of something that is no key")
    return [], keys


def _numbers(text: object) -> None:
    _need(isinstance(text, str), "its metrics are no text")
    metrics = parse_json(str(text))
    _need(isinstance(metrics, dict), "its metrics are no record")
    _need(all(_is_int(value) or isinstance(value, float) for value in metrics.values()), "a metric is no number")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _need(true: bool, else_said: str) -> None:
    if not true:
        raise ValueError(else_said)
