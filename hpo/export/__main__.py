"""`hpo export RUN_DIR`: hand a run to Optuna, to data frames, and to the list of references of a paper."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpo.cli import check_new, exit_code, write_new
from hpo.core.errors import InputError

if TYPE_CHECKING:
    from hpo.export.run import Run

STANDARD_OUTPUT = "-"
"""The name of the standard output, as a file to write."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return exit_code(lambda: _main(arguments))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    out = argparse.ArgumentParser(
        prog="hpo export",
        description="Export a run directory, also of a study that is running or was killed. The run directory is only read.",
        epilog="Exit codes: 0 done; 2 the input is wrong, or something else is where to write; 1 the output cannot be written.",
    )
    out.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="a run directory, such as runs/mnist_quick")
    out.add_argument(
        "--optuna",
        metavar="URL",
        help="add an Optuna study for each arm and seed to a storage, such as sqlite:///optuna.db; see it with optuna-dashboard",
    )
    out.add_argument(
        "--frame",
        metavar="FILE",
        help="write a row for each segment to FILE.csv or FILE.parquet; `-`: as CSV to the standard output",
    )
    out.add_argument(
        "--bibtex",
        metavar="FILE",
        help="write the papers behind what the study used to FILE; `-`: to the standard output",
    )
    return out


def _main(given: Sequence[str] | None) -> None:
    options = parser().parse_args(given)
    if options.optuna is None and options.frame is None and options.bibtex is None:
        parser().error("nothing to export: pass --optuna, --frame or --bibtex")
    if options.frame is not None and options.frame == options.bibtex:
        raise InputError(f"--frame and --bibtex are both {options.frame}: allowed: different files")
    from hpo.export.run import read_run

    run = read_run(options.run_dir)
    out = sys.stderr if STANDARD_OUTPUT in (options.frame, options.bibtex) else sys.stdout
    # Everything is checked before anything is written.
    files = {}
    if options.frame is not None:
        files[options.frame] = _frame(run, options.frame)
    if options.bibtex is not None:
        from hpo.export.bibtex import to_bibtex

        files[options.bibtex] = to_bibtex(run.results).encode()
    for name, content in files.items():
        _check(name, content)
    if options.optuna is not None:
        from hpo.export.optuna import shown, to_optuna

        found = to_optuna(run, options.optuna)
        trials, new = sum(search.trials for search in found), sum(search.new for search in found)
        studies = "1 study" if len(found) == 1 else f"{len(found):,} studies"
        print(f"{shown(options.optuna)}: {trials:,} trials in {studies}, {new:,} of them new", file=out)
    for name, content in files.items():
        _write(name, content)
        if name != STANDARD_OUTPUT:
            print(name, file=out)


def _frame(run: Run, name: str) -> bytes:
    from hpo.export.frame import frame, to_csv, to_parquet

    kinds = {".csv": to_csv, ".parquet": to_parquet}
    suffix = ".csv" if name == STANDARD_OUTPUT else Path(name).suffix
    if suffix not in kinds:
        raise InputError(f"--frame {name}: allowed: a name that ends in {' or '.join(kinds)}, or `-`")
    return kinds[suffix](frame(run))


def _check(name: str, content: bytes) -> None:
    if name != STANDARD_OUTPUT:
        check_new(Path(name), content)


def _write(name: str, content: bytes) -> None:
    if name == STANDARD_OUTPUT:
        sys.stdout.write(content.decode())
    else:
        write_new(Path(name), content)


if __name__ == "__main__":
    sys.exit(main())
