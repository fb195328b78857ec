"""Hyperparameter and schedule search with honest statistics.

The names below are loaded when they are first used, so that `import hpo` costs nothing.

| name | what |
|---|---|
| `tune` | the hyperparameters with which a function returns the best value |
| `ask_tell` | an optimizer for a training loop of your own |
| `SearchCV` | the same as a search estimator of scikit-learn |
| `load_study`, `parse_study` | a study file, or the same as a mapping -> `StudySpec` |
| `Observer` | what receives the events of a running study, each as a record such as `SegmentDone` |
| `run_study` | `StudySpec` -> `StudyResult`, resumable, in worker processes |
| `load_best` | the best hyperparameters of a finished study |
| `load_model`, `load_schedule` | the retrained winner of an arm, and the schedule that it was trained along |
| `Schedule`, `replay_schedule`, `torch_scheduler` | hyperparameters over time: kept in a file, replayed, used elsewhere |
| `ShrinkPerturb`, `shrink_perturb` | what may happen to the weights before an interval, and the function that does it to a model |
| `register_task`, `register_optimizer`, `register_selection`, `register_perturbation` | decorators for plug-ins |
| `Task`, `TorchTask`, `TorchClassification` | what to build a task on |
| `Data`, `ArrayDataset` | what a task trains on: any map-style data set, two arrays |
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

from hpo.core.version import __version__ as __version__  # noqa: E402

if os.name == "nt":
    raise ImportError("hpo runs on Linux and macOS; on Windows, run it inside WSL")

if TYPE_CHECKING:
    from hpo.core.errors import DataError as DataError
    from hpo.core.errors import HpoError as HpoError
    from hpo.core.errors import InputError as InputError
    from hpo.core.errors import OptionError as OptionError
    from hpo.core.errors import SpecError as SpecError
    from hpo.core.errors import StudyFailed as StudyFailed
    from hpo.core.observer import ArmPlan as ArmPlan
    from hpo.core.observer import JobEnded as JobEnded
    from hpo.core.observer import JobStarted as JobStarted
    from hpo.core.observer import Observer as Observer
    from hpo.core.observer import ReplicateDone as ReplicateDone
    from hpo.core.observer import SegmentDone as SegmentDone
    from hpo.core.observer import StudyStarted as StudyStarted
    from hpo.core.observer import StudyStopped as StudyStopped
    from hpo.core.observer import Tested as Tested
    from hpo.core.optimizer import Member as Member
    from hpo.core.optimizer import Optimizer as Optimizer
    from hpo.core.optimizer import OptimizerOptions as OptimizerOptions
    from hpo.core.optimizer import Problem as Problem
    from hpo.core.registry import register_optimizer as register_optimizer
    from hpo.core.registry import register_perturbation as register_perturbation
    from hpo.core.registry import register_selection as register_selection
    from hpo.core.registry import register_task as register_task
    from hpo.core.registry import register_tracker as register_tracker
    from hpo.core.segments import Result as Result
    from hpo.core.segments import Segment as Segment
    from hpo.core.segments import ShrinkPerturb as ShrinkPerturb
    from hpo.core.space import Categorical as Categorical
    from hpo.core.space import Float as Float
    from hpo.core.space import Int as Int
    from hpo.core.space import SearchSpace as SearchSpace
    from hpo.core.task import Diverged as Diverged
    from hpo.core.task import Evaluation as Evaluation
    from hpo.core.task import Metric as Metric
    from hpo.core.task import Task as Task
    from hpo.core.tracker import Tracker as Tracker
    from hpo.engine.ask_tell import ask_tell as ask_tell
    from hpo.engine.asking import AskTell as AskTell
    from hpo.engine.asking import Trial as Trial
    from hpo.engine.load import load_best as load_best
    from hpo.engine.load import load_model as load_model
    from hpo.engine.load import load_schedule as load_schedule
    from hpo.engine.replay import ReplayResult as ReplayResult
    from hpo.engine.replay import replay_schedule as replay_schedule
    from hpo.engine.session import run_study as run_study
    from hpo.engine.study_result import StudyResult as StudyResult
    from hpo.execution.executors import Execution as Execution
    from hpo.schedules.best import Best as Best
    from hpo.schedules.schedule import Schedule as Schedule
    from hpo.schedules.torch import torch_scheduler as torch_scheduler
    from hpo.search_cv import SearchCV as SearchCV
    from hpo.study.file import load_study as load_study
    from hpo.study.file import parse_study as parse_study
    from hpo.study.spec import StudySpec as StudySpec
    from hpo.tasks.function import FunctionTask as FunctionTask
    from hpo.tasks.torch import ArrayDataset as ArrayDataset
    from hpo.tasks.torch import Data as Data
    from hpo.tasks.torch import TorchClassification as TorchClassification
    from hpo.tasks.torch import TorchTask as TorchTask
    from hpo.tasks.torch.shrink_perturb import shrink_perturb as shrink_perturb
    from hpo.tuning import tune as tune

_HOME = {
    "hpo.core.errors": ["DataError", "HpoError", "InputError", "OptionError", "SpecError", "StudyFailed"],
    "hpo.core.task": ["Diverged", "Evaluation", "Metric", "Task"],
    "hpo.core.tracker": ["Tracker"],
    "hpo.core.observer": [
        "ArmPlan",
        "JobEnded",
        "JobStarted",
        "Observer",
        "ReplicateDone",
        "SegmentDone",
        "StudyStarted",
        "StudyStopped",
        "Tested",
    ],
    "hpo.core.optimizer": ["Member", "Optimizer", "OptimizerOptions", "Problem"],
    "hpo.core.registry": [
        "register_optimizer",
        "register_perturbation",
        "register_selection",
        "register_task",
        "register_tracker",
    ],
    "hpo.core.segments": ["Result", "Segment", "ShrinkPerturb"],
    "hpo.core.space": ["Categorical", "Float", "Int", "SearchSpace"],
    "hpo.study.spec": ["StudySpec"],
    "hpo.study.file": ["load_study", "parse_study"],
    "hpo.engine.ask_tell": ["ask_tell"],
    "hpo.engine.asking": ["AskTell", "Trial"],
    "hpo.engine.load": ["load_best", "load_model", "load_schedule"],
    "hpo.schedules.best": ["Best"],
    "hpo.engine.replay": ["ReplayResult", "replay_schedule"],
    "hpo.schedules.schedule": ["Schedule"],
    "hpo.schedules.torch": ["torch_scheduler"],
    "hpo.engine.session": ["run_study"],
    "hpo.engine.study_result": ["StudyResult"],
    "hpo.execution.executors": ["Execution"],
    "hpo.tasks.function": ["FunctionTask"],
    "hpo.tuning": ["tune"],
    "hpo.search_cv": ["SearchCV"],
    "hpo.tasks.torch": ["ArrayDataset", "Data", "TorchClassification", "TorchTask"],
    "hpo.tasks.torch.shrink_perturb": ["shrink_perturb"],
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'hpo' has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
