"""Registries, and all that is shared between them: connections, logins, trust."""

from collections.abc import Mapping, Sequence
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2

from ovenproof.net.client import client
from ovenproof.registry import trust
from ovenproof.registry.auth import Auth
from ovenproof.registry.blob import Blob, Stream, Uploaded
from ovenproof.registry.credentials import Credentials
from ovenproof.registry.reference import Repository
from ovenproof.registry.remote import Remote
from ovenproof.registry.schemes import Schemes
from ovenproof.registry.transport import Transport

__all__ = ["WAITS_S", "Blob", "Registries", "Remote", "Stream", "Uploaded"]

WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""At most so long between one try and the next; so there are six."""
_CONNECTIONS = httpx2.Limits(max_connections=None, max_keepalive_connections=32)


class Registries:
    """Every registry that this machine talks to. May be used by many threads at once."""

    def __init__(
        self,
        *,
        environment: Mapping[str, str],
        home: Path,
        insecure: frozenset[str] = frozenset(),
        waits_s: Sequence[float] = WAITS_S,
    ) -> None:
        """`insecure` are hosts that may be spoken to in plain http, as loopback always may."""
        own = trust.places(home)
        direct = {f"all://{host}": None for host in ("localhost", "127.0.0.1", "[::1]")}
        self._http = client(
            verify=trust.machine_trust(environment),
            follow_redirects=False,
            limits=_CONNECTIONS,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            mounts={**direct, **dict(trust.mounts(environment, own, _CONNECTIONS))},
            headers={"User-Agent": "ovenproof"},
        )
        schemes = Schemes(insecure=insecure, trusted=frozenset(trust.folders(own)))
        auth = Auth(
            Credentials(environment, home), self._http, allows=schemes.allows, waits_s=waits_s
        )
        self._transport = Transport(self._http, auth, schemes, waits_s=waits_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def at(self, repository: Repository, *, writes: bool = False) -> "Remote":
        """A repository of the registry that its host names; asks nobody.

        `writes`: it will be pushed to, and every question says so: a service may refuse to let us
        read a repository that only a push would create.
        """
        return Remote(self._transport, repository, writes=writes)
