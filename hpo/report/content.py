"""What the report shows, in order: from a run and its figures to a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from hpo.core.run_files import MODELS, model_name
from hpo.report.chart_data import chart_data
from hpo.report.comparison import comparison, limits, meanings, more_statistics
from hpo.report.data import RunData
from hpo.report.head import cautions, facts, state, verdicts
from hpo.report.numbers import clean
from hpo.report.page import Chart, Form, Page, Picture, Section
from hpo.report.phrases import say
from hpo.report.segments_csv import MAX_SEEDS
from hpo.report.tables import (
    arms_table,
    environment_table,
    ledger_table,
    pairs_table,
    schedule_table,
    sessions_table,
    unfinished_table,
)
from hpo.results.document import Results
from hpo.schedules.best import Best, best_of
from hpo.schedules.forms import forms


def build_page(run: RunData, pictures: Sequence[Picture]) -> Page:
    """Put a report together from a run and its figures."""
    results = run.results
    lead, texts, close = verdicts(results)
    best = best_of(results)
    pictures = _numbered(results, pictures)
    answer, found = _ANSWER[results.comparison is not None], comparison(results)
    figure = tuple(picture for picture in pictures if picture.name == answer)
    charts = _charts(results)
    return Page(
        title=clean(results.name),
        state=state(results),
        facts=facts(results),
        lead=lead,
        verdicts=texts,
        close=close,
        answer=(
            *_figure(Section("answer", pictures=figure, charts=tuple(charts[:1])), results),
            *((found,) if found else ()),
            *_unfinished(results),
        ),
        forms=() if best is None else tuple(Form(name, name.lower(), text) for name, text in forms(best).items()),
        commands="" if best is None else _commands(run, best),
        changes=best is not None and best.changes,
        cautions=cautions(run),
        sections=tuple(
            _sections(run, [picture for picture in pictures if picture.name != answer], charts[1:], found is not None)
        ),
        made=say("made"),
        data=chart_data(run) if charts else {},
    )


_ANSWER = {True: "pairs", False: "incumbent"}
"""The figure that shows the answer, by whether arms are compared."""


def _figure(found: Section, results: Results) -> Iterator[Section]:
    """Yield the figure of the answer; without a verdict it follows the folded forms of the answer, so it has a title."""
    if found.pictures or found.charts:
        yield found if results.comparison else replace(found, title="The search")


def _unfinished(results: Results) -> Iterator[Section]:
    if results.unfinished:
        yield Section("unfinished", "Not finished yet", tables=(unfinished_table(results),), notes=(say("unfinished"),))


def _commands(run: RunData, best: Best) -> str:
    """Where the best model is, and the command that trains it again; empty without either."""
    lines = []
    if model_name(best.arm, best.seed) in run.models:
        lines.append(f"# its model: {MODELS}/{model_name(best.arm, best.seed)}")
    elif run.results.tested:
        lines.append(f"# its model is not here: there is no {MODELS}/{model_name(best.arm, best.seed)}")
    if (command := best.replay_command(".")) is not None:
        lines += ["# train it again, in this folder:", command]
    return "\n".join(lines)


def _sections(run: RunData, pictures: Sequence[Picture], charts: Sequence[Chart], compared: bool) -> Iterator[Section]:
    results = run.results
    of_study = tuple(picture for picture in pictures if picture.seed is None)
    if of_study or charts:
        yield Section("figures", "Figures", pictures=of_study, charts=tuple(charts))
    yield from more_statistics(results)
    if said := say.items("assumptions", results=results):
        yield Section("assumptions", "Assumptions", items=said)
    title = "What this design cannot say" if compared else "What this is conditional on"
    yield Section("limits", title, items=limits(results))
    if said := meanings(results):
        yield Section("meanings", "What each number means", items=said, level=3)
    title = "Every pair" if compared else "Every replicate"
    if results.replicates:
        yield Section("pairs", title, tables=(pairs_table(results),))
    else:
        yield Section("pairs", title, words=(say("nothing_finished"),))
    yield Section("ledger", "Ledger", tables=(ledger_table(results),), notes=(say("ledger_note", results=results),))
    yield from _seeds(results, pictures, has_rows=run.table is not None)
    yield Section("arms", "Arms", tables=(arms_table(results),), only="html")
    tables = (sessions_table(run.sessions),) if run.sessions else ()
    yield Section("environment", "How it was run", tables=(*tables, environment_table(results)), only="html")


def _numbered(results: Results, pictures: Sequence[Picture]) -> list[Picture]:
    """Number the figures of the study in the order of the page: that of the answer comes first."""
    of_study = [picture for picture in pictures if picture.seed is None]
    of_study.sort(key=lambda picture: picture.name != _ANSWER[results.comparison is not None])
    captions = [f"Figure {n}. {say('caption', name=p.name, results=results)}" for n, p in enumerate(of_study, start=1)]
    numbered = [replace(picture, caption=caption) for picture, caption in zip(of_study, captions, strict=True)]
    return [*numbered, *(picture for picture in pictures if picture.seed is not None)]


def _seeds(results: Results, pictures: Sequence[Picture], *, has_rows: bool) -> Iterator[Section]:
    """Yield what is shown of each replicate: its figures, and the best schedules."""
    ordered = sorted(results.replicates, key=lambda replicate: replicate.seed)
    if not ordered:
        return
    left_out = len(ordered) - MAX_SEEDS
    words = (say("seeds_left_out", count=left_out),) if left_out > 0 else ()
    names = (_OF_TRIALS if results.is_function else _OF_MEMBERS) if has_rows else ("schedule",)
    charts = tuple(_chart(results, name) for name in names)
    yield Section("seeds", "Replicate by replicate", words, charts=charts)
    for replicate in ordered[:MAX_SEEDS]:
        of_seed = tuple(picture for picture in pictures if picture.seed == replicate.seed)
        yield Section("seed", f"Seed {replicate.seed}", pictures=of_seed, level=3, only="markdown")
    tables = tuple(
        schedule_table(results, replicate, label) for replicate in ordered[:MAX_SEEDS] for label in results.labels
    )
    title = "The best trials as tables" if results.is_function else "The best schedules as tables"
    yield Section("schedules", title, tables=tables, level=3, only="html")


_OF_MEMBERS = ("lineage", "members", "hparams", "schedule", "optuna")
_OF_TRIALS = ("members", "optuna")
"""The charts of replicates."""


def _chart(results: Results, name: str, number: int | None = None) -> Chart:
    caption = say("caption", name=name, results=results, chart=True)
    title = say("chart_title", name=name, results=results)
    return Chart(name, title, caption if number is None else f"Figure {number}. {caption}", folded=name == "optuna")


def _charts(results: Results) -> list[Chart]:
    """Number the charts of the study in the order of the page: that of the answer comes first."""
    answer = _ANSWER[results.comparison is not None]
    known = {
        "pairs": bool(results.replicates),
        "differences": any(c.differences for c in results.comparisons),
        "anytime": any(c.anytime and c.anytime.path for c in results.comparisons),
        "incumbent": bool(results.replicates),
        "bands": not results.anytime and any(c.incumbent and c.incumbent.budgets for c in results.comparisons),
    }
    names = sorted((name for name, there in known.items() if there), key=lambda name: name != answer)
    return [_chart(results, name, number) for number, name in enumerate(names, start=1)]
