"""Fetching into the store: in parallel, verified, and on after whatever went wrong."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

import ovenproof
from ovenproof.core.digest import Content
from ovenproof.errors import LockAgain, NoAccess, NoSpace, Several, TryAgain, WrongBytes
from ovenproof.events import Advanced, Event, Finished, Started
from ovenproof.hub.fetch import fetch
from ovenproof.hub.hub import Hub, Located
from ovenproof.hub.place import Place
from ovenproof.store.store import Store
from tests.fakes.hub import FakeHub
from tests.unit.hub.conftest import MODEL, TOKEN, WAITS_S, Model

WEIGHTS = "model.safetensors"
BLOCK = 64_000
BLOCKS = 16

SOURCE = Path(ovenproof.__file__).parents[1]
FETCH = """
import sys
from pathlib import Path
from ovenproof.core.digest import Content, Digest
from ovenproof.hub.fetch import fetch
from ovenproof.hub.hub import Hub, Located
from ovenproof.hub.place import Place
from ovenproof.store.store import Store
endpoint, model, commit, path, hex, size, root, jobs, block = sys.argv[1:]
at = Located(model=model, commit=commit, path=path)
content = Content(Digest(hex), int(size))
with Hub(Place(endpoint=endpoint), waits_s=(0.01,)) as hub:
    fetch(hub, [(at, content)], Store(Path(root)), jobs=int(jobs), block_size=int(block))
