"""The command line."""

import json
import re
import signal
import subprocess
import sys

import pytest
from helpers import PBT, RANDOM, answer, cli, document, environment, results, rows, run, sessions, write_study
from rich.console import Console

from hpo.run.__main__ import main, parser
from hpo.run.summary import print_summary

HEAVY = ("torch", "optuna", "sklearn", "ray", "numpy", "scipy", "pydantic", "rich", "sqlite3")


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Write a small study into the current directory."""
    monkeypatch.chdir(tmp_path)
    return write_study(tmp_path, document(replicates=3))


def here(capsys, *arguments):
    """Run the command line in this process; return (exit code, stdout, stderr)."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        code = main([str(argument) for argument in arguments])
    finally:
        signal.signal(signal.SIGTERM, before)
    out, err = capsys.readouterr()
    return code, out, err


QUICK = ("--executor", "serial", "--no-report")


# --- help ----------------------------------------------------------------------------------------------------------------


def test_help_imports_nothing_heavy():
    script = "import sys\nfrom hpo.run.__main__ import main\ntry:\n    main(['--help'])\nexcept SystemExit as end:\n"
    script += f"    print(end.code, [name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("0 []\n")
    assert "--follow-journal" in done.stdout


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "hpo.run", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: hpo run ")
    assert "130 interrupted" in done.stdout


# --- several studies -----------------------------------------------------------------------------------------------------


def test_of_several_studies_nothing_starts_if_a_run_directory_is_of_another(tmp_path, capsys):
    one, two = (write_study(tmp_path, document(name=name), f"{name}.toml") for name in ("one", "two"))
    run(document(name="two", budget=7), tmp_path / "runs" / "two")
    code, _, err = here(capsys, one, two, "--out", tmp_path / "runs", *QUICK)
    assert code == 2
    assert f"{tmp_path / 'runs' / 'two'} holds finished work of another study" in err
    assert not (tmp_path / "runs" / "one").exists()
    code, _, _ = here(capsys, one, two, "--out", tmp_path / "fresh", *QUICK)
    assert code == 0
    assert {len(results(tmp_path / "fresh" / name)["replicates"]) for name in ("one", "two")} == {2}


# --- exit codes ----------------------------------------------------------------------------------------------------------


def test_a_whole_run_says_what_it_found_in_plain_lines(study, tmp_path):
    done = cli(study, "--executor", "serial")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "starting small: 3 replicates, 2 arms, 1 worker; output in runs/small"
    # Of so quick a study not every replicate is told as it ends, but the first is; the table at the end has all.
    assert lines[1].startswith("warning: 3 seeds cannot decide")
    assert lines[2].startswith("seed 0 done (1 of 3), test score: random ")
    table = lines[lines.index(next(line for line in lines if line.startswith(" seed "))) :]
    assert table[0].split() == ["seed", "random", "pbt"]
    assert [line.split()[0] for line in table[1:4]] == ["0", "1", "2"]
    assert "100%" in done.stdout
    assert "pbt: " in done.stdout
    assert "results: runs/small/results.json" in done.stdout
    assert "\x1b" not in done.stdout  # no control sequences where there is no terminal
    assert len(results(tmp_path / "runs" / "small")["replicates"]) == 3


@pytest.mark.parametrize(
    ("width", "first"),
    [
        (200, ["seed", "long", "name", "0", "long", "name", "1", "long", "name", "2", "long", "name", "3"]),
        (50, ["arm", "0", "1", "2"]),
        (30, ["arm", "mean", "of", "3", "seeds"]),
    ],
)
def test_the_table_at_the_end_shows_as_much_as_fits(width, first, tmp_path):
    result = run(document(arms=tuple(RANDOM | {"label": f"long name {k}"} for k in range(4)), replicates=3), tmp_path)
    console = Console(width=width, soft_wrap=True)
    with console.capture() as shown:
        print_summary(result, console, 18.2)
    lines = shown.get().splitlines()
    lines = lines[lines.index("test score") :]
    assert lines[1].split() == first
    assert "…" not in shown.get()
    arms = result.results["replicates"]
    mean = sum(replicate["arms"]["long name 1"]["test"]["score"] for replicate in arms) / 3
    if width == 30:
        assert lines[3].split()[-1] == f"{mean:.4g}"


def test_without_a_report_none_is_announced(study, capsys, tmp_path):
    """Fault 31: `--no-report` pointed at the report of an earlier run."""
    code, out, _ = here(capsys, study, "--executor", "serial", "--replicates", "1")
    assert (code, out.splitlines()[-1]) == (0, "report: runs/small/report.html")
    assert (tmp_path / "runs/small/report.html").exists()
    code, out, _ = here(capsys, study, *QUICK)
    assert (code, out.splitlines()[-1]) == (0, "results: runs/small/results.json")
    assert "report" not in out


