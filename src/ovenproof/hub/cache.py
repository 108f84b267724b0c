"""The cache of the hub's own client: read where it lies, and never trusted.

    models--OWNER--NAME/refs/main              the commit that a revision named when it was asked
    models--OWNER--NAME/snapshots/COMMIT/PATH  a link into blobs; a file where links cannot be
    models--OWNER--NAME/blobs/ETAG             sha256 of what is in LFS, git's blob id of the rest

A file is believed once it was hashed here, and only while nobody touches it.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from stat import S_ISREG

from ovenproof.core.digest import Content, Digest
from ovenproof.hub.files import Located
from ovenproof.store.seen import Seen, state

_PURPOSE = "file"
"""As a model's folder says it, so that a file is hashed once whoever looks at it."""


class HubCache:
    """One cache, which need not be there. May be used by many threads at once."""

    def __init__(self, folder: Path, seen: Seen) -> None:
        self.folder = folder
        self.doubted: set[Path] = set()
        """Files that are not what their names promise."""
        self._seen = seen

    def find(self, model: str, commit: str, path: str, content: Content) -> Path | None:
        """A file that has exactly this content, by its real path; reads it unless that was done."""
        at = Located(model=model, commit=commit, path=path)
        return next(
            (place for place in self.candidates(at, content) if self._is(place, content)), None
        )

    def candidates(self, at: Located, content: Content) -> Iterator[Path]:
        """Files that may have the content: they have its size, and nothing was read of them."""
        repository = repository_folder(self.folder, at.model)
        seen: set[Path] = set()
        for named in (
            repository / "snapshots" / at.commit / at.path,
            repository / "blobs" / content.digest.hex,  # another commit's, of the same bytes
        ):
            try:
                place = named.resolve(strict=True)
                status = place.stat()
            except (OSError, RuntimeError):  # not there, or links in a circle
                continue
            if place in seen or not S_ISREG(status.st_mode):
                continue
            seen.add(place)
            if status.st_size == content.size:
                yield place
            else:
                self.doubted.add(named)

    def likely(self, at: Located, content: Content) -> Path | None:
        """A file that has the content as far as is known without reading it."""
        return next(
            (
                place
                for place in self.candidates(at, content)
                if not self._is_another(place, content)
            ),
            None,
        )

    def _is_another(self, place: Path, content: Content) -> bool:
        """Whether it was hashed before, and is not what its name promises."""
        try:
            known = self._seen.recall(place, _PURPOSE, place.stat())
        except OSError:
            return True
        return known not in (None, content)

    def _is(self, place: Path, content: Content) -> bool:
        try:
            found = self._hash(place)
        except OSError:
            return False
        if found != content:
            self.doubted.add(place)
        return found == content

    def _hash(self, place: Path) -> Content | None:
        """What the file has; None where somebody writes there meanwhile."""
        with place.open("rb") as stream:
            before = os.fstat(stream.fileno())
            known = self._seen.recall(place, _PURPOSE, before)
            if known is not None:
                return known
            digest = Digest(hashlib.file_digest(stream, "sha256").hexdigest())
            found = Content(digest, stream.tell())
            if state(os.fstat(stream.fileno())) != state(before):
                return None
        self._seen.remember(place, _PURPOSE, before, found)
        return found


def repository_folder(folder: Path, model: str) -> Path:
    """Where a cache keeps a model's repository."""
    return folder / "--".join(("models", *model.split("/")))
