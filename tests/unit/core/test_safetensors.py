"""What is accepted as the head of a safetensors file; the `safetensors` library is the oracle."""

import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from ovenproof.core.safetensors import (
    BITS,
    HEAD_LIMIT,
    Head,
    Tensor,
    head_size,
    is_countable,
    parse,
    write,
)
from ovenproof.errors import WrongBytes

NAME = "model.safetensors"
GOOD = '"dtype":"F32","shape":[1],"data_offsets":[0,4]'


def file(text: str | bytes | dict[str, Any], data: int = 0) -> bytes:
    """A file with this head, and so many zeros behind it."""
    text = json.dumps(text) if isinstance(text, dict) else text
    text = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(text)) + text + bytes(data)


def placed(**places: tuple[str, list[int], int, int]) -> dict[str, Any]:
    return {
        name: {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}
        for name, (dtype, shape, start, stop) in places.items()
    }


def ask(data: bytes) -> Head:
    """Only the head is given, as after a ranged read."""
    return parse(data[: head_size(data[:8], len(data), NAME)], len(data), NAME)


def test_numbers_of_a_stranger_are_not_multiplied_without_end() -> None:
    """Each of them alone may be counted; their product has a million digits."""

    def shape() -> Iterator[int]:
        yield from [0, 1, 10**18, 10**18]
        raise AssertionError("there was enough")

    assert not is_countable(8, shape())
    assert is_countable(8, [10**18, 0])
    text = json.dumps(placed(a=("U8", [10**18] * 100_000, 0, 0)))
    with pytest.raises(WrongBytes, match="can count") as caught:
        ask(file(text))
    assert len(str(caught.value)) < 2000


def test_a_number_of_thousands_of_digits_is_not_read() -> None:
    text = json.dumps(placed(a=("U8", [7], 0, 0))).replace("7", "9" * 4300)
    with pytest.raises(WrongBytes, match="no machine can count"):
        ask(file(text))


def ask_library(data: bytes) -> None:
    deserialize(data)  # type: ignore[no-untyped-call]


def library_takes(data: bytes) -> bool:
    try:
        ask_library(data)
    except SafetensorError:
        return False
    return True


def test_a_head_says_each_tensor_and_where_it_lies() -> None:
    text = {"__metadata__": {"format": "pt"}} | placed(b=("F32", [], 6, 10), a=("U8", [2, 3], 0, 6))
    data = file(text, 10)
    assert ask(data) == Head(
        tensors=(
            Tensor(name="a", dtype="U8", shape=(2, 3), start=0, stop=6),
            Tensor(name="b", dtype="F32", shape=(), start=6, stop=10),
        ),
        metadata={"format": "pt"},
        size=len(data) - 10,
        data=10,
    )
    assert [tensor.elements for tensor in ask(data).tensors] == [6, 1]


def test_tensors_without_bytes_stand_before_the_one_that_begins_at_their_place() -> None:
    text = placed(a=("U8", [1], 0, 1), z=("U8", [0], 0, 0), y=("U8", [0], 1, 1))
    assert [tensor.name for tensor in ask(file(text, 1)).tensors] == ["z", "a", "y"]


def test_the_table_of_dtypes_is_the_librarys() -> None:
    for dtype, bits in BITS.items():
        data = file(placed(a=(dtype, [8], 0, bits)), bits)
        assert library_takes(data), dtype
        assert ask(data).tensors[0].dtype == dtype
    with pytest.raises(SafetensorError) as caught:
        ask_library(file(placed(a=("F99", [1], 0, 1)), 1))
    said = str(caught.value)
    assert all(f"`{dtype}`" in said for dtype in BITS), said
    assert said.count("`") == 2 * (len(BITS) + 1), said


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("{}", 0),
        ("{}   \n\t ", 0),
        ('{"__metadata__":{}}', 0),
        (f'{{"":{{{GOOD}}}}}', 4),
        (f'{{"\\ud83d\\ude00 é":{{{GOOD}}}}}', 4),
        (placed(a=("F4", [4], 0, 2)), 2),
        (placed(a=("F6_E2M3", [2, 2], 0, 3)), 3),
        (placed(a=("F32", [2, 0], 0, 0), b=("C64", [], 0, 8), c=("U8", [0], 8, 8)), 8),
    ],
)
def test_what_both_accept(text: str | dict[str, Any], data: int) -> None:
    ask(file(text, data))
    assert library_takes(file(text, data))


