"""Writing files so that a reader sees the old one or the new one, never half of one."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO


def write_atomic(path: Path, content: bytes | Callable[[IO[bytes]], None]) -> None:
    """Replace a file: whole or not at all, whatever is killed meanwhile, and however many processes do it at once.

    Args:
        path: the file.
        content: its bytes, or what writes them.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                content(file)
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def leftovers(folder: Path) -> Iterator[Path]:
    """Yield what writers that were killed left in a folder and below, but for folders with a lock of their own."""
    for path, folders, files in os.walk(folder):
        here = Path(path)
        folders[:] = [name for name in folders if not (here / name / ".lock").exists()]
        yield from (here / name for name in files if name.startswith(".") and name.endswith(".tmp"))


def remove_leftovers(folder: Path) -> None:
    """Remove what writers that were killed left in a folder and below; nobody may be writing there."""
    for temporary in list(leftovers(folder)):
        temporary.unlink(missing_ok=True)
