"""`hpo replay RUN_DIR --arm ARM --seed N`: retrain along a schedule, with another seed, data size or machine."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.cli import exit_code
from hpo.core.amounts import amount

if TYPE_CHECKING:
    from rich.console import Console

    from hpo.engine.replay import ReplayResult
    from hpo.results.document import Results
    from hpo.schedules.schedule import Schedule


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    out = argparse.ArgumentParser(
        prog="hpo replay",
        description="Retrain along a schedule on all the development data and evaluate on the test set, or export it.",
        epilog="The same command gives the same bits. Exit codes: 0 done; 2 the input is wrong, nothing was started; 1 the"
        " training failed, finished work was kept; 130 interrupted, the same command continues.",
    )
    out.add_argument("run_dir", type=Path, nargs="?", metavar="RUN_DIR", help="the run directory with the schedule")
    out.add_argument("--arm", metavar="ARM", help="the arm whose schedule to use (default: the only one)")
    out.add_argument(
        "--schedule-seed", type=int, metavar="N", help="the replicate whose schedule to use (default: the only one)"
    )
    out.add_argument("--schedule", type=Path, metavar="FILE", help="a schedule file instead of RUN_DIR")
    out.add_argument("--study", type=Path, metavar="STUDY", help="the study file with the task (default: RUN_DIR's)")
    what = out.add_mutually_exclusive_group(required=True)
    what.add_argument("--seed", type=int, metavar="N", help="train with this seed")
    what.add_argument(
        "--export",
        type=Path,
        metavar="FILE",
        help="do not train, but write the schedule to FILE.toml, or as a table to FILE.csv",
    )
    out.add_argument("--fresh", action="store_true", help="use weights and noise that no search has seen, for any seed")
    out.add_argument(
        "--task-option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set an option of the task, with the value as in TOML; may be repeated",
    )
    out.add_argument("--stretch", metavar="LENGTH", help="stretch or shrink the whole schedule to this length")
    out.add_argument("--executor", choices=["serial", "process"], default="process", help="default: process")
    out.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="default: cpu")
    out.add_argument("--threads", type=int, default=1, metavar="N", help="those of the study (default: 1)")
    out.add_argument("--out", type=Path, metavar="DIR", help="the output folder (default: a folder in RUN_DIR/replays)")
    out.add_argument("--quiet", action="store_true", help="print only errors")
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return exit_code(lambda: _main(parser().parse_args(arguments)))


@dataclass(frozen=True)
class _Chosen:
    """The schedule to replay.

    Args:
        schedule: the schedule, stretched.
        label: its name.
        results: the results of the run directory that it comes from; None: it comes from a file.
        test: the study's test values of the model that was retrained along the schedule; None: there are none.
    """

    schedule: "Schedule"
    label: str
    results: "Results | None" = None
    test: Mapping[str, Any] | None = None


def _main(options: argparse.Namespace) -> None:
    from rich.console import Console

    console = Console(soft_wrap=not sys.stdout.isatty(), highlight=False, quiet=options.quiet)
    _check(options)
    chosen = _chosen(options)
    if options.export is not None:
        _export(chosen.schedule, options.export)
        console.print(f"{chosen.label}: {options.export}", markup=False)
    else:
        _print(console, options, chosen, _replay(options, chosen, console))


def _check(options: argparse.Namespace) -> None:
    from hpo.core.errors import InputError

    if (options.run_dir is None) == (options.schedule is None):
        raise InputError("exactly one schedule is required: pass either RUN_DIR with --arm, or --schedule FILE")
    if options.schedule is not None:
        for name in ("arm", "schedule_seed"):
            if getattr(options, name) is not None:
                raise InputError(
                    f"--{name.replace('_', '-')}: allowed: only with RUN_DIR; a schedule file holds one schedule"
                )
        if options.study is None and options.export is None:
            raise InputError("--schedule: a schedule file does not name a task: also pass --study STUDY")
    if options.export is not None and options.export.suffix not in (".toml", ".csv"):
        raise InputError(f"--export {options.export}: allowed: a name that ends in .toml (schedule) or .csv (table)")


def _chosen(options: argparse.Namespace) -> _Chosen:
    """Return the schedule that the options select."""
    from hpo.engine.load import load_schedule
    from hpo.results.file import read_results
    from hpo.schedules.schedule import Schedule

    if options.schedule is not None:
        return _Chosen(_stretched(Schedule.load(options.schedule), options), options.schedule.stem)
    results = read_results(options.run_dir)
    arm = _only(options.arm, list(results.labels) if results.replicates else [], "--arm", options.run_dir)
    seed = _only(options.schedule_seed, list(results.finished_seeds), "--schedule-seed", options.run_dir)
    schedule = load_schedule(options.run_dir, arm, seed)
    entry = next(replicate.arms[arm] for replicate in results.replicates if replicate.seed == seed)
    retrained = next(found.replay for found in results.arms if found.label == arm) != "inherited_weights"
    test = entry.tests[0] if retrained else None
    return _Chosen(_stretched(schedule, options), f"{arm}-{seed}", results, test)


def _only(given: Any, known: list[Any], option: str, run_dir: Path) -> Any:
    """Return the given value, or the only known one. Never choose among several, least of all by score."""
    from hpo.core.errors import InputError, did_you_mean

    if not known:
        raise InputError(f"{run_dir}: no finished replicate to use")
    if given is None:
        if len(known) > 1:
            raise InputError(f"{option}: required, because there are several: {', '.join(map(str, known))}")
        return known[0]
    if given not in known:
        near = did_you_mean(str(given), map(str, known)) if isinstance(given, str) else None
        raise InputError(f"{option} {given}: allowed: {', '.join(map(str, known))}" + (f" ({near})" if near else ""))
    return given


def _stretched(schedule: "Schedule", options: argparse.Namespace) -> "Schedule":
    from hpo.core.errors import InputError, OptionError

    if options.stretch is None:
        return schedule
    try:
        return schedule.stretched(options.stretch)
    except OptionError as error:
        raise InputError(f"--stretch {options.stretch}: allowed: {error.allowed}") from error


def _export(schedule: "Schedule", path: Path) -> None:
    if path.suffix == ".toml":
        schedule.save(path)
    else:
        schedule.save_csv(path)


def _replay(options: argparse.Namespace, chosen: _Chosen, console: "Console") -> "ReplayResult":
    from hpo.core.files import inside
    from hpo.core.parsing import read_toml
    from hpo.core.run_files import REPLAYS
    from hpo.engine.replay import replay_name, replay_schedule

    file, folders, document = options.study, [], None
    if file is not None:
        document, folders = read_toml(file, "study file"), [file.resolve().parent]
    elif chosen.results is not None:
        document, file = dict(chosen.results.study), options.run_dir / "results.json"
    assert document is not None
    changed = dict(_task_option(text) for text in options.task_option)
    out = options.out
    if out is None:
        changes = _changes(options, chosen, changed, document)
        out = inside(_home(options, document), REPLAYS, replay_name(chosen.label, options.seed, options.fresh, changes))
    total = len(chosen.schedule)
    with console.status(f"0 of {total} intervals") as status:
        return replay_schedule(
            chosen.schedule,
            document,
            seed=options.seed,
            out=out,
            search_path=folders,
            task_options=changed,
            fresh=options.fresh,
            executor=options.executor,
            device=options.device,
            threads=options.threads,
            file=str(file),
            schedule_file=str(options.schedule or file),
            observe=lambda done: status.update(f"{done} of {total} intervals"),
        )


def _home(options: argparse.Namespace, document: Mapping[str, Any]) -> Path:
    """Return the run directory to which a replay belongs."""
    from hpo.core.files import is_name

    if options.run_dir is not None:
        return Path(options.run_dir)
    study = document.get("study")
    name = study.get("name") if isinstance(study, Mapping) else None
    return Path("runs") / (name if isinstance(name, str) and is_name(name) else options.study.stem)


def _changes(
    options: argparse.Namespace, chosen: _Chosen, changed: Mapping[str, Any], document: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what differs from the study, which distinguishes replays."""
    found: dict[str, Any] = {}
    if changed:
        found["task"] = dict(changed)
    if options.stretch is not None or chosen.results is None:
        found["schedule"] = chosen.schedule.to_document()
    if options.study is not None and chosen.results is not None:
        found["study"] = str(document.get("task"))
    if options.device != "cpu":
        found["device"] = options.device
    if options.threads != 1:
        found["threads"] = options.threads
    return found


