"""`hpo calibrate`: measure how often the statistics are wrong."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from hpo.cli import DONE, FAILED, exit_code

DEFAULTS: dict[str, dict[str, Any]] = {
    "pipeline": {"studies": 1000, "replicates": [8]},
    "statistics": {"studies": 2000, "seed": 0},
}


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    out = argparse.ArgumentParser(
        prog="hpo calibrate",
        description="Measure how often the statistics are wrong, on studies whose truth is known.",
        epilog="Exit codes: 0 every promise is kept; 1 one is not, and the standard error names it.",
    )
    out.add_argument(
        "what",
        nargs="?",
        choices=[*DEFAULTS],
        default="pipeline",
        help="pipeline: whole studies of an optimizer against itself, and the audit (default); statistics: simulated results",
    )
    out.add_argument("--studies", type=int, metavar="N", help="studies per row (default: 1000; statistics: 2000)")
    out.add_argument("--replicates", type=int, nargs="+", metavar="N", help="pipeline: per study (default: 8)")
    out.add_argument("--seed", type=int, metavar="N", help="statistics: seed of the simulations (default: 0)")
    out.add_argument("--workers", type=int, metavar="N", help="processes (default: the usable cores)")
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a calibration, print its tables, and return 1 if something is wrong."""
    return exit_code(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    known = parser()
    options = known.parse_args(arguments)
    given = {name: value for name in ("studies", "replicates", "seed") if (value := getattr(options, name)) is not None}
    for name in given.keys() - DEFAULTS[options.what].keys():
        known.error(f"--{name}: not allowed with {options.what}")
    chosen = DEFAULTS[options.what] | given
    if min([chosen["studies"], *chosen.get("replicates", [])]) < 1:
        known.error("--studies and --replicates: allowed: numbers from 1")
    from hpo.calibrate.pipeline import print_table
    from hpo.calibrate.simulations.tables import print_tables
    from hpo.core.interpreters import usable_cores

    workers = options.workers or usable_cores()
    found = (
        print_table(**chosen, workers=workers)
        if options.what == "pipeline"
        else print_tables(**chosen, workers=workers)
    )
    return DONE if found else FAILED


if __name__ == "__main__":
    sys.exit(main())
