"""The model of partial_fit.py in Optuna, which has no population based training: TPE, and a median pruner."""

import numpy as np
import optuna
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier

X, y = load_digits(return_X_y=True)
X, X_valid, y, y_valid = X[:1000] / 16, X[1000:1400] / 16, y[:1000], y[1000:1400]


def objective(trial):
    rate = trial.suggest_float("eta0", 1e-5, 1e-1, log=True)
    alpha = trial.suggest_float("alpha", 1e-7, 1e-2, log=True)
    model = SGDClassifier(learning_rate="constant", eta0=rate, alpha=alpha)
    for epoch in range(10):
        for batch in np.array_split(np.random.permutation(len(X)), 10):
            model.partial_fit(X[batch], y[batch], classes=range(10))
        error = 1 - model.score(X_valid, y_valid)
        trial.report(error, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return error


if __name__ == "__main__":
    np.random.seed(0)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0), pruner=optuna.pruners.MedianPruner())
    study.optimize(objective, n_trials=8)
    print(study.best_params, f"validation error {study.best_value:.3f}")
