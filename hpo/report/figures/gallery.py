"""Which figures a report has, and drawing only those whose input changed.

`figures/index.json` keeps for every figure a hash of its input (the data, the drawing code, matplotlib's version) and
of the files that came of it. A figure is left alone when all of them still agree.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from hpo.core.errors import InputError, did_you_mean
from hpo.core.files import inside, remove_regular, write_atomic
from hpo.core.parsing import read_bytes, read_json
from hpo.report.comparison import per_member
from hpo.report.data import RunData
from hpo.report.figures import anytime, canvas, differences, incumbent, members, trials
from hpo.report.page import Picture
from hpo.report.segments_csv import MAX_SEEDS, MemberSpread, SegmentRow
from hpo.results.document import Replicate, Results

Spreads = Mapping[str, MemberSpread]
INDEX = "index.json"
SeedFigure = Callable[[Results, Replicate, Sequence[SegmentRow], Spreads], Figure | None]
#: Of the whole study: a figure's name and title, and what draws it.
STUDY_FIGURES: tuple[tuple[str, str, Callable[[Results], Figure | None]], ...] = (
    ("differences", "Differences and their intervals", differences.differences),
    ("anytime", "The e-process over the seeds", anytime.anytime),
    ("incumbent", "Best model so far over the budget", incumbent.incumbent),
)
#: Per replicate: a figure's name and title, and what draws it.
SEED_FIGURES: tuple[tuple[str, str, SeedFigure], ...] = (
    ("validation", "Validation curves of every member", members.validation),
    ("hyperparameters", "Hyperparameters tried", members.hyperparameters),
    ("schedule", "Best schedules", lambda results, replicate, *_: members.schedule(results, replicate)),
)
#: The same of a function.
TRIAL_FIGURES: tuple[tuple[str, str, SeedFigure], ...] = (
    ("trials", "Every trial", trials.trials),
    ("hyperparameters", "Values against each hyperparameter", trials.slices),
)


@dataclass(frozen=True)
class _Plan:
    name: str
    title: str
    seed: int | None
    source: object  # whose repr determines the figure
    draw: Callable[[], Figure | None]


def build_figures(run: RunData, folder: Path) -> list[Picture]:
    """Draw every figure into a folder as PNG, SVG and PDF; return those there are, in the report's order."""
    folder.mkdir(exist_ok=True)
    known = _read_index(inside(folder, INDEX))
    index: dict[str, dict[str, str]] = {}
    pictures = []
    with canvas.look():
        for plan in _plans(run):
            try:
                picture, entry = _make(plan, folder, known.get(plan.name))
            except (ArithmeticError, ValueError) as error:  # the rest of the report is not lost for it
                what = f"the figure {plan.name} could not be drawn: {type(error).__name__}: {error}"
                warnings.warn(what, RuntimeWarning, stacklevel=2)
                continue
            index[plan.name] = entry
            if picture:
                pictures.append(picture)
    write_atomic(inside(folder, INDEX), (json.dumps(index, indent=1, sort_keys=True) + "\n").encode())
    return pictures


def draw(run: RunData, name: str, seed: int | None) -> Figure:
    """Draw one figure.

    Args:
        run: the run.
        name: of the figure, without a seed.
        seed: of a figure of one replicate.

    Raises:
        InputError: there is no such figure, or nothing to show in it.
    """
    # Those of other seeds need not be digested.
    table = None if run.table is None or seed is None else run.table[run.table["seed"] == seed]
    plans = {(plan.name.partition("-seed-")[0], plan.seed): plan for plan in _plans(replace(run, table=table))}
    plan = plans.get((name, None)) or plans.get((name, seed))
    if plan is None:
        names = list(dict.fromkeys(known for known, _ in plans))
        seeds = sorted({each for known, each in plans if known == name and each is not None})
        allowed = f"with one of the seeds {seeds}" if seeds else f"one of {', '.join(names)}"
        hint = did_you_mean(name, names)
        raise InputError(f"figure {name!r}: allowed: {allowed}" + (f" ({hint})" if hint and not seeds else ""))
    with canvas.look():
        figure = plan.draw()
    if figure is None:
        raise InputError(f"figure {name!r}: there is nothing to show in it yet, or in a study like this")
    return figure


