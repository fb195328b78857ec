"""The command line: `hpo store ls|verify|gc|export|import`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hpo.cli import DONE, FAILED, exit_code, harmless


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    out = argparse.ArgumentParser(
        prog="hpo store",
        description="Inspect and clean up stores. PATH is a run directory or a shared store.",
        epilog="Exit codes: 0 success; 1 the store is damaged, or a file cannot be written; 2 the input is wrong.",
    )
    commands = out.add_subparsers(dest="command", required=True, metavar="ls|verify|gc|export|import")
    for name, words in (
        ("ls", "list what a store holds"),
        ("verify", "check a store for missing and damaged parts, and say how to repair them"),
        ("gc", "remove unused files, and checkpoints above a budget"),
        ("export", "write the rows to a file, without the checkpoint files"),
    ):
        commands.add_parser(name, help=words, description=words).add_argument("path", type=Path, metavar="PATH")
    gc, export = commands.choices["gc"], commands.choices["export"]
    which = gc.add_mutually_exclusive_group()
    which.add_argument(
        "--keep-best",
        action="store_true",
        help="in finished replicates, keep only the checkpoints of tested models",
    )
    which.add_argument(
        "--budget",
        type=_size,
        metavar="MIB",
        help="MiB of checkpoint files to keep; those of finished replicates are removed first",
    )
    gc.add_argument("--dry-run", action="store_true", help="show what would be removed, and remove nothing")
    export.add_argument("--out", type=Path, required=True, metavar="FILE", help="the file to write, as JSON Lines")
    words = "create a run directory or a shared store from the rows in a file"
    bring = commands.add_parser("import", help=words, description=words)
    bring.add_argument("file", type=Path, metavar="FILE", help="a file written by `export`")
    bring.add_argument("--into", type=Path, required=True, metavar="DIR", help="an empty or new folder")
    bring.add_argument(
        "--shared",
        action="store_true",
        help="add only the segments and tests, to a new or existing shared store DIR",
    )
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    return exit_code(lambda: _main(parser().parse_args(arguments)))


def _main(options: argparse.Namespace) -> int:
    from hpo.store.export import add_rows, export_rows, import_rows
    from hpo.store.listing import listing
    from hpo.store.verify import verify

    if options.command == "ls":
        for line in listing(options.path):
            print(harmless(line))
    elif options.command == "verify":
        problems = verify(options.path)
        for problem in problems:
            print(harmless(f"{problem.what}\n  to repair it: {problem.repair}"))
        print(f"{options.path}: {len(problems) or 'no'} problem{'' if len(problems) == 1 else 's'}")
        return FAILED if problems else DONE
    elif options.command == "gc":
        _collect(options)
    elif options.command == "export":
        segments = export_rows(options.path, options.out)
        print(f"{options.out}: {segments} segments; import it with `hpo store import {options.out} --into DIR`")
    elif options.shared:
        print(f"{options.into}: {add_rows(options.file, options.into)} new segments")
    else:
        segments = import_rows(options.file, options.into)
        print(f"{options.into}: {segments} segments; missing checkpoints are recomputed when needed")
    return DONE


def _collect(options: argparse.Namespace) -> None:
    from hpo.store.gc import collect

    budget = None if options.budget is None else int(options.budget * 2**20)
    done = collect(options.path, budget=budget, keep_best=options.keep_best, dry_run=options.dry_run)
    verb = "would remove" if options.dry_run else "removed"
    print(
        f"{options.path}: {verb} {done.removed_bytes / 2**20:.1f} MiB: {done.evicted} checkpoints,"
        f" {done.unnamed} unreferenced checkpoint files, {done.leftovers} temporary files;"
        f" {done.kept_bytes / 2**20:.1f} MiB of checkpoints kept"
    )


def _size(text: str) -> float:
    number = float(text)
    if not 0 <= number < 2**40:
        raise argparse.ArgumentTypeError(f"{text}: allowed: a size in MiB from 0")
    return number


if __name__ == "__main__":
    sys.exit(main())
