"""Studies in which weights are shrunk and perturbed: retraining, replay, resume and files repeat it bit for bit."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from helpers import (
    HERE,
    RANDOM,
    Interrupts,
    answer,
    cli,
    command_here,
    document,
    results,
    rows,
    run,
    start,
    until,
    write_study,
)

import hpo
from hpo.core.errors import SpecError
from hpo.core.segments import Split, lineage, retraced
from hpo.engine.keys import Keys
from hpo.engine.run_dir import model_path
from hpo.execution.jobs import Job
from hpo.execution.runner import Runner
from hpo.report.tables import schedule_table
from hpo.results.file import WrongKey, read_results
from hpo.store import Store
from hpo.trackers.runs import values_of
from hpo.watch.study import Watched

RESTARTING = {"label": "restarting", "optimizer": "restarting"}
REPLAYS = ("schedule", "constant_best", "shuffled", "inherited_weights")
CHANGE = hpo.ShrinkPerturb(0.5, 0.25)
TOY = {"name": "toy", "module": "restarting", "training_noise": 0.01, "evaluation_noise": 0.05}
DIGITS = {"name": "digits", "module": "restarting"}
DERIVED = tuple({"label": replay, "derived_from": "restarting", "replay": replay} for replay in REPLAYS)
STUDIES = {
    "toy": document(TOY, arms=(RANDOM, RESTARTING, *DERIVED), population_size=3, budget=5),
    "digits": document(
        DIGITS, arms=({**RESTARTING, "every": 1, "reset_optimizer": True},), replicates=1, population_size=2, budget=2
    ),
}


@pytest.fixture(scope="module", params=STUDIES)
def finished(request, tmp_path_factory):
    """Return the document of a study and its run directory."""
    study = STUDIES[request.param]
    return study, run(study, tmp_path_factory.mktemp(request.param) / "run").run_dir


@pytest.fixture(scope="module")
def toy_run(tmp_path_factory):
    return run(STUDIES["toy"], tmp_path_factory.mktemp("transformed") / "run").run_dir


@pytest.fixture(autouse=True)
def _where_the_optimizer_is(monkeypatch):
    monkeypatch.chdir(HERE)


def path_to(store, key):
    return lineage(key, lambda found: store.segments.get(found).segment)


def test_retraining_on_the_search_split_is_the_checkpoint(finished, tmp_path):
    """And on the full split, the same transforms are repeated at the same intervals."""
    study, out = finished
    spec = hpo.parse_study(study, search_path=[HERE])
    keys = Keys(spec.bound, spec.task.numerics(), spec.interval, spec.interval * spec.intervals)
    runner = Runner(spec.task, spec.interval, tmp_path, spec.intervals)
    with Store(out) as store:
        best = json.loads(store.study.journal(0, "restarting")[-1][1])["key"]
        path = path_to(store, best)
        assert sum(segment.transform is not None for segment in path) == (1 if len(path) == 2 else 2)
        checkpoint = None
        for key, segment in retraced(path, Split.SEARCH, keys.of(0, 0)):
            assert segment == store.segments.get(key).segment
            outcome = runner(Job(key, segment, 0, 0, checkpoint))
            checkpoint = outcome.checkpoint
            assert (checkpoint, outcome.metrics) == (
                store.segments.get(key).checkpoint,
                store.segments.get(key).metrics,
            )
        assert key == best
        ((final,),) = store.study.db.execute("SELECT key FROM openings WHERE seed = 0 AND arm = 'restarting'")
        retrained = path_to(store, final)
    assert {segment.split for segment in retrained} == {Split.FULL}
    assert [segment.transform for segment in retrained] == [segment.transform for segment in path]


def test_a_replay_with_its_own_seed_gives_the_study_s_model(finished, tmp_path):
    study, out = finished
    for label in ("restarting", *(REPLAYS[:3] if len(study["arms"]) > 1 else ())):
        folder = tmp_path / label
        where = ("--arm", label, "--schedule-seed", 0, "--seed", 0, "--executor", "serial", "--out", folder)
        code, said = command_here("replay", out, *where)
        assert code == 0
        assert "it reproduced the study's retrained model" in said
        assert (folder / "model.safetensors").read_bytes() == model_path(out, label, 0).read_bytes()


def test_the_answer_of_ipbt_is_replayed_with_its_restart(tmp_path):
    arms = ({"label": "ipbt", "optimizer": "ipbt"},)
    out = run(document(TOY, arms=arms, replicates=1, budget=40), tmp_path / "run").run_dir
    schedule = hpo.load_schedule(out, "ipbt", 0)
    assert len(schedule.weight_transforms()) == results(out)["replicates"][0]["arms"]["ipbt"]["restarts"] == 1
    code, said = command_here("replay", out, "--seed", 0, "--executor", "serial", "--out", tmp_path / "replay")
    assert (code, "it reproduced the study's retrained model" in said) == (0, True)
    assert (tmp_path / "replay/model.safetensors").read_bytes() == model_path(out, "ipbt", 0).read_bytes()


def test_the_answer_is_the_same_on_two_workers_and_after_interruptions(tmp_path, toy_run):
    run(STUDIES["toy"], tmp_path / "two", executor="process", workers=2)
    assert answer(tmp_path / "two") == answer(toy_run)
    for answers in (4, 17, 31):
        with pytest.raises(KeyboardInterrupt):
            run(STUDIES["toy"], tmp_path / "cut", observer=Interrupts(answers))
    run(STUDIES["toy"], tmp_path / "cut")
    assert answer(tmp_path / "cut") == answer(toy_run)
    assert run(STUDIES["toy"], tmp_path / "cut", follow_journal=True).results == results(toy_run) | {
        "environment": results(tmp_path / "cut")["environment"]
    }


def test_a_killed_study_goes_on_to_the_same_answer(tmp_path):
    study = write_study(tmp_path, STUDIES["toy"])
    whole = cli(study, "--out", "whole")
    assert whole.returncode == 0, whole.stderr
    killed = start(study, "--out", "killed")
    until(lambda: rows(tmp_path / "killed") > 15, killed)
    killed.kill()
    killed.communicate()
    again = cli(study, "--out", "killed")
    assert again.returncode == 0, again.stderr
    assert answer(tmp_path / "killed") == answer(tmp_path / "whole")


def test_a_store_is_verified_and_moves_elsewhere(toy_run, tmp_path):
    assert command_here("store", "verify", toy_run) == (0, f"{toy_run}: no problems\n")
    assert command_here("store", "export", toy_run, "--out", tmp_path / "rows.jsonl")[0] == 0
    assert command_here("store", "import", tmp_path / "rows.jsonl", "--into", tmp_path / "new")[0] == 0
    run(STUDIES["toy"], tmp_path / "new")
    assert answer(tmp_path / "new") == answer(toy_run)
    with Store(tmp_path / "new") as store:
        ends = json.loads(store.study.journal(0, "restarting")[-1][1])["finals"]
        change = "UPDATE journal SET content = replace(content, ?, ?) WHERE kind = 'best' AND arm = 'restarting'"
        store.study.db.execute(change, (ends[-1], "0" * 64))
        store.study.db.commit()
    code, said = command_here("store", "verify", tmp_path / "new")
    assert (code, "the answer 000000000000 was never reported" in said) == (1, True)


def test_stacks_repeat_it_whoever_is_stacked_together(tmp_path):
    study, stacked = STUDIES["digits"], {"executor": "stacked", "lanes": 2}
    whole = run(study, tmp_path / "whole", **stacked).run_dir
    with pytest.raises(KeyboardInterrupt):
        run(study, tmp_path / "cut", observer=Interrupts(3), **stacked)
    run(study, tmp_path / "cut", **stacked)
    assert answer(tmp_path / "cut") == answer(whole)
    model = "restarting-0.safetensors"
    assert (tmp_path / "cut/models" / model).read_bytes() == (whole / "models" / model).read_bytes()


def test_files_say_where_weights_were_changed(toy_run, tmp_path):
    for replicate in results(toy_run)["replicates"]:
        steps = replicate["arms"]["restarting"]["schedule"]
        changed = {step["start"]: step["transform"] for step in steps if "transform" in step}
        assert changed == dict.fromkeys((2, 4), CHANGE.to_json())
        assert not any("transform" in step for step in replicate["arms"]["random"]["schedule"])
        schedule = hpo.load_schedule(toy_run, "restarting", replicate["seed"])
        assert schedule.weight_transforms() == {2: CHANGE, 4: CHANGE}
        schedule.save(tmp_path / "schedule.toml")
        assert hpo.Schedule.load(tmp_path / "schedule.toml") == schedule
        for label in REPLAYS:
            assert hpo.load_schedule(toy_run, label, replicate["seed"]).transforms == schedule.transforms
    found = list(csv.DictReader(io.StringIO((toy_run / "segments.csv").read_text())))
    assert list(found[0])[-3:] == ["metric:score_at_start", "transform:shrink", "transform:perturb"]
    for row in found:
        changed = row["arm"] != "random" and row["interval"] in ("2", "4")
        assert (row["transform:shrink"], row["transform:perturb"]) == (("0.5", "0.25") if changed else ("", ""))
        scored = row["arm"] != "random" and row["interval"] in ("0", "2", "4")
        assert (row["metric:score_at_start"] != "") is scored


def test_a_study_without_it_has_no_such_columns(tmp_path):
    out = run(document(), tmp_path / "run").run_dir
    assert "transform" not in (out / "segments.csv").read_text() + (out / "results.json").read_text()


def test_what_follows_a_study_sees_it(toy_run, tmp_path):
    """The data frame, what is watched, and the events of a tracker."""
    seen = []

    class Sees(hpo.Observer):
        def segment(self, segment):
            seen.append(segment)

    shutil.copytree(toy_run, tmp_path / "run")
    frame = run(STUDIES["toy"], tmp_path / "run", observer=Sees()).frame()
    at = frame["interval"].isin([2, 4]) & (frame["arm"] != "random")
    assert (frame["transform:shrink"] == 0.5).equals(at)
    assert frame["transform:perturb"].notna().equals(at)
    search = [segment for segment in seen if not segment.retraining and segment.arm == "restarting"]
    assert {segment.interval for segment in search if segment.transform == CHANGE} == {2, 4}
    assert {segment.interval for segment in search if segment.transform is None} == {0, 1, 3}
    for segment in search:
        logged = {name: value for name, value in values_of(segment).items() if name.startswith("transform/")}
        assert logged == ({} if segment.transform is None else {"transform/shrink": 0.5, "transform/perturb": 0.25})
    watched = Watched(tmp_path / "run").rows(0, "restarting", -1)
    assert [step["start"] for step in watched["steps"] if "transform" in step] == [2, 4]
    assert [bool(each) for each in watched["rows"]["transform"]] == [
        interval in (2, 4) for interval in watched["rows"]["interval"]
    ]
    assert Watched(tmp_path / "run").rows(0, "random", -1)["rows"]["transform"] == []


def test_trials_of_optuna_have_it(toy_run, tmp_path):
    import optuna

    url = f"sqlite:///{tmp_path}/optuna.db"
    code, said = command_here("export", toy_run, "--optuna", url)
    assert code == 0, said
    study = optuna.load_study(study_name="small / restarting / seed 0", storage=url)
    for steps in (study.user_attrs["schedule"], study.trials[0].user_attrs["schedule"]):
        assert [step["start"] for step in steps if "transform" in step] == [2, 4]


def test_the_report_says_it(toy_run):
    found = read_results(toy_run)
    table = schedule_table(found, found.replicates[0], "restarting")
    assert [cell for *_, cell in table.rows] == ["", *[str(CHANGE)] * 2]
    assert len(schedule_table(found, found.replicates[0], "random").columns) == len(table.columns) - 1


def test_a_task_that_cannot_be_shrunk_is_refused(tmp_path):
    study = document({"name": "guess", "module": "restarting_guess"}, arms=(RANDOM, RESTARTING))
    (tmp_path / "restarting_guess.py").write_text("import plain_tasks, restarting\n")
    done = cli(write_study(tmp_path, study), "--out", "run")
    assert done.returncode == 2
    assert "arms[1].shrink = 0.5" in done.stderr
    assert not (tmp_path / "run").exists()
    space = {"lr": hpo.Float(0.1, 1.0)}
    with pytest.raises(SpecError, match=r"shrink = 0\.5"):
        hpo.ask_tell(space, optimizer="restarting", population_size=2, intervals=4)


def test_a_schedule_is_refused_by_a_task_that_cannot_be_shrunk(toy_run, tmp_path):
    schedule = hpo.load_schedule(toy_run, "restarting", 0)
    guess = {"task": {"name": "guess", "module": "plain_tasks"}}
    with pytest.raises(SpecError, match="cannot be shrunk"):
        hpo.replay_schedule(schedule, guess, seed=0, out=tmp_path / "replay", search_path=[HERE])
    assert not (tmp_path / "replay").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "rotate", "shrink": 1.0, "perturb": 0.0}, "shrink_perturb"),
        ({"name": "shrink_perturb", "shrink": -1.0, "perturb": 0.0}, "shrink"),
        ({"name": "shrink_perturb", "shrink": 1.0}, r"schedule\[1\]\.transform\.perturb: missing"),
        (3, r"schedule\[1\]\.transform = 3"),
    ],
)
def test_a_results_file_with_another_transform_is_refused(toy_run, tmp_path, change, message):
    found = results(toy_run)
    steps = found["replicates"][0]["arms"]["restarting"]["schedule"]
    assert "transform" in steps[1]
    steps[1]["transform"] = change
    (tmp_path / "results.json").write_text(json.dumps(found))
    with pytest.raises(WrongKey, match=message):
        read_results(tmp_path)
    steps[1]["transform"], steps[0]["transform"] = None, CHANGE.to_json()
    (tmp_path / "results.json").write_text(json.dumps(found))
    with pytest.raises(WrongKey, match=r"schedule\[0\]\.transform"):
        read_results(Path(tmp_path))