def test_how_long_it_took_is_said_as_by_a_clock(study, capsys):
    """Fault 31: the last percentage was all there was."""
    _, out, _ = here(capsys, study, *QUICK)
    assert re.search(r"^done in \d+:\d\d$", out, re.MULTILINE)


def test_quiet_says_nothing(study, capsys):
    assert here(capsys, study, "--quiet", *QUICK) == (0, "", "")


def test_a_study_that_fails_exits_with_1(tmp_path):
    (tmp_path / "failing_task.py").write_text(
        "from dataclasses import dataclass\nimport hpo\nfrom hpo.tasks.toy import Toy\n"
        "@hpo.register_task('failing')\n@dataclass(frozen=True)\nclass Failing(Toy):\n"
        "    def train(self, state, hparams, batches):\n"
        "        if batches.start == 2: raise RuntimeError('no luck')\n"
        "        return super().train(state, hparams, batches)\n"
    )
    done = cli(write_study(tmp_path, document({"name": "failing", "module": "failing_task"})), *QUICK)
    assert done.returncode == 1
    assert done.stderr.startswith("error: an exception in the task stopped the study at segment")
    assert "RuntimeError: no luck" in done.stderr


@pytest.mark.parametrize(
    ("evaluation", "said"),
    [
        ("hpo.Evaluation({'loss': 1.0})", "the declared ['score'] are missing"),
        ("hpo.Evaluation({'score': 'high'})", "'score' = 'high': allowed: a single number"),
        ("None", "evaluate returned None: allowed: an hpo.Evaluation"),
    ],
)
def test_a_task_that_gives_no_score_is_refused(tmp_path, evaluation, said):
    (tmp_path / "failing_task.py").write_text(
        "from dataclasses import dataclass\nimport hpo\nfrom hpo.tasks.toy import Toy\n"
        "@hpo.register_task('failing')\n@dataclass(frozen=True)\nclass Failing(Toy):\n"
        f"    def evaluate(self, state, data):\n        return {evaluation}\n"
    )
    done = cli(write_study(tmp_path, document({"name": "failing", "module": "failing_task"})), *QUICK)
    assert done.returncode == 2
    assert done.stderr.startswith("error: Failing.evaluate failed when the task was tried before the start: ")
    assert said in done.stderr
    assert not (tmp_path / "runs").exists()


def test_metrics_may_be_any_scalars(tmp_path):
    task = "from dataclasses import dataclass\nimport numpy as np\nimport hpo\nfrom hpo.tasks.toy import Toy\n"
    task += "@hpo.register_task('scalars')\n@dataclass(frozen=True)\nclass Scalars(Toy):\n    version = '1'\n"
    task += "    def evaluate(self, state, data):\n        found = super().evaluate(state, data).metrics\n"
    task += "        return hpo.Evaluation({k: np.float32(v) for k, v in found.items()} | {'n': np.int64(3)})\n"
    (tmp_path / "scalar_task.py").write_text(task)
    done = cli(write_study(tmp_path, document({"name": "scalars", "module": "scalar_task"})), *QUICK)
    assert done.returncode == 0, done.stderr
    test = results(tmp_path / "runs" / "small")["replicates"][0]["arms"]["random"]["test"]
    assert type(test["score"]) is float
    assert test["n"] == 3


def toml(text):
    def write(study):
        study.write_text(text)
        return [study]

    return write


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            lambda study: [study.with_name("studi.toml")],
            ["studi.toml: study file: there is no such file", "study.toml"],
        ),
        (toml("[study\nname = 3"), ["study.toml: not TOML: "]),
        (toml("\x00\x01"), ["study.toml: not TOML: "]),
        (lambda study: [study.parent], ["study file: cannot be read: Is a directory"]),
        (lambda study: [study, "--replicates", 4], ["--replicates 4: allowed: 1 to 3", "study.toml"]),
        (lambda study: [study, "--seeds", "0,7"], ["seeds [7] are not among", "[0, 1, 2]"]),
        (lambda study: [study, "--dry-run", "--seeds", "9"], ["seeds [9] are not among"]),
    ],
)
def test_wrong_input_is_explained_and_starts_nothing(study, tmp_path, capsys, arguments, said):
    code, out, err = here(capsys, *arguments(study))
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    for text in said:
        assert text in err
    assert "Traceback" not in err
    assert not (tmp_path / "runs").exists()


