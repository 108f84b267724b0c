"""Who we are to each registry: the Authorization header of every request.

Nobody is told anything before a registry has asked for it with a 401. What it asked for, and the
token that answered it, is then known for everything of the same need: one token for a repository,
what is done to it, and the repositories that are mounted from.

A pull goes on without a login where the program that keeps logins fails, as Docker does it and
crane does not: most of what is pulled is public, and a broken desktop program should not stand in
its way. Is the pull refused, then the program's fault is what is told. A push cannot do without,
and is told at once.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import httpx2

from ovenproof.errors import MissingTool, NoAccess, OvenproofError, TryAgain
from ovenproof.registry.challenge import (
    Basic,
    Bearer,
    Challenge,
    chosen,
    foreign_scopes,
    parse,
)
from ovenproof.registry.credentials import Finder, Login
from ovenproof.registry.reference import Repository
from ovenproof.registry.tokens import Allows, Need, TokenService, advice, basic

Actions: TypeAlias = Literal["pull", "pull,push"]

WAITS_S = (0.5, 2.0)
"""Between one try to get a token and the next; so there are three."""
_EARLY_S = 10.0
"""A token is renewed so long before its end: a request that starts now must get through."""


@dataclass(slots=True)
class _Given:
    """A token, and what is known of it. Written by any thread: each field goes one way only."""

    text: str = field(repr=False)
    renew_at: float
    handed: int = 0
    """How many requests have got it."""
    worked: bool = False
    """Has the registry taken it, from anybody?"""


@dataclass(slots=True)
class _Held:
    """What is known for one need. Its fields are changed under its lock only."""

    scopes: tuple[str, ...]
    lock: threading.Lock = field(default_factory=threading.Lock)
    challenge: Challenge | None = None
    foreign: tuple[str, ...] = ()
    """Scopes that the registry wants, and that we would not have thought of. Learned once."""
    token: _Given | None = None
    fetches: int = 0
    """How many fetches have ended, well or not."""
    fault: OvenproofError | None = None
    """What came of the last fetch."""


class Auth:
    """The headers for every registry. May be used by many threads at once.

    `allows` says where a registry may send us: not to plain http unless a person wants that.
    """

    def __init__(
        self,
        credentials: Finder,
        http: httpx2.Client,
        *,
        allows: Allows,
        clock: Callable[[], float] = time.monotonic,
        waits_s: Sequence[float] = WAITS_S,
    ) -> None:
        self._credentials = credentials
        self._service = TokenService(http=http, allows=allows, waits_s=waits_s)
        self._clock = clock
        self._lock = threading.Lock()
        self._hosts: dict[str, Challenge] = {}
        self._needs: dict[tuple[str, tuple[str, ...]], _Held] = {}

    def header(
        self,
        repository: Repository,
        actions: Actions,
        *,
        also: Iterable[Repository] = (),
        own: bool = False,
    ) -> str | None:
        """The Authorization header as far as it is known; None before the registry has asked.

        `also` is pulled from, too: to mount. A token about to end is renewed first; `own` asks for
        one that nobody else gets. Raises NoAccess where a login is refused, and TryAgain where
        nobody gives a token.
        """
        held = self._held(repository, actions, also)
        challenge = held.challenge or self._hosts.get(repository.host)
        if challenge is None:
            return None
        login = self._login(repository, actions)
        if (straight := _straight(login, challenge)) or isinstance(challenge, Basic):
            return straight
        return f"Bearer {self._token(held, challenge, repository, login, own=own)}"

    def worked(
        self,
        repository: Repository,
        actions: Actions,
        used: str,
        *,
        also: Iterable[Repository] = (),
    ) -> None:
        """Learn that the registry has taken a header: refused later, its token has only ended."""
        token = self._held(repository, actions, also).token
        if token is not None and used == f"Bearer {token.text}":
            token.worked = True

    def challenged(
        self,
        repository: Repository,
        actions: Actions,
        response: httpx2.Response,
        used: str | None,
        *,
        also: Iterable[Repository] = (),
        own: bool = False,
    ) -> bool:
        """Learn from a 401. True: with the header that is known now, trying again may help.

        `used` is the header that was refused, `own` as in `header`. Only the registry
        itself is listened to, not whoever it redirects to. What was refused right after it was
        made is not made again.
        """
        if response.status_code != 401 or not self._is_own(repository, response.url):
            return False
        held = self._held(repository, actions, also)
        login = self._login(repository, actions)
        with held.lock:
            asked = chosen(parse(response.headers.get_list("WWW-Authenticate")), held.challenge)
            if asked is not None:
                held.challenge = self._hosts[repository.host] = asked
                if (straight := _straight(login, asked)) or isinstance(asked, Basic):
                    helps = straight is not None and straight != used
                else:
                    helps = not own and self._may_help(held, asked, used)
                if helps:
                    return True
        self._complain(repository)
        return False

    def advice(self, repository: Repository) -> str:
        """What helps whoever is refused: a hint for an error. Names the place of a login."""
        return advice(repository, self._login(repository, "pull"))

    def _held(self, repository: Repository, actions: str, also: Iterable[Repository]) -> _Held:
        others = sorted({f"repository:{other.name}:pull" for other in also if other != repository})
        scopes = (f"repository:{repository.name}:{actions}", *others)
        with self._lock:
            return self._needs.setdefault((repository.host, scopes), _Held(scopes))

    def _login(self, repository: Repository, actions: Actions) -> Login | None:
        try:
            return self._credentials.find(repository)
        except (MissingTool, NoAccess):
            if actions == "pull":
                return None
            raise

    def _complain(self, repository: Repository) -> None:
        """Raise the fault that a login could not be found for, if that is why we have none."""
        self._credentials.find(repository)

    def _is_own(self, repository: Repository, url: httpx2.URL) -> bool:
        """Is this the registry, over a connection that it may be believed on?"""
        if not self._service.allows(url, repository):
            return False
        return url.origin == httpx2.URL(f"{url.scheme}://{repository.server}").origin

    def _token(
        self,
        held: _Held,
        bearer: Bearer,
        repository: Repository,
        login: Login | None,
        *,
        own: bool,
    ) -> str:
        """The token that is held, or a new one. Threads wait for one fetch, and share its fault.

        Only where nobody answered is it tried again later: a service locks out whoever repeats a
        wrong password.
        """
        fetches = held.fetches
        with held.lock:
            again = isinstance(held.fault, TryAgain) and held.fetches == fetches
            if held.fault is not None and not again:
                raise held.fault
            if own:
                return self._fetch(held, bearer, repository, login).text
            if held.token is None or self._clock() >= held.token.renew_at:
                held.token = self._fetch(held, bearer, repository, login)
            held.token.handed += 1
            return held.token.text

    def _fetch(
        self, held: _Held, bearer: Bearer, repository: Repository, login: Login | None
    ) -> _Given:
        """Bring a new token. The time that this takes is taken off its life."""
        began = self._clock()
        need = Need(repository=repository, scopes=(*held.scopes, *held.foreign), login=login)
        try:
            try:
                token = self._service.fetch(bearer, need)
            except NoAccess:
                self._complain(repository)
                raise
        except OvenproofError as fault:
            held.fault = fault
            raise
        finally:
            held.fetches += 1
        held.fault = None
        renew_at = began + token.lasts_s - min(_EARLY_S, token.lasts_s / 4)
        return _Given(text=token.text, renew_at=renew_at)

    def _may_help(self, held: _Held, bearer: Bearer, used: str | None) -> bool:
        """May a token that differs from the used one help? Throws away what is refused.

        A token that has worked has ended, and is renewed as often as that happens. One that has
        not may still be on its way for others who will be taken, so that only what was given to
        one request alone proves that there is no access. (A request is made a few times at most.)
        """
        foreign = foreign_scopes(bearer.scope, held.scopes)
        if foreign and not held.foreign:
            held.foreign = foreign
            held.token = None
            return True
        if held.token is None or used != f"Bearer {held.token.text}":
            return True
        token = held.token
        if not token.worked and token.handed <= 1 and self._clock() < token.renew_at:
            return False
        held.token = None
        return True


def _straight(login: Login | None, challenge: Challenge) -> str | None:
    """The header for which nobody else needs to be asked."""
    if login is None:
        return None
    if login.registry_token:
        return f"Bearer {login.registry_token}"
    return basic(login) if isinstance(challenge, Basic) and login.password else None
