"""What an upload asks of a registry, what comes back, and how it ends."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from ovenproof.registry.reference import Repository

_RANGE = re.compile(r"(?:bytes[= ])?0-(\d+)")
_AGAIN = frozenset({408, 409, 425, 429})
NO_PATCH = frozenset({405, 501})
"""Statuses of who does not know a method."""


@dataclass(frozen=True, slots=True)
class Unnamed:
    """So many bytes, whose digest is known when they have gone by."""

    size: int


@dataclass(frozen=True, slots=True)
class Begin:
    """POST: an upload; with a home, a mount from there if the registry can."""

    home: Repository | None = None


@dataclass(frozen=True, slots=True)
class Patch:
    """PATCH: `size` bytes from `offset` on; `ranged`: with a Content-Range."""

    session: str
    offset: int
    size: int
    ranged: bool


@dataclass(frozen=True, slots=True)
class Name:
    """All bytes are there. Nobody is asked but who made them: what is their digest?"""


@dataclass(frozen=True, slots=True)
class Put:
    """PUT with the digest: the end of an upload, and `size` bytes, which are all or none."""

    session: str
    size: int


@dataclass(frozen=True, slots=True)
class Ask:
    """GET: how much of the upload is there."""

    session: str


@dataclass(frozen=True, slots=True)
class Look:
    """HEAD of the blob: an answer was lost, and it may have been yes."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """DELETE of the upload; whatever is answered will do."""

    session: str


@dataclass(frozen=True, slots=True)
class Done:
    """The registry has the blob: mounted from a home, or sent."""

    home: Repository | None = None


@dataclass(frozen=True, slots=True)
class Wrong:
    """The registry read other bytes than the digest stands for."""

    got: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The last answer was a no that no other try changes."""


@dataclass(frozen=True, slots=True)
class GaveUp:
    """Too many faults in a row; the last one tells most."""


Request: TypeAlias = Begin | Patch | Put | Ask | Look | Cancel
Result: TypeAlias = Done | Wrong | Refused | GaveUp


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    """Their names are in lower case."""
    url: str = ""
    """What was asked in the end: a Location may be relative to it."""
    code: str = ""
    """The first error code of the body."""

    @property
    def again(self) -> bool:
        """May the same question have another answer later?"""
        return self.status in _AGAIN or (self.status >= 500 and self.status not in NO_PATCH)

    @property
    def waits(self) -> bool:
        """Does the registry say when to ask again?"""
        return self.status in {429, 503} and "retry-after" in self.headers

    @property
    def received(self) -> int | None:
        """How many bytes the registry says that it has. `0-0` is one byte, or none."""
        found = _RANGE.fullmatch(self.headers.get("range", "").strip())
        return int(found[1]) + 1 if found else None
