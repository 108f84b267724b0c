"""Notes: small facts that make the next run faster, and that may be lost at any moment.

Which upload was under way, which repository has a blob. Nobody relies on one: a note that cannot be
written is not written, and one that cannot be read is thrown away. They never leave this machine,
and only their owner may read them, because the address of an upload can be as good as a password.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ovenproof.core.digest import Digest, Json, canonical_json
from ovenproof.core.reader import Reader
from ovenproof.errors import BadFile
from ovenproof.store.disk import abandoned, sweep, write_file


class Notes:
    """A folder of small records, one per kind and key. What a disk refuses is no fault here."""

    def __init__(self, root: Path) -> None:
        self._root = root / "notes"

    def recall(self, kind: str, key: Json) -> Json:
        """What was noted; None where nothing was. A damaged note is removed."""
        path = self._place(kind, key)
        try:
            text = path.read_bytes()
        except OSError:
            return None
        try:
            value = Reader.parse(text, name=path.name).json("value")
            if text == _record(kind, key, value):
                return value
        except (BadFile, TypeError, ValueError):
            pass
        self.forget(kind, key)
        return None

    def remember(self, kind: str, key: Json, value: Json) -> None:
        """Note it, in place of what was noted before."""
        with suppress(OSError):
            write_file(self._place(kind, key), [_record(kind, key, value)], mode=0o600)

    def forget(self, kind: str, key: Json) -> None:
        """What is over needs no note."""
        with suppress(OSError):
            self._place(kind, key).unlink()

    @contextmanager
    def alone(self, kind: str, key: Json) -> Iterator[bool]:
        """Whether nobody else works on what the note is about, in this process or another.

        Until the end of the block nobody else is told so. False also where no lock can be made.
        """
        path = self._place(kind, key).with_suffix(".lock")
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            yield False
            return
        try:
            held = _try_claim(descriptor)
            try:
                yield held
            finally:
                if held:
                    with suppress(OSError):
                        path.unlink()
        finally:
            os.close(descriptor)

    def sweep(self) -> int:
        """Remove what killed processes left behind; how many things that were."""
        removed = sweep(self._root)
        for path in self._root.glob("*.lock"):
            with abandoned(path) as dead:
                if dead:
                    path.unlink(missing_ok=True)
                    removed += 1
        return removed

    def _place(self, kind: str, key: Json) -> Path:
        name = Digest.of(canonical_json({"kind": kind, "key": key}))
        return self._root / f"{name.hex}.json"


def _record(kind: str, key: Json, value: Json) -> bytes:
    """A note, with a digest of itself so that a damaged one is not believed."""
    body: dict[str, Json] = {"kind": kind, "key": key, "value": value}
    return canonical_json({**body, "check": str(Digest.of(canonical_json(body)))})


def _try_claim(descriptor: int) -> bool:
    """Lock the file, unless somebody has, or has just removed it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return os.fstat(descriptor).st_nlink > 0
