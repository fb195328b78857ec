"""`hpo store gc`: removes unused files, and checkpoints above a budget.

Checkpoints are a cache: one that is needed again is recomputed from its lineage. Rows are never removed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hpo.core.files import remove_regular
from hpo.core.locks import explained
from hpo.core.run_files import all_leftovers
from hpo.store.eviction import FILED, SET_EVICTED, Filed, first_to_go
from hpo.store.folder import Folder, alone, opened
from hpo.store.schema import database


@dataclass(frozen=True)
class Collected:
    """What was removed, or would be.

    Args:
        leftovers: temporary files of killed processes.
        unnamed: checkpoint files that no row references.
        evicted: referenced checkpoint files.
        removed_bytes: of all these.
        kept_bytes: of the remaining checkpoint files.
    """

    leftovers: int
    unnamed: int
    evicted: int
    removed_bytes: int
    kept_bytes: int


def collect(path: Path, *, budget: int | None = None, keep_best: bool = False, dry_run: bool = False) -> Collected:
    """Remove unreferenced checkpoint files, leftovers of killed processes, and checkpoints beyond what is to be kept.

    Args:
        path: a run directory or a shared store that is not in use.
        budget: bytes of checkpoint files to keep; those of finished replicates are removed first, then the oldest.
        keep_best: in finished replicates, keep only the checkpoints of tested models.
        dry_run: remove nothing.

    Raises:
        InputError: there is no store, or it is in use.
        StoreError: it is damaged, or a file cannot be removed.
    """
    # Take the lock: a running study writes a checkpoint file before its row.
    with (
        opened(path, write=not dry_run) as folder,
        explained(database(path)),
        alone(path, read_only=dry_run),
    ):
        rows = folder.db.execute(f"SELECT digest, seed, key FROM segments WHERE {FILED} ORDER BY number").fetchall()
        sizes = {file.stem: file.stat().st_size for file in folder.checkpoint_files()}
        rows = [row for row in rows if row[0] in sizes] if dry_run else _without_lost(folder, rows, sizes)
        named = {digest for digest, _, _ in rows}
        unnamed = [digest for digest in sizes if digest not in named]
        evicted = list(dict.fromkeys(_to_evict(folder, rows, sizes, budget, keep_best)))
        left = list(all_leftovers(path))
        removed = sum(sizes[digest] for digest in [*unnamed, *evicted]) + sum(file.stat().st_size for file in left)
        kept = sum(sizes[digest] for digest in named) - sum(sizes[digest] for digest in evicted)
        if not dry_run:
            for digest in evicted:
                folder.db.execute(SET_EVICTED, (1, digest))
            for file in [*(folder.files.path(digest) for digest in [*unnamed, *evicted]), *left]:
                remove_regular(file)
    return Collected(len(left), len(unnamed), len(evicted), removed, kept)


def _without_lost(folder: Folder, rows: list[Filed], sizes: dict[str, int]) -> list[Filed]:
    """Mark rows whose file is missing as evicted, and return the other rows."""
    for digest in {digest for digest, _, _ in rows if digest not in sizes}:
        folder.db.execute(SET_EVICTED, (1, digest))
    return [row for row in rows if row[0] in sizes]


def _to_evict(
    folder: Folder, rows: list[Filed], sizes: dict[str, int], budget: int | None, keep_best: bool
) -> Iterable[str]:
    """Return the digests of the referenced checkpoints to remove."""
    studies = folder.studies()
    unfinished = ((study, seed) for study in studies for seed in study.seeds if seed not in study.finished)
    active = {seed for study, seed in unfinished if not study.is_gone}
    tested = {key for study in studies for _, _, key, _ in study.openings}
    best = {digest for digest, _, key in rows if key in tested}
    if keep_best:
        needed = {digest for digest, seed, _ in rows if seed in active}
        return [digest for digest, _, _ in rows if digest not in best | needed]
    if budget is None:
        return []
    total = sum(sizes[digest] for digest in {digest for digest, _, _ in rows})
    out: dict[str, None] = {}
    # Within finished replicates, tested models are removed last.
    for digest, _, _ in first_to_go(sorted(rows, key=lambda row: row[0] in best), active, ()):
        if total <= budget:
            break
        if digest not in out:
            out[digest] = None
            total -= sizes[digest]
    return out
