"""Run the studies of all rows, divided among processes."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context

from hpo.calibrate.simulations.rows import Row
from hpo.calibrate.simulations.sections import Rows, sections
from hpo.core.interpreters import safe_path

_CHUNK = 50


def calibrate(studies: int, seed: int, workers: int) -> Iterator[tuple[str, tuple[Row, ...]]]:
    """Measure everything; yield the heading and the rows of each measurement when it is done.

    Args:
        studies: number of studies per row.
        seed: seed of all studies.
        workers: number of processes.
    """
    chunks = [range(start, min(start + _CHUNK, studies)) for start in range(0, studies, _CHUNK)]
    work = [(heading, rows) for heading, several in sections().items() for rows in several]
    parts = [(rows, chunk, seed) for _, rows in work for chunk in chunks]
    with ExitStack() as stack:
        found: Iterator[tuple[Row, ...]] = map(_part, parts)
        if workers > 1:
            stack.enter_context(safe_path())
            pool = stack.enter_context(ProcessPoolExecutor(workers, mp_context=get_context("spawn")))
            found = pool.map(_part, parts)
        for heading, _ in work:
            total = next(found)
            for _ in chunks[1:]:
                total = tuple(one + other for one, other in zip(total, next(found), strict=True))
            yield heading, total


def _part(part: tuple[Rows, range, int]) -> tuple[Row, ...]:
    rows, studies, seed = part
    return rows(studies=studies, seed=seed)
