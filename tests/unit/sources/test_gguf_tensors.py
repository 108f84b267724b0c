"""Rounding, the order of rows and the pieces, each against a reference written another way."""

import io
import math
import struct
from fractions import Fraction

import gguf
import numpy as np
import pytest
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from ovenproof.errors import BadFile, WrongBytes
from ovenproof.sources import gguf_tensors
from ovenproof.sources.gguf_file import StoredTensor
from ovenproof.sources.gguf_tensors import Conversion, bfloat16_pieces, to_bfloat16, unweave


def bits_to_float(bits: int) -> float:
    return float(struct.unpack("<f", struct.pack("<I", bits))[0])


def nearest_by_search(number: float) -> int:
    """The bfloat16 nearest to a finite single, by exact fractions over its two neighbours."""
    low = int.from_bytes(struct.pack("<f", abs(number)), "little") >> 16
    neighbours = []
    for bits in (low, low + 1):
        value = bits_to_float(bits << 16)
        # One step over the largest number counts as what it would be, and is then written inf.
        exact = Fraction(value) if math.isfinite(value) else Fraction(2) ** 128
        neighbours.append((abs(exact - Fraction(abs(number))), bits & 1, bits))
    return min(neighbours)[2] | (0x8000 if math.copysign(1, number) < 0 else 0)


def test_rounding_is_to_the_nearest_with_ties_to_even() -> None:
    random = np.random.default_rng(11)
    patterns = random.integers(0, 1 << 32, 4000, dtype=np.uint32)
    ties = (random.integers(0, 1 << 16, 2000, dtype=np.uint32) << 16) | np.uint32(0x8000)
    edges = np.array(
        [0, 1 << 31, 1, 0x7F7FFFFF, 0x7F7F8000, 0x7F7F7FFF, 0x00007FFF, 0x00008000, 0x00008001],
        dtype=np.uint32,
    )
    numbers = np.concatenate((patterns, ties, edges)).view(np.float32)
    numbers = numbers[np.isfinite(numbers)]

    rounded = to_bfloat16(numbers).tolist()

    assert len(rounded) > 5000
    assert rounded == [nearest_by_search(number) for number in numbers.tolist()]


def test_infinity_stays_and_a_nan_stays_a_nan() -> None:
    bits = np.array([0x7F800000, 0xFF800000, 0x7F800001, 0xFFFFFFFF, 0x7FFF8000], dtype=np.uint32)
    rounded = to_bfloat16(bits.view(np.float32)).tolist()
    assert rounded[:2] == [0x7F80, 0xFF80]
    assert all(math.isnan(bits_to_float(value << 16)) for value in rounded[2:])


@pytest.mark.parametrize(("heads", "head_rows"), [(1, 2), (3, 8), (9, 64)])
def test_unweaving_is_the_inverse_of_how_llama_cpp_weaves(heads: int, head_rows: int) -> None:
    theirs = [
        head * head_rows + half * (head_rows // 2) + pair
        for head in range(heads)
        for pair in range(head_rows // 2)
        for half in (0, 1)
    ]
    """At each place of the file, which row of the original stands there."""
    original = np.arange(heads * head_rows * 3, dtype=np.uint8).reshape(-1, 3)
    woven = np.stack([original[row] for row in theirs])

    assert unweave(woven, head_rows).tolist() == original.tolist()


KINDS = (
    *("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"),
    *("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"),
)


def stored_tensor(kind: str, rows: int, width: int) -> tuple[StoredTensor, bytes]:
    """A tensor of arbitrary blocks, 13 bytes into its file."""
    known = GGMLQuantizationType[kind]
    block, size = GGML_QUANT_SIZES[known]
    count = rows * width // block * size
    data = np.random.default_rng(5).integers(0, 256, count, dtype=np.uint8).tobytes()
    stored = StoredTensor(name="t", shape=(rows, width), kind=known, offset=13, size=count)
    return stored, data


@pytest.mark.parametrize("heads", [0, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_pieces_are_the_whole_tensor_dequantized_ordered_and_rounded(
    kind: str, heads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, width = 24, 256
    stored, data = stored_tensor(kind, rows, width)
    monkeypatch.setattr(gguf_tensors, "_PIECE", 7 * width)
    stream = io.BytesIO(bytes(13) + data)

    pieces = list(bfloat16_pieces(stream, Conversion(name="t", stored=stored, heads=heads)))

    with np.errstate(all="ignore"):
        numbers = gguf.dequantize(
            np.frombuffer(data, np.uint8).reshape(rows, -1), GGMLQuantizationType[kind]
        )
    numbers = np.asarray(numbers, np.float32).reshape(rows, width)
    if heads:
        depth = rows // heads
        order = [
            h * depth + 2 * i + half
            for h in range(heads)
            for half in (0, 1)
            for i in range(depth // 2)
        ]
        numbers = numbers[order]
    found = np.frombuffer(b"".join(pieces), "<u2")
    finite = np.isfinite(numbers.ravel())
    assert len(pieces) == 4
    assert found.size == rows * width
    assert found[finite].tolist() == [
        nearest_by_search(n) for n in numbers.ravel()[finite].tolist()
    ]
    assert finite.sum() > 100


def test_a_kind_that_cannot_be_taken_apart_is_named() -> None:
    stored, data = stored_tensor("I32", 2, 4)
    stream = io.BytesIO(bytes(13) + data)
    with pytest.raises(BadFile) as caught:
        list(bfloat16_pieces(stream, Conversion(name="t", stored=stored, heads=0)))
    assert caught.value.got == "I32"


def test_a_file_that_shrank_meanwhile_is_found_out() -> None:
    stored, data = stored_tensor("F32", 2, 4)
    stream = io.BytesIO(bytes(13) + data[:-1])
    with pytest.raises(WrongBytes, match="`t`"):
        list(bfloat16_pieces(stream, Conversion(name="t", stored=stored, heads=0)))
