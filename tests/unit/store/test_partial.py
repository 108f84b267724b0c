"""A file that comes in blocks, in any order, and survives a kill."""

import os
import random
from pathlib import Path

import pytest

from ovenproof.core.digest import Content
from ovenproof.errors import NoSpace
from ovenproof.store.partial import Partials
from ovenproof.store.store import Store

DATA = random.Random(7).randbytes(1050)
CONTENT = Content.of(DATA)
SIZE = 100


@pytest.fixture
def partials(tmp_path: Path) -> Partials:
    return Partials(tmp_path)


def bring(partials: Partials, *numbers: int) -> None:
    """Write some blocks, whole."""
    with partials.open(CONTENT, SIZE) as goal:
        blocks = {block.number: block for block in goal.missing()}
        for number in numbers:
            block = blocks[number]
            goal.write(block.offset, DATA[block.offset : block.offset + block.size])
            goal.finish(block)


def missing(partials: Partials, size: int = SIZE) -> list[int]:
    with partials.open(CONTENT, size) as goal:
        return [block.number for block in goal.missing()]


def record(tmp_path: Path) -> Path:
    return tmp_path / "partial" / f"{CONTENT.digest.hex}.blocks"


def test_blocks_cover_the_file_and_the_last_one_is_what_is_left(partials: Partials) -> None:
    with partials.open(CONTENT, SIZE) as goal:
        blocks = goal.missing()
    assert [block.offset for block in blocks] == list(range(0, 1050, 100))
    assert [block.size for block in blocks] == [100] * 10 + [50]


def test_what_is_whole_is_there_for_the_next_and_in_any_order(partials: Partials) -> None:
    bring(partials, 10, 3)
    bring(partials, 4)
    assert missing(partials) == [0, 1, 2, 5, 6, 7, 8, 9]
    with partials.open(CONTENT, SIZE) as goal:
        assert goal.have == 250


def test_all_blocks_together_are_the_file(partials: Partials, tmp_path: Path) -> None:
    bring(partials, *random.Random(1).sample(range(11), 11))
    store = Store(tmp_path)
    with partials.open(CONTENT, SIZE) as goal:
        assert not goal.missing()
        assert store.adopt(goal.path, expected=CONTENT) == CONTENT
        goal.remove()
    assert not list((tmp_path / "partial").iterdir())
    assert store.open(CONTENT).read() == DATA


def test_a_block_that_was_not_finished_is_missing(partials: Partials) -> None:
    with partials.open(CONTENT, SIZE) as goal:
        goal.write(0, DATA[:100])
    assert 0 in missing(partials)


def test_a_record_that_ends_anywhere_promises_no_block_too_many(
    partials: Partials, tmp_path: Path
) -> None:
    bring(partials, 10, 1)
    text = record(tmp_path).read_bytes()
    for end in range(len(text)):
        record(tmp_path).write_bytes(text[:end])
        whole = {int(line) for line in text[:end].split(b"\n")[1:-1]}
        assert set(range(11)) - set(missing(partials)) <= whole
        bytes_path = record(tmp_path).with_suffix("")
        bytes_path.write_bytes(DATA)


def test_after_a_torn_line_the_next_is_a_line_of_its_own(
    partials: Partials, tmp_path: Path
) -> None:
    bring(partials, 1)
    with record(tmp_path).open("ab") as stream:
        stream.write(b"1")  # of what should have become 10
    bring(partials, 0)
    assert missing(partials) == list(range(2, 11))


def test_a_record_promises_nothing_of_bytes_that_are_not_there(
    partials: Partials, tmp_path: Path
) -> None:
    bring(partials, 0, 10)
    os.truncate(record(tmp_path).with_suffix(""), 100)
    assert 10 in missing(partials)
    record(tmp_path).with_suffix("").unlink()
    assert missing(partials) == list(range(11))


def test_blocks_of_another_size_begin_anew(partials: Partials) -> None:
    bring(partials, 0)
    assert missing(partials, 500) == [0, 1, 2]


def test_what_is_at_work_or_fresh_is_not_swept(partials: Partials) -> None:
    with partials.open(CONTENT, SIZE):
        assert partials.sweep(idle_s=0) == 0
    assert partials.sweep() == 0
    assert partials.sweep(idle_s=0) == 1
    assert missing(partials) == list(range(11))


def test_what_was_left_long_ago_is_swept_by_the_store(partials: Partials, tmp_path: Path) -> None:
    bring(partials, 0)
    os.utime(record(tmp_path), (1, 1))
    assert Store(tmp_path).sweep() == 1
    assert not list((tmp_path / "partial").iterdir())


def test_the_store_counts_what_is_there_and_not_its_holes(
    partials: Partials, tmp_path: Path
) -> None:
    big = Content(CONTENT.digest, 1 << 40)
    with partials.open(big, 1 << 30) as goal:
        goal.write((1 << 40) - 100, DATA[:100])
    assert 0 < Store(tmp_path).size() < 1 << 20
    assert partials.have(big) < 1 << 20


def test_an_emptied_store_has_none(partials: Partials, tmp_path: Path) -> None:
    bring(partials, 0)
    Store(tmp_path).empty()
    assert not tmp_path.exists() or not list(tmp_path.iterdir())


def test_too_little_room_is_told_before_anything_moves(partials: Partials) -> None:
    partials.make_sure_of(0)
    with pytest.raises(NoSpace, match="not enough room"):
        partials.make_sure_of(1 << 62)


def test_a_full_disk_is_no_space_and_keeps_what_is_whole(
    partials: Partials, tmp_path: Path
) -> None:
    bring(partials, 3)
    with partials.open(CONTENT, SIZE) as goal:
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, goal._bytes)  # the only disk that is always full
        os.close(full)
        with pytest.raises(NoSpace):
            goal.write(0, b"x")
    assert missing(partials) == [0, 1, 2, 4, 5, 6, 7, 8, 9, 10]
