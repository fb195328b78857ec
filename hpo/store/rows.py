"""Checks of rows read from a database that may be damaged, or from an untrusted file."""

import hashlib
from collections.abc import Sequence
from typing import Any

from hpo.core.parsing import parse_json
from hpo.core.run_files import is_digest
from hpo.core.segments import Key, Segment

Row = Sequence[Any]
SEGMENT = ("key", "seed", "segment", "metrics", "diverged", "digest", "size", "state", "evicted")
TEST = ("key", "fingerprint", "metrics", "diverged", "correct", "count")
JOURNAL = ("seed", "arm", "position", "kind", "content")
_RARE = {"transform", "scored_at_start"}
"""Fields that most segments do not have."""


def read_segment(row: Row) -> Segment:
    """Return the segment of a row with the columns `SEGMENT`.

    Raises:
        ValueError: a value is invalid.
    """
    key, seed, text, metrics, diverged, digest, size, state, evicted = row
    _need(is_digest(key), "the key is not a digest")
    _need(_is_int(seed) and _is_int(diverged) and _is_int(evicted), "the seed or a flag is not an integer")
    record = parse_json(text)
    _need(isinstance(record, dict), "the segment is not an object")
    fields = {"member", "parent", "interval", "hparams", "split"}
    _need(fields <= record.keys() <= fields | _RARE, "the segment has unexpected or missing fields")
    _need(_is_int(record["member"]) and _is_int(record["interval"]), "the member or the interval is not an integer")
    _need(record["parent"] is None or is_digest(record["parent"]), "the parent is not a digest")
    _need(isinstance(record["hparams"], dict), "the hyperparameters are not an object")
    _need(
        all(isinstance(value, int | float | str) for value in record["hparams"].values()),
        "a hyperparameter is not a number or a text",
    )
    _numbers(metrics)
    if digest is None:
        _need(size is None and state is None, "a state without a digest")
    else:
        _need(is_digest(digest), "the state's digest is malformed")
        _need(_is_int(size) and size >= 0, "the state's size is not a number from 0")
        if state is not None and not evicted:
            _need(isinstance(state, bytes) and len(state) == size, "the state has another size than recorded")
            _need(hashlib.sha256(state).hexdigest() == digest, "the state is damaged")
    try:
        segment = Segment.from_json(record)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the weight transform is invalid: {type(error).__name__}: {error}") from error
    again = segment.to_json()
    _need(all(again.get(name) == record[name] for name in _RARE & record.keys()), "the weight transform is invalid")
    return segment


def read_test(row: Row) -> Key:
    """Return the key of a row with the columns `TEST`.

    Raises:
        ValueError: a value is invalid.
    """
    key, fingerprint, metrics, diverged, correct, count = row
    _need(is_digest(key), "the key is not a digest")
    _need(
        isinstance(fingerprint, str) and _is_int(diverged), "the fingerprint is not a text, or a flag is not an integer"
    )
    _numbers(metrics)
    if correct is None:
        _need(count is None, "a number of examples without their results")
    else:
        _need(isinstance(correct, bytes) and _is_int(count), "the results of examples are not bytes")
        _need(0 <= count <= 8 * len(correct) < count + 8, "the number of examples does not match their results")
    return str(key)


def read_entry(kind: object, content: object) -> tuple[Sequence[Segment], Sequence[Key]]:
    """Return the segments that a journal entry asks for, and the keys that it reports.

    Raises:
        ValueError: the entry is invalid.
    """
    _need(isinstance(content, str), "the content is not a text")
    text = str(content)
    try:
        if kind == "ask":
            return [Segment.from_json(parse_json(line)) for line in text.split("\n")], []
        if kind == "tell":
            keys = text.split("\n")
        elif kind == "best":
            answer = parse_json(text)
            keys = [answer["key"], *answer.get("finals", ())]
        else:
            raise ValueError(f"unknown kind of entry {kind!r}")
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    _need(all(map(is_digest, keys)), "it reports something that is not a digest")
    return [], keys


def _numbers(text: object) -> None:
    _need(isinstance(text, str), "the metrics are not a text")
    metrics = parse_json(str(text))
    _need(isinstance(metrics, dict), "the metrics are not an object")
    _need(all(_is_int(value) or isinstance(value, float) for value in metrics.values()), "a metric is not a number")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _need(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)
