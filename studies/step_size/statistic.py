"""Does the perturbation interval matter more than the variant? The statistic of `studies/step_size.toml`, from its runs.

    python studies/step_size/statistic.py runs/step_size_digits runs/step_size_mnist1d

The label of an arm is a variant and an interval. docs/reference/studies.md explains the statistic.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpo.statistics import holm_adjusted, sign_flip, sign_flip_interval

Floats = NDArray[np.float64]


def tables_of(results: Mapping[str, object]) -> tuple[list[str], list[str], Floats]:
    """Return the variants, the intervals, and the test values, shape (seeds, variants, intervals).

    Raises:
        ValueError: a variant lacks an interval, or a finite value.
    """
    metric = results["task"]["metrics"][0]["name"]
    labels = [arm["label"].rpartition(" ")[::2] for arm in results["arms"]]
    variants, intervals = (list(dict.fromkeys(names)) for names in zip(*labels, strict=True))
    tables = np.full((len(results["replicates"]), len(variants), len(intervals)), np.nan)
    for table, replicate in zip(tables, results["replicates"], strict=True):
        for label, arm in replicate["arms"].items():
            variant, _, interval = label.rpartition(" ")
            value = arm["test"][metric]
            table[variants.index(variant), intervals.index(interval)] = np.nan if value is None else value
    if not np.isfinite(tables).all():
        raise ValueError("every variant needs a finite test value at every interval and seed")
    return variants, intervals, tables


def statistic(table: Floats) -> float:
    """Return the variance of the intervals' means minus the variance of the variants' means.

    Args:
        table: one seed's values, shape (variants, intervals).
    """
    return float(table.mean(axis=0).var(ddof=1) - table.mean(axis=1).var(ddof=1))


def without_noise(table: Floats) -> float:
    """Return an estimate of the statistic without what noise adds to both variances.

    With residuals of variance s2 in the additive model, V variants and I intervals, noise adds s2 / V to the variance of the
    intervals' means, and s2 / I to that of the variants' means.
    """
    variants, intervals = table.shape
    rows, columns = table.mean(axis=1, keepdims=True), table.mean(axis=0, keepdims=True)
    s2 = float(((table - rows - columns + table.mean()) ** 2).sum() / ((variants - 1) * (intervals - 1)))
    return statistic(table) - s2 / variants + s2 / intervals


def main() -> None:
    """Print the statistic of each run, its interval and its p."""
    arguments = argparse.ArgumentParser(
        description="Compare the effect of the perturbation interval with the variant's."
    )
    arguments.add_argument("run_dirs", nargs="+", type=Path, metavar="RUN_DIR")
    found = []
    for run_dir in arguments.parse_args().run_dirs:
        results = json.loads((run_dir / "results.json").read_text())
        found.append((results["study"]["study"]["name"], *tables_of(results)))
    per_seed = [np.array([statistic(table) for table in tables]) for *_, tables in found]
    adjusted = holm_adjusted([sign_flip(values).p for values in per_seed])
    for (name, variants, intervals, tables), values, p in zip(found, per_seed, adjusted, strict=True):
        print(f"{name}: {len(variants)} variants, {len(intervals)} intervals, {len(tables)} seeds")
        for kind, names, axes in (("interval", intervals, (0, 1)), ("variant", variants, (0, 2))):
            means = tables.mean(axis=axes)
            print(
                f"  mean by {kind}: " + ", ".join(f"{each} {mean:.4g}" for each, mean in zip(names, means, strict=True))
            )
        interval = sign_flip_interval(values)
        ends = [] if interval is None else [interval.low, interval.high]
        shown = " to ".join("unbounded" if end is None else f"{end:.3g}" for end in ends) or "unbounded"
        corrected = np.mean([without_noise(table) for table in tables])
        print(f"  variance of the intervals' means - variance of the variants' means: {values.mean():.3g}, 95% {shown}")
        print(f"  sign-flip p = {p:.3g} (Holm over {len(found)}); without noise, not tested: {corrected:.3g}")


if __name__ == "__main__":
    main()
