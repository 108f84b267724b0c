"""A file that is read by ranges as though it were here: a zip's directory lies at its end."""

import io
from collections.abc import Callable
from contextlib import closing
from typing import BinaryIO, TypeAlias

from ovenproof.errors import WrongBytes

OpenRange: TypeAlias = Callable[[int, int], BinaryIO]
"""Opens so many bytes from an offset on."""
_LEAST = 4 << 10
_MOST = 1 << 20


class Ranged(io.RawIOBase):
    """A seekable file of which only the ranges that are asked for come, and a little more.

    Who reads on is given ever larger pieces; who jumps around small ones.
    """

    def __init__(
        self, open_range: OpenRange, size: int, *, limit: int, name: str, least: int = _LEAST
    ) -> None:
        """`limit` is how many bytes may come in all; more raises WrongBytes.

        `least` is how many come at once, even for one that is asked for.
        """
        self._open_range = open_range
        self._size = size
        self._limit = limit
        self._name = name
        self._at = 0
        self._piece = b""
        self._from = 0
        """Where the piece begins."""
        self._least = self._ahead = least

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"before the beginning: {base + offset}")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: "memoryview | bytearray", /) -> int:  # type: ignore[override]
        target = memoryview(buffer).cast("B")
        if self._at >= self._size or not target:
            return 0
        if not self._from <= self._at < self._from + len(self._piece):
            self._fetch()
        data = self._piece[self._at - self._from :][: len(target)]
        target[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _fetch(self) -> None:
        onward = self._at == self._from + len(self._piece)
        self._ahead = min(self._ahead * 2, _MOST) if onward and self._piece else self._least
        wanted = min(self._ahead, self._size - self._at)
        self._limit -= wanted
        if self._limit < 0:
            raise WrongBytes(
                "more of a file is asked for than it should take to look into it",
                subject=self._name,
                expected="a few small parts of it",
                got=f"a file of {self._size} bytes whose parts do not end",
            )
        with closing(self._open_range(self._at, wanted)) as stream:
            self._piece = stream.read(wanted)
        self._from = self._at
        if len(self._piece) != wanted:
            raise WrongBytes(
                "bytes ended too early",
                subject=self._name,
                expected=f"{wanted} bytes from {self._at} on",
                got=f"{len(self._piece)} bytes",
            )
