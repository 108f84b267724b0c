"""Random tensors, any limit: what the `safetensors` library loads from the parts is the original.

And random heads: whatever is accepted here, the library accepts too.
"""

import io
import json
import struct
from collections.abc import Sequence
from typing import Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize

from ovenproof.core.cut import Part, cut, index, prove
from ovenproof.core.digest import Content, Digest
from ovenproof.core.model_lock import LockedFile
from ovenproof.core.safetensors import BITS, Head, head_size, parse, write
from ovenproof.errors import BadFile, WrongBytes
from ovenproof.events import silent
from ovenproof.sources.cutting import Original, open_part, survey

PATH = "model.safetensors"
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).filter(
    lambda name: name != "__metadata__"
)
SHAPES = st.lists(st.integers(0, 5), max_size=3)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A file whose head places its tensors in any order, written without our own writer."""
    tensors = []
    end = 0
    for name in draw(st.lists(NAMES, unique=True, max_size=8)):
        shape, dtype = draw(SHAPES), draw(st.sampled_from(sorted(BITS)))
        bits = BITS[dtype]
        for number in shape:
            bits *= number
        if bits % 8:
            shape, bits = [*shape, 8], bits * 8
        offsets = [end, end + bits // 8]
        end = offsets[1]
        tensors.append((name, {"dtype": dtype, "shape": shape, "data_offsets": offsets}))
    metadata = draw(st.none() | st.dictionaries(NAMES, NAMES, max_size=2))
    head: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    head |= dict(draw(st.permutations(tensors)))
    text = json.dumps(head, ensure_ascii=draw(st.booleans())).encode()
    text += b" " * draw(st.integers(0, 9))
    data = draw(st.randoms(use_true_random=False)).randbytes(end)
    return struct.pack("<Q", len(text)) + text + data


def read_head(data: bytes) -> Head:
    return parse(data[: head_size(data[:8], len(data), PATH)], len(data), PATH)


def loaded(data: bytes) -> dict[str, tuple[str, list[int], bytes]]:
    """What the library finds in a file."""
    return {
        name: (said["dtype"], said["shape"], bytes(said["data"]))
        for name, said in deserialize(data)  # type: ignore[no-untyped-call]
    }


class Opened:
    """A file that is opened by ranges, and remembers which."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.asked: list[tuple[int, int]] = []

    def __call__(self, offset: int, size: int) -> BinaryIO:
        assert 0 <= offset <= offset + size <= len(self.data)
        self.asked.append((offset, size))
        return io.BytesIO(self.data[offset : offset + size])


def surveyed(data: bytes, parts: Sequence[Part]) -> tuple[LockedFile, ...]:
    head = data[: head_size(data[:8], len(data), PATH)]
    original = Original(path=PATH, content=Content.of(data), head=head)
    opened = Opened(data)
    found, layers = survey(original, parts, opened, model_path="/model", listener=silent)
    assert opened.asked == [(len(head), len(data) - len(head))]
    assert not layers
    return found


def least_limit(head: Head) -> int:
    """The smallest limit that can be kept, as the refusal of a smaller one says it."""
    with pytest.raises(BadFile) as caught:
        cut(PATH, head, 0)
    return int(str(caught.value.got).removesuffix(" bytes"))


@st.composite
def cuts(draw: st.DrawFn) -> tuple[bytes, int]:
    """A file with something to cut, and a limit that can be kept."""
    data = draw(files().filter(lambda data: read_head(data).data > 0))
    least = least_limit(read_head(data))
    return data, draw(st.integers(least, max(least, len(data)) + 40))


@given(cuts())
def test_the_parts_hold_the_originals_tensors(given_cut: tuple[bytes, int]) -> None:
    data, most = given_cut
    head = read_head(data)
    parts = cut(PATH, head, most)
    assert parts == cut(PATH, read_head(data), most)
    prove(head, parts)
    found: dict[str, tuple[str, list[int], bytes]] = {}
    places: dict[str, str] = {}
    for locked, part in zip(surveyed(data, parts), parts, strict=True):
        with open_part(locked, Opened(data)) as stream:
            made = stream.read()
        assert len(made) == part.size == locked.size <= most
        assert Digest.of(made) == locked.digest
        assert json.loads(made[8 : len(part.head)]).get("__metadata__", {}) == head.metadata
        own = loaded(made)
        assert not own.keys() & found.keys()
        found |= own
        places |= dict.fromkeys(own, part.path)
    assert found == loaded(data)
    made_index = json.loads(index({PATH: parts}, {PATH: head}, original=None, name="index"))
    assert made_index["weight_map"] == places


