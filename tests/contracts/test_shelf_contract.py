"""What every shelf promises: the bytes from any offset, and Absent for what it does not know."""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pytest

from ovenproof.core.content import LocalFile
from ovenproof.core.digest import Content, Digest
from ovenproof.errors import TryAgain
from ovenproof.store.shelf import Absent, Openers, Shelf, open_local
from ovenproof.store.store import Store

BREAD = bytes(range(256)) * 40
LOAF = Content.of(BREAD)
CRUMB = Content.of(b"crumb")


def store(root: Path) -> Shelf:
    made = Store(root / "store")
    for data in (BREAD, b"crumb", b""):
        made.add([data])
    return made


def stored_by_somebody_else(root: Path) -> Shelf:
    store(root)
    return Store(root / "store")


def openers(root: Path) -> Shelf:
    def opener(data: bytes) -> Callable[[int], BinaryIO]:
        return lambda offset: io.BytesIO(data[offset:])

    return Openers({Content.of(data): opener(data) for data in (BREAD, b"crumb", b"")})


def local_files(root: Path) -> Shelf:
    table: dict[Content, Callable[[int], BinaryIO]] = {}
    for number, data in enumerate((BREAD, b"crumb", b"")):
        path = root / str(number)
        path.write_bytes(data)
        table[Content.of(data)] = partial(open_local, LocalFile(path, len(data)))
    return Openers(table)


@pytest.fixture(params=[store, stored_by_somebody_else, openers, local_files])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Shelf:
    made: Shelf = request.param(tmp_path)
    return made


@pytest.mark.parametrize("offset", [0, 1, 255, 256, 5000, len(BREAD) - 1, len(BREAD)])
def test_content_is_given_from_any_offset(shelf: Shelf, offset: int) -> None:
    with shelf.open(LOAF, offset) as stream:
        assert stream.read() == BREAD[offset:]


def test_without_an_offset_it_is_all_of_it(shelf: Shelf) -> None:
    with shelf.open(LOAF) as stream:
        assert stream.read(10) == BREAD[:10]
        assert stream.read() == BREAD[10:]


def test_two_streams_of_one_content_do_not_disturb_each_other(shelf: Shelf) -> None:
    with shelf.open(LOAF) as one, shelf.open(LOAF, 100) as two:
        assert one.read(5) == BREAD[:5]
        assert two.read(5) == BREAD[100:105]
        assert one.read(5) == BREAD[5:10]


def test_empty_content_is_content(shelf: Shelf) -> None:
    with shelf.open(Content.of(b"")) as stream:
        assert stream.read() == b""


@pytest.mark.parametrize(
    "content",
    [
        Content.of(b"nobody knows"),
        Content(LOAF.digest, LOAF.size + 1),
        Content(Digest.of(b"other"), LOAF.size),
    ],
)
def test_what_is_not_there_is_absent(shelf: Shelf, content: Content) -> None:
    with pytest.raises(Absent):
        shelf.open(content)
    with shelf.open(LOAF) as stream:  # asking for another size has broken nothing
        assert stream.read() == BREAD


def test_absence_is_told_with_a_remedy_where_nobody_makes_the_bytes_again(shelf: Shelf) -> None:
    with pytest.raises(TryAgain, match="run the same command again") as caught:
        shelf.open(Content.of(b"nobody knows"))
    assert caught.value.subject == str(Digest.of(b"nobody knows"))
