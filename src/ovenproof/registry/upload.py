"""One upload as a state machine: it says what to ask next, and is told what was answered.

It opens no connection and never waits; so every order of faults can be played through. Whatever a
registry answers, the machine ends: each fault without progress is counted, and progress is bytes
that no try before has brought.
"""

from typing import assert_never
from urllib.parse import urljoin

from ovenproof.core.digest import Content, Digest
from ovenproof.registry.limits import Limits
from ovenproof.registry.reference import Repository
from ovenproof.registry.upload_steps import (
    NO_PATCH,
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

PATIENCE = 5
"""So many faults in a row, and an upload is given up."""
SMALLER = (64 << 20, 4 << 20, 1 << 20)
"""Chunks for who refuses a body as too large: most often a proxy with a limit of its own."""
_TAKEN = frozenset({200, 201, 202, 204})
_GONE = frozenset({404, 410})
_NOT_THESE = frozenset({"DIGEST_INVALID", "SIZE_INVALID"})


class Upload:
    """One blob on its way. Do what `next` says, and call `answered` or `broke`, until a Result."""

    def __init__(
        self,
        content: Content,
        limits: Limits,
        *,
        homes: tuple[Repository, ...] = (),
        session: str | None = None,
        patience: int = PATIENCE,
    ) -> None:
        self.content = content
        self.faults = 0
        """In a row, without progress."""
        self.session = session
        """Where the upload goes on; another process may be told."""
        self._patience = patience
        self._homes = list(homes)
        self._limit = limits.chunk
        self._smaller = list(SMALLER)
        self._put_only = not limits.patch
        self._ranged = False
        self._best = 0
        self._end = content.size
        """What the session can hold at most, if the registry counts right."""
        self.inherited = session is not None
        """Do we know the session by hearsay only? Then nothing hangs on it."""
        self._pieced = session is not None
        """Did the session's bytes come in several tries? Then they may have been joined wrongly."""
        self._misplaced: int | None = None
        """Where the registry told us to go on, and then would not."""
        self._then: Request | None = None
        """What follows a Cancel."""
        self.next: Request | Result
        if session is None:
            self._begin()
        elif self._put_only:
            self._cancel(session)
        else:
            self.next = Ask(session)

    def answered(self, answer: Answer) -> None:
        """The registry answered what `next` asked."""
        match self.next:
            case Begin(home):
                self._after_begin(answer, home)
            case Patch() as patch:
                self._after_patch(answer, patch)
            case Put() as put:
                self._after_put(answer, put)
            case Ask() if self.inherited and answer.status not in _TAKEN:
                self.passed_over()
            case Ask(session):
                self.inherited = False
                self._after_ask(answer, session)
            case Look():
                self._after_look(answer)
            case Cancel():
                self._after_cancel()
            case Done() | Wrong() | Refused() | GaveUp():
                raise ValueError("the upload has ended")
            case never:
                assert_never(never)

    def passed_over(self) -> None:
        """We go on without what `next` asks: a mount, an inherited session, or a Cancel."""
        match self.next:
            case Cancel():
                self._after_cancel()
            case Begin(Repository()):
                self._begin()
            case Ask() if self.inherited:
                self.session = None
                self.inherited = self._pieced = False
                self._begin()
            case _:
                raise ValueError("the upload hangs on this")

    def broke(self) -> None:
        """There was no answer: nobody knows how much of the request has arrived."""
        match self.next:
            case Cancel():
                self._after_cancel()
            case Begin(home):
                self._fault(Begin(self._homes.pop(0) if self._homes else None) if home else None)
            case Patch(session=session):
                self._fault(Ask(session))
            case Put():
                self._fault(Look())
            case Ask() if self.inherited:
                self.passed_over()
            case Ask() | Look():
                self._fault(None)
            case Done() | Wrong() | Refused() | GaveUp():
                raise ValueError("the upload has ended")
            case never:
                assert_never(never)

    def _fault(self, then: Request | None) -> None:
        """Count a fault; go on with `then`, or ask the same again."""
        self.faults += 1
        if self.faults > self._patience:
            self.next = GaveUp()
        elif then is not None:
            self.next = then

    def _begin(self) -> None:
        self.next = Begin(self._homes.pop(0) if self._homes else None)

    def _anew(self, *, alive: bool, counted: bool = False) -> None:
        """From the first byte, in another session; one that is alive is let go.

        `counted`: the fault that this is about is counted already.
        """
        old, self.session = self.session, None
        self._pieced = False
        self._misplaced = None
        self._end = self.content.size
        if counted:
            self.next = Begin()
        else:
            self._fault(Begin())
        if alive and old is not None and isinstance(self.next, Begin):
            self._cancel(old)

    def _cancel(self, session: str) -> None:
        self.session = None
        self._pieced = False
        self._then = Begin(self._homes.pop(0) if self._homes else None)
        self.next = Cancel(session)

    def _after_cancel(self) -> None:
        assert self._then is not None
        self.next, self._then = self._then, None

    def _goes_on(self, answer: Answer, before: str | None) -> str | None:
        """Where the next request goes: the Location, whole and with its query."""
        location = answer.headers.get("location", "")
        return urljoin(answer.url, location) if location else before

    def _advance(self, offset: int) -> None:
        assert self.session is not None
        if offset > self._best:
            self._best = offset
            self.faults = 0
        left = self.content.size - offset
        if self._put_only:
            self.next = Put(self.session, self.content.size)
        elif left == 0:
            self.next = Put(self.session, 0)
        else:
            # A first PATCH that says no range is taken whole by who limits the others.
            ranged = self._ranged or offset > 0
            size = left if self._limit is None or not ranged else min(left, self._limit)
            self._end = offset + size
            self.next = Patch(self.session, offset, size, ranged)

    def _after_begin(self, answer: Answer, home: Repository | None) -> None:
        session = self._goes_on(answer, None)
        if home is not None and answer.status == 201:
            self._settle(answer, home)
        elif answer.status == 202 and session is not None:
            if home is not None and self._homes:
                self._cancel(session)
            else:
                self.session = session
                self._advance(0)
        elif home is not None and answer.waits and not self.faults:
            self._fault(None)  # a mount saves all the bytes: it is worth one wait
        elif home is not None and answer.waits:
            self.broke()
        elif home is not None:  # a home that is not ours to read, or no mounts at all
            self._begin()
        elif answer.again:
            self.broke()
        else:
            self.next = Refused()

    def _after_patch(self, answer: Answer, patch: Patch) -> None:
        end = patch.offset + patch.size
        if answer.status in _TAKEN:
            self.session = self._goes_on(answer, patch.session)
            received = end if answer.received is None else answer.received
            if received == end:
                self._advance(end)
            elif patch.offset < received < end:
                self._pieced = True
                self._fault(None)
                if not isinstance(self.next, GaveUp):
                    self._advance(received)
            else:  # it counts in its own way: then all in one request
                self._put_only = True
                self._anew(alive=True)
        elif answer.status in _GONE:
            self._anew(alive=False)
        elif answer.status in NO_PATCH or answer.code == "UNSUPPORTED":
            self._put_only = True
            self._anew(alive=True)
        elif answer.status == 413:
            self._cut_smaller(patch)
        elif answer.status == 416:
            self._after_wrong_place(patch)
        elif answer.again:
            self.broke()
        elif answer.status == 400:
            self._anew(alive=True)
        else:
            self.next = Refused()

    def _after_wrong_place(self, patch: Patch) -> None:
        """It may have counted late, bytes of a broken try; saying so twice, it counts wrongly."""
        self._ranged = True
        if patch.ranged and patch.offset == self._misplaced:
            self._anew(alive=True)
        else:
            self._misplaced = patch.offset if patch.ranged else None
            self._fault(Ask(patch.session))

    def _cut_smaller(self, patch: Patch) -> None:
        fitting = [size for size in self._smaller if size < patch.size]
        if not fitting:
            self.next = Refused()
            return
        self._limit, self._ranged = fitting[0], True
        self._fault(Ask(patch.session))

    def _after_put(self, answer: Answer, put: Put) -> None:
        if answer.status in _TAKEN - {202}:
            self._settle(answer, None)
        elif answer.code in _NOT_THESE and answer.status == 400:
            if self._pieced:
                self._anew(alive=False)
            else:
                self.next = Wrong(answer.code)
        elif answer.again or answer.status == 202 or answer.status in _GONE:
            self.broke()  # it may have been taken before
        elif answer.status == 416 and not self._put_only:
            self._fault(Ask(put.session))
        elif answer.status == 400 and answer.code.startswith("BLOB_UPLOAD"):
            self._anew(alive=True)
        else:
            self.next = Refused()

    def _after_ask(self, answer: Answer, session: str) -> None:
        if answer.again:
            self.broke()
        elif answer.status in {401, 403}:
            self.next = Refused()
        elif answer.status not in _TAKEN:
            self._anew(alive=False, counted=True)
        else:
            self.session = self._goes_on(answer, session)
            received = answer.received or 0
            # One byte or none, or more than was sent: nothing to build on.
            if received <= 1 or received > self._end:
                self._anew(alive=True, counted=True)
            else:
                self._pieced = True
                self._advance(received)

    def _after_look(self, answer: Answer) -> None:
        if answer.status == 200:
            size = answer.headers.get("content-length", "")
            if size.isdecimal() and int(size) != self.content.size:
                self.next = Wrong(f"{size} bytes")
            else:
                self._settle(answer, None)
        elif answer.again:
            self.broke()
        elif self._put_only or self.session is None:
            self._anew(alive=True, counted=True)
        else:
            self.next = Ask(self.session)

    def _settle(self, answer: Answer, home: Repository | None) -> None:
        """It says that it has the blob: under the name that we call it?"""
        named = answer.headers.get("docker-content-digest", "").strip()
        self.next = Wrong(named) if _is_other(named, self.content.digest) else Done(home)


def with_digest(session: str, digest: Digest) -> str:
    """The address that ends an upload. The query of a Location is kept as it is."""
    return f"{session}{'&' if '?' in session else '?'}digest={digest}"


def _is_other(named: str, digest: Digest) -> bool:
    """Does a registry name another digest? One of another algorithm says nothing."""
    return named.startswith("sha256:") and named != str(digest)
