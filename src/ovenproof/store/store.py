"""The store: content by digest on this machine, and remembered outcomes by action key.

Everything is written to a temporary file, synced and renamed; so a killed process leaves nothing
that is believed later, and two processes may use one store at once. What is read is verified:
bytes that have rotted are found, thrown away and reported as not here.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ovenproof.core import record
from ovenproof.core.action import Outcome
from ovenproof.core.digest import Content, Digest
from ovenproof.errors import NoAccess, TryAgain, WrongBytes
from ovenproof.store.disk import (
    abandoned,
    claim,
    remove_opened,
    sweep,
    write_file,
    writing_to,
)
from ovenproof.store.partial import FOLDER as PARTIAL
from ovenproof.store.partial import Partials
from ovenproof.store.shelf import Absent

CHUNK = 1 << 20
FOLDERS = ("actions", "blobs", "locks", "notes", PARTIAL, "seen", "tmp")
"""What a store is made of. Nothing else is counted or removed, wherever its root is."""


class Store:
    """A folder that keeps things by digest. Also a shelf."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._blobs = root / "blobs" / "sha256"
        self._actions = root / "actions"
        self._temporary = root / "tmp"
        self._locks = root / "locks"
        self._proven: set[Digest] = set()
        """What this process has hashed, so that no blob is hashed twice in one run."""

    def path(self, content: Content) -> Path:
        """Where the content lies, or would lie."""
        return self._blobs / content.digest.hex

    def has(self, content: Content) -> bool:
        """Whether something of that name and size lies here; reads nothing."""
        try:
            return self.path(content).stat().st_size == content.size
        except OSError:
            return False

    def verify(self, content: Content) -> bool:
        """Whether exactly this content lies here. What has rotted is removed."""
        if content.digest in self._proven and self.has(content):
            return True
        stream = self._opened(content)
        if stream is None:
            return False
        stream.close()
        return True

    def open(self, content: Content, offset: int = 0) -> BinaryIO:
        """The content from `offset` on, verified before the first byte is given out."""
        stream = self._opened(content)
        if stream is None:
            raise Absent(content)
        stream.seek(offset)
        return stream

    def add(
        self, chunks: Iterable[bytes], *, expected: Content | None = None, what: str = "content"
    ) -> Content:
        """Keep these bytes. Raises WrongBytes, and keeps nothing, when they are not as expected."""
        with self.temporary() as folder:
            path = folder / "blob"
            with self._writing():
                stream = path.open("wb", buffering=0)
            with stream:
                for chunk in chunks:  # whose own complaints are not about this disk
                    with self._writing():
                        view = memoryview(chunk)
                        while view:
                            view = view[stream.write(view) :]
            return self.adopt(path, expected=expected, what=what)

    def adopt(
        self, path: Path, *, expected: Content | None = None, what: str = "content"
    ) -> Content:
        """Take a file of the store's file system in, by a rename. See `add`."""
        with self._kept():
            stream = path.open("rb", buffering=0)
        with stream:
            digest = Digest(hashlib.file_digest(stream, "sha256").hexdigest())
            content = Content(digest, stream.tell())
            if expected is not None and content != expected:
                raise WrongBytes(
                    f"the bytes of {what} are not those that were promised",
                    subject=what,
                    expected=f"{expected.digest}, {expected.size} bytes",
                    got=f"{content.digest}, {content.size} bytes",
                )
            with self._writing():
                os.fsync(stream.fileno())
        with self._writing():
            path.chmod(0o444)
            self._blobs.mkdir(parents=True, exist_ok=True)
            path.replace(self.path(content))
        self._proven.add(content.digest)
        return content

    def recall(self, key: Digest) -> Outcome | None:
        """What is remembered under an action's key; None also where the record is damaged."""
        try:
            text = (self._actions / f"{key.hex}.json").read_bytes()
        except OSError:
            return None
        try:
            return record.read(key, text)
        except WrongBytes:
            return None

    def remember(self, key: Digest, outcome: Outcome) -> None:
        """Remember an outcome."""
        with self._writing():
            write_file(self._actions / f"{key.hex}.json", [record.write(key, outcome)])

    @contextmanager
    def temporary(self) -> Iterator[Path]:
        """A folder on the store's file system, gone afterwards."""
        with self._writing():
            folder, descriptor = self._new_folder()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)

    @contextmanager
    def locked(self, name: Digest) -> Iterator[None]:
        """Only one process at a time does what `name` stands for; a killed one lets go."""
        with self._writing():
            self._locks.mkdir(parents=True, exist_ok=True)
            stream = (self._locks / name.hex).open("w")
        with stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def size(self) -> int:
        """Bytes that everything here takes."""
        total = Partials(self.root).size()
        for name in set(FOLDERS) - {PARTIAL}:
            for folder, _folders, files in os.walk(self.root / name):
                for file in files:
                    with suppress(FileNotFoundError):  # somebody works here meanwhile
                        total += os.lstat(os.path.join(folder, file)).st_size  # noqa: PTH118  many
        return total

    def sweep(self) -> int:
        """Remove what killed processes left behind; how many things that were.

        What is half fetched stays for a while: whoever comes back goes on with it.
        """
        removed = sweep(self._actions) + Partials(self.root).sweep()
        for folder in self._temporary.glob("*/"):
            with abandoned(folder) as dead:
                if dead:
                    shutil.rmtree(folder, ignore_errors=True)
                    removed += 1
        return removed

    def empty(self) -> None:
        """Remove everything. Raises NoAccess where something stays."""
        for name in FOLDERS:
            shutil.rmtree(self.root / name, ignore_errors=True)
        self._proven.clear()
        if left := [name for name in FOLDERS if (self.root / name).exists()]:
            raise NoAccess(
                "the store could not be emptied",
                subject=self.root,
                got=f"left: {', '.join(left)}",
                hint="make the folder writable, or wait until no build uses it",
            )
        with suppress(OSError):  # other things lie here too
            self.root.rmdir()

    def _opened(self, content: Content) -> BinaryIO | None:
        """The blob, at its start, if it is exactly this content. What has rotted is removed."""
        path = self.path(content)
        try:
            stream = path.open("rb")
        except (FileNotFoundError, NotADirectoryError):
            return None
        size = os.fstat(stream.fileno()).st_size
        if content.digest in self._proven and size == content.size:
            return stream
        found = Digest(hashlib.file_digest(stream, "sha256").hexdigest())
        if found != content.digest:
            remove_opened(path, stream)
        if Content(found, stream.tell()) != content:
            stream.close()
            return None
        self._proven.add(content.digest)
        stream.seek(0)
        return stream

    def _new_folder(self) -> tuple[Path, int]:
        """A temporary folder, and the descriptor that holds the lock on it."""
        while True:
            self._temporary.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(dir=self._temporary))
            try:
                descriptor = os.open(folder, os.O_RDONLY)
            except FileNotFoundError:  # swept before it could be claimed
                continue
            if claim(descriptor):
                return folder, descriptor
            os.close(descriptor)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        hint = "free space, run `invoke clean`, or set OVENPROOF_CACHE to a folder with room"
        with self._kept(), writing_to(self.root, hint=hint):
            yield

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """What was put here a moment ago is here, unless somebody empties the store."""
        try:
            yield
        except FileNotFoundError as error:
            raise TryAgain(
                "the store was emptied while something was put into it",
                subject=self.root,
                got=error,
                hint="run the same command again, and `invoke clean --all` when nothing runs",
            ) from error
