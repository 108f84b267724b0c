"""Which files a model in a registry has, and where in its blobs each of them lies.

Only headers are read. A ModelPack artifact names its files itself: a raw layer is one. In a layer
that is an archive a file is a range, as long as the archive is not compressed.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from ovenproof.core import weights
from ovenproof.core.base import TYPES
from ovenproof.core.content import Literal, LocalFile
from ovenproof.core.digest import Content
from ovenproof.core.image import LAYER_TYPE
from ovenproof.core.layer import check_path
from ovenproof.core.manifest import Descriptor, Manifest
from ovenproof.core.shapes import TITLE
from ovenproof.errors import BadFile, OvenproofError, raise_all
from ovenproof.sources.oci_archive import members

# CNCF ModelPack, model-spec v0.0.7; `cnai` is what `cncf` was called before.
_ARTIFACT = re.compile(r"application/vnd\.(cncf|cnai)\.model\.(manifest|config)\.v1\+json")
_LAYER = re.compile(
    r"application/vnd\.(?:cncf|cnai)\.model\."
    r"(?P<kind>weight|weight\.config|doc|code|dataset)\.v1\.(?P<form>raw|tar|tar\+gzip|tar\+zstd)"
)
_FILE_PATHS = ("org.cncf.model.filepath", "org.cnai.model.filepath", TITLE)
_IMAGE_CONFIGS = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)


class Remote(Protocol):
    """What the repository of a model is asked for."""

    def manifest(self, target: str) -> Manifest | None:
        """By tag or digest; None where there is no such thing."""

    def open(self, content: Content, offset: int = 0) -> Iterator[bytes]:
        """A blob's bytes from `offset` on; from 0, proven before the last of them is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lying:
    """A file of a model, as a range of a blob."""

    path: str
    blob: Content
    start: int
    size: int

    @property
    def is_blob(self) -> bool:
        """Whether the blob is the file and nothing else."""
        return self.start == 0 and self.size == self.blob.size


def files(manifest: Manifest, remote: Remote, where: object) -> dict[str, Lying]:
    """The files of a model by their paths below its folder. Raises BadFile, all faults at once."""
    config = manifest.config.media_type if manifest.config else ""
    if _ARTIFACT.fullmatch(manifest.artifact_type) or _ARTIFACT.fullmatch(config):
        raise_all(_compressed(manifest.layers, where))
        return _merged(_layer(item, remote, where) for item in manifest.layers)
    if config in _IMAGE_CONFIGS and not manifest.artifact_type:
        raise_all(_compressed(manifest.layers, where))
        found = (_archive(item.content, remote, where) for item in manifest.layers)
        return _below_folder(_merged(found), where)
    raise BadFile(
        "this is nothing that weights can be read from",
        subject=where,
        expected="a ModelPack artifact, or an image",
        got=manifest.artifact_type or config or manifest.media_type,
        hint="correct `weights: {oci: …}`; `build --as modelpack` and `--as weights` make such",
    )


def fetch(remote: Remote, blob: Content, start: int, size: int) -> bytes:
    """A small range of a blob. It is proven where it is all of the blob."""
    chunks, found = remote.open(blob, start), bytearray()
    while len(found) < size and (chunk := next(chunks, None)) is not None:
        found += chunk
    end = getattr(chunks, "close", None)  # most of the blob is not wanted
    if end is not None:
        end()
    return bytes(found[:size])


def is_own_layer(item: Lying, remote: Remote, model_path: str) -> bool:
    """Whether the blob is the layer that we would make of this file alone, byte for byte.

    Nothing of the file is read for that: what stands around it says so.
    """
    made = weights.layer_recipe(model_path, [(item.path, LocalFile(Path(item.path), item.size))])
    if made.size != item.blob.size:
        return False
    around = b"".join(part.data for part in made.segments() if isinstance(part, Literal))
    head, tail = around[: item.start], around[item.start :]
    return (
        fetch(remote, item.blob, 0, item.start) == head
        and fetch(remote, item.blob, item.blob.size - len(tail), len(tail)) == tail
    )


