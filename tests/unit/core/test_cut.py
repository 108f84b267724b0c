"""Cutting a file along its tensors: how many parts, of what size, called what; and the index."""

import json
import re
from dataclasses import replace
from itertools import pairwise

import pytest

from ovenproof.core.cut import Part, cut, index, part, prove
from ovenproof.core.safetensors import Head, Tensor, parse, write
from ovenproof.errors import BadFile, WrongBytes

PATH = "model.safetensors"
INDEX = "model.safetensors.index.json"


def head_of(*sizes: int, metadata: dict[str, str] | None = None, prefix: str = "t") -> Head:
    """Tensors of bytes, called after their place."""
    tensors, end = [], 0
    for number, size in enumerate(sizes):
        name = f"{prefix}{number}"
        tensors.append(Tensor(name=name, dtype="U8", shape=(size,), start=end, stop=end + size))
        end += size
    own = write(tensors, metadata or {})
    return parse(own, len(own) + end, PATH)


def held(parts: tuple[Part, ...]) -> list[list[str]]:
    return [
        [tensor.name for tensor in parse(one.head, one.size, one.path).tensors] for one in parts
    ]


def test_neighbours_share_a_part_as_long_as_it_fits() -> None:
    head = head_of(1000, 1000, 1000, 1000)
    parts = cut(PATH, head, 2300)
    assert held(parts) == [["t0", "t1"], ["t2", "t3"]]
    assert [(one.start, one.stop) for one in parts] == [(0, 2000), (2000, 4000)]
    assert [len(one.head) + 2000 for one in parts] == [one.size for one in parts]
    prove(head, parts)


def test_the_last_part_is_not_a_tiny_rest() -> None:
    head = head_of(*[1000] * 10)
    assert [len(names) for names in held(cut(PATH, head, 9900))] == [5, 5]
    assert [len(names) for names in held(cut(PATH, head, 4500))] == [4, 4, 2]


def test_a_part_may_be_exactly_as_large_as_the_limit_and_no_larger() -> None:
    head = head_of(1000, 1000, 1000, metadata={"format": "pt"})
    (whole,) = cut(PATH, head, 10_000)
    assert whole.size == len(write(head.tensors, head.metadata)) + 3000
    assert len(cut(PATH, head, whole.size)) == 1
    assert len(cut(PATH, head, whole.size - 1)) == 2


def test_a_tensor_that_alone_is_too_large_is_named() -> None:
    head = head_of(10, 5000, 10)
    (least,) = cut(PATH, head_of(5000), 9999)
    with pytest.raises(BadFile, match=r"(?s)model\.safetensors.*'t1'.*largest_file") as caught:
        cut(PATH, head, least.size - 1)
    assert caught.value.expected == f"{least.size - 1} bytes at most, with a head"
    assert caught.value.got == f"{least.size} bytes"
    assert len(cut(PATH, head, least.size)) == 3


def test_the_metadata_is_in_every_part_and_counted() -> None:
    head = head_of(100, 100, metadata={"format": "pt", "note": "x" * 500})
    parts = cut(PATH, head, 800)
    assert len(parts) == 2
    assert all(len(one.head) > 500 and one.size <= 800 for one in parts)
    prove(head, parts)


def test_tensors_without_bytes_are_kept_wherever_they_stand() -> None:
    head = head_of(0, 500, 0, 0, 500, 500, 0)
    parts = cut(PATH, head, 700)
    assert held(parts) == [["t0", "t1"], ["t2", "t3", "t4"], ["t5", "t6"]]
    prove(head, parts)


def test_a_file_without_bytes_has_nothing_to_cut() -> None:
    assert cut(PATH, head_of(), 10) == ()
    assert cut(PATH, head_of(0, 0), 10) == ()


@pytest.mark.parametrize(
    ("path", "first", "last"),
    [
        (PATH, "model.part-01-of-03.safetensors", "model.part-03-of-03.safetensors"),
        (
            "model-00001-of-00002.safetensors",
            "model-00001-of-00002.part-01-of-03.safetensors",
            "model-00001-of-00002.part-03-of-03.safetensors",
        ),
    ],
)
def test_parts_are_called_after_their_file(path: str, first: str, last: str) -> None:
    parts = cut(path, head_of(1000, 1000, 1000), 1200)
    assert (parts[0].path, parts[-1].path, len(parts)) == (first, last, 3)


def test_names_sort_as_the_parts_do_however_many_there_are() -> None:
    parts = cut(PATH, head_of(*[1000] * 120), 1200)
    assert len(parts) == 120
    assert all(one.path < other.path for one, other in pairwise(parts))


def test_no_part_is_called_like_a_file_that_is_there() -> None:
    head = head_of(1000, 1000)
    taken = {"model.part-02-of-02.safetensors", "model.part2-01-of-02.safetensors"}
    assert [one.path for one in cut(PATH, head, 1200, taken)] == [
        "model.part3-01-of-02.safetensors",
        "model.part3-02-of-02.safetensors",
    ]


