"""Cross-validation for task `function`: examples that only the user's function sees, divided into folds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo.core.errors import HpoError, OptionError
from hpo.core.task import Indices


@dataclass(frozen=True)
class Positions:
    """Examples that are known by their positions alone.

    Args:
        size: how many.
        fingerprint: a digest of their number or their labels.
        labels: their classes, shape (size,); None if unknown.
    """

    size: int
    fingerprint: str
    labels: NDArray[Any] | None = None

    def __len__(self) -> int:
        return self.size

    def take(self, indices: Indices) -> Indices:
        """Return the positions."""
        return indices

    def folds(self, order: Indices, count: int) -> Iterator[tuple[Indices, Indices]]:
        """Yield the positions to train and to validate on for each fold, each ascending.

        Args:
            order: all positions, shuffled: a fold is a stretch of it, or of each class in it.
            count: how many folds.

        Raises:
            ValueError: there are too few examples.
        """
        from sklearn.model_selection import check_cv

        labels = None if self.labels is None else self.labels[order]
        for train, held in check_cv(count, labels, classifier=labels is not None).split(order, labels):
            yield np.sort(order[train]), np.sort(order[held])


def numbered(examples: int) -> Positions:
    """Return examples without labels."""
    return Positions(examples, f"{examples} examples")


def labelled(labels: Any) -> Positions:
    """Return examples with labels.

    Raises:
        OptionError: they are not one label per example.
    """
    from hpo.core.digests import ContentHasher  # imports joblib, which takes a while

    found = np.asarray(labels)
    if found.ndim != 1:
        raise OptionError("labels", f"<array of shape {found.shape}>", "one label per example")
    return Positions(len(found), str(ContentHasher().hash(found)), found)


def averaged(name: str, metric: str, folds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the means of metrics over folds, and the values of one metric as `<metric>_fold_1` and so on.

    Args:
        name: of the function that returned them.
        metric: the metric to return for each fold.
        folds: the metrics of each fold.

    Raises:
        HpoError: the folds have different metrics, or one that is no number.
    """
    if any(metrics.keys() != folds[0].keys() for metrics in folds):
        raise HpoError(f"{name} returned other metrics for one fold than for another: {[list(each) for each in folds]}")
    try:
        means = {key: float(np.mean([metrics[key] for metrics in folds])) for key in folds[0]}
    except TypeError as error:
        raise HpoError(f"{name} returned metrics that have no mean: {dict(folds[0])}; allowed: numbers") from error
    return means | {f"{metric}_fold_{number}": metrics[metric] for number, metrics in enumerate(folds, 1)}
