"""`hpo greed RUN_DIR ...`: how greedy arms are, and what greed costs, on tasks that know their greedy choice."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpo.cli import check_new, exit_code, write_new
from hpo.core.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from hpo.greed.records import Floats, Greed

_FILE_WIDTH = 160  # characters per line of the table if the output is not a terminal
_FORMATS = (".png", ".svg", ".pdf")
_NONE = "–"


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    out = argparse.ArgumentParser(
        prog="hpo greed",
        description="Measure how greedy arms are, and what greed costs in the end, on tasks that know their greedy choice.",
        epilog="The run directory is only read. Exit codes: 0 done; 2 the input is wrong, or something else is where to write; 1"
        " the figure cannot be written.",
    )
    out.add_argument(
        "run_dirs", type=Path, nargs="+", metavar="RUN_DIR", help="run directories of tasks such as zoo_deceptive"
    )
    out.add_argument(
        "--every",
        type=float,
        metavar="LENGTH",
        help="the perturbation interval over which greed is measured, in the task's unit (default: the arms' own)",
    )
    out.add_argument("--figure", type=Path, metavar="FILE", help="draw it to FILE.png, FILE.svg or FILE.pdf")
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return exit_code(lambda: _main(parser().parse_args(arguments)))


def _main(options: argparse.Namespace) -> None:
    from rich.console import Console

    from hpo.greed.measure import measure

    if options.figure is not None and options.figure.suffix not in _FORMATS:
        raise InputError(f"--figure {options.figure}: allowed: a name that ends in {', '.join(_FORMATS)}")
    found = [measure(run_dir, options.every) for run_dir in options.run_dirs]
    picture = None
    if options.figure is not None:
        from hpo.greed.figure import drawn

        picture = drawn(found, options.figure.suffix)
        check_new(options.figure, picture)
    console = Console(width=None if sys.stdout.isatty() else _FILE_WIDTH, soft_wrap=True, highlight=False)
    for greed in found:
        for line in _head(greed):
            console.print(line, markup=False)
        console.print(table_of(greed))
        console.print()
    if picture is not None:
        write_new(options.figure, picture)
        console.print(str(options.figure), markup=False)


def _head(greed: Greed) -> list[str]:
    from hpo.core.amounts import amount

    seeds = "1 seed" if len(greed.seeds) == 1 else f"{len(greed.seeds)} seeds"
    value = greed.metric.oriented
    return [
        f"{greed.name}: gains in {greed.metric.name} within {amount(greed.every, greed.unit)}, {seeds}",
        f"Following greed costs {greed.cost:.4g} in the end: the greedy policy ends at {value(greed.greedy.final):.4g}, the best"
        f" known schedule at {value(greed.best.final):.4g}.",
        "",
    ]


def table_of(greed: Greed) -> Table:
    """Return a table of the arms and the two policies: means over the seeds, and 95% intervals of these means."""
    from rich.table import Table
    from rich.text import Text

    table = Table("arm", box=None)
    for name in (
        "missed per interval",
        "95% interval",
        "of the greedy gain",
        f"final {greed.metric.name}",
        "95% interval",
        "below the best",
    ):
        table.add_column(name, justify="right")
    sign = greed.metric.oriented
    for arm in greed.arms:
        table.add_row(
            Text(arm.label),
            *_mean(arm.missed),
            _percent(float(arm.shares.mean())),
            *_mean(arm.finals, sign(1.0)),
            f"{greed.best.final - arm.finals.mean():.4g}",
        )
    for policy in (greed.greedy, greed.best):
        share = policy.gains.share_missed
        table.add_row(
            policy.label,
            f"{policy.gains.mean_missed:.4g}",
            "",
            _percent(float("nan") if share is None else share),
            f"{sign(policy.final):.4g}",
            "",
            f"{greed.best.final - policy.final:.4g}",
        )
    return table


def _mean(values: Floats, sign: float = 1.0) -> tuple[str, str]:
    """Return the mean over seeds, and its interval; none with fewer than four seeds or equal values."""
    from hpo.greed.records import interval_of

    ends = interval_of(sign * values)
    return f"{sign * values.mean():.4g}", _NONE if ends is None else f"[{ends[0]:.4g}, {ends[1]:.4g}]"


def _percent(share: float) -> str:
    return _NONE if share != share else f"{100 * share:.1f}%"


if __name__ == "__main__":
    sys.exit(main())
