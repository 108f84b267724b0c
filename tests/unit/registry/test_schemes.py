"""https or plain http: a table of who may be asked how, and who may send us where."""

import httpx2
import pytest

from ovenproof.errors import NoAccess
from ovenproof.registry.reference import Repository
from ovenproof.registry.schemes import Schemes, is_own, may_plain

INSECURE = frozenset({"plain.example", "port.example:5000"})
FAR = Repository("ghcr.io", "a/b")
NEAR = Repository("127.0.0.1:5000", "a/b")
NAMED = Repository("plain.example", "a/b")
TRUSTED = Repository("localhost:5001", "a/b")


def schemes() -> Schemes:
    return Schemes(insecure=INSECURE, trusted=frozenset({TRUSTED.host}))


@pytest.mark.parametrize(
    ("host", "plain"),
    [
        ("localhost:5000", True),
        ("127.0.0.1", True),
        ("127.9.9.9:80", True),
        ("[::1]:80", True),
        ("plain.example:5000", True),
        ("port.example:5000", True),
        ("port.example:5001", False),
        ("localhost.example", False),
        ("10.0.0.1", False),
        ("0.0.0.0:5000", False),
    ],
)
def test_plain_http_is_for_loopback_and_for_who_was_named(host: str, plain: bool) -> None:
    assert may_plain(host, INSECURE) is plain


@pytest.mark.parametrize(
    ("repository", "base"),
    [
        (FAR, "https://ghcr.io"),
        (Repository("docker.io", "library/a"), "https://registry-1.docker.io"),
        (NEAR, "http://127.0.0.1:5000"),
        (NAMED, "http://plain.example"),
        (TRUSTED, "https://localhost:5001"),
    ],
)
def test_a_registry_is_spoken_to_in_plain_only_where_that_may_be(
    repository: Repository, base: str
) -> None:
    assert schemes().base(repository) == base


@pytest.mark.parametrize(
    ("repository", "named", "asked"),
    [
        (FAR, "https://ghcr.io/x?a=%2F", "https://ghcr.io/x?a=%2F"),
        (FAR, "http://ghcr.io/x", "https://ghcr.io/x"),
        (FAR, "http://ghcr.io:443/x", None),
        (FAR, "https://bucket.example/x", "https://bucket.example/x"),
        (FAR, "http://bucket.example/x", None),
        (FAR, "http://plain.example/x", "http://plain.example/x"),
        (FAR, "http://127.0.0.1:2375/containers", None),
        (FAR, "http://localhost/x", None),
        (FAR, "http://[::1]:80/x", None),
        (FAR, "https://127.0.0.1:9000/x", "https://127.0.0.1:9000/x"),
        (FAR, "ftp://ghcr.io/x", None),
        (FAR, "file:///etc/passwd", None),
        (NEAR, "http://127.0.0.1:5000/x", "http://127.0.0.1:5000/x"),
        (NEAR, "http://127.0.0.1/x", "http://127.0.0.1:5000/x"),
        (NEAR, "http://localhost:9000/x", "http://localhost:9000/x"),
        (NEAR, "https://127.0.0.1:5000/x", "https://127.0.0.1:5000/x"),
        (NAMED, "http://plain.example/x", "http://plain.example/x"),
        (NAMED, "https://plain.example/x", "https://plain.example/x"),
        (TRUSTED, "http://localhost:5001/x", "https://localhost:5001/x"),
        (TRUSTED, "http://localhost:9000/x", None),
    ],
)
def test_where_a_registry_may_send_us(
    repository: Repository, named: str, asked: str | None
) -> None:
    if asked is None:
        with pytest.raises(NoAccess, match="without https"):
            schemes().proper(httpx2.URL(named), repository)
    else:
        assert str(schemes().proper(httpx2.URL(named), repository)) == asked


def test_who_has_named_itself_https_is_never_asked_in_plain_again() -> None:
    known = schemes()
    assert known.is_open(httpx2.URL("http://plain.example/x"), NAMED)

    known.proper(httpx2.URL("https://plain.example/x"), NAMED)

    assert known.base(NAMED) == "https://plain.example"
    again = known.proper(httpx2.URL("http://plain.example/x"), NAMED)
    assert str(again) == "https://plain.example/x"
    assert not known.is_open(httpx2.URL("http://plain.example/x"), NAMED)
    assert known.settle(NAMED, lambda: False)


def test_how_a_registry_speaks_is_looked_up_once() -> None:
    known = schemes()

    assert not known.settle(NEAR, lambda: False)
    assert not known.settle(NEAR, lambda: True)
    assert known.base(NEAR) == "http://127.0.0.1:5000"


def test_only_the_registry_s_own_origin_is_its_own() -> None:
    assert is_own(httpx2.URL("https://ghcr.io:443/x"), FAR)
    assert is_own(httpx2.URL("http://127.0.0.1:5000/x"), NEAR)
    assert not is_own(httpx2.URL("http://127.0.0.1:5001/x"), NEAR)
    assert not is_own(httpx2.URL("https://ghcr.io.evil.example/x"), FAR)


def test_a_registry_that_speaks_https_cannot_send_our_login_to_plain_loopback() -> None:
    schemes = Schemes(trusted=frozenset({"127.0.0.1:5000"}))
    service = httpx2.URL("http://127.0.0.1:2375/token")
    assert not schemes.allows(service, Repository("ghcr.io", "a/b"))
    assert not schemes.allows(service, Repository("127.0.0.1:5000", "a/b"))
    assert schemes.allows(service, Repository("127.0.0.1:5001", "a/b"))
