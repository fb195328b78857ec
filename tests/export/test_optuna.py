"""What Optuna reads back of an exported run is what segments.csv holds: every value, exactly once."""

import csv
import json
import math
import shutil
import sqlite3
from collections import Counter
from contextlib import closing, suppress

import optuna
import pytest
from helpers import GREEDY, PBT, RANDOM, Interrupts, cases, document, run
from helpers import command_here as command
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

import hpo
from hpo.core.csv_files import cell
from hpo.report.data import load_run
from hpo.report.optuna_figures import optuna_figures
from hpo.results.file import read_results

LEADING = ["seed", "arm", "member", "interval", "parent_member", "on_best_lineage", "diverged"]


def exported(run_dir, folder):
    """Export a run, and return the storage's URL."""
    url = f"sqlite:///{folder}/x.db"
    code, said = command("export", run_dir, "--optuna", url)
    assert code == 0, said
    return url


def studies(url):
    return [optuna.load_study(study_name=name, storage=url) for name in optuna.get_all_study_names(url)]


def rebuilt(url):
    """Return the rows of segments.csv as the studies in a storage tell them."""
    rows = []
    for study in studies(url):
        (metric,) = study.metric_names
        for trial in study.trials:
            found = trial.user_attrs
            assert trial.number == found["member"]
            steps = [(i, step["hparams"]) for step in found["schedule"] for i in range(step["start"], step["stop"])]
            start = {
                name: float(value) if isinstance(value, int) and abs(value) > 2**53 else value
                for name, value in steps[0][1].items()
            }
            assert start == trial.params
            for place, (interval, hparams) in enumerate(steps):
                own = "" if place == 0 else found["member"]
                metrics = {
                    name: values.get(str(interval)) for name, values in found.items() if name.startswith("metric:")
                }
                rows.append(
                    {
                        **{name: found[name] for name in ("seed", "arm", "member")},
                        "interval": interval,
                        "parent_member": found.get("copied_from", {}).get(str(interval), own),
                        "on_best_lineage": int(interval in found.get("best_lineage", []))
                        if study.user_attrs["finished"]
                        else "",
                        "diverged": int(interval in found.get("diverged", [])),
                        **{f"hparam:{name}": cell(value) for name, value in hparams.items()},
                        **metrics,
                        f"metric:{metric}": trial.intermediate_values.get(interval),
                    }
                )
    return Counter(
        frozenset(
            (name, str(value + 0.0) if name.startswith("metric:") else str(value))
            for name, value in row.items()
            if value is not None and value != ""
        )
        for row in rows
    )


def written(run_dir):
    """Return the rows of segments.csv; metrics as floats. SQLite has no -0."""
    with (run_dir / "segments.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return Counter(
        frozenset(
            (name, str(float(text) + 0.0) if name.startswith("metric:") else text) for name, text in row.items() if text
        )
        for row in rows
    )


