"""The root file system: packages laid over each other, and what their scripts would have done.

No maintainer script runs. What of their work matters is done here, in the open: /usr is merged,
users and groups are written, the certificates are bundled, alternatives become links. There is no
loader cache: every library lies where the loader looks anyway. `/var/lib/dpkg/status.d` tells
scanners what is installed, in the form that distroless images have made known.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from ovenproof.bases.debian_archive import part, unpack
from ovenproof.bases.debian_spec import LINKS, RootSpec
from ovenproof.bases.debian_tree import MERGED, Tree, merged, read_control, read_tree
from ovenproof.core.content import Body, Literal
from ovenproof.core.digest import Content
from ovenproof.core.image_lock import LockedDeb
from ovenproof.core.layer import Directory, Entry, File, Hardlink, Symlink, recipe
from ovenproof.errors import BadFile, raise_all
from ovenproof.store.shelf import Absent, Prepared
from ovenproof.store.store import Store

CERTIFICATES = "usr/share/ca-certificates"
BUNDLE = "etc/ssl/certs/ca-certificates.crt"
STATUS = "var/lib/dpkg/status.d"
OURS = "the flavour itself"
"""Who puts down what no package does."""

_NSSWITCH = """\
passwd:    files
group:     files
shadow:    files
hosts:     files dns
networks:  files
protocols: files
services:  files
"""


@dataclass(frozen=True, slots=True)
class PackedFiles:
    """A shelf: files that lie in the packages' data.tar."""

    store: Store
    places: Mapping[Content, tuple[Content, int]]
    """What a file holds -> the data.tar that holds it, and where."""

    def open(self, content: Content, offset: int = 0) -> BinaryIO:
        try:
            blob, at = self.places[content]
        except KeyError:
            raise Absent(content) from None
        return part(self.store.open(blob, at + offset), content.size - offset)


def prepare(debs: Sequence[tuple[LockedDeb, Path]], spec: RootSpec, store: Store) -> Prepared:
    """The root file system as one layer. Each path is the .deb; it is read if not yet unpacked.

    Raises WrongBytes for a package that is not whole or not safe, BadFile where two packages, or a
    package and the spec, want different things at one path.
    """
    unpacked = [unpack(deb, path, store) for deb, path in sorted(debs, key=lambda item: item[0])]
    trees = [read_tree(item, store) for item in unpacked]
    shelf = PackedFiles(store, _places(trees))
    ground = _Ground(spec)
    for tree in trees:
        ground.lay(tree.package, tree.entries)
    for item in unpacked:
        ground.lay(OURS, _status(item.deb.name, read_control(item, store)))
    ground.lay(OURS, _own(spec))
    if bundle := _certificates(ground.found, shelf):
        ground.lay(OURS, [_text(BUNDLE, bundle)])
    raise_all(ground.faults())
    return Prepared(recipe(_with_links(ground, trees)), shelf)


class _Ground:
    """What lies where so far, and who put it there."""

    def __init__(self, spec: RootSpec) -> None:
        self.found: dict[str, Entry] = {}
        self.owners: dict[str, str] = {}
        self._spec = spec
        self._faults: list[BadFile] = []

    def lay(self, owner: str, entries: Iterable[Entry]) -> None:
        """Put the entries of one owner down, less those that the spec drops."""
        for entry in entries:
            if owner == OURS or not self._spec.drops(entry.path):
                self._put(owner, self._allowed(entry))

    def faults(self) -> Iterator[BadFile]:
        """What does not go together: a path wanted twice, a path below no directory."""
        yield from self._faults
        for path, owner in self.owners.items():
            for parent in map(str, PurePosixPath(path).parents):
                if not isinstance(self.found.get(parent), Directory | None):
                    yield _clash(path, owner, self.owners[parent], f"`{parent}` is no directory")

    def _allowed(self, entry: Entry) -> Entry:
        """The entry with the mode that the spec gives it."""
        if isinstance(entry, Directory):
            return Directory(
                path=entry.path, mode=self._spec.directories.get(entry.path, entry.mode)
            )
        return entry

    def _put(self, owner: str, entry: Entry) -> None:
        path = entry.path
        other = self.owners.get(path)
        if other is None:
            self.found[path] = entry
            self.owners[path] = owner
        elif self.found[path] != entry:
            self._faults.append(_clash(path, other, owner, "two different things"))


def _clash(path: str, one: str, other: str, got: str) -> BadFile:
    return BadFile(
        f"{one} and {other} do not go together",
        subject=f"/{path}",
        expected="one thing at each path",
        got=got,
        hint="leave one of them out, in the flavour's image.yaml",
    )


def _places(trees: Iterable[Tree]) -> Mapping[Content, tuple[Content, int]]:
    places: dict[Content, tuple[Content, int]] = {}
    for tree in trees:
        for content, offset in tree.places.items():
            places.setdefault(content, (tree.data, offset))
    return places


def _own(spec: RootSpec) -> Iterator[Entry]:
    """What maintainer scripts would have made, as the spec has it."""
    for path, mode in spec.directories.items():
        yield Directory(path=path, mode=mode)
    for path, target in {**LINKS, **spec.links}.items():
        yield Symlink(path=path, target=target)
        if path in MERGED:
            yield Directory(path=merged(path))
    yield _text("etc/passwd", "".join(user.line() for user in spec.users).encode())
    yield _text("etc/group", "".join(group.line() for group in spec.groups).encode())
    yield _text("etc/nsswitch.conf", _NSSWITCH.encode())


def _status(package: str, control: Mapping[str, bytes]) -> Iterator[Entry]:
    """The package's own paragraph and checksums, byte for byte."""
    yield _text(f"{STATUS}/{package}", control["control"])
    if "md5sums" in control:
        yield _text(f"{STATUS}/{package}.md5sums", control["md5sums"])


def _certificates(found: Mapping[str, Entry], shelf: PackedFiles) -> bytes:
    """All certificates of the root, one after the other, in the order of their paths."""
    bundle = b""
    for path, entry in sorted(found.items(), key=lambda item: item[0].encode()):
        if isinstance(entry, File) and path.startswith(f"{CERTIFICATES}/"):
            text = _read(entry.body, shelf)
            bundle += text if text.endswith(b"\n") else text + b"\n"
    return bundle


def _read(body: Body, shelf: PackedFiles) -> bytes:
    if isinstance(body, Literal):
        return body.data
    assert isinstance(body, Content)
    with shelf.open(body) as stream:
        return stream.read()


def _with_links(ground: _Ground, trees: Iterable[Tree]) -> Iterator[Entry]:
    """The entries; of the names of one file the first holds it, and the others link to it."""
    found = dict(ground.found)
    for tree in trees:
        for names in tree.linked:
            left = sorted(
                (path for path in names if ground.owners.get(path) == tree.package),
                key=str.encode,
            )
            for path in left[1:]:
                file = found[left[0]]
                assert isinstance(file, File)
                found[path] = Hardlink(path=path, target=left[0], mode=file.mode)
    yield from found.values()


def _text(path: str, data: bytes) -> File:
    return File(path=path, body=Literal(data))
