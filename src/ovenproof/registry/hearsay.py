"""What a remote store says of outcomes. It may help a build; it may never break one.

A place holds records, as bytes by key. Hearsay asks it, judges what comes, and says once what was
wrong: a record that is none is passed over, a place that fails is left alone for the rest of the
run. What it tells is the word of whoever may write there; the build decides what that is worth.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, Queue
from typing import Protocol, TypeVar, cast

from ovenproof.core import record
from ovenproof.core.action import Outcome
from ovenproof.core.digest import Digest
from ovenproof.errors import NoAccess, OvenproofError, TryAgain, WrongBytes
from ovenproof.events import Listener, Noted, silent

PATIENCE_S = 5.0
"""A record is worth so much waiting; hashing is never far away."""

_T = TypeVar("_T")


class Records(Protocol):
    """Where records lie: a repository of a registry, a Bazel cache. Threads may share it."""

    def get(self, key: Digest) -> bytes | None:
        """A record's bytes; None where there is none. Raises WrongBytes, and what else fails."""

    def put(self, key: Digest, text: bytes) -> None:
        """Keep a record, whatever was there before."""


@dataclass(slots=True)
class _Memory:
    """What a run has found out about a place."""

    records: Records | None = None
    asks: bool = True
    writes: bool = True
    """Whether asking and writing still make sense."""
    told: set[str] = field(default_factory=set)
    heard: dict[Digest, Outcome] = field(default_factory=dict)
    opening: threading.Lock = field(default_factory=threading.Lock)
    telling: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearsay:
    """A place's outcomes. Never raises what the place did wrong; threads may share it.

    A copy with another listener (`dataclasses.replace`) knows what the first one found out.
    """

    connect: Callable[[], Records]
    """Opens the place; called when something is asked or written for the first time."""
    name: str
    """What a person calls the place."""
    writes: bool = False
    patience_s: float = PATIENCE_S
    listener: Listener = silent
    _memory: _Memory = field(default_factory=_Memory, repr=False)

    def recall(self, key: Digest) -> Outcome | None:
        """What the place says of this key; None where it says nothing that can be read."""
        memory = self._memory
        if not memory.asks:
            return None
        try:
            found = self.ask(key)
        except WrongBytes:
            self._say("has damaged records; they are ignored", f"the first is {key.short}")
            return None
        except (OvenproofError, OSError) as fault:
            memory.asks = False
            memory.writes &= isinstance(fault, NoAccess)  # who may not read may still write
            self._say("is left alone for the rest of this run", _reason(fault))
            return None
        if found is not None:
            memory.heard[key] = found
        return found

    def remember(self, key: Digest, outcome: Outcome) -> None:
        """Write it down for others, where that is allowed and the place does not have it so."""
        memory = self._memory
        if not (self.writes and memory.writes) or memory.heard.get(key) == outcome:
            return
        try:
            self.tell(key, outcome)
        except (OvenproofError, OSError) as fault:
            memory.writes = False
            self._say("does not take what was proven here", _reason(fault))
        else:
            memory.heard[key] = outcome

    def ask(self, key: Digest) -> Outcome | None:
        """The same, but what is wrong is raised: for who wants to know how the place is."""
        text = self._soon(lambda: self._records().get(key))
        return None if text is None else record.read(key, text)

    def tell(self, key: Digest, outcome: Outcome) -> None:
        """The same as `remember`, in any case, and what is wrong is raised."""
        text = record.write(key, outcome)
        self._soon(lambda: self._records().put(key, text))

    def _soon(self, call: Callable[[], _T]) -> _T:
        """What a call gives; one that takes too long is left behind. Raises TryAgain."""
        result: Queue[tuple[_T | None, Exception | None]] = Queue()

        def run() -> None:
            try:
                result.put((call(), None))
            except Exception as error:  # it is raised where it is waited for
                result.put((None, error))

        threading.Thread(target=run, daemon=True).start()  # which no end of a program waits for
        try:
            value, error = result.get(timeout=self.patience_s)
        except Empty:
            got = f"nothing in {self.patience_s:g} s"
            raise TryAgain("it does not answer soon", subject=self.name, got=got) from None
        if error is not None:
            raise error
        return cast("_T", value)

    def _records(self) -> Records:
        with self._memory.opening:
            if self._memory.records is None:
                self._memory.records = self.connect()
            return self._memory.records

    def _say(self, what: str, detail: str) -> None:
        with self._memory.telling:
            if what in self._memory.told:
                return
            self._memory.told.add(what)
        self.listener(Noted(text=f"the remote store {self.name} {what}: {detail}"))


def _reason(fault: OvenproofError | OSError) -> str:
    if isinstance(fault, OvenproofError):
        return f"{fault.what} ({fault.got})" if fault.got else fault.what
    return str(fault)
