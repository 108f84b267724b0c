"""A remembered outcome as text, and who remembers outcomes.

There is one text form, in the store as at any remote place. It names the action's key and has a
digest over itself: what was cut, mixed up or written by something else is no record.
"""

from typing import Protocol

from ovenproof.core.action import Outcome
from ovenproof.core.digest import Digest, Json, canonical_json
from ovenproof.core.reader import Reader
from ovenproof.errors import BadFile, WrongBytes


class Outcomes(Protocol):
    """Remembers what actions made, by their keys."""

    def recall(self, key: Digest) -> Outcome | None:
        """What is remembered; None also where the record is damaged."""

    def remember(self, key: Digest, outcome: Outcome) -> None:
        """Remember an outcome; it replaces what was remembered before."""


def write(key: Digest, outcome: Outcome) -> bytes:
    """The record of an outcome: canonical JSON."""
    outputs: Json = {
        name: {"digest": str(content.digest), "size": content.size}
        for name, content in outcome.outputs.items()
    }
    body: dict[str, Json] = {"key": str(key), "outputs": outputs}
    return canonical_json({**body, "check": str(Digest.of(canonical_json(body)))})


def read(key: Digest, text: bytes) -> Outcome:
    """The outcome that a record tells of this key. Raises WrongBytes.

    Only the very bytes that `write` gives are a record.
    """
    try:
        top = Reader.parse(text, name=f"actions/{key.hex}.json")
        outcome = Outcome({name: item.content() for name, item in top.entries("outputs")})
        if text == write(key, outcome):
            return outcome
    except (BadFile, ValueError) as error:
        raise _damaged(key) from error
    raise _damaged(key)


def _damaged(key: Digest) -> WrongBytes:
    return WrongBytes("this is no record of what an action made", subject=key.short)
