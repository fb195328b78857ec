"""Which checkpoint files go first when there are too many."""

from collections.abc import Iterable, Iterator, Sequence, Set

from hpo.core.segments import Key

FILED = "evicted = 0 AND state IS NULL AND digest IS NOT NULL"
"""Of segments: whose checkpoint is a file that is there."""
SET_EVICTED = "UPDATE segments SET evicted = ? WHERE digest = ? AND state IS NULL AND digest IS NOT NULL"

Filed = tuple[str, int, Key]
"""The digest of a checkpoint, its replicate's seed, its segment."""


def first_to_go(rows: Sequence[Filed], active: Set[int], keep: Iterable[str]) -> Iterator[Filed]:
    """Return the checkpoints that may go, in the order in which they should.

    Args:
        rows: of the checkpoints that are there, oldest first.
        active: seeds of replicates that are not finished; the checkpoints of all others go first.
        keep: digests of checkpoints that stay.
    """
    needed = {digest for digest, seed, _ in rows if seed in active}
    kept = set(keep)
    return (row for row in sorted(rows, key=lambda row: row[0] in needed) if row[0] not in kept)
