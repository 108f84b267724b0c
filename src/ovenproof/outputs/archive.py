"""An archive that every engine loads: an OCI layout that also has Docker's legacy manifest.

`docker load` of an engine without the containerd store needs `manifest.json`; skopeo, umoci and
containerd read the layout. Both name the same blobs, so nothing is in it twice.
"""

import shlex
from collections.abc import Collection, Iterator
from pathlib import Path

from ovenproof.core import tar
from ovenproof.core.digest import Content, canonical_json
from ovenproof.core.image import MANIFEST_TYPE, Image, Layer
from ovenproof.errors import BadFile, OvenproofError
from ovenproof.events import Listener
from ovenproof.outputs.interface import OpenLayer, Written, heard
from ovenproof.outputs.layout_folder import LAYOUT, entry, index
from ovenproof.outputs.place import elsewhere, writing
from ovenproof.store.disk import sweep, write_file


class Archive:
    """One tar file. Made anew each time, and only whole."""

    def __init__(self, path: Path) -> None:
        self.path = path

    absorber = None

    def lacks(self, image: Image) -> tuple[Layer, ...]:
        return unique(image.layers)

    def refuses(self, image: Image) -> tuple[OvenproofError, ...]:
        return ()

    def write(
        self, image: Image, reference: str, open_layer: OpenLayer, listener: Listener
    ) -> Written:
        if self.path.is_dir():
            raise BadFile(
                "the archive's place is a folder",
                subject=self.path,
                hint="give the name of a file: --output archive:FILE",
            )
        layers = self.lacks(image)
        chunks = stream(image, reference, layers, open_layer, listener)
        with writing(self.path, hint="free space, or choose another --output archive:FILE"):
            sweep(self.path.parent)
            write_file(self.path, elsewhere(chunks))
        return Written(
            place=str(self.path),
            moved=sum(layer.content.size for layer in layers),
            use=shlex.join(["docker", "load", "--input", str(self.path)]),
        )


def unique(layers: Collection[Layer]) -> tuple[Layer, ...]:
    """Each content once, in the order of the stack."""
    return tuple({layer.content: layer for layer in layers}.values())


def stream(
    image: Image,
    reference: str,
    layers: Collection[Layer],
    open_layer: OpenLayer,
    listener: Listener,
) -> Iterator[bytes]:
    """The archive's bytes, with these layers in it.

    Layers that an engine has already may be left out: it looks for them by name before it asks for
    their bytes. The listings come first, so that a reader of the stream can decide early.
    """
    legacy = canonical_json(
        [
            {
                "Config": _blob(Content.of(image.config)),
                "RepoTags": [reference],
                "Layers": [_blob(layer.content) for layer in image.layers],
            }
        ]
    )
    yield from _file("oci-layout", LAYOUT)
    tag = reference.rpartition(":")[2]
    listed = entry(image.digest, MANIFEST_TYPE, tag=tag, full_name=_full_name(reference))
    yield from _file("index.json", index([listed]))
    yield from _file("manifest.json", legacy)
    yield _header("blobs/", tar.DIRECTORY)
    yield _header("blobs/sha256/", tar.DIRECTORY)
    for data in (image.config, image.manifest):
        yield from _file(_blob(Content.of(data)), data)
    for layer in layers:
        yield _header(_blob(layer.content), tar.FILE, layer.content.size)
        yield from heard(layer, open_layer, listener)
        yield tar.padding(layer.content.size)
    yield tar.END


def _full_name(reference: str) -> str:
    """The reference with its registry, as containerd files it: Docker's own where none is named."""
    host, slash, _ = reference.partition("/")
    if slash and (host == "localhost" or any(letter in host for letter in ".:")):
        return reference
    return f"docker.io/{reference if slash else 'library/' + reference}"


def _blob(content: Content) -> str:
    return f"blobs/sha256/{content.digest.hex}"


def _file(path: str, data: bytes) -> Iterator[bytes]:
    yield _header(path, tar.FILE, len(data)) + data + tar.padding(len(data))


def _header(path: str, kind: bytes, size: int = 0) -> bytes:
    mode = 0o755 if kind == tar.DIRECTORY else 0o644
    return tar.header(tar.Member(path=path, kind=kind, mode=mode, size=size))