def test_a_part_is_made_again_from_its_range_alone() -> None:
    head = head_of(0, 500, 0, 500, 500, 0)
    for one in cut(PATH, head, 700):
        assert part(one.path, head, one.start, one.stop) == one


@pytest.mark.parametrize(("start", "stop"), [(0, 10), (10, 500), (-1, 500), (0, 501), (1000, 1600)])
def test_a_range_across_a_tensor_is_no_part(start: int, stop: int) -> None:
    with pytest.raises(ValueError, match="whole tensors"):
        part(PATH, head_of(500, 500, 500), start, stop)


def wrongly(head: Head, **changes: object) -> bytes:
    first, *others = head.tensors
    return write([replace(first, **changes), *others], head.metadata)  # type: ignore[arg-type]


def test_a_part_that_says_anything_else_is_not_proven() -> None:
    head = head_of(500, 500, 500, metadata={"format": "pt"})
    one, two, three = cut(PATH, head, 700)
    own = parse(one.head, one.size, one.path)
    other_heads = [
        wrongly(own, name="t9"),
        wrongly(own, name="t1"),
        wrongly(own, dtype="I8"),
        wrongly(own, shape=(5, 100)),
        write(own.tensors, {"format": "np"}),
        write(own.tensors, {}),
    ]
    for data in other_heads:
        bad = replace(one, head=data, size=len(data) + 500)
        with pytest.raises(WrongBytes, match="are not the file"):
            prove(head, (bad, two, three))
    for parts in ((one, two), (two, three), (two, one, three), (one, one, two, three), ()):
        with pytest.raises(WrongBytes, match="are not the file"):
            prove(head, parts)
    for bad in (
        replace(three, start=three.start + 1, stop=three.stop + 1),
        replace(three, stop=three.stop - 1),
        replace(three, head=three.head + b" "),
    ):
        with pytest.raises(WrongBytes, match="are not the file"):
            prove(head, (one, two, bad))
    with pytest.raises(WrongBytes, match="not as long"):
        prove(head, (replace(one, size=one.size + 1), two, three))
    prove(head, (one, two, three))


# The index


def test_the_index_of_one_file_that_is_cut() -> None:
    head = head_of(1000, 1000)
    parts = cut(PATH, head, 1200)
    made = json.loads(index({PATH: parts}, {PATH: head}, original=None, name=INDEX))
    assert made == {
        "metadata": {"total_size": 2000},
        "weight_map": {
            "t0": "model.part-01-of-02.safetensors",
            "t1": "model.part-02-of-02.safetensors",
        },
    }


def test_without_an_index_the_other_files_are_in_the_new_one_too() -> None:
    heads = {PATH: head_of(1000, 1000), "other.safetensors": head_of(7, prefix="o")}
    parts = {PATH: cut(PATH, heads[PATH], 1200)}
    made = json.loads(index(parts, heads, original=None, name=INDEX))
    assert made["metadata"] == {"total_size": 2007}
    assert made["weight_map"]["o0"] == "other.safetensors"
    assert len(made["weight_map"]) == 3


def original(**places: str) -> bytes:
    metadata = {"total_size": 1.6e10, "share": 0.25, "total_parameters": 7}
    return json.dumps({"metadata": metadata, "weight_map": places, "more": [1]}).encode()


def test_what_the_index_says_of_other_files_stays() -> None:
    head = head_of(1000, 1000)
    parts = cut(PATH, head, 1200)
    data = index(
        {PATH: parts},
        {PATH: head, "b.safetensors": head_of(1, prefix="never looked at")},
        original=original(t0=PATH, u="b.safetensors"),
        name=INDEX,
    )
    assert json.loads(data) == {
        "metadata": {"total_size": 16_000_000_000, "share": "0.25", "total_parameters": 7},
        "weight_map": {"t0": parts[0].path, "t1": parts[1].path, "u": "b.safetensors"},
        "more": [1],
    }


@pytest.mark.parametrize(
    ("places", "told"),
    [
        ({"t0": PATH, "t9": PATH}, "'t9'.*which does not"),
        ({"t0": "b.safetensors"}, "'t0'.*which holds it"),
    ],
)
def test_an_index_that_does_not_fit_the_file_is_refused(places: dict[str, str], told: str) -> None:
    head = head_of(1000, 1000)
    with pytest.raises(BadFile, match=re.compile(told, re.DOTALL)):
        index({PATH: cut(PATH, head, 1200)}, {PATH: head}, original=original(**places), name=INDEX)


def test_without_an_index_a_tensor_in_two_files_is_refused() -> None:
    heads = {PATH: head_of(1000, 1000), "b.safetensors": head_of(1)}
    with pytest.raises(BadFile, match="'t0'"):
        index({PATH: cut(PATH, heads[PATH], 1200)}, heads, original=None, name=INDEX)


@pytest.mark.parametrize(
    "data", [b"{", b"[]", b"{}", b'{"weight_map":[]}', b'{"weight_map":{"a":1}}', b"[" * 100_000]
)
def test_an_index_that_is_none_is_said(data: bytes) -> None:
    with pytest.raises(BadFile, match="index of the weights cannot be read"):
        index({}, {}, original=data, name=INDEX)
