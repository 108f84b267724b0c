"""What is brought into a repository: a blob with its digest, or a stream that ends with one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ovenproof.core.digest import Content, Digest
from ovenproof.errors import OvenproofError, WrongBytes
from ovenproof.registry.reference import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A blob whose digest is known when it has gone by."""

    title: str
    size: int
    read: Callable[[int], Iterator[bytes]]
    """Bytes from an offset on; called again after a cut, or where another process has ended."""
    digest: Callable[[], Digest]
    """Of the whole, whatever part of it was read in this process: nothing, where another one sent
    all of it. Asked when the registry has all bytes, and maybe again. Raises WrongBytes where they
    are not what was promised: then nothing is committed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """What is to be uploaded, and who opens it."""

    content: Content
    title: str
    open: Callable[[int], Iterator[bytes]]
    """Bytes from an offset on; from 0 they are proven by whoever opens."""
    homes: tuple[Repository, ...] = ()
    """Repositories of the same registry that may have it, in the order to try."""
    absorbed_as: str | None = None
    """The key of the stream that it would be, where its digest were not known."""

    @property
    def size(self) -> int:
        return self.content.size

    @property
    def read(self) -> Callable[[int], Iterator[bytes]]:
        return self.open


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    """What an upload moved."""

    sent: int
    """Bytes that went out; more than the blob has where a try was lost."""
    mounted_from: Repository | None = None


class Source:
    """The bytes of a blob, from wherever the registry wants them next."""

    def __init__(self, blob: Blob | Stream, heard: Callable[[int], None]) -> None:
        self.sent = 0
        self.stopped: BaseException | None = None
        """Why the last bytes were ended early."""
        self._blob = blob
        self._heard = heard
        self._chunks: Iterator[bytes] = iter(())
        self._at = -1
        self._left_over = b""

    def ready(self, offset: int) -> None:
        """Have bytes at hand before anybody waits for them.

        What an earlier process has sent may have to be read before, for the digest: meanwhile no
        request shall stand open.
        """
        if offset != self._at:
            self._chunks, self._at, self._left_over = self._blob.read(offset), offset, b""
            self._left_over = self._next()

    def take(self, offset: int, size: int, *, may_end: bool = False) -> Iterator[bytes]:
        """So many bytes. Opened anew unless they follow on what was taken last.

        `may_end`: an interruption, or a source that gives no more, ends them, and is kept in
        `stopped` until the answer is there.
        """
        try:
            yield from self._take(offset, size)
        except (KeyboardInterrupt, OvenproofError) as stop:
            self._at = -1
            if not may_end or isinstance(stop, WrongBytes):
                raise
            self.stopped = stop

    def _take(self, offset: int, size: int) -> Iterator[bytes]:
        self.ready(offset)
        end = offset + size
        while self._at < end:
            chunk = self._next()
            if not chunk:
                raise self._other_size("too few bytes")
            self._left_over = chunk[end - self._at :]
            chunk = chunk[: end - self._at]
            self._heard(len(chunk))
            last = self._at + len(chunk) == self._blob.size
            if last and (self._left_over or self._next()):
                raise self._other_size("more bytes")
            self._at += len(chunk)
            self.sent += len(chunk)
            yield chunk

    def _next(self) -> bytes:
        if self._left_over:
            return self._left_over
        return next((chunk for chunk in self._chunks if chunk), b"")

    def _other_size(self, got: str) -> WrongBytes:
        return WrongBytes(
            f"{self._blob.title} is not as long as it is said to be",
            expected=f"{self._blob.size} bytes",
            got=got,
        )
