"""Print the tables of the simulations, and list the claims that fail."""

import sys
from itertools import groupby
from time import perf_counter

from hpo.calibrate.simulations.rows import Row
from hpo.calibrate.simulations.run import calibrate


def print_tables(studies: int, seed: int, workers: int) -> bool:
    """Run the calibration, print its tables, and return whether every claim holds.

    Args:
        studies: number of studies per row.
        seed: seed of the simulations.
        workers: number of processes.
    """
    began = perf_counter()
    faults: list[Row] = []
    count = 0
    found = calibrate(studies, seed, workers)
    for heading, measurements in groupby(found, key=lambda item: item[0]):
        print(f"\n**{heading}**\n\n| what | data | n | studies | rate | expected | |\n|---|---|---:|---:|---:|---|---|")
        for _, rows in measurements:
            print(*(row.line for row in rows), sep="\n", flush=True)
            faults += [row for row in rows if row.mark == "wrong"]
            count += sum(row.claim is not None for row in rows)
    print(f"\n{count - len(faults)} of {count} claims hold, in {perf_counter() - began:.0f} s.")
    for row in faults:
        print(f"wrong: {row.what}, {row.data}, n = {row.n}: {row.rate:.4f}, expected {row.expected}", file=sys.stderr)
    return not faults
