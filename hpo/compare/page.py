"""What is shown, as plain tables of text: the same for the terminal, HTML and Markdown, which only lay it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpo.compare.analysis import LEAST_RANKED_TASKS, Analysis, Comparison, Ranks, TaskResult
from hpo.compare.data import TaskData
from hpo.compare.digits import PLAIN, Digits, digits_of
from hpo.compare.names import display_names, listed
from hpo.compare.verdicts import FindingKind, scores
from hpo.report.doubts import doubts
from hpo.report.numbers import MINUS, NONE, clean, p_value, percent, plain, printable, signed, significant
from hpo.statistics.tasks import LEAST_TASKS, NewTasks, TaskEffect

_NAMED = 20  # missing values that are named one by one
_SPELT_OUT = 6  # comparisons whose verdicts are written in full; the tables hold the numbers of more

_TITLES: dict[FindingKind, str] = {
    "cannot show a difference": "no difference can be shown",
    "exploratory": "no verdict",
    "refused": "too few tasks",
}
_DECIDED: tuple[FindingKind, ...] = ("better", "worse")


@dataclass(frozen=True)
class Verdict:
    """One comparison in words.

    Attributes:
        title: the arms and what is said of them.
        kind: of the verdict on these tasks: a word for the style sheet.
        words: what is said of these tasks, and of tasks like these unless nothing is.
    """

    title: str
    kind: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Column:
    """A column of a table; one without any value is left out.

    Attributes:
        title: at its head.
        cells: from the top.
        foot: in a last row, below a line.
        group: a title above those of neighbouring columns with the same one.
        strong: whether it is emphasised.
    """

    title: str
    cells: Sequence[str]
    foot: str = ""
    group: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Section:
    """A table with a title, and how to read it; the first column names the row."""

    title: str
    columns: tuple[Column, ...]
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """The cells by row."""
        return tuple(zip(*(column.cells for column in self.columns), strict=True))

    @property
    def has_foot(self) -> bool:
        """Whether there is a last row below a line."""
        return any(column.foot for column in self.columns)

    @property
    def groups(self) -> tuple[tuple[str, int], ...]:
        """The titles over several columns, with the number of columns; empty without any."""
        runs: list[tuple[str, int]] = []
        for column in self.columns:
            if runs and runs[-1][0] == column.group:
                runs[-1] = (column.group, runs[-1][1] + 1)
            else:
                runs.append((column.group, 1))
        return tuple(runs) if any(group for group, _ in runs) else ()

    @property
    def flat_header(self) -> tuple[str, ...]:
        """One title per column, where there is room for one line of them only."""
        return tuple(f"{c.title}, {c.group}" if c.group else c.title for c in self.columns)


@dataclass(frozen=True)
class Page:
    """Everything that is shown, but for the figures.

    Attributes:
        title: what is compared.
        facts: names and values of what it rests on.
        cautions: what a reader must know before believing it.
        verdicts: of the comparisons.
        refusal: why nothing is said of tasks like these; None where something is.
        main: a row per comparison.
        means: a row per task; None for two arms, whose means are beside their differences.
        ranks: all pairs of arms by their ranks; None without ranks over tasks.
        tasks: a table per comparison, a row per task; empty for a task that is alone.
        values: a table per task, a row per seed; empty where each task has one value per arm, which the tables above show.
        conditions: what this design cannot say.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    cautions: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    refusal: str | None
    main: Section
    means: Section | None
    ranks: Section | None
    tasks: tuple[Section, ...]
    values: tuple[Section, ...]
    conditions: tuple[str, ...]


def build_page(analysis: Analysis) -> Page:
    """Put everything into words and tables."""
    return _Words(analysis).page()


