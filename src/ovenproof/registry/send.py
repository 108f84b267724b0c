"""Bringing blobs into a repository: asked for first, then mounted or sent, biggest first.

What has no digest yet cannot be asked for: it is sent, and its digest is known when it is there.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ovenproof.core.digest import Content, Json
from ovenproof.errors import OvenproofError
from ovenproof.events import Advanced, Expected, Finished, Listener, Noted, Started
from ovenproof.net.crew import each
from ovenproof.registry.blob import Blob, Stream, Uploaded
from ovenproof.registry.reference import Repository
from ovenproof.registry.sessions import Sessions, named
from ovenproof.store.notes import Notes

if TYPE_CHECKING:
    from ovenproof.registry.remote import Remote

ASKED_AT_ONCE = 8
"""Questions only wait for the network."""


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
    remote: "Remote", blobs: Sequence[Blob], *, notes: Notes, jobs: int, listener: Listener
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
        self._sessions = Sessions(remote, notes)
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
            if any(self._lies_in(home, content) for home in self._sessions.homes(content, given)):
                found.add(content)

        each(look, contents, max(ASKED_AT_ONCE, self._jobs))
        return frozenset(found)

    def send(self, blobs: Sequence[Blob], listener: Listener) -> Sent:
        """Mount or send what the repository has not; the first fault lets nothing new begin."""
        unique = {blob.content: blob for blob in blobs}
        there = self.there(unique)
        moved: dict[Content, Uploaded] = {}

        def bring(blob: Blob) -> None:
            moved[blob.content] = self._bring(blob, listener)

        for content in there:
            # A process may have been killed between the end of an upload and that of its note.
            for name in _names(unique[content]):
                self._sessions.forget(name)
        tell_there(len(there), len(unique), listener)
        missing = [blob for content, blob in unique.items() if content not in there]
        missing.sort(key=lambda blob: (-blob.content.size, blob.content.digest))
        _expect(missing, listener)
        each(bring, missing, self._jobs)
        mounted = (content.size for content, done in moved.items() if done.mounted_from)
        return Sent(
            sent=sum(done.sent for done in moved.values()),
            mounted=sum(mounted),
            there=sum(content.size for content in there),
        )

    def absorb(
        self,
        streams: Mapping[str, Stream],
        done: Callable[[str, Content], None],
        listener: Listener,
    ) -> Sent:
        """Send what nobody knows the digest of, under keys that another process would use too.

        `done` is told of each as soon as the registry has it, in the thread that sent it: so it is
        known even if all else fails. A stream whose bytes turn out wrong leaves nothing there.
        """
        sent: list[int] = []

        def take(key: str) -> None:
            stream = streams[key]
            uploaded = self._upload(stream, _as_stream(key), listener)
            content = Content(stream.digest(), stream.size)
            done(key, content)
            self._has(content)
            sent.append(uploaded.sent)
            _tell_finished(stream, uploaded, listener)

        _expect(streams.values(), listener)
        each(take, sorted(streams, key=lambda key: (-streams[key].size, key)), self._jobs)
        return Sent(sent=sum(sent))

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

    def _bring(self, blob: Blob, listener: Listener) -> Uploaded:
        blob = replace(blob, homes=self._sessions.homes(blob.content, blob.homes))
        # A process may have been killed between the last byte of a stream and its end.
        noted = (name for name in _names(blob) if self._sessions.has_begun(name))
        done = self._upload(blob, next(noted, named(blob.content)), listener)
        self._has(blob.content)
        _tell_finished(blob, done, listener)
        return done

    def _upload(self, blob: Blob | Stream, name: dict[str, Json], listener: Listener) -> Uploaded:
        listener(Started(name=blob.title, total=blob.size))

        def hear(size: int) -> None:
            listener(Advanced(name=blob.title, size=size))

        return self._sessions.upload(blob, name, hear)

    def _has(self, content: Content) -> None:
        self._there.add(content)
        self._sessions.settled(content)


def _names(blob: Blob) -> tuple[dict[str, Json], ...]:
    """What an upload of the blob may be called in the notes."""
    own = named(blob.content)
    return (own,) if blob.absorbed_as is None else (own, _as_stream(blob.absorbed_as))


def _as_stream(key: str) -> dict[str, Json]:
    return {"action": key}


def _expect(blobs: Collection[Blob | Stream], listener: Listener) -> None:
    """One of them alone says itself how far it is."""
    if len(blobs) > 1:
        listener(Expected(total=sum(blob.size for blob in blobs)))


def _tell_finished(blob: Blob | Stream, done: Uploaded, listener: Listener) -> None:
    note = ""
    if done.mounted_from is not None:
        note = f"mounted from {done.mounted_from.name}"
    elif done.sent < blob.size:
        note = f"resumed at {blob.size - done.sent}"
    listener(Finished(name=blob.title, note=note))


def tell_there(count: int, of: int, listener: Listener) -> None:
    """Say once how much of an image need not move."""
    if count:
        listener(Noted(text=f"{count} of {of} blobs are there already"))
