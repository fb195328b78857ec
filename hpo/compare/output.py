"""A comparison as files: compare.html, compare.md, compare.json and figures/."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hpo.compare.analysis import Analysis
from hpo.compare.figures import NAMES
from hpo.core.errors import InputError
from hpo.core.files import inside, real_folder, remove_regular, write_atomic
from hpo.core.parsing import read_json
from hpo.core.run_files import FIGURES
from hpo.report.page import Page, Picture
from hpo.report.render import render_html, render_markdown

#: Raised when a field of compare.json changes its meaning or is removed.
SCHEMA_VERSION = 1
PAGES, DOCUMENT = ("compare.html", "compare.md"), "compare.json"


def write(analysis: Analysis, page: Page, pictures: Sequence[Picture], folder: Path) -> Path:
    """Write everything into a folder, which is created if missing, and return the path of compare.html.

    Figures that an earlier comparison left there and that this one does not have are removed. Call `check_folder` first.

    Raises:
        OSError: the folder cannot be written to.
    """
    drawn = {picture.name: picture for picture in pictures}
    real_folder(folder, FIGURES)
    content = json.dumps(document(analysis), indent=1, allow_nan=False)
    # First: by it, `check_folder` knows that the other files are ours.
    write_atomic(inside(folder, DOCUMENT), (content + "\n").encode())
    for name in NAMES:
        png, svg = _paths(folder, name)
        if name in drawn:
            write_atomic(png, drawn[name].png)
            write_atomic(svg, drawn[name].svg)
        else:
            remove_regular(png)
            remove_regular(svg)
    html, markdown = (inside(folder, name) for name in PAGES)
    write_atomic(markdown, render_markdown(page).encode("utf-8", "replace"))
    write_atomic(html, render_html(page).encode("utf-8", "replace"))
    return html


def check_folder(folder: Path) -> None:
    """Raise `InputError` for a folder whose files `write` would replace, unless an earlier comparison wrote them.

    Raises:
        InputError: a file is not ours, or a link.
    """
    document = inside(folder, DOCUMENT)
    there = [path for path in (*(inside(folder, name) for name in PAGES), document) if path.exists()]
    there += [path for name in NAMES for path in _paths(folder, name) if path.exists()]
    if not there:
        return
    try:
        found = read_json(document)
        ours = isinstance(found, dict) and found.keys() >= {"schema_version", "arms", "tasks", "comparisons"}
    except InputError:
        ours = False
    if not ours:
        raise InputError(f"{there[0]} exists, and hpo compare did not write it: pass another --out")


def _paths(folder: Path, name: str) -> tuple[Path, Path]:
    return inside(folder, FIGURES, f"{name}.png"), inside(folder, FIGURES, f"{name}.svg")


def document(analysis: Analysis) -> dict[str, Any]:
    """Return what compare.json holds: every number, and the test values that they were computed from."""
    head = {name: getattr(analysis, name) for name in ("metric", "direction", "gains")}
    return {"schema_version": SCHEMA_VERSION, **head, **asdict(analysis)}
