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
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO

from ovenproof.core.action import Outcome
from ovenproof.core.digest import Content, Digest, Json, canonical_json
from ovenproof.core.reader import Reader
from ovenproof.errors import BadFile, WrongBytes
from ovenproof.store.disk import abandoned, claim, sweep, write_file, writing_to
from ovenproof.store.shelf import Absent

CHUNK = 1 << 20


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
        path = self.path(content)
        try:
            with path.open("rb", buffering=0) as stream:
                found = Content(
                    Digest(hashlib.file_digest(stream, "sha256").hexdigest()),
                    stream.tell(),
                )
        except (FileNotFoundError, NotADirectoryError):
            return False
        if found.digest != content.digest:
            path.unlink(missing_ok=True)
        if found != content:
            return False
        self._proven.add(content.digest)
        return True

    def open(self, content: Content, offset: int = 0) -> BinaryIO:
        """The content from `offset` on, verified before the first byte is given out."""
        if not self.verify(content):
            raise Absent(str(content.digest))
        stream = self.path(content).open("rb")
        stream.seek(offset)
        return stream

    def add(
        self, chunks: Iterable[bytes], *, expected: Content | None = None, what: str = "content"
    ) -> Content:
        """Keep these bytes. Raises WrongBytes, and keeps nothing, when they are not as expected."""
        with self.temporary() as folder:
            path = folder / "blob"
            with self._writing(), path.open("wb", buffering=0) as stream:
                for chunk in chunks:
                    view = memoryview(chunk)
                    while view:
                        view = view[stream.write(view) :]
            return self.adopt(path, expected=expected, what=what)

    def adopt(
        self, path: Path, *, expected: Content | None = None, what: str = "content"
    ) -> Content:
        """Take a file of the store's file system in, by a rename. See `add`."""
        with path.open("rb", buffering=0) as stream:
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
        path.chmod(0o444)
        with self._writing():
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
            return _read_outcome(key, text)
        except (BadFile, ValueError):
            return None

    def remember(self, key: Digest, outcome: Outcome) -> None:
        """Remember an outcome."""
        with self._writing():
            write_file(self._actions / f"{key.hex}.json", [_outcome_text(key, outcome)])

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
        return sum(path.stat().st_size for path in self.root.rglob("*") if path.is_file())

    def sweep(self) -> int:
        """Remove what killed processes left behind; how many things that were."""
        removed = sweep(self._actions)
        for folder in self._temporary.glob("*/"):
            with abandoned(folder) as dead:
                if dead:
                    shutil.rmtree(folder, ignore_errors=True)
                    removed += 1
        return removed

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

    def _writing(self) -> AbstractContextManager[None]:
        return writing_to(
            self.root,
            hint="free space, run `invoke clean`, or set OVENPROOF_CACHE to a folder with room",
        )


def _outcome_text(key: Digest, outcome: Outcome) -> bytes:
    outputs: Json = {
        name: {"digest": str(content.digest), "size": content.size}
        for name, content in outcome.outputs.items()
    }
    body: dict[str, Json] = {"key": str(key), "outputs": outputs}
    return canonical_json({**body, "check": str(Digest.of(canonical_json(body)))})


def _read_outcome(key: Digest, text: bytes) -> Outcome:
    top = Reader.parse(text, name=f"actions/{key.hex}.json")
    outcome = Outcome({name: item.content() for name, item in top.entries("outputs")})
    if text != _outcome_text(key, outcome):
        raise ValueError("a damaged record")
    return outcome
