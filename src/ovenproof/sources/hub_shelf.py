"""The bytes of a locked hub model: from the nearest place, put together where files were cut."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import BinaryIO

from ovenproof.core.digest import Content
from ovenproof.core.model_lock import LockedFile, ModelLock
from ovenproof.core.reader import Reader
from ovenproof.errors import WrongBytes
from ovenproof.events import Advanced, Finished, Listener, Started
from ovenproof.hub.files import Located
from ovenproof.sources import cutting
from ovenproof.sources.reach import Reach
from ovenproof.store.shelf import Absent
from ovenproof.store.stream import CHUNK, DISTANT_HINT


@dataclass(frozen=True, kw_only=True)
class HubShelf:
    """Opens the locked files. Who reads checks: what comes from the hub may be anything."""

    lock: ModelLock
    reach: Reach

    @cached_property
    def _files(self) -> dict[Content, LockedFile]:
        return {content_of(file): file for file in self.lock.files}

    def open(self, content: Content, offset: int = 0) -> BinaryIO:
        if content not in self._files:
            raise Absent(content)
        file = self._files[content]
        if file.cut is None and not file.made:
            return self.reach.open(file.path, content, offset)
        try:
            return self.reach.store.open(content, offset)
        except Absent:
            if file.cut is not None:
                open_range = partial(self.reach.open_range, file.cut.of, file.cut.original)
                return cutting.open_part(file, open_range, offset)
        data = self._remade(file)
        self.reach.store.add([data], expected=content, what=file.path)
        return io.BytesIO(data[offset:])

    def keep(self, file: LockedFile, listener: Listener) -> None:
        """Put a file that is made from others into the store."""
        content, store = content_of(file), self.reach.store
        with store.locked(file.digest):
            if store.verify(content):
                return
            listener(Started(name=file.path, total=file.size))
            with self.open(content) as stream:

                def chunks() -> Iterator[bytes]:
                    while chunk := stream.read(CHUNK):
                        listener(Advanced(name=file.path, size=len(chunk)))
                        yield chunk

                try:
                    store.add(chunks(), expected=content, what=file.path)
                except WrongBytes as fault:
                    raise WrongBytes(
                        fault.what,
                        subject=file.path,
                        where=self.reach.model,
                        expected=fault.expected,
                        got=fault.got,
                        hint=DISTANT_HINT,
                    ) from fault
            listener(Finished(name=file.path))

    def is_near(self, file: LockedFile) -> bool:
        """Whether all that a file is read from lies on this machine."""
        if self.reach.store.has(content_of(file)):
            return True
        if file.cut is not None:
            return self.reach.is_near(file.cut.of, file.cut.original)
        return not file.made and self.reach.is_near(file.path, content_of(file))

    def _remade(self, index: LockedFile) -> bytes:
        """The index of cut files, made again from heads and from the repository's own index."""
        origin = Reader(self.lock.origin, "models.lock", "origin")
        original = None
        if origin.has("index"):
            with self.reach.open(index.path, origin.below("index").content()) as stream:
                original = stream.read()
        beside = [file for file in self.lock.files if "/" not in file.path]
        contents = {file.path: content_of(file) for file in beside}
        contents.update({file.cut.of: file.cut.original for file in beside if file.cut})

        def open_file(path: str, offset: int, size: int) -> BinaryIO:
            return self.reach.open_range(path, contents[path], offset, size)

        return cutting.remake_index(index, beside, original=original, open_file=open_file)


def content_of(file: LockedFile) -> Content:
    """What a file that is pinned by its own digest is."""
    return Content(file.digest, file.size)


def originals(lock: ModelLock) -> list[tuple[Located, Content]]:
    """The files of the repository that a lock needs, whole, as the hub has them."""
    origin = Reader(lock.origin, "models.lock", "origin")
    found: dict[str, Content] = {}
    for file in lock.files:
        if file.cut is not None:
            found[file.cut.of] = file.cut.original
        elif not file.made:
            found[file.path] = content_of(file)
        elif origin.has("index"):
            found[file.path] = origin.below("index").content()
    model, commit = origin.text("model"), origin.text("commit")
    return [
        (Located(model=model, commit=commit, path=path), content)
        for path, content in sorted(found.items())
    ]
