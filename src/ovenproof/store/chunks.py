"""Chunks as they come over a network, read as a file."""

import io
from collections.abc import Iterator
from typing import BinaryIO

from ovenproof.store.stream import CHUNK


def stream_of(chunks: Iterator[bytes]) -> BinaryIO:
    """The chunks one after the other; closing the stream lets go of where they come from."""
    return io.BufferedReader(_Chunks(chunks), CHUNK)


class _Chunks(io.RawIOBase):
    """What `stream_of` reads from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        while not self._left:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._left = memoryview(chunk)
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size

    def close(self) -> None:
        end = getattr(self._chunks, "close", None)  # a connection that is not read to its end
        if end is not None:
            end()
        super().close()
