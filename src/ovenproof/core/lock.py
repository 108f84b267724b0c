"""What every lock is: a fingerprint of what people wrote, proofs, and one way to write it down.

`models.lock` holds the weights of each entry (`model_lock.py`); `images/<flavour>/image.lock` what
a flavour is made of (`image_lock.py`). Both are JSON that a person can read in a diff.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeAlias

from ovenproof.core.digest import Content, Digest, Json, canonical_json
from ovenproof.core.reader import Reader
from ovenproof.errors import BadFile

_FORMAT = 1

Proofs: TypeAlias = Mapping[Digest, Content]
"""Action key -> the layer that it made, proven by a run on some machine."""


def fingerprint(words: Json) -> Digest:
    """The digest of what people wrote, in whatever order they wrote it."""
    return Digest.of(canonical_json(words))


def open_lock(text: str, name: str) -> Reader:
    """A lock's outermost mapping. Raises BadFile where it is of another format."""
    top = Reader.parse(text, name=name)
    if top.integer("format") != _FORMAT:
        raise BadFile(
            "this lock was written by another version",
            subject=name,
            expected=f"format {_FORMAT}",
            got=f"format {top.integer('format')}",
            hint="use the version of ovenproof that wrote it, or delete it and lock again",
        )
    return top


def read_proofs(top: Reader) -> Proofs:
    """The `layers` of a lock. Raises BadFile."""
    found = {}
    for key, item in top.entries("layers"):
        try:
            found[Digest(key)] = item.content()
        except ValueError:
            raise top.fault(f"layers.{key}", "64 hex digits as the key", key) from None
    return MappingProxyType(found)


def proofs_to_json(proofs: Proofs) -> dict[str, Json]:
    """The same, to be written."""
    return {key.hex: content_to_json(content) for key, content in proofs.items()}


def content_to_json(content: Content) -> dict[str, Json]:
    """A content as a lock has it; `Reader.content` reads it."""
    return {"digest": str(content.digest), "size": content.size}


def to_text(value: dict[str, Json]) -> str:
    """The text of a lock: the same for the same value, and a line for each thing."""
    whole = {"format": _FORMAT, **value}
    return json.dumps(whole, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
