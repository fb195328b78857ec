"""Run directories made up for the tests: realistic numbers, no training. What they hold is written by the real writer."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hpo.core.segments import Step
from hpo.core.task import Metric
from hpo.results.comparisons import with_statistics
from hpo.results.document import (
    SCHEMA_VERSION,
    ArmResult,
    ArmSettings,
    Correctness,
    DecisionRule,
    Environment,
    Evidence,
    Executions,
    RegisteredPlan,
    Replicate,
    Selected,
    TaskRecord,
)
from hpo.results.file import dumps

SPACE = {
    "lr": {"type": "float", "low": 1e-5, "high": 1.0, "log": True},
    "momentum": {"type": "float", "low": 0.1, "high": 0.9999, "log": False},
}
METRICS = (Metric("error", complement="accuracy", counts="error_count", worst=1.0), Metric("loss"))
LABELS = ("random", "pbt-truncation", "pbt-exploit-best")
IMAGES = 10_000
"""Of the test set."""


def mnist_error(lr: float, momentum: float, epoch: float, rng: np.random.Generator) -> float | None:
    """An error that looks like MNIST's: a best effective rate, chance level far below it, divergence far above."""
    off = np.log10(lr / (1 - momentum)) - np.log10(0.2)
    if off > 1.35:
        return None
    floor = 0.011 + 0.004 * min(off**2, 60)
    speed = 0.9 / (1 + np.exp(-(3.2 + 2.4 * min(off, 0))))
    error = (
        floor
        + 0.045 / (1 + 1.7 * epoch) ** 1.3
        + 0.85 * np.exp(-speed * 7 * epoch**0.6)
        + 0.0006 * rng.standard_normal()
    )
    if off > 0.9:
        error = 0.9 + 0.004 * rng.standard_normal()
    return float(np.round(np.clip(error, 0.004, 0.905), 6))