REFUSED: list[tuple[str | bytes | dict[str, Any], int, str]] = [
    (b"\xff\xff", 0, "cannot be read"),
    ("{ ", 0, "cannot be read"),
    ("[]", 0, "cannot be read"),
    ("7 ", 0, "cannot be read"),
    ("[" * 100_000, 0, "cannot be read"),
    ('{"a":' * 100_000, 0, "cannot be read"),
    (f'{{"a":{{{GOOD}}}}}'.encode("utf-16"), 4, "cannot be read"),
    ("\ufeff{}", 0, "cannot be read"),
    ("{}\0\0", 0, "cannot be read"),
    (f'{{"a\n":{{{GOOD}}}}}', 4, "cannot be read"),
    (f'{{"\\ud800":{{{GOOD}}}}}', 4, "cannot be read"),
    ('{"__metadata__":{"a":"\\udc00"}}', 0, "cannot be read"),
    ('{"__metadata__":{"a":1}}', 0, "__metadata__"),
    ('{"__metadata__":["a"]}', 0, "__metadata__"),
    ('{"__metadata__":{},"__metadata__":{}}', 0, "twice"),
    (f'{{"a":{{{GOOD},"dtype":"F32"}}}}', 4, "twice"),
    ('{"a":7}', 0, "`model.safetensors` \\(tensor 'a'\\)"),
    ('{"a":{"dtype":"F32","shape":[1]}}', 4, "tensor 'a'"),
    ('{"a":{"dtype":7,"shape":[1],"data_offsets":[0,4]}}', 4, "a dtype: BOOL, F4"),
    (placed(a=("f32", [1], 0, 4)), 4, "a dtype: BOOL, F4"),
    ('{"a":{"dtype":"U8","shape":[true],"data_offsets":[0,1]}}', 1, "whole numbers"),
    ('{"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}', 1, "counts nothing"),
    ('{"a":{"dtype":"U8","shape":[NaN],"data_offsets":[0,1]}}', 1, "counts nothing"),
    ('{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}', 1, "counts nothing"),
    ('{"a":{"dtype":"U8","shape":[1],"data_offsets":[-0,1]}}', 1, "counts nothing"),
    ('{"a":{"dtype":"U8","shape":["1"],"data_offsets":[0,1]}}', 1, "whole numbers"),
    ('{"a":{"dtype":"U8","shape":1,"data_offsets":[0,1]}}', 1, "whole numbers"),
    ('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}}', 1, "begin and end"),
    ('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,1]}}', 1, "begin and end"),
    ('{"a":{"dtype":"U8","shape":[1],"data_offsets":{"0":1}}}', 1, "begin and end"),
    (f'{{"a":{{"dtype":"U8","shape":[{"9" * 5000}],"data_offsets":[0,1]}}}}', 1, "cannot be read"),
    (placed(a=("U8", [2**64, 0], 0, 0)), 0, "can count"),
    (placed(a=("U8", [2**40, 2**40, 0], 0, 0)), 0, "can count"),
    (placed(a=("U8", [1], 2**70, 2**70 + 1)), 1, "can count"),
    (placed(a=("F32", [1], 0, 8)), 8, "32 bits for F32"),
    (placed(a=("F4", [3], 0, 2)), 2, "12 bits for F4"),
    (placed(a=("U8", [1], 1, 0)), 1, "begin and end"),
    (placed(a=("U8", [1], 0, 1), b=("U8", [1], 2, 3)), 3, "(?s)tensor 'b'.*behind a hole"),
    (placed(a=("U8", [1], 1, 2)), 2, "(?s)tensor 'a'.*behind a hole"),
    (placed(a=("U8", [2], 0, 2), b=("U8", [2], 1, 3)), 3, "(?s)tensor 'b'.*over another one"),
    (placed(a=("U8", [2], 0, 2), b=("U8", [2], 0, 2)), 2, "(?s)tensor 'b'.*over another one"),
    (placed(a=("U8", [2], 0, 2), b=("U8", [0], 1, 1)), 2, "(?s)tensor 'b'.*over another one"),
    (placed(a=("U8", [2], 0, 2)), 3, "not as long"),
    (placed(a=("U8", [2], 0, 2)), 1, "not as long"),
    ("{}", 1, "not as long"),
]


