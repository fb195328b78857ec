"""A comparison as files: compare.html, compare.md, compare.json and figures/."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hpo.compare.analysis import Analysis
from hpo.compare.figures import NAMES, Picture, pictures
from hpo.compare.page import Page
from hpo.files import write_atomic
from hpo.report.html import escape_markdown, templates

#: Raised when a field of compare.json changes its meaning or is removed.
SCHEMA_VERSION = 1


def write(analysis: Analysis, page: Page, folder: Path) -> Path:
    """Write everything into a folder, which is made where it is not there, and return the path of compare.html.

    Figures that an earlier comparison left there and that this one does not have are removed.

    Raises:
        OSError: the folder cannot be written to.
    """
    drawn = {picture.name: picture for picture in pictures(analysis)}
    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        if name in drawn:
            write_atomic(figures / f"{name}.png", drawn[name].png)
            write_atomic(figures / f"{name}.svg", drawn[name].svg)
        else:
            (figures / f"{name}.png").unlink(missing_ok=True)
            (figures / f"{name}.svg").unlink(missing_ok=True)
    content = json.dumps(document(analysis), indent=1, allow_nan=False)
    write_atomic(folder / "compare.json", (content + "\n").encode())
    write_atomic(folder / "compare.md", render_markdown(page, drawn).encode("utf-8", "replace"))
    write_atomic(folder / "compare.html", render_html(page, drawn).encode("utf-8", "replace"))
    return folder / "compare.html"


def document(analysis: Analysis) -> dict[str, Any]:
    """Return what compare.json holds: every number, and the test values that they were computed from."""
    return {"schema_version": SCHEMA_VERSION, **asdict(analysis)}


def render_html(page: Page, drawn: dict[str, Picture]) -> str:
    """The comparison as one HTML file; figures are inside it as base64 PNG."""
    return templates("hpo.compare").get_template("compare.html.j2").render(page=page, pictures=drawn)


def render_markdown(page: Page, drawn: dict[str, Picture]) -> str:
    """The comparison in Markdown; figures are linked."""
    return templates("hpo.compare", escape_markdown).get_template("compare.md.j2").render(page=page, pictures=drawn)
