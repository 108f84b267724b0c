"""Bringing blobs into a repository: asked for first, then mounted or sent, biggest first.

An upload that is under way is noted, so that the next process goes on where a killed one ended; and
a repository that took a blob is noted as its home, so that others of that registry can mount it.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from ovenproof.core.digest import Content, Json
from ovenproof.errors import OvenproofError, WrongBytes, raise_all
from ovenproof.events import Advanced, Finished, Listener, Noted, Started
from ovenproof.registry.reference import Repository
from ovenproof.store.notes import Notes

if TYPE_CHECKING:
    from ovenproof.registry.client import Blob, Remote, Uploaded

ASKED_AT_ONCE = 8
"""Questions only wait for the network."""
HOMES_KEPT = 4
GRACE_S = 10.0
"""How long an interrupted run waits for its threads, which let uploads end so that they can go on
later; a registry that is stuck does not hold it longer."""
_UPLOAD, _HOMES = "upload", "homes"

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What became of the blobs, in bytes."""

    sent: int = 0
    mounted: int = 0
    there: int = 0

    @property
    def moved(self) -> bool:
        """Whether the repository has anything that it had not before."""
        return bool(self.sent or self.mounted)


def send(
    remote: "Remote", blobs: Sequence["Blob"], *, notes: Notes, jobs: int, listener: Listener
) -> Sent:
    """Bring the blobs into a repository. What it has does not move."""
    return Sender(remote, notes=notes, jobs=jobs).send(blobs, listener)


