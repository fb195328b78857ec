"""Tune a scikit-learn model: two hyperparameters, 30 trials, a cross-validated error."""

from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import cross_val_score

import hpo

X, y = load_digits(return_X_y=True)
X, y = X[:300], y[:300]


def objective(hparams):
    model = HistGradientBoostingClassifier(max_iter=10, **hparams)
    return {"error": 1 - cross_val_score(model, X, y, cv=3).mean()}


space = {"learning_rate": hpo.Float(1e-3, 1, log=True), "max_leaf_nodes": hpo.Int(4, 64, log=True)}

if __name__ == "__main__":
    result = hpo.tune(objective, space, metric="error", trials=30)
    print(result.best.hparams, round(result.best.value, 3))
    print(result.frame()[["learning_rate", "max_leaf_nodes", "error"]].sort_values("error").head())
