"""`hpo.SearchCV`: a search estimator of scikit-learn."""

import inspect
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_iris, make_regression
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold, RandomizedSearchCV, ShuffleSplit, cross_validate
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import parametrize_with_checks

import hpo

X, Y = load_iris(return_X_y=True)
C = hpo.Float(1e-3, 1e3, log=True)


def searching(estimator, space, **options):
    return hpo.SearchCV(estimator, space, **{"trials": 6, "cv": 3, "optimizer": "random_search", **options})


def without_times(results):
    return {key: np.asarray(value).tolist() for key, value in results.items() if "time" not in key}


# --- the checks that scikit-learn runs on its own search estimators ------------------------------------------------------


def checked(*steps, **space):
    """Return a search like those in scikit-learn's own tests of all estimators."""
    estimator = steps[0] if len(steps) == 1 else Pipeline([("pca", steps[0]), ("last", steps[1])])
    return searching(estimator, space, cv=2, trials=2, error_score="raise")


REFUSED = {
    "check_supervised_y_2d": "scikit-learn expects the same of its own search estimators",
    "check_requires_y_none": "scikit-learn expects the same of its own search estimators",
}


@parametrize_with_checks(
    [checked(Ridge(), alpha=C), checked(PCA(), LogisticRegression(), last__C=C)],
    expected_failed_checks=lambda _: REFUSED,
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(
    [checked(LogisticRegression(), C=C), checked(PCA(), Ridge(), last__alpha=C)],
    expected_failed_checks=lambda _: REFUSED,
)
@pytest.mark.filterwarnings("ignore")
def test_more_of_scikit_learns_checks(estimator, check):
    check(estimator)


def test_arguments_are_those_of_randomized_search():
    theirs = inspect.signature(RandomizedSearchCV).parameters.keys() - {"param_distributions", "n_iter"}
    assert (
        theirs | {"space", "feasible", "trials", "optimizer", "concurrency"}
        == inspect.signature(hpo.SearchCV).parameters.keys()
    )


# --- known answers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["random_search", "tpe"])
def test_candidates_are_those_of_tune_and_scores_those_of_cross_validation(tmp_path, optimizer):
    space = {"C": C, "kernel": hpo.Categorical(("linear", "rbf"))}

    def objective(hparams):
        return cross_validate(SVC(**hparams), X, Y, cv=3)["test_score"].mean()

    tuned = hpo.tune(
        objective, space, direction="maximize", trials=12, seed=3, optimizer=optimizer, out=tmp_path, report=False
    )
    search = searching(SVC(), space, trials=12, random_state=3, optimizer=optimizer).fit(X, Y)
    frame = tuned.frame()
    assert search.cv_results_["params"] == frame[["C", "kernel"]].to_dict("records")
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], frame["value"], rtol=1e-12)
    assert search.best_params_ == tuned.best.hparams
    assert search.best_score_ == pytest.approx(tuned.best.value, rel=1e-12)


def test_results_have_the_columns_and_values_of_randomized_search():
    search = searching(KNeighborsClassifier(), {"n_neighbors": hpo.Int(1, 60)}, return_train_score=True).fit(X, Y)
    theirs = RandomizedSearchCV(
        KNeighborsClassifier(), {"n_neighbors": range(1, 61)}, n_iter=6, cv=3, return_train_score=True
    ).fit(X, Y)
    assert search.cv_results_.keys() == theirs.cv_results_.keys()
    expected = [
        cross_validate(KNeighborsClassifier(**params), X, Y, cv=3, return_train_score=True)
        for params in search.cv_results_["params"]
    ]
    for kind in ("test", "train"):
        scores = np.array([each[f"{kind}_score"] for each in expected])
        for split in range(3):
            np.testing.assert_array_equal(search.cv_results_[f"split{split}_{kind}_score"], scores[:, split])
        np.testing.assert_allclose(search.cv_results_[f"mean_{kind}_score"], scores.mean(1))
        np.testing.assert_allclose(search.cv_results_[f"std_{kind}_score"], scores.std(1))
    means = search.cv_results_["mean_test_score"]
    assert search.best_index_ == np.argmax(means)
    assert [*search.cv_results_["rank_test_score"]] == [1 + sum(means > mean) for mean in means]
    again = KNeighborsClassifier(**search.best_params_).fit(X, Y)
    np.testing.assert_array_equal(search.predict(X), again.predict(X))
    assert search.score(X, Y) == again.score(X, Y)


