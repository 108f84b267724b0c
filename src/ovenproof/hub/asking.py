"""Questions to a hub: redirected by hand, because of who may see the token.

It goes to the endpoint's own origin and to nobody that the hub sends us on to. Where a file is sent
on to is remembered for as long as it works: the hub counts questions, and the place behind it does
not.
"""

import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import ip_address
from urllib.parse import quote

import httpx2

from ovenproof.hub.files import Located
from ovenproof.hub.place import Place
from ovenproof.hub.refusal import astray, is_at, offline
from ovenproof.net.client import client

_REDIRECTS = 5
_REDIRECTED = frozenset({301, 302, 303, 307, 308})
_TIMEOUT = httpx2.Timeout(60.0, connect=10.0, pool=None)
_WEB = ("http", "https")
_OF_THE_BODY = frozenset({"content-encoding", "content-length", "transfer-encoding"})
_CONNECTIONS = httpx2.Limits(max_connections=None, max_keepalive_connections=32)
NEAR = "an address of this machine or of its own network"
_PAGE = 16 << 20
"""More bytes than a thousand files take in a listing, whatever they are called."""
_PAGE_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunked:
    """Where a file is in the hub's chunked storage."""

    hash: str
    refresh: str
    """Where the hub gives a token for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What opens the chunked storage, for a while."""

    storage: str
    token: str = field(repr=False)
    until: int
    """In seconds of Unix time."""


class Asking:
    """Asks one hub for files. May be used by many threads at once."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._own = httpx2.URL(place.endpoint)
        self._http = client(
            follow_redirects=False,
            timeout=_TIMEOUT,
            limits=_CONNECTIONS,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            headers={"User-Agent": "ovenproof"},
        )
        self._places: dict[Located, httpx2.URL] = {}
        self._chunked: dict[Located, Chunked] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        self._http.close()

    def ask(self, at: Located, first: int, last: int) -> httpx2.Response:
        """The answer to a GET from byte `first` to `last`, its body still to come.

        The caller closes it. Raises what httpx2 raises, NoAccess where we are led astray, and
        TryAgain where nobody is to be asked.
        """
        if known := self._places.get(at):
            response = self._get(at, known, (first, last))
            if response.status_code in (200, 206):
                return response
            response.close()  # a signature ends after a while: the hub gives another
            self.forget(at)
        url = httpx2.URL(address(self.place, at))
        response = self._get_there(at, url, (first, last), heard=lambda one: self._learn(at, one))
        if response.status_code in (200, 206) and not self.is_own(response.request.url):
            with self._lock:
                self._places[at] = response.request.url
        return response

    def page(self, subject: str, url: httpx2.URL) -> httpx2.Response:
        """The answer to a GET of some JSON, read to its end. Raises what `ask` raises.

        ValueError for one that has no end, or a late one.
        """
        until = time.monotonic() + _PAGE_S
        body = bytearray()
        with closing(self._get_there(subject, url)) as response:
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > _PAGE or time.monotonic() > until:
                    raise ValueError(f"an answer without an end: {len(body)} bytes so far")
        headers = {key: one for key, one in response.headers.items() if key not in _OF_THE_BODY}
        return httpx2.Response(
            response.status_code, headers=headers, content=bytes(body), request=response.request
        )

    def forget(self, at: Located) -> None:
        """Ask the hub itself again, next time."""
        with self._lock:
            self._places.pop(at, None)

    def chunked(self, at: Located) -> Chunked | None:
        """What the hub said of its chunked storage when it was asked for the file."""
        return self._chunked.get(at)

    def access(self, chunked: Chunked) -> Access:
        """Ask the hub for a token. Raises what httpx2 raises, KeyError and ValueError."""
        url = httpx2.URL(chunked.refresh)
        if not self.is_own(url):
            raise ValueError("not an address of the hub itself")
        response = self._get("the chunked storage", url)
        response.close()
        headers = response.raise_for_status().headers
        return Access(
            storage=headers["X-Xet-Cas-Url"],
            token=headers["X-Xet-Access-Token"],
            until=int(headers["X-Xet-Token-Expiration"]),
        )

    def _learn(self, at: Located, response: httpx2.Response) -> None:
        """Note where the file is in the chunked storage, if the hub itself says so."""
        digest = response.headers.get("X-Xet-Hash", "")
        refresh = response.links.get("xet-auth", {}).get("url", "")
        if digest and refresh and self.is_own(response.request.url):
            with self._lock:
                self._chunked[at] = Chunked(hash=digest, refresh=refresh)

    def _get_there(
        self,
        subject: object,
        url: httpx2.URL,
        span: tuple[int, int] | None = None,
        heard: Callable[[httpx2.Response], None] = lambda _redirect: None,
    ) -> httpx2.Response:
        """The answer of whoever we are sent on to in the end; the redirects are `heard`."""
        for _redirect in range(_REDIRECTS + 1):
            response = self._get(subject, url, span)
            location = response.headers.get("Location")
            if response.status_code not in _REDIRECTED or not location:
                return response
            response.close()
            heard(response)
            url = self.follow(subject, response.request.url, location)
        raise astray(self.place, subject, url, f"more than {_REDIRECTS} redirects")

    def follow(self, at: object, before: httpx2.URL, location: str) -> httpx2.URL:
        """Where an answer sends us. Raises NoAccess where that is no place to go to."""
        try:
            url = before.join(location)
        except (httpx2.InvalidURL, ValueError):
            raise astray(self.place, at, before, "an address that is none") from None
        if url.scheme not in _WEB or not url.host:
            raise astray(self.place, at, url, "not an address of the web")
        if before.scheme == "https" and url.scheme == "http":
            raise astray(self.place, at, url, "plain http after https")
        if is_near(url) and not is_near(self._own):
            raise astray(self.place, at, url, NEAR)
        return url

    def _get(
        self, subject: object, url: httpx2.URL, span: tuple[int, int] | None = None
    ) -> httpx2.Response:
        if self.place.offline:
            raise offline(subject)
        headers = {"Accept-Encoding": "identity"}
        if span is not None:
            headers["Range"] = f"bytes={span[0]}-{span[1]}"
        if self.place.token is not None and self.is_own(url):
            headers["Authorization"] = f"Bearer {self.place.token}"
        return self._http.send(self._http.build_request("GET", url, headers=headers), stream=True)

    def is_own(self, url: httpx2.URL) -> bool:
        """Whether somebody there may see the token."""
        return is_at(self.place, url)


def address(place: Place, at: Located) -> str:
    """Where the hub itself gives the file."""
    return (
        f"{place.endpoint}/{quote(at.model)}/resolve/{quote(at.commit, safe='')}/{quote(at.path)}"
    )


def is_near(url: httpx2.URL) -> bool:
    """Whether an address is one of this machine, or of the link that it is on.

    What answers there trusts whoever can ask, so no hub elsewhere may choose what is asked there.
    """
    host = url.host.lower().rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        found = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    return found.is_loopback or found.is_link_local or found.is_unspecified
