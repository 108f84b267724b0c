"""What goes over the wire: a request with the body still coming, and the answer to it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BufferedIOBase

_PIECE = 1 << 20


class Dropped(Exception):
    """The connection ends here, without an answer."""


class Body:
    """What a client sends, in pieces, as they come. Iterating again goes on where it stopped."""

    def __init__(self, wire: BufferedIOBase, headers: Mapping[str, str]) -> None:
        self._wire = wire
        chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        self.length = None if chunked else int(headers.get("content-length", 0))
        """None where the client streams without saying how much."""
        self.received = 0
        self._pieces = self._chunks() if self.length is None else self._exactly(self.length)

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.received += len(piece)
            yield piece

    def read(self) -> bytes:
        """All that is still to come."""
        return b"".join(self)

    def drain(self) -> None:
        """Let the rest come, so that the connection can be used again."""
        for _ in self:
            pass

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            try:
                # `read1` gives what is there: what came before a cut is not lost.
                piece = self._wire.read1(min(size, _PIECE))
            except OSError as error:
                raise Dropped from error
            if not piece:
                raise Dropped
            size -= len(piece)
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self._line().partition(b";")[0], 16):
            yield from self._exactly(size)
            self._line()
        while self._line():  # trailers
            pass

    def _line(self) -> bytes:
        try:
            line = self._wire.readline(_PIECE)
        except OSError as error:
            raise Dropped from error
        if not line.endswith(b"\n"):
            raise Dropped
        return line.strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request; whoever answers it may read the body."""

    method: str
    path: str
    """Without the query."""
    query: Mapping[str, str]
    """What is given more than once is joined by spaces, as scopes are."""
    headers: Mapping[str, str]
    """Their names are in lower case."""
    body: Body


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as it is remembered, once its answer is known."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    received: int
    """Bytes of the body that came."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response. To HEAD the body is not sent, only its size."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut_after: int | None = None
    """Drop the connection after so many bytes of the body."""


class Refused(Exception):
    """An answer that says no, in the specification's form."""

    def __init__(
        self, status: int, code: str, message: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(f"{status} {code} {message}")
        error = {"code": code, "message": message or code.lower().replace("_", " "), "detail": None}
        body = json.dumps({"errors": [error]}).encode()
        self.answer = Answer(status, {"Content-Type": "application/json", **(headers or {})}, body)
