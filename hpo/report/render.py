"""Laying a `Page` out as Markdown, and that as one self-contained HTML file, whose charts are drawn by scripts in it.

Labels and names are hostile input. The Markdown template escapes every value, and HTML is made of the little Markdown that it uses:
no links, no HTML, and no images but the page's own. The page runs the scripts that it was made with, by their hashes, and no other.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import itertools
import re
from collections.abc import MutableMapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from hpo.report.charts import SCRIPTS, STYLE, asset
from hpo.report.page import Page
from hpo.report.phrases import say

_MARKUP = re.compile(r"([\\`*_\[\]|~])")
_AT_START = re.compile(r"^(\d{0,9})(?=(#+|=+|-+|[+.)])( |$))")  # what would begin a heading, a list or a rule
_BREAKS = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029]+")


def render_markdown(page: Page, *, whole: bool = False) -> str:
    """The page in Markdown; figures are linked as `figures/<name>.png`.

    Args:
        page: what to show.
        whole: as the source of HTML.
    """
    text: str = templates(markdown=True).get_template("page.md.j2").render(page=page, whole=whole)
    return re.sub("\n{3,}", "\n\n", text).strip() + "\n"


def render_html(page: Page) -> str:
    """The page as one HTML file; pictures are inside it as base64 PNG, charts as their data with plotly.js."""
    pictures = [picture for section in (*page.answer, *page.sections) for picture in section.pictures]
    pngs = {f"figures/{picture.name}.png": picture.png for picture in pictures}
    kinds = [verdict.kind for verdict in page.verdicts]
    charts = [
        chart for section in (*page.answer, *page.sections) if section.only != "markdown" for chart in section.charts
    ]
    env = {
        "pngs": pngs,
        "kinds": kinds,
        "folded": False,
        "forms": [form.title for form in page.forms],
        "charts": charts,
    }
    body = _parser().render(render_markdown(page, whole=True), env)
    texts = {"plotly": get_plotlyjs(), **page.data} if page.data else {}
    scripts = [asset(name) for name in (*SCRIPTS, *_PAGE_SCRIPTS)] if page.data else []
    runs = [*scripts, texts["plotly"]] if scripts else []  # plotly.js once the page has unpacked it
    return (
        templates()
        .get_template("page.html.j2")
        .render(
            title=page.title,
            parts=_parts(body),
            body=Markup(body),
            no_script=say("no_script") if page.data else "",
            style=Markup(asset(STYLE) + asset("page.css")),
            data={name: _packed(text) for name, text in texts.items()},
            scripts=[Markup(script) for script in scripts],
            hashes=[_hash(script) for script in runs],
        )
    )


def _parts(body: str) -> list[tuple[str, Markup]]:
    """The anchors and titles of the page's parts, which were escaped when they were rendered."""
    return [(anchor, Markup(title)) for anchor, title in re.findall(r'<h2 id="([a-z0-9-]+)">(.*?)</h2>', body)]


_PAGE_SCRIPTS = ("comparison.js", "report.js")


def _packed(text: str) -> str:
    """A text as the page unpacks it: gzip in base64; the same text gives the same bytes."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@cache
def templates(*, markdown: bool = False) -> Environment:
    """The templates; they escape HTML, or all of Markdown."""
    environment = Environment(
        loader=PackageLoader("hpo.report"),
        autoescape=True,
        finalize=escape_markdown if markdown else None,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["fenced"] = fenced
    return environment


def escape_markdown(value: object) -> Markup:
    """Text that Markdown shows as it is: no markup, no table cell ends, no HTML. What a macro made stays as it is."""
    if isinstance(value, Markup):
        return value
    text = _BREAKS.sub(" ", str(value)).strip(" ")
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return Markup(_AT_START.sub(r"\1\\", _MARKUP.sub(r"\\\1", text)))


def fenced(text: str, language: str) -> Markup:
    """A block of code in Markdown, whatever the text holds."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return Markup(f"{fence}{language}\n{text.removesuffix(chr(10))}\n{fence}")