def _plans(run: RunData) -> Iterator[_Plan]:
    results = run.results
    yield _Plan(
        "pairs",
        "Every pair",
        None,
        (results.task, results.arms, results.metric, [(r.seed, r.arms) for r in results.replicates]),
        lambda: members.pairs(results),
    )
    for name, title, draw in STUDY_FIGURES:
        source: object = (results.task, results.arms, results.comparison, results.comparisons, results.in_progress)
        if name == "incumbent":
            curves = [(r.seed, [o.incumbent for o in r.arms.values()]) for r in results.replicates]
            source = (source, results.interval, results.intervals, per_member(results, 1), results.budgets, curves)
        yield _Plan(name, title, None, source, _bind_study(draw, results))
    for replicate in sorted(results.replicates, key=lambda replicate: replicate.seed)[:MAX_SEEDS]:
        rows = run.segments.get(replicate.seed, ())
        spreads = run.spreads.get(replicate.seed, {})
        of_seed = _spelled((results.task, results.arms, results.interval, results.intervals, replicate, rows, spreads))
        for name, title, draw_seed in TRIAL_FIGURES if results.is_function else SEED_FIGURES:
            yield _Plan(
                f"{name}-seed-{replicate.seed}",
                title,
                replicate.seed,
                of_seed,
                _bind(draw_seed, results, replicate, rows, spreads),
            )


def _bind_study(draw: Callable[[Results], Figure | None], results: Results) -> Callable[[], Figure | None]:
    return lambda: draw(results)


def _bind(
    draw: SeedFigure, results: Results, replicate: Replicate, rows: Sequence[SegmentRow], spreads: Spreads
) -> Callable[[], Figure | None]:
    return lambda: draw(results, replicate, rows, spreads)


def _spelled(source: object) -> str:
    """A digest of what figures are drawn from: several share it."""
    return _hash(repr(source).encode("utf-8", "backslashreplace"))


def _make(plan: _Plan, folder: Path, known: object) -> tuple[Picture | None, dict[str, str]]:
    """One figure, drawn or found as it was."""
    wanted = _hash(_code().encode(), plan.name.encode(), repr(plan.source).encode("utf-8", "backslashreplace"))
    paths = {kind: inside(folder, f"{plan.name}.{kind}") for kind in ("png", "svg", "pdf")}
    if isinstance(known, dict) and known.get("input") == wanted:
        if known.get("png") == "none":
            return None, {"input": wanted, "png": "none"}
        found = {kind: read_bytes(path, None) for kind, path in paths.items() if path.is_file()}
        if len(found) == len(paths) and all(known.get(kind) == _hash(content) for kind, content in found.items()):
            return Picture(plan.name, plan.title, found["png"], seed=plan.seed), dict(known)
    figure = plan.draw()
    if figure is None:
        for path in paths.values():
            remove_regular(path)
        return None, {"input": wanted, "png": "none"}
    png, svg = canvas.save(figure)
    drawn = {"png": png, "svg": svg, "pdf": canvas.pdf(figure)}
    for kind, content in drawn.items():
        # The index tells when one is not whole: not worth the wait for the disk.
        write_atomic(paths[kind], content, sync=False)
    return Picture(plan.name, plan.title, png, seed=plan.seed), {"input": wanted} | {
        kind: _hash(content) for kind, content in drawn.items()
    }


@lru_cache(maxsize=1)
def _code() -> str:
    """A hash of what draws: this package's source and matplotlib's version."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return _hash(mpl.__version__.encode(), *(path.read_bytes() for path in sources))


def _hash(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def _read_index(path: Path) -> dict[str, object]:
    """The index of an earlier build; a missing or damaged one only means that everything is drawn."""
    try:
        index = read_json(path)
    except InputError:
        return {}
    return index if isinstance(index, dict) else {}
