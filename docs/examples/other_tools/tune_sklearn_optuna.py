"""The job of tune_sklearn.py in Optuna."""

import optuna
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import cross_val_score

X, y = load_digits(return_X_y=True)
X, y = X[:300], y[:300]


def objective(trial):
    rate = trial.suggest_float("learning_rate", 1e-3, 1, log=True)
    leaves = trial.suggest_int("max_leaf_nodes", 4, 64, log=True)
    model = HistGradientBoostingClassifier(max_iter=10, learning_rate=rate, max_leaf_nodes=leaves)
    return 1 - cross_val_score(model, X, y, cv=3).mean()


study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
study.optimize(objective, n_trials=30)
print(study.trials_dataframe()[["params_learning_rate", "params_max_leaf_nodes", "value"]].sort_values("value").head())
print(study.best_params, round(study.best_value, 3))
