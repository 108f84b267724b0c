"""HTTP clients, unless a proxy that every one of them finds for itself cannot be used."""

from importlib.util import find_spec
from typing import Any
from urllib.request import getproxies

import httpx2

from ovenproof.errors import BadCall

_LAST_PORT = 65535


def client(**options: Any) -> httpx2.Client:
    """What httpx2 makes of these. Raises BadCall for a proxy that it cannot use."""
    found = getproxies()
    if "*" not in [host.strip() for host in found.get("no", "").split(",")]:
        for name in ("http", "https", "all"):
            if address := found.get(name):
                _check(f"{name.upper()}_PROXY", address)
    return httpx2.Client(**options)


def _check(variable: str, address: str) -> None:
    """Raise BadCall for a proxy that no client can be made with, or that has no such port."""
    scheme, mark, _rest = address.partition("://")  # the rest may hold a password
    try:
        proxy = httpx2.Proxy(address if mark else f"http://{address}")
        if (proxy.url.port or 0) <= _LAST_PORT and _speaks(proxy.url.scheme):
            return
    except (ValueError, httpx2.InvalidURL):
        pass
    raise BadCall(
        "a proxy that is set cannot be used",
        subject=variable,
        expected="http://HOST:PORT or https://HOST:PORT",
        got=f"{scheme}://…" if mark else "no address",
        hint=f"correct {variable} (or {variable.lower()}), or unset it; SOCKS is not spoken here",
    )


def _speaks(scheme: str) -> bool:
    return not scheme.startswith("socks") or find_spec("socksio") is not None