def search(label: str, seed: int, population: int, intervals: int, interval: float) -> list[dict[str, Any]]:
    """The rows of one arm: random search, or PBT with truncation or exploit-best."""
    start = np.random.default_rng([seed, 0])
    rng = np.random.default_rng([seed, 1])
    hparams = [
        {"lr": float(10 ** start.uniform(-5, 0)), "momentum": float(start.uniform(0.1, 0.9999))}
        for _ in range(population)
    ]
    parents: list[int | None] = [None] * population
    rows = []
    for k in range(intervals):
        errors = [mnist_error(h["lr"], h["momentum"], (k + 1) * interval, rng) for h in hparams]
        for m in range(population):
            rows.append(
                {
                    "arm": label,
                    "member": m,
                    "interval": k,
                    "parent": parents[m],
                    "hparams": dict(hparams[m]),
                    "error": errors[m],
                }
            )
        parents = list(range(population))
        order = sorted(range(population), key=lambda m: 9.0 if errors[m] is None else errors[m])
        cut = max(1, population // 5)
        losers = [] if label == LABELS[0] else order[-cut:] if label == LABELS[1] else order[1:]
        for loser in losers:
            donor = order[int(rng.integers(cut))] if label == LABELS[1] else order[0]
            factors = rng.choice([0.8, 1.2], 2)
            parents[loser] = donor
            copied = hparams[donor]
            hparams[loser] = {
                "lr": float(min(copied["lr"] * factors[0], 1.0)),
                "momentum": float(min(max(copied["momentum"] * factors[1], 0.1), 0.9999)),
            }
    mark_lineage(rows, intervals)
    return rows


def mark_lineage(rows: list[dict[str, Any]], intervals: int) -> None:
    at = {(row["member"], row["interval"]): row for row in rows}
    finals = [row for row in rows if row["interval"] == intervals - 1 and row["error"] is not None]
    row = min(finals, key=lambda row: row["error"]) if finals else at[0, intervals - 1]
    for other in rows:
        other["best"] = False
    while True:
        row["best"] = True
        if row["parent"] is None:
            return
        row = at[row["parent"], row["interval"] - 1]


def schedule_of(rows: list[dict[str, Any]]) -> tuple[Step, ...]:
    steps: list[Step] = []
    for row in sorted((row for row in rows if row["best"]), key=lambda row: row["interval"]):
        k, last = row["interval"], steps[-1] if steps else None
        if last and last.hparams == row["hparams"] and last.member == row["member"]:
            steps[-1] = replace(last, stop=k + 1)
        else:
            steps.append(Step(row["member"], k, k + 1, dict(row["hparams"])))
    return tuple(steps)


def result(rows: list[dict[str, Any]], seed: int) -> ArmResult:
    best = max((row for row in rows if row["best"]), key=lambda row: row["interval"])
    rate = 0.9 if best["error"] is None else best["error"]
    wrong = np.random.default_rng([seed, 2]).random(IMAGES) < rate * (0.93 + 0.004 * (seed % 3))
    errors = int(wrong.sum())
    test = {"error": errors / IMAGES, "loss": 0.04, "error_count": errors, "count": IMAGES}
    exploits = sum(row["parent"] not in (None, row["member"]) for row in rows)
    intervals = 1 + max(row["interval"] for row in rows)
    of_interval = [[row["error"] for row in rows if row["interval"] == k] for k in range(intervals)]
    return ArmResult(
        validation={"error": best["error"], "loss": 0.05, "error_count": round(rate * 12_000), "count": 12_000},
        test=test,
        tests=(test,),
        test_diverged=False,
        selected=Selected(best["member"], best["interval"]),
        schedule=schedule_of(rows),
        charged_intervals=len(rows),
        computed_intervals=len(rows),
        optimizer_steps=375 * len(rows),
        examples=24_000 * len(rows),
        evaluations=len(rows),
        retrained_intervals=intervals,
        retrains=1,
        diverged=len({row["member"] for row in rows if row["error"] is None}),
        exploits=exploits,
        boundary_hits=exploits // 9,
        all_diverged=0,
        test_openings=1,
        incumbent=incumbent_of(of_interval),
        finals=tuple(of_interval[-1]),
        correct=Correctness.of([~wrong]),
    )


def incumbent_of(of_interval: list[list[float | None]]) -> tuple[float | None, ...]:
    """The best error so far; None before the first finite one."""
    best: float | None = None
    curve = []
    for errors in of_interval:
        best = min((e for e in [best, *errors] if e is not None), default=None)
        curve.append(best)
    return tuple(curve)


def study_of(name: str, seeds: int, labels: tuple[str, ...], population: int) -> dict[str, Any]:
    study: dict[str, Any] = {
        "study": {"name": name, "replicates": seeds, "population_size": population, "budget": 10, "interval": 0.5},
        "task": {"name": "mnist", "batch_size": 64, "validation_size": 12000},
        "arms": [{"label": label} for label in labels],
    }
    if len(labels) > 1:
        study["comparison"] = {"baseline": labels[0], "metric": "error"}
    return study


def arm_of(label: str) -> ArmSettings:
    options: dict[str, Any] = {"select": "final"}
    if label != LABELS[0]:
        selection = {"name": "truncation", "quantile_fraction": 0.2} if label == LABELS[1] else {"name": "exploit_best"}
        perturbation = {"name": "multiply", "factors": [1.2, 0.8], "bounds": "clip"}
        options |= {"perturbation_interval": 0.5, "selection": selection, "perturbation": perturbation}
    return ArmSettings(label, "random_search" if label == LABELS[0] else "pbt", options, 0, 15, (), None, None)


def mnist_run(
    folder: Path,
    *,
    planned: int = 3,
    finished: int = 3,
    labels: tuple[str, ...] = LABELS,
    population: int = 15,
    intervals: int = 20,
    stopping: Any = "fixed",
) -> Path:
    """A run directory with results.json, segments.csv and execution.json."""
    folder.mkdir(parents=True, exist_ok=True)
    interval = 0.5
    replicates, lines = [], []
    for seed in range(finished):
        arms = {}
        for label in labels:
            rows = search(label, seed, population, intervals, interval)
            arms[label] = result(rows, seed)
            lines += [{"seed": seed, **row} for row in rows]
        replicates.append(Replicate(seed, f"{seed:064x}", arms))
    rule = DecisionRule(labels[0], "error", "minimize", 0.05, 0.002, 0.0145, stopping)
    registered = RegisteredPlan(None, {}, "3fa9" + 60 * "0", ())
    evidence = Evidence(
        schema_version=SCHEMA_VERSION,
        study=study_of("mnist_pbt_vs_random", planned, labels, population),
        task=TaskRecord(
            name="mnist",
            unit="epochs",
            primary="error",
            metrics=METRICS,
            search_space=SPACE,
            data={"train": 48000, "validation": 12000, "development": 60000, "test": IMAGES},
            fingerprint="mnist",
        ),
        environment=Environment({"hpo": "0.1.0", "numpy": "2.4.6"}, {"device": "cpu", "threads": "1"}, None),
        planned_seeds=tuple(range(planned)),
        intervals=intervals,
        interval=interval,
        retrains=1,
        arms=tuple(map(arm_of, labels)),
        registration=registered if len(labels) > 1 else None,
        comparison=rule if len(labels) > 1 else None,
        replicates=tuple(replicates),
    )
    (folder / "results.json").write_bytes(dumps(with_statistics(evidence)))
    write_segments(folder / "segments.csv", lines)
    session = {"started": "2026-07-01T10:00:00+00:00", "wall_seconds": 4321.0, "workers": 2, "executor": "process"}
    session |= {"device": "cpu", "segments_computed": 812, "cache_hits": 45, "retries": 0, "utilisation": 0.971}
    (folder / "execution.json").write_bytes(dumps(Executions((session,), 12345678)))
    return folder


def edited(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Change what a results.json holds."""
    results = read_results(folder)
    change(results)
    write_json(folder / "results.json", results)
    return folder


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def read_results(folder: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return value


def write_segments(path: Path, lines: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        head = ["seed", "arm", "member", "interval", "parent_member", "on_best_lineage", "diverged"]
        writer.writerow([*head, "hparam:lr", "hparam:momentum", "metric:error", "metric:loss"])
        for line in lines:
            error, parent = line["error"], line["parent"]
            cells = [line["seed"], line["arm"], line["member"], line["interval"], "" if parent is None else parent]
            cells += [int(line["best"]), int(error is None), line["hparams"]["lr"], line["hparams"]["momentum"]]
            writer.writerow([*cells, "" if error is None else error, "" if error is None else 3 * error])
