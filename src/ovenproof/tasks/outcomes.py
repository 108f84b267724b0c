"""The remote store of outcomes that a setting names: read from, and written to where that is said.

Nobody is asked here, and no HTTP client is imported, until a build wants to know something.
"""

import ipaddress
import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ovenproof.core.address import shown
from ovenproof.errors import BadCall
from ovenproof.events import Listener
from ovenproof.tasks.surroundings import INSECURE, insecure_registries

if TYPE_CHECKING:
    from ovenproof.registry.hearsay import Hearsay, Records
    from ovenproof.registry.reference import Repository

OUTCOMES, WRITE = "OVENPROOF_OUTCOMES", "OVENPROOF_OUTCOMES_WRITE"
REGISTRY = "registry:"
FORMS = f"https://HOST/PATH of a Bazel cache, or {REGISTRY}HOST/REPOSITORY"


def remote_outcomes(listener: Listener) -> "Hearsay | None":
    """The remote store, where one is set. Raises BadCall for a setting that makes no sense."""
    address = os.environ.get(OUTCOMES, "").strip()
    writes = os.environ.get(WRITE, "").strip()
    if writes not in ("", "0", "1"):
        raise BadCall("a setting makes no sense", subject=WRITE, expected="1, or 0", got=writes)
    return replace(_remote(address, writes == "1"), listener=listener) if address else None


@cache
def _remote(address: str, writes: bool) -> "Hearsay":
    """One for the whole run: a place that fails is asked once, and not once for each image."""
    from ovenproof.registry.hearsay import Hearsay

    return Hearsay(connect=_place(address), name=shown(address), writes=writes)


def _place(address: str) -> "Callable[[], Records]":
    if address.startswith(REGISTRY):
        from ovenproof.registry.reference import parse_repository

        return partial(_repository, parse_repository(address.removeprefix(REGISTRY)))
    _check_address(address)
    return partial(_bazel, address)


def _repository(repository: "Repository") -> "Records":
    from ovenproof.registry.client import Registries
    from ovenproof.registry.outcomes import OutcomesRepository

    registries = Registries(
        environment=os.environ, home=Path.home(), insecure=insecure_registries(), waits_s=()
    )
    return OutcomesRepository(registries.at(repository))


def _bazel(address: str) -> "Records":
    from ovenproof.registry.bazel import BazelCache

    return BazelCache(address, environment=os.environ, home=Path.home())


def _check_address(address: str) -> None:
    """Raises BadCall, and shows nothing of an address in which a password may be anywhere."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise BadCall("this is no address", subject=OUTCOMES, expected=FORMS) from None
    odd = "@" in parts.path or parts.query or parts.fragment
    if parts.scheme not in ("http", "https") or not host or odd:
        raise BadCall("this is no address", subject=OUTCOMES, expected=FORMS)
    named = host if port is None else f"{host}:{port}"
    if parts.scheme == "http" and not (_is_loopback(host) or named in insecure_registries()):
        raise BadCall(
            "plain http would let anybody on the way tell what he likes",
            subject=OUTCOMES,
            got=shown(address),
            hint=f"use https, or add {named} to {INSECURE}",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
