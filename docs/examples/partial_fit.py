"""PBT for a scikit-learn model that trains by `partial_fit`."""

import joblib
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier

import hpo


def digits():
    inputs, targets = load_digits(return_X_y=True)
    data = hpo.ArrayDataset(inputs[:1400] / 16, targets[:1400])
    data.test = hpo.ArrayDataset(inputs[1400:] / 16, targets[1400:])
    return data


class Training:
    def __init__(self, hparams):
        self.model = SGDClassifier(learning_rate="constant", **hparams)

    def train(self, batches):
        for inputs, targets in batches:
            self.model.partial_fit(inputs.numpy(), targets.numpy(), classes=range(10))

    def evaluate(self, examples):
        wrong = sum((self.model.predict(inputs.numpy()) != targets.numpy()).sum() for inputs, targets in examples)
        return {"error": wrong / len(examples)}

    def save(self, folder):
        joblib.dump(self.model, folder / "model.joblib")

    def load(self, folder):
        self.model = joblib.load(folder / "model.joblib")

    def apply(self, hparams):  # called after load, which brings the hyperparameters of the checkpoint
        self.model.set_params(**hparams)

    def applied(self):  # hpo compares them with what it asked for
        return self.model.get_params()


space = {"eta0": hpo.Float(1e-5, 1e-1, log=True), "alpha": hpo.Float(1e-7, 1e-2, log=True)}


def search(**options):
    data = {"data": digits, "batch_size": 100, "validation_size": 400, "metric": "error"}
    return hpo.tune(
        Training, space, **data, **{"optimizer": "pbt", "population_size": 8, "budget": 10, "interval": 1, **options}
    )


if __name__ == "__main__":
    print(search().best)
