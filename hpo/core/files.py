"""Our files and folders: names are checked, links are not followed, and files are replaced atomically.

A path consists of a folder that the user named and of names below it. The folder and its parents may be links. Nothing below
the folder may be one, because a link could lead anywhere (docs/explanation/security.md). Nothing is overwritten or deleted by a
pattern.
"""

import errno
import os
import re
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from hpo.core.errors import InputError

Content = bytes | Callable[[IO[bytes]], None]
"""A file's bytes, or a function that writes them."""

_LONGEST_NAME = 255
_HOST = re.sub(r"[^A-Za-z0-9]", "_", os.uname().nodename)[:40]
_FORGOTTEN_SECONDS = 3600.0
"""After this long, no process on another machine is assumed to be still writing a file."""
_TEMPORARY = re.compile(r"\.hpo-(\d{1,9})-([A-Za-z0-9_]*)-[0-9a-f]{32}\.tmp(-wal|-shm|-journal)?")


def inside(folder: Path, *names: str) -> Path:
    """Return the path of a file below a folder that the user named.

    Args:
        folder: the folder.
        names: the names of folders and finally of a file; they may come from untrusted files.

    Raises:
        InputError: a name leads out of the folder, or is a link.
    """
    path = folder
    for name in names:
        if not is_name(name):
            shown = repr(name) if len(name) < _LONGEST_NAME else f"{name[:40]!r}..."
            raise InputError(f"{shown} is not a valid file name in {path}; allowed: one name without '/'")
        path = path / name
        if path.is_symlink():
            raise InputError(is_link(path))
    return path


def is_name(text: str) -> bool:
    """Return whether a text can be the name of a file in a folder, and leads nowhere else."""
    if text in ("", ".", "..") or "/" in text or "\0" in text:
        return False
    return len(text.encode("utf-8", "surrogatepass")) <= _LONGEST_NAME


def is_link(path: Path) -> str:
    """Return the message about a link that is not allowed."""
    return (
        f"{path} is a link. Links inside a run directory or store are not followed: remove it, or move its target here."
        " The directory itself may be a link"
    )


def real_folder(folder: Path, *names: str) -> Path:
    """Return a folder below one that the user named; create it if needed."""
    path = inside(folder, *names)
    path.mkdir(parents=True, exist_ok=True)
    return path


def open_regular(path: Path, flags: int = os.O_RDONLY, *, follow: bool = False) -> int:
    """Open a regular file, and nothing else, without blocking.

    Args:
        path: the file.
        flags: as for `os.open`.
        follow: follow links; only for files that the user named.

    Returns:
        A file descriptor.

    Raises:
        InputError: with `follow` false: it is a link, a folder, a pipe or a device.
        OSError: it does not exist, cannot be opened, or, with `follow` true, is not a regular file.
    """
    flags |= os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK) and path.is_symlink():
            raise InputError(is_link(path)) from None
        if error.errno == errno.ENXIO:  # a socket, or a pipe without a reader
            raise _irregular(path, follow) from None
        if error.errno == errno.EISDIR and not follow:
            raise InputError(_no_file(path)) from None
        raise
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if follow and stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise _irregular(path, follow)


def _irregular(path: Path, follow: bool) -> InputError | OSError:
    return OSError(errno.EINVAL, "it is not a regular file", str(path)) if follow else InputError(_no_file(path))


def write_atomic(path: Path, content: Content, *, sync: bool = True) -> None:
    """Replace a file atomically, even if the process is killed, and even if several processes do so at once.

    A new file gets the permissions that the umask allows; an existing one keeps its own.

    Args:
        path: the file.
        content: its bytes, or a function that writes them.
        sync: wait until the data are on the disk. Without it, a power loss may leave the old file, none, or a damaged one.

    Raises:
        InputError: the name belongs to something other than a regular file.
    """
    mode = _permissions(path)
    temporary = path.with_name(temporary_name())
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if mode is not None:
                os.fchmod(descriptor, mode)
            if isinstance(content, bytes):
                file.write(content)
            else:
                content(file)
            if sync:
                file.flush()
                os.fsync(descriptor)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if sync:
        sync_folder(path.parent)


def append_regular(path: Path, content: bytes) -> bool:
    """Append to one of our files, and return whether that was possible.

    It is not if the file does not exist, or has another name elsewhere (a hard link), which would change too.

    Raises:
        InputError: the name belongs to something other than a regular file.
    """
    try:
        descriptor = open_regular(path, os.O_WRONLY | os.O_APPEND)
    except FileNotFoundError:
        return False
    try:
        if os.fstat(descriptor).st_nlink != 1:
            return False
        while content:
            content = content[os.write(descriptor, content) :]
    finally:
        os.close(descriptor)
    return True


def sync_folder(folder: Path) -> None:
    """Flush the entries of a folder to the disk."""
    with suppress(OSError):  # some file systems do not support it
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_named(path: Path, content: Content, ours: bytes) -> None:
    """Write a file that the user named; replace an existing one only if this program wrote it.

    Args:
        path: the file. A link is followed.
        content: its bytes, or a function that writes them.
        ours: the first bytes of files that this program writes.

    Raises:
        InputError: the file exists, and this program did not write it.
    """
    path = path.resolve()
    if path.exists():
        with os.fdopen(open_regular(path), "rb") as file:
            if file.read(len(ours)) != ours:
                raise InputError(
                    f"{path} exists, and hpo did not write it; nothing was overwritten: remove it, or pass another name"
                )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, content)


def remove_regular(path: Path) -> None:
    """Remove a regular file if it exists; leave anything else."""
    with suppress(FileNotFoundError):
        if stat.S_ISREG(path.lstat().st_mode):
            path.unlink()


def temporary_name() -> str:
    """Return a name for an unfinished file."""
    return f".hpo-{os.getpid()}-{_HOST}-{uuid.uuid4().hex}.tmp"


def is_temporary(name: str) -> bool:
    """Return whether a name was made by `temporary_name`, or belongs to a file that SQLite adds for such a name."""
    return _TEMPORARY.fullmatch(name) is not None


def leftovers(folder: Path) -> Iterator[Path]:
    """Yield the unfinished files in a folder whose writers have died."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            found = _TEMPORARY.fullmatch(entry.name)
            if found and entry.is_file(follow_symlinks=False) and not _may_be_written(found, entry):
                yield Path(entry)


def _may_be_written(name: re.Match[str], entry: os.DirEntry[str]) -> bool:
    """Return whether the process that created an unfinished file may still be writing it."""
    if name[2] != _HOST:
        return time.time() - entry.stat(follow_symlinks=False).st_mtime < _FORGOTTEN_SECONDS
    try:
        os.kill(int(name[1]), 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def _permissions(path: Path) -> int | None:
    """Return the permissions of a file to replace; None if there is none yet."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(mode):
        raise InputError(is_link(path))
    if not stat.S_ISREG(mode):
        raise InputError(_no_file(path))
    return stat.S_IMODE(mode)


def _no_file(path: Path) -> str:
    return f"{path} is not a regular file: move it away"
