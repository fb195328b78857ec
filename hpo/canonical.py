"""One spelling for every value: the JSON that content keys are made of."""

import hashlib
import json
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode


def canonical(value: object) -> str:
    """Return the one JSON text of a value: keys sorted, no spaces, floats as `float.hex`.

    Args:
        value: nested mappings with string keys, sequences, strings, booleans, None, integers, floats and fractions.
            An integer and a float of the same size are spelled differently: `1` and `["f", "0x1.0000000000000p+0"]`.

    Raises:
        TypeError: for a value of any other type.
    """
    return _encode(_plain(value))


def digest(*texts: str) -> str:
    """Return the SHA-256 of the texts, joined so that no two different lists of texts give the same bytes, as hex."""
    sha = hashlib.sha256()
    for text in texts:
        data = text.encode()
        sha.update(b"%d:" % len(data))
        sha.update(data)
    return sha.hexdigest()


def _plain(value: object) -> Any:
    # bool before int: True is an int.
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return ["f", value.hex() if math.isfinite(value) else repr(value)]
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Fraction):
        return ["q", str(value)]
    raise TypeError(f"{type(value).__name__} has no canonical spelling: {value!r}")
