"""Layers -> config and manifest: pure, canonical, and the same on every machine.

Nothing of the place, the time or the person that builds is in them. The identity of an image goes
into labels and annotations, never into variables that the runtime might hash or mind.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ovenproof.core.action import Action
from ovenproof.core.digest import Content, Digest, Json, canonical_json

CREATED = "1980-01-01T00:00:00Z"
"""The tar profile's time, said as RFC 3339."""
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
MAX_LAYERS = 120
"""Docker stops at 125; five are left to whoever builds on top."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer by its digest, and the action that makes it again.

    Ours are not compressed: digest = diff_id. A base's may be, and name what they unpack to.
    """

    content: Content
    title: str
    action: Action
    media_type: str = LAYER_TYPE
    unpacked: Digest | None = None
    """The digest of what it unpacks to, where that is another than its own."""
    homes: tuple[str, ...] = ()
    """Repositories that have it, as `HOST/NAME`: a registry may mount it from there."""

    @property
    def diff_id(self) -> Digest:
        """What an engine files it under."""
        return self.unpacked or self.content.digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the image's config says besides its layers."""

    entrypoint: tuple[str, ...]
    environment: Mapping[str, str]
    labels: Mapping[str, str]
    port: int
    user: str
    working_dir: str
    architecture: str = "amd64"
    os: str = "linux"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A finished image: its config and manifest by their bytes, its layers by reference."""

    config: bytes
    manifest: bytes
    layers: tuple[Layer, ...]

    @property
    def digest(self) -> Content:
        """The manifest's digest: the name of the image everywhere."""
        return Content.of(self.manifest)

    @property
    def size(self) -> int:
        """Bytes of everything that the image is made of."""
        own = len(self.config) + len(self.manifest)
        return own + sum(layer.content.size for layer in self.layers)


def assemble(layers: tuple[Layer, ...], settings: Settings) -> Image:
    """Write config and manifest for the layers, lowest first."""
    if len(layers) > MAX_LAYERS:
        raise ValueError(f"{len(layers)} layers; an image has {MAX_LAYERS} at most")
    config = _config(layers, settings)
    manifest = canonical_json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": _descriptor(CONFIG_TYPE, Content.of(config)),
            "layers": [
                {
                    **_descriptor(layer.media_type, layer.content),
                    "annotations": {"org.ovenproof.layer.title": layer.title},
                }
                for layer in layers
            ],
            "annotations": _annotations(settings.labels),
        }
    )
    return Image(config=config, manifest=manifest, layers=layers)


def _config(layers: tuple[Layer, ...], settings: Settings) -> bytes:
    return canonical_json(
        {
            "architecture": settings.architecture,
            "os": settings.os,
            "created": CREATED,
            "config": {
                "Entrypoint": list(settings.entrypoint),
                "Env": [f"{name}={value}" for name, value in sorted(settings.environment.items())],
                "ExposedPorts": {f"{settings.port}/tcp": {}},
                "Labels": dict(settings.labels),
                "StopSignal": "SIGTERM",
                "User": settings.user,
                "WorkingDir": settings.working_dir,
            },
            "rootfs": {
                "type": "layers",
                "diff_ids": [str(layer.diff_id) for layer in layers],
            },
            "history": [
                {"created": CREATED, "created_by": f"ovenproof: {layer.title}"} for layer in layers
            ],
        }
    )


def _annotations(labels: Mapping[str, str]) -> dict[str, Json]:
    """The standard labels stand on the manifest too, where registries look for them."""
    return {
        name: value
        for name, value in labels.items()
        if name.startswith("org.opencontainers.image.")
    }


def _descriptor(media_type: str, content: Content) -> dict[str, Json]:
    return {"mediaType": media_type, "digest": str(content.digest), "size": content.size}
