"""From a run directory to its report."""

from __future__ import annotations

from pathlib import Path

from hpo.core.files import inside, write_atomic
from hpo.core.run_files import FIGURES, REPORTS
from hpo.report.content import build_page
from hpo.report.data import load_run
from hpo.report.figures.gallery import build_figures
from hpo.report.render import render_html, render_markdown


def build_report(run_dir: Path) -> Path:
    """Write `report.html`, `report.md` and `figures/` into a run directory, and return the path of `report.html`.

    The same input files give the same bytes. Figures whose input did not change are left alone.

    Raises:
        InputError: the directory or its files cannot be read; the message says which key is wrong.
    """
    run = load_run(run_dir)
    page = build_page(run, build_figures(run, inside(run_dir, FIGURES)))
    html, markdown = (inside(run_dir, name) for name in REPORTS)
    write_atomic(markdown, render_markdown(page).encode("utf-8", "replace"))
    write_atomic(html, render_html(page).encode("utf-8", "replace"))
    return html
