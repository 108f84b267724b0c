"""Requests to registries: with a login where they ask for one, tried again, redirected by hand.

A login goes to the registry itself and to nobody that it sends us on to. Plain http is spoken to
loopback, and to hosts that a person has named; a registry can talk nobody else into it.
"""

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from types import MappingProxyType
from typing import TypeAlias

import httpx2

from ovenproof.errors import NoAccess
from ovenproof.registry.auth import Actions, Auth
from ovenproof.registry.reference import Repository
from ovenproof.registry.refusal import Unanswered, unreachable, where

LONGEST_WAIT_S = 60.0
"""Who is told to wait longer is not kept waiting: a person decides."""
_REDIRECTS = 5
_REDIRECTED = frozenset({301, 302, 303, 307, 308})
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_ANSWER_LIMIT = 16 << 20
"""Of what is read whole. Manifests end at 4 MiB nearly everywhere."""
_CONNECT_S, _WRITE_S, _READ_S = 10.0, 60.0, 60.0
_DIGESTED = 50_000_000
"""Bytes in a second that even a slow registry hashes and stores, while we wait for its answer."""

Body: TypeAlias = Callable[[], Iterable[bytes]]
"""Opens what is sent; more than once where a login is asked for first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One question to a registry."""

    method: str
    url: str
    repository: Repository
    actions: Actions = "pull"
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    body: Body | None = None
    size: int | None = 0
    """Bytes of the body; None: they come in pieces, and may end early."""
    heavy: int = 0
    """Bytes that the registry may have to look through before it answers."""
    also: tuple[Repository, ...] = ()
    """Repositories that are read from, too: to mount."""


