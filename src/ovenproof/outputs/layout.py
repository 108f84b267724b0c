"""An OCI image layout: a folder of blobs that many images may share."""

import json
import shlex
from collections.abc import Iterable
from pathlib import Path

from ovenproof.core.digest import Content, Json, canonical_json
from ovenproof.core.image import MANIFEST_TYPE, Image, Layer
from ovenproof.core.manifest import INDEX_TYPE
from ovenproof.errors import BadFile, OvenproofError
from ovenproof.events import Listener
from ovenproof.outputs.interface import OpenLayer, Written, heard
from ovenproof.outputs.place import elsewhere, writing
from ovenproof.store.disk import alone, sweep, write_file

LAYOUT = canonical_json({"imageLayoutVersion": "1.0.0"})
REF_NAME = "org.opencontainers.image.ref.name"
FULL_NAME = "io.containerd.image.name"


class Layout:
    """A folder with `oci-layout`, `index.json` and `blobs/`. Other images in it are left alone.

    A layer that lies here in its full size is believed: it was proven when it was written, and to
    read tens of gigabytes each time would cost more than it finds. What another program or a bad
    disk does to it later is found by whoever reads it: skopeo, umoci and containerd check every
    digest. To have it written anew, delete the file. Config and manifest are written each time.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def lacks(self, image: Image) -> tuple[Layer, ...]:
        unique = {layer.content: layer for layer in image.layers}
        return tuple(layer for content, layer in unique.items() if not self._has(content))

    def refuses(self, image: Image) -> tuple[OvenproofError, ...]:
        return ()

    def write(
        self, image: Image, reference: str, open_layer: OpenLayer, listener: Listener
    ) -> Written:
        tag = reference.rpartition(":")[2]
        self._other_images(tag)  # a folder that is no layout is refused before anything moves
        moved = 0
        hint = "free space, or choose another place with --output layout:DIR"
        with writing(self.root, hint=hint):
            sweep(self.root)
            sweep(self._blobs)
            for layer in self.lacks(image):
                moved += layer.content.size
                self._put(layer.content, elsewhere(heard(layer, open_layer, listener)))
            for data in (image.config, image.manifest):
                self._put(Content.of(data), (data,))
            write_file(self.root / "oci-layout", (LAYOUT,))
            with alone(self.root):
                others = self._other_images(tag)
                write_file(self.root / "index.json", (index(image, tag, others),))
        return Written(
            place=f"{self.root}:{tag}",
            moved=moved,
            use=shlex.join(
                ["skopeo", "copy", f"oci:{self.root}:{tag}", f"docker-daemon:{reference}"]
            ),
        )

    @property
    def _blobs(self) -> Path:
        return self.root / "blobs" / "sha256"

    def _has(self, content: Content) -> bool:
        try:
            return (self._blobs / content.digest.hex).stat().st_size == content.size
        except OSError:
            return False

    def _put(self, content: Content, chunks: Iterable[bytes]) -> None:
        write_file(self._blobs / content.digest.hex, chunks)

    def _other_images(self, tag: str) -> list[Json]:
        path = self.root / "index.json"
        if self.root.exists() and not self.root.is_dir():
            raise BadFile("the output is not a folder", subject=self.root)
        try:
            found = json.loads(path.read_bytes())
            manifests: list[Json] = list(found["manifests"])
        except (FileNotFoundError, NotADirectoryError):
            return []
        except (ValueError, KeyError, TypeError) as error:
            raise BadFile(
                "the layout's index cannot be read",
                subject=path,
                got=repr(error),
                hint="delete the folder, or choose another one with --output layout:DIR",
            ) from error
        return [item for item in manifests if not _is_tagged(item, tag)]


def index(
    image: Image, tag: str, others: Iterable[Json] = (), *, full_name: str | None = None
) -> bytes:
    """The `index.json` of a layout that holds the image under a tag.

    `full_name` is for containerd, which otherwise takes the tag for the whole name.
    """
    digest = image.digest
    annotations: dict[str, Json] = {REF_NAME: tag}
    if full_name is not None:
        annotations[FULL_NAME] = full_name
    mine: Json = {
        "mediaType": MANIFEST_TYPE,
        "digest": str(digest.digest),
        "size": digest.size,
        "annotations": annotations,
    }
    return canonical_json(
        {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [*others, mine]}
    )


def _is_tagged(item: Json, tag: str) -> bool:
    annotations = item.get("annotations") if isinstance(item, dict) else None
    return isinstance(annotations, dict) and annotations.get(REF_NAME) == tag
