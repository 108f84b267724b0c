"""One request over the wire: its headers and its timeouts, and how much of an answer is read."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

import httpx2

from ovenproof.errors import WrongBytes
from ovenproof.registry.auth import Actions
from ovenproof.registry.reference import Repository
from ovenproof.registry.refusal import where

ANSWER_LIMIT = 16 << 20
"""Of what is read whole. Manifests end at 4 MiB nearly everywhere."""
ERROR_LIMIT = 64 << 10
"""Of what says no: what is in it is a hint for a person."""
CONNECT_S, _WRITE_S, _READ_S = 10.0, 60.0, 60.0
_DIGESTED = 50_000_000
"""Bytes in a second that even a slow registry hashes and stores, while we wait for its answer."""
_OF_THE_WIRE = frozenset({"content-encoding", "transfer-encoding"})

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


def send(
    http: httpx2.Client, call: Call, method: str, url: httpx2.URL, login: str | None
) -> httpx2.Response:
    """Ask once; the answer's body is still to come. Raises what httpx2 raises."""
    headers = {"Accept-Encoding": "identity", **call.headers}
    if login is not None:
        headers["Authorization"] = login
    content: Iterable[bytes] | None = None
    if method not in ("GET", "HEAD"):
        if call.size is not None:
            headers["Content-Length"] = str(call.size)
        content = call.body() if call.body is not None else None
    timeout = httpx2.Timeout(
        connect=CONNECT_S, write=_WRITE_S, read=_READ_S + call.heavy / _DIGESTED, pool=None
    )
    request = http.build_request(method, url, headers=headers, content=content, timeout=timeout)
    return http.send(request, stream=True)


def whole(response: httpx2.Response, repository: Repository) -> httpx2.Response:
    """The same answer with its body at hand, as it came over the wire; its connection is closed.

    What says no is cut where it is too long. Anything else then raises WrongBytes: who reads only
    the first part of a list would take it for all of it.
    """
    if response.is_stream_consumed:  # it is at hand already
        return response
    limit = ANSWER_LIMIT if response.status_code < 400 else ERROR_LIMIT
    body = bytearray()
    try:
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > limit:
                break
    finally:
        response.close()
    if len(body) > limit == ANSWER_LIMIT:
        raise WrongBytes(
            "the registry's answer is too long to be read",
            subject=repository,
            where=where(response.url),
            expected=f"at most {limit} bytes",
            hint="see what answers under this address",
        )
    headers = response.headers.multi_items()
    return httpx2.Response(
        response.status_code,
        headers=[(name, value) for name, value in headers if name.lower() not in _OF_THE_WIRE],
        content=bytes(body[:limit]),
        request=response.request,
    )
