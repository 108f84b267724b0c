"""What a call finds around it: the project, the settings, and what this machine gives."""

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ovenproof.events import Listener, silent
from ovenproof.tasks.shell import at_end, interruptible, number

if TYPE_CHECKING:
    from ovenproof.hub.hub import Hub
    from ovenproof.machine import Machine
    from ovenproof.project import Project
    from ovenproof.registry.client import Registries

CACHE = "OVENPROOF_CACHE"
DEBIAN_MIRROR = "OVENPROOF_DEBIAN_MIRROR"
BASE_MIRROR = "OVENPROOF_BASE_URL"
JOBS = "OVENPROOF_JOBS"
INSECURE = "OVENPROOF_INSECURE_REGISTRIES"


def project(*, saves: bool = True) -> "Project":
    """The project that the current folder belongs to; `saves` says whether it may write locks."""
    from ovenproof.project import Project

    return Project.find(Path.cwd(), packaged=packaged_images(), saves=saves)


def packaged_images() -> Path:
    """The flavours that come with the package: beside its modules, or in its own repository."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "images"
    return installed if installed.is_dir() else package.parents[1] / "images"


def cache_folder() -> Path:
    """Where the store is."""
    if found := os.environ.get(CACHE):
        return Path(found).absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "ovenproof"


def jobs() -> int:
    """How many things may be done at once."""
    text = os.environ.get(JOBS)
    if text is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
    return number(JOBS, text, 1)


def machine(listener: Listener = silent) -> "Machine":
    """What this machine gives to a build."""
    from ovenproof.hub.cache import HubCache
    from ovenproof.hub.place import find_cache
    from ovenproof.machine import Late, Machine
    from ovenproof.store.notes import Notes
    from ovenproof.store.seen import Seen
    from ovenproof.store.store import Store
    from ovenproof.wheels.pip import Pip

    root = cache_folder()
    store, seen, notes = Store(root), Seen(root), Notes(root)
    with suppress(OSError):  # who may not tidy up may still build
        store.sweep()
        seen.sweep()
        notes.sweep()
    shared, hub = Late(registries), Late(_hub)
    at_end(shared.close)
    at_end(hub.close)
    found = Machine(
        store=store,
        seen=seen,
        notes=notes,
        pip=Pip(environment=os.environ),
        debian_mirror=os.environ.get(DEBIAN_MIRROR),
        base_mirror=os.environ.get(BASE_MIRROR),
        jobs=jobs(),
        listener=silent,
        registries=shared,
        hub=hub,
        hub_cache=HubCache(find_cache(os.environ, Path.home()), seen),
    )
    return heard_by(listener, found)


def heard_by(listener: Listener, machine: "Machine") -> "Machine":
    """The same machine with another listener, who can stop it by Ctrl-C."""
    from ovenproof.tasks.outcomes import remote_outcomes

    heard = interruptible(listener)
    return replace(machine, listener=heard, remote=remote_outcomes(heard))


def registries() -> "Registries":
    """The registries that this machine talks to, with the logins of the user who calls."""
    from ovenproof.registry.client import Registries

    return Registries(environment=os.environ, home=Path.home(), insecure=insecure_registries())


def _hub() -> "Hub":
    """The hub that this machine asks, with the token of the user who calls."""
    from ovenproof.hub.hub import Hub
    from ovenproof.hub.place import find_place

    return Hub(find_place(os.environ, Path.home()))


def insecure_registries() -> frozenset[str]:
    """The hosts that may be spoken to over plain http, besides this machine itself."""
    found = (name.strip() for name in os.environ.get(INSECURE, "").split(","))
    hosts = (name.rpartition("://")[2].rstrip("/") for name in found)
    return frozenset(host for host in hosts if host)