ASHA = {"label": "asha", "optimizer": "asha"}
STUDY = document(arms=(RANDOM, PBT, GREEDY, ASHA), replicates=2)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run(STUDY, folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def whole(run_dir, tmp_path_factory):
    """Return the URL of an export that no test changes."""
    return exported(run_dir, tmp_path_factory.mktemp("whole"))


def test_every_value_of_every_segment_is_there_exactly_once(run_dir, whole):
    assert rebuilt(whole) == written(run_dir)
    assert len(studies(whole)) == 2 * 4


def test_members_that_were_stopped_are_pruned_and_the_others_complete(whole):
    for study in studies(whole):
        states = Counter(trial.state for trial in study.trials)
        if study.user_attrs["arm"] == "asha":
            assert set(states) == {TrialState.PRUNED, TrialState.COMPLETE}
        else:
            assert set(states) == {TrialState.COMPLETE}
        for trial in study.trials:
            assert trial.value == trial.intermediate_values[max(trial.intermediate_values)]


def test_a_study_has_the_answers_schedule_and_the_settings_of_its_arm(run_dir, whole):
    results = read_results(run_dir)
    for study in studies(whole):
        found = study.user_attrs
        (replicate,) = [each for each in results.replicates if each.seed == found["seed"]]
        assert [step["member"] for step in found["schedule"]] == [
            step.member for step in replicate.arms[found["arm"]].schedule
        ]
        assert found["test"] == replicate.arms[found["arm"]].test
        assert study.direction.name.lower() == results.task.metric(results.task.primary).direction


# --- spaces --------------------------------------------------------------------------------------------------------------

KINDS = ("1", 2, 0.5, True, "=x", "", "<b>y</b>", 'a"b,\nc')
SPACE = {
    "<i>kind</i> & 'more'": hpo.Categorical(KINDS),
    "lr": hpo.Float(1e-300, 1e300, log=True),
    "depth": hpo.Int(1, 9, step=2),
    "width": hpo.Int(4, 1024, log=True),
    "big": hpo.Int(0, 10**17),
    "rate": hpo.Float(0, 1, step=0.1, when={"<i>kind</i> & 'more'": ["1", 2, "", True]}),
    "deep": hpo.Categorical(("", "b"), when={"depth": [1, 3, 5]}),
}


def scored(hparams):
    """Return a value, for some hyperparameters none."""
    return math.nan if hparams["depth"] == 9 else hparams["depth"] + hparams.get("rate", 0)


def test_a_function_with_conditional_and_mixed_hyperparameters(tmp_path):
    result = hpo.tune(scored, SPACE, trials=60, optimizer="random_search", out=tmp_path / "run", progress=False)
    url = exported(result.run_dir, tmp_path)
    assert rebuilt(url) == written(result.run_dir)
    (study,) = studies(url)
    kinds = [trial.params["<i>kind</i> & 'more'"] for trial in study.trials]
    assert {(type(kind), kind) for kind in kinds} == {(type(kind), kind) for kind in KINDS}
    assert {"rate" in trial.params for trial in study.trials} == {True, False}
    for trial in study.trials:
        assert trial.state is (TrialState.FAIL if trial.params["depth"] == 9 else TrialState.COMPLETE)
        assert all(
            trial.distributions[name]._contains(trial.distributions[name].to_internal_repr(value))
            for name, value in trial.params.items()
        )


def test_choices_that_look_the_same_in_the_file_are_texts(tmp_path):
    result = hpo.tune(
        lambda hparams: 1.0,
        {"x": hpo.Categorical((2, "2", True, "True"))},
        trials=12,
        optimizer="random_search",
        out=tmp_path / "run",
        progress=False,
    )
    (study,) = studies(exported(result.run_dir, tmp_path))
    assert {trial.params["x"] for trial in study.trials} == {"2", "True"}


FLOATS = st.tuples(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300)).filter(lambda ends: ends[0] < ends[1])
PARAMETERS = st.one_of(
    FLOATS.map(lambda ends: hpo.Float(*ends)),
    st.tuples(st.floats(1e-300, 1), st.floats(1.5, 1e300)).map(lambda ends: hpo.Float(*ends, log=True)),
    st.tuples(st.integers(-(10**20), 0), st.integers(1, 10**20)).map(lambda ends: hpo.Int(*ends)),
    st.tuples(st.integers(-5, 5), st.integers(10, 40), st.integers(1, 9)).map(
        lambda ends: hpo.Int(ends[0], ends[1], step=ends[2])
    ),
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
        | st.integers()
        | st.booleans()
        | st.floats(-1e9, 1e9),
        min_size=2,
        max_size=5,
        unique=True,
    ).map(lambda choices: hpo.Categorical(tuple(choices))),
)


@settings(
    max_examples=cases(6),
    phases=[Phase.generate],  # shrinking would take minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
)
@given(
    space=st.dictionaries(
        st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=6), PARAMETERS, min_size=1, max_size=3
    ),
    data=st.data(),
)
def test_whatever_is_written_can_be_exported(tmp_path, space, data):
    values = data.draw(st.lists(st.floats(), min_size=11, max_size=11))
    for name in ("run", "x.db"):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
        (tmp_path / name).unlink(missing_ok=True)
    remaining = iter(values)
    with suppress(hpo.HpoError):
        hpo.tune(
            lambda hparams: next(remaining),
            space,
            trials=11,
            report=False,
            optimizer="random_search",
            out=tmp_path / "run",
            progress=False,
            workers=1,
        )
    url = exported(tmp_path / "run", tmp_path)
    assert rebuilt(url) == written(tmp_path / "run")
    assert exported(tmp_path / "run", tmp_path) == url
    code, said = command("export", tmp_path / "run", "--frame", tmp_path / "x.parquet")
    assert code == 0, said
    (tmp_path / "x.parquet").unlink()
    found = load_run(tmp_path / "run")
    for arm in found.results.labels:
        json.dumps([vars(each) for each in optuna_figures(found.results, arm, found.members[arm])], allow_nan=False)


