"""Any results.json at all: it is read and laid out, or refused by name; never a traceback."""

import copy
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from helpers import cases
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpo.core.errors import InputError
from hpo.report.content import build_page
from hpo.report.data import load_run
from hpo.report.render import render_html, render_markdown

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 20),
    st.sampled_from([10**400, -(10**30), 2**63, 0.5, 1e308, 5e-324, -0.0, "", "../../x", "<script>alert(1)</script>"]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)


def places(value: object) -> list[tuple[Any, ...]]:
    """Return the path of everything in a document."""
    if isinstance(value, dict):
        return [(name, *rest) for name, item in value.items() for rest in [(), *places(item)]]
    if isinstance(value, list):
        return [(index, *rest) for index, item in enumerate(value[:2]) for rest in [(), *places(item)]]
    return []


@pytest.fixture(scope="module")
def whole(synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder: Path = synthetic.mnist_run(tmp_path_factory.mktemp("any") / "run", population=3, intervals=2)
    return folder, synthetic.read_results(folder)


@settings(max_examples=cases(63), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_mutation_of_a_good_file_is_read_or_refused(
    data: st.DataObject, whole: tuple[Path, dict[str, Any]]
) -> None:
    folder, results = whole
    mutated = copy.deepcopy(results)
    paths = places(mutated)
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(paths))
        at: Any = mutated
        try:
            for part in path[:-1]:
                at = at[part]
            if data.draw(st.booleans()):
                at[path[-1]] = data.draw(VALUES)
            else:
                del at[path[-1]]
        except (KeyError, IndexError, TypeError):
            continue  # an earlier mutation took the place away
    (folder / "results.json").write_text(json.dumps(mutated))
    refused = None
    try:
        page = build_page(load_run(folder), [])
    except InputError as error:
        refused = str(error)
    if refused is None:
        assert "<script>alert" not in render_html(page)
        render_markdown(page)
    else:
        assert "results.json" in refused or "segments.csv" in refused
