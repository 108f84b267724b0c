"""Where the bytes of a repository lie, the nearest first: the store, the hub's cache, the hub."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

from ovenproof.core.content import LocalFile
from ovenproof.core.digest import Content
from ovenproof.hub.cache import HubCache
from ovenproof.hub.files import Located
from ovenproof.store.shelf import Absent, open_local
from ovenproof.store.store import Store

if TYPE_CHECKING:
    from ovenproof.hub.hub import Hub


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """A repository at a commit. Nobody is asked before bytes are read that are not here."""

    model: str
    commit: str
    hub: "Callable[[], Hub]"
    cache: HubCache
    store: Store
    locked: bool = True
    """Whether a lock promises that all this is there."""

    def at(self, path: str) -> Located:
        """A file of it."""
        return Located(model=self.model, commit=self.commit, path=path, locked=self.locked)

    def is_near(self, path: str, content: Content) -> bool:
        """Whether a file is on this machine, as far as one sees without reading it."""
        return self.store.has(content) or any(self.cache.candidates(self.at(path), content))

    def open(self, path: str, content: Content, offset: int = 0) -> BinaryIO:
        """A file from an offset on. Who reads it must check it: from the hub anything may come."""
        try:
            return self.store.open(content, offset)
        except Absent:
            cached = self.cached(path, content)
        if cached is not None:
            return open_local(cached, offset)
        return self._ask(path, offset, content.size - offset)

    def open_range(self, path: str, content: Content, offset: int, size: int) -> BinaryIO:
        """Some bytes of a file; one in the hub's cache is hashed, unless that was done."""
        if self.store.has(content):
            return open_local(LocalFile(self.store.path(content), content.size), offset)
        cached = self.cached(path, content)
        return self._ask(path, offset, size) if cached is None else open_local(cached, offset)

    def cached(self, path: str, content: Content) -> LocalFile | None:
        """The file in the hub's own cache, if exactly this content lies there."""
        found = self.cache.find(self.model, self.commit, path, content)
        return None if found is None else LocalFile(found, content.size)

    def peek(self, path: str, content: Content, offset: int, size: int) -> BinaryIO:
        """A few bytes of a file, which is not hashed in order to give them.

        Who cannot go on with them asks whether it `was_wrong`, and then peeks again.
        """
        if not self.store.has(content):
            likely = self.cache.likely(self.at(path), content)
            if likely is not None:
                return open_local(LocalFile(likely, content.size), offset)
        return self.open_range(path, content, offset, size)

    def was_wrong(self, path: str, content: Content) -> bool:
        """Whether there is a damaged file here, in which we peeked; from now on it is not used."""
        if self.store.has(content):
            return not self.store.verify(content)
        likely = self.cache.likely(self.at(path), content)
        return likely is not None and self.cached(path, content) is None

    def _ask(self, path: str, offset: int, size: int) -> BinaryIO:
        return cast("BinaryIO", self.hub().open(self.at(path), offset, size))
