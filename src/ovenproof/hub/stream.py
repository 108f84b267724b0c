"""A range of a file of the hub as a stream: gone on with after a cut, and not verified.

Who opens it verifies: a range has no digest, and the whole has one in the lock.
"""

import io
import re
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import httpx2

from ovenproof.errors import NoAccess, OvenproofError, WrongBytes
from ovenproof.hub.asking import Asking
from ovenproof.hub.files import Located
from ovenproof.hub.refusal import Unanswered, refused, unreachable, where
from ovenproof.net.waiting import absent_waits, pause_s, retry_after_s

if TYPE_CHECKING:
    from typing_extensions import Buffer

_SPAN = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_BUFFER = 1 << 16
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_PROGRESS = 1 << 20
"""Who gives less than this again and again before the connection ends is given up after a while."""
_CRUMBS = 16
"""So often."""


class HubStream(io.BufferedReader):
    """The bytes from an offset on. `read` gives all that was asked for, unless they end."""

    def __init__(
        self, asking: Asking, at: Located, span: tuple[int, int], waits_s: Sequence[float]
    ) -> None:
        self._raw = _Raw(Reading(asking, at, span, waits_s))
        super().__init__(self._raw, _BUFFER)

    @property
    def ranged(self) -> bool:
        """Whether whoever answers gives ranges. Asks, unless that was done; False: all from 0."""
        self._raw.fill()
        return self._raw.reading.ranged


class _Raw(io.RawIOBase):
    """What a reading gives, as it comes."""

    def __init__(self, reading: "Reading") -> None:
        self.reading = reading
        self._chunks = reading.chunks()
        self._held = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "Buffer", /) -> int:
        self.fill()
        into = memoryview(buffer).cast("B")
        size = min(len(into), len(self._held))
        into[:size], self._held = self._held[:size], self._held[size:]
        return size

    def fill(self) -> None:
        """Wait for bytes, unless there are some at hand or no more to come."""
        if not self._held:
            self._held = memoryview(next(self._chunks, b""))

    def close(self) -> None:
        if not self.closed:
            self._chunks.close()
        super().close()


class Reading:
    """A range on its way to us."""

    def __init__(
        self, asking: Asking, at: Located, span: tuple[int, int], waits_s: Sequence[float]
    ) -> None:
        self.ranged = True
        self._asking = asking
        self._at = at
        self._next, self._end = span
        self._waits_s = waits_s
        self._met = False

    def chunks(self) -> Generator[bytes]:
        """The bytes; a broken connection goes on where it stopped. Raises what tells why not."""
        attempt = crumbs = 0
        mark = self._next
        while self._next < self._end:
            before = self._next
            try:
                yield from self._once()
                fault: OvenproofError = unreachable(
                    self._asking.place, self._at, "the connection ended too early"
                )
                told_s = 0.0
            except _Later as later:
                fault, told_s = later.fault, later.told_s
            except httpx2.HTTPError as error:
                self._asking.forget(self._at)
                fault = unreachable(self._asking.place, self._at, error, _asked(error))
                told_s = 0.0
            if self._next == self._end:
                return
            if self._next - mark >= _PROGRESS:
                mark, crumbs = self._next, 0
            crumbs += 1
            if crumbs > _CRUMBS:
                raise fault
            attempt = 0 if self._next > before else attempt
            self._wait(attempt, fault, told_s)
            attempt += 1

    def _once(self) -> Iterator[bytes]:
        response = self._asking.ask(self._at, self._next, self._end - 1)
        self._met = True
        with closing(response):
            skip = self._expect(response)
            exact = response.headers.get("Content-Length", "") == str(self._end - self._next + skip)
            chunks = response.iter_raw()
            for came in chunks:
                chunk = came[skip : skip + self._end - self._next]
                skip = max(skip - len(came), 0)
                self._next += len(chunk)
                if self._next == self._end and exact:
                    next(chunks, None)  # there is nothing more, so the connection stays
                if chunk:
                    yield chunk
                if self._next == self._end:
                    return  # what may come yet is not for us, and may have no end

    def _expect(self, response: httpx2.Response) -> int:
        """How many bytes of the answer come before ours. What is no answer raises."""
        status = response.status_code
        if status == 206:
            told = _SPAN.fullmatch(response.headers.get("Content-Range", ""))
            if told is None or int(told[1]) != self._next:
                raise _Later(self._wrong(response, "another range than was asked for"))
            self._ends(response, told[3])
            return 0
        if status == 200:
            self.ranged = False
            self._ends(response, response.headers.get("Content-Length", ""))
            return self._next
        if status == 416:
            raise self._wrong(response, f"the file ends before byte {self._next}")
        fault = refused(self._asking.place, self._at, response)
        if status in _AGAIN:
            raise _Later(fault, retry_after_s(response))
        raise fault

    def _ends(self, response: httpx2.Response, size: str) -> None:
        """Refuse what is too short, where its size is said."""
        if size.isdecimal() and int(size) < self._end:
            raise self._wrong(response, f"a file of {size} bytes")

    def _wait(self, attempt: int, fault: OvenproofError, told_s: float) -> None:
        """Wait before another try, or raise the fault where there is none."""
        if isinstance(fault, NoAccess):
            raise fault
        absent = isinstance(fault, Unanswered) and not self._met
        if attempt >= (absent_waits(self._waits_s) if absent else len(self._waits_s)):
            raise fault
        pause = pause_s(self._waits_s[attempt], told_s)
        if pause is None:
            raise fault
        time.sleep(pause)

    def _wrong(self, response: httpx2.Response, got: str) -> WrongBytes:
        return WrongBytes(
            "the hub gives other bytes than it was asked for",
            subject=self._at,
            where=where(response.url),
            expected=f"bytes {self._next} to {self._end}",
            got=got,
            hint="try again; if it stays, something between here and the hub is broken: set "
            "HF_ENDPOINT to another one",
        )


class _Later(Exception):
    """Another try may help."""

    def __init__(self, fault: OvenproofError, told_s: float = 0.0) -> None:
        super().__init__()
        self.fault = fault
        self.told_s = told_s


def _asked(error: httpx2.HTTPError) -> str:
    try:
        return str(error.request.url)
    except RuntimeError:  # it was not even asked
        return ""
