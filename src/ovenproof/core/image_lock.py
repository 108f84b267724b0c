"""`image.lock`: what a flavour is made of, every wheel and Debian package by digest and size."""

from dataclasses import dataclass, field, replace
from types import MappingProxyType

from packaging.utils import canonicalize_name

from ovenproof.core.base import LockedBase
from ovenproof.core.digest import Content, Digest, Json
from ovenproof.core.lock import (
    Proofs,
    content_to_json,
    open_lock,
    proofs_to_json,
    read_proofs,
    to_text,
)


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
        return to_text(
            {
                "fingerprint": str(self.fingerprint),
                "debs": [
                    {
                        "name": deb.name,
                        "version": deb.version,
                        "archive": deb.archive,
                        "path": deb.path,
                        **content_to_json(deb.content),
                    }
                    for deb in sorted(self.debs)
                ],
                "wheels": [
                    {"filename": wheel.filename, **content_to_json(wheel.content)}
                    for wheel in sorted(self.wheels)
                ],
                **({"base": self.base.to_json()} if self.base else {}),
                "options": self.options,
                "layers": proofs_to_json(self.layers),
            }
        )

    @classmethod
    def parse(cls, text: str, *, name: str) -> "ImageLock":
        """Read an `image.lock`. Raises BadFile, with the key path of the fault."""
        top = open_lock(text, name)
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
            layers=read_proofs(top),
        )
