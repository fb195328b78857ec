"""What TensorBoard, MLflow and W&B hold of a study: every segment exactly once, whatever happens to the study."""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import helpers
import pytest
from helpers import Interrupts, document, run
from tracked import in_mlflow, in_tensorboard, in_wandb, same, segments_of

import hpo
from hpo.results.follower import Follower
from hpo.trackers.__main__ import main
from hpo.trackers.choice import chosen
from hpo.trackers.feed import Feed
from hpo.trackers.tensorboard import TensorBoard

PROGRAM = f"""
import os, signal, sys
sys.path.insert(0, {str(helpers.HERE)!r})
import helpers, hpo
from pathlib import Path

class Kill(hpo.Observer):
    left = int(sys.argv[3])
    def segment(self, segment):
        self.left -= segment.computed
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

helpers.run(helpers.document(), Path(sys.argv[1]), executor="process", workers=2, track=sys.argv[2], observer=Kill())
"""
READERS = {
    "tensorboard": ("tensorboard:tb", lambda out: in_tensorboard(out / "tb" / "small")),
    "mlflow": ("mlflow:sqlite:///mlflow.db", lambda out: in_mlflow(f"sqlite:///{out / 'mlflow.db'}")),
    "wandb": ("wandb:project", in_wandb),
}


def expected_tests(run_dir):
    """Return the test metrics in results.json, as trackers call them."""
    replicates = json.loads((run_dir / "results.json").read_text())["replicates"]
    return {
        (replicate["seed"], label): {f"test/{name}": value for name, value in arm["test"].items()}
        for replicate in replicates
        for label, arm in replicate["arms"].items()
    }


