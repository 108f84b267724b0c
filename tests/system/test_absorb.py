"""Streams whose digest is known at their end, taken by a real registry."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ovenproof.core.digest import Content
from ovenproof.errors import TryAgain, WrongBytes
from ovenproof.events import Advanced, Event, Listener, silent
from ovenproof.registry.client import Registries, Remote
from ovenproof.registry.reference import Repository
from ovenproof.registry.send import Sender
from ovenproof.store.notes import Notes
from tests.fakes.registry.streaming import Passing
from tests.system.registries import served

DATA = bytes(range(256)) * 40_000
CONTENT = Content.of(DATA)


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[Remote]:
    with (
        served(tmp_path / "served") as address,
        Registries(environment={}, home=tmp_path) as registries,
    ):
        yield registries.at(Repository(address, "a/models"))


def absorb(remote: Remote, source: Passing, root: Path, listener: Listener = silent) -> Content:
    sender = Sender(remote, notes=Notes(root), jobs=2)
    absorbed: dict[str, Content] = {}
    sender.absorb({"key": source.stream}, absorbed.__setitem__, listener)
    return absorbed["key"]


def under_way(root: Path) -> list[Path]:
    """Uploads that the registry keeps."""
    return [*(root / "served").rglob("_uploads/*/data")]


def test_it_is_there_under_the_digest_that_came_at_its_end(remote: Remote, tmp_path: Path) -> None:
    assert absorb(remote, Passing(DATA), tmp_path) == CONTENT

    assert b"".join(remote.open(CONTENT)) == DATA


def test_what_an_interrupted_process_sent_is_not_sent_again(remote: Remote, tmp_path: Path) -> None:
    heard = 0

    def interrupt(event: Event) -> None:
        nonlocal heard
        heard += event.size if isinstance(event, Advanced) else 0
        if heard > 6_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        absorb(remote, Passing(DATA), tmp_path, interrupt)
    assert under_way(tmp_path)
    source = Passing(DATA)

    assert absorb(remote, source, tmp_path) == CONTENT
    assert source.read_from == [6_000_000]
    assert not under_way(tmp_path)
    assert b"".join(remote.open(CONTENT)) == DATA


def test_what_came_before_the_source_went_away_is_not_sent_again(
    remote: Remote, tmp_path: Path
) -> None:
    source = Passing(DATA)
    source.breaks = [(6_000_000, TryAgain("the hub is away"))]
    with pytest.raises(TryAgain, match="hub"):
        absorb(remote, source, tmp_path)

    assert absorb(remote, source, tmp_path) == CONTENT
    assert source.read_from == [0, 6_000_000]


def test_wrong_bytes_leave_nothing(remote: Remote, tmp_path: Path) -> None:
    source = Passing(DATA)
    source.is_wrong = True

    with pytest.raises(WrongBytes, match="locked"):
        absorb(remote, source, tmp_path)

    assert not remote.has(CONTENT)
    assert not under_way(tmp_path)
