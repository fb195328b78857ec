"""From a run directory to its report."""

from __future__ import annotations

from pathlib import Path

from hpo.files import write_atomic
from hpo.report.data import load_run
from hpo.report.gallery import build_figures
from hpo.report.html import render_html, render_markdown
from hpo.report.page import build_page


def build_report(run_dir: Path) -> Path:
    """Write `report.html`, `report.md` and `figures/` into a run directory, and return the path of `report.html`.

    The same input files give the same bytes. Figures whose input did not change are left alone.

    Raises:
        ReportError: the directory or its files cannot be read; the message says which key is wrong.
    """
    run = load_run(run_dir)
    page = build_page(run, build_figures(run, run_dir / "figures"))
    write_atomic(run_dir / "report.md", render_markdown(page).encode("utf-8", "replace"))
    write_atomic(run_dir / "report.html", render_html(page).encode("utf-8", "replace"))
    return run_dir / "report.html"
