"""Task `function`: hyperparameters in, metrics out.

A trial is one call. There is nothing to continue, so nothing to retrain, and no test set: the metrics of the best trial are the
result of a search.
"""

import inspect
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hpo.core.errors import HpoError, OptionError
from hpo.core.reach import name_of
from hpo.core.references import Reference, referred
from hpo.core.registry import register_task
from hpo.core.segments import HParams
from hpo.core.space import SearchSpace
from hpo.core.task import Batches, Direction, Diverged, Evaluation, Examples, Metric, Task

Metrics = Mapping[str, float]


@register_task("function")
@dataclass(frozen=True)
class FunctionTask(Task[Metrics]):
    """A function of hyperparameters.

    Its first parameter receives the hyperparameters as a dict. A parameter named `seed` receives a whole number from the trial's
    stream.

    It returns the metric as a number, or all metrics as a mapping of names to numbers. NaN and infinity mean that the trial
    diverged, and so does an exception if `on_error` says so.

    Args:
        function: the function; in a study file `module:name`.
        metric: the metric to optimize.
        direction: whether a low or a high value is good.
        on_error: what an exception in the function means: `fail` stops the study, and finished trials are kept; `diverge`: the
            trial has no value, and the search goes on.
        version: stands for the source of the function and of all that it reaches; raise it whenever results change.
    """

    function: Reference
    metric: str = "value"
    direction: Direction = "minimize"
    on_error: Literal["fail", "diverge"] = "fail"
    version: str | None = None

    unit = "trials"
    tested = False
    is_function = True
    free_space = True
    references = ("function",)

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
        """Empty: the study defines it."""
        return SearchSpace({})

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metric to optimize."""
        return (Metric(self.metric, self.direction),)

    def code(self) -> Sequence[object]:
        """Return the function."""
        return (self.target,)

    def check(self) -> None:
        """Check that there is such a function, and that it can be called."""
        given = {"seed": 0} if "seed" in self._parameters else {}
        try:
            inspect.signature(self.target).bind({}, **given)
        except TypeError as error:
            raise OptionError(
                "function", name_of(self.target), f"a function of one argument, the hyperparameters ({error})"
            ) from error

    def initialize(self, hparams: HParams) -> Metrics:
        """Return an empty state."""
        return {}

    def train(self, state: Metrics, hparams: HParams, batches: Batches | range) -> Metrics:
        """Call the function, and return its metrics."""
        given: dict[str, Any] = {"seed": random.getrandbits(32)} if "seed" in self._parameters else {}
        try:
            returned = self.target(dict(hparams), **given)
        except Exception as error:
            if self.on_error == "diverge" and not isinstance(error, HpoError):
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
        if isinstance(returned, bool | str | bytes) or returned is None or np.ndim(returned) != 0:
            raise HpoError(f"{name} returned {returned!r:.80}; {allowed}")
        return {self.metric: returned}
