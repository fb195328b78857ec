"""Hyperparameter and schedule search with honest statistics.

The names below are loaded when they are first used, so that `import hpo` costs nothing.

| name | what |
|---|---|
| `load_study`, `parse_study` | a study file, or the same as a mapping -> `StudySpec` |
| `run_study` | `StudySpec` -> `StudyResult`, resumable, in worker processes |
| `load_best` | the best hyperparameters of a finished study |
| `load_model`, `load_schedule` | the retrained winner of an arm, and the schedule that it was trained along |
| `Schedule`, `replay_schedule`, `torch_scheduler` | hyperparameters over time: kept in a file, replayed, used elsewhere |
| `register_task`, `register_optimizer`, `register_selection`, `register_perturbation` | decorators for plug-ins |
| `Task`, `TorchTask`, `TorchClassification` | what to build a task on |
| `Float`, `Int`, `Categorical`, `SearchSpace` | hyperparameters |
"""

import os
import sys


def _leave_current_folder() -> None:
    """Take the current folder off the path where `python -m hpo.run` has put it: what lies there is not ours to run.

    Only where this package itself is imported from there does the folder stay, last. See docs/explanation/security.md.
    """
    if sys.argv[:1] != ["-m"] or sys.flags.safe_path:
        return
    try:
        here = os.getcwd()  # noqa: PTH109 - before anything is imported
    except OSError:  # it was deleted, and Python has not put it there
        return
    if sys.path[:1] == [here]:
        del sys.path[0]
        if __path__[0] == os.path.join(here, "hpo") and here not in sys.path:  # noqa: PTH118
            sys.path.append(here)


_leave_current_folder()

from importlib import import_module  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

if os.name == "nt":
    raise ImportError("hpo runs on Linux and macOS; on Windows, run it inside WSL")

__version__ = "0.1.0"

if TYPE_CHECKING:
    from hpo.core.errors import DataError, HpoError, InputError, OptionError, SpecError, StudyFailed
    from hpo.core.optimizer import Member, Optimizer, OptimizerOptions, Problem
    from hpo.core.registry import register_optimizer, register_perturbation, register_selection, register_task
    from hpo.core.segments import Result, Segment
    from hpo.core.space import Categorical, Float, Int, SearchSpace
    from hpo.core.task import Diverged, Evaluation, Metric, Task
    from hpo.engine.load import load_best, load_model, load_schedule
    from hpo.engine.replay import ReplayResult, replay_schedule
    from hpo.engine.session import Observer, StudyResult, run_study
    from hpo.execution.choice import Execution
    from hpo.schedules.best import Best
    from hpo.schedules.schedule import Schedule
    from hpo.schedules.torch import torch_scheduler
    from hpo.study.file import load_study, parse_study
    from hpo.study.spec import StudySpec
    from hpo.tasks.torch import ArrayDataset, TorchClassification, TorchTask

_HOME = {
    "hpo.core.errors": ["DataError", "HpoError", "InputError", "OptionError", "SpecError", "StudyFailed"],
    "hpo.core.task": ["Diverged", "Evaluation", "Metric", "Task"],
    "hpo.core.optimizer": ["Member", "Optimizer", "OptimizerOptions", "Problem"],
    "hpo.core.registry": ["register_optimizer", "register_perturbation", "register_selection", "register_task"],
    "hpo.core.segments": ["Result", "Segment"],
    "hpo.core.space": ["Categorical", "Float", "Int", "SearchSpace"],
    "hpo.study.spec": ["StudySpec"],
    "hpo.study.file": ["load_study", "parse_study"],
    "hpo.engine.load": ["load_best", "load_model", "load_schedule"],
    "hpo.schedules.best": ["Best"],
    "hpo.engine.replay": ["ReplayResult", "replay_schedule"],
    "hpo.schedules.schedule": ["Schedule"],
    "hpo.schedules.torch": ["torch_scheduler"],
    "hpo.engine.session": ["Observer", "StudyResult", "run_study"],
    "hpo.execution.choice": ["Execution"],
    "hpo.tasks.torch": ["ArrayDataset", "TorchClassification", "TorchTask"],
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "ArrayDataset",
    "Best",
    "Categorical",
    "DataError",
    "Diverged",
    "Evaluation",
    "Execution",
    "Float",
    "HpoError",
    "InputError",
    "Int",
    "Member",
    "Metric",
    "Observer",
    "Optimizer",
    "OptimizerOptions",
    "OptionError",
    "Problem",
    "ReplayResult",
    "Result",
    "Schedule",
    "SearchSpace",
    "Segment",
    "SpecError",
    "StudyFailed",
    "StudyResult",
    "StudySpec",
    "Task",
    "TorchClassification",
    "TorchTask",
    "load_best",
    "load_model",
    "load_schedule",
    "load_study",
    "parse_study",
    "register_optimizer",
    "register_perturbation",
    "register_selection",
    "register_task",
    "replay_schedule",
    "run_study",
    "torch_scheduler",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'hpo' has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
