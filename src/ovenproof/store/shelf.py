"""A shelf: who knows where the bytes of a body lie.

A shelf has one method. A recipe together with a shelf that knows all its bodies is *prepared*: its
bytes can be produced, from any offset, as often as anybody asks.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol, TypeAlias

from ovenproof.core.content import LocalFile
from ovenproof.core.digest import Content
from ovenproof.core.layer import Recipe, Verbatim
from ovenproof.errors import LockAgain, NoAccess, TryAgain, WrongBytes


class Absent(TryAgain):
    """This shelf does not know these bytes. Who can, makes them again; else a person calls again.

    That happens to bytes which somebody removes while they are needed, and to rotten ones.
    """

    def __init__(self, content: Content) -> None:
        super().__init__(
            "something that this needs is no longer in the store",
            subject=content.digest,
            expected=f"{content.size} bytes",
            hint="run the same command again: what is missing is fetched or made again",
        )


class Shelf(Protocol):
    """Opens content that it knows. The caller closes the stream."""

    def open(self, content: Content, offset: int = 0) -> BinaryIO:
        """The bytes from `offset` on. Raises Absent for content that is not here."""


@dataclass(frozen=True, slots=True)
class Openers:
    """A shelf made of a table: content -> a function that opens it from an offset."""

    table: dict[Content, Callable[[int], BinaryIO]]

    def open(self, content: Content, offset: int = 0) -> BinaryIO:
        try:
            opener = self.table[content]
        except KeyError:
            raise Absent(content) from None
        return opener(offset)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A recipe whose bytes are within reach."""

    recipe: Recipe | Verbatim
    shelf: Shelf


Chunks: TypeAlias = Iterator[bytes]


def open_local(file: LocalFile, offset: int) -> BinaryIO:
    """A local file from an offset; refused when it is not the size that was seen before."""
    try:
        stream = file.path.open("rb", buffering=0)
    except FileNotFoundError as error:
        raise LockAgain(
            "a locked file of the weights is not there",
            subject=file.path,
            expected=f"{file.size} bytes (models.lock)",
            got=error.strerror,
            hint="bring it back; without it nothing but a plan can be made",
        ) from error
    except OSError as error:
        raise NoAccess(
            "the weights cannot be read",
            subject=file.path,
            got=error.strerror,
            hint="make them readable for the user who builds",
        ) from error
    size = stream.seek(0, 2)
    if size != file.size:
        stream.close()
        raise WrongBytes(
            "a file of the weights has changed",
            subject=file.path,
            expected=f"{file.size} bytes (locked)",
            got=f"{size} bytes",
            hint="run `invoke lock --model NAME` to lock what is there now",
        )
    stream.seek(offset)
    return stream
