"""The content of the report as plain tables of text: the same for HTML and Markdown, which only lay it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hpo.report.best import best_toml
from hpo.report.captions import captions
from hpo.report.cautions import cautions
from hpo.report.gallery import Picture
from hpo.report.headline import Headline, facts, headline, state
from hpo.report.limits import assumptions, limits
from hpo.report.numbers import amount, clean, printable, setting, test_quantity
from hpo.report.records import Run
from hpo.report.sections import Statistics, statistics
from hpo.report.segment_rows import MAX_SEEDS
from hpo.report.tables import Table, ledger_table, pairs_table, sittings_table
from hpo.results.document import ArmResult, ArmSettings, Results


@dataclass(frozen=True)
class Schedule:
    """One arm's best schedule in one replicate, as a table."""

    arm: str
    selected: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class SeedSection:
    """What is shown of one replicate."""

    seed: int
    pictures: tuple[Picture, ...]
    schedules: tuple[Schedule, ...]


@dataclass(frozen=True)
class Page:
    """Everything that a report says."""

    title: str
    state: str
    facts: tuple[tuple[str, str], ...]
    headline: Headline | None
    best: str | None
    cautions: tuple[str, ...]
    statistics: Statistics | None
    pictures: tuple[Picture, ...]  # of the whole study
    captions: Mapping[str, str]  # of those pictures, by their names
    assumptions: tuple[str, ...]
    limits: tuple[str, ...]
    pairs: Table
    ledger: Table
    seeds: tuple[SeedSection, ...]
    seeds_left_out: int
    arms: tuple[tuple[str, str, str], ...]
    environment: tuple[tuple[str, str], ...]
    sittings: Table | None


def build_page(run: Run, pictures: Sequence[Picture]) -> Page:
    """Put a report together from a run and its figures."""
    results = run.results
    shown = test_quantity(results.task.metric(results.metric), results.task)
    seeds = _seeds(results, pictures)
    return Page(
        title=clean(results.name),
        state=state(results),
        facts=facts(results),
        headline=headline(results),
        best=best_toml(results),
        cautions=tuple(cautions(run)),
        statistics=statistics(results),
        pictures=tuple(picture for picture in pictures if picture.seed is None),
        captions=captions(results),
        assumptions=tuple(assumptions(results)),
        limits=tuple(limits(results)),
        pairs=pairs_table(results, shown),
        ledger=ledger_table(results),
        seeds=seeds,
        seeds_left_out=max(0, len(results.replicates) - MAX_SEEDS),
        arms=tuple((clean(arm.label), clean(arm.optimizer), _arm_options(arm)) for arm in results.arms),
        environment=_environment(results),
        sittings=sittings_table(run),
    )


def _seeds(results: Results, pictures: Sequence[Picture]) -> tuple[SeedSection, ...]:
    ordered = sorted(results.replicates, key=lambda replicate: replicate.seed)
    return tuple(
        SeedSection(
            replicate.seed,
            tuple(picture for picture in pictures if picture.seed == replicate.seed),
            tuple(_schedule(results, label, replicate.arms[label]) for label in results.labels),
        )
        for replicate in ordered[:MAX_SEEDS]
    )


def _schedule(results: Results, label: str, outcome: ArmResult) -> Schedule:
    space = results.task.space
    names = list(dict.fromkeys([*space, *(name for step in outcome.schedule for name in step.hparams)]))
    rows = []
    for step in outcome.schedule:
        start, stop = step.start * results.interval, step.stop * results.interval
        values = (setting(step.hparams.get(name), space.get(name)) for name in names)
        rows.append((f"{start:g} to {stop:g}", str(step.member), *values))
    header = (f"{clean(results.task.unit)}", "member", *map(clean, names))
    when = amount((outcome.selected.interval + 1) * results.interval, clean(results.task.unit))
    shown = test_quantity(results.task.metric(results.task.primary), results.task)
    value = shown.text(outcome.validation.get(results.task.primary))
    selected = f"member {outcome.selected.member} at {when}, validation {shown.name} {value}"
    return Schedule(clean(label), selected, header, tuple(rows))


def _arm_options(arm: ArmSettings) -> str:
    """What an arm is made of; one that replays another's answer is said to."""
    own: dict[str, object] = {"derived_from": arm.derived_from, "replay": arm.replay, "without": list(arm.without)}
    return _options({name: value for name, value in own.items() if value} | dict(arm.options))


def _options(options: object) -> str:
    """Options as they would stand in a study file, on one line."""
    if isinstance(options, dict):
        return ", ".join(f"{clean(str(key))} = {_option(value)}" for key, value in options.items())
    return _option(options)


def _option(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + _options(value) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_option(item) for item in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{clean(value)}"' if isinstance(value, str) else str(value)


def _environment(results: Results) -> tuple[tuple[str, str], ...]:
    lines: list[tuple[str, str]] = []
    for name, value in vars(results.environment).items():
        if value is None:
            continue
        text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
        lines.append((clean(name), printable(text)))
    return tuple(lines)
