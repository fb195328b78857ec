"""``hpo report RUN_DIR``: rebuild the report of a run directory."""

import argparse
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from hpo.cli import FAILED, exit_code


def main(argv: Sequence[str] | None = None) -> int:
    """Rebuild one report; return 0, or 2 when the run directory cannot be read."""
    return exit_code(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int | None:
    parser = argparse.ArgumentParser(
        prog="hpo report",
        description="Rebuild report.html, report.md and figures/ from a run directory's results.json and segments.csv.",
        epilog="Exit codes: 0 done; 2 the run directory cannot be read; 1 the report cannot be written.",
    )
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="a run directory, such as runs/mnist_quick")
    parser.add_argument(
        "--recompute",
        action="store_true",
        help="first recompute the statistics in results.json from its replicates, without training; this also updates a"
        " file that an older version wrote",
    )
    parser.add_argument("--nice", action="store_true", help="run at low priority, while a study is running")
    parser.add_argument("--lifeline", action="store_true", help=argparse.SUPPRESS)  # exit when stdin ends
    arguments = parser.parse_args(argv)
    if arguments.nice:
        os.nice(19)
    if arguments.lifeline:
        threading.Thread(target=_exit_with, args=(sys.stdin.fileno(),), daemon=True).start()
    try:
        if arguments.recompute:
            from hpo.results.recompute import recompute

            recompute(arguments.run_dir)
        from hpo.report.build import build_report

        print(build_report(arguments.run_dir))
    except OSError as error:
        print(f"error: the report cannot be written: {error}", file=sys.stderr)
        return FAILED
    return None


def _exit_with(lifeline: int) -> None:
    """Exit when the process that started this one exits: another may use the run directory then."""
    os.read(lifeline, 1)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