# --- again, and other studies --------------------------------------------------------------------------------------------


def content(url):
    return [
        (
            study.study_name,
            study.user_attrs,
            [(t.number, t.state, t.values, t.params, t.user_attrs) for t in study.trials],
        )
        for study in studies(url)
    ]


def test_a_second_export_changes_nothing(run_dir, whole):
    before = content(whole)
    code, said = command("export", run_dir, "--optuna", whole)
    assert (code, " 0 of them new" in said) == (0, True)
    assert content(whole) == before


def test_an_export_that_was_killed_is_completed(run_dir, whole, tmp_path):
    shutil.copy(whole.removeprefix("sqlite:///"), tmp_path)
    url = f"sqlite:///{tmp_path}/x.db"
    before = content(url)
    with closing(sqlite3.connect(tmp_path / "x.db")) as db:
        last = max(study.study_name for study in studies(url))
        (study_id,) = db.execute("SELECT study_id FROM studies WHERE study_name = ?", [last]).fetchone()
        trials = [
            number
            for (number,) in db.execute("SELECT trial_id FROM trials WHERE study_id = ? ORDER BY number", [study_id])
        ]
        for table in [
            name
            for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%trial_id%'")
        ]:
            db.executemany(f"DELETE FROM {table} WHERE trial_id = ?", [(number,) for number in trials[2:]])
        db.commit()
    assert content(url) != before
    exported(run_dir, tmp_path)
    assert content(url) == before


@pytest.mark.parametrize(
    ("directions", "trials"), [(["maximize"], 3), (["minimize"], 0), (["maximize", "minimize"], 0)]
)
def test_a_study_of_the_same_name_is_left_alone(run_dir, tmp_path, directions, trials):
    url = f"sqlite:///{tmp_path}/x.db"
    name = "small / pbt / seed 1"
    other = optuna.create_study(study_name=name, storage=url, directions=directions)
    other.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=trials)
    before = content(url)
    code, said = command("export", run_dir, "--optuna", url, "--frame", tmp_path / "x.csv")
    assert (code, name in said) == (2, True), said
    assert content(url) == before
    assert not (tmp_path / "x.csv").exists()


def test_a_run_that_was_killed_can_be_exported_and_later_states_go_elsewhere(tmp_path):
    with suppress(KeyboardInterrupt):
        run(STUDY, tmp_path / "run", observer=Interrupts(100))
    (tmp_path / "early").mkdir()
    url = exported(tmp_path / "run", tmp_path / "early")
    assert rebuilt(url) == written(tmp_path / "run")
    states = {trial.state for study in studies(url) for trial in study.trials}
    assert {TrialState.RUNNING, TrialState.COMPLETE} <= states
    run(STUDY, tmp_path / "run")
    assert command("export", tmp_path / "run", "--optuna", url)[0] == 2
    assert rebuilt(exported(tmp_path / "run", tmp_path)) == written(tmp_path / "run")


@pytest.mark.parametrize(
    "url",
    [
        "x.db",
        "sqlite:///{}/none/x.db",
        "sqlite:///{}/text",
        "mysql://user:secret@host/db",
        "sqlite:///{}/run/store.sqlite",
        "sqlite:///{}/link.db",
        "sqlite:///file:{}/run/store%2Esqlite?uri=true",
        "sqlite:///{}/store.sqlite",
        "sqlite:///{}/other.db",
    ],
)
def test_a_storage_that_cannot_be_used_is_named(run_dir, tmp_path, url):
    shutil.copytree(run_dir, tmp_path / "run")
    (tmp_path / "text").write_text("no database\n")
    (tmp_path / "link.db").symlink_to(tmp_path / "run" / "store.sqlite")
    with closing(sqlite3.connect(tmp_path / "other.db")) as db:
        db.execute("CREATE TABLE accounts (name TEXT)")
    before = (tmp_path / "run" / "store.sqlite").read_bytes()
    code, said = command("export", tmp_path / "run", "--optuna", url.format(tmp_path))
    assert (code, "--optuna" in said) == (2, True), said
    assert "secret" not in said
    assert (tmp_path / "text").read_text() == "no database\n"
    assert (tmp_path / "run" / "store.sqlite").read_bytes() == before
