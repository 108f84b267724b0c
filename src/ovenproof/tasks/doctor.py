"""`invoke doctor`: what this machine can do, and what is missing for the rest."""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from invoke import Context

from ovenproof.errors import OvenproofError
from ovenproof.events import silent
from ovenproof.tasks.shell import DEBIAN_MIRROR, answer, cache_folder, project, refused, say, verb


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    name: str
    fine: bool
    needed_for: str
    detail: str
    hint: str = ""


@verb(name="doctor", dry=True, help={"json": "for machines"})
def doctor(_context: Context, json: bool = False) -> None:
    """Look at this machine: what works, what is missing, and what that is needed for."""
    from ovenproof.tasks.screen import table

    found = [look() for look in _LOOKS]
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


def _outcomes() -> Finding:
    from ovenproof.core.digest import Digest
    from ovenproof.tasks.outcomes import FORMS, OUTCOMES, remote_outcomes

    name, needed_for = "remote outcomes", "building what others have proven"
    try:
        remote = remote_outcomes(silent)
        if remote is not None:
            remote.ask(Digest.of(b""))
    except (OvenproofError, OSError) as error:
        fault = refused(error) if isinstance(error, OSError) else error
        return Finding(
            name=name,
            fine=False,
            needed_for=needed_for,
            detail=f"set, but {fault.got or fault.what}",
            hint=fault.hint or f"set {OUTCOMES} to {FORMS}",
        )
    if remote is None:
        detail = f"{OUTCOMES} is not set"
    else:
        detail = f"{remote.name} answers, " + ("written too" if remote.writes else "only read")
    return Finding(name=name, fine=True, needed_for=needed_for, detail=detail)


def _registry() -> Finding:
    """Who we would be to the catalogue's registry. Asks no registry, but maybe a login helper."""
    from ovenproof.registry.credentials import Credentials
    from ovenproof.registry.reference import parse_repository

    name, needed_for = "registry login", "push, and what is not public"
    try:
        repository = parse_repository(project().catalogue().repository)
    except OvenproofError:
        return Finding(
            name=name,
            fine=True,
            needed_for=needed_for,
            detail="the catalogue's repository is at no registry: push --to names one",
        )
    try:
        login = Credentials(os.environ, Path.home()).find(repository)
    except OvenproofError as error:
        return Finding(
            name=name,
            fine=False,
            needed_for=needed_for,
            detail=f"{repository.host}: {error.what}",
            hint=error.hint or error.what,
        )
    return Finding(
        name=name,
        fine=login is not None,
        needed_for=needed_for,
        detail=f"{repository.host}: {f'from {login.origin}' if login else 'none'}",
        hint=f"docker login {repository.host}",
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


_LOOKS: tuple[Callable[[], Finding], ...] = (
    _python,
    _store,
    _packages,
    _debian,
    _registry,
    _outcomes,
    _apt,
    _engine,
    _gpu,
    _skopeo,
    _umoci,
)
