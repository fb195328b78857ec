"""A small study, and the same search written in Optuna, side by side: mostly the start of Python and its libraries.

    python tests/benchmarks/small_study.py --rounds 3

`digits`, TPE with the median pruner, 12 trials of 6 epochs, without a report. Each program runs in a process of its own: Optuna's,
which trains the same network in one process and keeps its trials in memory; `hpo` in one process; `hpo` with two workers. CPU
seconds are those of the process and of all its children; they hold on a machine that does other work, too. The best network is
trained once more and tested by all of them.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

OPTUNA = """
import numpy as np
import optuna
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

torch.set_num_threads(1)
optuna.logging.set_verbosity(optuna.logging.WARNING)
pixels, digits = load_digits(return_X_y=True)
x, y = torch.from_numpy((pixels / 16).astype(np.float32)), torch.from_numpy(digits)
rest, test = train_test_split(np.arange(len(y)), test_size=500, stratify=digits, random_state=0)
train, validation = train_test_split(rest, test_size=297, random_state=0)


def build(h):
    layers = [nn.Linear(64, h["width"]), nn.ReLU(), nn.Dropout(h["dropout"])]
    layers += [nn.Linear(h["width"], h["width"]), nn.ReLU(), nn.Dropout(h["dropout"]), nn.Linear(h["width"], 10)]
    net = nn.Sequential(*layers)
    sgd = torch.optim.SGD(
        net.parameters(), lr=h["lr"], momentum=h["momentum"], weight_decay=h["weight_decay"], fused=True
    )
    return net, sgd


def epoch(net, sgd, examples):
    net.train()
    for batch in torch.from_numpy(np.random.permutation(examples)).split(50):
        sgd.zero_grad()
        nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
        sgd.step()


def error(net, examples):
    net.eval()
    with torch.inference_mode():
        return float((net(x[examples]).argmax(1) != y[examples]).float().mean())


def objective(trial):
    net, sgd = build(
        {
            "lr": trial.suggest_float("lr", 1e-4, 1.0, log=True),
            "momentum": trial.suggest_float("momentum", 0.0, 0.99),
            "weight_decay": trial.suggest_float("weight_decay", 1e-6, 1e-1, log=True),
            "dropout": trial.suggest_float("dropout", 0.0, 0.8),
            "width": trial.suggest_int("width", 8, 128, log=True),
        }
    )
    for k in range(6):
        epoch(net, sgd, train)
        trial.report(found := error(net, validation), k)
        if trial.should_prune():
            raise optuna.TrialPruned
    return found


study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0), pruner=optuna.pruners.MedianPruner())
study.optimize(objective, n_trials=12)
net, sgd = build(study.best_params)
for _ in range(6):
    epoch(net, sgd, rest)
print(error(net, test))
"""

STUDY = """
[study]
name = "small"
population_size = 12
budget = 6
interval = 1
replicates = 1

[task]
name = "digits"

[[arms]]
label = "tpe"
optimizer = "tpe"
pruner = "median"
"""


def measured(command: Sequence[str], folder: str) -> tuple[float, float]:
    """Run a program; return its CPU seconds, those of its children included, and its seconds on the clock."""
    before, start = os.times(), time.perf_counter()
    subprocess.run([sys.executable, *command], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return cpu, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    found: dict[str, list[tuple[float, float]]] = {"Optuna": [], "hpo, serial": [], "hpo, 2 workers": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "small.toml").write_text(STUDY)
            hpo = ["-m", "hpo.run", "small.toml", "--no-report", "--quiet"]
            found["Optuna"].append(measured(["-c", OPTUNA], folder))
            found["hpo, serial"].append(measured([*hpo, "--executor", "serial", "--out", "serial"], folder))
            found["hpo, 2 workers"].append(measured([*hpo, "--workers", "2", "--out", "process"], folder))
        shown = [
            f"{name}: {times[-1][0]:.2f} s CPU, {times[-1][1]:.2f} s on the clock" for name, times in found.items()
        ]
        print("; ".join(shown), f"(load {os.getloadavg()[0]:.1f})", flush=True)
    for name in list(found)[1:]:
        ratios = [own[0] / other[0] for own, other in zip(found[name], found["Optuna"], strict=True)]
        print(f"{name} / Optuna, CPU: median {median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f}")


if __name__ == "__main__":
    main()
