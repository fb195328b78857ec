"""The published report in a browser."""

from pathlib import Path

REPORT = Path(__file__).parents[2] / "docs/results/mnist_pbt_vs_random/report.html"


def test_the_published_report_opens_from_a_file(open_page):
    page = open_page(REPORT.as_uri())
    assert page.title() == "mnist_pbt_vs_random"
    assert page.locator("h2").count() > 5
    page.wait_for_selector('figure[data-chart="pairs"] .main-svg', state="attached")