class Sender:
    """One repository, and what it was seen to have: that is not asked again while we work."""

    def __init__(
        self,
        remote: "Remote",
        *,
        notes: Notes,
        jobs: int,
        at: Callable[[Repository], "Remote"] | None = None,
    ) -> None:
        """`at` finds other repositories of the registry; without it a mount is a mere attempt."""
        self.remote = remote
        self._notes = notes
        self._jobs = jobs
        self._at = at
        self._there: set[Content] = set()
        self._elsewhere: dict[Repository, set[Content]] = {}

    @property
    def repository(self) -> Repository:
        return self.remote.repository

    def there(self, contents: Iterable[Content]) -> frozenset[Content]:
        """Those that the repository has."""
        wanted = frozenset(contents)
        each(self._look, wanted - self._there, max(ASKED_AT_ONCE, self._jobs))
        return wanted & self._there

    def mountable(
        self, contents: Collection[Content], homes: Iterable[Repository]
    ) -> frozenset[Content]:
        """Those that another repository of the registry has, as far as we may look."""
        given = tuple(homes)
        found: set[Content] = set()

        def look(content: Content) -> None:
            if any(self._lies_in(home, content) for home in self._homes(content, given)):
                found.add(content)

        each(look, contents, max(ASKED_AT_ONCE, self._jobs))
        return frozenset(found)

    def send(self, blobs: Sequence["Blob"], listener: Listener) -> Sent:
        """Mount or send what the repository has not; the first fault lets nothing new begin."""
        unique = {blob.content: blob for blob in blobs}
        there = self.there(unique)
        moved: dict[Content, Uploaded] = {}

        def bring(blob: "Blob") -> None:
            moved[blob.content] = self._bring(blob, listener)

        for content in there:
            # A process may have been killed between the end of an upload and that of its note.
            self._notes.forget(_UPLOAD, self._upload_key(content))
        tell_there(len(there), len(unique), listener)
        missing = [blob for content, blob in unique.items() if content not in there]
        missing.sort(key=lambda blob: (-blob.content.size, blob.content.digest))
        each(bring, missing, self._jobs)
        mounted = (content.size for content, done in moved.items() if done.mounted_from)
        return Sent(
            sent=sum(done.sent for done in moved.values()),
            mounted=sum(mounted),
            there=sum(content.size for content in there),
        )

    def _look(self, content: Content) -> None:
        if self.remote.has(content):
            self._there.add(content)

    def _lies_in(self, home: Repository, content: Content) -> bool:
        known = self._elsewhere.setdefault(home, set())
        if content not in known and self._at is not None:
            with suppress(OvenproofError):  # not there, or not for us: then it is sent
                if self._at(home).has(content):
                    known.add(content)
        return content in known

    def _bring(self, blob: "Blob", listener: Listener) -> "Uploaded":
        content, name = blob.content, blob.title
        blob = replace(blob, homes=self._homes(content, blob.homes))
        key = self._upload_key(content)
        listener(Started(name=name, total=content.size))
        with self._notes.alone(_UPLOAD, key) as alone:
            done = self._upload(blob, key if alone else None, listener)
        self._there.add(content)
        self._settled(content)
        note = ""
        if done.mounted_from is not None:
            note = f"mounted from {done.mounted_from.name}"
        elif done.sent < content.size:
            note = f"resumed at {content.size - done.sent}"
        listener(Finished(name=name, note=note))
        return done

    def _upload(self, blob: "Blob", key: Json, listener: Listener) -> "Uploaded":
        """Upload the blob; with a key, an earlier session goes on and this one is noted."""

        def begin(session: str) -> None:
            if key is not None:
                self._notes.remember(_UPLOAD, key, session)

        heard = 0

        def hear(size: int) -> None:
            nonlocal heard
            heard += size
            listener(Advanced(name=blob.title, size=size))

        session = None if key is None else self._notes.recall(_UPLOAD, key)
        resume = session if isinstance(session, str) else None
        try:
            done = self.remote.upload(blob, resume=resume, began=begin, heard=hear)
        except OvenproofError as fault:
            wrong = isinstance(fault, WrongBytes)
            if wrong:
                # What another process sent was never proven: all of it is doubted.
                self._drop(key)
            if resume is None or (heard and not wrong):
                raise
            # Nor is it known where its address leads by now: it shall not stand in our way.
            self._notes.forget(_UPLOAD, key)
            try:
                done = self.remote.upload(blob, began=begin, heard=hear)
            except WrongBytes:
                self._drop(key)
                raise
        if key is not None:
            self._notes.forget(_UPLOAD, key)
        return done

    def _drop(self, key: Json) -> None:
        """Let a session go that holds wrong bytes."""
        session = None if key is None else self._notes.recall(_UPLOAD, key)
        if isinstance(session, str):
            self._notes.forget(_UPLOAD, key)
            with suppress(OvenproofError):  # the registry lets it go by itself one day
                self.remote.cancel(session)

    def _homes(self, content: Content, given: Iterable[Repository]) -> tuple[Repository, ...]:
        """Where it may be mounted from: other repositories of the same registry."""
        noted = self._notes.recall(_HOMES, self._key(content))
        names = noted if isinstance(noted, list) else []
        host = self.repository.host
        found = (*given, *(Repository(host, name) for name in names if isinstance(name, str)))
        mine = (home for home in found if home.host == host and home != self.repository)
        return tuple(dict.fromkeys(mine))

    def _settled(self, content: Content) -> None:
        """Note that the repository is one of the blob's homes."""
        noted = self._notes.recall(_HOMES, self._key(content))
        others = noted if isinstance(noted, list) else []
        names = [self.repository.name, *(name for name in others if name != self.repository.name)]
        self._notes.remember(_HOMES, self._key(content), names[:HOMES_KEPT])

    def _upload_key(self, content: Content) -> Json:
        return {**self._key(content), "repository": self.repository.name}

    def _key(self, content: Content) -> dict[str, Json]:
        return {"registry": self.repository.host, "digest": str(content.digest)}


def tell_there(count: int, of: int, listener: Listener) -> None:
    """Say once how much of an image need not move."""
    if count:
        listener(Noted(text=f"{count} of {of} blobs are there already"))


def each(work: Callable[[Item], None], items: Iterable[Item], jobs: int) -> None:
    """Do the work for each item, in some threads. Raises all faults, once what runs has ended.

    After a fault nothing new is begun. An interruption does not wait for a thread that hangs.
    """
    pending = list(enumerate(items))
    pending.reverse()
    faults: dict[int, BaseException] = {}
    interrupted = threading.Event()

    def run() -> None:
        while not faults and not interrupted.is_set():
            try:
                number, item = pending.pop()
            except IndexError:
                return
            try:
                work(item)
            except BaseException as fault:
                faults[number] = fault

    threads = [threading.Thread(target=run, daemon=True) for _ in range(min(jobs, len(pending)))]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:
        interrupted.set()
        deadline = time.monotonic() + GRACE_S
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        raise
    found = [faults[number] for number in sorted(faults)]
    for fault in found:
        if not isinstance(fault, OvenproofError):
            raise fault
    raise_all(fault for fault in found if isinstance(fault, OvenproofError))
