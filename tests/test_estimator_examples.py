"""New hyperparameters are in force in the examples that train estimators of other libraries: partial_fit.py and boosting.py."""

import re
from pathlib import Path

import numpy as np
import pytest

import hpo

EXAMPLES = Path(hpo.__file__).parents[1] / "docs/examples"
CHANGING = {"optimizer": "pbt", "explore": "all"}


def test_every_interval_of_the_best_model_has_its_own_rate_in_its_trees(monkeypatch, tmp_path):
    pytest.importorskip("lightgbm")
    monkeypatch.syspath_prepend(EXAMPLES)
    import boosting

    space = {"learning_rate": hpo.Float(0.01, 1, log=True)}
    lengths = {"population_size": 5, "budget": 6, "interval": 2}
    result = hpo.tune(
        boosting.Boosting, space, metric="error", optimizer=CHANGING, **lengths, out=tmp_path, report=False
    )
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

    hparams = {"eta0": 0.01, "alpha": 1e-7}
    first = partial_fit.Training(hparams)
    first.train(range(1), hparams)
    first.save(tmp_path)
    # Each of the ten examples moves the intercept of its class by the rate.
    monkeypatch.setattr(partial_fit, "X", np.zeros((10, 64)))
    monkeypatch.setattr(partial_fit, "y", partial_fit.y[:1].repeat(10))
    steps = []
    for rate in (0.01, 0.02):
        again = partial_fit.Training({"eta0": 0.5, "alpha": 1e-7})
        again.load(tmp_path)
        before = again.model.intercept_.copy()
        again.train(range(1), {"eta0": rate, "alpha": 1e-7})
        steps.append(np.abs(again.model.intercept_ - before).max())
    assert steps == pytest.approx([0.1, 0.2])


def test_the_page_shows_the_classes_of_the_examples():
    page = (EXAMPLES.parent / "how_to/scikit_learn.md").read_text()
    shown = [
        block for block in re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL) if "class " in block
    ]
    assert len(shown) == 2
    for block, module in zip(shown, ("partial_fit", "boosting"), strict=True):
        assert block in (EXAMPLES / f"{module}.py").read_text()
