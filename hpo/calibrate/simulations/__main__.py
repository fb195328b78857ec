"""`python -m hpo.calibrate.simulations`: print the tables, and list the claims that fail."""

import argparse
import sys
from collections.abc import Sequence
from itertools import groupby
from time import perf_counter

from hpo.calibrate import simulations as package
from hpo.calibrate.simulations.rows import Row
from hpo.calibrate.simulations.run import calibrate
from hpo.core.interpreters import usable_cores


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the calibration, print its tables, and return 1 if a claim fails."""
    parser = argparse.ArgumentParser(
        prog="python -m hpo.calibrate.simulations", description=(package.__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--studies", type=int, default=2000, metavar="N", help="studies per row (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the simulations (default: 0)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: the usable cores)")
    options = parser.parse_args(arguments)
    if options.studies < 1:
        parser.error(f"--studies must be 1 or more, got {options.studies}")
    began = perf_counter()
    faults: list[Row] = []
    count = 0
    found = calibrate(options.studies, options.seed, options.workers or usable_cores())
    for heading, measurements in groupby(found, key=lambda item: item[0]):
        print(f"\n**{heading}**\n\n| what | data | n | studies | rate | expected | |\n|---|---|---:|---:|---:|---|---|")
        for _, rows in measurements:
            print(*(row.line for row in rows), sep="\n", flush=True)
            faults += [row for row in rows if row.mark == "wrong"]
            count += sum(row.claim is not None for row in rows)
    print(f"\n{count - len(faults)} of {count} claims hold, in {perf_counter() - began:.0f} s.")
    for row in faults:
        print(f"wrong: {row.what}, {row.data}, n = {row.n}: {row.rate:.4f}, expected {row.expected}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
