"""`hpo store ls`: what a store holds."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from hpo.store.folder import Folder, StudyIn, opened


def listing(path: Path) -> Iterator[str]:
    """Yield lines that describe a run directory or a shared store.

    Raises:
        InputError: there is no store.
        StoreError: it is damaged.
    """
    with opened(path) as folder:
        yield f"{path}: {'a shared store' if folder.shared else 'a run directory'}"
        if folder.uses is not None:
            yield f"segments, tests and checkpoints are in {folder.uses}"
        for study in folder.studies():
            yield _study(study, folder.shared)
        if folder.uses is None:
            yield from _contents(folder)
        yield from _test_sets(folder.studies())


def _study(study: StudyIn, shared: bool) -> str:
    where = f", in {study.run_dir}{' (gone)' if study.is_gone else ''}" if shared else ""
    done = f"{len(study.finished)} of {len(study.seeds)} replicates finished"
    return f"study {study.name}{where}: {done}, arms {', '.join(study.arms)}"


def _contents(folder: Folder) -> Iterator[str]:
    db = folder.db
    tested = Counter(
        seed for (seed,) in db.execute("SELECT segments.seed FROM tests JOIN segments ON segments.key = tests.key")
    )
    rows = db.execute(
        "SELECT seed, COUNT(*), SUM(json_extract(segment, '$.split') = 'full'), SUM(diverged),"
        " SUM(CASE WHEN evicted = 0 THEN LENGTH(state) END) FROM segments GROUP BY seed ORDER BY seed"
    )
    filed = dict(
        db.execute(
            "SELECT seed, SUM(size) FROM (SELECT DISTINCT seed, digest, size FROM segments"
            " WHERE evicted = 0 AND state IS NULL AND digest IS NOT NULL) GROUP BY seed"
        ).fetchall()
    )
    yield " seed   segments   retraining   diverged   tests   states in rows   in files"
    for seed, count, full, diverged, state in rows:
        yield (
            f"{seed:>5} {count:>10} {full:>12} {diverged:>10} {tested[seed]:>7} {_mib(state or 0):>16}"
            f" {_mib(filed.get(seed, 0)):>10}"
        )
    (segments,) = db.execute("SELECT COUNT(*) FROM segments").fetchone()
    (tests,) = db.execute("SELECT COUNT(*) FROM tests").fetchone()
    files = folder.checkpoint_files()
    size = sum(file.stat().st_size for file in files)
    rows_size = sum(file.stat().st_size for file in folder.path.glob("store.sqlite*"))
    yield f"total: {segments} segments, {tests} tests, {_mib(rows_size)} of rows, {len(files)} checkpoint files of {_mib(size)}"


def _test_sets(studies: list[StudyIn]) -> Iterator[str]:
    """Yield how often each test set was opened, for how many models of how many studies."""
    by_print: dict[str, list[tuple[str, str]]] = {}
    for study in studies:
        for _, _, key, fingerprint in study.openings:
            by_print.setdefault(fingerprint, []).append((study.run_dir, key))
    for fingerprint, found in sorted(by_print.items()):
        models, users = len({key for _, key in found}), len({run_dir for run_dir, _ in found})
        yield (
            f"test set {fingerprint[:12]}: opened {len(found)} times, for {models} models, by {users}"
            f" stud{'y' if users == 1 else 'ies'}"
        )


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
