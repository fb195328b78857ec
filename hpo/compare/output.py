"""A comparison as files: compare.html, compare.md, compare.json and figures/, and for LaTeX."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hpo.compare.analysis import Analysis
from hpo.compare.figures import NAMES
from hpo.compare.latex.documents import MADE_BY, documents
from hpo.compare.latex.documents import NAMES as LATEX_NAMES
from hpo.core.errors import InputError
from hpo.core.files import inside, real_folder, remove_regular, write_atomic
from hpo.core.parsing import read_bytes, read_json
from hpo.core.run_files import FIGURES
from hpo.report.page import Page, Picture
from hpo.report.render import render_html, render_markdown

#: Raised when a field of compare.json changes its meaning or is removed.
SCHEMA_VERSION = 1
PAGES, DOCUMENT = ("compare.html", "compare.md"), "compare.json"


def write(analysis: Analysis, page: Page, pictures: Sequence[Picture], folder: Path, *, latex: bool = False) -> Path:
    """Write everything into a folder, which is created if missing, and return the path of compare.html.

    Figures and LaTeX files that an earlier comparison left there and that this one does not have are removed. Call
    `check_folder` first.

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
    texts = documents(analysis, page, pictures) if latex else {}
    wanted = {name: text.encode("utf-8", "replace") for name, text in texts.items()}
    wanted |= {f"{FIGURES}/{picture.name}.pdf": picture.pdf for picture in pictures if latex}
    for name, path in _latex_paths(folder).items():
        if name in wanted:
            write_atomic(path, wanted[name])
        elif _is_ours(path):
            remove_regular(path)
    html, markdown = (inside(folder, name) for name in PAGES)
    write_atomic(markdown, render_markdown(page).encode("utf-8", "replace"))
    write_atomic(html, render_html(page).encode("utf-8", "replace"))
    return html


def check_folder(folder: Path, *, latex: bool = False) -> None:
    """Raise `InputError` for a folder whose files `write` would replace, unless an earlier comparison wrote them.

    Raises:
        InputError: a file is not ours, or a link.
    """
    for path in _latex_paths(folder).values() if latex else ():
        if path.exists() and not _is_ours(path):
            raise InputError(f"{path} exists, and hpo compare did not write it: pass another --out")
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


def _latex_paths(folder: Path) -> dict[str, Path]:
    """Return the path of each file that `--latex` may write, by its name in the folder."""
    figures = [f"{FIGURES}/{name}.{kind}" for name in NAMES for kind in ("pdf", "caption.tex")]
    return {name: inside(folder, *name.split("/")) for name in (*(f"{name}.tex" for name in LATEX_NAMES), *figures)}


def _is_ours(path: Path) -> bool:
    """Whether `--latex` wrote a file: by its first line, or for a PDF by its metadata."""
    if not path.exists():
        return False
    content = read_bytes(path, None)
    return (b"/Creator (hpo)" in content) if path.suffix == ".pdf" else content.startswith(MADE_BY.encode())


def document(analysis: Analysis) -> dict[str, Any]:
    """Return what compare.json holds: every number, and the test values that they were computed from."""
    head = {name: getattr(analysis, name) for name in ("metric", "direction", "gains")}
    return {"schema_version": SCHEMA_VERSION, **head, **asdict(analysis)}
