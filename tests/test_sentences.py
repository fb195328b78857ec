"""The wording of verdicts and errors, in one file: `sentences.txt`. All other tests assert kinds, keys and numbers.

After a change of wording, run `HPO_UPDATE_SENTENCES=1 python -m pytest tests/test_sentences.py` and read the difference.
"""

import os
import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from helpers import GREEDY, PBT, RANDOM, command_here, document, run

import hpo
from hpo.core import registry
from hpo.report.summary import verdicts
from hpo.results.comparisons import with_statistics
from hpo.results.document import Evidence, Results

GOLDEN = Path(__file__).with_name("sentences.txt")


def table(**arms: list[float]) -> str:
    """Return a CSV file of arms on one task, a value per seed."""
    rows = [f"{arm},t,{seed},{value}" for arm, values in arms.items() for seed, value in enumerate(values)]
    return "\n".join(["arm,task,seed,error", *rows, ""])


A = [0.30, 0.31, 0.29, 0.33, 0.32, 0.30, 0.28, 0.31]
LOWER = [value - 0.02 - 0.001 * i for i, value in enumerate(A)]
MIXED = [value + 0.01 * (-1) ** i for i, value in enumerate(A)]
TASKS = "dataset,a,b\n" + "".join(f"d{i},{0.7 + 0.01 * i:.2f},{0.72 + 0.011 * i:.3f}\n" for i in range(9))
TABLES: dict[str, tuple[str, list[str]]] = {
    "better": (table(a=A, b=LOWER), []),
    "worse": (table(a=LOWER, b=A), ["--baseline", "a"]),
    "inconclusive": (table(a=A, b=MIXED), []),
    "three arms": (table(a=A, b=LOWER, c=MIXED), ["--baseline", "a"]),
    "too few pairs": (table(a=A[:4], b=LOWER[:4]), []),
    "equal": (table(a=A, b=A), []),
    "values are missing": (table(a=A, b=LOWER[:7]), []),
    "one value per task": (TASKS, ["--direction", "maximize"]),
    "one value per task and a rope": (TASKS, ["--direction", "maximize", "--rope", "0.05"]),
    "no direction": (TASKS, []),
    "unknown baseline": (table(a=A, b=LOWER), ["--baseline", "bb"]),
    "empty": ("", []),
}


def compared() -> Iterator[tuple[str, str]]:
    """Yield what `hpo compare` prints of each table."""
    for name, (content, options) in TABLES.items():
        Path("results.csv").write_text(content)
        code, said = command_here("compare", "results.csv", *options)
        yield f"compare, {name}", f"exit code {code}\n{said}"


GUESS = {"name": "guess"}
STUDIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "cannot show a difference": (document(GUESS), {}),
    "in progress": (document(GUESS, replicates=7), {"seeds": [0, 1]}),
    "seven pairs": (document(GUESS, arms=(RANDOM, PBT, GREEDY), replicates=7), {}),
    "not comparable": (document(GUESS, arms=(RANDOM, {**PBT, "select": "any"})), {}),
}


def decided() -> Iterator[tuple[str, str]]:
    """Yield the verdicts of small studies."""
    studies = deepcopy(STUDIES)
    anytime = document(GUESS, name="anytime")
    del anytime["study"]["replicates"]
    anytime["comparison"] |= {"stopping": "anytime", "max_replicates": 9}
    studies["anytime"] = (anytime, {})
    for name, (study, options) in studies.items():
        found = run(study, Path(name), **options)
        yield f"study, {name}", _said(found.document)
    found = run(document(GUESS, replicates=7), Path("shifted"))
    for name, (gaps, rule) in SHIFTED.items():
        yield f"study, {name}", _said(shifted(found.document, gaps, rule))
    run(document(GUESS, replicates=2), Path("grown"))
    found = run(document(GUESS, replicates=3), Path("grown"))
    yield "study, extended after looking", _said(found.document)


