"""The content of the report as plain tables of text: the same for HTML and Markdown, which only lay it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpo.report.cautions import cautions
from hpo.report.gallery import MAX_SEEDS, Picture
from hpo.report.numbers import amount, clean, setting, significant, test_quantity
from hpo.report.records import Outcome, Results, Run
from hpo.report.tables import Table, comparisons_table, ledger_table, pairs_table, sittings_table

_EXPLORATORY = "extended"  # the kind of verdict whose p may be shown, but decides nothing

_RULE = (
    "The Holm-adjusted p of the exact two-sided sign-flip test on the mean difference alone decides; "
    "the t interval and the t test stand beside it."
)


@dataclass(frozen=True)
class Verdict:
    """One comparison's outcome in words."""

    title: str
    kind: str
    words: str


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
    in_progress: bool
    facts: tuple[tuple[str, str], ...]
    verdicts: tuple[Verdict, ...]
    cautions: tuple[str, ...]
    decides: str  # what stands over the exact test's columns
    comparisons: Table | None
    notes: tuple[str, ...]
    pairs: Table
    pairs_picture: Picture | None
    ledger: Table
    seeds: tuple[SeedSection, ...]
    seeds_left_out: int
    conditions: tuple[str, ...]
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
        state=_state(results),
        in_progress=results.in_progress,
        facts=_facts(results),
        verdicts=_verdicts(results),
        cautions=tuple(cautions(run)),
        decides="exploratory" if _exploratory(results) else "decides",
        comparisons=comparisons_table(results),
        notes=_notes(results),
        pairs=pairs_table(results, shown),
        pairs_picture=next((picture for picture in pictures if picture.seed is None), None),
        ledger=ledger_table(results),
        seeds=seeds,
        seeds_left_out=max(0, len(results.replicates) - MAX_SEEDS),
        conditions=_conditions(results),
        arms=tuple((clean(a.label), clean(a.optimizer), _options(a.options)) for a in results.arms),
        environment=_environment(results),
        sittings=sittings_table(run),
    )


def _exploratory(results: Results) -> bool:
    return any(c.verdict.startswith(_EXPLORATORY) for c in results.comparisons)


def _state(results: Results) -> str:
    planned = len(results.planned_seeds)
    if results.in_progress:
        return f"in progress ({results.finished} of {planned})"
    return f"{planned} of {planned} planned replicates finished"


def _facts(results: Results) -> tuple[tuple[str, str], ...]:
    task, plan = results.task, results.study.get("study")
    metric = task.metric(results.metric)
    better = "higher is better" if metric.direction == "maximize" else "lower is better"
    facts = [
        ("Task", clean(task.name)),
        ("Metric", f"{clean(metric.name)} on the test set, {better}"),
        ("Chosen by", f"{clean(task.primary)} on the validation set"),
    ]
    if results.baseline is not None:
        facts.append(("Baseline", clean(results.baseline)))
    if results.alpha is not None and results.baseline is not None:
        facts.append(("Alpha", f"{significant(results.alpha, 3)}, two-sided"))
    facts.append(("Planned seeds", _seed_list(results.planned_seeds)))
    facts.append(("Finished", f"{results.finished} of {len(results.planned_seeds)}"))
    population = plan.get("population_size") if isinstance(plan, dict) else None
    total = amount(results.intervals * results.interval, clean(task.unit))
    budget = f"{total} per member in intervals of {amount(results.interval, clean(task.unit))}"
    facts.append(("Budget", f"{population} members, {budget}" if isinstance(population, int) else budget))
    if task.data:
        facts.append(("Examples", ", ".join(f"{clean(name)} {count:,}" for name, count in task.data)))
    return tuple(facts)


def _seed_list(seeds: Sequence[int]) -> str:
    if len(seeds) > 3 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds[:40])) + (" …" if len(seeds) > 40 else "")


def _verdicts(results: Results) -> tuple[Verdict, ...]:
    if results.in_progress:
        words = (
            f"In progress ({results.finished} of {len(results.planned_seeds)} planned replicates finished): pairs "
            "and means only. No test is shown before the plan is done, since looking early makes false positives."
        )
        return (Verdict("No verdict yet", "in_progress", words),) if results.baseline is not None else ()
    return tuple(
        Verdict(
            f"{clean(c.arm)} against {clean(c.baseline)}",
            c.verdict if c.verdict.isidentifier() else "other",
            "".join(character if character.isprintable() else " " for character in c.words),
        )
        for c in results.comparisons
    )


def _notes(results: Results) -> tuple[str, ...]:
    """How to read the table of comparisons."""
    if not results.comparisons:
        return ()
    metric = results.task.metric(results.metric)
    side = "Negative" if metric.direction == "minimize" else "Positive"
    notes = [f"Differences are arm − baseline on the test set, paired by seed. {side} is better than the baseline."]
    if metric.is_rate:
        notes.append("pp: percentage points.")
    if not results.in_progress:
        if _exploratory(results):
            notes.append("Seeds or arms were added after a test result was seen: the p values are exploratory.")
        else:
            notes.append(_RULE)
        if results.finished == 1:
            notes.append("With one replicate there are estimates and no intervals: its spread is unknown.")
    return tuple(notes)


def _seeds(results: Results, pictures: Sequence[Picture]) -> tuple[SeedSection, ...]:
    ordered = sorted(results.replicates, key=lambda replicate: replicate.seed)
    return tuple(
        SeedSection(
            replicate.seed,
            tuple(picture for picture in pictures if picture.seed == replicate.seed),
            tuple(
                _schedule(results, arm.label, replicate.arms[arm.label])
                for arm in results.arms
                if arm.label in replicate.arms
            ),
        )
        for replicate in ordered[:MAX_SEEDS]
    )


def _schedule(results: Results, label: str, outcome: Outcome) -> Schedule:
    names = list(dict.fromkeys([p.name for p in results.task.space] + [n for s in outcome.schedule for n in s.hparams]))
    rows = []
    for step in outcome.schedule:
        start, stop = step.start * results.interval, step.stop * results.interval
        values = (setting(step.hparams.get(name)) for name in names)
        rows.append((f"{start:g} to {stop:g}", str(step.member), *values))
    header = (f"{clean(results.task.unit)}", "member", *map(clean, names))
    selected = ""
    if outcome.selected:
        member, interval = outcome.selected
        when = amount((interval + 1) * results.interval, clean(results.task.unit))
        shown = test_quantity(results.task.metric(results.task.primary), results.task)
        value = shown.text(outcome.validation.get(results.task.primary))
        selected = f"member {member} at {when}, validation {shown.name} {value}"
    return Schedule(clean(label), selected, header, tuple(rows))


def _conditions(results: Results) -> tuple[str, ...]:
    """What the numbers hold for: always said."""
    has_test = "test" in dict(results.task.data)
    said = [f"This task ({clean(results.task.name)}), with this search space and this budget."]
    if results.task.data:
        said.append("This development set: every seed splits the same examples anew.")
    if has_test:
        said.append(
            "This test set: the interval over seeds says how another seed would come out on the same test examples, "
            "and nothing about new ones. More seeds do not change that."
        )
    if len({arm.stream for arm in results.arms}) > 1:
        said.append(
            "The arms have different noise streams: they share initial populations, and not their training noise."
        )
    return tuple(said)


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
    for name, value in results.environment.items():
        if value is None:
            continue
        text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
        lines.append((clean(name), "".join(c if c.isprintable() else " " for c in text)))
    return tuple(lines)
