"""The head of a safetensors file: eight bytes of length, then JSON that places each tensor."""

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod


@dataclass(frozen=True, slots=True)
class Bfloat16Tensor:
    """A tensor of two bytes per number."""

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return 2 * prod(self.shape)


def safetensors_head(tensors: Iterable[Bfloat16Tensor]) -> bytes:
    """What stands before the tensors' bytes, which follow in the same order with nothing between.

    The bytes are those of the `safetensors` library for tensors in the order of their names:
    compact JSON, filled with blanks so that the tensors begin at a multiple of eight.
    """
    document: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in tensors:
        if tensor.name in document:
            raise ValueError(f"a tensor twice: {tensor.name!r}")
        start, end = end, end + tensor.size
        document[tensor.name] = {
            "dtype": "BF16",
            "shape": tensor.shape,
            "data_offsets": (start, end),
        }
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text
