"""Whatever a text holds, Markdown and HTML show it as it is; and every phrase that is asked for exists."""

import re
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from helpers import cases
from hypothesis import example, given, settings
from hypothesis import strategies as st

import hpo
from hpo.report.page import Form, Page, Picture, Section, Table, VerdictText
from hpo.report.render import render_html, render_markdown

MARKUP = [
    *(
        "<script>alert(1)</script>",
        "a|b\n*c* [d](http://e)",
        "# h",
        "- x",
        "+",
        "1. x",
        "12)",
        "=====",
        "---",
        "a\r# b",
    ),
    *("`x` ``y", "\\|", "![x](figures/pairs.png)", "a\\", "&lt;b&gt; &#60;", "<http://e>", "[a]: http://x", "~~s~~"),
    *("_x_ **", "> q", "\t# t", "\u2028# z"),
]


class Shown(HTMLParser):
    """What a browser shows of a file, element by element, after checking that each is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [target or "" for name, target in attrs if name == "href"]
        self.texts.setdefault(tag, []).append("")
        if tag not in ("meta", "img"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in self._open:
            self.texts[tag][-1] += data


def page_of(text: str) -> Page:
    table = Table.of((text, text), [(text, text)], title=text, strong=1)
    picture = Picture("pairs", text, b"png", caption=text)
    parts = (
        Section("a", "First", (text,), (text,), (picture,), (table,), (text,)),
        Section("b", text, (text,), level=3),
    )
    verdicts = (VerdictText(text, text, (text, text)),)
    forms = (Form("TOML", "toml", text), Form("JSON", "json", text))
    return Page(text, ((text, text),), verdicts, (text,), parts, text, text, text, text, forms=forms, commands=text)


@settings(max_examples=cases(100), deadline=None)
@given(st.text(max_size=30) | st.lists(st.sampled_from(MARKUP)).map(" ".join))
def test_any_text_is_shown_as_it_is(text: str) -> None:
    page = page_of(text)
    shown = Shown(render_html(page))
    assert not shown.tags & {"script", "hr", "ol"}
    assert shown.links == ["#verdict", "#before-you-believe-it", "#best-hyperparameters", "#first"]
    assert shown.attributes <= {
        "lang",
        "charset",
        "http-equiv",
        "content",
        "name",
        "id",
        "class",
        "style",
        "src",
        "alt",
        "open",
        "data-title",
        "href",
        "aria-label",
    }
    whole = re.sub("[\x00-\x1f\x7f\x85\u2028\u2029]+", " ", text).strip(" ")
    if whole and whole == whole.strip():
        assert shown.texts["li"][0] == shown.texts["td"][1] == shown.texts["h1"][0] == whole
        assert shown.texts["summary"] == ["TOML", "JSON", "Plan and facts", whole]
        assert shown.texts["td"][0] == shown.texts["th"][0] == whole
        assert shown.texts["li"][1] == f"{whole}: {whole}"


for _text in MARKUP:
    test_any_text_is_shown_as_it_is = example(_text)(test_any_text_is_shown_as_it_is)


def test_html_has_the_pages_pictures_and_no_others() -> None:
    html = render_html(page_of("![x](http://e/y.png)"))
    assert re.findall('src="(.*?)"', html) == ["data:image/png;base64,cG5n"]
    assert render_markdown(page_of("x")).count("](") == 1


@pytest.mark.parametrize("folder", ["report", "compare"])
def test_every_phrase_exists_and_is_used(folder: str) -> None:
    source = "\n".join(path.read_text() for path in (Path(hpo.__file__).parent / folder).rglob("*.py"))
    asked = set(re.findall(r'\bsay(?:\.items)?\(\s*["\'](\w+)', source))
    text = (Path(hpo.__file__).parent / folder / "templates/phrases.j2").read_text()
    defined = re.findall(r"^\{% macro (\w+)\(", text, re.MULTILINE)
    inner = {name for name in defined if len(re.findall(rf"\b{name}\(", text)) > 1}
    assert asked <= set(defined)
    assert set(defined) == asked | inner


def test_cells_of_a_wide_table_name_their_columns() -> None:
    hostile = '"><script>x</script>'
    titles = ("a", "b", "c|d", hostile, "e")
    wide, narrow = Table.of(titles, [tuple("12345")]), Table.of(titles[:4], [tuple("6789")])
    page = Page("x", (), (), (), (Section("t", "T", tables=(wide, narrow)),), "made")
    html = render_html(page)
    assert re.findall(r'data-title="(.*?)"', html) == [escape(title) for title in titles]
    assert html.count('class="wide"') == 1
    assert "<script" not in html
