"""The examples that train estimators of other libraries step by step: partial_fit.py and boosting.py."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import environment, results, rows

import hpo

EXAMPLES = Path(hpo.__file__).parents[1] / "docs/examples"
CHANGING = {"optimizer": "pbt", "explore": "all"}
SMALL = {
    "partial_fit": {"optimizer": CHANGING, "population_size": 5, "budget": 3},
    "boosting": {"optimizer": CHANGING, "population_size": 5, "budget": 6, "interval": 2},
}


SCRIPT = """
import os, signal
import hpo
import {module}

class Killed(hpo.Observer):
    left = {answers}

    def answered(self, *_):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    {module}.search(observer=Killed(), report=False, **{options!r})
"""


def searched(module, out, answers=0, **options):
    """Run an example's search in a process of its own, which is killed after some answers if that is not 0."""
    script = SCRIPT.format(module=module, answers=answers, options={**SMALL[module], "out": str(out), **options})
    file = out.with_suffix(".py")
    file.write_text(script)
    env = environment(PYTHONPATH=str(EXAMPLES))
    done = subprocess.run([sys.executable, file], env=env, capture_output=True, text=True)
    return done.returncode, done.stderr


@pytest.fixture(scope="module", params=SMALL)
def example(request, tmp_path_factory):
    """Return an example's name, and its run directory with one worker."""
    if request.param == "boosting":
        pytest.importorskip("lightgbm")
    out = tmp_path_factory.mktemp(request.param) / "one"
    assert searched(request.param, out) == (0, "")
    return request.param, out


def test_two_workers_give_the_same_results(example, tmp_path):
    module, out = example
    assert searched(module, tmp_path / "two", workers=2) == (0, "")
    assert (tmp_path / "two/results.json").read_bytes() == (out / "results.json").read_bytes()


def test_a_killed_search_is_resumed_to_the_same_results(example, tmp_path):
    module, out = example
    code, _ = searched(module, tmp_path / "run", answers=5)
    assert code == -signal.SIGKILL
    assert rows(tmp_path / "run") >= 4
    assert not results(tmp_path / "run")["replicates"]
    assert searched(module, tmp_path / "run") == (0, "")
    assert (tmp_path / "run/results.json").read_bytes() == (out / "results.json").read_bytes()


def test_every_interval_of_the_best_model_has_its_own_rate_in_its_trees(monkeypatch, tmp_path):
    pytest.importorskip("lightgbm")
    monkeypatch.syspath_prepend(EXAMPLES)
    import boosting

    result = boosting.search(**SMALL["boosting"], out=tmp_path, report=False)
    rates = [hparams["learning_rate"] for hparams in result.best.schedule.hparams]
    assert len(set(rates)) == 3
    trees = result.model("pbt", 0).model.dump_model()["tree_info"]
    assert len(trees) == 6 * 10  # per class
    shrinkage = np.array([tree["shrinkage"] for tree in trees]).reshape(6, 10)
    # LightGBM adds the classes' means to the very first trees, and then gives them a shrinkage of 1.
    np.testing.assert_allclose(shrinkage[1:], np.repeat(rates, 2)[1:, None].repeat(10, 1), rtol=1e-5)


def test_a_restored_model_takes_steps_of_the_new_size(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(EXAMPLES)
    import partial_fit

    inputs, targets = partial_fit.digits().take(np.arange(10))
    first = partial_fit.Training({"eta0": 0.01, "alpha": 1e-7})
    first.train([(inputs, targets)])
    first.save(tmp_path)
    steps = []
    for rate in (0.01, 0.02):
        again = partial_fit.Training({"eta0": 0.5, "alpha": 1e-7})
        again.load(tmp_path)
        again.apply({"eta0": rate, "alpha": 1e-7})
        assert again.applied()["eta0"] == rate
        before = again.model.intercept_.copy()
        again.train([(inputs[:1], targets[:1])])
        steps.append(np.abs(again.model.intercept_ - before).max())
    assert steps == pytest.approx([0.01, 0.02])


def test_the_page_shows_the_classes_of_the_examples():
    page = (EXAMPLES.parent / "how_to/scikit_learn.md").read_text()
    shown = [
        block for block in re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL) if "class " in block
    ]
    assert len(shown) == len(SMALL)
    for block, module in zip(shown, SMALL, strict=True):
        assert block in (EXAMPLES / f"{module}.py").read_text()
