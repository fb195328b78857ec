"""The command line: `python -m hpo.store ls|verify|gc|export|import`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hpo.cli import DONE, FAILED, exit_code, harmless
from hpo.store.gc import collect
from hpo.store.listing import listing
from hpo.store.moving import add_rows, export_rows, import_rows
from hpo.store.verify import verify


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    out = argparse.ArgumentParser(
        prog="python -m hpo.store",
        description="Look after the stores of studies. PATH is a run directory, or a store that several studies share.",
        epilog="Exit codes: 0 done; 1 something is broken, or a file cannot be written; 2 the input is wrong.",
    )
    commands = out.add_subparsers(dest="command", required=True, metavar="ls|verify|gc|export|import")
    for name, words in (
        ("ls", "say what is in a store"),
        ("verify", "look whether all of it is there and as it was written, and say how to mend what is not"),
        ("gc", "remove files that nobody needs, and checkpoints above a budget"),
        ("export", "write the rows to a file, without checkpoint files"),
    ):
        commands.add_parser(name, help=words, description=words).add_argument("path", type=Path, metavar="PATH")
    gc, export = commands.choices["gc"], commands.choices["export"]
    which = gc.add_mutually_exclusive_group()
    which.add_argument(
        "--keep-best",
        action="store_true",
        help="of finished replicates, keep the checkpoints of the models that were tested, and no others",
    )
    which.add_argument(
        "--budget",
        type=_size,
        metavar="MIB",
        help="checkpoint files to keep, in MiB; above it, those of finished replicates are removed first",
    )
    gc.add_argument("--dry-run", action="store_true", help="say what would be removed, and remove nothing")
    export.add_argument("--out", type=Path, required=True, metavar="FILE", help="the file; JSON Lines")
    words = "make a run directory, or a shared store, of the rows in a file"
    bring = commands.add_parser("import", help=words, description=words)
    bring.add_argument("file", type=Path, metavar="FILE", help="from `export`")
    bring.add_argument(
        "--into", type=Path, required=True, metavar="DIR", help="an empty folder, or one that is not there"
    )
    bring.add_argument(
        "--shared",
        action="store_true",
        help="add segments and tests alone to DIR, a store that studies share, or a new one",
    )
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    return exit_code(lambda: _main(parser().parse_args(arguments)))


def _main(options: argparse.Namespace) -> int:
    if options.command == "ls":
        for line in listing(options.path):
            print(harmless(line))
    elif options.command == "verify":
        problems = verify(options.path)
        for problem in problems:
            print(harmless(f"{problem.what}\n  to mend it: {problem.mend}"))
        print(f"{options.path}: {len(problems) or 'nothing'} broken")
        return FAILED if problems else DONE
    elif options.command == "gc":
        _collect(options)
    elif options.command == "export":
        segments = export_rows(options.path, options.out)
        print(
            f"{options.out}: {segments} segments; import it with `python -m hpo.store import {options.out} --into DIR`"
        )
    elif options.shared:
        print(f"{options.into}: {add_rows(options.file, options.into)} segments more")
    else:
        segments = import_rows(options.file, options.into)
        print(f"{options.into}: {segments} segments; checkpoints that are not there are computed again when needed")
    return DONE


def _collect(options: argparse.Namespace) -> None:
    budget = None if options.budget is None else int(options.budget * 2**20)
    done = collect(options.path, budget=budget, keep_best=options.keep_best, dry_run=options.dry_run)
    verb = "would remove" if options.dry_run else "removed"
    print(
        f"{options.path}: {verb} {done.removed_bytes / 2**20:.1f} MiB: {done.evicted} checkpoints,"
        f" {done.unnamed} checkpoint files that no row names, {done.leftovers} temporary files;"
        f" {done.kept_bytes / 2**20:.1f} MiB of checkpoints stay"
    )


def _size(text: str) -> float:
    number = float(text)
    if not 0 <= number < 2**40:
        raise argparse.ArgumentTypeError(f"{text}: a size in MiB from 0 is needed")
    return number


if __name__ == "__main__":
    sys.exit(main())
