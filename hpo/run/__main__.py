"""The command line: `hpo run STUDY.toml`."""

import argparse
import math
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpo.cli import CONTINUES, DONE, OUT_OF_TIME, exit_code
from hpo.execution.forking import forks

if TYPE_CHECKING:
    from rich.console import Console

    from hpo.engine.prepare import Prepared
    from hpo.engine.study_result import StudyResult
    from hpo.execution.executors import Execution
    from hpo.study.spec import StudySpec

FILE_WIDTH = 160  # characters per line of a table if the output is not a terminal


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    out = argparse.ArgumentParser(
        prog="hpo run",
        description="Run one or more studies, or continue them.",
        epilog="Exit codes: 0 done; 2 the study file or the command line is wrong, nothing was started; 1 the study failed,"
        " finished work was kept; 124 the time limit was reached, 130 interrupted: the same command continues.",
    )
    out.add_argument(
        "studies",
        type=Path,
        nargs="+",
        metavar="STUDY",
        help="a study file, such as studies/mnist_quick.toml, or a file that lists several",
    )
    out.add_argument(
        "--workers", type=_positive, metavar="N", help="worker processes (default: usable cores / threads)"
    )
    out.add_argument(
        "--executor", choices=["serial", "process", "ray", "stacked"], default="process", help="default: process"
    )
    out.add_argument(
        "--ray-address",
        metavar="ADDR",
        help="with --executor ray: the address of a cluster (default: start Ray on this machine)",
    )
    out.add_argument(
        "--segment-timeout",
        type=_seconds,
        metavar="SECONDS",
        help="kill a worker that takes longer for a segment, and retry the segment once (default: no limit)",
    )
    out.add_argument(
        "--lanes", type=_positive, metavar="N", help="with --executor stacked: members per stack (default: 8)"
    )
    out.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="default: cpu")
    out.add_argument(
        "--threads",
        type=_positive,
        default=1,
        metavar="N",
        help="threads per member; results depend on it (default: 1)",
    )
    out.add_argument(
        "--gpus",
        type=float,
        metavar="N",
        help="GPUs per worker, such as 0.5 or 2; with --executor ray, or --device cuda (default: workers share them)",
    )
    out.add_argument(
        "--resource",
        type=_resource,
        action="append",
        default=[],
        metavar="NAME=AMOUNT",
        help="with --executor ray: another resource that each worker needs, such as memory=4e9 (bytes); may be repeated",
    )
    out.add_argument(
        "--time-limit",
        type=_duration,
        default=math.inf,
        metavar="TIME",
        help="stop after this time, such as 90s, 1h30m or 2-12:00:00, and write what there is (default: no limit)",
    )
    out.add_argument(
        "--on-finish",
        metavar="COMMAND",
        help="a command of the shell for the end of each study, however it ends, with HPO_STATUS, HPO_SUMMARY and more in its"
        " environment",
    )
    some = out.add_mutually_exclusive_group()
    some.add_argument("--replicates", type=_positive, metavar="N", help="run only the first N planned seeds now")
    some.add_argument("--seeds", type=_seeds, metavar="0,3", help="run only these planned seeds now")
    out.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="the run directory (default: runs/<study name>); for several studies, the folder that holds theirs",
    )
    out.add_argument(
        "--store",
        type=Path,
        metavar="DIR",
        help="a store that several studies share, so that none recomputes another's segments (default: the run directory)",
    )
    out.add_argument(
        "--track",
        action="append",
        default=[],
        metavar="NAME:DESTINATION",
        help="also write the study to tensorboard:DIR, mlflow:URI or wandb:PROJECT; may be repeated",
    )
    out.add_argument("--dry-run", action="store_true", help="print the plan and start nothing")
    out.add_argument("--quiet", action="store_true", help="print nothing while the study runs")
    out.add_argument("--no-report", action="store_true", help="write results, but no report and no figures")
    out.add_argument(
        "--follow-journal",
        action="store_true",
        help="keep the journaled answers of finished arms whose optimizer now asks differently; restart unfinished ones",
    )
    out.add_argument(
        "--checkpoint-budget",
        type=_positive,
        metavar="MIB",
        help="size of the checkpoint files to keep, in MiB; evicted ones are recomputed when needed (default: 4096)",
    )
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return exit_code(lambda: _main(arguments))


