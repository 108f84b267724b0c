"""The head of a safetensors file: eight bytes of length, then JSON that places each tensor.

A head is believed only when the tensors that it places fill the rest of the file exactly: none
over another, nothing between two, nothing behind the last. What is accepted here the `safetensors`
library accepts too; where it is more lenient (a key twice, a key that it does not know, fields as
a list), this is not, because a file that is cut must mean the same to everybody.
"""

import json
import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod

from ovenproof.errors import WrongBytes

HEAD_LIMIT = 100_000_000
"""So many bytes of JSON are the most that the library reads."""
BITS: Mapping[str, int] = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}
"""The dtypes of the format, and how many bits one element of each takes."""
_METADATA = "__metadata__"
_FIELDS = {"dtype", "shape", "data_offsets"}
_LARGEST = 2**64
"""What a machine can count; a shape beyond it overflows in the library."""
_DIGITS = len(str(_LARGEST))
_FETCH = "fetch the file again; if it comes like this, whoever published it has to mend it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A tensor by name and kind, and the range of its bytes, counted from the end of the head."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def elements(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a head says, every rule of the format being kept."""

    tensors: tuple[Tensor, ...]
    """In the order of their bytes; those without bytes before the one that begins there."""
    metadata: Mapping[str, str]
    size: int
    """Bytes of the head itself, the eight of its length among them."""
    data: int
    """Bytes behind the head."""


def head_size(first: bytes, size: int, name: str) -> int:
    """How many bytes the head has, from the first eight of a file of this size. WrongBytes."""
    length = int.from_bytes(first[:8], "little")
    if len(first) < 8 or not 2 <= length <= min(HEAD_LIMIT, size - 8):
        raise WrongBytes(
            "this is not a safetensors file",
            subject=name,
            expected=f"a head of 2 to {HEAD_LIMIT} bytes that ends in the file",
            got=f"a file of {size} bytes with a head of {length}"
            if len(first) >= 8
            else f"{size} bytes",
            hint=_FETCH,
        )
    return 8 + length


def parse(data: bytes, size: int, name: str) -> Head:
    """Read the head at the beginning of a file of this size. Raises WrongBytes."""
    own = head_size(data[:8], size, name)
    if len(data) < own:
        raise WrongBytes(
            "the head of a safetensors file ended too early",
            subject=name,
            expected=f"{own} bytes",
            got=f"{len(data)} bytes",
        )
    document = _document(data[8:own], name)
    metadata = _metadata(document.pop(_METADATA, {}), name)
    tensors = sorted(
        (_tensor(key, said, name) for key, said in document.items()),
        key=lambda tensor: (tensor.start, tensor.stop, tensor.name),
    )
    end = _end(tensors, name)
    if own + end != size:
        raise WrongBytes(
            "a safetensors file is not as long as its header says",
            subject=name,
            expected=f"{own + end} bytes",
            got=f"{size} bytes",
            hint=_FETCH,
        )
    return Head(tensors=tuple(tensors), metadata=metadata, size=own, data=end)


def write(tensors: Iterable[Tensor], metadata: Mapping[str, str]) -> bytes:
    """The head that places these tensors, as the library writes it.

    Filled with blanks so that the tensors begin at a multiple of eight.
    """
    text = to_text(tensors, metadata)
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def is_countable(bits: int, shape: Iterable[int]) -> bool:
    """Whether a machine can count so many bits of each element; beyond, nothing is multiplied."""
    for number in shape:
        bits *= number or 1
        if bits >= _LARGEST:
            return False
    return True


def to_text(tensors: Iterable[Tensor], metadata: Mapping[str, str]) -> bytes:
    """The JSON of a head: compact, the metadata first where there are any."""
    document: dict[str, object] = {_METADATA: dict(sorted(metadata.items()))} if metadata else {}
    for tensor in tensors:
        if tensor.name in document:
            raise ValueError(f"a tensor twice: {tensor.name!r}")
        document[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": tensor.shape,
            "data_offsets": (tensor.start, tensor.stop),
        }
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def _document(text: bytes, name: str) -> dict[str, object]:
    if not text.startswith(b"{"):
        raise _unreadable(name, f"it begins with {text[:8]!r}, not with a brace")
    try:
        found: dict[str, object] = json.loads(
            text.decode(),
            parse_int=_count,
            parse_float=_refuse,
            parse_constant=_refuse,
            object_pairs_hook=_each_key_once,
        )
    except RecursionError:
        raise _unreadable(name, "lists within lists without end") from None
    except ValueError as error:
        raise _unreadable(name, str(error)) from error
    return found


def _metadata(said: object, name: str) -> dict[str, str]:
    if isinstance(said, dict) and all(isinstance(value, str) for value in said.values()):
        return said
    raise _unreadable(name, f"{_METADATA}: {said!a:.200}", "text under each of its keys")


def _tensor(key: str, said: object, name: str) -> Tensor:
    if not isinstance(said, dict) or said.keys() != _FIELDS:
        raise _misplaced(name, key, "dtype, shape and data_offsets, nothing else", ascii(said))
    dtype, shape, offsets = said["dtype"], said["shape"], said["data_offsets"]
    bits = BITS.get(dtype) if isinstance(dtype, str) else None
    if bits is None:
        raise _misplaced(name, key, f"a dtype: {', '.join(BITS)}", ascii(dtype))
    if not _counts(shape):
        raise _misplaced(name, key, "a shape of whole numbers", ascii(shape))
    if not _counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _misplaced(name, key, "data_offsets: where its bytes begin and end", ascii(offsets))
    if not is_countable(bits, shape) or offsets[1] >= _LARGEST:
        raise _misplaced(name, key, "sizes that a machine can count", ascii([*shape, *offsets]))
    start, stop = offsets
    if (stop - start) * 8 != bits * prod(shape):
        takes = f"{bits * prod(shape)} bits for {dtype} of shape {shape}"
        raise _misplaced(name, key, takes, f"{(stop - start) * 8} bits in {offsets}")
    return Tensor(name=key, dtype=str(dtype), shape=tuple(shape), start=start, stop=stop)


def _end(tensors: Iterable[Tensor], name: str) -> int:
    """Where the last tensor ends, each beginning where the one before it ends."""
    end = 0
    for tensor in tensors:
        if tensor.start != end:
            what = "over another one" if tensor.start < end else "behind a hole"
            got = f"bytes from {tensor.start} on: {what}"
            raise _misplaced(name, tensor.name, f"bytes from {end} on", got)
        end = tensor.stop
    return end


def _counts(said: object) -> bool:
    # `type`, because true and false are numbers to Python; a sign was refused by the parser.
    return isinstance(said, list) and all(type(number) is int for number in said)


def _count(text: str) -> int:
    if text.startswith("-"):
        return _refuse(text)
    if len(text) > _DIGITS:
        raise ValueError(f"a number that no machine can count: {text:.40}")
    return int(text)


def _refuse(text: str) -> int:
    raise ValueError(f"a number that counts nothing: {text:.40}")


def _each_key_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"a key that stands twice: {twice!a:.200}")
    for key, value in pairs:
        key.encode()  # half of a pair of surrogates is no text to other readers
        if isinstance(value, str):
            value.encode()
    return found


def _unreadable(name: str, got: str, expected: str | None = None) -> WrongBytes:
    return WrongBytes(
        "the header of a safetensors file cannot be read",
        subject=name,
        expected=expected,
        got=got,
        hint=_FETCH,
    )


def _misplaced(name: str, key: str, expected: str, got: str) -> WrongBytes:
    return WrongBytes(
        "a safetensors file does not hold a tensor as its header says",
        subject=name,
        where=f"tensor {key!a:.200}",
        expected=expected,
        got=got if len(got) <= 200 else f"{got[:200]}…",
        hint=_FETCH,
    )
