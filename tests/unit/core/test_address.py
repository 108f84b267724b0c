"""What of an address a person may see."""

import pytest

from ovenproof.core.address import shown, without_login


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("https://me:secret@m.example/debian@x", "https://x"),
        ("https://me:se@cr@et@m.example:8443/", "https://m.example:8443/"),
        ("https://m.example:8443/debian@x", "https://m.example:8443/debian@x"),
        ("https://me:se/cr/et@m.example/p", "https://m.example/p"),
        ("https://me:se@cr/et#x@m.example", "https://m.example"),
        ("https://me:secret@m.example/a@sha256:12", "https://m.example/a@sha256:12"),
        ("http://[::1]:5000/a@b", "http://[::1]:5000/a@b"),
        ("https://token@m.example", "https://m.example"),
        (
            "http://a:b@x.example/p and http://c:d@y.example",
            "http://x.example/p and http://y.example",
        ),
        ("//nobody.example wrote to me@m.example", "//nobody.example wrote to me@m.example"),
        ("me@m.example", "me@m.example"),
    ],
)
def test_users_and_passwords_are_not_shown(text: str, seen: str) -> None:
    assert shown(text) == seen


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("ghcr.io/a:t", "ghcr.io/a:t"),
        ("ghcr.io/a@sha256:12", "ghcr.io/a@sha256:12"),
        ("me:p@s/s@ghcr.io/a@sha256:12", "…@ghcr.io/a@sha256:12"),
    ],
)
def test_a_login_before_a_name_is_not_shown(text: str, seen: str) -> None:
    assert without_login(text) == seen
