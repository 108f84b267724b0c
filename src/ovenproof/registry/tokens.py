"""Getting one token from the service that a registry names, its realm.

A login is written to the realm over https, or where plain http is allowed, and to nobody that the
realm sends us on to.
"""

import base64
import json
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import httpx2

from ovenproof.core.address import shown
from ovenproof.errors import NoAccess, TryAgain
from ovenproof.net.waiting import LONGEST_WAIT_S, retry_after_s
from ovenproof.registry.challenge import Bearer
from ovenproof.registry.credentials import Login
from ovenproof.registry.reference import Repository

Allows: TypeAlias = Callable[[httpx2.URL, Repository], bool]
"""Whether a registry may send us to an address: `Schemes.allows`."""
_CLIENT_ID = "ovenproof"
_DEFAULT_S = 60.0
"""How long a token lasts that does not say it."""
_REDIRECTS = 5
_ANSWER_LIMIT = 1 << 20
_REDIRECTED = frozenset({301, 302, 303, 307, 308})
_AGAIN = frozenset({408, 425, 429})
_NO_POST = frozenset({401, 404, 405})
"""What services answer that know no identity tokens; those are asked as for a password."""
_TEXT = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What a registry takes instead of a login, for some time."""

    text: str = field(repr=False)
    lasts_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a token is for, and who asks for it."""

    repository: Repository
    scopes: tuple[str, ...]
    login: Login | None


class _Unanswered(Exception):
    """The service is there, and has no answer now."""

    def __init__(self, why: str, told_s: float = 0.0) -> None:
        super().__init__(why)
        self.told_s = told_s
        """How long it wants to be left alone."""


class _Refused(Exception):
    """The service says no."""

    def __init__(self, got: str, code: int = 0) -> None:
        super().__init__(got)
        self.code = code


