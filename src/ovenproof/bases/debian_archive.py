"""A .deb, opened: an `ar` archive of two tar archives (deb(5)). Nothing of it is ever run.

The tar archives are kept uncompressed in the store, so that any file of a package can be read from
where it lies, as often as a layer is read.
"""

import gzip
import hashlib
import io
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ovenproof.core.action import Action, Outcome
from ovenproof.core.digest import Content, Digest
from ovenproof.core.image_lock import LockedDeb
from ovenproof.errors import NoAccess, TryAgain, WrongBytes
from ovenproof.store.store import Store

KIND, VERSION = "deb.unpack", 1
CONTROL, DATA = "control.tar", "data.tar"

_READERS: Mapping[str, Callable[[BinaryIO], BinaryIO | lzma.LZMAFile | gzip.GzipFile]] = {
    "": lambda stream: stream,
    ".gz": lambda stream: gzip.GzipFile(fileobj=stream),
    ".xz": lambda stream: lzma.LZMAFile(stream, format=lzma.FORMAT_XZ),  # noqa: SIM115  # its user closes it
}
_MAGIC = b"!<arch>\n"
_HEADER = 60
_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """The two archives of a package, uncompressed, in the store."""

    deb: LockedDeb
    control: Content
    data: Content


class Part(io.RawIOBase):
    """So many bytes of a stream, from where it stands. Closing it closes the stream."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        super().__init__()
        self._stream = stream
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object, /) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]  # io gives a buffer
        data = self._stream.read(min(len(view), self._left))
        view[: len(data)] = data
        self._left -= len(data)
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()


def part(stream: BinaryIO, size: int) -> BinaryIO:
    """The next `size` bytes of a stream, as a stream that owns it."""
    return io.BufferedReader(Part(stream, size))


def unpack(deb: LockedDeb, path: Path, store: Store) -> Unpacked:
    """The package's two archives, from the store where they were unpacked before.

    Raises WrongBytes, naming the package, when the file is not the locked one or is no .deb.
    """
    action = Action(kind=KIND, version=VERSION, inputs={"deb": deb.content.digest})
    known = store.recall(action.key)
    if known is not None and known.outputs.keys() == {CONTROL, DATA}:
        found = Unpacked(deb=deb, control=known.outputs[CONTROL], data=known.outputs[DATA])
        if store.verify(found.control) and store.verify(found.data):
            return found
    try:
        with path.open("rb") as stream:
            _check_whole(deb, stream)
            members = read_members(stream, deb.name)
            outputs = {
                name: store.add(_plain(stream, members, name, deb.name), what=f"{deb.name}: {name}")
                for name in (CONTROL, DATA)
            }
    except FileNotFoundError as error:
        if error.filename != str(path):
            raise
        raise TryAgain(
            "a package is no longer in the store",
            subject=deb.name,
            hint="run the same command again: it is fetched again",
        ) from error
    except OSError as error:
        if error.filename != str(path):
            raise
        raise NoAccess("a package cannot be read", subject=path, got=error.strerror) from error
    store.remember(action.key, Outcome(outputs))
    return Unpacked(deb=deb, control=outputs[CONTROL], data=outputs[DATA])


def read_members(stream: BinaryIO, package: str) -> Mapping[str, tuple[int, int]]:
    """The members of an `ar` archive: name -> offset and size. WrongBytes where it is not whole."""
    end = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    if stream.read(len(_MAGIC)) != _MAGIC:
        raise broken(package, "an `ar` archive", "something else at its start")
    members: dict[str, tuple[int, int]] = {}
    at = len(_MAGIC)
    while at < end:
        stream.seek(at)
        header = stream.read(_HEADER)
        digits = header[48:58].strip()
        if len(header) != _HEADER or header[58:] != b"`\n" or not digits.isdigit():
            raise broken(package, f"the header of a member at byte {at}", "something else")
        # Some writers end names with a slash, as System V did.
        name = header[:16].rstrip().removesuffix(b"/").decode("ascii", "replace")
        size = int(digits)
        if at + _HEADER + size > end:
            raise broken(package, f"{size} bytes of `{name}`", "an earlier end of the file")
        if name in members:
            raise broken(package, "each member once", f"`{name}` twice")
        members[name] = (at + _HEADER, size)
        at += _HEADER + size + size % 2
    return members


def broken(package: str, expected: str, got: str) -> WrongBytes:
    """The error about a package that is not what a Debian package is."""
    return WrongBytes(
        "a Debian package is not what it should be",
        subject=package,
        expected=expected,
        got=got,
        hint="nothing of it was used; lock another version of it, or leave it out of image.yaml",
    )


def _check_whole(deb: LockedDeb, stream: BinaryIO) -> None:
    digest = Digest(hashlib.file_digest(stream, "sha256").hexdigest())  # type: ignore[arg-type]  # a BinaryIO reads
    found = Content(digest, stream.tell())
    if found != deb.content:
        raise WrongBytes(
            "a Debian package is not the one that is locked",
            subject=deb.name,
            expected=f"{deb.content.digest}, {deb.content.size} bytes (locked)",
            got=f"{found.digest}, {found.size} bytes",
            hint="remove the file, so that it is fetched again",
        )


def _plain(
    stream: BinaryIO, members: Mapping[str, tuple[int, int]], name: str, package: str
) -> Iterator[bytes]:
    """The uncompressed bytes of one of the two archives, chunk by chunk."""
    full = next((member for member in members if member.split(".")[:2] == name.split(".")), None)
    if full is None:
        raise broken(package, f"a member `{name}`", ", ".join(members) or "none")
    offset, size = members[full]
    stream.seek(offset)
    compressed = io.BufferedReader(_Borrowed(stream, size))
    suffix = full.removeprefix(name)
    if suffix not in _READERS:
        raise broken(package, f"`{name}`, plain or compressed as .xz or .gz", f"`{full}`")
    try:
        with _READERS[suffix](compressed) as plain:
            while chunk := plain.read(_CHUNK):
                yield chunk
    except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
        raise broken(package, f"a whole `{full}`", str(error)) from error


class _Borrowed(Part):
    """A part whose stream stays open for the next one."""

    def close(self) -> None:
        io.RawIOBase.close(self)
