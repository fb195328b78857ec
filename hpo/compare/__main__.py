"""``hpo compare RUN_DIR RUN_DIR ...`` or ``hpo compare RESULTS.csv --metric NAME``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hpo.cli import DONE, FAILED, exit_code
from hpo.core.errors import InputError

FILE_WIDTH = 120  # characters of a line where the output is not a terminal


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    out = argparse.ArgumentParser(
        prog="hpo compare",
        description="Compare the same arms over several tasks: finished studies, CSV files of any tool's results, studies in an"
        " Optuna storage, or result folders of Ray Tune.",
        epilog="A CSV file has one row per arm, task and seed, or one column per arm; docs/how_to/tables.md shows the layouts."
        " Exit codes: 0 done; 2 the inputs cannot be compared; 1 the output cannot be written.",
    )
    out.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="run directories, CSV files, Optuna storages (sqlite:///optuna.db), result folders of Ray Tune",
    )
    out.add_argument(
        "--baseline", metavar="ARM", help="compare the other arms with this one (default: the studies', else all pairs)"
    )
    out.add_argument("--metric", metavar="NAME", help="the metric (default: each study's own; a CSV file's only one)")
    out.add_argument(
        "--direction",
        choices=["minimize", "maximize"],
        help="which values of the metric are better (needed for CSV files and Ray Tune unless its name says so: error, loss,"
        " ...)",
    )
    out.add_argument(
        "--columns",
        choices=["metrics", "arms", "tasks", "seeds"],
        help="what the columns of numbers in a CSV file are (default: what the header says)",
    )
    out.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="ROLE=NAME",
        help="the column that holds the arm, the task or the seed, such as arm=optimizer_name; of Optuna a user attribute of the"
        " study, of Ray Tune a key of the configuration; may be repeated",
    )
    out.add_argument(
        "--names",
        metavar="PATTERN",
        help="what the names of files, studies and experiments say, such as {task}-{arm}-{seed}; * stands for anything, / for"
        " a folder",
    )
    out.add_argument(
        "--trials", type=int, metavar="N", help="use only the first N trials of each search of Optuna or Ray Tune"
    )
    out.add_argument(
        "--value",
        choices=["last", "best"],
        help="the value of a trial of Ray Tune: of its last report, or the best of all (default: last)",
    )
    out.add_argument("--alpha", type=float, metavar="P", help="family-wise level (default: the studies', else 0.05)")
    out.add_argument(
        "--rope",
        type=float,
        metavar="X",
        help="treat differences up to X, in the metric's unit, as none; for tables with one value per task",
    )
    out.add_argument("--out", type=Path, metavar="DIR", help="write compare.html, .md, .json and figures/ there")
    out.add_argument(
        "--latex",
        action="store_true",
        help="with --out: also write tables, figures as PDF with captions, and a paragraph on how it was compared, for LaTeX",
    )
    return out


def main(argv: Sequence[str] | None = None) -> int:
    """Compare, print and write; return the exit code."""
    return exit_code(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    options = parser().parse_args(argv)
    # Imported here, so that --help stays fast.
    from rich.console import Console
    from rich.text import Text

    from hpo.compare.analysis import analyse
    from hpo.compare.content import build_page
    from hpo.compare.data import Request
    from hpo.compare.figures import pictures
    from hpo.compare.inputs import read_inputs
    from hpo.compare.naming import parse_roles
    from hpo.compare.output import check_folder, write
    from hpo.compare.summary import summary
    from hpo.report.numbers import printable

    request = Request(
        options.baseline,
        options.metric,
        options.direction,
        options.alpha,
        options.rope,
        options.columns,
        parse_roles(options.column),
        options.names,
        options.value,
        options.trials,
    )
    if options.out is not None:
        check_folder(options.out, latex=options.latex)
    elif options.latex:
        raise InputError("--latex: allowed with --out DIR only, the folder to write to")
    analysis = analyse(read_inputs(options.inputs, request))
    drawn = pictures(analysis, pdf=options.latex) if options.out is not None else ()
    page = build_page(analysis, drawn)
    where, trouble = None, None
    if options.out is not None:  # before printing: the reader of the output may close the pipe
        try:
            where = write(analysis, page, drawn, options.out, latex=options.latex)
        except OSError as error:
            trouble = f"cannot write {options.out}: {error.strerror or error}"
    console = Console(width=None if sys.stdout.isatty() else FILE_WIDTH, highlight=False)
    console.print(summary(page))
    if trouble is not None:
        print(f"error: {printable(trouble)}", file=sys.stderr)
        return FAILED
    if where is not None:
        console.print(Text(f"report: {printable(str(where))}"), soft_wrap=True)
        if options.latex:
            console.print(Text(f"LaTeX: {printable(str(where.with_name('preview.tex')))}"), soft_wrap=True)
    return DONE


if __name__ == "__main__":
    sys.exit(main())
