"""Manifests and indexes as registries and layouts keep them: read, and never written again.

A manifest's digest is over the bytes that somebody wrote. So the bytes are kept, and what is in
them is looked up when it is asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ovenproof.core.digest import Content
from ovenproof.core.image import MANIFEST_TYPE
from ovenproof.core.reader import Reader
from ovenproof.errors import BadFile, WrongBytes

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST_TYPE = "application/vnd.docker.distribution.manifest.list.v2+json"
INDEX_TYPES = frozenset({INDEX_TYPE, DOCKER_LIST_TYPE})
TYPES = (MANIFEST_TYPE, INDEX_TYPE, DOCKER_MANIFEST_TYPE, DOCKER_LIST_TYPE)
"""What we ask for and understand."""


@dataclass(frozen=True, slots=True)
class Platform:
    """What an image runs on."""

    os: str
    architecture: str
    variant: str = ""

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
        found = (*((self.config,) if self.config else ()), *self.layers)
        return tuple({item.content: item for item in found}.values())


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
            layers=() if index else tuple(map(_descriptor, top.items("layers"))),
            manifests=tuple(map(_descriptor, top.items("manifests"))) if index else (),
            subject=_descriptor(_below(top, "subject")) if top.has("subject") else None,
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


def _below(top: Reader, key: str) -> Reader:
    return Reader({**top.mapping(key)}, top.name, key)


def _descriptor(item: Reader) -> Descriptor:
    return Descriptor(
        media_type=item.text("mediaType"),
        content=item.content(),
        platform=_platform(_below(item, "platform")) if item.has("platform") else None,
        artifact_type=item.text("artifactType") if item.has("artifactType") else "",
        annotations=_annotations(item),
    )


def _platform(item: Reader) -> Platform:
    variant = item.text("variant") if item.has("variant") else ""
    return Platform(item.text("os"), item.text("architecture"), variant)


def _annotations(item: Reader) -> dict[str, str]:
    if not item.has("annotations") or item.json("annotations") is None:
        return {}
    found = item.mapping("annotations")
    return {name: value for name, value in found.items() if isinstance(value, str)}
