"""The model of boosting.py in Optuna, which has no population based training: TPE, and a median pruner."""

import lightgbm
import optuna
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

X, y = load_digits(return_X_y=True)
X, X_valid, y, y_valid = train_test_split(X, y, test_size=500, random_state=0, stratify=y)
SETTINGS = {"objective": "multiclass", "num_class": 10, "verbose": -1, "num_threads": 1}


def objective(trial):
    settings = {
        "learning_rate": trial.suggest_float("learning_rate", 0.01, 1, log=True),
        "num_leaves": trial.suggest_int("num_leaves", 2, 32, log=True),
        "feature_fraction": trial.suggest_float("feature_fraction", 0.2, 1),
    }
    model = None
    for step in range(5):
        data = lightgbm.Dataset(X, y)
        model = lightgbm.train({**SETTINGS, **settings}, data, num_boost_round=10, init_model=model)
        error = (model.predict(X_valid).argmax(1) != y_valid).mean()
        trial.report(error, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return error


if __name__ == "__main__":
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0), pruner=optuna.pruners.MedianPruner())
    study.optimize(objective, n_trials=8)
    print(study.best_params, f"validation error {study.best_value:.3f}")
