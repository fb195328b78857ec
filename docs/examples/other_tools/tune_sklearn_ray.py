"""The job of tune_sklearn.py in Ray Tune."""

from ray import tune
from ray.tune.search.optuna import OptunaSearch
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import cross_val_score

X, y = load_digits(return_X_y=True)
X, y = X[:300], y[:300]


def objective(config):
    model = HistGradientBoostingClassifier(max_iter=10, **config)
    return {"error": 1 - cross_val_score(model, X, y, cv=3).mean()}


space = {"learning_rate": tune.loguniform(1e-3, 1), "max_leaf_nodes": tune.lograndint(4, 65)}
options = tune.TuneConfig(metric="error", mode="min", search_alg=OptunaSearch(seed=0), num_samples=30)
results = tune.Tuner(objective, param_space=space, tune_config=options).fit()
best = results.get_best_result()
print(results.get_dataframe()[["config/learning_rate", "config/max_leaf_nodes", "error"]].sort_values("error").head())
print(best.config, round(best.metrics["error"], 3))
