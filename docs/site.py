"""Hooks of MkDocs: the navigation, and pages for files outside `docs/`.

docs/README.md lists the pages once, for readers on GitHub and for the site's navigation. The README of the project is the home
page. A link to a file that is no page, such as a study or an example, leads to a page that shows it; nothing is executed.
"""

import os
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PROJECT = {"README.md": "index.md", "docs/README.md": "pages.md", "CONTRIBUTING.md": "contributing.md"}
PROJECT |= {"CHANGELOG.md": "changes.md", "LICENSE": "source/LICENSE.md"}
LANGUAGES = {".py": "python", ".toml": "toml", "": "text"}
"""Files that get a page which shows them, by suffix. All others, such as pictures, are linked as they are."""
LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(#[^)\s]*)?(?=\))")
FENCE = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| \[(.*?)\]\((.*?)\)", re.MULTILINE)

origins: dict[str, Path] = {}
"""The file that a page shows, if the page is no file of `docs/` itself."""


def on_config(config):
    """Set the navigation to the tables of docs/README.md."""
    titles = {"hpo": "README.md", "All pages": "docs/README.md"}
    titles |= {"Contributing": "CONTRIBUTING.md", "Changes": "CHANGELOG.md"}
    config.nav = [{"Home": [{title: PROJECT[name]} for title, name in titles.items()]}]
    for part in (DOCS / "README.md").read_text().split("\n## ")[1:]:
        config.nav.append({part.partition(":")[0]: [{title: page} for title, page in ROW.findall(part)]})
    if "MIKE_DOCS_VERSION" in os.environ:  # only a site of several versions has the file that lists them
        config.extra["version"] = {"provider": "mike"}


def on_files(files, config):
    """Add a page for each linked file that is not a page yet."""
    origins.clear()
    files.remove(files.get_file_from_path("README.md"))
    waiting = [ROOT / name for name in PROJECT] + list(DOCS.rglob("*.md"))
    seen = set()
    while waiting:
        path = waiting.pop()
        if path in seen or not ours(path):
            continue
        seen.add(path)
        if path.suffix == ".md":
            waiting += [linked(path, link) for link, _ in LINK.findall(FENCE.sub("", path.read_text()))]
        if path.suffix in (".md", *LANGUAGES) and files.get_file_from_path(address(path)) is None:
            origins[address(path)] = path
            files.append(File.generated(config, address(path), content=shown(path)))
    return files


def on_page_markdown(markdown, page, **_):
    """Let links lead to where the site has the file, and add the docstrings of names to the page on Python."""
    here = page.file.src_uri
    source = origins.get(here, DOCS / here)

    def moved(link):
        target = linked(source, link[1])
        if not ours(target):
            return link[0]
        return os.path.relpath(address(target), Path(here).parent) + (link[2] or "")

    parts = FENCE.split(markdown)
    parts[::2] = [LINK.sub(moved, part) for part in parts[::2]]
    if here == "reference/python.md":
        parts[::2] = [re.sub(r"(?:^\|.*\n?)+", with_docstrings, part, flags=re.MULTILINE) for part in parts[::2]]
    return "".join(parts)


def linked(page, link):
    return Path(os.path.normpath(page.parent / link))


def ours(path):
    """Whether a file of the project is there; the build itself reports links to anything else."""
    return path.is_relative_to(ROOT) and path.is_file()


def address(path):
    """Where the site has a file of the project, relative to its root; of a page the Markdown file."""
    name = path.relative_to(ROOT).as_posix()
    if name in PROJECT:
        return PROJECT[name]
    if name.startswith("docs/results/"):
        return name.removeprefix("docs/").replace("/report.md", "/report.html")
    if path.suffix in LANGUAGES:
        return f"source/{name}.md"
    return name.removeprefix("docs/") if path.is_relative_to(DOCS) else f"source/{name}"


def shown(path):
    text = path.read_text()
    if path.suffix == ".md":
        return text
    title, fence = path.relative_to(ROOT).as_posix(), "`" * 6
    head = "---\nsearch: {exclude: true}\nhide: [navigation, toc]\n---\n"
    return f"{head}# {title}\n\n{fence}{LANGUAGES[path.suffix]}\n{text}\n{fence}\n"


def with_docstrings(table):
    names = re.findall(r"^\| `(\w+)` \|", table[0], re.MULTILINE)
    return "\n\n".join([table[0], *(f"::: hpo.{name}" for name in names)]) + "\n"
