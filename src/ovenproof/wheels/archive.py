"""A zip file, read without believing it: what its members are called, and their bytes.

The central directory says what there is. A name that could leave the folder, stand for two files
or be no file at all is refused before anything is read; a member never gives more bytes than it
declared.
"""

import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ovenproof.core.layer import check_path
from ovenproof.errors import BadFile, TryAgain, WrongBytes

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_READ = 1 << 16
_ENCRYPTED, _UTF8 = 0x1, 0x800
_UNREADABLE = (zipfile.BadZipFile, NotImplementedError, struct.error, EOFError)
"""What `zipfile` raises over a damaged directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file of an archive, as its directory declares it."""

    path: str
    size: int
    executable: bool
    compressed: int
    deflated: bool
    header: int
    """Where its local header begins."""
    raw_path: bytes
    """Its name as the archive spells it; the local header must say the same."""


@dataclass(frozen=True, slots=True)
class Archive:
    """A zip file on this machine, and the name by which people know it."""

    path: Path
    name: str

    def members(self) -> tuple[Member, ...]:
        """Its files, in the order of its directory. Raises BadFile, naming archive and member."""
        try:
            with zipfile.ZipFile(self.path) as opened:
                infos = opened.infolist()
        except FileNotFoundError as error:
            raise _gone(self) from error
        except (*_UNREADABLE, OSError, ValueError) as error:
            raise BadFile(
                "this is not a wheel that can be read", subject=self.name, got=error
            ) from error
        taken: dict[str, str] = {}
        found = tuple(_member(self.name, info) for info in _files(self.name, infos, taken))
        for folder in sorted(taken.keys() & folders(taken)):
            raise _refusal(self.name, taken[folder], "a file where another needs a folder")
        return found

    def open(self, member: Member, offset: int = 0) -> "Reading":
        """The member's bytes from `offset` on. The caller closes the stream."""
        try:
            file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise _gone(self) from error
        stream = Reading(self, member, file)
        try:
            stream.skip(offset)
        except BaseException:
            stream.close()
            raise
        return stream

    def read(self, member: Member, limit: int = 64 << 20) -> bytes:
        """All of a small member."""
        if member.size > limit:
            raise _refusal(self.name, member.path, f"{member.size} bytes are too many for it")
        with self.open(member) as stream:
            return b"".join(iter(lambda: stream.read(_READ), b""))


class Reading(io.RawIOBase):
    """A member's bytes, inflated as they are asked for. Takes over the file descriptor."""

    def __init__(self, archive: Archive, member: Member, file: int) -> None:
        super().__init__()
        self._archive = archive
        self._member = member
        self._file = file
        try:
            self._at = self._data()
        except BaseException:
            self.close()
            raise
        self._end = self._at + member.compressed
        self._left = member.size
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS) if member.deflated else None
        self._pending = b""

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; none at the end. Raises WrongBytes."""
        if size < 0:
            return b"".join(iter(lambda: self.read(_READ), b""))
        wanted = min(size, self._left)
        if not wanted:
            return b""
        data = self._raw(wanted) if self._inflater is None else self._inflate(wanted)
        if not data:
            raise self._wrong("fewer bytes than it declares")
        self._left -= len(data)
        if not self._left:
            self._finish()
        return data

    def readable(self) -> bool:
        return True

    def skip(self, offset: int) -> None:
        """Leave out the first bytes; those of a stored member are not even read."""
        if self._inflater is None:
            step = min(offset, self._left)
            self._at += step
            self._left -= step
            return
        while offset and (data := self.read(min(offset, _READ))):
            offset -= len(data)

    def close(self) -> None:
        if not self.closed:
            os.close(self._file)
        super().close()

    def _data(self) -> int:
        """Where the data begins: behind the local header, which must agree about the name."""
        head = os.pread(self._file, _LOCAL_HEADER.size, self._member.header)
        if len(head) == _LOCAL_HEADER.size:
            signature, *_rest, name_size, extra_size = _LOCAL_HEADER.unpack(head)
            start = self._member.header + _LOCAL_HEADER.size
            if (
                signature == b"PK\3\4"
                and os.pread(self._file, name_size, start) == self._member.raw_path
            ):
                return start + int(name_size) + int(extra_size)
        raise self._wrong("another header than its directory says")

    def _raw(self, size: int) -> bytes:
        data = os.pread(self._file, min(size, self._end - self._at), self._at)
        self._at += len(data)
        return data

    def _inflate(self, size: int) -> bytes:
        assert self._inflater is not None
        while not self._inflater.eof:
            packed = self._pending or self._raw(_READ)
            try:
                data = self._inflater.decompress(packed, size)
            except zlib.error as error:
                raise self._wrong(str(error)) from error
            self._pending = self._inflater.unconsumed_tail
            if data:
                return data
            if not packed:
                break
        return b""

    def _finish(self) -> None:
        if self._inflater is not None and (self._inflate(1) or not self._inflater.eof):
            raise self._wrong("more bytes than it declares")

    def _wrong(self, got: str) -> WrongBytes:
        return WrongBytes(
            "a member of a wheel is not what the wheel says",
            subject=self._member.path,
            where=self._archive.name,
            expected=f"{self._member.size} bytes",
            got=got,
        )


def folders(paths: Iterable[str]) -> set[str]:
    """Every folder that one of the paths lies in."""
    found: set[str] = set()
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found


def _files(
    name: str, infos: list[zipfile.ZipInfo], taken: dict[str, str]
) -> Iterator[zipfile.ZipInfo]:
    """The members that are files; each path once, whatever its case."""
    for info in infos:
        path = info.orig_filename
        try:
            check_path(path.removesuffix("/"))
        except ValueError:
            raise _refusal(name, path, "a path that leaves the wheel or is none") from None
        if "\\" in path or ":" in path.split("/")[0] or not path.isprintable():
            raise _refusal(name, path, "a path that means something else elsewhere")
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFDIR if path.endswith("/") else stat.S_IFREG):
            raise _refusal(name, path, "a link or a device")
        if path.endswith("/"):
            continue
        other = taken.setdefault(path.casefold(), path)
        if other is not path:
            raise _refusal(name, path, f"the same name as `{other}`")
        yield info


def _member(name: str, info: zipfile.ZipInfo) -> Member:
    path = info.orig_filename
    if info.flag_bits & _ENCRYPTED:
        raise _refusal(name, path, "an encrypted file")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _refusal(name, path, f"compression method {info.compress_type}")
    if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
        raise _refusal(name, path, "two sizes")
    if info.header_offset < 0:
        raise _refusal(name, path, "a place before the archive")
    return Member(
        path=path,
        size=info.file_size,
        executable=bool((info.external_attr >> 16) & 0o111),
        compressed=info.compress_size,
        deflated=info.compress_type == zipfile.ZIP_DEFLATED,
        header=info.header_offset,
        raw_path=path.encode("utf-8" if info.flag_bits & _UTF8 else "cp437"),
    )


def _refusal(name: str, member: str, got: str) -> BadFile:
    return BadFile(
        "a wheel holds something that is not unpacked",
        subject=member,
        where=name,
        expected="plain files, each below the wheel's folder and only once",
        got=got,
        hint="choose another version of this package",
    )


def _gone(archive: Archive) -> TryAgain:
    return TryAgain(
        "a wheel is no longer in the store",
        subject=archive.name,
        hint="run the same command again: it is fetched again",
    )
