"""A ModelPack artifact: a model as other programs know it. Each layer is a file, byte for byte.

The names are those of CNCF ModelPack, model-spec v0.0.7: of manifest, layers, annotations, config.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from types import MappingProxyType

from ovenproof.core.action import Action
from ovenproof.core.digest import Content, Digest, Json, canonical_json
from ovenproof.core.entry import Entry
from ovenproof.core.image import CREATED, MANIFEST_TYPE, Image, Layer
from ovenproof.core.model_lock import LockedFile, ModelLock
from ovenproof.core.plan import Step, Supply
from ovenproof.core.shapes import TITLE, descriptor, labels, license_of
from ovenproof.errors import BadFile

KIND = "raw"
VERSION = 1

ARTIFACT_TYPE = "application/vnd.cncf.model.manifest.v1+json"
MODEL_CONFIG_TYPE = "application/vnd.cncf.model.config.v1+json"
FILE_PATH = "org.cncf.model.filepath"
FILE_METADATA = "org.cncf.model.file.metadata+json"

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf")
_DOCUMENTS = re.compile(
    r".*\.md|(README|LICENSE|LICENCE|NOTICE|COPYING|USE_POLICY).*", re.IGNORECASE
)
_PRECISIONS = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
_SCALES = ((10**15, "Q"), (10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K"))


def media_type(path: str) -> str:
    """What ModelPack calls a layer that is this file."""
    name = PurePosixPath(path).name
    if name.endswith(_WEIGHTS):
        kind = "weight"
    elif name.endswith(".py"):
        kind = "code"
    elif _DOCUMENTS.fullmatch(name):
        kind = "doc"
    else:
        kind = "weight.config"
    return f"application/vnd.cncf.model.{kind}.v1.raw"


def raw_steps(
    lock: ModelLock,
    folder: str,
    *,
    supplies: tuple[Supply, ...] = (),
    distant: Mapping[str, Supply] = MappingProxyType({}),
) -> tuple[Step, ...]:
    """A step for each file of the weights, in the order of their paths.

    `folder` is where they lie in an image; it tells whose files they are. Raises BadFile for files
    that are known by their layers alone and that nobody here can read by themselves.
    """
    layered = [file.path for file in lock.files if file.pinned_by == "layer"]
    if layered and lock.origin.get("kind") != "folder":
        raise BadFile(
            "a ModelPack artifact needs each file's own digest, and these have only their layers'",
            subject=", ".join(layered[:3]) + (", …" if layered[3:] else ""),
            where="models.lock",
            hint="give the entry the weights that the image in the registry was made from,"
            " or use `--as weights`",
        )
    return tuple(
        Step(
            title=file.path,
            action=raw_action(file, folder),
            supplies=supplies,
            distant=(distant[file.path],) if file.path in distant else (),
            reads=file.size,
        )
        for file in sorted(lock.files)
    )


def raw_action(file: LockedFile, folder: str) -> Action:
    """The action whose layer is the file itself."""
    return Action(
        kind=KIND,
        version=VERSION,
        inputs={file.path: file.digest},
        parameters={"folder": folder, "pinned by": file.pinned_by, "size": file.size},
    )


def raw_layers(files: Sequence[LockedFile], folder: str) -> dict[Digest, Content]:
    """The layers that need no proof, because they are what is locked: action key -> layer."""
    return {
        raw_action(file, folder).key: Content(file.digest, file.size)
        for file in files
        if file.pinned_by == "file"
    }


def modelpack(layers: Sequence[Layer], *, entry: Entry, lock: ModelLock) -> Image:
    """A ModelPack artifact of layers that `raw_steps` make."""
    typed = tuple(replace(layer, media_type=media_type(_path(layer))) for layer in layers)
    config = canonical_json(
        {
            "descriptor": _descriptor_of_model(entry, lock),
            "config": _technical(lock),
            "modelfs": {
                "type": "layers",
                "diffIds": [str(layer.content.digest) for layer in typed],
            },
        }
    )
    manifest = canonical_json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": ARTIFACT_TYPE,
            "config": descriptor(MODEL_CONFIG_TYPE, Content.of(config)),
            "layers": [
                {**descriptor(layer.media_type, layer.content), "annotations": _file(layer)}
                for layer in typed
            ],
            "annotations": {**labels(entry, lock)},
        }
    )
    return Image(config=config, manifest=manifest, layers=typed)


def _descriptor_of_model(entry: Entry, lock: ModelLock) -> dict[str, Json]:
    """Programs that show a model do not expect `createdAt` to be left out, though it may be."""
    license_, revision = license_of(entry, lock), lock.origin.get("commit")
    found: dict[str, Json] = {
        "createdAt": CREATED,
        "name": entry.name,
        "title": entry.name,
        "description": entry.description,
        "licenses": [license_] if license_ else None,
        "revision": revision if isinstance(revision, str) else None,
    }
    return {name: value for name, value in found.items() if value}


def _technical(lock: ModelLock) -> dict[str, Json]:
    """What the checkpoint says of itself, in the specification's words."""
    facts = lock.facts
    architectures, dtype, parameters = (
        facts.get(name) for name in ("architectures", "dtype", "parameters")
    )
    safe = any(file.path.endswith(".safetensors") for file in lock.files)
    found: dict[str, Json] = {
        "architecture": architectures[0]
        if isinstance(architectures, list) and architectures
        else None,
        "format": "safetensors" if safe else None,
        "paramSize": param_size(parameters) if isinstance(parameters, int) else None,
        "precision": _PRECISIONS.get(dtype, dtype) if isinstance(dtype, str) else None,
        "quantization": facts.get("quantization"),
    }
    return {name: value for name, value in found.items() if isinstance(value, str)}


def param_size(count: int) -> str | None:
    """A number of parameters as the specification wants it: `134.5M`, `8B`; None below 1K."""
    for scale, letter in _SCALES:
        if count >= scale:
            number, tenth = divmod((10 * count + scale // 2) // scale, 10)
            return f"{number}.{tenth}{letter}" if tenth else f"{number}{letter}"
    return None


def _file(layer: Layer) -> dict[str, Json]:
    """What unpackers ask of a layer that is a file: its path, and how to write it.

    The title says the path to programs that know artifacts, and not models.
    """
    path = _path(layer)
    metadata: dict[str, Json] = {
        "name": PurePosixPath(path).name,
        "mode": 0o644,
        "uid": 0,
        "gid": 0,
        "size": layer.content.size,
        "mtime": CREATED,
        "typeflag": 0,
    }
    return {FILE_PATH: path, FILE_METADATA: canonical_json(metadata).decode(), TITLE: path}


def _path(layer: Layer) -> str:
    """The path of the one file that a raw layer is."""
    (path,) = layer.action.inputs
    return path
