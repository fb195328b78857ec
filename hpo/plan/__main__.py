"""`hpo plan STUDY|RUN_DIR`: how many seeds a comparison needs, what the planned ones can show, and their cost."""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpo.cli import exit_code
from hpo.plan.design import CAUTION, Design, Effect, Spread, effects_of, facts_of, spreads_of

if TYPE_CHECKING:
    from rich.table import Table

    from hpo.results.document import DecisionRule, Results
    from hpo.study.spec import StudySpec

_FILE_WIDTH = 160  # characters per line of the table if the output is not a terminal


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    out = argparse.ArgumentParser(
        prog="hpo plan",
        description="Compute how many seeds a comparison needs, what the planned ones can show, and what they cost.",
        epilog="Only the spread of a pilot's differences is used, never their mean. Exit codes: 0 done; 1 the timed segment"
        " failed; 2 the input is wrong.",
    )
    out.add_argument("input", type=Path, metavar="STUDY|RUN_DIR", help="a study file, or the run directory of a pilot")
    out.add_argument("--pilot", type=Path, metavar="RUN_DIR", help="with a study file: a run to take the variance from")
    effect = out.add_mutually_exclusive_group()
    effect.add_argument(
        "--d-z", type=float, metavar="D", help="the smallest effect that matters: mean / standard deviation"
    )
    effect.add_argument("--difference", type=float, metavar="X", help="the same in the metric's unit; needs a pilot")
    out.add_argument(
        "--power", type=float, nargs="+", default=[0.8, 0.9], metavar="P", help="wanted power (default: 0.8 0.9)"
    )
    out.add_argument("--workers", type=int, metavar="N", help="workers to assume for the time (default: usable cores)")
    out.add_argument("--no-timing", action="store_true", help="do not time a segment")
    return out


def table_of(design: Design, effects: Sequence[Effect], power: Sequence[float], seconds: float | None) -> "Table":
    """Return a table of what each effect needs.

    Args:
        design: the comparison.
        effects: the effects to plan for.
        power: the wanted powers.
        seconds: the time of a replicate; None if unknown.
    """
    from rich.table import Table
    from rich.text import Text

    from hpo.engine.timing import duration

    table = Table("arm", "effect", box=None)
    cautious = any(effect.cautious is not None for effect in effects)
    columns = ["d_z", f"power at {design.seeds}"]
    if design.anytime:
        columns += ["half of all studies decided by", "mean seeds run"]
    else:
        for wanted in power:
            columns += [f"seeds for {wanted:.0%} power", *(["cautious"] if cautious else [])]
    for name in [*columns, *(["time for them"] if seconds is not None else [])]:
        table.add_column(name, justify="right")
    for effect in effects:
        cells, needed = (_anytime if design.anytime else _fixed)(design, effect, power, cautious=cautious)
        if seconds is not None:
            cells.append("–" if needed is None else duration(needed * seconds))
        table.add_row(Text(effect.arm), effect.what, f"{effect.d_z:.3g}", *cells)
    return table


def _fixed(design: Design, effect: Effect, power: Sequence[float], *, cautious: bool) -> tuple[list[str], float | None]:
    """Return the cells of one effect, and the seeds that it needs for the first wanted power."""
    from hpo.statistics import plan

    first: int | None = None
    cells: list[str] = []
    for at, wanted in enumerate(power):
        sizes = [effect.d_z, *([effect.cautious] if cautious else [])]
        found = [
            None
            if size is None
            else plan(n=design.seeds, d_z=size, alpha=design.rule.alpha, family=len(design.others), wanted_power=wanted)
            for size in sizes
        ]
        if at == 0 and found[0] is not None:
            first = found[0].seeds
            cells.append(f"{found[0].power:.0%}")
        cells += ["–" if one is None else ">100,000" if one.seeds is None else f"{one.seeds:,}" for one in found]
    return cells, first


def _anytime(
    design: Design, effect: Effect, power: Sequence[float], *, cautious: bool
) -> tuple[list[str], float | None]:
    from hpo.statistics import stopping_times

    found = stopping_times(effect.d_z, design.seeds, alpha=design.rule.alpha, family=len(design.others))
    half = "–" if found.median is None else f"{found.median}"
    return [f"{found.decided:.0%}", half, f"{found.mean:.1f}"], found.mean


def _main(options: argparse.Namespace) -> None:
    from rich.console import Console

    from hpo.engine.timing import duration

    _check(options)
    design, pilot, seconds = _read(options)
    spreads = {} if pilot is None else spreads_of(pilot)
    effects = effects_of(design, spreads, options.d_z, options.difference)
    console = Console(width=None if sys.stdout.isatty() else _FILE_WIDTH, soft_wrap=True, highlight=False)
    for line in facts_of(design, spreads, options.power[0]):
        console.print(line, markup=False)
    for line in _notes(options, design, pilot, spreads):
        console.print(line, markup=False)
    console.print()
    console.print(table_of(design, effects, options.power, seconds))
    if seconds is not None:
        console.print(
            f"\nOne replicate takes {duration(seconds)} here; {design.seeds} take {duration(seconds * design.seeds)}."
        )


