"""Files that were too large: surveyed in one pass, and made again from ranges of the original."""

import io
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import BinaryIO

import pytest

from ovenproof.core import weights
from ovenproof.core.cut import cut, index
from ovenproof.core.digest import Content, Digest
from ovenproof.core.lock import Proofs
from ovenproof.core.model_lock import LockedFile
from ovenproof.core.safetensors import Head, Tensor, parse, write
from ovenproof.errors import LockAgain, WrongBytes
from ovenproof.events import Advanced, Event, Finished, Started, silent
from ovenproof.sources.cutting import Original, open_part, read_head, remake_index, survey
from ovenproof.store.shelf import Openers, Prepared
from ovenproof.store.stream import measure

PATH = "model.safetensors"
INDEX = "model.safetensors.index.json"


def safetensors(*sizes: int, prefix: str = "t") -> bytes:
    """A file with tensors of so many bytes, no two bytes in a row alike."""
    tensors, end = [], 0
    for number, size in enumerate(sizes):
        name = f"{prefix}{number}"
        tensors.append(Tensor(name=name, dtype="U8", shape=(size,), start=end, stop=end + size))
        end += size
    return write(tensors, {"format": "pt"}) + (bytes(range(251)) * (end // 251 + 1))[:end]


class Piece(io.BytesIO):
    """A stream that gives less than it is asked for, as one from a network may."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(-1 if size is None or size < 0 else min(size, 70_000))


class Opened:
    """Opens ranges of files, and remembers which, and who was left open."""

    def __init__(self, **files: bytes) -> None:
        self.files = {name.replace("_", "."): data for name, data in files.items()}
        self.asked: list[tuple[str, int, int]] = []
        self.streams: list[BinaryIO] = []

    def file(self, path: str, offset: int, size: int) -> BinaryIO:
        self.asked.append((path, offset, size))
        stream = Piece(self.files[path][offset : offset + size])
        self.streams.append(stream)
        return stream

    def __call__(self, offset: int, size: int) -> BinaryIO:
        return self.file(PATH, offset, size)

    def all_closed(self) -> bool:
        return all(stream.closed for stream in self.streams)


def head_of(data: bytes) -> Head:
    return parse(data[: 8 + int.from_bytes(data[:8], "little")], len(data), PATH)


def surveyed(
    data: bytes, most: int, heard: list[Event] | None = None
) -> tuple[tuple[LockedFile, ...], Proofs]:
    head = head_of(data)
    opened = Opened(model_safetensors=data)
    found = survey(
        Original(path=PATH, content=Content.of(data), head=data[: head.size]),
        cut(PATH, head, most),
        opened,
        model_path="/model",
        listener=silent if heard is None else heard.append,
    )
    assert opened.asked == [(PATH, head.size, head.data)], "one pass, front to back"
    assert opened.all_closed()
    return found


SMALL = safetensors(1000, 0, 1000, 1000)


def test_one_pass_finds_everything_that_is_locked_of_the_parts() -> None:
    files, layers = surveyed(SMALL, 1300)
    assert [file.path for file in files] == [
        f"model.part-{number:02}-of-03.safetensors" for number in (1, 2, 3)
    ]
    for file in files:
        with open_part(file, Opened(model_safetensors=SMALL)) as stream:
            assert Content.of(stream.read()) == Content(file.digest, file.size)
        assert file.pinned_by == "file"
        assert file.cut is not None
        assert (file.cut.of, file.cut.original) == (PATH, Content.of(SMALL))
        assert file.cut.head == Content.of(SMALL[: head_of(SMALL).size])
    assert not layers, "what shares a layer with others proves none"


def test_the_layers_of_big_parts_are_proven_on_the_way() -> None:
    tensor = weights.ALONE_FROM
    data = safetensors(tensor, tensor, 1000)
    files, layers = surveyed(data, tensor + 500)
    assert len(files) == 3
    for file in files[:2]:
        content = Content(file.digest, file.size)
        opener = partial(open_part, file, Opened(model_safetensors=data))
        made = weights.layer_recipe("/model", [(file.path, content)])
        expected = measure(Prepared(made, Openers({content: opener})))
        (group,) = weights.big_groups([file], 1)
        assert layers[weights.action(group, "/model").key] == expected
    assert len(layers) == 2


def test_a_person_is_told_how_far_it_is() -> None:
    heard: list[Event] = []
    surveyed(SMALL, 1300, heard)
    assert (heard[0], heard[-1]) == (Started(name=PATH, total=len(SMALL)), Finished(name=PATH))
    assert sum(event.size for event in heard if isinstance(event, Advanced)) == len(SMALL)


@pytest.mark.parametrize("place", [0, 20, -1, -2500])
def test_an_original_that_is_not_what_was_promised_is_not_locked(place: int) -> None:
    head = head_of(SMALL)
    promised = bytearray(SMALL)
    promised[place] ^= 1
    opened = Opened(model_safetensors=SMALL)
    with pytest.raises(WrongBytes, match="not those that were promised") as caught:
        survey(
            Original(path=PATH, content=Content.of(bytes(promised)), head=SMALL[: head.size]),
            cut(PATH, head, 1300),
            opened,
            model_path="/model",
            listener=silent,
        )
    assert caught.value.subject == PATH
    assert opened.all_closed()


def test_an_original_that_ends_too_early_is_not_locked() -> None:
    head = head_of(SMALL)
    opened = Opened(model_safetensors=SMALL[:-1])
    original = Original(path=PATH, content=Content.of(SMALL), head=SMALL[: head.size])
    with pytest.raises(WrongBytes, match="ended too early"):
        survey(original, cut(PATH, head, 1300), opened, model_path="/m", listener=silent)
    assert opened.all_closed()


def test_parts_that_are_not_the_file_are_not_locked() -> None:
    head = head_of(SMALL)
    opened = Opened(model_safetensors=SMALL)
    original = Original(path=PATH, content=Content.of(SMALL), head=SMALL[: head.size])
    with pytest.raises(WrongBytes, match="are not the file"):
        survey(original, cut(PATH, head, 1300)[:2], opened, model_path="/m", listener=silent)
    assert not opened.asked


# Parts


def test_only_the_head_and_the_range_of_a_part_are_read() -> None:
    file = surveyed(SMALL, 1300)[0][1]
    opened = Opened(model_safetensors=SMALL)
    size = head_of(SMALL).size
    with open_part(file, opened) as stream:
        assert opened.asked == [(PATH, 0, size)]
        stream.read()
        assert opened.asked == [(PATH, 0, size), (PATH, size + 1000, 1000)]
    assert opened.all_closed()


def test_behind_its_own_head_a_part_needs_no_other() -> None:
    file = surveyed(SMALL, 1300)[0][1]
    opened = Opened(model_safetensors=SMALL)
    with open_part(file, opened, file.size - 10) as stream:
        assert stream.read() == SMALL[head_of(SMALL).size + 1990 :][:10]
    assert opened.asked == [(PATH, head_of(SMALL).size + 1990, 10)]
    with open_part(file, opened, file.size) as stream:
        assert stream.read() == b""
    assert opened.all_closed()


def test_a_part_that_is_not_read_to_its_end_lets_go_of_its_original() -> None:
    file = surveyed(SMALL, 1300)[0][0]
    opened = Opened(model_safetensors=SMALL)
    with open_part(file, opened, file.size - 900) as stream:
        stream.read(10)
    assert len(opened.streams) == 1
    assert opened.all_closed()
    with open_part(file, opened):
        pass
    assert opened.all_closed()


def test_another_head_than_the_locked_one_is_refused_before_a_byte_is_given() -> None:
    file = surveyed(SMALL, 1300)[0][0]
    with pytest.raises(WrongBytes, match="head of a file") as caught:
        open_part(file, Opened(model_safetensors=safetensors(1000, 0, 1000, 1001)))
    assert caught.value.subject == PATH
    with pytest.raises(WrongBytes, match="ended too early"):
        open_part(file, Opened(model_safetensors=SMALL[:30]))


def test_a_range_that_ends_too_early_is_said() -> None:
    file = surveyed(SMALL, 1300)[0][-1]
    with (
        open_part(file, Opened(model_safetensors=SMALL[:-1])) as stream,
        pytest.raises(WrongBytes, match="ended too early"),
    ):
        stream.read()


def test_a_lock_that_somebody_edited_is_said() -> None:
    file = surveyed(SMALL, 1300)[0][0]
    assert file.cut is not None
    for edited in (
        replace(file, cut=replace(file.cut, stop=file.cut.stop - 1), size=file.size - 1),
        replace(file, cut=replace(file.cut, stop=2000), size=file.size + 1000),
    ):
        with pytest.raises(LockAgain, match=file.path):
            open_part(edited, Opened(model_safetensors=SMALL))


# Heads


def test_a_head_takes_one_read_and_a_long_one_two() -> None:
    opened = Opened(model_safetensors=SMALL)
    assert read_head(PATH, len(SMALL), opened) == SMALL[: head_of(SMALL).size]
    assert opened.asked == [(PATH, 0, len(SMALL))]
    data = safetensors(*[1] * 8000)
    size = head_of(data).size
    assert size > 1 << 18
    opened = Opened(model_safetensors=data)
    assert read_head(PATH, len(data), opened) == data[:size]
    assert opened.asked == [(PATH, 0, 1 << 18), (PATH, 1 << 18, size - (1 << 18))]
    assert opened.all_closed()


@pytest.mark.parametrize("data", [b"", b"short", bytes(100)])
def test_what_has_no_head_is_said(data: bytes) -> None:
    with pytest.raises(WrongBytes, match="not a safetensors file"):
        read_head(PATH, len(data), Opened(model_safetensors=data))


# The index

OTHER = safetensors(7, 8, prefix="o")


def made_index(data: bytes, original: bytes | None) -> tuple[LockedFile, tuple[LockedFile, ...]]:
    """An index, as it is locked, and the files beside it."""
    head = head_of(data)
    heads: Mapping[str, Head] = {PATH: head}
    if original is None:
        heads = {PATH: head, "other.safetensors": head_of(OTHER)}
    made = index({PATH: cut(PATH, head, 1300)}, heads, original=original, name=INDEX)
    locked = LockedFile(path=INDEX, size=len(made), digest=Digest.of(made), made=True)
    other = LockedFile(path="other.safetensors", size=len(OTHER), digest=Digest.of(OTHER))
    text = LockedFile(path="config.json", size=2, digest=Digest.of(b"{}"))
    return locked, (text, locked, *surveyed(data, 1300)[0], other)


@pytest.mark.parametrize(
    "original", [None, b'{"weight_map":{"t0":"model.safetensors","o0":"other.safetensors"}}']
)
def test_an_index_is_made_again_from_heads(original: bytes | None) -> None:
    locked, files = made_index(SMALL, original)
    opened = Opened(model_safetensors=SMALL, other_safetensors=OTHER)
    made = remake_index(locked, files, original=original, open_file=opened.file)
    assert Content.of(made) == Content(locked.digest, locked.size)
    asked = [path for path, _offset, _size in opened.asked]
    assert sorted(asked) == ([PATH] if original else [PATH, "other.safetensors"])
    assert opened.all_closed()


def test_an_index_that_comes_out_otherwise_is_refused() -> None:
    locked, files = made_index(SMALL, None)
    renamed = safetensors(7, 8, prefix="x")
    opened = Opened(model_safetensors=SMALL, other_safetensors=renamed)
    with pytest.raises(WrongBytes, match="not the one that is locked") as caught:
        remake_index(locked, files, original=None, open_file=opened.file)
    assert caught.value.subject == INDEX
