"""Fetching from mirrors that are slow, broken, lying or gone: real servers with injected faults."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

from ovenproof.bases.debian_fetch import fetch
from ovenproof.core.digest import Content
from ovenproof.core.image_lock import LockedDeb
from ovenproof.errors import LockAgain, NoAccess, Several, TryAgain, WrongBytes
from ovenproof.events import Advanced, Event, Finished
from ovenproof.store.store import Store

BODY = bytes(range(256)) * 2000
NO_WAIT = (0.0, 0.0)


class Mirror:
    """A mirror that does what it is told, and remembers what it was asked."""

    def __init__(self, port: int = 0) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.codes: list[int] = []
        """Answered first, one for each request."""
        self.cut_after: list[int] = []
        """The connection ends after so many bytes, one for each request."""
        self.ranges = True
        self.moved_to: str | None = None
        self.lock = threading.Lock()
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mirror.answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/debian"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        with self.lock:
            wanted = request.headers.get("Range")
            path = unquote(request.path)
            self.asked.append((path, wanted))
            code = self.codes.pop(0) if self.codes else 200
            cut = self.cut_after.pop(0) if self.cut_after else None
        body = self.files.get(path.removeprefix("/debian/"))
        if self.moved_to is not None:
            request.send_response(302)
            request.send_header("Location", self.moved_to + request.path)
            request.end_headers()
            return
        if body is None or code != 200:
            request.send_response(404 if code == 200 else code)
            request.end_headers()
            return
        start = 0
        if wanted and self.ranges:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(body):
                request.send_response(416)
                request.end_headers()
                return
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            request.send_response(200)
        request.send_header("Content-Length", str(len(body) - start))
        request.end_headers()
        request.wfile.write(body[start:][:cut])


@pytest.fixture
def new_mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Mirror]]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with ExitStack() as stack:

        def start() -> Mirror:
            mirror = Mirror()
            stack.callback(mirror.close)
            return mirror

        yield start


@pytest.fixture
def mirror(new_mirror: Callable[[], Mirror]) -> Mirror:
    return new_mirror()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def locked(name: str, body: bytes = BODY) -> LockedDeb:
    return LockedDeb(
        name=name,
        version="1:2+b1",
        archive="debian",
        path=f"pool/main/{name}_2+b1~x.deb",
        content=Content.of(body),
    )


def run(store: Store, *mirrors: Mirror, debs: tuple[LockedDeb, ...]) -> list[Event]:
    heard: list[Event] = []
    fetch(
        debs,
        store,
        mirrors={"debian": [mirror.url for mirror in mirrors]},
        listener=heard.append,
        waits_s=NO_WAIT,
    )
    return heard


def test_every_missing_package_is_fetched_once(mirror: Mirror, store: Store) -> None:
    debs = tuple(locked(f"lib{number}", BODY + bytes([number])) for number in range(6))
    for number, deb in enumerate(debs):
        mirror.files[deb.path] = BODY + bytes([number])

    run(store, mirror, debs=debs)
    run(store, mirror, debs=debs)

    assert all(store.verify(deb.content) for deb in debs)
    assert sorted(mirror.asked) == [(f"/debian/{deb.path}", None) for deb in debs]


def test_with_everything_here_no_mirror_is_needed(store: Store) -> None:
    store.add([BODY])

    fetch([locked("a")], store, mirrors={})


def test_a_broken_connection_goes_on_where_it_stopped(mirror: Mirror, store: Store) -> None:
    deb = locked("a")
    mirror.files[deb.path] = BODY
    mirror.cut_after = [1000, 70_000]

    heard = run(store, mirror, debs=(deb,))

    assert store.verify(deb.content)
    assert [wanted for _path, wanted in mirror.asked] == [None, "bytes=1000-", "bytes=71000-"]
    assert sum(event.size for event in heard if isinstance(event, Advanced)) == len(BODY)


def test_a_mirror_that_cannot_do_ranges_begins_anew(mirror: Mirror, store: Store) -> None:
    deb = locked("a")
    mirror.files[deb.path] = BODY
    mirror.cut_after = [100_000]
    mirror.ranges = False

    run(store, mirror, debs=(deb,))

    assert store.verify(deb.content)


def test_a_busy_mirror_is_asked_again(mirror: Mirror, store: Store) -> None:
    deb = locked("a")
    mirror.files[deb.path] = BODY
    mirror.codes = [503, 429]

    run(store, mirror, debs=(deb,))

    assert store.verify(deb.content)
    assert len(mirror.asked) == 3


def test_a_redirection_is_followed(new_mirror: Callable[[], Mirror], store: Store) -> None:
    front, behind = new_mirror(), new_mirror()
    deb = locked("a")
    behind.files[deb.path] = BODY
    front.moved_to = behind.url.removesuffix("/debian")

    run(store, front, debs=(deb,))

    assert store.verify(deb.content)


@pytest.mark.parametrize("wrong", [BODY[::-1], BODY + b"x", BODY[:-1]])
def test_after_wrong_bytes_the_next_mirror_is_asked(
    new_mirror: Callable[[], Mirror], store: Store, wrong: bytes
) -> None:
    bad, good = new_mirror(), new_mirror()
    deb = locked("a")
    bad.files[deb.path] = wrong
    good.files[deb.path] = BODY

    run(store, bad, good, debs=(deb,))

    assert store.verify(deb.content)
    assert good.asked


@pytest.mark.parametrize("wrong", [BODY[::-1], BODY + b"x", BODY[:-1]])
def test_wrong_bytes_from_every_mirror_are_named_and_not_kept(
    mirror: Mirror, store: Store, wrong: bytes
) -> None:
    deb = locked("libfoo1")
    mirror.files[deb.path] = wrong

    with pytest.raises(WrongBytes, match=r"`libfoo1 1:2\+b1`"):
        run(store, mirror, debs=(deb,))
    assert not store.has(deb.content)
    assert not store.has(Content.of(wrong))


def test_an_endless_answer_is_not_read_to_its_end(mirror: Mirror, store: Store) -> None:
    deb = locked("a", b"short")
    mirror.files[deb.path] = bytes(50_000_000)

    with pytest.raises(WrongBytes, match="more"):
        run(store, mirror, debs=(deb,))


def test_a_mirror_that_has_moved_on_asks_for_a_new_lock(mirror: Mirror, store: Store) -> None:
    here = locked("here")
    mirror.files[here.path] = BODY
    gone = (locked("b", b"b"), locked("a", b"a"))

    with pytest.raises(LockAgain, match=r"`a 1:2\+b1, b 1:2\+b1`") as caught:
        run(store, mirror, debs=(here, *gone))
    assert "invoke lock" in (caught.value.hint or "")
    assert store.verify(here.content)


def test_offline_all_that_is_missing_is_named(
    new_mirror: Callable[[], Mirror], store: Store
) -> None:
    closed = new_mirror()
    closed.close()
    store.add([BODY])

    with pytest.raises(TryAgain, match=r"`a 1:2\+b1, b 1:2\+b1`") as caught:
        run(store, closed, debs=(locked("here"), locked("b", b"b"), locked("a", b"a")))
    assert "OVENPROOF_DEBIAN_MIRROR" in (caught.value.hint or "")


def test_without_any_mirror_nobody_is_told_to_go_online(store: Store) -> None:
    with pytest.raises(TryAgain, match="no mirror is known") as caught:
        fetch([locked("b"), locked("a")], store, mirrors={})
    assert caught.value.subject == "a 1:2+b1, b 1:2+b1"
    assert caught.value.expected == "a mirror of debian"
    assert caught.value.hint == "set OVENPROOF_DEBIAN_MIRROR to the address of a mirror"


def test_a_mirror_that_sends_us_round_and_round_does_not_answer(
    mirror: Mirror, store: Store
) -> None:
    mirror.moved_to = mirror.url.removesuffix("/debian")

    with pytest.raises(TryAgain, match="no mirror answers") as caught:
        run(store, mirror, debs=(locked("a"),))
    assert "redirect" in str(caught.value.got)


def test_a_closed_mirror_is_passed_over(new_mirror: Callable[[], Mirror], store: Store) -> None:
    closed, good = new_mirror(), new_mirror()
    closed.close()
    deb = locked("a")
    good.files[deb.path] = BODY

    run(store, closed, good, debs=(deb,))

    assert store.verify(deb.content)


def test_a_mirror_that_is_down_is_not_asked_again_for_every_package(
    new_mirror: Callable[[], Mirror], store: Store
) -> None:
    closed = new_mirror()
    closed.close()
    with ExitStack() as stack:
        risen: list[Mirror] = []

        def rise(event: Event) -> None:
            if isinstance(event, Finished) and not risen:
                risen.append(Mirror(closed.server.server_port))
                stack.callback(risen[0].close)

        with pytest.raises(TryAgain, match=r"`a .*, b .*`"):
            fetch(
                [locked("a", b"a"), locked("b", b"b")],
                store,
                mirrors={"debian": [closed.url]},
                listener=rise,
                jobs=1,
                waits_s=NO_WAIT,
            )
        assert risen[0].asked == []


def test_a_refusal_is_told_without_the_password(mirror: Mirror, store: Store) -> None:
    mirror.codes = [403]
    url = mirror.url.replace("//", "//me:secret@")

    with pytest.raises(NoAccess, match="HTTP status 403") as caught:
        fetch([locked("a")], store, mirrors={"debian": [url]}, waits_s=NO_WAIT)
    assert "secret" not in str(caught.value)


def test_faults_of_different_kinds_are_shown_together(mirror: Mirror, store: Store) -> None:
    lying = locked("lying")
    mirror.files[lying.path] = BODY[::-1]

    with pytest.raises(Several) as caught:
        run(store, mirror, debs=(lying, locked("gone", b"gone")))
    assert [type(fault) for fault in caught.value.faults] == [WrongBytes, LockAgain]


def test_a_package_damaged_in_the_store_is_fetched_again(mirror: Mirror, store: Store) -> None:
    deb = locked("libfoo1")
    mirror.files[deb.path] = BODY
    run(store, mirror, debs=(deb,))
    path = store.path(deb.content)
    path.chmod(0o644)
    path.write_bytes(BODY[:-1] + b"?")

    again = Store(store.root)
    run(again, mirror, debs=(deb,))

    assert again.verify(deb.content)
    assert path.read_bytes() == BODY


class ForbiddenStore(Store):
    """A store in a place where nobody may write."""

    def add(
        self, chunks: Iterable[bytes], *, expected: Content | None = None, what: str = "content"
    ) -> Content:
        raise NoAccess("this place cannot be written", subject=self.root)


def test_a_store_that_cannot_be_written_is_not_blamed_on_the_mirror(
    mirror: Mirror, tmp_path: Path
) -> None:
    with pytest.raises(NoAccess, match="this place cannot be written"):
        run(ForbiddenStore(tmp_path), mirror, debs=(locked("a"),))
