"""How much of an answer is read, and that a connection is let go."""

from collections.abc import Iterator

import httpx2
import pytest

from ovenproof.errors import WrongBytes
from ovenproof.registry.reference import Repository
from ovenproof.registry.wire import ANSWER_LIMIT, ERROR_LIMIT, whole

REPOSITORY = Repository("registry.example", "a/b")
PIECE = b"x" * 4096


class Endless(httpx2.SyncByteStream):
    """A body that never ends; it counts what was taken."""

    def __init__(self) -> None:
        self.taken = 0
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        while True:
            self.taken += len(PIECE)
            yield PIECE

    def close(self) -> None:
        self.closed = True


def answer(status: int, stream: httpx2.SyncByteStream, **headers: str) -> httpx2.Response:
    request = httpx2.Request("GET", "https://registry.example/v2/?sig=secret")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.Response(status, headers=named, stream=stream, request=request)


@pytest.mark.parametrize("status", [401, 404, 503])
def test_of_what_says_no_only_the_beginning_is_read(status: int) -> None:
    body = Endless()

    found = whole(answer(status, body), REPOSITORY)

    assert (found.status_code, len(found.content)) == (status, ERROR_LIMIT)
    assert body.taken <= ERROR_LIMIT + len(PIECE)
    assert body.closed


def test_an_answer_that_is_too_long_is_not_cut_in_silence() -> None:
    body = Endless()

    with pytest.raises(WrongBytes, match="too long") as raised:
        whole(answer(200, body), REPOSITORY)

    assert body.taken <= ANSWER_LIMIT + len(PIECE)
    assert body.closed
    assert "secret" not in str(raised.value)


def test_bytes_are_kept_as_they_came_over_the_wire() -> None:
    class Few(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield b"no"
            yield b"zip"

    found = whole(answer(200, Few(), Content_Encoding="gzip", ETag="x"), REPOSITORY)

    assert found.content == b"nozip"
    assert found.headers["etag"] == "x"
    assert "content-encoding" not in found.headers
    assert whole(found, REPOSITORY) is found
