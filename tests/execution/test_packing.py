"""Checkpoints that travel with jobs and outcomes, and where they are put at both ends."""

from dataclasses import replace

import pytest

from hpo.core.checkpoints import INLINE_BYTES, Checkpoint, CheckpointFiles, CheckpointMissing, LastCheckpoint
from hpo.core.segments import Segment
from hpo.execution.jobs import Job, Outcome
from hpo.execution.packing import packed, unpacked

SMALL, LARGE = b"small", b"large" * INLINE_BYTES
JOB = Job("key", Segment(0, None, 0, {}), 0, 0, None)


def test_the_last_state_is_in_memory_and_others_come_with_their_bytes():
    last = LastCheckpoint()
    first = last.write(LARGE)
    assert (first.data, first.size) == (LARGE, len(LARGE))
    pointer = Checkpoint(first.digest, first.size)
    assert last.read(pointer) == LARGE
    last.write(SMALL)
    with pytest.raises(CheckpointMissing, match="is not the last one"):
        last.read(pointer)
    assert last.read(first) == LARGE
    with pytest.raises(CheckpointMissing, match="damaged"):
        last.read(replace(first, data=LARGE[1:]))


@pytest.mark.parametrize("data", [SMALL, LARGE])
def test_a_state_that_travelled_is_where_a_worker_with_the_folder_puts_it(tmp_path, data):
    files, other = CheckpointFiles(tmp_path / "one"), CheckpointFiles(tmp_path / "other")
    came = unpacked(files, JOB, Outcome(replace(JOB, key="sent"), {}, checkpoint=LastCheckpoint().write(data)))
    assert came.job is JOB
    assert came.checkpoint == other.write(data)
    assert files.path(came.checkpoint.digest).exists() == (data is LARGE)
    child = replace(JOB, parent=came.checkpoint)
    assert packed(files, child).parent == LastCheckpoint().write(data)
    if data is LARGE:
        with pytest.raises(CheckpointMissing):
            packed(CheckpointFiles(tmp_path / "elsewhere"), child)


def test_what_has_no_state_travels_as_it_is(tmp_path):
    files = CheckpointFiles(tmp_path)
    assert packed(files, JOB) is JOB
    assert unpacked(files, JOB, Outcome(JOB, {}, diverged=True)) == Outcome(JOB, {}, diverged=True)