def test_jobs_change_nothing_and_seeds_do():
    def results(**options):
        return without_times(searching(SVC(), {"C": C}, optimizer="tpe", trials=8, **options).fit(X, Y).cv_results_)

    one = results()
    assert results(n_jobs=2) == one
    assert results(random_state=np.int64(0)) == one
    assert results(random_state=1) != one
    drawn = [results(random_state=np.random.RandomState(5)) for _ in range(2)]
    assert drawn[0] == drawn[1] != one


def test_no_seed_draws_from_numpys_generator():
    drawn = []
    for seed in (1, 1, 2):
        np.random.seed(seed)
        drawn.append(searching(SVC(), {"C": C}, random_state=None).fit(X, Y).cv_results_["params"])
    assert drawn[0] == drawn[1] != drawn[2]


def test_all_candidates_are_scored_on_the_same_random_splits():
    # The hyperparameter matters to nothing, so that only the splits could make a difference.
    y = np.random.default_rng(0).random(150) < 0.5
    search = searching(DummyClassifier(), {"random_state": hpo.Int(0, 9)}, cv=ShuffleSplit(3), concurrency=1).fit(X, y)
    assert len(np.unique(search.cv_results_["split0_test_score"])) == 1
    assert len({search.cv_results_[f"split{split}_test_score"][0] for split in range(3)}) > 1


# --- scores --------------------------------------------------------------------------------------------------------------


class Constant(ClassifierMixin, BaseEstimator):
    """Its scores are functions of its parameter alone."""

    fitted = 0

    def __init__(self, x=0.0, fails=2.0):
        self.x = x
        self.fails = fails

    def fit(self, X, y=None, sample_weight=None):
        type(self).fitted += 1
        if self.fails is not None and self.x > self.fails:
            raise RuntimeError("too large")
        self.weight_ = None if sample_weight is None else float(np.sum(sample_weight))
        return self

    def predict(self, X):
        return np.zeros(len(X))


def up(estimator, X, y=None):
    return estimator.x


def down(estimator, X, y=None):
    return -estimator.x


def gap(estimator, X, y=None):
    return np.nan if estimator.x > 0.5 else estimator.x


UNIT = {"x": hpo.Float(0, 1)}


