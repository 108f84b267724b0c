"""This machine, as far as a build may know it."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from ovenproof.core.record import Outcomes
from ovenproof.events import Listener
from ovenproof.store.notes import Notes
from ovenproof.store.seen import Seen
from ovenproof.store.store import Store
from ovenproof.wheels.pip import Pip

if TYPE_CHECKING:
    from ovenproof.hub.cache import HubCache
    from ovenproof.hub.hub import Hub
    from ovenproof.registry.client import Registries


class Closable(Protocol):
    """What has connections."""

    def close(self) -> None:
        """Let them go."""


Shared = TypeVar("Shared", bound=Closable)


class Late(Generic[Shared]):
    """What a run shares, made when it is first asked for, by whichever thread, and once.

    Registries and the hub have to be made late: with them an HTTP client is imported.
    """

    def __init__(self, make: Callable[[], Shared]) -> None:
        self._make = make
        self._lock = Lock()
        self._made: Shared | None = None

    def __call__(self) -> Shared:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def close(self) -> None:
        """Let the connections go, if there are any; who asks again gets others."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None:
            made.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What this machine gives to a build. None of it can change a byte of the result."""

    store: Store
    seen: Seen
    notes: Notes
    pip: Pip
    debian_mirror: str | None
    """Asked instead of the mirrors in the configuration of apt."""
    base_mirror: str | None
    """`HOST[/PREFIX]`, asked instead of a base's own registry."""
    jobs: int
    listener: Listener
    registries: "Callable[[], Registries]"
    """Those it talks to, always the same; an HTTP client is imported when they are asked for."""
    hub: "Callable[[], Hub]"
    """The Hugging Face hub, or the mirror of it that a setting names."""
    hub_cache: "HubCache"
    """Files of the hub that other programs have left on this machine."""
    remote: Outcomes | None = None
    """What others say they found: hearsay, asked for where nothing here knows an outcome."""
