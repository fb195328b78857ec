"""What `hpo.tune` costs beside Optuna's study in memory: the marginal cost of a trial, and the time to the first one.

    python tests/benchmarks/tune.py --rounds 3

The function is empty and the search random, with two hyperparameters, in one process. `hpo` keys, journals and stores every
trial, and writes its tables; Optuna keeps its trials in memory. The marginal cost is the time that 10,000 trials take beyond 1,000,
divided by 9,000. Each search runs in a process of its own, in turns. The time to the first trial is that from `import hpo` to the
first call of the function, with imports.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

HPO = """
import sys
import time

start = time.perf_counter()
import hpo

first = []


def objective(hparams):
    if not first:
        first.append(time.perf_counter() - start)
    return hparams["x"]


space = {"x": hpo.Float(0, 1), "y": hpo.Float(0, 1)}
options = {"trials": int(sys.argv[1]), "optimizer": sys.argv[2], "report": sys.argv[3] == "report", "out": sys.argv[4]}
wall, cpu = time.perf_counter(), time.process_time()
hpo.tune(objective, space, **options)
print(time.perf_counter() - wall, time.process_time() - cpu, first[0])
"""

OPTUNA = """
import sys
import time

start = time.perf_counter()
import optuna

optuna.logging.set_verbosity(optuna.logging.WARNING)
first = []


def objective(trial):
    x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
    if not first:
        first.append(time.perf_counter() - start)
    return x


sampler = {"tpe": optuna.samplers.TPESampler, "random_search": optuna.samplers.RandomSampler}[sys.argv[2]]
wall, cpu = time.perf_counter(), time.process_time()
optuna.create_study(sampler=sampler(seed=0)).optimize(objective, n_trials=int(sys.argv[1]))
print(time.perf_counter() - wall, time.process_time() - cpu, first[0])
"""

PROGRAMS = {"Optuna": (OPTUNA, "none"), "hpo": (HPO, "none"), "hpo, with its report": (HPO, "report")}


def measured(program: str, trials: int, optimizer: str) -> tuple[float, float, float]:
    """Run a search; return its seconds on the clock and on a core, and the seconds to its first trial."""
    text, report = PROGRAMS[program]
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "script.py")
        script.write_text(text)
        command = [sys.executable, script, str(trials), optimizer, report, f"{folder}/run"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=folder)
    wall, cpu, first = map(float, done.stdout.split())
    return wall, cpu, first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    marginal: dict[str, list[tuple[float, float]]] = {name: [] for name in PROGRAMS}
    for _ in range(rounds):
        for name, costs in marginal.items():
            (wall, cpu, _), (more_wall, more_cpu, _) = (
                measured(name, count, "random_search") for count in (1000, 10_000)
            )
            costs.append(((more_wall - wall) / 9, (more_cpu - cpu) / 9))
    for name, costs in marginal.items():
        wall, cpu = (median(each) for each in zip(*costs, strict=True))
        print(f"{name}: {wall:.3f} ms per trial on the clock, {cpu:.3f} ms on a core")
    for optimizer in ("random_search", "tpe"):
        for name in ("Optuna", "hpo"):
            first = median(measured(name, 10, optimizer)[2] for _ in range(rounds))
            print(f"{name}, {optimizer}: {first:.2f} s to the first trial")
    print(f"(load {os.getloadavg()[0]:.1f})")


if __name__ == "__main__":
    main()