def _said(found: Results) -> str:
    """Return the words in results.json, and the verdicts of the report, the terminal and the notebook."""
    words = [comparison.verdict.words for comparison in found.comparisons]
    return "\n".join([*words, *(f"{title}. {numbers}" for title, numbers in verdicts(found))])


GAPS = [0.02, 0.021, 0.019, 0.022, 0.018, 0.02, 0.023]
SHIFTED: dict[str, tuple[list[float], dict[str, Any]]] = {
    "better": ([-gap for gap in GAPS], {}),
    "worse": (GAPS, {}),
    "worse, within a rope": (GAPS, {"rope": 0.05}),
    "equivalent": ([0.001 * (-1) ** i for i in range(7)], {"rope": 0.05}),
    "neither, with a rope": ([0.03 * (-1) ** i for i in range(7)], {"rope": 0.01}),
}


def shifted(found: Results, gaps: list[float], rule: dict[str, Any]) -> Results:
    """Return the results with an error of 0.3 of the baseline in each replicate, and of so much more of the other arm."""
    assert found.comparison is not None
    replicates = []
    for replicate, gap in zip(found.replicates, gaps, strict=True):
        errors = {"random": 0.3, "pbt": 0.3 + gap}
        arms = {
            label: arm.model_copy(update={"test": {"error": errors[label]}, "correct": None})
            for label, arm in replicate.arms.items()
        }
        replicates.append(replace(replicate, arms=arms))
    evidence = {item.name: getattr(found, item.name) for item in fields(Evidence)}
    changed = {"replicates": tuple(replicates), "comparison": replace(found.comparison, **rule)}
    return with_statistics(Evidence(**evidence | changed))


CHANGES: dict[str, tuple[str, Any]] = {
    "unknown key": ("study.budgett", 3),
    "wrong type": ("study.budget", "ten"),
    "out of range": ("study.population_size", 0),
    "no divisor": ("study.interval", 0.3),
    "unknown task": ("task.name", "mnits"),
    "unknown optimizer": ("arms.1.optimizer", "ptb"),
    "label twice": ("arms.1.label", "random"),
    "unknown selection": ("arms.1.selection", "truncate"),
    "unknown baseline": ("comparison.baseline", "pbd"),
    "unknown metric": ("comparison.metric", "scor"),
    "impossible alpha": ("comparison.alpha", 1.5),
}


def refused() -> Iterator[tuple[str, str]]:
    """Yield what is said of study files with one mistake, and of commands without their input."""
    for name, (path, value) in CHANGES.items():
        wrong: Any = deepcopy(document())
        *parts, last = path.split(".")
        at = wrong
        for part in parts:
            at = at[int(part)] if part.isdigit() else at[part]
        at[last] = value
        with pytest.raises(hpo.SpecError) as raised:
            hpo.parse_study(wrong)
        yield f"study file, {name}", str(raised.value)
    for command in (
        ("run", "nowhere.toml"),
        ("plan", "nowhere"),
        ("report", "nowhere"),
        ("compare", "nowhere"),
        ("store", "ls", "nowhere"),
        ("replay", "nowhere", "--arm", "a", "--schedule-seed", "0", "--seed", "1"),
    ):
        code, said = command_here(*command)
        yield f"no input, {command[0]}", f"exit code {code}\n{said}"


def test_the_wording_is_that_of_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    parts = [*compared(), *decided()]
    for kind in (registry.tasks, registry.optimizers, registry.selections):  # without what other tests have registered
        for name, found in [*kind._classes.items()]:
            if not found.__module__.startswith("hpo."):
                monkeypatch.delitem(kind._classes, name)
    parts += refused()
    found = "\n\n".join(f"## {heading}\n{said.rstrip()}" for heading, said in parts) + "\n"
    found = re.sub(r" +$", "", found.replace(str(tmp_path), "FOLDER"), flags=re.MULTILINE)
    if os.environ.get("HPO_UPDATE_SENTENCES"):
        GOLDEN.write_text(found, encoding="utf-8")
    assert found == GOLDEN.read_text(encoding="utf-8")
