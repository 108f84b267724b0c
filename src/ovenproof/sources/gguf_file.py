"""A GGUF file, read: its metadata, and where in the file each tensor lies.

Read here rather than with `gguf.GGUFReader`, which believes every length in the file: one wrong
count lets it fill the memory. Here each length is held against what is left of the file first.
The layout is that of ggml's docs/gguf.md, versions 2 and 3, little-endian.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, TypeAlias, TypeVar

from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from ovenproof.errors import BadFile, WrongBytes

Scalar: TypeAlias = bool | int | float | str
Value: TypeAlias = Scalar | tuple[Scalar, ...]
_Kind = TypeVar("_Kind", bool, int, float, str)

_VERSIONS = (2, 3)
_MOST_DIMENSIONS = 4
_FORMATS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_TEXT, _ARRAY = 8, 9


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """A tensor of the file: `offset` counts from the file's start, `shape` has rows first."""

    name: str
    shape: tuple[int, ...]
    kind: GGMLQuantizationType
    offset: int
    size: int

    @property
    def rows(self) -> int:
        """How many rows: quantized blocks never reach over the end of one."""
        return prod(self.shape[:-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Gguf:
    """The head of a GGUF file. Every tensor lies inside the file."""

    path: Path
    metadata: Mapping[str, Value]
    tensors: Mapping[str, StoredTensor] = field(default_factory=dict)

    def get(self, key: str, kind: type[_Kind], default: _Kind | None = None) -> _Kind:
        """One value of the metadata. BadFile where it is of another kind, or missing."""
        value = self.metadata.get(key, default)
        if type(value) is not kind:
            raise self._not_said(key, kind.__name__)
        return value

    def get_all(self, key: str, kind: type[_Kind]) -> tuple[_Kind, ...]:
        """A list of the metadata. BadFile where it is missing or of another kind."""
        values = self.metadata.get(key)
        if not isinstance(values, tuple):
            raise self._not_said(key, f"a list of {kind.__name__}")
        found = tuple(value for value in values if type(value) is kind)
        if len(found) != len(values):
            raise self._not_said(key, f"a list of {kind.__name__}")
        return found

    def _not_said(self, key: str, kind: str) -> BadFile:
        value = self.metadata.get(key)
        return BadFile(
            "the metadata of this GGUF cannot be used",
            subject=key,
            where=self.path,
            expected=kind,
            got="nothing" if value is None else f"{type(value).__name__} {str(value)[:60]}",
        )


def read_gguf(path: Path) -> Gguf:
    """Read a GGUF's head. BadFile: no GGUF that is understood. WrongBytes: cut off or damaged."""
    with path.open("rb") as stream:
        reader = _Reader(stream, path)
        version = _check_magic(reader)
        if version not in _VERSIONS:
            raise BadFile(
                "this version of GGUF is not understood",
                subject=path.name,
                where=path,
                expected="version 2 or 3, little-endian",
                got=f"version {version}",
            )
        tensor_count, value_count = reader.number("<Q"), reader.number("<Q")
        metadata: dict[str, Value] = {}
        for _ in range(value_count):
            key = reader.text()
            if key in metadata:
                raise reader.damaged(f"the key {key!r} twice")
            metadata[key] = reader.value(reader.number("<I"))
        entries = [_read_entry(reader) for _ in range(tensor_count)]
        alignment = metadata.get("general.alignment", 32)
        if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
            raise reader.damaged(f"an alignment of {alignment!r}, not a power of two")
        start = reader.at + -reader.at % alignment
        tensors: dict[str, StoredTensor] = {}
        for name, shape, kind, offset in entries:
            if name in tensors:
                raise reader.damaged(f"the tensor {name!r} twice")
            tensors[name] = _place(reader, name, shape, kind, start + offset)
    return Gguf(path=path, metadata=MappingProxyType(metadata), tensors=MappingProxyType(tensors))


def _check_magic(reader: "_Reader") -> int:
    magic = reader.take(4)
    if magic != b"GGUF":
        raise BadFile(
            "this is not a GGUF file",
            subject=reader.path.name,
            where=reader.path,
            expected="the four bytes GGUF at its start",
            got=repr(magic),
        )
    return reader.number("<I")


def _read_entry(reader: "_Reader") -> tuple[str, tuple[int, ...], int, int]:
    name = reader.text()
    count = reader.number("<I")
    if not 1 <= count <= _MOST_DIMENSIONS:
        raise reader.damaged(f"{count} dimensions for the tensor {name!r}")
    sizes = [reader.number("<Q") for _ in range(count)]
    if 0 in sizes:
        raise reader.damaged(f"no elements in the tensor {name!r}")
    return name, tuple(reversed(sizes)), reader.number("<I"), reader.number("<Q")


def _place(
    reader: "_Reader", name: str, shape: tuple[int, ...], kind: int, offset: int
) -> StoredTensor:
    try:
        known = GGMLQuantizationType(kind)
        block, block_size = GGML_QUANT_SIZES[known]
    except (ValueError, KeyError):
        raise BadFile(
            "a tensor is stored in a way that is not understood",
            subject=name,
            where=reader.path,
            expected="a ggml type that the installed `gguf` package knows",
            got=f"type {kind}",
        ) from None
    if shape[-1] % block:
        raise reader.damaged(
            f"rows of {shape[-1]} in {name!r}, no multiple of {known.name}'s {block}"
        )
    size = prod(shape) // block * block_size
    if offset + size > reader.size:
        raise reader.cut_off(f"the tensor {name!r} ends at byte {offset + size}")
    return StoredTensor(name=name, shape=shape, kind=known, offset=offset, size=size)


class _Reader:
    """Takes values from the file's head one after the other, never more than the file has."""

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        self.at = 0
        self._stream = stream

    def take(self, size: int) -> bytes:
        if size > self.size - self.at:
            raise self.cut_off(f"{size} bytes at byte {self.at}")
        data = self._stream.read(size)
        if len(data) != size:
            raise self.cut_off(f"{size} bytes at byte {self.at}")
        self.at += size
        return data

    def number(self, layout: str) -> int:
        return int(struct.unpack(layout, self.take(struct.calcsize(layout)))[0])

    def text(self) -> str:
        start = self.at
        try:
            return self.take(self.number("<Q")).decode()
        except UnicodeDecodeError:
            raise self.damaged(f"text that is not UTF-8 at byte {start}") from None

    def value(self, kind: int) -> Value:
        if kind == _ARRAY:
            return self._array()
        return self._scalar(kind)

    def _scalar(self, kind: int) -> Scalar:
        if kind == _TEXT:
            return self.text()
        layout = self._layout(kind)
        found: Scalar = struct.unpack(layout, self.take(struct.calcsize(layout)))[0]
        return found

    def _array(self) -> tuple[Scalar, ...]:
        kind, count = self.number("<I"), self.number("<Q")
        if kind == _TEXT:
            # Each text takes eight bytes at least, so a wrong count ends where the file does.
            return tuple(self.text() for _ in range(count))
        layout = self._layout(kind)
        data = self.take(count * struct.calcsize(layout))
        return tuple(found for (found,) in struct.iter_unpack(layout, data))

    def _layout(self, kind: int) -> str:
        if kind not in _FORMATS:
            raise self.damaged(f"a value of type {kind} before byte {self.at}")
        return _FORMATS[kind]

    def cut_off(self, wanted: str) -> WrongBytes:
        return WrongBytes(
            "this GGUF ends too early",
            subject=self.path.name,
            where=self.path,
            expected=wanted,
            got=f"a file of {self.size} bytes",
            hint="fetch the file again",
        )

    def damaged(self, found: str) -> WrongBytes:
        return WrongBytes(
            "this GGUF is damaged",
            subject=self.path.name,
            where=self.path,
            got=found,
            hint="fetch the file again",
        )
