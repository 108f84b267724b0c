"""A file that comes in blocks, in any order, and survives a kill.

The bytes lie beside a record of the blocks that are whole, which grows by a line for each. A block
without its line is fetched again. None of it is believed: the whole is hashed before it is kept.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Self

from ovenproof.core.digest import Content, canonical_json
from ovenproof.errors import NoSpace
from ovenproof.store.disk import abandoned, claim, writing_to

FOLDER = "partial"
IDLE_S = 14 * 24 * 3600
"""Nobody comes back for a file that was left for so long."""
_RECORD = ".blocks"
_HINT = "free space, run `invoke clean`, or set OVENPROOF_CACHE to a folder with room"


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a file, at an offset."""

    number: int
    offset: int
    size: int


class Partial:
    """One file on its way, claimed by this process until it is closed. For many threads at once."""

    def __init__(self, path: Path, content: Content, block_size: int, record: int) -> None:
        """`record` is the record's descriptor, claimed; it is closed with this."""
        self.path = path
        self.content = content
        self._record = record
        self._blocks = _cut(content.size, block_size)
        self._bytes = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self._done = self._read(_head(content, block_size))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def have(self) -> int:
        """Bytes in blocks that are whole."""
        return sum(self._blocks[number].size for number in self._done)

    def missing(self) -> tuple[Block, ...]:
        """The blocks that are not here, in order."""
        return tuple(block for block in self._blocks if block.number not in self._done)

    def write(self, offset: int, data: bytes) -> None:
        """Put bytes where they belong. Raises NoSpace; what is whole stays."""
        view = memoryview(data)
        with writing_to(self.path.parent, hint=_HINT):
            while view:
                written = os.pwrite(self._bytes, view, offset)
                view, offset = view[written:], offset + written

    def finish(self, block: Block) -> None:
        """The block is whole: what was written of it survives from now on."""
        with writing_to(self.path.parent, hint=_HINT):
            os.fdatasync(self._bytes)
            os.write(self._record, b"%d\n" % block.number)
        self._done.add(block.number)

    def remove(self) -> None:
        """Throw it away, bytes and record; also where the bytes were adopted by the store."""
        with suppress(FileNotFoundError):
            if os.path.samestat(self.path.lstat(), os.fstat(self._bytes)):
                self.path.unlink()
        self.path.with_suffix(_RECORD).unlink(missing_ok=True)

    def close(self) -> None:
        os.close(self._bytes)
        os.close(self._record)

    def _read(self, head: bytes) -> set[int]:
        """The blocks that are whole. A record of something else, or a torn one, begins anew."""
        text = os.pread(self._record, os.fstat(self._record).st_size, 0)
        with writing_to(self.path.parent, hint=_HINT):
            if not text.startswith(head):
                os.ftruncate(self._record, 0)
                os.ftruncate(self._bytes, 0)
                os.write(self._record, head)
                return set()
            if not text.endswith(b"\n"):  # a kill, or a full disk, in the middle of a line
                text = text[: text.rindex(b"\n") + 1]
                os.ftruncate(self._record, len(text))
        end = os.fstat(self._bytes).st_size
        numbers = {int(line) for line in text[len(head) :].split() if line.isdigit()}
        return {
            block.number
            for block in self._blocks
            if block.number in numbers and block.offset + block.size <= end
        }


class Partials:
    """The folder of partial files in a store."""

    def __init__(self, root: Path) -> None:
        self._folder = root / FOLDER

    def open(self, content: Content, block_size: int) -> Partial:
        """Go on with a file, or begin it. Waits until nobody else has it."""
        path = self._folder / content.digest.hex
        with writing_to(self._folder, hint=_HINT):
            while True:
                self._folder.mkdir(parents=True, exist_ok=True)
                flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
                record = os.open(path.with_suffix(_RECORD), flags, 0o644)
                if claim(record):
                    return Partial(path, content, block_size, record)
                os.close(record)  # it was swept before it could be claimed

    def make_sure_of(self, size: int) -> None:
        """Raise NoSpace where so many bytes clearly do not fit."""
        with writing_to(self._folder, hint=_HINT):
            self._folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self._folder).free
        if size > free:
            raise NoSpace(
                "there is not enough room on the disk for what is to be fetched",
                subject=self._folder.parent,
                expected=f"{size} bytes free",
                got=f"{free} bytes",
                hint=_HINT,
            )

    def have(self, content: Content) -> int:
        """Bytes of it that take room already, whole blocks or not."""
        try:
            return min(content.size, _allocated(self._folder / content.digest.hex))
        except OSError:
            return 0

    def size(self) -> int:
        """Bytes that everything here takes: a file with holes takes less than it is long."""
        total = 0
        for path in self._folder.glob("*"):
            with suppress(FileNotFoundError):
                total += _allocated(path)
        return total

    def sweep(self, idle_s: int = IDLE_S) -> int:
        """Remove what nobody works on and nobody has touched for so long; how many files."""
        removed = 0
        with self._now_ns() as now_ns:
            for record in self._folder.glob(f"*{_RECORD}"):
                with abandoned(record) as dead, suppress(FileNotFoundError):
                    if dead and now_ns - record.stat().st_mtime_ns >= idle_s * 1_000_000_000:
                        record.with_suffix("").unlink(missing_ok=True)
                        record.unlink()
                        removed += 1
        return removed

    @contextmanager
    def _now_ns(self) -> Iterator[int]:
        """The time as the file system has it, to which files' own times are compared."""
        if not self._folder.is_dir():
            yield 0
            return
        with TemporaryFile(dir=self._folder) as probe:
            yield os.fstat(probe.fileno()).st_mtime_ns


def _cut(size: int, block_size: int) -> tuple[Block, ...]:
    offsets = range(0, size, block_size)
    return tuple(
        Block(number, offset, min(block_size, size - offset))
        for number, offset in enumerate(offsets)
    )


def _head(content: Content, block_size: int) -> bytes:
    """The first line of a record: numbers of blocks of another size would mean other bytes."""
    return canonical_json({"block": block_size, "size": content.size}) + b"\n"


def _allocated(path: Path) -> int:
    status = path.lstat()
    return min(status.st_size, status.st_blocks * 512)
