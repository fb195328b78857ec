"""Of a large population a part is drawn, and how the whole is spread."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hpo.report import segments_csv as segment_rows
from hpo.report.build import build_report
from hpo.report.data import load_run

Make = Callable[..., Path]


def rewritten(folder: Path, members: int, intervals: int) -> None:
    """Give each arm of seed 0 so many members; the error is the member's number over 10,000, plus the interval."""
    path = folder / "segments.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    arms, first = list(dict.fromkeys(row["arm"] for row in rows)), rows[0]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(first))
        writer.writeheader()
        for arm in arms:
            for interval in range(intervals):
                for member in range(members):
                    own = {"seed": 0, "arm": arm, "member": member, "interval": interval, "diverged": 0}
                    own |= {"parent_member": member if interval else "", "on_best_lineage": int(member == 7)}
                    writer.writerow(first | own | {"metric:error": member / 10_000 + interval})


def test_a_part_of_the_members_is_read_with_the_quantiles_of_all(
    small_run: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small_run(planned=1, finished=1)
    rewritten(folder, members=400, intervals=4)
    monkeypatch.setattr(segment_rows, "MAX_ROWS", 30)
    monkeypatch.setattr(segment_rows, "MAX_MEMBERS", 20)
    run = load_run(folder)
    label = run.results.arms[0].label
    rows = [row for row in run.segments[0] if row.arm == label]
    spread = run.spreads[0][label]
    assert (spread.members, spread.shown, spread.every) == (400, 20, 3)
    assert {row.interval for row in rows} == {2} == set(spread.quantiles)  # one of every three, counted from the first
    shown = {row.member for row in rows if not row.best}
    assert len(shown) == 20
    assert {0, 399} <= shown
    assert {row.member for row in rows if row.best} == {7}
    expected = np.quantile(np.arange(400) / 10_000 + 2, segment_rows.LEVELS)
    assert spread.quantiles[2] == pytest.approx(expected, rel=1e-12)


def test_where_every_row_is_drawn_there_is_no_spread(small_run: Make) -> None:
    assert load_run(small_run(planned=1, finished=1)).spreads == {}


def test_the_figures_say_which_part_they_draw(small_run: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = small_run(planned=1, finished=1)
    build_report(folder)
    whole = (folder / "figures" / "validation-seed-0.png").read_bytes()
    monkeypatch.setattr(segment_rows, "MAX_ROWS", 10)
    monkeypatch.setattr(segment_rows, "MAX_MEMBERS", 2)
    build_report(folder)
    assert (folder / "figures" / "validation-seed-0.png").read_bytes() != whole
    run = load_run(folder)
    spread = run.spreads[0][run.results.arms[0].label]
    from hpo.report.figures.members import panel_title

    assert panel_title("arm", {"arm": spread}) == "arm\n2 of 5 members"
