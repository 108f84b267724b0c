"""A file that is read by ranges as though it were here."""

import io
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenproof.errors import WrongBytes
from ovenproof.sources.ranged import Ranged

DATA = bytes(number * 31 % 251 for number in range(100_000))
MOVES = st.lists(
    st.tuples(st.sampled_from([0, 1, 2]), st.integers(-200_000, 200_000), st.integers(-1, 70_000)),
    max_size=20,
)


def ranged(limit: int = 1 << 40) -> Ranged:
    def open_range(offset: int, size: int) -> BinaryIO:
        assert 0 < size <= len(DATA) - offset
        return io.BytesIO(DATA[offset : offset + size])

    return Ranged(open_range, len(DATA), limit=limit, name="x")


@given(MOVES)
def test_it_reads_as_a_file_in_memory_does(moves: list[tuple[int, int, int]]) -> None:
    ours, theirs = io.BufferedReader(ranged()), io.BytesIO(DATA)
    for whence, offset, size in moves:
        if {0: 0, 1: theirs.tell(), 2: len(DATA)}[whence] + offset >= 0:
            assert ours.seek(offset, whence) == theirs.seek(offset, whence)
        assert ours.read(size) == theirs.read(size)
        assert ours.tell() == theirs.tell()


def test_as_much_comes_at_once_as_is_asked_for() -> None:
    def open_range(offset: int, size: int) -> BinaryIO:
        sizes.append(size)
        return io.BytesIO(DATA[offset : offset + size])

    sizes: list[int] = []
    file = Ranged(open_range, len(DATA), limit=1 << 20, name="x", least=30_000)
    for place in (0, 29_999, 50_000, 99_999):
        file.seek(place)
        file.read(1)
    assert sizes == [30_000, 30_000, 1]


def test_before_the_beginning_there_is_nothing() -> None:
    with pytest.raises(ValueError, match="before"):
        ranged().seek(-1)


def test_it_does_not_read_more_than_it_may() -> None:
    with pytest.raises(WrongBytes, match="more of a file"):
        ranged(limit=60_000).readall()
