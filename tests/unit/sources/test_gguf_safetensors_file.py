"""The head of a safetensors file, read back by its specification."""

import json
import struct

import pytest

from ovenproof.sources.safetensors_file import Bfloat16Tensor, safetensors_head


def test_the_head_is_these_bytes() -> None:
    # What the safetensors library 0.8.0 writes for the same two tensors.
    text = (
        b'{"__metadata__":{"format":"pt"},'
        b'"a":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]},'
        b'"b":{"dtype":"BF16","shape":[4],"data_offsets":[12,20]}}       '
    )
    head = safetensors_head([Bfloat16Tensor("a", (2, 3)), Bfloat16Tensor("b", (4,))])
    assert head == struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize("length", range(1, 18))
def test_the_tensors_begin_at_a_multiple_of_eight(length: int) -> None:
    head = safetensors_head([Bfloat16Tensor("x" * length, (3,))])
    assert len(head) % 8 == 0
    assert struct.unpack("<Q", head[:8])[0] == len(head) - 8
    assert json.loads(head[8:])["x" * length]["data_offsets"] == [0, 6]


def test_a_tensor_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        safetensors_head([Bfloat16Tensor("a", (1,)), Bfloat16Tensor("a", (1,))])
