"""This machine, as far as a build may know it."""

from dataclasses import dataclass

from ovenproof.events import Listener
from ovenproof.store.seen import Seen
from ovenproof.store.store import Store
from ovenproof.wheels.pip import Pip


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What this machine gives to a build. None of it can change a byte of the result."""

    store: Store
    seen: Seen
    pip: Pip
    debian_mirror: str | None
    """Asked instead of the mirrors in the configuration of apt."""
    jobs: int
    listener: Listener
