"""The hub itself: two listeners, one table of routes."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count
from types import TracebackType
from typing import Literal, Self

from tests.fakes.hub import download, listing
from tests.fakes.hub.listener import Listener
from tests.fakes.hub.messages import Answer, Asked, Dropped, Refused, Request
from tests.fakes.hub.repository import Repository
from tests.fakes.hub.state import State

_NAME = r"(?P<name>[^/]+/[^/]+|[^/]+)"
_PINNED = _NAME + r"/(?P<revision>[0-9a-f]{40})/(?P<path>.+)"
_API = rf"/api/models/{_NAME}"
_ROUTES: tuple[tuple[str, str, Callable[..., Answer]], ...] = (
    ("GET", r"/api/whoami-v2", listing.whoami),
    ("GET", rf"{_API}/auth-check", listing.auth_check),
    ("GET", rf"{_API}/refs", listing.refs),
    ("GET", rf"{_API}/revision/(?P<revision>[^/]+)", listing.info),
    ("GET", rf"{_API}/commits/(?P<revision>[^/]+)", listing.commits),
    ("GET", rf"{_API}/tree/(?P<revision>[^/]+)(?:/(?P<folder>.+))?", listing.tree),
    ("POST", rf"{_API}/paths-info/(?P<revision>[^/]+)", listing.paths_info),
    ("GET", _API, listing.info),
    ("GET|HEAD", rf"/api/resolve-cache/models/{_PINNED}", download.from_cache),
    ("GET|HEAD", rf"/{_NAME}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", download.resolve),
)
_CDN_ROUTES: tuple[tuple[str, str, Callable[..., Answer]], ...] = (
    ("GET|HEAD", rf"/{_PINNED}", download.from_cdn),
)


@dataclass(kw_only=True, eq=False)
class FakeHub(State):
    """A whole hub on free ports of loopback, while its `with` block lasts.

    Ends with the first fault of the fake itself or of a `before`, so that none goes unseen.
    """

    port: int = 0
    """0: any that is free."""

    def __post_init__(self) -> None:
        self._numbers = count(1)
        self._own = Listener(partial(self._answer, _ROUTES), self.port)
        self._cdn = Listener(partial(self._answer, _CDN_ROUTES))
        for listener in (self._own, self._cdn):
            listener.bytes_per_s = lambda: self.bytes_per_s
        self.endpoint = f"http://{self._own.address}"
        self.cdn = f"http://{self._cdn.address}"

    def __enter__(self) -> Self:
        self.come_back()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.go_away()
        for fault in (*self._own.faults, *self._cdn.faults):
            raise fault from error

    @property
    def requests(self) -> list[Asked]:
        """What was asked so far, in order; a copy."""
        return list(self._own.asked)

    @property
    def cdn_requests(self) -> list[Asked]:
        """What was asked at the CDN."""
        return list(self._cdn.asked)

    def repository(
        self,
        name: str,
        *,
        gated: Literal["auto", "manual"] | bool = False,
        private: bool = False,
        license: str | None = None,  # noqa: A002
        card: Mapping[str, object] | None = None,
    ) -> Repository:
        """A new repository without commits: until there is one, no revision of it is found."""
        repository = Repository(
            name=name,
            gated="auto" if gated is True else gated,
            private=private,
            license=license,
            card=card or {},
            lfs_from=self.lfs_from,
        )
        self.repositories[name] = repository
        return repository

    def go_away(self) -> None:
        """Hub and CDN break off every answer, and refuse connections from now on."""
        self._own.stop()
        self._cdn.stop()

    def come_back(self) -> None:
        """Answer again, at the same addresses."""
        self._own.start()
        self._cdn.start()

    def expire(self) -> None:
        """All addresses that were redirected to so far are refused from now on: 403."""
        with self.lock:
            self.signatures.clear()

    def _answer(
        self, routes: tuple[tuple[str, str, Callable[..., Answer]], ...], request: Request
    ) -> Answer:
        if self.before:
            self.before(request.method, request.path)
        try:
            self._fail(request)
            for methods, pattern, function in routes:
                found = re.fullmatch(pattern, request.path)
                if found and re.fullmatch(methods, request.method):
                    given = {key: value for key, value in found.groupdict().items() if value}
                    return function(self, request, **given)
            raise Refused(404, message=f"no route: {request.method} {request.path}")
        except Refused as refused:
            return refused.answer

    def _fail(self, request: Request) -> None:
        with self.lock:
            limited = self.limit_every and next(self._numbers) % self.limit_every == 0
            status = 429 if limited else 200
            if self.status_next and re.search(self.status_path, request.path):
                status = self.status_next.pop(0)
        if not status:
            raise Dropped
        if status != 200:
            raise Refused(status, message="told to fail", headers=self._waits(status))

    def _waits(self, status: int) -> dict[str, str]:
        wait = {} if self.retry_after is None else {"Retry-After": self.retry_after}
        if status == 429 and self.limit_ends_s is not None:
            wait["RateLimit"] = f'"api";r=0;t={self.limit_ends_s}'
            wait["RateLimit-Policy"] = '"fixed window";"api";q=500;w=300'
        return wait
