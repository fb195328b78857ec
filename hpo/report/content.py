"""What the report shows, in order: from a run and its figures to a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from hpo.report.comparison import comparison, limits, meanings, more_statistics
from hpo.report.data import RunData
from hpo.report.head import cautions, facts, state, verdicts
from hpo.report.numbers import clean
from hpo.report.page import Page, Picture, Section
from hpo.report.phrases import say
from hpo.report.segments_csv import MAX_SEEDS
from hpo.report.tables import (
    arms_table,
    environment_table,
    ledger_table,
    pairs_table,
    schedule_table,
    sessions_table,
)
from hpo.results.document import Results
from hpo.schedules.best import best_of


def build_page(run: RunData, pictures: Sequence[Picture]) -> Page:
    """Put a report together from a run and its figures."""
    results = run.results
    lead, texts, close = verdicts(results)
    best = best_of(results)
    return Page(
        title=clean(results.name),
        state=state(results),
        facts=facts(results),
        lead=lead,
        verdicts=texts,
        close=close,
        best=None if best is None else best.to_toml("."),  # its commands are for the report's own folder
        cautions=cautions(run),
        sections=tuple(_sections(run, pictures)),
        made=say("made"),
    )


def _sections(run: RunData, pictures: Sequence[Picture]) -> Iterator[Section]:
    results = run.results
    found = comparison(results)
    if found is not None:
        yield found
    yield Section("figures", pictures=tuple(_numbered(results, [p for p in pictures if p.seed is None])))
    yield from more_statistics(results)
    if said := say.items("assumptions", results=results):
        yield Section("assumptions", "Assumptions", items=said)
    title = "What this is conditional on" if found is None else "What this design cannot say"
    yield Section("limits", title, items=limits(results))
    if said := meanings(results):
        yield Section("meanings", "What each number means", items=said, level=3)
    title = "Every replicate" if found is None else "Every pair"
    if results.replicates:
        yield Section("pairs", title, tables=(pairs_table(results),))
    else:
        yield Section("pairs", title, words=(say("nothing_finished"),))
    yield Section("ledger", "Ledger", tables=(ledger_table(results),), notes=(say("ledger_note", results=results),))
    yield from _seeds(results, pictures)
    yield Section("arms", "Arms", tables=(arms_table(results),), whole=True)
    tables = (sessions_table(run.sessions),) if run.sessions else ()
    yield Section("environment", "How it was run", tables=(*tables, environment_table(results)), whole=True)


def _numbered(results: Results, pictures: Sequence[Picture]) -> Iterator[Picture]:
    for number, picture in enumerate(pictures, start=1):
        yield replace(picture, caption=f"Figure {number}. {say('caption', name=picture.name, results=results)}")


def _seeds(results: Results, pictures: Sequence[Picture]) -> Iterator[Section]:
    """Yield what is shown of each replicate: its figures, and the best schedules."""
    ordered = sorted(results.replicates, key=lambda replicate: replicate.seed)
    if not ordered:
        return
    left_out = len(ordered) - MAX_SEEDS
    words = (say("seeds_left_out", count=left_out),) if left_out > 0 else ()
    yield Section("seeds", "Replicate by replicate", words)
    for replicate in ordered[:MAX_SEEDS]:
        seed = replicate.seed
        yield Section("seed", f"Seed {seed}", pictures=tuple(p for p in pictures if p.seed == seed), level=3)
        tables = tuple(schedule_table(results, replicate, label) for label in results.labels)
        best = "schedules as tables" if not results.is_function else "trials"
        yield Section("schedules", f"Seed {seed}: the best {best}", tables=tables, level=3, whole=True)
