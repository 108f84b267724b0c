"""Where an image goes. An output says what it lacks before anything moves, then takes it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from ovenproof.core.digest import Content, Digest
from ovenproof.core.image import Image, Layer
from ovenproof.errors import OvenproofError
from ovenproof.events import Advanced, Finished, Listener, Started


class OpenLayer(Protocol):
    """Produces a layer's bytes."""

    def __call__(self, layer: Layer, offset: int = 0) -> Iterator[bytes]:
        """From `offset` on. All of them are proven against the digest before the last is given;
        a part alone can only be proven by whoever has the beginning.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What an output took."""

    place: str
    """Where the image is now, as a person would type it."""
    moved: int
    """Bytes of layers that had to be written or sent."""
    use: str | None
    """The command that brings it into a Docker engine; None where it is in one already."""
    reference: str | None = None
    """What an engine asks for to get this very image; None where that is the catalogue's name."""
    mounted: int = 0
    """Bytes that another repository of the registry gave."""
    there: int = 0
    """Bytes that were there before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unproven:
    """A layer whose digest is known when its bytes have gone by."""

    title: str
    size: int
    action: Digest
    """The key of the action that makes it."""
    read: Callable[[int], Iterator[bytes]]
    """Its bytes from an offset on; again after a cut, or from where another process ended."""
    digest: Callable[[], Digest]
    """Of the whole, once all of it was taken. Raises WrongBytes: then nothing of it may be kept."""


Took: TypeAlias = Callable[[Digest, Content], None]
"""Hears the key of an action, and the layer that it made."""


class Absorber(Protocol):
    """Takes layers as they come over a network, several at once."""

    def absorb(self, layers: Sequence[Unproven], done: Took, listener: Listener) -> None:
        """Take layers that nobody has proven; `done` hears of each as it is in.

        What goes wrong with one does not stop those under way.
        """


class Output(Protocol):
    """An OCI layout, an archive, a Docker engine, a registry."""

    @property
    def absorber(self) -> Absorber | None:
        """Who takes layers as they come; None where they are taken one after the other.

        Then what they are made of is brought to this machine first: fetched in parallel, and kept.
        """

    def lacks(self, image: Image) -> tuple[Layer, ...]:
        """The layers whose bytes this output would ask for. Moves nothing."""

    def refuses(self, image: Image) -> tuple[OvenproofError, ...]:
        """Why this place cannot take the image, whatever is sent: known before anything moves."""

    def write(
        self, image: Image, reference: str, open_layer: OpenLayer, listener: Listener
    ) -> Written:
        """Take the image under a reference. All or nothing: a kill leaves what was there before."""


def heard(layer: Layer, open_layer: OpenLayer, listener: Listener) -> Iterator[bytes]:
    """A layer's bytes, while a listener hears how far they are."""
    listener(Started(name=layer.title, total=layer.content.size))
    for chunk in open_layer(layer):
        listener(Advanced(name=layer.title, size=len(chunk)))
        yield chunk
    listener(Finished(name=layer.title))
