"""An OCI image layout: a folder of blobs that many images may share."""

import shlex
from pathlib import Path

from ovenproof.core.digest import Content
from ovenproof.core.image import MANIFEST_TYPE, Image, Layer
from ovenproof.errors import OvenproofError
from ovenproof.events import Listener
from ovenproof.outputs.interface import OpenLayer, Written, heard
from ovenproof.outputs.layout_folder import LayoutFolder, entry
from ovenproof.outputs.place import elsewhere, writing


class Layout:
    """A folder with `oci-layout`, `index.json` and `blobs/`. Other images in it are left alone.

    A layer that lies here in its full size is believed: it was proven when it was written, and to
    read tens of gigabytes each time would cost more than it finds. What another program or a bad
    disk does to it later is found by whoever reads it: skopeo, umoci and containerd check every
    digest. To have it written anew, delete the file. Config and manifest are written each time.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folder = LayoutFolder(root)

    absorber = None

    def lacks(self, image: Image) -> tuple[Layer, ...]:
        unique = {layer.content: layer for layer in image.layers}
        return tuple(layer for content, layer in unique.items() if not self._folder.has(content))

    def refuses(self, image: Image) -> tuple[OvenproofError, ...]:
        return ()

    def write(
        self, image: Image, reference: str, open_layer: OpenLayer, listener: Listener
    ) -> Written:
        tag = reference.rpartition(":")[2]
        self._folder.entries()  # a folder that is no layout is refused before anything moves
        moved = 0
        hint = "free space, or choose another place with --output layout:DIR"
        with writing(self.root, hint=hint):
            self._folder.sweep()
            for layer in self.lacks(image):
                moved += layer.content.size
                chunks = heard(layer, open_layer, listener)
                self._folder.put(layer.content, elsewhere(chunks))
            for data in (image.config, image.manifest):
                self._folder.put(Content.of(data), (data,))
            self._folder.enlist([entry(image.digest, MANIFEST_TYPE, tag=tag)], tag)
        return Written(
            place=f"{self.root}:{tag}",
            moved=moved,
            use=shlex.join(
                ["skopeo", "copy", f"oci:{self.root}:{tag}", f"docker-daemon:{reference}"]
            ),
        )
