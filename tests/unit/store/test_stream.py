"""Turning recipes into bytes and digests, and finding out when they are not the promised ones."""

import hashlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from ovenproof.core.content import Literal, LocalFile
from ovenproof.core.digest import Content
from ovenproof.core.layer import File, recipe
from ovenproof.errors import LockAgain, NoAccess, WrongBytes
from ovenproof.store.shelf import Absent, Openers, Prepared
from ovenproof.store.stream import CHUNK, checked, measure, read

WEIGHTS = bytes(range(256)) * 4 * 2000 + b"the end"
BIG = Content.of(WEIGHTS)


class Recorded(io.BytesIO):
    """A stream that knows whether somebody closed it, and gives only little at a time."""

    opened: "list[Recorded]"

    def __init__(self, data: bytes, opened: "list[Recorded]") -> None:
        super().__init__(data)
        opened.append(self)

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert size > 0, "all of a big file was asked for at once"
        return super().read(min(size, 70_000))


def shelf_of(data: bytes, opened: list[Recorded], content: Content = BIG) -> Openers:
    def opener(offset: int) -> BinaryIO:
        stream = Recorded(data, opened)
        stream.seek(offset)
        return stream

    return Openers({content: opener})


def prepared(data: bytes, opened: list[Recorded] | None = None) -> Prepared:
    """A layer that promises WEIGHTS; the shelf gives `data`."""
    made = recipe([File(path="a", body=Literal(b"text")), File(path="w", body=BIG)])
    return Prepared(made, shelf_of(data, [] if opened is None else opened))


def test_what_is_read_is_what_is_measured() -> None:
    layer = prepared(WEIGHTS)
    data = b"".join(read(layer))
    assert measure(layer) == Content.of(data)
    assert len(data) == layer.recipe.size


@pytest.mark.parametrize("offset", [0, 1, 511, 512, 1536, 1537, 300_000, 1_025_535, 1_030_000])
def test_reading_from_an_offset_is_the_end_of_the_whole(offset: int) -> None:
    layer = prepared(WEIGHTS)
    assert b"".join(read(layer, offset)) == b"".join(read(layer))[offset:]


def test_an_offset_asks_the_shelf_for_no_byte_before_it() -> None:
    asked: list[int] = []

    def opener(offset: int) -> BinaryIO:
        asked.append(offset)
        return io.BytesIO(WEIGHTS[offset:])

    layer = Prepared(prepared(b"").recipe, Openers({BIG: opener}))
    start = 512 + 512 + 512  # header and text of `a`, header of `w`
    assert b"".join(read(layer, start + 1000))[: len(WEIGHTS) - 1000] == WEIGHTS[1000:]
    assert asked == [1000]


def test_every_stream_is_closed_also_when_the_reader_goes_away() -> None:
    opened: list[Recorded] = []
    layer = prepared(WEIGHTS, opened)
    measure(layer)
    list(read(layer))
    stream = read(layer)
    while len(opened) < 3:
        next(stream)
    assert isinstance(stream, Iterator)
    del stream
    assert [one.closed for one in opened] == [True, True, True]


def test_who_listens_hears_the_size_of_the_bodies() -> None:
    heard: list[int] = []
    measure(prepared(WEIGHTS), heard.append)
    assert sum(heard) == len(WEIGHTS)
    assert len(heard) > 1


@pytest.mark.parametrize("place", [0, CHUNK, len(WEIGHTS) - 1])
def test_a_flipped_bit_in_a_body_is_found_while_measuring(place: int) -> None:
    data = WEIGHTS[:place] + bytes([WEIGHTS[place] ^ 1]) + WEIGHTS[place + 1 :]
    with pytest.raises(WrongBytes) as caught:
        measure(prepared(data))
    assert str(BIG.digest) in str(caught.value.expected)
    assert hashlib.sha256(data).hexdigest() in str(caught.value.got)


@pytest.mark.parametrize("use", [measure, lambda layer: list(read(layer))])
def test_a_body_that_ends_too_early_is_found(use: Callable[[Prepared], object]) -> None:
    with pytest.raises(WrongBytes, match="too early"):
        use(prepared(WEIGHTS[:-1]))


def test_a_body_that_nobody_knows_is_absent() -> None:
    with pytest.raises(Absent):
        measure(Prepared(prepared(b"").recipe, Openers({})))


@pytest.mark.parametrize("pieces", [1, 2, 3, 100])
def test_checked_gives_the_same_bytes(pieces: int) -> None:
    size = -(-len(WEIGHTS) // pieces)
    chunks = [WEIGHTS[start : start + size] for start in range(0, len(WEIGHTS), size)]
    assert b"".join(checked(chunks, BIG, "weights")) == WEIGHTS
    assert b"".join(checked([b"", *chunks, b""], BIG, "weights")) == WEIGHTS


def test_checked_nothing_is_nothing() -> None:
    assert list(checked([], Content.of(b""), "nothing")) == []
    with pytest.raises(WrongBytes):
        list(checked([], BIG, "nothing"))


@pytest.mark.parametrize("last", [[], [b""], [b"", b""]])
def test_the_last_bytes_are_not_given_before_all_are_proven(last: list[bytes]) -> None:
    """Who counts the bytes of a promised size never gets to the end of wrong ones."""
    wrong = bytes([WEIGHTS[0] ^ 1]) + WEIGHTS[1:]
    stream = checked([wrong[:5000], wrong[5000:], *last], BIG, "the layer `w`")
    assert next(stream) == wrong[:5000]
    with pytest.raises(WrongBytes, match="the layer `w`"):
        next(stream)


# Local files


def layer_of(path: Path, size: int) -> Prepared:
    return Prepared(recipe([File(path="w", body=LocalFile(path, size))]), Openers({}))


def test_a_local_file_is_read_in_place_from_any_offset(tmp_path: Path) -> None:
    path = tmp_path / "w"
    path.write_bytes(WEIGHTS)
    layer = layer_of(path, len(WEIGHTS))
    data = b"".join(read(layer))
    assert data[512 : 512 + len(WEIGHTS)] == WEIGHTS
    assert measure(layer) == Content.of(data)
    assert b"".join(read(layer, 123_456)) == data[123_456:]


def test_a_local_file_of_another_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w"
    path.write_bytes(WEIGHTS)
    for size in (len(WEIGHTS) - 1, len(WEIGHTS) + 1):
        with pytest.raises(WrongBytes, match="has changed") as caught:
            measure(layer_of(path, size))
        assert caught.value.got == f"{len(WEIGHTS)} bytes"


def test_a_local_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(LockAgain, match="No such file") as caught:
        measure(layer_of(tmp_path / "gone", 10))
    assert caught.value.subject == str(tmp_path / "gone")


def test_what_cannot_be_read_as_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoAccess, match="Is a directory") as caught:
        measure(layer_of(tmp_path, 10))
    assert caught.value.subject == str(tmp_path)
