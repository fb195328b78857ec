"""Checks before a study starts: its options, its task, and whether the run directory can hold it."""

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpo.core.errors import InputError, StoreError
from hpo.core.locks import readable
from hpo.core.parsing import parse_json
from hpo.core.run_files import check_ours
from hpo.execution.executors import Execution
from hpo.execution.sanity import sanity_check
from hpo.store import OUT_ADVICE, Store
from hpo.store.schema import database
from hpo.study.bound import BoundTask
from hpo.study.changes import begun_part, changed_keys, differing, resolved, with_trials_of
from hpo.study.spec import StudySpec


@dataclass(frozen=True)
class Prepared:
    """A study that can run; see `prepare`.

    Args:
        spec: the study.
        execution: where and how its segments run.
        bound: its task on its device.
        seeds: the seeds to run now.
        numerics: what the bits of its results depend on besides code and data.
    """

    spec: StudySpec
    execution: Execution
    bound: BoundTask
    seeds: tuple[int, ...]
    numerics: Mapping[str, str]

    @property
    def default_run_dir(self) -> Path:
        """The default run directory."""
        return Path("runs") / self.spec.name


def prepare(spec: StudySpec, execution: Execution, seeds: Sequence[int] | None = None) -> Prepared:
    """Return a study with its task on its device, after checking all options.

    Args:
        spec: the study.
        execution: where and how its segments run.
        seeds: the seeds to run now; None: all planned ones.

    Raises:
        InputError: an option is wrong, or the task cannot run in this way.
    """
    execution.check()
    chosen = tuple(dict.fromkeys(spec.seeds if seeds is None else seeds))
    unplanned = sorted(set(chosen) - set(spec.seeds))
    if unplanned:
        raise InputError(
            f"seeds {unplanned} are not among the study's planned seeds {list(spec.seeds)}: plan them in its file"
        )
    bound = spec.bound.on(execution.device, execution.threads, execution.gpus)
    execution.check_task(bound.task, bound.name)
    return Prepared(spec, execution, bound, chosen, bound.task.numerics() | execution.numerics)


def check_run_dir(study: Prepared, run_dir: Path, shared: Path | None) -> None:
    """Check that a study can start or continue in a run directory.

    Raises:
        InputError: the directory is in use, is damaged, holds another study's work, or was not made by hpo; or a new study fails
            its sanity check.
    """
    check_ours(run_dir, OUT_ADVICE)
    begun = False
    if database(run_dir).exists():
        try:
            with Store(run_dir, shared=shared) as store:
                check_same_study(store, study)
                begun = any(store.study.begun())
        except StoreError as error:
            raise InputError(str(error)) from error
    if not begun:
        try_out(study)


def try_out(study: Prepared) -> None:
    """Try a new study on a little of its data; a function's first trial is the try.

    Raises:
        InputError: it fails.
    """
    for text in arm_warnings(study.spec):
        warnings.warn(text, stacklevel=2)
    if not study.bound.task.is_function:
        sanity_check(study.spec, study.bound.task)


def arm_warnings(spec: StudySpec) -> Iterator[str]:
    """Yield what the optimizers of a study warn of before it starts."""
    for arm in spec.arms:
        if arm.derived_from is None:
            for text in arm.optimizer.warnings(spec.problem(spec.seeds[0], arm)):
                yield f"arm {arm.label!r}: {text}"


def check_same_study(store: Store, study: Prepared) -> tuple[str, bool]:
    """Return the text that identifies a study in its store, and whether its optimizers have to ask anew.

    They have to if the study has more trials than before, or if another one began here and finished nothing.

    Raises:
        InputError: the store holds finished work of another study.
    """
    now = {"document": resolved(study.spec), "task": study.bound.identity, "numerics": study.numerics}
    text, asks_again = json.dumps(now, default=str), False
    known = store.study.meta("study")
    seeds, arms = store.study.begun()
    if known is not None and seeds and store.segments.empty and not store.study.tests_opened():
        return text, True
    if known is not None and seeds:
        plain = parse_json(text)
        with readable(store.study.path, "the row that says which study it holds"):
            was = parse_json(known)
            begun = begun_part(was["document"], seeds, arms)
            if study.bound.task.is_function and begun["study"]["population_size"] < study.spec.population_size:
                asks_again, begun = True, with_trials_of(study.spec, begun)
        lines = changed_keys(begun, plain["document"])
        if not lines:
            parts = ("task", "numerics")
            before, after = ({part: facts[part] for part in parts} for facts in (was, plain))
            changed = differing(before, after, "(absent)")
            code = "task.code."
            lines = [f"{key}: {old} -> {new}" for key, (old, new) in changed.items() if not key.startswith(code)]
            ours = [key for key in changed if key.startswith(f"{code}hpo/")]
            lines += [
                _changed(key.removeprefix(code), *changed[key])
                for key in changed
                if key.startswith(code) and key not in ours
            ]
            lines += [f"hpo itself: {len(ours)} of its files, such as {ours[0].removeprefix(code)}"] if ours else []
        if lines:
            function = study.bound.task.is_function
            others = "`out` (--out)" if function else "--out, or another name in [study]"
            raise InputError(
                f"{store.run_dir} holds finished {'trials' if function else 'work'} of another study; these changes would alter"
                " it:\n  " + "\n  ".join(lines) + f"\nGive another {others}, or undo the changes."
            )
    return text, asks_again


def _changed(name: str, before: str, after: str) -> str:
    """Return how the code or a value that results depend on was changed."""
    if "(absent)" in (before, after):
        return f"{name}: {'now used' if before == '(absent)' else 'no longer used'}"
    return f"{name}: {'the file was' if name.endswith('.py') else 'its code or value was'} changed"
