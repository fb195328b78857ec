"""What a comparison shows, in order: from its numbers to a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hpo.compare.analysis import LEAST_RANKED_TASKS, Analysis, Contrast
from hpo.compare.names import display_names
from hpo.compare.phrases import say
from hpo.compare.tables import Tables, contrast_name
from hpo.compare.verdicts import TasksVerdictKind
from hpo.report.head import doubts
from hpo.report.numbers import clean, printable
from hpo.report.page import Page, Picture, Section, VerdictText
from hpo.statistics.tasks import LEAST_TASKS

_SPELT_OUT = 6  # comparisons whose verdicts are written in full; the tables hold the numbers of more
_DECIDED: tuple[TasksVerdictKind, ...] = ("better", "worse")


def build_page(analysis: Analysis, pictures: Sequence[Picture] = ()) -> Page:
    """Put everything into words and tables.

    Args:
        analysis: every number.
        pictures: the figures of `hpo.compare.figures`, if they are shown.
    """
    return _Content(analysis, {picture.name: picture for picture in pictures}).page()


class _Content:
    """An analysis in words; `arms` and `tasks` are the names shown for labels."""

    def __init__(self, analysis: Analysis, pictures: dict[str, Picture]) -> None:
        self.analysis = analysis
        self.pictures = pictures
        self.arms = display_names(analysis.arms)
        self.tasks = display_names([task.name for task in analysis.tasks])
        self.tables = Tables(analysis)

    def page(self) -> Page:
        found = self.analysis
        refused = [c.on_new_tasks.words for c in found.comparisons if c.on_new_tasks.kind == "refused"]
        title = f"{len(self.arms)} arms on {'1 task' if self.tables.single else f'{len(self.tasks)} tasks'}"
        return Page(
            title=title if found.metric is None else f"{clean(found.metric)} of {title}",
            facts=self.facts(),
            cautions=(*self.missing(), *self.doubtful(), *map(printable, found.cautions)),
            verdicts=self.verdicts(),
            close=refused[0] if refused else "",
            answer=tuple(self.answer()),
            sections=tuple(self.sections()),
            made=say("made"),
        )

    def answer(self) -> Iterator[Section]:
        yield Section("figures", pictures=self.drawn("tasks"))
        yield Section("comparison", "Comparison", tables=(self.tables.main(),), notes=self.tables.main_notes())

    def sections(self) -> Iterator[Section]:
        found, tables = self.analysis, self.tables
        if len(self.arms) > 2:
            notes: tuple[str, ...] = ()
            if found.missing and not tables.means_are_values:
                notes = (say("means_over"),)
            if found.ranks is not None:
                incomplete = bool(found.missing)
                notes += say.items("ranks", found=found.ranks, incomplete=incomplete, least=LEAST_RANKED_TASKS)
            title = "Values" if tables.means_are_values else "Means"
            yield Section("means", title, tables=(tables.means(),), notes=notes)
            yield Section("ranks", pictures=self.drawn("critical-difference"))
        if not tables.single:
            yield Section("tasks", "Task by task")
            notes = () if tables.means_are_values else (say("single_task_p"),)
            for c in found.comparisons:
                yield Section("task", self.name(c), tables=(tables.task_by_task(c),), notes=notes, level=3)
        if found.ranks is not None and found.ranks.nemenyi is not None:
            table = tables.nemenyi(found.ranks.nemenyi)
            yield Section("nemenyi", "Nemenyi's p of mean ranks", tables=(table,), notes=(say("nemenyi"),))
        seeds = any(c.fixed is not None for c in found.comparisons)
        said = say.items("limits", tasks=len(self.tasks), least=LEAST_TASKS, seeds=seeds, planned=found.planned)
        yield Section("limits", "What this design cannot say", items=said)
        if not tables.means_are_values:
            yield Section("values", "Every value")
            for task in found.tasks:
                name = self.tasks[task.name]
                title = name if found.metric is not None else f"{name}: {clean(task.metric)}"
                yield Section("value", title, tables=(tables.values(task),), level=3)

    def drawn(self, name: str) -> tuple[Picture, ...]:
        return (self.pictures[name],) if name in self.pictures else ()

    # --- the head --------------------------------------------------------------------------------------------------------

    def facts(self) -> tuple[tuple[str, str], ...]:
        found, single = self.analysis, self.tables.single
        baseline = None if found.baseline is None else self.arms[found.baseline]
        sources = {task.source for task in found.tasks}
        if len(sources) == 1:
            count = self.tasks[found.tasks[0].name] if single else len(found.tasks)
            tasks = f"{count}, from {printable(sources.pop())}"
        else:
            tasks = ", ".join(f"{self.tasks[task.name]} (from {printable(task.source)})" for task in found.tasks)
        if found.layout is not None:
            tasks += f" ({printable(found.layout)})"
        against = say("against", baseline=baseline, arms=len(self.arms))
        return (
            ("Metric", self.metrics()),
            ("Arms", ", ".join(self.arms.values())),
            ("Comparisons", f"{len(found.comparisons)}, {against}"),
            ("Alpha", say("alpha", value=found.alpha, one=len(found.comparisons) == 1)),
            ("Task" if single else "Tasks", tasks),
        )

    def metrics(self) -> str:
        tasks = self.analysis.tasks
        if self.analysis.metric is not None and not self.analysis.gains:
            return f"{clean(self.analysis.metric)}, {say('better', direction=tasks[0].direction)}"
        return "; ".join(
            f"{self.tasks[t.name]}: {clean(t.metric)}, {say('better', direction=t.direction)}" for t in tasks
        )

    def missing(self) -> tuple[str, ...]:
        """Name every value that is not there."""
        named = [
            f"{self.tasks[m.task]}{f', seed {clean(m.seed)}' if m.seed else ''}: {self.arms[m.arm]}"
            for m in self.analysis.missing
        ]
        return (say("missing", named=named),) if named else ()

    def doubtful(self) -> tuple[str, ...]:
        """Where verdicts are not written in full: name the comparisons that the data speak against."""
        comparisons = self.analysis.comparisons
        named = [self.name(c) for c in comparisons if len(comparisons) > _SPELT_OUT and self.doubts(c)]
        return (say("doubtful", named=named),) if named else ()

    def doubts(self, contrast: Contrast) -> tuple[str, ...]:
        """What the differences say against the assumptions of the test."""
        of_tasks = [
            words
            for result in contrast.tasks
            for words in doubts(
                result.effect.departures, "" if self.tables.single else f"on {self.tasks[result.effect.task]}"
            )
        ]
        return (*of_tasks, *doubts(contrast.new.departures))

    def name(self, contrast: Contrast) -> str:
        return contrast_name(contrast, self.arms, gains=self.analysis.gains)

    # --- verdicts --------------------------------------------------------------------------------------------------------

    def verdicts(self) -> tuple[VerdictText, ...]:
        """One verdict per comparison; of many, one line per winner, and then one for each other kind."""
        comparisons = self.analysis.comparisons
        if len(comparisons) <= _SPELT_OUT:
            return tuple(map(self.verdict, comparisons))
        groups: dict[tuple[str, str, TasksVerdictKind], list[Contrast]] = {}
        for contrast in sorted(comparisons, key=lambda c: c.finding.kind not in _DECIDED):
            kind = contrast.finding.kind
            winner, _ = self.ordered(contrast, kind)
            decided = kind in _DECIDED
            lead = f"{winner} is better than" if decided else f"{say('short', kind=kind).capitalize()}:"
            group = (lead, self.otherwise(contrast), "better" if decided else kind)
            groups.setdefault(group, []).append(contrast)
        return tuple(self.grouped(*group, members) for group, members in groups.items())

    def grouped(self, lead: str, otherwise: str, kind: TasksVerdictKind, members: Sequence[Contrast]) -> VerdictText:
        """Comparisons of one verdict in one line, with the first one's explanation if it names what is missing."""
        pairs = [self.ordered(contrast, contrast.finding.kind) for contrast in members]
        named = [second if kind == "better" else f"{first} against {second}" for first, second in pairs]
        explained = kind not in ("better", "inconclusive")
        words = (printable(members[0].finding.words),) if explained else ()
        return VerdictText(f"{lead} {', '.join(named)}{otherwise}", kind.replace(" ", "-"), words)

    def verdict(self, contrast: Contrast) -> VerdictText:
        kind = contrast.finding.kind
        first, second = self.ordered(contrast, kind)
        title = (
            f"{first} is better than {second}"
            if kind in _DECIDED
            else f"{first} against {second}: {say('short', kind=kind)}"
        )
        findings = (contrast.on_these_tasks, contrast.on_new_tasks)
        words = [printable(finding.words) for finding in findings if finding and finding.kind != "refused"]
        return VerdictText(title + self.otherwise(contrast), kind.replace(" ", "-"), (*words, *self.doubts(contrast)))

    def otherwise(self, contrast: Contrast) -> str:
        """The conclusion for tasks like these, in short; empty if there is none or it is the same."""
        kind = contrast.on_new_tasks.kind
        if kind in ("refused", contrast.finding.kind):
            return ""
        said = f"{self.ordered(contrast, kind)[0]} is better" if kind in _DECIDED else say("short", kind=kind)
        return f" (on tasks like these: {said})"

    def ordered(self, contrast: Contrast, kind: TasksVerdictKind) -> tuple[str, str]:
        """The better arm and the other; the arm and its baseline where neither is."""
        a, b = self.arms[contrast.baseline], self.arms[contrast.arm]
        return (a, b) if kind == "worse" else (b, a)
