"""Copying an image from one place to another: the same walk, whatever the places are.

An image is a graph: a tag names a manifest or an index, an index names manifests, a manifest names
blobs, and signatures name what they sign. All of it goes over byte for byte: blobs first, then
manifests, children before parents, then what refers to them, and the tag when everything is there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from ovenproof.core.digest import Content, Digest
from ovenproof.core.manifest import Descriptor, Manifest, Platform
from ovenproof.core.reader import Reader
from ovenproof.errors import BadCall, BadFile, OvenproofError, WrongBytes, raise_all
from ovenproof.events import Listener, Noted
from ovenproof.registry.client import Blob
from ovenproof.registry.reference import Repository
from ovenproof.registry.send import Sent

_TITLES = ("org.ovenproof.layer.title", "org.opencontainers.image.title")
_DEEPEST = 16
"""Indexes in indexes in indexes: more of them nobody means well with."""


class Origin(Protocol):
    """Where an image is: a repository, an OCI layout. What it gives is checked."""

    def manifest(self, target: str) -> Manifest | None:
        """What a tag or a digest names."""

    def open(self, content: Content, offset: int = 0) -> Iterator[bytes]:
        """A blob's bytes; from 0 on, proven before the last of them is given."""

    def referrers(self, subject: Digest) -> tuple[Descriptor, ...]:
        """What says `subject` of a manifest."""


class Destination(Protocol):
    """Where an image goes, and under which tag."""

    def refuses(self, graph: "Graph") -> tuple[OvenproofError, ...]:
        """Why it cannot take this, known before anything moves."""

    def begin(self, root: Manifest) -> Digest | None:
        """See what its tag names now; None also where it has none. Raises LockAgain.

        Comes before `finish`.
        """

    def foresee(self, blobs: Sequence[Blob]) -> Sent:
        """What `take` would move, in bytes. Moves nothing."""

    def take(self, blobs: Sequence[Blob], listener: Listener) -> Sent:
        """Take the blobs that it does not have."""

    def put(self, manifest: Manifest) -> None:
        """Take a manifest, under its digest, when everything that it names is there."""

    def finish(self, root: Manifest) -> None:
        """Let the tag name the image. Last of all. Raises LockAgain where it moved meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Everything that a copy is made of."""

    root: Manifest
    manifests: tuple[Manifest, ...]
    """In the order to put them."""
    blobs: tuple[Descriptor, ...]
    """Each once."""
    foreign: tuple[Descriptor, ...]
    """Layers that are named, but that nobody may hand on: not copied."""

    @property
    def size(self) -> int:
        """Bytes of everything in it."""
        own = sum(len(manifest.data) for manifest in self.manifests)
        return own + sum(blob.content.size for blob in self.blobs)


def gather(origin: Origin, root: Manifest, *, referrers: bool = False) -> Graph:
    """Read every manifest that a copy needs. Raises WrongBytes where one is missing or wrong.

    `referrers` says that what refers to any of them comes too, and what refers to that.
    """
    walk = _Walk(origin)
    walk.add(root)
    seen = 0
    while referrers and seen < len(walk.manifests):
        subject = tuple(walk.manifests)[seen]
        seen += 1
        for item in origin.referrers(subject):
            walk.add(walk.fetch(item))
    found = tuple(walk.manifests.values())
    return Graph(
        root=root,
        manifests=found,
        blobs=tuple({blob.content: blob for one in found for blob in one.blobs}.values()),
        foreign=tuple({item.content: item for one in found for item in one.foreign}.values()),
    )


def blobs_of(graph: Graph, origin: Origin, homes: tuple[Repository, ...] = ()) -> tuple[Blob, ...]:
    """The graph's blobs, to be opened where they are. `homes`: repositories that have them all."""
    return tuple(
        Blob(
            content=item.content,
            title=_title(item),
            open=partial(origin.open, item.content),
            homes=homes,
        )
        for item in graph.blobs
    )


def copy(graph: Graph, blobs: Sequence[Blob], destination: Destination, listener: Listener) -> Sent:
    """Bring a graph to its destination. A kill at any moment leaves the tag as it was."""
    destination.begin(graph.root)
    raise_all(destination.refuses(graph))
    for item in graph.foreign:
        listener(
            Noted(text=f"not copied, its owner hands it on alone: layer {item.content.digest}")
        )
    sent = destination.take(blobs, listener)
    for manifest in graph.manifests:
        destination.put(manifest)
    destination.finish(graph.root)
    return sent


def narrowed(origin: Origin, root: Manifest, platform: Platform) -> Manifest:
    """The one manifest of an image that is for a platform. Raises BadCall where none is."""
    if root.is_index:
        return _Walk(origin).fetch(root.for_platform(platform))
    found = _platform(origin, root)
    if found != platform and not (found and (found.os, found.architecture) == _pair(platform)):
        raise BadCall(
            "the image is for another platform",
            subject=root.digest.digest,
            expected=platform,
            got=found or "an artifact, which is for none",
            hint="leave --platform out: this is no index",
        )
    return root


@dataclass
class _Walk:
    """Manifests as they are found, each once, children before parents."""

    origin: Origin
    manifests: dict[Digest, Manifest] = field(default_factory=dict)

    def add(self, manifest: Manifest, depth: int = 0) -> None:
        if manifest.digest.digest in self.manifests:
            return
        if depth > _DEEPEST:
            raise WrongBytes(
                "there are indexes in indexes, deeper than anybody needs",
                subject=manifest.digest.digest,
                expected=f"{_DEEPEST} at most",
            )
        for child in manifest.manifests:
            if child.is_manifest and child.content.digest not in self.manifests:
                self.add(self.fetch(child), depth + 1)
        self.manifests[manifest.digest.digest] = manifest

    def fetch(self, item: Descriptor) -> Manifest:
        """The manifest that another one names. Raises WrongBytes where it is not that."""
        found = self.origin.manifest(str(item.content.digest))
        if found is None:
            raise WrongBytes(
                "a manifest is named, but is not there",
                subject=item.content.digest,
                where=str(item.platform) if item.platform else None,
                hint="copy what is there with --platform OS/ARCHITECTURE",
            )
        if (found.digest, found.media_type) != (item.content, item.media_type):
            raise WrongBytes(
                "a manifest is not what it is said to be",
                subject=item.content.digest,
                expected=f"{item.media_type}, {item.content.size} bytes",
                got=f"{found.media_type}, {found.digest.size} bytes",
            )
        return found


def _platform(origin: Origin, manifest: Manifest) -> Platform | None:
    """What a manifest's config says that it runs on."""
    config = manifest.config
    if config is None or not config.media_type.endswith((".config.v1+json", ".image.v1+json")):
        return None
    data = b"".join(origin.open(config.content))
    try:
        read = Reader.parse(data, name=f"config {config.content.digest}")
        variant = read.text("variant") if read.has("variant") else ""
        return Platform(read.text("os"), read.text("architecture"), variant)
    except BadFile:
        return None


def _pair(platform: Platform) -> tuple[str, str] | None:
    """What has to agree where no variant is asked for."""
    return None if platform.variant else (platform.os, platform.architecture)


def _title(item: Descriptor) -> str:
    """What a person reads: unique, so that two running ones are told apart."""
    named = next((item.annotations[key] for key in _TITLES if key in item.annotations), "blob")
    return f"{named} {item.content.digest.short}"