class _Words:
    """An analysis in words; `arms` and `tasks` are the names shown for labels."""

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis
        self.arms = display_names(analysis.arms)
        self.tasks = display_names([task.name for task in analysis.tasks])
        self.digits = digits_of(analysis.tasks)
        self.single = len(analysis.tasks) == 1
        self.one = len(analysis.comparisons) == 1
        # A task with one value per arm has nothing to show below its means.
        self.means_are_values = not self.single and all(len(task.seeds) == 1 for task in analysis.tasks)

    def page(self) -> Page:
        found = self.analysis
        refused = [c.on_new_tasks.words for c in found.comparisons if c.on_new_tasks.kind == "refused"]
        count = "1 task" if self.single else f"{len(self.tasks)} tasks"
        title = f"{len(self.arms)} arms on {count}"
        return Page(
            title=title if found.metric is None else f"{clean(found.metric)} of {title}",
            facts=self.facts(),
            cautions=(*self.missing(), *self.doubtful(), *map(printable, found.cautions)),
            verdicts=self.verdicts(),
            refusal=refused[0] if refused else None,
            main=self.main(),
            means=None if len(self.arms) == 2 else self.means(),
            ranks=self.nemenyi(),
            tasks=() if self.single else tuple(map(self.task_by_task, found.comparisons)),
            values=() if self.means_are_values else tuple(self.values(task) for task in found.tasks),
            conditions=self.conditions(),
        )

    # --- words -----------------------------------------------------------------------------------------------------------

    def facts(self) -> tuple[tuple[str, str], ...]:
        found, family = self.analysis, len(self.analysis.comparisons)
        against = "all pairs of arms" if found.baseline is None else f"against {self.arms[found.baseline]}"
        if found.baseline is None and len(self.arms) > 2:
            against += f" (against one, with --baseline: {len(self.arms) - 1})"
        sources = {task.source for task in found.tasks}
        if len(sources) == 1:
            count = self.tasks[found.tasks[0].name] if self.single else len(found.tasks)
            tasks = f"{count}, from {printable(sources.pop())}"
        else:
            tasks = ", ".join(f"{self.tasks[task.name]} (from {printable(task.source)})" for task in found.tasks)
        if found.layout is not None:
            tasks += f" ({printable(found.layout)})"
        return (
            ("Metric", self.metrics()),
            ("Arms", ", ".join(self.arms.values())),
            ("Comparisons", f"{family}, {against}"),
            ("Alpha", f"{significant(found.alpha, 3)}, two-sided" + ("" if self.one else ", family-wise (Holm)")),
            ("Task" if self.single else "Tasks", tasks),
        )

    def metrics(self) -> str:
        better = {"minimize": "lower is better", "maximize": "higher is better"}
        tasks = self.analysis.tasks
        if self.analysis.metric is not None and not self.analysis.gains:
            return f"{clean(self.analysis.metric)}, {better[tasks[0].direction]}"
        return "; ".join(f"{self.tasks[t.name]}: {clean(t.metric)}, {better[t.direction]}" for t in tasks)

    def missing(self) -> list[str]:
        """Name every value that is not there."""
        absent = self.analysis.missing
        if not absent:
            return []
        named = [
            f"{self.tasks[m.task]}{f', seed {clean(m.seed)}' if m.seed else ''}: {self.arms[m.arm]}" for m in absent
        ]
        count = "1 value is" if len(absent) == 1 else f"{len(absent)} values are"
        them = "it" if len(absent) == 1 else "them"
        return [
            f"{count} missing: {listed(named, most=_NAMED, separator='; ')}. Each comparison leaves out the pairs that lack"
            f" {them}. Where a run failed or diverged, this favours its arm: give it the worst value instead."
        ]

    def verdicts(self) -> tuple[Verdict, ...]:
        """One verdict per comparison; of many, one line per winner, and then one for each other kind."""
        comparisons = self.analysis.comparisons
        if len(comparisons) <= _SPELT_OUT:
            return tuple(map(self.verdict, comparisons))
        groups: dict[tuple[str, str, FindingKind], list[Comparison]] = {}
        for comparison in sorted(comparisons, key=lambda c: c.finding.kind not in _DECIDED):
            kind = comparison.finding.kind
            winner, _ = self.ordered(comparison, kind)
            decided = kind in _DECIDED
            lead = f"{winner} is better than" if decided else f"{_short(kind).capitalize()}:"
            group = (lead, self.otherwise(comparison), "better" if decided else kind)
            groups.setdefault(group, []).append(comparison)
        return tuple(self.grouped(*group, members) for group, members in groups.items())

    def grouped(self, lead: str, otherwise: str, kind: FindingKind, members: Sequence[Comparison]) -> Verdict:
        """Comparisons of one verdict in one line; with the words of the first where they say what is missing."""
        pairs = [self.ordered(comparison, comparison.finding.kind) for comparison in members]
        named = [second if kind == "better" else f"{first} against {second}" for first, second in pairs]
        words = (printable(members[0].finding.words),) if kind in _TITLES else ()
        return Verdict(f"{lead} {', '.join(named)}{otherwise}", kind.replace(" ", "_"), words)

    def verdict(self, comparison: Comparison) -> Verdict:
        kind = comparison.finding.kind
        title = self.title(comparison, kind) + self.otherwise(comparison)
        findings = (comparison.on_these_tasks, comparison.on_new_tasks)
        words = [printable(finding.words) for finding in findings if finding and finding.kind != "refused"]
        return Verdict(title, kind.replace(" ", "_"), (*words, *self.doubts(comparison)))

    def doubts(self, comparison: Comparison) -> tuple[str, ...]:
        """What the differences say against the assumptions of the test, in sentences."""
        of_tasks = [
            words
            for result in comparison.tasks
            for words in doubts(result.effect.departures, "" if self.single else f"on {self.tasks[result.effect.task]}")
        ]
        return (*of_tasks, *doubts(comparison.new.departures))

    def doubtful(self) -> list[str]:
        """Where verdicts are not written in full: name the comparisons that the data speak against."""
        comparisons = self.analysis.comparisons
        named = [self.contrast(c) for c in comparisons if len(comparisons) > _SPELT_OUT and self.doubts(c)]
        if not named:
            return []
        return [
            "The tests assume that differences are symmetric, and that ties are few. The data speak against it, by skew or by "
            f"ties: {listed(named, most=_NAMED)}."
        ]

    def title(self, comparison: Comparison, kind: FindingKind) -> str:
        """A verdict in short; the better arm comes first."""
        first, second = self.ordered(comparison, kind)
        return f"{first} is better than {second}" if kind in _DECIDED else f"{first} against {second}: {_short(kind)}"

    def otherwise(self, comparison: Comparison) -> str:
        """What is said of tasks like these, in short; empty where it is the same, or nothing."""
        kind = comparison.on_new_tasks.kind
        if kind in ("refused", comparison.finding.kind):
            return ""
        said = f"{self.ordered(comparison, kind)[0]} is better" if kind in _DECIDED else _short(kind)
        return f" (on tasks like these: {said})"

    def ordered(self, comparison: Comparison, kind: FindingKind) -> tuple[str, str]:
        """The better arm and the other; the arm and its baseline where neither is."""
        a, b = self.arms[comparison.baseline], self.arms[comparison.arm]
        return (a, b) if kind == "worse" else (b, a)

    def contrast(self, comparison: Comparison) -> str:
        return contrast(comparison, self.arms, gains=self.analysis.gains)

    def conditions(self) -> tuple[str, ...]:
        """What the design cannot say: always said."""
        count, seeds = len(self.tasks), any(c.fixed is not None for c in self.analysis.comparisons)
        said = []
        if seeds:
            said.append(
                f"On {'this task' if self.single else 'these tasks'}: another set of seeds, with the same data, budgets,"
                " search spaces and test sets; nothing about other tasks."
            )
        if count >= LEAST_TASKS:
            said.append(
                f"On tasks like these: the population of tasks of which these {count} are a random sample. Whether there is"
                " one, no test can say: chosen tasks, and variants of one, are no random sample."
            )
            if seeds:
                said.append(
                    "These tasks and tasks like these are two families: the chance of any false verdict is at most alpha in each,"
                    " and at most twice alpha in both together."
                )
        said.append(
            "The test assumes that within a pair either arm could as well have had the other's value. Pairs are joined"
            f" by task{' and seed' if seeds else ''}."
        )
        if not self.single:
            said.append("An arm that is better on the average of tasks may be worse on one of them.")
        if not self.single and seeds:
            said += [
                "Seeds are independent between tasks: runs that share data or random numbers across tasks are not.",
                "On these tasks every pair weighs the same: a task with more seeds weighs more.",
            ]
        if not self.analysis.planned:
            of = "tasks and a number of seeds" if seeds else "and tasks"
            said.append(
                f"Nothing here tells what was planned: the p values hold for a metric, a baseline, {of} that were chosen before"
                " the results were seen."
            )
        return tuple(said)

    # --- tables ----------------------------------------------------------------------------------------------------------

    def main(self) -> Section:
        return self.on_one_task() if self.single else self.over_tasks()

    def on_one_task(self) -> Section:
        """A row per comparison, where a task is alone."""
        comparisons = self.analysis.comparisons
        columns = [
            Column("comparison", [self.contrast(c) for c in comparisons]),
            *self.numbers([c.tasks[0] for c in comparisons], [self.analysis.tasks[0]] * len(comparisons)),
        ]
        return _section("Comparison", columns, [self.differences(), *self.how_decided()])

    def over_tasks(self) -> Section:
        """A row per comparison: what is said of these tasks, and of tasks like these."""
        comparisons = self.analysis.comparisons
        fixed, new = [c.fixed for c in comparisons], [c.new for c in comparisons]
        seeds = [c.fixed is not None for c in comparisons]
        these, like = ("these tasks", "tasks like these") if any(seeds) else ("", "")
        shown = self.digits[comparisons[0].tasks[0].effect.task]
        estimates = [NONE if n.estimate is None else shown.difference(n.estimate, 2) for n in new]
        intervals = [
            self.interval(c, None if of_seeds else shown) for c, of_seeds in zip(comparisons, seeds, strict=True)
        ]
        columns = [
            Column("comparison", [self.contrast(c) for c in comparisons]),
            Column("pairs", [NONE if f is None else str(f.cells) for f in fixed], group=these),
            Column("standardized mean", [NONE if f is None else signed(f.standardized) for f in fixed], group=these),
            Column("its interval (level)", _where(seeds, intervals), group=these),
            *self.tested(
                [None if f is None else f.p_sign_flip for f in fixed], [c.fixed_p_holm for c in comparisons], these
            ),
            Column(
                "better / worse / tied on",
                [self.score(n) for n in new],
                group=like,
            ),
            Column("Hodges–Lehmann", estimates, group=like),
            Column("its interval (level)", _where([not of_seeds for of_seeds in seeds], intervals), group=like),
            *self.tested([n.p for n in new], [c.new_p_holm for c in comparisons], like),
            *self.bayesian(),
        ]
        return _section("Comparison", columns, [self.differences(), *self.how_decided()])

    def bayesian(self) -> list[Column]:
        """How probable it is that the arm is better, worse, or neither by more than the ROPE."""
        sides: list[tuple[float | None, ...]] = []
        for of_pair in (comparison.bayesian for comparison in self.analysis.comparisons):
            found = (None,) * 3 if of_pair is None else (of_pair.above, of_pair.within, of_pair.below)
            sides.append(found if self.analysis.direction == "maximize" else found[::-1])
        titles = ("P(better)", "P(ROPE)", "P(worse)")
        return [
            Column(title, [NONE if p is None else f"{p:.2f}" for p in cells])
            for title, cells in zip(titles, zip(*sides, strict=True), strict=True)
        ]

    def interval(self, comparison: Comparison, digits: Digits | None) -> str:
        """The interval that is shown, with its level; without digits it is one of standardized differences."""
        found = comparison.interval
        if found is None:
            return NONE
        bounds = PLAIN.bounds(found) if digits is None else digits.bounds(found)
        return f"{bounds} ({percent(1 - comparison.level)})"

    def score(self, found: NewTasks | TaskEffect) -> str:
        """How often the arm is better, worse, and equal, for example ``8 / 1 / 1``."""
        return " / ".join(map(str, scores(found, self.analysis.direction)))

    def tested(self, raw: Sequence[float | None], adjusted: Sequence[float | None], group: str = "") -> list[Column]:
        """The p that decides, and what it was adjusted from."""
        decides = self.analysis.exploratory is None
        if self.one:
            return [Column("p", [p_value(p) for p in adjusted], group=group, strong=decides)]
        return [
            Column("p", [p_value(p) for p in raw], group=group),
            Column("adjusted p", [p_value(p) for p in adjusted], group=group, strong=decides),
        ]

    def how_decided(self) -> list[str]:
        comparisons = self.analysis.comparisons
        fixed = [c.fixed for c in comparisons if c.fixed is not None]
        tests = {c.new.test for c in comparisons if c.new_p_holm is not None}
        notes = []
        if fixed and not self.single:
            notes.append(
                "Standardized: each task's differences divided by their root mean square; the mean is over all pairs."
            )
        if fixed:
            of_tasks = "; on tasks like these, task by task" if "sign-flip" in tests else ""
            notes.append(f"p: the sign-flip test's, signs flipped pair by pair{of_tasks}.")
        if "signed-rank" in tests:
            notes.append("p: the exact signed-rank test's over tasks; tasks on which the arms tie are left out.")
        if "sign" in tests:
            notes.append("p: the sign test's over tasks, whose metrics have no common unit.")
        if self.analysis.exploratory is not None:
            notes.append("Every p is exploratory and decides nothing.")
        elif not self.one:
            notes.append("The adjusted p decides.")
        if any(c.interval is not None for c in comparisons):
            held = "" if self.one else "; they do not all hold at once"
            notes.append(
                f"The interval has the level that p is compared with, so that 0 lies outside where it decides{held}."
            )
        if any(c.bayesian is not None for c in comparisons):
            rope = significant(self.analysis.rope or 0.0, 3)
            notes.append(
                f"P: the Bayesian signed-rank test's probabilities, with a ROPE of ± {rope}; they decide nothing."
            )
        if not all(f.exact for f in fixed):
            notes.append("Above 20 pairs, 100,000 sign patterns stand for all, drawn with a fixed seed.")
        return notes

    def differences(self) -> str:
        if self.analysis.gains:
            return "Gains are differences of arm and baseline, positive where the arm is better."
        return f"Differences are arm {MINUS} baseline."

    def task_by_task(self, comparison: Comparison) -> Section:
        compared = {result.effect.task for result in comparison.tasks}
        tasks = [task for task in self.analysis.tasks if task.name in compared]
        own = self.analysis.metric is None
        columns = [
            Column("task", [self.tasks[task.name] for task in tasks]),
            Column("metric", [clean(task.metric) if own else NONE for task in tasks]),
            *self.numbers(comparison.tasks, tasks, comparison),
        ]
        notes = (
            ["The p of a single task is not adjusted, and decides nothing here."] if not self.means_are_values else []
        )
        return _section(self.contrast(comparison), columns, notes)

    def numbers(
        self, results: Sequence[TaskResult], tasks: Sequence[TaskData], comparison: Comparison | None = None
    ) -> list[Column]:
        """What the pairs say: of one comparison a row per task, or else of the only task a row per comparison."""
        found = self.analysis
        rows = [(self.digits[task.name], r, r.effect) for task, r in zip(tasks, results, strict=True)]
        shown = found.comparisons[0] if self.one else comparison
        means = []
        if shown is not None:
            means = [
                Column(self.arms[shown.baseline], [d.mean(r.mean_baseline, e.n) for d, r, e in rows]),
                Column(self.arms[shown.arm], [d.mean(r.mean_arm, e.n) for d, r, e in rows]),
            ]
        p_values = [NONE if e.n == 1 and not self.single else p_value(e.p_sign_flip) for _, _, e in rows]
        tested, won, intervals = [Column("sign-flip p", p_values)], [NONE] * len(rows), [NONE] * len(rows)
        if self.single:
            tested = self.tested([e.p_sign_flip for _, _, e in rows], [c.fixed_p_holm for c in found.comparisons])
            intervals = [self.interval(c, d) for c, (d, _, _) in zip(found.comparisons, rows, strict=True)]
            won = [self.score(e) for _, _, e in rows]
        mean = "" if self.means_are_values else "mean "
        return [
            Column("pairs", [NONE if self.means_are_values else str(e.n) for _, _, e in rows]),
            Column("better / worse / tied", won),
            *means,
            Column(
                f"{mean}gain" if found.gains else f"{mean}difference", [d.difference(e.mean, e.n) for d, _, e in rows]
            ),
            Column("its interval (level)", intervals),
            Column("d_z", [plain(e.d_z) for _, _, e in rows]),
            *tested,
        ]

    def means(self) -> Section:
        found = self.analysis
        ranks = found.ranks
        mean_ranks = [NONE] * len(found.arms) if ranks is None else [f"{r:.2f}" for r in ranks.friedman.mean_ranks]
        columns = [
            Column("task", [self.tasks[of_task.task] for of_task in found.means], "" if ranks is None else "mean rank"),
            Column("seeds", [NONE if self.means_are_values else str(of_task.n) for of_task in found.means]),
        ]
        for i, name in enumerate(self.arms.values()):
            cells = [
                NONE if m.arms is None or (mean := m.arms[i]) is None else self.digits[m.task].mean(mean, m.n)
                for m in found.means
            ]
            columns.append(Column(name, cells, "" if ranks is None else mean_ranks[i]))
        if self.means_are_values:
            return _section("Values", columns, self.rank_notes(ranks))
        notes = ["Means are over the seeds of which every arm has a value."] if found.missing else []
        return _section("Means", columns, notes + self.rank_notes(ranks))

    def rank_notes(self, ranks: Ranks | None) -> list[str]:
        if ranks is None:
            return []
        found = ranks.friedman
        method = {"exact": "exact", "monte carlo": "from 100,000 arrangements", "chi-square": "chi-square"}[
            found.method
        ]
        complete = " that have values of all arms" if self.analysis.missing else ""
        notes = [
            f"Each of {found.n} {ranks.blocks}{complete} ranks the arms; 1 is best.",
            f"Friedman's chi-square {plain(found.statistic, 4)}, p = {p_value(found.p)} ({method}).",
        ]
        if ranks.nemenyi is None:
            return [
                *notes,
                f"No critical-difference diagram: its blocks are tasks, and it needs {LEAST_RANKED_TASKS} or more.",
            ]
        return [
            *notes,
            f"Nemenyi's critical difference of mean ranks is {significant(ranks.nemenyi.critical_difference, 3)} (alpha ="
            f" {significant(ranks.nemenyi.alpha, 3)}).",
            "Ranks decide nothing here: an arm's rank depends on which others there are.",
        ]

    def nemenyi(self) -> Section | None:
        """All pairs by their ranks, the best arm first."""
        ranks = self.analysis.ranks
        if ranks is None or ranks.nemenyi is None:
            return None
        found, names = ranks.nemenyi, list(self.arms.values())
        order = sorted(range(len(names)), key=lambda i: found.mean_ranks[i])
        columns = [
            Column("arm", [names[i] for i in order]),
            Column("mean rank", [f"{found.mean_ranks[i]:.2f}" for i in order]),
            *(Column(names[j], [NONE if i == j else p_value(found.p[i][j]) for i in order]) for j in order),
        ]
        notes = ["Adjusted for all pairs, and an approximation for many tasks."]
        return _section("Nemenyi's p of mean ranks", columns, notes)

    def values(self, task: TaskData) -> Section:
        arms, digits = self.analysis.arms, self.digits[task.name]
        columns = [
            Column("seed", [clean(seed) for seed in task.seeds]),
            *(
                Column(self.arms[arm], [digits.value(task.values[arm].get(seed)) for seed in task.seeds])
                for arm in arms
            ),
        ]
        name = self.tasks[task.name]
        return _section(name if self.analysis.metric is not None else f"{name}: {clean(task.metric)}", columns, [])


def _where(holds: Sequence[bool], cells: Sequence[str]) -> list[str]:
    return [cell if yes else NONE for yes, cell in zip(holds, cells, strict=True)]


def _short(kind: FindingKind) -> str:
    return _TITLES.get(kind, kind)


def contrast(comparison: Comparison, arms: dict[str, str], *, gains: bool) -> str:
    """A comparison's name: arm − baseline."""
    a, b = arms[comparison.baseline], arms[comparison.arm]
    return f"{b} over {a}" if gains else f"{b} {MINUS} {a}"


def _section(title: str, columns: Sequence[Column], notes: Sequence[str]) -> Section:
    first, *others = columns
    return Section(title, (first, *(c for c in others if any(cell != NONE for cell in c.cells))), tuple(notes))