def _task_option(text: str) -> tuple[str, Any]:
    """Return the name and the value of a task option."""
    from hpo.core.errors import InputError
    from hpo.core.parsing import parse_toml

    key, equals, value = text.partition("=")
    try:
        parsed = parse_toml(f"value = {value}")
    except ValueError as error:
        raise InputError(
            f"--task-option {text}: {error}; allowed: KEY=VALUE, the value as in a study file: 600, 0.5, true, '\"text\"'"
        ) from error
    if not (key.isidentifier() and equals) or set(parsed) != {"value"} or not _is_plain(parsed["value"]):
        raise InputError(
            f"--task-option {text}: allowed: KEY=VALUE, with a number, a text, true, false or a list of them"
        )
    return key, parsed["value"]


def _is_plain(value: object) -> bool:
    return all(map(_is_plain, value)) if isinstance(value, list) else isinstance(value, (bool, int, float, str))


def _print(console: "Console", options: argparse.Namespace, chosen: _Chosen, result: "ReplayResult") -> None:
    """Print the test values, and how often the test set has been opened."""
    schedule, task = chosen.schedule, result.results["task"]
    size = "" if task["data"] is None else f" on {task['data']} examples"
    length = f"{len(schedule)} intervals of {amount(float(schedule.interval), schedule.unit)}"
    lines = [f"{chosen.label}, replayed with seed {options.seed}: {length}{size}"]
    if result.results["diverged"]:
        lines.append("Training diverged: there is no model.")
    lines += [f"test {name}: {_shown(value)}" for name, value in result.test.items()]
    lines += _note_on_own_seed(options, chosen, result)
    lines.append(_ledger(options.run_dir, chosen, result))
    lines.append(str(result.out / "replay.json"))
    for line in lines:
        console.print(line, markup=False)


