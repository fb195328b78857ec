"""Files of older versions of hpo are read: the published results are of schema version 3."""

import json
from pathlib import Path

import hpo
from hpo.results.file import dumps, read_executions, read_results

PUBLISHED = Path(hpo.__file__).parent.parent / "docs/results/mnist_pbt_vs_random"


def test_results_of_version_3_keep_their_counts():
    document = json.loads((PUBLISHED / "results.json").read_text())
    assert document["schema_version"] == 3
    for read, written in zip(read_results(PUBLISHED).replicates, document["replicates"], strict=True):
        for label, arm in read.arms.items():
            counted = {name: written["arms"][label][name] for name in ("boundary_hits", "all_diverged")}
            assert arm.counts == counted


def test_sittings_are_read_as_sessions_and_written_as_such(tmp_path):
    written = json.loads((PUBLISHED / "execution.json").read_text())["sittings"]
    found = read_executions(PUBLISHED)
    assert list(found.sessions) == written
    (tmp_path / "execution.json").write_bytes(dumps(found))
    assert json.loads((tmp_path / "execution.json").read_text())["sessions"] == written
    assert read_executions(tmp_path) == found
