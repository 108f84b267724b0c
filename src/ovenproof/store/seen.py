"""What this machine has hashed: digests of files that have not changed since.

A file is taken to be unchanged while its path, size, inode and both its times are, and those times
lie before the record's: a file system's clock ticks slowly, so that a file which was changed again
within one tick looks as it did. This is a shortcut of one machine and never leaves it, unlike an
action's outcome.
"""

import os
from pathlib import Path

from ovenproof.core.digest import Content, Digest, Json, canonical_json
from ovenproof.core.reader import Reader
from ovenproof.errors import BadFile
from ovenproof.store.disk import sweep, write_file, writing_to


class Seen:
    """A folder of small records, one per file and purpose."""

    def __init__(self, root: Path) -> None:
        self._root = root / "seen"

    def recall(self, path: Path, purpose: Json, status: os.stat_result) -> Content | None:
        """What the file's hashing gave; `purpose` says what was hashed."""
        try:
            with self._place(path, purpose).open("rb") as stream:
                text = stream.read()
                written_ns = os.fstat(stream.fileno()).st_mtime_ns
            found = Reader.parse(text, name="seen").content()
        except (OSError, BadFile):
            return None
        settled = max(status.st_mtime_ns, status.st_ctime_ns) < written_ns
        return found if settled and text == _record(status, found) else None

    def knows(self, path: Path, purpose: Json) -> bool:
        """Whether the file was hashed here before, in whatever state it was then."""
        return self._place(path, purpose).exists()

    def remember(self, path: Path, purpose: Json, status: os.stat_result, content: Content) -> None:
        """Remember it, for the state that the file had before it was read."""
        hint = "free space, or set OVENPROOF_CACHE to a folder that can be written"
        with writing_to(self._root, hint=hint):
            write_file(self._place(path, purpose), [_record(status, content)])

    def sweep(self) -> int:
        """Remove what killed processes left behind; how many things that were."""
        return sweep(self._root)

    def _place(self, path: Path, purpose: Json) -> Path:
        key = Digest.of(canonical_json({"path": os.fsencode(path).hex(), "purpose": purpose}))
        return self._root / f"{key.hex}.json"


def _record(status: os.stat_result, content: Content) -> bytes:
    """A record, with a digest of itself so that a damaged one is not believed."""
    body: dict[str, Json] = {
        "state": state(status),
        "digest": str(content.digest),
        "size": content.size,
    }
    return canonical_json({**body, "check": str(Digest.of(canonical_json(body)))})


def state(status: os.stat_result) -> str:
    """All that tells one state of a file from another without reading it."""
    parts = (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )
    return " ".join(str(part) for part in parts)