class Transport:
    """Asks registries. May be used by many threads at once."""

    def __init__(
        self,
        http: httpx2.Client,
        auth: Auth,
        *,
        insecure: frozenset[str] = frozenset(),
        trusted: frozenset[str] = frozenset(),
        waits_s: Sequence[float],
    ) -> None:
        """`trusted` are hosts with certificates of their own: there, https is spoken at once."""
        self.auth = auth
        self._http = http
        self._insecure = insecure
        self._waits_s = tuple(waits_s)
        self._schemes: dict[str, str] = dict.fromkeys(trusted, "https")
        self._lock = threading.Lock()

    @property
    def patience(self) -> int:
        """How many faults in a row are borne."""
        return len(self._waits_s)

    def base(self, repository: Repository) -> str:
        """`https://HOST`, or `http://HOST` where that may be."""
        server = repository.server
        plain = may_plain(server, self._insecure)
        return f"{self._schemes.get(server, 'http' if plain else 'https')}://{server}"

    def ask(self, call: Call) -> httpx2.Response:
        """The answer, read whole; asked again while there may be a better one.

        Only for what does no harm when it is done twice. Raises what tells why nobody answers.
        """
        attempt = 0
        while True:
            try:
                response = self.once(call)
                if response.status_code not in _AGAIN or not self.wait(attempt, response):
                    return response
            except Unanswered:
                if not self.wait(attempt):
                    raise
            attempt += 1

    def once(self, call: Call) -> httpx2.Response:
        """The answer, read whole. Raises Unanswered where another try may help."""
        with self.stream(call) as response:
            consumed = response.is_stream_consumed  # a 401 was read for what it asks
            body = response.content if consumed else b""
            for chunk in () if consumed else response.iter_raw():
                body += chunk
                if len(body) > _ANSWER_LIMIT:
                    break  # what is cut here is found to be wrong by whoever reads it
            return httpx2.Response(
                response.status_code,
                headers=_plain_headers(response.headers),
                content=body,
                request=response.request,
            )

    @contextmanager
    def stream(self, call: Call) -> Iterator[httpx2.Response]:
        """The answer, its body still to come. What breaks inside is told as `once` tells it."""
        response = self._answer(call)
        try:
            yield response
        except httpx2.HTTPError as error:
            raise unreachable(error, call.repository, response.request.url) from error
        finally:
            response.close()

    def wait(self, attempt: int, response: httpx2.Response | None = None) -> bool:
        """Wait before another try, as long as the registry asks for. False: no more tries."""
        if attempt >= len(self._waits_s):
            return False
        # Full jitter: many machines that were refused at once do not come back at once.
        pause_s = random.uniform(0, self._waits_s[attempt])  # noqa: S311  no secret hangs on it
        if response is not None:
            told_s = retry_after_s(response)
            if told_s > LONGEST_WAIT_S:
                return False
            pause_s = max(pause_s, told_s)
        time.sleep(pause_s)
        return True

    def _answer(self, call: Call) -> httpx2.Response:
        """The answer to a call, after any redirects."""
        method, url = call.method, self._proper(httpx2.URL(call.url), call.repository)
        for _redirect in range(_REDIRECTS + 1):
            response = self._with_login(call, method, url)
            location = response.headers.get("Location")
            if response.status_code not in _REDIRECTED or not location:
                return response
            response.close()
            url = self._proper(response.request.url.join(location), call.repository)
            if response.status_code == 303 and method != "HEAD":
                method = "GET"
        raise NoAccess(
            "the registry sends us from one place to the next",
            subject=call.repository,
            where=where(url),
            got=f"more than {_REDIRECTS} redirects",
            hint="look at the address that the registry, or a proxy before it, gives to itself",
        )

    def _with_login(self, call: Call, method: str, url: httpx2.URL) -> httpx2.Response:
        """The answer to one request; refused for want of a login, it is asked again with one."""
        if not self._is_own(url, call.repository):
            return self._send(call, method, url, None)
        repository, actions, also = call.repository, call.actions, call.also
        for _attempt in range(3):
            used = self.auth.header(repository, actions, also=also)
            response = self._send(call, method, url, used)
            if response.status_code != 401:
                break
            try:
                response.read()
                helps = self.auth.challenged(repository, actions, response, used, also=also)
            except httpx2.HTTPError as error:
                raise unreachable(error, repository, url) from error
            finally:
                response.close()
            if not helps:
                break
        return response

    def _send(self, call: Call, method: str, url: httpx2.URL, login: str | None) -> httpx2.Response:
        """One request over the wire."""
        headers = {"Accept-Encoding": "identity", **call.headers}
        if login is not None:
            headers["Authorization"] = login
        content: Iterable[bytes] | None = None
        if method not in ("GET", "HEAD"):
            if call.size is not None:
                headers["Content-Length"] = str(call.size)
            content = call.body() if call.body is not None else None
        timeout = httpx2.Timeout(
            connect=_CONNECT_S, write=_WRITE_S, read=_READ_S + call.heavy / _DIGESTED, pool=None
        )
        first = self._schemes.get(call.repository.server) is None and url.scheme == "http"
        request = self._http.build_request(
            method, url, headers=headers, content=content, timeout=timeout
        )
        try:
            response = self._http.send(request, stream=True)
        except httpx2.RemoteProtocolError as error:
            if first and self._settle(call.repository, url, doubt=True):
                return self._send(call, method, url.copy_with(scheme="https"), login)
            raise unreachable(error, call.repository, url) from error
        except httpx2.HTTPError as error:
            raise unreachable(error, call.repository, url) from error
        if first and self._settle(call.repository, url, doubt=response.status_code == 400):
            response.close()
            return self._send(call, method, url.copy_with(scheme="https"), login)
        return response

    def _settle(self, repository: Repository, url: httpx2.URL, *, doubt: bool) -> bool:
        """Remember how a host that may be spoken to plainly speaks. True: it wants https.

        Never the other way: who speaks https is not spoken to in plain after a fault.
        """
        if not self._is_own(url, repository):
            return False
        with self._lock:
            if doubt and repository.server not in self._schemes:
                asked = url.copy_with(scheme="https", path="/v2/", query=None)
                try:
                    self._http.head(asked, timeout=_CONNECT_S)
                    self._schemes[repository.server] = "https"
                except httpx2.HTTPError as error:
                    fault = unreachable(error, repository, asked)
                    if "trusted" in fault.what:
                        raise fault from error
            return self._schemes.setdefault(repository.server, "http") == "https"

    def _is_own(self, url: httpx2.URL, repository: Repository) -> bool:
        return url.origin == httpx2.URL(f"{url.scheme}://{repository.server}").origin

    def _proper(self, url: httpx2.URL, repository: Repository) -> httpx2.URL:
        """The address to ask. Raises NoAccess where it would be plain http without leave."""
        own = httpx2.URL(self.base(repository))
        if self._is_own(url, repository) or (
            # Behind a proxy that ends TLS, a registry may believe that it speaks http.
            url.scheme == "http" and url.host == own.host and url.port is None
        ):
            return url.copy_with(scheme=own.scheme, port=own.port)
        plain = may_plain(url.netloc.decode(), self._insecure)
        if url.scheme == "https" or (url.scheme == "http" and plain):
            return url
        raise NoAccess(
            "the registry sends us on to a place without https",
            subject=repository,
            where=where(url),
            hint="let the registry, or the proxy before it, call itself https",
        )


def may_plain(host: str, insecure: frozenset[str]) -> bool:
    """Whether a HOST[:PORT] may be spoken to over plain http."""
    name = httpx2.URL(f"http://{host}").host
    if host in insecure or name in insecure or name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def retry_after_s(response: httpx2.Response) -> float:
    """How long to wait, in seconds. A date is compared with the server's own clock, not ours."""
    told = response.headers.get("Retry-After", "").strip()
    if told.isdecimal():
        return float(told)
    try:
        until = parsedate_to_datetime(told)
        now = parsedate_to_datetime(response.headers.get("Date", ""))
    except ValueError:
        return 0.0
    return max(0.0, (until.replace(tzinfo=UTC) - now.replace(tzinfo=UTC)).total_seconds())


def _plain_headers(headers: httpx2.Headers) -> list[tuple[str, str]]:
    """Without what speaks of the wire: the body is at hand now."""
    gone = {"content-encoding", "transfer-encoding"}
    return [(name, value) for name, value in headers.multi_items() if name.lower() not in gone]
