"""A weights image, and what a model says of itself in every shape that it has.

The weights image has the layers of the weights that the serving image has, and nothing else: a
registry that holds one mounts the blobs of the other.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

from ovenproof.core.digest import Content, Json, canonical_json
from ovenproof.core.entry import Entry
from ovenproof.core.image import CONFIG_TYPE, CREATED, LAYER_TYPE, MANIFEST_TYPE, Image, Layer
from ovenproof.core.model_lock import ModelLock

Shape: TypeAlias = Literal["image", "weights", "modelpack"]
"""What an entry is given away as."""
SHAPES: tuple[Shape, ...] = ("image", "weights", "modelpack")
TITLE = "org.opencontainers.image.title"


def tag(shape: Shape, name: str) -> str:
    """The tag of an entry in a shape: another one for each, so that none takes another's."""
    return name if shape == "image" else f"{name}-{shape}"


def weights_image(
    layers: Sequence[Layer], *, entry: Entry, lock: ModelLock, architecture: str
) -> Image:
    """An image of the weights alone, for Kubernetes' image volumes. Nothing in it can be started.

    The files lie below the entry's `model_path`. KServe's `oci+native://` (from 0.20) mounts the
    folder `/models` of an image, so an entry for it says `model_path: /models`. Its older modelcars
    run a shell inside the image, and there is none. `architecture` is the nodes': an engine takes
    no image of another one, though the weights would fit.
    """
    named = labels(entry, lock)
    config = canonical_json(
        {
            "architecture": architecture,
            "os": "linux",
            "created": CREATED,
            "config": {"Labels": {**named}},
            "rootfs": {"type": "layers", "diff_ids": [str(layer.diff_id) for layer in layers]},
            "history": [
                {"created": CREATED, "created_by": f"ovenproof: {layer.title}"} for layer in layers
            ],
        }
    )
    manifest = canonical_json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": descriptor(CONFIG_TYPE, Content.of(config)),
            "layers": [
                {
                    **descriptor(LAYER_TYPE, layer.content),
                    "annotations": {"org.ovenproof.layer.title": layer.title},
                }
                for layer in layers
            ],
            "annotations": {**named},
        }
    )
    return Image(config=config, manifest=manifest, layers=tuple(layers))


def labels(entry: Entry, lock: ModelLock) -> dict[str, str]:
    """What a model says of itself, whatever its shape."""
    found = {
        TITLE: entry.name,
        "org.opencontainers.image.description": entry.description,
        "org.opencontainers.image.licenses": license_of(entry, lock),
        "org.ovenproof.entry": entry.name,
        "org.ovenproof.model": canonical_json(origin(lock)).decode(),
    }
    return {name: value for name, value in found.items() if value}


def origin(lock: ModelLock) -> dict[str, Json]:
    """Where the weights come from, for everybody to read.

    Where a folder lay on somebody's disk is no part of what a model is, nor is where in a
    registry's blobs each file lies.
    """
    return {key: value for key, value in lock.origin.items() if key not in ("folder", "places")}


def license_of(entry: Entry, lock: ModelLock) -> str:
    """The licence that the entry names, else the one that its card names; empty for none."""
    said = lock.facts.get("license")
    return entry.license or (said if isinstance(said, str) else "")


def descriptor(media_type: str, content: Content) -> dict[str, Json]:
    """What a manifest says of a blob."""
    return {"mediaType": media_type, "digest": str(content.digest), "size": content.size}
