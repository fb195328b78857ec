"""Jobs and outcomes that carry their checkpoints as bytes, for workers that share no folder with the coordinator.

The coordinator alone reads and writes checkpoint files: it sends the parent's bytes with a job. When the outcome arrives, it
writes the new state's file before any row of the store.
"""

from dataclasses import replace

from hpo.core.checkpoints import Checkpoint, CheckpointFiles
from hpo.execution.jobs import Job, Outcome
from hpo.execution.memory import peak_memory
from hpo.execution.runner import Runner


def packed(files: CheckpointFiles, job: Job) -> Job:
    """Return a job that holds the bytes of its parent's state.

    Raises:
        CheckpointMissing: they are missing or damaged.
        StoreError: they cannot be read.
    """
    parent = job.parent
    if parent is None or parent.data is not None:
        return job
    return replace(job, parent=Checkpoint(parent.digest, parent.size, files.read(parent)))


def run_packed(runner: Runner, job: Job) -> Outcome:
    """Run a job on a worker and return its outcome, without the bytes that came with the job."""
    outcome = runner(job)
    return replace(outcome, job=replace(job, parent=None), peak_memory=peak_memory())


def unpacked(files: CheckpointFiles, job: Job, outcome: Outcome) -> Outcome:
    """Write an outcome's state to its file, and return the outcome of the job as it was submitted.

    Raises:
        StoreError: the file cannot be written.
    """
    checkpoint = outcome.checkpoint
    if checkpoint is not None and checkpoint.data is not None:
        checkpoint = files.write(checkpoint.data)
    return replace(outcome, job=job, checkpoint=checkpoint)
