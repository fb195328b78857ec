"""The charts that the report and `hpo watch` share, alone on a page."""

import json

import numpy as np
import pandas as pd
import plots
import pytest
from plotly.offline import get_plotlyjs

import hpo
from hpo.core.parameters import Float
from hpo.core.segments import Step
from hpo.report.charts import SCRIPTS, STYLE, asset, rows_record, steps_record
from hpo.report.segments_csv import part_of

HOSTILE = "<img src=x onerror=alert(1)> a<b>&amp;<sub>c</sub>"
STUDY = {
    "name": "s",
    "metric": {
        "name": "error",
        "label": HOSTILE,
        "unit": "%",
        "scale": 100,
        "offset": 0,
        "digits": 1,
        "maximize": False,
    },
    "unit": "epochs",
    "interval": 0.5,
    "intervals": 3,
    "population_size": 3,
    "is_function": False,
    "space": {HOSTILE: {"log": True, "choices": None, "low": 1e-4, "high": 1.0}},
    "arms": ["pbt"],
    "seeds": [0],
}
#: member, interval, parent, on the best lineage, error, lr: member 0 copies 2 at interval 1, and 1 copies 0 at interval 2.
ROWS = [
    (0, 0, None, 0, 0.5, 0.5),
    (1, 0, None, 0, 0.4, 0.01),
    (2, 0, None, 1, 0.3, 0.1),
    (0, 1, 2, 1, 0.2, 0.12),
    (1, 1, 1, 0, 0.35, 0.01),
    (2, 1, 2, 0, 0.25, 0.1),
    (0, 2, 0, 0, 0.15, 0.12),
    (1, 2, 0, 1, 0.1, 0.144),
    (2, 2, 2, 0, None, 0.1),
]


def part(rows=ROWS):
    columns = ["member", "interval", "parent_member", "on_best_lineage", "metric:error", f"hparam:{HOSTILE}"]
    table = pd.DataFrame(rows, columns=columns).astype({"parent_member": float, "metric:error": float})
    return part_of(table.assign(diverged=table["metric:error"].isna().astype(int)), "metric:error")


