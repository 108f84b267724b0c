"""Turning a prepared recipe into bytes, and into a digest. There is one producer for everything."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing

from ovenproof.core.content import Literal, LocalFile, Span, cut
from ovenproof.core.digest import Content, Digest
from ovenproof.errors import WrongBytes
from ovenproof.store.shelf import Prepared, Shelf, open_local

CHUNK = 1 << 20
"""Small enough to stay in a core's cache between the read and the hash."""


def read(prepared: Prepared, offset: int = 0) -> Iterator[bytes]:
    """The layer's bytes from `offset` on."""
    for segment in cut(prepared.recipe.segments(), offset):
        if isinstance(segment, Literal):
            yield segment.data
        else:
            yield from _span(segment, prepared.shelf)


def measure(prepared: Prepared, heard: Callable[[int], None] = lambda _size: None) -> Content:
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
            _same(segment.of, Content(Digest(own.hexdigest()), segment.size))
    return Content(Digest(whole.hexdigest()), size)


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
