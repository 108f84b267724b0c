"""Names for bytes: a SHA-256 digest, a piece of content, and the one way to write JSON."""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TypeAlias

Json: TypeAlias = "None | bool | int | str | list[Json] | tuple[Json, ...] | dict[str, Json]"
"""What canonical JSON may hold. No floats: their text differs between programs."""

_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A SHA-256 digest. Its text is `sha256:<64 hex digits>`."""

    hex: str

    def __post_init__(self) -> None:
        if not _HEX.fullmatch(self.hex):
            raise ValueError(f"not a SHA-256 digest in lower-case hex: {self.hex!r}")

    def __str__(self) -> str:
        return f"sha256:{self.hex}"

    @property
    def short(self) -> str:
        """Twelve digits: enough for a person, never for a program."""
        return self.hex[:12]

    @classmethod
    def parse(cls, text: str) -> "Digest":
        """Read `sha256:…`. Raises ValueError."""
        algorithm, colon, hex_ = text.partition(":")
        if not colon or algorithm != "sha256":
            raise ValueError(f"not a sha256 digest: {text!r}")
        return cls(hex_)

    @classmethod
    def of(cls, data: bytes) -> "Digest":
        """The digest of bytes that are at hand."""
        return cls(hashlib.sha256(data).hexdigest())


@dataclass(frozen=True, slots=True, order=True)
class Content:
    """Bytes known by digest and size; it does not say where they lie."""

    digest: Digest
    size: int

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError(f"a size is not negative: {self.size}")

    @classmethod
    def of(cls, data: bytes) -> "Content":
        """The content that these bytes are."""
        return cls(Digest.of(data), len(data))


def canonical_json(value: Json) -> bytes:
    """The only JSON that is ever hashed: sorted keys, no spaces, UTF-8, no floats."""
    _refuse_floats(value)
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def _refuse_floats(value: object) -> None:
    match value:
        case None | bool() | int() | str():
            return
        case dict():
            for key, item in value.items():
                if not isinstance(key, str):
                    raise TypeError(f"a key of canonical JSON is text, not {key!r}")
                _refuse_floats(item)
        case list() | tuple():
            for item in value:
                _refuse_floats(item)
        case _:
            raise TypeError(f"canonical JSON holds no {type(value).__name__}: {value!r}")
