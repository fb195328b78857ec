"""What tasks with images share: what of SGD they search, and stratified subsets."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hpo.core.seeding import Streams
from hpo.core.segments import HParams
from hpo.core.space import Float, SearchSpace
from hpo.core.task import Indices
from hpo.tasks.torch.classification import TorchClassification


@dataclass(frozen=True)
class ImageClassification(TorchClassification):
    """Trained by SGD with momentum, whose learning rate may decay."""

    @property
    def search_space(self) -> SearchSpace:
        """Learning rate and momentum of SGD."""
        return SearchSpace({"lr": Float(1e-5, 1.0, log=True), "momentum": Float(0.1, 0.9999)})

    @property
    def optional_space(self) -> SearchSpace:
        """`final_lr_ratio`: what the learning rate has decayed to at the end of the budget, as a part of `lr`; 1 if left out."""
        return SearchSpace({"final_lr_ratio": Float(1e-3, 1.0, log=True)})

    def learning_rate_schedule(self, hparams: HParams) -> Callable[[float], float] | None:
        """Return the exponential decay ratio^progress; None where `final_lr_ratio` is left out."""
        if "final_lr_ratio" not in hparams:
            return None
        return partial(pow, float(hparams["final_lr_ratio"]))


def stratified(labels: NDArray[np.integer], size: int) -> Indices:
    """Return `size` positions, ascending, with the classes in the proportions of `labels` to within one example.

    They are the same wherever and whenever they are asked for; a smaller subset is not necessarily part of a larger one.
    """
    classes, counts = np.unique(labels, return_counts=True)
    exact = counts * size / len(labels)
    shares = np.floor(exact).astype(np.int64)
    # The largest remainders get the examples that rounding down left over; ties go to the lower class.
    shares[np.argsort(shares - exact, kind="stable")[: size - shares.sum()]] += 1
    rng = Streams(0).generator("mnist-development-subset", shared=True)
    chosen = [
        rng.permutation(np.flatnonzero(labels == label))[:share] for label, share in zip(classes, shares, strict=True)
    ]
    return np.sort(np.concatenate(chosen))
