"""Sending what nobody knows the digest of: in parallel, noted under a key, taken up again."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ovenproof.core.digest import Content, Json
from ovenproof.errors import NoAccess, OvenproofError, Several, TryAgain, WrongBytes
from ovenproof.events import Advanced, Event, Expected, Finished, Listener, Started, silent
from ovenproof.registry.client import Blob, Registries
from ovenproof.registry.reference import Repository
from ovenproof.registry.send import Sender, Sent
from ovenproof.store.notes import Notes
from tests.fakes.registry import FakeRegistry
from tests.fakes.registry.streaming import Passing

NAME, OTHER = "team/models", "team/others"
DATA = bytes(range(256)) * 400
CONTENT = Content.of(DATA)


class Killed(BaseException):
    """What nobody catches: the process is gone."""


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as fake:
        yield fake


@pytest.fixture
def sender(tmp_path: Path, registry: FakeRegistry) -> Iterator[Callable[..., Sender]]:
    """A process of its own, each time: only the notes are shared."""
    made: list[Registries] = []

    def make(name: str = NAME, *, jobs: int = 1) -> Sender:
        made.append(Registries(environment={}, home=tmp_path, waits_s=(0.001, 0.001)))
        remote = made[-1].at(Repository(registry.address, name))
        return Sender(remote, notes=Notes(tmp_path / "store"), jobs=jobs)

    yield make
    for registries in made:
        registries.close()


def ignore(_key: str, _content: Content) -> None:
    """Nobody remembers what was taken."""


def sessions_noted(root: Path) -> int:
    notes = (root / "store" / "notes").glob("*.json")
    return sum(b"_state" in path.read_bytes() for path in notes)


def dies_after(size: int, how: type[BaseException]) -> Listener:
    heard = 0

    def listen(event: Event) -> None:
        nonlocal heard
        if isinstance(event, Advanced):
            heard += event.size
            if heard > size:
                raise how

    return listen


def test_each_is_sent_once_the_biggest_first_and_told_when_it_is_there(
    registry: FakeRegistry, sender: Callable[..., Sender], tmp_path: Path
) -> None:
    parts = {key: Passing(DATA[:size], title=key) for key, size in (("a", 20), ("b", 90_000))}
    heard: list[Event] = []
    told: list[tuple[str, Content]] = []

    def done(key: str, content: Content) -> None:
        assert str(content.digest) in registry.blobs[NAME]
        told.append((key, content))

    one = sender()
    sent = one.absorb({key: part.stream for key, part in parts.items()}, done, heard.append)

    absorbed = dict(told)
    assert sent == Sent(sent=90_020)
    assert absorbed == {key: Content.of(part.data) for key, part in parts.items()}
    assert told == [("b", absorbed["b"]), ("a", absorbed["a"])]
    assert [part.given for part in parts.values()] == [20, 90_000]
    assert heard[:2] == [Expected(total=90_020), Started(name="b", total=90_000)]
    assert heard[-1] == Finished(name="a")
    assert sum(event.size for event in heard if isinstance(event, Advanced)) == 90_020
    assert sessions_noted(tmp_path) == 0
    asked = len(registry.requests)
    assert one.there(absorbed.values()) == set(absorbed.values())
    assert len(registry.requests) == asked


def test_another_repository_can_mount_what_was_taken(
    registry: FakeRegistry, sender: Callable[..., Sender]
) -> None:
    sender().absorb({"a": Passing(DATA).stream}, ignore, silent)
    blob = Blob(content=CONTENT, title="a", open=lambda _offset: iter(()))

    assert sender(OTHER).send([blob], silent) == Sent(mounted=len(DATA))


def test_many_are_sent_at_once(registry: FakeRegistry, sender: Callable[..., Sender]) -> None:
    both = threading.Barrier(2)
    parts = {key: Passing(DATA + key.encode(), title=key) for key in ("a", "b", "c", "d")}

    def listen(event: Event) -> None:
        if isinstance(event, Started):
            both.wait(10)

    absorbed: dict[str, Content] = {}
    streams = {key: part.stream for key, part in parts.items()}
    sender(jobs=2).absorb(streams, absorbed.__setitem__, listen)

    assert {str(content.digest) for content in absorbed.values()} == set(registry.blobs[NAME])
    assert set(absorbed) == set(parts)


@pytest.mark.parametrize("forgets", [False, True], ids=["keeps what was cut", "forgets it"])
def test_what_an_interrupted_process_sent_is_not_sent_again(
    registry: FakeRegistry, sender: Callable[..., Sender], tmp_path: Path, forgets: bool
) -> None:
    registry.forgets_cut = forgets
    heard: list[Event] = []
    with pytest.raises(KeyboardInterrupt):
        sender().absorb({"a": Passing(DATA).stream}, ignore, dies_after(50_000, KeyboardInterrupt))
    source = Passing(DATA)

    absorbed: dict[str, Content] = {}
    sent = sender().absorb({"a": source.stream}, absorbed.__setitem__, heard.append)

    assert absorbed == {"a": CONTENT}
    assert sent == Sent(sent=len(DATA) - 50_000)
    assert (source.read_from, source.given) == ([50_000], len(DATA) - 50_000)
    assert heard[-1] == Finished(name="weights", note="resumed at 50000")
    assert registry.blobs[NAME] == {str(CONTENT.digest): DATA}
    assert sessions_noted(tmp_path) == 0


def test_what_a_killed_process_sent_is_not_sent_again(
    registry: FakeRegistry, sender: Callable[..., Sender]
) -> None:
    with pytest.raises(Killed):
        sender().absorb({"a": Passing(DATA).stream}, ignore, dies_after(50_000, Killed))
    (upload,) = registry.uploads.values()
    for _try in range(500):  # the registry reads what is on its way, and lets go of what was cut
        with upload.lock:
            there = upload.size
        if there >= 50_000:
            break
        time.sleep(0.01)
    assert there >= 50_000
    source = Passing(DATA)

    sender().absorb({"a": source.stream}, ignore, silent)

    assert source.given == len(DATA) - there
    assert registry.blobs[NAME] == {str(CONTENT.digest): DATA}


def test_a_key_is_one_repositorys_own(
    registry: FakeRegistry, sender: Callable[..., Sender]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        sender().absorb({"a": Passing(DATA).stream}, ignore, dies_after(50_000, KeyboardInterrupt))

    for name, key in ((OTHER, "a"), (NAME, "b")):
        source = Passing(DATA)
        sender(name).absorb({key: source.stream}, ignore, silent)
        assert source.given == len(DATA)


def test_a_session_that_somebody_works_on_is_left_alone(
    registry: FakeRegistry, sender: Callable[..., Sender], tmp_path: Path
) -> None:
    notes = Notes(tmp_path / "store")
    key: Json = {"registry": registry.address, "action": "a", "repository": NAME}
    notes.remember("upload", key, "theirs")

    with notes.alone("upload", key):
        sender().absorb({"a": Passing(DATA).stream}, ignore, silent)

    assert registry.blobs[NAME] == {str(CONTENT.digest): DATA}
    assert notes.recall("upload", key) == "theirs"


def test_a_session_that_is_gone_begins_anew(
    registry: FakeRegistry, sender: Callable[..., Sender]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        sender().absorb({"a": Passing(DATA).stream}, ignore, dies_after(50_000, KeyboardInterrupt))
    registry.uploads.clear()
    source = Passing(DATA)

    sender().absorb({"a": source.stream}, ignore, silent)

    assert source.read_from == [0]
    assert registry.blobs[NAME] == {str(CONTENT.digest): DATA}


@pytest.mark.parametrize("resumed", [False, True])
def test_wrong_bytes_leave_nothing_there_and_are_read_once(
    registry: FakeRegistry, sender: Callable[..., Sender], tmp_path: Path, resumed: bool
) -> None:
    if resumed:
        with pytest.raises(KeyboardInterrupt):
            sender().absorb(
                {"a": Passing(DATA).stream}, ignore, dies_after(50_000, KeyboardInterrupt)
            )
        assert sessions_noted(tmp_path) == 1
    source, told = Passing(DATA), list[str]()
    source.is_wrong = True

    with pytest.raises(WrongBytes, match="locked"):
        sender().absorb({"a": source.stream}, lambda key, _content: told.append(key), silent)

    assert not registry.blobs.get(NAME)
    assert not registry.uploads
    assert sessions_noted(tmp_path) == 0
    assert told == []
    assert len(source.read_from) == source.named == 1


def test_a_session_with_wrong_bytes_is_doubted_and_begun_anew(
    registry: FakeRegistry, sender: Callable[..., Sender]
) -> None:
    registry.spoil_after = [10_000]
    with pytest.raises(KeyboardInterrupt):
        sender().absorb({"a": Passing(DATA).stream}, ignore, dies_after(50_000, KeyboardInterrupt))
    assert not registry.spoil_after
    source = Passing(DATA)

    sender().absorb({"a": source.stream}, ignore, silent)

    assert source.read_from == [50_000, 0]
    assert registry.blobs[NAME] == {str(CONTENT.digest): DATA}


def test_a_source_that_is_away_costs_nothing_that_was_sent(
    registry: FakeRegistry, sender: Callable[..., Sender]
) -> None:
    registry.forgets_cut = True
    for at in (50_000, 50_000, 80_000):
        source = Passing(DATA)
        source.breaks = [(at, TryAgain("the hub is away"))]
        with pytest.raises(TryAgain, match="hub"):
            sender().absorb({"a": source.stream}, ignore, silent)
    source = Passing(DATA)

    sender().absorb({"a": source.stream}, ignore, silent)

    assert source.read_from[0] >= 50_000
    assert registry.blobs[NAME] == {str(CONTENT.digest): DATA}


def test_what_was_taken_before_a_fault_is_told_all_the_same(
    registry: FakeRegistry, sender: Callable[..., Sender]
) -> None:
    big, small = Passing(DATA, title="big"), Passing(DATA[:100], title="small")
    small.is_wrong = True
    told: list[str] = []

    with pytest.raises(WrongBytes):
        sender().absorb(
            {"s": small.stream, "b": big.stream}, lambda key, _content: told.append(key), silent
        )

    assert told == ["b"]
    assert set(registry.blobs[NAME]) == {str(CONTENT.digest)}


def test_who_may_not_push_is_told_so_and_nothing_is_read_twice(
    registry: FakeRegistry, sender: Callable[..., Sender]
) -> None:
    registry.push_denied = True
    source = Passing(DATA)

    with pytest.raises((NoAccess, Several)) as caught:
        sender().absorb({"a": source.stream}, ignore, silent)

    assert isinstance(caught.value, OvenproofError)
    assert source.read_from == []
