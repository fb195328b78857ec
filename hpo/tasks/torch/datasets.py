"""Data sets of tensors, and class-stratified subsets."""

import hashlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpo.core.seeding import Streams
from hpo.core.task import Indices
from hpo.tasks.torch.state_dicts import to_array


class ArrayDataset:
    """A data set of two arrays or tensors whose first axis counts the examples.

    Args:
        inputs: shape (n, ...).
        targets: shape (n, ...).
        fingerprint: a digest of the content; None: the SHA-256 of the arrays' types, shapes and bytes.

    Raises:
        ValueError: the two have different lengths.

    >>> data = ArrayDataset(np.eye(3, dtype=np.float32), np.arange(3))
    >>> data.take(np.array([2, 0]))[1]
    tensor([2, 0])
    """

    def __init__(
        self, inputs: Tensor | NDArray[Any], targets: Tensor | NDArray[Any], fingerprint: str | None = None
    ) -> None:
        self.inputs = inputs if isinstance(inputs, Tensor) else torch.tensor(inputs)
        self.targets = targets if isinstance(targets, Tensor) else torch.tensor(targets)
        if len(self.inputs) != len(self.targets):
            raise ValueError(f"{len(self.inputs)} inputs, but {len(self.targets)} targets")
        self._fingerprint = fingerprint

    @property
    def fingerprint(self) -> str:
        """A digest of the content."""
        if self._fingerprint is None:
            sha = hashlib.sha256()
            for array in (to_array(self.inputs), to_array(self.targets)):
                sha.update(f"{array.dtype.str}{array.shape}".encode())
                sha.update(array.data)
            self._fingerprint = sha.hexdigest()
        return self._fingerprint

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, indices: Indices) -> tuple[Tensor, Tensor]:
        """Return (inputs, targets) at these positions, in this order."""
        where = positions(indices, self.inputs.device)
        return self.inputs.index_select(0, where), self.targets.index_select(0, where)


def positions(indices: Indices, device: torch.device) -> Tensor:
    """Return indices as a tensor, shape (n,), on a device. Do not write to it: on the CPU it may share the memory of `indices`."""
    return torch.from_numpy(np.require(indices, requirements=("C", "W"))).to(device)


def stratified(labels: NDArray[np.integer], size: int) -> Indices:
    """Return `size` positions, ascending, with the classes in the proportions of `labels` to within one example.

    The result depends on the arguments alone; a smaller subset is not necessarily part of a larger one.
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
