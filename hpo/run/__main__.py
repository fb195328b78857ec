"""The command line: `python -m hpo.run STUDY.toml`."""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpo.cli import exit_code

if TYPE_CHECKING:
    from hpo.execution.choice import Execution
    from hpo.study.spec import StudySpec

FILE_WIDTH = 160  # letters of a table's line where the output is no terminal


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    out = argparse.ArgumentParser(
        prog="python -m hpo.run",
        description="Run a study, or several in turn, or go on with them where they were left.",
        epilog="Exit codes: 0 done; 2 the study file or the command line is wrong, nothing was started; 1 the study failed,"
        " what is finished was kept; 130 interrupted, the same command goes on.",
    )
    out.add_argument(
        "studies",
        type=Path,
        nargs="+",
        metavar="STUDY",
        help="a study file, like studies/mnist_quick.toml, or a file that lists some",
    )
    out.add_argument("--workers", type=_positive, metavar="N", help="worker processes (default: the usable cores)")
    out.add_argument(
        "--executor", choices=["serial", "process", "ray", "stacked"], default="process", help="default: process"
    )
    out.add_argument(
        "--ray-address",
        metavar="ADDR",
        help="with --executor ray: a cluster's (default: one is started on this machine)",
    )
    out.add_argument(
        "--segment-timeout",
        type=_seconds,
        metavar="SECONDS",
        help="kill a worker that takes longer for a segment, and try the segment once more (default: no limit)",
    )
    out.add_argument(
        "--lanes", type=_positive, metavar="N", help="with --executor stacked: members in one stack (default: 8)"
    )
    out.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="default: cpu")
    some = out.add_mutually_exclusive_group()
    some.add_argument("--replicates", type=_positive, metavar="N", help="run only the first N planned seeds now")
    some.add_argument("--seeds", type=_seeds, metavar="0,3", help="run only these planned seeds now")
    out.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="the run directory (default: runs/<study name>); of several studies the folder of theirs",
    )
    out.add_argument(
        "--store",
        type=Path,
        metavar="DIR",
        help="a folder that several studies share: what one has computed no other computes again (default: the run directory)",
    )
    out.add_argument("--dry-run", action="store_true", help="print the plan and start nothing")
    out.add_argument("--quiet", action="store_true", help="show nothing while it runs")
    out.add_argument("--no-report", action="store_true", help="write results, but no report and no figures")
    out.add_argument(
        "--follow-journal",
        action="store_true",
        help="keep journaled answers of finished arms whose optimizer now asks differently; restart unfinished ones",
    )
    out.add_argument(
        "--checkpoint-budget",
        type=_positive,
        metavar="MIB",
        help="checkpoint files to keep, in MiB; evicted ones are recomputed when needed (default: 4096)",
    )
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    return exit_code(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> None:
    known = parser()
    options = known.parse_args(arguments)
    if options.store is not None and options.checkpoint_budget is not None:
        known.error("--checkpoint-budget is of a run directory; for a shared one use `python -m hpo.store gc --budget`")
    # Only now: --help needs none of it.
    from hpo.engine.session import check_run, check_run_dir, default_run_dir
    from hpo.study.file import check_names, load_studies

    found = [(path, spec) for path in options.studies for spec in load_studies(path)]
    check_names("the command line", [spec for _, spec in found])
    plans = [(spec, _chosen(path, spec, options), _run_dir(spec, options.out, len(found))) for path, spec in found]
    execution = _execution(options)
    for spec, seeds, _ in plans:  # all of them, before the first one starts
        check_run(spec, seeds, execution)
    if len(plans) > 1 and not options.dry_run:
        for spec, _, run_dir in plans:
            check_run_dir(spec, run_dir or default_run_dir(spec), options.store, execution)
    for spec, seeds, run_dir in plans:
        if options.dry_run:
            from hpo.run.dry_run import print_plan

            print_plan(spec, seeds, execution)
        else:
            _run(spec, seeds, run_dir, options)


def _chosen(path: Path, spec: "StudySpec", options: argparse.Namespace) -> Sequence[int] | None:
    """Return the seeds to run in this sitting; None: all that are planned."""
    from hpo.core.errors import InputError

    if options.replicates is None:
        return options.seeds  # type: ignore[no-any-return]
    if options.replicates > len(spec.seeds):
        raise InputError(
            f"--replicates {options.replicates}: allowed: 1 to {len(spec.seeds)}, the replicates that {path} plans"
        )
    return spec.seeds[: options.replicates]


def _run_dir(spec: "StudySpec", out: Path | None, studies: int) -> Path | None:
    """Return where a study runs; None: where its name says."""
    return out / spec.name if out is not None and studies > 1 else out


def _execution(options: argparse.Namespace) -> "Execution":
    from hpo.execution.choice import Execution

    return Execution(
        options.executor, options.workers, options.device, options.segment_timeout, options.ray_address, options.lanes
    )


def _run(spec: "StudySpec", seeds: Sequence[int] | None, run_dir: Path | None, options: argparse.Namespace) -> None:
    from rich.console import Console

    from hpo.engine.session import run_study
    from hpo.run.progress import Progress
    from hpo.run.summary import print_summary

    # Not on a terminal, nothing is wrapped: whoever reads it searches it.
    terminal = sys.stdout.isatty()
    console = Console(soft_wrap=not terminal, width=None if terminal else FILE_WIDTH)
    start = time.monotonic()
    result = run_study(
        spec,
        out=run_dir,
        store=options.store,
        workers=options.workers,
        executor=options.executor,
        device=options.device,
        segment_timeout=options.segment_timeout,
        ray_address=options.ray_address,
        lanes=options.lanes,
        seeds=seeds,
        report=not options.no_report,
        follow_journal=options.follow_journal,
        checkpoint_budget=(options.checkpoint_budget or 4096) * 2**20,
        observer=None if options.quiet else Progress(console),
    )
    if not options.quiet:
        print_summary(result, console, time.monotonic() - start)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: a number from 1 is needed")
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: seconds above 0 are needed")
    return number


def _seeds(text: str) -> tuple[int, ...]:
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: seeds like 0,3 are needed") from None
    if len(set(seeds)) < len(seeds):
        raise argparse.ArgumentTypeError(f"{text!r}: each seed once")
    return seeds


if __name__ == "__main__":
    sys.exit(main())
