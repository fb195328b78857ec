"""What the tests of the adapters of trainers share."""

import importlib
import re
import sys
from pathlib import Path

import pytest

import hpo

DOCS = Path(hpo.__file__).parents[1] / "docs"
sys.path.append(str(DOCS / "examples"))

ALL = {"optimizer": "pbt", "explore": "all", "selection": {"name": "truncation", "quantile_fraction": 0.4}}
"""Population based training that gives every member new hyperparameters after each interval, and copies two of five."""
SMALL = {"optimizer": ALL, "population_size": 5, "report": False}


def with_parents(frame):
    """Return the rows that continue another one, each with that one."""
    rows = {(row.member, row.interval): row for row in frame.itertuples()}
    return [(row, rows[row.parent_member, row.interval - 1]) for row in rows.values() if row.interval]


def assert_copied(frame, *hyperparameters):
    """Assert that members were copied, with new hyperparameters."""
    pairs = with_parents(frame)
    copies = [(row, parent) for row, parent in pairs if row.member != parent.member]
    assert len(copies) >= 2
    for name in hyperparameters:
        assert all(getattr(row, name) != getattr(parent, name) for row, parent in copies)


def assert_stopped(training, metric, out, interval, ends):
    """Assert that a member with a patience of 2 ends after three epochs of six, in the interval that `ends` marks, uncharged."""
    options = {"metric": metric, "unit": "epochs", "budget": 6, "interval": interval, "population_size": 2}
    space = {"patience": hpo.Categorical([2, 9])}
    found = hpo.tune(training, space, out=out, optimizer="grid", report=False, **options)
    finished = {patience: [*group["finished"]] for patience, group in found.frame().groupby("patience")}
    charged = found.document.replicates[0].arms["grid"].charged_intervals
    intervals = 6 // interval
    assert finished[9] == [0] * intervals
    assert finished[2] == ends + [1] * (intervals - len(ends))
    assert charged == intervals + len(ends)


def assert_shown(module):
    """Assert that the page shows the training class of an example as it is."""
    page = (DOCS / "how_to/trainers.md").read_text()
    shown = [
        block.partition("\n\n\n")[0] for block in re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    ]
    text = (DOCS / "examples" / f"{module}.py").read_text()
    assert sum(block in text for block in shown) == 1


def assert_named_when_missing(monkeypatch, module, extra):
    """Assert that an adapter without its library is an error that names the extra."""
    monkeypatch.delitem(sys.modules, f"hpo.tasks.{module}")
    for name in [module, *(name for name in sys.modules if name.startswith(f"{module}."))]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(hpo.InputError, match=rf"hpo\[{extra}\]"):
        importlib.import_module(f"hpo.tasks.{module}")
