"""Audits of the whole pipeline: small studies with a known right outcome, run by the real runner.

Each returns a list of faults in words. They detect broken pairing, leaks of the test set, unequal budgets and swapped arms.
`hpo calibrate` runs them after the calibration.
"""

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

OPTIMIZERS: Mapping[str, Mapping[str, Any]] = {
    "random search": {"optimizer": "random_search"},
    "PBT": {
        "optimizer": "pbt",
        "perturbation_interval": 5,
        "selection": {"name": "truncation", "quantile_fraction": 0.34},
        "perturbation": {"name": "multiply", "factors": [1.2, 0.8], "bounds": "clip"},
    },
}
_SPREAD = 4.0
"""The allowed deviation from an expected value, in standard errors: chance exceeds it once in 16,000 runs."""


def null_study(
    optimizer: Mapping[str, Any], seeds: Sequence[int], *, streams: tuple[int, int] = (0, 1), alpha: float = 0.05
) -> dict[str, Any]:
    """Return a study of one optimizer against itself, on a toy task with noise in training and evaluation.

    Args:
        optimizer: the arm's table without its label.
        seeds: the seeds of the replicates.
        streams: the streams of the two arms; if they are equal, the two are the same arm under two labels.
        alpha: the level.
    """
    return {
        "study": {"name": "null", "seeds": list(seeds), "population_size": 4, "budget": 20, "interval": 5},
        "task": {"name": "toy", "training_noise": 0.02, "evaluation_noise": 0.02},
        "arms": [{"label": label, "stream": stream, **optimizer} for label, stream in zip("ab", streams, strict=True)],
        "comparison": {"baseline": "a", "metric": "score", "alpha": alpha},
    }


def run_study_document(document: Mapping[str, Any]) -> dict[str, Any]:
    """Run a study in this process, in a temporary folder, and return its results."""
    from hpo.engine.session import run_study
    from hpo.study.file import parse_study

    with tempfile.TemporaryDirectory() as folder:
        return run_study(parse_study(document), out=Path(folder) / "run", executor="serial", report=False).results


def faults() -> Iterator[str]:
    """Yield all faults of the pipeline."""
    for optimizer in OPTIMIZERS:
        for fault in (*identity_faults(optimizer), *chance_faults(optimizer)):
            yield f"{optimizer}: {fault}"
    yield from direction_faults()


def identity_faults(optimizer: str, replicates: int = 6) -> list[str]:
    """Return the faults of one arm under two labels: all differences must be 0, p 1, and what the arms record equal."""
    results = run_study_document(null_study(OPTIMIZERS[optimizer], range(replicates), streams=(0, 0)))
    (found,) = results["comparisons"]
    wrong = []
    if any(found["differences"]):
        wrong.append(f"the same arm under two labels: differences {found['differences']}, not all 0")
    if found["p_sign_flip"] != 1:
        wrong.append(f"the same arm under two labels: p = {found['p_sign_flip']}, not 1")
    # The second arm reuses all segments of the first, which its charges do not show.
    ledgers = [{**arm, "computed_intervals": None} for item in results["replicates"] for arm in item["arms"].values()]
    if any(one != other for one, other in zip(ledgers[::2], ledgers[1::2], strict=True)):
        wrong.append("the same arm under two labels: their records in results.json differ")
    return wrong


def chance_faults(optimizer: str, replicates: int = 40) -> list[str]:
    """Return the faults on a task where nothing can be learned: winners must be lucky in validation, but average in the test.

    A search that has seen the test set selects members that are lucky there.
    """
    arm = {**OPTIMIZERS[optimizer], "label": "a"}
    if "perturbation_interval" in arm:
        arm["perturbation_interval"] = 1
    results = run_study_document(
        {
            "study": {"name": "chance", "replicates": replicates, "population_size": 8, "budget": 3, "interval": 1},
            "task": {"name": "coin"},
            "arms": [arm],
        }
    )
    arms = [item["arms"]["a"] for item in results["replicates"]]
    wrong = []
    error = math.fsum(found["test"]["error"] for found in arms) / replicates
    noise = 0.5 / math.sqrt(replicates * arms[0]["test"]["count"])
    if abs(error - 0.5) > _SPREAD * noise:
        wrong.append(
            f"with nothing to learn, winners have a test error of {error:.4f} instead of 0.5 ± {_SPREAD * noise:.4f}:"
            " their selection has seen the test set"
        )
    validation = math.fsum(found["validation"]["error"] for found in arms) / replicates
    if validation > 0.5 - _SPREAD * 0.5 / math.sqrt(replicates * arms[0]["validation"]["count"]):
        wrong.append(
            f"with nothing to learn, winners have a validation error of {validation:.4f}: nothing was selected"
        )
    return wrong


def direction_faults(replicates: int = 8) -> list[str]:
    """Return the faults where one arm is much better: it must be called better as the arm, and the other one worse.

    Both start with one member that climbs along each axis of the toy task; only one that changes direction reaches the top.
    """
    good = {**OPTIMIZERS["PBT"], "label": "pbt", "explore": "all", "inherit": "weights"}
    good["selection"] = {"name": "exploit_best"}
    good["perturbation"] = {"name": "gaussian", "sigma": 0.3, "bounds": "reflect"}
    bad = {**OPTIMIZERS["random search"], "label": "random"}
    study = {"name": "order", "replicates": replicates, "population_size": 2, "budget": 200, "interval": 5}
    study["initial"] = [{"h0": 1.0, "h1": 0.0}, {"h0": 0.0, "h1": 1.0}]
    wrong = []
    for baseline, expected in (("random", "better"), ("pbt", "worse")):
        results = run_study_document(
            {
                "study": study,
                "task": {"name": "toy", "training_noise": 0.001, "evaluation_noise": 0.001},
                "arms": [bad, good],
                "comparison": {"baseline": baseline, "metric": "score"},
            }
        )
        (found,) = results["comparisons"]
        if found["verdict"]["kind"] != expected:
            words = found["verdict"]["words"]
            wrong.append(f"{found['arm']} must be {expected} than {baseline}, but the verdict is: {words}")
    return wrong
