"""Optuna storages: databases that Optuna wrote, which study is which arm, and files that are something else."""

import json
import os
import shutil
import sqlite3
from contextlib import closing

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from hpo.compare.data import Request
from hpo.compare.inputs import read_inputs

X = {"x": optuna.distributions.FloatDistribution(0, 1)}


def trial(value, state=TrialState.COMPLETE, steps=(), system=None, **attributes):
    return create_trial(
        state=state,
        value=value,
        params={"x": 0.5},
        distributions=X,
        user_attrs=attributes,
        system_attrs=system or {},
        intermediate_values=dict(enumerate(steps)),
    )


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A storage without studies, made by Optuna, which takes a while."""
    path = tmp_path_factory.mktemp("optuna") / "empty.db"
    optuna.storages.RDBStorage(f"sqlite:///{path}").engine.dispose()
    return path


@pytest.fixture
def database(empty, tmp_path):
    """Write studies, by name with the values of their trials (or trials), into a database, and return its URL."""

    def write(studies, name="mnist.db", directions=("minimize",), attributes=None, metric=None):
        path = tmp_path / name
        if not path.exists():
            shutil.copy(empty, path)
        url = f"sqlite:///{path}"
        storage = optuna.storages.RDBStorage(url, skip_table_creation=True)
        for study_name, values in studies.items():
            study = optuna.create_study(storage=storage, study_name=study_name, directions=directions)
            study.add_trials([each if hasattr(each, "params") else trial(each) for each in values])
            for key, value in (attributes or {}).get(study_name, {}).items():
                study.set_user_attr(key, value)
            if metric is not None:
                study.set_metric_names([metric])
        storage.engine.dispose()
        return url

    return write


def read(*urls, **request):
    return read_inputs(urls, Request(**request))


def values(inputs):
    return {task.name: task.values for task in inputs.tasks}


FOUR = {"tpe-0": [0.5, 0.1, 0.3], "tpe-1": [0.4, 0.2, 0.9], "random-0": [0.6, 0.7, 0.8], "random-1": [0.9, 0.3, 0.4]}
BEST = {"mnist": {"random": {"0": 0.6, "1": 0.3}, "tpe": {"0": 0.1, "1": 0.2}}}


def test_names_like_tpe_0_need_no_option(database, compare, tmp_path):
    url = database(FOUR)
    assert values(read(url)) == values(read(tmp_path / "mnist.db")) == BEST  # a URL, or a path
    before = (tmp_path / "mnist.db").read_bytes()
    said = compare(url, "--out", tmp_path / "out")
    assert said.code == 0
    assert "tpe-0 is arm tpe, seed 0" in said.words.replace("random-0 is arm random", "tpe-0 is arm tpe")
    assert "the best of a search's trials" in said.words
    found = json.loads((tmp_path / "out/compare.json").read_bytes())
    assert (found["direction"], found["planned"], found["tasks"][0]["metric"]) == ("minimize", False, "objective")
    (task,) = found["comparisons"][0]["tasks"]
    assert task["differences"] == pytest.approx({"0": -0.5, "1": -0.1})
    assert (tmp_path / "mnist.db").read_bytes() == before  # it is only read
    assert {path.name for path in tmp_path.iterdir()} == {"mnist.db", "out"}


def test_the_direction_is_that_of_the_studies(database, refused):
    url = database(FOUR, directions=["maximize"], metric="accuracy")
    (task,) = read(url).tasks
    assert (task.direction, task.metric, task.values["tpe"]) == ("maximize", "accuracy", {"0": 0.5, "1": 0.9})
    assert "says that its objective is to maximize" in refused(url, "--direction", "minimize")
    database({"gp-0": [1.0]}, metric="accuracy")
    assert "study 'gp-0': is to minimize its metric" in refused(url)


@pytest.mark.parametrize(
    ("names", "request_"),
    [
        (["mnist/tpe/0", "mnist/tpe/1", "mnist/random/0", "mnist/random/1"], {"names": "{task}/{arm}/{seed}"}),
        (["0 mnist tpe", "1 mnist tpe", "0 mnist random", "1 mnist random"], {"names": "{seed} {task} {arm}"}),
        (["tpe_s0_x", "tpe_s1_y", "random_s0_z", "random_s1_"], {"names": "{arm}_s{seed}_*"}),
        (["mnist-tpe_s_0", "mnist-tpe_s_1", "mnist-random_s_0", "mnist-random_s_1"], {"names": "{task}-{arm}_s_{seed}"}),
    ],
)  # fmt: skip
def test_names_of_another_form_need_a_pattern(database, names, request_):
    assert values(read(database(dict(zip(names, FOUR.values(), strict=True))), **request_)) == BEST


def test_user_attributes_say_the_roles(database, refused):
    names = ["a", "b", "c", "d"]
    roles = [("tpe", 0), ("tpe", 1), ("random", 0), ("random", 1)]
    attributes = {n: {"arm": arm, "seed": seed, "task": "mnist"} for n, (arm, seed) in zip(names, roles, strict=True)}
    url = database(dict(zip(names, FOUR.values(), strict=True)), "x.db", attributes=attributes)
    assert values(read(url)) == BEST
    attributes = {n: {"sampler": arm, "run": seed} for n, (arm, seed) in zip(names, roles, strict=True)}
    url = database(dict(zip(names, FOUR.values(), strict=True)), attributes=attributes)
    assert values(read(url, roles={"arm": "sampler", "seed": "run"})) == BEST
    said = refused(url, "--column", "arm=samplr")
    assert "study 'a' has no such attribute; found: 'run', 'sampler' (did you mean 'sampler'?)" in said
    assert "drop one" in refused(url, "--column", "arm=sampler", "--names", "{arm}")


def test_every_database_is_a_task(database, numbers):
    urls = [database(FOUR, f"{name}.db") for name in ("mnist", "cifar")]
    found = numbers(*urls)
    assert [task["name"] for task in found["tasks"]] == ["cifar", "mnist"]
    assert all(len(task["differences"]) == 2 for task in found["comparisons"][0]["tasks"])


def test_a_pattern_picks_studies_and_the_others_are_named(database):
    url = database({**FOUR, "try": []})
    database({"pareto": []}, directions=["minimize", "maximize"])  # nothing is asked of those
    found = read(url, names="{arm}-{seed}")
    assert values(found) == BEST
    assert any("try, pareto" in caution and "{arm}-{seed}" in caution for caution in found.cautions)


def test_test_values_are_better_than_validation_values(database, refused):
    """A user attribute of the best trial, or of the study, was not chosen by itself."""
    trials = {
        f"{arm}-{seed}": [trial(0.5, test_error=0.9), trial(0.1, test_error=0.3 + seed), trial(0.2, test_error=0.0)]
        for arm in ("tpe", "random")
        for seed in (0, 1)
    }
    url = database(trials, attributes={name: {"final_loss": 7, "host": "x"} for name in trials})
    found = read(url, metric="test_error")
    assert values(found)["mnist"]["tpe"] == {"0": 0.3, "1": 1.3}
    assert not any("best of a search" in caution for caution in found.cautions)
    assert values(read(url, metric="final_loss"))["mnist"]["tpe"] == {"0": 7, "1": 7}
    said = refused(url, "--metric", "eror")
    assert "--metric 'eror'" in said
    assert "found: 'final_loss', 'test_error'" in said
    assert "Say --direction" in refused(database({"a-0": [trial(1, score=2)]}, "y.db"), "--metric", "score")


def test_unequal_budgets_are_named_and_trials_makes_them_equal(database, refused):
    url = database({**FOUR, "tpe-1": [0.4, 0.2, 0.9, 0.01]})
    found = read(url)
    (caution,) = [each for each in found.cautions if "--trials" in each]
    assert "random 3, tpe 3 to 4" in caution
    assert "--trials 3" in caution
    equal = read(url, trials=3)
    assert values(equal) == BEST
    assert not any("--trials" in each for each in equal.cautions)
    assert values(read(url, trials=1))["mnist"]["tpe"] == {"0": 0.5, "1": 0.4}
    assert "--trials 0: allowed: a whole number above 0" in refused(url, "--trials", 0)


def test_what_counts_as_a_trial(database):
    """Failed and pruned trials cost their budget, and have no value; those that run are left out, and named."""
    others = [
        trial(None, TrialState.FAIL),
        trial(0.0, TrialState.PRUNED, steps=(0.3, 0.0)),
        trial(None, TrialState.RUNNING),
    ]
    found = read(database({name: [*values, *others] for name, values in FOUR.items()}))
    assert values(found) == BEST
    assert any("tpe-0 (1)" in caution for caution in found.cautions)
    pruned = read(database({"tpe-0": [1, 2], "random-0": [1, trial(2, steps=(5, 4, 3))]}, "p.db"))
    assert any("random 4, tpe 2" in caution for caution in pruned.cautions)


def test_infeasible_trials_are_not_the_best(database):
    def constrained(value, violation):
        return trial(value, system={"constraints": [violation]})

    url = database({f"{arm}-0": [constrained(0.1, 1.0), constrained(0.4, -1.0)] for arm in ("tpe", "random")})
    assert values(read(url))["mnist"]["tpe"] == {"0": 0.4}
    storage = optuna.storages.RDBStorage(url)
    assert optuna.load_study(study_name="tpe-0", storage=storage).best_value == 0.4
    storage.engine.dispose()


@pytest.mark.parametrize(
    ("studies", "options", "words"),
    [
        ({"tpe-0": [1], "tpe-00": [1]}, ["--names", "{arm}-*0"], "is arm 'tpe', task 'mnist', seed '', and so is"),
        ({"tpe-0": [1], "random": [1]}, [], "'random' does not end in a seed, and 'tpe-0' does"),
        ({"tpe-0": [1], "tpe-1": [1]}, [], "a comparison needs 2 or more arms, got 'tpe' only"),
        ({"tpe-0": [], "random-0": [1]}, [], "study 'tpe-0': none of its 0 finished trials has a value"),
        ({"tpe-0": [float("inf")], "random-0": [1]}, [], "study 'tpe-0': none of its 1 finished trials has a value"),
        ({"tpe-0": [1]}, ["--names", "{arm}_{seed}"], "no search has such a name; found: 'tpe-0'"),
        ({}, [], "this storage holds no study"),
    ],
)
def test_what_is_refused_names_the_study(database, refused, studies, options, words):
    url = database(studies)
    said = refused(url, *options)
    assert words in said


def test_several_objectives_are_refused(database, refused):
    url = database({"tpe-0": []}, directions=["minimize", "maximize"])
    assert "study 'tpe-0': has 2 objectives; allowed: studies with one" in refused(url)


def test_tables_and_storages_are_compared_together(database, numbers, table):
    path = table("arm,seed,objective\ntpe,0,1\nrandom,0,2\ntpe,1,1\nrandom,1,2\n")
    found = numbers(database(FOUR), path, direction="minimize")
    assert [task["name"] for task in found["tasks"]] == ["results", "mnist"]


# --- files that are something else ---------------------------------------------------------------------------------------


def sql(path, script):
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(script)
    return path


def test_databases_that_are_not_optunas(database, refused, studies, tmp_path):
    other = sql(tmp_path / "other.db", "CREATE TABLE studies (x); CREATE TABLE trials (y);")
    before = other.read_bytes()
    for given in (other, f"sqlite:///{other}"):
        assert f"{given}: not an Optuna storage: it has no table 'alembic_version'" in refused(given)
    assert other.read_bytes() == before
    assert "not an Optuna storage" in refused(studies.walk / "store.sqlite")
    (tmp_path / "text.db").write_text("arm,seed,error\n")
    assert "not an SQLite database" in refused(f"sqlite:///{tmp_path}/text.db")
    assert "no such file" in refused(f"sqlite:///{tmp_path}/nowhere.db")
    assert "no such file" in refused("sqlite://")
    assert not (tmp_path / "nowhere.db").exists()
    assert "no such file" in refused(f"sqlite:///file:{tmp_path}/mnist.db?mode=rwc&uri=true")
    os.mkfifo(tmp_path / "pipe")
    assert "no such file" in refused(f"sqlite:///{tmp_path}/pipe")


@pytest.mark.parametrize(
    "url", ["nosuch://x/y", "mysql+nosuch://u:secret@127.0.0.1:1/db", "sqlite:///x\0y", "://", "a://[", "s3://x"]
)
def test_urls_that_lead_nowhere(refused, url):
    said = refused(url)
    assert "secret" not in said


@pytest.mark.parametrize(
    "script",
    [
        "DROP TABLE trials; CREATE VIEW trials AS WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x FROM r) SELECT * FROM r;",
        "CREATE TRIGGER t AFTER INSERT ON trials BEGIN DELETE FROM trials; END;",
        "CREATE VIRTUAL TABLE f USING fts5(x);",
        "DROP TABLE trial_params;",
        "ALTER TABLE trials RENAME COLUMN number TO nummer;",
        "UPDATE version_info SET schema_version = 'x'; UPDATE alembic_version SET version_num = 'x';",
        "DELETE FROM version_info; DELETE FROM alembic_version;",
        "UPDATE trial_params SET distribution_json = 'import os';",
        "UPDATE trial_params SET distribution_json = '{\"name\": \"x\", \"attributes\": {}}';",
        "UPDATE study_directions SET direction = 'SIDEWAYS';",
        "UPDATE trials SET state = 7;",
        "UPDATE trial_values SET value = 'low';",
        "DELETE FROM study_directions;",
        "INSERT INTO study_user_attributes (study_id, key, value_json) VALUES (1, 'arm', '" + "[" * 100_000 + "');",
        "PRAGMA writable_schema=ON; UPDATE sqlite_master SET sql = 'x' WHERE name = 'trials';",
    ],
)  # fmt: skip
def test_changed_databases_are_refused_by_name(database, refused, tmp_path, script):
    url = database(FOUR)
    sql(tmp_path / "mnist.db", script)
    before = (tmp_path / "mnist.db").read_bytes()
    assert f"{tmp_path}/mnist.db" in refused(url)
    assert (tmp_path / "mnist.db").read_bytes() == before


@pytest.mark.parametrize("at", [0.05, 0.2, 0.5, 0.8])
def test_damaged_databases_are_refused_or_read(database, compare, tmp_path, at):
    url = database(FOUR)
    path = tmp_path / "mnist.db"
    content = bytearray(path.read_bytes())
    start = int(len(content) * at)
    content[start : start + 3000] = b"\xff" * len(content[start : start + 3000])
    path.write_bytes(content)
    said = compare(url)
    assert said.code in (0, 2)
    assert "Traceback" not in said.err
    path.write_bytes(content[: len(content) // 2])
    assert compare(url).code == 2


def test_hostile_names_are_only_text(database, compare, tmp_path):
    names = ["../../x-0", "<script>-0", "\x1b[31m-0", "{task}-0", "a'; DROP TABLE trials; ---0"]
    said = compare(database({name: [i] for i, name in enumerate(names)}), "--out", tmp_path / "out")
    assert said.code == 0
    assert "\x1b" not in said.out
    assert "<script" not in (tmp_path / "out/compare.html").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"mnist.db", "out"}
    strange = (tmp_path / "mnist.db").rename(tmp_path / "{SCHEMA_VERSION} %7B?.db")
    assert [task.name for task in read(strange).tasks] == [strange.stem]
