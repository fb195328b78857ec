"""The command `hpo`, and what all commands share."""

import subprocess
import sys

import pytest

import hpo
from hpo.__main__ import COMMANDS, main

HEAVY = {"torch", "optuna", "sklearn", "scipy", "pandas", "matplotlib", "ray"}
SCRIPT = "import sys; sys.argv[0] = '/usr/bin/hpo'; from hpo.__main__ import main; sys.exit(main())"
"""What pip writes as the console script."""


def python(*arguments, cwd=None):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, cwd=cwd)


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_alone_it_lists_the_commands(arguments, capsys):
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ")] == list(COMMANDS)


def test_an_unknown_command_names_the_nearest(capsys):
    assert main(["replya", "x"]) == 2
    assert "replay" in capsys.readouterr().err


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"hpo {hpo.__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_is_quick_and_says_how_it_was_started(name):
    script = f"import sys\nsys.argv = ['/usr/bin/hpo', {name!r}, '--help']\nfrom hpo.__main__ import main\ntry:\n    main()\n"
    script += f"except SystemExit:\n    print(sorted({HEAVY} & sys.modules.keys()))"
    done = python("-c", script)
    assert done.stdout.startswith(f"usage: hpo {name} ")
    assert done.stdout.endswith("\n[]\n")
    assert python("-m", f"hpo.{name}", "--help").stdout.startswith(f"usage: hpo {name} ")


def test_nothing_in_the_current_folder_is_run(tmp_path):
    for name in ("json", "argparse", "importlib_metadata", "numpy", "rich"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('run from the current folder')")
    for start in (["-m", "hpo"], ["-c", f"import sys; del sys.path[0]; {SCRIPT}"]):
        done = python(*start, "plan", "nothing.toml", cwd=tmp_path)
        assert done.returncode == 2
        assert "nothing.toml" in done.stderr
        assert "current folder" not in done.stderr


def test_each_public_name_is_there():
    assert {"Task", "run_study", "load_study", "Float"} <= set(hpo.__all__)
    assert all(hasattr(hpo, name) for name in hpo.__all__)


def test_a_calibration_refuses_the_options_of_the_other(capsys):
    for arguments in (["statistics", "--replicates", "3"], ["--seed", "1"], ["--studies", "0"]):
        with pytest.raises(SystemExit) as end:
            main(["calibrate", *arguments])
        assert end.value.code == 2
        assert arguments[-2] in capsys.readouterr().err
