"""Carries out an upload: what the state machine asks for, over the wire."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, assert_never
from urllib.parse import quote

import httpx2

from ovenproof.core.digest import Content
from ovenproof.errors import BadFile, MissingTool, NoAccess, OvenproofError, TryAgain, WrongBytes
from ovenproof.registry.limits import Limits
from ovenproof.registry.reference import Repository
from ovenproof.registry.refusal import Unanswered, code, refused
from ovenproof.registry.transport import Transport
from ovenproof.registry.upload import Upload, with_digest
from ovenproof.registry.upload_steps import (
    Answer,
    Ask,
    Begin,
    Cancel,
    Done,
    GaveUp,
    Look,
    Patch,
    Put,
    Refused,
    Request,
    Result,
    Wrong,
)
from ovenproof.registry.wire import Call

_BYTES = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """What is to be uploaded, and who opens it."""

    content: Content
    title: str
    open: Callable[[int], Iterator[bytes]]
    """Bytes from an offset on; from 0 they are proven by whoever opens."""
    homes: tuple[Repository, ...] = ()
    """Repositories of the same registry that may have it, in the order to try."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    """What an upload moved."""

    sent: int
    """Bytes that went out; more than the blob has where a try was lost."""
    mounted_from: Repository | None = None


@dataclass(slots=True, kw_only=True)
class Sending:
    """One blob on its way into one repository."""

    transport: Transport
    repository: Repository
    limits: Limits
    blob: Blob
    began: Callable[[str], None]
    source: "Source"
    fault: OvenproofError | None = None
    """What the last fault was."""
    response: httpx2.Response | None = None
    """The last answer."""

    def run(self, resume: str | None) -> Uploaded:
        """Until the registry has the blob. Raises what tells why it has not.

        An interruption ends the request that is under way instead of cutting it, where that can be
        done: a registry that throws away what was cut keeps what was ended.
        """
        machine = Upload(
            self.blob.content,
            self.limits,
            homes=self.blob.homes,
            session=resume,
            patience=self.transport.patience,
        )
        known = resume
        while not isinstance(machine.next, Result):
            if machine.session not in (None, known):
                known = machine.session
                self.began(known)
            if self.source.stopped is not None:
                raise self.source.stopped
            faults = machine.faults
            self._step(machine, machine.next)
            if machine.faults > faults or isinstance(machine.next, Refused):
                self._note()
            if machine.faults > faults and not isinstance(machine.next, Result):
                self._wait(machine.faults - 1)
        return self._result(machine.next)

    def _step(self, machine: Upload, asked: Request) -> None:
        self.response = None
        try:
            response = self.transport.once(self._call(asked))
        except Unanswered as fault:
            self.fault = fault
            machine.broke()
        except WrongBytes:  # ours: nobody shall go on with this
            if machine.session is not None:
                self.cancel(machine.session)
            raise
        except OvenproofError as fault:
            if not _is_spared(machine, asked, fault):
                raise
            machine.passed_over()
        else:
            self.response = response
            machine.answered(
                Answer(
                    status=response.status_code,
                    headers={name.lower(): value for name, value in response.headers.items()},
                    url=str(response.url),
                    code=code(response),
                )
            )

    def cancel(self, session: str) -> None:
        """Let a session go, if the registry is there to hear it."""
        with suppress(OvenproofError):  # else the registry lets it go by itself one day
            self.transport.once(self._call(Cancel(session)))

    def _call(self, asked: Request) -> Call:
        match asked:
            case Begin() | Look():
                return self._to_blobs(asked)
            case Patch():
                return self._patch(asked)
            case Put(session, size):
                end = with_digest(session, self.blob.content.digest)
                body = partial(self.source.take, 0, size) if size else None
                return self._to("PUT", end, body=body, size=size, heavy=self.blob.content.size)
            case Ask(session) | Cancel(session):
                return self._to("GET" if isinstance(asked, Ask) else "DELETE", session)
            case never:
                assert_never(never)

    def _to_blobs(self, asked: Begin | Look) -> Call:
        digest = self.blob.content.digest
        blobs = f"{self.transport.base(self.repository)}/v2/{self.repository.name}/blobs"
        match asked:
            case Begin(None):
                return self._to("POST", f"{blobs}/uploads/")
            case Begin(Repository() as home):
                query = f"mount={digest}&from={quote(home.name, safe='')}"
                return self._to("POST", f"{blobs}/uploads/?{query}", also=(home,))
            case _:
                return self._to("HEAD", f"{blobs}/{digest}")

    def _patch(self, patch: Patch) -> Call:
        offset, size = patch.offset, patch.size
        if patch.ranged:
            return self._to(
                "PATCH",
                patch.session,
                headers={"Content-Range": f"{offset}-{offset + size - 1}"},
                body=partial(self.source.take, offset, size),
                size=size,
                heavy=size,
            )
        return self._to(
            "PATCH",
            patch.session,
            body=partial(self.source.take, offset, size, may_end=True),
            size=None,
            heavy=size,
        )

    def _to(self, method: str, url: str, **more: Any) -> Call:
        if "body" in more:
            more["headers"] = {**_BYTES, **more.get("headers", {})}
        return Call(method=method, url=url, repository=self.repository, actions="pull,push", **more)

    def _result(self, result: Result) -> Uploaded:
        match result:
            case Done(home):
                return Uploaded(sent=self.source.sent, mounted_from=home)
            case Wrong(got):
                raise WrongBytes(
                    f"the registry does not have the bytes of {self.blob.title} that were sent",
                    subject=self.repository,
                    expected=f"{self.blob.content.digest}, {self.blob.content.size} bytes",
                    got=got,
                    hint="try again; if it stays, the registry, or something before it, is broken",
                )
            case Refused() | GaveUp():
                assert self.fault is not None
                raise self.fault
            case never:
                assert_never(never)

    def _wait(self, attempt: int) -> None:
        """Wait before the next try, or raise what the last one met."""
        if not self.transport.wait(attempt, self.response, fault=self.fault):
            assert self.fault is not None
            raise self.fault

    def _note(self) -> None:
        """Keep what the last request met: the last thing to be told, if nothing better comes."""
        if self.response is None:
            return
        what = f"the registry does not take {self.blob.title}"
        if self.response.status_code < 400:
            self.fault = TryAgain(
                what,
                subject=self.repository,
                got="its answers do not fit what was sent to it",
                hint="try again; if it stays, the registry, or something before it, is broken",
            )
        else:
            advice = self.transport.auth.advice(self.repository)
            self.fault = refused(what, self.repository, self.response, advice=advice)


def _is_spared(machine: Upload, asked: Request, fault: OvenproofError) -> bool:
    """Whether an upload does as well without what we could not even ask.

    A mount needs a token for two repositories, which not every service gives; a session that we
    only heard of may lead anywhere by now.
    """
    match asked:
        case Begin(Repository()):
            return isinstance(fault, NoAccess | MissingTool | BadFile)
        case Ask():
            return machine.inherited
        case _:
            return isinstance(asked, Cancel)


class Source:
    """The bytes of a blob, from wherever the registry wants them next."""

    def __init__(self, blob: Blob, heard: Callable[[int], None]) -> None:
        self.sent = 0
        self.stopped: KeyboardInterrupt | None = None
        self._blob = blob
        self._heard = heard
        self._chunks: Iterator[bytes] = iter(())
        self._at = -1
        self._left_over = b""

    def take(self, offset: int, size: int, *, may_end: bool = False) -> Iterator[bytes]:
        """So many bytes. Opened anew unless they follow on what was taken last.

        `may_end`: an interruption ends them, and is kept in `stopped` until the answer is there.
        """
        if offset != self._at:
            self._chunks, self._at, self._left_over = self._blob.open(offset), offset, b""
        end = offset + size
        while self._at < end:
            chunk = self._next()
            if not chunk:
                raise self._other_size("too few bytes")
            self._left_over = chunk[end - self._at :]
            chunk = chunk[: end - self._at]
            try:
                self._heard(len(chunk))
            except KeyboardInterrupt as stop:
                self._at = -1
                if not may_end:
                    raise
                self.stopped = stop
                return
            last = self._at + len(chunk) == self._blob.content.size
            if last and (self._left_over or self._next()):
                raise self._other_size("more bytes")
            self._at += len(chunk)
            self.sent += len(chunk)
            yield chunk

    def _next(self) -> bytes:
        if self._left_over:
            return self._left_over
        return next((chunk for chunk in self._chunks if chunk), b"")

    def _other_size(self, got: str) -> WrongBytes:
        return WrongBytes(
            f"{self._blob.title} is not as long as it is said to be",
            subject=self._blob.content.digest.short,
            expected=f"{self._blob.content.size} bytes",
            got=got,
        )
