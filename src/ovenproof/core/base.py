"""A base: an image in a registry that others build on, as a flavour's lock names it.

Its layers are taken as they are. They are known by digest from the lock on, so nobody has to have
their bytes in order to write a manifest.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ovenproof.core.digest import Content, Digest, Json
from ovenproof.core.image import LAYER_TYPE
from ovenproof.core.reader import Reader

GZIP_TYPE = f"{LAYER_TYPE}+gzip"
ZSTD_TYPE = f"{LAYER_TYPE}+zstd"
TYPES: Mapping[str, str] = {
    LAYER_TYPE: LAYER_TYPE,
    GZIP_TYPE: GZIP_TYPE,
    ZSTD_TYPE: ZSTD_TYPE,
    "application/vnd.docker.image.rootfs.diff.tar": LAYER_TYPE,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": GZIP_TYPE,
    "application/vnd.docker.image.rootfs.diff.tar.zstd": ZSTD_TYPE,
}
"""What a base may call its layers -> what an OCI manifest calls the same bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseLayer:
    """One layer, as the base's manifest and config name it."""

    content: Content
    media_type: str
    """The OCI name of it."""
    diff_id: Digest
    """Of what it unpacks to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedBase:
    """A base by digest; which mirror has it is this machine's business."""

    repository: str
    """`HOST/NAME`, as people know it."""
    tag: str | None
    """What it was called when it was locked."""
    digest: Digest
    """Of the manifest for our platform."""
    index: Digest | None
    """Of the index that named the manifest, where there was one."""
    environment: Mapping[str, str]
    layers: tuple[BaseLayer, ...]

    @property
    def name(self) -> str:
        """The base as a person would pull it."""
        return f"{self.repository}:{self.tag}" if self.tag else f"{self.repository}@{self.digest}"

    def to_json(self) -> dict[str, Json]:
        return {
            "repository": self.repository,
            "tag": self.tag,
            "digest": str(self.digest),
            "index": str(self.index) if self.index else None,
            "environment": dict(self.environment),
            "layers": [
                {
                    "digest": str(layer.content.digest),
                    "size": layer.content.size,
                    "media_type": layer.media_type,
                    "diff_id": str(layer.diff_id),
                }
                for layer in self.layers
            ],
        }

    @classmethod
    def read(cls, top: Reader) -> "LockedBase":
        """Read the section of a lock. Raises BadFile."""
        top.only("repository", "tag", "digest", "index", "environment", "layers")
        layers = tuple(_layer(item) for item in top.items("layers"))
        if not layers:
            raise top.fault("layers", "at least one layer", [])
        return cls(
            repository=top.text("repository"),
            tag=None if top.json("tag") is None else top.text("tag"),
            digest=top.digest("digest"),
            index=None if top.json("index") is None else top.digest("index"),
            environment={name: _text(top, name) for name in top.mapping("environment")},
            layers=layers,
        )


def _layer(item: Reader) -> BaseLayer:
    item.only("digest", "size", "media_type", "diff_id")
    found = BaseLayer(
        content=item.content(),
        media_type=item.choice("media_type", (LAYER_TYPE, GZIP_TYPE, ZSTD_TYPE)),
        diff_id=item.digest("diff_id"),
    )
    if found.media_type == LAYER_TYPE and found.diff_id != found.content.digest:
        raise item.fault("diff_id", "the digest of a layer of plain tar", str(found.diff_id))
    return found


def _text(top: Reader, name: str) -> str:
    value = top.mapping("environment")[name]
    if not isinstance(value, str):
        raise top.fault(f"environment.{name}", "text", value)
    return value