@given(cuts())
def test_parts_are_as_few_as_can_be_and_as_even_as_can_be(given_cut: tuple[bytes, int]) -> None:
    data, most = given_cut
    head = read_head(data)
    parts = cut(PATH, head, most)
    largest = max(part.size for part in parts)
    assert cut(PATH, head, largest) == parts
    if largest > least_limit(head):
        assert len(cut(PATH, head, largest - 1)) > len(parts)
    if len(parts) > 1:
        assert len(write(head.tensors, head.metadata)) + head.data > most


@given(cuts(), st.data())
def test_any_slice_of_a_part_is_that_slice_of_the_whole(
    given_cut: tuple[bytes, int], choice: st.DataObject
) -> None:
    data, most = given_cut
    locked = choice.draw(st.sampled_from(surveyed(data, cut(PATH, read_head(data), most))))
    with open_part(locked, Opened(data)) as stream:
        whole = stream.read()
    start = choice.draw(st.integers(0, locked.size))
    stop = choice.draw(st.integers(start, locked.size))
    with open_part(locked, Opened(data), start) as stream:
        assert stream.read(stop - start) == whole[start:stop]


FIELDS = {
    "dtype": st.sampled_from(["U8", "F4", "F32", "BF16", "nope", "u8"]) | st.integers(0, 1),
    "shape": st.lists(st.sampled_from([0, 1, 2, 3, 2**63, -1, 1.0, True, "1"]), max_size=3)
    | st.none(),
    "data_offsets": st.lists(st.integers(-1, 9) | st.sampled_from([2**64, 0.5]), max_size=3)
    | st.tuples(st.integers(0, 4), st.integers(0, 9)).map(list),
}
GOOD_FIELDS = st.sampled_from(
    [
        {"dtype": dtype, "shape": [count], "data_offsets": [start, start + size]}
        for dtype, count, size in (("U8", 0, 0), ("U8", 1, 1), ("F4", 2, 1), ("BF16", 1, 2))
        for start in range(4)
    ]
)
TENSORS = GOOD_FIELDS | st.fixed_dictionaries(FIELDS) | st.fixed_dictionaries({}, optional=FIELDS)
METADATA = st.dictionaries(NAMES, NAMES, max_size=2) | st.dictionaries(
    NAMES, NAMES | st.integers(), max_size=2
)
HEADS = st.dictionaries(NAMES, TENSORS, max_size=3) | st.builds(
    lambda tensors, metadata: {**tensors, "__metadata__": metadata},
    st.dictionaries(NAMES, TENSORS, max_size=3),
    METADATA,
)


@given(HEADS, st.integers(0, 9))
def test_a_head_is_accepted_if_and_only_if_the_library_accepts_it(
    head: dict[str, Any], size: int
) -> None:
    text = json.dumps(head).encode()
    data = struct.pack("<Q", len(text)) + text + bytes(size)
    assert _ours(data) == _theirs(data)


@given(files(), st.data())
def test_no_damaged_byte_makes_a_head_that_only_we_accept(
    data: bytes, choice: st.DataObject
) -> None:
    place = choice.draw(st.integers(0, head_size(data[:8], len(data), PATH) - 1))
    byte = choice.draw(st.integers(0, 255) | st.sampled_from(list(b'{}[]",:0123456789 -.eE\\u')))
    damaged = data[:place] + bytes([byte]) + data[place + 1 :]
    if _ours(damaged):
        assert _theirs(damaged)


def _ours(data: bytes) -> bool:
    try:
        read_head(data)
    except WrongBytes:
        return False
    return True


def _theirs(data: bytes) -> bool:
    try:
        loaded(data)
    except SafetensorError:
        return False
    return True
