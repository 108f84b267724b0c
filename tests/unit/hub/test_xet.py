"""The hub's chunked storage: used where the hub has one, and only while it works."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from ovenproof.errors import WrongBytes
from ovenproof.events import silent
from ovenproof.hub.asking import Access, Chunked
from ovenproof.hub.fetch import fetch
from ovenproof.hub.hub import Hub
from ovenproof.hub.place import Place, find_place
from ovenproof.hub.xet import Ranges, Xet, real_storage
from ovenproof.store.store import Store
from tests.fakes.hub import FakeHub
from tests.unit.hub.conftest import TOKEN, WAITS_S, Model
from tests.unit.hub.test_fetch import BLOCK, WEIGHTS, assert_all, sent

ACCESS = Access(storage="https://storage", token="xet_of_a_hub", until=1)


class Chunks:
    """A storage that has one file; it may fail, end too early, or be wrong."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.asked: list[tuple[str, int, int, int]] = []
        self.fails_at: int | None = None
        self.given: list[Access] = []

    def __call__(self, access: Access) -> Ranges:
        self.given.append(access)
        return self.ranges

    def ranges(self, hash_: str, of: int, first: int, end: int) -> Iterable[bytes]:
        self.asked.append((hash_, of, first, end))
        return self.chunks(first, end)

    def chunks(self, first: int, end: int) -> Iterator[bytes]:
        for start in range(first, end, 10_000):
            if self.fails_at is not None and start >= self.fails_at:
                raise RuntimeError("the storage broke down")
            yield self.data[start : min(start + 10_000, end)]


class XetHub(Hub):
    """A hub that also gives a token for its storage, which the fake hub does not."""

    def xet_access(self, chunked: Chunked) -> Access:
        return ACCESS


@pytest.fixture
def chunks(fake: FakeHub, model: Model) -> Chunks:
    fake.xet = True
    return Chunks(model.files[WEIGHTS])


def bring(fake: FakeHub, model: Model, store: Store, chunks: Chunks, *, xet: bool = True) -> None:
    with XetHub(Place(endpoint=fake.endpoint, xet=xet), waits_s=WAITS_S) as hub:
        fetch(
            hub,
            model.wanted(WEIGHTS),
            store,
            jobs=2,
            listener=silent,
            block_size=BLOCK,
            xet=Xet(hub, chunks),
        )


def test_all_but_the_first_block_comes_from_the_storage(
    fake: FakeHub, model: Model, store: Store, chunks: Chunks
) -> None:
    bring(fake, model, store, chunks)
    assert_all(store, model, WEIGHTS)
    assert chunks.given == [ACCESS]
    assert sent(fake) == BLOCK
    entry = fake.repositories["acme/tiny"].commits[model.commit].files[WEIGHTS]
    assert {hash_ for hash_, *_ in chunks.asked} == {entry.xet_hash}


@pytest.mark.parametrize("at", [0, 300_000, 999_999])
def test_after_anything_that_goes_wrong_the_rest_comes_by_https(
    at: int, fake: FakeHub, model: Model, store: Store, chunks: Chunks
) -> None:
    chunks.fails_at = at
    bring(fake, model, store, chunks)
    assert_all(store, model, WEIGHTS)


@pytest.mark.parametrize("had", [0, 70_000, 500_000])
def test_a_stream_that_ends_too_early_is_not_believed(
    had: int, fake: FakeHub, model: Model, store: Store, chunks: Chunks
) -> None:
    chunks.data = chunks.data[:had]
    bring(fake, model, store, chunks)
    assert_all(store, model, WEIGHTS)


def test_wrong_bytes_come_once_more_by_https(
    fake: FakeHub, model: Model, store: Store, chunks: Chunks
) -> None:
    chunks.data = bytes(len(chunks.data))
    bring(fake, model, store, chunks)
    assert_all(store, model, WEIGHTS)
    assert sent(fake) == BLOCK + len(chunks.data)


def test_wrong_bytes_of_both_are_told(
    fake: FakeHub, model: Model, store: Store, chunks: Chunks
) -> None:
    fake.wrong_bytes = {WEIGHTS: 3}
    with pytest.raises(WrongBytes):
        bring(fake, model, store, chunks)


def test_who_does_not_want_it_does_not_get_it(
    fake: FakeHub, model: Model, store: Store, chunks: Chunks
) -> None:
    bring(fake, model, store, chunks, xet=False)
    assert_all(store, model, WEIGHTS)
    assert not chunks.given
    assert not find_place({"HF_HUB_DISABLE_XET": "1"}, store.root).xet


def test_a_hub_that_gives_no_token_for_it_is_asked_for_the_bytes(
    fake: FakeHub, model: Model, store: Store
) -> None:
    fake.xet = True
    with Hub(Place(endpoint=fake.endpoint), waits_s=WAITS_S) as hub:
        fetch(hub, model.wanted(), store, jobs=2, block_size=BLOCK)
    assert_all(store, model)
    assert sent(fake) == 1_000_000


def test_the_token_is_not_sent_to_where_another_host_wants_it(fake: FakeHub, model: Model) -> None:
    with Hub(Place(endpoint=fake.endpoint, token=TOKEN)) as hub:
        for refresh in (f"{fake.cdn}/token", "http://[", "/token"):
            with pytest.raises(ValueError, match="hub itself"):
                hub.xet_access(Chunked(hash="0" * 64, refresh=refresh))
    assert not fake.cdn_requests


def test_neither_token_is_in_what_is_printed() -> None:
    assert "xet_of_a_hub" not in repr(ACCESS)


def test_where_nobody_serves_the_storage_the_real_client_does_no_harm(
    monkeypatch: pytest.MonkeyPatch, fake: FakeHub, model: Model, store: Store, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))  # where it writes a log
    fake.xet = True
    asked = []

    def storage(_access: Access) -> Ranges:
        ranges = real_storage(Access(storage="http://127.0.0.1:9", token="none", until=1 << 33))

        def noted(hash_: str, of: int, first: int, end: int) -> Iterable[bytes]:
            asked.append(first)
            return ranges(hash_, of, first, end)

        return noted

    with XetHub(Place(endpoint=fake.endpoint), waits_s=WAITS_S) as hub:
        wanted = model.wanted(WEIGHTS)
        fetch(hub, wanted, store, jobs=1, block_size=BLOCK, xet=Xet(hub, storage))
    assert_all(store, model, WEIGHTS)
    assert asked == [BLOCK]
