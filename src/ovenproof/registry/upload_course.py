"""Where one upload stands, and the few ways in which it goes on."""

from dataclasses import dataclass, replace
from urllib.parse import urljoin

from ovenproof.core.digest import Content, Digest
from ovenproof.registry.limits import Limits
from ovenproof.registry.reference import Repository
from ovenproof.registry.upload_steps import (
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """An upload at the registry, and what we know of it."""

    address: str
    received: int = 0
    """So many bytes are there, as far as we were told."""
    sent: int = 0
    """So many can be there, if the registry counts right."""
    joined: bool = False
    """Its bytes came in several tries: they may have been joined wrongly."""
    inherited: bool = False
    """Another process began it. We know it by hearsay, and nothing hangs on it."""
    misplaced: int | None = None
    """Where the registry told us to go on, and then would not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How the registry wants bytes, as far as it is known by now."""

    whole: bool
    """In one request, and after a cut from the first byte again: by the PUT that names the digest;
    by a PATCH before it where the digest is known only then."""
    ranged: bool = False
    """The first PATCH says its range too. One that says none is taken whole by most."""
    chunk: int | None
    """At most so many bytes in a request that says its range."""


class Course:
    """What an upload has come to. Its methods decide what is next, and count faults."""

    def __init__(
        self,
        content: Content | Unnamed,
        limits: Limits,
        homes: tuple[Repository, ...],
        patience: int,
    ) -> None:
        self.size = content.size
        self.late = isinstance(content, Unnamed)
        """Is the digest known only when all bytes have gone by?"""
        self.digest: Digest | None = None if isinstance(content, Unnamed) else content.digest
        self.faults = 0
        """In a row, without progress."""
        self.manner = Manner(whole=not limits.patch, chunk=limits.chunk)
        self.begun: Session | None = None
        self.next: Request | Name | Result
        self._patience = patience
        self._homes = [] if self.late else [*homes]
        self._best = 0
        self._then: Request = Begin()
        """What follows a Cancel."""

    @property
    def session(self) -> str | None:
        """Where the upload goes on; another process may be told."""
        return self.begun.address if self.begun else None

    @property
    def inherited(self) -> bool:
        """Is the session one that we know by hearsay only?"""
        return self.begun is not None and self.begun.inherited

    @property
    def own(self) -> Session:
        """The session; for what is asked only of one."""
        assert self.begun is not None
        return self.begun

    @property
    def asked(self) -> Request:
        """What the registry is asked now."""
        match self.next:
            case Name():
                raise ValueError("it is not the registry that is asked")
            case Done() | Wrong() | Refused() | GaveUp():
                raise ValueError("the upload has ended")
            case asked:
                return asked

    @property
    def more_homes(self) -> bool:
        return bool(self._homes)

    def fault(self, then: Request | None = None) -> None:
        """Count a fault; go on with `then`, or ask the same again."""
        self.faults += 1
        self.next = GaveUp() if self.faults > self._patience else then or self.asked

    def begin(self, *, counted: bool = False) -> None:
        """Without a session, with the next home if there is one; `counted`: it is for a fault."""
        self.begun = None
        begin = Begin(self._homes.pop(0) if self._homes else None)
        if counted:
            self.fault(begin)
        else:
            self.next = begin

    def cancel(self, session: str) -> None:
        """Let a session go before we begin."""
        self.begin()
        self._then = self.asked
        self.next = Cancel(session)

    def after_cancel(self) -> None:
        self.next = self._then

    def anew(self, *, gone: bool = False) -> None:
        """From the first byte, in another session; this one is let go unless it is `gone`."""
        old = self.own.address
        counted = isinstance(self.next, Ask | Look)  # what made us ask was a fault
        if self.late:
            self.digest = None
        if not counted:
            self.fault()
        if isinstance(self.next, GaveUp):
            self.begun = None
        elif gone:
            self.begin()
        else:
            self.cancel(old)

    def ask(self) -> None:
        """After a fault: how much is there? Where nothing goes on it is not worth the question."""
        if self.manner.whole:
            self.anew()
        else:
            self.fault(Ask(self.own.address))

    def start(self, address: str) -> None:
        """In a session that the registry began for us."""
        self.begun = Session(address=address)
        self.advance(0)

    def moved(self, answer: Answer) -> None:
        """The session is ours, and goes on where this answer says."""
        address = location(answer) or self.own.address
        self.begun = replace(self.own, address=address, inherited=False)

    def advance(self, offset: int, *, joined: bool = False) -> None:
        """Ask for what comes after so many bytes; `joined`: after those of a broken try."""
        self.begun = replace(self.own, joined=joined or self.own.joined)
        if offset > self._best:
            self._best = offset
            self.faults = 0
        address, left = self.own.address, self.size - offset
        if left == 0 and self.digest is None:
            self.next = Name()
        elif left == 0 or (self.manner.whole and not self.late):
            self.next = Put(address, left)
        else:
            ranged = self.manner.ranged or offset > 0
            limit = self.manner.chunk if ranged and not self.manner.whole else None
            size = left if limit is None else min(left, limit)
            self.begun = replace(self.own, received=offset, sent=offset + size)
            self.next = Patch(address, offset, size, ranged)


def location(answer: Answer) -> str | None:
    """Where the next request goes: the Location, whole and with its query."""
    there = answer.headers.get("location", "")
    return urljoin(answer.url, there) if there else None
