"""Where an image goes. An output says what it lacks before anything moves, then takes it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

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


class Output(Protocol):
    """An OCI layout, an archive, a Docker engine, a registry."""

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
