"""What a study shows while it runs: what is counted, of which total."""

import io
import re

import helpers
from rich.console import Console

import hpo
from hpo.progress import Progress


def shown(document, tmp_path, terminal):
    out = io.StringIO()
    progress = Progress(Console(file=out, force_terminal=terminal, width=140))
    helpers.run(document, tmp_path, observer=progress)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue())


def document(**study):
    derived = {"label": "inherited", "derived_from": "pbt", "replay": "inherited_weights"}
    return helpers.document(arms=(helpers.RANDOM, helpers.PBT, derived), **study)


def test_at_the_end_everything_was_counted(tmp_path):
    out = shown(document(retrains=3), tmp_path, terminal=False)
    last = [line for line in out.splitlines() if "left." in line][-1]
    assert " 100%, about 0:00 left." in last
    for label in ("random", "pbt", "inherited"):
        assert f"{label}: 2/2 replicates, 40 intervals charged" in last


def test_the_table_has_what_each_arm_retrains(tmp_path):
    out = shown(document(retrains=3), tmp_path, terminal=True)
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line.startswith(("random", "inherited"))}
    assert rows["random"][1:3] + rows["random"][4:5] == ["2/2", "40/40", "30/30"]
    assert rows["inherited"][4] == "0/0"


def test_a_study_that_stops_when_it_is_decided_says_at_most(tmp_path):
    found = helpers.document()
    del found["study"]["replicates"]
    found["comparison"] |= {"stopping": "anytime", "max_replicates": 3}
    seen = []

    class Looks(Progress):
        def answered(self, *arguments):
            super().answered(*arguments)
            seen.append(self._eta())

    spec = hpo.parse_study(found, search_path=[helpers.HERE])
    progress = Looks(Console(file=io.StringIO()))
    hpo.run_study(spec, out=tmp_path, executor="serial", report=False, observer=progress)
    assert seen[-1] == "at most 0:00"
