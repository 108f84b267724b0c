"""Carries out an upload: what the state machine asks for, over the wire."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, assert_never
from urllib.parse import quote

import httpx2

from ovenproof.core.digest import Digest
from ovenproof.errors import BadFile, MissingTool, NoAccess, OvenproofError, TryAgain, WrongBytes
from ovenproof.registry.blob import Blob, Source, Stream, Uploaded
from ovenproof.registry.limits import Limits
from ovenproof.registry.reference import Repository
from ovenproof.registry.refusal import Unanswered, code, refused
from ovenproof.registry.transport import Transport
from ovenproof.registry.upload import Upload, with_digest
from ovenproof.registry.upload_steps import (
    NO_PATCH,
    Answer,
    Ask,
    Begin,
    Cancel,
    Done,
    GaveUp,
    Look,
    Name,
    Patch,
    Put,
    Refused,
    Request,
    Result,
    Unnamed,
    Wrong,
)
from ovenproof.registry.wire import Call

_BYTES = {"Content-Type": "application/octet-stream"}


class Sending:
    """One blob on its way into one repository."""

    def __init__(
        self,
        transport: Transport,
        repository: Repository,
        blob: Blob | Stream,
        *,
        began: Callable[[str], None],
        heard: Callable[[int], None],
    ) -> None:
        self._transport = transport
        self._repository = repository
        self._blob = blob
        self._began = began
        self._source = Source(blob, heard)
        self._fault: OvenproofError | None = None
        """What the last fault was."""
        self._response: httpx2.Response | None = None
        """The last answer."""

    def run(self, limits: Limits, resume: str | None) -> Uploaded:
        """Until the registry has the blob. Raises what tells why it has not.

        An interruption ends the request that is under way instead of cutting it, where that can be
        done: a registry that throws away what was cut keeps what was ended. So does a source that
        has no more to give for now.
        """
        machine = self._machine(limits, resume)
        known = resume
        while not isinstance(machine.next, Result):
            faults = machine.faults
            self._step(machine, machine.next)
            if machine.session not in (None, known) and not isinstance(machine.next, Done):
                known = machine.session
                self._began(known)
            if self._source.stopped is not None:
                raise self._source.stopped
            if machine.faults > faults or isinstance(machine.next, Refused):
                self._note()
            if machine.faults > faults and not isinstance(machine.next, Result):
                self._wait(machine.faults - 1)
        return self._result(machine.next, machine.digest)

    def _machine(self, limits: Limits, resume: str | None) -> Upload:
        blob, patience = self._blob, self._transport.patience
        if isinstance(blob, Stream):
            return Upload(Unnamed(blob.size), limits, session=resume, patience=patience)
        return Upload(blob.content, limits, homes=blob.homes, session=resume, patience=patience)

    def _step(self, machine: Upload, asked: Request | Name) -> None:
        try:
            match asked:
                case Name():
                    machine.named(_digest_of(self._blob))
                    return
                case Patch(offset=offset):
                    self._source.ready(offset)
                case Put(size=size) if size:
                    self._source.ready(0)
            self._ask(machine, asked)
        except WrongBytes:  # ours: nobody shall go on with this
            if machine.session is not None:
                self._cancel(machine.session)
            raise

    def _ask(self, machine: Upload, asked: Request) -> None:
        self._response = None
        try:
            response = self._transport.once(self._call(asked, machine.digest))
        except Unanswered as fault:
            self._fault = fault
            machine.broke()
        except OvenproofError as fault:
            if not _is_spared(machine, asked, fault):
                raise
            machine.passed_over()
        else:
            self._response = response
            machine.answered(
                Answer(
                    status=response.status_code,
                    headers={name.lower(): value for name, value in response.headers.items()},
                    url=str(response.url),
                    code=code(response),
                )
            )

    def _cancel(self, session: str) -> None:
        """Let a session go, if the registry is there to hear it."""
        with suppress(OvenproofError):  # else the registry lets it go by itself one day
            self._transport.once(self._call(Cancel(session), None))

    def _call(self, asked: Request, digest: Digest | None) -> Call:
        base = self._transport.base(self._repository)
        blobs = f"{base}/v2/{self._repository.name}/blobs"
        match asked:
            case Begin(home) if home is not None:
                query = f"mount={digest}&from={quote(home.name, safe='')}"
                return self._to("POST", f"{blobs}/uploads/?{query}", also=(home,))
            case Begin():
                return self._to("POST", f"{blobs}/uploads/")
            case Look():
                return self._to("HEAD", f"{blobs}/{digest}")
            case Patch():
                return self._patch(asked)
            case Put(session, size):
                assert digest is not None
                body = partial(self._source.take, 0, size) if size else None
                end = with_digest(session, digest)
                return self._to("PUT", end, body=body, size=size, heavy=self._blob.size)
            case Ask(session) | Cancel(session):
                return self._to("GET" if isinstance(asked, Ask) else "DELETE", session)
            case never:
                assert_never(never)

    def _patch(self, patch: Patch) -> Call:
        offset, size = patch.offset, patch.size
        take = partial(self._source.take, offset, size)
        if patch.ranged:
            headers = {"Content-Range": f"{offset}-{offset + size - 1}"}
            return self._to(
                "PATCH", patch.session, headers=headers, body=take, size=size, heavy=size
            )
        take = partial(take, may_end=True)
        return self._to("PATCH", patch.session, body=take, size=None, heavy=size)

    def _to(self, method: str, url: str, **more: Any) -> Call:
        if "body" in more:
            more["headers"] = {**_BYTES, **more.get("headers", {})}
        return Call(
            method=method, url=url, repository=self._repository, actions="pull,push", **more
        )

    def _result(self, result: Result, digest: Digest | None) -> Uploaded:
        match result:
            case Done(home):
                return Uploaded(sent=self._source.sent, mounted_from=home)
            case Wrong(got):
                raise WrongBytes(
                    f"the registry does not have the bytes of {self._blob.title} that were sent",
                    subject=self._repository,
                    expected=f"{digest}, {self._blob.size} bytes",
                    got=got,
                    hint="try again; if it stays, the registry, or something before it, is broken",
                )
            case Refused() | GaveUp():
                assert self._fault is not None
                if isinstance(self._blob, Stream) and self._takes_no_patch():
                    raise NoAccess(
                        "the registry takes only what has a digest beforehand",
                        subject=self._blob.title,
                        where=self._repository,
                        hint="prove the layers first, which writes their digests into the lock:"
                        " run `invoke build --model NAME --output none`, then push again",
                    ) from self._fault
                raise self._fault
            case never:
                assert_never(never)

    def _takes_no_patch(self) -> bool:
        """Whether the last answer says that the registry has no such thing as a PATCH."""
        return self._response is not None and self._response.status_code in NO_PATCH

    def _wait(self, attempt: int) -> None:
        """Wait before the next try, or raise what the last one met."""
        if not self._transport.wait(attempt, self._response, fault=self._fault):
            assert self._fault is not None
            raise self._fault

    def _note(self) -> None:
        """Keep what the last request met: the last thing to be told, if nothing better comes."""
        if self._response is None:
            return
        what = f"the registry does not take {self._blob.title}"
        if self._response.status_code < 400:
            self._fault = TryAgain(
                what,
                subject=self._repository,
                got="its answers do not fit what was sent to it",
                hint="try again; if it stays, the registry, or something before it, is broken",
            )
        else:
            advice = self._transport.auth.advice(self._repository)
            self._fault = refused(what, self._repository, self._response, advice=advice)


def _digest_of(blob: Blob | Stream) -> Digest:
    return blob.digest() if isinstance(blob, Stream) else blob.content.digest


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