"""


def start(fake: FakeHub, model: Model, store: Store, *, jobs: int = 1) -> subprocess.Popen[bytes]:
    """The same fetch in a process of its own."""
    content = Content.of(model.files[WEIGHTS])
    called = [fake.endpoint, MODEL, model.commit, WEIGHTS, content.digest.hex, content.size]
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, *map(str, [*called, store.root, jobs, BLOCK])],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )


def bring(
    hub: Hub, wanted: Sequence[tuple[Located, Content]], store: Store, *, jobs: int = 3
) -> list[Event]:
    events: list[Event] = []
    fetch(hub, wanted, store, jobs=jobs, listener=events.append, block_size=BLOCK)
    return events


def ranges(fake: FakeHub) -> list[str]:
    return [asked.headers.get("range", "") for asked in fake.cdn_requests]


def sent(fake: FakeHub) -> int:
    return sum(asked.sent for asked in fake.cdn_requests if asked.status in (200, 206))


def moved(events: Sequence[Event]) -> int:
    return sum(event.size for event in events if isinstance(event, Advanced))


def notes(events: Sequence[Event]) -> list[str]:
    return [event.note for event in events if isinstance(event, Finished)]


def assert_all(store: Store, model: Model, *paths: str) -> None:
    for path in paths or model.files:
        assert store.open(Content.of(model.files[path])).read() == model.files[path]


@pytest.mark.parametrize("jobs", [1, 4])
def test_all_files_come_and_each_byte_once(
    jobs: int, hub: Hub, fake: FakeHub, model: Model, store: Store
) -> None:
    events = bring(hub, model.wanted(), store, jobs=jobs)
    assert_all(store, model)
    assert len(set(ranges(fake))) == len(ranges(fake)) == BLOCKS
    assert sent(fake) == 1_000_000
    assert moved(events) == sum(map(len, model.files.values()))
    begun = {event.name: event.total for event in events if isinstance(event, Started)}
    assert begun == {f"{MODEL}/{path}": len(data) for path, data in model.files.items()}
    assert notes(events) == ["", "", ""]
    assert not list((store.root / "partial").iterdir())


def test_what_is_in_the_store_is_not_asked_for(
    hub: Hub, fake: FakeHub, model: Model, store: Store
) -> None:
    bring(hub, model.wanted(), store)
    before = len(fake.requests)
    assert not bring(hub, model.wanted(), store)
    assert not bring(hub, model.wanted(), Store(store.root))
    assert len(fake.requests) == before


def test_what_has_rotted_in_the_store_comes_again(hub: Hub, model: Model, store: Store) -> None:
    bring(hub, model.wanted(), store)
    path = store.path(Content.of(model.files[WEIGHTS]))
    path.chmod(0o644)
    path.write_bytes(bytes(1_000_000))
    bring(hub, model.wanted(), Store(store.root))
    assert_all(Store(store.root), model)


def test_one_content_under_two_names_comes_once(
    hub: Hub, fake: FakeHub, model: Model, store: Store
) -> None:
    data = model.files[WEIGHTS]
    commit = fake.repositories[MODEL].commit({"again.safetensors": data})
    other = Located(model=MODEL, commit=commit, path="again.safetensors")
    bring(hub, [*model.wanted(WEIGHTS), (other, Content.of(data))], store)
    assert sent(fake) == len(data)


def test_a_file_without_bytes_is_a_file(
    hub: Hub, fake: FakeHub, model: Model, store: Store
) -> None:
    at = Located(model=MODEL, commit=model.commit, path="empty")
    bring(hub, [(at, Content.of(b""))], store)
    assert store.open(Content.of(b"")).read() == b""


def test_cuts_and_trouble_are_gone_on_after(fake: FakeHub, model: Model, store: Store) -> None:
    fake.cut_after = [10, 60_000, 0, 30_000]
    fake.limit_every, fake.retry_after = 5, "0"
    with Hub(Place(endpoint=fake.endpoint), waits_s=(0.001,) * 50) as patient:
        bring(patient, model.wanted(), store)
    assert_all(store, model)
    assert sent(fake) == 1_000_000


def test_a_hub_without_ranges_is_read_from_the_first_byte_to_the_last(
    hub: Hub, fake: FakeHub, model: Model, store: Store
) -> None:
    fake.ignore_range = True
    bring(hub, model.wanted(), store)
    assert_all(store, model)
    assert len(fake.cdn_requests) == 2


def test_without_ranges_too_a_fetch_goes_on_where_it_was_left(
    hub: Hub, fake: FakeHub, model: Model, store: Store
) -> None:
    fake.status_path, fake.status_next = "/[0-9a-f]{40}/", [200] * 9 + [404] * 2
    with pytest.raises(LockAgain):
        bring(hub, model.wanted(WEIGHTS), store, jobs=1)
    fake.ignore_range = True
    events = bring(hub, model.wanted(WEIGHTS), store)
    assert_all(store, model, WEIGHTS)
    (note,) = notes(events)
    assert note.startswith("resumed at ")
    assert note == f"resumed at {1_000_000 - moved(events)}"


def test_wrong_bytes_are_fetched_once_more_and_then_told(
    hub: Hub, fake: FakeHub, model: Model, store: Store
) -> None:
    fake.wrong_bytes = {WEIGHTS: 500_000}
    with pytest.raises(WrongBytes, match="twice") as caught:
        bring(hub, model.wanted(), store)
    text = str(caught.value)
    assert all(name in text for name in (f"{MODEL}/{WEIGHTS}", model.commit, fake.endpoint))
    assert sent(fake) == 2_000_000
    assert not list((store.root / "partial").iterdir())
    assert_all(store, model, "config.json", "a folder/ö.txt")


def test_bytes_that_were_wrong_once_are_mended(
    hub: Hub, fake: FakeHub, model: Model, store: Store
) -> None:
    fake.wrong_bytes = {WEIGHTS: 500_000}

    def mend(event: Event) -> None:
        if isinstance(event, Finished):
            fake.wrong_bytes = {}

    fetch(hub, model.wanted(WEIGHTS), store, jobs=3, listener=mend, block_size=BLOCK)
    assert_all(store, model, WEIGHTS)


def test_what_another_left_wrong_is_not_believed(
    hub: Hub, fake: FakeHub, model: Model, store: Store
) -> None:
    fake.status_path, fake.status_next = "/[0-9a-f]{40}/", [200] * 9 + [404] * 2
    with pytest.raises(LockAgain):
        bring(hub, model.wanted(WEIGHTS), store, jobs=1)
    (left,) = (store.root / "partial").glob("*[!s]")
    with left.open("r+b") as stream:
        stream.write(bytes(10))
    bring(hub, model.wanted(WEIGHTS), store)
    assert_all(store, model, WEIGHTS)


def test_all_files_that_vanished_are_told_at_once(
    hub: Hub, fake: FakeHub, model: Model, store: Store
) -> None:
    fake.repositories[MODEL].tags.clear()
    fake.repositories[MODEL].force_push("main", {"config.json": b"{}"})
    fake.wrong_bytes = {"b.bin": 0}
    commit = fake.repository("acme/other").commit({"b.bin": b"bytes"})
    wrong = (Located(model="acme/other", commit=commit, path="b.bin"), Content.of(b"bytes"))
    with pytest.raises(Several) as caught:
        bring(hub, [*model.wanted(), wrong], store)
    assert [type(fault) for fault in caught.value.faults] == [WrongBytes, LockAgain]
    assert all(f"{MODEL}/{path}" in str(caught.value.faults[1]) for path in model.files)


def test_a_gated_model_is_told_once(fake: FakeHub, model: Model, store: Store) -> None:
    fake.repositories[MODEL].gated = "auto"
    fake.token = TOKEN
    with Hub(Place(endpoint=fake.endpoint), waits_s=WAITS_S) as hub, pytest.raises(NoAccess):
        bring(hub, model.wanted(), store)
    with Hub(Place(endpoint=fake.endpoint, token=TOKEN), waits_s=WAITS_S) as hub:
        bring(hub, model.wanted(), store)
    assert_all(store, model)
    assert not [path for path in store.root.rglob("*") if TOKEN in path.name]
    files = [path.read_bytes() for path in store.root.rglob("*") if path.is_file()]
    assert not any(TOKEN.encode() in data for data in files)


def test_a_hub_that_goes_away_is_tried_again_and_what_came_stays(
    hub: Hub, fake: FakeHub, model: Model, store: Store
) -> None:
    come = threading.Event()

    def leave(event: Event) -> None:
        if isinstance(event, Advanced) and not come.is_set():
            come.set()
            threading.Thread(target=fake.go_away).start()

    with pytest.raises(TryAgain, match="does not answer"):
        fetch(hub, model.wanted(WEIGHTS), store, jobs=1, listener=leave, block_size=BLOCK)
    fake.come_back()
    (note,) = notes(bring(hub, model.wanted(WEIGHTS), store))
    assert note.startswith("resumed at ")
    assert_all(store, model, WEIGHTS)


def test_too_little_room_is_told_before_anybody_is_asked(
    hub: Hub, fake: FakeHub, model: Model, store: Store
) -> None:
    huge = Content(Content.of(b"huge").digest, 1 << 62)
    with pytest.raises(NoSpace):
        bring(hub, [(model.at(WEIGHTS), huge)], store)
    assert not fake.requests


def test_a_person_who_stops_it_loses_the_blocks_under_way_and_no_more(
    hub: Hub, fake: FakeHub, model: Model, store: Store
) -> None:
    heard: list[int] = []

    def stop(event: Event) -> None:
        if isinstance(event, Advanced):
            heard.append(event.size)
            if len(heard) == 8:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(hub, model.wanted(WEIGHTS), store, jobs=1, listener=stop, block_size=BLOCK)
    events = bring(hub, model.wanted(WEIGHTS), store)
    assert notes(events) == [f"resumed at {7 * BLOCK}"]
    assert moved(events) == 1_000_000 - 7 * BLOCK


@pytest.mark.parametrize("asked", [1, 2, 9, BLOCKS])
def test_a_kill_loses_the_blocks_under_way_and_no_more(
    asked: int, hub: Hub, fake: FakeHub, model: Model, store: Store
) -> None:
    process: list[subprocess.Popen[bytes]] = []
    count = 0
    started = threading.Event()

    def kill(method: str, path: str) -> None:
        nonlocal count
        if f"/{MODEL}/{model.commit}/" in path:
            count += 1
            if count == asked:
                started.wait(60)
                process[0].send_signal(signal.SIGKILL)
                process[0].wait()

    fake.before = kill
    process.append(start(fake, model, store))
    started.set()
    process[0].wait(60)
    fake.before = None
    whole = asked - 1
    events = bring(hub, model.wanted(WEIGHTS), store)
    assert_all(store, model, WEIGHTS)
    assert notes(events) == [f"resumed at {whole * BLOCK}" if whole else ""]
    assert moved(events) == 1_000_000 - whole * BLOCK


def test_of_two_processes_one_waits_and_nothing_moves_twice(
    hub: Hub, fake: FakeHub, model: Model, store: Store
) -> None:
    other = start(fake, model, store, jobs=2)
    bring(hub, model.wanted(WEIGHTS), store, jobs=2)
    assert other.wait(60) == 0
    assert_all(store, model, WEIGHTS)
    assert sent(fake) == 1_000_000
    assert not list((store.root / "partial").iterdir())


def test_of_many_threads_one_fetches_each_file(
    hub: Hub, fake: FakeHub, model: Model, store: Store
) -> None:
    threads = [
        threading.Thread(target=bring, args=(hub, model.wanted(), Store(store.root)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert_all(store, model)
    assert sent(fake) == 1_000_000
    assert not list((store.root / "partial").iterdir())
