"""The segments of a run as a data frame, one row each."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pandas as pd

from hpo.core.csv_files import cell, rows_into
from hpo.core.errors import InputError
from hpo.core.parameters import Categorical, Float, Parameter
from hpo.core.segments import Value
from hpo.export.run import Run
from hpo.report.members import spelling, typed_hparams
from hpo.report.segments_csv import is_large, plain_names

_LEADING = {
    "seed": "int64",
    "arm": "string",
    "member": "int64",
    "interval": "int64",
    "parent_member": "Int64",
    "on_best_lineage": "boolean",
    "diverged": "bool",
}
"""The types of the first columns."""


def frame(run: Run) -> pd.DataFrame:
    """Return one row per segment in the order of segments.csv, with a type for each column.

    Hyperparameters and metrics have their plain names, unless another column has it, too. Hyperparameters are floats, integers,
    booleans and texts as the search space says; choices of several types are texts. What is undefined is missing. Columns such as
    `transform:shrink` are there if weights were transformed.

    Raises:
        InputError: a hyperparameter has a value outside the search space; the message names the row.
    """
    table = run.table
    columns = {
        name: table[name].astype("Int64" if kind == "boolean" else kind).astype(kind) for name, kind in _LEADING.items()
    }
    rows = typed_hparams(table, run.results.task.space)
    for name, parameter in run.results.task.space.items():
        columns[f"hparam:{name}"] = _column([row.get(name) for row in rows], parameter)
    columns |= {name: table[name].astype("float64") for name in table if name.startswith(("metric:", "transform:"))}
    found = pd.DataFrame({name: column.array for name, column in columns.items()})
    return found.rename(columns=plain_names(list(found)))


def _column(values: Sequence[Value | None], parameter: Parameter) -> pd.Series:
    if isinstance(parameter, Float):
        return pd.Series(values, dtype="float64")
    if not isinstance(parameter, Categorical):
        return pd.Series(values, dtype="object" if is_large(parameter, 2**63 - 1) else "Int64")
    kinds = {type(choice) for choice in spelling(parameter).values()}
    kind = {frozenset({bool}): "boolean", frozenset({int}): "Int64"}.get(frozenset(kinds))
    if kind is None and kinds <= {int, float}:
        kind = "float64"
    texts = [None if value is None else str(value) for value in values]
    return pd.Series(texts, dtype="string") if kind is None else pd.Series(values, dtype=kind)


def to_csv(found: pd.DataFrame) -> bytes:
    """Return a data frame as CSV; text is escaped as in segments.csv, so that spreadsheets do not take it for a formula."""
    text = io.StringIO()
    writer = rows_into(text)
    writer.writerow(map(cell, found))
    # As Python's own values, which are written exactly.
    plain = found.astype(object).where(found.notna(), None)
    writer.writerows(map(cell, row) for row in plain.itertuples(index=False, name=None))
    return text.getvalue().encode()


def to_parquet(found: pd.DataFrame) -> bytes:
    """Return a data frame as Parquet. Integers that may not fit into 64 bits become floats.

    Raises:
        InputError: pyarrow is not installed.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise InputError(
            "--frame: Parquet needs pyarrow: `pip install 'hpo[parquet]'`, or name a file that ends in .csv"
        ) from None
    large = {name: "float64" for name in found if found[name].dtype == object}
    return bytes(found.astype(large).to_parquet(engine="pyarrow", index=False))
