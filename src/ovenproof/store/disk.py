"""Writing files that are either whole or not there, and what to say when a disk refuses.

A draft is written beside its place under a name of its own, synced, then renamed. Its writer holds
a lock on it, so that a later process can tell a draft at work from one whose writer was killed.
"""

import errno
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkstemp
from typing import BinaryIO, TypeAlias

from ovenproof.errors import NoAccess, NoSpace

PREFIX = ".ovenproof-draft-"
"""Unmistakably ours: an archive's draft lies in a folder of the user's, and is swept from there."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EEXIST,  # a file where a folder should be made
    errno.EISDIR,
)

Write: TypeAlias = Callable[[bytes], object]


@contextmanager
def writing_to(root: Path, *, hint: str) -> Iterator[None]:
    """Turn the operating system's complaints about a disk into errors with a remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise NoSpace(
                "there is no room left on the disk", subject=root, got=error.strerror, hint=hint
            ) from error
        if error.errno in _REFUSED:
            raise NoAccess(
                "this place cannot be written", subject=root, got=error.strerror, hint=hint
            ) from error
        raise


@contextmanager
def draft(path: Path, *, mode: int = 0o644) -> Iterator[Write]:
    """Write the file `path`, all or nothing. Its folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = _begin(path.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream.write
            stream.flush()
            os.fsync(stream.fileno())
            os.fchmod(stream.fileno(), mode)
            Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_file(path: Path, chunks: Iterable[bytes], *, mode: int = 0o644) -> None:
    """Write all of a file, or nothing."""
    with draft(path, mode=mode) as write:
        for chunk in chunks:
            write(chunk)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Only one process at a time: two that end at once must each see what the other wrote."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def remove_opened(path: Path, stream: BinaryIO) -> None:
    """Remove a file that is open, unless another one lies at its path by now."""
    with suppress(FileNotFoundError):
        if os.path.samestat(path.lstat(), os.fstat(stream.fileno())):
            path.unlink()


def sweep(folder: Path) -> int:
    """Remove the drafts of killed processes from a folder; how many there were."""
    removed = 0
    for path in folder.glob(f"{PREFIX}*"):
        with abandoned(path) as dead:
            if dead:
                path.unlink(missing_ok=True)
                removed += 1
    return removed


@contextmanager
def abandoned(path: Path) -> Iterator[bool]:
    """Whether no living process holds the lock on a draft, or on a temporary folder.

    It is held here meanwhile, so that a writer who comes to claim it waits and sees what became of
    it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        yield False
        return
    try:
        yield _try_lock(descriptor)
    finally:
        os.close(descriptor)


def claim(descriptor: int) -> bool:
    """Lock a new draft or folder; False where a sweeper was faster and has removed it."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return os.fstat(descriptor).st_nlink > 0


def _begin(folder: Path) -> tuple[int, str]:
    """A new draft that is claimed."""
    while True:
        descriptor, name = mkstemp(dir=folder, prefix=PREFIX)
        if claim(descriptor):
            return descriptor, name
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return os.fstat(descriptor).st_nlink > 0
