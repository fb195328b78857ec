"""What a task's `evaluate` gave, checked when it comes: what is stored is compared years later."""

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real

import numpy as np
from numpy.typing import NDArray

from hpo.core.errors import HpoError
from hpo.core.parameters import LARGEST
from hpo.core.task import Evaluation, Metric


def checked(found: object, metrics: Sequence[Metric], examples: int | None) -> Evaluation:
    """Return an evaluation with plain numbers.

    Args:
        found: what `evaluate` returned.
        metrics: those that the task declares.
        examples: how many it was given; None for a task without data.

    Raises:
        HpoError: a declared metric is missing, a value is no number, a count is none, or `correct` is not a boolean for each
            example, as many of them true as a count says.
    """
    if not isinstance(found, Evaluation) or not isinstance(found.metrics, Mapping):
        raise HpoError(f"evaluate returned {_short(found)}: an hpo.Evaluation of a mapping is needed")
    missing = [metric.name for metric in metrics if metric.name not in found.metrics]
    if missing:
        raise HpoError(f"evaluate gave the metrics {sorted(map(str, found.metrics))}, without the declared {missing}")
    values = {_name(name): _number(name, value) for name, value in found.metrics.items()}
    correct = None if found.correct is None else _booleans(found.correct, examples)
    if all(map(math.isfinite, values.values())):
        counted = [metric for metric in metrics if metric.counts in values]
        for metric in counted:
            _check_count(metric, values)
        _check_agreement(counted, values, correct)
    return Evaluation(values, correct)


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise HpoError(f"evaluate gave a metric called {name!r}: a name is a text")
    return name


def _number(name: object, value: object) -> float:
    """Return a metric as an int or a float, whatever scalar the task gave: of Python, numpy or torch.

    What is larger than 1e300 counts as infinite: sums and differences of metrics must be floats.
    """
    plain: object = value
    if hasattr(value, "item"):
        try:
            plain = value.item()
        except (TypeError, ValueError, RuntimeError):  # it has several elements
            plain = None
    if isinstance(plain, Real) and not isinstance(plain, bool):
        try:
            as_float = float(plain)
        except OverflowError:
            as_float = math.inf
        if abs(as_float) > LARGEST:
            return math.inf
        return int(plain) if isinstance(plain, Integral) else as_float
    raise HpoError(f"evaluate gave the metric {name!r} = {_short(value)}: a single number is needed, and no boolean")


def _booleans(correct: object, examples: int | None) -> NDArray[np.bool_]:
    given = np.asarray(correct)
    if examples is None or given.dtype != np.bool_ or given.shape != (examples,):
        allowed = "none, for a task without data" if examples is None else f"booleans of the shape ({examples},)"
        raise HpoError(
            f"evaluate gave `correct` of the type {given.dtype} and the shape {given.shape}: allowed: {allowed}"
        )
    return np.array(given)


def _check_count(metric: Metric, values: Mapping[str, float]) -> None:
    """Check a count against the number of examples and the rate."""
    count, total = values[str(metric.counts)], values.get("count")
    if total is None or not _is_whole(total) or total < 1:
        raise HpoError(f"evaluate gave {metric.counts!r} and count = {total!r}: a whole number of at least 1 is needed")
    if not _is_whole(count) or not 0 <= count <= total:
        raise HpoError(
            f"evaluate gave {metric.counts} = {count!r}: a whole number from 0 to count = {total:g} is needed"
        )
    if abs(values[metric.name] * total - count) > max(0.5, 1e-3 * count):  # it may come in half precision
        raise HpoError(
            f"evaluate gave {metric.name} = {values[metric.name]!r}, but {metric.counts} / count = {count:g} / {total:g}"
        )


def _check_agreement(counted: Sequence[Metric], values: Mapping[str, float], correct: NDArray[np.bool_] | None) -> None:
    """Check that as many examples are wrong as one of the counts over all of them says; there may be several, like top 1 and 5."""
    if correct is None:
        return
    right, size = int(correct.sum()), len(correct)
    over_all = [metric for metric in counted if values["count"] == size]
    expected = {
        metric.counts: values[str(metric.counts)]
        if metric.direction == "maximize"
        else size - values[str(metric.counts)]
        for metric in over_all
    }
    if expected and right not in expected.values():
        said = " and ".join(f"{metric.counts} = {values[str(metric.counts)]:g}" for metric in over_all)
        raise HpoError(f"evaluate gave `correct` with {right} of {size} true, but {said}")


def _is_whole(value: float) -> bool:
    return value == int(value)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
