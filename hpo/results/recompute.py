"""Recomputes the statistics of a results.json from its replicates, without training and without the store."""

import json
import re
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path

from hpo.core.errors import InputError
from hpo.core.files import inside, write_atomic
from hpo.core.locks import explained, lock
from hpo.core.run_files import LOCK, RESULTS, check_names
from hpo.results.comparisons import with_statistics
from hpo.results.document import SCHEMA_VERSION, Results, Statistics
from hpo.results.file import read_evidence, to_json

_SPACE = re.compile(r"[ \t\n\r]*")


def recompute(run_dir: Path) -> None:
    """Recompute the statistics in a run directory's results.json, in this version's schema.

    All other text stays, byte for byte. If nothing changes, so does the whole file.

    Raises:
        InputError: the directory is in use, or there is no results.json that the statistics can be computed from.
        StoreError: it cannot be written.
    """
    check_names(run_dir)
    with lock(run_dir) if (run_dir / LOCK).exists() else nullcontext():
        evidence, text = read_evidence(run_dir)
        path = inside(run_dir, RESULTS)
        try:
            found = to_json(with_statistics(evidence))
        except (ValueError, ArithmeticError) as error:
            raise InputError(f"{path}: its statistics cannot be computed: {error}") from error
        kept, new = _parts(text), {"schema_version", *(item.name for item in fields(Statistics))}
        found["schema_version"] = SCHEMA_VERSION
        parts = [
            f' "{item.name}": {_spelled(found[item.name]) if item.name in new else kept[item.name]}'
            for item in fields(Results)
            if item.name in new or item.name in kept
        ]
        with explained(path):
            write_atomic(path, ("{\n" + ",\n".join(parts) + "\n}\n").encode())


def _spelled(value: object) -> str:
    """Return a value as text in the file's layout, one level deep."""
    return json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False).replace("\n", "\n ")


def _parts(text: str) -> dict[str, str]:
    """Return the text of each value in a table of valid JSON."""
    decoder, parts = json.JSONDecoder(), dict[str, str]()
    at = _skip(text, 0)
    while text[at] != "}":
        key, at = decoder.raw_decode(text, _skip(text, at + 1))
        start = _skip(text, _skip(text, at) + 1)
        _, at = decoder.raw_decode(text, start)
        parts[key] = text[start:at]
        at = _skip(text, at)
    return parts


def _skip(text: str, at: int) -> int:
    """Return the position of the next character that is not a space."""
    found = _SPACE.match(text, at)
    return at if found is None else found.end()
