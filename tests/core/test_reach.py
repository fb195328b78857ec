"""What a function from a script depends on."""

import subprocess
import sys

import pytest

SCRIPT = """
import functools, json, sys
from dataclasses import dataclass
import numpy as np
import torch
from hpo.core.reach import reach_of

LIMIT = {limit}
data = np.arange(3.0) + {shift}
tensor = torch.tensor([{shift}, 1.0])
chosen = {{"a": lambda: helper(1), "names": {{"x", "y", "z"}}}}

@dataclass
class Net:
    width: int = {width}
    def forward(self):
        return tensor

def helper(x):
    return x * {factor}

def unused():
    return {unused}

def objective(hparams, k={default}):
    def inner():
        return [Net() for _ in range(LIMIT)]
    return chosen["a"]() + data.sum() + len(inner())

# {comment}
print(json.dumps(reach_of({target}).digests))
"""
USUAL = {
    "limit": 3,
    "shift": 0.0,
    "width": 4,
    "factor": 2,
    "unused": 1,
    "default": 5,
    "comment": "nothing",
    "target": "objective",
}


def digests(folder, seed=0, **changes):
    script = folder / "script.py"
    script.write_text(SCRIPT.format(**USUAL | changes))
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": str(seed)}
    )
    return done.stdout


def test_everything_that_is_used_counts_and_nothing_else(tmp_path):
    usual = digests(tmp_path)
    assert digests(tmp_path, seed=1, unused=2, comment="an edited line below") == usual
    changes = ({"limit": 4}, {"shift": 1.0}, {"width": 5}, {"factor": 3}, {"default": 6})
    others = [digests(tmp_path, **change) for change in changes]
    assert len({usual, *others}) == len(changes) + 1
    assert digests(tmp_path, target="functools.partial(objective, k=1)") != usual


@pytest.mark.parametrize("value", ["open(sys.argv[0])", "(x for x in [1])"])
def test_a_value_without_a_digest_is_named(tmp_path, value):
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys\nfrom hpo.core.reach import reach_of\nodd = {value}\ndef f(h): return odd\nreach_of(f)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert "InputError" in done.stderr
    assert "odd" in done.stderr.splitlines()[-1]
