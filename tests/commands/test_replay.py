"""`hpo replay`: schedules trained along once more, by the engine that found them."""

import json
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers import DEADLINE, HERE, PBT, RANDOM, document, environment, results, rows, run, until, write_study
from torch_tasks import Blobs

import hpo
from hpo.core.seeding import REPLAY_SLOT
from hpo.engine.run_dir import model_path
from hpo.replay import main, parser
from hpo.schedules.schedule import Schedule

ARMS = (
    RANDOM,
    {**PBT, "perturbation_interval": 0.5, "explore": "all"},
    {"label": "schedule", "derived_from": "pbt", "replay": "schedule"},
    {"label": "inherited", "derived_from": "pbt", "replay": "inherited_weights"},
)
SERIAL = ("--executor", "serial")


@pytest.fixture(scope="module")
def blobs_run(tmp_path_factory):
    """Return the run directory of PBT on the torch task, with dropout, and of arms that are derived from it."""
    small = document({"name": "blobs"}, arms=ARMS, seeds=[3, 5], population_size=3, budget=2, interval=0.5)
    del small["study"]["replicates"]
    out = run(small, tmp_path_factory.mktemp("replay") / "run").run_dir
    assert len(hpo.load_schedule(out, "pbt", 3).steps()) == 4
    return out


@pytest.fixture(scope="module")
def toy_run(tmp_path_factory):
    """Return the run directory of a toy study of one arm and one replicate."""
    return run(document(arms=(PBT,), replicates=1), tmp_path_factory.mktemp("replay") / "toy").run_dir


@pytest.fixture(autouse=True)
def _where_the_tasks_are(monkeypatch):
    monkeypatch.chdir(HERE)


@pytest.fixture
def command(capsys):
    """Return the command line in this process: arguments -> (exit code, stdout, stderr)."""
    before = signal.getsignal(signal.SIGTERM)

    def command(*arguments):
        try:
            code = main([str(argument) for argument in arguments])
        finally:
            signal.signal(signal.SIGTERM, before)
        out, err = capsys.readouterr()
        return code, out, err

    return command


def numbers(out):
    return json.loads((out / "replay.json").read_bytes())


# --- what is trained -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [3, 5])
@pytest.mark.parametrize("executor", ["serial", "process"])
def test_with_its_own_seed_a_schedule_gives_the_study_s_model_bit_for_bit(blobs_run, command, tmp_path, seed, executor):
    code, said, _ = command(
        blobs_run, "--arm", "pbt", "--schedule-seed", seed, "--seed", seed, "--executor", executor, "--out", tmp_path
    )
    assert code == 0
    (arm,) = (found["arms"]["pbt"] for found in results(blobs_run)["replicates"] if found["seed"] == seed)
    assert numbers(tmp_path)["test"] == arm["tests"][0]
    assert (tmp_path / "model.safetensors").read_bytes() == model_path(blobs_run, "pbt", seed).read_bytes()
    assert f"Seed {seed} is the schedule's own: it reproduced " in said


def test_a_schedule_found_in_stacks_is_said_to_be_trained_with_other_numerics(command, tmp_path):
    small = document({"name": "digits"}, arms=(PBT,), replicates=1, population_size=3, budget=2)
    out = run(small, tmp_path / "run", executor="stacked", lanes=2).run_dir
    code, said, _ = command(out, "--seed", 0, *SERIAL, "--out", tmp_path / "replay")
    assert code == 0
    assert "other numerics" in said
    assert "stacks" in said
    (arm,) = results(out)["replicates"][0]["arms"].values()
    assert numbers(tmp_path / "replay")["test"]["loss"] == pytest.approx(arm["tests"][0]["loss"], rel=1e-3)


BACK = {
    **PBT,
    "label": "back",
    "perturbation_interval": 0.5,
    "selection": {"name": "backtrack", "tolerance": 0.0, "elite_fraction": 0.5, "otherwise": "none"},
}
BONUS = {"type": "float", "low": 0, "high": 1, "when": {"optimizer": "adam"}}
CHOOSING = {"name": "choosing", "module": "conditional_tasks", "search_space": {"bonus": BONUS}}


