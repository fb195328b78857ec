"""Run directories made up for the tests: realistic numbers, no training."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

SPACE = {
    "lr": {"type": "float", "low": 1e-5, "high": 1.0, "log": True},
    "momentum": {"type": "float", "low": 0.1, "high": 0.9999, "log": False},
}
METRICS = [
    {"name": "error", "direction": "minimize", "complement": "accuracy", "counts": "error_count"},
    {"name": "loss", "direction": "minimize", "complement": None, "counts": None},
]
LABELS = ("random", "pbt-truncation", "pbt-exploit-best")


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


def schedule_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = []
    for row in sorted((row for row in rows if row["best"]), key=lambda row: row["interval"]):
        if steps and steps[-1]["hparams"] == row["hparams"] and steps[-1]["member"] == row["member"]:
            steps[-1]["stop"] += 1
        else:
            k = row["interval"]
            steps.append({"member": row["member"], "start": k, "stop": k + 1, "hparams": dict(row["hparams"])})
    return steps


def outcome(rows: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    best = max((row for row in rows if row["best"]), key=lambda row: row["interval"])
    errors = round((best["error"] or 0.9) * 10_000 * (0.93 + 0.004 * (seed % 3)))
    validation = {
        "error": best["error"],
        "loss": 0.05,
        "error_count": round((best["error"] or 0.9) * 12_000),
        "count": 12_000,
    }
    exploits = sum(row["parent"] not in (None, row["member"]) for row in rows)
    intervals = 1 + max(row["interval"] for row in rows)
    of_interval = [[row["error"] for row in rows if row["interval"] == k] for k in range(intervals)]
    return {
        "validation": validation,
        "test": {"error": errors / 10_000, "loss": 0.04, "error_count": errors, "count": 10_000},
        "test_diverged": False,
        "selected": {"member": best["member"], "interval": best["interval"]},
        "schedule": schedule_of(rows),
        "charged_intervals": len(rows),
        "computed_intervals": len(rows) - 15,
        "diverged": len({row["member"] for row in rows if row["error"] is None}),
        "exploits": exploits,
        "boundary_hits": exploits // 9,
        "all_diverged": 0,
        "test_openings": 1,
        "retrained_intervals": intervals,
        "optimizer_steps": 375 * len(rows),
        "examples": 24_000 * len(rows),
        "evaluations": len(rows),
        "retrains": 1,
        "tests": [{"error": errors / 10_000}],
        "correct": None,
        "incumbent": incumbent_of(of_interval),
        "finals": of_interval[-1],
    }


def incumbent_of(of_interval: list[list[float | None]]) -> list[float | None]:
    """The best error so far; None before the first finite one."""
    best: float | None = None
    curve = []
    for errors in of_interval:
        best = min((e for e in [best, *errors] if e is not None), default=None)
        curve.append(best)
    return curve


def comparison(replicates: list[dict[str, Any]], baseline: str, arm: str) -> dict[str, Any]:
    """One arm against the baseline, every key there; the numbers of tests are made up, each of them different."""
    d = [r["arms"][arm]["test"]["error"] - r["arms"][baseline]["test"]["error"] for r in replicates]
    n = len(d)
    known = n > 1
    mean = float(np.mean(d)) if d else 0.0
    found: dict[str, Any] = {
        "baseline": baseline,
        "arm": arm,
        "metric": "error",
        "n": n,
        "differences": d,
        "mean": mean if d else None,
        "variance": float(np.var(d, ddof=1)) if known else None,
        "p_sign_flip": 0.00390625 if known else None,
        "p_holm": 0.0078125 if known else None,
        "ci_low": mean - 0.0011 if known else None,
        "ci_high": mean + 0.0011 if known else None,
        "p_t": 0.0031415 if known else None,
        "d_z": -1.234 if known else None,
        "level": 0.025 if known else None,
        "p_tost_holm": 0.1332 if known else None,
        "numbers": numbers_of(d, mean) if known else None,
        "power": {
            "smallest_p": 0.5**n * 2,
            "least_n": 7,
            "detectable_d_z": 1.0101 if known else None,
        },
        "images": images_of(mean) if known else None,
        "incumbent": incumbent_band(replicates, baseline, arm) if known else None,
        "budget_equivalence": {
            "pool_arm": baseline,
            "arm": arm,
            "n": n,
            "population_size": 15,
            "limit": 5 * n,
            "k": 34.5,
            "ratio": 2.3,
            "more_than": False,
            "less_than": False,
            "interval": {"low": 1.4, "high": 3.1},
        },
        "anytime": None,
        "verdict": {
            "kind": "better" if known else "inconclusive",
            "words": f"{arm} has a lower test error than {baseline} (exact sign-flip p = 0.0078, Holm-adjusted).",
        },
    }
    return found


def numbers_of(d: list[float], mean: float) -> dict[str, Any]:
    return {
        "sign_flip_interval": {"low": mean - 0.0013, "high": mean + 0.0013},
        "bootstrap_t": {"low": mean - 0.0012, "high": mean + 0.0015},
        "bca": None,
        "wilcoxon_w": 3.5,
        "wilcoxon_p": 0.01953125,
        "sign_test_p": 0.021484375,
        "above": sum(x > 0 for x in d),
        "below": sum(x < 0 for x in d),
        "ties": sum(x == 0 for x in d),
        "hodges_lehmann": mean * 1.1,
        "hodges_lehmann_interval": {"low": None, "high": mean + 0.0014},
        "g_z": -1.128,
        "a12": 0.1357,
        "cliffs_delta": -0.7286,
        "win_share": 0.0625,
        "correlation": 0.4567,
        "unpaired_factor": 1.789,
        "equivalence": {
            "rope": 0.002,
            "p": 0.0666,
            "p_lower": 0.0666,
            "p_upper": 0.0011,
            "equivalent": False,
            "within": True,
        },
    }


def images_of(mean: float) -> dict[str, Any]:
    return {
        "crossed": {
            "n_seeds": 10,
            "n_images": 10_000,
            "mean": mean,
            "interval_seeds": {"low": mean - 0.0010, "high": mean + 0.0010},
            "interval_images": {"low": mean - 0.0016, "high": mean + 0.0016},
            "interval_crossed": {"low": mean - 0.0019, "high": mean + 0.0019},
            "df": 23.45,
            "truncated": False,
        },
        "noise_floor": {"n_seeds": 10, "n_images": 10_000, "floor": 0.00098},
    }


def incumbent_band(replicates: list[dict[str, Any]], baseline: str, arm: str) -> dict[str, Any]:
    curves = [
        np.array([r["arms"][label]["incumbent"] for r in replicates], dtype=np.float64) for label in (baseline, arm)
    ]
    d = curves[1] - curves[0]
    mean, half = d.mean(axis=0), 2.9 * d.std(axis=0, ddof=1) / np.sqrt(len(d)) + 2e-4
    points = [len(replicates[0]["arms"][arm]["finals"]) * (k + 1) for k in range(d.shape[1])]
    low: list[float | None] = [float(x) for x in mean - half]
    high: list[float | None] = [float(x) for x in mean + half]
    low[0] = high[0] = None
    return {
        "budgets": points,
        "mean": [float(x) for x in mean],
        "low": low,
        "high": high,
        "p": [0.2] * len(points),
        "better_from": points[len(points) // 2],
        "worse_from": None,
        "alpha": 0.05,
        "family": 2,
    }


def several_of(results: dict[str, Any]) -> dict[str, Any]:
    labels = [arm["label"] for arm in results["arms"]]
    pairs = [
        {"a": a, "b": b, "mean": -0.0004, "p_sign_flip": 0.0703125, "p_holm": 0.140625}
        for i, a in enumerate(labels)
        for b in labels[i + 1 :]
    ]
    return {
        "labels": labels,
        "n": len(results["replicates"]),
        "mean_ranks": [2.5 - 0.25 * i for i in range(len(labels))],
        "friedman": {"statistic": 8.123, "p": 0.0123, "method": "exact"},
        "pairs": pairs,
    }


def whole(results: dict[str, Any]) -> None:
    """Fill in what is said of all arms together."""
    labels = [arm["label"] for arm in results["arms"]]
    intervals = results["intervals"]
    results["retraining"] = {
        label: {
            "n": 10,
            "retrains": 3,
            "mean": 0.0123,
            "variance_search": 4.567e-7,
            "variance_training": 1.234e-7,
            "truncated": False,
            "share_search": 0.787,
        }
        for label in labels
    }
    results["time_to_target"] = {
        "target": 0.0145,
        "arms": {
            label: {"n": 3, "reached": 3 - i % 2, "times": [30, 45, None if i % 2 else 60], "median": 45.0}
            for i, label in enumerate(labels)
        },
    }
    results["mean_ranks_over_budget"] = {
        label: [round(1.5 + 0.4 * i - 0.01 * k, 3) for k in range(intervals)] for i, label in enumerate(labels)
    }
    if len(labels) > 2:
        results["several"] = several_of(results)


def anytime_of(differences: list[float]) -> dict[str, Any]:
    """A sign e-process with its confidence sequence: a plausible path that decides at the third pair."""
    path = [0.9 * (k + 1) + 0.4 * (k % 2) for k in range(len(differences))]
    mean = float(np.mean(differences))
    intervals = [None if k == 0 else {"low": None, "high": mean + 0.004 / (k + 1)} for k in range(len(path))]
    return {
        "n": len(path),
        "log_e": path[-1],
        "p": 0.0175,
        "threshold": 40.0,
        "alpha": 0.05,
        "family": 2,
        "decided_at": 3 if len(path) > 2 else None,
        "path": path,
        "interval": intervals[-1],
        "intervals": intervals,
        "mean": mean,
    }


def make_anytime(results: dict[str, Any]) -> None:
    """Turn a study into one that stops when it is decided: fixed-n numbers are gone."""
    results["comparison"]["stopping"] = "anytime"
    results["several"] = None
    for c in results["comparisons"]:
        for key in (
            "variance",
            "p_sign_flip",
            "p_holm",
            "ci_low",
            "ci_high",
            "p_t",
            "d_z",
            "numbers",
            "power",
            "images",
        ):
            c[key] = None
        c["incumbent"] = None
        c["anytime"] = anytime_of(c["differences"])
        c["verdict"] = {"kind": "better", "words": f"{c['arm']} is better: e = 21 after 3 seeds."}


def study_of(name: str, seeds: int, labels: tuple[str, ...], population: int) -> dict[str, Any]:
    study: dict[str, Any] = {
        "study": {"name": name, "replicates": seeds, "population_size": population, "budget": 10, "interval": 0.5},
        "task": {"name": "mnist", "batch_size": 64, "validation_size": 12000},
        "arms": [{"label": label} for label in labels],
    }
    if len(labels) > 1:
        study["comparison"] = {"baseline": labels[0], "metric": "error"}
    return study


def arm_of(label: str) -> dict[str, Any]:
    options: dict[str, Any] = {"select": "final"}
    if label != LABELS[0]:
        selection = {"name": "truncation", "quantile_fraction": 0.2} if label == LABELS[1] else {"name": "exploit_best"}
        perturbation = {"name": "multiply", "factors": [1.2, 0.8], "bounds": "clip"}
        options |= {"perturbation_interval": 0.5, "selection": selection, "perturbation": perturbation}
    name = "pbt" if label != LABELS[0] else "random_search"
    return {"label": label, "optimizer": name, "options": options, "stream": 0, "concurrency": 15} | {
        "derived_from": None,
        "replay": None,
        "without": [],
    }


def plan_of(labels: tuple[str, ...]) -> dict[str, Any]:
    return {
        "baseline": labels[0],
        "metric": "error",
        "direction": "minimize",
        "alpha": 0.05,
        "rope": 0.002,
        "target": 0.0145,
        "stopping": "fixed",
    }


def mnist_run(
    folder: Path,
    *,
    planned: int = 3,
    finished: int = 3,
    labels: tuple[str, ...] = LABELS,
    population: int = 15,
    intervals: int = 20,
) -> Path:
    """A run directory with results.json, segments.csv and execution.json."""
    folder.mkdir(parents=True, exist_ok=True)
    interval = 0.5
    replicates, lines = [], []
    for seed in range(finished):
        arms = {}
        for label in labels:
            rows = search(label, seed, population, intervals, interval)
            arms[label] = outcome(rows, seed)
            lines += [{"seed": seed, **row} for row in rows]
        replicates.append({"seed": seed, "population_hash": f"{seed:064x}", "arms": arms})
    results = {
        "schema_version": 2,
        "study": study_of("mnist_pbt_vs_random", planned, labels, population),
        "task": {
            "name": "mnist",
            "unit": "epochs",
            "primary": "error",
            "metrics": METRICS,
            "search_space": SPACE,
            "data": {"train": 48000, "validation": 12000, "development": 60000, "test": 10000},
        },
        "environment": {
            "versions": {"hpo": "0.1.0", "torch": "2.9.0", "numpy": "2.4.6"},
            "numerics": {"device": "cpu", "threads": 1},
            "commit": None,
        },
        "planned_seeds": list(range(planned)),
        "intervals": intervals,
        "interval": interval,
        "retrains": 1,
        "arms": [arm_of(label) for label in labels],
        "replicates": replicates,
        "comparison": plan_of(labels) if len(labels) > 1 else None,
        "registration": {"plan": {}, "sha256": "3fa9" + 60 * "0", "amendments": []} if len(labels) > 1 else None,
        "comparisons": [comparison(replicates, labels[0], label) for label in labels[1:]],
        "several": None,
        "time_to_target": None,
        "mean_ranks_over_budget": None,
    }
    if len(labels) > 1 and finished == planned:
        whole(results)
    write_json(folder / "results.json", results)
    write_segments(folder / "segments.csv", lines)
    sitting = {"started": "2026-07-01T10:00:00+00:00", "wall_seconds": 4321.0, "workers": 2, "executor": "process"}
    sitting |= {"device": "cpu", "segments_computed": 812, "cache_hits": 45, "retries": 0, "utilisation": 0.971}
    write_json(folder / "execution.json", {"sittings": [sitting], "checkpoint_bytes": 12345678})
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


TOY_ARMS = ("PBT", "Explore only", "Exploit only", "Grid search")


def toy_run(folder: Path, *, steps: int = 200, every: int = 4) -> Path:
    """Figure 2 of Jaderberg et al. 2017, simulated."""
    folder.mkdir(parents=True, exist_ok=True)
    lines, arms = [], {}
    for label in TOY_ARMS:
        rows = toy_search(label, steps, every)
        arms[label] = {
            "validation": {"score": 1.19, "theta0": 0.0, "theta1": 0.0},
            "test": {"score": {"PBT": 1.19, "Grid search": 0.39}.get(label, 1.1), "theta0": 0.0, "theta1": 0.0},
            "test_diverged": False,
            "selected": {"member": 0, "interval": steps - 1},
            "schedule": [{"member": 0, "start": 0, "stop": steps, "hparams": {"h0": 1.0, "h1": 0.0}}],
            "charged_intervals": 2 * steps,
            "computed_intervals": 2 * steps,
            "diverged": 0,
            "exploits": 3,
            "boundary_hits": 0,
        }
        lines += rows
    results = {
        "schema_version": 2,
        "study": {
            "study": {"name": "toy_figure2", "replicates": 1, "population_size": 2},
            "task": {"name": "toy"},
            "arms": [],
        },
        "task": {
            "name": "toy",
            "unit": "steps",
            "primary": "score",
            "metrics": [
                {"name": n, "direction": "maximize", "complement": None, "counts": None}
                for n in ("score", "theta0", "theta1")
            ],
            "search_space": {n: {"type": "float", "low": 0.0, "high": 1.0, "log": False} for n in ("h0", "h1")},
            "data": None,
        },
        "environment": {"versions": {}, "numerics": {}, "commit": "abc"},
        "planned_seeds": [0],
        "intervals": steps,
        "interval": 1,
        "retrains": 1,
        "arms": [
            {"label": label, "optimizer": "pbt", "options": {}, "stream": 0, "concurrency": 2} for label in TOY_ARMS
        ],
        "replicates": [{"seed": 0, "population_hash": "0", "arms": arms}],
        "comparisons": [],
    }
    write_json(folder / "results.json", results)
    with (folder / "segments.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(list(lines[0]))
        writer.writerows(list(line.values()) for line in lines)
    return folder


def toy_search(label: str, steps: int, every: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    theta = np.full((2, 2), 0.9)
    h = np.eye(2)
    rows = []
    for k in range(steps):
        parents = [0, 1]
        if k and k % every == 0:
            score = 1.2 - (theta**2).sum(axis=1)
            good, bad = int(score.argmax()), int(score.argmin())
            if label in ("PBT", "Exploit only") and good != bad:
                theta[bad] = theta[good]
                parents[bad] = good
                if label == "PBT":
                    h[bad] = h[good]
            if label in ("PBT", "Explore only"):
                h = np.clip(h + 0.1 * rng.standard_normal((2, 2)), 0, 1)
        theta = theta - 0.01 * 2 * h * theta
        for m in range(2):
            rows.append(
                {
                    "seed": 0,
                    "arm": label,
                    "member": m,
                    "interval": k,
                    "parent_member": parents[m] if k else "",
                    "on_best_lineage": int(m == 0),
                    "diverged": 0,
                    "hparam:h0": h[m, 0],
                    "hparam:h1": h[m, 1],
                    "metric:score": 1.2 - (theta[m] ** 2).sum(),
                    "metric:theta0": theta[m, 0],
                    "metric:theta1": theta[m, 1],
                }
            )
    return rows
