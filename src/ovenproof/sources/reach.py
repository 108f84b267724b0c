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

    def at(self, path: str) -> Located:
        """A file of it."""
        return Located(model=self.model, commit=self.commit, path=path)

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
        """A few bytes of a file, which is not hashed in order to give them."""
        if self.store.has(content):
            return open_local(LocalFile(self.store.path(content), content.size), offset)
        cached = self.cached(path, content)
        return self._ask(path, offset, size) if cached is None else open_local(cached, offset)

    def cached(self, path: str, content: Content) -> LocalFile | None:
        """The file in the hub's own cache, if exactly this content lies there."""
        found = self.cache.find(self.model, self.commit, path, content)
        return None if found is None else LocalFile(found, content.size)

    def _ask(self, path: str, offset: int, size: int) -> BinaryIO:
        return cast("BinaryIO", self.hub().open(self.at(path), offset, size))
