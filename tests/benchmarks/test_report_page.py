"""How long the report's page takes, without its static figures: to be built, and to be usable in Chromium.

    python -m pytest tests/benchmarks/test_report_page.py --benchmark-enable

Measured on two cores (warm, so without 1.2 s for the first import of Optuna's figures): 10 seeds of 3 arms are built in 0.8 s, take
2.3 MB and are usable after 1.4 s; 50 seeds of 10 arms are built in 5.5 s, take 3.8 MB and are usable after 2.1 s.
"""

import shutil

import pytest
import synthetic
from playwright.sync_api import sync_playwright

from hpo.report.content import build_page
from hpo.report.data import load_run
from hpo.report.render import render_html

SIZES = {
    "3 arms": (10, synthetic.LABELS, 2.0, 6e6),
    "10 arms": (50, ("random", *(f"pbt-{i}" for i in range(9))), 10.0, 15e6),
}


@pytest.mark.parametrize("size", SIZES)
def test_building_the_page(benchmark, tmp_path, size):
    seeds, labels, seconds, most = SIZES[size]
    synthetic.mnist_run(tmp_path, planned=seeds, finished=seeds, labels=labels)
    html = benchmark.pedantic(
        lambda: render_html(build_page(load_run(tmp_path), [])), rounds=2, warmup_rounds=1, iterations=1
    )
    assert len(html.encode()) < most
    if benchmark.enabled:
        assert benchmark.stats.stats.min < seconds


@pytest.mark.parametrize("size", SIZES)
def test_opening_the_page(benchmark, tmp_path, size):
    seeds, labels, *_ = SIZES[size]
    synthetic.mnist_run(tmp_path, planned=seeds, finished=seeds, labels=labels)
    (tmp_path / "page.html").write_text(render_html(build_page(load_run(tmp_path), [])))
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])

        def usable():
            page = browser.new_page()
            page.goto((tmp_path / "page.html").as_uri())
            page.locator("figure").first.scroll_into_view_if_needed()
            page.wait_for_selector("html[data-ready] [data-drawn]")
            page.close()

        benchmark.pedantic(usable, rounds=3, warmup_rounds=1, iterations=1)
        browser.close()
    if benchmark.enabled:
        assert benchmark.stats.stats.min < (2 if size == "3 arms" else 10)
