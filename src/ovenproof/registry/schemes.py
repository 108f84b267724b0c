"""https or plain http: how each registry is spoken to, and where it may send us.

Plain http is spoken to loopback, and to hosts that a person has named; a registry can talk nobody
else into it. Who has spoken https is never spoken to in plain again.
"""

import threading
from collections.abc import Callable
from ipaddress import ip_address

import httpx2

from ovenproof.errors import NoAccess
from ovenproof.registry.reference import Repository
from ovenproof.registry.refusal import where


class Schemes:
    """What is known of each host. May be used by many threads at once."""

    def __init__(
        self, *, insecure: frozenset[str] = frozenset(), trusted: frozenset[str] = frozenset()
    ) -> None:
        """`trusted` are hosts with certificates of their own: there, https is spoken at once."""
        self._insecure = insecure
        self._known: dict[str, str] = dict.fromkeys(trusted, "https")
        self._lock = threading.Lock()

    def base(self, repository: Repository) -> str:
        """`https://HOST`, or `http://HOST` where that may be."""
        server = repository.server
        plain = may_plain(server, self._insecure)
        return f"{self._known.get(server, 'http' if plain else 'https')}://{server}"

    def proper(self, url: httpx2.URL, repository: Repository) -> httpx2.URL:
        """The address to ask, where a registry names one. Raises NoAccess for plain without leave.

        The registry itself is asked as it is spoken to; says it https, so it is from then on.
        """
        if is_own(url, repository) and url.scheme == "https":
            with self._lock:
                self._known[repository.server] = "https"
            return url
        own = httpx2.URL(self.base(repository))
        if is_own(url, repository) or (
            # Behind a proxy that ends TLS, a registry may believe that it speaks http.
            url.scheme == "http" and url.host == own.host and url.port is None
        ):
            return url.copy_with(scheme=own.scheme, port=own.port)
        if self.allows(url, repository):
            return url
        raise NoAccess(
            "the registry sends us on to a place without https",
            subject=repository,
            where=where(url),
            hint="let the registry, or the proxy before it, call itself https",
        )

    def allows(self, url: httpx2.URL, repository: Repository) -> bool:
        """Whether the registry may send us there: over https, or to a host that was named.

        Loopback is this machine, on which nobody else has a say: in plain http only who is spoken
        to so himself may send us there.
        """
        if url.scheme != "http":
            return url.scheme == "https" and bool(url.host)
        host = url.netloc.decode()
        if is_loopback(host) and not _is_named(host, self._insecure):
            return self.base(repository).startswith("http:")
        return may_plain(host, self._insecure)

    def is_open(self, url: httpx2.URL, repository: Repository) -> bool:
        """Whether the registry is about to be asked in plain, and has never answered so far."""
        return (
            url.scheme == "http"
            and is_own(url, repository)
            and self._known.get(repository.server) is None
        )

    def settle(self, repository: Repository, speaks_https: Callable[[], bool]) -> bool:
        """Remember how a registry speaks, which is looked up once. True: it wants https."""
        with self._lock:
            if repository.server not in self._known:
                self._known[repository.server] = "https" if speaks_https() else "http"
            return self._known[repository.server] == "https"


def is_own(url: httpx2.URL, repository: Repository) -> bool:
    """Whether an address is at the registry itself, by http or https."""
    if url.scheme not in ("http", "https"):
        return False
    return url.origin == httpx2.URL(f"{url.scheme}://{repository.server}").origin


def may_plain(host: str, insecure: frozenset[str]) -> bool:
    """Whether a person may let us speak plain http to a HOST[:PORT]: by its name, or loopback."""
    return _is_named(host, insecure) or is_loopback(host)


def is_loopback(host: str) -> bool:
    """Whether a HOST[:PORT] is this machine, by what it is called."""
    name = httpx2.URL(f"http://{host}").host
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


def _is_named(host: str, insecure: frozenset[str]) -> bool:
    return host in insecure or httpx2.URL(f"http://{host}").host in insecure
