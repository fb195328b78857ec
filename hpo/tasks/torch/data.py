"""Map-style data sets of PyTorch, torchvision, Hugging Face and Python as data of a task."""

import multiprocessing
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset, default_collate

from hpo.core.errors import HpoError, InputError
from hpo.core.seeding import Streams, forked_generators
from hpo.core.task import Dataset, Indices
from hpo.tasks.torch.data_identity import code, digest, example_files

_FEW = 2
"""Batches for which no processes are started."""

Item = tuple[int, Sequence[int]]
"""A batch to fetch: the key of its random numbers, and the positions of its examples."""


class Data:
    """Data of a task: any map-style data set, with `__len__` and `__getitem__`.

    That is a `Dataset` of PyTorch or torchvision, a Hugging Face `Dataset`, or a list of examples. `__getitems__` is used if there
    is one. `hpo` splits the examples, orders them, and seeds augmentation: data sets and collate functions must draw from the
    global generators of `random`, numpy or torch. What they draw does not depend on `workers`, and does not change what the model
    draws::

        data = hpo.Data(ImageFolder(root, augmented), evaluation=ImageFolder(root, plain), test=ImageFolder(test_root, plain))
        data.take(np.array([2, 0]))         # a batch of augmented examples
        data.evaluation                     # the same examples as validation sees them
        data.test                           # the test set, or None

    Args:
        train: the examples to train on, with augmentation if there is any.
        evaluation: the same examples in the same order, without augmentation; validation uses them. By default `train`.
        test: the test set, without augmentation.
        collate_fn: makes a batch of a list of examples; by default PyTorch's `default_collate`.
        workers: how many processes fetch batches for each process that trains; with 0 it fetches them itself. They change the
            speed, never the result. A process that may not have children, such as a Dask worker, fetches its batches itself.
        fingerprint: what distinguishes the data from others: `content`, `files` (names, sizes and modification times), `auto`
            (files if the data set lists the file of each example, else content), or a text of your own, which you change with the
            data. docs/how_to/data.md says what each of them cannot see.

    Raises:
        InputError: a data set is not map-style or empty, or `evaluation` does not have the examples of `train`.
    """

    def __init__(
        self,
        train: Any,
        *,
        evaluation: Any = None,
        test: Any = None,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        workers: int = 0,
        fingerprint: str = "auto",
    ) -> None:
        for name, dataset in {"train": train, "evaluation": evaluation, "test": test}.items():
            if not (dataset is None and name != "train"):
                _check_map_style(dataset, name)
        if type(workers) is not int or workers < 0:
            raise InputError(f"hpo.Data: workers = {workers!r}: allowed: a whole number of at least 0")
        if not isinstance(fingerprint, str) or not fingerprint:
            raise InputError(
                f'hpo.Data: fingerprint = {fingerprint!r}: allowed: "auto", "files", "content" or another text'
            )
        if evaluation is not None:
            _check_same_examples(train, evaluation)
        self._train, self._evaluation, self._test = train, evaluation, test
        self._collate = collate_fn
        self._workers = workers
        self._how = fingerprint

    def __len__(self) -> int:
        return len(self._train)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the examples without augmentation, or of their files; or the given text."""
        if self._how not in ("auto", "files", "content"):
            return self._how
        return digest(self._train if self._evaluation is None else self._evaluation, self._how)

    @cached_property
    def evaluation(self) -> "Data":
        """The same examples without augmentation."""
        return self if self._evaluation is None else self._like(self._evaluation, self._how)

    @cached_property
    def test(self) -> "Data | None":
        """The test set."""
        own = self._how in ("auto", "files", "content")
        return None if self._test is None else self._like(self._test, self._how if own else f"{self._how}/test")

    def take(self, indices: Indices) -> Any:
        """Return the examples at these positions, in this order, as one batch."""
        return next(self.take_each([indices]))

    def take_each(self, batches: Sequence[Indices]) -> Iterator[Any]:
        """Return an iterator over batches, each with the examples at some positions.

        Raises:
            HpoError: `collate_fn` fails.
        """
        draws = Streams(random.getrandbits(64))
        items: list[Item] = [
            (draws.key("data", interval=number, shared=True), indices.tolist())
            for number, indices in enumerate(batches)
        ]
        fetched = _Fetched(self._train, self._collate)
        workers = 0 if multiprocessing.current_process().daemon else min(self._workers, len(items))
        if not workers or len(items) <= _FEW:
            return map(fetched.__getitem__, items)
        loader: DataLoader[Any] = DataLoader(
            fetched,  # type: ignore[arg-type]
            batch_size=None,
            sampler=items,
            num_workers=workers,
            collate_fn=_unchanged,
            generator=torch.Generator(),  # otherwise it would draw from the model's
            # Forked, they start at once, and inherit the modes of this process, such as how denormals are rounded.
            multiprocessing_context="fork" if sys.platform == "linux" else None,
        )
        return iter(loader)

    @property
    def transforms(self) -> "Transforms":
        """What makes batches of the data."""
        return Transforms(tuple(code(self._train)), tuple(code(self._evaluation)), self._collate)

    def _like(self, dataset: Any, fingerprint: str) -> "Data":
        return Data(dataset, collate_fn=self._collate, workers=self._workers, fingerprint=fingerprint)


@dataclass(frozen=True)
class Transforms:
    """What makes batches of data: code and settings, which count by their source and their values.

    Args:
        train: the user's own classes, with their settings, and the transforms of the examples to train on.
        evaluation: those of the examples without augmentation, if these are other ones.
        collate_fn: makes a batch of examples; None: PyTorch's default.
    """

    train: tuple[object, ...]
    evaluation: tuple[object, ...]
    collate_fn: Callable[[list[Any]], Any] | None


def as_data(thing: Any) -> Dataset:
    """Return what a user gives as data in the form that tasks use.

    A function without parameters, or a class, is called. An `hpo.Data`, or another object with `fingerprint` and `take`, such as an
    `hpo.ArrayDataset`, is returned as it is. Anything else must be a map-style data set: it is augmented nowhere, and has no
    test set.

    Raises:
        InputError: it is no data set.
    """
    if callable(thing) and (isinstance(thing, type) or not hasattr(thing, "__getitem__")):
        thing = thing()
    if hasattr(thing, "fingerprint") and hasattr(thing, "take"):
        return thing  # type: ignore[no-any-return]
    return Data(thing)


@dataclass(frozen=True)
class _Fetched:
    """Batches as the examples of a data set, for PyTorch's `DataLoader`."""

    dataset: Any
    collate: Callable[[list[Any]], Any] | None

    def __getitem__(self, item: Item) -> Any:
        key, positions = item
        with forked_generators(key), _one_thread():
            together = getattr(self.dataset, "__getitems__", None)
            examples = together(positions) if together else [self.dataset[position] for position in positions]
            try:
                return (self.collate or default_collate)(examples)
            except Exception as error:
                raise HpoError(self._advice(examples, error)) from error

    def _advice(self, examples: list[Any], error: Exception) -> str:
        kind = f"{type(error).__name__}: {error}"
        if self.collate is None:
            return (
                f"these {len(examples)} examples cannot be stacked into one batch ({kind}). Give hpo.Data a collate_fn, which"
                " receives a list of examples and returns a batch, for instance by padding them to one length"
            )
        name = getattr(self.collate, "__qualname__", type(self.collate).__name__)
        return (
            f"collate_fn = {name} fails ({kind}). It receives a list of {len(examples)} examples, each as the data set returns it:"
            f" a {type(examples[0]).__name__}"
        )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Hold torch to one thread, as `DataLoader` does in its processes: the number of threads changes the bits of sums."""
    threads = torch.get_num_threads()
    if threads > 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if threads > 1:
            torch.set_num_threads(threads)


def _unchanged(batch: Any) -> Any:
    return batch


def _check_map_style(dataset: Any, name: str) -> None:
    found = f"hpo.Data: {name} is a {type(dataset).__name__}"
    if isinstance(dataset, Mapping):
        raise InputError(f"{found} with the keys {', '.join(map(str, dataset))}: give one of its data sets")
    if isinstance(dataset, DataLoader):
        raise InputError(f"{found}: give its data set and its collate_fn; hpo makes the batches")
    if isinstance(dataset, tuple):
        raise InputError(
            f"{found} of {len(dataset)}: give one data set: torch.utils.data.TensorDataset(inputs, targets) makes one of tensors"
        )
    sized = hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
    if isinstance(dataset, IterableDataset) or not sized:
        raise InputError(
            f"{found}, which has no {'length' if hasattr(dataset, '__getitem__') else '__getitem__'}: allowed: a map-style data set"
            " with __len__ and __getitem__, because hpo splits and orders the examples. Read a stream into a list, or write its"
            " examples to files first"
        )
    if not len(dataset):
        raise InputError(f"{found} without examples")


def _check_same_examples(train: Any, evaluation: Any) -> None:
    if len(train) != len(evaluation):
        raise InputError(
            f"hpo.Data: evaluation has {len(evaluation)} examples, and train has {len(train)}: evaluation is the same examples"
            " without augmentation, and hpo holds out a part of them for validation. To let it split several data sets, join them"
            " with torch.utils.data.ConcatDataset"
        )
    here, there = example_files(train), example_files(evaluation)
    if here and there and here != there:
        raise InputError(
            "hpo.Data: evaluation lists other files than train: it is the same examples in the same order, without augmentation"
        )
