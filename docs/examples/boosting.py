"""PBT for gradient boosting: LightGBM adds ten trees, members copy each other, and it goes on."""

import random

import lightgbm
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import hpo

X, y = load_digits(return_X_y=True)
X, X_valid, y, y_valid = train_test_split(X, y, test_size=500, random_state=0, stratify=y)
SETTINGS = {
    "objective": "multiclass",
    "num_class": 10,
    "verbose": -1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
}


class Boosting:
    def __init__(self, hparams):
        self.model = None

    def train(self, rounds, hparams):
        settings = {**SETTINGS, **hparams, "seed": random.getrandbits(31)}
        data = lightgbm.Dataset(X, y)
        self.model = lightgbm.train(settings, data, num_boost_round=len(rounds), init_model=self.model)

    def evaluate(self):
        return {"error": (self.model.predict(X_valid).argmax(1) != y_valid).mean()}

    def save(self, folder):
        self.model.save_model(folder / "model.txt")

    def load(self, folder):
        self.model = lightgbm.Booster(model_file=folder / "model.txt")


if __name__ == "__main__":
    space = {
        "learning_rate": hpo.Float(0.01, 1, log=True),
        "num_leaves": hpo.Int(2, 32, log=True),
        "feature_fraction": hpo.Float(0.2, 1),
    }
    task = {"metric": "error", "unit": "trees"}
    result = hpo.tune(Boosting, space, optimizer="pbt", population_size=8, budget=50, interval=10, **task)
    print(result.best.schedule, f"validation error {result.best.value:.3f}")
