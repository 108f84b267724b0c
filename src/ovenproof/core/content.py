"""Segments: bytes by reference. A layer is a sequence of them, and any range of it can be cut out.

Nothing here opens a file. Who reads a segment decides where its bytes come from.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ovenproof.core.digest import Content


@dataclass(frozen=True, slots=True)
class Literal:
    """Bytes that are at hand."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file of this machine whose own digest nobody has asked for.

    Hashing 60 GB twice, once for the file and once for the layer that holds it, would double the
    time of a build. So a big file of a local folder is pinned by its layer's digest alone.
    """

    path: Path
    size: int


Body: TypeAlias = Literal | Content | LocalFile
"""What a file of a layer holds."""


@dataclass(frozen=True, slots=True)
class Span:
    """A range of a body that is not at hand."""

    of: Content | LocalFile
    offset: int
    size: int

    def __post_init__(self) -> None:
        if self.offset < 0 or self.size < 0 or self.offset + self.size > self.of.size:
            raise ValueError(f"not a range of {self.of}: {self.offset}+{self.size}")


Segment: TypeAlias = Literal | Span


def whole(body: Body) -> Segment:
    """All of a body, as one segment."""
    return body if isinstance(body, Literal) else Span(body, 0, body.size)


def cut(segments: Iterable[Segment], offset: int) -> Iterator[Segment]:
    """The same bytes without the first `offset` of them: how an upload or a read resumes."""
    if offset < 0:
        raise ValueError(f"not an offset: {offset}")
    left = offset
    for segment in segments:
        if left >= segment.size:
            left -= segment.size
            continue
        yield segment if left == 0 else _tail(segment, left)
        left = 0


def _tail(segment: Segment, offset: int) -> Segment:
    match segment:
        case Literal(data):
            return Literal(data[offset:])
        case Span(of, start, size):
            return Span(of, start + offset, size - offset)
