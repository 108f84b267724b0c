"""Hub caches for machines that share one: written from the store, and taken into it.

On one file system nothing of ours is copied: a clone of the file where the file system can make
one, else a hard link. What others own or may write to goes over, byte by byte.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from stat import S_ISREG, S_IWGRP, S_IWOTH
from typing import BinaryIO, TypeAlias

from ovenproof.core.digest import Content, Digest
from ovenproof.core.layer import check_path
from ovenproof.errors import BadFile, WrongBytes
from ovenproof.hub.cache import HubCache, repository_folder
from ovenproof.hub.files import Located
from ovenproof.store.disk import draft, write_file, writing_to
from ovenproof.store.store import Store
from ovenproof.store.stream import checked

_CHUNK = 1 << 20
_FICLONE = 0x40049409
"""Linux's ioctl: share the blocks of another file until one of the two is written to."""
_MAIN = "main"
_BIG = 10_000_000
_LFS = frozenset(
    {".bin", ".ckpt", ".gguf", ".h5", ".model", ".msgpack", ".npy", ".npz", ".onnx", ".ot"}
    | {".parquet", ".pb", ".pickle", ".pkl", ".pt", ".pth", ".safetensors", ".tflite", ".zip"}
)
"""Of what a new repository has in LFS besides all that is big: what models are made of."""
_HINT = "free space, or name another folder"

Opener: TypeAlias = Callable[[], BinaryIO]
"""Opens a file from its start. One of this machine's own files is proven by whoever opens it."""


def export(
    model: str,
    commit: str,
    revision: str | None,
    files: Sequence[tuple[str, Content, Opener]],
    folder: Path,
) -> None:
    """Write what the hub's client finds without a network. Goes on where an earlier one ended.

    The revision is written last, so that it never names a commit that is not there whole. Whether
    a file is in LFS is no part of a lock, so it is guessed: a wrong guess costs a download when
    the client meets the file in another commit, and never brings another file's bytes.
    """
    for path in (*(path for path, _content, _open in files), revision or _MAIN):
        _check(path)
    root = repository_folder(folder, model)
    with writing_to(folder, hint=_HINT):
        for path, content, opener in files:
            blob = root / "blobs" / _etag(path, content, opener)
            if not _has(blob, content):
                _write(blob, content, opener, path)
            _point(root / "snapshots" / commit / path, blob)
        if revision != commit:
            write_file(root / "refs" / (revision or _MAIN), [commit.encode()])


def import_(
    cache: HubCache, wanted: Collection[tuple[Located, Content]], store: Store
) -> tuple[Content, ...]:
    """Take what a cache has into the store, verified; what that was.

    A file that is linked belongs to both then, and is read-only: the client never writes into one.
    """
    taken = []
    for content, at in {content: at for at, content in wanted}.items():
        if store.has(content):
            continue
        for place in cache.candidates(at, content):
            if _take(place, content, store):
                taken.append(content)
                break
            cache.doubted.add(place)
    return tuple(taken)


def _take(place: Path, content: Content, store: Store) -> bool:
    with store.temporary() as folder:
        target = folder / "blob"
        with writing_to(store.root, hint=_HINT), place.open("rb") as stream:
            if not _share(stream, target):
                with target.open("wb") as copy:
                    shutil.copyfileobj(stream, copy, _CHUNK)
        with suppress(WrongBytes):
            store.adopt(target, expected=content, what=str(place))
            return True
    return False


def _write(blob: Path, content: Content, opener: Opener, path: str) -> None:
    """All of a blob, or nothing."""
    blob.parent.mkdir(parents=True, exist_ok=True)
    with opener() as stream:
        if _is_whole_file(stream, content):
            shared = blob.with_name(f".{blob.name}.{os.getpid()}")
            try:
                if _share(stream, shared):
                    shared.replace(blob)
                    return
            finally:
                shared.unlink(missing_ok=True)
        with draft(blob, mode=0o444) as write:
            chunks = iter(lambda: stream.read(_CHUNK), b"")
            for chunk in checked(chunks, content, path):
                write(chunk)


def _share(stream: BinaryIO, target: Path) -> bool:
    """A clone of an open file, or a hard link to it; False where there can be neither.

    Linked is what is ours alone to write: the store makes it read-only, and others could go on
    writing into theirs.
    """
    target.unlink(missing_ok=True)
    try:
        with target.open("xb") as clone:
            fcntl.ioctl(clone.fileno(), _FICLONE, stream.fileno())
        return True
    except OSError:
        target.unlink(missing_ok=True)
    if not _is_ours(os.fstat(stream.fileno())):
        return False
    here = os.open(target.parent, os.O_RDONLY)
    try:
        # By the descriptor: what lies at its path by now may be something else. Python follows the
        # link in /proc only where it is given a folder, too.
        source = f"/proc/self/fd/{stream.fileno()}"
        os.link(source, target.name, src_dir_fd=here, dst_dir_fd=here)
    except OSError:
        return False
    finally:
        os.close(here)
    return True


def _is_ours(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & (S_IWGRP | S_IWOTH)


def _is_whole_file(stream: BinaryIO, content: Content) -> bool:
    try:
        status = os.fstat(stream.fileno())
    except (OSError, AttributeError):  # bytes that come over a network, or from memory
        return False
    return S_ISREG(status.st_mode) and status.st_size == content.size and stream.tell() == 0


def _has(blob: Path, content: Content) -> bool:
    """Whether an earlier export, or the client, has brought exactly this."""
    try:
        if blob.stat().st_size != content.size:
            return False
        with blob.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == content.digest.hex
    except OSError:
        return False


def _point(pointer: Path, blob: Path) -> None:
    """Make the snapshot's link to a blob; where links cannot be, a file of the same bytes."""
    pointer.parent.mkdir(parents=True, exist_ok=True)
    beside = pointer.with_name(f".{pointer.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    try:
        try:
            beside.symlink_to(os.path.relpath(blob, pointer.parent))
        except OSError:
            with blob.open("rb") as stream:
                if not _share(stream, beside):
                    shutil.copyfile(blob, beside)
        beside.replace(pointer)
    finally:
        beside.unlink(missing_ok=True)


def _etag(path: str, content: Content, opener: Opener) -> str:
    """What the hub calls the bytes of a file."""
    if content.size >= _BIG or PurePosixPath(path).suffix in _LFS:
        return content.digest.hex
    with opener() as stream:
        data = stream.read()
    if Content.of(data) != content:
        raise WrongBytes(
            "a file to be exported is not what was locked",
            subject=path,
            expected=content.digest,
            got=Digest.of(data),
        )
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _check(path: str) -> None:
    try:
        check_path(path)
    except ValueError as error:
        raise BadFile(
            "a cache of the hub cannot hold a file of this name", subject=ascii(path), got=error
        ) from error
