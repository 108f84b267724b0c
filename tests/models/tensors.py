"""Safetensors files as numpy arrays, read and written without what is being tested.

A bfloat16 number has no type in numpy: it travels as its 16 bits, under the name that says so.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovenproof.sources.gguf_tensors import to_bfloat16

_BITS = {"BF16": "<u2", "F16": "<f2", "F32": "<f4", "I32": "<i4", "U8": "<u1"}


@dataclass(frozen=True, slots=True)
class Array:
    """A tensor: the dtype that the file says, and its numbers (of BF16, their bits)."""

    dtype: str
    numbers: NDArray[Any]

    def to_float32(self) -> NDArray[np.float32]:
        if self.dtype == "BF16":
            return (self.numbers.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return self.numbers.astype(np.float32)


def float32(numbers: NDArray[Any]) -> Array:
    return Array("F32", numbers.astype("<f4"))


def float16(numbers: NDArray[Any]) -> Array:
    return Array("F16", numbers.astype("<f2"))


def bfloat16(numbers: NDArray[Any]) -> Array:
    return Array("BF16", to_bfloat16(numbers.astype(np.float32)))


def int32(numbers: NDArray[Any]) -> Array:
    return Array("I32", numbers.astype("<i4"))


def read(path: Path) -> dict[str, Array]:
    """Every tensor of a file, mapped and not loaded."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
    data = np.memmap(path, np.uint8, mode="r", offset=8 + length)
    header.pop("__metadata__", None)
    return {
        name: Array(
            said["dtype"],
            data[slice(*said["data_offsets"])].view(_BITS[said["dtype"]]).reshape(said["shape"]),
        )
        for name, said in header.items()
    }


def write(path: Path, tensors: Mapping[str, Array]) -> None:
    """The tensors in the order of their names, one after the other."""
    ordered = sorted(tensors.items())
    path.write_bytes(head({name: (one.dtype, one.numbers.shape) for name, one in ordered}))
    with path.open("ab") as stream:
        for _, one in ordered:
            stream.write(np.ascontiguousarray(one.numbers, _BITS[one.dtype]).tobytes())


def head(shapes: Mapping[str, tuple[str, tuple[int, ...]]]) -> bytes:
    """What stands before the tensors' bytes: they follow in the same order, with no gaps."""
    document: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (dtype, shape) in shapes.items():
        start, end = end, end + prod(shape) * np.dtype(_BITS[dtype]).itemsize
        document[name] = {"dtype": dtype, "shape": shape, "data_offsets": (start, end)}
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
