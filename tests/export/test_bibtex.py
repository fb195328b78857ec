"""`hpo export --bibtex`: the entries are BibTeX, and those of what a study used, and no others, are written."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import PBT, RANDOM, ROOT, command_here, document, run

from hpo.core import registry
from hpo.export.bibtex import references, to_bibtex
from hpo.results.file import read_results

PUBLISHED = ROOT / "docs" / "results" / "mnist_pbt_vs_random"
REQUIRED = {
    "article": {"journal", "volume", "pages"},
    "inproceedings": {"booktitle"},
    "incollection": {"booktitle", "publisher", "pages"},
    "book": {"publisher"},
    "techreport": {"institution"},
    "misc": set(),
}
PLAIN = {
    *("selection:none", "perturbation:none", "perturbation:chain", "perturbation:per_parameter", "pruner:none"),
    *("task:coin", "task:all_tie", "task:function", "task:loop"),
}
"""Built-in plug-ins without a paper."""


def entries(text):
    """Parse BibTeX strictly: return (type, fields) by key."""
    found = {}
    while text := re.sub(r"\A(?:\s+|%[^\n]*\n)+", "", text):
        start = re.match(r"@([a-z]+)\{([a-z0-9]+),", text)
        assert start, text[:80]
        assert start[2] not in found
        text, fields = text[start.end() :], {}
        while not (end := re.match(r"\s*\}(?:\n|\Z)", text)):
            name = re.match(r"\s*([a-z]+) += \{", text)
            assert name, text[:80]
            depth, at = 1, name.end()
            while depth:
                depth += {"{": 1, "}": -1}.get(text[at], 0)
                at += 1
            assert text[at] == ","
            assert name[1] not in fields
            fields[name[1]] = " ".join(text[name.end() : at - 1].split())
            text = text[at + 1 :]
        found[start[2]] = (start[1], fields)
        text = text[end.end() :]
    return found


def test_every_entry_is_bibtex_with_what_its_type_needs():
    text = "\n\n".join(reference.entry for reference in references())
    assert text.isascii()
    found = entries(text)
    assert len(found) == len(references()) > 50
    for key, (kind, fields) in found.items():
        assert REQUIRED[kind] | {"author", "title", "year"} <= fields.keys(), key
        assert re.fullmatch(r"(18|19|20)\d\d", fields["year"]), key
        assert fields["year"] in key
        surname = re.sub(r"[^a-z]", "", re.sub(r"\\.", "", fields["author"].partition(",")[0].lower()))
        assert key.startswith(surname), key
        assert all(", " in author for author in fields["author"].split(" and ") if author != "others"), key
        assert re.fullmatch(r"10\.\d{4,}/\S+", fields.get("doi", "10.1000/x")), key
        assert re.fullmatch(r"\d{4}\.\d{5}", fields.get("eprint", "1234.12345")), key
        if re.fullmatch(r"\d.*\d", pages := fields.get("pages", "")):
            first, last = map(int, pages.split("--"))
            assert first < last, key
    assert [*found] == sorted(found)


def builtin():
    """Yield `kind:name` of every built-in plug-in."""
    for plugins in (registry.optimizers, *registry.NESTED.values(), registry.tasks):
        yield from (f"{plugins.kind}:{name}" for name in plugins._builtin)


def test_every_built_in_plugin_has_a_paper_and_every_paper_belongs_to_something():
    used = {use for reference in references() for use in reference.used_by}
    named = {use.partition(".")[0] for use in used}
    assert {*builtin()} - named == PLAIN
    of_plugins = {use for use in named if use.partition(":")[0] not in ("library", "statistic")}
    assert of_plugins <= {*builtin()}
    for use in used:
        plugin, _, option = use.partition(".")
        if option:
            kind, _, name = plugin.partition(":")
            (plugins,) = [each for each in (registry.optimizers, *registry.NESTED.values()) if each.kind == kind]
            assert option.partition("=")[0] in plugins.get(name).__dataclass_fields__, use
    assert all(reference.used_by for reference in references())


def test_the_list_of_references_in_the_docs_has_the_same_papers():
    page = (ROOT / "docs" / "reference" / "optimizers.md").read_text().partition("## References")[2]
    listed = re.findall(r"^- (.*?) \((\d{4})\)\. (.*)$", page, re.MULTILINE)
    assert len(listed) > 20
    found = entries("\n\n".join(reference.entry for reference in references()))
    titles = {(fields["year"], plain(fields["title"])) for _, fields in found.values()}
    for _, year, rest in listed:
        known = any(year == of and plain(rest).startswith(title[:40]) for of, title in titles)
        assert known or rest.startswith("Tune: a research platform"), rest


def plain(text):
    return re.sub(r"[^a-z]", "", text.lower())


def test_a_study_cites_what_it_used_and_nothing_else(tmp_path, capsys):
    from hpo.export.__main__ import main

    assert main([str(PUBLISHED), "--bibtex", "-"]) == 0
    said = capsys.readouterr()
    found = set(entries(said.out))
    assert found >= {
        "jaderberg2017pbt",
        "bergstra2012random",
        "lecun1998gradient",
        "fisher1935design",
        "holm1979simple",
    }
    assert found >= {"ansel2024pytorch", "harris2020numpy", "friedman1937ranks", "searle1992variance"}
    assert not found & {"akiba2019optuna", "li2018hyperband", "zhang2021importance", "ramdas2020admissible"}
    assert (
        "% optimizer pbt, perturbation multiply, selection exploit_best, selection truncation\n@misc{jader" in said.out
    )
    assert "usedby" not in said.out
    assert said.err == ""


OPTUNA = {"label": "o", "optimizer": "optuna", "initial": 2}


@pytest.mark.parametrize(
    ("arm", "cited", "others"),
    [
        (
            OPTUNA | {"sampler": "tpe"},
            {"akiba2019optuna", "bergstra2011algorithms", "falkner2018bohb"},
            {"jones1998efficient"},
        ),
        (OPTUNA | {"sampler": {"name": "tpe", "multivariate": False}}, {"bergstra2013making"}, {"falkner2018bohb"}),
        (OPTUNA | {"sampler": {"name": "cmaes", "lr_adapt": True}}, {"nomura2023learning"}, {"hamano2022margin"}),
        (
            OPTUNA | {"sampler": {"name": "qmc", "qmc_type": "halton"}},
            {"halton1960efficiency"},
            {"sobol1967distribution"},
        ),
        (
            {"label": "q", "optimizer": "quasi_random"},
            {"sobol1967distribution", "owen1998scrambling"},
            {"owen2017halton"},
        ),
        (
            PBT | {"selection": {"name": "backtrack", "otherwise": {"name": "t_test"}}},
            {"zhang2021importance", "welch1947generalization"},
            {"parkerholder2020provably"},
        ),
        (
            PBT | {"perturbation": {"name": "chain", "steps": [{"name": "multiply"}, {"name": "pb2"}]}},
            {"parkerholder2020provably", "bogunovic2016timevarying"},
            {"zhang2021importance"},
        ),
    ],
)
def test_options_decide_what_is_cited(tmp_path, arm, cited, others):
    run(document(arms=(RANDOM, arm), replicates=1), tmp_path / "run")
    found = entries(to_bibtex(read_results(tmp_path / "run")))
    assert cited <= found.keys()
    assert not others & found.keys()
    assert {"bergstra2012random", "jaderberg2017pbt"} <= found.keys()  # the baseline, and the task


def test_optimizers_without_an_entry_are_named():
    results = read_results(PUBLISHED)
    own = replace(results.arms[0], optimizer="my\nown}")
    said = to_bibtex(replace(results, arms=(own, *results.arms[1:])))
    assert "the optimizer my own}\n" in said
    assert set(entries(said)) >= {"jaderberg2017pbt"}


def test_a_bibliography_is_never_replaced(tmp_path):
    path = tmp_path / "references.bib"
    assert command_here("export", PUBLISHED, "--bibtex", path)[0] == 0
    text = path.read_text()
    assert command_here("export", PUBLISHED, "--bibtex", path)[0] == 0
    path.write_text(text + "@misc{mine}\n")
    assert command_here("export", PUBLISHED, "--bibtex", path)[0] == 2
    assert path.read_text().endswith("@misc{mine}\n")
    assert command_here("export", PUBLISHED, "--bibtex", Path("-"), "--frame", "-")[0] == 2
