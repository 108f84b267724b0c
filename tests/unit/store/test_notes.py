"""Notes: kept while nothing happens to them, and never a reason for anything to fail."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from ovenproof.core.digest import Json
from ovenproof.store.notes import Notes
from ovenproof.store.store import Store

KEY: Json = {"registry": "here", "digest": "sha256:00"}


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path)


def only(root: Path) -> Path:
    (path,) = (root / "notes").iterdir()
    return path


@pytest.mark.parametrize("value", ["text", 7, ["a", "b"], {"name": None}])
def test_what_was_noted_is_recalled_until_it_is_forgotten(
    tmp_path: Path, notes: Notes, value: Json
) -> None:
    assert notes.recall("upload", KEY) is None
    notes.remember("upload", KEY, value)
    assert Notes(tmp_path).recall("upload", KEY) == value
    assert notes.recall("homes", KEY) is None
    assert notes.recall("upload", "another") is None
    notes.forget("upload", KEY)
    notes.forget("upload", KEY)
    assert notes.recall("upload", KEY) is None
    assert not list((tmp_path / "notes").iterdir())


def test_a_later_note_replaces_an_earlier_one(notes: Notes) -> None:
    notes.remember("upload", KEY, "first")
    notes.remember("upload", KEY, "second")
    assert notes.recall("upload", KEY) == "second"


def test_only_the_owner_may_read_a_note(tmp_path: Path, notes: Notes) -> None:
    notes.remember("upload", KEY, "https://registry/upload?state=signed")
    assert stat.S_IMODE(only(tmp_path).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes().replace(b"session", b"sessjon")),
        lambda path: path.write_bytes(path.read_bytes()[:-5]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"[1.5]"),
        lambda path: path.write_bytes(b"\xff\xfe"),
    ],
    ids=["another value", "cut", "empty", "no object", "no text"],
)
def test_a_damaged_note_is_thrown_away(
    tmp_path: Path, notes: Notes, spoil: Callable[[Path], object]
) -> None:
    notes.remember("upload", KEY, "session")
    path = only(tmp_path)
    path.chmod(0o644)
    spoil(path)
    assert notes.recall("upload", KEY) is None
    assert not path.exists()


def test_a_note_in_the_place_of_another_is_not_believed(tmp_path: Path, notes: Notes) -> None:
    notes.remember("upload", KEY, "session")
    place = only(tmp_path)
    own = place.read_bytes()
    notes.remember("upload", "another", "other")
    (other,) = (path for path in place.parent.iterdir() if path != place)
    other.write_bytes(own)
    assert notes.recall("upload", "another") is None
    assert notes.recall("upload", KEY) == "session"


def test_a_place_that_cannot_be_written_costs_the_note_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("a file where the folder should be")
    notes = Notes(tmp_path)
    notes.remember("upload", KEY, "session")
    assert notes.recall("upload", KEY) is None
    notes.forget("upload", KEY)
    with notes.alone("upload", KEY) as alone:
        assert not alone
    assert notes.sweep() == 0


def test_two_are_not_alone_with_the_same_thing(tmp_path: Path, notes: Notes) -> None:
    other = Notes(tmp_path)
    with notes.alone("upload", KEY) as first, other.alone("upload", KEY) as second:
        assert (first, second) == (True, False)
        with other.alone("upload", "another") as third:
            assert third
    with other.alone("upload", KEY) as again:
        assert again
    assert not list((tmp_path / "notes").iterdir())


def test_a_killed_process_is_not_waited_for(tmp_path: Path, notes: Notes) -> None:
    if (child := os.fork()) == 0:
        with Notes(tmp_path).alone("upload", KEY):
            os._exit(9)
    os.waitpid(child, 0)
    assert only(tmp_path).suffix == ".lock"
    with notes.alone("upload", KEY) as alone:
        assert alone
        assert notes.sweep() == 0
    (tmp_path / "notes/left.lock").write_text("")
    assert notes.sweep() == 1


def test_the_store_counts_its_notes_and_removes_them_with_everything_else(
    tmp_path: Path, notes: Notes
) -> None:
    notes.remember("upload", KEY, "session")
    store = Store(tmp_path)
    assert store.size() == only(tmp_path).stat().st_size
    store.empty()
    assert notes.recall("upload", KEY) is None
