"""Cells and rows of CSV files."""

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from hpo.core import csv_files as cells


@given(st.text())
def test_no_text_is_a_formula_and_every_text_comes_back(text):
    shown = cells.cell(text)
    assert str(shown)[:1] not in ("=", "+", "-", "@", "\t", "\r")
    assert cells.text_of(shown) == text


def test_numbers_stay_numbers():
    assert [cells.cell(value) for value in (-1.5, -2, None, True)] == [-1.5, -2, None, True]


@given(st.lists(st.lists(st.text(), min_size=2), min_size=1))
def test_what_is_written_is_read(rows):
    file = io.StringIO(newline="")
    cells.rows_into(file).writerows(rows)
    file.seek(0)
    assert list(csv.reader(file)) == rows
