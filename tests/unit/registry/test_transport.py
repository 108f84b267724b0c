"""Waiting, plain http, and what is said when nobody answers."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx2
import pytest

from ovenproof.core.digest import Content
from ovenproof.errors import LockAgain, NoAccess, TryAgain
from ovenproof.net.waiting import absent_waits, retry_after_s
from ovenproof.registry.client import WAITS_S, Registries
from ovenproof.registry.reference import Repository
from ovenproof.registry.refusal import Absent, Unanswered, refused, said, where
from tests.fakes.registry import FakeRegistry

REQUEST = httpx2.Request("GET", "https://registry.example/v2/?sig=secret")
CONTENT = Content.of(b"x")


def response(status: int, body: bytes = b"", **headers: str) -> httpx2.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.Response(status, headers=named, content=body, request=REQUEST)


@contextmanager
def answering(data: bytes) -> Iterator[str]:
    """Something that is no registry: says the same to everybody."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(4096)
                    connection.sendall(data)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_wait_is_in_seconds_or_until_a_date_of_the_servers_clock() -> None:
    now, later = "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:30 GMT"

    assert retry_after_s(response(429, Retry_After="7")) == 7
    assert retry_after_s(response(429, Retry_After=later, Date=now)) == 30
    assert retry_after_s(response(429, Retry_After=now, Date=later)) == 0
    assert retry_after_s(response(429, Retry_After="soon")) == 0
    assert retry_after_s(response(429)) == 0


def test_an_address_is_shown_without_its_query_and_user() -> None:
    assert where("https://me:pw@x.example/v2/?sig=secret") == "https://x.example/v2/"


def test_what_a_registry_says_is_quoted_shortly_and_without_secrets() -> None:
    body = (
        b'{"errors":[{"code":"DENIED","message":"no\\u001b[31m Bearer abcdefghijkl at '
        b"https://u:p@x.example/a?X-Sig=secret " + b"long " * 100 + b'"}]}'
    )
    text = said(response(403, body))

    assert text.startswith("HTTP status 403, DENIED: no")
    assert len(text) < 250
    assert not [word for word in ("secret", "abcdefghijkl", "u:p", "\x1b") if word in text]


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"errors": 7}', b'{"errors": [7]}', b"\xff"])
def test_a_no_that_is_not_in_the_specification_s_form_is_told_too(body: bytes) -> None:
    fault = refused("no", Repository("x.example", "a"), response(403, body))

    assert fault.got == "HTTP status 403, asked without a login"
    assert fault.hint == "log in: docker login x.example"


def test_who_speaks_no_https_is_named_as_insecure_by_a_person_only(tmp_path: Path) -> None:
    """The name is not loopback to us, and its server answers in plain http."""
    with (
        answering(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n") as address,
        Registries(environment={}, home=tmp_path, waits_s=()) as registries,
    ):
        port = address.rpartition(":")[2]
        alias = f"0.0.0.0:{port}"  # reaches loopback, and is not of it
        with pytest.raises(NoAccess, match=f"OVENPROOF_INSECURE_REGISTRIES={alias}"):
            registries.at(Repository(alias, "a")).has(CONTENT)


def test_a_host_that_was_named_is_spoken_to_in_plain(tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        alias = f"0.0.0.0:{registry.address.rpartition(':')[2]}"
        registry.add_blob("a", b"x")
        with Registries(
            environment={}, home=tmp_path, insecure=frozenset({alias}), waits_s=()
        ) as registries:
            assert registries.at(Repository(alias, "a")).has(CONTENT)


def test_an_address_that_is_none_is_told(tmp_path: Path) -> None:
    there = b"Location: http://bad:port/\r\n"
    with (
        answering(b"HTTP/1.1 307 Go\r\n" + there + b"Content-Length: 0\r\n\r\n") as address,
        Registries(environment={}, home=tmp_path, waits_s=()) as registries,
        pytest.raises(NoAccess, match="an address that is none"),
    ):
        registries.at(Repository(address, "a")).has(CONTENT)


@pytest.mark.parametrize("status", [400, 404])
@pytest.mark.parametrize("code", ["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN"])
def test_a_manifest_whose_parts_are_gone_is_pushed_again(status: int, code: str) -> None:
    body = b'{"errors":[{"code":"' + code.encode() + b'"}]}'
    put = httpx2.Request("PUT", "https://registry.example/v2/a/manifests/v1")
    answer = httpx2.Response(status, content=body, request=put)

    fault = refused("no", Repository("registry.example", "a"), answer)

    assert isinstance(fault, TryAgain)
    assert fault.hint is not None
    assert fault.hint.startswith("run the same again")


def test_a_blob_that_is_not_there_to_be_read_is_no_reason_to_try_again() -> None:
    fault = refused(
        "no", Repository("x.example", "a"), response(404, b'{"errors":[{"code":"BLOB_UNKNOWN"}]}')
    )

    assert isinstance(fault, LockAgain)


def test_a_redirect_to_a_place_without_https_is_not_followed(tmp_path: Path) -> None:
    there = b"Location: http://elsewhere.example/x?sig=secret\r\n"
    with (
        answering(b"HTTP/1.1 307 Go\r\n" + there + b"Content-Length: 0\r\n\r\n") as address,
        Registries(environment={}, home=tmp_path, waits_s=()) as registries,
        pytest.raises(NoAccess, match="without https") as raised,
    ):
        list(registries.at(Repository(address, "a")).open(CONTENT))

    assert "secret" not in str(raised.value)


def test_redirects_come_to_an_end(tmp_path: Path) -> None:
    with (
        answering(b"HTTP/1.1 307 Go\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n") as address,
        Registries(environment={}, home=tmp_path, waits_s=()) as registries,
        pytest.raises(NoAccess, match="5 redirects"),
    ):
        registries.at(Repository(address, "a")).has(CONTENT)


def test_who_is_not_there_may_be_there_later(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    with (
        Registries(environment={}, home=tmp_path, waits_s=(0.001,)) as registries,
        pytest.raises(TryAgain, match="does not answer"),
    ):
        registries.at(Repository(address, "a")).has(CONTENT)


def test_who_was_never_there_is_waited_for_a_short_time_and_who_went_away_longer(
    tmp_path: Path,
) -> None:
    with Registries(environment={}, home=tmp_path, waits_s=(0.001,)) as met:
        with FakeRegistry() as registry:
            address = Repository(registry.address, "a")
            assert not met.at(address).has(CONTENT)
        with pytest.raises(Unanswered) as gone:
            met.at(address).has(CONTENT)
    with (
        Registries(environment={}, home=tmp_path, waits_s=(0.001,)) as new,
        pytest.raises(Absent, match="does not answer"),
    ):
        new.at(address).has(CONTENT)
    assert not isinstance(gone.value, Absent)
    assert absent_waits(WAITS_S) == 2
    assert absent_waits(()) == 0
    assert absent_waits((3.0,)) == 0


def test_a_name_that_nobody_has_says_so(tmp_path: Path) -> None:
    with (
        Registries(environment={}, home=tmp_path, waits_s=()) as registries,
        pytest.raises(TryAgain),
    ):
        registries.at(Repository("registry.invalid", "a")).has(CONTENT)
