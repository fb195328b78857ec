"""What a function from a script depends on."""

import subprocess
import sys
from functools import partial

import pytest

from hpo import Float, SearchSpace
from hpo.core.reach import reach_of

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


def run(folder, text):
    script = folder / "script.py"
    script.write_text(text)
    return subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)


def test_of_a_lambda_counts_its_own_text_alone(tmp_path):
    def digests_with(factor, rest):
        line = f"found = reach_of(lambda h, k=2: [{factor} * h for _ in range(k)]); trials = {rest}\n"
        return run(tmp_path, f"from hpo.core.reach import reach_of\n{line}print(found.digests)\n").stdout

    assert digests_with(2, 10) == digests_with(2, 20) != digests_with(3, 10)


def test_functions_of_one_name_all_count(tmp_path):
    def digests_with(factor):
        text = f"first = lambda x: x * {factor}\nsecond = lambda x: x + 1\ndef f(h): return first(second(h))\n"
        return run(tmp_path, f"from hpo.core.reach import reach_of\n{text}print(reach_of(f).digests)\n").stdout

    assert digests_with(2) == digests_with(2) != digests_with(3)


DECORATED = """
import functools
from hpo.core.reach import reach_of
def twice(function):
    @functools.wraps(function)
    def wrapper(*arguments):
        return {outer} * function(*arguments)
    return wrapper
@{decorator}
def helper(x):
    return {inner} * x
def f(h): return helper(h)
print(reach_of(f).digests)
"""


@pytest.mark.parametrize("decorator", ["twice", "functools.cache"])
def test_what_a_decorator_wraps_counts_and_so_does_the_decorator(tmp_path, decorator):
    def digests_with(outer, inner):
        done = run(tmp_path, DECORATED.format(decorator=decorator, outer=outer, inner=inner))
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert digests_with(2, 2) == digests_with(2, 2) != digests_with(2, 3)
    assert (digests_with(2, 2) != digests_with(3, 2)) == (decorator == "twice")


def test_methods_and_properties_of_a_class_count(tmp_path):
    def digests_with(kind, number):
        text = f"class A:\n    @{kind}\n    def size(self):\n        return {number}\ndef f(h): return A\n"
        done = run(
            tmp_path, f"import functools\nfrom hpo.core.reach import reach_of\n{text}print(reach_of(f).digests)\n"
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    for kind in ("property", "functools.cached_property", "staticmethod", "classmethod", "functools.cache"):
        assert digests_with(kind, 1) == digests_with(kind, 1) != digests_with(kind, 2)


@pytest.mark.parametrize("value", ["open(sys.argv[0])", "(x for x in [1])"])
def test_a_value_without_a_digest_is_named(tmp_path, value):
    done = run(
        tmp_path, f"import sys\nfrom hpo.core.reach import reach_of\nodd = {value}\ndef f(h): return odd\nreach_of(f)\n"
    )
    assert "InputError" in done.stderr
    assert "odd" in done.stderr.splitlines()[-1]


def test_what_a_frozen_object_caches_is_no_part_of_its_value():
    space = SearchSpace({"x": Float(0, 1)})
    fresh = reach_of(partial(len, space)).digests
    assert space.held == frozenset()
    assert space.ordered == ("x",)
    assert reach_of(partial(len, space)).digests == fresh
    assert reach_of(partial(len, SearchSpace({"x": Float(0, 2)}))).digests != fresh