def _check(options: argparse.Namespace) -> None:
    from hpo.core.errors import InputError

    for power in options.power:
        if not 0 < power < 1:
            raise InputError(f"--power {power:g}: allowed: numbers strictly between 0 and 1")
    for name in ("d_z", "difference"):
        value = getattr(options, name)
        if value is not None and not (math.isfinite(value) and value != 0):
            raise InputError(f"--{name.replace('_', '-')} {value:g}: allowed: a finite number other than 0")
    if options.workers is not None and options.workers < 1:
        raise InputError(f"--workers {options.workers}: allowed: a number from 1")
    if options.pilot is not None and options.input.is_dir():
        raise InputError(f"--pilot {options.pilot}: allowed: only with a study file; {options.input} is itself a run")


def _read(options: argparse.Namespace) -> "tuple[Design, Results | None, float | None]":
    """Return the design, the results of the pilot, and the seconds per replicate."""
    from hpo.core.errors import InputError
    from hpo.results.file import read_results

    if options.input.is_dir():
        results = read_results(options.input)
        rule = results.comparison
        if rule is None:
            raise InputError(f"{options.input}: the study has no [comparison], so there is nothing to plan")
        seconds = None if options.no_timing else _measured(options.input, len(results.replicates), options.workers)
        return _design(results.name, rule, results.labels, len(results.planned_seeds)), results, seconds
    from hpo.engine.registration import comparison_of
    from hpo.study.file import load_study

    spec = load_study(options.input)
    rule = comparison_of(spec)
    if rule is None:
        raise InputError(f"{options.input}: the study has no [comparison], so there is nothing to plan")
    design = _design(spec.name, rule, [arm.label for arm in spec.arms], len(spec.seeds))
    pilot = None if options.pilot is None else read_results(options.pilot)
    if pilot is not None and not {item.arm for item in pilot.comparisons} & set(design.others):
        known = ", ".join(sorted(item.arm for item in pilot.comparisons)) or "none"
        raise InputError(
            f"--pilot {options.pilot}: it compares {known} with its baseline, but none of {', '.join(design.others)}"
        )
    if options.difference is not None and pilot is None:
        raise InputError("--difference: requires a pilot to know the spread: also pass --pilot RUN_DIR, or use --d-z")
    return design, pilot, None if options.no_timing else _timed(spec, options.workers)


def _design(name: str, rule: "DecisionRule", labels: Sequence[str], seeds: int) -> Design:
    return Design(name, rule, tuple(label for label in labels if label != rule.baseline), seeds)


def _timed(spec: "StudySpec", workers: int | None) -> float:
    from hpo.core.interpreters import usable_cores
    from hpo.engine.timing import replicate_seconds, time_segment

    return replicate_seconds(spec, spec.task, time_segment(spec, spec.task)) / (workers or usable_cores())


def _measured(run_dir: Path, replicates: int, workers: int | None) -> float | None:
    """Return the seconds that a finished replicate took according to execution.json; None if unknown."""
    from hpo.core.interpreters import usable_cores
    from hpo.core.run_files import EXECUTION
    from hpo.results.file import read_executions

    if not (run_dir / EXECUTION).exists():
        return None
    known = [session.get("busy_seconds") for session in read_executions(run_dir).sessions]
    busy = math.fsum(seconds for seconds in known if isinstance(seconds, (int, float)))
    return busy / replicates / (workers or usable_cores()) if busy and replicates else None


def _notes(
    options: argparse.Namespace, design: Design, pilot: "Results | None", spreads: Mapping[str, Spread]
) -> list[str]:
    """Return notes about the pilot."""
    if pilot is None:
        return []
    said = []
    for arm, spread in spreads.items():
        said.append(
            f"Pilot, {arm}: {spread.n} pairs, standard deviation {spread.sd:.4g}; cautious: its upper {CAUTION:.0%}"
            f" confidence limit, {spread.cautious_sd:.4g}"
        )
    if spreads and options.d_z is None and options.difference is None and design.rule.rope is None:
        said.append(
            "A pilot shows how much differences vary. Its observed effect is too uncertain to plan with: pass the smallest"
            " difference that would matter (--difference)."
        )
    if not spreads:
        said.append("The pilot's differences do not vary, or there are fewer than two: their spread is unknown.")
    if options.input.is_dir():
        said.append(
            "Adding seeds to this study after looking makes its p exploratory: plan a study with new seeds, or one with"
            ' stopping = "anytime".'
        )
    return said


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return exit_code(lambda: _main(parser().parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