def _compressed(layers: tuple[Descriptor, ...], where: object) -> Iterator[OvenproofError]:
    for item in layers:
        known = _LAYER.fullmatch(item.media_type)
        if known and known["kind"] == "dataset":
            continue
        if known is None and item.media_type not in TYPES:
            yield BadFile(
                "a layer of the model is of a kind that is not known",
                subject=item.content.digest,
                where=where,
                expected="a ModelPack layer, or tar",
                got=item.media_type,
            )
        elif (known and "+" in known["form"]) or TYPES.get(item.media_type, LAYER_TYPE) != (
            LAYER_TYPE
        ):
            yield BadFile(
                "a layer of the model is compressed, so that no file can be read out of it",
                subject=item.content.digest,
                where=where,
                expected="raw files or plain tar",
                got=item.media_type,
                hint="push it again without compression (`skopeo copy` wants --preserve-digests for"
                " that), or unpack it to a folder and write `weights: {folder: PATH}`",
            )


def _layer(item: Descriptor, remote: Remote, where: object) -> list[Lying]:
    """The files of a ModelPack layer. Data sets are no part of what serves."""
    known = _LAYER.fullmatch(item.media_type)
    if known and known["kind"] == "dataset":
        return []
    if known is None or known["form"] != "raw":
        return _archive(item.content, remote, where)
    said = (item.annotations.get(key) for key in _FILE_PATHS)
    path = next((path for path in said if path), "")
    content = item.content
    return [Lying(path=_checked(path, where), blob=content, start=0, size=content.size)]


def _archive(blob: Content, remote: Remote, where: object) -> list[Lying]:
    """The files of a layer that is an archive. Raises BadFile for what is none and no folder."""

    def open_range(offset: int, size: int) -> BinaryIO:
        return io.BytesIO(fetch(remote, blob, offset, size))

    found = []
    for member in members(blob, open_range, where):
        if member.isdir():
            continue
        path = _checked(member.name.removeprefix("./"), where)
        if not member.isreg() or member.sparse or PurePosixPath(path).name.startswith(".wh."):
            raise BadFile(
                "a layer of the model holds something else than files and folders",
                subject=path,
                where=where,
                expected="no links, no sparse files, and nothing that hides what is below it",
                hint="make the image anew from the files alone: `build --as weights` does",
            )
        found.append(Lying(path=path, blob=blob, start=member.offset_data, size=member.size))
    return found


def _merged(layers: Iterator[list[Lying]]) -> dict[str, Lying]:
    """What lies in a higher layer hides what a lower one has under the same path."""
    return {item.path: item for layer in layers for item in layer}


def _below_folder(found: dict[str, Lying], where: object) -> dict[str, Lying]:
    """The files of an image that are below the model's folder: the topmost that has a config."""
    names = ("config.json", "params.json")
    folders = {PurePosixPath(path).parent for path in found if PurePosixPath(path).name in names}
    topmost = min((len(folder.parts) for folder in folders), default=0)
    folders = {folder for folder in folders if len(folder.parts) == topmost}
    if len(folders) != 1:
        raise BadFile(
            "an image must hold one model" if folders else "the image holds no model",
            subject=where,
            expected="one folder with config.json or params.json",
            got=", ".join(sorted(map(str, folders))) or "none",
        )
    (folder,) = folders
    moved = (
        replace(item, path=str(PurePosixPath(path).relative_to(folder)))
        for path, item in found.items()
        if PurePosixPath(path).is_relative_to(folder)
    )
    return {item.path: item for item in moved}


def _checked(path: str, where: object) -> str:
    try:
        check_path(path)
    except ValueError as error:
        raise BadFile(
            "a file of the model has a name that no image can hold",
            subject=ascii(path),
            where=where,
            got=error,
        ) from error
    return path
