"""What a package would put on a disk, as entries of a layer: checked, and with /usr merged.

Only headers are believed for names and modes; each file is hashed where it lies. A name that
leaves the root, runs through a link, or comes twice is refused, and so is what is neither file,
directory nor link.
"""

import hashlib
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import BinaryIO

from ovenproof.bases.debian_archive import Unpacked, broken
from ovenproof.core.digest import Content, Digest
from ovenproof.core.layer import Directory, Entry, File, Symlink, check_path
from ovenproof.errors import OvenproofError
from ovenproof.store.store import Store

MERGED = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")
"""Folders of the root that are links into /usr."""

_CHUNK = 1 << 18
_MOST_CONTROL = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """The entries of one package."""

    package: str
    data: Content
    """Its data.tar."""
    entries: tuple[Entry, ...]
    places: Mapping[Content, int]
    """What its files hold -> where in data.tar that begins."""
    linked: tuple[tuple[str, ...], ...]
    """Names of one and the same file; each of them is a File of `entries`."""


def read_tree(unpacked: Unpacked, store: Store) -> Tree:
    """Index a package's data.tar, hashing every file of it once. Raises WrongBytes."""
    package = unpacked.deb.name
    with store.open(unpacked.data) as stream:
        reading = _Reading(package, stream)
        for member in _headers(stream, package):
            reading.take(member)
    reading.check_parents()
    return Tree(
        package=package,
        data=unpacked.data,
        entries=tuple(reading.found.values()),
        places=reading.places,
        linked=tuple(
            tuple(names)
            for path, names in reading.names.items()
            if path == names[0] and len(names) > 1
        ),
    )


def read_control(unpacked: Unpacked, store: Store) -> Mapping[str, bytes]:
    """The small files of a package's control.tar that are text for others: control, md5sums."""
    package = unpacked.deb.name
    if unpacked.control.size > _MOST_CONTROL:
        raise broken(package, f"less than {_MOST_CONTROL} bytes of control", "more")
    found: dict[str, bytes] = {}
    with store.open(unpacked.control) as stream:
        for member in _headers(stream, package):
            name = member.name.removeprefix("./")
            if name in ("control", "md5sums") and member.isreg():
                stream.seek(member.offset_data)
                found[name] = stream.read(member.size)
    if "control" not in found:
        raise broken(package, "a file `control`", "none")
    return found


def merged(path: str) -> str:
    """Where a path of the root lies once /usr is merged."""
    return f"usr/{path}" if path.split("/", maxsplit=1)[0] in MERGED else path


@dataclass(slots=True)
class _Reading:
    """What has been read so far of one package."""

    package: str
    stream: BinaryIO
    found: dict[str, Entry] = field(default_factory=dict)
    places: dict[Content, int] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)
    """Each name of a file -> all its names, in one list that they share."""

    def take(self, member: tarfile.TarInfo) -> None:
        raw = _clean(member.name, self.package)
        if raw is None:
            return
        path = merged(raw)
        if raw in MERGED and self._is_merge_link(raw, member):
            return
        if member.isdir():
            self._add(Directory(path=path, mode=0o755))
        elif member.isreg() and not member.issparse():
            self._add(File(path=path, body=self._content(member), mode=_mode(member)))
            self.names[path] = [path]
        elif member.issym():
            if not _stays_inside(raw, member.linkname):
                raise self._unsafe(raw, f"a link to `{member.linkname}`, out of the root")
            self._add(Symlink(path=path, target=member.linkname))
        elif member.islnk():
            self._add_name(raw, path, member.linkname)
        else:
            raise self._unsafe(raw, f"a member of tar type {member.type!r}")

    def check_parents(self) -> None:
        """No entry lies below something that is no directory."""
        for path in self.found:
            for parent in PurePosixPath(path).parents:
                if not isinstance(self.found.get(str(parent)), Directory | None):
                    raise self._unsafe(path, f"a path through `{parent}`, which is no directory")

    def _is_merge_link(self, raw: str, member: tarfile.TarInfo) -> bool:
        """Whether this is /bin, /lib, … as it should be; anything else of that name is refused."""
        if member.isdir():
            return True
        if member.issym() and member.linkname.strip("/") == f"usr/{raw}":
            return True
        raise self._unsafe(raw, "neither a directory nor the link into /usr")

    def _add(self, entry: Entry) -> None:
        other = self.found.setdefault(entry.path, entry)
        both = isinstance(other, Directory) and isinstance(entry, Directory)
        if other is not entry and not both:
            raise self._unsafe(entry.path, "the same path twice")

    def _add_name(self, raw: str, path: str, linkname: str) -> None:
        target = merged(_clean(linkname, self.package) or ".")
        first = self.found.get(target)
        if not isinstance(first, File):
            raise self._unsafe(raw, f"a hard link to `{linkname}`, which is no earlier file")
        self._add(File(path=path, body=first.body, mode=first.mode))
        self.names[path] = self.names[target]
        self.names[path].append(path)

    def _content(self, member: tarfile.TarInfo) -> Content:
        self.stream.seek(member.offset_data)
        digest = hashlib.sha256()
        left = member.size
        while left:
            chunk = self.stream.read(min(_CHUNK, left))
            if not chunk:
                raise broken(self.package, f"{member.size} bytes of `{member.name}`", "fewer")
            digest.update(chunk)
            left -= len(chunk)
        content = Content(Digest(digest.hexdigest()), member.size)
        self.places.setdefault(content, member.offset_data)
        return content

    def _unsafe(self, path: str, got: str) -> OvenproofError:
        return broken(self.package, f"a plain file, directory or link at `{path}`", got)


def _headers(stream: BinaryIO, package: str) -> Iterator[tarfile.TarInfo]:
    """The members of a tar archive; its end must be a proper end."""
    try:
        with tarfile.open(fileobj=stream, mode="r:", encoding="utf-8") as archive:
            while (member := archive.next()) is not None:
                yield member
            at = archive.offset
    except (tarfile.TarError, ValueError) as error:
        raise broken(package, "a whole tar archive", str(error)) from error
    # tarfile takes a damaged header for the end; an end is zeros, and there is one.
    stream.seek(at)
    rest = 0
    while chunk := stream.read(_CHUNK):
        rest += len(chunk)
        if chunk.strip(b"\0"):
            raise broken(package, "a header of tar", f"something else at byte {at}")
    if rest < tarfile.BLOCKSIZE:
        raise broken(package, "a tar archive with an end", "an earlier end of the file")


def _clean(name: str, package: str) -> str | None:
    """A member's name as a path below the root; None for the root itself. Raises WrongBytes."""
    path = name.removeprefix("./").rstrip("/")
    if path in ("", ".") and not name.startswith("/"):
        return None
    try:
        check_path(path)
    except ValueError as error:
        raise broken(package, "paths below the root", repr(name)) from error
    return path


def _mode(member: tarfile.TarInfo) -> int:
    """One of two modes: whom a package lets become somebody else, an image does not."""
    return 0o755 if member.mode & 0o111 else 0o644


def _stays_inside(path: str, target: str) -> bool:
    """Whether a link leads to somewhere below the root, read as text."""
    if not target or "\0" in target or not target.isprintable():
        return False
    depth = 0 if target.startswith("/") else path.count("/")
    for step in target.split("/"):
        if step == "..":
            depth -= 1
        elif step not in ("", "."):
            depth += 1
        if depth < 0:
            return False
    return True
