"""Where weights come from. A source is asked once what there is; later it only gives bytes."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ovenproof.core.content import Body
from ovenproof.core.digest import Content, Json
from ovenproof.core.lock import Proofs
from ovenproof.core.model_lock import LockedFile, ModelLock
from ovenproof.core.plan import Supply
from ovenproof.events import Listener
from ovenproof.store.shelf import Shelf


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What a source has: exact files, where they come from, and what the checkpoint says."""

    origin: Mapping[str, Json]
    files: tuple[LockedFile, ...]
    facts: Mapping[str, Json]
    layers: Proofs = field(default_factory=dict)
    """Layers that were proven on the way: who reads all of a file need not read it again."""


class Source(Protocol):
    """A local folder, a Python package that carries a model, …"""

    @property
    def homes(self) -> tuple[str, ...]:
        """Repositories of registries that may have our layers already, as `HOST/NAME`."""

    def resolve(self, listener: Listener) -> Resolved:
        """Ask the world once, so that the answer can be locked."""

    def supplies(self, lock: ModelLock) -> tuple[Supply, ...]:
        """What must be fetched before the locked files can be read; nothing if they are here."""

    def distant(self, lock: ModelLock) -> Mapping[str, Supply]:
        """Path -> what its bytes are read from over a network, unless somebody brings it before."""

    def bring(self, lock: ModelLock, wanted: Collection[Content], listener: Listener) -> None:
        """Fetch some of what is distant into the store. Raises all faults at once."""

    def body(self, file: LockedFile) -> Body:
        """A locked file, by reference."""

    def shelf(self, lock: ModelLock, listener: Listener) -> Shelf:
        """Opens the locked files' contents, all supplies being in the store."""
