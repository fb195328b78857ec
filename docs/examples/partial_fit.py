"""PBT for a scikit-learn model that trains by `partial_fit`."""

import joblib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier

import hpo

X, y = load_digits(return_X_y=True)
X, X_valid, y, y_valid = X[:1000] / 16, X[1000:1400] / 16, y[:1000], y[1000:1400]


class Training:
    def __init__(self, hparams):
        self.model = SGDClassifier(learning_rate="constant", **hparams)

    def train(self, epochs, hparams):
        self.model.set_params(**hparams)  # load brings those of the checkpoint
        for _ in epochs:
            for batch in np.array_split(np.random.permutation(len(X)), 10):
                self.model.partial_fit(X[batch], y[batch], classes=range(10))

    def evaluate(self):
        return 1 - self.model.score(X_valid, y_valid)

    def save(self, folder):
        joblib.dump(self.model, folder / "model.joblib")

    def load(self, folder):
        self.model = joblib.load(folder / "model.joblib")


if __name__ == "__main__":
    space = {"eta0": hpo.Float(1e-5, 1e-1, log=True), "alpha": hpo.Float(1e-7, 1e-2, log=True)}
    task = {"metric": "error", "unit": "epochs"}
    result = hpo.tune(Training, space, optimizer="pbt", population_size=8, budget=10, **task)
    print(result.best.schedule, f"validation error {result.best.value:.3f}")