def chart(tmp_path, call, **data):
    """A page with an element `chart`, plotly and the charts, on which a script runs with the given constants."""
    constants = "".join(
        f"const {name} = {json.dumps(value).replace('<', chr(92) + 'u003c')};" for name, value in data.items()
    )
    scripts = [get_plotlyjs(), *map(asset, SCRIPTS), f"const el = document.getElementById('chart'); {constants} {call}"]
    body = "<style>" + asset(STYLE) + "body{background:var(--paper)}</style><div id='chart'></div>"
    body += "".join(f"<script>{script}</script>" for script in scripts)
    path = tmp_path / "page.html"
    path.write_text(f"<!DOCTYPE html><meta charset='utf-8'>{body}", encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def lineage(open_page, tmp_path):
    rows = rows_record(part(), {HOSTILE: Float(1e-4, 1.0, log=True)})
    call = "window.selected = []; hpoCharts.lineage(el, study, rows, {onSelect: (s) => selected.push(s)});"
    return open_page(chart(tmp_path, call, study=STUDY, rows=rows))


DOTS = 4


def listed(page):
    return [row.split("\t")[:4] for row in page.locator(".hpo-path tbody").inner_text().splitlines()]


def test_a_lineage_has_a_dot_per_segment_and_an_edge_per_copy(lineage):
    assert plots.dots(lineage, ".hpo-plot") == len(ROWS)
    kinds = lineage.evaluate(
        "() => document.querySelector('.hpo-plot').data.map(t => t.x.filter(x => x === null).length)"
    )
    assert kinds[:2] == [4, 2]  # members that went on, and copies
    assert "2 copies" in lineage.get_attribute(".hpo-plot", "aria-label")


def test_the_best_lineage_is_listed_from_its_root(lineage):
    assert listed(lineage) == [
        ["0", "0.5", "2", "initialization"],
        ["1", "1", "0", "copy of member 2"],
        ["2", "1.5", "1", "copy of member 0"],
    ]


def test_hovering_shows_the_value_and_hyperparameters_as_text(lineage):
    lines = plots.hover(lineage, ".hpo-plot", DOTS, 3)
    assert lines == [
        "member 0, interval 1 (1 epochs)",
        f"{HOSTILE} 20.0\u202f%",
        "copied from member 2",
        f"{HOSTILE} 0.12",
    ]
    assert lineage.locator("img").count() == 0


def test_what_happened_to_the_weights_is_shown(open_page, tmp_path):
    change = hpo.ShrinkPerturb(0.2, 0.1)
    found = part()
    found.table["transform:shrink"] = [0.2 if interval == 1 else np.nan for _, interval, *_ in ROWS]
    found.table["transform:perturb"] = found.table["transform:shrink"] / 2
    space = {HOSTILE: Float(1e-4, 1.0, log=True)}
    rows = rows_record(found, space)
    steps = steps_record([Step(2, 0, 1, {HOSTILE: 0.1}), Step(0, 1, 3, {HOSTILE: 0.12}, change)])
    draw = {
        "lineage": "hpoCharts.lineage(el, study, rows)",
        "members": "hpoCharts.members(el, study, rows)",
        "schedule": "hpoCharts.schedule(el, study, [{seed: 0, arm: 'pbt', steps}])",
    }
    for name, call in draw.items():
        page = open_page(chart(tmp_path, call, study=STUDY, rows=rows, steps=steps))
        traces = page.evaluate("() => document.querySelector('.hpo-plot').data")
        if name == "lineage":
            assert [symbol == "triangle-down" for symbol in traces[DOTS]["marker"]["symbol"]] == [
                interval == 1 for _, interval, *_ in ROWS
            ]
            assert f"weights before it: {change}" in plots.hover(page, ".hpo-plot", DOTS, 3)
            assert [row[3] for row in listed(page)][1] == f"copy of member 2: {change}"
        else:
            (marks,) = [trace for trace in traces if trace.get("name") == "weights shrunk"]
            assert marks["x"] == ([1, 1, 1] if name == "members" else [0.5])
            assert all(str(change) in text for text in marks["hovertext"])
    assert rows_record(part(), space)["transform"] == []


def test_a_click_follows_a_member_to_its_root(lineage):
    plots.click(lineage, ".hpo-plot", DOTS, 6)
    assert [row[2:] for row in listed(lineage)] == [["2", "initialization"], ["0", "copy of member 2"], ["0", "itself"]]
    assert lineage.evaluate("() => selected") == [{"member": 0, "interval": 2, "path": [2, 3, 6]}]
    assert lineage.evaluate("() => document.querySelector('.hpo-plot').data[3].y") == [2, 0, 0]


def test_keys_and_the_list_of_members_select_too(lineage):
    lineage.get_by_label("path of member").select_option("2")
    assert [row[2] for row in listed(lineage)] == ["2", "2", "2"]
    lineage.focus(".hpo-plot")
    for key in ("ArrowUp", "ArrowLeft", "ArrowLeft"):
        lineage.keyboard.press(key)
    assert listed(lineage) == [["0", "0.5", "2", "initialization"]]
    lineage.keyboard.press("Escape")
    assert len(listed(lineage)) == 3


def test_colour_and_height_can_be_hyperparameters_and_values(lineage):
    lineage.get_by_label("height").select_option("value")
    lineage.get_by_label("colour").select_option(index=1)
    trace = lineage.evaluate(
        "() => { const t = document.querySelector('.hpo-plot').data[4]; return [t.y[7], t.marker.color[2]]; }"
    )
    assert trace == [pytest.approx(10), pytest.approx(-1)]


def test_a_large_population_is_thinned_and_keeps_its_ancestors(open_page, tmp_path):
    rows = [
        (m, k, None if k == 0 else (m if m % 7 else 5), int(m == 7), 0.5 / (m + k + 1), 0.1)
        for k in range(50)
        for m in range(400)
    ]
    found = part(rows)
    record = rows_record(found, {HOSTILE: Float(1e-4, 1.0, log=True)})
    assert record["part"] == "100 of 400 members"
    assert len(record["member"]) <= 5100
    ancestors = [record["member"][i] for i in record["origin"] if i is not None]
    assert len(ancestors) > 4000
    page = open_page(
        chart(
            tmp_path,
            "hpoCharts.lineage(el, study, rows); hpoCharts.lineage(el, study, rows);",
            study=STUDY,
            rows=record,
        )
    )
    assert page.evaluate("() => document.querySelectorAll('.hpo-plot')[0].data.length") == DOTS + 1


@pytest.mark.parametrize("call", ["members(el, study, rows)", "hparams(el, study, rows)"])
def test_charts_of_rows_update_in_place(open_page, tmp_path, call):
    rows = rows_record(part(), {HOSTILE: Float(1e-4, 1.0, log=True)})
    page = open_page(chart(tmp_path, f"hpoCharts.{call}; hpoCharts.{call};", study=STUDY, rows=rows), dark=True)
    assert page.locator(".hpo-plot").count() == 1
    assert len(plots.hover(page, ".hpo-plot", 1, 2)) == 4
    assert "3 members" in page.get_attribute(".hpo-plot", "aria-label")


def test_incumbents_and_schedules(open_page, tmp_path):
    curves = [
        {"seed": s, "arm": a, "x": [0.5, 1, 1.5], "y": [0.5, 0.3, 0.1 + s / 10]} for s in (0, 1) for a in ("pbt", "rs")
    ]
    steps = [
        {"start": 0, "stop": 2, "member": 1, "hparams": {HOSTILE: 0.1}},
        {"start": 2, "stop": 3, "member": 0, "hparams": {HOSTILE: 0.2}},
    ]
    schedules = [{"seed": 0, "arm": "pbt", "steps": steps}]
    study = {**STUDY, "arms": ["rs", "pbt"]}
    call = "const [a, b] = [0, 1].map(() => el.appendChild(document.createElement('div')));"
    call += "hpoCharts.incumbents(a, study, curves); hpoCharts.schedule(b, study, schedules);"
    page = open_page(chart(tmp_path, call, study=study, curves=curves, schedules=schedules))
    first, second = (
        page.get_attribute(f"#chart div:nth-of-type({n}) .hpo-plot, #chart > .hpo-plot:nth-of-type({n})", "aria-label")
        for n in (1, 2)
    )
    assert "mean of 2 seeds. At the end: rs 15.00\u202f%, pbt 15.00\u202f%" in first
    assert "pbt from 0.1 to 0.2" in second
