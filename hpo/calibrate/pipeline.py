"""Calibrate the whole pipeline with studies in which no arm is better.

`hpo calibrate` runs many small studies of a noisy toy task through the real runner. In each, both arms are the same
optimizer on the same initial population, with independent noise (another `stream`), so any difference is due to chance. A pipeline
that pairs, selects, retrains, tests and decides correctly rejects as often as an exact test may, and no more often. The statistics
alone are calibrated by `hpo calibrate statistics`.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

from hpo.calibrate import audit
from hpo.calibrate.audit import OPTIMIZERS, null_study, run_study_document
from hpo.core.interpreters import safe_path

ALPHA = 0.05
_BAND = 0.999
_CHUNK = 10
_LARGEST_ZERO_SHARE = 0.01


@dataclass(frozen=True)
class Finding:
    """The outcome of many studies of one optimizer against itself.

    Args:
        optimizer: its name.
        replicates: number of replicates per study.
        studies: number of studies.
        rejections: number of studies that found a difference.
        covered: number of t intervals that contain 0.
        zeros: number of differences that are exactly 0.
        unequal: number of studies whose two arms were charged different budgets.
    """

    optimizer: str
    replicates: int
    studies: int
    rejections: int
    covered: int
    zeros: int
    unequal: int

    @property
    def size(self) -> float:
        """The rejection rate of an exact test with this many pairs and no ties."""
        patterns = 1 << self.replicates
        return 2 * math.floor(ALPHA * patterns / 2) / patterns

    @property
    def bands(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The expected numbers of rejections and of intervals that contain 0, as 99.9% binomial bands."""
        from scipy.stats import binom

        tail = (1 - _BAND) / 2
        found = []
        for share in (self.size, 1 - ALPHA):
            low, high = (int(binom.ppf(at, self.studies, share)) for at in (tail, 1 - tail))
            found.append((low, high))
        return found[0], found[1]

    @property
    def faults(self) -> list[str]:
        """Descriptions of what is wrong, if anything."""
        (fewest, most), (least_covered, most_covered) = self.bands
        faults = []
        if not fewest <= self.rejections <= most:
            faults.append(f"{self.rejections} rejections, expected {fewest} to {most}")
        if not least_covered <= self.covered <= most_covered:
            faults.append(f"{self.covered} t intervals contain 0, expected {least_covered} to {most_covered}")
        if self.zeros > _LARGEST_ZERO_SHARE * self.studies * self.replicates:
            faults.append(f"{self.zeros} differences are exactly 0: arms that share their noise cannot be calibrated")
        if self.unequal:
            faults.append(f"{self.unequal} studies charged their arms different budgets")
        return faults

    def __add__(self, other: "Finding") -> "Finding":
        return Finding(
            self.optimizer,
            self.replicates,
            self.studies + other.studies,
            self.rejections + other.rejections,
            self.covered + other.covered,
            self.zeros + other.zeros,
            self.unequal + other.unequal,
        )


def judged(optimizer: str, results: Sequence[Mapping[str, Any]]) -> Finding:
    """Return the finding from the results of several studies of one optimizer against itself."""
    comparisons = [found["comparisons"][0] for found in results]
    charged = [
        {arm["charged_intervals"] for replicate in found["replicates"] for arm in replicate["arms"].values()}
        for found in results
    ]
    return Finding(
        optimizer=optimizer,
        replicates=comparisons[0]["n"],
        studies=len(results),
        rejections=sum((found["p_holm"] or 0.0) <= ALPHA for found in comparisons),
        covered=sum((found["ci_low"] or 0.0) <= 0 <= (found["ci_high"] or 0.0) for found in comparisons),
        zeros=sum(difference == 0 for found in comparisons for difference in found["differences"]),
        unequal=sum(len(budgets) != 1 for budgets in charged),
    )


def _chunk(optimizer: str, replicates: int, studies: range) -> Finding:
    seeds = (range(index * replicates, (index + 1) * replicates) for index in studies)
    documents = (null_study(OPTIMIZERS[optimizer], each, alpha=ALPHA) for each in seeds)
    return judged(optimizer, [run_study_document(document) for document in documents])


def calibrate(optimizer: str, *, studies: int, replicates: int, workers: int) -> Finding:
    """Run studies of one optimizer against itself.

    Args:
        optimizer: a name in `OPTIMIZERS`.
        studies: number of studies, each with its own seeds.
        replicates: number of replicates per study.
        workers: number of processes.
    """
    chunks = [range(start, min(start + _CHUNK, studies)) for start in range(0, studies, _CHUNK)]
    total = Finding(optimizer, replicates, 0, 0, 0, 0, 0)
    if workers == 1:
        for chunk in chunks:
            total += _chunk(optimizer, replicates, chunk)
        return total
    with safe_path(), ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for found in pool.map(_chunk, [optimizer] * len(chunks), [replicates] * len(chunks), chunks):
            total += found
    return total


def print_table(studies: int, replicates: Sequence[int], workers: int) -> bool:
    """Calibrate every optimizer, apply the audit and print what comes of it; return whether all is as it should be.

    Args:
        studies: number of studies per row.
        replicates: numbers of replicates per study, each a row.
        workers: number of processes.
    """
    print(
        "| optimizer against itself | replicates | studies | rejected at .05 | expected | t interval holds 0 | zero |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|")
    faults = []
    for optimizer in OPTIMIZERS:
        for number in replicates:
            found = calibrate(optimizer, studies=studies, replicates=number, workers=workers)
            (fewest, most), _ = found.bands
            print(
                f"| {optimizer} | {number} | {found.studies:,} | {found.rejections / found.studies:.4f}"
                f" | {fewest / found.studies:.4f} to {most / found.studies:.4f} | {found.covered / found.studies:.4f}"
                f" | {found.zeros} of {found.studies * number:,} |",
                flush=True,
            )
            faults += [f"{optimizer}, {number} replicates: {fault}" for fault in found.faults]
    faults += audit.faults()
    if not faults:
        print(
            "\nThe same arm under two labels: every difference is 0, p = 1, budgets are equal. Without anything to learn, the"
            " winners' test error is that of guessing. A better arm is called better, whichever arm is the baseline."
        )
    for fault in faults:
        print(f"wrong: {fault}", file=sys.stderr)
    return not faults