@pytest.mark.parametrize(("text", "data", "told"), REFUSED)
def test_what_both_refuse(text: str | bytes | dict[str, Any], data: int, told: str) -> None:
    with pytest.raises(WrongBytes, match=told) as caught:
        ask(file(text, data))
    assert caught.value.subject == NAME
    assert len(str(caught.value)) < 1000
    assert not library_takes(file(text, data))


@pytest.mark.parametrize(
    ("text", "data", "told"),
    [
        (f'{{"a":{{{GOOD}}},"a":{{{GOOD}}}}}', 4, "twice: 'a'"),
        ('{"__metadata__":{"a":"1","a":"2"}}', 0, "twice: 'a'"),
        (f'{{"a":{{{GOOD},"scale":1}}}}', 4, "nothing else"),
        ('{"a":["F32",[1],[0,4]]}', 4, "nothing else"),
        ('{"__metadata__":null}', 0, "__metadata__"),
        (f' {{"a":{{{GOOD}}}}}', 4, "not with a brace"),
        (placed(a=("U8", [0, 2**40, 2**40], 0, 0)), 0, "can count"),
    ],
)
def test_where_this_is_stricter_than_the_library(
    text: str | dict[str, Any], data: int, told: str
) -> None:
    with pytest.raises(WrongBytes, match=told):
        ask(file(text, data))
    assert library_takes(file(text, data))


@pytest.mark.parametrize("first", [b"", b"short", bytes(8), struct.pack("<Q", 1) + b"{"])
def test_what_is_too_short_for_a_head(first: bytes) -> None:
    with pytest.raises(WrongBytes, match="not a safetensors file"):
        parse(first, len(first), NAME)


def test_a_head_that_is_longer_than_the_file_or_than_anything_is_not_read() -> None:
    size = 10**12
    assert head_size(struct.pack("<Q", HEAD_LIMIT), size, NAME) == 8 + HEAD_LIMIT
    for length, of in ((HEAD_LIMIT + 1, size), (93, 100), (2**63, 2**63 - 1)):
        with pytest.raises(WrongBytes, match="not a safetensors file"):
            head_size(struct.pack("<Q", length), of, NAME)
    assert head_size(struct.pack("<Q", 92), 100, NAME) == 100


def test_a_head_of_which_some_is_missing_is_said() -> None:
    data = file(placed(a=("U8", [2], 0, 2)), 2)
    with pytest.raises(WrongBytes, match="ended too early"):
        parse(data[:20], len(data), NAME)


def test_a_name_cannot_write_on_the_terminal() -> None:
    with pytest.raises(WrongBytes) as caught:
        ask(file(placed(**{"\x1b[2J": ("F99", [1], 0, 1)}), 1))
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("metadata", [{}, {"format": "pt"}])
def test_a_head_is_written_as_the_library_writes_it(metadata: dict[str, str]) -> None:
    arrays = {"b": np.ones(2, "<f4"), 'a"é\n': np.ones((), "<f4")}
    whole = save(arrays, metadata or None)
    head = ask(whole)
    assert write(head.tensors, head.metadata) == whole[: head.size]


def test_what_is_written_is_read_back() -> None:
    tensors = (
        Tensor(name="b", dtype="F32", shape=(2,), start=0, stop=8),
        Tensor(name="a", dtype="U8", shape=(), start=8, stop=9),
    )
    data = write(tensors, {"z": "1", "a": "2"})
    assert len(data) % 8 == 0
    head = parse(data, len(data) + 9, NAME)
    assert (head.tensors, head.metadata) == (tensors, {"z": "1", "a": "2"})
    assert write(tensors, {"a": "2", "z": "1"}) == data


def test_no_tensor_is_written_twice() -> None:
    one = Tensor(name="a", dtype="U8", shape=(), start=0, stop=1)
    for twice in ([one, one], [Tensor(name="__metadata__", dtype="U8", shape=(), start=0, stop=1)]):
        with pytest.raises(ValueError, match="twice"):
            write(twice, {"format": "pt"})
