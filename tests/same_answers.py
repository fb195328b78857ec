"""Compare what studies answer before and after a change of the code that must not change any answer.

    python tests/same_answers.py answers.json     # the file is not there: write it; it is there: compare with it

Runs `toy_figure2`, the known answers, and a study of five optimizers on digits, and takes from their results.json the replicates
and every number of the statistics, but neither words nor the digests of code. Answers of `digits` depend on the machine's vector
instructions: compare on one machine.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hpo

STUDIES = Path(hpo.__file__).parent.parent / "studies"
FIVE = {
    "study": {"name": "digits_five", "replicates": 6, "population_size": 6, "budget": 9, "interval": 1},
    "task": {"name": "digits"},
    "arms": [
        {"label": "random", "optimizer": "random_search"},
        {"label": "ASHA", "optimizer": "asha", "reduction_factor": 3, "min_budget": 1},
        {
            "label": "TPE",
            "optimizer": "optuna",
            "sampler": "tpe",
            "pruner": {"name": "median", "n_startup_trials": 2},
            "initial": 3,
        },
        {"label": "PBT", "optimizer": "pbt", "perturbation_interval": 3},
        {"label": "PB2", "optimizer": "pbt", "perturbation_interval": 3, "perturbation": "pb2"},
    ],
    "comparison": {"baseline": "random", "metric": "error"},
}
EVIDENCE = ("replicates", "comparisons", "several", "retraining", "time_to_target", "mean_ranks_over_budget")
PBT_COUNTERS = ("boundary_hits", "all_diverged")
"""Schema version 3 has them for every arm."""
IGNORED = ("population_hash", "words")
"""What depends on the source code of a task, and on how a verdict is put."""


def answers() -> dict[str, Any]:
    """Run the studies, and return by name what their results.json says."""
    specs = [hpo.load_study(STUDIES / "toy_figure2.toml"), hpo.parse_study(FIVE)]
    specs += [hpo.load_study(path) for path in sorted((STUDIES / "known_answers").glob("*.toml"))]
    found = {}
    for spec in specs:
        with tempfile.TemporaryDirectory() as folder:
            run_dir = Path(folder) / spec.name
            hpo.run_study(spec, out=run_dir, executor="serial", report=False)
            document = json.loads((run_dir / "results.json").read_text())
        found[spec.name] = {part: document.get(part) for part in EVIDENCE}
    return found


def differences(before: Any, after: Any, at: str = "") -> Iterator[str]:
    """Yield where two documents differ; a key that is null is a key that is absent, and so is a counter of PBT that is 0."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted((before.keys() | after.keys()) - {*IGNORED}):
            pair = before.get(key), after.get(key)
            if key not in PBT_COUNTERS or any(pair):
                yield from differences(*pair, f"{at}.{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, pair in enumerate(zip(before, after, strict=True)):
            yield from differences(*pair, f"{at}[{index}]")
    elif before != after:
        yield f"{at}: {str(before)[:80]} -> {str(after)[:80]}"


def main(path: Path) -> int:
    found = answers()
    if not path.exists():
        path.write_text(json.dumps(found))
        print(f"wrote {path}")
        return 0
    lines = list(differences(json.loads(path.read_text()), found))
    print("\n".join(lines[:200]) or "the same answers")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
