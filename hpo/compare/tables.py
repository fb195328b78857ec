"""The tables of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hpo.compare.analysis import Analysis, Contrast, TaskResult
from hpo.compare.data import TaskData
from hpo.compare.decimals import PLAIN, TaskDigits, digits_of
from hpo.compare.names import display_names
from hpo.compare.phrases import say
from hpo.compare.verdicts import scores
from hpo.report.numbers import MINUS, NONE, clean, p_value, percent, plain, signed
from hpo.report.page import Column, Table
from hpo.statistics.friedman import Nemenyi
from hpo.statistics.tasks import NewTasks, TaskEffect


def contrast_name(contrast: Contrast, arms: Mapping[str, str], *, gains: bool) -> str:
    """A comparison's name: arm − baseline."""
    a, b = arms[contrast.baseline], arms[contrast.arm]
    return f"{b} over {a}" if gains else f"{b} {MINUS} {a}"


class Tables:
    """The tables of one analysis; columns without any value are left out.

    Attributes:
        single: whether there is one task only.
        means_are_values: whether each task has one value per arm, and so nothing to show below its means.
    """

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis
        self.single = len(analysis.tasks) == 1
        self.means_are_values = not self.single and all(len(task.seeds) == 1 for task in analysis.tasks)
        self._arms = display_names(analysis.arms)
        self._tasks = display_names([task.name for task in analysis.tasks])
        self._digits = digits_of(analysis.tasks)
        self._one = len(analysis.comparisons) == 1

    def main(self) -> Table:
        """A row per comparison."""
        comparisons = self.analysis.comparisons
        name = Column("comparison", [contrast_name(c, self._arms, gains=self.analysis.gains) for c in comparisons])
        if not self.single:
            return Table((name, *self._over_tasks())).without_empty()
        alone = [self.analysis.tasks[0]] * len(comparisons)
        return Table((name, *self._numbers([c.tasks[0] for c in comparisons], alone))).without_empty()

    def main_notes(self) -> tuple[str, ...]:
        """How to read it."""
        found = self.analysis
        fixed = [c.fixed for c in found.comparisons if c.fixed is not None]
        decided = say.items(
            "how_decided",
            fixed=fixed,
            tests={c.new.test for c in found.comparisons if c.new_p_holm is not None},
            single=self.single,
            exploratory=found.exploratory,
            one=self._one,
            interval=any(c.interval is not None for c in found.comparisons),
            rope=found.rope if any(c.bayesian is not None for c in found.comparisons) else None,
            exact=all(f.exact for f in fixed),
        )
        return (say("differences", gains=found.gains), *decided)

    def _over_tasks(self) -> list[Column]:
        """The conclusions for these tasks, and for tasks like these."""
        comparisons = self.analysis.comparisons
        fixed, new = [c.fixed for c in comparisons], [c.new for c in comparisons]
        seeds = [f is not None for f in fixed]
        these, like = ("these tasks", "tasks like these") if any(seeds) else ("", "")
        shown = self._digits[comparisons[0].tasks[0].effect.task]
        estimates = [NONE if n.estimate is None else shown.difference(n.estimate, 2) for n in new]
        intervals = [
            self._interval(c, None if of_seeds else shown) for c, of_seeds in zip(comparisons, seeds, strict=True)
        ]
        raw_fixed, raw_new = [None if f is None else f.p_sign_flip for f in fixed], [n.p for n in new]
        return [
            Column("pairs", [NONE if f is None else str(f.cells) for f in fixed], group=these),
            Column("standardized mean", [NONE if f is None else signed(f.standardized) for f in fixed], group=these),
            Column("interval (level)", _where(seeds, intervals), group=these),
            *self._tested(raw_fixed, [c.fixed_p_holm for c in comparisons], these),
            Column("better / worse / tied on", [self._score(n) for n in new], group=like),
            Column("Hodges–Lehmann", estimates, group=like),
            Column("interval (level)", _where([not of_seeds for of_seeds in seeds], intervals), group=like),
            *self._tested(raw_new, [c.new_p_holm for c in comparisons], like),
            *self._bayesian(),
        ]

    def _bayesian(self) -> list[Column]:
        """How probable it is that the arm is better, worse, or neither by more than the ROPE."""
        sides: list[tuple[float | None, ...]] = []
        for of_pair in (contrast.bayesian for contrast in self.analysis.comparisons):
            found = (None,) * 3 if of_pair is None else (of_pair.above, of_pair.within, of_pair.below)
            sides.append(found if self.analysis.direction == "maximize" else found[::-1])
        titles = ("P(better)", "P(ROPE)", "P(worse)")
        return [
            Column(title, [NONE if p is None else f"{p:.2f}" for p in cells])
            for title, cells in zip(titles, zip(*sides, strict=True), strict=True)
        ]

    def _interval(self, contrast: Contrast, digits: TaskDigits | None) -> str:
        """The interval that is shown, with its level; without digits it is one of standardized differences."""
        found = contrast.interval
        if found is None:
            return NONE
        bounds = PLAIN.bounds(found) if digits is None else digits.bounds(found)
        return f"{bounds} ({percent(1 - contrast.level)})"

    def _score(self, found: NewTasks | TaskEffect) -> str:
        """How often the arm is better, worse, and equal, for example ``8 / 1 / 1``."""
        return " / ".join(map(str, scores(found, self.analysis.direction)))

    def _tested(self, raw: Sequence[float | None], adjusted: Sequence[float | None], group: str = "") -> list[Column]:
        """The p that decides, and what it was adjusted from."""
        decides = self.analysis.exploratory is None
        if self._one:
            return [Column("p", [p_value(p) for p in adjusted], group=group, strong=decides)]
        return [
            Column("p", [p_value(p) for p in raw], group=group),
            Column("adjusted p", [p_value(p) for p in adjusted], group=group, strong=decides),
        ]

    def task_by_task(self, contrast: Contrast) -> Table:
        """A row per task."""
        compared = {result.effect.task for result in contrast.tasks}
        tasks = [task for task in self.analysis.tasks if task.name in compared]
        own = self.analysis.metric is None
        columns = [
            Column("task", [self._tasks[task.name] for task in tasks]),
            Column("metric", [clean(task.metric) if own else NONE for task in tasks]),
            *self._numbers(contrast.tasks, tasks, contrast),
        ]
        return Table(tuple(columns)).without_empty()

    def _numbers(
        self, results: Sequence[TaskResult], tasks: Sequence[TaskData], contrast: Contrast | None = None
    ) -> list[Column]:
        """What the pairs say: of one comparison a row per task, or else of the only task a row per comparison."""
        found = self.analysis
        rows = [(self._digits[task.name], r, r.effect) for task, r in zip(tasks, results, strict=True)]
        shown = found.comparisons[0] if self._one else contrast
        means = []
        if shown is not None:
            means = [
                Column(self._arms[shown.baseline], [d.mean(r.mean_baseline, e.n) for d, r, e in rows]),
                Column(self._arms[shown.arm], [d.mean(r.mean_arm, e.n) for d, r, e in rows]),
            ]
        p_values = [NONE if e.n == 1 and not self.single else p_value(e.p_sign_flip) for _, _, e in rows]
        tested, won, intervals = [Column("sign-flip p", p_values)], [NONE] * len(rows), [NONE] * len(rows)
        if self.single:
            tested = self._tested([e.p_sign_flip for _, _, e in rows], [c.fixed_p_holm for c in found.comparisons])
            intervals = [self._interval(c, d) for c, (d, _, _) in zip(found.comparisons, rows, strict=True)]
            won = [self._score(e) for _, _, e in rows]
        difference = f"{'' if self.means_are_values else 'mean '}{'gain' if found.gains else 'difference'}"
        return [
            Column("pairs", [NONE if self.means_are_values else str(e.n) for _, _, e in rows]),
            Column("better / worse / tied", won),
            *means,
            Column(difference, [d.difference(e.mean, e.n) for d, _, e in rows]),
            Column("interval (level)", intervals),
            Column("d_z", [plain(e.d_z) for _, _, e in rows]),
            *tested,
        ]

    def means(self) -> Table:
        """A row per task: the arms' means, and their mean ranks."""
        found, ranks = self.analysis, self.analysis.ranks
        mean_ranks = [""] * len(found.arms) if ranks is None else [f"{r:.2f}" for r in ranks.friedman.mean_ranks]
        columns = [
            Column(
                "task", [self._tasks[of_task.task] for of_task in found.means], "" if ranks is None else "mean rank"
            ),
            Column("seeds", [NONE if self.means_are_values else str(of_task.n) for of_task in found.means]),
        ]
        for i, name in enumerate(self._arms.values()):
            cells = [
                NONE if m.arms is None or (mean := m.arms[i]) is None else self._digits[m.task].mean(mean, m.n)
                for m in found.means
            ]
            columns.append(Column(name, cells, mean_ranks[i]))
        return Table(tuple(columns)).without_empty()

    def nemenyi(self, found: Nemenyi) -> Table:
        """All pairs by their ranks, the best arm first."""
        names = list(self._arms.values())
        order = sorted(range(len(names)), key=lambda i: found.mean_ranks[i])
        columns = [
            Column("arm", [names[i] for i in order]),
            Column("mean rank", [f"{found.mean_ranks[i]:.2f}" for i in order]),
            *(Column(names[j], [NONE if i == j else p_value(found.p[i][j]) for i in order]) for j in order),
        ]
        return Table(tuple(columns)).without_empty()

    def values(self, task: TaskData) -> Table:
        """A row per seed of one task."""
        digits = self._digits[task.name]
        columns = [
            Column("seed", [clean(seed) for seed in task.seeds]),
            *(
                Column(self._arms[arm], [digits.value(task.values[arm].get(seed)) for seed in task.seeds])
                for arm in self.analysis.arms
            ),
        ]
        return Table(tuple(columns)).without_empty()


def _where(holds: Sequence[bool], cells: Sequence[str]) -> list[str]:
    return [cell if yes else NONE for yes, cell in zip(holds, cells, strict=True)]
