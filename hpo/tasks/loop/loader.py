"""What a training class iterates over."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hpo.core.task import Batches, Examples


@dataclass(frozen=True)
class Loader:
    """The batches of an interval, or of a part of the data, in the form of PyTorch's `DataLoader`.

    `len(loader)` is the number of batches, `len(loader.dataset)` that of the examples.
    """

    source: Batches | Examples

    def __iter__(self) -> Iterator[Any]:
        return iter(self.source)

    def __len__(self) -> int:
        if isinstance(self.source, Batches):
            return len(self.source)
        return -(-len(self.source) // self.source.size)

    @property
    def batch_size(self) -> int:
        """The number of examples in each batch but the last."""
        return self.source.size

    @property
    def dataset(self) -> Examples:
        """The examples of all batches."""
        if isinstance(self.source, Batches):
            return Examples(self.source.dataset, self.source.positions)
        return self.source