def proposed(**options):
    search = searching(Constant(), UNIT, optimizer="tpe", trials=20, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return search.fit(X, Y)


def test_the_optimizer_maximizes_the_metric_that_is_refit():
    both = {"up": up, "down": down}
    for metric, alone in both.items():
        search = proposed(scoring=both, refit=metric)
        assert search.cv_results_["params"] == proposed(scoring=alone).cv_results_["params"]
        xs = [params["x"] for params in search.cv_results_["params"]]
        assert search.best_params_["x"] == (max(xs) if metric == "up" else min(xs))
        assert search.best_score_ == search.cv_results_[f"mean_test_{metric}"].max()
    first = proposed(scoring=both, refit=False)
    assert first.cv_results_["params"] == proposed(scoring=up).cv_results_["params"]
    assert not hasattr(first, "best_params_")


def test_refit_may_be_a_function_of_the_results():
    search = proposed(scoring=up, refit=lambda results: int(np.argmin(results["mean_test_score"])))
    assert search.best_estimator_.x == min(params["x"] for params in search.cv_results_["params"])


def test_a_score_of_nan_ranks_last_and_is_never_proposed_from():
    search = proposed(scoring=gap)
    xs = np.array([params["x"] for params in search.cv_results_["params"]])
    assert 0 < sum(xs > 0.5) < 20
    assert np.isnan(search.cv_results_["mean_test_score"][xs > 0.5]).all()
    assert (search.cv_results_["rank_test_score"][xs > 0.5] > sum(xs <= 0.5)).all()
    assert search.best_params_["x"] == xs[xs <= 0.5].max()
    nothing = proposed(scoring=lambda estimator, X, y: np.nan)
    assert set(nothing.cv_results_["rank_test_score"]) == {1}


def test_fits_that_fail_have_the_error_score():
    def fit(**options):
        return searching(Constant(fails=0.5), UNIT, scoring=up, **options).fit(X, Y)

    with pytest.warns(FitFailedWarning, match="too large"):
        search = fit(error_score=-7.0)
    failed = search.cv_results_["mean_test_score"] == -7
    assert [*failed] == [params["x"] > 0.5 for params in search.cv_results_["params"]]
    assert 0 < sum(failed) < 6
    with pytest.raises(RuntimeError, match="too large"):
        fit(error_score="raise")


# --- what is passed to fit -----------------------------------------------------------------------------------------------


def test_weights_and_groups_are_passed_on():
    groups = np.arange(150) % 5
    search = searching(Constant(), UNIT, scoring=up, cv=GroupKFold(5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the scorer takes no weights
        search.fit(X, Y, groups=groups, sample_weight=np.full(150, 2.0))
    assert search.best_estimator_.weight_ == 300
    assert search.n_splits_ == 5


def test_metadata_is_routed():
    features, target = make_regression(60, 4, noise=5, random_state=0)
    weight = np.arange(60) % 3
    with sklearn.config_context(enable_metadata_routing=True):
        ridge = Ridge().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        search = searching(ridge, {"alpha": C}, cv=GroupKFold(3))
        search.fit(features, target, sample_weight=weight, groups=np.arange(60) % 4)
    expected = Ridge(**search.best_params_).fit(features, target, sample_weight=weight)
    np.testing.assert_allclose(search.best_estimator_.coef_, expected.coef_)


@pytest.mark.skipif(not hasattr(hpo.SearchCV, "set_callbacks"), reason="scikit-learn has callbacks since 1.9")
def test_callbacks_are_called():
    begun, ended = [], []

    class Recorder:
        def setup(self, estimator, context):
            pass

        def teardown(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context, **given):
            begun.append(context.task_name)

        def on_fit_task_end(self, estimator, context, **given):
            ended.append(context.task_name)

    searching(SVC(), {"C": C}, concurrency=4).set_callbacks(Recorder()).fit(X, Y)
    assert sorted(begun) == sorted(ended)
    assert begun.count("candidate-split-evaluation") == 18
    assert begun.count("round") == 2


# --- spaces --------------------------------------------------------------------------------------------------------------


def test_steps_choices_of_any_kind_and_conditions():
    pipeline = Pipeline([("scale", "passthrough"), ("model", SVC())])
    space = {
        "scale": ["passthrough", StandardScaler()],
        "model": {"svm": SVC(), "neighbours": KNeighborsClassifier()},
        "model__C": hpo.Float(0.1, 10, log=True, when={"model": "svm"}),
        "model__n_neighbors": hpo.Int(1, 20, when={"model": "neighbours"}),
    }
    search = searching(pipeline, space, trials=12).fit(X, Y)
    for params in search.cv_results_["params"]:
        svm = isinstance(params["model"], SVC)
        assert params.keys() == {"scale", "model", "model__C" if svm else "model__n_neighbors"}
    assert len({type(params["model"]) for params in search.cv_results_["params"]}) == 2
    assert len({type(params["scale"]) for params in search.cv_results_["params"]}) == 2
    assert all(search.cv_results_["param_model__C"].mask == ~search.cv_results_["param_model__n_neighbors"].mask)
    assert type(search.best_estimator_["model"]) is type(search.best_params_["model"])
    assert isinstance(pipeline["model"], SVC)


def test_none_is_a_choice():
    search = searching(SVC(), {"class_weight": [None, "balanced"]}).fit(X, Y)
    assert {params["class_weight"] for params in search.cv_results_["params"]} == {None, "balanced"}


@pytest.mark.parametrize("optimizer", ["random_search", "tpe"])
def test_only_feasible_parameters_are_tried(optimizer):
    space = {"x": hpo.Float(0, 1), "fails": [None, 0.5]}

    def rule(params):
        return params["fails"] is None and params["x"] < 0.3

    for given in (
        {"space": space, "feasible": rule},
        {"space": hpo.SearchSpace(UNIT, lambda params: params["x"] < 0.3)},
    ):
        found = searching(Constant(), **given, scoring=up, optimizer=optimizer).fit(X, Y).cv_results_["params"]
        assert all(params["x"] < 0.3 and params.get("fails") is None for params in found)
        assert len(found) == 6


def test_parameters_that_only_the_estimator_knows_are_allowed():
    class Open(Constant):
        def set_params(self, **given):
            self.more = given.pop("more", None)
            return super().set_params(**given)

    search = searching(Open(), {"more": hpo.Int(1, 3)}, scoring=lambda estimator, X, y: estimator.more).fit(X, Y)
    assert search.best_score_ == max(params["more"] for params in search.cv_results_["params"])


def test_a_search_can_be_a_step_and_be_cloned():
    search = searching(SVC(), {"C": C})
    assert clone(search).get_params()["space"] == {"C": C}
    inside = Pipeline([("scale", StandardScaler()), ("search", search)]).fit(X, Y)
    assert inside["search"].best_score_ > 0.9
    assert not hasattr(clone(search), "best_score_")


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({}, "at least one"),
        ([("x", UNIT["x"])], "at least one"),
        ({3: UNIT["x"]}, r"search_space\.3"),
        ({"y": UNIT["x"]}, r"search_space\.y.*Constant"),
        ({"fail": UNIT["x"]}, "did you mean 'fails'"),
        ({"model__fails": UNIT["x"]}, "'model'"),
        ({"x": 0.5}, r"search_space\.x = 0\.5"),
        ({"x": "all"}, r"search_space\.x = 'all'"),
        ({"x": [0.5]}, "two choices"),
        ({"x": [0.5, 0.5, 1]}, "different"),
        ({"x": hpo.Float(0, 1, when={"fals": 1}), "fails": [1, 2]}, r"search_space\.x\.when\.fals"),
    ],
)
def test_wrong_spaces_are_refused_before_any_fit(space, words):
    Constant.fitted = 0
    with pytest.raises(hpo.InputError, match=words):
        searching(Constant(), space, scoring=up).fit(X, Y)
    assert Constant.fitted == 0


def test_the_step_of_a_wrong_name_is_named():
    pipeline = Pipeline([("scale", StandardScaler()), ("model", SVC())])
    with pytest.raises(hpo.InputError, match=r"SVC.*'model'.*did you mean 'gamma'"):
        searching(pipeline, {"model__gama": C}).fit(X, Y)
    with pytest.raises(hpo.InputError, match=r"no estimator 'modle'.*did you mean 'model'"):
        searching(pipeline, {"modle__gamma": C}).fit(X, Y)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"trials": 0}, "trials = 0"),
        ({"trials": 2.5}, r"trials = 2\.5"),
        ({"optimizer": "tpee"}, "did you mean 'tpe'"),
        ({"optimizer": {"optimizer": "tpe", "initial": 9}}, "initial = 9"),
        ({"concurrency": 0}, "concurrency = 0"),
        ({"random_state": -1}, "random_state = -1"),
        ({"random_state": "zero"}, "zero"),
        ({"optimizer": "pbt"}, "pbt"),
        ({"feasible": "x < 1"}, "feasible"),
    ],
)
def test_wrong_options_are_refused_before_any_fit(options, words):
    Constant.fitted = 0
    with pytest.raises(hpo.InputError, match=words):
        searching(Constant(), UNIT, scoring=up, **options).fit(X, Y)
    assert Constant.fitted == 0


def test_the_page_finds_a_good_pipeline(capsys):
    page = Path(hpo.__file__).parents[1] / "docs/how_to/scikit_learn.md"
    example, *_ = re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    exec(example.replace("n_jobs=2", "n_jobs=1"), names := {})
    assert names["search"].best_score_ > 0.9
    assert "model" in capsys.readouterr().out
