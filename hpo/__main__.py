"""The command `hpo`. `hpo run` and `python -m hpo.run` are the same, and so for every command."""

import sys
from collections.abc import Sequence
from importlib import import_module

from hpo import __version__
from hpo.cli import DONE, exit_code
from hpo.core.errors import InputError, did_you_mean

COMMANDS = {
    "run": "run or resume studies",
    "watch": "follow a study in the browser",
    "report": "rebuild the report of a run directory",
    "plan": "say how many seeds a comparison needs",
    "export": "hand a run to Optuna, data frames and papers",
    "replay": "train along a schedule that a study found, or export it",
    "store": "list, verify, clean, export and import results",
    "trackers": "write a run directory to TensorBoard, MLflow, Weights & Biases or another tracker",
    "compare": "compare arms over several tasks, or the results of any tool",
    "greed": "measure how greedy arms are, and what greed costs",
    "calibrate": "measure how often the statistics are wrong",
}
MODULES = {name: f"hpo.{name}" if name == "replay" else f"hpo.{name}.__main__" for name in COMMANDS}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the first argument names, and return its exit code."""
    name, *rest = (sys.argv[1:] if arguments is None else [*arguments]) or ["--help"]
    if name in COMMANDS:
        return int(import_module(MODULES[name]).main(rest))
    return exit_code(lambda: _list(name))


def _list(name: str) -> int:
    if name == "--version":
        print(f"hpo {__version__}")
        return DONE
    if name not in ("-h", "--help"):
        near = did_you_mean(name, COMMANDS)
        raise InputError(f"unknown command {name!r}; allowed: {', '.join(COMMANDS)}" + (f" ({near})" if near else ""))
    print("usage: hpo COMMAND ...\n")
    for each, words in COMMANDS.items():
        print(f"  {each:<10} {words}")
    print("\nhpo COMMAND --help shows the options of a command.")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
