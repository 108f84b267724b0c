"""Manifests and indexes as registries and layouts keep them: read, and never written again.

A manifest's digest is over the bytes that somebody wrote. So the bytes are kept, and what is in
them is looked up when it is asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ovenproof.core.digest import Content
from ovenproof.core.image import MANIFEST_TYPE
from ovenproof.core.reader import Reader
from ovenproof.errors import BadCall, BadFile, WrongBytes

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST_TYPE = "application/vnd.docker.distribution.manifest.list.v2+json"
INDEX_TYPES = frozenset({INDEX_TYPE, DOCKER_LIST_TYPE})
TYPES = (MANIFEST_TYPE, INDEX_TYPE, DOCKER_MANIFEST_TYPE, DOCKER_LIST_TYPE)
"""What we ask for and understand."""
_FOREIGN = ("application/vnd.docker.image.rootfs.foreign.", ".layer.nondistributable.")


@dataclass(frozen=True, slots=True)
class Platform:
    """What an image runs on."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> "Platform":
        """Read `os/architecture[/variant]`. Raises BadCall."""
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(parts):
            raise BadCall(
                "this is no platform",
                subject=text,
                expected="OS/ARCHITECTURE[/VARIANT]: linux/amd64",
            )
        return cls(*parts)

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """What one document says of another, or of a blob."""

    media_type: str
    content: Content
    platform: Platform | None = None
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_manifest(self) -> bool:
        """Whether it names a manifest or an index. An index may list blobs too: caches do."""
        return self.media_type in TYPES

    @property
    def is_foreign(self) -> bool:
        """A layer that its owner lets nobody hand on; who needs it asks the owner (Windows)."""
        return any(word in self.media_type for word in _FOREIGN)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest or an index, byte for byte. Made by `read`, which checks that it can be one."""

    data: bytes
    media_type: str
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] = ()
    manifests: tuple[Descriptor, ...] = ()
    """An index's own: the manifests that it lists."""
    subject: Descriptor | None = None
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> Content:
        return Content.of(self.data)

    @property
    def is_index(self) -> bool:
        return self.media_type in INDEX_TYPES

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """What must be in a repository before this manifest: config and layers, each once."""
        listed = (item for item in self.manifests if not item.is_manifest)
        found = (*((self.config,) if self.config else ()), *self.layers, *listed)
        return tuple({item.content: item for item in found if not item.is_foreign}.values())

    @property
    def foreign(self) -> tuple[Descriptor, ...]:
        """The layers that are named, but not handed on."""
        return tuple(item for item in self.layers if item.is_foreign)

    def for_platform(self, wanted: Platform) -> Descriptor:
        """The manifest that an index has for a platform. Raises BadCall.

        Where no variant is asked for, the only one there is meets the wish.
        """
        known = [(item.platform, item) for item in self.manifests if item.platform is not None]
        exact = [item for platform, item in known if platform == wanted]
        near = [item for platform, item in known if _is_near(platform, wanted)]
        found = {item.content: item for item in exact or near}
        if len(found) == 1:
            return next(iter(found.values()))
        raise BadCall(
            "the index has several images for this platform"
            if found
            else "the index has no image for this platform",
            subject=wanted,
            expected=", ".join(sorted({str(item) for item, _ in known if item.os != "unknown"})),
            hint="name one of them by its digest: "
            + ", ".join(str(content.digest) for content in found)
            if found
            else None,
        )


def read(data: bytes, media_type: str = "", *, name: str) -> Manifest:
    """Read a manifest; `media_type` is what its bearer calls it. Raises WrongBytes."""
    try:
        top = Reader.parse(data, name=name)
        own = top.text("mediaType") if top.has("mediaType") else media_type
        if media_type not in ("", own):
            raise top.fault("mediaType", media_type, own)
        if not own:
            own = INDEX_TYPE if top.has("manifests") else MANIFEST_TYPE
        if own not in TYPES:
            raise top.fault("mediaType", " or ".join(TYPES), own)
        index = own in INDEX_TYPES
        return Manifest(
            data=data,
            media_type=own,
            config=None if index else _descriptor(_below(top, "config")),
            layers=() if index else _descriptors(top, "layers"),
            manifests=_descriptors(top, "manifests") if index else (),
            subject=_descriptor(_below(top, "subject")) if _says(top, "subject") else None,
            artifact_type=top.text("artifactType") if top.has("artifactType") else "",
            annotations=_annotations(top),
        )
    except (BadFile, ValueError) as error:
        raise WrongBytes(
            "this is not a manifest that can be read",
            subject=name,
            expected="an OCI or Docker manifest or index",
            got=error.got or error.what if isinstance(error, BadFile) else error,
        ) from error


def _is_near(platform: Platform, wanted: Platform) -> bool:
    if (platform.os, platform.architecture) != (wanted.os, wanted.architecture):
        return False
    said = (wanted.architecture, wanted.variant, platform.variant)
    return not wanted.variant or said == ("arm64", "v8", "")


def _says(top: Reader, key: str) -> bool:
    """Whether a key is there with a value: some programs write `null` for what they have not."""
    return top.has(key) and top.json(key) is not None


def _descriptors(top: Reader, key: str) -> tuple[Descriptor, ...]:
    if top.has(key) and top.json(key) is None:
        return ()
    return tuple(map(_descriptor, top.items(key)))


def _below(top: Reader, key: str) -> Reader:
    return Reader({**top.mapping(key)}, top.name, key)


def _descriptor(item: Reader) -> Descriptor:
    return Descriptor(
        media_type=item.text("mediaType"),
        content=item.content(),
        platform=_platform(_below(item, "platform")) if _says(item, "platform") else None,
        artifact_type=item.text("artifactType") if item.has("artifactType") else "",
        annotations=_annotations(item),
    )


def _platform(item: Reader) -> Platform:
    variant = item.text("variant") if item.has("variant") else ""
    return Platform(item.text("os"), item.text("architecture"), variant)


def _annotations(item: Reader) -> dict[str, str]:
    if not _says(item, "annotations"):
        return {}
    found = item.mapping("annotations")
    return {name: value for name, value in found.items() if isinstance(value, str)}
