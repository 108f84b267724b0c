"""One hub: what its repositories have, and the bytes of their files."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from ovenproof.hub.asking import Access, Asking, Chunked
from ovenproof.hub.files import HubFile, Located, Snapshot
from ovenproof.hub.place import Place
from ovenproof.hub.stream import HubStream

__all__ = ["WAITS_S", "Hub", "HubFile", "HubStream", "Located", "Snapshot"]

WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""At most so long between one try and the next; so there are six."""


class Hub:
    """One hub. May be used by many threads at once. Proxies and CAs come from the environment."""

    def __init__(self, place: Place, *, waits_s: Sequence[float] = WAITS_S) -> None:
        self.place = place
        self._waits_s = tuple(waits_s)
        self._asking = Asking(place)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._asking.close()

    def look(self, model: str, revision: str | None) -> Snapshot:
        """The repository at the commit that the revision names now; without one, its main branch.

        Raises BadFile for a model or a revision that the hub does not have, or hides; NoAccess for
        one that we may not see; TryAgain where nobody answers.
        """
        from ovenproof.hub.looking import look  # noqa: PLC0415  the hub's client is slow to import

        return look(self._asking, model, revision, self._waits_s)

    def open(self, at: Located, offset: int, size: int) -> HubStream:
        """So many bytes of the file, from an offset on. They are not verified.

        Nobody is asked before the first is read. Reading raises TryAgain where nobody answers,
        NoAccess where the hub says no, LockAgain where it no longer has the file at this commit,
        and WrongBytes where the file ends too early.
        """
        return HubStream(self._asking, at, (offset, offset + size), self._waits_s)

    def xet(self, at: Located) -> Chunked | None:
        """Where a file that was opened and read from is in the hub's chunked storage, if it is."""
        return self._asking.chunked(at)

    def xet_access(self, chunked: Chunked) -> Access:
        """What opens that storage. Raises what httpx2 raises, KeyError and ValueError."""
        return self._asking.access(chunked)