@pytest.mark.parametrize("tool", READERS)
def test_every_segment_is_there_once_after_kills(tool, tmp_path):
    track, read = READERS[tool]
    # MLflow and W&B take seconds to import: they are killed once.
    for kill, code in ((20, -signal.SIGKILL), (25, -signal.SIGKILL), (-1, 0))[tool != "tensorboard" :]:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, tmp_path / "run", track, str(kill)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stderr
        assert "Warning" not in done.stderr
    found, tests = read(tmp_path)
    expected = segments_of(tmp_path / "run")
    assert len(expected) == 80
    same(found, expected)
    same(tests, expected_tests(tmp_path / "run"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("finished") / "run"
    run(document(), out)
    return out


def test_a_finished_run_is_written_once_however_often(finished, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert main([str(finished), "tensorboard:tb"]) == 0
    found, tests = in_tensorboard(tmp_path / "tb" / "small")
    same(found, segments_of(finished))
    same(tests, expected_tests(finished))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("cut", [1, 30, 400])
def test_a_record_that_was_cut_off_is_written_again(cut, finished, tmp_path):
    """As a kill in the middle of a write leaves it."""
    assert main([str(finished), f"tensorboard:{tmp_path}"]) == 0
    for path in tmp_path.rglob("*tfevents*"):
        path.write_bytes(path.read_bytes()[:-cut])
    before = in_tensorboard(tmp_path / "small")[0]
    assert main([str(finished), f"tensorboard:{tmp_path}"]) == 0
    assert len(before) < 80
    same(in_tensorboard(tmp_path / "small")[0], segments_of(finished))


def test_an_observer_in_this_process_writes_the_same(finished, tmp_path):
    with suppress(KeyboardInterrupt):
        run(document(), tmp_path / "run", observer=_Both(TensorBoard(str(tmp_path / "tb")), Interrupts(30)))
    run(document(), tmp_path / "run", observer=TensorBoard(str(tmp_path / "tb")))
    found, tests = in_tensorboard(tmp_path / "tb" / "small")
    same(found, segments_of(finished))
    same(tests, expected_tests(finished))


class _Both(hpo.Observer):
    def __init__(self, first, second):
        for name in vars(hpo.Observer):
            if not name.startswith("_"):
                setattr(self, name, lambda record, name=name: [getattr(each, name)(record) for each in (first, second)])


def test_studies_of_one_name_in_one_folder_do_not_mix(finished, tmp_path):
    run(document(replicates=1), tmp_path / "run", track=f"tensorboard:{tmp_path / 'tb'}")
    assert main([str(finished), f"tensorboard:{tmp_path / 'tb'}"]) == 0
    same(in_tensorboard(tmp_path / "tb" / "small")[0], segments_of(tmp_path / "run"))
    same(in_tensorboard(tmp_path / "tb" / "small-2")[0], segments_of(finished))
    assert (tmp_path / "tb" / "small-2" / "run_dir.txt").read_text() == f"{finished}\n"


def test_the_tab_of_hyperparameters_has_every_member(finished, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    def content(path):
        events = EventAccumulator(str(path))
        events.Reload()
        return [HParamsPluginData.FromString(data) for data in events.PluginTagToContent("hparams").values()]

    assert main([str(finished), f"tensorboard:{tmp_path}"]) == 0
    (experiment,) = content(tmp_path / "small")
    assert {info.name for info in experiment.experiment.hparam_infos} == {"h0", "h1"}
    assert [info.name.tag for info in experiment.experiment.metric_infos] == ["metric/score"]
    expected = segments_of(finished)
    groups = set()
    for seed, arm, member in {place[:3] for place in expected}:
        (session,) = content(tmp_path / "small" / arm / f"seed-{seed}" / f"member-{member:03}")
        groups.add(session.session_start_info.group_name)
        hparams = {name: value.number_value for name, value in session.session_start_info.hparams.items()}
        numbers = expected[seed, arm, member, 0]
        assert hparams == {"h0": numbers["hparam/h0"], "h1": numbers["hparam/h1"]}
    assert len(groups) == 16


class Keeps(hpo.Tracker):
    """Keeps what it gets."""

    def __init__(self):
        super().__init__("")
        self.places, self.seeds = [], []

    def log(self, segments):
        self.places += [each.place for each in segments]

    def finished_replicate(self, replicate):
        self.seeds.append(replicate.seed)


def test_replicates_may_finish_in_any_order(tmp_path):
    run(document(), tmp_path, seeds=[1])
    tracker = Keeps()
    feed = Feed(tracker, Follower(tmp_path), pytest.fail)
    while feed.step():
        pass
    assert tracker.seeds == [1]
    run(document(), tmp_path)
    feed.finish()
    assert tracker.seeds == [1, 0]
    assert sorted(tracker.places) == sorted(segments_of(tmp_path))


def test_a_label_in_segments_csv_leads_nowhere(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    path = tmp_path / "run" / "segments.csv"
    path.write_text(path.read_text().replace(",pbt,", ",../../out,", 3).replace(",random,", f",{tmp_path}/out,", 3))
    assert main([str(tmp_path / "run"), f"tensorboard:{tmp_path / 'in' / 'tb'}"]) == 0
    assert {each.name for each in tmp_path.iterdir()} == {"run", "in"}
    assert len(in_tensorboard(tmp_path / "in" / "tb" / "small")[0]) == 74


ODD = {"lr/é": hpo.Float(0.1, 1.0), "<b>&amp;": hpo.Categorical(["<script>", "ü/..", "=1"]), "../x": hpo.Int(1, 3)}


def odd(hparams):
    return {"a/<b>": hparams["lr/é"], "..": 1.0 * hparams["../x"], "value": 0.5}


def test_names_that_are_no_paths_and_no_words(tmp_path, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    trackers = [READERS[tool][0] for tool in ("tensorboard", "mlflow")]
    hpo.tune(
        odd,
        ODD,
        trials=4,
        optimizer="random_search",
        out=tmp_path / "run",
        report=False,
        metric="a/<b>",
        track=trackers,
    )
    expected = segments_of(tmp_path / "run")
    assert len(expected) == 4
    numbers, _ = in_tensorboard(tmp_path / "tb" / "odd")
    assert set(numbers) == set(expected)
    for place, values in numbers.items():
        assert values["metric/a/<b>"] == pytest.approx(expected[place]["metric/a/<b>"], rel=1e-6)
        assert values["hparam/../x"] == expected[place]["hparam/../x"]
    rows, _ = in_mlflow(f"sqlite:///{tmp_path / 'mlflow.db'}", "odd")
    assert set(rows) == set(expected)
    assert all(len(row) == 7 for row in rows.values())
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("odd").experiment_id])
    texts = {value for each in runs for key, value in each.data.params.items() if "_b_" in key}
    assert texts <= {"<script>", "ü/..", "=1"}
    assert texts
    assert {path.name for path in tmp_path.iterdir()} == {"run", "tb", "mlflow.db"}


@pytest.mark.parametrize("module", ["torch", "tensorflow"])
def test_tensorboard_is_written_without_a_framework(module, finished, tmp_path):
    code = (
        f"import sys; sys.modules[{module!r}] = None; from hpo.trackers.__main__ import main;"
        f" sys.exit(main([{str(finished)!r}, {f'tensorboard:{tmp_path}'!r}]))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert Path(tmp_path / "small" / "pbt").is_dir()


@pytest.mark.parametrize("name", ["run/store.sqlite", "link.db", "text", "other.db"])
def test_mlflow_gets_no_file_of_something_else(tmp_path, name):
    run(document(), tmp_path / "run", seeds=[0])
    (tmp_path / "link.db").symlink_to(tmp_path / "run/store.sqlite")
    (tmp_path / "text").write_text("x")
    with closing(sqlite3.connect(tmp_path / "other.db")) as db:
        db.execute("CREATE TABLE accounts (name TEXT)")
    before = (tmp_path / name).read_bytes()
    with pytest.raises(hpo.InputError, match="mlflow"):
        run(document(), tmp_path / "run", seeds=[0], track=f"mlflow:sqlite:///{tmp_path / name}")
    if name in ("text", "other.db"):
        assert (tmp_path / name).read_bytes() == before
    run(document(), tmp_path / "run", seeds=[0])  # the store is as it was


def test_a_destination_that_is_spelt_in_several_ways_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    for texts in (
        ["tensorboard:tb", "tensorboard:./tb", f"tensorboard:{tmp_path}/link/tb"],
        ["mlflow:sqlite:///x.db", f"mlflow:sqlite:///{tmp_path}/x.db"],
    ):
        assert [str(each) for each in chosen([*texts, "wandb:p"], "track")] == [texts[0], "wandb:p"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"track": 3},
        {"track": [3]},
        {"track": None},
        {"on_finish": 3},
        {"on_finish": ["echo"]},
        {"observer": 3},
        {"observer": hpo.Observer},
        {"time_limit": "x"},
    ],
    ids=str,
)
def test_arguments_of_other_types_are_refused_before_work(tmp_path, wrong):
    with pytest.raises(hpo.InputError, match=next(iter(wrong))):
        run(document(), tmp_path / "run", **wrong)
    assert not (tmp_path / "run" / "segments.csv").exists()
