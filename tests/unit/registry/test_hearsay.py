"""What is made of a remote store's words: never an error, and never the same complaint twice."""

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from ovenproof.core import record
from ovenproof.core.action import Outcome
from ovenproof.core.digest import Content, Digest
from ovenproof.errors import BadFile, NoAccess, TryAgain, WrongBytes
from ovenproof.events import Event, Noted
from ovenproof.registry.hearsay import Hearsay

KEY, OTHER = Digest.of(b"action"), Digest.of(b"other")
OUTCOME = Outcome({"layer": Content.of(b"layer")})


@dataclass
class Memory:
    """A place that keeps records, or fails."""

    records: dict[Digest, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    get_fails: Exception | None = None
    put_fails: Exception | None = None

    def get(self, key: Digest) -> bytes | None:
        self.asked.append("get")
        if self.get_fails:
            raise self.get_fails
        return self.records.get(key)

    def put(self, key: Digest, text: bytes) -> None:
        self.asked.append("put")
        if self.put_fails:
            raise self.put_fails
        self.records[key] = text


@pytest.fixture
def place() -> Memory:
    return Memory()


@pytest.fixture
def heard() -> list[Event]:
    return []


@pytest.fixture
def hearsay(place: Memory, heard: list[Event]) -> Hearsay:
    return Hearsay(connect=lambda: place, name="cache.test", writes=True, listener=heard.append)


def texts(heard: Sequence[Event]) -> list[str]:
    return [event.text for event in heard if isinstance(event, Noted)]


def test_what_was_remembered_is_recalled(hearsay: Hearsay, place: Memory) -> None:
    assert hearsay.recall(KEY) is None
    hearsay.remember(KEY, OUTCOME)
    assert hearsay.recall(KEY) == OUTCOME
    assert place.records == {KEY: record.write(KEY, OUTCOME)}


def test_nobody_connects_before_something_is_asked(heard: list[Event]) -> None:
    def connect() -> Memory:
        raise TryAgain("no such host")

    hearsay = Hearsay(connect=connect, name="cache.test", listener=heard.append)
    assert heard == []
    assert hearsay.recall(KEY) is None
    assert texts(heard) == [
        "the remote store cache.test is left alone for the rest of this run: no such host"
    ]


@pytest.mark.parametrize("fault", [TryAgain("down"), OSError("no"), NoAccess("no"), BadFile("no")])
def test_a_place_that_fails_is_asked_once(
    hearsay: Hearsay, place: Memory, heard: list[Event], fault: Exception
) -> None:
    place.get_fails = fault
    assert hearsay.recall(KEY) is None
    place.get_fails = None
    assert hearsay.recall(KEY) is None
    assert replace(hearsay).recall(OTHER) is None
    assert place.asked == ["get"]
    assert len(heard) == 1


def test_nothing_is_written_to_a_place_that_is_down(hearsay: Hearsay, place: Memory) -> None:
    place.get_fails = TryAgain("down")
    hearsay.recall(KEY)
    hearsay.remember(KEY, OUTCOME)
    assert place.asked == ["get"]


def test_who_may_not_read_may_still_write(hearsay: Hearsay, place: Memory) -> None:
    place.get_fails = NoAccess("no")
    hearsay.recall(KEY)
    hearsay.remember(KEY, OUTCOME)
    assert place.asked == ["get", "put"]


@pytest.mark.parametrize("asks", [True, False])
def test_a_place_that_is_slow_is_not_awaited(
    hearsay: Hearsay, heard: list[Event], asks: bool
) -> None:
    awake = threading.Event()

    def connect() -> Memory:
        awake.wait()
        return Memory()

    slow = replace(hearsay, connect=connect, patience_s=0.01)
    try:
        if asks:
            assert slow.recall(KEY) is None
        else:
            slow.remember(KEY, OUTCOME)
        assert "it does not answer soon (nothing in 0.01 s)" in texts(heard)[0]
    finally:
        awake.set()


@pytest.mark.parametrize("text", [b"", b"{}", b"<html>", record.write(OTHER, OUTCOME), b"\xff"])
def test_a_record_that_is_none_is_told_once_and_the_place_is_asked_on(
    hearsay: Hearsay, place: Memory, heard: list[Event], text: bytes
) -> None:
    third = Digest.of(b"third")
    place.records = {KEY: text, OTHER: text + b" ", third: record.write(third, OUTCOME)}
    assert hearsay.recall(KEY) is None
    assert hearsay.recall(OTHER) is None
    assert hearsay.recall(third) == OUTCOME
    (said,) = texts(heard)
    assert re.fullmatch(".* has damaged records; they are ignored: .*", said)


def test_what_a_place_itself_calls_wrong_is_damaged_too(
    hearsay: Hearsay, place: Memory, heard: list[Event]
) -> None:
    place.get_fails = WrongBytes("no record")
    assert hearsay.recall(KEY) is None
    assert hearsay.recall(OTHER) is None
    assert len(place.asked) == 2
    assert len(heard) == 1


def test_a_damaged_or_wrong_record_is_replaced(hearsay: Hearsay, place: Memory) -> None:
    place.records = {KEY: b"damaged", OTHER: record.write(OTHER, Outcome({}))}
    for key in (KEY, OTHER):
        hearsay.recall(key)
        hearsay.remember(key, OUTCOME)
        assert place.records[key] == record.write(key, OUTCOME)


def test_what_the_place_has_is_not_written_again(hearsay: Hearsay, place: Memory) -> None:
    place.records[KEY] = record.write(KEY, OUTCOME)
    hearsay.recall(KEY)
    hearsay.remember(KEY, OUTCOME)
    hearsay.remember(OTHER, OUTCOME)
    hearsay.remember(OTHER, OUTCOME)
    assert place.asked == ["get", "put"]


def test_a_reader_writes_nothing(hearsay: Hearsay, place: Memory) -> None:
    replace(hearsay, writes=False).remember(KEY, OUTCOME)
    assert place.asked == []


def test_a_place_that_takes_nothing_is_told_once_and_still_asked(
    hearsay: Hearsay, place: Memory, heard: list[Event]
) -> None:
    place.put_fails = NoAccess("a cache refuses", got="HTTP status 403")
    hearsay.remember(KEY, OUTCOME)
    hearsay.remember(OTHER, OUTCOME)
    hearsay.recall(KEY)
    assert place.asked == ["put", "get"]
    assert texts(heard) == [
        "the remote store cache.test does not take what was proven here:"
        " a cache refuses (HTTP status 403)"
    ]


def test_another_listener_hears_what_comes_next_and_nothing_twice(
    hearsay: Hearsay, place: Memory, heard: list[Event]
) -> None:
    place.records = {KEY: b"damaged"}
    later: list[Event] = []
    hearsay.recall(KEY)
    other = replace(hearsay, listener=later.append)
    other.recall(KEY)
    place.get_fails = TryAgain("down")
    other.recall(KEY)
    assert len(heard) == 1
    assert len(later) == 1


def test_who_wants_to_know_how_the_place_is_gets_its_faults(
    hearsay: Hearsay, place: Memory
) -> None:
    assert hearsay.ask(KEY) is None
    place.get_fails = TryAgain("down")
    with pytest.raises(TryAgain, match="down"):
        hearsay.ask(KEY)