def test_all_that_is_wrong_with_a_file_is_said_at_once(study, capsys):
    bad = document(replicates=3)
    bad["study"] |= {"population": 4, "interval": 3}
    bad["arms"][1]["optimizer"] = "ptb"
    write_study(study.parent, bad)
    code, _, err = here(capsys, study)
    assert code == 2
    assert "study.population" in err
    assert "did you mean 'population_size'?" in err
    assert "arms[1].optimizer = 'ptb'" in err
    assert "did you mean 'pbt'?" in err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--workers", "0"], "argument --workers: 0: "),
        (["--workers", "many"], "argument --workers"),
        (["--replicates", "-1"], "argument --replicates"),
        (["--seeds", "1,x"], "argument --seeds: '1,x': "),
        (["--seeds", "1,1"], "argument --seeds: '1,1': "),
        (["--seeds", "1", "--replicates", "1"], "not allowed with argument"),
        (["--executor", "threads"], "invalid choice: 'threads'"),
        (["--wrokers", "2"], "unrecognized arguments: --wrokers"),
    ],
)
def test_a_wrong_command_line_exits_with_2(study, capsys, options, said):
    with pytest.raises(SystemExit) as raised:
        parser().parse_args([str(study), *options])
    assert raised.value.code == 2
    assert said in capsys.readouterr().err


def test_a_device_that_is_not_there_is_refused(study, capsys, tmp_path):
    import torch

    if torch.cuda.is_available():
        assert parser().parse_args([str(study), "--device", "cuda"]).device == "cuda"
        return
    code, _, err = here(capsys, study, "--device", "cuda")
    assert code == 2
    assert "no CUDA device" in err
    assert not (tmp_path / "runs").exists()


