"""The registry itself: two listeners, one table of routes."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

from tests.fakes.registry import blobs, door, manifests
from tests.fakes.registry.listener import Listener
from tests.fakes.registry.messages import Answer, Asked, Dropped, Refused, Request
from tests.fakes.registry.state import Failure, State, Stored, digest_of

_UPLOAD = r"/v2/(?P<name>.+)/blobs/uploads/(?P<session>[0-9a-f-]+)"
_BLOB = r"/v2/(?P<name>.+)/blobs/(?P<digest>[^/]+)"
_MANIFEST = r"/v2/(?P<name>.+)/manifests/(?P<target>[^/]+)"
_ROUTES: tuple[tuple[str, str, Callable[..., Answer]], ...] = (
    ("GET", r"/v2/", lambda _state, _request: Answer(200)),
    ("POST", r"/v2/(?P<name>.+)/blobs/uploads/", blobs.begin),
    ("PATCH", _UPLOAD, blobs.patch),
    ("GET", _UPLOAD, blobs.status),
    ("PUT", _UPLOAD, blobs.finish),
    ("DELETE", _UPLOAD, blobs.cancel),
    ("GET|HEAD", _BLOB, blobs.get),
    ("GET|HEAD", _MANIFEST, manifests.get),
    ("PUT", _MANIFEST, manifests.put),
    ("GET", r"/v2/(?P<name>.+)/tags/list", manifests.tags),
    ("GET", r"/v2/(?P<name>.+)/referrers/(?P<digest>[^/]+)", manifests.referrers),
)
_CODES = {401: "UNAUTHORIZED", 403: "DENIED", 404: "NAME_UNKNOWN", 429: "TOOMANYREQUESTS"}


@dataclass(kw_only=True, eq=False)
class FakeRegistry(State):
    """A whole registry in memory, on free ports of loopback, while its `with` block lasts.

    Ends with the first fault of the fake itself or of a `before`, so that none goes unseen.
    """

    def __post_init__(self) -> None:
        self._own = Listener(partial(self._answer, self._here))
        self._other = Listener(partial(self._answer, self._elsewhere))
        self.address = self._own.address
        self.other_address = self._other.address

    def __enter__(self) -> Self:
        self._own.start()
        self._other.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._own.stop()
        self._other.stop()
        for fault in (*self._own.faults, *self._other.faults):
            raise fault from error

    @property
    def requests(self) -> list[Asked]:
        """What was asked so far; a copy. A request is here before its answer is sent."""
        return list(self._own.asked)

    @property
    def other_requests(self) -> list[Asked]:
        """What was asked at the other address."""
        return list(self._other.asked)

    def add_blob(self, repository: str, data: bytes) -> str:
        """Put a blob there; gives its digest."""
        digest = digest_of(data)
        with self.lock:
            self.blobs[repository][digest] = data
        return digest

    def add_manifest(self, repository: str, data: bytes, media_type: str, *tags: str) -> str:
        """Put a manifest there, unchecked, under these tags too; gives its digest."""
        digest = digest_of(data)
        with self.lock:
            self.manifests[repository][digest] = Stored(data, media_type)
            self.tags[repository].update(dict.fromkeys(tags, digest))
        return digest

    def issue(self, *scopes: str) -> str:
        """A token for these scopes, such as `repository:a/b:pull,push`."""
        return door.issue(self, scopes)

    def revoke(self) -> None:
        """All tokens are refused from now on."""
        with self.lock:
            self.tokens.clear()

    def _answer(self, enter: Callable[[Request], Answer], request: Request) -> Answer:
        if self.before:
            self.before(request.method, request.path)
        try:
            self._fail(request)
            return enter(request)
        except Refused as refused:
            return refused.answer

    def _here(self, request: Request) -> Answer:
        if request.path == "/token":
            return door.token(self, request)
        door.check(self, request)
        return self._route(request)

    def _elsewhere(self, request: Request) -> Answer:
        """As a bucket answers: the signature lets in, and an Authorization beside it is refused."""
        if "authorization" in request.headers:
            raise Refused(400, "UNSUPPORTED", "only one way to log in at a time")
        if "signature" not in request.query:
            raise Refused(403, "DENIED", "no signature")
        return self._route(request)

    def _fail(self, request: Request) -> None:
        with self.lock:
            fitting = (item for item in self.fail if _fits(item, request))
            failure = next(fitting, None)
            if failure is None:
                return
            self.fail.remove(failure)
        _, _, status, headers = failure
        if not status:
            raise Dropped
        raise Refused(status, _CODES.get(status, "UNKNOWN"), "told to fail", headers)

    def _route(self, request: Request) -> Answer:
        for methods, pattern, function in _ROUTES:
            found = re.fullmatch(pattern, request.path)
            if found and re.fullmatch(methods, request.method):
                return function(self, request, **found.groupdict())
        raise Refused(405, "UNSUPPORTED", f"{request.method} {request.path}")


def _fits(failure: Failure, request: Request) -> bool:
    method, path, _, _ = failure
    return bool(re.fullmatch(method, request.method) and re.search(path, request.path))