def shuffled(source):
    return {"label": "shuffled", "derived_from": source, "replay": "shuffled"}


@pytest.mark.parametrize(
    ("task", "arms"),
    [
        ({"name": "blobs"}, (BACK, shuffled("back"))),
        (CHOOSING, ({**PBT, "explore": "all"}, {**RANDOM, "without": ["bonus"]}, shuffled("pbt"))),
    ],
    ids=["gaps", "conditional"],
)
def test_every_kind_of_lineage_comes_out_again(tmp_path, task, arms):
    small = document(task, arms=arms, population_size=4, budget=2.5, interval=0.5)
    found = run(small, tmp_path / "run").results
    schedules = {}
    for replicate in found["replicates"]:
        seed = replicate["seed"]
        for label, arm in replicate["arms"].items():
            schedule = hpo.load_schedule(tmp_path / "run", label, seed)
            schedule.save(tmp_path / "schedule.toml")
            schedules[seed, label] = schedule = Schedule.load(tmp_path / "schedule.toml")
            out = tmp_path / f"{label}-{seed}"
            result = hpo.replay_schedule(schedule, found["study"], seed=seed, out=out, executor="serial")
            assert result.test == arm["tests"][0]
            model = model_path(tmp_path / "run", label, seed).read_bytes()
            assert (out / "model.safetensors").read_bytes() == model
    if task["name"] == "blobs":
        gaps = [schedule for schedule in schedules.values() if schedule.places != tuple(range(len(schedule)))]
        assert gaps
        assert all(len(schedule) < schedule.budget == 5 for schedule in gaps)
    else:
        assert any("bonus" not in schedule.names for schedule in schedules.values())


def test_fresh_is_the_derived_arm_schedule_bit_for_bit(blobs_run, command, tmp_path):
    fresh = ("--arm", "pbt", "--schedule-seed", 3, "--seed", 3, "--fresh", *SERIAL, "--out", tmp_path / "fresh")
    code, said, _ = command(blobs_run, *fresh)
    assert code == 0
    assert "own" not in said
    arms = results(blobs_run)["replicates"][0]["arms"]
    assert numbers(tmp_path / "fresh")["test"] == arms["schedule"]["tests"][0]
    model = (tmp_path / "fresh/model.safetensors").read_bytes()
    assert model == model_path(blobs_run, "schedule", 3).read_bytes()
    assert model != model_path(blobs_run, "pbt", 3).read_bytes()
    derived = ("--arm", "schedule", "--schedule-seed", 3, "--seed", 3, *SERIAL, "--out", tmp_path / "derived")
    assert command(blobs_run, *derived)[0] == 0
    assert (tmp_path / "derived/model.safetensors").read_bytes() == model
    assert numbers(tmp_path / "derived")["fresh"] is numbers(tmp_path / "fresh")["fresh"] is True


def test_another_seed_is_another_training_and_the_same_command_the_same_bits(blobs_run, command, tmp_path):
    outs = {}
    for name, seed in (("a", 99), ("b", 99), ("c", 100)):
        outs[name] = tmp_path / name
        arguments = ("--arm", "pbt", "--schedule-seed", 3, "--seed", seed, *SERIAL, "--out", outs[name])
        assert command(blobs_run, *arguments)[0] == 0
    models = {name: (out / "model.safetensors").read_bytes() for name, out in outs.items()}
    texts = {name: (out / "replay.json").read_bytes() for name, out in outs.items()}
    assert models["a"] == models["b"]
    assert texts["a"] == texts["b"]
    assert len({*models.values(), model_path(blobs_run, "pbt", 3).read_bytes()}) == 3
    assert numbers(outs["a"])["seed"] == 99
    assert Schedule.from_document(numbers(outs["a"])["schedule"]) == hpo.load_schedule(blobs_run, "pbt", 3)


