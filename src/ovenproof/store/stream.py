"""Turning a prepared recipe into bytes, and into a digest. There is one producer for everything."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing

from ovenproof.core.content import Literal, LocalFile, Segment, Span, cut
from ovenproof.core.digest import Content, Digest
from ovenproof.errors import WrongBytes
from ovenproof.store.shelf import Prepared, Shelf, open_local

CHUNK = 1 << 20
"""Small enough to stay in a core's cache between the read and the hash."""
DISTANT_HINT = (
    "try again; if it stays, where the bytes come from is broken: use a mirror, or lock again"
)


def read(prepared: Prepared, offset: int = 0) -> Iterator[bytes]:
    """The layer's bytes from `offset` on."""
    for segment in cut(prepared.recipe.segments(), offset):
        if isinstance(segment, Literal):
            yield segment.data
        else:
            yield from _span(segment, prepared.shelf)


def measure(
    prepared: Prepared,
    heard: Callable[[int], None] = lambda _size: None,
    *,
    what: str = "content",
    hint: str | None = None,
) -> Content:
    """Hash the layer, and in the same pass check every content in it. Raises WrongBytes."""
    whole = hashlib.sha256()
    size = 0
    for segment in prepared.recipe.segments():
        if isinstance(segment, Literal):
            whole.update(segment.data)
            size += segment.size
            continue
        own = None if isinstance(segment.of, LocalFile) else hashlib.sha256()
        for chunk in _span(segment, prepared.shelf):
            whole.update(chunk)
            if own is not None:
                own.update(chunk)
            heard(len(chunk))
        size += segment.size
        if own is not None and isinstance(segment.of, Content):
            _same(segment.of, Content(Digest(own.hexdigest()), segment.size), what, hint)
    return Content(Digest(whole.hexdigest()), size)


class Proving:
    """A layer that is proven while somebody takes its bytes: hashed once, in order.

    Who takes them may ask for some of them twice, after a cut, or begin in the middle, where an
    earlier process has ended: what was never hashed is then read all the same.
    """

    def __init__(self, prepared: Prepared, what: str) -> None:
        self._prepared = prepared
        self._what = what
        self._whole = hashlib.sha256()
        self._own = hashlib.sha256()
        """Of the content that the hashed bytes end in."""
        self._hashed = 0
        self._fault: WrongBytes | None = None

    def read(self, offset: int = 0) -> Iterator[bytes]:
        """The layer's bytes from `offset` on."""
        begin = 0
        for segment in self._prepared.recipe.segments():
            end = begin + segment.size
            if end > min(offset, self._hashed):
                yield from self._segment(segment, begin, offset)
            begin = end

    def digest(self) -> Digest:
        """Of the whole layer, read to its end now. Raises WrongBytes for a wrong content."""
        for _ in self.read(self._prepared.recipe.size):
            raise AssertionError("nothing comes after the end")
        if self._fault is not None:
            raise self._fault
        return Digest(self._whole.hexdigest())

    def _segment(self, segment: Segment, begin: int, offset: int) -> Iterator[bytes]:
        """Of a segment that begins at `begin`, the bytes from `offset` on; hashed where new."""
        position = max(begin, min(offset, self._hashed))
        for rest in cut([segment], position - begin):
            found = [rest.data] if isinstance(rest, Literal) else _span(rest, self._prepared.shelf)
            for chunk in found:
                self._hash(segment, begin, position, chunk)
                wanted = chunk[max(0, offset - position) :]
                position += len(chunk)
                if wanted:
                    yield wanted

    def _hash(self, segment: Segment, begin: int, position: int, chunk: bytes) -> None:
        fresh = chunk[max(0, self._hashed - position) :]
        if not fresh:
            return
        if self._hashed == begin:
            self._own = hashlib.sha256()
        self._whole.update(fresh)
        self._hashed += len(fresh)
        if isinstance(segment, Literal) or isinstance(segment.of, LocalFile):
            return
        self._own.update(fresh)
        if self._hashed == begin + segment.size:
            try:
                got = Content(Digest(self._own.hexdigest()), segment.size)
                _same(segment.of, got, self._what, DISTANT_HINT)
            except WrongBytes as fault:
                self._fault = self._fault or fault


def checked(
    chunks: Iterable[bytes], expected: Content, what: str, *, hint: str | None = None
) -> Iterator[bytes]:
    """The same bytes; the last of them is held back until all are proven. Raises WrongBytes."""
    seen = hashlib.sha256()
    size = 0
    held = b""
    for chunk in chunks:
        if not chunk:
            continue  # an empty one must not push the last bytes out
        seen.update(chunk)
        size += len(chunk)
        if held:
            yield held
        held = chunk
    _same(expected, Content(Digest(seen.hexdigest()), size), what, hint)
    if held:
        yield held


def _span(span: Span, shelf: Shelf) -> Iterator[bytes]:
    left = span.size
    stream = (
        open_local(span.of, span.offset)
        if isinstance(span.of, LocalFile)
        else shelf.open(span.of, span.offset)
    )
    with closing(stream):
        while left:
            chunk = stream.read(min(CHUNK, left))
            if not chunk:
                raise WrongBytes(
                    "bytes ended too early",
                    subject=span.of.path if isinstance(span.of, LocalFile) else span.of.digest,
                    expected=f"{span.size} bytes from {span.offset} on",
                    got=f"{span.size - left} bytes",
                )
            left -= len(chunk)
            yield chunk


def _same(expected: Content, got: Content, what: str = "content", hint: str | None = None) -> None:
    if expected != got:
        raise WrongBytes(
            f"the bytes of {what} are not those that were promised",
            subject=expected.digest.short,
            expected=f"{expected.digest}, {expected.size} bytes",
            got=f"{got.digest}, {got.size} bytes",
            hint=hint,
        )