@cache
def _parser() -> MarkdownIt:
    """The parser of the Markdown that the template writes, and of nothing more."""
    rules = ["heading", "list", "table", "fence", "blockquote", "image", "emphasis", "escape", "entity", "newline"]
    return MarkdownIt("zero", renderer_cls=_Renderer).enable(rules)


Env = MutableMapping[str, Any]
"""The page's images by their paths, the kinds of its verdicts and its charts in order, and whether a folded part is open."""


_WIDE = 5
"""Columns from which on a table is too wide for a phone."""


class _Renderer(RendererHTML):
    """HTML of Markdown's tokens: quotations are verdicts, headings of level 3 fold their part, images are inside."""

    def render(self, tokens: Sequence[Token], options: OptionsDict, env: Env) -> str:
        return super().render(tokens, options, env) + self._unfolded(env)

    def image(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env) -> str:
        title = escape(tokens[idx].content and self.renderInlineAsText(tokens[idx].children or [], options, env))
        png = env["pngs"].get(tokens[idx].attrs["src"])
        return f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}" alt="{title}">' if png else title

    def fence(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env) -> str:
        if tokens[idx].info != "chart":
            return super().fence(tokens, idx, options, env)
        chart = env["charts"].pop(0)
        title = f"<h3>{escape(chart.title)}</h3>\n" if not chart.folded else ""
        caption = f"<figcaption>{escape(chart.caption)}</figcaption>\n" if chart.caption else ""
        figure = f'<figure data-chart="{escape(chart.name)}">\n{title}{caption}<div class="chart"></div>\n</figure>\n'
        return f"<details><summary>{escape(chart.title)}</summary>\n{figure}</details>\n" if chart.folded else figure

    def blockquote_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env) -> str:
        return f'<blockquote class="{escape(env["kinds"].pop(0))}">\n'

    def heading_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env) -> str:
        before, tag = self._unfolded(env), tokens[idx].tag
        if tag != "h3":
            anchor = re.sub("[^a-z0-9]+", "-", tokens[idx + 1].content.lower()).strip("-")
            return f'{before}<{tag} id="{anchor}">'
        env["folded"] = True
        if (title := tokens[idx + 1].content) in env["forms"]:  # one of them is open at a time, as with tabs
            return f'{before}<details name="form"{" open" if title == env["forms"][0] else ""}>\n<summary>'
        # The first part of a section that has nothing else is open.
        first = tokens[idx - 1].type == "heading_close" and tokens[idx - 1].tag == "h2"
        return f"{before}<details{' open' if first else ''}>\n<summary>"

    def heading_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env) -> str:
        return "</summary>\n" if tokens[idx].tag == "h3" else f"</{tokens[idx].tag}>\n"

    def table_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env) -> str:
        inner = list(itertools.takewhile(lambda token: token.type != "thead_close", tokens[idx:]))
        heads = [after for token, after in itertools.pairwise(inner) if token.type == "th_open"]
        titles = [self.renderInlineAsText(head.children or [], options, env) for head in heads]
        env["titles"] = titles if len(titles) >= _WIDE else []
        wide = ' class="wide"' if env["titles"] else ""
        return f'<div class="scroll"><table{wide}>\n'

    def tr_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env) -> str:
        env["left"] = list(env["titles"])
        return self.renderToken(tokens, idx, options, env)

    def td_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env) -> str:
        if env["left"]:  # on a narrow screen each cell has its column's title
            tokens[idx].attrSet("data-title", env["left"].pop(0))
        return self.renderToken(tokens, idx, options, env)

    def table_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env) -> str:
        return "</table></div>\n"

    def _unfolded(self, env: Env) -> str:
        folded, env["folded"] = env["folded"], False
        return "</details>\n" if folded else ""
