"""Digests of values: arrays, tensors, and what Python can pickle."""

import sys
from collections.abc import Callable
from typing import Any

from joblib.hashing import NumpyHasher


class ContentHasher(NumpyHasher):  # type: ignore[misc]
    """Digests a value by its content; a tensor counts by its type, shape and numbers.

    Args:
        replace: returns what stands for a value in the digest; by default the value itself.
    """

    def __init__(self, replace: Callable[[Any], Any] = lambda value: value) -> None:
        super().__init__(hash_name="sha1")
        self._replace = replace

    def save(self, value: Any) -> None:
        """Add a value to the digest."""
        super().save(_plain(self._replace(value)))


def _plain(value: Any) -> Any:
    """Return a tensor as plain values and an array; any other value as it is."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(value, torch.Tensor):
        return value
    flat = value.detach().cpu().contiguous().view(-1)
    return str(value.dtype), tuple(value.shape), flat.view(torch.uint8).numpy()
