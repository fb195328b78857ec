"""The documentation site: complete, without a dead link, and usable from files, without a network."""

import os
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest
from helpers import ROOT

import hpo


def build(folder, site):
    """Build the site of the project in a folder."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", site]
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run([*map(str, command)], cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stderr
    return folder


class Links(HTMLParser):
    """What a page refers to, and what may be referred to in it."""

    def __init__(self, page):
        super().__init__()
        self.links, self.anchors = [], {"", "__"}
        self.feed(page.read_text())

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.links += [found[name] for name in ("href", "src") if found.get(name)]
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}


def test_no_link_and_no_anchor_of_the_built_site_is_dead(site):
    pages = {
        page: Links(page)
        for page in site.rglob("*.html")
        if "results" not in page.relative_to(site).parts and page.name != "404.html"  # its links are those of a server
    }
    dead = []
    for page, found in pages.items():
        for link in found.links:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            anchors = pages[target].anchors if target in pages else {""}
            if not target.is_file() or unquote(parts.fragment) not in anchors:
                dead.append((page.name, link))
    assert len(pages) > 40
    assert dead == []


def test_files_outside_docs_have_pages(site):
    assert {"index.html", "changes.html", "contributing.html"} <= {page.name for page in site.glob("*.html")}
    assert "population_size" in (site / "source/studies/mnist_pbt_vs_random.toml.html").read_text()
    assert not list(site.rglob("*.py"))


def test_a_page_that_the_list_of_pages_leaves_out_stops_the_build(tmp_path):
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("results"))
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "mkdocs.yml"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("hpo", "studies"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "docs/how_to/left_out.md").write_text("# Left out\n\n[dead](nowhere.md)\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    assert "how_to/left_out.md" in done.stderr
    assert "nowhere.md" in done.stderr


def test_the_python_page_shows_the_signature_and_docstring_of_every_name(site, open_page):
    page = open_page((site / "reference/python.html").as_uri())
    missing = [name for name in hpo.__all__ if not page.locator(f"[id='hpo.{name}']").count()]
    assert missing == []
    tune = page.locator(".doc-object:has(> [id='hpo.tune'])")
    assert "population_size: int | None" in tune.inner_text()
    assert "Raises" in tune.inner_text()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["index", "tutorial/first_loop", "reference/python", "how_to/tables"])
def test_a_page_fits_the_window_and_follows_the_colours_of_the_system(site, open_page, name, width, dark):
    page = open_page((site / f"{name}.html").as_uri(), width=width, dark=dark)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) < 200) == dark


def test_search_works_in_a_site_that_is_opened_from_files(site, open_page):
    page = open_page((site / "index.html").as_uri())
    page.locator(".md-search__input").fill("quantile_fraction")
    found = page.locator(".md-search-result__link").first
    found.wait_for()
    assert "reference/study_files.html" in " ".join(
        link.get_attribute("href") for link in page.locator(".md-search-result__link").all()
    )
