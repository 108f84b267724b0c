"""`invoke doctor`: what this machine can do, and what is missing for the rest."""

import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from invoke import Context

from ovenproof.errors import OvenproofError
from ovenproof.tasks.asked import Finding, hub, outcomes, registry
from ovenproof.tasks.shell import answer, is_dry, say, verb
from ovenproof.tasks.surroundings import DEBIAN_MIRROR, cache_folder


@verb(name="doctor", dry=True, help={"json": "for machines"})
def doctor(context: Context, json: bool = False) -> None:
    """Look at this machine: what works, what is missing, and what that is needed for.

    Where outcomes may be written a probe is; with --dry nothing is.
    """
    from ovenproof.tasks.screen import table

    proof = partial(outcomes, writes=not is_dry(context))
    looks: list[Callable[[], Finding]] = [*_INPUTS, hub, registry, proof, *_PROGRAMS]
    found = [look() for look in looks]
    if json:
        answer([{name: getattr(item, name) for name in item.__slots__} for item in found])
        return
    rows: list[tuple[str, ...]] = [("", "WHAT", "NEEDED FOR", "FOUND")]
    for item in found:
        rows.append(("ok" if item.fine else "--", item.name, item.needed_for, item.detail))
    say(table(rows))
    for item in found:
        if not item.fine:
            say(f"hint: {item.name}: {item.hint}")


def _python() -> Finding:
    return Finding(
        name="Python",
        fine=sys.version_info >= (3, 11),
        needed_for="everything",
        detail=sys.version.split()[0],
        hint="install Python 3.11 or newer",
    )


def _store() -> Finding:
    root = cache_folder()
    place = next(folder for folder in (root, *root.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    writable = os.access(place, os.W_OK)
    return Finding(
        name="store",
        fine=writable and free > 5e9,
        needed_for="build",
        detail=f"{root}, {free / 1e9:.0f} GB free" + ("" if writable else ", not writable"),
        hint="set OVENPROOF_CACHE to a folder with 5 GB of room that you may write",
    )


def _packages() -> Finding:
    from ovenproof.wheels.pip import Pip, PipIndex

    try:
        options = PipIndex.ask(Pip(environment=os.environ)).options
    except OvenproofError as error:
        return Finding(
            name="pip", fine=False, needed_for="fetching wheels", detail=error.what, hint=error.what
        )
    mirrors = "a mirror is configured" if "index-url" in options else "its default index"
    return Finding(name="pip", fine=True, needed_for="fetching wheels", detail=mirrors)


def _debian() -> Finding:
    from ovenproof.bases.debian_sources import machine_sources

    archives = {source.archive for source in machine_sources()}
    setting = os.environ.get(DEBIAN_MIRROR)
    return Finding(
        name="Debian mirror",
        fine=bool(setting or archives),
        needed_for="fetching Debian packages",
        detail=f"{DEBIAN_MIRROR} is set" if setting else ", ".join(sorted(archives)) or "none",
        hint=f"set {DEBIAN_MIRROR} to a mirror's address",
    )


def _apt() -> Finding:
    return _program("apt-get", "locking a flavour", "lock on Debian, Ubuntu, or in a container")


def _engine() -> Finding:
    from ovenproof.engine import connect, version_of

    try:
        version = version_of(connect(os.environ))
    except OvenproofError as error:
        return Finding(
            name="Docker engine",
            fine=False,
            needed_for="--output docker, test, run",
            detail=error.got or error.what,
            hint=error.hint or "",
        )
    return Finding(
        name="Docker engine", fine=True, needed_for="--output docker, test, run", detail=version
    )


def _gpu() -> Finding:
    nodes = sorted(path.name for path in Path("/dev").glob("nvidia[0-9]*"))
    return Finding(
        name="NVIDIA GPU",
        fine=bool(nodes),
        needed_for="testing images whose flavour needs one",
        detail=", ".join(nodes) or "none",
        hint="test those images on a machine that has one; building needs none",
    )


def _program(name: str, needed_for: str, hint: str) -> Finding:
    place = shutil.which(name)
    return Finding(
        name=name, fine=place is not None, needed_for=needed_for, detail=place or "none", hint=hint
    )


def _skopeo() -> Finding:
    return _program("skopeo", "the suite", "./inv check --with-system installs it")


def _umoci() -> Finding:
    return _program("umoci", "the suite", "./inv check --with-system installs it")


_INPUTS: tuple[Callable[[], Finding], ...] = (_python, _store, _packages, _debian)
_PROGRAMS: tuple[Callable[[], Finding], ...] = (_apt, _engine, _gpu, _skopeo, _umoci)
