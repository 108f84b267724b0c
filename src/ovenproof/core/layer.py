"""A recipe says how a layer is made; a layer is a recipe whose digest is known.

Entries are sorted by path bytes and every parent directory is explicit, so that no implied
directory of mode 0755 shadows the one that a lower layer has (/tmp would lose its 1777).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from ovenproof.core import tar
from ovenproof.core.content import Body, Literal, LocalFile, Segment, whole
from ovenproof.core.digest import Content

PROFILE = 1
"""The tar profile: part of every recipe and of every action that makes one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """A directory. `path` is relative to the root, without a slash at its end."""

    path: str
    mode: int = 0o755


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A regular file."""

    path: str
    body: Body
    mode: int = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class Symlink:
    """A symbolic link; its target is written as it is."""

    path: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardlink:
    """A second name for an earlier file of the same layer.

    Its header repeats the file's mode, because engines set the mode that they read last.
    """

    path: str
    target: str
    mode: int = 0o644


Entry: TypeAlias = Directory | File | Symlink | Hardlink


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a layer is made. Valid by construction; make one with `recipe`."""

    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        seen: dict[str, Entry] = {}
        previous = b""
        for entry in self.entries:
            check_path(entry.path)
            _check_rest(entry)
            name = member(entry).path.encode()
            if name <= previous:
                raise ValueError(f"out of order, or twice in one layer: {entry.path!r}")
            previous = name
            parent = entry.path.rpartition("/")[0]
            if parent and not isinstance(seen.get(parent), Directory):
                raise ValueError(f"its parent is not a directory of this layer: {entry.path!r}")
            if isinstance(entry, Hardlink):
                _check_link(entry, seen.get(entry.target))
            if entry.path in seen:
                raise ValueError(f"twice in one layer: {entry.path!r}")
            seen[entry.path] = entry

    @property
    def size(self) -> int:
        """The layer's size in bytes, known before any byte is read."""
        return sum(segment.size for segment in self.segments())

    def segments(self) -> Iterator[Segment]:
        """The layer's bytes, by reference: the one producer for hashing, sending and loading."""
        for entry in self.entries:
            found = member(entry)
            yield Literal(tar.header(found))
            if isinstance(entry, File) and entry.body.size:
                yield whole(entry.body)
                if fill := tar.padding(entry.body.size):
                    yield Literal(fill)
        yield Literal(tar.END)


@dataclass(frozen=True, slots=True)
class Verbatim:
    """A layer that is one blob or file, byte for byte: somebody else made it, or it is no tar."""

    content: Content | LocalFile

    @property
    def size(self) -> int:
        return self.content.size

    def segments(self) -> Iterator[Segment]:
        """All of the blob, by reference."""
        yield whole(self.content)


def recipe(entries: Iterable[Entry]) -> Recipe:
    """Sort the entries and add the parent directories that are missing, with mode 0755.

    A directory that a lower layer has with another mode must be among the entries.
    """
    found = list(entries)
    named = {entry.path for entry in found}
    for entry in tuple(found):
        path = entry.path
        while (path := path.rpartition("/")[0]) and path not in named:
            named.add(path)
            found.append(Directory(path=path))
    return Recipe(tuple(sorted(found, key=lambda entry: member(entry).path.encode())))


def member(entry: Entry) -> tar.Member:
    """The archive member that an entry becomes."""
    match entry:
        case Directory(path=path, mode=mode):
            return tar.Member(path=path + "/", kind=tar.DIRECTORY, mode=mode)
        case File(path=path, body=body, mode=mode):
            return tar.Member(path=path, kind=tar.FILE, mode=mode, size=body.size)
        case Symlink(path=path, target=target):
            return tar.Member(path=path, kind=tar.SYMLINK, mode=0o777, target=target)
        case Hardlink(path=path, target=target, mode=mode):
            return tar.Member(path=path, kind=tar.HARDLINK, mode=mode, target=target)


def check_path(path: str) -> None:
    """Refuse what may not be a path in an image: absolute, empty, `.`, `..`, NUL. ValueError."""
    parts = path.split("/")
    if not path or "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"not a path inside an image: {path!r}")
    path.encode()


def _check_rest(entry: Entry) -> None:
    """Refuse what a header would take without complaint and no file system can hold."""
    match entry:
        case Symlink(target=target):
            if not target or "\0" in target:
                raise ValueError(f"not the target of a link: {target!r} ({entry.path!r})")
            target.encode()
        case Directory(mode=mode) | File(mode=mode):
            if not 0 <= mode <= 0o7777:
                raise ValueError(f"not a mode: {mode:#o} ({entry.path!r})")
        case Hardlink():
            pass


def _check_link(link: Hardlink, target: Entry | None) -> None:
    if not isinstance(target, File):
        raise ValueError(f"a hard link to no earlier file: {link.path!r}")
    if link.mode != target.mode:
        raise ValueError(f"not the mode of its file: {link.mode:#o} ({link.path!r})")
