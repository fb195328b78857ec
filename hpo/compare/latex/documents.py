"""The files for LaTeX, from templates that escape every value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hpo.compare.analysis import Analysis
from hpo.compare.latex.escape import escape
from hpo.compare.latex.tables import comparison_tables, legend, means_table, measured
from hpo.compare.names import display_names
from hpo.compare.phrases import say
from hpo.core.run_files import FIGURES
from hpo.core.version import __version__
from hpo.report.numbers import clean, listed
from hpo.report.page import Page, Picture

#: How every file begins; by it, a file of ours is known.
MADE_BY = "% Written by hpo compare"
NAMES = ("how_we_compared", "table_means", "table_comparison", "figures", "preview")
#: How many comparisons are written out in the paragraph.
_WRITTEN_OUT = 6


def documents(analysis: Analysis, page: Page, pictures: Sequence[Picture]) -> dict[str, str]:
    """Return the content of each LaTeX file by its name, the captions of figures included.

    Args:
        analysis: every number.
        page: the same in words.
        pictures: the figures.
    """
    captions = {picture.name: _caption(picture, analysis) for picture in pictures}
    values = {
        "found": analysis,
        "page": page,
        "means": means_table(analysis),
        "legend": legend(analysis),
        "tables": comparison_tables(analysis),
        "measured": measured(analysis),
        "captions": captions,
        **_facts(analysis),
    }
    found = {f"{name}.tex": _render(name, values) for name in NAMES}
    return found | {
        f"{FIGURES}/{name}.caption.tex": _render("caption", {"text": text}) for name, text in captions.items()
    }


def _caption(picture: Picture, analysis: Analysis) -> str:
    return say("caption", name=picture.name, found=analysis, single=len(analysis.tasks) == 1)


def _facts(analysis: Analysis) -> dict[str, object]:
    """Return the numbers of the paragraph and the captions."""
    seeds = sorted({means.n for means in analysis.means})
    counts = sorted({sum(result.effect.n for result in contrast.tasks) for contrast in analysis.comparisons})
    fixed = [contrast.fixed for contrast in analysis.comparisons if contrast.fixed is not None]
    names = display_names(analysis.arms)
    findings = [
        finding for c in analysis.comparisons for finding in (c.on_these_tasks, c.on_new_tasks) if finding is not None
    ]
    written_out = findings if len(analysis.comparisons) <= _WRITTEN_OUT else []
    return {
        "arms": list(names.values()),
        "tasks": list(display_names([task.name for task in analysis.tasks]).values()),
        "baseline": None if analysis.baseline is None else names[analysis.baseline],
        "seeds": _count(seeds, "seed"),
        "spread": any(means.sds for means in analysis.means),
        "seeded": bool(fixed),
        "scope": "" if len(analysis.tasks) == 1 else " on these tasks" if fixed else " on tasks like these",
        "counts": _count(counts, "pair"),
        "exact": all(each.exact for each in fixed),
        "new_tests": sorted({c.new.test for c in analysis.comparisons if c.new_p_holm is not None}),
        "new_tasks": _count(sorted({c.new.n for c in analysis.comparisons if c.new_p_holm is not None}), "task"),
        "words": [finding.words for finding in written_out if finding.kind != "refused"],
        "undecided": any(finding.kind in ("inconclusive", "cannot show a difference") for finding in findings),
        "intervals": any(contrast.interval is not None for contrast in analysis.comparisons),
    }


def _count(counts: Sequence[int], what: str) -> str:
    """Return the counts as a number of things, or as a range of numbers."""
    if not counts:
        return ""
    least, most = counts[0], counts[-1]
    return f"{least if least == most else f'{least} to {most}'} {what}{'' if most == 1 else 's'}"


def _render(name: str, values: Mapping[str, object]) -> str:
    text = _environment().get_template(f"{name}.tex.j2").render(values)
    return f"{MADE_BY} {__version__}; the next hpo compare --latex to this folder replaces it.\n{text.strip()}\n"


@cache
def _environment() -> Environment:
    """The templates. In them, << >> is a value, <% %> a statement and <# #> a comment."""
    environment = Environment(
        loader=PackageLoader("hpo.compare"),
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
        finalize=lambda value: value if isinstance(value, Markup) else escape(value),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"clean": clean, "listed": listed, "latex": Markup}
    environment.globals["version"] = __version__
    return environment
