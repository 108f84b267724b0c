"""Bytes that go by, and their digest afterwards."""

from collections.abc import Callable, Iterator

from ovenproof.core.digest import Digest
from ovenproof.errors import OvenproofError, WrongBytes
from ovenproof.registry.blob import Stream

PIECE = 10_000


class Passing:
    """A stream's other end, which remembers what it was asked, and may break off or be wrong."""

    def __init__(self, data: bytes, *, title: str = "weights") -> None:
        self.data = data
        self.read_from: list[int] = []
        """The offset of each `read`."""
        self.given = 0
        self.named = 0
        """How often its digest was asked for."""
        self.is_wrong = False
        """Are its bytes other than was promised? It is known at their end."""
        self.before: Callable[[], None] = lambda: None
        """Called before a `read` gives its first bytes."""
        self.breaks: list[tuple[int, OvenproofError]] = []
        """At which byte it gives no more, and why; each once."""
        self.stream = Stream(title=title, size=len(data), read=self.read, digest=self.digest)

    def read(self, offset: int) -> Iterator[bytes]:
        self.read_from.append(offset)
        self.before()
        for start in range(offset, len(self.data), PIECE):
            if self.breaks and start >= self.breaks[0][0]:
                raise self.breaks.pop(0)[1]
            piece = self.data[start : start + PIECE]
            self.given += len(piece)
            yield piece

    def digest(self) -> Digest:
        self.named += 1
        if self.is_wrong:
            raise WrongBytes("this is not what was locked")
        return Digest.of(self.data)
