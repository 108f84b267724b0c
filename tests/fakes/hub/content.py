"""The bytes of a hub file: in memory, on disk, or made up as they are read."""

import hashlib
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Sparse:
    """A large file that takes no room: the same size, seed and head are the same bytes anywhere.

    Behind the head each block of 1 MiB says its own number, so no two blocks are alike.
    """

    size: int
    seed: int = 0
    head: bytes = b""
    """How it begins, such as the head of a safetensors file."""


Body: TypeAlias = bytes | Path | Sparse


class Content:
    """Bytes that can be read from anywhere, and what they are called. Hashed once, when asked."""

    def __init__(self, body: Body) -> None:
        self.body = body
        match body:
            case bytes():
                self.size = len(body)
            case Path():
                self.size = body.stat().st_size
            case Sparse():
                self.size = body.size

    @cached_property
    def sha256(self) -> str:
        """As LFS names it, in hex."""
        return self._hash(hashlib.sha256())

    @cached_property
    def git_sha1(self) -> str:
        """As git names it, in hex."""
        return self._hash(hashlib.sha1(b"blob %d\0" % self.size))

    @property
    def pointer(self) -> "Content":
        """What git holds in its place when it is in LFS."""
        lines = ("version https://git-lfs.github.com/spec/v1", f"oid sha256:{self.sha256}")
        return Content("\n".join((*lines, f"size {self.size}\n")).encode())

    def read(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes from start up to end (exclusive), a block at a time."""
        stop = self.size if end is None else end
        match self.body:
            case bytes() as data:
                yield from (data[at : min(at + BLOCK, stop)] for at in range(start, stop, BLOCK))
            case Path() as path:
                yield from _read_file(path, start, stop)
            case Sparse() as sparse:
                yield from _make_up(sparse, start, stop)

    def _hash(self, running: "hashlib._Hash") -> str:
        for block in self.read():
            running.update(block)
        return running.hexdigest()


def _read_file(path: Path, start: int, stop: int) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        os.lseek(file.fileno(), start, os.SEEK_SET)
        while start < stop:
            block = file.read(min(BLOCK, stop - start))
            if not block:
                raise OSError(f"{path} has become shorter")
            yield block
            start += len(block)


def _make_up(sparse: Sparse, start: int, stop: int) -> Iterator[bytes]:
    block_at = _blocks(sparse)
    while start < stop:
        if start < len(sparse.head):
            piece = sparse.head[start:stop]
        else:
            number, skip = divmod(start, BLOCK)
            piece = block_at(number)[skip : skip + stop - start]
        yield piece
        start += len(piece)


def _blocks(sparse: Sparse) -> Callable[[int], bytes]:
    pattern = random.Random(sparse.seed).randbytes(BLOCK - 8)
    return lambda number: number.to_bytes(8, "little") + pattern
