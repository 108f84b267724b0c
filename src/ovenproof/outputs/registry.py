"""A repository of a registry. Layers are sent from where they lie; the tag moves last.

First what the repository has is asked for, then what another one can give is mounted, then the rest
is sent, and only after all of it is there the manifest is put: by its digest, then under its tag.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from ovenproof.core.digest import Content, Digest
from ovenproof.core.image import Image, Layer
from ovenproof.core.manifest import read
from ovenproof.core.plan import Plan
from ovenproof.errors import BadFile, OvenproofError
from ovenproof.events import Listener, silent
from ovenproof.outputs.interface import Absorber, OpenLayer, Took, Unproven, Written
from ovenproof.registry.limits import too_large
from ovenproof.registry.reference import Reference, Repository, parse_repository
from ovenproof.registry.send import Sender
from ovenproof.registry.tags import Guard, Was, look, move_tag

if TYPE_CHECKING:
    from ovenproof.registry.client import Blob


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
        self._guard: Guard | None = None
        """None until the tag is looked at."""
        self._absorbed = self._taken = 0
        """Bytes that were sent of layers that it took unproven, and the layers' size."""

    @property
    def place(self) -> str:
        """What an image is called there."""
        return str(Reference(self.repository, self.tag.name if self.tag else None))

    @property
    def absorber(self) -> Absorber:
        return self

    def absorb(self, layers: Sequence[Unproven], done: Took, listener: Listener) -> None:
        from ovenproof.registry.client import Stream  # noqa: PLC0415  who only plans needs no HTTP

        self._begin(None)
        streams = {
            layer.action.hex: Stream(
                title=layer.title, size=layer.size, read=layer.read, digest=layer.digest
            )
            for layer in layers
        }
        sent = self._sender.absorb(
            streams, lambda key, content: done(Digest(key), content), listener
        )
        self._absorbed += sent.sent
        self._taken += sum(layer.size for layer in layers)

    def lacks(self, image: Image) -> tuple[Layer, ...]:
        return self.foresee(image.layers, image).lacks

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
        sizes = [(layer.title, layer.content.size) for layer in self.lacks(image)]
        return (*faults, *too_large(limits, self.repository, sizes))

    def foresees_too_large(self, plan: Plan) -> tuple[OvenproofError, ...]:
        """The same of layers before they are proven, where their files' sizes tell theirs.

        Nobody is asked: a registry that takes no such layer has none.
        """
        sizes = [(item.step.title, item.size) for item in plan.to_run]
        known = [(title, size) for title, size in sizes if size is not None]
        return too_large(self._remote.limits, self.repository, known)

    def foresee(self, known: Sequence[Layer], image: Image | None) -> Foreseen:
        """Ask what the repository has, what another could give, and what the tag names.

        `known` are the layers as far as they are; there is an image where all of them are.
        """
        tag = self._begin(image.digest.digest if image else None)
        layers = {layer.content: layer for layer in known}
        there = self._sender.there([*layers, *([Content.of(image.config)] if image else [])])
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
            moved=sent.sent + self._absorbed,
            mounted=sent.mounted,
            there=sent.there - self._taken,
            reference=str(pushed.at(digest)),
            use=None,
        )

    def _begin(self, digest: Digest | None) -> Digest | None:
        """What the tag names before anything moves. Asked once.

        `digest` is what it shall name, if that is known by then.
        """
        tag = self.tag
        if tag is not None and self._guard is None:
            self._guard = look(self._remote, tag.name, digest, was=tag.was, force=tag.force)
        return self._guard.seen if self._guard else None

    def _name(self, image: Image) -> None:
        """Put the manifest, and then the tag: all blobs are there now."""
        digest = image.digest.digest
        manifest = read(image.manifest, name=str(digest))
        if self._remote.head(str(digest)) != digest:
            self._remote.put_manifest(manifest, str(digest))
        if self.tag is not None:
            assert self._guard is not None
            move_tag(self._remote, manifest, self.tag.name, self._guard)
            self._guard = replace(self._guard, seen=digest, was=None)

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
                absorbed_as=layer.action.key.hex,
            )


def _config(image: Image) -> "Blob":
    from ovenproof.registry.client import Blob  # noqa: PLC0415

    def open_config(offset: int) -> Iterator[bytes]:
        return iter((image.config[offset:],))

    return Blob(content=Content.of(image.config), title="config", open=open_config)
