"""What distinguishes one data set from another: a digest of its examples or of its files, and the code that makes its examples."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import ConcatDataset, Subset

from hpo.core.digests import ContentHasher
from hpo.core.errors import InputError
from hpo.core.object_state import is_own
from hpo.core.seeding import forked_generators

_ROWS = 1000
"""Rows of a table that are hashed at a time."""

File = tuple[Path, object]
"""A file of a data set, and what the data set says about it, such as its class."""


def digest(dataset: Any, how: str) -> str:
    """Return the SHA-256 of a map-style data set.

    Args:
        dataset: the data set. The parts of a `ConcatDataset` count one by one.
        how: `content`: of all examples, or the bytes of all files that the data set lists, or all rows of a table; `files`: of the
            names, sizes and modification times of these files; `auto`: files where the data set lists the file of each example,
            else content.

    Raises:
        InputError: the data set does not list files, or an example has no digest.
    """
    sha = hashlib.sha256(type(dataset).__name__.encode())
    if isinstance(dataset, Subset) and (example_files(dataset.dataset) or how == "files"):
        sha.update(digest(dataset.dataset, how).encode())
        sha.update(json.dumps([int(index) for index in dataset.indices]).encode())
    elif isinstance(dataset, ConcatDataset):
        for part in dataset.datasets:
            sha.update(digest(part, how).encode())
    elif files := example_files(dataset):
        _hash_files(files, _bytes if how == "content" else _stamp, sha.update)
    elif how == "files":
        _hash_files(_table_files(dataset), _stamp, sha.update)
        sha.update(str(len(dataset)).encode())
    elif _is_table(dataset):
        _hash_rows(dataset, sha.update)
    else:
        _hash_examples(dataset, sha.update)
    return sha.hexdigest()


def code(dataset: Any) -> Iterator[object]:
    """Yield what makes the examples of a data set: its class and settings if it is the user's own, and its transforms.

    Settings are attributes that are numbers; paths would tie results to a place.
    """
    if isinstance(dataset, Subset):
        yield from code(dataset.dataset)
    elif isinstance(dataset, ConcatDataset):
        for part in dataset.datasets:
            yield from code(part)
    elif _is_table(dataset):
        yield from filter(callable, dataset.format["format_kwargs"].values())
    else:
        attributes = getattr(dataset, "__dict__", {})
        if is_own(type(dataset)):
            yield type(dataset)
            yield {name: value for name, value in attributes.items() if isinstance(value, bool | int | float)}
        yield from filter(callable, attributes.values())


def example_files(dataset: Any) -> Sequence[File]:
    """Return the file of each example, if the data set lists them as torchvision's `ImageFolder` does; otherwise nothing."""
    samples = getattr(dataset, "samples", None)
    if not isinstance(samples, list) or len(samples) != len(dataset):
        return ()
    rows = [sample if isinstance(sample, tuple) else (sample,) for sample in samples]
    if not all(row and isinstance(row[0], str | Path) for row in rows) or not Path(rows[0][0]).is_file():
        return ()
    return [(Path(path), rest) for path, *rest in rows]


def _table_files(dataset: Any) -> Sequence[File]:
    """Return the files of a Hugging Face data set."""
    found = [(Path(each["filename"]), None) for each in dataset.cache_files] if _is_table(dataset) else []
    if not found:
        raise InputError(
            f'hpo.Data: fingerprint = "files": a {type(dataset).__name__} does not list its files: use "content", or a text that'
            " you change with the data"
        )
    return found


def _is_table(dataset: Any) -> bool:
    """Return whether a data set is a Hugging Face one."""
    return hasattr(dataset, "cache_files") and hasattr(dataset, "with_format")


def _hash_files(files: Sequence[File], read: Callable[[Path], bytes], update: Callable[[bytes], None]) -> None:
    folder = Path(os.path.commonpath([path.absolute().parent for path, _ in files]))
    for path, rest in files:
        update(json.dumps([path.absolute().relative_to(folder).as_posix(), repr(rest)]).encode())
        update(read(path))


def _stamp(path: Path) -> bytes:
    found = path.stat()
    return json.dumps([found.st_size, found.st_mtime_ns]).encode()


def _bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _hash_rows(dataset: Any, update: Callable[[bytes], None]) -> None:
    """Hash the rows of a Hugging Face data set, before any transform, as Arrow holds them."""
    update(str(dataset.features).encode())
    for table in dataset.with_format("arrow").iter(_ROWS):
        # Copied, because equal rows may lie in memory in different ways.
        for batch in table.take(np.arange(len(table))).combine_chunks().to_batches():
            update(batch.serialize())


def _hash_examples(dataset: Any, update: Callable[[bytes], None]) -> None:
    # One by one: what examples share in memory would count otherwise.
    for index in range(len(dataset)):
        with forked_generators(index):
            example = dataset[index]
        try:
            update(ContentHasher().hash(example).encode())
        except Exception as error:
            raise InputError(
                f"hpo.Data: example {index}, a {type(example).__name__}, has no digest ({type(error).__name__}: {error}): give"
                " fingerprint a text that you change with the data"
            ) from error
