"""A repository of a registry. Layers are sent from where they lie; the tag moves last.

First what the repository has is asked for, then what another one can give is mounted, then the rest
is sent, and only after all of it is there the manifest is put: by its digest, then under its tag.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

from ovenproof.core.digest import Content, Digest
from ovenproof.core.image import Image, Layer
from ovenproof.core.manifest import read
from ovenproof.errors import BadFile, LockAgain, OvenproofError
from ovenproof.events import Listener, silent
from ovenproof.outputs.interface import OpenLayer, Written
from ovenproof.registry.reference import Reference, Repository, parse_repository
from ovenproof.registry.send import Sender

if TYPE_CHECKING:
    from ovenproof.registry.client import Blob

Was: TypeAlias = "Digest | Literal['none'] | None"
"""What a tag must name before it is moved; None: what it named when we began, whatever that was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """A tag that is moved to the image, unless somebody else moves it meanwhile."""

    name: str
    was: Was = None
    force: bool = False
    """Move it, whatever it names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """What a push would do, and what the tag names as long as nobody moves it."""

    lacks: tuple[Layer, ...]
    mounts: tuple[Layer, ...]
    tag: Digest | None


class Registry:
    """One repository, and the tag of it that an image gets; without a tag, its digest alone.

    The `sender` may be shared by many images of the repository: what one of them found there is
    not asked for again. `homes` are other repositories that may have layers of ours.
    """

    def __init__(
        self, sender: Sender, *, tag: Tag | None, homes: tuple[Repository, ...] = ()
    ) -> None:
        self.tag = tag
        self.repository = sender.repository
        self._sender = sender
        self._remote = sender.remote
        self._homes = homes
        self._known: Digest | Literal["none"] | None = tag.was if tag else None
        """What the tag has to name until we move it; None until that is asked."""
        self._now: Digest | None = None
        self._asked = False

    def lacks(self, image: Image) -> tuple[Layer, ...]:
        return self.foresee(image).lacks

    def refuses(self, image: Image) -> tuple[OvenproofError, ...]:
        limits = self._remote.limits
        faults: list[OvenproofError] = []
        if len(image.manifest) > limits.manifest:
            faults.append(
                BadFile(
                    "the manifest is larger than the registry takes",
                    subject=self.repository,
                    expected=f"{limits.manifest} bytes at most ({limits.note})",
                    got=f"{len(image.manifest)} bytes",
                    hint="push it to another registry",
                )
            )
        if limits.blob is None:
            return tuple(faults)
        for layer in self.lacks(image):
            if layer.content.size > limits.blob:
                faults.append(
                    BadFile(
                        f"the layer `{layer.title}` is larger than {limits.registry} takes",
                        subject=self.repository,
                        expected=f"{limits.blob} bytes at most ({limits.note})",
                        got=f"{layer.content.size} bytes",
                        hint="push to another registry with --to,"
                        " or save the checkpoint in smaller files",
                    )
                )
        return tuple(faults)

    def foresee(self, image: Image) -> Foreseen:
        """Ask what the repository has, what another could give, and what the tag names."""
        tag = self._begin(image.digest.digest)
        layers = {layer.content: layer for layer in image.layers}
        there = self._sender.there([*layers, Content.of(image.config)])
        missing = {content: layer for content, layer in layers.items() if content not in there}
        homes = {home for layer in missing.values() for home in self._homes_of(layer)}
        given = self._sender.mountable(missing, sorted(homes))
        return Foreseen(
            lacks=tuple(layer for content, layer in missing.items() if content not in given),
            mounts=tuple(layer for content, layer in missing.items() if content in given),
            tag=tag,
        )

    def write(
        self, image: Image, reference: str, open_layer: OpenLayer, listener: Listener
    ) -> Written:
        digest = image.digest.digest
        before = self._begin(digest)
        sent = self._sender.send([*self._layers(image, open_layer)], listener)
        config = self._sender.send([_config(image)], silent)
        if before != digest or sent.moved or config.moved:
            self._name(image)
        pushed = Reference(self.repository, self.tag.name if self.tag else None, digest)
        return Written(
            place=str(pushed),
            moved=sent.sent,
            mounted=sent.mounted,
            there=sent.there,
            reference=str(pushed.at(digest)),
            use=None,
        )

    def _begin(self, digest: Digest) -> Digest | None:
        """What the tag names before anything moves. Asked once."""
        if self.tag is not None and not self._asked:
            self._look(self.tag, digest)
        return self._now

    def _name(self, image: Image) -> None:
        """Put the manifest, and then the tag: all blobs are there now."""
        digest = image.digest.digest
        manifest = read(image.manifest, name=str(digest))
        if self._remote.head(str(digest)) != digest:
            self._remote.put_manifest(manifest, str(digest))
        # A registry has no put-if-unchanged, so we look right before we put.
        if self.tag is not None and self._look(self.tag, digest) != digest:
            self._remote.put_manifest(manifest, self.tag.name)
            self._known = self._now = digest

    def _look(self, tag: Tag, digest: Digest) -> Digest | None:
        """What the tag names now: what it named before, or this very image, whoever did that.

        Raises LockAgain where it is anything else and must not be moved by force.
        """
        now = self._now = self._remote.head(tag.name)
        self._asked = True
        if self._known is None:
            self._known = now or "none"
        if tag.force or now == digest or (now or "none") == self._known:
            return now
        expected = "no such tag" if self._known == "none" else str(self._known)
        said = "--was" if tag.was else "when this began"
        raise LockAgain(
            "the tag names another image than it did, and was not moved",
            subject=f"{self.repository}:{tag.name}",
            expected=f"{expected} ({said})",
            got=now or "no such tag",
            hint="look at what it names now; --force moves it nevertheless",
        )

    def _homes_of(self, layer: Layer) -> tuple[Repository, ...]:
        return (*(parse_repository(home) for home in layer.homes), *self._homes)

    def _layers(self, image: Image, open_layer: OpenLayer) -> Iterator["Blob"]:
        from ovenproof.registry.client import Blob  # noqa: PLC0415  who only plans needs no HTTP

        for layer in image.layers:
            yield Blob(
                content=layer.content,
                title=layer.title,
                open=partial(open_layer, layer),
                homes=self._homes_of(layer),
            )


def _config(image: Image) -> "Blob":
    from ovenproof.registry.client import Blob  # noqa: PLC0415

    def open_config(offset: int) -> Iterator[bytes]:
        return iter((image.config[offset:],))

    return Blob(content=Content.of(image.config), title="config", open=open_config)
