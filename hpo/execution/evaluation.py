"""Checks of what a task's `evaluate` returns, before it is stored."""

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real

import numpy as np
from numpy.typing import NDArray

from hpo.core.errors import HpoError
from hpo.core.parameters import LARGEST
from hpo.core.task import Evaluation, Metric


def checked(found: object, metrics: Sequence[Metric], examples: int | None) -> Evaluation:
    """Return an evaluation with plain Python numbers.

    Args:
        found: what `evaluate` returned.
        metrics: declared by the task.
        examples: the number of examples evaluated; None for a task without data.

    Raises:
        HpoError: a declared metric is missing, a value is not a number, a count is not a whole number in range, or `correct`
            does not hold one boolean per example, or contradicts a count.
    """
    if not isinstance(found, Evaluation) or not isinstance(found.metrics, Mapping):
        raise HpoError(f"evaluate returned {_short(found)}: allowed: an hpo.Evaluation whose metrics are a mapping")
    missing = [metric.name for metric in metrics if metric.name not in found.metrics]
    if missing:
        raise HpoError(
            f"evaluate returned the metrics {sorted(map(str, found.metrics))}: the declared {missing} are missing"
        )
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
        raise HpoError(f"evaluate returned a metric named {name!r}: allowed: a text")
    return name


def _number(name: object, value: object) -> float:
    """Return a metric as an int or a float, from a scalar of Python, numpy or torch.

    Magnitudes above 1e300 count as infinite, so that sums and differences of metrics stay finite.
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
    raise HpoError(f"evaluate returned {name!r} = {_short(value)}: allowed: a single number, not a boolean")


def _booleans(correct: object, examples: int | None) -> NDArray[np.bool_]:
    given = np.asarray(correct)
    if examples is None or given.dtype != np.bool_ or given.shape != (examples,):
        allowed = "None, for a task without data" if examples is None else f"booleans of shape ({examples},)"
        raise HpoError(
            f"evaluate returned `correct` with type {given.dtype} and shape {given.shape}: allowed: {allowed}"
        )
    return np.array(given)


def _check_count(metric: Metric, values: Mapping[str, float]) -> None:
    """Check a count against the number of examples and the rate."""
    count, total = values[str(metric.counts)], values.get("count")
    if total is None or not _is_whole(total) or total < 1:
        raise HpoError(f"evaluate returned {metric.counts!r} with count = {total!r}: allowed: a whole number from 1")
    if not _is_whole(count) or not 0 <= count <= total:
        raise HpoError(
            f"evaluate returned {metric.counts} = {count!r}: allowed: a whole number from 0 to count = {total:g}"
        )
    if abs(values[metric.name] * total - count) > max(0.5, 1e-3 * count):  # the rate may be in half precision
        raise HpoError(
            f"evaluate returned {metric.name} = {values[metric.name]!r}, but {metric.counts} / count = {count:g} / {total:g}"
        )


def _check_agreement(counted: Sequence[Metric], values: Mapping[str, float], correct: NDArray[np.bool_] | None) -> None:
    """Check `correct` against the counts over all examples: one of them, such as top-1 or top-5, must agree."""
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
        raise HpoError(f"evaluate returned `correct` with {right} of {size} true, but {said}")


def _is_whole(value: float) -> bool:
    return value == int(value)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
