"""Reading a blob from a registry: streamed, gone on with after a cut, and checked."""

import re
from collections.abc import Iterator

import httpx2

from ovenproof.core.digest import Content
from ovenproof.errors import WrongBytes
from ovenproof.registry.reference import Repository
from ovenproof.registry.refusal import Unanswered, refused, where
from ovenproof.registry.transport import Transport
from ovenproof.registry.wire import Call, whole
from ovenproof.store.stream import checked

_SPAN = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


def read(
    transport: Transport, repository: Repository, content: Content, offset: int = 0
) -> Iterator[bytes]:
    """The blob's bytes from an offset on; from 0, proven before the last of them is given."""
    chunks = _Reading(transport, repository, content).chunks(offset)
    what = f"blob {content.digest.short} of {repository}"
    return chunks if offset else checked(chunks, content, what)


class _Reading:
    """One blob on its way to us."""

    def __init__(self, transport: Transport, repository: Repository, content: Content) -> None:
        self._transport = transport
        self._repository = repository
        self._content = content

    def chunks(self, offset: int) -> Iterator[bytes]:
        """The bytes from an offset on; a broken connection goes on where it stopped."""
        at, attempt = offset, 0
        while at < self._content.size:
            try:
                with self._transport.stream(self._call(at)) as response:
                    found = response
                    if response.status_code in (200, 206):
                        for chunk in self._from(response, at):
                            at += len(chunk)
                            attempt = 0
                            if at > self._content.size:
                                raise self._wrong(response, "more bytes")
                            yield chunk
                    else:
                        found = whole(response, self._repository)
                if at < self._content.size:
                    self._go_on(found, at, attempt)
            except Unanswered as fault:
                if not self._transport.wait(attempt, fault=fault):
                    raise
            attempt += 1

    def _from(self, response: httpx2.Response, at: int) -> Iterator[bytes]:
        """What an answer has from `at` on; it may begin at 0."""
        skip = at
        size = response.headers.get("Content-Length", "")
        if response.status_code == 206:
            told = _SPAN.fullmatch(response.headers.get("Content-Range", ""))
            if told is None or int(told[1]) != at:
                raise self._wrong(response, "another range than was asked for")
            skip, size = 0, told[2]
        if size.isdecimal() and int(size) != self._content.size:
            raise self._wrong(response, f"{size} bytes")
        for chunk in response.iter_raw():
            if skip < len(chunk):
                yield chunk[skip:]
            skip = max(skip - len(chunk), 0)

    def _go_on(self, response: httpx2.Response, at: int, attempt: int) -> None:
        """The answer did not bring the rest: wait for a better one, or raise."""
        status = response.status_code
        if status in {200, 416}:
            wrong = self._wrong(response, f"it ends after {at} bytes")
            if status == 416 or not self._transport.wait(attempt):
                raise wrong
        elif (status < 500 and status not in (206, 408, 425, 429)) or not self._transport.wait(
            attempt, response
        ):
            raise refused(
                f"the registry does not give blob {self._content.digest.short}",
                self._repository,
                response,
                advice=self._transport.auth.advice(self._repository),
            )

    def _call(self, at: int) -> Call:
        base = self._transport.base(self._repository)
        return Call(
            method="GET",
            url=f"{base}/v2/{self._repository.name}/blobs/{self._content.digest}",
            repository=self._repository,
            headers={"Range": f"bytes={at}-"} if at else {},
        )

    def _wrong(self, response: httpx2.Response, got: str) -> WrongBytes:
        return WrongBytes(
            "the registry gives another blob than it was asked for",
            subject=self._repository,
            where=where(response.url),
            expected=f"{self._content.digest}, {self._content.size} bytes",
            got=got,
        )
