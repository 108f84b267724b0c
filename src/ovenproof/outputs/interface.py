"""Where an image goes. An output says what it lacks before anything moves, then takes it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from ovenproof.core.image import Image, Layer
from ovenproof.events import Advanced, Finished, Listener, Started

OpenLayer: TypeAlias = Callable[[Layer], Iterator[bytes]]
"""Produces a layer's bytes; they are proven against its digest before the last of them is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What an output took."""

    place: str
    """Where the image is now, as a person would type it."""
    moved: int
    """Bytes of layers that had to be written or sent."""
    use: str | None
    """The command that brings it into a Docker engine; None where it is in one already."""


class Output(Protocol):
    """An OCI layout, an archive, a Docker engine."""

    def lacks(self, image: Image) -> tuple[Layer, ...]:
        """The layers whose bytes this output would ask for. Moves nothing."""

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