def test_a_saved_schedule_and_its_study_are_the_run_again(blobs_run, command, tmp_path):
    study = write_study(tmp_path, results(blobs_run)["study"])
    assert command(blobs_run, "--arm", "pbt", "--schedule-seed", 5, "--export", tmp_path / "found.toml")[0] == 0
    one = ("--schedule", tmp_path / "found.toml", "--study", study, "--seed", 5, *SERIAL, "--out", tmp_path / "one")
    code, said, _ = command(*one)
    assert code == 0
    assert said.startswith("found, replayed with seed 5: 4 intervals of 0.5 epochs on 300 examples\n")
    assert "Seed 5 is the schedule's own: the search has seen " in said
    assert (tmp_path / "one/model.safetensors").read_bytes() == model_path(blobs_run, "pbt", 5).read_bytes()


def test_another_task_size_and_another_length(blobs_run, command, tmp_path):
    base = (blobs_run, "--arm", "pbt", "--schedule-seed", 3, "--seed", 99, *SERIAL)
    larger = ("--task-option", "batch_size=30", "--task-option", "dropout=0.0", "--stretch", 1)
    code, said, _ = command(*base, *larger, "--out", tmp_path)
    assert code == 0
    assert "4 intervals of 0.25 epochs on 300 examples" in said
    found = numbers(tmp_path)
    assert found["task"]["options"] | {"batch_size": 30, "dropout": 0.0} == found["task"]["options"]
    by_hand = Schedule(hpo.load_schedule(blobs_run, "pbt", 3).hparams, "1/4", "epochs")
    members = hpo.load_schedule(blobs_run, "pbt", 3).members
    by_hand = Schedule(by_hand.hparams, by_hand.interval, "epochs", members=members)
    table = {"task": {"name": "blobs", "module": "torch_tasks", "batch_size": 30, "dropout": 0.0}}
    result = hpo.replay_schedule(by_hand, table, seed=99, out=tmp_path / "hand", executor="serial")
    assert result.test == found["test"]
    assert (tmp_path / "hand/model.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()


def test_a_task_without_data_is_replayed_in_whole_steps(toy_run, command, tmp_path):
    assert command(toy_run, "--seed", 0, *SERIAL, "--out", tmp_path / "own")[0] == 0
    assert numbers(tmp_path / "own")["test"] == results(toy_run)["replicates"][0]["arms"]["pbt"]["test"]
    assert command(toy_run, "--seed", 0, "--stretch", 10, *SERIAL, "--out", tmp_path / "long")[0] == 0
    code, _, err = command(toy_run, "--seed", 0, "--stretch", 7, *SERIAL, "--out", tmp_path / "odd")
    assert code == 2
    assert "interval = 1.4: allowed: a whole number, because the task has no data and its unit is steps" in err


def test_the_toy_s_answer_by_hand(tmp_path):
    """Without noise, k steps multiply theta by (1 - 2 step_size h)^k, coordinate by coordinate."""
    schedule = Schedule.of([(30, {"h0": 1.0, "h1": 0.0}), (20, {"h0": 0.25, "h1": 1.0})], "steps")
    result = hpo.replay_schedule(schedule, {"task": {"name": "toy"}}, seed=1, out=tmp_path, executor="serial")
    theta = 0.9 * np.array([0.98**30 * 0.995**20, 0.98**20])
    np.testing.assert_allclose(result.model(), theta, rtol=1e-12)
    assert result.test["score"] == pytest.approx(1.2 - float(theta @ theta), rel=1e-12)
    assert result.results["schedule"]["interval"] == 10.0


def test_the_model_has_the_test_error_that_is_said(blobs_run, tmp_path):
    schedule = hpo.load_schedule(blobs_run, "pbt", 3)
    result = hpo.replay_schedule(schedule, results(blobs_run)["study"], seed=42, out=tmp_path, executor="serial")
    model, data = result.model(), Blobs().test_data()
    assert not model.training
    with torch.inference_mode():
        assert int((model(data.inputs).argmax(1) != data.targets).sum()) == result.test["error_count"]


def test_a_schedule_that_diverges_has_no_model_and_the_worst_result(blobs_run, command, tmp_path):
    base = (blobs_run, "--arm", "pbt", "--schedule-seed", 3, "--seed", 99, *SERIAL, "--out", tmp_path)
    assert command(*base)[0] == 0
    assert (tmp_path / "model.safetensors").exists()
    code, said, _ = command(*base, "--task-option", 'explode="always"')
    assert code == 0
    assert "there is no model" in said
    found = numbers(tmp_path)
    assert (found["diverged"], found["test"]["error"], found["test_openings"]) == (True, 1.0, 2)
    assert not (tmp_path / "model.safetensors").exists()
    assert command(*base)[0] == 0  # what was there before is made again
    assert (tmp_path / "model.safetensors").exists()


def test_results_that_do_not_come_out_again_are_named(blobs_run, command, tmp_path):
    found = results(blobs_run)
    found["replicates"][0]["arms"]["pbt"]["tests"][0]["error"] += 0.5
    (tmp_path / "results.json").write_text(json.dumps(found))
    code, said, _ = command(tmp_path, "--arm", "pbt", "--schedule-seed", 3, "--seed", 3, *SERIAL)
    assert code == 0
    assert "the test values differ" in said


# --- the ledger ----------------------------------------------------------------------------------------------------------------


def test_every_opening_of_the_test_set_is_counted_once(blobs_run, command, tmp_path):
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    shutil.copy(blobs_run / "results.json", run_dir)  # nothing else is needed
    base = (run_dir, "--arm", "pbt", "--schedule-seed", 3, *SERIAL)
    line = f"opened 8 times by the finished replicates of {run_dir}, and {{}} times by "
    for seed, count in ((98, 1), (99, 2), (98, 2)):
        _, said, _ = command(*base, "--seed", seed)
        assert line.format(count) in said
    assert line.format(3) in command(*base, "--seed", 98, "--out", tmp_path / "elsewhere")[1]
    assert line.format(3) in command(*base, "--seed", 98, "--fresh")[1]
    assert line.format(4) in command(*base, "--seed", 98, "--task-option", "dropout=0.1")[1]
    names = {path.name for path in (run_dir / "replays").iterdir()}
    assert len(names) == 4
    assert {"pbt-3-on-98", "pbt-3-on-98-fresh", "pbt-3-on-99"} < names
    assert sum(numbers(path)["test_openings"] for path in (run_dir / "replays").iterdir()) == 4


# --- resuming ---------------------------------------------------------------------------------------------------------------------


def test_killed_and_run_again_it_gives_the_same_bits(blobs_run, command, tmp_path):
    base = [str(blobs_run), "--arm", "pbt", "--schedule-seed", "3", "--seed", "99"]
    process = subprocess.Popen(
        [sys.executable, "-m", "hpo.replay", *base, "--out", str(tmp_path / "killed")],
        env=environment(),
        cwd=HERE.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: rows(tmp_path / "killed") >= 1, process)
    process.kill()
    process.wait(DEADLINE)
    before = rows(tmp_path / "killed")
    assert before >= 1
    assert command(*base, "--out", tmp_path / "killed", *SERIAL)[0] == 0
    assert command(*base, "--out", tmp_path / "whole", *SERIAL)[0] == 0
    for name in ("model.safetensors", "replay.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_interrupted_it_says_so(blobs_run, command, monkeypatch, tmp_path):
    def interrupted(self, state, hparams, batches):
        signal.raise_signal(signal.SIGTERM)

    base = (blobs_run, "--arm", "pbt", "--schedule-seed", 3, "--seed", 99, *SERIAL, "--out", tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Blobs, "train", interrupted)
        code, _, err = command(*base)
    assert code == 130
    assert "the same command continues" in err
    assert command(*base)[0] == 0


def test_a_task_that_raises_is_a_failure(blobs_run, command, monkeypatch, tmp_path):
    def broken(self, state, hparams, batches):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(Blobs, "train", broken)
    code, _, err = command(blobs_run, "--arm", "pbt", "--schedule-seed", 3, "--seed", 99, *SERIAL, "--out", tmp_path)
    assert code == 1
    assert "out of luck" in err


# --- exports and errors --------------------------------------------------------------------------------------------------------


def test_exports(blobs_run, command, tmp_path):
    chosen = (blobs_run, "--arm", "pbt", "--schedule-seed", 5)
    assert command(*chosen, "--export", tmp_path / "new/a.toml")[0] == 0
    assert command(*chosen, "--export", tmp_path / "a.csv", "--stretch", 20, "--quiet") == (0, "", "")
    schedule = hpo.load_schedule(blobs_run, "pbt", 5)
    assert Schedule.load(tmp_path / "new/a.toml") == schedule
    assert (tmp_path / "a.csv").read_text() == schedule.stretched(20).to_csv()
    assert (tmp_path / "a.csv").read_text().startswith("from,to,unit,lr,momentum\n0.0,5.0,epochs,")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", "1"], "RUN_DIR with --arm, or --schedule FILE"),
        (["{run}", "--seed", "1"], "several: random, pbt, schedule, inherited"),
        (["{run}", "--arm", "pbt", "--seed", "1"], "several: 3, 5"),
        (
            ["{run}", "--arm", "ptb", "--seed", "1"],
            "--arm ptb: allowed: random, pbt, schedule, inherited (did you mean",
        ),
        (["{run}", "--arm", "pbt", "--schedule-seed", "4", "--seed", "1"], "--schedule-seed 4: allowed: 3, 5"),
        (["{folder}", "--seed", "1"], "results.json"),
        (["{run}", "--schedule", "a.toml", "--seed", "1"], "RUN_DIR with --arm, or --schedule FILE"),
        (["--schedule", "{file}", "--seed", "1"], "pass --study STUDY"),
        (["--schedule", "{file}", "--arm", "pbt", "--seed", "1"], "--arm: allowed: only with RUN_DIR"),
        (
            ["--schedule", "nowhere.toml", "--study", "nowhere.toml", "--seed", "1"],
            "schedule file: there is no such file",
        ),
        (["--schedule", "{file}", "--study", "nowhere.toml", "--seed", "1"], "study file: there is no such file"),
        (["--schedule", "{file}", "--study", "{file}", "--seed", "1"], "task: missing"),
        (["{one}", "--export", "a.json"], "--export a.json: allowed: a name that ends in .toml"),
        (["{one}", "--seed", "-1"], "seed = -1: allowed: 0 to"),
        (["{one}", "--seed", "1", "--stretch", "0"], "--stretch 0: allowed: a number above 0"),
        (["{one}", "--seed", "1", "--task-option", "step_size"], "--task-option step_size: "),
        (["{one}", "--seed", "1", "--task-option", "step_size=fast"], "the value as in a study file"),
        (["{one}", "--seed", "1", "--task-option", "step_size=2020-01-01"], "with a number, a text"),
        (["{one}", "--seed", "1", "--task-option", "a=1\nb=2"], "--task-option a=1"),
        (["{one}", "--seed", "1", "--task-option", "stepsize=1"], "did you mean 'step_size'?"),
        (
            ["{one}", "--seed", "1", "--task-option", "step_size=-1"],
            "task.step_size = -1: allowed: a finite number above 0",
        ),
        (["{one}", "--seed", "1", "--task-option", "name='mnist'"], "task.name = 'mnist'"),
        (["{one}", "--seed", "1", "--device", "cuda"], "cuda"),
    ],
)
def test_wrong_input_is_named_and_nothing_is_started(blobs_run, toy_run, command, tmp_path, arguments, message):
    if "--device" in arguments and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    places = {"run": blobs_run, "one": toy_run, "folder": tmp_path, "file": tmp_path / "mine.toml"}
    Schedule.of([(1, {"h0": 0.5, "h1": 0.5})], "steps").save(places["file"])
    code, out, err = command(*(argument.format(**places) for argument in arguments))
    assert (code, out) == (2, "")
    assert message in err
    assert not (toy_run / "replays").exists()


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (Schedule.of([(1, {"h0": 0.5})], "steps"), "steps[0].hparams.h1: missing"),
        (Schedule.of([(1, {"h0": 0.5, "h1": 0.5, "h2": 1.0})], "steps"), "steps[0].hparams.h2 = 1.0: unknown key"),
        (Schedule.of([(1, {"h0": 0.5, "h1": 1.5})], "steps"), "[task.search_space] can widen it"),
        (Schedule.of([(1, {"h0": 0.5, "h1": 0.5})], "epochs"), "its unit is steps, and the schedule's epochs"),
    ],
)
def test_a_schedule_of_another_task_is_refused(tmp_path, schedule, message):
    with pytest.raises(hpo.InputError) as raised:
        hpo.replay_schedule(schedule, {"task": {"name": "toy"}}, seed=0, out=tmp_path / "out", executor="serial")
    assert message in str(raised.value)
    assert not (tmp_path / "out").exists()


