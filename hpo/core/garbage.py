"""How often cyclic garbage is collected: rarely where hundreds of thousands of objects live that are none."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

USUAL = gc.get_threshold()
"""Python's own thresholds."""
IMPORTING = (100_000, 20, 20)
"""For a process that imports PyTorch and scikit-learn: they are half a million objects, and examining these takes half a second."""
COORDINATING = (20_000, 20, 20)
"""For a coordinator, which holds its records: with Python's thresholds, a large study spends a quarter of its time on them."""


@contextmanager
def collections(thresholds: tuple[int, int, int]) -> Iterator[None]:
    """Collect cyclic garbage with other thresholds in this block."""
    before = gc.get_threshold()
    gc.set_threshold(*thresholds)
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(*before)
        gc.unfreeze()  # all objects are in the oldest generation now; otherwise they would be examined at once
