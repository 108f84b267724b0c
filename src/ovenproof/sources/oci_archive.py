"""The members of a layer that is an archive, of which nothing but the headers is read.

Whoever made it may have lied: sizes below nothing lead back to the same header, headers may follow
on headers, and a list of holes need not end.
"""

import io
import tarfile
from collections.abc import Iterator

from ovenproof.core.digest import Content
from ovenproof.errors import WrongBytes
from ovenproof.sources.ranged import OpenRange, Ranged

_WINDOW = 64 << 10
"""Read at once: enough for the headers of files that lie close together."""
_HEADER_LIMIT = 128 << 10
_MOST_MEMBERS = 10_000
_LIMIT = _MOST_MEMBERS * (_WINDOW + _HEADER_LIMIT)
"""So many bytes are the most that come of one archive."""


def members(blob: Content, open_range: OpenRange, where: object) -> Iterator[tarfile.TarInfo]:
    """What the archive holds, sizes within it. Raises WrongBytes for one that cannot be read."""
    headers = _Headers(blob, open_range)
    try:
        with tarfile.open(fileobj=headers, mode="r:") as archive:
            for number, member in enumerate(archive):
                if number == _MOST_MEMBERS:
                    raise _no_archive(blob, where, f"more than {_MOST_MEMBERS} files and folders")
                if member.size < 0 or member.offset_data + member.size > blob.size:
                    raise _no_archive(blob, where, f"{member.name!a:.200} of {member.size} bytes")
                yield member
                headers.next()
    except (tarfile.TarError, ValueError, OverflowError, LookupError, RecursionError) as error:
        raise _no_archive(blob, where, ascii(str(error))[1:-1][:200]) from error


def _no_archive(blob: Content, where: object, got: str) -> WrongBytes:
    return WrongBytes(
        "a layer of the model is no archive that can be read",
        subject=blob.digest,
        where=where,
        expected=f"headers of files that lie in its {blob.size} bytes",
        got=got,
        hint="push the model again, or use another one",
    )


class _Headers(io.BufferedReader):
    """An archive of which the headers are read, and not more than headers need."""

    def __init__(self, blob: Content, open_range: OpenRange) -> None:
        name = str(blob.digest)
        ranged = Ranged(open_range, blob.size, limit=_LIMIT, name=name, least=_WINDOW)
        super().__init__(ranged)
        self._blob = blob
        self._since = 0
        """What was read since the last header ended."""

    def next(self) -> None:
        """What is read from here on is another header."""
        self._since = 0

    def read(self, size: int | None = -1, /) -> bytes:
        # Blocks count also where nothing is left of the file: a list of holes may have no end.
        self._since += max(tarfile.BLOCKSIZE, size or 0)
        if size is None or size < 0 or self._since > _HEADER_LIMIT:
            raise WrongBytes(
                "a layer of the model has a header that is larger than any name needs",
                subject=self._blob.digest,
                expected=f"{_HEADER_LIMIT} bytes at most",
            )
        return super().read(size)
