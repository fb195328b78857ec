"""Retrains the lineage of a chosen segment from its root's initialization, on all the development data."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from hpo.core.segments import Segment, Split, retraced
from hpo.engine.keys import Keys
from hpo.engine.scheduler import Process
from hpo.execution.jobs import Job
from hpo.store import Store, Stored, TestResult


def retraining(path: Sequence[Segment], keys: Keys, seed: int, stream: int) -> list[Job]:
    """Return the jobs of one retrain, in order.

    Args:
        path: the lineage, root first.
        keys: of the study.
        seed: the replicate's seed.
        stream: of the noise of this retrain.
    """
    return [Job(key, segment, seed, stream) for key, segment in retraced(path, Split.FULL, keys.of(seed, stream))]


def retrain(
    retrainings: Sequence[Sequence[Job]], finals: Sequence[Job], store: Store, keep: Callable[[Stored], bool]
) -> Process[list[TestResult]]:
    """Train, test the model at each final segment, and keep the first of these models: a process for the scheduler.

    Args:
        retrainings: the jobs of each retrain, all lists equally long; empty if the final segments are in the store already.
        finals: the segments whose models are tested, at least one.
        store: the store with their results.
        keep: copies the model of a segment. Returns False if its checkpoint is lost and there is no copy from before.
    """
    for step in zip(*retrainings, strict=True):
        yield list(step)
    tests: Sequence[TestResult] = yield [replace(final, test=True) for final in finals]
    yield from keep_state(finals[0], store, keep)
    return list(tests)


def keep_state(final: Job, store: Store, keep: Callable[[Stored], bool]) -> Process[None]:
    """Keep the state of a trained segment, after computing it again if it is lost: a process for the scheduler."""
    if not keep(_stored(store, final)):
        store.segments.lost(final.key)
        yield [replace(final, state=True)]
        keep(_stored(store, final))


def _stored(store: Store, final: Job) -> Stored:
    stored = store.segments.get(final.key)
    assert stored is not None
    return stored