def basic(login: Login) -> str:
    """The Authorization header of a user and a password."""
    pair = f"{login.username}:{login.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def advice(repository: Repository, login: Login | None) -> str:
    """What helps whoever is refused."""
    if login is None:
        return f"log in: docker login {repository.host}"
    return (
        f"the login from {login.origin} was used: "
        f"see that it may do this, or log in again: docker login {repository.host}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenService:
    """Whoever gives tokens, over one HTTP client. Holds nothing between two calls."""

    http: httpx2.Client
    allows: Allows
    waits_s: Sequence[float]

    def fetch(self, bearer: Bearer, need: Need) -> Token:
        """A new token. Raises NoAccess where it is refused, TryAgain where nobody answers."""
        realm = _parsed(bearer.realm)
        if realm is None or not self.allows(realm, need.repository):
            raise NoAccess(
                "a registry names a token service that is not safe to ask",
                subject=need.repository,
                where=_where(bearer.realm),
                expected="an address with https",
                hint=f"if {need.repository.host} is yours and plain http is meant, name the "
                "token service's host in OVENPROOF_INSECURE_REGISTRIES",
            )
        login = need.login
        try:
            if login is not None and login.identity_token:
                form = _form(bearer.service, need, login.identity_token)
                try:
                    return self._tried(realm, need, lambda: self._post(realm, form))
                except _Refused as refused:
                    if refused.code not in _NO_POST or not login.password:
                        raise
            url = _with_query(realm, bearer.service, need.scopes)
            header = basic(login) if login is not None and login.password else None
            return self._tried(realm, need, lambda: self._get(url, header, need))
        except _Refused as refused:
            raise _no_access(realm, need, str(refused)) from None

    def _tried(self, realm: httpx2.URL, need: Need, ask: Callable[[], Token]) -> Token:
        why, hint = "", "try again, and look at the registry's status page if it stays so"
        for longest_s in (*self.waits_s, None):
            told_s = 0.0
            try:
                return ask()
            except _Unanswered as error:
                why, told_s = str(error), error.told_s
            except httpx2.HTTPError as error:
                why = str(error) or type(error).__name__
            if told_s > LONGEST_WAIT_S:
                hint = f"try in {told_s:.0f} s: it asks to be left alone so long"
                break
            if longest_s is not None:
                time.sleep(max(longest_s, told_s))
        raise TryAgain(
            "a registry's token service does not answer as it should",
            subject=need.repository,
            where=_where(str(realm)),
            got=why,
            hint=hint,
        )

    def _get(self, url: httpx2.URL, header: str | None, need: Need) -> Token:
        """Ask as the distribution specification says; another origin is not told the login."""
        for _ in range(_REDIRECTS):
            headers = {"Accept": "application/json"}
            if header is not None:
                headers["Authorization"] = header
            with self.http.stream("GET", url, headers=headers, follow_redirects=False) as response:
                if response.status_code not in _REDIRECTED:
                    return _token(response)
                target = _target(url, response)
            if target is None or not self.allows(target, need.repository):
                raise _Refused("a redirect to an address that is not safe to ask")
            if target.origin != url.origin:
                header = None
            url = target
        raise _Refused(f"more than {_REDIRECTS} redirects")

    def _post(self, url: httpx2.URL, form: Mapping[str, str]) -> Token:
        """Ask as OAuth2 says. The body is a secret: it follows no redirect to another origin."""
        headers = {"Accept": "application/json"}
        for _ in range(_REDIRECTS):
            with self.http.stream(
                "POST", url, headers=headers, data=form, follow_redirects=False
            ) as response:
                if response.status_code not in _REDIRECTED:
                    return _token(response)
                target = _target(url, response)
                kept = response.status_code in (307, 308)
            if target is None or target.origin != url.origin or not kept:
                raise _Refused("a redirect that an identity token may not follow")
            url = target
        raise _Refused(f"more than {_REDIRECTS} redirects")


def _parsed(text: str) -> httpx2.URL | None:
    """An address, without the user and the password that it may name."""
    try:
        return httpx2.URL(text).copy_with(userinfo=b"", fragment=None)
    except (httpx2.InvalidURL, ValueError):
        return None


def _target(url: httpx2.URL, response: httpx2.Response) -> httpx2.URL | None:
    try:
        return _parsed(str(url.join(response.headers.get("Location", ""))))
    except (httpx2.InvalidURL, ValueError):
        return None


def _where(address: str) -> str:
    return shown(address).partition("?")[0]


def _with_query(realm: httpx2.URL, service: str, scopes: Sequence[str]) -> httpx2.URL:
    query = realm.params
    if service:
        query = query.add("service", service)
    for scope in scopes:
        query = query.add("scope", scope)
    return realm.copy_with(params=query)


def _form(service: str, need: Need, identity_token: str) -> dict[str, str]:
    form = {
        "grant_type": "refresh_token",
        "client_id": _CLIENT_ID,
        "scope": " ".join(need.scopes),
        "refresh_token": identity_token,
    }
    return {**form, "service": service} if service else form


def _token(response: httpx2.Response) -> Token:
    """The token of an answer. Raises _Refused and _Unanswered, which show nothing of it."""
    code = response.status_code
    if code in _AGAIN or code >= 500:
        raise _Unanswered(f"HTTP status {code}", retry_after_s(response))
    if code != 200:
        raise _Refused(f"HTTP status {code}", code)
    data = b""
    for chunk in response.iter_bytes():
        data += chunk
        if len(data) > _ANSWER_LIMIT:
            raise _Unanswered("an answer that is too long")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise _Unanswered("an answer that is not JSON") from None
    if not isinstance(found, dict):
        raise _Unanswered("an answer that is no object")
    text = found.get("token") or found.get("access_token")
    if not isinstance(text, str) or not _TEXT.fullmatch(text):
        raise _Unanswered("an answer without a token")
    lasts_s = found.get("expires_in")
    if not isinstance(lasts_s, int | float) or not 0 < lasts_s < math.inf:
        lasts_s = _DEFAULT_S
    return Token(text=text, lasts_s=lasts_s)


def _no_access(realm: httpx2.URL, need: Need, got: str) -> NoAccess:
    if need.login is None:
        what = "a registry wants a login, and there is none for it"
    else:
        what = "a registry refuses the login"
        got += f", with the login from {need.login.origin}"
    return NoAccess(
        what,
        subject=need.repository,
        where=_where(str(realm)),
        got=got,
        hint=advice(need.repository, need.login),
    )
