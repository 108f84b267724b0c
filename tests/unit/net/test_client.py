"""HTTP clients where the environment names a proxy."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ovenproof.bases import debian_fetch
from ovenproof.core.digest import Content
from ovenproof.core.image_lock import LockedDeb
from ovenproof.errors import BadCall
from ovenproof.hub.greeting import greet
from ovenproof.hub.hub import Hub
from ovenproof.hub.place import Place
from ovenproof.net.client import client
from ovenproof.registry.bazel import BazelCache
from ovenproof.registry.client import Registries
from ovenproof.store.store import Store

DEB = LockedDeb(name="a", version="1", archive="debian", path="pool/a.deb", content=Content.of(b""))


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name.upper()}_PROXY", raising=False)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("ALL_PROXY", "socks5://me:canary@127.0.0.1:9"),
        ("HTTPS_PROXY", "socks5h://127.0.0.1:9"),
        ("HTTP_PROXY", "http://me:canary@127.0.0.1:bad"),
        ("http_proxy", "ftp://me:canary@x"),
        ("http_proxy", "me:canary@x:bad"),
        ("HTTP_PROXY", "http://127.0.0.1:99999"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_named_without_its_password(
    name: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, address)
    with pytest.raises(BadCall, match=name.upper()) as caught:
        client()
    assert "canary" not in str(caught.value)
    assert "http://HOST:PORT" in str(caught.value)


@pytest.mark.parametrize("address", ["http://me:pw@127.0.0.1:9", "https://p.example", "p:3128"])
def test_a_proxy_that_can_be_used_is_taken(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", address)
    client().close()


def test_what_is_wrong_with_no_proxy_is_not_blamed_on_one() -> None:
    with pytest.raises(ValueError, match="scheme"):
        client(proxy="ftp://x")


CLIENTS: dict[str, Callable[[Path], object]] = {
    "hub": lambda _home: Hub(Place(endpoint="https://hub.example")),
    "greeting": lambda _home: greet(Place(endpoint="https://hub.example")),
    "registries": lambda home: Registries(environment={}, home=home),
    "bazel": lambda home: BazelCache("http://127.0.0.1:9", environment={}, home=home),
    "debian": lambda home: debian_fetch.fetch([DEB], Store(home), mirrors={}),
}


@pytest.mark.parametrize("make", CLIENTS.values(), ids=CLIENTS)
def test_nobody_who_asks_over_http_breaks_down(
    make: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:9")
    with pytest.raises(BadCall, match="HTTPS_PROXY"):
        make(tmp_path)