SPACE = {
    "h0": {"type": "int", "low": 0, "high": 9},
    "h1": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.1},
}


@pytest.mark.parametrize(
    ("hparams", "wrong"),
    [
        ({"h0": 8.5, "h1": 0.3}, {"h0": "8.5: allowed: a whole number"}),
        ({"h0": 8.0, "h1": 0.3}, {"h0": "8.0: allowed: a whole number"}),
        ({"h0": True, "h1": 0.3}, {"h0": "True: allowed: a whole number"}),
        ({"h0": "8", "h1": 0.3}, {"h0": "'8': allowed: a whole number"}),
        ({"h0": 10, "h1": 0.3}, {"h0": "10: allowed: a value inside Int(low=0, high=9"}),
        ({"h0": 8, "h1": True}, {"h1": "True: allowed: a finite number"}),
        ({"h0": 8, "h1": "0.3"}, {"h1": "'0.3': allowed: a finite number"}),
        ({"h0": 8, "h1": 0.35}, {"h1": "0.35: allowed: a value inside Float(low=0.0, high=1.0, log=False, step=0.1"}),
        ({"h0": -1, "h1": 1.1}, {"h0": "-1: allowed", "h1": "1.1: allowed"}),
    ],
)
def test_a_schedule_file_with_a_value_that_the_space_has_not_is_refused(command, tmp_path, hparams, wrong):
    """Fault 6: 8.5 for an integer was replayed as 8. The message names file and key, as that of `study.initial` does."""
    study = write_study(tmp_path, document({"name": "toy", "search_space": SPACE}))
    file = tmp_path / "mine.toml"
    Schedule.of([(1, {"h0": 8, "h1": 0}), (1, hparams)], "steps").save(file)
    code, _, err = command("--schedule", file, "--study", study, "--seed", 1, *SERIAL, "--out", tmp_path / "out")
    assert code == 2
    for name, said in wrong.items():
        assert f"{file}: steps[1].hparams.{name} = {said}" in err
    assert err.count("steps[") == len(wrong)
    assert not (tmp_path / "out").exists()


def test_numbers_get_the_types_of_the_search_space(tmp_path):
    whole = Schedule.of([(5, {"h0": 1, "h1": 0})], "steps")
    result = hpo.replay_schedule(whole, {"task": {"name": "toy"}}, seed=0, out=tmp_path, executor="serial")
    (step,) = result.results["schedule"]["steps"]
    assert {name: type(value) for name, value in step["hparams"].items()} == {"h0": float, "h1": float}
    assert step["member"] == REPLAY_SLOT


def test_help_loads_neither_torch_nor_optuna():
    code = "import sys; from hpo.replay import parser; parser().format_help(); print({'torch', 'optuna', 'numpy'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    assert "130 interrupted" in " ".join(parser().format_help().split())
