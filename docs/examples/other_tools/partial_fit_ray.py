"""The job of partial_fit.py in Ray Tune."""

import tempfile
from pathlib import Path

import joblib
import numpy as np
from ray import tune
from ray.tune.schedulers import PopulationBasedTraining
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier

X, y = load_digits(return_X_y=True)
X, X_valid, y, y_valid = X[:1000] / 16, X[1000:1400] / 16, y[:1000], y[1000:1400]


def train(config):
    model, start = SGDClassifier(learning_rate="constant", **config), 0
    if checkpoint := tune.get_checkpoint():
        with checkpoint.as_directory() as folder:
            model, start = joblib.load(Path(folder, "model.joblib"))
        model.set_params(**config)  # the checkpoint brought the donor's
    for epoch in range(start, 10):
        for batch in np.array_split(np.random.permutation(len(X)), 10):
            model.partial_fit(X[batch], y[batch], classes=range(10))
        error = 1 - model.score(X_valid, y_valid)
        with tempfile.TemporaryDirectory() as folder:
            joblib.dump((model, epoch + 1), Path(folder, "model.joblib"))
            tune.report({"error": error}, checkpoint=tune.Checkpoint.from_directory(folder))


if __name__ == "__main__":
    space = {"eta0": tune.loguniform(1e-5, 1e-1), "alpha": tune.loguniform(1e-7, 1e-2)}
    pbt = PopulationBasedTraining("training_iteration", perturbation_interval=1, hyperparam_mutations=space)
    options = tune.TuneConfig(metric="error", mode="min", scheduler=pbt, num_samples=8, reuse_actors=True)
    best = tune.Tuner(train, tune_config=options).fit().get_best_result()
    print(best.config, f"validation error {best.metrics['error']:.3f}")
