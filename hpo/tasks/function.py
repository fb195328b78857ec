"""Task `function`: hyperparameters in, metrics out.

A trial is one call. There is nothing to continue, so nothing to retrain, and no test set: the metrics of the best trial are the
result of a search.
"""

import inspect
import random
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from hpo.core.errors import HpoError, OptionError
from hpo.core.reach import name_of
from hpo.core.references import Reference, referred, rule_of
from hpo.core.registry import register_task
from hpo.core.segments import HParams
from hpo.core.space import SearchSpace
from hpo.core.task import Batches, Direction, Diverged, Evaluation, Examples, Indices, Metric, Task
from hpo.tasks.folds import Positions, averaged, labelled, numbered

Metrics = Mapping[str, float]


@register_task("function")
@dataclass(frozen=True)
class FunctionTask(Task[Metrics]):
    """A function of hyperparameters.

    Its first parameter receives the hyperparameters as a dict. A parameter named `seed` receives a whole number from the trial's
    stream.

    With `folds`, it also receives `train` and `validation`, arrays of positions of examples, and a trial is one call per fold. The
    folds depend on the replicate's seed alone, so all trials and arms have the same. A metric of the trial is the mean over its
    folds; `<metric>_fold_1` and so on are the values of the metric to optimize.

    It returns the metric as a number, or all metrics as a mapping of names to numbers. NaN and infinity mean that the trial
    diverged, and so does an exception if `on_error` says so.

    Args:
        function: the function; in a study file `module:name`.
        metric: the metric to optimize.
        direction: whether a low or a high value is good.
        on_error: what an exception in the function means: `fail` stops the study, and finished trials are kept; `diverge`: the
            trial has no value, and the search goes on.
        folds: the number of folds of a cross-validation; None: there is none.
        examples: the number of examples to divide into folds.
        labels: the class of each example, instead of `examples`: every fold then holds the classes in the same proportions; in a
            study file `module:name`.
        feasible: a function of the active hyperparameters that says whether they may be tried together; nothing else is tried. In a
            study file `module:name`.
        version: stands for the source of the function and of all that it reaches; raise it whenever results change.
    """

    function: Reference
    metric: str = "value"
    direction: Direction = "minimize"
    on_error: Literal["fail", "diverge"] = "fail"
    folds: Annotated[int, Ge(2)] | None = None
    examples: Annotated[int, Ge(2)] | None = None
    labels: Reference = field(default=None, compare=False)
    feasible: Reference | None = None
    version: str | None = None

    unit = "trials"
    tested = False
    is_function = True
    free_space = True
    references = ("function", "labels", "feasible")
    search_options = ("feasible",)

    def __post_init__(self) -> None:
        given = [name for name in ("examples", "labels") if getattr(self, name) is not None]
        if self.folds is None and given:
            raise OptionError(given[0], getattr(self, given[0]), "only together with `folds`")
        if self.folds is not None and len(given) != 1:
            raise OptionError(
                "folds", self.folds, "either with `examples`, their number, or with `labels`, one per example"
            )

    @cached_property
    def target(self) -> Callable[..., Any]:
        """The function itself.

        Raises:
            OptionError: its module has no such function.
        """
        found = referred("function", self.function, "a function of hyperparameters")
        if not callable(found):
            raise OptionError("function", self.function, "a function of hyperparameters")
        return found  # type: ignore[no-any-return]

    @property
    def search_space(self) -> SearchSpace:
        """Empty: the study defines it; with the rule `feasible`."""
        return SearchSpace({}, rule_of(self.feasible))

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """The metric to optimize."""
        return (Metric(self.metric, self.direction),)

    def code(self) -> Sequence[object]:
        """Return the function."""
        return (self.target,)

    def check(self) -> None:
        """Check that there is such a function, that it can be called, and that the examples can be divided into folds."""
        fold = {} if self.folds is None else dict.fromkeys(["train", "validation"])
        given = {"seed": 0} if "seed" in self._parameters else {}
        try:
            inspect.signature(self.target).bind({}, **fold, **given)
        except TypeError as error:
            arguments = f"the hyperparameters, {' and '.join(fold)}" if fold else "one argument, the hyperparameters"
            hint = "; `folds` gives it train and validation" if "validation" in self._parameters and not fold else ""
            raise OptionError("function", name_of(self.target), f"a function of {arguments} ({error}){hint}") from error
        if self.folds is not None:
            try:
                list(self._examples.folds(np.arange(len(self._examples)), self.folds))
            except ValueError as error:
                raise OptionError("folds", self.folds, f"fewer folds, or more examples ({error})") from error

    def development_data(self) -> Positions | None:
        """Return the examples that are divided into folds; None without folds."""
        return None if self.folds is None else self._examples

    def initialize(self, hparams: HParams) -> Metrics:
        """Return an empty state."""
        return {}

    def train(self, state: Metrics, hparams: HParams, batches: Batches | range) -> Metrics:
        """Call the function, and return its metrics."""
        if self.folds is None or isinstance(batches, range):
            return self._called(hparams)
        folds = self._examples.folds(batches.positions, self.folds)
        return averaged(
            name_of(self.target),
            self.metric,
            [self._called(hparams, train=train, validation=held) for train, held in folds],
        )

    @cached_property
    def _raised(self) -> set[type[Exception]]:
        """The classes of the exceptions that this process has warned of."""
        return set()

    def _called(self, hparams: HParams, **fold: Indices) -> Metrics:
        given: dict[str, Any] = {"seed": random.getrandbits(32)} if "seed" in self._parameters else {}
        try:
            returned = self.target(dict(hparams), **fold, **given)
        except Exception as error:
            if self.on_error == "diverge" and not isinstance(error, HpoError):
                if type(error) not in self._raised:
                    self._raised.add(type(error))
                    what = f"{name_of(self.target)} raised {type(error).__name__}: {error}; such trials have no value"
                    warnings.warn(what, stacklevel=2)
                raise Diverged(f"{type(error).__name__}: {error}") from error
            raise
        return self._checked(returned)

    def evaluate(self, state: Metrics, data: Examples | None) -> Evaluation:
        """Return the metrics that the call returned."""
        return Evaluation(state)

    def to_arrays(self, state: Metrics) -> Mapping[str, NDArray[Any]]:
        """Return nothing: no trial continues another one."""
        return {}

    def from_arrays(self, arrays: Mapping[str, NDArray[Any]], hparams: HParams) -> Metrics:
        """Return an empty state."""
        return {}

    @cached_property
    def _examples(self) -> Positions:
        if self.examples is not None:
            return numbered(self.examples)
        return labelled(referred("labels", self.labels, "the labels of all examples"))

    @cached_property
    def _parameters(self) -> Mapping[str, inspect.Parameter]:
        try:
            return inspect.signature(self.target).parameters
        except (TypeError, ValueError) as error:
            raise OptionError(
                "function", self.function, f"a function whose parameters can be read ({error})"
            ) from error

    def _checked(self, returned: Any) -> Metrics:
        """Return the metrics that the function returned, as a mapping."""
        name = name_of(self.target)
        allowed = f"allowed: the number {self.metric!r}, or a mapping of names to numbers that contains it"
        if isinstance(returned, Mapping):
            if self.metric not in returned:
                raise HpoError(
                    f"{name} returned the metrics {sorted(map(str, returned))}, without {self.metric!r}; {allowed}"
                )
            return {str(key): value for key, value in returned.items()}
        if isinstance(returned, bool | str | bytes | Collection) or returned is None or np.ndim(returned) != 0:
            raise HpoError(f"{name} returned {returned!r:.80}; {allowed}")
        return {self.metric: returned}
