"""Where weights come from. A source is asked once what there is; later it only gives bytes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from ovenproof.core.content import Body
from ovenproof.core.digest import Json
from ovenproof.core.lock import LockedFile, ModelLock
from ovenproof.core.plan import Supply
from ovenproof.events import Listener
from ovenproof.store.shelf import Shelf


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What a source has: exact files, where they come from, and what the checkpoint says."""

    origin: Mapping[str, Json]
    files: tuple[LockedFile, ...]
    facts: Mapping[str, Json]


class Source(Protocol):
    """A local folder, a Python package that carries a model, …"""

    def resolve(self, listener: Listener) -> Resolved:
        """Ask the world once, so that the answer can be locked."""

    def supplies(self, lock: ModelLock) -> tuple[Supply, ...]:
        """What must be fetched before the locked files can be read; nothing if they are here."""

    def body(self, file: LockedFile) -> Body:
        """A locked file, by reference."""

    def shelf(self, lock: ModelLock, listener: Listener) -> Shelf:
        """Opens the locked files' contents, all supplies being in the store."""
