"""Questions to one repository of a registry, and what is raised where the answer is no."""

from collections.abc import Iterator, Mapping

import httpx2

from ovenproof.errors import OvenproofError, WrongBytes
from ovenproof.registry.auth import Actions
from ovenproof.registry.reference import Repository
from ovenproof.registry.refusal import refused, where
from ovenproof.registry.transport import Transport
from ovenproof.registry.wire import Call

_PAGES = 1000


class Asking:
    """Asks what changes nothing. May be used by many threads at once."""

    def __init__(self, transport: Transport, repository: Repository, actions: Actions) -> None:
        self._transport = transport
        self._repository = repository
        self._actions = actions

    def url(self, path: str) -> str:
        """The address of something in the repository."""
        return f"{self._transport.base(self._repository)}/v2/{self._repository.name}/{path}"

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None
    ) -> httpx2.Response:
        """The answer, whatever it is; a path may be a whole address."""
        call = Call(
            method=method,
            url=path if "://" in path else self.url(path),
            repository=self._repository,
            actions=self._actions,
            headers=headers or {},
        )
        return self._transport.ask(call)

    def pages(self, path: str) -> Iterator[httpx2.Response]:
        """The pages of a list, as one names the next. Raises WrongBytes where that never ends."""
        for _page in range(_PAGES):
            response = self.ask("GET", path)
            yield response
            following = response.links.get("next", {}).get("url")
            if response.status_code != 200 or not following:
                return
            path = str(response.url.join(following))
        raise WrongBytes(
            "a list of the registry does not come to its end",
            subject=self._repository,
            where=where(path),
            got=f"more than {_PAGES} pages",
        )

    def expect(self, response: httpx2.Response, status: int, what: str) -> None:
        """Raise `refused` unless this is the status."""
        if response.status_code != status:
            raise self.refused(response, what)

    def refused(self, response: httpx2.Response, what: str) -> OvenproofError:
        """What tells why: `what` is what could not be done."""
        advice = self._transport.auth.advice(self._repository)
        return refused(what, self._repository, response, advice=advice)