def _shown(value: float | None) -> str:
    return "undefined" if value is None else str(value) if isinstance(value, int) else f"{value:.6g}"


def _note_on_own_seed(options: argparse.Namespace, chosen: _Chosen, result: "ReplayResult") -> list[str]:
    """Return a note if the replay repeats the study's own training."""
    source = chosen.schedule.source
    if source is None or options.fresh or source.seed != options.seed:
        return []
    own = f"Seed {options.seed} is the schedule's own:"
    if chosen.test is None or options.task_option or options.study or options.stretch:
        return [f"{own} the search has seen these initial weights; use --fresh for others."]
    was = None if chosen.results is None else chosen.results.environment.numerics
    if was is not None and was != result.results["environment"]["numerics"]:
        lanes = ", which trained members in stacks" if was.get("execution") == "stacked" else ""
        return [
            f"{own} trained again with other numerics than the study's{lanes}: the schedule is the same, the last bits are not."
        ]
    if dict(chosen.test) == result.test:
        return [f"{own} it reproduced the study's retrained model, with the same test values."]
    return [
        f"{own} it should have reproduced the study's retrained model, but the test values differ: so do code, data or numerics."
    ]


def _ledger(run_dir: Path | None, chosen: _Chosen, result: "ReplayResult") -> str:
    from hpo.core.run_files import REPLAYS
    from hpo.engine.replay import openings

    own = int(result.results["test_openings"])
    if run_dir is None or chosen.results is None:
        replays = openings(result.out.parent.parent) if result.out.parent.name == REPLAYS else own
        return f"The test set has been opened for {replays} replayed models here, including this one."
    study = sum(arm.test_openings for replicate in chosen.results.replicates for arm in replicate.arms.values())
    replays = openings(run_dir)
    if result.out.resolve().parent != (run_dir / REPLAYS).resolve():
        replays += own
    return (
        f"The test set has been opened {study} times by the finished replicates of {run_dir}, and {replays} times by its"
        " replays, including this one."
    )


if __name__ == "__main__":
    sys.exit(main())
