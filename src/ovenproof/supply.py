"""Bringing supplies into the store: wheels by pip, Debian packages from a mirror.

Imported only when something is missing: an HTTP client takes longer to import than most builds
take in all.
"""

from collections.abc import Callable, Collection
from functools import partial

from ovenproof.bases import debian_fetch, debian_sources
from ovenproof.bases.debian_sources import AptSource
from ovenproof.core.flavour import Built, Flavour
from ovenproof.core.image_lock import ImageLock, LockedWheel
from ovenproof.core.plan import Supply
from ovenproof.errors import OvenproofError, raise_all
from ovenproof.machine import Machine
from ovenproof.stack import target
from ovenproof.wheels import fetch as wheel_fetch


def fetch(
    supplies: Collection[Supply], machine: Machine, flavour: Flavour, lock: ImageLock
) -> None:
    """Bring supplies into the store, verified. Raises all faults at once."""
    wheels = [LockedWheel(item.name, item.content) for item in supplies if item.kind == "wheel"]
    digests = {item.content.digest for item in supplies if item.kind == "deb"}
    debs = [deb for deb in lock.debs if deb.content.digest in digests]
    faults: list[OvenproofError] = []
    if wheels:
        faults += _caught(
            partial(
                wheel_fetch.fetch,
                wheels,
                machine.store,
                target=target(flavour),
                pip=machine.pip,
                indexes=flavour.python.indexes if isinstance(flavour, Built) else {},
                listener=machine.listener,
                jobs=machine.jobs,
            )
        )
    if debs:
        faults += _caught(
            partial(
                debian_fetch.fetch,
                debs,
                machine.store,
                mirrors=debian_sources.mirrors(debian_mirrors(machine)),
                listener=machine.listener,
            )
        )
    raise_all(faults)


def debian_mirrors(machine: Machine) -> tuple[AptSource, ...]:
    """The mirror that a setting names, else those of this machine's apt."""
    if machine.debian_mirror:
        return debian_sources.from_setting(machine.debian_mirror)
    return debian_sources.machine_sources()


def _caught(call: Callable[[], None]) -> list[OvenproofError]:
    try:
        call()
    except OvenproofError as fault:
        return [fault]
    return []