def test_a_run_directory_that_cannot_be_made_is_explained(study, capsys, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    code, _, err = here(capsys, study, "--out", tmp_path / "file" / "run", *QUICK)
    assert code in (1, 2)
    assert f"{tmp_path / 'file' / 'run'}" in err
    assert "Not a directory" in err


# --- running a part ------------------------------------------------------------------------------------------------------


def test_several_studies_run_in_turn_each_in_its_directory(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b").mkdir()
    first, second = document(replicates=1), document(replicates=2)
    second["study"]["name"] = "second"
    write_study(tmp_path, first)
    write_study(tmp_path / "b", second)
    (tmp_path / "both.toml").write_text('studies = ["study.toml", "b/study.toml"]')
    code, out, _ = here(capsys, "both.toml", "--out", "there", *QUICK)
    assert code == 0
    assert [len(results(tmp_path / "there" / name)["replicates"]) for name in ("small", "second")] == [1, 2]
    assert out.index("there/small/results.json") < out.index("there/second/results.json")
    assert here(capsys, "study.toml", "b/study.toml", "--quiet", *QUICK)[0] == 0
    assert results(tmp_path / "runs/second") == results(tmp_path / "there/second")
    # All files are checked before the first study starts.
    (tmp_path / "b" / "study.toml").write_text("[study]")
    assert here(capsys, "both.toml", "--out", "nowhere", *QUICK)[0] == 2
    assert not (tmp_path / "nowhere").exists()
    assert here(capsys, "study.toml", "study.toml", *QUICK)[2].startswith("error: the command line: studies = small")


def test_of_several_studies_none_starts_where_one_cannot_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    first, second = document(replicates=3), document(replicates=2)
    second["study"]["name"] = "second"
    write_study(tmp_path, first)
    write_study(tmp_path, second, "second.toml")
    code, _, said = here(capsys, "study.toml", "second.toml", "--seeds", "2", *QUICK)
    assert code == 2
    assert "seeds [2] are not among the study's planned seeds [0, 1]" in said
    assert not (tmp_path / "runs").exists()


def test_dry_run_prints_the_plan_and_starts_nothing(study, capsys, tmp_path):
    before = sorted(tmp_path.iterdir())
    code, out, err = here(capsys, study, "--dry-run", "--replicates", 2, "--workers", 3)
    assert (code, err) == (0, "")
    assert "small: 2 of 3 replicates, 3 workers" in out
    assert out.count("2 × 4 × 5 = 40") == 2  # search segments of both arms
    assert out.count("2 × 5 = 10") == 2  # retraining
    assert "one segment takes" in out
    assert sorted(tmp_path.iterdir()) == before


def test_dry_run_in_this_process_has_one_worker(study, capsys):
    code, out, _ = here(capsys, study, "--dry-run", "--executor", "serial", "--workers", 3)
    assert code == 0
    assert out.splitlines()[0] == "small: 3 of 3 replicates, 1 worker"


def test_replicates_run_the_first_seeds_and_the_verdict_is_in_progress(study, capsys, tmp_path):
    assert here(capsys, study, "--replicates", 1, "--quiet", *QUICK)[0] == 0
    found = results(tmp_path / "runs" / "small")
    assert [replicate["seed"] for replicate in found["replicates"]] == [0]
    assert found["planned_seeds"] == [0, 1, 2]
    (comparison,) = found["comparisons"]
    assert comparison["n"] == 1
    assert comparison["verdict"]["kind"] == "in progress"
    assert "in progress (1 of 3)" in comparison["verdict"]["words"].lower()
    # The rest, and it is decided; what was there is not computed again.
    assert here(capsys, study, "--quiet", *QUICK)[0] == 0
    found = results(tmp_path / "runs" / "small")
    assert [replicate["seed"] for replicate in found["replicates"]] == [0, 1, 2]
    assert found["comparisons"][0]["verdict"]["kind"] != "in progress"
    first, second = sessions(tmp_path / "runs" / "small")
    run(document(replicates=3), tmp_path / "at once")
    assert answer(tmp_path / "runs" / "small") == answer(tmp_path / "at once")
    whole = sessions(tmp_path / "at once")[0]["segments_computed"]
    assert first["segments_computed"] + second["segments_computed"] == whole


def test_seeds_run_the_chosen_ones(study, capsys, tmp_path):
    assert here(capsys, study, "--seeds", "2,0", "--out", "elsewhere", "--quiet", *QUICK)[0] == 0
    assert [found["seed"] for found in results(tmp_path / "elsewhere")["replicates"]] == [0, 2]
    assert not (tmp_path / "runs").exists()


def test_a_sitting_says_how_it_was_run(study, capsys, tmp_path):
    assert here(capsys, study, "--quiet", *QUICK)[0] == 0
    (session,) = sessions(tmp_path / "runs" / "small")
    assert (session["executor"], session["workers"], session["device"]) == ("serial", 1, "cpu")
    assert session["segments_computed"] == rows(tmp_path / "runs" / "small") + rows(
        tmp_path / "runs" / "small", "tests"
    )
    assert 0 < session["busy_seconds"] <= session["wall_seconds"]


def test_a_study_of_one_arm_and_one_replicate_is_plain_tuning(tmp_path, capsys):
    study = write_study(tmp_path, document(arms=(PBT,), replicates=1))
    code, out, _ = here(capsys, study, "--out", tmp_path / "run", *QUICK)
    assert code == 0
    assert results(tmp_path / "run")["comparisons"] == []
    assert "test score" in out


def with_report(study):
    """Run a study to its end, report and all, in the run directory `run` beside it."""
    command = [sys.executable, "-m", "hpo.run", str(study), "--executor", "serial", "--out", "run"]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=study.parent, env=environment(), check=False, timeout=120
    )


def test_the_report_is_written_and_can_be_rebuilt_without_the_store(tmp_path):
    study = write_study(tmp_path, document(arms=(RANDOM, PBT), replicates=1))
    done = with_report(study)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "run"
    assert "report: run/report.html" in done.stdout
    for name in ("report.html", "report.md"):
        assert (out / name).stat().st_size > 1000
    assert list((out / "figures").iterdir())
    (out / "store.sqlite").unlink()
    (out / "report.html").unlink()
    again = subprocess.run([sys.executable, "-m", "hpo.report", str(out)], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert (out / "report.html").exists()


def test_a_report_that_cannot_be_drawn_fails_no_study(tmp_path):
    study = write_study(tmp_path, document(replicates=1))
    cli(study, "--out", tmp_path / "run")
    (tmp_path / "run" / "figures" / "index.json").mkdir(parents=True)
    done = with_report(study)
    assert done.returncode == 0, done.stderr
    assert "the report could not be drawn: InputError" in done.stderr
    assert "`hpo report run` draws it again" in done.stderr
    assert "Traceback" not in done.stderr
    assert "results: run/results.json" in done.stdout
    run(document(replicates=1), tmp_path / "undisturbed")
    assert answer(tmp_path / "run") == answer(tmp_path / "undisturbed")


def test_a_closed_pipe_is_no_traceback(study):
    line = f"{sys.executable} -m hpo.run {study} --executor serial --no-report | true"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=study.parent, check=False)
    assert "Traceback" not in done.stderr


def test_a_task_beside_the_study_file_is_found_from_any_folder(tmp_path):
    """A module beside the study file is found wherever the command is given."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "beside_task.py").write_text(
        "from dataclasses import dataclass\nimport hpo\nfrom hpo.tasks.toy import Toy\n"
        "@hpo.register_task('beside')\n@dataclass(frozen=True)\nclass Beside(Toy):\n    pass\n"
    )
    small = write_study(tmp_path / "sub", document({"name": "beside", "module": "beside_task"}, replicates=1))
    done = cli(small, "--workers", 2, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "results.json").read_bytes())["task"]["name"] == "beside"
