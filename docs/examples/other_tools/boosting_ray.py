"""The job of boosting.py in Ray Tune."""

import tempfile
from pathlib import Path

import lightgbm
from ray import tune
from ray.tune.schedulers import PopulationBasedTraining
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

X, y = load_digits(return_X_y=True)
X, X_valid, y, y_valid = train_test_split(X, y, test_size=500, random_state=0, stratify=y)
SETTINGS = {"objective": "multiclass", "num_class": 10, "verbose": -1, "num_threads": 1}


def train(config):
    model, start = None, 0
    if checkpoint := tune.get_checkpoint():
        with checkpoint.as_directory() as folder:
            model = lightgbm.Booster(model_file=Path(folder, "model.txt"))
        start = model.current_iteration() // 10
    for _ in range(start, 5):
        data = lightgbm.Dataset(X, y)
        model = lightgbm.train({**SETTINGS, **config}, data, num_boost_round=10, init_model=model)
        error = (model.predict(X_valid).argmax(1) != y_valid).mean()
        with tempfile.TemporaryDirectory() as folder:
            model.save_model(Path(folder, "model.txt"))
            tune.report({"error": error}, checkpoint=tune.Checkpoint.from_directory(folder))


def within(config):  # the scheduler multiplies and divides without regard to bounds
    return {
        **config,
        "feature_fraction": min(config["feature_fraction"], 1.0),
        "num_leaves": max(config["num_leaves"], 2),
    }


if __name__ == "__main__":
    space = {
        "learning_rate": tune.loguniform(0.01, 1),
        "num_leaves": tune.lograndint(2, 33),
        "feature_fraction": tune.uniform(0.2, 1),
    }
    pbt = PopulationBasedTraining(
        "training_iteration", perturbation_interval=1, hyperparam_mutations=space, custom_explore_fn=within
    )
    options = tune.TuneConfig(metric="error", mode="min", scheduler=pbt, num_samples=8, reuse_actors=True)
    best = tune.Tuner(train, tune_config=options).fit().get_best_result()
    print(best.config, f"validation error {best.metrics['error']:.3f}")
