"""Laying a `Page` out as one self-contained HTML file, and in short as Markdown.

Labels and names are hostile input: the HTML environment escapes everything, the Markdown one every expression.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hpo.report.best import fenced
from hpo.report.page import Page

_MARKDOWN = re.compile(r"([\\`*_\[\]|~])")


def render_html(page: Page) -> str:
    """The report as one HTML file; figures are inside it as base64 PNG."""
    return templates("hpo.report").get_template("report.html.j2").render(page=page)


def render_markdown(page: Page) -> str:
    """The report in short; figures are linked as `figures/<name>.png`, names being made of fixed words and seeds."""
    return templates("hpo.report", escape_markdown).get_template("report.md.j2").render(page=page)


def templates(package: str, finalize: Callable[[object], object] | None = None) -> Environment:
    """Return the templates of a package; they escape HTML, and know the filters `base64` for bytes and `fenced` for code.

    Args:
        package: its name; the templates are in its folder `templates`.
        finalize: what every expression's value passes through, such as `escape_markdown`.
    """
    environment = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["fenced"] = fenced
    environment.filters["base64"] = lambda content: base64.b64encode(content).decode("ascii")
    return environment


def escape_markdown(value: object) -> Markup:
    """Text that Markdown shows as it is: no markup, no table cell ends, no HTML. What a macro made stays as it is."""
    if isinstance(value, Markup):
        return value
    text = " ".join(str(value).split("\n"))
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return Markup(_MARKDOWN.sub(r"\\\1", text))
