"""Whom we believe over TLS: what the machine believes, and what Docker and podman are told.

`certs.d/HOST[:PORT]/` holds CAs (`*.crt`) and, for who wants to know us, `*.cert` with `*.key`.
"""

import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx2

from ovenproof.registry.refusal import broken_trust


def machine_trust(environment: Mapping[str, str]) -> ssl.SSLContext:
    """What this machine believes. Raises BadFile where SSL_CERT_FILE cannot be read."""
    context = ssl.create_default_context()
    file, folder = environment.get("SSL_CERT_FILE"), environment.get("SSL_CERT_DIR")
    for place, is_folder in ((file, False), (folder, True)):
        if place:
            try:
                context.load_verify_locations(
                    cafile=None if is_folder else place, capath=place if is_folder else None
                )
            except (OSError, ssl.SSLError) as error:
                raise broken_trust(place, error) from error
    return context


def places(home: Path) -> tuple[Path, ...]:
    """Where Docker and podman look."""
    return (
        home / ".config" / "containers" / "certs.d",
        home / ".docker" / "certs.d",
        Path("/etc/containers/certs.d"),
        Path("/etc/docker/certs.d"),
    )


def folders(below: Sequence[Path]) -> dict[str, tuple[Path, ...]]:
    """HOST[:PORT] -> the folders that hold something for it."""
    found: dict[str, tuple[Path, ...]] = {}
    for place in below:
        for folder in _listed(place):
            if _listed(folder):
                found[folder.name] = (*found.get(folder.name, ()), folder)
    return found


class Trusting(httpx2.BaseTransport):
    """Connections to HOST[:PORT] with certificates of its own, read when it is first asked.

    They are for that port only, which a client's pattern cannot say of https's own: at another
    port of the host is somebody else, who shall not be told who we are.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        host: str,
        own: Sequence[Path],
        limits: httpx2.Limits,
    ) -> None:
        self._environment = environment
        self._port = httpx2.URL(f"https://{host}").port
        self._own = tuple(own)
        self._limits = limits
        self._lock = threading.Lock()
        self._inner: dict[bool, httpx2.HTTPTransport] = {}

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        meant = request.url.port == self._port
        with self._lock:
            if meant not in self._inner:
                context = machine_trust(self._environment)
                for folder in self._own if meant else ():
                    add(context, folder)
                self._inner[meant] = httpx2.HTTPTransport(verify=context, limits=self._limits)
        return self._inner[meant].handle_request(request)

    def close(self) -> None:
        for inner in self._inner.values():
            inner.close()


def add(context: ssl.SSLContext, folder: Path) -> None:
    """Believe a folder's CAs, and be who its client certificate says. Raises BadFile."""
    try:
        for path in sorted(folder.glob("*.crt")):
            context.load_verify_locations(cafile=path)
        for path in sorted(folder.glob("*.cert")):
            context.load_cert_chain(path, path.with_suffix(".key"))
    except (OSError, ssl.SSLError) as error:
        raise broken_trust(folder, error) from error


def mounts(
    environment: Mapping[str, str], below: Sequence[Path], limits: httpx2.Limits
) -> Iterator[tuple[str, httpx2.BaseTransport]]:
    """What to give to an httpx2 client: (pattern, transport) for each host with its own."""
    for host, own in sorted(folders(below).items()):
        yield f"https://{host}", Trusting(environment, host, own, limits)


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
