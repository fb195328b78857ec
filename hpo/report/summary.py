"""A result in a few lines, for a console or a notebook: the answer first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hpo.core.amounts import amount
from hpo.core.parameters import Categorical, Parameter
from hpo.core.segments import Value
from hpo.report import head
from hpo.report.numbers import clean, printable, test_quantity
from hpo.report.page import Table
from hpo.report.render import templates
from hpo.results.document import Results
from hpo.schedules.best import Best


def in_words(results: Results, best: Best | None, where: Path, *, stopped: bool = False) -> str:
    """Return the verdicts, the best hyperparameters, and how much was done, a line each.

    Args:
        results: the results.
        best: their best answer.
        where: the files are.
        stopped: whether the time limit ended the study.
    """
    space = results.task.space
    hparams = {} if best is None else best.hparams
    found = ", ".join(f"{clean(name)} = {_plain(value, space.get(name))}" for name, value in hparams.items())
    at_first = " at first" if best is not None and best.changes else ""
    return "\n".join(
        [
            *(title for title, _ in verdicts(results)),
            f"{_answer(results, best)}: {found}{at_first}" if found else _answer(results, best),
            f"{_work(results, stopped)}, in {printable(str(where))}",
        ]
    )


def headline(results: Results, best: Best | None) -> str:
    """Return the verdicts in one line; if nothing is compared, the best value."""
    return "; ".join(title for title, _ in verdicts(results)) or _answer(results, best)


def in_html(results: Results, best: Best | None, where: Path, *, stopped: bool = False) -> str:
    """Return the same as HTML with small tables; it needs nothing from outside."""
    space = results.task.space
    hparams = {} if best is None else best.hparams
    return (
        templates()
        .get_template("summary.html.j2")
        .render(
            verdicts=[*verdicts(results)],
            arms=_arms(results) if len(results.arms) > 1 and results.replicates else None,
            answer=_answer(results, best),
            hparams=[(clean(name), _plain(value, space.get(name))) for name, value in hparams.items()],
            changes=best is not None and best.changes,
            work=_work(results, stopped),
            where=printable(str(where)),
        )
    )


def _plain(value: Value, parameter: Parameter | None) -> str:
    """Return a hyperparameter's value as one would type it."""
    if isinstance(parameter, Categorical) or isinstance(value, str):
        return clean(str(value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _answer(results: Results, best: Best | None) -> str:
    if best is None:
        if not results.replicates:
            return "no replicate has finished"
        return "no trial has a value" if results.is_function else "the answer of every search diverged"
    name = clean(best.metric)
    text = f"best {results.validated}{name} {'' if best.final else 'so far '}{best.value:.4g}"
    if results.tested and best.final:
        test = best.test.get(best.metric)
        text += f", test {name} " + ("undefined" if test is None else f"{test:.4g}")
    several = len(results.arms) > 1 or len(results.replicates) > 1
    return text + (f" (arm {clean(best.arm)}, seed {best.seed})" if several else "")


def verdicts(results: Results) -> Iterator[tuple[str, str]]:
    """Yield the verdict of each comparison in a sentence, and the numbers and doubts behind it."""
    for found in head.verdicts(results)[1]:
        yield found.title, " ".join(found.words)


def _work(results: Results, stopped: bool) -> str:
    done, planned = len(results.replicates), len(results.planned_seeds)
    seeds = amount(done, "seeds") if done == planned else f"{done} of {planned} seeds"
    size = amount(results.population_size, "trials" if results.is_function else "members")
    arms = clean(results.labels[0]) if len(results.arms) == 1 else amount(len(results.arms), "arms")
    each = [replicate.arms.values() for replicate in results.replicates]
    diverged = sum(arm.diverged for arms in each for arm in arms)
    parts = (["stopped by the time limit"] if stopped else []) + [size, arms]
    parts += ([seeds] if planned > 1 else []) + ([f"{diverged:,} diverged"] if diverged else [])
    return f"{clean(results.name)}: {', '.join(parts)}"


def _arms(results: Results) -> Table:
    """Return the mean of every arm over the seeds."""
    shown = test_quantity(results.task.metric(results.metric), results.task)
    rows = []
    for label in results.labels:
        values = [replicate.arms[label].test.get(results.metric) for replicate in results.replicates]
        known = [value for value in values if value is not None]
        mean = sum(known) / len(known) if len(known) == len(values) else None
        rows.append((clean(label), shown.text(mean, extra=1)))
    over = f", mean of {len(results.replicates)} seeds" if len(results.replicates) > 1 else ""
    return Table.of(("arm", f"{results.scored} {shown.name}{over}"), rows)
