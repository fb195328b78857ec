"""The report in a browser: charts that can be hovered, filtered and followed, on any screen, on paper, and without scripts."""

import json
import re

import plots
import pytest
import synthetic

import hpo
from hpo.report.content import build_page
from hpo.report.data import load_run
from hpo.report.render import render_html

HOSTILE = "<img src=x onerror=alert(1)> $a$ <b>b</b>"
PAIRS, LINEAGE = 'figure[data-chart="pairs"] .chart', 'figure[data-chart="lineage"]'


def written(folder, **options):
    """Write a made-up run and its report without static figures; return the address and the results."""
    synthetic.mnist_run(folder, **{"population": 6, "intervals": 5, **options})
    return drawn(folder)


def drawn(folder):
    run = load_run(folder)
    path = folder / "report.html"
    path.write_text(render_html(build_page(run, [])), encoding="utf-8")
    return path.as_uri(), run


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A finished study of three arms and eight seeds, one name of which is markup."""
    folder = tmp_path_factory.mktemp("study")
    synthetic.mnist_run(folder, population=6, intervals=5, planned=8, finished=8)
    for name in ("results.json", "segments.csv"):
        path = folder / name
        text = path.read_text()
        path.write_text(text.replace('"lr"', json.dumps(HOSTILE)).replace("hparam:lr", f"hparam:{HOSTILE}"))
    return drawn(folder)


def seen(page, selector):
    """Scroll to an element and wait until its charts are drawn."""
    page.locator(selector).first.scroll_into_view_if_needed()
    page.wait_for_selector(f"{selector}[data-drawn]")


def block(chart, arm):
    return f'figure[data-chart="{chart}"] .arm[data-arm="{arm}"]'


def test_a_pair_is_hovered_and_an_arm_filtered(open_page, study):
    address, run = study
    page = open_page(address)
    seen(page, PAIRS)
    value = run.results.replicates[1].arms["pbt-truncation"].test["error"]
    assert plots.hover(page, PAIRS, 0, 5) == [
        f"pbt-truncation, seed 1: {100 * value:.2f}\u202f%"
    ]  # three arms and a gap a seed
    assert page.evaluate(f"() => document.querySelector('{PAIRS}').data[0].x.filter(x => x !== null).length") == 24
    page.get_by_role("checkbox", name="pbt-truncation").uncheck()
    seen(page, PAIRS)
    assert page.evaluate(f"() => document.querySelector('{PAIRS}').layout.xaxis.ticktext") == [
        "random",
        "pbt-exploit-best",
    ]
    assert page.locator('figure[data-chart="lineage"] .arm').count() == 2
    seen(page, 'figure[data-chart="bands"] .chart')
    assert page.locator('figure[data-chart="bands"] .hpo-plot').count() == 1


def test_a_seed_is_chosen_for_all_charts(open_page, study):
    page = open_page(study[0])
    page.get_by_label("seed").select_option("3")
    seen(page, PAIRS)
    assert "seed 3" in page.evaluate(f"() => document.querySelector('{PAIRS}').data.map(t => t.name)")
    curves = 'figure[data-chart="incumbent"] .chart'
    seen(page, curves)
    assert "1 seed" in page.get_attribute(curves, "aria-label")
    lineage = block("lineage", "pbt-truncation")
    seen(page, lineage)
    assert page.locator(f"{lineage} h4").inner_text() == "pbt-truncation, seed 3"


def test_a_lineage_is_followed_to_its_root(open_page, study):
    address, run = study
    page = open_page(address)
    lineage = block("lineage", "pbt-exploit-best")
    seen(page, lineage)
    assert plots.dots(page, lineage) == 6 * 5
    seed = int(page.locator(f"{lineage} h4").inner_text().split("seed ")[1].split()[0])
    rows = {(r.member, r.interval): r for r in run.segments[seed] if r.arm == "pbt-exploit-best"}
    listed = page.locator(f"{lineage} .hpo-path tbody tr")
    best = sorted((row for row in rows.values() if row.best), key=lambda row: row.interval)
    assert [int(row.split("\t")[2]) for row in listed.all_inner_texts()] == [row.member for row in best]
    page.locator(f"{lineage} .hpo-plot").focus()
    page.keyboard.press("ArrowUp" if best[-1].member else "ArrowDown")
    at = (best[-1].member - 1 if best[-1].member else 1, 4)
    path = []
    while True:
        path.append(at[0])
        if rows[at].parent is None:
            break
        at = (rows[at].parent, at[1] - 1)
    assert [int(row.split("\t")[2]) for row in listed.all_inner_texts()] == path[::-1]


def test_markup_in_names_is_text_everywhere(open_page, study):
    page = open_page(study[0])
    for name in ("hparams", "members"):
        seen(page, block(name, "random"))
    seen(page, 'figure[data-chart="schedule"] .chart')
    page.get_by_text("Which hyperparameters matter").click()
    seen(page, block("optuna", "random"))
    assert page.locator("img").count() == 0
    titles = page.locator(f"{block('hparams', 'random')} .ytitle").all_text_contents()
    assert f"{HOSTILE} (log)" in titles
    lines = plots.hover(page, f"{block('members', 'random')} .hpo-plot", 1, 0)
    assert any(line.startswith(HOSTILE) for line in lines)


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1280, False)])
def test_nothing_is_wider_than_the_screen(open_page, study, width, dark):
    page = open_page(study[0], width=width, dark=dark)
    for name in ("lineage", "members", "hparams"):
        seen(page, block(name, "pbt-truncation"))
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    colours = page.evaluate(
        "() => [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    light = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in colours]
    assert (light[0] < light[1]) == dark


def test_every_chart_says_what_it_shows_with_numbers(open_page, study):
    page = open_page(study[0])
    for name in ("pairs", "differences", "incumbent", "bands", "schedule"):
        seen(page, f'figure[data-chart="{name}"] .chart')
    charts = page.locator("[role=img]")
    assert charts.count() >= 6
    assert all(re.search(r"\d", charts.nth(k).get_attribute("aria-label")) for k in range(charts.count()))


def test_a_lineage_is_reached_with_the_tab_key_and_does_not_keep_it(open_page, study):
    page = open_page(study[0])
    lineage = block("lineage", "pbt-truncation")
    seen(page, lineage)
    page.locator(f"{lineage} select").first.focus()
    reached = []
    for _ in range(32):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("() => document.activeElement.className || document.activeElement.tagName"))
    kinds = [
        next((kind for kind in ("hpo-plot", "hpo-path", "SELECT", "BUTTON") if kind in name), "") for name in reached
    ]
    assert [kind for kind in kinds if kind][:5] == ["SELECT", "SELECT", "BUTTON", "hpo-plot", "hpo-path"]
    assert kinds.count("hpo-path") == 2  # that of the next arm, too


def test_charts_are_printed_as_wide_as_the_paper(open_page, study):
    page = open_page(study[0], dark=True)
    seen(page, PAIRS)
    page.evaluate("() => window.dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(
        f"() => [document.querySelector('{PAIRS}')._fullLayout.width, document.querySelector('{PAIRS}')._fullLayout.font.color]"
    ) == [670, "#222222"]
    page.evaluate("() => window.dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(f"() => document.querySelector('{PAIRS}')._fullLayout.font.color") == "#e4e7eb"


def test_without_scripts_the_text_and_tables_are_there(chromium, study):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(study[0])
    assert "figures/" in page.locator("noscript").inner_text()
    assert page.locator("table").count() > 5
    assert not page.locator("figure").first.is_visible()
    context.close()


def test_an_anytime_study_shows_its_evidence(open_page, tmp_path):
    page = open_page(written(tmp_path, planned=8, finished=8, stopping="anytime")[0])
    seen(page, 'figure[data-chart="anytime"] .chart')
    assert page.locator('figure[data-chart="anytime"] .hpo-plot').count() == 4


def test_a_study_of_one_arm_and_seed_needs_no_filter(open_page, tmp_path):
    page = open_page(written(tmp_path, planned=1, finished=1, labels=("pbt-truncation",))[0])
    seen(page, block("lineage", "pbt-truncation"))
    assert page.locator(".filter :is(input, select)").count() == 0


def test_the_trials_of_a_function_are_dots(open_page, tmp_path):
    space = {"x": hpo.Float(-1.0, 1.0), "kind": hpo.Categorical(("a", "b"))}
    hpo.tune(
        lambda h: h["x"] ** 2 + (h["kind"] == "b"), space, trials=12, out=tmp_path / "run", report=False, progress=False
    )
    page = open_page(drawn(tmp_path / "run")[0])
    trials = 'figure[data-chart="members"] .arm'
    seen(page, trials)
    assert page.evaluate(f"() => document.querySelector('{trials} .hpo-plot').data[0].y.length") == 12
    assert plots.hover(page, f"{trials} .hpo-plot", 0, 11)[0] == "trial 12"
    page.get_by_text("Which hyperparameters matter").click()
    seen(page, 'figure[data-chart="optuna"] .arm')


def test_a_report_without_segments_has_the_charts_of_the_study(open_page, tmp_path):
    synthetic.mnist_run(tmp_path, population=5, intervals=4)
    (tmp_path / "segments.csv").unlink()
    page = open_page(drawn(tmp_path)[0])
    seen(page, 'figure[data-chart="schedule"] .chart')
    assert page.locator('figure[data-chart="lineage"]').count() == 0


def test_a_study_with_nothing_finished_has_no_charts(open_page, tmp_path):
    page = open_page(written(tmp_path, planned=2, finished=0)[0])
    assert page.locator("figure, script").count() == 0


def test_the_size_is_bounded_and_the_bytes_are_the_same(tmp_path):
    """10 seeds of 3 arms, 15 members and 20 intervals: at most 6 MB."""
    synthetic.mnist_run(tmp_path / "a", planned=10, finished=10)
    texts = [render_html(build_page(load_run(tmp_path / "a"), [])) for _ in range(2)]
    assert texts[0] == texts[1]
    assert len(texts[0].encode()) < 6e6
