"""The order in which checkpoint files are evicted."""

from collections.abc import Iterable, Iterator, Sequence, Set

from hpo.core.segments import Key

FILED = "evicted = 0 AND state IS NULL AND digest IS NOT NULL"
"""An SQL condition on segments: their checkpoint is a file, and not evicted."""
SET_EVICTED = "UPDATE segments SET evicted = ? WHERE digest = ? AND state IS NULL AND digest IS NOT NULL"

Filed = tuple[str, int, Key]
"""A checkpoint's digest, its replicate's seed, its segment's key."""


def first_to_go(rows: Sequence[Filed], active: Set[int], keep: Iterable[str]) -> Iterator[Filed]:
    """Return the checkpoints that may be evicted, in order.

    Args:
        rows: of the present checkpoints, oldest first.
        active: seeds of unfinished replicates; the checkpoints of all others come first.
        keep: digests of checkpoints to keep.
    """
    needed = {digest for digest, seed, _ in rows if seed in active}
    kept = set(keep)
    return (row for row in sorted(rows, key=lambda row: row[0] in needed) if row[0] not in kept)
