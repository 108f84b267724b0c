"""Requests to registries: with a login where they ask for one, tried again, redirected by hand.

A login goes to the registry itself and to nobody that it sends us on to.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx2

from ovenproof.errors import NoAccess, OvenproofError
from ovenproof.net.waiting import absent_waits, pause_s, retry_after_s
from ovenproof.registry import wire
from ovenproof.registry.auth import Auth
from ovenproof.registry.reference import Repository
from ovenproof.registry.refusal import Absent, Unanswered, unreachable, where
from ovenproof.registry.schemes import Schemes, is_own
from ovenproof.registry.wire import Call

_LOGINS = 4
"""How often one request is made for want of a login. The last time with a token of its own: others
may use up the one that is shared."""
_REDIRECTS = 5
_REDIRECTED = frozenset({301, 302, 303, 307, 308})
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


class Transport:
    """Asks registries. May be used by many threads at once."""

    def __init__(
        self, http: httpx2.Client, auth: Auth, schemes: Schemes, *, waits_s: Sequence[float]
    ) -> None:
        self.auth = auth
        self._http = http
        self._schemes = schemes
        self._met: set[bytes] = set()
        """Who has answered: if they are gone, they may come back."""
        self._waits_s = tuple(waits_s)

    @property
    def patience(self) -> int:
        """How many faults in a row are borne."""
        return len(self._waits_s)

    def base(self, repository: Repository) -> str:
        """`https://HOST`, or `http://HOST` where that may be."""
        return self._schemes.base(repository)

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
            except Unanswered as fault:
                if not self.wait(attempt, fault=fault):
                    raise
            attempt += 1

    def once(self, call: Call) -> httpx2.Response:
        """The answer, read whole. Raises Unanswered where another try may help."""
        with self.stream(call) as response:
            return wire.whole(response, call.repository)

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

    def wait(
        self,
        attempt: int,
        response: httpx2.Response | None = None,
        *,
        fault: OvenproofError | None = None,
    ) -> bool:
        """Wait before another try, as long as the registry asks for. False: no more tries."""
        absent = response is None and isinstance(fault, Absent)
        if attempt >= (absent_waits(self._waits_s) if absent else len(self._waits_s)):
            return False
        told_s = 0.0 if response is None else retry_after_s(response)
        pause = pause_s(self._waits_s[attempt], told_s)
        if pause is None:
            return False
        time.sleep(pause)
        return True

    def _answer(self, call: Call) -> httpx2.Response:
        """The answer to a call, after any redirects."""
        method, url = call.method, self._proper(None, call.url, call.repository)
        for _redirect in range(_REDIRECTS + 1):
            response = self._with_login(call, method, url)
            location = response.headers.get("Location")
            if response.status_code not in _REDIRECTED or not location:
                return response
            response.close()
            url = self._proper(response.request.url, location, call.repository)
            if response.status_code == 303 and method != "HEAD":
                method = "GET"
        raise _lost(call.repository, where(url), f"more than {_REDIRECTS} redirects")

    def _proper(self, before: httpx2.URL | None, place: str, repository: Repository) -> httpx2.URL:
        """The address to ask. Raises NoAccess where it is none, or plain http without leave."""
        try:
            url = httpx2.URL(place) if before is None else before.join(place)
        except (httpx2.InvalidURL, ValueError):
            raise _lost(repository, where(before or ""), "an address that is none") from None
        return self._schemes.proper(url, repository)

    def _with_login(self, call: Call, method: str, url: httpx2.URL) -> httpx2.Response:
        """The answer to one request; refused for want of a login, it is asked again with one."""
        repository, actions, also = call.repository, call.actions, call.also
        if not is_own(url, repository):
            return self._send(call, method, url, None)
        for attempt in range(_LOGINS):
            own = attempt == _LOGINS - 1
            used = self.auth.header(repository, actions, also=also, own=own)
            response = self._send(call, method, url, used)
            if response.status_code != 401:
                if used is not None and response.status_code < 500:
                    self.auth.worked(repository, actions, used, also=also)
                break
            try:
                response = wire.whole(response, repository)
            except httpx2.HTTPError as error:
                raise unreachable(error, repository, url) from error
            if not self.auth.challenged(repository, actions, response, used, also=also, own=own):
                break
        return response

    def _send(self, call: Call, method: str, url: httpx2.URL, login: str | None) -> httpx2.Response:
        """One request; the first to a host that may be spoken to in plain finds out how it is."""
        first = self._schemes.is_open(url, call.repository)
        try:
            response = wire.send(self._http, call, method, url, login)
        except httpx2.HTTPError as error:
            doubt = isinstance(error, httpx2.RemoteProtocolError)
            if not (first and doubt and self._wants_https(call.repository, url, doubt=True)):
                met = url.netloc in self._met
                raise unreachable(error, call.repository, url, met=met) from error
        else:
            self._met.add(url.netloc)
            doubt = response.status_code == 400
            if not (first and self._wants_https(call.repository, url, doubt=doubt)):
                return response
            response.close()
        return self._send(call, method, url.copy_with(scheme="https"), login)

    def _wants_https(self, repository: Repository, url: httpx2.URL, *, doubt: bool) -> bool:
        """Remember how a host speaks that was just asked in plain for the first time."""
        return self._schemes.settle(
            repository, lambda: doubt and self._speaks_https(repository, url)
        )

    def _speaks_https(self, repository: Repository, url: httpx2.URL) -> bool:
        """Whether https is answered where plain http was not understood."""
        asked = url.copy_with(scheme="https", path="/v2/", query=None)
        try:
            self._http.head(asked, timeout=wire.CONNECT_S)
        except httpx2.HTTPError as error:
            fault = unreachable(error, repository, asked)
            if "trusted" in fault.what:
                raise fault from error
            return False
        return True


def _lost(repository: Repository, last: str, got: str) -> NoAccess:
    return NoAccess(
        "the registry sends us from one place to the next",
        subject=repository,
        where=last,
        got=got,
        hint="look at the address that the registry, or a proxy before it, gives to itself",
    )