@forks()
def _main(arguments: Sequence[str] | None) -> int:
    known = parser()
    options = known.parse_args(arguments)
    until = time.monotonic() + options.time_limit
    if options.store is not None and options.checkpoint_budget is not None:
        known.error("--checkpoint-budget applies to a run directory; for a store use `hpo store gc --budget`")
    # Imported here to keep --help fast.
    from hpo.engine.prepare import check_run_dir, prepare
    from hpo.study.file import check_names, load_studies
    from hpo.trackers.choice import chosen

    options.track = chosen(options.track, "--track")
    found = [(path, spec) for path in options.studies for spec in load_studies(path)]
    check_names("the command line", [spec for _, spec in found])
    execution = _execution(options)
    studies = [prepare(spec, execution, _chosen(path, spec, options)) for path, spec in found]
    run_dirs = [_run_dir(study, options.out, len(found)) for study in studies]
    if len(studies) > 1 and not options.dry_run:
        for study, run_dir in zip(studies, run_dirs, strict=True):  # check all before starting the first one
            check_run_dir(study, run_dir, options.store)
    for study, run_dir in zip(studies, run_dirs, strict=True):
        if options.dry_run:
            from hpo.run.dry_run import print_plan

            print_plan(study)
        elif time.monotonic() >= until or _run(study, run_dir, options, until).out_of_time:
            print(f"time limit reached: {CONTINUES}", file=sys.stderr)
            return OUT_OF_TIME
    return DONE


def _chosen(path: Path, spec: "StudySpec", options: argparse.Namespace) -> Sequence[int] | None:
    """Return the seeds to run now; None: all planned seeds."""
    from hpo.core.errors import InputError

    if options.replicates is None:
        return options.seeds  # type: ignore[no-any-return]
    if options.replicates > len(spec.seeds):
        raise InputError(
            f"--replicates {options.replicates}: allowed: 1 to {len(spec.seeds)}, the replicates that {path} plans"
        )
    return spec.seeds[: options.replicates]


def _run_dir(study: "Prepared", out: Path | None, studies: int) -> Path:
    """Return where a study runs; several studies share the folder `--out`."""
    if out is None:
        return study.default_run_dir
    return out / study.spec.name if studies > 1 else out


def _execution(options: argparse.Namespace) -> "Execution":
    from hpo.execution.executors import Execution

    return Execution(
        executor=options.executor,
        workers=options.workers,
        device=options.device,
        segment_timeout=options.segment_timeout,
        ray_address=options.ray_address,
        lanes=options.lanes,
        threads=options.threads,
        gpus=options.gpus,
        resources=dict(options.resource),
    )


def _run(study: "Prepared", run_dir: Path, options: argparse.Namespace, until: float) -> "StudyResult":
    from hpo.engine.on_finish import notified

    return notified(options.on_finish, study.spec.name, run_dir, lambda: _run_study(study, run_dir, options, until))


def _run_study(study: "Prepared", run_dir: Path, options: argparse.Namespace, until: float) -> "StudyResult":
    from hpo.engine.session import run_prepared
    from hpo.run.progress import ConsoleProgress

    start = time.monotonic()
    console = None if options.quiet else _console()
    result = run_prepared(
        study,
        out=run_dir,
        store=options.store,
        report=not options.no_report,
        follow_journal=options.follow_journal,
        checkpoint_budget=(options.checkpoint_budget or 4096) * 2**20,
        until=until,
        observers=[] if console is None else [ConsoleProgress(console)],
        track=options.track,
    )
    if console is not None:
        from hpo.run.summary import print_summary

        print_summary(result, console, time.monotonic() - start)
    return result


def _console() -> "Console":
    from rich.console import Console

    # Lines in a file are not wrapped, so that they can be searched.
    terminal = sys.stdout.isatty()
    return Console(soft_wrap=not terminal, width=None if terminal else FILE_WIDTH)


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number of at least 1")
    return number


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: must be a number of seconds above 0")
    return number


_UNITS = re.compile(r"(?=.)(?:([\d.]+)d)?(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s)?")
_CLOCK = re.compile(r"(?:(\d+)-)?(\d+):(\d+):(\d+)")
"""As Slurm writes it. A number without a unit means minutes to Slurm, and seconds to others, so it is refused."""


def _duration(text: str) -> float:
    found = _UNITS.fullmatch(text) or _CLOCK.fullmatch(text)
    try:
        parts = [float(part or 0) for part in found.groups()] if found else []
    except ValueError:
        parts = []
    seconds = sum(part * unit for part, unit in zip(parts, (86400, 3600, 60, 1), strict=False))
    if not seconds > 0:
        raise argparse.ArgumentTypeError(f"{text}: must be a time above 0 with units, such as 90s, 1h30m or 2-12:00:00")
    return seconds


def _resource(text: str) -> tuple[str, float]:
    name, equals, amount = text.rpartition("=")
    try:
        return name, _seconds(amount) if name and equals else _seconds("")
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text}: must be NAME=AMOUNT, the amount a number above 0") from None


def _seeds(text: str) -> tuple[int, ...]:
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a list of seeds such as 0,3") from None
    if len(set(seeds)) < len(seeds):
        raise argparse.ArgumentTypeError(f"{text!r}: each seed may occur only once")
    return seeds


if __name__ == "__main__":
    sys.exit(main())
