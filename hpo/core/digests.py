"""Digests of values: arrays, tensors, and what Python can pickle."""

import sys
from typing import Any

from joblib.hashing import NumpyHasher


class ContentHasher(NumpyHasher):  # type: ignore[misc]
    """Digests a value by its content; a tensor counts by its type, shape and numbers."""

    def __init__(self) -> None:
        super().__init__(hash_name="sha1")

    def save(self, value: Any) -> None:
        """Add a value to the digest."""
        super().save(self.replaced(value))

    def replaced(self, value: Any) -> Any:
        """Return what stands for a value in the digest."""
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(value, torch.Tensor):
            flat = value.detach().cpu().contiguous().view(-1)
            return str(value.dtype), tuple(value.shape), flat.view(torch.uint8).numpy()
        return value
