"""What is noted of a repository's uploads: where each goes on, and which repositories have a blob.

An upload that is under way is noted, so that the next process goes on where a killed one ended; and
a repository that took a blob is noted as its home, so that others of that registry can mount it.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from ovenproof.core.digest import Content, Digest, Json
from ovenproof.errors import OvenproofError, WrongBytes
from ovenproof.registry.blob import Blob, Stream, Uploaded
from ovenproof.registry.reference import Repository
from ovenproof.store.notes import Notes

if TYPE_CHECKING:
    from ovenproof.registry.remote import Remote

HOMES_KEPT = 4
_UPLOAD, _HOMES = "upload", "homes"


class Sessions:
    """Uploads into one repository, gone on with where an earlier process has left them."""

    def __init__(self, remote: "Remote", notes: Notes) -> None:
        self._remote = remote
        self._repository = remote.repository
        self._notes = notes

    def upload(
        self, blob: Blob | Stream, name: dict[str, Json], heard: Callable[[int], None]
    ) -> Uploaded:
        """Upload what has this name in the notes. Where somebody else is at it nothing is noted."""
        key = {**self._key(name), "repository": self._repository.name}
        with self._notes.alone(_UPLOAD, key) as alone:
            if not alone:
                return self._remote.upload(blob, began=lambda _session: None, heard=heard)
            done = self._noted(blob, key, heard)
            self._notes.forget(_UPLOAD, key)
        return done

    def has_begun(self, name: dict[str, Json]) -> bool:
        """Whether an upload of that name has begun, and nobody has ended it."""
        key = {**self._key(name), "repository": self._repository.name}
        return self._notes.recall(_UPLOAD, key) is not None

    def forget(self, name: dict[str, Json]) -> None:
        """The upload is over: a process may have been killed between its end and this."""
        self._notes.forget(_UPLOAD, {**self._key(name), "repository": self._repository.name})

    def homes(self, content: Content, given: Iterable[Repository]) -> tuple[Repository, ...]:
        """Where it may be mounted from: other repositories of the same registry."""
        host = self._repository.host
        noted = (Repository(host, name) for name in self._names(content))
        mine = (home for home in (*given, *noted) if home.host == host)
        return tuple(dict.fromkeys(home for home in mine if home != self._repository))

    def settled(self, content: Content) -> None:
        """Note that the repository is one of the blob's homes."""
        own = self._repository.name
        others = [name for name in self._names(content) if name != own]
        self._notes.remember(_HOMES, self._key(named(content)), (own, *others)[:HOMES_KEPT])

    def _noted(self, blob: Blob | Stream, key: Json, heard: Callable[[int], None]) -> Uploaded:
        """An earlier session goes on, this one is noted, and one that holds wrong bytes is let go.

        Where the earlier one leads by now is not known: it shall not stand in our way. But a fault
        of our own source says nothing against it.
        """
        source = _Watched(blob)
        sent = 0

        def hear(size: int) -> None:
            nonlocal sent
            sent += size
            heard(size)

        def upload(resume: str | None) -> Uploaded:
            try:
                return self._remote.upload(source.blob, resume=resume, began=began, heard=hear)
            except WrongBytes:
                # What another process sent was never proven: all of it is doubted.
                self._drop(key)
                raise

        def began(session: str) -> None:
            self._notes.remember(_UPLOAD, key, session)

        noted = self._notes.recall(_UPLOAD, key)
        resume = noted if isinstance(noted, str) else None
        try:
            return upload(resume)
        except OvenproofError as fault:
            moved = sent and not isinstance(fault, WrongBytes)
            if resume is None or moved or fault is source.fault:
                raise
        self._notes.forget(_UPLOAD, key)
        return upload(None)

    def _drop(self, key: Json) -> None:
        session = self._notes.recall(_UPLOAD, key)
        if isinstance(session, str):
            self._notes.forget(_UPLOAD, key)
            with suppress(OvenproofError):  # the registry lets it go by itself one day
                self._remote.cancel(session)

    def _names(self, content: Content) -> list[str]:
        noted = self._notes.recall(_HOMES, self._key(named(content)))
        return [name for name in noted if isinstance(name, str)] if isinstance(noted, list) else []

    def _key(self, name: dict[str, Json]) -> dict[str, Json]:
        return {"registry": self._repository.host, **name}


def named(content: Content) -> dict[str, Json]:
    """What a blob is called in the notes, where its digest is known."""
    return {"digest": str(content.digest)}


class _Watched:
    """A blob, and the fault of its own source, which is none of the registry."""

    def __init__(self, blob: Blob | Stream) -> None:
        self.fault: OvenproofError | None = None
        self.blob: Blob | Stream
        if isinstance(blob, Blob):
            self.blob = replace(blob, open=self._reading(blob.open))
        else:
            self.blob = replace(
                blob, read=self._reading(blob.read), digest=self._naming(blob.digest)
            )

    def _reading(self, read: Callable[[int], Iterator[bytes]]) -> Callable[[int], Iterator[bytes]]:
        def watched(offset: int) -> Iterator[bytes]:
            with self._watching():
                yield from read(offset)

        return watched

    def _naming(self, digest: Callable[[], Digest]) -> Callable[[], Digest]:
        def watched() -> Digest:
            with self._watching():
                return digest()

        return watched

    @contextmanager
    def _watching(self) -> Iterator[None]:
        try:
            yield
        except OvenproofError as fault:
            self.fault = fault
            raise
